"""What a server asks the application: one method for each decision.

A method returns None to accept, or the `Reply` to give instead; under an asynchronous driver it may be a coroutine.  An
exception in it becomes a 451 for the client and goes to `failed`.  What is not the application's to decide (order,
syntax, size, unknown verbs and parameters) the session answers by itself and never asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .commands import Burl, Command, Etrn, Expn, Mail, Rcpt, Vrfy, XClient, XForward
from .replies import Reply
from .sasl_exchange import INVALID, BearerToken, Credentials, ScramKeys, TokenRefused

if TYPE_CHECKING:
    from .server_session import ServerSession

Decision: TypeAlias = "Reply | Awaitable[Reply | None] | None"
#: Octets of a message, or the refusal to fetch them.
Fetched: TypeAlias = "Reply | bytes | Awaitable[Reply | bytes]"
#: In LMTP a message has one answer for each recipient; one alone stands for all.
Decisions: TypeAlias = "Reply | list[Reply] | Awaitable[Reply | list[Reply] | None] | None"
#: A log-in's decision may also name the user that it is for.
Known: TypeAlias = "str | Reply | Awaitable[str | Reply | None] | None"
#: None for a user that there is not; a `Reply` for one that cannot be looked up now.
Kept: TypeAlias = "str | ScramKeys | Reply | Awaitable[str | ScramKeys | Reply | None] | None"


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

    # Log-ins: which of these are asked depends on the mechanisms that the settings offer.

    def auth(self, session: ServerSession, credentials: Credentials) -> Decision:
        """PLAIN, LOGIN: somebody shows a password; None accepts it.

        With PLAIN, `credentials.authorization_identity` may say to act as somebody else, which is to be judged too.
        """
        return INVALID

    def secret(self, session: ServerSession, mechanism: str, user: str) -> Kept:
        """CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256: the password of `user`, or for the SCRAMs their `ScramKeys`.

        What the client proves is checked here and needs no other decision.  For SCRAM, `user` is what SASLprep makes
        of the name, and `mechanism` has no -PLUS.
        """
        return None

    def token(self, session: ServerSession, token: BearerToken) -> Known | TokenRefused:
        """OAUTHBEARER, XOAUTH2: somebody shows a token; None accepts it for the user that it claims to be for, a text
        for that user, `TokenRefused` says why not."""
        return TokenRefused()

    def external(self, session: ServerSession, identity: str) -> Known:
        """EXTERNAL: may the owner of the certificate (``session.tls_facts.peer``) act as `identity`?

        An empty identity asks for the one that the certificate is for, which a text names.
        """
        return INVALID

    def anonymous(self, session: ServerSession, trace: str) -> Decision:
        """ANONYMOUS: somebody wants to be nobody; `trace` is for the log, and may say anything."""
        return INVALID

    def mail(self, session: ServerSession, command: Mail) -> Decision:
        """A transaction begins."""
        return None

    def rcpt(self, session: ServerSession, command: Rcpt) -> Decision:
        """One recipient."""
        return None

    def body(self, session: ServerSession, message: ReceivedMessage) -> Decisions:
        """The message is complete; None says that it is now this server's to deliver (RFC 5321 6.1)."""
        return None

    def burl(self, session: ServerSession, command: Burl) -> Fetched:
        """A client wants a part of its message fetched from a URL (RFC 4468); only where BURL is offered."""
        return Reply(554, "5.6.6 The URL cannot be resolved")

    def vrfy(self, session: ServerSession, command: Vrfy) -> Decision:
        """Is this a mailbox?  None says neither yes nor no (252, RFC 5321 3.5.3)."""
        return None

    def expn(self, session: ServerSession, command: Expn) -> Decision:
        """Who is on this list?  None says nothing, as for `vrfy`."""
        return None

    def etrn(self, session: ServerSession, command: Etrn) -> Decision:
        """Send what is queued for a host (RFC 1985), if ETRN is offered; None says that this was begun."""
        return None

    def xclient(self, session: ServerSession, command: XClient) -> Decision:
        """A trusted proxy says who the client is; None takes it on trust, and ``session.client`` has it from then."""
        return None

    def xforward(self, session: ServerSession, command: XForward) -> Decision:
        """A trusted filter says where the next message came from; None takes it into ``session.forwarded``."""
        return None

    def quit(self, session: ServerSession) -> Decision:
        """The client says goodbye; only the text of the answer can differ."""
        return None

    def failed(self, session: ServerSession, error: Exception) -> None:
        """A method above has raised `error`; the client was told 451."""


class UserHandler(Handler):
    """Accepts everything, and log-ins of `users` (name to password) and with `tokens` (bearer token to user)."""

    def __init__(self, users: Mapping[str, str], tokens: Mapping[str, str] | None = None) -> None:
        self.users = users
        self.tokens = tokens or {}

    def auth(self, session: ServerSession, credentials: Credentials) -> Decision:
        from hmac import compare_digest  # loads OpenSSL's hashes

        expected = self.users.get(credentials.user)
        given = credentials.password.encode("utf-8")
        # Compared in constant time, and for an unknown user too.
        right = compare_digest(given, (expected or "").encode("utf-8"))
        # Nobody may act as somebody else.
        himself = credentials.authorization_identity in ("", credentials.user)
        return None if expected is not None and right and himself else INVALID

    def secret(self, session: ServerSession, mechanism: str, user: str) -> Kept:
        return self.users.get(user)

    def token(self, session: ServerSession, token: BearerToken) -> Known | TokenRefused:
        # A token is found by its hash, so that how long it takes says nothing of it.
        user = self.tokens.get(token.token)
        return user if user is not None and token.user in ("", user) else TokenRefused()
