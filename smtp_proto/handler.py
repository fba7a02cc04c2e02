"""What a server asks the application: one method for each decision.

A method returns None to accept, or the `Reply` to give instead; under an asynchronous driver it may be a coroutine.  An
exception in it becomes a 451 for the client and goes to `failed`.  What is not the application's to decide (order,
syntax, size, unknown verbs and parameters) the session answers by itself and never asks.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .commands import Command, Mail, Rcpt
from .replies import Reply
from .sasl import Credentials

if TYPE_CHECKING:
    from .server_session import ServerSession

Decision: TypeAlias = "Reply | Awaitable[Reply | None] | None"
#: In LMTP a message has one answer for each recipient; one alone stands for all.
Decisions: TypeAlias = "Reply | list[Reply] | Awaitable[Reply | list[Reply] | None] | None"


class ReceivedMessage(NamedTuple):
    """A message that a client has sent: the envelope as its commands, and the octets, in which every line
    ends in CRLF whatever the client sent."""

    mail: Mail
    recipients: tuple[Rcpt, ...]
    content: bytes

    @property
    def sender(self) -> str:
        """The reverse-path, "" for the null one."""
        return self.mail.path

    @property
    def to(self) -> tuple[str, ...]:
        """The forward-paths."""
        return tuple(recipient.path for recipient in self.recipients)


class Handler:
    """Accepts everything except log-ins.  Subclass it and override what you want to decide."""

    def connect(self, session: ServerSession) -> Decision:
        """A client has connected (``session.peer``); a refusal is greeted with (554, or 421 to close at once)."""
        return None

    def helo(self, session: ServerSession, command: Command) -> Decision:
        """EHLO, HELO or LHLO."""
        return None

    def auth(self, session: ServerSession, credentials: Credentials) -> Decision:
        """Somebody presents credentials; None accepts them."""
        return Reply(535, "5.7.8 Authentication credentials invalid")

    def mail(self, session: ServerSession, command: Mail) -> Decision:
        """A transaction begins."""
        return None

    def rcpt(self, session: ServerSession, command: Rcpt) -> Decision:
        """One recipient."""
        return None

    def body(self, session: ServerSession, message: ReceivedMessage) -> Decisions:
        """The message is complete; None says that it is now this server's to deliver (RFC 5321 6.1)."""
        return None

    def quit(self, session: ServerSession) -> Decision:
        """The client says goodbye; only the text of the answer can differ."""
        return None

    def failed(self, session: ServerSession, error: Exception) -> None:
        """A method above has raised `error`; the client was told 451."""
