"""LMTP: LHLO, one answer for each recipient at the end, over TCP and over a Unix socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.handler import Decisions, Handler, ReceivedMessage
from smtp_proto.replies import Reply
from smtp_proto.server_session import ServerSession
from tests.needs import needs_unix_sockets
from tests.scripted import Close, Expect, ExpectBody, ExpectEOF, ScriptedServer, Send, Step
from tests.scripts import DATA, GREETING, MAIL, MESSAGE, NOOP, PATIENCE, QUIT, RCPT, RSET, hello, turn

from .backends import Backend, Client

LHLO = [*GREETING, *hello("PIPELINING", verb=b"lhlo client.test\r\n")]
PLAIN_LHLO = [*GREETING, *hello(verb=b"lhlo client.test\r\n")]
RECIPIENTS = ["b@mx.test", "c@mx.test", "d@mx.test"]
REFUSED = turn(b"rcpt", b"550 5.1.1 nobody")


def finals(*answers: bytes) -> list[Step]:
    """The message, and one answer after the other."""
    return [ExpectBody(), Send(b"".join(answer + b"\r\n" for answer in answers))]


@pytest.fixture(params=[False, True], ids=["TCP", "Unix socket"])
def lmtp(request: pytest.FixtureRequest) -> Callable[..., ScriptedServer]:
    """A scripted server over TCP, and over a Unix socket."""
    unix: bool = request.param
    if unix:
        needs_unix_sockets()
    return lambda *scripts: ScriptedServer(*scripts, unix=unix)


@pytest.mark.parametrize("start", [LHLO, PLAIN_LHLO], ids=["pipelined", "step by step"])
def test_delivery(backend: Backend, lmtp: Callable[..., ScriptedServer], start: list[Step]) -> None:
    """LHLO instead of EHLO; as many answers to the message are read as there are recipients that were accepted."""
    message = finals(b"250 2.0.0 b", b"250 2.0.0 c", b"250 2.0.0 d")
    with (
        lmtp([*start, *MAIL, *RCPT * 3, *DATA, *message, *NOOP, *QUIT]) as server,
        backend.connect(server, "LMTP") as client,
    ):
        assert client.sendmail("a@client.test", RECIPIENTS, MESSAGE) == {}
        assert client.noop() == (250, b"2.0.0 ok")


@pytest.mark.parametrize("start", [LHLO, PLAIN_LHLO], ids=["pipelined", "step by step"])
@pytest.mark.parametrize("method", [None, "rcpt", "data", "getreply"])
def test_some_refused_at_the_end(backend: Backend, start: list[Step], method: str | None) -> None:
    """Refusals at RCPT and at the end both are in the result, each with its recipient, on the long way too."""
    message = finals(b"250 2.0.0 b", b"452 4.2.2 full")
    script = [*start, *MAIL, *RCPT, *REFUSED, *RCPT, *DATA, *message, *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, "LMTP") as client:
        if method is not None:
            backend.watch(client, method)
        assert client.sendmail("a@client.test", RECIPIENTS, MESSAGE) == {
            "c@mx.test": (550, b"5.1.1 nobody"),
            "d@mx.test": (452, b"4.2.2 full"),
        }
        assert client.noop() == (250, b"2.0.0 ok")


@pytest.mark.parametrize("method", [None, "rcpt"])
def test_all_refused_at_the_end(backend: Backend, method: str | None) -> None:
    """Refused for every recipient: SMTPRecipientsRefused has the reply for each; the session goes on."""
    message = finals(b"550 5.2.1 disabled", b"452 4.2.2 full")
    with (
        ScriptedServer([*LHLO, *MAIL, *RCPT, *REFUSED, *RCPT, *DATA, *message, *RSET, *NOOP, *QUIT]) as server,
        backend.connect(server, "LMTP") as client,
    ):
        if method is not None:
            backend.watch(client, method)
        with pytest.raises(backend.module.SMTPRecipientsRefused) as raised:
            client.sendmail("a@client.test", RECIPIENTS, MESSAGE)
        assert raised.value.recipients == {
            "b@mx.test": (550, b"5.2.1 disabled"),
            "c@mx.test": (550, b"5.1.1 nobody"),
            "d@mx.test": (452, b"4.2.2 full"),
        }
        assert str(raised.value.reply) == "452 4.2.2 full"
        assert client.noop() == (250, b"2.0.0 ok")


@pytest.mark.parametrize("method", [None, "rcpt"])
def test_the_only_one_refused_at_the_end(backend: Backend, method: str | None) -> None:
    """One answer for one recipient is SMTPDataError, as in `smtplib`."""
    with (
        ScriptedServer([*LHLO, *MAIL, *RCPT, *DATA, *finals(b"452 4.2.2 full"), *RSET, *NOOP, *QUIT]) as server,
        backend.connect(server, "LMTP") as client,
    ):
        if method is not None:
            backend.watch(client, method)
        with pytest.raises(backend.module.SMTPDataError) as raised:
            client.sendmail("a@client.test", RECIPIENTS[0], MESSAGE)
        assert raised.value.args == (452, b"4.2.2 full")
        assert client.noop() == (250, b"2.0.0 ok")


def test_data_and_the_answers(backend: Backend) -> None:
    """`data` returns the first answer; the others are read with `getreply`, and nothing may be sent before."""
    script = [*PLAIN_LHLO, *MAIL, *RCPT * 2, *DATA, *finals(b"250 2.0.0 b", b"452 4.2.2 c"), *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, "LMTP") as client:
        client.ehlo()
        client.mail("a@client.test")
        client.rcpt("b@mx.test")
        client.rcpt("c@mx.test")
        assert client.data(MESSAGE) == (250, b"2.0.0 b")
        with pytest.raises(backend.module.SMTPException, match="getreply"):
            client.noop()
        assert client.getreply() == (452, b"4.2.2 c")
        assert client.noop()[0] == 250


@pytest.mark.parametrize("method", [None, "rcpt"])
def test_421_between_the_answers(backend: Backend, method: str | None) -> None:
    """A 421 in the place of an answer closes, and stands for those that do not come any more: nobody is forgotten."""
    script = [*LHLO, *MAIL, *RCPT * 3, *DATA, *finals(b"250 2.0.0 b", b"421 4.3.2 bye"), ExpectEOF()]
    with ScriptedServer(script) as server:
        client = backend.connect(server, "LMTP")
        if method is not None:
            backend.watch(client, method)
        refused = client.sendmail("a@client.test", RECIPIENTS, MESSAGE)
        assert refused == {"c@mx.test": (421, b"4.3.2 bye"), "d@mx.test": (421, b"4.3.2 bye")}
        assert client.sock is None


@pytest.mark.parametrize("answers", [0, 1])
def test_lost_between_the_answers(backend: Backend, answers: int) -> None:
    """Lost before the last answer: the message may have been delivered, to those at least that were not refused."""
    script = [*LHLO, *MAIL, *RCPT * 2, *DATA, *finals(*[b"250 ok"] * answers), Close()]
    with ScriptedServer(script) as server:
        client = backend.connect(server, "LMTP")
        with pytest.raises(backend.module.SMTPServerDisconnected) as raised:
            client.sendmail("a@client.test", RECIPIENTS[:2], MESSAGE)
        assert raised.value.may_be_delivered
        finals_seen = [recipient.final for recipient in raised.value.outcome.recipients]
        assert [final is not None for final in finals_seen] == [True] * answers + [False] * (2 - answers)


def test_354_without_a_recipient(backend: Backend) -> None:
    """DATA answered 354 although no recipient was accepted: nobody can tell how many answers follow, so it closes."""
    script = [*LHLO, *MAIL, *REFUSED, *DATA, ExpectEOF()]
    with ScriptedServer(script) as server:
        client = backend.connect(server, "LMTP")
        with pytest.raises(backend.module.SMTPException):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert client.sock is None


def test_lhlo_is_not_followed_by_helo(backend: Backend) -> None:
    """There is no HELO in LMTP (RFC 2033 4.1): a refused LHLO is SMTPHeloError."""
    refused = turn(b"lhlo ", b"550 5.7.1 no")
    with ScriptedServer([*GREETING, *refused, *QUIT]) as server, backend.connect(server, "LMTP") as client:
        with pytest.raises(backend.module.SMTPHeloError) as raised:
            client.ehlo_or_helo_if_needed()
        assert raised.value.args == (550, b"5.7.1 no")


def test_unix_socket_that_nobody_listens_on(backend: Backend) -> None:
    """OSError, and nothing left open."""
    needs_unix_sockets()
    with pytest.raises(FileNotFoundError):
        backend.open("LMTP", "/nonexistent/socket")


def test_features_over_a_unix_socket(backend: Backend, lmtp: Callable[..., ScriptedServer]) -> None:
    """Log-ins in the clear are no risk on a connection that is local."""
    script = [*GREETING, *hello("AUTH PLAIN", verb=b"lhlo "), *turn(b"auth plain", b"235 ok"), *QUIT]
    with (
        lmtp(script) as server,
        backend.open("LMTP", server.host, server.port, timeout=PATIENCE) as client,
    ):
        assert client.login("user", "password") == (235, b"ok")
        assert client.ehlo_resp is not None


class ByRecipient(Handler):
    """Refuses what is for "full" at the end of the message, for each recipient on its own."""

    def __init__(self) -> None:
        self.messages: list[ReceivedMessage] = []

    def body(self, session: ServerSession, message: ReceivedMessage) -> Decisions:
        self.messages.append(message)
        full = Reply(452, "4.2.2 Mailbox full")
        return [full if path.startswith("full") else Reply(250, f"2.0.0 {path}") for path in message.to]


def test_our_own_server(backend: Backend) -> None:
    """Between our own two ends each recipient has its own answer."""
    handler = ByRecipient()
    with smtp_blocking.Server(handler, lmtp=True) as server, backend.connect(server, "LMTP") as client:
        recipients = ["b@mx.test", "full1@mx.test", "c@mx.test", "full2@mx.test"]
        assert client.sendmail("a@client.test", recipients, MESSAGE) == {
            "full1@mx.test": (452, b"4.2.2 Mailbox full"),
            "full2@mx.test": (452, b"4.2.2 Mailbox full"),
        }
        assert client.sendmail("a@client.test", ["b@mx.test", "b@mx.test"], MESSAGE) == {}
    assert [message.content for message in handler.messages] == [MESSAGE] * 2


def test_smtp_server_asked_in_lmtp(backend: Backend, server: smtp_blocking.Server) -> None:
    """An SMTP server refuses LHLO, and the refusal is what is raised."""
    with backend.connect(server, "LMTP") as client, pytest.raises(backend.module.SMTPHeloError) as raised:
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)
    assert raised.value.smtp_code >= 500


def test_by_hand(backend: Backend) -> None:
    """LMTP written by hand: each answer is read with `getreply`."""

    def converse(client: Client) -> list[Any]:
        client.docmd("lhlo", "client.test")
        client.docmd("mail", "from:<a@client.test>")
        client.docmd("rcpt", "to:<b@mx.test>")
        client.docmd("rcpt", "to:<c@mx.test>")
        client.docmd("data")
        client.send(MESSAGE + b".\r\n")
        return [client.getreply(), client.getreply(), client.noop()]

    script = [*PLAIN_LHLO, *MAIL, *RCPT * 2, *DATA, *finals(b"250 b", b"550 c"), *turn(b"noop", b"250 n"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, "LMTP") as client:
        assert converse(client) == [(250, b"b"), (550, b"c"), (250, b"n")]


def test_lost_in_the_middle_of_lhlo(backend: Backend) -> None:
    """The same losses as in SMTP."""
    with ScriptedServer([*GREETING, Expect(b"lhlo"), Send(b"250-mx"), Close()]) as server:
        client = backend.connect(server, "LMTP")
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.ehlo()
