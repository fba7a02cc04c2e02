"""One client in several threads: calls follow one another, and `close` ends what another thread waits for."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import smtp_blocking
from smtp_blocking.transport import SocketTransport
from tests.certificates import client_context, server_context
from tests.scripted import Drain, Expect, ExpectHangUp, ScriptedServer, Signal, StartTLS, Step, WaitFor
from tests.scripts import DATA, GREETING, MAIL, MESSAGE, PATIENCE, RCPT, opening, turn

from .obliging import Obliging

ROUNDS = 100


@pytest.mark.parametrize("threads", [2, 8])
def test_each_reply_reaches_its_caller(threads: int) -> None:
    """Many calls from many threads: each gets the reply to its own command."""

    def converse(number: int) -> None:
        for turn_number in range(ROUNDS):
            tag = f"{number}.{turn_number}"
            assert client.docmd("noop", tag) == (250, f"noop {tag}".encode())

    with ScriptedServer([Obliging()]) as server:
        client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE)
        with ThreadPoolExecutor(threads) as executor:
            list(executor.map(converse, range(threads)))
        client.close()
    assert len(server.received) == threads * ROUNDS


def test_deliveries_are_not_mixed() -> None:
    """A whole `sendmail` is one call: nothing of another thread's gets between MAIL and the end of the message."""
    messages = {
        f"a{number}@client.test": b"Subject: %d\r\n\r\n" % number + b"x" * number * 1000 for number in range(40)
    }

    def deliver(sender: str) -> None:
        assert client.sendmail(sender, ["b@mx.test", "c@mx.test"], messages[sender]) == {}
        assert client.noop()[0] == 250
        assert client.rset()[0] == 250

    with smtp_blocking.Server() as server:
        client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE)
        with ThreadPoolExecutor(8) as executor:
            list(executor.map(deliver, messages))
        client.quit()
    assert {message.sender: message.content.removesuffix(b"\r\n") for message in server.messages} == {
        sender: content.removesuffix(b"\r\n") for sender, content in messages.items()
    }
    assert all(message.to == ("b@mx.test", "c@mx.test") for message in server.messages)


class Waiting:
    """A call in a thread of its own; `error` is what it raised."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self.result: object = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:  # noqa: BLE001  # it is looked at in the test's own thread
            self.error = error

    def end(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


CALLS: dict[str, tuple[list[Step], Callable[[smtp_blocking.SMTP], object]]] = {
    "noop": ([Expect(b"noop")], lambda client: client.noop()),
    "ehlo": ([Expect(b"ehlo")], lambda client: client.ehlo()),
    "rcpt": ([*MAIL, Expect(b"rcpt")], lambda client: client.sendmail("a@b.test", "c@d.test", MESSAGE)),
    "data": ([*MAIL, *RCPT, Expect(b"data")], lambda client: client.sendmail("a@b.test", "c@d.test", MESSAGE)),
    "message": ([*MAIL, *RCPT, *DATA], lambda client: client.sendmail("a@b.test", "c@d.test", b"x" * 20_000_000)),
    "login": (turn(b"auth login", b"334 VXNlcm5hbWU6"), lambda client: client.login("user", "password")),
    "quit": ([Expect(b"quit")], lambda client: client.quit()),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_close_ends_what_waits(name: str, tls: bool, timeout: float | None) -> None:
    """`close` from another thread returns at once, and the call that waits raises SMTPServerDisconnected."""
    steps, call = CALLS[name]
    reached, closed = threading.Event(), threading.Event()
    start: list[Step] = [StartTLS(server_context())] if tls else []
    script = [*start, *opening("AUTH LOGIN"), *steps, Signal(reached), WaitFor(closed), Drain()]
    with ScriptedServer(script) as server:
        client: smtp_blocking.SMTP
        if tls:
            client = smtp_blocking.SMTP_SSL(server.host, server.port, timeout=timeout, context=client_context())
        else:
            client = smtp_blocking.SMTP(server.host, server.port, timeout=timeout)
        client.ehlo()
        waiting = Waiting(lambda: call(client))
        assert reached.wait(PATIENCE)
        client.close()
        waiting.end()
        closed.set()
        assert isinstance(waiting.error, smtp_blocking.SMTPServerDisconnected)
        assert client.sock is None
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()


def test_close_ends_the_wait_for_the_greeting() -> None:
    """The same while the greeting is waited for."""
    reached = threading.Event()
    client = smtp_blocking.SMTP(timeout=PATIENCE)
    with ScriptedServer([Signal(reached), ExpectHangUp()]) as server:
        waiting = Waiting(lambda: client.connect(server.host, server.port))
        assert reached.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while client._transport is None:  # it has connected, and its thread may not have run since
            assert time.monotonic() < deadline
        client.close()
        waiting.end()
    assert isinstance(waiting.error, smtp_blocking.SMTPServerDisconnected)
    assert client.sock is None


def test_others_wait_for_their_turn() -> None:
    """A call that waits for another's end is not hurt by that one's failure: it finds the connection gone."""
    reached, go = threading.Event(), threading.Event()
    with ScriptedServer([*opening(), Expect(b"noop"), Signal(reached), WaitFor(go), Drain()]) as server:
        client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE)
        client.ehlo()
        first = Waiting(client.noop)
        assert reached.wait(PATIENCE)
        others = [Waiting(client.noop) for _ in range(3)]
        client.close()
        go.set()
        for waiting in (first, *others):
            waiting.end()
            assert isinstance(waiting.error, smtp_blocking.SMTPServerDisconnected)
    assert server.received_bytes.count(b"noop\r\n") == 1


def test_close_from_all_sides() -> None:
    """Many threads that close at once, again and again, while others talk: no exception but SMTPServerDisconnected."""

    def talk() -> None:
        for _ in range(20):
            try:
                client.noop()
            except smtp_blocking.SMTPServerDisconnected:
                return

    for _ in range(10):
        with ScriptedServer([Obliging()]) as server:
            client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE)
            threads = [Waiting(talk if number % 2 else client.close) for number in range(8)]
            for waiting in threads:
                waiting.end()
                assert waiting.error is None
            client.close()
            assert client.sock is None


def test_waking_never_takes_tls_off() -> None:
    """A transport under TLS that is woken writes nothing in the clear, at any moment: not even what it was about to."""
    with ScriptedServer([StartTLS(server_context()), *GREETING, Drain()]) as server:
        sock = socket.create_connection((server.host, server.port), PATIENCE)
        transport = SocketTransport(sock)
        transport.start_tls(client_context(), "127.0.0.1", False, PATIENCE)
        assert transport.receive(PATIENCE)
        transport.wake()
        assert isinstance(transport.sock, ssl.SSLSocket)
        assert transport.sock.version() is not None
        with pytest.raises(OSError, match=r"."):
            transport.send([b"secret\r\n"], PATIENCE, True)
        transport.close()
    assert b"secret" not in server.received_bytes
