"""What a transport of coroutines does with a whole `Flight` is what comes of its steps, on every loop."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn, cast

import pytest

from smtp_proto.effects import Flight, Flow
from smtp_proto.states import Stage
from smtp_surface.async_driver import AsyncDriver
from smtp_surface.driver import LARGE
from tests.cancellation.stepping import Backend, at_once
from tests.in_turn import run_by_itself
from tests.scripts import PATIENCE

OCTETS = b"mail from:<a@client.test>\r\n" * 1000  # which is not LARGE yet
# More points than a flight has, with all of its looks.
MANY = 60

pytestmark = pytest.mark.usefixtures("_nothing_left_behind")

backend = run_by_itself()


@pytest.fixture(params=["on this machine", "on another"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's machine, as far as transports can tell: over a network, to look too early is for nothing."""
    found: str = request.param
    monkeypatch.setattr("smtp_surface.looks.may_be_overheard", lambda _: found == "on another")
    return found


class Stepwise:
    """A transport of which the driver does not know that it has `attempt`."""

    def __init__(self, transport: Any) -> None:
        self.poll, self.send, self.receive = transport.poll, transport.send, transport.receive


class Peers:
    """Both ends of a connection, of which a client has ours."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.filled = 0

    def fill(self) -> None:
        """Leave no room for what is to be written."""
        self.ours.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self.filled += self.ours.send(bytes(4096))

    def arrived(self) -> bytes:
        """What has come of ours, without what has filled the way."""
        found = bytearray()
        with suppress(BlockingIOError):
            while octets := self.theirs.recv(1 << 20):
                found += octets
        return bytes(found[self.filled :])

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@asynccontextmanager
async def connected(backend: Backend) -> AsyncIterator[tuple[Peers, Any]]:
    """Peers, and the backend's transport at our end of them."""
    peers = Peers()
    try:
        transport = await backend.module.SMTP()._transport_over(peers.ours)
        assert hasattr(transport, "attempt")
        try:
            yield peers, transport
        finally:
            await transport.close()
    finally:
        peers.close()


def flying(flight: Flight) -> Flow[object]:
    """The result of a flight, or its error."""
    try:
        return (yield flight)
    except OSError as error:
        return error


def comes_of(
    backend: Backend, prepare: Callable[[Peers], object], *, looks: bool, timeouts: dict[Stage, float]
) -> list[Any]:
    """The result of a flight, how far it came, and what has arrived of it: as a whole, and in its steps."""
    found: list[Any] = []

    async def main() -> None:
        async with connected(backend) as (peers, transport):
            prepare(peers)
            flight = Flight(OCTETS, Stage.BODY, Stage.COMMAND, looks)
            driver = AsyncDriver(cast("Any", Stepwise(transport)) if stepwise else transport, {**WAITS, **timeouts})
            told: list[bytes] = []
            driver.on_send = told.append
            result = await driver.run(flying(flight))
            assert told == [OCTETS] * flight.begun
            if isinstance(result, OSError):
                result = TimeoutError if isinstance(result, TimeoutError) else OSError
            if peers.theirs.fileno() >= 0:
                arrived = peers.arrived()
                assert OCTETS.startswith(arrived)
                assert flight.begun or not arrived
                assert not flight.written or arrived == OCTETS
            found.append((result, flight.begun, flight.written, bool(flight.unsent)))

    for stepwise in (False, True):  # noqa: B007  # which `main` looks at
        backend.run(main)
    return found


WAITS = dict.fromkeys(Stage, PATIENCE)
AT_ONCE = {Stage.COMMAND: 0.01, Stage.BODY: 0.01}


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize(
    ("prepare", "looks", "expected"),
    [
        (lambda peers: peers.theirs.send(b"421 bye\r\n"), True, (b"421 bye\r\n", False, False, False)),
        (lambda peers: peers.theirs.shutdown(socket.SHUT_WR), True, (b"", False, False, False)),
        (lambda peers: None, True, (TimeoutError, True, True, False)),
        (lambda peers: None, False, (TimeoutError, True, True, False)),
        (lambda peers: peers.fill(), False, (TimeoutError, True, False, False)),
        (lambda peers: peers.theirs.close(), False, (OSError, True, False, False)),
    ],
    ids=["early", "hung up", "silent, looked at", "silent", "nobody reads", "broken"],
)
def test_what_comes_of_a_flight(backend: Backend, prepare: Any, looks: bool, expected: Any) -> None:
    """What was there before is its result, with nothing written or told; what fails, or is late, says how far it is."""
    assert comes_of(backend, prepare, looks=looks, timeouts=AT_ONCE) == [expected] * 2


def test_what_is_said_before_all_is_out(backend: Backend) -> None:
    """An answer that comes while the octets have no way out is heard, and the rest is unsent."""

    def prepare(peers: Peers) -> None:
        peers.fill()
        peers.theirs.send(b"421 bye\r\n")

    assert comes_of(backend, prepare, looks=False, timeouts={}) == [(b"421 bye\r\n", True, False, True)] * 2


ROOM = pytest.mark.parametrize("filled", [False, True], ids=["at once", "in parts"])


async def answered(backend: Backend, peers: Peers, filled: bool, flying: Coroutine[Any, Any, Any]) -> object:
    """What a flight gives whose peer, with no room for it at first if it is `filled`, answers when it has all of it."""

    async def answering() -> None:
        arrived = bytearray()
        while len(arrived) < peers.filled + len(OCTETS):
            with suppress(BlockingIOError):
                arrived += peers.theirs.recv(1000)
            await backend.pause()
        assert arrived.endswith(OCTETS)
        peers.theirs.send(b"250 ok\r\n")

    if filled:
        peers.fill()
    result, _ = await at_once(backend, flying, answering())
    return result


@pytest.mark.usefixtures("where")
@ROOM
def test_a_flight_that_is_answered(backend: Backend, filled: bool) -> None:
    """The answer is its result, when all of it is out; where there is no room for it, it goes on when there is."""

    async def main() -> None:
        async with connected(backend) as (peers, transport):
            flight = Flight(OCTETS, Stage.BODY, Stage.COMMAND, looks=True)
            flown = AsyncDriver(transport, WAITS).run(flying(flight))
            assert await answered(backend, peers, filled, flown) == b"250 ok\r\n"
            assert (flight.begun, flight.written, list(flight.unsent)) == (True, True, [])

    backend.run(main)


@pytest.mark.usefixtures("where")
@ROOM
def test_the_wait_begins_when_all_is_written(backend: Backend, filled: bool) -> None:
    """The timeout of the answer is asked for once, behind the last octet."""

    async def main() -> None:
        async with connected(backend) as (peers, transport):
            flight = Flight(OCTETS, Stage.BODY, Stage.COMMAND, looks=False)
            asked: list[tuple[Stage, bool]] = []

            def begin(stage: Stage) -> float:
                asked.append((stage, flight.written))
                return PATIENCE

            driver = AsyncDriver(transport, WAITS)
            driver._begin = begin  # type: ignore[method-assign]  # to hear when it is asked
            assert await answered(backend, peers, filled, driver.run(flying(flight))) == b"250 ok\r\n"
            assert asked == [(Stage.BODY, False)] * filled + [(Stage.COMMAND, True)]

    backend.run(main)


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize("filled", [False, True], ids=["while it waits", "while it is written"])
def test_cancelled_at_every_point(backend: Backend, filled: bool) -> None:
    """Cancelled, a flight has said how far it came: nothing is out that was not begun, and all is that was written."""

    async def main() -> None:
        at = 0
        while True:
            at += 1
            async with connected(backend) as (peers, transport):
                if filled:
                    peers.fill()
                driver = AsyncDriver(transport, AT_ONCE)
                flight = Flight(OCTETS, Stage.BODY, Stage.COMMAND, looks=True)
                attempt = await backend.attempt(driver.run(flying(flight)), at)
                arrived = peers.arrived()
                assert arrived == (OCTETS if flight.written else b"")
                assert flight.begun
                assert flight.written != filled
                transport.abort()
            if not attempt.struck:
                break
            assert attempt.cancelled
        assert 1 < at < MANY

    backend.run(main)


def test_a_large_one_is_listened_to(backend: Backend) -> None:
    """What is large goes out in steps: the server is listened to in between, and each has a deadline of its own."""

    def forbidden(*_: object) -> NoReturn:
        raise AssertionError

    async def main() -> None:
        async with connected(backend) as (_, transport):
            transport.attempt = forbidden
            flight = Flight(bytes(LARGE), Stage.BODY, Stage.COMMAND, looks=False)
            assert isinstance(await AsyncDriver(transport, AT_ONCE).run(flying(flight)), TimeoutError)
            assert flight.written

    backend.run(main)
