"""Writing by hand: `send`, `putcmd` with `getreply`, `docmd`, and a socket of one's own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import cast

import pytest

import smtp_blocking
from tests.certificates import client_context, server_context
from tests.scripted import Close, Expect, ExpectBody, ExpectEOF, ExpectLines, ScriptedServer, Send, StartTLS, Step
from tests.scripts import DATA, DELIVERY, GREETING, MAIL, MESSAGE, NOOP, PATIENCE, QUIT, RCPT, hello, opening, turn

from .backends import Backend, Client


def test_putcmd_and_getreply(backend: Backend) -> None:
    """`putcmd` sends a line, `getreply` reads its reply."""
    with (
        ScriptedServer([*opening(), *turn(b"xodd y\r\n", b"299-odd\r\n299 indeed"), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        client.putcmd("XODD", "y")
        assert client.getreply() == (299, b"odd\nindeed")


def test_several_putcmds(backend: Backend) -> None:
    """Commands written one after the other get their replies in order."""
    replies = Send(b"".join(b"250 %d\r\n" % number for number in range(3)))
    with ScriptedServer([*opening(), ExpectLines(3), replies, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        for number in range(3):
            client.putcmd("mail" if number == 0 else "rcpt", f"{'from' if number == 0 else 'to'}:<{number}@b.test>")
        for number in range(3):
            assert client.getreply() == (250, str(number).encode())


def test_send_and_getreply(backend: Backend) -> None:
    """`send` writes octets or text as they are; one reply is read for each `getreply`."""
    with (
        ScriptedServer([*opening(), *turn(b"noop", b"250 a"), *turn(b"noop", b"250 b"), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        client.send(b"NO")
        client.send("OP\r\n")
        assert client.getreply() == (250, b"a")
        client.send(b"NOOP\r\n")
        assert client.getreply() == (250, b"b")


def test_send_several_commands_at_once(backend: Backend) -> None:
    """What is written in one piece is answered one by one."""
    script = [*opening(), ExpectLines(2), Send(b"250 a\r\n250 b\r\n"), *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        client.send(b"NOOP a\r\nNOOP b\r\n")
        assert client.getreply() == (250, b"a")
        assert client.getreply() == (250, b"b")
        assert client.noop()[0] == 250


@pytest.mark.parametrize(
    "parts",
    [
        [b"Subject: x\r\n", b"\r\nhello\r\n", b".\r\n"],
        [b"Subject: x\r\n\r\nhello\r\n.\r\n"],
        [b"Subject: x\r", b"\n\r\nhel", b"lo\r\n.", b"\r\n"],
        ["Subject: x\r\n\r\n", "hello\r\n", ".\r\n"],
    ],
)
def test_message_by_hand(backend: Backend, parts: list[bytes | str]) -> None:
    """After ``docmd("DATA")`` the parts of a message are sent as they are; `getreply` has the answer to its end."""
    script = [*opening(), *MAIL, *RCPT, *DATA, ExpectBody(), Send(b"250 2.0.0 queued\r\n"), *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        client.mail("a@client.test")
        client.rcpt("b@mx.test")
        assert client.docmd("DATA") == (354, b"go ahead")
        for part in parts:
            client.send(part)
        assert client.getreply() == (250, b"2.0.0 queued")
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
    assert server.received[4] == MESSAGE + b".\r\n"


def test_message_by_lines(backend: Backend) -> None:
    """`putcmd` in a message writes one of its lines; the line "." is its end."""
    script = [*opening(), *MAIL, *RCPT, *DATA, ExpectBody(), Send(b"250 queued\r\n"), *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        client.mail("a@client.test")
        client.rcpt("b@mx.test")
        client.docmd("DATA")
        client.putcmd("QUIT")
        client.putcmd(".")
        assert client.getreply() == (250, b"queued")
        assert client.noop()[0] == 250
    assert b"QUIT\r\n.\r\n" in server.received


def test_a_reply_that_is_due_must_be_read(backend: Backend) -> None:
    """With a reply due the next command is refused, for it would get the wrong one; after `getreply` all is well."""
    with (
        ScriptedServer([*opening(), *turn(b"xfirst", b"250 first"), *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        client.putcmd("XFIRST")
        with pytest.raises(backend.module.SMTPException, match=r"XFIRST.*getreply"):
            client.noop()
        assert client.getreply() == (250, b"first")
        assert client.noop() == (250, b"2.0.0 ok")


def test_auth_by_hand(backend: Backend) -> None:
    """After a 334 whatever is written is an AUTH response, even if it reads like a command."""
    script = [*turn(b"auth login", b"334 VXNlcm5hbWU6"), *turn(b"quit\r\n", b"334 x"), *turn(b"", b"235 welcome")]
    with (
        ScriptedServer([*opening("AUTH LOGIN"), *script, *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        assert client.docmd("AUTH", "LOGIN") == (334, b"VXNlcm5hbWU6")
        assert client.docmd("QUIT") == (334, b"x")
        assert client.docmd("") == (235, b"welcome")
        assert client.noop()[0] == 250
    assert server.received[3] == b"\r\n"


def test_starttls_by_hand(backend: Backend) -> None:
    """As people did it before `starttls`: the command by hand, then the socket is wrapped and put back."""
    tls: list[Step] = [*turn(b"starttls", b"220 go"), StartTLS(server_context())]
    script = [*opening("STARTTLS"), *tls, *hello("SIZE"), *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.docmd("STARTTLS")[0] == 220
        client.sock = client_context().wrap_socket(client.sock, server_hostname=server.host)
        client.ehlo()
        assert client.has_extn("size")
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


@pytest.mark.parametrize("use", [Client.noop, Client.quit, lambda client: client.docmd("XODD")])
def test_starttls_by_hand_without_a_handshake(backend: Backend, use: Callable[[Client], object]) -> None:
    """Behind STARTTLS's 220 a command in the clear is a lost connection, and is not sent."""
    script: list[Step] = [*opening("STARTTLS"), *turn(b"starttls", b"220 go"), ExpectEOF()]
    with ScriptedServer(script) as server:
        client = backend.connect(server)
        client.ehlo()
        assert client.docmd("STARTTLS")[0] == 220
        with pytest.raises(backend.module.SMTPServerDisconnected):
            use(client)
        assert client.sock is None


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


def test_socket_of_ones_own(
    backend: Backend, server: smtp_blocking.Server, made: Callable[[socket.socket], object]
) -> None:
    """A socket that is put into `sock` of an unconnected client is used as it is, its greeting having been read."""
    client = backend.open("SMTP", local_hostname="client.test")
    client.sock = made(connected(server))
    assert client.ehlo()[0] == 250
    assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], b"x" * 300_000) == {}
    assert client.docmd("rset")[0] == 250
    assert client.quit()[0] == 221
    assert client.sock is None
    assert server.messages[0].content == b"x" * 300_000 + b"\r\n"


def test_socket_in_the_place_of_another(backend: Backend) -> None:
    """A socket put in the place of the client's own begins a new session: nothing is due on it."""
    with ScriptedServer([*GREETING, Expect(b"noop"), ExpectEOF()], [*GREETING, *NOOP, *QUIT]) as server:
        client = backend.connect(server)
        client.putcmd("noop")
        client.sock.close()
        client.sock = connected(server)
        with client:
            assert client.noop() == (250, b"2.0.0 ok")


@pytest.mark.parametrize("use", [Client.noop, lambda client: client.sendmail("a@b.test", "c@d.test", b"x")])
def test_socket_that_was_closed(backend: Backend, use: Callable[[Client], object]) -> None:
    """A socket closed behind the client's back is a lost connection."""
    with ScriptedServer([*opening(), ExpectEOF()]) as server:
        client = backend.connect(server)
        client.ehlo()
        client.sock.close()
        with pytest.raises(backend.module.SMTPServerDisconnected):
            use(client)
        assert client.sock is None


def test_send_when_the_server_has_gone(backend: Backend) -> None:
    """`send` on a lost connection is SMTPServerDisconnected, at the latest with its reply."""
    with ScriptedServer([*opening(), Close()]) as server:
        client = backend.connect(server)
        client.ehlo()
    with pytest.raises(backend.module.SMTPServerDisconnected):
        write_and_read(client)
    assert client.sock is None


def write_and_read(client: Client) -> None:
    client.send(b"noop\r\n")
    client.getreply()


def test_getreply_has_what_the_server_said_last(backend: Backend) -> None:
    """A 421 that was not asked for is read by `getreply`, where one is written for it, and closes."""
    with ScriptedServer([*opening(), Expect(b"noop"), Send(b"421 4.3.2 bye\r\n"), ExpectEOF()]) as server:
        client = backend.connect(server)
        client.ehlo()
        client.send(b"NOOP\r\n")
        assert client.getreply() == (421, b"4.3.2 bye")
        assert client.sock is None


def test_bdat_by_hand(backend: Backend, server: smtp_blocking.Server) -> None:
    """BDAT is understood where it is written by hand: its octets follow, then its reply."""
    with backend.connect(server) as client:
        client.ehlo()
        client.mail("a@client.test")
        client.rcpt("b@mx.test")
        client.putcmd("BDAT 6")
        client.send(b"hello\n")
        assert client.getreply()[0] == 250
        client.putcmd("BDAT 0 LAST")
        assert client.getreply()[0] == 250
        assert client.noop()[0] == 250
    assert server.messages[0].content == b"hello\r\n"


def test_our_own_server_by_hand(backend: Backend, server: smtp_blocking.Server) -> None:
    """A whole session written by hand, against our own server."""
    with backend.connect(server) as client:
        for line in ("EHLO client.test", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA"):
            client.send(f"{line}\r\n")
            assert client.getreply()[0] in (250, 354)
        client.send(b"Subject: x\r\n\r\n..\r\n.\r\n")
        assert client.getreply()[0] == 250
    assert server.messages[0].content == b"Subject: x\r\n\r\n.\r\n"
