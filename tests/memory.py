"""Floods: hostile octets without end at every step, and how much memory they cost: `python -m tests.memory`.

Both ends are flooded in process, without sockets, in pieces of 64 KiB: the client's core at each step of a
conversation, its conversations while they write and log in, and the server's conversation.  After it was refused the
flood goes on, as it would on a network.  What is counted is the most that was allocated at any time, the piece that is
being fed left out.  The command feeds 1 GB at each step and prints a table; the tests do the same with less.
"""

from __future__ import annotations

import ssl
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any, NamedTuple, cast

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Auth, Command, Data, Ehlo, EndOfData, Mail, Quit, Rcpt, StartTLS
from smtp_proto.effects import Call, Close, Effect, Flow, Poll, Pull, Receive, Send, Sent
from smtp_proto.errors import ProtocolError
from smtp_proto.events import ConnectionClosed, Wait
from smtp_proto.handler import UserHandler
from smtp_proto.sasl import AuthenticationAborted, CramMD5
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings
from smtp_proto.session import ClientSession
from smtp_proto.transaction import deliver
from tests.flows import run

PIECE = 65536
GIGABYTE = 1_000_000_000
#: What a flood may cost at most, in octets.
BOUND = 2_000_000


class Flood(NamedTuple):
    """`octets`, over and over."""

    name: str
    octets: bytes

    def pieces(self, amount: int) -> Iterator[bytes]:
        """So many octets, in pieces."""
        piece = self.octets * (PIECE // len(self.octets))
        return repeat(piece, -(-amount // len(piece)))


class Cost(NamedTuple):
    """What a flood has cost: how many octets were fed before it was refused (None: all were read), and memory."""

    who: str
    step: str
    flood: str
    refused_after: int | None
    peak: int

    def __str__(self) -> str:
        after = "never, all is read past" if self.refused_after is None else f"{self.refused_after / 1024:,.0f} KiB"
        return f"| {self.who} | {self.step} | {self.flood} | {after} | {self.peak / 1024:,.0f} KiB |"


HEADING = "| who | step | flood | refused after | most memory |\n|---|---|---|---|---|"

#: A case: feeds the pieces, and gives how many octets went before they were refused.
Case = Callable[[Iterator[bytes]], int | None]


def measured(case: Case, flood: Flood, amount: int) -> tuple[int | None, int]:
    """How soon a flood was refused, and the most that it made the process hold."""
    pieces = flood.pieces(amount)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        refused = case(pieces)
        return refused, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


# -- the client's core ------------------------------------------------------------------------------------------------

_HELLO: list[tuple[Command, bytes]] = [(Ehlo("client.test"), b"250-mx.test\r\n250 AUTH CRAM-MD5\r\n")]
_ENVELOPE: list[tuple[Command, bytes]] = [(Mail("a@b"), b"250 ok\r\n"), (Rcpt("c@d"), b"250 ok\r\n")]
_MESSAGE: list[tuple[Command, bytes]] = [*_HELLO, *_ENVELOPE, (Data(), b"354 go\r\n")]

#: By step: what has been said and answered, and the command that the flood is the answer to, if there is one.
STEPS: dict[str, tuple[list[tuple[Command, bytes]], Command | None]] = {
    "greeting": ([], None),
    "EHLO": ([], Ehlo("client.test")),
    "between commands": (_HELLO, None),
    "MAIL": (_HELLO, Mail("a@b")),
    "RCPT": ([*_HELLO, _ENVELOPE[0]], Rcpt("c@d")),
    "DATA": ([*_HELLO, *_ENVELOPE], Data()),
    "in the message": (_MESSAGE, None),
    "end of data": (_MESSAGE, EndOfData()),
    "AUTH": (_HELLO, Auth("CRAM-MD5")),
    "STARTTLS": (_HELLO, StartTLS()),
    "behind STARTTLS's 220": ([*_HELLO, (StartTLS(), b"220 go\r\n")], None),
    "QUIT": (_HELLO, Quit()),
}


def client_at(step: str) -> ClientConnection:
    """A client's core where the flood begins."""
    before, command = STEPS[step]
    client = ClientConnection()
    if step != "greeting":
        client.receive_data(b"220 mx.test\r\n")
        client.next_event()
    for said, answer in before:
        client.send(said)
        client.receive_data(answer)
        client.next_event()
    if command is not None:
        client.send(command)
    client.data_to_send()
    return client


def flooded_client(step: str) -> Case:
    def case(pieces: Iterator[bytes]) -> int | None:
        client = client_at(step)
        fed = 0
        refused: int | None = None
        for piece in pieces:
            client.receive_data(piece)
            fed += len(piece)
            if refused is None and not _drained(client):
                refused = fed
        return refused

    return case


def _drained(client: ClientConnection) -> bool:
    """Take the events; False if there will be none any more."""
    try:
        while not isinstance(event := client.next_event(), Wait):
            if isinstance(event, ConnectionClosed):
                return False
    except ProtocolError:
        return False
    return True


CLIENT_FLOODS = (
    Flood("a line without end", b"2" * PIECE),
    Flood("a reply line without end", b"250 " + b"x" * (PIECE - 4)),
    Flood("continuation lines without end", b"250-x\r\n"),
    Flood("long continuation lines without end", b"354-" + b"x" * 4000 + b"\r\n"),
    Flood("replies without end", b"250 ok\r\n"),
    Flood("334 without end", b"334 eHh4\r\n"),
    Flood("refusals without end", b"550 5.1.1 no\r\n"),
)


# -- conversations ----------------------------------------------------------------------------------------------------


class Flooded:
    """Performs the effects of a flow: all that it can read is the flood, behind what `first` has."""

    def __init__(self, pieces: Iterator[bytes], first: list[bytes], *, while_writing: bool = False) -> None:
        self._pieces = pieces
        self._first = first
        self._while_writing = while_writing
        self.fed = 0

    def _piece(self) -> bytes:
        if self._first:
            return self._first.pop(0)
        piece = next(self._pieces, b"")
        self.fed += len(piece)
        return piece

    def perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, Receive):
            return self._piece()
        if isinstance(effect, Send):
            if self._while_writing and not self._first:
                return Sent(self._piece(), effect.chunks)  # nothing of it can be written
            return Sent(None, [])
        if isinstance(effect, Call):
            return effect.function(*effect.arguments)
        if isinstance(effect, Pull):
            return effect.next()
        assert isinstance(effect, (Poll, Close))
        return None


def _client_flow(
    flow: Callable[[ClientSession], Flow[Any]], first: list[bytes], *, while_writing: bool = False
) -> Case:
    def case(pieces: Iterator[bytes]) -> int | None:
        flooded = Flooded(pieces, first.copy(), while_writing=while_writing)
        try:
            run(flow(ClientSession(ClientConnection())), flooded.perform)
        except (ProtocolError, AuthenticationAborted):
            return flooded.fed
        return None

    return case


def _log_in(session: ClientSession) -> Flow[Any]:
    yield from session.greet()
    yield from session.hello("client.test")
    yield from session.authenticate(CramMD5("ada", "pencil"))


def _delivery(session: ClientSession) -> Flow[Any]:
    yield from session.greet()
    yield from session.hello("client.test")
    yield from deliver(session, Mail("a@b"), [Rcpt("c@d")], b"x\r\n" * 10, pipelining=True)


_OPENING = [b"220 mx.test\r\n", b"250 mx.test\r\n"]
CLIENT_FLOWS: tuple[tuple[str, Case, Flood], ...] = (
    ("a log-in", _client_flow(_log_in, [*_OPENING, b"334 eHh4\r\n"]), Flood("334 without end", b"334 eHh4\r\n")),
    (
        "writing, with a server that does not read",
        _client_flow(_delivery, _OPENING, while_writing=True),
        Flood("replies without end", b"250 ok\r\n"),
    ),
    (
        "writing, with a server that does not read",
        _client_flow(_delivery, _OPENING, while_writing=True),
        Flood("continuation lines without end", b"250-x\r\n"),
    ),
)

# A message is kept up to `max_size`, which is for whoever runs the server to choose: here it is little.
SETTINGS = Settings(max_size=65536, mechanisms=("PLAIN", "LOGIN"), cleartext_auth=True, max_errors=10**9)


def _server(first: bytes, settings: Settings = SETTINGS) -> Case:
    def case(pieces: Iterator[bytes]) -> int | None:
        flooded = Flooded(pieces, [first])
        session = ServerSession(ServerConnection(), UserHandler({}), settings)
        run(session.run(), flooded.perform)
        return flooded.fed if next(pieces, None) is not None else None

    return case


# Nobody looks at the context: it does not come to a handshake.
_OFFERING_TLS = SETTINGS._replace(tls_context=cast(ssl.SSLContext, object()))
_TRANSACTION = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
_LINES = Flood("lines without end", b"x" * 70 + b"\r\n")
SERVER_FLOWS: tuple[tuple[str, Case, Flood], ...] = (
    ("a command", _server(b"EHLO c\r\n"), Flood("a line without end", b"NOOP" + b"x" * (PIECE - 4))),
    ("commands", _server(b"EHLO c\r\n"), Flood("commands without end", b"NOOP " + b"x" * 12000 + b"\r\n")),
    ("commands", _server(b"EHLO c\r\n"), Flood("lines that are too long", b"x" * 30000 + b"\r\n")),
    (
        "commands",
        _server(b"EHLO c\r\n", SETTINGS._replace(max_errors=20)),
        Flood("mistakes without end", b"FOO " + b"x" * 8000 + b"\r\n"),
    ),
    ("recipients", _server(_TRANSACTION), Flood("recipients without end", b"RCPT TO:<" + b"x" * 8000 + b"@d>\r\n")),
    ("a message behind DATA", _server(_TRANSACTION + b"DATA\r\n"), _LINES),
    ("a message behind DATA", _server(_TRANSACTION + b"DATA\r\n"), Flood("a line without end", b"x" * PIECE)),
    ("a message behind DATA", _server(_TRANSACTION + b"DATA\r\n"), Flood("dots without end", b"\r\n..")),
    ("a chunk of BDAT", _server(_TRANSACTION + b"BDAT 99999999999 LAST\r\n"), _LINES),
    ("a chunk that is refused", _server(b"EHLO c\r\nBDAT 99999999999 LAST\r\n"), _LINES),
    ("a response of AUTH", _server(b"EHLO c\r\nAUTH PLAIN\r\n"), Flood("a line without end", b"QUJD" * (PIECE // 4))),
    ("log-ins", _server(b"EHLO c\r\n"), Flood("log-ins without end", b"AUTH PLAIN AGFkYQB4\r\n")),
    ("behind STARTTLS", _server(b"EHLO c\r\nSTARTTLS\r\n" + b"x" * PIECE, _OFFERING_TLS), _LINES),
)


def costs(amount: int) -> Iterator[Cost]:
    """Every flood at every step."""
    cases = [("client", step, flooded_client(step), flood) for step in STEPS for flood in CLIENT_FLOODS]
    cases += [("client", *flow) for flow in CLIENT_FLOWS]
    cases += [("server", *flow) for flow in SERVER_FLOWS]
    for who, step, case, flood in cases:
        yield Cost(who, step, flood.name, *measured(case, flood, amount))


def main() -> int:
    start = time.monotonic()
    print(HEADING)
    most = 0
    count = 0
    for cost in costs(GIGABYTE):
        print(cost, flush=True)
        most = max(most, cost.peak)
        count += 1
    print(f"{count} floods of 1 GB, at most {most / 1024:,.0f} KiB, {time.monotonic() - start:.0f} s")
    return int(most >= BOUND)


if __name__ == "__main__":
    sys.exit(main())
