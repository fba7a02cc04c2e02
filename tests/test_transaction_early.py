"""Answers that come before the message is out, resets behind refusals, and what is told to the observer."""

from __future__ import annotations

import pytest

from smtp_proto.effects import Flow, Receive, Send
from smtp_proto.errors import ConnectionLost, RemoteProtocolError
from smtp_proto.outcome import Outcome, Phase
from smtp_proto.replies import Reply
from smtp_proto.session import ClientSession
from smtp_proto.sources import PIECE
from smtp_proto.transaction import deliver
from smtp_proto.transcript import Said

from .deliveries import MESSAGE, SENDER, Way, recipients
from .flows import Part, Scripted, effects_of, in_step, introduced

BIG = (b"x" * 70 + b"\r\n") * 3000  # more than three pieces
assert 3 * PIECE < len(BIG) < 4 * PIECE

every_way_step_by_step = pytest.mark.parametrize(
    "way", [Way(), Way(lmtp=True), Way(chunking=True), Way(chunking=True, lmtp=True)], ids=str
)


class Sending:
    """A big message for two recipients, step by step: all its pieces are written but `last`, of four."""

    def __init__(
        self,
        way: Way,
        third: Part | OSError | None = None,
        *receives: bytes | BaseException,
        fourth: Part | OSError | None = None,
        polls: tuple[bytes | BaseException | None, ...] = (),
    ) -> None:
        envelope = [b"250 m\r\n", b"250 r\r\n", b"250 r\r\n", *([] if way.chunking else [b"354 go\r\n"])]
        self.session: ClientSession = introduced(lmtp=way.lmtp)
        # Before each command there is a look; before BDAT too, and before the message behind a 354.
        looks: list[bytes | BaseException | None] = [None] * (len(envelope) + 1)
        self.peer = Scripted(
            [*envelope, *receives],
            sends=[*[None] * len(envelope), None, None, third, fourth],
            polls=[*looks, *polls],
        )
        self.flow: Flow[Outcome] = deliver(self.session, SENDER, recipients(2), BIG, chunking=way.chunking)
        self.writes = len(envelope)

    def run(self) -> Outcome:
        return self.peer.run(self.flow)

    @property
    def body_writes(self) -> int:
        return len(effects_of(Send, self.peer.effects)) - self.writes


@every_way_step_by_step
@pytest.mark.parametrize("code", [552, 451, 421])
@pytest.mark.parametrize("written", [0, 1000, PIECE * 2])
def test_an_early_refusal_stops_the_message(way: Way, code: int, written: int) -> None:
    """A refusal in the middle of the message is the answer to it: nothing more is sent, and the connection ends."""
    sending = Sending(way, Part(written, b"%d too big\r\n" % code))
    outcome = sending.run()
    assert outcome.final == outcome.refusal == Reply(code, "too big")
    assert (outcome.delivered, outcome.may_be_delivered, outcome.phase) == (False, False, Phase.DONE)
    assert [recipient.final for recipient in outcome.recipients] == [outcome.final if way.lmtp else None] * 2
    assert sending.body_writes == 3
    assert sending.session.connection.closed


@pytest.mark.parametrize("told", [True, False], ids=["with progress", "without"])
@pytest.mark.parametrize("written", [0, 3])
def test_a_small_message_refused_before_it_is_out(told: bool, written: int) -> None:
    """What is said while a message goes out in one piece ends it, also where somebody is told how it goes on."""
    session = introduced()
    progress: list[int] = []
    peer = Scripted(
        [b"250 m\r\n", b"250 r\r\n", b"354 go\r\n"], sends=[None, None, None, Part(written, b"552 too big\r\n")]
    )
    tell = (lambda done, total: progress.append(done)) if told else None
    outcome = peer.run(deliver(session, SENDER, recipients(1), MESSAGE, progress=tell))
    assert (outcome.final, outcome.phase) == (Reply(552, "too big"), Phase.DONE)
    assert not outcome.may_be_delivered
    assert session.connection.closed
    assert progress == []


@every_way_step_by_step
def test_an_early_refusal_in_pieces(way: Way) -> None:
    """An early refusal that is half there is waited for; nothing is written meanwhile."""
    sending = Sending(way, Part(1000, b"552-too"), b" big\r\n552 g", b"o away\r\n")
    assert sending.run().final == Reply(552, "too big\ngo away")
    assert sending.body_writes == 3


@every_way_step_by_step
def test_an_early_refusal_of_the_last_piece(way: Way) -> None:
    """A refusal before the end of the message is all out is no doubt: it was not delivered."""
    sending = Sending(way, fourth=Part(1000, b"552 too big\r\n"))
    outcome = sending.run()
    assert outcome.final == Reply(552, "too big")
    assert (outcome.may_be_delivered, outcome.phase) == (False, Phase.DONE)
    assert sending.session.connection.closed


@every_way_step_by_step
@pytest.mark.parametrize("early", [b"250 taken\r\n", b"354 go on\r\n", b"nonsense\r\n"])
def test_an_early_answer_that_is_no_refusal(way: Way, early: bytes) -> None:
    """A server that claims to have taken what was not sent cannot be believed: no success, and the end."""
    sending = Sending(way, Part(1000, early))
    with pytest.raises(ConnectionLost) as caught:
        sending.run()
    assert isinstance(caught.value.__cause__, RemoteProtocolError)
    assert caught.value.outcome is not None
    assert (caught.value.outcome.phase, caught.value.outcome.may_be_delivered) == (Phase.BODY, False)
    assert sending.session.connection.closed


@every_way_step_by_step
def test_a_success_before_the_last_octet(way: Way) -> None:
    """A 250 while the end of the message is being written is no success, but the server may have the message."""
    sending = Sending(way, fourth=Part(1000, b"250 taken\r\n"))
    with pytest.raises(ConnectionLost, match="250 before the message was sent") as caught:
        sending.run()
    assert sending.session.connection.closed
    assert caught.value.reply == Reply(250, "taken")
    assert caught.value.outcome is not None
    assert not caught.value.outcome.delivered
    assert caught.value.outcome.may_be_delivered


@every_way_step_by_step
@pytest.mark.parametrize(("answer", "rest"), [(b"250 taken\r\n", b""), (b"250 tak", b"en\r\n")])
def test_an_answer_that_is_seen_while_the_last_octet_is_written(way: Way, answer: bytes, rest: bytes) -> None:
    """With the last octet out, what arrives in the same moment is the answer."""
    behind = rest + (b"250 taken\r\n" if way.lmtp else b"")
    sending = Sending(way, None, *filter(None, [behind]), fourth=Part(PIECE * 2, answer))
    outcome = sending.run()
    assert outcome.final == Reply(250, "taken")
    assert outcome.delivered
    assert in_step(sending.session)


@every_way_step_by_step
@pytest.mark.parametrize("failure", [BrokenPipeError("broken pipe"), TimeoutError("no progress")])
def test_a_write_that_fails_in_the_message(way: Way, failure: OSError) -> None:
    """Rule 9: a send that fails in the middle of the message first looks for the reply that says why."""
    refused = Sending(way, failure, polls=(b"552 too big\r\n",))
    assert refused.run().final == Reply(552, "too big")
    assert refused.session.connection.closed
    for seen in (None, b"", b"552 to", ConnectionResetError("reset")):
        lost = Sending(way, failure, polls=(seen,))
        with pytest.raises(ConnectionLost) as caught:
            lost.run()
        assert caught.value.__cause__ is failure
        assert caught.value.outcome is not None
        assert (caught.value.outcome.phase, caught.value.outcome.may_be_delivered) == (Phase.BODY, False)


@every_way_step_by_step
@pytest.mark.parametrize("written", [1000, PIECE * 2])
def test_an_end_in_the_message(way: Way, written: int) -> None:
    """A server that hangs up in the middle of the message has not got it."""
    sending = Sending(way, Part(written, b""))
    with pytest.raises(ConnectionLost) as caught:
        sending.run()
    assert caught.value.outcome is not None
    assert (caught.value.outcome.phase, caught.value.outcome.may_be_delivered) == (Phase.BODY, False)


@every_way_step_by_step
@pytest.mark.parametrize("end", [b"", TimeoutError("timed out"), ConnectionResetError("reset")])
def test_no_answer_to_the_message(way: Way, end: bytes | OSError) -> None:
    """Rule 8: with the message sent to its end and no answer, the error says that it may have been delivered."""
    sending = Sending(way, None, end)
    with pytest.raises(ConnectionLost) as caught:
        sending.run()
    assert caught.value.outcome is not None
    assert (caught.value.outcome.phase, caught.value.outcome.may_be_delivered) == (Phase.SENT, True)


# -- a refusal that waits behind the 354, and a server that hangs up there --------------------------------------------


@pytest.mark.parametrize("way", [Way(), Way(lmtp=True), Way(pipelining=True)], ids=str)
def test_a_refusal_in_one_segment_with_the_354(way: Way) -> None:
    """A refusal that came with the 354 is found before the message is sent to its end."""
    session = introduced(lmtp=way.lmtp)
    go = [b"250 m\r\n", b"250 r\r\n", b"354 go\r\n552 changed my mind\r\n"]
    peer = Scripted([b"".join(go)] if way.pipelining else go)
    outcome = peer.run(deliver(session, SENDER, recipients(1), BIG, pipelining=way.pipelining))
    assert outcome.final == Reply(552, "changed my mind")
    assert len(peer.written) < len(BIG)
    assert session.connection.closed


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("behind", [b"250 taken\r\n", b"354 go\r\n", b"nonsense\r\n"])
def test_an_answer_to_the_message_in_one_segment_with_the_354(pipelining: bool, behind: bytes) -> None:
    """What stands behind the 354 was said before the message was sent: it is no answer to it, however small it is."""
    session = introduced()
    envelope = [b"250 m\r\n", b"250 r\r\n", b"354 go\r\n" + behind]
    peer = Scripted([b"".join(envelope)] if pipelining else envelope)
    with pytest.raises(ConnectionLost) as caught:
        peer.run(deliver(session, SENDER, recipients(1), MESSAGE, pipelining=pipelining))
    assert MESSAGE not in peer.written
    assert caught.value.outcome is not None
    assert not caught.value.outcome.delivered
    assert session.connection.closed


@pytest.mark.parametrize("flights", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize(
    "early", [(b"250 taken\r\n",), (b"552 too big\r\n",), (b"45", b"2 full\r\n"), (b"421 bye\r\n",), (b"",)]
)
def test_what_has_arrived_before_a_small_message(
    early: tuple[bytes, ...], pipelining: bool, last: bool, flights: bool
) -> None:
    """What comes behind the 354 is heard before an octet of the message goes out, and is its answer if it refuses; a
    goodbye that was to go with it changes nothing."""
    session = introduced(flights=flights)
    envelope = [b"250 m\r\n", b"250 r\r\n", b"354 go\r\n"]
    looks: list[bytes | BaseException | None] = [None] * (1 if pipelining else 3)
    first, *rest = early
    peer = Scripted([*([b"".join(envelope)] if pipelining else envelope), *rest], polls=[*looks, first])
    flow = deliver(session, SENDER, recipients(1), MESSAGE, pipelining=pipelining, last=last)
    if first.startswith((b"4", b"5")):
        final = peer.run(flow).final
        assert final is not None
        assert final.raw == b"".join(early)
    else:
        with pytest.raises(ConnectionLost) as caught:
            peer.run(flow)
        assert caught.value.outcome is not None
        assert (caught.value.outcome.phase, caught.value.outcome.may_be_delivered) == (Phase.DATA, False)
    assert peer.written.endswith(b"data\r\n")
    assert session.connection.closed


@pytest.mark.parametrize("behind", [b"250 taken\r\n", b"2"])
def test_an_answer_to_the_lone_dot_in_one_segment_with_the_354(behind: bytes) -> None:
    """With an answer there before it the lone dot is not sent, for its own one would be taken for another's."""
    session = introduced()
    peer = Scripted([b"250 m\r\n550 r\r\n354 go\r\n" + behind])
    outcome = peer.run(deliver(session, SENDER, recipients(1), MESSAGE, pipelining=True))
    assert outcome.recipients[0].refusal == Reply(550, "r")
    assert len(peer.segments) == 1
    assert session.connection.closed


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize(
    ("behind", "code"), [(b"", None), (b"552 changed my mind\r\n", 552), (b"552 chan", None), (b"250 ok\r\n", None)]
)
def test_a_server_that_hangs_up_behind_its_354(pipelining: bool, behind: bytes, code: int | None) -> None:
    """Where the write fails and a 354 is all there is to read, the loss is told as one, and no message was sent."""
    session = introduced()
    envelope = [b"250 m\r\n", b"250 r\r\n"]
    seen = b"354 go\r\n" + behind
    if pipelining:
        peer = Scripted(sends=[BrokenPipeError()], polls=[None, b"".join(envelope) + seen])
    else:
        peer = Scripted(envelope, sends=[None, None, BrokenPipeError()], polls=[None, None, None, seen])
    flow = deliver(session, SENDER, recipients(1), MESSAGE, pipelining=pipelining)
    if code is not None:
        assert peer.run(flow).final == Reply(code, "changed my mind")
    else:
        with pytest.raises(ConnectionLost) as caught:
            peer.run(flow)
        assert caught.value.outcome is not None
        assert (caught.value.outcome.phase, caught.value.outcome.may_be_delivered) == (Phase.DATA, False)
    assert MESSAGE not in peer.written
    assert session.connection.closed


@pytest.mark.parametrize("unasked", [b"421 going down\r\n", b"250 what\r\n", b"2", b""])
def test_an_unasked_reply_before_bdat(unasked: bytes) -> None:
    """What comes unasked before the BDAT is seen before an octet of it is sent."""
    session = introduced()
    peer = Scripted([b"250 m\r\n", b"250 r\r\n"], polls=[None, None, unasked])
    with pytest.raises(ConnectionLost) as caught:
        peer.run(deliver(session, SENDER, recipients(1), MESSAGE, chunking=True))
    assert b"BDAT" not in peer.written
    assert caught.value.outcome is not None
    assert not caught.value.outcome.may_be_delivered


# -- the RSET behind a refusal ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [b"500 what?\r\n", b"421 bye\r\n", b"354 go\r\n", b"nonsense\r\n", b"", TimeoutError(), OSError("gone")]
)
def test_a_failing_reset_closes_and_hides_nothing(answer: bytes | OSError) -> None:
    """The outcome of a refused transaction stands, whatever becomes of the RSET; without one the connection ends."""
    session = introduced()
    peer = Scripted([b"550 no\r\n", answer])
    outcome = peer.run(deliver(session, SENDER, recipients(1), MESSAGE))
    assert outcome.refusal == Reply(550, "no")
    assert peer.segments[-1] == b"rset\r\n"
    assert session.connection.closed


def test_no_reset_behind_a_goodbye() -> None:
    """A server that has said goodbye is asked for nothing more."""
    peer = Scripted([b"421 bye\r\n"])
    peer.run(deliver(introduced(), SENDER, recipients(1), MESSAGE))
    assert isinstance(peer.effects[-1], Receive)


@pytest.mark.parametrize("unasked", [b"421 bye\r\n", b"250 what\r\n", b"", OSError("gone")])
def test_a_reset_that_cannot_be_sent(unasked: bytes | OSError) -> None:
    """What comes unasked before the RSET ends the connection, and hides nothing either."""
    session = introduced()
    peer = Scripted([b"550 no\r\n"], polls=[None, unasked])
    assert peer.run(deliver(session, SENDER, recipients(1), MESSAGE)).refusal == Reply(550, "no")
    assert session.connection.closed


def test_no_reset_behind_a_success() -> None:
    """A delivered message leaves nothing to reset."""
    session = introduced()
    peer = Scripted([b"250 m\r\n", b"250 r\r\n", b"354 go\r\n", b"250 q\r\n"])
    assert peer.run(deliver(session, SENDER, recipients(1), MESSAGE)).delivered
    assert b"rset" not in peer.written
    assert in_step(session)


# -- the observer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize("pipelining", [False, True])
def test_the_observer_is_told_all_but_the_message(pipelining: bool, chunking: bool) -> None:
    """Each command and each reply is told as it happens, and of the message its size."""
    said: list[Said] = []
    session = introduced(observe=said.append)
    replies = [b"250 m\r\n", b"250 r\r\n", *([] if chunking else [b"354 go\r\n"]), b"250 q\r\n"]
    peer = Scripted([b"".join(replies[:-1]), replies[-1]] if pipelining else replies)
    peer.run(deliver(session, SENDER, recipients(1), b"line\n", pipelining=pipelining, chunking=chunking))
    mail, rcpt = ["C: mail from:<sender@client.test>", "S: 250 m"], ["C: rcpt to:<r0@mx.test>", "S: 250 r"]
    data = [] if chunking else ["C: data", "S: 354 go"]
    body = ["C: BDAT 6 LAST", "C: <6 octets of message>"] if chunking else ["C: <5 octets of message>"]
    flight = [mail[0], rcpt[0], *data[:1], mail[1], rcpt[1], *data[1:]]
    steps = flight if pipelining else [*mail, *rcpt, *data]
    assert [str(entry) for entry in said] == [*steps, *body, "S: 250 q"]
    assert sum(entry.octets or 0 for entry in said) == (6 if chunking else 5)
