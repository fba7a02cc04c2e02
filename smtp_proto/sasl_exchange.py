"""The server's side of SASL, in values: what clients present, what a server asks its application, what comes of it.

A mechanism on the server's side is a generator, an *exchange*.  It is sent the client's responses, the initial one
first (None where there is none), and yields challenges, as octets, or an `Ask`, a question to the application, and is
sent the answer.  It returns `Verified`, or raises `Refused` or `UnacceptableResponse`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias

from .channel_binding import ChannelBinding
from .errors import ProtocolError
from .replies import Reply


class Credentials(NamedTuple):
    """What a client presented, or whom it has logged in as: `password` is that of PLAIN and LOGIN, else ""."""

    mechanism: str
    user: str
    password: str
    authorization_identity: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.mechanism!r}, {self.user!r}, ***)"


class BearerToken(NamedTuple):
    """What a client presented with OAUTHBEARER or XOAUTH2.

    `user` is whom it wants to act as, and may be empty; `host` and `port` are where it thinks that it is.
    """

    mechanism: str
    user: str
    token: str
    host: str = ""
    port: str = ""

    def __repr__(self) -> str:
        return f"BearerToken({self.mechanism!r}, {self.user!r}, ***)"


class TokenRefused(NamedTuple):
    """Why a token is refused (RFC 7628 3.2.2): the client is told as JSON, before the 535."""

    status: str = "invalid_token"
    scope: str = ""
    openid_configuration: str = ""

    def challenge(self) -> bytes:
        import json  # here, for servers that never take tokens

        error = {"status": self.status, "schemes": "bearer"}
        if self.scope:
            error["scope"] = self.scope
        if self.openid_configuration:
            error["openid-configuration"] = self.openid_configuration
        return json.dumps(error).encode("ascii")


class ScramKeys(NamedTuple):
    """What a server keeps in place of a password (RFC 5802 3), for one hash and one user."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int

    def __repr__(self) -> str:
        return f"ScramKeys(***, iterations={self.iterations})"


class Circumstances(NamedTuple):
    """What an exchange depends on besides the client: the server's name, and what its TLS session can be bound to.

    `nonce` fixes what is random otherwise, for tests.
    """

    hostname: str = "localhost"
    bindings: Sequence[ChannelBinding] = ()
    #: A -PLUS form is offered, so a client that says that none was has been deceived.
    offers_plus: bool = False
    nonce: str | None = None


class Ask(NamedTuple):
    """A question to the application: a method of its `Handler`, the arguments, and the types that answer it."""

    method: str
    arguments: tuple[object, ...]
    answers: tuple[type, ...]


class Verified(NamedTuple):
    """The client is who it says; `reply`, if the application gave one, is what to tell it."""

    credentials: Credentials
    reply: Reply | None = None


class UnacceptableResponse(ProtocolError):
    """The client's response does not have the form that the mechanism wants."""


class Refused(ProtocolError):
    """The client has not proven to be who it says."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


INVALID = Reply(535, "5.7.8 Authentication credentials invalid")

ServerExchange: TypeAlias = Generator["bytes | Ask", Any, Verified]
#: Begins an exchange.
ServerMechanism: TypeAlias = Callable[[Circumstances], ServerExchange]
