"""Servers with many clients, and that they end when told to, whatever those are doing."""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from smtp_blocking import SMTP
from smtp_proto.server_session import Settings
from smtp_proto.states import DEFAULT_TIMEOUTS, Stage
from smtp_surface.serving import Service
from tests.certificates import server_context
from tests.scripts import PATIENCE

from .conftest import Serve


def connect(server: Service) -> SMTP:
    return SMTP(server.host, server.port, "client.test", PATIENCE)


def dialogue(server: Service) -> socket.socket:
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


def test_many_connections(serve: Serve) -> None:
    """Many clients at once, each served by itself, and no message is lost."""

    def deliver(number: int) -> None:
        with connect(server) as client:
            for part in range(5):
                sender = f"a{number}.{part}@client.test"
                assert client.sendmail(sender, "b@mx.test", b"x" * 20_000) == {}

    with serve() as server, ThreadPoolExecutor(20) as executor:
        list(executor.map(deliver, range(40)))
    assert len({message.sender for message in server.messages}) == 200


def test_too_many_connections(serve: Serve) -> None:
    """Beyond `max_connections` a client is told 421; when others have gone, there is room again."""
    with serve(max_connections=2) as server:
        first, second = connect(server), connect(server)
        with pytest.raises(smtplib.SMTPConnectError, match="Too many connections") as raised:
            connect(server)
        assert raised.value.smtp_code == 421
        first.quit()
        second.noop()
        deadline = time.monotonic() + PATIENCE
        while not has_room(server):  # what served the first may not have ended yet
            assert time.monotonic() < deadline
        second.quit()


def has_room(server: Service) -> bool:
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


@pytest.mark.parametrize(
    "leave",
    [nothing, half_a_command, half_a_message, half_a_chunk, half_a_handshake],
)
def test_stop_with_connections_open(leave: Callable[[socket.socket], None], serve: Serve) -> None:
    """Stopping cuts the connections that are open, in the middle of whatever they do, and keeps no half message."""
    with serve(tls_context=server_context(), grace=0) as server:
        socks = [dialogue(server) for _ in range(3)]
        for sock in socks:
            leave(sock)
    for sock in socks:
        with sock:
            sock.settimeout(PATIENCE)
            read_to_the_end(sock)
    assert server.messages == []


def test_stop_with_replies_that_nobody_reads(serve: Serve) -> None:
    """A client that writes and does not read holds nobody up: others are served, and it is cut at the end."""
    talkative = Settings(offer=tuple(f"X-LINE{number} {'x' * 400}" for number in range(100)))
    with serve(settings=talkative, grace=0) as server, dialogue(server) as sock:
        sock.settimeout(0.2)
        with suppress(TimeoutError):
            while True:  # until the server stops reading, because it cannot write
                sock.sendall(b"EHLO client.test\r\n" * 1000)
        connect(server).quit()
    with sock:
        assert server.messages == []


def test_stop_while_clients_deliver(serve: Serve) -> None:
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

    with ThreadPoolExecutor(4) as executor:
        with serve() as server:
            futures = [executor.submit(deliver, number) for number in range(4)]
            assert going.wait(PATIENCE)
        for future in futures:
            future.result(PATIENCE)
    assert set(delivered) <= {message.sender for message in server.messages}


def test_port_is_freed(serve: Serve) -> None:
    """When it has stopped nobody listens, and the port can be taken again at once."""
    with serve() as server:
        connect(server).quit()
    with pytest.raises(ConnectionRefusedError):
        connect(server)
    with serve(port=server.port) as again:
        assert again.port == server.port
        connect(again).quit()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
        serve(port=taken.getsockname()[1]),
    ):
        pass


def test_silent_clients_are_told_and_cut(serve: Serve) -> None:
    """A client that says nothing for the time of `Stage.SERVER` is told 421 (RFC 5321 3.8) and cut."""
    with serve(timeouts={**DEFAULT_TIMEOUTS, Stage.SERVER: 0.1}) as server, dialogue(server) as sock:
        octets = b""
        while received := sock.recv(1000):
            octets += received
    assert octets.startswith(b"421 4.4.2 ")
