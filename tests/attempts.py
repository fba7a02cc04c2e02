"""A message that is sent to a peer that does as a script says, and all that becomes of it, foreseen or step by step.

A session whose driver performs no flights foresees nothing, so it is what all is compared with.  `Peer` performs a
flight by its steps: how both ways ask for their octets is seen effect by effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Noop
from smtp_proto.effects import Effect, Flight, Flow
from smtp_proto.errors import ProtocolError
from smtp_proto.outcome import Outcome
from smtp_proto.plain import plain_mail
from smtp_proto.replies import MAX_REPLY_LINE, Reply
from smtp_proto.session import ClientSession
from smtp_proto.strategies import malformed_replies, replies, splits
from smtp_proto.transaction import deliver, deliver_plain

from .deliveries import MESSAGE, SENDER, Way, recipients
from .flows import Part, Scripted, introduced

#: What arrives, or the kind of error that is raised instead; of this each attempt gets one of its own.
Arrival = bytes | type[BaseException] | None

WAYS = [Way(pipelining, chunking) for pipelining in (False, True) for chunking in (False, True)]
WAYS += [Way(pipelining, "eager") for pipelining in (False, True)]
every_way = pytest.mark.parametrize("way", WAYS, ids=str)
both_kinds = pytest.mark.parametrize("plain", [False, True], ids=["any mail", "plain mail"])


# -- what the peer does -----------------------------------------------------------------------------------------------


class Script(NamedTuple):
    """What arrives at each `Receive` and `Poll`, and what becomes of each `Send`; behind it the peer hangs up."""

    receives: Sequence[Arrival]
    polls: Sequence[Arrival] = ()
    sends: Sequence[Part | type[BaseException] | None] = ()


def usual(way: Way, count: int) -> list[list[bytes]]:
    """The answers that let all go well, for each flight."""
    envelope = [b"250 2.1.0 m\r\n", *[b"250 2.1.5 r\r\n"] * count, *([] if way.chunking else [b"354 go\r\n"])]
    final = b"250 2.0.0 queued as 4cX1y2\r\n"
    if not way.pipelining:
        return [[answer] for answer in (*envelope, final)]
    return [[*envelope, final]] if way.chunking == "eager" else [envelope, [final]]


def joined(flights: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [b"".join(answers) for answers in flights]


# In the place of any answer: refusals, what is no refusal and not usual either, what is none at all, and the end.
UNUSUAL: list[bytes | type[BaseException]] = [
    *(b"550 5.1.1 no\r\n", b"450 4.7.1 later\r\n", b"421 bye\r\n", b"503 what\r\n", b"550-no\r\n550 never\r\n"),
    *(b"250-two\r\n250 lines\r\n", b"354 go\r\n", b"250 ok\r\n", b"251 ok\n", b"354 go\n", b"250 \xff\xfe\r\n"),
    *(b"250 ok\r\n250 unasked\r\n", b"250 ok\r\n421 bye\r\n", b"250\r\n", b"250 \r\r\n", b"250 \n", b"199 x\r\n"),
    *(b"250 ok\r\n25", b"250", b"garbage\r\n", b"\r\n", b"600 x\r\n", b"250_x\r\n", b"250 " + b"x" * MAX_REPLY_LINE),
    *(b"", OSError, TimeoutError, ConnectionResetError),
]
ANSWERS = st.sampled_from(UNUSUAL) | replies().map(Reply.encode) | malformed_replies()
BEFORE = st.sampled_from([None, None, None, None, b"421 bye\r\n", b"550 no\r\n", b"250 what\r\n", b"25", b"", OSError])
HEARD = st.sampled_from([None, b"", b"250 m\r\n", b"550 no\r\n", b"25", b"421 bye\r\n", b"garbage\r\n"])
WRITTEN = st.just(None) | st.builds(Part, st.sampled_from([0, 1, 30, 1 << 20]), HEARD) | st.just(BrokenPipeError)


@st.composite
def scripts(draw: st.DrawFn, way: Way, count: int) -> Script:
    """The usual answers, some of them exchanged for others, in pieces; what is heard before and during the writing."""
    flights: list[list[bytes | type[BaseException]]] = [[*answers] for answers in usual(way, count)]
    places = [(flight, at) for flight, answers in enumerate(flights) for at in range(len(answers))]
    for flight, at in draw(st.lists(st.sampled_from(places), max_size=2)):
        flights[flight][at] = draw(ANSWERS)
    if draw(st.integers(0, 3)) == 0:  # answers arrive whenever they like
        flights = [[answer for answers in flights for answer in answers]]
    receives: list[Arrival] = []
    for answers in flights:
        octets = b""
        for answer in (*answers, None):
            if answer and isinstance(answer, bytes):
                octets += answer
                continue
            receives += filter(None, draw(st.just([octets]) | splits(octets, 4)))
            receives += [] if answer is None else [answer]
            octets = b""
    polls = draw(st.just([]) | st.lists(BEFORE, max_size=6))
    sends = draw(st.just([]) | st.lists(st.just(None) | WRITTEN, max_size=5))
    return Script([*receives, *[b"250 behind it\r\n"] * draw(st.integers(0, 3))], polls, sends)


#: What makes a flow catch up with a flight, at each of its answers; and what does not.
REFUSED = [b"550 5.1.1 no\r\n", b"250-two\r\n250 lines\r\n", b"250 in two ", b"garbage\r\n", b""]


def deviating(way: Way) -> Iterator[Script]:
    yield Script(joined(usual(way, 2)))
    flights = usual(way, 2)
    for flight, answers in enumerate(flights):
        for unusual in REFUSED:
            receives = joined(flights)
            receives[flight : flight + 1] = [b"".join(answers[:-1]) + unusual]
            yield Script([*receives, b"pieces\r\n", b"250 reset\r\n"])
        yield Script(joined(flights), [*[None] * flight, b"421 bye\r\n"])
        yield Script(joined(flights), sends=[*[None] * flight, Part(3, None), Part(3, b"550 no\r\n")])


class Case(NamedTuple):
    way: Way
    number: int  # of recipients
    plain: bool
    script: Script


@st.composite
def cases(draw: st.DrawFn) -> Case:
    way, number = draw(st.sampled_from(WAYS)), draw(st.integers(1, 4))
    return Case(way, number, draw(st.booleans()), draw(scripts(way, number)))


class Peer(Scripted):
    """Does as a script says, and keeps which flights it was asked for."""

    def __init__(self, script: Script, fails: Mapping[int, type[BaseException]] | None = None) -> None:
        super().__init__(
            [*map(raised, script.receives), *[b""] * 20],
            polls=map(raised, script.polls),
            sends=map(raised, script.sends),
            fails={at: kind("failed") for at, kind in (fails or {}).items()},
        )
        self.flights: list[type[Flight]] = []

    def _perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, Flight):
            self.flights.append(type(effect))
        return super()._perform(effect)

    @property
    def commands(self) -> int:
        """How many of a transaction's commands were written, to their ends."""
        beginnings = (b"mail from:", b"rcpt to:", b"data\r\n", b"BDAT ", b"\r\n.\r\n", b"rset\r\n")
        return sum(map(self.written.count, beginnings))


def raised(arrival: Any) -> Any:
    return arrival("lost") if isinstance(arrival, type) else arrival


# -- what came of it --------------------------------------------------------------------------------------------------


class Attempt:
    """One message, and whatever becomes of it."""

    def __init__(
        self,
        case: Case,
        flights: bool,
        fails: Mapping[int, type[BaseException]] | None = None,
        session: ClientSession | None = None,
        peer: Peer | None = None,
        **options: Any,
    ) -> None:
        self.case = case
        self.flights = flights
        self.session = session or introduced(flights=flights)
        self.connection = self.session.connection
        self.outcome = Outcome([command.path for command in recipients(case.number)], SENDER.path)
        self.peer = peer or Peer(case.script, fails)
        self.result: Outcome | None = None
        self.error: BaseException | None = None
        try:
            self.result = self.peer.run(self._flow(**options))
        except BaseException as error:  # noqa: BLE001  # what was raised is what is looked at
            self.error = error

    def _flow(self, message: Any = MESSAGE, **options: Any) -> Flow[Outcome]:
        (pipelining, chunking, _), count = self.case.way, self.case.number
        if self.case.plain:
            plain = plain_mail(SENDER.path, self.outcome.addresses, message, sized=count % 2 == 0)
            assert plain is not None
            return deliver_plain(self.session, plain, self.outcome, pipelining=pipelining, chunking=chunking)
        options = {"pipelining": pipelining, "chunking": chunking, "outcome": self.outcome, **options}
        return deliver(self.session, SENDER, recipients(count), message, **options)

    def forget(self) -> None:
        """Let go of the exception, whose traceback has this attempt."""
        self.error = None

    def check_same(self, other: Attempt) -> None:
        """Everything that can be seen is the same; part by part, for the sake of who reads why it is not."""
        assert raised_by(self) == raised_by(other)
        assert told(self.outcome) == told(other.outcome)
        assert self.result in (None, self.outcome)
        assert (self.result is None) == (other.result is None)
        assert self.peer.segments == other.peer.segments
        assert asked(self.peer) == asked(other.peer)
        assert left(self.connection) == left(other.connection)

    def further(self) -> list[object]:
        """What comes of two more messages and a NOOP, without any trouble, where the connection is good for them."""
        found: list[object] = []
        case = self.case._replace(script=Script(joined(usual(self.case.way, self.case.number))))
        for _ in range(2 if self.connection.at_boundary and not self.connection.closed else 0):
            attempt = Attempt(case, self.flights, session=self.session)
            found += [raised_by(attempt), told(attempt.outcome), attempt.peer.segments, left(self.connection)]
        try:
            found.append(Scripted([b"250 to the noop\r\n", b"", b""]).run(self.session.command(Noop())))
        except ProtocolError as error:
            found.append((type(error), str(error)))
        return found


def told(outcome: Outcome) -> tuple[object, ...]:
    """All of an outcome that a caller sees."""
    answers = [outcome.mail, *outcome.replies, outcome.data, outcome.final, *outcome.finals.values()]
    each = [(one.answer, one.delivered, one.temporary, one.permanent, one.final) for one in outcome.recipients]
    groups = [[one.address for one in group] for group in (outcome.accepted, outcome.refused)]
    return (
        *(outcome.phase, outcome.fate, answers, [answer and answer.raw for answer in answers], outcome.finals, each),
        *(groups, outcome.delivered, outcome.may_be_delivered, outcome.refusal, outcome.refused_before),
        *(outcome.unanimous, outcome.queue_id, str(outcome), repr(outcome)),
    )


def raised_by(attempt: Attempt) -> tuple[object, ...]:
    """The exception: what it says, whose outcome it has, and what it was raised from."""
    error = attempt.error
    own = getattr(error, "outcome", None) is attempt.outcome
    return type(error), str(error), own, getattr(error, "reply", None), repr(error and error.__cause__)


def asked(peer: Scripted) -> list[tuple[object, ...]]:
    """The effects, with all that says how they are to be performed."""
    parts = ("stage", "again", "rest", "listen")
    return [(type(effect), *(getattr(effect, part, None) for part in parts)) for effect in peer.effects]


def left(connection: ClientConnection) -> tuple[object, ...]:
    return (
        *(connection.state, connection.sent_state, connection.closed, connection.at_boundary, connection.transactions),
        *(connection.answered, connection.due, connection.unread, connection.pending_output, connection.message_due),
        *(connection.accepted, connection.outstanding, connection.output),
    )
