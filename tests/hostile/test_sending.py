"""`send_many` and `send`: what is told of each message is true, whatever the server does, and wherever it does it.

Delivered is only what the server has said to have, in the answer to that very message.  Certainly not sent is only what
it cannot have.  Nothing is sent twice, nobody waits for ever, and every message that was pulled has its outcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

import smtp_blocking
from smtp_proto.outcome import Fate, Outcome
from tests.conformance.backends import Backend
from tests.conformance.test_once import send
from tests.conformance.test_send_many import all_of
from tests.scripted import Close, Drain, Drip, ExpectHangUp, Flood, Reset, ScriptedServer, Send, Step
from tests.scripts import PATIENCE

from .ledger import Ledger, Trouble, letter
from .sessions import Timeout, all_at_once, hasty
from .test_cuts import ALL_CUTS

MANY = 3  # messages: the one in the middle has neighbours on both sides
ERRORS = (smtp_blocking.SMTPException, OSError)


class Way(NamedTuple):
    """A way to send messages: what the server offers, and what the client is made with."""

    name: str
    extensions: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    many: bool = True
    lmtp: bool = False

    @property
    def chunking(self) -> bool:
        """Whether messages go by BDAT."""
        return "CHUNKING" in self.extensions


EAGER = (("chunking", "eager"),)
CHUNKING = ("PIPELINING", "CHUNKING")
WAYS = [
    Way("many, step by step"),
    Way("many, pipelined", ("PIPELINING",)),
    Way("many, chunked", CHUNKING),
    Way("many, eager", CHUNKING, EAGER),
    Way("many, LMTP", ("PIPELINING",), lmtp=True),
    Way("one, step by step", many=False),
    Way("one, pipelined", ("PIPELINING",), many=False),
    Way("one, eager", CHUNKING, EAGER, many=False),
]
IN_EVERY_WAY = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


class Told(NamedTuple):
    """What a client was told: the outcome of each message that it has begun with, by number, and the last error."""

    outcomes: dict[int, Outcome]
    error: Exception | None
    behind: tuple[int, bytes] | None = None  # what the command behind all messages was answered


def run_many(backend: Backend, server: ScriptedServer, way: Way, timeout: Timeout, lines: int) -> Told:
    """Send all messages over one connection."""
    pulled = []

    def source() -> Iterator[Any]:
        for number in range(MANY):
            pulled.append(number)
            yield letter(number, lines if number else 0)

    try:
        client = backend.connect(server, "LMTP" if way.lmtp else "SMTP", timeout=timeout, **dict(way.options))
    except ERRORS as error:
        return Told({}, error)
    with backend.sending(client, source()) as sending:
        found = all_of(sending)
    last = found[-1]
    raised = last if isinstance(last, Exception) else None
    if raised is not None:
        found.pop()
    if backend.coroutines:
        found += sending.left  # pulled by a task when nobody wanted it any more
    outcomes = {number: each for number, each in enumerate(found) if isinstance(each, Outcome)}
    assert len(outcomes) == len(found) == len(pulled)
    # Where EHLO has failed the message was not looked at.
    assert all(outcome.sender in ("", letter(number)[0]) for number, outcome in outcomes.items())
    behind = None
    try:
        behind = client.docmd("noop", "behind")
    except smtp_blocking.SMTPServerDisconnected:
        assert client.sock is None
    client.close()
    return Told(outcomes, raised, behind)


def run_once(backend: Backend, server: ScriptedServer, way: Way, timeout: Timeout, lines: int) -> Told:
    """Send one message over a connection of its own."""
    sender, recipients, text = letter(0, lines)
    options = {"timeout": timeout, "lmtp": way.lmtp, **dict(way.options)}
    try:
        return Told({0: send(backend, server, text, sender=sender, recipients=recipients, **options)}, None)
    except ERRORS as error:
        raised = error
    outcome = getattr(raised, "outcome", None)
    assert getattr(raised, "may_be_delivered", False) is (outcome is not None and outcome.may_be_delivered)
    return Told({} if outcome is None else {0: outcome}, raised)


def run(
    backend: Backend,
    way: Way,
    trouble: Trouble | None,
    timeout: Timeout = PATIENCE,
    lines: int = 0,
    honest: bool = True,
) -> tuple[Ledger, Told]:
    """Send all messages in a way to a server in trouble; what holds whatever happens is checked.

    An `honest` server answers in order, if it answers: so what an answer says must fit to what it was taken for.
    """
    ledger = Ledger(*way.extensions, trouble=trouble)
    with ScriptedServer([ledger]) as server:
        told = (run_many if way.many else run_once)(backend, server, way, timeout, lines)
    assert len(set(ledger.taken)) == len(ledger.taken), "a message was sent twice"
    for number in ledger.taken:
        outcome = told.outcomes[number]
        assert outcome.fate is not Fate.NOT_SENT or outcome.refused, "the server has what is said not to be sent"
    if honest:
        for number in delivered(told):
            assert str(told.outcomes[number].final) == f"250 q{number}"
        assert told.behind in (None, (250, b"noop behind"), (421, b"4.3.2 restarting"))
    return ledger, told


def delivered(told: Told) -> set[int]:
    """The messages that are said to be delivered."""
    return {number for number, outcome in told.outcomes.items() if outcome.delivered}


def replies(backend: Backend, way: Way) -> list[bytes]:
    """What the server says when all goes well, reply by reply."""
    ledger, told = run(backend, way, None)
    assert told.error is None
    assert delivered(told) == set(ledger.taken) == set(told.outcomes)
    assert len(told.outcomes) == (MANY if way.many else 1)
    return ledger.replies


def places(backend: Backend, way: Way) -> range:
    """The numbers of its replies; where not all of them are tried (see `ALL_CUTS`), every third."""
    stride = 1 if backend.name in ALL_CUTS else 3
    return range(len(backend.name) % stride, len(replies(backend, way)), stride)


def in_place(*steps: Step, keep: int = 0, goes_on: bool = False) -> Any:
    """What makes a `Trouble` at a place: of the reply so many octets, but not all of them, and then these steps."""
    return lambda at: Trouble(at, lambda reply: [Send(reply[:-1][:keep]), *steps], goes_on)


@IN_EVERY_WAY
@pytest.mark.parametrize("end", [Close(), Reset()], ids=["closed", "reset"])
def test_cut_at_every_octet(backend: Backend, way: Way, end: Step) -> None:
    """Wherever the connection ends: delivered is what was confirmed, and what else the server has may be delivered."""
    cuts = [(at, length) for at, reply in enumerate(replies(backend, way)) for length in range(len(reply))]
    stride = 1 if backend.name in ALL_CUTS and end == Close() else 7
    for at, length in cuts[len(backend.name) % stride :: stride]:
        ledger, told = run(backend, way, in_place(end, keep=length)(at))
        assert delivered(told) <= ledger.confirmed, (at, length)


@IN_EVERY_WAY
@pytest.mark.parametrize("end", [Close(), Drain(), None], ids=["closed", "said nothing more", "goes on"])
def test_421_at_every_reply(backend: Backend, way: Way, end: Step | None) -> None:
    """A 421 ends it: delivered is what was confirmed before, and it is told of nothing as in doubt that it answered."""
    for at in places(backend, way):
        steps = [Send(b"421 4.3.2 restarting\r\n"), *([end] if end is not None else [])]
        ledger, told = run(backend, way, in_place(*steps, goes_on=end is None)(at))
        assert delivered(told) <= ledger.confirmed, at
        if ledger.troubled:
            assert "restarting" in str(told.error) + "".join(map(str, told.outcomes.values())), at


UNASKED = [b"250 2.0.0 ok\r\n", b"550 5.0.0 no\r\n", b"354 go ahead\r\n", b"421 4.3.2 bye\r\n", b"what?\r\n"]


@IN_EVERY_WAY
@pytest.mark.parametrize("unasked", UNASKED)
@pytest.mark.parametrize("before", [False, True], ids=["behind", "before"])
def test_unasked_at_every_reply(backend: Backend, way: Way, unasked: bytes, before: bool) -> None:
    """A reply too many, in front of any reply or behind it: told as delivered is only what was confirmed."""
    for at in places(backend, way):
        trouble = Trouble(at, lambda reply: [Send(unasked + reply if before else reply + unasked)], goes_on=True)
        ledger, told = run(backend, way, trouble, honest=False)
        # Where envelope and message are answered by the same code, nobody can tell a reply that comes by a hair too
        # early from the right one; 354 cannot be mistaken.
        if not way.chunking:
            assert delivered(told) <= ledger.confirmed, at


EARLY = [b"250 q1\r\n", b"552 5.3.4 too big\r\n", b"421 4.3.2 bye\r\n"]
LINES = 600_000  # more than all the buffers between two sockets of one machine hold


@IN_EVERY_WAY
@pytest.mark.parametrize("early", EARLY)
@pytest.mark.parametrize("end", [Close(), Drain()], ids=["closed", "reads on"])
def test_early_answer(backend: Backend, way: Way, early: bytes, end: Step) -> None:
    """An answer in the middle of a message: it is not delivered, and that is certain; a refusal is told as such."""
    at = 1 if way.many else 0
    ledger, told = run(backend, way, Trouble(at, lambda _: [Send(early), end], inside=True), lines=LINES)
    assert delivered(told) == ledger.confirmed == set(range(at))
    assert told.outcomes[at].fate is Fate.NOT_SENT
    answer = told.outcomes[at].recipients[0].answer
    assert (answer is not None) is not early.startswith(b"250")


# Seconds: enough for what precedes the stall, in all places at once.
TIMEOUT = hasty(1.5)
STALLS: dict[str, Any] = {
    "silent": in_place(ExpectHangUp()),
    "half a line": in_place(ExpectHangUp(), keep=2),
    "drips": in_place(ExpectHangUp(Drip(b"250 " + b"x" * 8000, interval=0.05))),
}


@pytest.mark.parametrize("stall", STALLS)
def test_stall_at_every_reply(backend: Backend, stall: str) -> None:
    """A server that does not end a reply is given up after the time-out, and what it has said before stands."""

    def stalled(way: Way, at: int) -> None:
        ledger, told = run(backend, way, STALLS[stall](at), TIMEOUT)
        assert not ledger.troubled or "timed out" in str(told.error)
        assert delivered(told) <= ledger.confirmed

    all_at_once(stalled, [(way, at) for way in WAYS for at in places(backend, way)])


FLOODS: dict[str, Any] = {
    "endless line": in_place(Flood(b"x" * 1000)),
    "endless reply": in_place(Flood(b"250-x\r\n")),
    "endless replies": in_place(Flood(b"250 x\r\n")),
}


@IN_EVERY_WAY
@pytest.mark.parametrize("flood", FLOODS)
def test_flood_at_every_reply(backend: Backend, way: Way, flood: str) -> None:
    """A flood is given up after a bounded number of octets, and what was said before it stands."""
    for at in places(backend, way):
        ledger, told = run(backend, way, FLOODS[flood](at), honest=flood != "endless replies")
        if flood != "endless replies":
            assert told.error is not None or not ledger.troubled
            assert delivered(told) == ledger.confirmed
