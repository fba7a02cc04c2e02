"""What `deliver` makes of every answer that a server can give, in every way of sending."""

from __future__ import annotations

import pytest

from smtp_proto.errors import ConnectionLost
from smtp_proto.outcome import Fate, Outcome, Phase
from smtp_proto.replies import Reply
from smtp_proto.sources import source_of
from smtp_proto.transaction import Transaction, deliver

from .deliveries import EAGER, MESSAGE, SENDER, WAYS, Delivery, Way, every_way, every_way_with_data, recipients
from .flows import Pieces, Scripted, at_random, introduced, single, whole

# -- delivered --------------------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("pieces", [whole, single, at_random(1), at_random(2)])
@pytest.mark.parametrize("room", [None, 7])
def test_a_message_that_is_taken(way: Way, pieces: Pieces, room: int | None) -> None:
    """What was given arrives, octet for octet, and the session goes on, in whatever pieces the octets travel."""
    delivery = Delivery(way, pieces=pieces, room=room)
    outcome = delivery.result
    assert (outcome.delivered, outcome.may_be_delivered, outcome.phase) == (True, False, Phase.DONE)
    assert outcome.refusal is None
    assert delivery.server.messages == [MESSAGE]
    assert [recipient.accepted for recipient in outcome.recipients] == [True, True]
    assert [recipient.final is not None for recipient in outcome.recipients] == [way.lmtp, way.lmtp]
    assert delivery.rows == ["MAIL", "RCPT", "RCPT", *(["BDAT LAST"] if way.chunking else ["DATA"])]
    assert delivery.in_step


@every_way
def test_one_recipient_of_several_is_refused(way: Way) -> None:
    """A refused recipient is told with its own reply, and the message goes to the others."""
    delivery = Delivery(way, {"RCPT": [250, 550, 251]}, to=3)
    outcome = delivery.result
    assert outcome.delivered
    assert [recipient.reply and recipient.reply.code for recipient in outcome.recipients] == [250, 550, 251]
    assert [recipient.refusal is not None for recipient in outcome.recipients] == [False, True, False]
    assert outcome.refusal is None
    assert delivery.server.messages == [MESSAGE]
    assert delivery.in_step


# -- refused ----------------------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("code", [550, 452])
def test_a_refused_sender(way: Way, code: int) -> None:
    """A refused MAIL is the refusal of it all: no recipient has an answer, and no transaction is left open."""
    delivery = Delivery(way, {"MAIL": code})
    outcome = delivery.result
    assert outcome.mail == outcome.refusal == Reply(code, "MAIL")
    assert [recipient.reply for recipient in outcome.recipients] == [None, None]
    assert (outcome.delivered, outcome.data, outcome.final, outcome.phase) == (False, None, None, Phase.MAIL)
    assert delivery.rows[-1] == "RSET"
    assert delivery.server.messages == []
    assert delivery.in_step


@every_way
def test_all_recipients_are_refused(way: Way) -> None:
    """Where no recipient is accepted no message is sent, each has its reply, and a RSET follows."""
    delivery = Delivery(way, {"RCPT": [550, 450]})
    outcome = delivery.result
    assert [recipient.refusal and recipient.refusal.code for recipient in outcome.recipients] == [550, 450]
    assert (outcome.refusal, outcome.data, outcome.final, outcome.phase) == (None, None, None, Phase.RCPT)
    assert delivery.rows[-1] == "RSET"
    assert delivery.server.messages == []
    assert delivery.in_step


@pytest.mark.parametrize("message", [MESSAGE, b"x" * 100_000], ids=["small", "large"])
@pytest.mark.parametrize("way", [*WAYS, *EAGER], ids=str)
def test_no_recipients_at_all(way: Way, message: bytes) -> None:
    """With nobody to send it to, a message is not announced."""
    delivery = Delivery(way, to=0, message=message)
    assert not delivery.result.delivered
    assert delivery.rows == ["MAIL", "RSET"]
    assert delivery.in_step


@pytest.mark.parametrize("way", [*WAYS, *EAGER], ids=str)
def test_no_recipients_and_no_answer(way: Way) -> None:
    """Lost behind its MAIL, a message to nobody was not sent."""
    flow = deliver(introduced(lmtp=way.lmtp), SENDER, [], MESSAGE, pipelining=way.pipelining, chunking=way.chunking)
    with pytest.raises(ConnectionLost) as caught:
        Scripted([b""]).run(flow)
    assert caught.value.outcome is not None
    assert caught.value.outcome.fate is Fate.NOT_SENT


@pytest.mark.parametrize("way", [*WAYS, *EAGER], ids=str)
def test_recipients_in_a_list_that_changes(way: Way) -> None:
    """Whoever goes on with the list of the recipients changes nothing of the transaction that was made with it."""
    answers = [b"250 m\r\n", b"250 r\r\n", b"250 r\r\n", *([] if way.chunking else [b"354 go\r\n"])]
    final = b"250 q\r\n" * (2 if way.lmtp else 1)
    script = [b"".join(answers), final] if way.pipelining else [*answers, final]
    given, outcome = recipients(2), Outcome(["one", "two"])
    session = introduced(lmtp=way.lmtp)
    transaction = Transaction(session, SENDER, given, source_of(MESSAGE), outcome, way.pipelining, way.chunking)
    given.clear()
    assert Scripted(script).run(transaction.run(last=False)) is outcome
    assert [recipient.delivered for recipient in outcome.recipients] == [True, True]
    assert session.connection.at_boundary


@every_way_with_data
def test_data_is_refused(way: Way) -> None:
    """A refused DATA ends the transaction with a RSET behind it."""
    delivery = Delivery(way, {"DATA": 451})
    outcome = delivery.result
    assert outcome.data == outcome.refusal == Reply(451, "DATA")
    assert (outcome.delivered, outcome.final, outcome.phase) == (False, None, Phase.DATA)
    assert delivery.rows[-2:] == ["DATA", "RSET"]
    assert delivery.in_step


@every_way
@pytest.mark.parametrize("code", [550, 451])
def test_the_message_is_refused(way: Way, code: int) -> None:
    """A message that is refused at its end was not delivered, and nothing is open behind it."""
    delivery = Delivery(way, {way.end: code})
    outcome = delivery.result
    assert outcome.final == outcome.refusal == Reply(code, way.end)
    assert (outcome.delivered, outcome.may_be_delivered, outcome.phase) == (False, False, Phase.DONE)
    assert [recipient.final for recipient in outcome.recipients] == [outcome.final if way.lmtp else None] * 2
    assert delivery.rows[-1] == "RSET"
    assert delivery.in_step


STEPS = [("MAIL", Phase.MAIL), ("RCPT", Phase.RCPT), ("DATA", Phase.DATA), ("end of data", Phase.DONE)]


@every_way
@pytest.mark.parametrize(("row", "phase"), STEPS)
@pytest.mark.parametrize("code", [421, 199, 600])
def test_a_goodbye_at_each_step(way: Way, row: str, phase: Phase, code: int) -> None:
    """A 421 is the answer to its command and closes: nothing is sent behind it, not even RSET."""
    if way.chunking and row == "DATA":
        return
    delivery = Delivery(way, {way.end if row == "end of data" else row: code})
    outcome = delivery.result
    assert outcome.phase is phase
    answers = [outcome.mail, outcome.recipients[0].reply, outcome.data, outcome.final]
    assert code in [reply.code for reply in answers if reply is not None]
    assert (outcome.delivered, outcome.may_be_delivered) == (False, False)
    assert "RSET" not in delivery.rows
    assert delivery.closed


def test_a_goodbye_behind_an_accepted_recipient() -> None:
    """A 421 to the second recipient ends it for the first one, too."""
    for way in WAYS:
        delivery = Delivery(way, {"RCPT": [250, 421]})
        outcome = delivery.result
        assert [recipient.reply and recipient.reply.code for recipient in outcome.recipients] == [250, 421]
        assert (outcome.delivered, outcome.data, outcome.final) == (False, None, None)
        assert delivery.server.messages == []
        assert delivery.closed


# -- LMTP: one answer for each recipient ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [way for way in WAYS if way.lmtp], ids=str)
@pytest.mark.parametrize("finals", [[250, 550], [550, 250], [452, 250]])
def test_lmtp_delivers_to_one_and_not_to_the_other(way: Way, finals: list[int]) -> None:
    """RFC 2033 4.2: what one recipient is answered is no refusal of the message, whichever comes last."""
    delivery = Delivery(way, {way.end: finals, "RCPT": [250, 550, 250]}, to=3)
    outcome = delivery.result
    assert outcome.delivered
    assert outcome.refusal is None
    final = [recipient.final and recipient.final.code for recipient in outcome.recipients]
    assert final == [finals[0], None, finals[1]]
    refused = [recipient.refusal is not None for recipient in outcome.recipients]
    assert refused == [finals[0] != 250, True, finals[1] != 250]
    assert "RSET" not in delivery.rows
    assert delivery.in_step


@pytest.mark.parametrize("way", [way for way in WAYS if way.lmtp], ids=str)
def test_an_lmtp_server_that_says_goodbye_among_its_answers(way: Way) -> None:
    """A 421 in the place of a recipient's answer is the answer for all that have none."""
    delivery = Delivery(way, {way.end: [250, 421]}, to=3)
    outcome = delivery.result
    assert [recipient.final and recipient.final.code for recipient in outcome.recipients] == [250, 421, 421]
    assert (outcome.delivered, outcome.refusal, outcome.phase) == (True, None, Phase.DONE)
    assert delivery.closed


def test_an_lmtp_server_that_says_goodbye_at_once() -> None:
    """A 421 as the first answer refuses it for everyone."""
    outcome = Delivery(Way(lmtp=True), {"end of data": 421}).result
    assert [recipient.refusal and recipient.refusal.code for recipient in outcome.recipients] == [421, 421]
    assert (outcome.delivered, outcome.refusal) == (False, Reply(421, "end of data"))


def test_an_lmtp_delivery_that_is_lost_among_its_answers() -> None:
    """What was answered is known, and that the rest may have been delivered too."""
    session = introduced(lmtp=True)
    peer = Scripted([b"250 m\r\n", b"250 r\r\n", b"250 r\r\n", b"354 go\r\n", b"250 first\r\n", b""])
    with pytest.raises(ConnectionLost) as caught:
        peer.run(deliver(session, SENDER, recipients(2), MESSAGE))
    outcome = caught.value.outcome
    assert outcome is not None
    assert [recipient.final for recipient in outcome.recipients] == [Reply(250, "first"), None]
    assert outcome.final == Reply(250, "first")
    assert (outcome.delivered, outcome.may_be_delivered, outcome.phase) == (True, True, Phase.SENT)
    assert outcome.refusal is None
