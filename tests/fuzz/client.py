"""Whatever a server sends to a client that does anything, in whatever pieces: the same events, or the same error.

An input: flags, one octet that chooses where to cut, what the client does (a length, and an octet for each act), and
what the server sends.  A client acts at the beginning and after each event, so that what it does depends on what it was
told and not on when.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from smtp_proto.client import ClientConnection
from smtp_proto.commands import (
    Auth,
    AuthResponse,
    Bdat,
    Command,
    Data,
    Ehlo,
    EndOfData,
    Helo,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Raw,
    Rcpt,
    Rset,
    StartTLS,
    Vrfy,
)
from smtp_proto.errors import LocalProtocolError, RemoteProtocolError
from smtp_proto.events import PAUSED, ConnectionClosed, Event, ReplyReceived, Wait
from smtp_proto.replies import MAX_REPLY_LINE, MAX_REPLY_SIZE
from tests.fuzz.inputs import Input, ways
from tests.pairs import alike

Act = Command | Callable[[ClientConnection], object] | None

#: What a client does; None: waits for the next event.
ACTS: tuple[Act, ...] = (
    None,
    Ehlo("client.test"),
    Lhlo("client.test"),
    Helo("client.test"),
    Mail("a@example.org"),
    Rcpt("b@example.org"),
    Rcpt("c@example.org"),
    Data(),
    EndOfData(),
    lambda client: client.send_body(b".text\r"),
    Bdat(3),
    Bdat(0, last=True),
    lambda client: client.send_body(b"abc"),
    Rset(),
    Noop(),
    Vrfy("d"),
    StartTLS(),
    Auth("PLAIN", b"\0ada\0pencil"),
    Auth("LOGIN"),
    AuthResponse(b"ada"),
    AuthResponse(None),
    Raw(b"XUNKNOWN"),
    Raw(b"DATA now", "DATA"),
    lambda client: client.send_raw(b"XRAW\r\n"),
    lambda client: client.expect(),
    Quit(),
)


class Seen(NamedTuple):
    """All that can be seen of a connection from outside."""

    events: list[Event]
    error: str | None
    sent: bytes


class Client:
    def __init__(self, flags: int, acts: bytes) -> None:
        self.connection = ClientConnection(
            lmtp=bool(flags & 1), strict=not flags & 2, greeted=bool(flags & 4), require_tls=bool(flags & 8)
        )
        self.acts = [ACTS[act % len(ACTS)] for act in acts]
        self.events: list[Event] = []
        self.sent = b""
        self.tickets: dict[int, Command] = dict(enumerate(self.connection.outstanding))

    def run(self, pieces: list[bytes]) -> Seen:
        try:
            self._act()
            for piece in pieces:
                self.connection.receive_data(piece)
                self._drain()
            if self.connection.next_event() is PAUSED:
                self.connection.tls_established()
                assert self.connection.extensions is None
            self.connection.receive_eof()
            self._drain()
            assert isinstance(self.events[-1], ConnectionClosed)
        except RemoteProtocolError as error:
            self._check_poisoned(error)
            return Seen(self.events, f"{type(error).__name__}: {error}", self.sent)
        assert self.connection.closed
        return Seen(self.events, None, self.sent)

    def _drain(self) -> None:
        connection = self.connection
        while not isinstance(event := connection.next_event(), Wait):
            self.events.append(event)
            if isinstance(event, ConnectionClosed):
                return
            if isinstance(event, ReplyReceived) and not event.early:
                assert self.tickets[event.ticket] == event.command
            self._act()
        assert connection.unread <= MAX_REPLY_SIZE + MAX_REPLY_LINE

    def _act(self) -> None:
        connection = self.connection
        while self.acts and (act := self.acts.pop(0)) is not None:
            try:
                if isinstance(act, Command):
                    allowed = connection.can_send(act)
                    ticket = connection.send(act)
                    assert allowed
                    self.tickets[ticket] = act
                else:
                    expected = act(connection)
                    if isinstance(expected, int):
                        self.tickets[expected] = connection.outstanding[-1]
            except LocalProtocolError:
                assert not isinstance(act, Command) or not connection.can_send(act)
        self.sent += b"".join(connection.data_to_send())

    def _check_poisoned(self, error: RemoteProtocolError) -> None:
        connection = self.connection
        assert connection.closed
        assert not connection.data_to_send()
        assert not connection.can_send(Quit())
        try:
            connection.next_event()
        except RemoteProtocolError as again:
            assert alike(again, error)
        else:
            raise AssertionError("poisoned, and goes on")


def check(data: bytes) -> None:
    given = Input(data)
    flags, at, acts, octets = given.number(), given.number(), given.some(), given.rest()
    first, *others = (Client(flags, acts).run(pieces) for pieces in ways(octets, at))
    for other in others:
        assert other == first
