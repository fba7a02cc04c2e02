"""Kerberos and NTLM log-ins on the package pyspnego: GSSAPI (RFC 4752) and NTLM (MS-SMTPNTLM).

What is here is the framing; the tokens come from a context of pyspnego's, or anything else with its four methods (see
`Context`).  Kerberos asks its own servers for tickets, or has them in a cache: that is the one place where a step of a
mechanism may wait for a network that this library does not see.
"""

from __future__ import annotations

from typing import Any, Protocol

from .errors import MissingExtra
from .sasl import Mechanism, ServerNotProven, UnacceptableChallenge, credential

# RFC 4752 3.3: the bit that says "no security layer", and with none, a maximum size of zero.
_NO_LAYER = 1
_CHOICE = b"\x01\x00\x00\x00"


class Context(Protocol):
    """What is used of a security context, as pyspnego has it."""

    @property
    def complete(self) -> bool:
        """True when both ends are agreed."""

    def step(self, in_token: bytes | None = None) -> bytes | None:
        """The next token, if there is one."""

    def wrap(self, data: bytes, encrypt: bool = True) -> Any:
        """`data` with its integrity protected: in the result's `data`."""

    def unwrap(self, data: bytes) -> Any:
        """What was wrapped: in the result's `data`."""


def _context(protocol: str, hostname: str, user: str | None, password: str | None) -> Context:
    try:
        import spnego
    except ImportError:
        raise MissingExtra(protocol.upper(), "spnego") from None
    return spnego.client(user, password, hostname=hostname or "unspecified", service="smtp", protocol=protocol)


def _token(context: Context, challenge: bytes | None, begun: bool) -> bytes | None:
    """The next token, `challenge` being the server's.

    What a broken one makes pyspnego raise is of many kinds, `struct.error` among them.  What it raises before the
    exchange has `begun`, without a ticket for instance, is not the server's fault and goes on as it is.
    """
    if not begun and not challenge:
        return context.step(None)
    try:
        return context.step(challenge)
    except Exception as error:
        raise UnacceptableChallenge(f"the server's token: {type(error).__name__}") from error


class Ntlm(Mechanism):
    """NTLM, with a user (``DOMAIN\\\\user``, or ``user@domain``) and a password.  `MissingExtra` without pyspnego."""

    name = "NTLM"
    shows_secret = False

    def __init__(self, user: str, password: str, *, context: Context | None = None) -> None:
        credential("user name", user)
        credential("password", password)
        self._context = context if context is not None else _context("ntlm", "", user, password)
        self._begun = False

    def step(self, challenge: bytes | None) -> bytes | None:
        if self._context.complete:
            raise UnacceptableChallenge("the exchange is at its end")
        begun, self._begun = self._begun, True
        return _token(self._context, challenge, begun)


class Gssapi(Mechanism):
    """GSSAPI (RFC 4752), that is, Kerberos, with the service ``smtp`` of `hostname`.

    Without `user` and `password` the ticket cache has them (``kinit``).  `authorization_identity` says whom to act as.
    No security layer is taken: that is for TLS.  `MissingExtra` without pyspnego, and what pyspnego raises where the
    system has no Kerberos: it needs its own extra, ``pyspnego[kerberos]``.
    """

    name = "GSSAPI"
    shows_secret = False
    proves_server = True

    def __init__(
        self,
        hostname: str,
        user: str | None = None,
        password: str | None = None,
        authorization_identity: str = "",
        *,
        context: Context | None = None,
    ) -> None:
        self._identity = credential("authorization identity", authorization_identity)
        self._context = context if context is not None else _context("kerberos", hostname, user, password)
        self._begun = self._agreed = False

    def step(self, challenge: bytes | None) -> bytes | None:
        if not self._context.complete:
            begun, self._begun = self._begun, True
            # RFC 4752 3.1: with nothing to send, an empty response is.
            return _token(self._context, challenge, begun) or b""
        if self._agreed:
            raise UnacceptableChallenge("the exchange is at its end")
        try:
            offer = self._context.unwrap(challenge or b"").data
        except Exception as error:
            raise ServerNotProven(f"the server's offer is not its own: {type(error).__name__}") from error
        if len(offer) != 4 or not offer[0] & _NO_LAYER:
            raise UnacceptableChallenge("the server wants a security layer, which SMTP with TLS has no use for")
        self._agreed = True
        wrapped: bytes = self._context.wrap(_CHOICE + self._identity, encrypt=False).data
        return wrapped

    def succeeded(self) -> None:
        if not self._agreed:
            raise ServerNotProven("the server says that the log-in has succeeded without having proven itself")
