"""Replies that are odd, late, too many, too few or against each other, at each step of a session."""

from __future__ import annotations

from typing import Any

import pytest

import smtp_blocking
from tests.conformance.backends import Backend
from tests.scripted import (
    Close,
    Drain,
    Expect,
    ExpectBody,
    ExpectEOF,
    ExpectHangUp,
    Repeat,
    ScriptedServer,
    Segments,
    Send,
    Step,
)
from tests.scripts import DATA, DELIVERY, GREETING, MAIL, MESSAGE, NOOP, PATIENCE, QUIT, RCPT, hello, opening, turn

from .sessions import LMTP, PLACES, RECIPIENTS, SESSIONS, Progress, Session
from .test_cuts import ALL_CUTS

AT_EVERY_REPLY = pytest.mark.parametrize(
    ("session", "number"),
    [pytest.param(*place, id=f"{place[0].name}: {place[0].exchanges[place[1]].name}") for place in PLACES],
)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_replies_in_two_segments(backend: Backend, session: Session) -> None:
    """Wherever its replies are split, the session goes as it does when they are whole."""
    longest = max(len(exchange.reply) for _, exchange in session.replies())
    for offset in range(1, longest, 1 if backend.name in ALL_CUTS else 7):
        script: list[Step] = []
        for exchange in session.exchanges:
            script += exchange.reads
            pieces = [piece for piece in (exchange.reply[:offset], exchange.reply[offset:]) if piece]
            script += [Segments(*pieces, interval=0.0005)] if pieces else []
        progress = Progress()
        with ScriptedServer(script) as server:
            session.run(backend, server, PATIENCE, progress)
        assert progress.delivered, offset


CLOSINGS: dict[str, list[Step]] = {
    "and closes": [Send(b"421 4.3.2 restarting\r\n"), Close()],
    "and says nothing more": [Send(b"421 4.3.2 restarting\r\n"), ExpectHangUp()],
}


@AT_EVERY_REPLY
@pytest.mark.parametrize("how", CLOSINGS)
def test_421_closes(backend: Backend, session: Session, number: int, how: str) -> None:
    """A 421 in the place of any reply ends the session: what is raised carries it, and the connection is gone."""
    progress = Progress()
    with ScriptedServer([*session.before(number), *CLOSINGS[how]]) as server:
        if session.exchanges[number].name == "QUIT":
            session.run(backend, server, PATIENCE, progress)
        elif session.exchanges[number].name == "NOOP":
            # It is returned, and the QUIT behind it finds nobody.
            with pytest.raises(smtp_blocking.SMTPServerDisconnected):
                session.run(backend, server, PATIENCE, progress)
        else:
            with pytest.raises(smtp_blocking.SMTPException) as raised:
                session.run(backend, server, PATIENCE, progress)
            assert "restarting" in str(raised.value)
            assert not getattr(raised.value, "may_be_delivered", False)
    assert progress.delivered is (session.exchanges[number].name in ("NOOP", "QUIT"))
    assert progress.client is None or progress.client.sock is None


TEXTS = {
    "none": b"",
    "only a blank": b" ",
    "tabs": b" \tok\t",
    "NUL": b" a\0b",
    "eight bits": b" gr\xfc\xdfe \xff\xfe",
    "controls": b" \x1b[2J\x07",
    "a lone CR": b" a\rb",
    "the end of the longest line": b" " + b"x" * 4000,
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_texts_do_not_matter(backend: Backend, session: Session, text: str) -> None:
    """The code decides, whatever the text behind it is made of; it never raises, and is never taken for a line."""
    script: list[Step] = []
    for exchange in session.exchanges:
        script += exchange.reads
        codes = [line[:3] for line in exchange.reply.splitlines() if line[3:4] == b" "]
        if exchange.name.startswith(("EHLO", "LHLO", "AUTH")):
            script.append(Send(exchange.reply))  # what these say does matter
        elif codes:
            script.append(Send(b"".join(code + TEXTS[text] + b"\r\n" for code in codes)))
    progress = Progress()
    with ScriptedServer(script) as server:
        try:
            session.run(backend, server, PATIENCE, progress)
        except smtp_blocking.SMTPServerDisconnected:
            assert text == "a lone CR"
            assert progress.client is None or progress.client.sock is None
        else:
            assert progress.delivered


@pytest.mark.parametrize("final", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_line_ends_of_replies(backend: Backend, final: bytes) -> None:
    """Lines that end with LF alone are what some servers send: they are replies like others."""
    script: list[Step] = [Send(b"220 mx.test" + final)]
    for verb, reply in ((b"ehlo", b"250"), (b"noop", b"250 ok"), (b"quit", b"221 bye")):
        script += [Expect(verb), Send(reply + final)]
    with ScriptedServer(script) as server:
        client = backend.connect(server)
        assert client.ehlo()[0] == 250
        assert client.noop()[0] == 250
        assert client.quit()[0] == 221


CONTRADICTIONS: dict[str, list[str]] = {
    "SIZE zero": ["SIZE 0"],
    "SIZE without a number": ["SIZE"],
    "SIZE negative": ["SIZE -1"],
    "SIZE enormous": ["SIZE 99999999999999999999999999"],
    "SIZE of thousands of digits": ["SIZE " + "9" * 1000],
    "SIZE in letters": ["SIZE huge"],
    "SIZE in other digits": ["SIZE \u0661\u0662"],
    "SIZE twice": ["SIZE 5000", "SIZE 10000"],
    "AUTH twice": ["AUTH PLAIN", "AUTH=LOGIN", "AUTH CRAM-MD5"],
    "AUTH with nothing": ["AUTH", "AUTH="],
    "AUTH with nonsense": ["AUTH \x01\x02 ???"],
    "8BITMIME with arguments": ["8BITMIME no", "SMTPUTF8 maybe"],
    "the same twice": ["8BITMIME", "8bitmime", "DSN", "DSN"],
    "nonsense": ["", " ", "=", "-", "\t\t", "250 OK", "\xff\xfe", "X" * 3000],
    "LIMITS of nothing": ["LIMITS RCPTMAX=0 MAILMAX=-1 RCPTDOMAINMAX=x"],
    "LIMITS enormous": ["LIMITS RCPTMAX=99999999999999999999"],
    "a thousand lines": [f"X-{number}" for number in range(900)],
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_ehlo_against_itself(backend: Backend, what: str) -> None:
    """An EHLO reply that is nonsense, or against itself, keeps nobody from sending a message."""
    with (
        ScriptedServer([*opening(*CONTRADICTIONS[what]), *DELIVERY, *NOOP, *QUIT], strict=False) as server,
        backend.connect(server) as client,
    ):
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
        assert client.noop()[0] == 250
    assert server.received_bytes.lower().endswith(b"quit\r\n")


def test_size_that_is_too_small(backend: Backend) -> None:
    """A message beyond SIZE is refused here, as 552 would be, and nothing of it is sent."""
    with ScriptedServer([*opening("SIZE 10"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(smtp_blocking.SMTPSenderRefused) as raised:
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert raised.value.smtp_code == 552
        assert client.noop()[0] == 250


@pytest.mark.parametrize("extensions", [["PIPELINING"], ["STARTTLS"], ["AUTH LOGIN"]])
def test_a_second_ehlo_that_takes_back(backend: Backend, extensions: list[str]) -> None:
    """What the last EHLO says counts, and only that."""
    with (
        ScriptedServer([*opening(*extensions), *hello(), *DELIVERY, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        client.ehlo()
        assert not client.esmtp_features
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("challenge", [b"334 ", b"334 UGFzc3dvcmQ6", b"334 !!!", b"334 " + b"QUJD" * 2000])
def test_endless_challenges(backend: Backend, mechanism: str, challenge: bytes) -> None:
    """A server that answers 334 to everything gets no endless answers: the exchange ends, and with an exception."""
    endless = Repeat(20, Expect(), Send(challenge + b"\r\n"))
    script = [*opening(f"AUTH {mechanism}"), ExpectHangUp(endless)]
    with ScriptedServer(script) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPException):
            client.login("user", "password")
        client.close()
    assert len(server.received) < 12


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("answer", [b"235 welcome", b"250 welcome", b"354 go on", b"535 no", b"500 what"])
def test_answers_before_the_exchange_is_over(backend: Backend, mechanism: str, answer: bytes) -> None:
    """What answers AUTH and is no challenge ends the exchange: nothing more is told, and only a 235 is a log-in."""
    script = [*opening(f"AUTH {mechanism}"), *turn(b"auth", answer), Expect(), Send(b"501 cancelled\r\n")]
    with ScriptedServer(script, strict=False) as server:
        client = backend.connect(server)
        if answer.startswith(b"235"):
            assert client.login("user", "password")[0] == 235
        else:
            with pytest.raises(smtp_blocking.SMTPException):
                client.login("user", "password")
        client.close()
    assert server.received[2:] in ([], [b"*\r\n"])


def test_lmtp_too_few_answers(backend: Backend) -> None:
    """One answer for two recipients, and the end: the error says that it may have been delivered, and to whom not."""
    script = [*LMTP.before(6), Send(b"250 2.0.0 for b\r\n"), Close()]
    progress = Progress()
    with ScriptedServer(script) as server, pytest.raises(smtp_blocking.SMTPServerDisconnected) as raised:
        LMTP.run(backend, server, PATIENCE, progress)
    assert raised.value.may_be_delivered
    assert not progress.delivered


@pytest.mark.parametrize("extra", [b"250 2.0.0 for d\r\n", b"550 5.1.1 not for d\r\n", b"421 4.3.2 bye\r\n"])
def test_lmtp_too_many_answers(backend: Backend, extra: bytes) -> None:
    """An answer more than recipients is nobody's: the delivery stands, and the next command is not sent."""
    script = [*LMTP.before(6), Send(b"250 2.0.0 for b\r\n250 2.0.0 for c\r\n" + extra), ExpectEOF()]
    with ScriptedServer(script) as server:
        client = backend.connect(server, "LMTP")
        assert client.sendmail("a@client.test", RECIPIENTS, MESSAGE) == {}
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()


EARLY: dict[str, tuple[list[Step], bytes]] = {
    "a refused recipient answered late": ([*MAIL, *turn(b"rcpt", b"250 ok\r\n550 no")], b"rcpt"),
    "354 to MAIL": (turn(b"mail", b"354 go"), b"mail"),
    "354 to RCPT": ([*MAIL, *turn(b"rcpt", b"354 go")], b"rcpt"),
    "334 to MAIL": (turn(b"mail", b"334 "), b"mail"),
    "250 to DATA": ([*MAIL, *RCPT, *turn(b"data", b"250 ok")], b"data"),
    "354 to the message": ([*MAIL, *RCPT, *DATA, ExpectBody(), Send(b"354 go\r\n")], b""),
    "334 to the message": ([*MAIL, *RCPT, *DATA, ExpectBody(), Send(b"334 \r\n")], b""),
}


@pytest.mark.parametrize("what", EARLY)
@pytest.mark.parametrize("method", ["sendmail", "deliver"])
def test_answers_of_another_kind(backend: Backend, what: str, method: str) -> None:
    """An answer that its command cannot have never makes a delivery, and never lets the message out before its time."""
    steps, last = EARLY[what]
    with ScriptedServer([*opening(), *steps, Drain()]) as server:
        client = backend.connect(server)
        try:
            result: Any
            if method == "sendmail":
                result = client.sendmail("a@client.test", "b@mx.test", MESSAGE)
            else:
                result = client.deliver(MESSAGE, "a@client.test", "b@mx.test")
                assert not result.delivered
        except smtp_blocking.SMTPException:
            pass
        else:
            assert method == "deliver"
        client.close()
    assert (b"hello" in server.received_bytes) is (last == b"")


@pytest.mark.parametrize(
    "greeting", [b"554 5.7.1 go away\r\n", b"220\r\n", b"250 hm\r\n", b"354 go\r\n", b"\r\n", b"SSH-2.0-x\r\n"]
)
def test_greetings(backend: Backend, greeting: bytes) -> None:
    """Only a 220 is a greeting; anything else is an exception of the connect, and nothing is sent."""
    with ScriptedServer([Send(greeting), Drain()]) as server:
        if greeting.startswith(b"220"):
            backend.connect(server).close()
        else:
            with pytest.raises(smtp_blocking.SMTPException):
                backend.connect(server)
    assert server.received_bytes in (b"", b"quit\r\n")


def test_greeted_and_gone(backend: Backend) -> None:
    """A server that greets and hangs up is a lost connection for what comes next."""
    with ScriptedServer([*GREETING, Close()]) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert client.sock is None
