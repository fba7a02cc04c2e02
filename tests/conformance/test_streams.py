"""Messages from files and iterables, and by BDAT, on every backend against our own server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.handler import Handler, ReceivedMessage
from smtp_proto.server_session import ServerSession

from .backends import Backend

TO = ["b@d.test"]
TEXT = b"Subject: x\r\n\r\n.line\r\n" + b"x" * 70 + b"\r\n"


class Keeping(Handler):
    def __init__(self) -> None:
        self.messages: list[ReceivedMessage] = []

    def body(self, session: ServerSession, message: ReceivedMessage) -> None:
        self.messages.append(message)


@pytest.fixture
def handler() -> Keeping:
    return Keeping()


@pytest.fixture
def served(handler: Keeping) -> Iterator[smtp_blocking.Server]:
    with smtp_blocking.Server(handler) as server:
        yield server


def chunks() -> Iterator[bytes]:
    yield TEXT[:30]
    yield b""
    yield TEXT[30:]


@pytest.mark.parametrize("options", [{}, {"chunking": False}, {"chunking": "eager"}, {"pipelining": False}], ids=str)
@pytest.mark.parametrize(
    "make", [lambda: TEXT, lambda: io.BytesIO(TEXT), chunks, lambda: [TEXT[:9], TEXT[9:]], TEXT.decode]
)
def test_a_message_from_anywhere(
    backend: Backend, served: smtp_blocking.Server, handler: Keeping, options: dict[str, Any], make: Any
) -> None:
    """Whatever a message comes from and whichever way it goes, the same arrives, with its size where that is known."""
    told: list[tuple[int, int | None]] = []
    with backend.connect(served, **options) as smtp:
        assert smtp.sendmail("a@c.test", TO, make(), progress=lambda *done: told.append(done)) == {}
        assert smtp.deliver(make(), "a@c.test", TO).delivered
        assert smtp.noop()[0] == 250
    assert [message.content for message in handler.messages] == [TEXT, TEXT]
    size = handler.messages[0].mail.parameter("SIZE")
    assert size == (None if make is chunks else str(len(TEXT)))
    assert told[-1] == (len(TEXT), None if make is chunks else len(TEXT))


@pytest.mark.parametrize("options", [{}, {"chunking": False}, {"chunking": "eager"}], ids=str)
def test_a_source_that_raises(
    backend: Backend, served: smtp_blocking.Server, handler: Keeping, options: dict[str, Any]
) -> None:
    """What the source raises goes on, nothing is delivered, and the connection is closed."""

    def failing() -> Iterator[bytes]:
        yield TEXT
        raise ZeroDivisionError

    smtp = backend.connect(served, **options)
    with pytest.raises(ZeroDivisionError):
        smtp.sendmail("a@c.test", TO, failing())
    with pytest.raises(smtp_blocking.SMTPServerDisconnected):
        smtp.noop()
    assert handler.messages == []


@pytest.mark.parametrize("chunk", ["text", 5])
def test_a_source_of_something_else(
    backend: Backend, served: smtp_blocking.Server, handler: Keeping, chunk: Any
) -> None:
    """A list that is no list of octets is refused in front; an iterator's mistake is found as it comes."""
    with backend.connect(served) as smtp:
        with pytest.raises(TypeError):
            smtp.sendmail("a@c.test", TO, [TEXT, chunk])
        assert smtp.noop()[0] == 250
        with pytest.raises(TypeError, match="a chunk of a message is bytes"):
            smtp.sendmail("a@c.test", TO, iter([TEXT, chunk]))
    assert handler.messages == []
