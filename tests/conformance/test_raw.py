"""Writing by hand: `send`, `putcmd` with `getreply`, `docmd`, and a socket of one's own."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller

import pytest

import smtp_blocking
from tests.scripted import Close, Expect, ExpectBody, ExpectEOF, ExpectLines, ScriptedServer, Send, Step
from tests.scripts import DATA, DELIVERY, MAIL, MESSAGE, NOOP, QUIT, RCPT, opening, turn

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


@pytest.mark.parametrize("use", [methodcaller("noop"), methodcaller("quit"), lambda client: client.docmd("XODD")])
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
