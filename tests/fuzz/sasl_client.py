"""Whatever challenges a server sends, a mechanism answers or gives up, and one that wants proof never believes without.

An input: one octet that chooses the mechanism, one whether it speaks first, then challenges, each behind its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from smtp_proto.channel_binding import ChannelBinding
from smtp_proto.sasl import (
    MAX_CHALLENGES,
    Anonymous,
    CramMD5,
    External,
    Login,
    Mechanism,
    Plain,
    ServerNotProven,
    UnacceptableChallenge,
)
from smtp_proto.sasl_oauth import OAuthBearer, XOAuth2
from smtp_proto.sasl_scram import MAX_ITERATIONS, Scram
from smtp_proto.sasl_spnego import Gssapi, Ntlm
from tests.fuzz.inputs import Input

USER, PASSWORD = "ada", "pencil"
BINDING = ChannelBinding("tls-server-end-point", b"x" * 32)


class Wrapping:
    """A security context that agrees to every token; only what begins with W was wrapped by its peer."""

    complete = False

    def step(self, in_token: bytes | None = None) -> bytes | None:
        self.complete = in_token is not None
        return b"token"

    def wrap(self, data: bytes, encrypt: bool = True) -> Any:
        return SimpleNamespace(data=b"W" + data)

    def unwrap(self, data: bytes) -> Any:
        if not data.startswith(b"W"):
            raise ValueError("not wrapped")
        return SimpleNamespace(data=data[1:])


MECHANISMS: tuple[Callable[[], Mechanism], ...] = (
    lambda: Plain(USER, PASSWORD),
    lambda: Login(USER, PASSWORD),
    lambda: CramMD5(USER, PASSWORD),
    External,
    Anonymous,
    lambda: OAuthBearer(USER, "token", "mx.test", 587),
    lambda: XOAuth2(USER, "token"),
    lambda: Scram(USER, PASSWORD, "SCRAM-SHA-1", nonce="fyko"),
    lambda: Scram(USER, PASSWORD, "SCRAM-SHA-256", binding=BINDING, nonce="rOpr"),
    lambda: Scram(USER, PASSWORD, "SCRAM-SHA-256-PLUS", binding=BINDING, nonce="rOpr"),
    lambda: Gssapi("mx.test", context=Wrapping()),
    lambda: Ntlm(USER, PASSWORD),
)
# As many iterations of SCRAM as are quick, and those that are refused.
_SLOW = re.compile(rb"i=0*(\d{4,7})(?!\d)")


def check(data: bytes) -> None:
    given = Input(data)
    mechanism = MECHANISMS[given.number() % len(MECHANISMS)]()
    first = given.number() % 2 == 0
    challenges = [given.some() for _ in range(MAX_CHALLENGES + 1)]
    if any(2000 < int(slow[1]) <= MAX_ITERATIONS for challenge in challenges for slow in _SLOW.finditer(challenge)):
        return
    try:
        if first:
            check_response(mechanism.step(None))
        for challenge in challenges:
            check_response(mechanism.step(challenge))
    except (UnacceptableChallenge, ServerNotProven) as error:
        assert PASSWORD not in str(error)
    try:
        mechanism.succeeded()
    except ServerNotProven:
        assert mechanism.proves_server
    else:
        # Nobody can forge a proof of SCRAM; what Kerberos takes for one is the context's to say.
        assert not mechanism.proves_server or isinstance(mechanism, Gssapi)


def check_response(response: bytes | None) -> None:
    assert response is None or isinstance(response, bytes)
