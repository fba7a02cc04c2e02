"""A connection that is lost at any octet, and an effect of any number that fails or is interrupted."""

from __future__ import annotations

from itertools import accumulate

import pytest

from smtp_proto.effects import Send
from smtp_proto.errors import ConnectionLost
from smtp_proto.outcome import Phase

from .deliveries import WAYS, Delivery, Way, every_way
from .flows import effects_of
from .serving import replies_in

LOSSES = [None, ConnectionResetError, TimeoutError]


def expected_phase(way: Way, answered: int, mid_reply: bool) -> Phase | None:
    """How far it has come when so many replies were whole, the greeting's and EHLO's included, and a part of one."""
    envelope = 5 if way.chunking else 6
    if answered >= envelope + (2 if way.lmtp else 1):
        return Phase.DONE
    if answered >= envelope:
        # A look before the message finds the end where it stands just behind the answers to the envelope: then not an
        # octet of the message was begun.
        return Phase.SENT if mid_reply or answered > envelope else Phase.RCPT if way.chunking else Phase.DATA
    return [None, None, Phase.MAIL, Phase.MAIL, Phase.RCPT, Phase.RCPT][answered]


@every_way
@pytest.mark.parametrize("lost_with", LOSSES)
def test_lost_at_every_octet(way: Way, lost_with: type[OSError] | None) -> None:
    """Wherever the server's side ends, the error is ConnectionLost, and says how far it came and what is in doubt."""
    octets = Delivery(way).joined.client.heard
    ends = list(accumulate(len(reply.raw) for reply in replies_in(octets)))
    assert ends[-1] == len(octets)
    for lost_after in range(len(octets)):
        delivery = Delivery(way, lost_after=lost_after, lost_with=lost_with)
        answered = sum(end <= lost_after for end in ends)
        phase = expected_phase(way, answered, lost_after not in (0, *ends))
        assert isinstance(delivery.error, ConnectionLost), lost_after
        assert delivery.closed
        outcome = delivery.outcome
        if outcome is None:
            assert phase is None, lost_after
            continue
        assert outcome.phase is phase, lost_after
        assert outcome.may_be_delivered is (phase is Phase.SENT)
        replies = [outcome.mail, *(recipient.reply for recipient in outcome.recipients), outcome.data]
        assert sum(reply is not None for reply in replies) == min(answered - 2, 3 if way.chunking else 4)
        finals = [recipient.final for recipient in outcome.recipients if recipient.final is not None]
        assert outcome.delivered is (phase is Phase.DONE or finals != [])
        if delivery.server.messages:
            assert outcome.may_be_delivered or outcome.delivered


def refusals(way: Way) -> list[dict[str, object]]:
    data: list[dict[str, object]] = [] if way.chunking else [{"DATA": 451}]
    return [{"MAIL": 550}, {"RCPT": 550}, {"RCPT": [550, 250]}, *data, {way.end: 550}]


@pytest.mark.parametrize(("way", "codes"), [(way, codes) for way in WAYS for codes in refusals(way)], ids=str)
@pytest.mark.parametrize("lost_with", LOSSES[:2])
def test_a_refused_transaction_lost_at_every_octet(
    way: Way, codes: dict[str, object], lost_with: type[OSError] | None
) -> None:
    """What was answered before the loss is never contradicted by the outcome, nor hidden once it has decided all."""
    clean = Delivery(way, codes)
    whole = clean.result
    for lost_after in range(len(clean.joined.client.heard)):
        delivery = Delivery(way, codes, lost_after=lost_after, lost_with=lost_with)
        outcome = delivery.outcome
        assert delivery.closed
        if outcome is None:
            continue
        assert outcome.mail in (None, whole.mail)
        for recipient, answered in zip(outcome.recipients, whole.recipients, strict=True):
            assert recipient.reply in (None, answered.reply)
            assert recipient.final in (None, answered.final)
        assert outcome.data in (None, whole.data)
        assert not outcome.delivered or whole.delivered
        in_doubt = bool(delivery.server.messages) and outcome.final is None
        assert outcome.may_be_delivered or not in_doubt
        decided = whole.refusal if whole.accepted or not whole.mail or not whole.mail.accepted else None
        if decided is not None and decided.raw in delivery.joined.client.heard and not way.lmtp:
            # All that was lost is the RSET, or the NOOP: the refusal is the result.
            assert outcome.refusal == decided
            assert not isinstance(delivery.error, ConnectionLost) or delivery.error.outcome is None


@every_way
@pytest.mark.parametrize("failure", [BrokenPipeError, TimeoutError])
def test_a_failure_at_every_effect(way: Way, failure: type[OSError]) -> None:
    """A failed effect is ConnectionLost, and what may be delivered is what was given out to its end."""
    effects = Delivery(way).joined.client.effects
    for n in range(len(effects)):
        delivery = Delivery(way, client_fails={n: failure()})
        assert isinstance(delivery.error, ConnectionLost), effects[n]
        assert delivery.closed
        outcome = delivery.outcome
        if outcome is not None and outcome.phase is not Phase.DONE:
            assert outcome.may_be_delivered is ended_in(delivery), effects[n]
            assert outcome.phase is Phase.SENT or not outcome.may_be_delivered
        if outcome is not None and delivery.server.messages:
            assert outcome.may_be_delivered or outcome.delivered


def ended_in(delivery: Delivery) -> bool:
    """True if the client has asked for the end of the message to be written."""
    end = b"begins with a dot\r\n" + (b"" if delivery.way.chunking else b".\r\n")
    return any(b"".join(write.chunks).endswith(end) for write in effects_of(Send, delivery.joined.client.effects))


@every_way
def test_an_interruption_at_every_effect(way: Way) -> None:
    """From MAIL to the last answer an interruption aborts the connection; before and behind it, it is a command's."""
    clean = Delivery(way).joined.client
    begun = next(n for n, effect in enumerate(clean.effects) if isinstance(effect, Send) and n > 3)
    for n in range(len(clean.effects)):
        delivery = Delivery(way, client_fails={n: KeyboardInterrupt()})
        connection = delivery.session.connection
        assert isinstance(delivery.error, KeyboardInterrupt)
        if delivery.outcome is None and n >= begun:
            assert connection.closed, clean.effects[n]
        # Whoever drives the flow closes a connection that is not at a boundary; one that is has nothing under way.
        assert connection.closed or not connection.at_boundary or not connection.outstanding
        assert not connection.at_boundary or connection.state.value in ("CONNECTED", "READY")
        if delivery.server.messages:
            assert ended_in(delivery)


@every_way
def test_an_interruption_at_every_effect_of_a_refused_transaction(way: Way) -> None:
    """The RSET behind a refusal may be interrupted, too: no transaction is left open."""
    codes = {"RCPT": 550}
    for n in range(len(Delivery(way, codes).joined.client.effects)):
        delivery = Delivery(way, codes, client_fails={n: KeyboardInterrupt()})
        connection = delivery.session.connection
        assert isinstance(delivery.error, KeyboardInterrupt)
        assert not connection.at_boundary or connection.state.value in ("CONNECTED", "READY")
