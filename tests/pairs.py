"""Two real ends, joined in memory: a `ClientConnection` and a `ServerConnection`, and nothing between them but octets.

A test of a connection goes through a `Pair` wherever both ends can be honest: what the one writes is what the other
reads, so neither can be right about a wire format that the other does not know.  `cut` says in what pieces the octets
arrive; every piece is followed by looking for events, as a driver would.

`pair_in` brings both ends to any state of the table by the shortest way, so that a test can begin where it matters.
"""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Protocol, TypeVar

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Auth, Bdat, Command, Data, Ehlo, EndOfData, Lhlo, Mail, Quit, Rcpt, StartTLS
from smtp_proto.events import CommandReceived, CommandRejected, ConnectionClosed, Event, ReplyReceived, Wait
from smtp_proto.replies import Reply
from smtp_proto.server import ServerConnection
from smtp_proto.states import State
from tests.splitting import cut as cut_at

E = TypeVar("E", bound=Event)
Cut = Callable[[bytes], Iterable[bytes]]

# More events than any few octets of a test hold: an end that gives out one after the other without end is caught.
MANY = 10_000

SENDER = Mail("a@example.org")
RECIPIENT = Rcpt("b@example.org")
OTHER_RECIPIENT = Rcpt("c@example.org")


class End(Protocol):
    """What both ends have in common."""

    def receive_data(self, octets: bytes) -> None: ...
    def next_event(self) -> Event | Wait: ...


# -- ways to cut ------------------------------------------------------------------------------------------------------


def whole(octets: bytes) -> list[bytes]:
    """All in one piece."""
    return [octets]


def at_random(random: Random) -> Cut:
    """At a few places that `random` chooses, sometimes nowhere and sometimes often."""

    def pieces(octets: bytes) -> Iterable[bytes]:
        number = min(random.choice((0, 1, 3, 300)), len(octets))
        return cut_at(octets, *sorted(random.sample(range(len(octets)), number)))

    return pieces


# -- looking ----------------------------------------------------------------------------------------------------------


def drain(end: End) -> list[Event]:
    """The events up to the next wait, or up to the end of the connection."""
    events: list[Event] = []
    while len(events) < MANY:
        event = end.next_event()
        if isinstance(event, Wait):
            return events
        events.append(event)
        if isinstance(event, ConnectionClosed):
            return events
    raise AssertionError("events without end")


def feed(end: End, octets: bytes, cut: Cut = whole) -> list[Event]:
    """The events that the octets bring, arriving in pieces."""
    return feed_pieces(end, cut(octets))


def feed_pieces(end: End, pieces: Iterable[bytes]) -> list[Event]:
    """The events that the pieces bring, with a look for them after each."""
    events: list[Event] = []
    for piece in pieces:
        end.receive_data(piece)
        events += drain(end)
    return events


def only(events: Sequence[Event], kind: type[E]) -> E:
    """The one event that there is, which is of this kind."""
    assert len(events) == 1, events
    event = events[0]
    assert isinstance(event, kind), event
    return event


def frozen(end: ClientConnection | ServerConnection) -> bytes:
    """All that `end` is, down to what no property shows, for comparing "exactly as before" with before.

    The fold that gives a client's sent state is kept once it was made, so it is made here first.
    """
    if isinstance(end, ClientConnection):
        assert end.sent_state in State
    return pickle.dumps(end)


# -- the pair ---------------------------------------------------------------------------------------------------------


class Pair:
    """A client and a server.

    `sent` and `answered` are all the octets that went the one way and the other, `seen` all events of the server: those
    of a pipelined group come one by one, as the one before is answered.
    """

    def __init__(self, *, lmtp: bool = False, strict: bool = True, cut: Cut = whole) -> None:
        self.client = ClientConnection(lmtp=lmtp, strict=strict)
        self.server = ServerConnection(lmtp=lmtp)
        self.cut = cut
        self.sent = b""
        self.answered = b""
        self.seen: list[Event] = []

    def check_state(self, state: State) -> None:
        """Both ends are in this state."""
        assert (self.client.state, self.server.state) == (state, state)

    def to_server(self) -> list[Event]:
        """Move what the client has put out; the server's events."""
        octets = b"".join(self.client.data_to_send())
        self.sent += octets
        events = feed(self.server, octets, self.cut)
        self.seen += events
        return events

    def to_client(self) -> list[Event]:
        """Move what the server has put out; the client's events."""
        octets = b"".join(self.server.data_to_send())
        self.answered += octets
        return feed(self.client, octets, self.cut)

    def send(self, *commands: Command) -> list[Event]:
        """Send a group of commands; the server's events, up to where it owes an answer."""
        for command in commands:
            self.client.send(command)
        return self.to_server()

    def answer(self, *answers: Reply | int) -> list[Event]:
        """Answer what the server owes, command after command; the client's events."""
        events: list[Event] = []
        for reply in answers:
            self.server.send(reply if isinstance(reply, Reply) else Reply(reply, f"{reply} it is"))
            events += self.to_client()
            self.seen += drain(self.server)
        return events

    def exchange(self, command: Command, answer: Reply | int) -> ReplyReceived:
        """One command, which is in order, and its answer."""
        event = only(self.send(command), CommandReceived)
        assert event.command == command
        received = only(self.answer(answer), ReplyReceived)
        assert received.command is command
        return received

    def rejected(self, command: Command) -> ReplyReceived:
        """One command that the server rejects, answered as it suggests."""
        event = only(self.send(command), CommandRejected)
        received = only(self.answer(event.hint), ReplyReceived)
        assert received.command is command
        return received

    def secure(self) -> None:
        """What a TLS handshake leaves behind."""
        self.client.tls_established()
        self.server.tls_established()


def pair_in(state: State, *, lmtp: bool = False, strict: bool = True, cut: Cut = whole) -> Pair:
    """A pair that has come to `state` by the shortest way."""
    pair = Pair(lmtp=lmtp, strict=strict, cut=cut)
    if state is State.GREETING:
        return pair
    pair.answer(554 if state is State.REFUSED else 220)
    if state in (State.REFUSED, State.CONNECTED):
        return pair
    pair.exchange(Lhlo("client.test") if lmtp else Ehlo("client.test"), Reply(250, "server.test\nPIPELINING"))
    ways: dict[State, list[tuple[Command, int]]] = {
        State.MAIL: [(SENDER, 250)],
        State.RCPT: [(SENDER, 250), (RECIPIENT, 250)],
        State.DATA: [(SENDER, 250), (RECIPIENT, 250), (Data(), 354)],
        State.AUTH: [(Auth("PLAIN"), 334)],
        State.TLS: [(StartTLS(), 220)],
        State.CLOSED: [(Quit(), 221)],
    }
    for command, code in ways.get(state, []):
        pair.exchange(command, code)
    if state in (State.BDAT, State.FAILED):
        pair.exchange(SENDER, 250)
        pair.exchange(RECIPIENT, 250)
        pair.client.send(Bdat(3))
        pair.client.send_body(b"abc")
        pair.to_server()
        pair.answer(250 if state is State.BDAT else 452)
    pair.check_state(state)
    return pair


def end_message(pair: Pair, body: bytes = b"text\r\n") -> list[Event]:
    """Send a message after DATA and its end; the server's events."""
    pair.client.send_body(body)
    return pair.send(EndOfData())


def client_that_sent(*group: Command, lmtp: bool = False) -> ClientConnection:
    """A client that has sent a group, chunks included, out of READY, to a server that is not one of ours."""
    client = pair_in(State.READY, lmtp=lmtp).client
    for command in group:
        client.send(command)
        if isinstance(command, Bdat):
            client.send_body(b"x" * command.size)
    client.data_to_send()
    return client


def alike(one: BaseException, other: BaseException) -> bool:
    """Two exceptions that say the same: a connection that is poisoned raises a new one each time."""
    return (type(one), one.args, vars(one)) == (type(other), other.args, vars(other))


@contextmanager
def without_collector() -> Iterator[None]:
    """What is in a cycle stays alive here, where the collector would find it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
