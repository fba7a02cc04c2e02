"""Random walks of a client against a server, replayed in other pieces, and with octets that were tampered with.

The walks and what is checked on the way are in `tests.walks`.  Here they are gone in numbers, and then:

* what either end heard on a walk is given to a new end octet by octet and all at once: the events are the same;
* what it heard is mutated at random: it never raises anything but a `ProtocolError`, never gives out events without
  end, and a client that has raised a `RemoteProtocolError` sends nothing more.

Seeded random numbers rather than Hypothesis: a walk takes some five milliseconds this way, so that there can be
thousands, and a seed reproduces it.  With CI set the seeds are the same in every run, elsewhere each run has new ones;
the seed of a walk that fails is in its error.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from random import Random, SystemRandom

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Command, EndOfData, Noop
from smtp_proto.errors import LocalProtocolError, RemoteProtocolError
from smtp_proto.events import BodyReceived, CommandRejected, ConnectionClosed, Event, Wait
from smtp_proto.replies import Reply
from smtp_proto.server import ServerConnection
from smtp_proto.states import State
from tests.pairs import Cut, alike, at_random, whole
from tests.splitting import bytewise
from tests.walks import Step, Walk

# Walks, in batches so that it can be seen how far they have come.  All tests here take 20 seconds of one core, 45 under
# coverage.
BATCHES = 20
WALKS_IN_BATCH = 100
# Batches whose octets are tampered with, for each end, and in how many ways each walk's.
HOSTILE_BATCHES = 5
MUTATIONS = 4

FIRST_SEED = 0 if os.environ.get("CI") else SystemRandom().randrange(1 << 32)


def seeds(batch: int) -> range:
    start = FIRST_SEED + batch * WALKS_IN_BATCH
    return range(start, start + WALKS_IN_BATCH)


def walked(seed: int) -> Walk:
    walk = Walk(seed)
    try:
        walk.walk()
    except BaseException as error:
        error.add_note(f"the walk was Walk({seed}).walk()")
        raise
    return walk


# -- the same octets in other pieces ----------------------------------------------------------------------------------


def pull(end: ClientConnection | ServerConnection, pieces: deque[bytes]) -> Event:
    """The next event, fed with as many of the pieces as it takes; the pieces of a message as one."""
    body = b""
    while True:
        event = end.next_event()
        if isinstance(event, BodyReceived):
            body += event.octets
            if event.finished:
                return BodyReceived(body, True)
            assert event.octets, "a body without end"
        elif isinstance(event, Wait):
            assert pieces, "no event, although all was said"
            end.receive_data(pieces.popleft())
        else:
            return event


def replay(
    end: ClientConnection | ServerConnection, log: Iterable[Step], heard: Iterable[bytearray], cut: Cut
) -> tuple[list[Step], bytes]:
    """Do again to `end` what `log` says was done; what it says now, and all that it sends."""
    eras = iter(heard)
    pieces = deque(cut(bytes(next(eras))))
    events: list[Step] = []
    octets = b""
    for step in log:
        if step.what == "event":
            events.append(Step("event", pull(end, pieces)))
        elif step.what == "tls":
            end.tls_established()
            pieces = deque(cut(bytes(next(eras))))
        else:
            act(end, step)
        octets += b"".join(end.data_to_send())
    return events, octets


def act(end: ClientConnection | ServerConnection, step: Step) -> None:
    """What was done to the end on the walk, once more."""
    if isinstance(end, ClientConnection):
        if isinstance(step.value, Command):
            end.send(step.value)
        elif isinstance(step.value, bytes):
            end.send_body(step.value)
    elif isinstance(step.value, Reply):
        (end.close_with if step.what == "close" else end.send)(step.value)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_walk(batch: int) -> None:
    """Every reply reaches its own command, both ends agree on the state, and no way to cut the octets matters."""
    for seed in seeds(batch):
        walk = walked(seed)
        try:
            check_replays(walk)
        except BaseException as error:
            error.add_note(f"the walk was Walk({seed})")
            raise


def check_replays(walk: Walk) -> None:
    client_events = [step for step in walk.client_log if step.what == "event"]
    server_events = [step for step in walk.server_log if step.what == "event"]
    for cut in (whole, bytewise):
        client = walk.new_client()
        events, client_octets = replay(client, walk.client_log, walk.client_heard, cut)
        assert events == client_events
        server = walk.new_server()
        events, server_octets = replay(server, walk.server_log, walk.server_heard, cut)
        assert events == server_events
        assert client_octets.startswith(b"".join(walk.server_heard))
        assert server_octets.startswith(b"".join(walk.client_heard))


# -- octets that were tampered with -----------------------------------------------------------------------------------


def mutated(octets: bytes, random: Random) -> bytes:
    """The octets with a few of them flipped, dropped, put in or said twice."""
    lines = octets.splitlines(keepends=True)
    for _ in range(random.choice((1, 1, 2, 5))):
        if not lines:
            break
        place = random.randrange(len(lines))
        line = lines[place]
        where = random.randrange(len(line))
        match random.randrange(8):
            case 0:
                lines[place] = line[:where] + bytes([line[where] ^ 1 << random.randrange(8)]) + line[where + 1 :]
            case 1:
                lines[place] = line[:where] + random.choice((b"\r", b"\n", b"\0", b"-", b"4")) + line[where:]
            case 2:
                lines[place] = line[:where] + line[where + 1 :] or b"\n"
            case 3:
                lines.insert(place, line)
            case 4:
                del lines[place]
            case 5:
                lines[place] = random.choice((b"421 ", b"250 ", b"354 ", b"334 ", b"220-")) + line[4:]
            case 6:
                lines[place] = line[:where] + b"x" * random.choice((10, 600, 10_000)) + line[where:]
            case _:
                other = random.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
    return b"".join(lines)


def bounded(end: ClientConnection | ServerConnection, octets: int) -> list[Event]:
    """The events that there are; no more than the octets can be the cause of."""
    events: list[Event] = []
    while not isinstance(event := end.next_event(), Wait):
        events.append(event)
        assert len(events) <= octets + 1, "events without end"
        if isinstance(event, ConnectionClosed):
            break
        if isinstance(end, ServerConnection) and end.owes_reply:
            break
    return events


@pytest.mark.parametrize("batch", range(HOSTILE_BATCHES))
def test_a_hostile_server(batch: int) -> None:
    """Whatever a server says, the client raises nothing but ProtocolErrors, and behind one nothing can be sent."""
    for seed in seeds(batch):
        walk = walked(seed)
        random = Random(seed)
        for number in range(MUTATIONS):
            octets = mutated(b"".join(walk.client_heard), random)
            try:
                suffer(walk.new_client(), walk.client_log, octets, random)
            except BaseException as error:
                error.add_note(f"mutation {number} of Walk({seed})")
                raise


def suffer(client: ClientConnection, log: list[Step], octets: bytes, random: Random) -> None:
    """Say what was said on the walk, as far as it still may be, while the server says something else."""
    pieces = deque(at_random(random)(octets))
    for step in log:
        try:
            if step.what == "event":
                piece = pieces.popleft() if pieces else b""
                client.receive_data(piece)
                bounded(client, client.unread)
                if client.state is State.TLS:
                    client.tls_established()
            elif isinstance(step.value, Command) and client.can_send(step.value):
                client.send(step.value)
            else:
                act(client, step)
            client.data_to_send()
        except LocalProtocolError:
            assert step.what in ("send", "body")
        except RemoteProtocolError as error:
            check_poisoned(client, error)
            return
    for piece in pieces:
        try:
            client.receive_data(piece)
            bounded(client, client.unread)
        except RemoteProtocolError as error:
            check_poisoned(client, error)
            return
    client.receive_eof()
    try:
        bounded(client, client.unread)
    except RemoteProtocolError as error:
        check_poisoned(client, error)


def check_poisoned(client: ClientConnection, error: RemoteProtocolError) -> None:
    """Nothing goes in or out any more, and every use says the same."""
    assert client.closed
    assert client.data_to_send() == []
    assert not client.can_send(Noop())
    client.receive_data(b"250 ok\r\n")
    for use in (
        client.next_event,
        lambda: client.send(Noop()),
        lambda: client.send(EndOfData()),
        lambda: client.send_body(b"text"),
        client.tls_established,
    ):
        with pytest.raises(RemoteProtocolError) as again:
            use()
        assert alike(again.value, error)
    assert client.data_to_send() == []


@pytest.mark.parametrize("batch", range(HOSTILE_BATCHES))
def test_a_hostile_client(batch: int) -> None:
    """Whatever a client says, the server raises nothing but ProtocolErrors, and never gives out events without end."""
    for seed in seeds(batch):
        walk = walked(seed)
        random = Random(seed)
        for number in range(MUTATIONS):
            octets = mutated(b"".join(walk.server_heard), random)
            try:
                serve(walk.new_server(), octets, random)
            except BaseException as error:
                error.add_note(f"mutation {number} of Walk({seed})")
                raise


def serve(server: ServerConnection, octets: bytes, random: Random) -> None:
    """Answer what comes, rejecting what is suggested, until the octets are at their end."""
    pieces = deque(at_random(random)(octets))
    hint: Reply | None = Reply(220)
    try:
        while True:
            while server.owes_reply:
                try:
                    server.send(hint or Reply(random.choice((250, 250, 250, 354, 334, 450, 550))))
                except LocalProtocolError:
                    hint = Reply(550)  # no answer to this; a refusal is one to everything
                else:
                    hint = None
            if server.state is State.TLS:
                server.tls_established()
            for event in bounded(server, len(octets)):
                hint = event.hint if isinstance(event, CommandRejected) else None
                if isinstance(event, ConnectionClosed):
                    return
            server.data_to_send()
            if pieces:
                server.receive_data(pieces.popleft())
            elif not server.owes_reply:
                server.receive_eof()
    except RemoteProtocolError:
        assert server.closed
        assert server.data_to_send() == []
        with pytest.raises(RemoteProtocolError):
            server.send(Reply(250))
