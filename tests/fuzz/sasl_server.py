"""Whatever a client responds, an exchange challenges, asks, refuses or verifies, and nobody without the secret.

An input: two octets that choose the mechanism and what the application answers, then responses, each behind its length;
of a length of zero the first is none at all.
"""

from __future__ import annotations

from smtp_proto.channel_binding import ChannelBinding
from smtp_proto.replies import Reply
from smtp_proto.sasl_exchange import (
    Ask,
    Circumstances,
    Refused,
    ScramKeys,
    TokenRefused,
    UnacceptableResponse,
    Verified,
)
from smtp_proto.sasl_server import SERVER_MECHANISMS
from tests.fuzz.inputs import Input

NAMES = tuple(SERVER_MECHANISMS)
BINDING = ChannelBinding("tls-server-end-point", b"x" * 32)
# Whoever is verified by a proof would have to know one of these, which are in no input.
SECRET = "correct horse battery staple 57"
KEYS = ScramKeys(b"salt", bytes(range(20)), bytes(range(20)), 4096)
ANSWERS = (None, Reply(535, "5.7.8 no"), Reply(454, "4.7.0 later"), Reply(235, "2.7.0 yes"), "somebody", TokenRefused())
PROVING = frozenset({"CRAM-MD5", *(name for name in NAMES if name.startswith("SCRAM"))})

# Exchanges are short: one that goes on would keep a client busy for ever.
MOST_CHALLENGES = 4


def check(data: bytes) -> None:
    given = Input(data)
    name = NAMES[given.number() % len(NAMES)]
    choice = given.number()
    responses = [given.some() for _ in range(MOST_CHALLENGES + 1)]
    exchange = SERVER_MECHANISMS[name](
        Circumstances("mx.test", (BINDING,) if choice & 64 else (), offers_plus=bool(choice & 128), nonce="nonce")
    )
    accepted = False
    next(exchange)
    try:
        said = exchange.send(responses.pop(0) or None)
        while True:
            if isinstance(said, Ask):
                answer = answer_to(said, choice)
                accepted = not isinstance(answer, TokenRefused) and (not isinstance(answer, Reply) or answer.accepted)
                said = exchange.send(answer)
            else:
                assert isinstance(said, bytes)
                assert responses, "challenges without end"
                said = exchange.send(responses.pop(0))
    except StopIteration as stop:
        assert accepted
        check_verified(name, stop.value)
    except UnacceptableResponse as error:
        assert "\n" not in str(error)
    except Refused as error:
        assert error.reply.code >= 400


def check_verified(name: str, verified: object) -> None:
    assert isinstance(verified, Verified)
    assert name not in PROVING
    assert verified.credentials.mechanism == name
    assert repr(verified.credentials).endswith(", ***)")


def answer_to(question: Ask, choice: int) -> object:
    if question.method == "secret":
        secrets = (SECRET, KEYS if ScramKeys in question.answers else SECRET, None, ANSWERS[1], ANSWERS[3])
        return secrets[choice % len(secrets)]
    fitting = [answer for answer in ANSWERS if isinstance(answer, question.answers)]
    return fitting[choice % len(fitting)]
