"""Floods over real sockets, and what they cost a whole process: `python -m tests.memory_over_sockets`.

`tests.memory` counts what the core and the conversations allocate; this is about the rest too: transports, TLS, event
loops.  The victim, a client or a server, is a process of its own: after one honest session its peak of resident memory
is set back, then so many octets of each flood are written to it, over as many connections as that takes, and what the
peak is above what it had is the cost.  (A client gives up soon, so that its floods come over hundreds of connections.)

The command floods with 1 GB at each step, or as many octets as its argument says, and prints a table; the tests do the
same with less.  Linux only, for its /proc.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import smtp_blocking
from smtp_proto.server_session import Settings
from smtp_surface.serving import Service
from tests.certificates import authority, server_context
from tests.conformance.backends import BACKENDS, AsyncBackend, Backend
from tests.memory import BOUND, GIGABYTE, PIECE
from tests.scripted import ClientHungUp, Conversation, Expect, ScriptedServer, StartTLS, Step
from tests.scripts import DATA, DELIVERY, GREETING, MAIL, QUIT, RCPT, opening

PATIENCE = 60.0  # seconds: of the victim, which is slow only where the machine is
CONNECTIONS = 100_000  # more than any flood takes
BODY = b"x" * 76 + b"\r\n"
MESSAGE = BODY * 10_000


class Cost(NamedTuple):
    """What a flood has cost."""

    who: str
    backend: str
    step: str
    octets: int
    growth: int  # octets of resident memory at most, above what there was

    def __str__(self) -> str:
        said = f"{self.octets / 1_000_000:,.0f} MB"
        return f"| {self.who} | {self.backend} | {self.step} | {said} | {self.growth / 1024:,.0f} KiB |"


HEADING = "| who | backend | step | octets sent | most memory |\n|---|---|---|---|---|"


# -- the victims, each in a process of its own -------------------------------------------------------------------------


def resident(name: str) -> int:
    """Octets of resident memory of this process: "VmRSS" now, "VmHWM" at most."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024


def set_back() -> int:
    """Have the peak begin anew; what there is now."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


@dataclass
class Target:
    """Where a client is to connect to; `authority` is whom it trusts, in PEM, or None for no TLS."""

    host: str
    port: int
    authority: str | None


def deliver(backend: Backend, target: Target) -> bool:
    """A delivery, whatever becomes of it; False if nobody listens any more."""
    try:
        if target.authority is None:
            client = backend.connect(target, timeout=PATIENCE)
        else:
            context = ssl.create_default_context(cadata=target.authority)
            client = backend.connect(target, "SMTP_SSL", context=context, timeout=PATIENCE)
        try:
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
            client.quit()
        finally:
            client.close()
    except ConnectionRefusedError:
        return False
    except OSError:  # all of `smtplib`'s are
        pass
    return True


def client_victim(backend: Backend) -> None:
    """For each line, a `Target`: deliver once honestly, then until nobody listens, and say what it has cost."""
    for line in sys.stdin:
        target = Target(*json.loads(line))
        deliver(backend, target)
        before = set_back()
        while deliver(backend, target):
            gc.collect()  # each failure leaves a traceback in a circle: when Python comes to it is not measured here
        print(resident("VmHWM") - before, flush=True)


def serving(backend: Backend) -> AbstractContextManager[Service]:
    """The backend's server, in the clear; it keeps no message that is long."""
    settings = Settings(max_size=PIECE, mechanisms=("PLAIN",), cleartext_auth=True, max_errors=10**9)
    if isinstance(backend, AsyncBackend):
        return backend.in_a_block(backend.module.serve(None, settings=settings))
    server: AbstractContextManager[Service] = backend.module.Server(None, settings=settings)
    return server


def server_victim(backend: Backend) -> None:
    """Serve, say where, and for each line what the peak has cost since the one before it."""
    with serving(backend) as server:
        print(server.port, flush=True)
        before = 0
        for _ in sys.stdin:
            print(resident("VmHWM") - before, flush=True)
            before = set_back()


@contextmanager
def victim(who: str, backend: str) -> Iterator[subprocess.Popen[str]]:
    """A victim that is running."""
    command = [sys.executable, "-m", "tests.memory_over_sockets", who, backend]
    # What was given back counts as given back: by itself the C library keeps it in pieces, some megabytes in the end.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_ARENA_MAX": "1"}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            _pipe(process.stdin).close()
            process.wait(PATIENCE)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def ask(process: subprocess.Popen[str], line: str = "") -> None:
    print(line, file=_pipe(process.stdin), flush=True)


def answer(process: subprocess.Popen[str]) -> int:
    return int(_pipe(process.stdout).readline())


# -- floods ------------------------------------------------------------------------------------------------------------


class Counted:
    """A step: a flood, until the client hangs up; counts what it has written, and tells when it is enough."""

    def __init__(self, octets: bytes, amount: int) -> None:
        self.enough = threading.Event()
        self.written = 0
        self._block = octets * (PIECE // len(octets))
        self._amount = amount

    def play(self, conversation: Conversation) -> None:
        with suppress(ClientHungUp):
            while True:
                conversation.send(self._block)
                self.written += len(self._block)
                if self.written >= self._amount:
                    self.enough.set()


_TO_DATA = [*opening(), *MAIL, *RCPT, *DATA]
_LINE, _LINES = b"x" * 64, b"250-x\r\n"
#: By step: what is said before, what the flood is made of, and whether it is under TLS.
CLIENT_FLOODS: dict[str, tuple[list[Step], bytes, bool]] = {
    "greeting: lines without end": ([], b"220-x\r\n", False),
    "EHLO: a line without end": ([*GREETING, Expect(b"ehlo")], _LINE, False),
    "a message on its way: lines without end": (_TO_DATA, _LINES, False),
    "EHLO under TLS: lines without end": ([StartTLS(server_context()), *GREETING, Expect(b"ehlo")], _LINES, True),
}
_TRANSACTION = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
#: By step: what is said before, and what the flood is made of.
SERVER_FLOODS: dict[str, tuple[bytes, bytes]] = {
    "a command without end": (b"EHLO c\r\n", _LINE),
    "commands without end": (b"EHLO c\r\n", b"NOOP " + b"x" * 2000 + b"\r\n"),
    "a message without end": (_TRANSACTION + b"DATA\r\n", BODY),
    "a chunk without end": (_TRANSACTION + b"BDAT 99999999999 LAST\r\n", BODY),
    "a log-in without end": (b"EHLO c\r\nAUTH PLAIN\r\n", _LINE),
}


def client_costs(backend: str, amount: int) -> Iterator[Cost]:
    """What each flood costs a client."""
    with victim("client", backend) as process:
        for step, (before, octets, tls) in CLIENT_FLOODS.items():
            flood = Counted(octets, amount)
            honest: list[Step] = [StartTLS(server_context())] if tls else []
            honest += [*opening(), *DELIVERY, *QUIT]
            with ScriptedServer(honest, *[[*before, flood]] * CONNECTIONS, strict=False) as server:
                trusted = authority().cert_pem.bytes().decode("ascii") if tls else None
                ask(process, json.dumps([server.host, server.port, trusted]))
                assert flood.enough.wait(PATIENCE + amount / 1_000_000)
            yield Cost("client", backend, step, flood.written, answer(process))


def server_costs(backend: str, amount: int) -> Iterator[Cost]:
    """What each flood costs a server."""
    with victim("server", backend) as process:
        port = answer(process)
        for step, (before, octets) in SERVER_FLOODS.items():
            with smtp_blocking.SMTP("127.0.0.1", port, "probe.test", timeout=PATIENCE) as client:
                client.sendmail("a@b", "c@d", b"probe\r\n")
            ask(process)
            answer(process)
            written = 0
            while written < amount:
                written += flooded(port, before, octets * (PIECE // len(octets)), amount - written)
            ask(process)
            yield Cost("server", backend, step, written, answer(process))


def flooded(port: int, before: bytes, block: bytes, amount: int) -> int:
    """Write so many octets to a server, or until it hangs up; how many they were."""
    written = 0
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        reading = threading.Thread(target=drained, args=(sock,))
        reading.start()
        with suppress(OSError):
            sock.sendall(before)
            while written < amount:
                sock.sendall(block)
                written += len(block)
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        reading.join()
    return written


def drained(sock: socket.socket) -> None:
    """Read what a server says until it hangs up: one whose replies nobody reads would wait."""
    with suppress(OSError):
        while sock.recv(PIECE):
            pass


def costs(backends: list[str], amount: int) -> Iterator[Cost]:
    """Every flood, on these backends."""
    for backend in backends:
        yield from client_costs(backend, amount)
        yield from server_costs(backend, amount)


def main(arguments: list[str]) -> int:
    if arguments[:1] in (["client"], ["server"]):
        backend = next(each for each in BACKENDS if each.name == arguments[1])
        backend.start()
        (client_victim if arguments[0] == "client" else server_victim)(backend)
        backend.stop()
        return 0
    start = time.monotonic()
    amount = int(arguments[0]) if arguments else GIGABYTE
    print(HEADING)
    most = 0
    for cost in costs([backend.name for backend in BACKENDS], amount):
        print(cost, flush=True)
        most = max(most, cost.growth)
    print(f"at most {most / 1024:,.0f} KiB, {time.monotonic() - start:.0f} s")
    return int(most >= BOUND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
