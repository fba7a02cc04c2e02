"""The blocking `Server` with many clients, and that it ends when told to, whatever they are doing."""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from smtp_blocking import SMTP, Server
from smtp_proto.states import DEFAULT_TIMEOUTS, Stage
from tests.certificates import server_context
from tests.leaks import nothing_left_behind
from tests.scripts import PATIENCE


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    with nothing_left_behind():
        yield


def connect(server: Server) -> SMTP:
    return SMTP(server.host, server.port, "client.test", PATIENCE)


def dialogue(server: Server) -> socket.socket:
    """A connection without a client behind it, its greeting read."""
    sock = socket.create_connection((server.host, server.port), PATIENCE)
    assert sock.recv(1000).startswith(b"220 ")
    return sock


def ask(sock: socket.socket, line: bytes) -> bytes:
    sock.sendall(line)
    return sock.recv(10_000)


def read_to_the_end(sock: socket.socket) -> None:
    with suppress(ConnectionResetError):  # of a side that closes with octets unread
        while sock.recv(1 << 20):
            pass


def test_many_connections() -> None:
    """Many clients at once, each served in its own thread, and no message is lost."""

    def deliver(number: int) -> None:
        with connect(server) as client:
            for part in range(5):
                sender = f"a{number}.{part}@client.test"
                assert client.sendmail(sender, "b@mx.test", b"x" * 20_000) == {}

    with Server() as server, ThreadPoolExecutor(20) as executor:
        list(executor.map(deliver, range(40)))
    assert len({message.sender for message in server.messages}) == 200


def test_too_many_connections() -> None:
    """Beyond `max_connections` a client is told 421; when others have gone, there is room again."""
    with Server(max_connections=2) as server:
        first, second = connect(server), connect(server)
        with pytest.raises(smtplib.SMTPConnectError, match="Too many connections") as raised:
            connect(server)
        assert raised.value.smtp_code == 421
        first.quit()
        second.noop()
        deadline = time.monotonic() + PATIENCE
        while not has_room(server):  # the thread of the first may not have ended yet
            assert time.monotonic() < deadline
        second.quit()


def has_room(server: Server) -> bool:
    try:
        connect(server).quit()
    except smtplib.SMTPConnectError:
        return False
    return True


def half_a_command(sock: socket.socket) -> None:
    sock.sendall(b"EHLO cli")


def half_a_message(sock: socket.socket) -> None:
    ask(sock, b"EHLO client.test\r\n")
    ask(sock, b"MAIL FROM:<a@b.test>\r\n")
    ask(sock, b"RCPT TO:<c@d.test>\r\n")
    assert ask(sock, b"DATA\r\n").startswith(b"354")
    sock.sendall(b"Subject: x\r\n\r\nhel")


def half_a_chunk(sock: socket.socket) -> None:
    ask(sock, b"EHLO client.test\r\n")
    ask(sock, b"MAIL FROM:<a@b.test>\r\n")
    ask(sock, b"RCPT TO:<c@d.test>\r\n")
    sock.sendall(b"BDAT 1000000 LAST\r\nSubject: x\r\n")


def half_a_handshake(sock: socket.socket) -> None:
    ask(sock, b"EHLO client.test\r\n")
    assert ask(sock, b"STARTTLS\r\n").startswith(b"220")
    sock.sendall(b"\x16\x03\x01\x02\x00")


def nothing(sock: socket.socket) -> None:
    assert sock.fileno() >= 0


def replies_that_nobody_reads(sock: socket.socket) -> None:
    ask(sock, b"EHLO client.test\r\n")
    sock.settimeout(0.2)
    with suppress(TimeoutError):
        while True:  # until the server stops reading, because it cannot write
            sock.sendall(b"NOOP\r\n" * 10_000)


@pytest.mark.parametrize(
    "leave",
    [nothing, half_a_command, half_a_message, half_a_chunk, half_a_handshake, replies_that_nobody_reads],
)
def test_stop_with_connections_open(leave: Callable[[socket.socket], None]) -> None:
    """Stopping cuts the connections that are open, in the middle of whatever they do, and keeps no half message."""
    with Server(tls_context=server_context(), grace=0) as server:
        socks = [dialogue(server) for _ in range(3)]
        for sock in socks:
            leave(sock)
    for sock in socks:
        with sock:
            sock.settimeout(PATIENCE)
            read_to_the_end(sock)
    assert server.messages == []


def test_stop_while_clients_deliver() -> None:
    """Stopped under load: clients get an exception, and what they were told was delivered is there."""
    delivered: list[str] = []
    going = threading.Event()

    def deliver(number: int) -> None:
        try:
            with connect(server) as client:
                for part in range(10_000):
                    client.sendmail(f"a{number}.{part}@client.test", "b@mx.test", b"x" * 5000)
                    delivered.append(f"a{number}.{part}@client.test")
                    going.set()
        except OSError:
            return

    server = Server()
    with ThreadPoolExecutor(4) as executor:
        with server:
            futures = [executor.submit(deliver, number) for number in range(4)]
            assert going.wait(PATIENCE)
        for future in futures:
            future.result(PATIENCE)
    assert set(delivered) <= {message.sender for message in server.messages}


def test_port_is_freed() -> None:
    """When it has stopped nobody listens, and the port can be taken again at once."""
    with Server() as server:
        connect(server).quit()
    with pytest.raises(ConnectionRefusedError):
        connect(server)
    with Server(port=server.port) as again:
        assert again.port == server.port
        connect(again).quit()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        Server(port=taken.getsockname()[1]).start()


def test_stop_is_forgiving() -> None:
    """Stopping twice, or without having started, does nothing."""
    server = Server()
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_silent_clients_are_told_and_cut() -> None:
    """A client that says nothing for the time of `Stage.SERVER` is told 421 (RFC 5321 3.8) and cut."""
    with Server(timeouts={**DEFAULT_TIMEOUTS, Stage.SERVER: 0.1}) as server, dialogue(server) as sock:
        octets = b""
        while received := sock.recv(1000):
            octets += received
    assert octets.startswith(b"421 4.4.2 ")
