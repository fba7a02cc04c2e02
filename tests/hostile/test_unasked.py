"""Replies that nobody asked for: before, between and behind commands.

The rule is always the same: what came unasked is never taken for the answer to the next command.  The next command is
not even sent, and the connection is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.states import Stage
from tests.certificates import client_context, server_context
from tests.conformance.backends import Backend, Client
from tests.scripted import (
    Close,
    Drain,
    Expect,
    ExpectBody,
    ExpectEOF,
    ExpectLines,
    ScriptedServer,
    Send,
    Signal,
    StartTLS,
    Step,
    WaitFor,
)
from tests.scripts import DATA, DELIVERY, GREETING, HASTE, MAIL, MESSAGE, PATIENCE, RCPT, hello, opening, turn

from .sessions import connect

UNASKED = [
    b"250 2.0.0 ok\r\n",
    b"550 5.0.0 no\r\n",
    b"354 go ahead\r\n",
    b"220 hello again\r\n",
    b"25",
    b"nonsense\r\n",
]
CLOSING = b"421 4.3.2 restarting\r\n"


COMMANDS: dict[str, Callable[[Client], object]] = {
    "noop": lambda client: client.noop(),
    "ehlo": lambda client: client.ehlo(),
    "mail": lambda client: client.mail("a@client.test"),
    "data": lambda client: client.data(MESSAGE),
    "quit": lambda client: client.quit(),
    "sendmail": lambda client: client.sendmail("a@client.test", "b@mx.test", MESSAGE),
    "login": lambda client: client.login("user", "password"),
    "putcmd": lambda client: client.putcmd("noop"),
    "starttls": lambda client: client.starttls(context=client_context()),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("unasked", [*UNASKED, CLOSING])
def test_behind_a_reply(backend: Backend, command: str, unasked: bytes) -> None:
    """In one segment with the reply before it: seen before the next command, of which nothing is sent."""
    ehlo = b"250-mx.test\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"
    with ScriptedServer([*GREETING, Expect(b"ehlo"), Send(ehlo + unasked), ExpectEOF()]) as server:
        client = backend.connect(server)
        assert client.ehlo()[0] == 250
        with pytest.raises(smtp_blocking.SMTPServerDisconnected) as raised:
            COMMANDS[command](client)
        assert client.sock is None
        assert (raised.value.reply is not None and raised.value.reply.code == 421) is (unasked == CLOSING)
    assert len(server.received) == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("unasked", [*UNASKED, CLOSING])
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
def test_between_commands(backend: Backend, command: str, unasked: bytes, tls: bool) -> None:
    """Arrived while nobody was waiting: the same."""
    go, sent = threading.Event(), threading.Event()
    start: list[Step] = [StartTLS(server_context())] if tls else []
    ehlo = hello("AUTH PLAIN", "STARTTLS")
    script = [*start, *GREETING, *ehlo, WaitFor(go), Send(unasked), Signal(sent), ExpectEOF()]
    with ScriptedServer(script) as server:
        client = connect(backend, server, tls)
        assert client.ehlo()[0] == 250
        go.set()
        assert sent.wait(PATIENCE)
        backend.settle()
        with pytest.raises(smtp_blocking.SMTPServerDisconnected) as raised:
            COMMANDS[command](client)
        assert (raised.value.reply is not None and raised.value.reply.code == 421) is (unasked == CLOSING)
    assert len(server.received) == 1


def test_closed_between_commands(backend: Backend) -> None:
    """A server that has hung up meanwhile: said before anything is sent into the void."""
    go, gone = threading.Event(), threading.Event()
    with ScriptedServer([*opening(), WaitFor(go), Close(), Signal(gone)]) as server:
        client = backend.connect(server)
        client.ehlo()
        go.set()
        assert gone.wait(PATIENCE)
        backend.settle()
        with pytest.raises(smtp_blocking.SMTPServerDisconnected, match="closed"):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
    assert len(server.received) == 1


def test_two_greetings(backend: Backend) -> None:
    """The second greeting is no answer to EHLO."""
    with ScriptedServer([Send(b"220 mx.test\r\n220 mx.test\r\n"), ExpectEOF()]) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.ehlo()
    assert server.received_bytes == b""


TURNS: list[tuple[str, list[Step], bytes]] = [
    ("mail", [Expect(b"mail")], b"250 ok\r\n"),
    ("rcpt", [Expect(b"rcpt")], b"250 ok\r\n"),
    ("data", [Expect(b"data")], b"354 go\r\n"),
    ("message", [ExpectBody()], b"250 queued\r\n"),
]


def sendmail(backend: Backend, client: Client) -> None:
    assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


def step_by_step(backend: Backend, client: Client) -> None:
    client.ehlo()
    client.mail("a@client.test")
    client.rcpt("b@mx.test")
    code, text = client.data(MESSAGE)
    if code != 250:
        raise smtp_blocking.SMTPDataError(code, text)


def overridden(backend: Backend, client: Client) -> None:
    backend.watch(client, "send")
    step_by_step(backend, client)


@pytest.mark.parametrize("place", [name for name, _, _ in TURNS])
@pytest.mark.parametrize("unasked", [b"250 ok\r\n", b"550 no\r\n", CLOSING])
@pytest.mark.parametrize("deliver", [sendmail, step_by_step, overridden])
def test_inside_a_transaction(
    backend: Backend, place: str, unasked: bytes, deliver: Callable[[Backend, Client], None]
) -> None:
    """A reply too many in the middle of a delivery: nothing is reported as delivered that was not."""
    script = opening()
    for name, reads, reply in TURNS:
        script += [*reads, Send(reply + (unasked if name == place else b""))]
        if name == place:
            break
    with ScriptedServer([*script, Drain()]) as server:
        client = backend.connect(server)
        if place == "message":
            # The answer was whole: the message is delivered, and the next command finds out.
            deliver(backend, client)
            with pytest.raises(smtp_blocking.SMTPServerDisconnected):
                client.noop()
        else:
            # Behind a 354 a refusal is believed; it came before the message, so that nothing was delivered.
            refused = place == "data" and unasked != b"250 ok\r\n"
            with pytest.raises(smtp_blocking.SMTPDataError if refused else smtp_blocking.SMTPServerDisconnected):
                deliver(backend, client)
        assert client.sock is None
    assert (b"hello" in server.received_bytes) is (place == "message")


@pytest.mark.parametrize("unasked", [b"250 ok\r\n", b"550 no\r\n", CLOSING])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("offer", [("PIPELINING",), ("PIPELINING", "CHUNKING")], ids=["DATA", "BDAT"])
def test_inside_a_flight(backend: Backend, unasked: bytes, place: int, offer: tuple[str, ...]) -> None:
    """A reply too many to a pipelined envelope shifts the others: no message goes out, and the connection is closed."""
    replies = [b"250 sender\r\n", b"250 recipient\r\n", *([b"354 go\r\n"] if len(offer) == 1 else [])]
    commands = len(replies)
    replies.insert(place, unasked)
    with ScriptedServer([*opening(*offer), ExpectLines(commands), Send(b"".join(replies)), Drain()]) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPException):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert client.sock is None
    assert b"hello" not in server.received_bytes


@pytest.mark.parametrize("behind", [b"250 ok\r\n", b"nonsense", b"\x00" * 100_000, CLOSING])
@pytest.mark.parametrize("how", ["quit", "with"])
def test_behind_the_goodbye(backend: Backend, behind: bytes, how: str) -> None:
    """Behind the answer to QUIT nothing matters any more."""
    with ScriptedServer(
        [*opening(), *DELIVERY, Expect(b"quit"), Send(b"221 bye\r\n" + behind)], strict=False
    ) as server:
        client = backend.connect(server)
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        if how == "quit":
            assert client.quit() == (221, b"bye")
        else:
            with client:
                pass
        assert client.sock is None


@pytest.mark.parametrize(
    ("command", "reads", "answer"),
    [
        (COMMANDS["mail"], [Expect(b"mail")], b"354 go on\r\n"),
        (COMMANDS["noop"], [Expect(b"noop")], b"334 \r\n"),
        (COMMANDS["quit"], [Expect(b"quit")], b"354 go on\r\n"),
        (COMMANDS["noop"], [Expect(b"noop")], b"150 wait\r\n"),
        (COMMANDS["noop"], [Expect(b"noop")], b"999 what\r\n"),
        (COMMANDS["noop"], [Expect(b"noop")], b"000 what\r\n"),
    ],
)
def test_answers_that_are_none(
    backend: Backend, command: Callable[[Any], object], reads: list[Step], answer: bytes
) -> None:
    """An answer of a severity that the command cannot have is returned, and the connection closed."""
    with ScriptedServer([*opening(), *reads, Send(answer), ExpectEOF()]) as server:
        client = backend.connect(server)
        client.ehlo()
        answered = command(client)
        assert isinstance(answered, smtp_blocking.SMTPReply)
        assert answered[0] == int(answer[:3])
        assert client.sock is None


def test_late_reply_is_not_the_next_one(backend: Backend) -> None:
    """After a time-out the connection is gone: the late answer can never be taken for that to a later command."""
    late = threading.Event()
    script = [*opening(), *turn(b"mail", b"250 sender"), Expect(b"rcpt"), WaitFor(late), Drain()]
    with ScriptedServer(script) as server:
        client = backend.connect(server, timeout={Stage.RCPT: HASTE})
        client.ehlo()
        client.mail("a@client.test")
        with pytest.raises(smtp_blocking.SMTPServerDisconnected, match="timed out"):
            client.rcpt("b@mx.test")
        late.set()
        for command in COMMANDS.values():
            with pytest.raises(smtp_blocking.SMTPServerDisconnected):
                command(client)
    assert server.received_bytes.count(b"\r\n") == 3


def test_421_in_the_place_of_each_answer_to_a_flight(backend: Backend) -> None:
    """A 421 in a pipelined envelope: its text is raised, the message is not sent, and the connection is closed."""
    for position, error in enumerate(["SMTPSenderRefused", "SMTPRecipientsRefused", "SMTPDataError"]):
        replies = [b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
        replies[position:] = [CLOSING]
        script = [*opening("PIPELINING"), ExpectLines(3), Send(b"".join(replies)), ExpectEOF()]
        with ScriptedServer(script) as server:
            client = backend.connect(server)
            with pytest.raises(getattr(smtp_blocking, error)) as raised:
                client.sendmail("a@client.test", "b@mx.test", MESSAGE)
            assert raised.value.reply.code == 421
            assert client.sock is None


def test_nothing_of_the_next_message_is_mixed_up(backend: Backend) -> None:
    """Two deliveries on one connection, the answer to the first message doubled: the second is not sent."""
    doubled: list[Step] = [ExpectBody(), Send(b"250 first\r\n250 first\r\n"), ExpectEOF()]
    with ScriptedServer([*opening(), *MAIL, *RCPT, *DATA, *doubled]) as server:
        client = backend.connect(server)
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.sendmail("a@client.test", "c@mx.test", MESSAGE)
    assert b"c@mx.test" not in server.received_bytes
