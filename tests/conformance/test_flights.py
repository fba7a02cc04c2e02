"""Round trips of every backend, counted on a link without a clock: the first two rows of the table of targets.

A flight is what the client sends until it can do nothing more without an answer.  The figures are those in the docs;
``pytest -s`` prints them.  What the core alone needs is counted in `tests.test_flights`.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from smtp_proto.effects import Effect, Receive, Send, Sent
from smtp_proto.replies import Reply
from smtp_proto.transaction import Chunking
from smtp_surface.once import AsyncOnce, BlockingOnce
from tests.serving import Answering

from .backends import Backend

MESSAGES = 200
# What a client's own tasks may take, in turns of the loop, before the line is what is waited for.
TURNS = 10

RECIPIENTS = pytest.mark.parametrize("recipients", [1, 10, 50])


class Offering(Answering):
    """A server whose EHLO offers what it takes to be quick."""

    def _answer(self, row: str) -> None:
        if row == "EHLO":
            self.connection.send(Reply(250, "mx.test\nPIPELINING\nCHUNKING"))
        else:
            super()._answer(row)


class Line:
    """A transport whose other end is `Offering`: what is sent arrives when the client waits, and is one flight."""

    def __init__(self) -> None:
        self.flights = 0
        self.closed = False
        self.server = Offering()
        self._running = self.server.run()
        self._effect: Effect[Any] | None = None
        self._sent = b""
        self._said = b""

    def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        self._sent += b"".join(chunks)
        return Sent(None, [])

    def receive(self, timeout: float | None) -> bytes:
        if not self._said:
            self.flights += 1
            self._turn()
        return self._taken()

    def poll(self) -> bytes | None:
        return self._taken() or None

    def close(self) -> None:
        self.closed = True

    def _taken(self) -> bytes:
        said, self._said = self._said, b""
        return said

    def _turn(self) -> None:
        """The server goes on until it waits, or is at its end."""
        effect = self._effect or next(self._running)
        try:
            while not isinstance(effect, Receive) or self._sent:
                if isinstance(effect, Send):
                    self._said += b"".join(effect.chunks)
                    effect = self._running.send(Sent(None, []))
                else:
                    heard, self._sent = self._sent, b""
                    effect = self._running.send(heard if isinstance(effect, Receive) else None)
        except StopIteration:
            return
        self._effect = effect


class AsyncLine:
    """The same for clients of coroutines: the line is waited for when no task of theirs has anything left to do."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._interrupted = False

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        raise AssertionError("it is connected")

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        return self._line.send(chunks, timeout, listen)

    async def receive(self, timeout: float | None) -> bytes:
        self._interrupted = False
        for _ in range(TURNS):
            await checkpoint()
            if self._interrupted:
                raise TimeoutError
        return self._line.receive(timeout)

    async def poll(self) -> bytes | None:
        return self._line.poll()

    async def close(self) -> None:
        self._line.close()

    def abort(self) -> None:
        self._line.close()

    def interrupt(self) -> None:
        self._interrupted = True


def over(backend: Backend, line: Line, **options: Any) -> Any:
    """A client over the line, greeted."""
    stream = AsyncLine(line) if backend.coroutines else line
    client = backend.open("SMTP", stream=stream, local_hostname="client.test", **options)
    if backend.coroutines:
        client.connect()
    return client


def to(count: int) -> list[str]:
    return [f"r{number}@mx.test" for number in range(count)]


def email(recipients: list[str]) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@client.test", ", ".join(recipients), "flights"
    message.set_content("x\n")
    return message


def report(what: str, backend: Backend, chunking: Chunking, flights: float) -> None:
    print(f"\n{backend.name}: {what}, chunking={chunking}: {flights:.3g} round trips")  # noqa: T201  # the figures


@RECIPIENTS
@pytest.mark.parametrize(("chunking", "most"), [(False, 2.1), (True, 2.1), ("eager", 1.1)])
@pytest.mark.parametrize("method", ["sendmail", "send_message", "deliver"])
def test_one_message(backend: Backend, method: str, chunking: Chunking, most: float, recipients: int) -> None:
    """A message is two round trips with PIPELINING, with and without CHUNKING, and one if it is eager."""
    line = Line()
    client = over(backend, line, chunking=chunking)
    client.ehlo()
    message = email(to(recipients))
    arguments = [message] if method == "send_message" else ["a@client.test", to(recipients), message.as_bytes()]
    if method == "deliver":
        arguments = [message.as_bytes(), "a@client.test", to(recipients)]
    before = line.flights
    getattr(client, method)(*arguments)
    flights = line.flights - before
    assert len(line.server.messages) == 1
    report(f"{method} to {recipients}", backend, chunking, flights)
    assert flights <= most
    client.close()


@pytest.mark.parametrize(("chunking", "most"), [(False, 4.1), (True, 4.1), ("eager", 3.1)])
def test_a_connection_used_once(backend: Backend, chunking: Chunking, most: float) -> None:
    """Greeting, EHLO, message and QUIT are four round trips by `send`, three if the message is eager."""
    line = Line()

    def made(**options: Any) -> Any:
        client = backend.module.SMTP(**options)
        client._given = AsyncLine(line) if backend.coroutines else line
        return client

    send = (AsyncOnce if backend.coroutines else BlockingOnce)(made, made).send
    arguments = {"sender": "a@client.test", "recipients": to(1), "local_hostname": "client.test", "chunking": chunking}
    outcome = backend.called(send, b"Subject: once\r\n\r\nx\r\n", "mx.test", **arguments)
    assert outcome.delivered
    assert line.closed
    assert line.server.rows[-1] == "QUIT"
    report("connect to QUIT", backend, chunking, line.flights)
    assert line.flights <= most


@RECIPIENTS
@pytest.mark.parametrize(("chunking", "most"), [(False, 1.1), (True, 1.1), ("eager", 0.05)])
def test_many_messages(backend: Backend, chunking: Chunking, most: float, recipients: int) -> None:
    """Behind one another messages are a round trip each, and nearly none if they are eager."""
    messages = MESSAGES if chunking == "eager" else MESSAGES // 5

    def source() -> Iterator[Any]:
        for number in range(messages):
            yield "a@client.test", to(recipients), b"Subject: %d\r\n\r\nx\r\n" % number

    line = Line()
    client = over(backend, line, chunking=chunking)
    client.ehlo()
    before = line.flights
    with backend.sending(client, source()) as sending:
        assert all(outcome.delivered for outcome in sending)
    flights = (line.flights - before) / messages
    assert len(line.server.messages) == messages
    report(f"send_many to {recipients}", backend, chunking, flights)
    assert flights <= most
    client.close()
