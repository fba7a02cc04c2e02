"""The property of equal outcomes, through the surface: however a message is sent, what is told of it is the same.

`smtp_proto`'s own properties are in `tests.test_transaction_pipelining` and `tests.test_many`.  These here go through
the methods that people call, with DSN options, and through overrides, which make a client go step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smtp_blocking
from smtp_proto.outcome import Fate, Outcome
from smtp_proto.replies import Reply
from smtp_surface.addresses import Recipient

from .line import Line
from .serving import HANGS_UP
from .test_many import Letter, Obedient, summary

OFFER = "mx.test\nPIPELINING\nCHUNKING\nDSN"
DSN = ["RET=HDRS", "ENVID=a+2Bb"]
# A refusal of each kind, codes that are none, and the two ends of a connection: with a word and without.
CODES = st.sampled_from([250, 250, 250, 250, 250, 251, 450, 550, 199, 600, 421, HANGS_UP])
LETTERS = st.lists(
    st.builds(
        Letter,
        CODES,
        st.lists(CODES, min_size=1, max_size=3),
        st.sampled_from([354, 354, 354, 354, 451, 554, 421, HANGS_UP]),
        CODES,
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)
WAYS: dict[str, dict[str, Any]] = {
    "pipelining": {"chunking": False},
    "BDAT": {"chunking": True},
    "BDAT, one at a time": {"chunking": True, "pipelining": False},
    "eager": {"chunking": "eager"},
}
STEP_BY_STEP: dict[str, Any] = {"chunking": False, "pipelining": False}


class Offering(Obedient):
    """Answers as the letters say, and offers all that may make a difference."""

    def _answer(self, row: str) -> None:
        if row in ("EHLO", "LHLO"):
            self.connection.send(Reply(250, OFFER))
        else:
            super()._answer(row)


class Overridden(smtp_blocking.SMTP):
    def rcpt(self, recip: Any, options: Any = ()) -> Any:
        return super().rcpt(recip, options)


class OverriddenLMTP(smtp_blocking.LMTP):
    def rcpt(self, recip: Any, options: Any = ()) -> Any:
        return super().rcpt(recip, options)


def envelope(letter: Letter, number: int) -> smtp_blocking.Envelope:
    octets = b"message %d\r\n.\r\n" % number
    recipients = [f"{code}@{n}.test" for n, code in enumerate(letter.rcpt)]
    recipients[0] = Recipient(recipients[0], ["NOTIFY=NEVER"])
    return smtp_blocking.Envelope(
        f"{letter.mail}.{letter.data}.{letter.final}@client.test",
        recipients,
        iter([octets]) if letter.stream else octets,
        DSN,
        ["NOTIFY=SUCCESS,DELAY"],
    )


class Sent:
    """Letters that were sent over one connection, until it was lost: what was told of each, and what the server has."""

    def __init__(
        self, letters: Sequence[Letter], lmtp: bool, options: dict[str, Any], *, many: bool, overridden: bool = False
    ) -> None:
        self.server = Offering(lmtp=lmtp)
        self.lost = False
        self.outcomes: list[Outcome] = []
        kinds = (Overridden, OverriddenLMTP) if overridden else (smtp_blocking.SMTP, smtp_blocking.LMTP)
        self._client = kinds[lmtp](stream=Line(self.server), local_hostname="client.test", **options)
        envelopes = [envelope(letter, number) for number, letter in enumerate(letters)]
        try:
            for outcome in self._client.send_many(iter(envelopes)) if many else self._one_by_one(envelopes):
                self.outcomes.append(outcome)
        except smtp_blocking.SMTPServerDisconnected:
            self.lost = True
        self.lost = self.lost or self._client.sock is None
        self._client.close()

    def _one_by_one(self, envelopes: list[smtp_blocking.Envelope]) -> Iterator[Outcome]:
        for each in envelopes:
            try:
                yield self._client.deliver(
                    each.message, each.sender, each.recipients, each.mail_options, each.rcpt_options
                )
            except smtp_blocking.SMTPServerDisconnected as error:
                if getattr(error, "outcome", None) is not None:
                    yield error.outcome  # type: ignore[misc]  # it is none
                raise

    @property
    def seen(self) -> list[tuple[object, ...]]:
        return [summary(outcome) for outcome in self.outcomes]

    @property
    def parameters(self) -> list[bytes]:
        """The recipients with their options, as the server was told them."""
        return [command.line for command in self.server.commands if command.row == "RCPT"]


def fitting(letters: Sequence[Letter], options: dict[str, Any]) -> list[Letter]:
    """Where a message goes by BDAT there is no answer to DATA."""
    return [letter._replace(data=354) if options["chunking"] and not letter.stream else letter for letter in letters]


@settings(max_examples=150, deadline=None)
@given(letters=LETTERS, lmtp=st.booleans(), way=st.sampled_from(sorted(WAYS)), many=st.booleans())
def test_each_way_tells_the_same(letters: Sequence[Letter], lmtp: bool, way: str, many: bool) -> None:
    """Pipelined, by BDAT, eager, and with many in flight: outcome by outcome what step by step gives."""
    letters = fitting(letters, WAYS[way])
    one, other = Sent(letters, lmtp, STEP_BY_STEP, many=False), Sent(letters, lmtp, WAYS[way], many=many)
    assert one.lost == other.lost
    count = len(one.outcomes)
    if way != "eager":
        assert other.seen[:count] == one.seen
    for mine, his in zip(one.outcomes, other.outcomes, strict=False):
        if summary(mine) != summary(his):
            # The server hung up without a word, and the message was out already.
            assert (one.lost, mine.fate, his.fate) == (True, Fate.NOT_SENT, Fate.UNKNOWN)
    # What was in flight behind the one with which the connection was lost.
    behind = {outcome.fate for outcome in other.outcomes[count:]}
    assert behind <= ({Fate.NOT_SENT, Fate.UNKNOWN} if way == "eager" else {Fate.NOT_SENT})
    assert other.server.taken == one.server.taken
    for line in other.parameters:
        assert line.endswith(b" NOTIFY=NEVER\r\n" if b"@0.test" in line else b" NOTIFY=SUCCESS,DELAY\r\n")
    assert set(one.parameters) <= set(other.parameters)


@settings(max_examples=150, deadline=None)
@given(letters=LETTERS, lmtp=st.booleans(), many=st.booleans())
def test_overrides_tell_the_same(letters: Sequence[Letter], lmtp: bool, many: bool) -> None:
    """Through a method that somebody has made their own: what step by step gives, and never more than that."""
    one = Sent(letters, lmtp, STEP_BY_STEP, many=False)
    other = Sent(letters, lmtp, STEP_BY_STEP, many=many, overridden=True)
    assert other.seen[: len(one.seen)] == one.seen
    assert other.server.taken == one.server.taken
    assert other.parameters == one.parameters


@pytest.mark.parametrize("way", WAYS)
def test_the_property_is_not_empty(way: str) -> None:
    """Refusals of each kind are told as such, and the message behind them is delivered."""
    letters = [Letter(mail=550), Letter(rcpt=[450]), Letter(rcpt=[250, 550]), Letter(final=554), Letter()]
    sent = Sent(letters, False, WAYS[way], many=True)
    assert [outcome.delivered for outcome in sent.outcomes] == [False, False, True, False, True]
    assert sent.server.taken == [2, 4]
    assert not sent.lost
