"""Long flights, and connections dropped in the middle.

What a server says while the client writes neither stretches the deadline nor fills the memory, and what it rightly says
is never too much.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import smtp_blocking
from smtp_blocking import SMTPServerDisconnected
from smtp_blocking.transport import SocketTransport
from smtp_proto.states import Stage
from tests.certificates import client_context
from tests.scripts import HASTE

from .sessions import Timeout

SMALL = 4096  # octets of the sockets' buffers, before the system doubles them


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server of one connection with small buffers, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)

    def run() -> None:
        sock, _ = listener.accept()
        with sock, suppress(OSError):  # the client hangs up
            sock.settimeout(30)
            serve(sock)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[:2]
    finally:
        listener.close()
        thread.join()


def introduce(sock: socket.socket) -> None:
    sock.sendall(b"220 mx.test\r\n")
    sock.recv(1000)
    sock.sendall(b"250-mx.test\r\n250 PIPELINING\r\n")


def client_of(address: tuple[str, int], timeout: Timeout) -> smtp_blocking.SMTP:
    client = smtp_blocking.SMTP(*address, local_hostname="client.test", timeout=timeout)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    return client


def test_a_drip_does_not_stretch_the_deadline_of_a_flight() -> None:
    """The deadline of writing is on progress of what is written: octets that arrive meanwhile are none."""
    stop = threading.Event()

    def serve(sock: socket.socket) -> None:
        introduce(sock)
        sock.recv(1)
        while not stop.wait(0.05):  # for ever, were it not for the client
            sock.sendall(b"2")

    with listening(serve) as address:
        client = client_of(address, timeout=0.5)
        start = time.monotonic()
        with pytest.raises(SMTPServerDisconnected):
            client.sendmail("a@client.test", [f"{n}@{'x' * 200}.test" for n in range(20000)], "x")
        # Thirty times the deadline: a machine that is busy is no failure, the drip would go on for ever.
        assert time.monotonic() - start < 15
        stop.set()


def test_a_large_envelope_is_no_flood() -> None:
    """A server that answers each of many recipients at once may say more than any bound for floods."""
    count = 20000

    def serve(sock: socket.socket) -> None:
        introduce(sock)
        lines = sock.makefile("rb")
        for line in lines:
            if line.startswith(b"data"):
                sock.sendall(b"354 go\r\n")
                while lines.readline() != b".\r\n":
                    pass
                sock.sendall(b"250 taken\r\n")
            elif line.lower().startswith(b"quit"):
                sock.sendall(b"221 bye\r\n")
                return
            else:
                sock.sendall(b"250 2.1.5 " + b"ok " * 20 + b"\r\n")

    with listening(serve) as address, client_of(address, timeout=60) as client:
        assert client.sendmail("a@client.test", [f"{n}@mx.test" for n in range(count)], "x") == {}


def test_an_interrupt_while_the_connection_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted at any point of dropping a connection, the next call never gets what is still to come on it."""
    answered = threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.sendall(b"220 mx.test\r\n")
        sock.recv(1000)
        answered.wait(30)
        sock.sendall(b"250 stale\r\n")
        sock.recv(1000)

    for point in ("abort", "close"):
        answered.clear()
        with listening(serve) as address:
            client = client_of(address, timeout={Stage.COMMAND: HASTE})  # not the greeting's
            sock = client.sock

            def interrupt(*_: Any) -> None:
                raise KeyboardInterrupt

            with monkeypatch.context() as patched:
                session = client._session
                assert session is not None
                patched.setattr(session.connection if point == "abort" else client._transport, point, interrupt)
                with pytest.raises((KeyboardInterrupt, SMTPServerDisconnected)):
                    client.noop()
            answered.set()
            with pytest.raises(SMTPServerDisconnected):
                client.noop()
            client.close()
            sock.close()  # where the interrupt has come before that


def test_methods_that_others_have_put_in_the_place_of_a_sockets() -> None:
    """A socket whose `recv` and `send` are not the system's own, as gevent's, is never told not to wait by a flag."""
    flags: list[int] = []

    class Patched(socket.socket):
        def recv(self, size: int, flag: int = 0) -> bytes:
            flags.append(flag)
            return super().recv(size, flag)

        def send(self, octets: Any, flag: int = 0) -> int:
            flags.append(flag)
            return super().send(octets, flag)

    ours, theirs = socket.socketpair()
    with theirs, Patched(fileno=ours.detach()) as sock:
        transport = SocketTransport(sock)
        assert transport.poll() is None
        assert transport.send([b"x"], None, True).unsent == []
        theirs.sendall(b"y")
        assert transport.receive(None) == b"y"
    assert set(flags) == {0}


def test_a_reset_in_front_of_the_handshake() -> None:
    """A connection that is reset before it is wrapped is an `OSError`, and its socket is closed with the transport."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
    assert select.select([ours], [], [], 10)[0]
    transport = SocketTransport(ours)
    with pytest.raises(ConnectionResetError):
        transport.start_tls(client_context(), "localhost", False, 10)
    transport.close()
    assert ours.fileno() == -1
