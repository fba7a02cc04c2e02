"""A `Flight` that a driver performs is what its steps are, whatever the transport does."""

from __future__ import annotations

import asyncio
import linecache
import socket
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import smtp_trio
from smtp_proto.commands import Noop, Rset
from smtp_proto.effects import Flight, Flow, Sent
from smtp_proto.errors import ConnectionLost
from smtp_proto.outcome import Outcome
from smtp_proto.states import DEFAULT_TIMEOUTS, Stage
from smtp_proto.transaction import deliver
from smtp_surface.async_driver import AsyncDriver
from smtp_surface.driver import LARGE, BlockingDriver
from smtp_surface.sockets import SocketTransport
from tests.deliveries import MESSAGE, SENDER, recipients
from tests.flows import Scripted, introduced

LOST = ConnectionResetError("lost")


class Planned(NamedTuple):
    """What each method of a transport gives, or raises."""

    poll: bytes | OSError | None
    send: Sent | OSError
    receive: bytes | OSError


class Transport:
    """Does as planned, and keeps what it was asked for."""

    def __init__(self, planned: Planned) -> None:
        self.asked: list[Any] = []
        self._planned = planned

    def poll(self) -> bytes | None:
        self.asked.append("poll")
        return self._given(self._planned.poll)  # type: ignore[no-any-return]  # what was planned for it

    def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        self.asked.append((b"".join(chunks), timeout, listen))
        return self._given(self._planned.send)  # type: ignore[no-any-return]  # as above

    def receive(self, timeout: float | None) -> bytes:
        self.asked.append(timeout)
        return self._given(self._planned.receive)  # type: ignore[no-any-return]  # as above

    @staticmethod
    def _given(planned: Any) -> Any:
        if isinstance(planned, OSError):
            raise planned
        return planned


class AsyncTransport:
    """The same, to be awaited."""

    def __init__(self, planned: Planned) -> None:
        self.inner = Transport(planned)

    async def poll(self) -> bytes | None:
        return self.inner.poll()

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        return self.inner.send(chunks, timeout, listen)

    async def receive(self, timeout: float | None) -> bytes:
        return self.inner.receive(timeout)


def flown(flight: Flight, natively: bool) -> Flow[Any]:
    """What comes of a flight: its result or its error, how far it has come, and what is unsent."""
    result: object
    try:
        result = (yield flight) if natively else (yield from flight.steps())
    except OSError as error:
        result = error
    return result, flight.begun, flight.written, list(flight.unsent)


received = st.sampled_from([None, b"", b"250 ok\r\n"])


@given(
    poll=received | st.just(LOST),
    send=st.builds(Sent, received, st.sampled_from([[], [b"rest"], [b"", b"rest"]])) | st.just(LOST),
    receive=st.sampled_from([b"", b"250 ok\r\n", LOST]),
    looks=st.booleans(),
    timeouts=st.sampled_from([DEFAULT_TIMEOUTS, dict.fromkeys(Stage)]),
)
def test_a_flight_is_its_steps(poll: Any, send: Any, receive: Any, looks: bool, timeouts: Any) -> None:
    """Both drivers give, raise and ask of the transport what they do for the steps, and tell the octets before."""
    planned = Planned(poll, send, receive)
    found = []
    for natively in (True, False):
        told: list[bytes] = []
        transport = Transport(planned)
        # Not the whole of the contract: what a flight has to do with.
        driver = BlockingDriver(transport, timeouts)  # type: ignore[arg-type]
        driver.on_send = told.append
        result = driver.run(flown(Flight(b"noop\r\n", Stage.MAIL, Stage.COMMAND, looks), natively))
        found.append((result, transport.asked, told, driver.touched))
        told = []
        other = AsyncTransport(planned)
        among_tasks = AsyncDriver(other, timeouts)  # type: ignore[arg-type]
        among_tasks.on_send = told.append
        result = asyncio.run(among_tasks.run(flown(Flight(b"noop\r\n", Stage.MAIL, Stage.COMMAND, looks), natively)))
        found.append((result, other.inner.asked, told, among_tasks.touched))
    assert found == [found[0]] * 4


@pytest.mark.parametrize("size", [10, LARGE, 4_000_000])
@pytest.mark.parametrize(
    ("before", "answer"),
    [
        pytest.param(True, b"250 ok\r\n", id="answered before it is out"),
        pytest.param(True, b"", id="hung up before it is out"),
        pytest.param(False, b"250 ok\r\n", id="answered"),
        pytest.param(False, b"", id="hung up"),
        pytest.param(False, None, id="silent"),
    ],
)
def test_a_flight_over_a_socket(size: int, answer: bytes | None, before: bool) -> None:
    """Whether it has to wait for the reader or not: all is written or said to be unsent, and what is said is heard."""
    octets = bytes(size)
    arrived = bytearray()

    def serve() -> None:
        if not before:
            while len(arrived) < size:
                arrived.extend(theirs.recv(65536))
        elif size > 1_000_000:  # so much is never out before it is read
            arrived.extend(theirs.recv(65536))
        if answer == b"":
            theirs.shutdown(socket.SHUT_WR)
        elif answer is not None:
            theirs.sendall(answer)

    async def main() -> tuple[Flight, object]:
        flight = Flight(octets, Stage.BODY, Stage.COMMAND, looks=False)
        timeouts = {**dict.fromkeys(Stage, 10.0), Stage.COMMAND: 0.01 if silent else 10.0}
        driver = AsyncDriver(SocketTransport(smtp_trio.LOOP, ours), timeouts)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(trio.to_thread.run_sync, serve)
            found = await driver.run(flown(flight, natively=True))
        return flight, found[0]

    silent = answer is None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        flight, result = trio.run(main)
        assert flight.begun
        assert isinstance(result, TimeoutError) if silent else result == answer
        if flight.written:
            assert not flight.unsent
            theirs.setblocking(False)
            with suppress(BlockingIOError):
                while more := theirs.recv(1 << 20):
                    arrived.extend(more)
            assert len(arrived) == size
        else:
            assert before
            assert 0 < sum(map(len, flight.unsent)) < size


@pytest.mark.parametrize("error", [KeyboardInterrupt(), LOST])
@pytest.mark.parametrize("chunking", [False, True, "eager"])
@pytest.mark.parametrize("pipelining", [True, False])
def test_a_transaction_is_the_same_with_flights(error: BaseException, chunking: Any, pipelining: bool) -> None:
    """Interrupted or lost at any effect, what is known of the message is the same; so it is where nothing fails."""
    eager = pipelining and chunking == "eager"
    envelope = [b"250 m\r\n", b"250 r\r\n", *([] if chunking else [b"354 go\r\n"])]
    script = [b"".join(envelope)] if pipelining else envelope
    script = [script[0] + b"250 q\r\n"] if eager else [*script, b"250 q\r\n"]

    def attempt(fails: int, flights: bool) -> tuple[list[type[Any]], list[bytes], str, bool]:
        session = introduced(flights=flights)
        peer = Scripted(script, fails={fails: error})
        flow = deliver(session, SENDER, recipients(1), MESSAGE, pipelining=pipelining, chunking=chunking)
        try:
            told = str(peer.run(flow))
        except (KeyboardInterrupt, ConnectionLost) as raised:
            told = str(getattr(raised, "outcome", None))
        return [type(effect) for effect in peer.effects], peer.segments, told, session.connection.closed

    fails = 0
    while len((found := attempt(fails, flights=True))[0]) > fails:
        assert found == attempt(fails, flights=False)
        fails += 1
    assert found == attempt(fails, flights=False)
    assert ": delivered to 1 of 1" in found[2]


@pytest.mark.parametrize("flights", [True, False])
@pytest.mark.parametrize("heard", [b"421 bye\r\n", b"250 what\r\n", b"25", b""])
@pytest.mark.parametrize("pipelining", [True, False])
def test_what_has_arrived_before_is_no_answer(flights: bool, heard: bytes, pipelining: bool) -> None:
    """What comes unasked before an envelope ends the connection with nothing written."""
    session = introduced(flights=flights)
    peer = Scripted(polls=[heard])
    with pytest.raises(ConnectionLost) as caught:
        peer.run(deliver(session, SENDER, recipients(2), MESSAGE, pipelining=pipelining))
    assert peer.segments == []
    assert caught.value.outcome is not None
    assert not caught.value.outcome.may_be_delivered
    assert session.connection.closed


def test_what_is_outstanding_is_not_taken_back() -> None:
    """Interrupted before it was begun, a command leaves what was sent before it, whose answer is still to come."""
    session = introduced(flights=True)
    session.say(Rset())
    session.connection.data_to_send()
    flow = session.command(Noop())
    assert isinstance(next(flow), Flight)
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert session.connection.outstanding == (Rset(), Noop())
    assert not session.connection.at_boundary


@pytest.mark.parametrize("last", [False, True], ids=["foreseen", "with the goodbye"])
def test_interrupted_on_the_way_to_the_driver(last: bool) -> None:
    """What a flight has not begun to write is still output: whoever looks sees that something is under way."""
    session = introduced(flights=True)
    flow = deliver(session, SENDER, recipients(1), MESSAGE, pipelining=True, last=last)
    assert isinstance(next(flow), Flight)
    assert session.connection.pending_output
    flow.close()
    assert session.connection.closed


class Answering(Transport):
    """Has an answer for each wait."""

    def __init__(self, answers: list[bytes]) -> None:
        super().__init__(Planned(None, Sent(None, []), LOST))
        self._answers = answers

    def receive(self, timeout: float | None) -> bytes:
        return self._answers.pop(0)


class AsyncAnswering(AsyncTransport):
    """The same, to be awaited."""

    def __init__(self, answers: list[bytes]) -> None:
        self.inner = Answering(answers)

    async def receive(self, timeout: float | None) -> bytes:
        return self.inner.receive(timeout)


@pytest.mark.parametrize("coroutines", [False, True])
def test_interrupted_on_the_way_back_to_the_flow(coroutines: bool) -> None:
    """Interrupted with the last answer in its hands, a driver lets the flow tell that the message has arrived."""
    answers = [b"250 m\r\n250 r\r\n354 go\r\n", b"250 q\r\n"]
    outcome = Outcome(["r0@mx.test"], "")
    flow = deliver(introduced(flights=True), SENDER, recipients(1), MESSAGE, pipelining=True, outcome=outcome)

    def tracer(frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if event == "line" and linecache.getline(code.co_filename, frame.f_lineno).strip() == RETURNS:
            raise KeyboardInterrupt
        return tracer if code.co_name == "run" else None

    def run() -> None:
        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            if coroutines:
                AsyncDriver(AsyncAnswering(answers)).run(flow).send(None)  # type: ignore[arg-type]  # as above
            else:
                BlockingDriver(Answering(answers)).run(flow)  # type: ignore[arg-type]  # as above
        finally:
            sys.settrace(before)

    with pytest.raises(KeyboardInterrupt) as caught:
        run()
    assert answers == []
    assert outcome.delivered, caught  # which has the traceback, and so the flow


RETURNS = "effect = flow.send(result)"


class Dripping(AsyncTransport):
    """Takes three seconds to write, and gives an answer in two pieces."""

    def __init__(self, now: list[float]) -> None:
        super().__init__(Planned(None, Sent(None, []), LOST))
        self._now = now
        self._answer = [b"25", b"0 ok\r\n"]

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        self._now[0] += 3
        return Sent(None, [])

    async def receive(self, timeout: float | None) -> bytes:
        self.inner.asked.append(timeout)
        return self._answer.pop(0)


def test_the_wait_for_an_answer_begins_when_the_flight_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the writing takes: what is left of a reply is waited for as long as if it had come at once."""
    now = [100.0]
    monkeypatch.setattr("smtp_surface.driver.time.monotonic", lambda: now[0])
    transport = Dripping(now)
    driver = AsyncDriver(transport, dict.fromkeys(Stage, 2.0))  # type: ignore[arg-type]  # as above
    flow = introduced(flights=True).command(Noop())
    coroutine = driver.run(flow)
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)  # nothing in it waits for a loop, whose clock this is, too
    assert stop.value.value.code == 250
    assert transport.inner.asked == ["poll", 2.0, 2.0]
