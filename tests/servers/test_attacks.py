"""Servers whose clients attack them: each attack ends or costs little, and everybody else keeps being served."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

import smtp_blocking
from smtp_proto.server_session import Settings
from smtp_proto.states import Stage
from smtp_surface.serving import Service
from tests.certificates import client_context, server_context
from tests.needs import needs_linux

from .conftest import Serve

PATIENCE = 20.0  # seconds; a machine that does nothing else needs a hundredth
SILENCE = {Stage.SERVER: 0.5}

MAIL = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n"


def probe(server: Service) -> None:
    """Somebody honest, who is served as if there was nobody else."""
    before = len(server.messages)
    with smtp_blocking.SMTP(server.host, server.port, "probe.test", timeout=PATIENCE) as client:
        assert client.sendmail("p@probe.test", "b@mx.test", b"probe\r\n") == {}
    assert [message.sender for message in server.messages[before:]].count("p@probe.test") == 1


@contextmanager
def attacker(server: Service) -> Iterator[socket.socket]:
    """A connection that was greeted."""
    with socket.create_connection((server.host, server.port), PATIENCE) as sock:
        greeting = b""
        while not greeting.endswith(b"\n"):
            greeting += sock.recv(1000)
        yield sock


def all_of(sock: socket.socket) -> bytes:
    """What comes until the server hangs up."""
    came = b""
    with suppress(ConnectionError):
        while octets := sock.recv(65536):
            came += octets
    return came


def test_a_command_of_ten_megabytes(serve: Serve) -> None:
    """A line without end is refused once, is not kept, and the server is what it was."""
    with serve() as server:
        with attacker(server) as sock:
            with suppress(ConnectionError):
                for _ in range(160):
                    sock.sendall(b"x" * 65536)
                probe(server)
                sock.sendall(b"\r\nNOOP\r\nQUIT\r\n")
            came = all_of(sock)
        probe(server)
    assert came.startswith(b"5") or not came
    assert len(came) < 1000


def test_a_flood_of_commands_that_reads_nothing(serve: Serve) -> None:
    """Who sends commands without end and reads no answer is waited for, not served on: it is soon told nothing more."""
    with serve(timeouts=SILENCE) as server:
        with attacker(server) as sock:
            sock.settimeout(0.2)
            with suppress(OSError):
                for _ in range(100):  # until nothing goes out any more, or the server has hung up
                    sock.sendall(b"EHLO client.test\r\n" * 1000)
            probe(server)
        probe(server)


def test_a_flood_of_mistakes(serve: Serve) -> None:
    """Who makes nothing but mistakes is told 421, and the rest is not answered."""
    with serve() as server:
        with attacker(server) as sock:
            with suppress(ConnectionError):
                sock.sendall(b"XYZZY\r\n" * 1000)
            came = all_of(sock)
        probe(server)
    assert came.count(b"\r\n") <= Settings().max_errors + 1


def test_a_flood_of_passwords(serve: Serve) -> None:
    """A client that tries passwords is told 421 behind a few of them."""
    with serve(users={"user": "secret"}, cleartext_auth=True) as server:
        with attacker(server) as sock:
            with suppress(ConnectionError):
                sock.sendall(b"EHLO client.test\r\n" + b"AUTH PLAIN AHVzZXIAd3Jvbmc=\r\n" * 500)
            came = all_of(sock)
        probe(server)
    assert came.count(b"\r\n535 ") <= Settings().max_auth_failures
    assert b"\r\n235 " not in came


@pytest.mark.parametrize("what", ["nothing", "a command", "a message", "an exchange"])
def test_a_drip_ends_at_the_deadline(serve: Serve, what: str) -> None:
    """An octet now and then keeps no connection of an attacker's: the deadline is for a whole line, or for progress."""
    begun = {
        "nothing": b"",
        "a command": b"NOO",
        "a message": b"EHLO client.test\r\n" + MAIL + b"half a message",
        "an exchange": b"EHLO client.test\r\nAUTH LOGIN\r\ndX",
    }
    with serve(users={"user": "secret"}, cleartext_auth=True, timeouts=SILENCE) as server:
        with attacker(server) as sock:
            sock.sendall(begun[what])
            came = all_of(sock)
        assert b"421" in came
        assert server.messages == []
        probe(server)


def test_octets_one_by_one_are_no_command(serve: Serve) -> None:
    """A command that is dripped is cut at the deadline, however often an octet comes."""
    with serve(timeouts=SILENCE) as server, attacker(server) as sock:
        deadline = time.monotonic() + PATIENCE
        with suppress(OSError):
            while time.monotonic() < deadline:
                sock.sendall(b"x")
                sock.settimeout(0.05)
                with suppress(TimeoutError):
                    if b"421" in (came := sock.recv(1000)) or not came:
                        break
        assert time.monotonic() < deadline
        probe(server)


def test_idle_connections(serve: Serve) -> None:
    """Hundreds of connections that do nothing cost nobody anything but their place."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = min(500, (soft - 200) // 2)  # each has two ends in this process
    assert many >= 100
    with ExitStack() as stack:
        server = stack.enter_context(serve(max_connections=many + 10))
        for _ in range(many):
            stack.enter_context(socket.create_connection((server.host, server.port), PATIENCE))
        probe(server)


def test_one_address_does_not_take_all_places(serve: Serve) -> None:
    """Beyond `max_per_address` from one address a client is told 421; others still find room."""
    needs_linux()  # where all of 127.0.0.0/8 is this machine
    with serve(host="0.0.0.0", max_connections=10, max_per_address=3) as server, ExitStack() as stack:  # noqa: S104
        here = "127.0.0.1", server.port
        held = [stack.enter_context(socket.create_connection(here, PATIENCE)) for _ in range(3)]
        for sock in held:
            assert sock.recv(1000).startswith(b"220")
        with socket.create_connection(here, PATIENCE) as sock:
            assert sock.recv(1000).startswith(b"421 ")
        with socket.create_connection(here, PATIENCE, ("127.0.0.2", 0)) as sock:
            assert sock.recv(1000).startswith(b"220")
        held[0].close()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with socket.create_connection(here, PATIENCE) as sock:
                if sock.recv(1000).startswith(b"220"):
                    break
        else:
            pytest.fail("there was no room again")


SMUGGLED = b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\nevil\r\n.\r\n"
ENDS = [
    before + b"." + behind
    for before in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\0", b"\r\n")
    for behind in (b"\n", b"\r", b"\r\r\n", b"\0\r\n", b"\r\n")
    if before + behind not in (b"\r\n\r\n", b"\r\r\n\r\n")  # those are the end
]


def test_no_message_is_smuggled(serve: Serve) -> None:
    """Whatever looks like the end of a message and is not CRLF.CRLF is none: exactly one message arrives."""
    for end in ENDS:
        with serve() as server, attacker(server) as sock:
            sock.sendall(b"EHLO client.test\r\n" + MAIL + b"one" + end + SMUGGLED + b"QUIT\r\n")
            all_of(sock)
            assert [message.sender for message in server.messages] in ([], ["a@client.test"]), end


def test_starttls_injection_from_the_client(serve: Serve) -> None:
    """What a client sends in the clear behind STARTTLS is never taken for something said inside TLS."""
    with serve(tls_context=server_context()) as server:
        with attacker(server) as sock:
            sock.sendall(b"EHLO client.test\r\n")
            assert sock.recv(1000).startswith(b"250")
            sock.sendall(b"STARTTLS\r\nEHLO evil.test\r\n" + MAIL + b"evil\r\n.\r\n")
            context = client_context()
            with suppress(OSError):
                while sock.recv(1, socket.MSG_PEEK) != b"\x16":
                    if not sock.recv(1000):
                        break
                with context.wrap_socket(sock, server_hostname="127.0.0.1") as secured:
                    secured.settimeout(0.3)
                    assert not secured.recv(1000)
        assert server.messages == []
        probe(server)


def test_slow_readers(serve: Serve) -> None:
    """Many clients that ask for much and read nothing hold nobody up, and are cut when their time is over."""
    with serve(timeouts=SILENCE) as server, ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(attacker(server))
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.send(b"EHLO client.test\r\n" * 500)
        probe(server)


def test_many_attackers_at_once(serve: Serve) -> None:
    """While many send nonsense, and hang up in the middle of it, an honest client is served again and again."""
    over = threading.Event()

    def attack() -> None:
        while not over.is_set():
            with suppress(OSError), attacker(server) as sock:
                sock.sendall(b"EHLO x\r\n" + MAIL + b"x" * 10_000)

    with serve() as server:
        threads = [threading.Thread(target=attack) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                probe(server)
        finally:
            over.set()
            for thread in threads:
                thread.join(PATIENCE)
        assert {message.sender for message in server.messages} == {"p@probe.test"}
