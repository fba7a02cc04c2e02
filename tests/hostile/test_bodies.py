"""Long messages and long envelopes: refused half-way, never read, read slowly, and both sides writing at once."""

from __future__ import annotations

import threading
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
    ExpectHangUp,
    ExpectLines,
    ExpectOctets,
    Repeat,
    Reset,
    ScriptedServer,
    Send,
    StartTLS,
    Step,
    WaitFor,
)
from tests.scripts import BODY, DATA, DELIVERY, MAIL, MESSAGE, QUIT, RCPT, opening, turn
from tests.small_buffers import ANSWER, FULL, Shrink, client_of, recipients

from .sessions import connect

BIG = b"0123456789abcde\r\n" * 625_000  # more than all the buffers between two sockets of one machine hold
REFUSAL = b"552 5.3.4 message too big for us\r\n"
FIRST = ExpectOctets(100_000)


def deliver(client: Client, message: bytes = BIG) -> object:
    return client.sendmail("a@client.test", "b@mx.test", message)


def deliver_by_steps(client: Client, message: bytes = BIG) -> object:
    client.ehlo()
    client.mail("a@client.test")
    client.rcpt("b@mx.test")
    code, text = client.data(message)
    if code != 250:
        raise smtp_blocking.SMTPDataError(code, text)
    return {}


DELIVER = pytest.mark.parametrize("deliver", [deliver, deliver_by_steps])


@pytest.mark.parametrize(
    "end",
    [[Close()], [Reset()], [Drain()], []],
    ids=["then closes", "then resets", "then reads on", "then ends"],
)
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
@DELIVER
def test_early_refusal(backend: Backend, end: list[Step], tls: bool, deliver: Any) -> None:
    """A refusal in the middle of a message is raised with the server's text, and the rest is not sent."""
    start: list[Step] = [StartTLS(server_context())] if tls else []
    script = [*start, *opening(), *MAIL, *RCPT, *DATA, FIRST, Send(REFUSAL), *end]
    with ScriptedServer(script) as server:
        client = connect(backend, server, tls)
        with pytest.raises(smtp_blocking.SMTPDataError) as raised:
            deliver(client)
        assert raised.value.args == (552, b"5.3.4 message too big for us")
        assert not raised.value.may_be_delivered
        assert client.sock is None


@pytest.mark.parametrize(
    "end",
    [[Close()], [Reset()], [Drain()], []],
    ids=["then closes", "then resets", "then reads on", "then ends"],
)
def test_early_refusal_of_a_chunk(backend: Backend, end: list[Step]) -> None:
    """The same where the message goes as one BDAT: what is left of the chunk is not sent, nor anything else."""
    script = [*opening("PIPELINING", "CHUNKING"), *MAIL, *RCPT, Expect(b"bdat "), FIRST, Send(REFUSAL), *end]
    with ScriptedServer(script) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPDataError) as raised:
            deliver(client)
        assert raised.value.args == (552, b"5.3.4 message too big for us")
        assert not raised.value.may_be_delivered
        assert client.sock is None


@pytest.mark.parametrize("early", [b"250 2.0.0 queued\r\n", b"354 go on\r\n"])
@DELIVER
def test_early_success(backend: Backend, early: bytes, deliver: Any) -> None:
    """An acceptance in the middle of a message accepts nothing: SMTPServerDisconnected, and not delivered."""
    with ScriptedServer([*opening(), *MAIL, *RCPT, *DATA, FIRST, Send(early), Drain()]) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPServerDisconnected) as raised:
            deliver(client)
        assert not raised.value.may_be_delivered
        assert client.sock is None


@pytest.mark.parametrize("early", [b"25", b"552-5.3.4 wait for it\r\n", b"nonsense\r\n", b"552 x\r\n250 y\r\n"])
@DELIVER
def test_early_nonsense(backend: Backend, early: bytes, deliver: Any) -> None:
    """Half a reply in the middle of a message, and then the end: no delivery, and no hang."""
    with ScriptedServer([*opening(), *MAIL, *RCPT, *DATA, FIRST, Send(early), Close()]) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPException) as raised:
            deliver(client)
        assert isinstance(raised.value, smtp_blocking.SMTPDataError) is early.startswith(b"552 ")
        assert not raised.value.may_be_delivered
        assert client.sock is None


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
@DELIVER
def test_server_that_stops_reading(backend: Backend, tls: bool, deliver: Any) -> None:
    """A server that takes no more of a message: a lost connection after the time-out, and not delivered."""
    start: list[Step] = [StartTLS(server_context())] if tls else []
    reached = threading.Event()
    script = [*start, *opening(), *MAIL, *RCPT, *DATA, FIRST, WaitFor(reached)]
    with ScriptedServer(script, strict=False) as server:
        client = connect(backend, server, tls, timeout={Stage.BODY: 0.2})
        with pytest.raises(smtp_blocking.SMTPServerDisconnected, match="timed out") as raised:
            deliver(client)
        reached.set()
        assert not raised.value.may_be_delivered
        assert client.sock is None


class Sipping:
    """A step: read a message in small sips, each well within the client's time-out, all of them well beyond it."""

    def play(self, conversation: Any) -> None:
        for _ in range(12):
            conversation.pause(0.1)
            conversation.read_octets(min(len(BIG) // 20, 500_000))
        while not conversation.unread.endswith(b"\r\n.\r\n"):
            conversation.receive("the message")
        conversation.unread.clear()


def test_slow_line_that_moves(backend: Backend) -> None:
    """A message has a deadline on progress, not on the whole: a slow line that moves is no failure."""
    with (
        ScriptedServer([*opening(), *MAIL, *RCPT, *DATA, Sipping(), Send(b"250 queued\r\n"), *QUIT]) as server,
        backend.connect(server, timeout=1) as client,
    ):
        assert deliver(client) == {}


MANY = 5000
READY = turn(b"starttls", b"220 2.0.0 go ahead")


@pytest.mark.parametrize("writes_first", [False, True], ids=["reply by reply", "all replies before it reads"])
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
def test_two_full_buffers(backend: Backend, writes_first: bool, tls: bool) -> None:
    """Thousands of recipients in one flight, through small buffers, to a server that reads only once it could write."""
    envelope: list[Step]
    start = opening("PIPELINING")
    if tls:
        start = [*opening("STARTTLS"), *READY, StartTLS(server_context()), *start[1:]]
    if writes_first:
        # It reads MAIL, and not a recipient more until the answers to all of them are out.
        envelope = [Expect(b"mail"), Send(b"250 ok\r\n" + ANSWER * FULL), ExpectLines(FULL), *DATA]
    else:
        envelope = [*MAIL, Repeat(FULL, Expect(b"rcpt"), Send(ANSWER)), *DATA]
    with (
        ScriptedServer([Shrink(), *start, *envelope, *BODY, *QUIT]) as server,
        client_of(backend, server) as client,
    ):
        if tls:
            client.starttls(context=client_context())
        assert client.sendmail("a@client.test", recipients(), MESSAGE) == {}


def test_many_refused_recipients(backend: Backend) -> None:
    """Each of thousands of answers to a flight reaches its own recipient."""
    replies = b"".join(b"%d 2.1.5 %d\r\n" % (550 if n % 3 == 0 else 250, n) for n in range(MANY))
    script = [
        *opening("PIPELINING"),
        ExpectLines(MANY + 2),
        Send(b"250 ok\r\n" + replies + b"354 go\r\n"),
        *BODY,
        *QUIT,
    ]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        recipients = [f"b{number}@mx.test" for number in range(MANY)]
        refused = client.sendmail("a@client.test", recipients, MESSAGE)
    assert refused == {f"b{n}@mx.test": (550, b"2.1.5 %d" % n) for n in range(0, MANY, 3)}


def test_flood_while_writing(backend: Backend) -> None:
    """A server that writes without end while the client's envelope goes out is given up on."""
    with ScriptedServer([Shrink(), *opening("PIPELINING"), ExpectHangUp(Send(b"250 x\r\n" * 1_000_000))]) as server:
        client = client_of(backend, server)
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.sendmail("a@client.test", [f"b{number}@mx.test" for number in range(MANY)], MESSAGE)
        assert client.sock is None


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_072, 1_000_003])
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
def test_sizes_through_small_buffers(backend: Backend, size: int, tls: bool) -> None:
    """Messages of all sizes arrive whole, however little of them fits at a time."""
    # Small on the client's side only: with small windows on both, TCP waits between the segments.
    start: list[Step] = [StartTLS(server_context())] if tls else []
    message = (b".0123456789abcd\n" * (size // 16 + 1))[:size]
    with (
        ScriptedServer([*start, *opening(), *DELIVERY, *QUIT]) as server,
        connect(backend, server, tls) if tls else client_of(backend, server) as client,
    ):
        assert deliver(client, message) == {}
    lines = message.split(b"\n")
    if size and not lines[-1]:
        lines.pop()
    sent = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
    assert server.received[4] == sent + b".\r\n"


def test_refused_before_it_is_read(backend: Backend) -> None:
    """A server that has closed right behind its refusal: the text counts, whatever became of the write."""
    for message in (MESSAGE, b"x" * 70_000, BIG):
        with ScriptedServer([*opening(), *MAIL, *RCPT, *DATA, Send(REFUSAL), Close()]) as server:
            client = backend.connect(server)
            with pytest.raises((smtp_blocking.SMTPDataError, smtp_blocking.SMTPServerDisconnected)) as raised:
                deliver(client, message)
            assert b"too big for us" in repr(raised.value).encode()
            assert client.sock is None


def test_message_of_many_lines_is_linear(backend: Backend) -> None:
    """A message of a million dots takes time in proportion to its size: an end well within the bound of these tests."""
    with (
        ScriptedServer([*opening(), *MAIL, *RCPT, *DATA, ExpectBody(), Send(b"250 ok\r\n"), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        assert deliver(client, b".\n" * 1_000_000) == {}
    assert server.received[4] == b"..\r\n" * 1_000_000 + b".\r\n"
