"""Whatever a client sends to a whole server, in whatever pieces: the same replies and messages, and the flow just ends.

An input: flags, one octet that chooses where to cut, and what the client sends.
"""

from __future__ import annotations

import ssl
from typing import Any, NamedTuple, cast

from smtp_proto.commands import Mail, Rcpt
from smtp_proto.effects import Call, Close, Effect, Receive, Send, Sent, StartTLS
from smtp_proto.errors import RemoteProtocolError
from smtp_proto.handler import ReceivedMessage, UserHandler
from smtp_proto.replies import Reply
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import MAX_REPLIES, ServerSession, Settings
from tests.flows import run
from tests.fuzz.inputs import Input, ways

USERS = {"ada": "pencil"}
SETTINGS = Settings(
    hostname="mx.test",
    max_size=2000,
    max_recipients=3,
    mechanisms=("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "ANONYMOUS"),
    max_errors=10,
    offer=("DSN", "LIMITS MAILMAX=4 RCPTDOMAINMAX=2"),
)


class Deciding(UserHandler):
    """Refuses what says so, fails where it is told to, and keeps the messages."""

    def __init__(self) -> None:
        super().__init__(USERS, {"token": "ada"})
        self.messages: list[ReceivedMessage] = []

    def mail(self, session: ServerSession, command: Mail) -> Reply | None:
        return Reply(550, "5.1.8 no") if command.path.startswith("no") else None

    def rcpt(self, session: ServerSession, command: Rcpt) -> Reply | None:
        if command.path.startswith("fail"):
            raise RuntimeError("told to")
        return Reply(450, "4.2.1 later") if command.path.startswith("no") else None

    def body(self, session: ServerSession, message: ReceivedMessage) -> Reply | None:
        assert len(message.content) <= SETTINGS.max_size
        assert len(message.recipients) <= SETTINGS.max_recipients
        self.messages.append(message)
        return None


class Seen(NamedTuple):
    said: bytes
    messages: list[ReceivedMessage]


class Client:
    """Performs the effects of a server: what is received is in pieces, and what is sent is kept."""

    def __init__(self, flags: int, pieces: list[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.said = b""
        self.injected = False  # octets came behind STARTTLS
        settings = SETTINGS._replace(
            cleartext_auth=bool(flags & 2),
            require_auth=bool(flags & 4),
            # Nobody looks at it: the handshake is this driver's.
            tls_context=cast(ssl.SSLContext, object()) if flags & 8 else None,
        )
        self.handler = Deciding()
        self.session = ServerSession(ServerConnection(lmtp=bool(flags & 1), max_line=512), self.handler, settings)

    def run(self) -> Seen:
        run(self.session.run(), self._perform)
        assert self.session.connection.closed
        try:
            self.session.connection.next_event()
        except RemoteProtocolError:
            self.injected = True
        # It was hung up on, and how many replies were out by then is a matter of time.
        return Seen(b"" if self.injected else self.said, self.handler.messages)

    def _perform(self, effect: Effect[Any]) -> Any:
        assert self.session.connection.replies_waiting <= MAX_REPLIES
        if isinstance(effect, Receive):
            return self.pieces.pop(0) if self.pieces else b""
        if isinstance(effect, Send):
            self.said += b"".join(effect.chunks)
            return Sent(None, [])
        if isinstance(effect, Call):
            return effect.function(*effect.arguments)
        if isinstance(effect, StartTLS):
            if self.pieces:
                self.injected = True
                raise ConnectionResetError("not the hello of a handshake")
            return None
        assert isinstance(effect, Close)
        return None


def check(data: bytes) -> None:
    given = Input(data)
    flags, at, octets = given.number(), given.number(), given.rest()
    first, *others = (Client(flags, pieces).run() for pieces in ways(octets, at))
    for other in others:
        assert other == first
    check_replies(first.said)


def check_replies(said: bytes) -> None:
    """Whole replies, which a client can read, none of them with what a client has said of itself in the clear."""
    lines = said.split(b"\r\n")
    assert lines.pop() == b""
    for line in lines:
        assert line[:3].isdigit()
        assert line[3:4] in (b" ", b"-")
        assert len(line) <= 510
        assert not any(octet < 32 or octet == 127 for octet in line), line
