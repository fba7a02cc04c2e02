"""Round trips of every backend, counted on a link without a clock: the first two rows of the table of targets.

A flight is what the client sends until it can do nothing more without an answer.  The figures are those in the docs;
``pytest -s`` prints them.  What the core alone needs is counted in `tests.test_flights`.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from smtp_proto.replies import Reply
from smtp_proto.transaction import Chunking
from smtp_surface.once import AsyncOnce, BlockingOnce
from tests.line import AsyncLine, Line
from tests.serving import Answering

from .backends import Backend

MESSAGES = 200
RECIPIENTS = pytest.mark.parametrize("recipients", [1, 10, 50])


class Offering(Answering):
    """A server whose EHLO offers what it takes to be quick."""

    def _answer(self, row: str) -> None:
        if row == "EHLO":
            self.connection.send(Reply(250, "mx.test\nPIPELINING\nCHUNKING"))
        else:
            super()._answer(row)


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
    line = Line(server := Offering())
    client = over(backend, line, chunking=chunking)
    client.ehlo()
    message = email(to(recipients))
    arguments = [message] if method == "send_message" else ["a@client.test", to(recipients), message.as_bytes()]
    if method == "deliver":
        arguments = [message.as_bytes(), "a@client.test", to(recipients)]
    before = line.flights
    getattr(client, method)(*arguments)
    flights = line.flights - before
    assert len(server.messages) == 1
    report(f"{method} to {recipients}", backend, chunking, flights)
    assert flights <= most
    client.close()


@pytest.mark.parametrize(("chunking", "most"), [(False, 4.1), (True, 4.1), ("eager", 3.1)])
def test_a_connection_used_once(backend: Backend, chunking: Chunking, most: float) -> None:
    """Greeting, EHLO, message and QUIT are four round trips by `send`, three if the message is eager."""
    line = Line(server := Offering())

    def made(**options: Any) -> Any:
        client = backend.module.SMTP(**options)
        client._given = AsyncLine(line) if backend.coroutines else line
        return client

    send = (AsyncOnce if backend.coroutines else BlockingOnce)(made, made).send
    arguments = {"sender": "a@client.test", "recipients": to(1), "local_hostname": "client.test", "chunking": chunking}
    outcome = backend.called(send, b"Subject: once\r\n\r\nx\r\n", "mx.test", **arguments)
    assert outcome.delivered
    assert line.closed
    assert server.rows[-1] == "QUIT"
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

    line = Line(server := Offering())
    client = over(backend, line, chunking=chunking)
    client.ehlo()
    before = line.flights
    with backend.sending(client, source()) as sending:
        assert all(outcome.delivered for outcome in sending)
    flights = (line.flights - before) / messages
    assert len(server.messages) == messages
    report(f"send_many to {recipients}", backend, chunking, flights)
    assert flights <= most
    client.close()
