"""Pipelining (RFC 2920): one flight, and the same outcome as step by step, whatever the server answers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtp_proto.effects import Poll, Receive, Send
from smtp_proto.errors import ConnectionLost
from smtp_proto.outcome import Phase
from smtp_proto.replies import Reply
from smtp_proto.states import Stage
from smtp_proto.transaction import EAGER_SIZE, Chunking, deliver

from .deliveries import EAGER, MESSAGE, SENDER, Delivery, Way, recipients, seen
from .flows import Scripted, at_random, effects_of, introduced
from .serving import HANGS_UP, Answering, Blunt

ONE_FLIGHT = b"mail from:<sender@client.test>\r\nrcpt to:<r0@mx.test>\r\nrcpt to:<r1@mx.test>\r\n"


@pytest.mark.parametrize("chunking", [False, True])
def test_the_envelope_is_one_flight(chunking: bool) -> None:
    """The whole envelope is written at once, and nothing behind it before all of its answers are in (RFC 3030 2)."""
    session = introduced()
    answers = [b"250 m\r\n250 r\r\n", b"250 r\r\n", *([] if chunking else [b"354 go\r\n"]), b"250 q\r\n"]
    peer = Scripted(answers)
    assert peer.run(deliver(session, SENDER, recipients(2), MESSAGE, pipelining=True, chunking=chunking)).delivered
    assert peer.segments[0] == ONE_FLIGHT + (b"" if chunking else b"data\r\n")
    assert len(peer.segments) == 2
    kinds = [type(effect) for effect in peer.effects if isinstance(effect, (Send, Receive))]
    assert kinds == [Send] + [Receive] * (len(answers) - 1) + [Send, Receive]


BEGUN, GOES_ON = False, True


@pytest.mark.parametrize("flights", [False, True])
@pytest.mark.parametrize(
    ("chunking", "receives", "waits"),
    [
        (
            False,
            [b"250 ", b"m\r\n", b"250 r\r\n", b"354", b" go\r\n", b"250 q\r\n"],
            [
                *((Stage.MAIL, BEGUN), (Stage.MAIL, GOES_ON), (Stage.RCPT, BEGUN)),
                *((Stage.DATA, BEGUN), (Stage.DATA, GOES_ON), (Stage.FINAL, BEGUN)),
            ],
        ),
        (
            False,
            [b"250 m\r\n25", b"0 r\r\n", b"354 go\r\n", b"250 ", b"q\r\n"],
            [
                (Stage.MAIL, BEGUN),
                (Stage.RCPT, BEGUN),
                (Stage.DATA, BEGUN),
                (Stage.FINAL, BEGUN),
                (Stage.FINAL, GOES_ON),
            ],
        ),
        ("eager", [b"250 m\r\n250 r\r\n", b"250 q\r\n"], [(Stage.MAIL, BEGUN), (Stage.FINAL, BEGUN)]),
        (
            "eager",
            [b"250 m", b"\r\n250 r\r\n", b"250 q\r\n"],
            [(Stage.MAIL, BEGUN), (Stage.MAIL, GOES_ON), (Stage.FINAL, BEGUN)],
        ),
    ],
)
def test_each_answer_has_a_deadline_of_its_own(
    chunking: Chunking, receives: list[bytes], waits: list[tuple[Stage, bool]], flights: bool
) -> None:
    """In a flight each wait has the stage of the command that it is for, and a drip does not stretch it."""
    session = introduced(flights=flights)
    peer = Scripted(receives)
    assert peer.run(deliver(session, SENDER, recipients(1), MESSAGE, pipelining=True, chunking=chunking)).delivered
    assert [(wait.stage, wait.again) for wait in effects_of(Receive, peer.effects)] == waits


@pytest.mark.parametrize("room", [1, 10, 64])
def test_two_full_buffers_do_not_deadlock(room: int) -> None:
    """A flight larger than all buffers goes through, for what arrives meanwhile is taken in."""
    delivery = Delivery(Way(pipelining=True), to=200, room=room)
    assert delivery.result.delivered
    assert len(delivery.result.accepted) == 200
    assert delivery.in_step


def test_a_thousand_recipients_in_one_flight() -> None:
    """Each of many recipients has its own answer."""
    codes = [550 if n % 7 == 0 else 250 for n in range(1000)]
    outcome = Delivery(Way(pipelining=True), {"RCPT": codes}, to=1000).result
    assert [recipient.reply and recipient.reply.code for recipient in outcome.recipients] == codes
    assert outcome.delivered


# -- rule 7: a 354 that no accepted recipient stands behind -----------------------------------------------------------


@pytest.mark.parametrize("final", [250, 550, 503])
@pytest.mark.parametrize(
    "codes", [{"RCPT": 550}, {"MAIL": 550, "RCPT": 503}, {"MAIL": 450, "RCPT": [503, 550]}, {"RCPT": [550, 450]}]
)
def test_only_a_dot_is_sent_where_nobody_was_accepted(codes: dict[str, int], final: int) -> None:
    """After a 354 without a recipient only the end of the data is sent, and whatever it is answered means nothing."""
    delivery = Delivery(Way(pipelining=True), server=Blunt({**codes, "final": final}))
    outcome = delivery.result
    assert delivery.server.messages == [b""]
    assert (outcome.delivered, outcome.may_be_delivered, outcome.data, outcome.final) == (False, False, None, None)
    assert outcome.accepted == []
    assert delivery.rows == ["MAIL", "RCPT", "RCPT", "DATA", "RSET"]
    assert delivery.in_step


@pytest.mark.parametrize("final", [421, 354])
def test_the_answer_to_the_lone_dot_may_end_the_connection(final: int) -> None:
    """The refusals stand, whatever becomes of the connection behind them."""
    delivery = Delivery(Way(pipelining=True), server=Blunt({"RCPT": 550, "final": final}))
    assert [recipient.refusal and recipient.refusal.code for recipient in delivery.result.recipients] == [550, 550]
    assert delivery.closed


@pytest.mark.parametrize("codes", [{"RCPT": 550}, {"MAIL": 550, "RCPT": 503}])
def test_an_lmtp_server_that_wants_a_message_for_nobody_is_left(codes: dict[str, int]) -> None:
    """LMTP: nobody can tell how many answers follow a lone dot, so the connection ends; the refusals stand."""
    delivery = Delivery(Way(pipelining=True, lmtp=True), server=Blunt(codes, lmtp=True))
    outcome = delivery.result
    assert outcome.accepted == []
    assert (outcome.mail is not None and outcome.mail.code) == codes.get("MAIL", 250)
    assert delivery.server.messages == []
    assert delivery.closed


@pytest.mark.parametrize("lmtp", [False, True])
def test_mail_refused_and_all_the_rest_accepted(lmtp: bool) -> None:
    """What a server would send, and to whom, that accepts all but the sender, nobody knows: not even a dot is sent."""
    delivery = Delivery(Way(pipelining=True, lmtp=lmtp), server=Blunt({"MAIL": 550}, lmtp=lmtp))
    assert delivery.result.mail == Reply(550, "MAIL")
    assert [recipient.reply for recipient in delivery.result.recipients] == [None, None]
    assert delivery.server.messages == []
    assert delivery.closed


def test_a_354_for_nobody_from_a_server_that_hangs_up() -> None:
    """Where not even the dot can be sent, the refusals stand."""
    session = introduced()
    peer = Scripted(sends=[BrokenPipeError()], polls=[None, b"250 m\r\n550 r\r\n354 go\r\n"])
    outcome = peer.run(deliver(session, SENDER, recipients(1), MESSAGE, pipelining=True))
    assert outcome.recipients[0].refusal == Reply(550, "r")
    assert session.connection.closed


def test_a_lost_flight_behind_a_refusal_of_all() -> None:
    """A refusal of everything is not hidden by the loss of what was pipelined behind it, as it is not step by step."""
    session = introduced()
    outcome = Scripted([b"250 m\r\n550 r\r\n", b""]).run(
        deliver(session, SENDER, recipients(1), MESSAGE, pipelining=True)
    )
    assert outcome.recipients[0].refusal == Reply(550, "r")
    assert session.connection.closed
    with pytest.raises(ConnectionLost) as caught:
        Scripted([b"250 m\r\n550 r\r\n", b""]).run(
            deliver(introduced(), SENDER, recipients(2), MESSAGE, pipelining=True)
        )
    assert caught.value.outcome is not None
    assert caught.value.outcome.phase is Phase.RCPT


# -- the property -----------------------------------------------------------------------------------------------------

PIPELINED = st.builds(Way, st.just(True), chunking=st.booleans(), lmtp=st.booleans())
ANY_CODE = st.sampled_from([250, 250, 250, 251, 354, 421, 450, 503, 550, 199, 600, HANGS_UP])
LEGAL = st.sampled_from([250, 250, 250, 251, 421, 450, 550, 199, 600, HANGS_UP])
SENSIBLE = st.sampled_from([250, 250, 250, 251, 421, 450, 503, 550])


def assert_the_same_both_ways(
    server: type[Answering | Blunt], way: Way, codes: dict[str, object], to: int, seed: int
) -> None:
    def delivery(way: Way) -> Delivery:
        peer = server(codes, lmtp=way.lmtp)  # type: ignore[arg-type]
        return Delivery(way, to=to, server=peer, pieces=at_random(seed))

    one, other = delivery(way._replace(pipelining=False, chunking=bool(way.chunking))), delivery(way)
    assert one.outcome is not None
    assert other.outcome is not None
    assert type(one.error) is type(other.error)
    assert isinstance(one.error, ConnectionLost | None)
    assert seen(one.outcome) == seen(other.outcome)
    for each in (one, other):
        assert each.in_step or each.closed
        if each.outcome is not None and each.outcome.delivered:
            assert each.server.messages != []
            assert each.outcome.accepted != []


@settings(max_examples=200)
@given(
    way=PIPELINED,
    mail=ANY_CODE,
    rcpt=st.lists(ANY_CODE, min_size=1, max_size=4),
    data=st.one_of(st.just(354), ANY_CODE),
    final=st.lists(ANY_CODE, min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_pipelined_is_as_step_by_step_with_a_server_that_answers_anything(
    way: Way, mail: int, rcpt: Sequence[int], data: int, final: Sequence[int], seed: int
) -> None:
    """For any answers at all, both ways give the same outcome, and the session is in step behind it or closed."""
    codes: dict[str, object] = {"MAIL": mail, "RCPT": rcpt, "DATA": data, "final": final}
    assert_the_same_both_ways(Blunt, way, codes, len(rcpt), seed)


@settings(max_examples=200)
@given(
    way=PIPELINED,
    mail=LEGAL,
    rcpt=st.lists(LEGAL, min_size=1, max_size=4),
    data=st.sampled_from([354, 354, 421, 450, 550, HANGS_UP]),
    final=st.lists(LEGAL, min_size=1, max_size=4),
    reset=LEGAL,
    seed=st.integers(0, 1000),
)
def test_pipelined_is_as_step_by_step_with_the_real_server(
    way: Way, mail: int, rcpt: Sequence[int], data: int, final: Sequence[int], reset: int, seed: int
) -> None:
    """With a server that keeps to the protocol, whatever it refuses, both ways give the same outcome."""
    codes: dict[str, object] = {"MAIL": mail, "RCPT": rcpt, "DATA": data, way.end: final, "RSET": reset}
    assert_the_same_both_ways(Answering, way, codes, len(rcpt), seed)


@settings(max_examples=200)
@given(
    lmtp=st.booleans(),
    mail=SENSIBLE,
    rcpt=st.lists(SENSIBLE, min_size=1, max_size=4),
    final=st.lists(SENSIBLE, min_size=1, max_size=4),
    reset=SENSIBLE,
    blunt=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_eager_is_as_step_by_step(
    lmtp: bool, mail: int, rcpt: Sequence[int], final: Sequence[int], reset: int, blunt: bool, seed: int
) -> None:
    """Whatever is refused while the message is on its way already, the outcome is as if it had been waited for."""
    # A server that refuses MAIL and accepts the rest has accepted nothing that step by step would have asked for.
    row = "final" if blunt else "BDAT LAST"
    codes: dict[str, object] = {"MAIL": mail, "RCPT": rcpt, row: final, "RSET": reset}
    assert_the_same_both_ways(Blunt if blunt else Answering, EAGER[lmtp], codes, len(rcpt), seed)


@settings(max_examples=200)
@given(
    lmtp=st.booleans(),
    mail=ANY_CODE,
    rcpt=st.lists(ANY_CODE, min_size=1, max_size=4),
    final=st.lists(ANY_CODE, min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_eager_with_a_server_that_answers_anything(
    lmtp: bool, mail: int, rcpt: Sequence[int], final: Sequence[int], seed: int
) -> None:
    """Nothing is told to be delivered without an accepted recipient; nothing that is in doubt is told to be certain."""
    server = Blunt({"MAIL": mail, "RCPT": rcpt, "final": final}, lmtp=lmtp)
    delivery = Delivery(EAGER[lmtp], to=len(rcpt), server=server, pieces=at_random(seed))
    outcome = delivery.outcome
    assert outcome is not None
    assert delivery.in_step or delivery.closed
    if outcome.delivered:
        assert outcome.mail is not None
        assert outcome.mail.accepted
        assert outcome.accepted != []
    elif not outcome.may_be_delivered:
        everybody = [recipient.reply is not None for recipient in outcome.recipients]
        assert outcome.refusal is not None or (all(everybody) and not outcome.accepted) or 421 in delivery.codes


@pytest.mark.parametrize("lmtp", [False, True])
def test_eager_is_one_flight(lmtp: bool) -> None:
    """Envelope and message are written at once, and nothing is read before."""
    session = introduced(lmtp=lmtp)
    peer = Scripted([b"250 m\r\n250 r\r\n250 r\r\n250 q\r\n" + b"250 q\r\n" * lmtp])
    outcome = peer.run(deliver(session, SENDER, recipients(2), MESSAGE, pipelining=True, chunking="eager"))
    assert outcome.delivered
    assert peer.segments == [ONE_FLIGHT + b"BDAT %d LAST\r\n" % len(MESSAGE) + MESSAGE]
    assert [type(effect) for effect in peer.effects] == [Poll, Send, Receive]


@pytest.mark.parametrize("count", [1, 2])
def test_eager_and_as_many_answers_as_commands(count: int) -> None:
    """In LMTP the message has an answer for each recipient: as many as there were commands need not be all."""
    finals = [b"250 q%d\r\n" % number for number in range(count)]
    peer = Scripted([b"250 m\r\n" + b"250 r\r\n" * count + finals[0], *finals[1:]])
    session = introduced(lmtp=True)
    outcome = peer.run(deliver(session, SENDER, recipients(count), MESSAGE, pipelining=True, chunking="eager"))
    assert [str(recipient.final) for recipient in outcome.recipients] == [f"250 q{number}" for number in range(count)]
    assert session.connection.at_boundary


@pytest.mark.parametrize("answered", [b"250 m\r\n", b"250 m\r\n250 r\r\n", b"250 m\r\n250 r\r\n250 r\r\n"])
@pytest.mark.parametrize("end", [b"", TimeoutError("timed out"), b"x" * 9000])
def test_eager_and_the_answer_to_the_message_is_lost(answered: bytes, end: bytes | BaseException) -> None:
    """Rule 8: the message is out, so whatever was answered to its envelope, it may have been delivered."""
    peer = Scripted([answered, end])
    with pytest.raises(ConnectionLost) as caught:
        peer.run(deliver(introduced(), SENDER, recipients(2), MESSAGE, pipelining=True, chunking="eager"))
    assert caught.value.outcome is not None
    assert caught.value.outcome.may_be_delivered


def test_eager_needs_pipelining_and_a_message_that_is_not_large() -> None:
    """Without PIPELINING each command waits for its answer, and a large message for those to its envelope."""
    alone = Delivery(Way(False, "eager"))
    assert alone.result.delivered
    assert len(effects_of(Send, alone.joined.client.effects)) == 6
    assert Delivery(EAGER[0], {"MAIL": 550}, message=b"x" * EAGER_SIZE).rows == ["MAIL", "RSET"]
    assert Delivery(EAGER[0], {"MAIL": 550}, message=b"x" * (EAGER_SIZE - 2)).server.messages == []


@pytest.mark.parametrize("room", [1, 10, 64])
def test_eager_with_two_full_buffers(room: int) -> None:
    """What is answered to the envelope while the message goes out is taken in, and is no answer to the message."""
    message = b"line\r\n" * 2000
    delivery = Delivery(EAGER[0], {"RCPT": [550, 250]}, to=200, room=room, message=message)
    assert delivery.result.delivered
    assert len(delivery.result.accepted) == 199
    assert delivery.server.messages == [message]
    assert delivery.in_step


@pytest.mark.parametrize("seen_by_then", [b"250 m\r\n250 r\r\n552 no\r\n", b"550 m\r\n503 r\r\n"])
def test_eager_and_a_write_that_fails(seen_by_then: bytes) -> None:
    """Rule 9: where writing fails, what the server has said until then is heard, to the envelope and to the message."""
    session = introduced()
    peer = Scripted(sends=[BrokenPipeError()], polls=[None, seen_by_then])
    outcome = peer.run(deliver(session, SENDER, recipients(1), MESSAGE, pipelining=True, chunking="eager"))
    assert outcome.refusal is not None
    assert not outcome.may_be_delivered
    assert session.connection.closed
