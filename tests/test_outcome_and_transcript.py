"""What became of a transaction, and what was said, as values; and the effects that carry flows."""

from __future__ import annotations

import copy
import pickle
from base64 import b64encode
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.commands import Auth, AuthResponse, Bdat, Command, Data, EndOfData, Mail, Noop, Raw
from smtp_proto.effects import Connect, Flow, Poll, Receive
from smtp_proto.outcome import Outcome, Phase
from smtp_proto.replies import Reply
from smtp_proto.states import Stage
from smtp_proto.transcript import (
    Entry,
    Said,
    Transcript,
    body_said,
    closed_said,
    command_said,
    connected_said,
    reply_said,
    tls_said,
)

from .flows import Scripted, introduced
from .serving import Deciding, Served

OK, NO, GO = Reply(250, "ok"), Reply(550, "no"), Reply(354, "go")

# -- outcomes ---------------------------------------------------------------------------------------------------------


def outcome_of(
    mail: Reply | None,
    recipients: list[tuple[Reply | None, Reply | None]],
    data: Reply | None = None,
    final: Reply | None = None,
    phase: Phase = Phase.DONE,
) -> Outcome:
    outcome = Outcome([f"r{n}@mx.test" for n in range(len(recipients))])
    outcome.mail, outcome.data, outcome.final, outcome.phase = mail, data, final, phase
    for recipient, (reply, answer) in zip(outcome.recipients, recipients, strict=True):
        recipient.reply, recipient.final = reply, answer
    return outcome


def test_a_new_outcome_says_nothing() -> None:
    """Before anything was answered nothing was accepted, refused, delivered, or in doubt."""
    outcome = Outcome(["a@mx.test"])
    assert (outcome.phase, outcome.delivered, outcome.may_be_delivered) == (Phase.MAIL, False, False)
    assert (outcome.accepted, outcome.refusal) == ([], None)
    assert (outcome.recipients[0].accepted, outcome.recipients[0].refusal) == (False, None)


@pytest.mark.parametrize(
    ("outcome", "delivered", "refusal"),
    [
        (outcome_of(NO, [(None, None)], phase=Phase.MAIL), False, NO),
        (outcome_of(Reply(421, "bye"), [(None, None)], phase=Phase.MAIL), False, Reply(421, "bye")),
        (outcome_of(OK, [(NO, None), (NO, None)], phase=Phase.RCPT), False, None),
        (outcome_of(OK, [(OK, None), (NO, None)], data=NO, phase=Phase.DATA), False, NO),
        (outcome_of(OK, [(OK, None)], data=GO, phase=Phase.DATA), False, None),
        (outcome_of(OK, [(OK, None)], data=GO, phase=Phase.SENT), False, None),
        (outcome_of(OK, [(OK, None), (NO, None)], data=GO, final=OK), True, None),
        (outcome_of(OK, [(OK, None)], data=GO, final=NO), False, NO),
        (outcome_of(OK, [(OK, None)], final=OK), True, None),
        (outcome_of(OK, [(OK, OK), (OK, NO)], data=GO, final=NO), True, None),
        (outcome_of(OK, [(OK, NO), (OK, OK)], data=GO, final=OK), True, None),
        (outcome_of(OK, [(OK, NO), (OK, NO)], data=GO, final=NO), False, NO),
        (outcome_of(OK, [(OK, OK), (OK, None)], data=GO, final=OK, phase=Phase.SENT), True, None),
        (outcome_of(OK, [(OK, NO), (OK, None)], data=GO, final=NO, phase=Phase.SENT), False, None),
    ],
    ids=repr,
)
def test_delivered_and_refused(outcome: Outcome, delivered: bool, refusal: Reply | None) -> None:
    """Delivered is what was taken for one recipient at least; a refusal of it all is what left it to none."""
    assert outcome.delivered is delivered
    assert outcome.refusal == refusal
    assert outcome.may_be_delivered is (outcome.phase is Phase.SENT)


@given(
    mail=st.sampled_from([None, OK, NO]),
    replies=st.lists(st.tuples(st.sampled_from([None, OK, NO]), st.sampled_from([None, OK, NO])), max_size=3),
    data=st.sampled_from([None, GO, NO]),
    final=st.sampled_from([None, OK, NO]),
    phase=st.sampled_from(Phase),
)
def test_a_message_is_never_both_refused_and_taken_at_its_end(
    mail: Reply | None,
    replies: list[tuple[Reply | None, Reply | None]],
    data: Reply | None,
    final: Reply | None,
    phase: Phase,
) -> None:
    """No outcome whose envelope was accepted is both delivered and refused for all, and each answer has one meaning."""
    outcome = outcome_of(mail, replies, data, final, phase)
    if outcome.delivered and (mail is None or mail.accepted) and (data is None or data.severity == 3):
        assert outcome.refusal is None
    assert outcome.unanimous is all(each.accepted and each.final is None for each in outcome.recipients)
    for recipient in outcome.recipients:
        assert recipient.accepted is (recipient in outcome.accepted)
        assert recipient.refusal in (None, recipient.reply, recipient.final)
        assert recipient.refusal is None or not recipient.refusal.accepted


def test_outcomes_are_shown() -> None:
    """An outcome in a traceback says how far it came, with every answer."""
    outcome = outcome_of(OK, [(NO, None)], phase=Phase.RCPT)
    assert repr(outcome) == (
        "Outcome(phase=RCPT, mail=250 ok, recipients=[RecipientOutcome('r0@mx.test', reply=550 no, final=None)], "
        "data=None, final=None)"
    )
    assert repr(Outcome(["a@mx.test"]).recipients[0]) == "RecipientOutcome('a@mx.test', reply=None, final=None)"


LATER = Reply(451, "4.3.0 later")
QUEUED = Reply(250, "2.0.0 Ok: queued as 9F3A21C0DE")


@pytest.mark.parametrize(
    ("outcome", "answers"),
    [
        (outcome_of(LATER, [(None, None), (None, None)], phase=Phase.MAIL), [LATER, LATER]),
        (outcome_of(OK, [(NO, None), (LATER, None)], phase=Phase.RCPT), [NO, LATER]),
        (outcome_of(OK, [(OK, None), (NO, None)], data=LATER, phase=Phase.DATA), [LATER, NO]),
        (outcome_of(OK, [(OK, None), (NO, None)], data=GO, final=QUEUED), [QUEUED, NO]),
        (outcome_of(OK, [(OK, None), (NO, None)], data=GO, final=LATER), [LATER, NO]),
        (outcome_of(OK, [(OK, None), (NO, None)], data=GO, phase=Phase.SENT), [None, NO]),
        (outcome_of(OK, [(OK, QUEUED), (NO, None), (OK, LATER)], data=GO, final=LATER), [QUEUED, NO, LATER]),
        # LMTP, lost after the first answer: it says nothing of the others.
        (outcome_of(OK, [(OK, QUEUED), (OK, None)], data=GO, final=QUEUED, phase=Phase.SENT), [QUEUED, None]),
        # A 421 to the first recipient: the server was never asked about the second.
        (outcome_of(OK, [(LATER, None), (None, None)], phase=Phase.RCPT), [LATER, None]),
    ],
    ids=repr,
)
def test_the_answer_for_each_recipient(outcome: Outcome, answers: list[Reply | None]) -> None:
    """What decided about a recipient is its own refusal, else that of all, else what took the message; or nothing."""
    assert [recipient.answer for recipient in outcome.recipients] == answers
    assert [recipient.delivered for recipient in outcome.recipients] == [answer == QUEUED for answer in answers]
    assert [recipient.temporary for recipient in outcome.recipients] == [answer == LATER for answer in answers]
    assert [recipient.permanent for recipient in outcome.recipients] == [answer == NO for answer in answers]
    assert [recipient.queue_id for recipient in outcome.recipients] == [
        "9F3A21C0DE" if answer == QUEUED else None for answer in answers
    ]
    assert [recipient.enhanced for recipient in outcome.recipients] == [
        answer.enhanced if answer is not None else None for answer in answers
    ]
    assert outcome.refused == [each for each in outcome.recipients if each.answer in (LATER, NO)]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (
            outcome_of(OK, [(OK, None), (NO, None)], data=GO, final=QUEUED),
            (
                "from <>: delivered to 1 of 2 recipients, queued as 9F3A21C0DE\n"
                "  to r0@mx.test: 250 2.0.0 Ok: queued as 9F3A21C0DE\n"
                "  to r1@mx.test: 550 no"
            ),
        ),
        (
            outcome_of(OK, [(OK, None)], data=GO, phase=Phase.SENT),
            "from <>: sent, but the answer is missing: it may have been delivered\n  to r0@mx.test: no answer",
        ),
        (
            outcome_of(OK, [(NO, None)], phase=Phase.RCPT),
            "from <>: not delivered (it came to RCPT)\n  to r0@mx.test: 550 no",
        ),
    ],
)
def test_outcomes_can_be_read(outcome: Outcome, said: str) -> None:
    """``str()`` of an outcome says in a line what became of the message, and in one more for each recipient why."""
    assert str(outcome) == said
    assert outcome.queue_id == ("9F3A21C0DE" if outcome.final == QUEUED else None)


def test_outcomes_can_be_kept() -> None:
    """An outcome can be pickled, as the exceptions that carry it can, and copied."""
    outcome = outcome_of(OK, [(OK, None), (NO, None)], data=GO, final=QUEUED)
    for again in (pickle.loads(pickle.dumps(outcome)), copy.deepcopy(outcome)):  # noqa: S301  # made in this line
        assert repr(again) == repr(outcome)
        assert [recipient.answer for recipient in again.recipients] == [QUEUED, NO]


# -- what was said ----------------------------------------------------------------------------------------------------

SECRET = b"tim\0s3cret"
IN_BASE64 = b64encode(SECRET).decode()


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (Auth("PLAIN", SECRET), "AUTH PLAIN ***"),
        (Auth("PLAIN", b""), "AUTH PLAIN ***"),
        (Auth("LOGIN"), "AUTH LOGIN"),
        (AuthResponse(SECRET), "***"),
        (AuthResponse(b""), "***"),
        (AuthResponse(None), "*"),
        (Raw(f"AUTH PLAIN {IN_BASE64}".encode()), "AUTH PLAIN ***"),
        (Raw(f"auth  plain   {IN_BASE64}".encode()), "AUTH plain ***"),
        (Raw(f"auth {IN_BASE64}".encode()), "AUTH ***"),
        (Raw(IN_BASE64.encode(), "AUTH response"), "***"),
        (Mail("a@client.test", ["SIZE=5"]), "mail from:<a@client.test> SIZE=5"),
        (Data(), "data"),
        (EndOfData(), "."),
        (Bdat(5, last=True), "BDAT 5 LAST"),
        (Raw(b"AUTH"), "AUTH"),
    ],
)
def test_a_command_is_told_without_its_secret(command: Command, text: str) -> None:
    """Rule 6: of AUTH in any form only the mechanism is shown, in the text and in every representation."""
    said = command_said(command)
    assert str(said) == f"C: {text}"
    for shown in (str(said), repr(said), repr(command)):
        assert IN_BASE64 not in shown
        assert "s3cret" not in shown


def test_a_reply_is_told_as_it_stood_on_the_wire() -> None:
    """Each line of a reply has its code, and the reply itself is kept."""
    reply = Reply(250, [b"mx.test", b"SIZE 5", b"\xff"])
    said = reply_said(reply)
    assert str(said) == "S: 250-mx.test\nS: 250-SIZE 5\nS: 250 \\xff"
    assert said.reply is reply
    assert str(reply_said(Reply(7, ""))) == "S: 007 "


def test_of_a_message_only_its_size() -> None:
    """A body is told as so many octets."""
    said = body_said(1234)
    assert (str(said), said.octets) == ("C: <1234 octets of message>", 1234)


def test_what_happens_to_the_connection() -> None:
    """What neither side says is told, too."""
    entries = [connected_said("mx.test port 25"), tls_said("mx.test"), tls_said(None), closed_said()]
    assert [str(said) for said in entries] == [
        "*: connected to mx.test port 25",
        "*: TLS established with mx.test",
        "*: TLS established",
        "*: connection closed",
    ]


def test_what_was_said_is_a_value() -> None:
    """Two things said are equal if all that they say is, and neither can be changed."""
    assert body_said(5) == Said("C", "<5 octets of message>", octets=5)
    assert command_said(Noop()) != reply_said(Reply(250, "noop"))
    with pytest.raises(AttributeError, match="immutable"):
        body_said(5).text = "other"


def test_a_transcript_keeps_times_and_order() -> None:
    """Each entry has the time of the given clock, and there is no other clock; printed, it is the conversation."""
    ticks = count(100, 0.5)
    transcript = Transcript(lambda: next(ticks))
    session = introduced(observe=transcript)
    Scripted([b"250-two\r\n250 lines\r\n", b"250 ok\r\n"]).run(_two_commands(session.command(Noop()), session.reset()))
    assert len(transcript) == 4
    assert [entry.time for entry in transcript] == [100, 100.5, 101, 101.5]
    assert transcript.entries[0] == Entry(100, command_said(Noop()))
    assert str(transcript) == "C: noop\nS: 250-two\nS: 250 lines\nC: rset\nS: 250 ok"


def _two_commands(first: Flow[Reply], second: Flow[Reply]) -> Flow[None]:
    yield from first
    yield from second


# -- effects ----------------------------------------------------------------------------------------------------------


def test_an_effect_is_a_flow_of_itself() -> None:
    """``yield from`` an effect yields that effect, and gives back what it is sent, or raises what is thrown in."""
    effect = Receive(Stage.COMMAND)
    flow = iter(effect)
    assert next(flow) is effect
    with pytest.raises(StopIteration) as stop:
        flow.send(b"octets")
    assert stop.value.value == b"octets"
    polling = iter(Poll())
    next(polling)
    with pytest.raises(TimeoutError):
        polling.throw(TimeoutError())


def test_connecting_is_an_effect() -> None:
    """A flow may ask to be connected, in a driver that can."""

    def flow() -> Flow[int]:
        yield from Connect("mx.test", 25)
        return 5

    peer = Scripted()
    assert peer.run(flow()) == 5
    (effect,) = peer.effects
    assert isinstance(effect, Connect)
    assert (effect.host, effect.port) == ("mx.test", 25)


# -- handlers ---------------------------------------------------------------------------------------------------------


def test_a_received_message_names_its_envelope() -> None:
    """The paths are as they came, the null reverse-path is empty, and the content has CRLF line ends."""
    handler = Deciding()
    octets = b"EHLO c.test\r\nMAIL FROM:<> SIZE=3\r\nRCPT TO:<a@mx.test>\r\nRCPT TO:<b@mx.test>\r\nBDAT 3 LAST\r\nx\r\n"
    Served(octets, handler=handler)
    (message,) = handler.messages
    assert (message.sender, message.to, message.content) == ("", ("a@mx.test", "b@mx.test"), b"x\r\n")
    assert message.mail == Mail("", ["SIZE=3"])
