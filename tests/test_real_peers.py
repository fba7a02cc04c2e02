"""Peers of another make: the client against aiosmtpd's server, the server against `smtplib` and Debian's swaks."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

import smtp_blocking
from smtp_proto.server_session import Settings
from tests.certificates import authority, client_context, server_context
from tests.conformance.backends import Backend
from tests.in_turn import LOOPS, in_turn
from tests.needs import needs_program
from tests.scripts import MESSAGE, PATIENCE

pytestmark = pytest.mark.usefixtures("_nothing_left_behind")


# --- Our client, aiosmtpd's server --------------------------------------------------------------------------------


class Mailbox:
    """A handler of aiosmtpd that keeps what comes, and refuses some recipients."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 Nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 2.0.0 Queued"


class FreePort(Controller):
    """aiosmtpd on a port that is free, which it does not expect: its own check connects to the port asked for, 0."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        socket.create_connection((self.hostname, self.port), PATIENCE).close()


@contextmanager
def aiosmtpd(data_size_limit: int = 0, **options: Any) -> Iterator[tuple[Mailbox, str, int]]:
    """aiosmtpd, running; the host and the port are where."""
    mailbox = Mailbox()
    options["data_size_limit"] = data_size_limit
    controller = FreePort(mailbox, hostname="127.0.0.1", port=0, ready_timeout=PATIENCE, **options)
    controller.start()
    try:
        yield mailbox, controller.hostname, controller.port
    finally:
        controller.stop()


def connect(host: str, port: int, **options: Any) -> smtp_blocking.SMTP:
    return smtp_blocking.SMTP(host, port, "client.test", PATIENCE, **options)


MESSAGES = {
    "plain": MESSAGE,
    "dots": b"Subject: x\r\n\r\n.\r\n..\r\n...three\r\n.\r\n",
    "8-bit": "Subject: x\r\n\r\n\xe4\xf6\xfc \u20ac\r\n".encode(),
    "not UTF-8": bytes(range(14, 256)) + b"\r\n",
    "empty lines": b"\r\n" * 100,
    "long lines": b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 20,
    "five megabytes": b"Subject: x\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 155_000,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_arrive_as_they_are(name: str) -> None:
    """What is sent arrives octet for octet."""
    with aiosmtpd() as (mailbox, host, port), connect(host, port) as client:
        for _ in range(2):
            assert client.sendmail("a@client.test", "b@mx.test", MESSAGES[name], ["BODY=8BITMIME"]) == {}
    assert [envelope.original_content for envelope in mailbox.envelopes] == [MESSAGES[name]] * 2
    assert mailbox.envelopes[0].mail_from == "a@client.test"


def test_line_ends_are_normalised() -> None:
    """Line ends of any kind arrive as CRLF."""
    with aiosmtpd() as (mailbox, host, port), connect(host, port) as client:
        client.sendmail("a@client.test", "b@mx.test", b"one\ntwo\rthree\r\n.\nfour")
    assert mailbox.envelopes[0].original_content == b"one\r\ntwo\r\nthree\r\n.\r\nfour\r\n"


@pytest.mark.parametrize("before", [b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n"])
def test_nothing_is_smuggled(before: bytes) -> None:
    """Of every body known from the papers one message arrives, and it is the one that was given."""
    with aiosmtpd() as (mailbox, host, port), connect(host, port) as client:
        for behind in (b"\r\n", b"\n", b"\r", b"\r\r\n"):
            smuggled = b"mail from:<x@y.test>\r\nrcpt to:<z@y.test>\r\ndata\r\nevil" + before + b"." + behind
            message = b"text" + before + b"." + behind + smuggled
            assert client.sendmail("a@client.test", "b@mx.test", message) == {}
            arrived = mailbox.envelopes[-1].original_content
            assert arrived == b"\r\n".join(message.splitlines()) + b"\r\n"
        assert client.noop()[0] == 250
    assert [envelope.mail_from for envelope in mailbox.envelopes] == ["a@client.test"] * 4


def test_line_beyond_its_limit() -> None:
    """A line that is longer than the server takes is its refusal, and the session goes on."""
    with aiosmtpd() as (mailbox, host, port), connect(host, port) as client:
        with pytest.raises(smtplib.SMTPDataError) as raised:
            client.sendmail("a@client.test", "b@mx.test", b"x" * 5000)
        assert raised.value.smtp_code == 500
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
    assert len(mailbox.envelopes) == 1


def test_many_recipients_some_refused() -> None:
    """Fifty recipients, every fifth refused: each answer is with its own."""
    recipients = [f"{'nobody' if number % 5 == 0 else 'b'}{number}@mx.test" for number in range(50)]
    with aiosmtpd() as (mailbox, host, port), connect(host, port) as client:
        refused = client.sendmail("a@client.test", recipients, MESSAGE)
    nobodies = [recipient for recipient in recipients if recipient.startswith("nobody")]
    assert refused == dict.fromkeys(nobodies, (550, b"5.1.1 Nobody of this name"))
    assert mailbox.envelopes[0].rcpt_tos == [recipient for recipient in recipients if recipient not in nobodies]


def test_smtputf8() -> None:
    """Addresses and headers in UTF-8."""
    message = "From: \xe4@client.test\r\nSubject: \u20ac\r\n\r\n\xfc\r\n".encode()
    with aiosmtpd(enable_SMTPUTF8=True) as (mailbox, host, port), connect(host, port) as client:
        client.sendmail("\xe4@client.test", "\xf6@mx.test", message, ["SMTPUTF8", "BODY=8BITMIME"])
    (envelope,) = mailbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("\xe4@client.test", ["\xf6@mx.test"])
    assert envelope.original_content == message
    assert envelope.smtp_utf8


def test_size_is_told_in_time() -> None:
    """A message that is too large is refused by its SIZE, before it is sent."""
    with aiosmtpd(1000) as (mailbox, host, port), connect(host, port) as client:
        with pytest.raises(smtplib.SMTPSenderRefused) as raised:
            client.sendmail("a@client.test", "b@mx.test", b"x\r\n" * 1000)
        assert raised.value.smtp_code == 552
    assert mailbox.envelopes == []


def check_password(server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and data == LoginPassword(b"user", "p\xe4ss".encode())
    return AuthResult(success=right, handled=False)


@pytest.mark.parametrize("excluded", ["LOGIN", "PLAIN"])
@pytest.mark.parametrize("early", [True, False])
def test_starttls_and_auth(excluded: str, early: bool) -> None:
    """STARTTLS, then each mechanism, with and without an initial response."""
    options: dict[str, Any] = {
        "tls_context": server_context(),
        "require_starttls": True,
        "authenticator": check_password,
        "auth_required": True,
        "auth_exclude_mechanism": [excluded],
    }
    with aiosmtpd(**options) as (mailbox, host, port), connect(host, port) as client:
        client.starttls(context=client_context())
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("user", "wrong", initial_response_ok=early)
        assert client.login("user", "p\xe4ss", initial_response_ok=early)[0] == 235
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
    assert mailbox.envelopes[0].original_content == MESSAGE


def test_implicit_tls() -> None:
    """TLS from the first octet."""
    with (
        aiosmtpd(ssl_context=server_context()) as (mailbox, host, port),
        smtp_blocking.SMTP_SSL(host, port, timeout=PATIENCE, context=client_context()) as client,
    ):
        client.sendmail("a@client.test", "b@mx.test", MESSAGES["five megabytes"])
    assert mailbox.envelopes[0].original_content == MESSAGES["five megabytes"]


# --- Our asynchronous clients, aiosmtpd's server ------------------------------------------------------------------

backend = in_turn(LOOPS)


def test_every_backend_delivers(backend: Backend) -> None:
    """One case of each kind: dots in front, octets that are no UTF-8, SMTPUTF8, fifty recipients with some refused."""
    recipients = [f"{'nobody' if number % 5 == 0 else 'b'}{number}@mx.test" for number in range(50)]
    utf8 = "From: \xe4@client.test\r\nSubject: \u20ac\r\n\r\n\xfc\r\n".encode()
    with aiosmtpd(enable_SMTPUTF8=True) as (mailbox, host, port):
        with backend.open("SMTP", host, port, timeout=PATIENCE) as client:
            for name in ("plain", "dots", "not UTF-8"):
                assert client.sendmail("a@client.test", "b@mx.test", MESSAGES[name], ["BODY=8BITMIME"]) == {}
            assert client.sendmail("\xe4@client.test", "\xf6@mx.test", utf8, ["SMTPUTF8", "BODY=8BITMIME"]) == {}
            refused = client.sendmail("a@client.test", recipients, MESSAGE)
            assert client.noop()[0] == 250
        backend.settle()
    assert set(refused) == {recipient for recipient in recipients if recipient.startswith("nobody")}
    sent = [MESSAGES["plain"], MESSAGES["dots"], MESSAGES["not UTF-8"], utf8, MESSAGE]
    assert [envelope.original_content for envelope in mailbox.envelopes] == sent
    assert mailbox.envelopes[3].rcpt_tos == ["\xf6@mx.test"]
    assert mailbox.envelopes[4].rcpt_tos == [recipient for recipient in recipients if recipient.startswith("b")]


def test_every_backend_logs_in_over_tls(backend: Backend) -> None:
    """STARTTLS, a password that is wrong and one that is right, and a message."""
    options: dict[str, Any] = {"tls_context": server_context(), "authenticator": check_password, "auth_required": True}
    with aiosmtpd(require_starttls=True, **options) as (mailbox, host, port):
        with backend.open("SMTP", host, port, timeout=PATIENCE) as client:
            client.starttls(context=client_context())
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("user", "wrong")
            assert client.login("user", "p\xe4ss")[0] == 235
            assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
        backend.settle()
    assert mailbox.envelopes[0].original_content == MESSAGE


# --- The standard library's client, our server --------------------------------------------------------------------


def smtplib_client(server: smtp_blocking.Server) -> smtplib.SMTP:
    return smtplib.SMTP(server.host, server.port, "client.test", PATIENCE)


@pytest.mark.parametrize("name", MESSAGES)
def test_smtplib_delivers(name: str) -> None:
    """`smtplib`'s messages arrive octet for octet."""
    with smtp_blocking.Server() as server, smtplib_client(server) as client:
        refused = client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGES[name], ["BODY=8BITMIME"])
    assert refused == {}
    assert server.messages[0].content == MESSAGES[name]
    assert server.messages[0].to == ("b@mx.test", "c@mx.test")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("early", [True, False])
def test_smtplib_with_starttls_and_auth(mechanism: str, early: bool) -> None:
    """`smtplib` with STARTTLS and a log-in."""
    settings = Settings(mechanisms=(mechanism,), require_auth=True)
    with (
        smtp_blocking.Server(users={"user": "pass"}, tls_context=server_context(), settings=settings) as server,
        smtplib_client(server) as client,
    ):
        client.starttls(context=client_context())
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("user", "wrong", initial_response_ok=early)
        client.login("user", "pass", initial_response_ok=early)
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)
    assert server.messages[0].content == MESSAGE


def test_smtplib_in_tls() -> None:
    """`smtplib` with implicit TLS."""
    with (
        smtp_blocking.Server(tls_context=server_context(), implicit_tls=True) as server,
        smtplib.SMTP_SSL(server.host, server.port, timeout=PATIENCE, context=client_context()) as client,
    ):
        client.sendmail("a@client.test", "b@mx.test", MESSAGES["five megabytes"])
    assert server.messages[0].content == MESSAGES["five megabytes"]


def test_smtplib_in_lmtp() -> None:
    """`smtplib`'s LMTP, which can do one recipient at a time."""
    with (
        smtp_blocking.Server(lmtp=True) as server,
        smtplib.LMTP(server.host, server.port, "client.test", timeout=PATIENCE) as client,
    ):
        for _ in range(2):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
    assert len(server.messages) == 2


# --- swaks, our server --------------------------------------------------------------------------------------------


def swaks(server: smtp_blocking.Server, *options: str) -> str:
    """Run swaks; its output, which is the conversation.  It must succeed."""
    needs_program("swaks", "swaks libnet-ssleay-perl libauthen-sasl-perl")
    where = ["--server", server.host, "--port", str(server.port), "--ehlo", "client.test", "--timeout", "10"]
    envelope = ["--from", "a@client.test", "--to", "b@mx.test"]
    done = subprocess.run(
        ["swaks", *where, *envelope, *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [[], ["--pipeline"], ["--protocol", "SMTP"]], ids=["plain", "pipelined", "HELO"])
def test_swaks_delivers(options: list[str]) -> None:
    """swaks' message arrives as it was given to it."""
    with smtp_blocking.Server() as server:
        output = swaks(server, "--data", "Subject: x\\n\\nhello\\n.\\nend", *options)
    (message,) = server.messages
    assert (message.sender, message.to) == ("a@client.test", ("b@mx.test",))
    assert message.content == b"Subject: x\r\n\r\nhello\r\n.\r\nend\r\n"
    assert ("EHLO client.test" in output) is (options != ["--protocol", "SMTP"])


def test_swaks_with_several_recipients() -> None:
    """Several recipients in one pipelined group."""
    with smtp_blocking.Server() as server:
        swaks(server, "--pipeline", "--to", "b@mx.test,c@mx.test,d@mx.test")
    assert server.messages[0].to == ("b@mx.test", "c@mx.test", "d@mx.test")


@pytest.mark.parametrize("options", [["--tls"], ["--tls-on-connect"], ["--tls", "--pipeline"]])
def test_swaks_in_tls(options: list[str], tmp_path: Any) -> None:
    """STARTTLS and implicit TLS with OpenSSL's own client code, which verifies our certificate."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority().cert_pem.bytes())
    implicit = "--tls-on-connect" in options
    with smtp_blocking.Server(tls_context=server_context(), implicit_tls=implicit) as server:
        output = swaks(server, *options, "--tls-verify", "--tls-ca-path", str(ca))
    assert "TLS started" in output
    assert len(server.messages) == 1


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
def test_swaks_logs_in(mechanism: str, tls: bool) -> None:
    """Log-ins of each mechanism."""
    context: ssl.SSLContext | None = server_context() if tls else None
    settings = Settings(mechanisms=(mechanism,), require_auth=True)
    with smtp_blocking.Server(
        users={"user": "pass word"}, tls_context=context, cleartext_auth=not tls, settings=settings
    ) as server:
        login = ["--auth", mechanism, "--auth-user", "user", "--auth-password", "pass word"]
        output = swaks(server, *login, *(["--tls"] if tls else []))
    assert "235 2.7.0" in output
    assert len(server.messages) == 1


def test_swaks_in_lmtp() -> None:
    """LMTP with several recipients, each with its own answer."""
    with smtp_blocking.Server(lmtp=True) as server:
        output = swaks(server, "--protocol", "LMTP", "--to", "b@mx.test,c@mx.test")
    assert output.count("250 2.0.0 Message accepted") == 2
    assert server.messages[0].to == ("b@mx.test", "c@mx.test")
