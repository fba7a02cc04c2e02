"""Connections in memory, on every backend: a client and a server in one process, with no sockets."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from smtp_proto.handler import Decision, Decisions, Handler, ReceivedMessage
from smtp_proto.replies import Reply
from smtp_proto.server_session import ServerSession
from smtp_surface.memory import CAPACITY, MemoryTransport, ThreadAlarm, memory_pair
from smtp_surface.without_loop import Blocking, finish
from tests.certificates import client_context, server_context
from tests.conformance.backends import AsyncBackend, Backend
from tests.leaks import open_sockets

Together = Callable[..., AbstractContextManager[tuple[Any, Any]]]


@pytest.fixture
def in_memory(backend: Backend) -> Together:
    """The backend's `in_memory`, whose client is seen as a blocking one."""

    def together(*arguments: Any, **options: Any) -> AbstractContextManager[tuple[Any, Any]]:
        made = backend.module.in_memory(*arguments, **options)
        if isinstance(backend, AsyncBackend):
            return backend.seen_in_a_block(made)
        blocking: AbstractContextManager[tuple[Any, Any]] = made
        return blocking

    return together


def test_a_message(in_memory: Together) -> None:
    """A client sends to a server in memory; nothing of it is a socket, and long messages wait for their reader."""
    before = open_sockets()
    with in_memory() as (smtp, server):
        assert open_sockets() == before
        assert smtp.sendmail("a@client.test", ["b@mx.test"], b"x" * 10 * CAPACITY) == {}
    assert [len(message.content) for message in server.messages] == [10 * CAPACITY + 2]
    assert server.errors == []


def test_over_tls(in_memory: Together) -> None:
    """STARTTLS works over it, and log-ins inside of that."""
    options = {"tls_context": server_context(), "users": {"user": "pass"}}
    with in_memory(**options, client={"server_hostname": "localhost"}) as (smtp, server):
        smtp.starttls(context=client_context())
        smtp.login("user", "pass")
        smtp.sendmail("a@client.test", "b@mx.test", b"secret\n")
    assert len(server.messages) == 1


class Choosy(Handler):
    """Refuses one recipient, and fails at a word."""

    def rcpt(self, session: ServerSession, command: Any) -> Decision:
        return Reply(550, "5.1.1 Nobody") if command.path.startswith("nobody") else None

    def body(self, session: ServerSession, message: ReceivedMessage) -> Decisions:
        if b"broken" in message.content:
            raise ZeroDivisionError
        return None


def test_a_handler(in_memory: Together) -> None:
    """A handler decides, and what it raises is kept in `errors`."""
    with in_memory(Choosy()) as (smtp, server):
        refused = smtp.sendmail("a@client.test", ["b@mx.test", "nobody@mx.test"], b"x")
        assert refused == {"nobody@mx.test": (550, b"5.1.1 Nobody")}
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("a@client.test", "b@mx.test", b"broken")
    assert [type(error) for error in server.errors] == [ZeroDivisionError]


def test_what_the_block_raises(in_memory: Together) -> None:
    """An exception in the block comes out as it is, and nothing is left running."""
    with pytest.raises(ValueError, match=r"reverse-path|address|sender"), in_memory() as (smtp, _):
        smtp.sendmail("bad\r\naddress", "b@mx.test", b"x")


# -- one end -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ends() -> tuple[MemoryTransport, MemoryTransport]:
    return memory_pair(ThreadAlarm())


def test_octets_in_order_and_the_end(ends: tuple[MemoryTransport, MemoryTransport]) -> None:
    """What is written arrives in order; what was sent before the end is read before it."""
    first, second = map(Blocking, ends)
    assert second.poll() is None
    first.send([b"one ", b"two"], None, False)
    assert second.poll() == b"one two"
    first.send([b"three"], None, True)
    first.close()
    assert second.receive(1) == b"three"
    assert second.receive(1) == b""
    assert second.poll() == b""
    with pytest.raises(BrokenPipeError):
        second.send([b"x"], 1, False)
    for use in (first.poll, lambda: first.receive(1), lambda: first.send([b"x"], 1, False)):
        with pytest.raises(OSError, match="closed"):
            use()
    with pytest.raises(OSError, match="connected already"):
        first.connect("mx.test", 25, None)


def test_a_writer_waits_for_its_reader(ends: tuple[MemoryTransport, MemoryTransport]) -> None:
    """Not more than `CAPACITY` octets are on the way; the deadline of a writer is on that."""
    first, second = map(Blocking, ends)
    assert first.send([b"x" * CAPACITY], 0.01, False).unsent == []
    with pytest.raises(TimeoutError):
        first.send([b"y"], 0.01, False)
    assert second.receive(1) == b"x" * CAPACITY
    assert first.send([b"z"], 0.01, False).unsent == []


def test_a_writer_listens(ends: tuple[MemoryTransport, MemoryTransport]) -> None:
    """What arrives while a writer waits ends its waiting, with what is unsent."""
    first, second = map(Blocking, ends)
    second.send([b"no"], None, False)
    sent = first.send([b"x" * (CAPACITY + 5)], 1, True)
    assert sent.received == b"no"
    assert sum(map(len, sent.unsent)) == 5


def test_a_reader_waits_until_its_deadline(ends: tuple[MemoryTransport, MemoryTransport]) -> None:
    """Nothing arrives: `TimeoutError`."""
    with pytest.raises(TimeoutError):
        Blocking(ends[0]).receive(0.01)


def test_a_coroutine_that_wants_a_loop(ends: tuple[MemoryTransport, MemoryTransport]) -> None:
    """What would wait for an event loop is not taken for done."""

    class Waiting:
        def __await__(self) -> Any:
            yield

    async def wait() -> None:
        await Waiting()

    with pytest.raises(RuntimeError, match="event loop"):
        finish(wait())
