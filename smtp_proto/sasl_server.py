"""SASL mechanisms as a server verifies them: exchanges (see `smtp_proto.sasl_exchange`), and the table of them.

What is compared is compared in constant time, and an unknown user costs what one with a password does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable
from types import NoneType
from typing import Any

from .channel_binding import TLSFacts, bindings
from .errors import InvalidArgument
from .replies import Reply
from .sasl import cram_md5_response
from .sasl_exchange import (
    INVALID,
    Ask,
    BearerToken,
    Circumstances,
    Credentials,
    Refused,
    ScramKeys,
    ServerExchange,
    ServerMechanism,
    TokenRefused,
    UnacceptableResponse,
    Verified,
)
from .sasl_oauth import SEPARATOR, parse_saslname
from .sasl_scram import PLUS, scramp

_DECISION = (Reply, NoneType)
_DECISION_OR_USER = (*_DECISION, str)


def _text(octets: bytes | None) -> str:
    try:
        text = (octets or b"").decode("utf-8")
    except UnicodeDecodeError:
        raise UnacceptableResponse("the response is not UTF-8") from None
    return text


def _accepted(decision: Reply | None) -> Reply | None:
    """The application's own words for a success; `Refused` if it is none."""
    if decision is not None and not decision.accepted:
        raise Refused(decision)
    return decision


def _no_reply(secret: str | ScramKeys | Reply | None) -> None:
    """`Refused` where the application gives a reply in place of what it keeps; a success can be none."""
    if isinstance(secret, Reply):
        _accepted(secret)
        raise Refused(INVALID)


def _first_response() -> Generator[bytes | Ask, Any, bytes]:
    """The initial response, or where there is none, the answer to an empty challenge (RFC 4954 4)."""
    response: bytes | None = yield b""
    if response is None:
        response = yield b""
    return response or b""


def _for_user(mechanism: str, claimed: str, decision: Reply | str | None) -> Verified:
    """The user that the application names, or else the one that the client claims to be."""
    if isinstance(decision, str):
        return Verified(Credentials(mechanism, decision, "", claimed))
    return Verified(Credentials(mechanism, claimed, ""), _accepted(decision))


# -- those that show a password ---------------------------------------------------------------------------------------


def plain(circumstances: Circumstances) -> ServerExchange:
    """PLAIN (RFC 4616): an empty challenge where the client sent no initial response."""
    response = yield from _first_response()
    parts = _text(response).split("\0")
    if len(parts) != 3 or not parts[1]:
        raise UnacceptableResponse("PLAIN is authorization identity, user name and password with a NUL between each")
    credentials = Credentials("PLAIN", parts[1], parts[2], parts[0])
    return Verified(credentials, _accepted((yield Ask("auth", (credentials,), _DECISION))))


def login(circumstances: Circumstances) -> ServerExchange:
    """LOGIN, with the prompts that clients look for."""
    user = yield b""
    if user is None:
        user = yield b"Username:"
    password = yield b"Password:"
    credentials = Credentials("LOGIN", _text(user), _text(password))
    return Verified(credentials, _accepted((yield Ask("auth", (credentials,), _DECISION))))


# -- those that prove to know one -------------------------------------------------------------------------------------


def cram_md5(circumstances: Circumstances) -> ServerExchange:
    """CRAM-MD5 (RFC 2195): the challenge is made of random octets and the server's name."""
    from hmac import compare_digest

    if (yield b"") is not None:
        raise UnacceptableResponse("CRAM-MD5 has no initial response")
    nonce = circumstances.nonce or os.urandom(16).hex()
    challenge = f"<{nonce}@{circumstances.hostname}>".encode()
    response = yield challenge
    user, space, _ = (response or b"").rpartition(b" ")
    if not space:
        raise UnacceptableResponse("CRAM-MD5 is user name and digest with a space between")
    name = _text(user)
    secret = yield Ask("secret", ("CRAM-MD5", name), (str, *_DECISION))
    _no_reply(secret)
    # A lone surrogate makes a password that nobody can send.
    expected = cram_md5_response(user, (secret or "").encode("utf-8", "surrogatepass"), challenge)
    if not compare_digest(expected, response) or secret is None:
        raise Refused(INVALID)
    return Verified(Credentials("CRAM-MD5", name, ""))


_CLIENT_FIRST = re.compile(r"(n|y|p=[A-Za-z0-9.-]+),(a=[^,]+)?,n=([^,]*),r=.*", re.DOTALL)
# Salts of users that have no keys: the same for the same name each time, as those of real ones are.
_SALT_KEY = os.urandom(32)


def _scram(name: str) -> ServerMechanism:
    """SCRAM (RFC 5802, RFC 7677), on the package scramp."""
    base, plus = name.removesuffix(PLUS), name.endswith(PLUS)

    def keys_of(user: str, password: str) -> ScramKeys:
        from hmac import digest

        salt = digest(_SALT_KEY, f"{base} {user}".encode(), "sha256")[:16]
        return ScramKeys(*scramp().ScramMechanism(base).make_auth_info(password, salt=salt))

    def exchange(circumstances: Circumstances) -> ServerExchange:
        package = scramp()
        response = yield from _first_response()
        message = _text(response)
        match = _CLIENT_FIRST.fullmatch(message)
        if match is None or match[2] is not None:
            raise UnacceptableResponse("the first message is not the one of SCRAM without an authorization identity")
        flag = match[1]
        if flag.startswith("p") is not plus:
            raise UnacceptableResponse(f"the flag {flag[0]!r} has no place in {name}")
        # "y": the client could have bound, and has seen no offer to.  Where there was one, somebody has taken it away.
        binding = next((found for found in circumstances.bindings if flag in ("y", f"p={found.name}")), None)
        if flag == "y" and not circumstances.offers_plus:
            binding = None
        try:
            user = package.utils.saslprep(parse_saslname(match[3]))
        except (ValueError, package.ScramException) as error:
            raise UnacceptableResponse(f"the user name: {error.args[0]}") from None
        secret = yield Ask("secret", (base, user), (str, ScramKeys, *_DECISION))
        _no_reply(secret)
        try:
            keys = secret if isinstance(secret, ScramKeys) else keys_of(user, secret or os.urandom(16).hex())
            server = package.ScramMechanism(name if binding or not plus else base).make_server(
                lambda _: keys, binding, circumstances.nonce
            )
            server.set_client_first(message)
            final = yield server.get_server_first().encode()
            server.set_client_final(_text(final))
        except package.ScramException:
            raise Refused(INVALID) from None
        # RFC 4954 4: what goes with the success is sent in a challenge, and answered with nothing.
        if (yield server.get_server_final().encode()):
            raise UnacceptableResponse("nothing is to be said to the server's signature")
        return Verified(Credentials(name, user, ""))

    return exchange


# -- those that need no password --------------------------------------------------------------------------------------


def external(circumstances: Circumstances) -> ServerExchange:
    """EXTERNAL (RFC 4422 A): the application says whether the certificate is good for the identity."""
    response = yield from _first_response()
    identity = _text(response)
    if "\0" in identity:
        raise UnacceptableResponse("a NUL in an authorization identity")
    return _for_user("EXTERNAL", identity, (yield Ask("external", (identity,), _DECISION_OR_USER)))


def anonymous(circumstances: Circumstances) -> ServerExchange:
    """ANONYMOUS (RFC 4505): the trace information is for the application's log."""
    response = yield from _first_response()
    trace = _text(response)
    if len(trace) > 255 or "\0" in trace:
        raise UnacceptableResponse("trace information has at most 255 characters (RFC 4505)")
    return Verified(Credentials("ANONYMOUS", "", ""), _accepted((yield Ask("anonymous", (trace,), _DECISION))))


# Case-insensitive for the scheme's sake (RFC 7235 2.1).
_BEARER = re.compile(r"Bearer +([\x21-\x7e]+)", re.IGNORECASE)
_XOAUTH2 = re.compile(r"user=([^\x00\x01]*)\x01auth=([^\x00\x01]*)\x01\x01")
_GS2_HEADER = re.compile(r"[ny],(?:a=([^,\x00]*))?,")


def _xoauth2(response: str) -> BearerToken:
    match = _XOAUTH2.fullmatch(response)
    if match is None:
        raise UnacceptableResponse("XOAUTH2 is user=...^Aauth=Bearer ...^A^A")
    return BearerToken("XOAUTH2", match[1], _bearer(match[2]))


def _oauth_bearer(response: str) -> BearerToken:
    header, *pairs = response.split(SEPARATOR)
    match = _GS2_HEADER.fullmatch(header)
    if match is None or len(pairs) < 3 or pairs[-2:] != ["", ""] or not all("=" in pair for pair in pairs[:-2]):
        raise UnacceptableResponse("OAUTHBEARER is n,a=...,^Aauth=Bearer ...^A^A (RFC 7628 3.1)")
    values = dict(pair.split("=", 1) for pair in pairs[:-2])
    try:
        user = parse_saslname(match[1] or "")
    except ValueError as error:
        raise UnacceptableResponse(str(error)) from None
    token = _bearer(values.get("auth", ""))
    return BearerToken("OAUTHBEARER", user, token, values.get("host", ""), values.get("port", ""))


def _bearer(value: str) -> str:
    match = _BEARER.fullmatch(value)
    if match is None:
        raise UnacceptableResponse("no bearer token")
    return match[1]


def _oauth(name: str) -> ServerMechanism:
    read = {"OAUTHBEARER": _oauth_bearer, "XOAUTH2": _xoauth2}[name]

    def exchange(circumstances: Circumstances) -> ServerExchange:
        response = yield from _first_response()
        presented = read(_text(response))
        decision = yield Ask("token", (presented,), (TokenRefused, *_DECISION_OR_USER))
        if isinstance(decision, TokenRefused):
            # RFC 7628 3.2.3: whatever the client says to it, the refusal follows.
            yield decision.challenge()
            raise Refused(INVALID)
        return _for_user(name, presented.user, decision)

    return exchange


# -- the table --------------------------------------------------------------------------------------------------------

_SCRAMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1")

#: What a server can offer, the strongest first.
SERVER_MECHANISMS: dict[str, ServerMechanism] = {
    "EXTERNAL": external,
    "OAUTHBEARER": _oauth("OAUTHBEARER"),
    "XOAUTH2": _oauth("XOAUTH2"),
    **{name: _scram(name) for name in _SCRAMS},
    "CRAM-MD5": cram_md5,
    "PLAIN": plain,
    "LOGIN": login,
    "ANONYMOUS": anonymous,
}


def check_mechanisms(names: Iterable[str]) -> None:
    """`InvalidArgument` for a mechanism that is not in the table, `MissingExtra` for SCRAM without its package."""
    for name in names:
        if name not in SERVER_MECHANISMS:
            raise InvalidArgument("mechanisms", f"{name!r} is none of {', '.join(SERVER_MECHANISMS)}")
        if name in _SCRAMS:
            scramp()


def password_mechanisms() -> tuple[str, ...]:
    """What can be offered where passwords are known: with SCRAM if its package is there."""
    try:
        scramp()
    except ImportError:
        return ("CRAM-MD5", "PLAIN", "LOGIN")
    return (*_SCRAMS, "CRAM-MD5", "PLAIN", "LOGIN")


def offered(names: Iterable[str], facts: TLSFacts | None, certificate: bytes | None) -> list[str]:
    """Of the mechanisms with these names, those that the connection allows: -PLUS where there is something to bind to,
    EXTERNAL where the client has shown a certificate."""
    bound = bool(bindings(facts, certificate))
    shown = facts is not None and facts.peer_certificate is not None
    return [name for name in names if (bound or not name.endswith(PLUS)) and (shown or name != "EXTERNAL")]
