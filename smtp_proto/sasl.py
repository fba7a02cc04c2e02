"""SASL mechanisms as step functions: challenge in, response out, no I/O and no base64.

This is the client's side; the server's is `smtp_proto.sasl_server`.  Here stand what all mechanisms share and those
that need nothing but a page: PLAIN, LOGIN, CRAM-MD5, EXTERNAL, ANONYMOUS.  OAuth, SCRAM and what pyspnego does have
modules of their own, and `smtp_proto.sasl_choice` says which one to take.

A mechanism is used for one exchange.  Its first step is the initial response, whoever asked for it: ``step(None)``
before AUTH is sent, or ``step(challenge)`` where the server asked first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from .errors import InvalidArgument, ProtocolError, RemoteProtocolError
from .replies import Reply

# Challenges in one exchange.  SCRAM needs two, GSSAPI up to four; a server that goes on is broken or hostile.
MAX_CHALLENGES = 5


class Mechanism(ABC):
    """The client's side of one exchange.  Subclass it for a mechanism of your own.

    `name`: as it stands in AUTH, in upper case.  `shows_secret`: True if what is sent lets whoever listens log in as
    well; such a mechanism is for encrypted connections.  Taken to be so unless a mechanism says otherwise.  `shows`:
    what that is, for people.  `error`: what the server said of credentials that it has refused, where it says more than
    a reply can (RFC 7628 3.2.2); None if it said nothing.
    """

    name: str
    shows_secret: bool = True
    shows: str = "password"
    error: dict[str, Any] | None = None
    #: True once an exchange with it has begun: it is good for one.
    used: bool = False
    #: True if a success counts only when the server has proven itself in this very exchange (see `succeeded`).
    proves_server: bool = False

    @abstractmethod
    def step(self, challenge: bytes | None) -> bytes | None:
        """The response to `challenge`, or for None the initial response, if there is one.

        `UnacceptableChallenge` cancels the exchange, with "*"; `ServerNotProven` ends the connection.
        """

    def succeeded(self) -> None:  # noqa: B027  # most mechanisms have nothing to say here
        """The server says that the log-in has succeeded; `ServerNotProven` if that is not to be believed.

        Where the server has nothing to prove there is nothing to do.
        """


class UnacceptableChallenge(ProtocolError):
    """What the server asks makes no sense in this mechanism; the exchange is to be cancelled."""


class AuthenticationAborted(ProtocolError):
    """The exchange was cancelled with "*" because the server's side of it made no sense; the session goes on.

    `reply` is the challenge that made none.
    """

    def __init__(self, message: str, reply: Reply) -> None:
        super().__init__(message)
        self.reply = reply

    def __reduce__(self) -> tuple[type[AuthenticationAborted], tuple[str, Reply]]:
        return type(self), (str(self), self.reply)


class ServerNotProven(RemoteProtocolError):
    """The server says that it knows the client, and has not proven to know the secret: it may be anybody.

    The connection is of no use any more: what is sent over it may be read by whoever that is.
    """


def credential(argument: str, text: str) -> bytes:
    """RFC 4616 2: UTF-8, and NUL is the separator, so it can be in none of them.  The value is never shown."""
    if "\0" in text:
        raise InvalidArgument(argument, "a NUL cannot be sent")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidArgument(argument, "a lone surrogate has no encoding") from None


class Saying(Mechanism):
    """What the mechanisms have in common that say so many things and hear nothing: each in a response of its own.

    A server that asks on has not understood them, or wants more than it should: nothing is said twice.
    """

    _responses: list[bytes]

    def step(self, challenge: bytes | None) -> bytes:
        if not self._responses:
            raise UnacceptableChallenge(f"{self.name} has nothing more to say")
        return self._responses.pop(0)


class Plain(Saying):
    """PLAIN (RFC 4616): authorization identity, user name and password in one response, in the clear."""

    name = "PLAIN"

    def __init__(self, user: str, password: str, authorization_identity: str = "") -> None:
        response = b"\0".join(
            [
                credential("authorization identity", authorization_identity),
                credential("user name", user),
                credential("password", password),
            ]
        )
        self._responses = [response]


class Login(Saying):
    """LOGIN (never standardised): the user name to the first prompt, the password to the second, whatever they say.

    The user name may go with AUTH itself, as `smtplib` has always sent it; the first prompt is then the second.
    """

    name = "LOGIN"

    def __init__(self, user: str, password: str) -> None:
        self._responses = [credential("user name", user), credential("password", password)]


def cram_md5_response(user: bytes, password: bytes, challenge: bytes) -> bytes:
    """The answer of CRAM-MD5 (RFC 2195 2): the user name, and the challenge's digest, keyed with the password."""
    import hmac  # here, because it loads OpenSSL's hashes: a third of the time that importing this package takes

    return user + b" " + hmac.new(password, challenge, "md5").hexdigest().encode("ascii")


class CramMD5(Mechanism):
    """CRAM-MD5 (RFC 2195): a digest of the server's challenge, keyed with the password."""

    name = "CRAM-MD5"
    shows_secret = False

    def __init__(self, user: str, password: str) -> None:
        self._user = credential("user name", user)
        self._password = credential("password", password)
        self._answered = False

    def step(self, challenge: bytes | None) -> bytes | None:
        if challenge is None:
            return None  # the server speaks first
        if self._answered:
            raise UnacceptableChallenge(f"{self.name} has one challenge")
        self._answered = True
        return cram_md5_response(self._user, self._password, challenge)


class External(Saying):
    """EXTERNAL (RFC 4422 A): who the client is, the server knows already, by its certificate for instance.

    `authorization_identity` says whom to act as; "" leaves that to the server.
    """

    name = "EXTERNAL"
    shows_secret = False

    def __init__(self, authorization_identity: str = "") -> None:
        self._responses = [credential("authorization identity", authorization_identity)]


class Anonymous(Saying):
    """ANONYMOUS (RFC 4505): nobody in particular; `trace` is a token or an address for the server's log."""

    name = "ANONYMOUS"
    shows_secret = False

    def __init__(self, trace: str = "") -> None:
        # RFC 4505 3: at most 255 characters of UTF-8.
        if len(trace) > 255:
            raise InvalidArgument("trace", "at most 255 characters (RFC 4505 3)")
        self._responses = [credential("trace", trace)]
