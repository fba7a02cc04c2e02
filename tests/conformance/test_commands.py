"""One command each: what is on the wire, and what comes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import smtp_blocking
from tests.scripted import ExpectBody, ExpectEOF, ExpectExactly, ScriptedServer, Send
from tests.scripts import BODY, DATA, GREETING, MAIL, NOOP, QUIT, RCPT, opening, turn

from .backends import Backend, Client

LINES: list[tuple[Callable[[Client], object], bytes]] = [
    (lambda client: client.noop(), b"noop\r\n"),
    (lambda client: client.rset(), b"rset\r\n"),
    (lambda client: client.help(), b"help\r\n"),
    (lambda client: client.help("mail"), b"help mail\r\n"),
    (lambda client: client.verify("Postmaster"), b"vrfy Postmaster\r\n"),
    (lambda client: client.vrfy("A B <a@b.test>"), b"vrfy a@b.test\r\n"),
    (lambda client: client.expn("staff"), b"expn staff\r\n"),
    (lambda client: client.mail("a@b.test"), b"mail from:<a@b.test>\r\n"),
    (lambda client: client.mail("A B <a@b.test>"), b"mail from:<a@b.test>\r\n"),
    (lambda client: client.mail(""), b"mail from:<>\r\n"),
    (lambda client: client.mail("<>"), b"mail from:<>\r\n"),
    (lambda client: client.mail("a@b.test", ["size=5", "BODY=8BITMIME"]), b"mail from:<a@b.test> size=5 BODY=8BITMIME"),
    (lambda client: client.mail('"a b"@c.test'), b'mail from:<"a b"@c.test>\r\n'),
    (lambda client: client.rcpt("a@b.test"), b"rcpt to:<a@b.test>\r\n"),
    (lambda client: client.rcpt("<a@b.test>"), b"rcpt to:<a@b.test>\r\n"),
    (lambda client: client.rcpt("postmaster"), b"rcpt to:<postmaster>\r\n"),
    (lambda client: client.rcpt("a@b.test", ["NOTIFY=NEVER"]), b"rcpt to:<a@b.test> NOTIFY=NEVER\r\n"),
    (lambda client: client.docmd("ETRN", "mx.test"), b"ETRN mx.test\r\n"),
    (lambda client: client.docmd("XODD"), b"XODD\r\n"),
    (lambda client: client.docmd("xodd  with spaces "), b"xodd  with spaces \r\n"),
    (lambda client: client.helo("me"), b"helo me\r\n"),
]


@pytest.mark.parametrize(("command", "line"), LINES, ids=[line.decode() for _, line in LINES])
@pytest.mark.parametrize("reply", ["250 2.0.0 fine", "451 4.0.0 not now", "550 5.0.0 never", "252 maybe"])
def test_line_and_reply(backend: Backend, command: Callable[[Client], object], line: bytes, reply: str) -> None:
    """A command is one line, and its reply, refusal or not, is returned."""
    line = line.removesuffix(b"\r\n") + b"\r\n"
    script = [*opening("SIZE"), ExpectExactly(line), Send(reply.encode() + b"\r\n"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        answer = command(client)
        code, text = int(reply[:3]), reply[4:].encode()
        assert answer == (text if line.startswith(b"help") else (code, text))


def test_options_are_for_esmtp(backend: Backend) -> None:
    """Without EHLO the options of MAIL and RCPT are left out, as in `smtplib`."""
    script = [*GREETING, *turn(b"helo ", b"250 mx.test"), *MAIL, *RCPT, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.helo()
        client.mail("a@b.test", ["size=5"])
        client.rcpt("c@d.test", ["NOTIFY=NEVER"])
    assert server.received[1:3] == [b"mail from:<a@b.test>\r\n", b"rcpt to:<c@d.test>\r\n"]


def test_order_is_the_servers_to_judge(backend: Backend, server: smtp_blocking.Server) -> None:
    """A command out of order goes out, and the server's 503 comes back; the session goes on."""
    with backend.connect(server) as client:
        client.ehlo()
        assert client.rcpt("a@b.test")[0] == 503
        assert client.docmd("data")[0] == 503
        assert client.mail("a@b.test")[0] == 250
        assert client.mail("a@b.test")[0] == 503
        assert client.rset()[0] == 250
        assert client.mail("a@b.test")[0] == 250
        assert client.docmd("XODD")[0] == 500


BODIES = [
    (b"one line", b"one line\r\n.\r\n"),
    (b"ends\r\n", b"ends\r\n.\r\n"),
    (b"bare\nLF\nends\n", b"bare\r\nLF\r\nends\r\n.\r\n"),
    (b"bare\rCR\r", b"bare\r\nCR\r\n.\r\n"),
    (b"\n\r\n\r", b"\r\n\r\n\r\n.\r\n"),
    (b".", b"..\r\n.\r\n"),
    (b".\r\n.\r\n", b"..\r\n..\r\n.\r\n"),
    (b"a\n.\nmail from:<x@y.test>\n", b"a\r\n..\r\nmail from:<x@y.test>\r\n.\r\n"),
    (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"\xe4\xf6\xfc\xff", b"\xe4\xf6\xfc\xff\r\n.\r\n"),
    (b"", b"\r\n.\r\n"),
]


@pytest.mark.parametrize(("body", "sent"), BODIES)
def test_data(backend: Backend, body: bytes, sent: bytes) -> None:
    """`data` sends lines with CRLF ends, dots stuffed, the end of the data, and returns the answer to the message."""
    script = [*opening(), *MAIL, *RCPT, *DATA, *BODY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        client.mail("a@b.test")
        client.rcpt("c@d.test")
        assert client.data(body) == (250, b"2.0.0 queued")
    assert server.received[-2] == sent


def test_data_as_text(backend: Backend) -> None:
    """Text is ASCII, with any line ends; anything else is refused before DATA."""
    script = [*opening(), *DATA, *BODY, *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.data("a\n.b\r\nc")[0] == 250
        with pytest.raises(UnicodeEncodeError):
            client.data("\xe4")
        assert client.noop()[0] == 250
    assert b"a\r\n..b\r\nc\r\n.\r\n" in server.received


@pytest.mark.parametrize("code", [451, 550, 250])
def test_data_refused(backend: Backend, code: int) -> None:
    """SMTPDataError for anything but a 354 to DATA itself; none of the message is sent."""
    # After a 250 to DATA nobody can tell what the server takes the next line for, so the connection ends.
    rest = [ExpectEOF()] if code == 250 else QUIT
    with (
        ScriptedServer([*opening(), *turn(b"data", b"%d 5.0.0 no" % code), *rest]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        with pytest.raises(backend.module.SMTPDataError) as raised:
            client.data(b"x")
        assert (raised.value.smtp_code, raised.value.smtp_error) == (code, b"5.0.0 no")
        assert raised.value.reply.code == code


@pytest.mark.parametrize("reply", [b"552 5.3.4 too big", b"451 4.3.0 later"])
def test_message_refused(backend: Backend, reply: bytes) -> None:
    """`data` returns the refusal of the message itself; the session goes on."""
    script = [*opening(), *DATA, ExpectBody(), Send(reply + b"\r\n"), *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.data(b"x") == (int(reply[:3]), reply[4:])
        assert client.noop()[0] == 250


@pytest.mark.parametrize("code", [221, 250, 500, 421])
def test_quit(backend: Backend, code: int) -> None:
    """`quit` returns the answer, and the connection is closed whatever it is."""
    with ScriptedServer([*opening(), *turn(b"quit\r\n", b"%d bye" % code), ExpectEOF()]) as server:
        client = backend.connect(server)
        client.ehlo()
        assert client.quit() == (code, b"bye")
        assert client.sock is None
        assert client.ehlo_resp is None
        assert client.esmtp_features == {}
        assert not client.does_esmtp
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize("verb", ["noop", "mail from:<a@b.test>", "XODD"])
def test_421_to_a_command(backend: Backend, verb: str) -> None:
    """A 421 is returned by the method that it answers, and the connection is closed (RFC 5321 3.8)."""
    with ScriptedServer([*opening(), *turn(verb.encode(), b"421 4.3.2 shutting down"), ExpectEOF()]) as server:
        client = backend.connect(server)
        client.ehlo()
        assert client.docmd(verb) == (421, b"4.3.2 shutting down")
        assert client.sock is None


def test_our_own_server(backend: Backend, server: smtp_blocking.Server) -> None:
    """Between our own two ends every command gets its answer."""
    with backend.connect(server) as client:
        client.ehlo()
        assert client.noop()[0] == 250
        assert b"RFC 5321" in client.help()
        assert client.verify("a@b.test")[0] == 252
        assert client.expn("list")[0] == 252
        assert client.mail("a@client.test", ["SIZE=10"])[0] == 250
        assert client.rcpt("b@mx.test")[0] == 250
        assert client.rcpt("c@mx.test")[0] == 250
        assert client.data(b"Subject: x\n\n.\n")[0] == 250
        assert client.rset()[0] == 250
    (message,) = server.messages
    assert (message.sender, message.to) == ("a@client.test", ("b@mx.test", "c@mx.test"))
    assert message.content == b"Subject: x\r\n\r\n.\r\n"


def test_verify_and_vrfy_are_one(backend: Backend) -> None:
    """`vrfy` is another name of `verify`, as in `smtplib`."""
    assert backend.module.SMTP.vrfy is backend.module.SMTP.verify
