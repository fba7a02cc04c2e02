"""Servers in event loops: handlers whose methods are coroutines, nurseries, and cancellation."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio

import smtp_trio
from smtp_proto.commands import Rcpt
from smtp_proto.handler import Handler, ReceivedMessage
from smtp_proto.replies import Reply
from smtp_proto.server_session import ServerSession
from smtp_surface.serving import Service
from tests.conformance.backends import BACKENDS, AsyncBackend
from tests.leaks import nothing_left_behind
from tests.scripts import MESSAGE, PATIENCE

LOOPS = [backend for backend in BACKENDS if isinstance(backend, AsyncBackend)]


@pytest.fixture(scope="session", params=LOOPS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Iterator[AsyncBackend]:
    """Each backend of coroutines in turn, with its loop running."""
    found: AsyncBackend = request.param
    found.start()
    found.run(anyio.to_thread.run_sync, int)  # a thread of this loop's pool stays for a while: here, before each test
    yield found
    found.stop()


class Asking(Handler):
    """Asks somebody else before it decides, and fails at a word."""

    def __init__(self) -> None:
        self.messages: list[ReceivedMessage] = []

    async def rcpt(self, session: ServerSession, command: Rcpt) -> Reply | None:
        await anyio.lowlevel.checkpoint()
        return Reply(550, "5.1.1 Nobody") if command.path.startswith("nobody") else None

    async def body(self, session: ServerSession, message: ReceivedMessage) -> None:
        await anyio.lowlevel.checkpoint()
        if b"broken" in message.content:
            raise ZeroDivisionError("in body")
        self.messages.append(message)


def send(server: Service, message: bytes = MESSAGE, to: str = "b@mx.test") -> Any:
    with smtplib.SMTP(server.host, server.port, "client.test", PATIENCE) as smtp:
        return smtp.sendmail("a@client.test", [to, "c@mx.test"], message)


def test_methods_that_are_coroutines(backend: AsyncBackend) -> None:
    """They are awaited; what they raise is a 451, is kept in `errors`, and harms nobody else."""
    handler = Asking()
    with backend.in_a_block(backend.module.serve(handler)) as server:
        assert send(server, to="nobody@mx.test") == {"nobody@mx.test": (550, b"5.1.1 Nobody")}
        with pytest.raises(smtplib.SMTPDataError) as raised:
            send(server, b"broken")
        assert raised.value.smtp_code == 451
        assert send(server) == {}
    assert len(handler.messages) == 2
    assert [str(error) for error in server.errors] == ["in body"]


class Hanging(Handler):
    """Never decides."""

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self.left = False

    async def rcpt(self, session: ServerSession, command: Rcpt) -> Reply | None:
        self.entered.set()
        try:
            await anyio.sleep(1000)
        finally:
            self.left = True
        return None


def in_dialogue(server: Service, lines: bytes) -> socket.socket:
    sock = socket.create_connection((server.host, server.port), PATIENCE)
    assert sock.recv(1000).startswith(b"220 ")
    sock.sendall(lines)
    return sock


def read_to_the_end(sock: socket.socket) -> None:
    with sock, suppress(ConnectionResetError):
        while sock.recv(10_000):
            pass


HELLO = b"EHLO client.test\r\nMAIL FROM:<a@client.test>\r\n"


@pytest.mark.parametrize("way", ["leaving", "cancelling"])
def test_a_handler_that_hangs_is_cancelled(backend: AsyncBackend, way: str) -> None:
    """Behind the grace, or with the server's task, a handler that waits for something is cancelled."""

    async def hang() -> bool:
        handler = Hanging()
        sock: socket.socket
        with anyio.CancelScope() as scope:
            async with backend.module.serve(handler, grace=0.05) as server:
                sock = await anyio.to_thread.run_sync(in_dialogue, server, HELLO + b"RCPT TO:<b@mx.test>\r\n")
                await handler.entered.wait()
                if way == "cancelling":
                    scope.cancel()
                    await anyio.sleep(1000)
        await anyio.to_thread.run_sync(read_to_the_end, sock)
        return handler.left

    assert backend.run(hang)


def test_awaited_until_stopped(backend: AsyncBackend) -> None:
    """`await serve(...)`, in a task of a group, tells where it listens, and ends when it is stopped."""

    async def serve_and_stop() -> int:
        async with anyio.create_task_group() as tasks:
            server: Any = await tasks.start(backend.module.serve)
            await anyio.to_thread.run_sync(send, server)
            server.stop()
        return len(server.messages)

    assert backend.run(serve_and_stop) == 1


def test_cancelled_while_it_serves(backend: AsyncBackend) -> None:
    """Cancelled, it cuts all connections at once, whatever is under way, and leaves nothing behind."""

    async def serve_and_cancel() -> int:
        async with anyio.create_task_group() as tasks:
            server: Any = await tasks.start(backend.module.serve)
            socks = [await anyio.to_thread.run_sync(in_dialogue, server, HELLO) for _ in range(3)]
            tasks.cancel_scope.cancel()
        for sock in socks:
            await anyio.to_thread.run_sync(read_to_the_end, sock)
        return len(server.messages)

    assert backend.run(serve_and_cancel) == 0


def test_what_the_block_raises_comes_out_as_it_is(backend: AsyncBackend) -> None:
    """No group of exceptions, and messages that are under way are finished all the same."""

    async def failing() -> None:
        async with backend.module.serve():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        backend.run(failing)


def test_an_address_that_is_taken(backend: AsyncBackend) -> None:
    """`OSError`, from the block as from the task."""

    async def twice() -> None:
        async with backend.module.serve() as first, backend.module.serve(port=first.port):
            pass

    with pytest.raises(OSError, match="in use"):
        backend.run(twice)


def test_in_a_nursery_of_trio() -> None:
    """``await nursery.start(serve, handler)`` is trio's idiom."""

    async def main() -> int:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(smtp_trio.serve)
            async with smtp_trio.SMTP(server.host, server.port) as smtp:
                await smtp.sendmail("a@client.test", "b@mx.test", MESSAGE)
            nursery.cancel_scope.cancel()
        return len(server.messages)

    with nothing_left_behind():
        assert trio.run(main) == 1


def test_one_slow_client_holds_nobody_up(backend: AsyncBackend) -> None:
    """While one drips its command and another does not read what it asked for, a third is served."""
    with backend.in_a_block(backend.module.serve(grace=0)) as server:
        dripping = in_dialogue(server, b"EH")
        deaf = in_dialogue(server, b"EHLO client.test\r\n" * 3_000)
        assert send(server) == {}
        dripping.close()
        deaf.close()
    assert len(server.messages) == 1
