"""Whatever a client sends to a server that answers anything, in whatever pieces: the same events; no line is unbounded.

An input: flags, one octet that chooses where to cut, what the server answers (a length, and an octet for each answer),
and what the client sends.
"""

from __future__ import annotations

from typing import NamedTuple

from smtp_proto.errors import LocalProtocolError, RemoteProtocolError
from smtp_proto.events import PAUSED, BodyReceived, CommandRejected, ConnectionClosed, Event, Wait
from smtp_proto.replies import Reply
from smtp_proto.server import ServerConnection
from smtp_proto.states import State
from tests.fuzz.inputs import Input, ways

MAX_LINE = 512
#: What is answered; where it can be no answer, the hint is, or the next that can.
CODES = (220, 250, 354, 334, 235, 452, 550, 421, 600, 221)


class Seen(NamedTuple):
    """What can be seen of a connection from outside: a message's pieces are one."""

    events: list[Event]
    error: str | None


class Server:
    def __init__(self, flags: int, answers: bytes) -> None:
        self.connection = ServerConnection(lmtp=bool(flags & 1), max_line=MAX_LINE)
        self.events: list[Event] = []
        self.answers = list(answers)
        self.text = b""  # of the message under way

    def run(self, pieces: list[bytes]) -> Seen:
        connection = self.connection
        try:
            self._answer(None)
            for piece in pieces:
                connection.receive_data(piece)
                self._drain()
            if connection.next_event() is PAUSED:
                connection.tls_established()
            connection.receive_eof()
            self._drain()
        except RemoteProtocolError as error:
            assert connection.closed
            assert not connection.data_to_send()
            return Seen(self.events, f"{type(error).__name__}: {error}")
        return Seen(self.events, None)

    def _drain(self) -> None:
        connection = self.connection
        while not isinstance(event := connection.next_event(), Wait):
            hint = None
            if isinstance(event, BodyReceived):
                self.text += event.octets
                if not event.finished:
                    continue
                event, self.text = BodyReceived(self.text, True), b""
            elif isinstance(event, CommandRejected):
                hint = event.hint
                assert hint.code >= 500
            elif isinstance(event, ConnectionClosed):
                if not self.events or self.events[-1] != event:
                    self.events.append(event)
                break
            self.events.append(event)
            if connection.owes_reply:
                self._answer(hint)
        # What came behind the end, or before a handshake, is not read any more.
        assert connection.closed or connection.state is State.TLS or len(connection._buffer) <= MAX_LINE

    def _answer(self, hint: Reply | None) -> None:
        """Give all replies that are owed, each the first of some that can be one."""
        connection = self.connection
        while connection.owes_reply:
            choice = self.answers.pop(0) if self.answers else 0
            wished = Reply(CODES[choice % len(CODES)], "wished") if choice else hint or Reply(250)
            for reply in (wished, hint or Reply(250, "fits"), Reply(354), Reply(221), Reply(451)):
                try:
                    connection.send(reply)
                except LocalProtocolError:
                    continue
                break
            else:
                raise AssertionError("no reply can be given")
        connection.data_to_send()


def check(data: bytes) -> None:
    given = Input(data)
    flags, at, answers, octets = given.number(), given.number(), given.some(), given.rest()
    first, *others = (Server(flags, answers).run(pieces) for pieces in ways(octets, at))
    for other in others:
        assert other == first
