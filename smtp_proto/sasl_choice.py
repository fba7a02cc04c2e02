"""Which mechanisms to log in with, the strongest first: what the server offers, as far as there are credentials for it.

One table says it: each mechanism with what it needs.  Nothing here is tried or sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .channel_binding import ChannelBinding
from .errors import InvalidArgument, MissingExtra
from .sasl import Anonymous, CramMD5, External, Login, Mechanism, Plain
from .sasl_oauth import OAuthBearer, XOAuth2
from .sasl_scram import PLUS, Scram
from .sasl_spnego import Gssapi, Ntlm


class Account(NamedTuple):
    """Whom to log in as, with what, and where."""

    user: str = ""
    password: str | None = None
    token: str | None = None
    #: Whom to act as, if not as `user` (RFC 4422 3.4.1).
    authorization_identity: str = ""
    host: str = ""
    port: int = 0
    #: What the TLS session gives to bind to; empty without TLS.
    bindings: Sequence[ChannelBinding] = ()
    #: True over TLS.
    encrypted: bool = False

    def __repr__(self) -> str:
        return f"Account({self.user!r}, ***)"


class Kind(NamedTuple):
    """A mechanism as a choice: what makes it (None: not here), what it needs, and what it can say."""

    make: Callable[[Account, Sequence[str]], Mechanism | None]
    #: The field of the account that it cannot do without.
    needs: str = ""
    #: It can say whom to act as.
    acts_as: bool = False


def _offers_plus(offered: Sequence[str]) -> bool:
    return any(name.endswith(PLUS) for name in offered)


def _scram(name: str) -> Kind:
    def make(account: Account, offered: Sequence[str]) -> Mechanism | None:
        binding = account.bindings[0] if account.bindings else None
        if name.endswith(PLUS):
            if binding is None:
                return None
        elif binding is not None and _offers_plus(offered):
            # RFC 5802 6: who can bind, and is offered to, must.  Taking the plain form when the other was refused would
            # be what somebody between the two ends would want.
            return None
        return Scram(account.user, account.password or "", name, binding=binding)

    return Kind(make, "password")  # scramp has no place for whom to act as


def _external(account: Account, offered: Sequence[str]) -> Mechanism | None:
    # Whether a certificate was shown, Python's `ssl` does not say; who has neither password nor token means this one.
    if account.password is not None or account.token is not None or not account.encrypted:
        return None
    return External(account.authorization_identity or account.user)


def _oauth_bearer(account: Account, offered: Sequence[str]) -> Mechanism:
    identity = account.authorization_identity or account.user
    return OAuthBearer(identity, account.token or "", account.host, account.port)


def _gssapi(account: Account, offered: Sequence[str]) -> Mechanism:
    return Gssapi(account.host, account.user or None, account.password, account.authorization_identity)


def _plain(account: Account, offered: Sequence[str]) -> Mechanism:
    return Plain(account.user, account.password or "", account.authorization_identity)


#: The mechanisms that are taken unasked, the strongest first.
PREFERENCE: dict[str, Kind] = {
    "EXTERNAL": Kind(_external, acts_as=True),
    "OAUTHBEARER": Kind(_oauth_bearer, "token", acts_as=True),
    "XOAUTH2": Kind(lambda account, _: XOAuth2(account.user, account.token or ""), "token"),
    **{name: _scram(name) for name in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1")},
    "CRAM-MD5": Kind(lambda account, _: CramMD5(account.user, account.password or ""), "password"),
    "PLAIN": Kind(_plain, "password", acts_as=True),
    "LOGIN": Kind(lambda account, _: Login(account.user, account.password or ""), "password"),
}
#: Those that have to be asked for: they need what is outside of this library, or make nobody known.
ON_REQUEST: dict[str, Kind] = {
    "GSSAPI": Kind(_gssapi, acts_as=True),
    "NTLM": Kind(lambda account, _: Ntlm(account.user, account.password or ""), "password"),
    "ANONYMOUS": Kind(lambda account, _: Anonymous(account.user)),
}

_KINDS = {**PREFERENCE, **ON_REQUEST}


def choose(account: Account, offered: Sequence[str], wanted: Sequence[str] | None = None) -> list[Mechanism]:
    """The mechanisms to try, in order, of those that are `offered`.

    `wanted`: only these, in this order.  `InvalidArgument` for a name in it that is not known here.  One that cannot be
    used (a package is missing, the password is none for SASLprep) is left out; if nothing else is left, `MissingExtra`
    or `InvalidArgument` says so.
    """
    offered = [name.upper() for name in offered]
    wanted = [name.upper() for name in (PREFERENCE if wanted is None else wanted)]
    if not _offers_plus(wanted) and _offers_plus(offered):
        # Who names others has decided to do without, for a server whose binding does not work, say.
        account = account._replace(bindings=())
    found: list[Mechanism] = []
    problem: MissingExtra | InvalidArgument | None = None
    for name in wanted:
        kind = _KINDS.get(name)
        if kind is None:
            raise InvalidArgument("mechanisms", f"{name!r} is none of {', '.join(_KINDS)}")
        if name not in offered or (account.authorization_identity and not kind.acts_as):
            continue
        if kind.needs and getattr(account, kind.needs) is None:
            continue
        try:
            mechanism = kind.make(account, offered)
        except (MissingExtra, InvalidArgument) as error:
            problem = problem or error
        else:
            if mechanism is not None:
                found.append(mechanism)
    if problem is not None and not found:
        raise problem
    return found
