"""Log-ins with an OAuth 2.0 bearer token: OAUTHBEARER (RFC 7628) and Google's and Microsoft's older XOAUTH2.

Both send the token in one response.  A server that refuses it says why in a challenge, as JSON, which is answered with
next to nothing, for only after that comes the refusal (RFC 7628 3.2.3); `error` holds it then.

Where tokens come from is not known here.  `TokenSource` is what conversations accept: the token itself, a callable that
gives one, or one that can also `refresh` it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from .errors import InvalidArgument
from .sasl import Mechanism, UnacceptableChallenge, credential

# RFC 7628 3.1: the separator of its key/value pairs, and its answer to the error.
SEPARATOR = "\x01"

# RFC 6750 2.1 has fewer characters; no provider has others than these, and none of them can end the pair early.
_TOKEN = re.compile(r"[\x21-\x7e]+")

#: What a source gives.
Given: TypeAlias = "str | Awaitable[str]"


@runtime_checkable
class RefreshableToken(Protocol):
    """Something that gives a token, and can get a new one when a server refuses it.  Both may be coroutines."""

    def __call__(self) -> Given:
        """The token to begin with, a cached one for instance."""

    def refresh(self) -> Given:
        """Another one: the server has refused the last with a 535."""


#: A token, or what gives one when a log-in needs it; in asynchronous clients that may be a coroutine function.
TokenSource: TypeAlias = "str | Callable[[], Given] | RefreshableToken"


class Bearer(Mechanism):
    """What the two have in common; the token is checked when the mechanism is made."""

    shows = "token"
    _answer_to_error: bytes

    def __init__(self, user: str, token: str, response: str) -> None:
        if SEPARATOR in user:
            raise InvalidArgument("user name", "a control-A cannot be sent")
        credential("user name", user)
        if not _TOKEN.fullmatch(token):
            # Not shown: it may be a good one with a line end behind it.
            raise InvalidArgument("token", "a bearer token has at least one and only printable ASCII characters")
        self._response = response.encode()
        self._steps = 0

    def step(self, challenge: bytes | None) -> bytes:
        self._steps += 1
        if self._steps == 1:
            return self._response
        if self._steps > 2:
            raise UnacceptableChallenge(f"{self.name} has one challenge, the reason of a refusal")
        self.error = _error(challenge or b"")
        return self._answer_to_error


def _error(challenge: bytes) -> dict[str, Any]:
    """The reason of a refusal (RFC 7628 3.2.2): JSON, with `status` at least; {} where it is none."""
    import json  # here, for those who never log in so

    try:
        error = json.loads(challenge)
    except (ValueError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {}


class XOAuth2(Bearer):
    """XOAUTH2 (developers.google.com/gmail/imap/xoauth2-protocol), as Gmail and Exchange Online have it."""

    name = "XOAUTH2"
    _answer_to_error = b""

    def __init__(self, user: str, token: str) -> None:
        super().__init__(user, token, f"user={user}\x01auth=Bearer {token}\x01\x01")


class OAuthBearer(Bearer):
    """OAUTHBEARER (RFC 7628).  `user` becomes the authorization identity; `host` and `port`, where given, are those
    that the client has connected to."""

    name = "OAUTHBEARER"
    _answer_to_error = SEPARATOR.encode()

    def __init__(self, user: str, token: str, host: str = "", port: int = 0) -> None:
        if SEPARATOR in host:
            raise InvalidArgument("host", "a control-A cannot be sent")
        credential("host", host)
        identity = f"a={saslname(user)}" if user else ""
        pairs = [f"host={host}"] * bool(host) + [f"port={port}"] * bool(port) + [f"auth=Bearer {token}"]
        # RFC 7628 3.1: gs2-header kvsep *kvpair kvsep, each pair with its own separator behind it.
        super().__init__(user, token, SEPARATOR.join([f"n,{identity},", *pairs, "", ""]))


#: The mechanisms that take a token.
BEARERS = frozenset({OAuthBearer.name, XOAuth2.name})


def saslname(name: str) -> str:
    """A name in a gs2-header (RFC 5801 4): "=" and "," are what they separate with."""
    return name.replace("=", "=3D").replace(",", "=2C")


_ESCAPE = re.compile(r"=(2C|3D|)")


def parse_saslname(name: str) -> str:
    """The name in a gs2-header; ValueError for a "=" that escapes nothing."""

    def unescape(match: re.Match[str]) -> str:
        if not match[1]:
            raise ValueError('a "=" in a name that is neither =2C nor =3D')
        return "," if match[1] == "2C" else "="

    return _ESCAPE.sub(unescape, name)
