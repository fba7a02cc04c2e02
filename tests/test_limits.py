"""LIMITS (RFC 9422): no transaction is beyond what the server has said, and once the message is out at all, no failure
is told in a way that would have it sent to everybody again."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.commands import Mail, Rcpt
from smtp_proto.effects import Flow
from smtp_proto.errors import ConnectionLost, LocalProtocolError
from smtp_proto.grammar import domain_of
from smtp_proto.limits import cut, deliver_within
from smtp_proto.outcome import Outcome, Phase
from smtp_proto.session import ClientSession

from .deliveries import MESSAGE, SENDER, recipients
from .flows import Scripted, in_step, introduced

ENVELOPE = b"250 ok\r\n250 ok\r\n354 go on\r\n"  # of a part with one recipient
QUEUED = b"250 2.0.0 queued\r\n"
PART = [ENVELOPE, QUEUED]
RESET = b"250 reset\r\n"


# -- where to cut -----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(["a@x.test", "b@X.test", "c@y.test", "d@z.test", "postmaster"])),
    st.dictionaries(st.sampled_from(["RCPTMAX", "RCPTDOMAINMAX", "MAILMAX"]), st.integers(0, 4)),
)
def test_parts_are_within_the_limits(addresses: list[str], limits: dict[str, int]) -> None:
    """The parts are the whole list in order, none is beyond a limit, and none could have taken the next recipient."""
    parts = cut(addresses, limits)
    assert [number for part in parts for number in part] == list(range(len(addresses)))

    def fits(numbers: range) -> bool:
        domains = {domain_of(addresses[number]) for number in numbers}
        most, most_domains = limits.get("RCPTMAX") or 99, limits.get("RCPTDOMAINMAX") or 99
        return len(numbers) <= most and len(domains) <= most_domains

    assert all(fits(part) for part in parts)
    assert not any(fits(range(part.start, part.stop + 1)) for part in parts[:-1])


# -- several transactions ---------------------------------------------------------------------------------------------


class Run:
    """One delivery to three recipients at a server that takes one at a time, over a script."""

    def __init__(
        self, *receives: bytes | BaseException, to: int = 3, limits: Mapping[str, int] | None = None, lmtp: bool = False
    ) -> None:
        self.session = introduced(lmtp=lmtp)
        self.outcome = Outcome([command.path for command in recipients(to)], SENDER.path)
        self.peer = Scripted(receives)
        self.error: Exception | None = None
        flow = deliver_within(
            self.session,
            SENDER,
            recipients(to),
            MESSAGE,
            limits={"RCPTMAX": 1} if limits is None else limits,
            pipelining=True,
            outcome=self.outcome,
        )
        try:
            assert self.peer.run(flow) is self.outcome
        except (ConnectionLost, LocalProtocolError) as error:
            self.error = error

    @property
    def answers(self) -> list[str]:
        return [str(recipient.answer) for recipient in self.outcome.recipients]


def test_one_message_in_parts() -> None:
    """Each part is a whole transaction, and each recipient has the answer of its own."""
    run = Run(*PART, ENVELOPE, b"250 2.0.0 queued as 2ABC\r\n", ENVELOPE, b"250 2.0.0 queued as 3ABC\r\n")
    assert run.peer.written.count(b"mail from:") == run.peer.written.count(b"\r\n.\r\n") == 3
    assert run.answers == ["250 2.0.0 queued", "250 2.0.0 queued as 2ABC", "250 2.0.0 queued as 3ABC"]
    assert run.outcome.delivered
    assert run.outcome.phase is Phase.DONE
    assert not run.outcome.refused
    assert in_step(run.session)


def test_a_list_within_the_limits_is_one_transaction() -> None:
    """Nothing changes for who stays within them."""
    run = Run(b"250 ok\r\n" * 4 + b"354 go on\r\n", QUEUED, limits={"RCPTMAX": 3, "RCPTDOMAINMAX": 1, "MAILMAX": 1})
    assert run.outcome.delivered
    assert run.peer.written.count(b"mail from:") == 1
    assert [recipient.final for recipient in run.outcome.recipients] == [None] * 3


@pytest.mark.parametrize(
    ("refusal", "answer"),
    [
        ([b"451 4.1.8 later\r\n503 no\r\n503 no\r\n", RESET], "451 4.1.8 later"),  # the sender
        ([b"250 ok\r\n550 5.1.1 nobody\r\n503 no\r\n", RESET], "550 5.1.1 nobody"),  # the recipient
        ([b"250 ok\r\n250 ok\r\n452 4.3.1 full\r\n", RESET], "452 4.3.1 full"),  # DATA
        ([ENVELOPE, b"554 5.6.0 no\r\n", RESET], "554 5.6.0 no"),  # the message
    ],
)
def test_a_refusal_behind_a_part_that_was_taken(refusal: list[bytes], answer: str) -> None:
    """It stands with its recipient, and the others are not touched by it."""
    run = Run(*PART, *refusal, *PART)
    assert run.outcome.delivered
    assert run.outcome.refusal is None
    assert run.answers == ["250 2.0.0 queued", answer, "250 2.0.0 queued"]
    assert [recipient.address for recipient in run.outcome.refused] == ["r1@mx.test"]
    assert run.error is None


@pytest.mark.parametrize(
    "refusal",
    [
        [b"451 4.1.8 later\r\n503 no\r\n503 no\r\n", RESET],
        [b"250 ok\r\n250 ok\r\n452 4.3.1 full\r\n", RESET],
        [ENVELOPE, b"554 5.6.0 no\r\n", RESET],
    ],
)
def test_a_refusal_of_sender_or_message_before_any_part_was_taken(refusal: list[bytes]) -> None:
    """It ends the delivery: the other parts would fare the same."""
    run = Run(*refusal)
    assert not run.outcome.delivered
    assert run.outcome.refusal is not None
    assert run.peer.written.count(b"mail from:") == 1
    assert run.answers[0] == str(run.outcome.refusal)


def test_a_recipient_refused_first() -> None:
    """What is one recipient's fault alone stops nobody else."""
    run = Run(b"250 ok\r\n550 5.1.1 nobody\r\n503 no\r\n", RESET, *PART, *PART)
    assert run.answers == ["550 5.1.1 nobody", "250 2.0.0 queued", "250 2.0.0 queued"]
    assert run.outcome.delivered


def test_everybody_refused_one_by_one() -> None:
    """Without anybody to send it to, the outcome has a refusal for each, and no message was sent."""
    run = Run(*[b"250 ok\r\n550 5.1.1 nobody\r\n503 no\r\n", RESET] * 3)
    assert run.answers == ["550 5.1.1 nobody"] * 3
    assert not run.outcome.delivered


@pytest.mark.parametrize(
    ("lost", "phase", "said"),
    [
        ([b""], Phase.DONE, "the message was not sent"),
        ([b"250 ok\r\n250 ok\r\n", b""], Phase.DONE, "the message was not sent"),
        ([ENVELOPE, b""], Phase.SENT, "the message may have been delivered"),
        ([b"250 ok\r\n421 4.3.2 closing\r\n"], Phase.DONE, "421 4.3.2 closing"),
    ],
)
def test_a_lost_connection_behind_a_part_that_was_taken(lost: list[bytes], phase: Phase, said: str) -> None:
    """Nothing is raised: who is without an answer has one that says so, and what is in doubt is called that."""
    run = Run(*PART, *lost)
    assert run.error is None
    assert run.outcome.delivered
    assert run.outcome.phase is phase
    assert run.answers[0] == "250 2.0.0 queued"
    assert said in run.answers[1]
    assert run.answers[2].startswith("421 4.4.2")
    assert "the message was not sent" in run.answers[2]
    assert [recipient.temporary for recipient in run.outcome.recipients] == [False, True, True]


def test_a_421_between_the_recipients_of_a_later_part() -> None:
    """Whose RCPT was accepted before a 421 that ended the part did not get the message, and is told so."""
    envelope = b"250 ok\r\n250 ok\r\n250 ok\r\n354 go on\r\n"
    run = Run(envelope, QUEUED, b"250 ok\r\n250 ok\r\n421 bye\r\n", to=4, limits={"RCPTMAX": 2})
    assert run.answers[:2] == ["250 2.0.0 queued"] * 2
    assert "the message was not sent" in run.answers[2]
    assert run.answers[3] == "421 bye"


@pytest.mark.parametrize("receives", [[b""], [ENVELOPE, b""]])
def test_a_lost_connection_before_any_part_was_taken(receives: list[bytes]) -> None:
    """It is raised as for one transaction, with the outcome of all."""
    run = Run(*receives)
    assert isinstance(run.error, ConnectionLost)
    assert run.error.outcome is run.outcome
    assert run.outcome.may_be_delivered is (len(receives) == 2)
    assert [recipient.answer for recipient in run.outcome.recipients] == [None] * 3


def test_in_lmtp_every_part_has_its_own_answers() -> None:
    """RFC 2033 4.2: what is said of each recipient at the end of the message stands as it is."""
    envelope = b"250 ok\r\n250 ok\r\n250 ok\r\n354 go on\r\n"
    run = Run(
        *[envelope, b"250 one\r\n", b"550 two\r\n"], *PART[:1], b"250 three\r\n", limits={"RCPTMAX": 2}, lmtp=True
    )
    assert run.answers == ["250 one", "550 two", "250 three"]


# -- what cannot be done ----------------------------------------------------------------------------------------------


def test_a_stream_is_not_sent_twice() -> None:
    """A message that can be read once only is refused before anything is sent."""
    peer = Scripted()
    with pytest.raises(LocalProtocolError, match="stream"):
        peer.run(deliver_within(introduced(), SENDER, recipients(2), iter([MESSAGE]), limits={"RCPTMAX": 1}))
    assert peer.written == b""


def test_an_address_in_any_part_is_judged_first() -> None:
    """What the last part would be refused for locally is refused before the first one is sent."""
    peer = Scripted()
    with pytest.raises(LocalProtocolError, match="SMTPUTF8"):
        peer.run(
            deliver_within(introduced(), SENDER, [*recipients(1), Rcpt("ü@mx.test")], MESSAGE, limits={"RCPTMAX": 1})
        )
    assert peer.written == b""


@pytest.mark.parametrize("limits", [{"MAILMAX": 2, "RCPTMAX": 1}, {"MAILMAX": 1, "RCPTDOMAINMAX": 1, "RCPTMAX": 2}])
def test_too_few_transactions(limits: dict[str, int]) -> None:
    """With MAILMAX and no way to another connection nothing is sent, and the error says what is missing."""
    run = Run(limits=limits)
    assert isinstance(run.error, LocalProtocolError)
    assert "MAILMAX" in str(run.error)
    assert run.peer.written == b""


def test_transactions_are_counted_over_the_whole_connection() -> None:
    """A message of one transaction is refused, too, where the ones before it have used up what the server takes."""
    session = introduced()
    for _ in range(2):
        Scripted(PART).run(deliver_within(session, SENDER, recipients(1), MESSAGE, limits={}, pipelining=True))
    peer = Scripted()
    with pytest.raises(LocalProtocolError, match="0 more"):
        peer.run(deliver_within(session, SENDER, recipients(1), MESSAGE, limits={"MAILMAX": 2}))


class Renewing:
    """A way to another connection: the script of the peer behind it goes on in the same place."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sessions: list[ClientSession] = []

    def __call__(self) -> Flow[ClientSession]:
        if self.error is not None:
            raise self.error
        self.sessions.append(introduced())
        yield from ()
        return self.sessions[-1]


def test_another_connection_where_there_is_a_way_to_one() -> None:
    """MAILMAX: each connection carries as many transactions as the server takes, and no more."""
    renew = Renewing()
    peer = Scripted(PART * 5)
    outcome = peer.run(
        deliver_within(
            introduced(),
            Mail("a@client.test"),
            recipients(5),
            MESSAGE,
            limits={"MAILMAX": 2, "RCPTMAX": 1},
            pipelining=True,
            renew=renew,
        )
    )
    assert [recipient.delivered for recipient in outcome.recipients] == [True] * 5
    assert [session.connection.transactions for session in renew.sessions] == [2, 1]


def test_no_other_connection_to_be_had() -> None:
    """Behind a part that was taken, even that stands with the recipients; before one, it is raised."""
    limits = {"MAILMAX": 1, "RCPTMAX": 1}
    session = introduced()
    flow = deliver_within(
        session,
        SENDER,
        recipients(2),
        MESSAGE,
        limits=limits,
        pipelining=True,
        renew=Renewing(ConnectionRefusedError("no")),
    )
    outcome = Scripted(PART).run(flow)
    assert [recipient.delivered for recipient in outcome.recipients] == [True, False]
    assert str(outcome.recipients[1].answer) == "421 4.4.2 no; the message was not sent"
    again = deliver_within(
        session,
        SENDER,
        recipients(2),
        MESSAGE,
        limits=limits,
        renew=Renewing(ConnectionRefusedError("no")),
    )
    with pytest.raises(ConnectionRefusedError):
        Scripted().run(again)
