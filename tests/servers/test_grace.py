"""Servers that stop while clients are in the middle of something, and what else may happen to a server."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from smtp_surface.serving import Service
from tests.certificates import client_context, server_context
from tests.needs import needs_unix_sockets
from tests.scripts import PATIENCE

from .conftest import Serve

ENVELOPE = b"EHLO client.test\r\n", b"MAIL FROM:<a@client.test>\r\n", b"RCPT TO:<b@mx.test>\r\n", b"DATA\r\n"


def connected(server: Service, context: ssl.SSLContext | None = None) -> socket.socket:
    """A connection, its greeting read."""
    sock = socket.create_connection((server.host, server.port), PATIENCE)
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="localhost")
    assert sock.recv(1000).startswith(b"220 ")
    return sock


def ask(sock: socket.socket, line: bytes) -> bytes:
    sock.sendall(line)
    return sock.recv(10_000)


def begin_message(sock: socket.socket) -> None:
    replies = [ask(sock, line)[:3] for line in ENVELOPE]
    assert replies == [b"250", b"250", b"250", b"354"]
    sock.sendall(b"Subject: x\r\n\r\nhello")


def rest(sock: socket.socket) -> bytes:
    """All that still comes."""
    octets = b""
    with suppress(ConnectionResetError, ssl.SSLError):
        while received := sock.recv(1000):
            octets += received
    return octets


@contextmanager
def stopping(block: AbstractContextManager[Service]) -> Iterator[tuple[Service, Callable[[], Future[None]]]]:
    """A server, and a function that begins to stop it, in another thread."""
    with ThreadPoolExecutor(1) as executor, ExitStack() as stack:
        server = stack.enter_context(block)
        yield server, lambda: executor.submit(stack.close)


def wait_until_nobody_listens(server: Service) -> None:
    for _ in range(1000):
        try:
            socket.create_connection((server.host, server.port), PATIENCE).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # it closed just then
    raise AssertionError("it still listens")


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
def test_a_message_under_way_is_finished(serve: Serve, tls: bool) -> None:
    """The client that is in the middle of a message finishes it, is answered, and told 421 only then; the idle one is
    told at once."""
    options: dict[str, Any] = {"tls_context": server_context(), "implicit_tls": True} if tls else {}
    context = client_context() if tls else None
    with (
        stopping(serve(grace=PATIENCE, **options)) as (server, stop),
        connected(server, context) as idle,
        connected(server, context) as busy,
    ):
        begin_message(busy)
        stopped = stop()
        said = rest(idle)
        assert said.startswith(b"421 4.3.2 ") or (tls and said == b"")  # where a thread waits, TLS is at its end too
        assert not stopped.done()
        busy.sendall(b" again\r\n.\r\n")
        assert [line[:3] for line in rest(busy).splitlines()] == [b"250", b"421"]
        stopped.result(PATIENCE)
    assert [message.content for message in server.messages] == [b"Subject: x\r\n\r\nhello again\r\n"]


def test_behind_the_grace_it_is_cut(serve: Serve) -> None:
    """A client that does not come to its end is cut, and half its message is not kept."""
    with stopping(serve(grace=0.1)) as (server, stop), connected(server) as busy:
        begin_message(busy)
        stop().result(PATIENCE)
        assert rest(busy) == b""
    assert server.messages == []


def test_nobody_is_let_in_while_it_stops(serve: Serve) -> None:
    """It does not listen any more while it waits for messages that are under way."""
    with stopping(serve(grace=PATIENCE)) as (server, stop), connected(server) as busy:
        begin_message(busy)
        stopped = stop()
        wait_until_nobody_listens(server)
        busy.sendall(b"\r\n.\r\n")
        stopped.result(PATIENCE)
    assert len(server.messages) == 1


# -- other circumstances ----------------------------------------------------------------------------------------------


def test_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    """A host that begins with "/" is the path of a Unix socket; the file goes with the server."""
    needs_unix_sockets()
    path = tmp_path / "s"
    with serve(None, str(path)) as server:
        assert (server.host, server.port) == (str(path), 0)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(server.host)
            assert sock.recv(1000).startswith(b"220 ")
            begin_message(sock)
            assert ask(sock, b"\r\n.\r\n").startswith(b"250")
        with pytest.raises(OSError, match="in use"), serve(None, str(path)):
            pass
        assert path.exists()
    assert len(server.messages) == 1
    assert not path.exists()


def test_a_deserted_unix_socket_is_replaced(serve: Serve, tmp_path: Path) -> None:
    """The file of a server that was killed is in nobody's way; a file that is no socket is left alone."""
    needs_unix_sockets()
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    with serve(None, str(path)), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"), serve(None, str(path)):
        pass
    assert path.read_text() == "precious"


def test_no_descriptors_to_be_had(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepting that fails for want of descriptors is tried again, and the client that waits is served."""
    accept = socket.socket.accept
    failures = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.ECONNABORTED, "gone")]

    def failing(self: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return accept(self)

    with serve() as server:
        monkeypatch.setattr(socket.socket, "accept", failing)
        for _ in range(2):  # a thread that is in `accept` already is served by what that was
            with connected(server) as sock:
                assert ask(sock, b"NOOP\r\n").startswith(b"250")
        monkeypatch.undo()
    assert failures == []


def test_a_client_that_comes_and_goes(serve: Serve) -> None:
    """Clients that hang up at once, or in the middle of anything, leave nothing behind."""
    with serve() as server:
        for _ in range(20):
            socket.create_connection((server.host, server.port), PATIENCE).close()
        with connected(server) as sock:
            begin_message(sock)
        with connected(server) as sock:
            assert ask(sock, b"NOOP\r\n").startswith(b"250")
    assert server.messages == []
    assert server.errors == []
