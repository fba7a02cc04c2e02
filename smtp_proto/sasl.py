"""SASL mechanisms as step functions: challenge in, response out, no I/O and no base64.

Client side: an object with a `name` and a `step`.  ``step(None)`` asks for the initial response (None: the mechanism
has none, or the server is to speak first); ``step(challenge)`` answers one challenge.

Server side: a generator that yields challenges, is sent responses, and returns the `Credentials` that were presented.
Whether they are right is for the server's handler to say.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, Protocol

from .errors import InvalidArgument, ProtocolError
from .replies import Reply

# Challenges in one exchange.  SCRAM needs two, GSSAPI up to four; a server that goes on is broken or hostile.
MAX_CHALLENGES = 5


class Mechanism(Protocol):
    """The client's side of a mechanism."""

    @property
    def name(self) -> str:
        """As it stands in AUTH, in upper case."""

    def step(self, challenge: bytes | None) -> bytes | None:
        """The response to `challenge`, or for None the initial response, if there is one."""


class AuthenticationAborted(ProtocolError):
    """The exchange was cancelled with "*" because the server's side of it made no sense; the session goes on.

    `reply` is the challenge that made none.
    """

    def __init__(self, message: str, reply: Reply) -> None:
        super().__init__(message)
        self.reply = reply

    def __reduce__(self) -> tuple[type[AuthenticationAborted], tuple[str, Reply]]:
        return type(self), (str(self), self.reply)


def _credential(argument: str, text: str) -> bytes:
    """RFC 4616 2: UTF-8, and NUL is the separator, so it can be in none of them."""
    if "\0" in text:
        raise InvalidArgument(argument, "a NUL cannot be sent")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidArgument(argument, "a lone surrogate has no encoding") from None


class Plain:
    """PLAIN (RFC 4616): authorization identity, user name and password in one response, in the clear."""

    name = "PLAIN"

    def __init__(self, user: str, password: str, authorization_identity: str = "") -> None:
        self._response = b"\0".join(
            [
                _credential("authorization identity", authorization_identity),
                _credential("user name", user),
                _credential("password", password),
            ]
        )

    def step(self, challenge: bytes | None) -> bytes:
        return self._response


class Login:
    """LOGIN (never standardised): the user name to the first prompt, the password to any other, whatever they say."""

    name = "LOGIN"

    def __init__(self, user: str, password: str) -> None:
        self._responses = [_credential("user name", user), _credential("password", password)]

    def step(self, challenge: bytes | None) -> bytes:
        # The user name may go with AUTH itself, as `smtplib` has always sent it; the first prompt is then the second.
        return self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]


class CramMD5:
    """CRAM-MD5 (RFC 2195): a digest of the server's challenge, keyed with the password."""

    name = "CRAM-MD5"

    def __init__(self, user: str, password: str) -> None:
        self._user = _credential("user name", user)
        self._password = _credential("password", password)

    def step(self, challenge: bytes | None) -> bytes | None:
        if challenge is None:
            return None  # the server speaks first
        import hmac  # here, because it loads OpenSSL's hashes: a third of the time that importing this package takes

        return self._user + b" " + hmac.new(self._password, challenge, "md5").hexdigest().encode("ascii")


class Credentials(NamedTuple):
    """What a client presented."""

    mechanism: str
    user: str
    password: str
    authorization_identity: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.mechanism!r}, {self.user!r}, ***)"


#: One exchange on the server's side: yields challenges, is sent responses.  The first thing sent is the initial
#: response, or None.  `UnacceptableResponse` for a response that is none.
ServerExchange = Generator[bytes, bytes | None, Credentials]


class UnacceptableResponse(ProtocolError):
    """The client's response does not have the form that the mechanism wants."""


def _text(octets: bytes | None) -> str:
    try:
        return (octets or b"").decode("utf-8")
    except UnicodeDecodeError:
        raise UnacceptableResponse("the response is not UTF-8") from None


def plain_exchange() -> ServerExchange:
    """The server's side of PLAIN: an empty challenge where the client sent no initial response."""
    response = yield b""
    if response is None:
        response = yield b""
    parts = _text(response).split("\0")
    if len(parts) != 3 or not parts[1]:
        raise UnacceptableResponse("PLAIN is authorization identity, user name and password with a NUL between each")
    return Credentials("PLAIN", parts[1], parts[2], parts[0])


def login_exchange() -> ServerExchange:
    """The server's side of LOGIN, with the prompts that clients look for."""
    user = yield b""
    if user is None:
        user = yield b"Username:"
    password = yield b"Password:"
    return Credentials("LOGIN", _text(user), _text(password))


SERVER_MECHANISMS: dict[str, Callable[[], ServerExchange]] = {"PLAIN": plain_exchange, "LOGIN": login_exchange}
