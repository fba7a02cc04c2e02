"""Looks before a wait: as long as they are worth it, and no longer."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_blocking.transport import LOOKS, SocketTransport
from smtp_proto.effects import Flight
from smtp_proto.states import Stage
from smtp_surface.looks import ANEW, CREDIT, LONGEST, MAX_SERVERS, Looks, looks_at

MOST = 10


@given(st.lists(st.booleans(), max_size=300))
def test_all_or_none(answers: list[bool]) -> None:
    """Whatever they find, there are all looks or none; all as long as answers are found more often than not."""
    looks = Looks(MOST)
    credit = CREDIT
    for found in answers:
        assert looks.count == (MOST if credit > 0 or (credit < 0 and credit % ANEW == 0) else 0)
        looks.were(found=found)
        credit = min(CREDIT, max(credit, 0) + 1) if found else credit - 1


@given(st.integers(min_value=1, max_value=2000))
def test_a_slow_server_costs_little(waits: int) -> None:
    """A server that is never found to have answered is looked at a few times, and then once in a while."""
    looks, made = Looks(MOST), 0
    for _ in range(waits):
        made += looks.count
        looks.were(found=False)
    assert made <= MOST * (CREDIT + waits // ANEW + 1)
    assert waits < CREDIT + 2 * ANEW or made > MOST * CREDIT


def test_an_answer_makes_up_for_it() -> None:
    """A server that has become fast is looked at again, each time."""
    looks = Looks(MOST)
    waits = 0
    while waits < CREDIT or looks.count == 0:
        looks.were(found=False)
        waits += 1
    assert waits <= CREDIT + ANEW
    looks.were(found=True)
    assert looks.count == MOST


@pytest.mark.parametrize(
    ("peer", "processors", "expected"),
    [
        (("127.0.0.1", 25), 2, MOST),
        ("/run/smtp", 2, MOST),
        (("192.0.2.1", 25), 2, 0),
        (("127.0.0.1", 25), 1, 1),
    ],
    ids=["on this machine", "a Unix socket", "over a network", "one processor"],
)
def test_where_it_can_be_worth_it(
    peer: object, processors: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a server on this machine may have answered by then, and only while a processor is left to it."""
    monkeypatch.setattr("smtp_surface.looks.os.cpu_count", lambda: processors)
    assert looks_at(SimpleNamespace(getpeername=lambda: peer), MOST)[Stage.MAIL].count == expected


def test_each_answer_for_itself() -> None:
    """A server that is quick with the envelope and slow with the message is looked at for the one and not the other."""
    looks = looks_at(object(), MOST)
    for _ in range(CREDIT):
        looks[Stage.MAIL].were(found=True)
        looks[Stage.FINAL].were(found=False)
    assert (looks[Stage.MAIL].count, looks[Stage.FINAL].count) == (MOST, 0)


def test_what_is_known_of_a_server() -> None:
    """All connections to one server have the same looks, those to others their own; and not many are remembered."""

    def at(port: int) -> object:
        return looks_at(SimpleNamespace(getpeername=lambda: ("127.0.0.1", port)), MOST)

    assert at(1) is at(1)
    assert at(1) is not at(2)
    assert looks_at(SimpleNamespace(getpeername=lambda: ""), MOST) is not looks_at(object(), MOST)
    first = at(1)
    for port in range(2, MAX_SERVERS + 2):
        at(port)
    assert at(1) is not first


def test_long_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where other tasks take their time, waiting is what there is to do: it has a deadline, and looks have none."""
    now = [100.0]
    monkeypatch.setattr("smtp_surface.looks.time.monotonic", lambda: now[0])

    async def turn() -> None:
        now[0] += 0.7 * LONGEST

    assert asyncio.run(Looks(MOST).find(turn, lambda: None)) is None
    assert now[0] == pytest.approx(100.0 + 1.4 * LONGEST)


@pytest.mark.parametrize("after", [1, MOST, MOST + 1])
def test_turns(after: int) -> None:
    """What has come behind one of the turns is given; there are no more of them than looks."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        turns += 1

    looks = Looks(MOST)
    found = asyncio.run(looks.find(turn, lambda: b"250 ok\r\n" if turns == after else None))
    assert found == (b"250 ok\r\n" if after <= MOST else None)
    assert turns == min(after, MOST)


@pytest.mark.parametrize("found", [True, False])
def test_a_flight_that_blocks(found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that looks have found is not waited for again, and one that they have not is waited for once."""
    monkeypatch.setattr("smtp_surface.looks.os.cpu_count", lambda: 2)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = SocketTransport(ours)
        transport.poll()
        assert transport._wait is not None
        asked: list[float] = []

        def ask(milliseconds: float | None) -> bool:
            asked.append(milliseconds or 0)
            if (len(asked) == 3) if found else milliseconds:
                theirs.send(b"250 ok\r\n")
            return len(asked) >= 3 if found else bool(milliseconds)

        transport._wait.reads = ask
        flight = Flight(b"noop\r\n", Stage.COMMAND, Stage.COMMAND, looks=False)
        assert transport.exchange(flight, lambda _: 5.0, None) == b"250 ok\r\n"
        assert asked == [0] * (3 if found else LOOKS) + [5000] * (not found)


def test_without_a_deadline_there_is_one_call() -> None:
    """Who has set no timeout waits in the reading itself: nothing is asked before."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = SocketTransport(ours)
        transport.poll()
        assert transport._wait is not None
        transport._wait.reads = lambda _: pytest.fail("asked")
        theirs.send(b"250 ok\r\n")
        flight = Flight(b"noop\r\n", Stage.COMMAND, Stage.COMMAND, looks=False)
        assert transport.exchange(flight, lambda _: None, None) == b"250 ok\r\n"
