"""What `deliver` makes of every answer that a server can give, in every way of sending."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smtp_proto.commands import Mail, Rcpt
from smtp_proto.effects import Pull, Send
from smtp_proto.errors import ConnectionLost, InvalidArgument, LocalProtocolError
from smtp_proto.outcome import Phase
from smtp_proto.replies import Reply
from smtp_proto.states import Stage, State
from smtp_proto.transaction import PIECE, deliver

from .deliveries import MESSAGE, SENDER, WAYS, Delivery, Way, every_way, every_way_with_data, recipients
from .flows import Pieces, Scripted, at_random, effects_of, in_step, introduced, single, whole

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


@every_way
def test_no_recipients_at_all(way: Way) -> None:
    """With nobody to send it to, a message is not announced."""
    delivery = Delivery(way, to=0)
    assert not delivery.result.delivered
    assert delivery.rows == ["MAIL", "RSET"]
    assert delivery.in_step


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
    assert (outcome.delivered, outcome.may_be_delivered, outcome.phase) == (True, True, Phase.SENT)
    assert outcome.refusal is None


# -- the message in its forms -----------------------------------------------------------------------------------------


def _pieces() -> Iterator[bytes]:
    yield b""
    yield b"one\r"
    yield b"\ntwo\n"
    yield b"."


@every_way
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", b""),
        (b"no line end", b"no line end\r\n"),
        (b"one\ntwo\rthree\r\n.\r\n..\n", b"one\r\ntwo\r\nthree\r\n.\r\n..\r\n"),
        (bytearray(b"octets"), b"octets\r\n"),
        (memoryview(b"octets"), b"octets\r\n"),
        ([b"in ", b"a ", b"list"], b"in a list\r\n"),
        ([], b""),
    ],
)
def test_a_message_may_be_octets_or_chunks_of_them(way: Way, message: object, expected: bytes) -> None:
    """Line ends become CRLF and the last line gets one; chunks are as if they were one."""
    delivery = Delivery(way, message=message)
    assert delivery.result.delivered
    assert delivery.server.messages == [expected]


@every_way_with_data
@pytest.mark.parametrize("pieces", [whole, single])
def test_a_generator_is_pulled_through_the_driver(way: Way, pieces: Pieces) -> None:
    """A stream is an effect for each chunk and one for its end; a message at hand needs none."""
    delivery = Delivery(way, message=_pieces(), pieces=pieces)
    assert delivery.result.delivered
    assert delivery.server.messages == [b"one\r\ntwo\r\n.\r\n"]
    assert len(effects_of(Pull, delivery.joined.client.effects)) == 5
    assert effects_of(Pull, Delivery(way).joined.client.effects) == []


def test_a_stream_goes_by_data_even_where_chunking_is_asked_for() -> None:
    """BDAT needs the size in front, which a stream does not tell."""
    delivery = Delivery(Way(chunking=True), message=_pieces())
    assert delivery.result.delivered
    assert delivery.rows[-1] == "DATA"


@every_way
def test_a_big_message_goes_out_in_pieces(way: Way) -> None:
    """No write is much larger than PIECE, and nothing is lost between them."""
    message = b"".join(b"%06d %s\r\n" % (n, b"." * (n % 70)) for n in range(6000))
    delivery = Delivery(way, message=message)
    assert delivery.result.delivered
    assert delivery.server.messages == [message]
    writes = effects_of(Send, delivery.joined.client.effects)
    assert max(sum(len(chunk) for chunk in write.chunks) for write in writes) < 1.1 * PIECE
    assert {write.stage for write in writes} == {Stage.COMMAND, Stage.MAIL, *_stages(way), Stage.BODY}


def _stages(way: Way) -> set[Stage]:
    # A pipelined group is written with the deadline of its first command.
    return set() if way.pipelining else {Stage.RCPT} if way.chunking else {Stage.RCPT, Stage.DATA}


@every_way_with_data
def test_a_stream_that_raises_aborts(way: Way) -> None:
    """What a stream raises goes on; half a message leaves no way back, so the connection is aborted."""

    def failing() -> Iterator[bytes]:
        yield b"half of "
        raise ZeroDivisionError

    delivery = Delivery(way, message=failing())
    assert isinstance(delivery.error, ZeroDivisionError)
    assert delivery.closed
    assert delivery.server.messages == []
    assert not delivery.server.clean


@every_way_with_data
@pytest.mark.parametrize("chunks", [[b"\0"], [b"good", b"and\0bad"]])
def test_a_nul_in_a_stream_aborts(way: Way, chunks: list[bytes]) -> None:
    """A NUL that is found in the middle is refused all the same, and no message has been ended."""
    delivery = Delivery(way, message=chunks)
    assert isinstance(delivery.error, InvalidArgument)
    assert delivery.closed
    assert delivery.server.messages == []


# -- local mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS[:4], ids=str)
@pytest.mark.parametrize(
    ("mail", "to", "message", "error"),
    [
        (SENDER, recipients(1), b"with a \0", InvalidArgument),
        (SENDER, recipients(1), "text", TypeError),
        (SENDER, recipients(1), None, TypeError),
        (SENDER, recipients(1), 5, TypeError),
        (Mail("s\u00f8ren@client.test"), recipients(1), MESSAGE, LocalProtocolError),
        (SENDER, [*recipients(1), Rcpt("s\u00f8ren@mx.test")], MESSAGE, LocalProtocolError),
    ],
)
def test_a_local_mistake_sends_nothing(
    way: Way, mail: Mail, to: list[Rcpt], message: object, error: type[Exception]
) -> None:
    """Rule 4: a mistake that can be known in front is raised before an octet is sent, and the session goes on."""
    session = introduced(lmtp=way.lmtp)
    peer = Scripted()
    flow = deliver(session, mail, to, message, pipelining=way.pipelining, chunking=way.chunking)  # type: ignore[arg-type]
    with pytest.raises(error):
        peer.run(flow)
    assert peer.effects == []
    assert in_step(session)


def test_utf8_in_addresses_with_smtputf8() -> None:
    """With SMTPUTF8 such addresses are sent."""
    session = introduced()
    peer = Scripted([b"250 m\r\n", b"250 r\r\n", b"354 go\r\n", b"250 q\r\n"])
    mail = Mail("s\u00f8ren@client.test", ["SMTPUTF8"])
    assert peer.run(deliver(session, mail, [Rcpt("s\u00f8ren@mx.test")], MESSAGE)).delivered
    assert "rcpt to:<s\u00f8ren@mx.test>\r\n".encode() in peer.written


def test_a_transaction_inside_another_is_refused_and_changes_nothing() -> None:
    """Where MAIL may not stand, nothing is sent, and the transaction under way goes on."""
    session = introduced()
    Scripted([b"250 ok\r\n"]).run(session.command(SENDER))
    peer = Scripted()
    with pytest.raises(LocalProtocolError, match="MAIL cannot be sent now"):
        peer.run(deliver(session, SENDER, recipients(1), MESSAGE))
    assert peer.written == b""
    assert session.connection.state is State.MAIL
    assert in_step(session)


def test_one_address_twice() -> None:
    """Each RCPT has its own answer, though two of them be the very same object."""
    session = introduced()
    peer = Scripted([b"250 m\r\n", b"250 first\r\n", b"550 second\r\n", b"354 go\r\n", b"250 q\r\n"])
    outcome = peer.run(deliver(session, SENDER, [Rcpt("a@mx.test")] * 2, MESSAGE))
    assert [recipient.reply for recipient in outcome.recipients] == [Reply(250, "first"), Reply(550, "second")]
