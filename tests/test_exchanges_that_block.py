"""What the blocking transport does with a whole `Flight` is what comes of its steps."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, cast

import pytest

from smtp_blocking.transport import SocketTransport
from smtp_proto.commands import Noop
from smtp_proto.effects import Flight, Sent
from smtp_proto.errors import ConnectionLost
from smtp_proto.states import Stage
from smtp_surface.driver import LARGE, BlockingDriver
from tests.flows import introduced
from tests.scripts import PATIENCE
from tests.test_exchanges import AT_ONCE, OCTETS, WAITS, Peers, Stepwise, flying

pytestmark = pytest.mark.usefixtures("_nothing_left_behind")

COMMAND = Noop("x" * 20_000)  # which is not LARGE, and does not go out at once where there is little room


@pytest.fixture
def peers(_nothing_left_behind: None) -> Iterator[Peers]:
    with closing(Peers()) as found:
        yield found


class Conversation:
    """A session over a blocking transport that has looked once already, as any has behind its greeting."""

    def __init__(self, peers: Peers, timeouts: dict[Stage, Any], *, stepwise: bool = False) -> None:
        self.peers = peers
        self.told: list[bytes] = []
        self.transport = SocketTransport(peers.ours)
        assert self.transport.poll() is None
        transport = cast("Any", Stepwise(self.transport)) if stepwise else self.transport
        self.driver = BlockingDriver(transport, {**WAITS, **timeouts})
        self.driver.on_send = self.told.append
        self.session = introduced(flights=True)

    def command(self) -> str:
        """The answer to the command, or why there is none."""
        try:
            return str(self.driver.run(self.session.command(COMMAND)))
        except ConnectionLost as lost:
            return str(lost)


def fill(peers: Peers) -> None:
    peers.fill()
    peers.ours.setblocking(True)


@pytest.mark.parametrize("owner", [None, 0.0, 5.0], ids=["blocking", "without blocking", "a timeout"])
@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda peers: peers.theirs.send(b"421 bye\r\n"), False),
        (lambda peers: peers.theirs.shutdown(socket.SHUT_WR), False),
        (lambda peers: None, True),
        (fill, True),
        (lambda peers: peers.theirs.close(), False),
        (lambda peers: peers.ours.close(), False),
    ],
    ids=["spoken to", "hung up", "silent", "full", "broken", "closed"],
)
def test_what_comes_of_a_flight(prepare: Callable[[Peers], object], owner: float | None, told: bool) -> None:
    """Whatever timeout the socket shows: the result, what is told and what has arrived are those of its steps."""
    found = []
    for stepwise in (False, True):
        with closing(Peers()) as peers:
            conversation = Conversation(peers, AT_ONCE, stepwise=stepwise)
            prepare(peers)
            with suppress(OSError):
                peers.ours.settimeout(owner)
            result = conversation.command()
            arrived = peers.arrived() if peers.theirs.fileno() >= 0 else b""
            found.append((result, conversation.told, arrived, conversation.session.connection.closed))
    assert found[0] == found[1]
    assert found[0][1] == [COMMAND.line] * told


@pytest.mark.parametrize("stepwise", [False, True])
def test_what_finds_no_room(stepwise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Octets that there is no room for go out when there is, and are told once."""
    with closing(Peers()) as peers:
        readers: list[threading.Thread] = []

        def read() -> None:
            peers.theirs.settimeout(PATIENCE)
            left = peers.filled + len(COMMAND.line)
            while left:
                left -= len(peers.theirs.recv(min(left, 1000)))
            peers.theirs.send(b"250 ok\r\n")

        send = SocketTransport.send

        def sending(transport: SocketTransport, *arguments: Any) -> Sent:
            readers.append(threading.Thread(target=read))
            readers[0].start()
            return send(transport, *arguments)

        monkeypatch.setattr(SocketTransport, "send", sending)
        conversation = Conversation(peers, {}, stepwise=stepwise)
        fill(peers)
        assert conversation.command() == "250 ok"
        [reader] = readers
        reader.join(PATIENCE)
        assert conversation.told == [COMMAND.line]


class Little(socket.socket):
    """Takes only a part of what it is to send."""

    def send(self, octets: Any, flags: int = 0) -> int:
        return super().send(octets[:7000], flags)


@pytest.mark.parametrize("stepwise", [False, True])
def test_what_goes_out_in_parts(peers: Peers, stepwise: bool) -> None:
    """Octets of which only a part was taken go out with the rest behind it, and are told once."""
    peers.ours = Little(fileno=peers.ours.detach())
    conversation = Conversation(peers, {}, stepwise=stepwise)
    conversation.session.say(COMMAND)
    peers.theirs.send(b"250 ok\r\n")
    assert str(conversation.driver.run(conversation.session.answered(looks=False)).reply) == "250 ok"
    assert peers.arrived() == COMMAND.line
    assert conversation.told == [COMMAND.line]


@pytest.mark.parametrize("stepwise", [False, True])
def test_an_answer_that_comes_while_there_is_no_room(stepwise: bool) -> None:
    """What is said before all is out is heard, and what is left of the octets is not told again."""
    with closing(Peers()) as peers:
        conversation = Conversation(peers, AT_ONCE, stepwise=stepwise)
        fill(peers)
        peers.theirs.send(b"421 bye\r\n")
        conversation.session.say(COMMAND)
        assert str(conversation.driver.run(conversation.session.answered(looks=False)).reply) == "421 bye"
        assert conversation.told == [COMMAND.line]


def test_the_deadline_of_what_has_to_wait() -> None:
    """Octets that find no room have the deadline of the writing, from when they were begun; the answer has its own."""
    with closing(Peers()) as peers:
        conversation = Conversation(peers, {Stage.BODY: 0.01})
        fill(peers)
        session = conversation.session
        session.say(COMMAND)
        flow = session.exchange(session.flight(looks=False, stage=Stage.BODY))
        assert conversation.driver.run(flow) is False
        assert conversation.told == [COMMAND.line]


@pytest.mark.parametrize("size", [LARGE - 1, LARGE])
def test_a_large_one_is_listened_to(peers: Peers, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """What is large goes out in steps, for the server is listened to in between; what is not goes out at once."""
    conversation = Conversation(peers, {**AT_ONCE, Stage.BODY: PATIENCE})
    steps: list[object] = []

    def receive(timeout: float | None) -> bytes:
        steps.append(timeout)
        return b""

    monkeypatch.setattr(conversation.transport, "receive", receive)
    flight = Flight(bytes(size), Stage.BODY, Stage.COMMAND, looks=False)
    result = conversation.driver.run(flying(flight))
    assert flight.written
    assert conversation.told == [flight.octets]
    if size < LARGE:
        assert isinstance(result, TimeoutError)
        assert not steps
    else:
        assert (result, steps) == (b"", [AT_ONCE[Stage.COMMAND]])


@pytest.mark.parametrize("owner", [None, 0.0, 5.0], ids=["blocking", "without blocking", "a timeout"])
def test_without_a_deadline(peers: Peers, owner: float | None) -> None:
    """A wait for ever ends with the answer, and with the end, whatever timeout the socket shows."""
    conversation = Conversation(peers, dict.fromkeys(Stage))
    peers.ours.settimeout(owner)
    peers.theirs.settimeout(PATIENCE)

    def serve() -> None:
        for answer in (lambda: peers.theirs.send(b"250 ok\r\n"), lambda: peers.theirs.shutdown(socket.SHUT_WR)):
            left = len(OCTETS)
            while left:
                left -= len(peers.theirs.recv(left))
            answer()

    server = threading.Thread(target=serve)
    server.start()
    for expected in (b"250 ok\r\n", b""):
        flight = Flight(OCTETS, Stage.BODY, Stage.COMMAND, looks=False)
        assert conversation.driver.run(flying(flight)) == expected
    server.join(PATIENCE)
