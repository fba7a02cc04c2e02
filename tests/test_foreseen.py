"""A transaction that is foreseen is the one that is carried out step by step: what is told, asked for and left behind.

What becomes of it when it is interrupted is in `tests.test_foreseen_interrupted`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtp_proto.commands import Mail, Noop, Rcpt
from smtp_proto.effects import Flight, Flow
from smtp_proto.errors import LocalProtocolError, RemoteProtocolError
from smtp_proto.foreseen import Foreseen
from smtp_proto.outcome import Outcome
from smtp_proto.plain import plain_mail
from smtp_proto.replies import MAX_KNOWN_GROUP, MAX_REPLY_LINE, Reply, ReplyReader
from smtp_proto.session import ClientSession
from smtp_proto.sources import PIECE
from smtp_proto.strategies import bodies, replies
from smtp_proto.transaction import Transaction, deliver, deliver_plain, prepared

from .attempts import (
    UNUSUAL,
    WAYS,
    Arrival,
    Attempt,
    Case,
    Peer,
    Script,
    both_kinds,
    cases,
    every_way,
    joined,
    usual,
)
from .deliveries import MESSAGE, SENDER, Way, recipients
from .flows import Scripted, introduced


@every_way
@both_kinds
@pytest.mark.parametrize("count", [1, 2, 100])
def test_what_goes_well_is_one_effect(way: Way, plain: bool, count: int) -> None:
    """Where all answers are the usual ones, one effect is all that is asked for, message after message."""
    case = Case(way, count, plain, Script(joined(usual(way, count))))
    session = introduced(flights=True)
    other_session = introduced()
    for transactions in range(1, 4):
        attempt = Attempt(case, True, session=session)
        assert attempt.peer.flights == [Foreseen]
        assert attempt.outcome.delivered
        assert len(attempt.outcome.accepted) == count
        assert session.connection.transactions == transactions
        attempt.check_same(Attempt(case, False, session=other_session))


@settings(max_examples=600)
@given(case=cases())
def test_whatever_the_peer_does(case: Case) -> None:
    """Whatever is answered, heard and written, in pieces of any size, both ways tell, ask for and leave the same."""
    one, other = Attempt(case, True), Attempt(case, False)
    assert one.peer.flights[:1] == [Foreseen]
    one.check_same(other)
    assert one.further() == other.further()


@every_way
@both_kinds
def test_each_unusual_answer_in_each_place(way: Way, plain: bool) -> None:
    """None of these answers makes a difference between both ways, wherever it stands and whatever comes with it."""
    flights = usual(way, 2)
    for flight, answers in enumerate(flights):
        for at in range(len(answers)):
            for unusual in UNUSUAL:
                receives: list[Arrival] = [*joined(flights)]
                before, behind = b"".join(answers[:at]), b"".join(answers[at + 1 :])
                ends = not isinstance(unusual, bytes) or not unusual
                receives[flight : flight + 1] = [before, unusual] if ends else [before + unusual + behind]  # type: ignore[operator]  # no end
                case = Case(way, 2, plain, Script([*filter(lambda arrival: arrival != b"" or ends, receives)]))
                one, other = Attempt(case, True), Attempt(case, False)
                one.check_same(other)
                assert one.further() == other.further()


# -- the flights ------------------------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """A flight, by all that a driver knows of it."""

    octets: bytes
    stage: str
    answer: str
    looks: bool


def flown(flow: Flow[Outcome], answers: Sequence[bytes]) -> list[Shape]:
    """The flights of a flow that all goes well with."""
    found: list[Shape] = []
    due = [*answers]
    effect = next(flow)
    while True:
        assert isinstance(effect, Flight)
        assert (effect.begun, effect.written) == (False, False)
        found.append(Shape(effect.octets, effect.stage, effect.answer, effect.looks))
        effect.begun = effect.written = True
        answer = due.pop(0)
        if effect.follow(answer):
            continue
        try:
            effect = flow.send(answer)
        except StopIteration as stop:
            return found if stop.value.delivered and not due else []


@settings(max_examples=150)
@given(
    way=st.sampled_from(WAYS),
    message=bodies() | st.sampled_from([b"", b".", b"no line end", b".\r\n", b"a\rb\nc"]),
    count=st.integers(1, 4),
    sized=st.booleans(),
)
def test_the_flights_are_those_of_the_steps(way: Way, message: bytes, count: int, sized: bool) -> None:
    """One after the other, their octets and deadlines are what the regular flow makes, for every message."""
    paths = [command.path for command in recipients(count)]
    mail = Mail(SENDER.path, [f"size={len(message)}"] if sized else [])
    given_to = [Rcpt(path, ["NOTIFY=NEVER"] if sized else []) for path in paths]
    answers = joined(usual(way, count))

    def outcome() -> Outcome:
        return Outcome(paths, SENDER.path)

    def in_steps(mail: Mail, given_to: Sequence[Rcpt]) -> list[Shape]:
        source = prepared(mail, given_to, message, way.chunking)
        session = introduced(flights=True)
        return flown(Transaction(session, mail, given_to, source, outcome(), *way[:2]).in_steps(), answers)

    session = introduced(flights=True)
    flow = deliver(session, mail, given_to, message, pipelining=way.pipelining, chunking=way.chunking)
    assert flown(flow, answers) == in_steps(mail, given_to)
    plain = plain_mail(SENDER.path, paths, message, sized=sized)
    if plain is not None:
        session = introduced(flights=True)
        of_plain = deliver_plain(session, plain, outcome(), pipelining=way.pipelining, chunking=way.chunking)
        assert flown(of_plain, answers) == in_steps(*plain.commands())


# -- which answers are the usual ones ---------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        *(b"250 ok\r\n", b"250 ok\r\n", b"251 2.1.5 ok\n", b"354 go\r\n", b"299 \r\n", b"250 \n", b"300 x\r\r\n"),
        *(b"250 a\rb\0\r\n", b"250 \xff\r\n", b"250-a\r\n", b"550 no\r\n", b"421 bye\r\n", b"250", b"25", b"\n", b"\r"),
        *(b"250\r\n", b"200x\r\n", b"250 x", b" ", b"+25 x\r\n", b"250 " + b"x" * (MAX_REPLY_LINE - 6) + b"\r\n"),
        *(b"250 " + b"x" * (MAX_REPLY_LINE - 5) + b"\r\n", b"251 " + b"x" * 140 + b"\n"),
    ]
)
NUMBERED = st.integers(0, 99).map(lambda number: b"250 r%d\r\n" % number)
SEVERAL = st.lists(LINES | NUMBERED | replies().map(Reply.encode), max_size=5) | st.lists(
    st.binary(max_size=20), max_size=1
)
#: Octets, how many replies are due, and the first digit of the last one.
QUESTIONS = SEVERAL.flatmap(
    lambda lines: st.tuples(
        st.just(b"".join(lines)), st.just(max(1, len(lines))) | st.integers(1, 5), st.sampled_from([2, 2, 3])
    )
)


def expected(octets: bytes, due: int, digit: int) -> list[Reply]:
    """What a reader makes of the octets, if that is what is due; and each line has a space behind its code."""
    reader = ReplyReader()
    reader.feed(octets)
    found: list[Reply] = []
    try:
        while (reply := reader.next_reply()) is not None:
            found.append(reply)
    except RemoteProtocolError:
        return []
    digits = [*[2] * (due - 1), digit]
    usual = [reply.severity for reply in found] == digits and all(reply.raw[3:4] == b" " for reply in found)
    return found if usual and reader.quiet and all(len(reply.lines) == 1 for reply in found) else []


@settings(max_examples=400)
@given(questions=st.lists(QUESTIONS, min_size=1, max_size=6), kind=st.sampled_from([bytes, bytearray, memoryview]))
def test_good_replies_are_those_that_a_reader_reads(questions: list[tuple[bytes, int, int]], kind: Any) -> None:
    """Replies are given exactly where a reader finds these and nothing else, whatever was asked before; none is taken
    in."""
    reader = ReplyReader()
    for octets, due, digit in questions * 2:
        first = [*reader.good(kind(octets), due, digit)]
        assert first == expected(octets, due, digit)
        assert first == [*reader.good(octets, due, digit)]
        assert [reply.raw for reply in first] == [reply.raw for reply in expected(octets, due, digit)]
        assert (reader.quiet, reader.unread, reader.next_reply()) == (True, 0, None)


@pytest.mark.parametrize("due", [1, 2])
@pytest.mark.parametrize("size", [MAX_REPLY_LINE, MAX_REPLY_LINE + 1])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_good_replies_however_long(size: int, due: int, end: bytes) -> None:
    """A line is as long as a reader lets it be, and no longer."""
    octets = b"250 r\r\n" * (due - 1) + b"250 ".ljust(size - len(end), b"x") + end
    assert [*ReplyReader().good(octets, due, 2)] == expected(octets, due, 2)
    assert len(expected(octets, due, 2)) == (due if size == MAX_REPLY_LINE else 0)


@pytest.mark.parametrize("digit", [2, 3])
@pytest.mark.parametrize("due", [2, MAX_KNOWN_GROUP // 8, MAX_KNOWN_GROUP // 8 + 1, 5000])
def test_good_replies_however_many(due: int, digit: int) -> None:
    """The answers to an envelope of any size are read; a large one is not held, and one too few or too many is none."""
    reader = ReplyReader()
    octets = b"250 r\r\n" * (due - 1) + b"%d54 x\r\n" % digit
    found = reader.good(octets, due, digit)
    assert [reply.code for reply in found] == [250] * (due - 1) + [digit * 100 + 54]
    if len(octets) > MAX_KNOWN_GROUP:
        assert reader.good(octets, due, digit) is not found
    assert [*reader.good(octets, due, digit)] == [*found]
    for other_due, other_digit in ((due, 5 - digit), (due - 1, digit), (due + 1, digit)):
        assert not reader.good(octets, other_due, other_digit)


# -- where nothing is foreseen ----------------------------------------------------------------------------------------


def outstanding(session: ClientSession) -> None:
    session.say(Noop())
    session.connection.data_to_send()


def in_a_transaction(session: ClientSession) -> None:
    assert Scripted([b"250 m\r\n"]).run(session.command(SENDER)).accepted


UNFORESEEN: dict[str, tuple[Callable[[ClientSession], object], dict[str, Any]]] = {
    "an observer": (lambda session: setattr(session, "observe", lambda said: None), {}),
    "LMTP": (lambda session: setattr(session.connection, "lmtp", True), {}),
    "TLS required": (lambda session: setattr(session.connection, "require_tls", True), {}),
    "a reply outstanding": (outstanding, {}),
    "output pending": (lambda session: session.say(Noop()), {}),
    "half a reply": (lambda session: session.connection.receive_data(b"25"), {}),
    "a reply unread": (lambda session: session.connection.receive_data(b"421 bye\r\n"), {}),
    "the end": (lambda session: session.connection.receive_eof(), {}),
    "in a transaction": (in_a_transaction, {}),
    "closed": (lambda session: session.connection.abort(), {}),
    "QUIT with it": (lambda session: None, {"last": True}),
    "progress": (lambda session: None, {"progress": lambda written, total: None}),
    "a large message": (lambda session: None, {"message": b"x\r\n" * PIECE}),
    "an iterator": (lambda session: None, {"message": [MESSAGE, MESSAGE]}),
}


@every_way
@pytest.mark.parametrize("reason", UNFORESEEN)
def test_where_nothing_is_foreseen(reason: str, way: Way) -> None:
    """With any of these the effects are those of the regular flow, and the result is right."""
    prepare, options = UNFORESEEN[reason]
    by_data = way._replace(chunking=False)  # as all goes whose size is not known
    receives = joined(usual(by_data if reason == "an iterator" else way, 2))
    if reason in ("a reply outstanding", "output pending"):
        receives[0] = b"250 noop\r\n" + receives[0]
    if reason == "LMTP":
        receives.append(b"250 2.0.0 for the other one\r\n")
    if reason == "QUIT with it":
        receives.append(b"221 bye\r\n")
    attempts = []
    for flights in (True, False):
        session = introduced(flights=flights)
        prepare(session)
        message = options.get("message", MESSAGE)
        given_options = {**options, "message": iter(message)} if isinstance(message, list) else options
        case = Case(way, 2, False, Script([*receives]))
        attempts.append(Attempt(case, flights, session=session, **given_options))
    one, other = attempts
    assert Foreseen not in one.peer.flights
    one.check_same(other)
    if reason in ("an observer", "QUIT with it", "progress", "a large message", "an iterator", "LMTP"):
        assert one.outcome.delivered
    if reason == "TLS required":
        assert isinstance(one.error, LocalProtocolError)
        assert one.connection.at_boundary
    if reason in ("half a reply", "a reply unread", "the end", "closed", "TLS required"):
        assert one.peer.written == b""
        assert one.error is not None


def test_mail_to_nobody_and_mail_beyond_ascii_is_not_foreseen() -> None:
    """There is no usual answer to a transaction without recipients, and what is not ASCII is checked as always."""
    for to, receives in (([], [b"250 m\r\n"] * 3), (["ü@mx.test"], joined(usual(Way(True), 1)))):
        peer = Peer(Script([*receives]))
        mail = Mail("ü@client.test", ["SMTPUTF8"]) if to else SENDER
        peer.run(deliver(introduced(flights=True), mail, [Rcpt(path) for path in to], MESSAGE, pipelining=True))
        assert set(peer.flights) == {Flight}
