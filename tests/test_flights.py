"""Round trips of the core, counted on a link without a clock: a flight is over when neither end can go on without it.

The figures are those of the table in the docs; ``pytest -s`` prints them.  `tests.conformance.test_flights` counts
those of the surface, for every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Rcpt
from smtp_proto.effects import Close, Effect, Flow, Poll, Receive, Send, Sent
from smtp_proto.many import Mailing
from smtp_proto.outcome import Outcome
from smtp_proto.session import ClientSession
from smtp_proto.sources import source_of
from smtp_proto.transaction import Chunking, Transaction, deliver

from .deliveries import MESSAGE, SENDER
from .serving import Answering

MESSAGES = 200


def to(count: int) -> list[Rcpt]:
    return [Rcpt(f"r{n}@mx.test") for n in range(count)]


class Link:
    """A client's flow and a server's, joined by a line on which octets arrive only when both ends wait.

    `flights` counts how often the client had to wait for the line.
    """

    def __init__(self, client: Flow[Any], server: Flow[Any]) -> None:
        self.flights = 0
        self._flows = (client, server)
        self._inbox = [b"", b""]
        self._wire = [b"", b""]  # on the way to the client, and to the server
        self._ended = [False, False]

    def run(self) -> None:
        effects: list[Effect[Any] | None] = [next(flow) for flow in self._flows]
        while effects[0] is not None:
            for end in (0, 1):
                while (effect := effects[end]) is not None and not self._waits(end, effect):
                    try:
                        effects[end] = self._flows[end].send(self._perform(end, effect))
                    except StopIteration:
                        effects[end] = None
                        self._ended[end] = True
            if effects[0] is not None:
                assert self._wire[0] or self._wire[1] or self._ended[1], "both wait, and nothing is on the way"
                self.flights += bool(self._wire[0])
                for end in (0, 1):
                    self._inbox[end] += self._wire[end]
                    self._wire[end] = b""

    def _waits(self, end: int, effect: Effect[Any]) -> bool:
        return isinstance(effect, Receive) and not self._inbox[end] and not self._ended[1 - end]

    def _perform(self, end: int, effect: Effect[Any]) -> Any:
        if isinstance(effect, Send):
            self._wire[1 - end] += b"".join(effect.chunks)
            return Sent(None, [])
        if isinstance(effect, (Receive, Poll)):
            octets, self._inbox[end] = self._inbox[end], b""
            return octets or (None if isinstance(effect, Poll) else b"")
        assert isinstance(effect, Close)
        return None


def flights(conversation: Callable[[ClientSession], Flow[None]], *, beyond: int) -> int:
    """The round trips of a conversation, those of `beyond` not counted."""
    server = Answering()
    link = Link(conversation(ClientSession(ClientConnection())), server.run())
    link.run()
    return link.flights - beyond


def introduced(session: ClientSession) -> Flow[None]:
    """Two round trips: the greeting, EHLO."""
    yield from session.greet()
    yield from session.hello("client.test")


@pytest.mark.parametrize("recipients", [1, 10, 50])
@pytest.mark.parametrize(
    ("chunking", "expected"),
    [(False, 2), (True, 2), ("eager", 1)],
)
def test_one_message(recipients: int, chunking: Chunking, expected: int) -> None:
    """A message is two round trips with PIPELINING, with and without CHUNKING, and one if it is eager."""

    def conversation(session: ClientSession) -> Flow[None]:
        yield from introduced(session)
        outcome = yield from deliver(session, SENDER, to(recipients), MESSAGE, pipelining=True, chunking=chunking)
        assert outcome.delivered

    counted = flights(conversation, beyond=2)
    print(f"\n{recipients} recipients, chunking={chunking}: {counted} round trips")  # noqa: T201  # the figures
    assert counted == expected


@pytest.mark.parametrize(("chunking", "expected"), [(False, 4), (True, 4), ("eager", 3)])
def test_a_connection_used_once(chunking: Chunking, expected: int) -> None:
    """Greeting, EHLO, message and QUIT are four round trips, three if the message is eager."""

    def conversation(session: ClientSession) -> Flow[None]:
        yield from introduced(session)
        outcome = yield from deliver(session, SENDER, to(1), MESSAGE, pipelining=True, chunking=chunking, last=True)
        assert outcome.delivered

    counted = flights(conversation, beyond=0)
    print(f"\nused once, chunking={chunking}: {counted} round trips")  # noqa: T201  # the figures
    assert counted == expected


def send_all(
    session: ClientSession, messages: Iterator[int], recipients: int, chunking: Chunking, outcomes: list[Outcome]
) -> Flow[None]:
    mailing = Mailing(session, pipelining=True)
    for _ in messages:
        while mailing.full:
            yield from mailing.wait()
        yield from mailing.submit(transaction(mailing, recipients, chunking))
    yield from mailing.leave()
    while (done := mailing.result()) is not None:
        outcomes.append(done.outcome)


def transaction(mailing: Mailing, recipients: int, chunking: Chunking, message: bytes = MESSAGE) -> Transaction:
    commands = to(recipients)
    outcome = Outcome([command.path for command in commands], SENDER.path)
    return Transaction(mailing.session, SENDER, commands, source_of(message), outcome, True, chunking, answered=mailing)


@pytest.mark.parametrize("recipients", [1, 10, 50])
@pytest.mark.parametrize(("chunking", "most"), [(False, 1.1), (True, 1.1), ("eager", 0.05)])
def test_many_messages(recipients: int, chunking: Chunking, most: float) -> None:
    """Behind one another messages are a round trip each, and nearly none if they are eager."""
    outcomes: list[Outcome] = []

    def conversation(session: ClientSession) -> Flow[None]:
        yield from introduced(session)
        yield from send_all(session, iter(range(MESSAGES)), recipients, chunking, outcomes)

    counted = flights(conversation, beyond=2) / MESSAGES
    assert [outcome.delivered for outcome in outcomes] == [True] * MESSAGES
    print(f"\nmany, {recipients} recipients, chunking={chunking}: {counted:.3f} round trips")  # noqa: T201  # figures
    assert counted <= most
