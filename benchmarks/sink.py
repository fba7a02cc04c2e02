"""A server that takes mail and throws it away, as fast as Python can: what is measured is the client.

It looks at a line's first four octets and no more, keeps no message, and answers from octets made beforehand.  With a
round-trip time, each answer goes out that much later than what it answers came in: it delays, and does not throttle, so
that any number of flights may be under way.

``python -m benchmarks.sink --offer PIPELINING,CHUNKING --round-trip 0.02`` prints its port and serves until standard
input ends.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from benchmarks.measuring import SERVERS, on_processor

READ_SIZE = 262144
GREETING = b"220 sink.example.org ESMTP\r\n"
OK = b"250 2.1.5 Ok\r\n"
TAKEN = b"250 2.0.0 Ok: queued as 4bXyz01234\r\n"
GO_ON = b"354 End data with <CR><LF>.<CR><LF>\r\n"
BYE = b"221 2.0.0 Bye\r\n"
END = b"\r\n.\r\n"
# Seconds that the timers of a system may be late by (0.1 ms are usual): for so long the end of a delay is waited for by
# asking again and again, for a round trip is to take what is said.
LATE = 0.0005


class Mode(Enum):
    """What the octets that come next are."""

    COMMANDS = 0
    LINES = 1
    CHUNK = 2


class Visitor:
    """One connection."""

    def __init__(self, sock: socket.socket, hello: bytes) -> None:
        self.sock = sock
        self.hello = hello
        self.mode = Mode.COMMANDS
        self.held = b""
        self.chunk_left = 0
        self.unsent = b""

    def answers(self, octets: bytes) -> bytes:
        """What is said to the octets that came."""
        octets = self.held + octets
        said = []
        at = 0
        while at < len(octets):
            if self.mode is Mode.COMMANDS:
                end = octets.find(b"\n", at) + 1
                if not end:
                    break
                verb = octets[at : at + 4].lower()
                if verb == b"data":
                    said.append(GO_ON)
                    self.mode = Mode.LINES
                    end -= 2  # the line end of DATA may be the one before a lone dot
                elif verb == b"bdat":
                    self.chunk_left = int(octets[at + 5 : end].split()[0])
                    self.mode = Mode.CHUNK
                elif verb in (b"ehlo", b"lhlo"):
                    said.append(self.hello)
                else:
                    said.append(BYE if verb == b"quit" else OK)
                at = end
            elif self.mode is Mode.LINES:
                end = octets.find(END, at)
                if end < 0:
                    at = max(at, len(octets) - len(END) + 1)
                    break
                at = end + len(END)
                said.append(TAKEN)
                self.mode = Mode.COMMANDS
            else:
                taken = min(self.chunk_left, len(octets) - at)
                at += taken
                self.chunk_left -= taken
            if self.mode is Mode.CHUNK and not self.chunk_left:
                said.append(TAKEN)
                self.mode = Mode.COMMANDS
        self.held = octets[at:]
        return b"".join(said)


class Sink:
    """The listening socket and all that visit."""

    def __init__(self, offers: Sequence[str], round_trip: float) -> None:
        self.round_trip = round_trip
        lines = ["sink.example.org", *offers]
        codes = ["250-"] * (len(lines) - 1) + ["250 "]
        self.hello = "".join(f"{code}{line}\r\n" for code, line in zip(codes, lines, strict=True)).encode()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        # The clock of epoll has milliseconds and rounds up: each round trip would be longer than is said.
        self.selector = selectors.SelectSelector() if round_trip else selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.due: list[tuple[float, int, Visitor, bytes]] = []
        self.numbers = itertools.count()

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def run(self) -> None:
        """Serve until standard input ends."""
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            wait = max(0.0, self.due[0][0] - time.monotonic() - LATE) if self.due else None
            for key, _ in self.selector.select(wait):
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self.listener:
                    self.welcome()
                else:
                    self.serve(key.data)
            now = time.monotonic() if self.due else 0.0
            while self.due and self.due[0][0] <= now:
                _, _, visitor, octets = heapq.heappop(self.due)
                self.write(visitor, octets)

    def welcome(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sock, _ = self.listener.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            visitor = Visitor(sock, self.hello)
            self.selector.register(sock, selectors.EVENT_READ, visitor)
            self.say(visitor, GREETING)

    def serve(self, visitor: Visitor) -> None:
        try:
            octets = visitor.sock.recv(READ_SIZE)
        except BlockingIOError:
            octets = None
        except OSError:
            octets = b""
        if octets == b"":
            self.selector.unregister(visitor.sock)
            visitor.sock.close()
            return
        if visitor.unsent:
            self.write(visitor, b"")
        if octets:
            said = visitor.answers(octets)
            if said:
                self.say(visitor, said)

    def say(self, visitor: Visitor, octets: bytes) -> None:
        if self.round_trip:
            heapq.heappush(self.due, (time.monotonic() + self.round_trip, next(self.numbers), visitor, octets))
        else:
            self.write(visitor, octets)

    def write(self, visitor: Visitor, octets: bytes) -> None:
        visitor.unsent += octets
        with contextlib.suppress(OSError):
            visitor.unsent = visitor.unsent[visitor.sock.send(visitor.unsent) :]
        if visitor.sock.fileno() >= 0:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if visitor.unsent else 0)
            if self.selector.get_key(visitor.sock).events != events:
                self.selector.modify(visitor.sock, events, visitor)


@dataclass(frozen=True)
class Offer:
    """What a sink lists in its answer to EHLO, by a short name for tables."""

    name: str
    keywords: tuple[str, ...] = ()


NOTHING = Offer("nothing")
PIPELINING = Offer("PIPELINING", ("PIPELINING",))
CHUNKING = Offer("PIPELINING, CHUNKING", ("PIPELINING", "CHUNKING"))


@contextlib.contextmanager
def running_sink(offer: Offer = NOTHING, round_trip: float = 0.0) -> Iterator[int]:
    """A sink in a process of its own; gives its port."""
    command = [sys.executable, "-m", "benchmarks.sink", "--offer", ",".join(offer.keywords)]
    command += ["--round-trip", str(round_trip)]
    with on_processor(SERVERS):
        sink = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with sink as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.communicate()


@contextlib.contextmanager
def running_smtp_sink(program: str) -> Iterator[int]:
    """Postfix's own, which offers PIPELINING and no CHUNKING; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]  # free a moment later, too, unless somebody is very quick
    command = [program, *(["-u", "nobody"] if os.getuid() == 0 else []), f"127.0.0.1:{port}", "1024"]
    with on_processor(SERVERS):
        sink = subprocess.Popen(command)
    with sink as process:
        try:
            while True:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None:
                    raise RuntimeError(f"{program} has ended with {process.returncode}")
                time.sleep(0.01)
            yield port
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink")
    parser.add_argument("--offer", default="", help="what EHLO lists, with commas between")
    parser.add_argument("--round-trip", type=float, default=0.0, help="seconds from what is said to its answer")
    arguments = parser.parse_args()
    sink = Sink([keyword for keyword in arguments.offer.split(",") if keyword], arguments.round_trip)
    print(sink.port, flush=True)
    sink.run()


if __name__ == "__main__":
    main()
