"""The server's side in tests: a handler that decides as it is told, and a server that hears what a script says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smtp_proto.commands import Command, Mail, Rcpt
from smtp_proto.handler import Handler, ReceivedMessage
from smtp_proto.replies import Reply, ReplyReader
from smtp_proto.sasl import Credentials
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings

from .flows import Part, Scripted

#: What a method of a handler gives, or raises if it is an exception.
Answer = Reply | list[Reply] | Exception | None


class Deciding(Handler):
    """Keeps what it is asked, and decides by `answers`: by the method's name an answer, or a function that gives it."""

    def __init__(self, **answers: Answer | Callable[[Any], Answer]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.messages: list[ReceivedMessage] = []
        self.credentials: list[Credentials] = []
        self.failures: list[Exception] = []

    def _decide(self, method: str, argument: object = None) -> Any:
        self.asked.append(method)
        answer = self.answers.get(method)
        if callable(answer):
            answer = answer(argument)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def connect(self, session: ServerSession) -> Any:
        return self._decide("connect", session)

    def helo(self, session: ServerSession, command: Command) -> Any:
        return self._decide("helo", command)

    def auth(self, session: ServerSession, credentials: Credentials) -> Any:
        self.credentials.append(credentials)
        return self._decide("auth", credentials)

    def mail(self, session: ServerSession, command: Mail) -> Any:
        return self._decide("mail", command)

    def rcpt(self, session: ServerSession, command: Rcpt) -> Any:
        return self._decide("rcpt", command)

    def body(self, session: ServerSession, message: ReceivedMessage) -> Any:
        self.messages.append(message)
        return self._decide("body", message)

    def quit(self, session: ServerSession) -> Any:
        return self._decide("quit")

    def failed(self, session: ServerSession, error: Exception) -> None:
        self.failures.append(error)


class Served:
    """A server that has heard all of `segments` and then `end`: what it said, and what it is left with."""

    def __init__(
        self,
        *segments: bytes,
        handler: Handler | None = None,
        settings: Settings | None = None,
        lmtp: bool = False,
        tls: bool = False,
        end: bytes | BaseException = b"",
        sends: list[Part | BaseException | None] | None = None,
        handshake: BaseException | None = None,
    ) -> None:
        self.handler = handler if handler is not None else Deciding()
        self.session = ServerSession(
            ServerConnection(lmtp=lmtp), self.handler, settings or Settings(hostname="mx.test"), "somebody", tls
        )
        self.peer = Scripted([*segments, end], sends=sends or [], handshake=handshake)
        self.peer.run(self.session.run())

    @property
    def replies(self) -> list[Reply]:
        """All replies behind the greeting."""
        return replies_in(self.peer.written)[1:]

    @property
    def codes(self) -> list[int]:
        return [reply.code for reply in self.replies]

    @property
    def hung_up_early(self) -> bool:
        """True if the server closed before it had heard all."""
        return bool(self.peer.left)


def replies_in(octets: bytes) -> list[Reply]:
    """Whole replies; what does not end in one fails."""
    reader = ReplyReader()
    reader.feed(octets)
    replies = []
    while (reply := reader.next_reply()) is not None:
        replies.append(reply)
    assert reader.quiet, f"half a reply at the end of {octets!r}"
    return replies
