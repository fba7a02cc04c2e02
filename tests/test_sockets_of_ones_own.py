"""What only plain sockets have: people read `smtp.sock`, change its time-out, and put sockets of their own there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

import smtp_blocking
from smtp_blocking import SMTP
from smtp_proto.states import Stage
from tests.certificates import client_context, server_context
from tests.scripted import Expect, ExpectEOF, ScriptedServer, StartTLS, Step, WaitFor
from tests.scripts import DELIVERY, GREETING, MESSAGE, NOOP, PATIENCE, QUIT, hello, opening, turn

pytestmark = pytest.mark.usefixtures("_nothing_left_behind")


@pytest.fixture
def server(_nothing_left_behind: None) -> Iterator[smtp_blocking.Server]:
    with smtp_blocking.Server() as running:
        yield running


def connect(server: ScriptedServer, **options: Any) -> SMTP:
    return SMTP(server.host, server.port, **{"local_hostname": "client.test", "timeout": PATIENCE, **options})


def test_starttls_by_hand() -> None:
    """As people did it before `starttls`: the command by hand, then the socket is wrapped and put back."""
    tls: list[Step] = [*turn(b"starttls", b"220 go"), StartTLS(server_context())]
    script = [*opening("STARTTLS"), *tls, *hello("SIZE"), *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, connect(server) as client:
        client.ehlo()
        assert client.docmd("STARTTLS")[0] == 220
        client.sock = client_context().wrap_socket(client.sock, server_hostname=server.host)
        client.ehlo()
        assert client.has_extn("size")
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


class Double:
    """Something like a socket, with the least that `smtplib` needs."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def sendall(self, octets: bytes) -> None:
        self._sock.sendall(octets)

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size)

    def makefile(self, mode: str) -> object:
        raise AssertionError("nothing needs a file")

    def close(self) -> None:
        self._sock.close()


@pytest.fixture(params=[lambda sock: sock, Double], ids=["a socket", "a double"])
def made(request: pytest.FixtureRequest) -> Callable[[socket.socket], object]:
    """Something to put into `sock`, made of a socket."""
    return cast("Callable[[socket.socket], object]", request.param)


def connected(server: ScriptedServer | smtp_blocking.Server) -> socket.socket:
    """A socket whose greeting has been read."""
    sock = socket.create_connection((server.host, server.port), PATIENCE)
    greeting = b""
    while not greeting.endswith(b"\n"):
        greeting += sock.recv(1000)
    return sock


def test_socket_of_ones_own(server: smtp_blocking.Server, made: Callable[[socket.socket], object]) -> None:
    """A socket that is put into `sock` of an unconnected client is used as it is, its greeting having been read."""
    client = smtp_blocking.SMTP(local_hostname="client.test")
    client.sock = made(connected(server))
    assert client.ehlo()[0] == 250
    assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], b"x" * 300_000) == {}
    assert client.docmd("rset")[0] == 250
    assert client.quit()[0] == 221
    assert client.sock is None
    assert server.messages[0].content == b"x" * 300_000 + b"\r\n"


def test_socket_in_the_place_of_another() -> None:
    """A socket put in the place of the client's own begins a new session: nothing is due on it."""
    with ScriptedServer([*GREETING, Expect(b"noop"), ExpectEOF()], [*GREETING, *NOOP, *QUIT]) as server:
        client = connect(server)
        client.putcmd("noop")
        client.sock.close()
        client.sock = connected(server)
        with client:
            assert client.noop() == (250, b"2.0.0 ok")


@pytest.mark.parametrize("use", [SMTP.noop, lambda client: client.sendmail("a@b.test", "c@d.test", b"x")])
def test_socket_that_was_closed(use: Callable[[SMTP], object]) -> None:
    """A socket closed behind the client's back is a lost connection."""
    with ScriptedServer([*opening(), ExpectEOF()]) as server:
        client = connect(server)
        client.ehlo()
        client.sock.close()
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            use(client)
        assert client.sock is None


def test_a_closed_socket_is_no_connection() -> None:
    """A socket that somebody closed, or put here closed, is reported as no connection."""
    with ScriptedServer(GREETING, strict=False) as server:
        client = connect(server)
        closed = client.sock
        client.close()
        client.sock = closed
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()
        assert client.sock is None


def test_a_shorter_timeout_on_the_socket_is_kept() -> None:
    """`sock.settimeout` is how `smtplib` is told to wait shorter, and works here."""
    done = threading.Event()
    with ScriptedServer([*opening(), Expect(b"noop"), WaitFor(done)], strict=False) as server:
        client = connect(server, timeout=60)
        client.ehlo()
        client.sock.settimeout(0.05)
        with pytest.raises(smtp_blocking.SMTPServerDisconnected, match="timed out"):
            client.noop()
        done.set()


def test_another_class_in_the_place_of_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PySocks does it (``socks.wrap_module(smtplib)``), also in mid-session: TLS works, deadlines hold."""

    class ProxiedSocket(socket.socket):
        """All that there is to be had by ``socket.socket()`` from now on; TLS sockets and older ones are none."""

    done = threading.Event()
    tls: list[Step] = [*turn(b"starttls", b"220 go"), StartTLS(server_context()), *hello(), *NOOP]
    with (
        ScriptedServer([*opening("STARTTLS"), *tls, Expect(b"noop"), WaitFor(done)], strict=False) as server,
        ScriptedServer([*opening(), *DELIVERY, *QUIT]) as another,
    ):
        early = connect(another)
        monkeypatch.setattr(socket, "socket", ProxiedSocket)
        client = connect(server, timeout={Stage.COMMAND: 0.2})
        assert type(client.sock) is ProxiedSocket
        client.starttls(context=client_context())
        client.ehlo()
        client.noop()
        with pytest.raises(smtp_blocking.SMTPServerDisconnected, match="timed out"):
            client.noop()
        done.set()
        with early:
            assert early.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


def test_passwords_over_a_socket_that_is_older_than_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands in the place of `socket.socket`, a connection to another host is recognised."""
    with ScriptedServer([*opening("AUTH PLAIN"), *QUIT]) as server, connect(server) as client:
        client.ehlo()
        monkeypatch.setattr(socket, "socket", type("Another", (), {}))
        monkeypatch.setattr(smtp_blocking, "may_be_overheard", lambda sock: True)
        with pytest.raises(smtp_blocking.SMTPNotSupportedError, match="in clear"):
            client.login("user", "password")
        monkeypatch.undo()
