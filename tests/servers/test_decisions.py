"""Servers: what they collect, what they ask their handlers, and what they offer."""

from __future__ import annotations

import smtplib
import socket
import ssl
from contextlib import suppress
from typing import Any

import pytest

from smtp_blocking import LMTP, SMTP, SMTP_SSL, Server
from smtp_proto.commands import Mail, Rcpt
from smtp_proto.handler import Decision, Decisions, Handler, ReceivedMessage
from smtp_proto.replies import Reply
from smtp_proto.sasl_exchange import Credentials
from smtp_proto.server_session import ServerSession, Settings
from smtp_surface.serving import Service
from tests.certificates import client_context, server_context
from tests.needs import needs_ipv6
from tests.scripts import MESSAGE, PATIENCE

from .conftest import Serve


def connect(server: Service, **options: Any) -> SMTP:
    return SMTP(server.host, server.port, "client.test", PATIENCE, **options)


def test_collects(serve: Serve) -> None:
    """Without a handler every message is taken and kept, with its envelope, in the order of arrival."""
    with serve() as server, connect(server) as client:
        for number in range(3):
            client.sendmail(f"a{number}@client.test", ["b@mx.test", "c@mx.test"], f"Subject: {number}\n\n.\n")
        client.sendmail("", "postmaster", b"bounce")
    assert [message.sender for message in server.messages] == ["a0@client.test", "a1@client.test", "a2@client.test", ""]
    assert server.messages[0].to == ("b@mx.test", "c@mx.test")
    assert server.messages[2].content == b"Subject: 2\r\n\r\n.\r\n"
    assert server.messages[3].to == ("postmaster",)
    assert server.errors == []


def test_messages_outlive_the_server(serve: Serve) -> None:
    """What was collected, and where it listened, can be read when it has stopped."""
    with serve() as server, connect(server) as client:
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)
    assert len(server.messages) == 1
    assert server.port


def test_the_blocking_server_can_be_started_again() -> None:
    """Stopping twice, or without having started, does nothing; started again, it serves on."""
    server = Server()
    server.stop()
    for number in range(1, 3):
        with server, connect(server) as client:
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert len(server.messages) == number
        server.stop()


def read_to_the_end(sock: socket.socket) -> None:
    with suppress(ConnectionResetError):  # of a side that closes with octets unread
        while sock.recv(1 << 20):
            pass


class Choosy(Handler):
    """Decides by the envelope, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.delivered: list[ReceivedMessage] = []
        self.failures: list[Exception] = []

    def connect(self, session: ServerSession) -> Decision:
        assert isinstance(session.peer, tuple)
        self.asked.append(f"connect {session.peer[0]}")
        return None

    def helo(self, session: ServerSession, command: Any) -> Decision:
        self.asked.append(f"helo {command.domain}")
        return None

    def mail(self, session: ServerSession, command: Mail) -> Decision:
        self.asked.append(f"mail {command.path}")
        return Reply(550, "5.7.1 Not you") if command.path.startswith("bad") else None

    def rcpt(self, session: ServerSession, command: Rcpt) -> Decision:
        self.asked.append(f"rcpt {command.path}")
        if command.path.startswith("broken"):
            raise ZeroDivisionError("in rcpt")
        return Reply(550, "5.1.1 Nobody") if command.path.startswith("nobody") else Reply(251, "2.1.5 Elsewhere")

    def body(self, session: ServerSession, message: ReceivedMessage) -> Decisions:
        self.asked.append(f"body {len(message.content)}")
        if b"spam" in message.content:
            return Reply(554, "5.7.1 Spam")
        if b"broken" in message.content:
            raise ZeroDivisionError("in body")
        self.delivered.append(message)
        return Reply(250, "2.0.0 Queued as 42")

    def failed(self, session: ServerSession, error: Exception) -> None:
        self.failures.append(error)


def test_handler_decides(serve: Serve) -> None:
    """A handler is asked for every decision, and its replies are given."""
    handler = Choosy()
    with serve(handler) as server, connect(server) as client:
        with pytest.raises(smtplib.SMTPSenderRefused, match="Not you"):
            client.sendmail("bad@client.test", "b@mx.test", MESSAGE)
        refused = client.sendmail("a@client.test", ["b@mx.test", "nobody@mx.test"], MESSAGE)
        assert refused == {"nobody@mx.test": (550, b"5.1.1 Nobody")}
        with pytest.raises(smtplib.SMTPDataError, match="Spam"):
            client.sendmail("a@client.test", "b@mx.test", b"spam")
    assert [message.to for message in handler.delivered] == [("b@mx.test",)]
    assert handler.asked[:3] == ["connect 127.0.0.1", "helo client.test", "mail bad@client.test"]


def test_handler_that_fails(serve: Serve) -> None:
    """What a handler raises is a 451 for the client and goes to the handler; the connection goes on."""
    handler = Choosy()
    with serve(handler) as server, connect(server) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.sendmail("a@client.test", "broken@mx.test", MESSAGE)
        assert refused.value.recipients["broken@mx.test"][0] == 451
        with pytest.raises(smtplib.SMTPDataError) as raised:
            client.sendmail("a@client.test", "b@mx.test", b"broken")
        assert raised.value.smtp_code == 451
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
    assert [str(failure) for failure in handler.failures] == ["in rcpt", "in body"]


def test_errors_are_recorded(serve: Serve) -> None:
    """A part of the server's own handler that fails is recorded in `errors`."""
    with serve() as server, connect(server) as client:
        server.messages = None  # type: ignore[assignment]  # so that keeping the message fails
        with pytest.raises(smtplib.SMTPDataError):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
    assert [type(error) for error in server.errors] == [AttributeError]


def test_settings(serve: Serve) -> None:
    """The bounds and the name of `settings`."""
    settings = Settings(hostname="mx.test", max_size=100, max_recipients=2)
    with serve(settings=settings) as server, connect(server) as client:
        assert client.ehlo()[1].startswith(b"mx.test\n")
        assert client.esmtp_features["size"] == "100"
        refused = client.sendmail("a@b.test", ["c@d.test", "e@f.test", "g@h.test"], b"small")
        assert refused["g@h.test"][0] == 452
        with pytest.raises(smtplib.SMTPSenderRefused, match="100"):
            client.sendmail("a@b.test", "c@d.test", b"x" * 200)
        client.mail("a@b.test")
        client.rcpt("c@d.test")
        assert client.data(b"x" * 200)[0] == 552


def test_starttls_and_auth(serve: Serve) -> None:
    """STARTTLS is offered with a context, log-ins only inside it; the names and passwords are those of `users`."""
    with serve(users={"user": "p\xe4ss"}, tls_context=server_context()) as server, connect(server) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.docmd("AUTH PLAIN", "AHVzZXIAcMOkc3M=")[0] == 538
        client.starttls(context=client_context())
        for user, password in (("user", "wrong"), ("nobody", "p\xe4ss")):
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login(user, password)
        assert client.login("user", "p\xe4ss")[0] == 235
        assert client.sendmail("a@b.test", "c@d.test", MESSAGE) == {}


def test_implicit_tls(serve: Serve) -> None:
    """With `implicit_tls` every connection is encrypted at once, and log-ins are offered at once too."""
    with (
        serve(users={"user": "pass"}, tls_context=server_context(), implicit_tls=True) as server,
        SMTP_SSL(server.host, server.port, timeout=PATIENCE, context=client_context()) as client,
    ):
        assert client.login("user", "pass")[0] == 235
        assert not client.has_extn("starttls")
    with pytest.raises(ValueError, match="tls_context"):
        serve(implicit_tls=True)


def test_failed_handshakes(serve: Serve) -> None:
    """Clients that do not trust it, or do not speak TLS at all, do no harm to others."""
    with serve(tls_context=server_context(), implicit_tls=True) as server:
        for _ in range(3):
            with pytest.raises(ssl.SSLCertVerificationError):
                SMTP_SSL(server.host, server.port, timeout=PATIENCE)
            with socket.create_connection((server.host, server.port), PATIENCE) as sock:
                sock.sendall(b"EHLO client.test\r\n")
                read_to_the_end(sock)
        with SMTP_SSL(server.host, server.port, timeout=PATIENCE, context=client_context()) as client:
            client.sendmail("a@b.test", "c@d.test", MESSAGE)
    assert len(server.messages) == 1


def test_handler_of_credentials(serve: Serve) -> None:
    """A handler of one's own checks log-ins itself, and sees who is logged in."""

    class Users(Handler):
        seen = ""

        def auth(self, session: ServerSession, credentials: Credentials) -> Decision:
            return None if credentials.password == "open sesame" else Reply(535, "5.7.8 No")

        def mail(self, session: ServerSession, command: Mail) -> Decision:
            assert session.credentials is not None
            self.seen = session.credentials.user
            return None

    handler = Users()
    settings = Settings(mechanisms=("LOGIN",), require_auth=True)
    with serve(handler, settings=settings, cleartext_auth=True) as server, connect(server) as client:
        client.login("ali baba", "open sesame")
        client.sendmail("a@b.test", "c@d.test", MESSAGE)
    assert handler.seen == "ali baba"


def test_lmtp(serve: Serve) -> None:
    """With `lmtp` it speaks LMTP: each recipient has its own answer."""
    with serve(lmtp=True) as server, LMTP(server.host, server.port, "client.test", timeout=PATIENCE) as client:
        assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE) == {}
        assert client.noop()[0] == 250
    assert server.messages[0].to == ("b@mx.test", "c@mx.test")


def test_ipv6(serve: Serve) -> None:
    """It listens on IPv6 where the host is such an address."""
    needs_ipv6()
    with serve(host="::1") as server, connect(server) as client:
        assert client.sendmail("a@b.test", "c@d.test", MESSAGE) == {}
