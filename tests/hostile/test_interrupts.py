"""KeyboardInterrupt, and anything else that is no error of the network, at each step of a session.

The invariant: after it the next use raises SMTPServerDisconnected, or what was interrupted had not begun; in no case is
a reply taken for that to another command.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import FrameType, MethodType
from typing import Any

import pytest

import smtp_blocking
import smtp_proto
import smtp_surface
from smtp_proto.handler import Handler, ReceivedMessage
from smtp_proto.outcome import Fate, Outcome
from smtp_proto.server_session import ServerSession
from tests.certificates import client_context, server_context
from tests.scripted import Drain, Expect, ExpectEOF, ExpectHangUp, ScriptedServer, Signal, StartTLS, Step, WaitFor
from tests.scripts import DATA, MAIL, MESSAGE, NOOP, PATIENCE, QUIT, RCPT, opening

from .obliging import Obliging
from .sessions import LMTP, PIPELINED, PLAIN, Session


class Interrupted(BaseException):
    """Something that no code but a test's knows."""


class Bomb:
    """Counts the calls of socket methods, and raises in the one of a given number: before it, or after it was done."""

    def __init__(self, number: int, after: bool, error: type[BaseException]) -> None:
        self.left = number
        self.calls = 0
        self.after = after
        self.error = error

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        self.left -= 1
        self.calls += 1
        if self.left == 0 and not self.after:
            raise self.error
        result = method(*args)
        if self.left == 0:
            raise self.error
        return result

    @property
    def exploded(self) -> bool:
        return self.left <= 0


class BombSocket(socket.socket):
    """A real socket with a bomb in it."""

    bomb: Bomb

    def send(self, *args: Any) -> int:
        sent: int = self.bomb.call(super().send, *args)
        return sent

    def recv(self, *args: Any) -> bytes:
        octets: bytes = self.bomb.call(super().recv, *args)
        return octets


class BombDouble:
    """No socket of the system's, but something with its methods."""

    def __init__(self, sock: socket.socket, bomb: Bomb) -> None:
        self._sock = sock
        self._bomb = bomb

    def sendall(self, octets: bytes) -> None:
        self._bomb.call(self._sock.sendall, octets)

    def recv(self, size: int) -> bytes:
        octets: bytes = self._bomb.call(self._sock.recv, size)
        return octets

    def close(self) -> None:
        self._sock.close()


def armed(kind: type[smtp_blocking.SMTP], bomb: Bomb, double: bool) -> type[smtp_blocking.SMTP]:
    """A class of clients whose sockets have the bomb in them."""

    def get_socket(self: Any, host: str, port: int, timeout: Any) -> Any:
        if double:
            return BombDouble(socket.create_connection((host, port), timeout), bomb)
        sock = BombSocket()
        sock.bomb = bomb
        sock.settimeout(timeout)
        sock.connect((host, port))
        return sock

    return type("Armed", (kind,), {"_get_socket": get_socket})


def use(client: smtp_blocking.SMTP, session: Session) -> None:
    """What the client's side of the session does once it is connected."""
    if session is PLAIN:
        client.login("user", "password")
    assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE) == {}
    client.noop()
    client.quit()


@pytest.mark.parametrize("session", [PLAIN, PIPELINED, LMTP], ids=lambda session: session.name)
@pytest.mark.parametrize("double", [False, True], ids=["a socket", "a double"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted, SystemExit])
def test_every_call_of_the_socket(session: Session, double: bool, after: bool, error: type[BaseException]) -> None:
    """Whichever send or recv is interrupted: it goes out as it is, and the connection is gone for every later use."""
    parent = smtp_blocking.LMTP if session is LMTP else smtp_blocking.SMTP
    bomb = Bomb(0, after, error)
    for number in count(1):
        bomb = Bomb(number, after, error)
        client = armed(parent, bomb, double)(local_hostname="client.test", timeout=PATIENCE)
        came_out = False
        with ScriptedServer(session.script(), strict=False) as server:
            try:
                client.connect(server.host, server.port)
                use(client, session)
            except error:
                came_out = True
            assert came_out is bomb.exploded, number
            if not bomb.exploded:
                break
            assert client.sock is None
            for method, args in (("noop", ()), ("getreply", ()), ("send", (b"noop\r\n",)), ("quit", ())):
                with pytest.raises(smtp_blocking.SMTPServerDisconnected):
                    getattr(client, method)(*args)
        assert server.received_bytes.count(b"noop\r\n") <= 1
    assert bomb.calls > 6


class Tracer:
    """Counts the lines of our own code that are executed, and raises at the one of a given number."""

    folders = tuple(str(Path(module.__file__ or "").parent) for module in (smtp_blocking, smtp_proto, smtp_surface))

    def __init__(self, number: int, within: str = "") -> None:
        self.left = number
        self.place = ""
        self._within = within  # the name of the function whose lines count; without it, all do

    def __call__(self, frame: FrameType, event: str, argument: object) -> Tracer | None:
        if not frame.f_code.co_filename.startswith(self.folders):
            return None
        if event == "line" and self._within in ("", frame.f_code.co_name):
            self.left -= 1
            if self.left == 0:
                self.place = f"{frame.f_code.co_filename}, line {frame.f_lineno}"
                raise Interrupted
        return self


@pytest.mark.parametrize("way", ["pipelined", "step by step"])
def test_every_line(way: str) -> None:
    """Interrupted anywhere, between the calls of the socket too: the next command gets its own reply, or none."""
    # Every line would take a minute; the stride is prime, so that other lines are hit in each turn of a loop.
    kept: list[Interrupted] = []  # with its traceback, and so what was interrupted is not collected
    for number in count(1, 17):
        with ScriptedServer([Obliging(b"PIPELINING")]) as server:
            client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE)
            client.ehlo()
            if way == "step by step":
                client.mail = MethodType(smtp_blocking.SMTP.mail, client)  # type: ignore[method-assign]
            tracer, before = Tracer(number), sys.gettrace()
            try:
                sys.settrace(tracer)
                client.docmd("noop", "before")
                client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE)
                client.docmd("noop", "behind")
            except Interrupted as interrupted:
                kept[:] = [interrupted]
                assert tracer.place
            finally:
                sys.settrace(before)
            try:
                assert client.docmd("noop", "later") == (250, b"noop later"), tracer.place
            except smtp_blocking.SMTPServerDisconnected:
                assert tracer.place
            client.close()
        if not tracer.place:
            break
    assert number > 1000


def test_every_line_between_an_envelope_and_its_flight() -> None:
    """Interrupted with an envelope put together and nothing asked of the driver, the client is not used on."""
    for number in count(1):
        with ScriptedServer([Obliging(b"PIPELINING")]) as server:
            client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE)
            client.ehlo()
            tracer, before = Tracer(number, "flight"), sys.gettrace()
            try:
                sys.settrace(tracer)
                # With `progress` it is not foreseen as a whole.
                client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE, progress=lambda *_: None)
            except Interrupted:
                with pytest.raises(smtp_blocking.SMTPServerDisconnected):
                    client.noop()
            finally:
                sys.settrace(before)
            client.close()
        if not tracer.place:
            break
    assert number > 2


class Keeping(Handler):
    """The numbers of the messages that came to their end, in order."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def body(self, session: ServerSession, message: ReceivedMessage) -> None:
        self.taken.append(int(message.content))


@pytest.mark.parametrize("options", [{}, {"chunking": "eager"}, {"pipelining": False}], ids=str)
def test_send_many_at_every_line(options: dict[str, Any]) -> None:
    """Interrupted anywhere, what is told of each message is true, none is sent twice, and the client is in step."""
    # Every line would take half a minute; the stride is prime, for the same reason as above.
    for number in count(1, 7):
        told: list[Outcome] = []
        pulled = 0

        def source() -> Iterator[Any]:
            nonlocal pulled
            for pulled in range(1, 4):
                yield "a@client.test", f"{pulled}@mx.test", b"%d" % pulled

        with smtp_blocking.Server(handler := Keeping()) as server:
            client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE, **options)
            client.ehlo()
            sending = client.send_many(source())
            tracer, before = Tracer(number), sys.gettrace()
            try:
                sys.settrace(tracer)
                with sending:
                    told.extend(sending)
            except Interrupted:
                assert tracer.place
            finally:
                sys.settrace(before)
            try:
                assert client.noop()[0] == 250, tracer.place
            except smtp_blocking.SMTPServerDisconnected:
                assert tracer.place
            client.close()
        outcomes = [*told, *sending.left]
        # Between two lines an outcome may have been taken and not been given.
        assert pulled - 1 <= len(outcomes) <= pulled, tracer.place
        begun = [each for each in outcomes if each.recipients]  # the last may not even have been looked at
        known = {int(each.recipients[0].address.partition("@")[0]): each.fate for each in begun}
        assert len(known) == len(begun) >= len(outcomes) - 1, tracer.place
        assert len(set(handler.taken)) == len(handler.taken), tracer.place
        for each, fate in known.items():
            assert fate is Fate.UNKNOWN or (each in handler.taken) is (fate is Fate.DELIVERED), tracer.place
        if not tracer.place:
            assert handler.taken == [1, 2, 3]
            break
    assert number > 500


def test_every_line_around_a_callback() -> None:
    """Interrupted on the way into a callback or out of it, the client is used on or gone, and not locked."""
    for number in count(1):
        with ScriptedServer([Obliging()]) as server:
            client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE, transcript=lambda said: None)
            tracer, before = Tracer(number, "_callback"), sys.gettrace()
            try:
                sys.settrace(tracer)
                client.noop()
            except Interrupted:
                assert tracer.place
            finally:
                sys.settrace(before)
            with suppress(smtp_blocking.SMTPServerDisconnected):
                assert client.noop()[0] == 250, tracer.place
            client.close()
        if not tracer.place:
            break
    assert number > 5


USES: dict[str, tuple[list[Step], Callable[[smtp_blocking.SMTP], object]]] = {
    "noop": ([Expect(b"noop")], lambda client: client.noop()),
    "sendmail": ([*MAIL, *RCPT, Expect(b"data")], lambda client: client.sendmail("a@b.test", "c@d.test", MESSAGE)),
    "message": ([*MAIL, *RCPT, *DATA], lambda client: client.sendmail("a@b.test", "c@d.test", b"x" * 20_000_000)),
    "quit": ([Expect(b"quit")], lambda client: client.quit()),
}


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
def test_signal_while_it_waits(name: str, tls: bool) -> None:
    """Control-C while a call waits ends it at once, and the connection with it."""
    steps, call = USES[name]
    waiting, interrupted = threading.Event(), threading.Event()

    def interrupt() -> None:
        assert waiting.wait(PATIENCE)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        interrupted.set()

    start: list[Step] = [StartTLS(server_context())] if tls else []
    thread = threading.Thread(target=interrupt)
    with ScriptedServer(
        [*start, *opening(), *steps, Signal(waiting), WaitFor(interrupted), Drain()], strict=False
    ) as server:
        client: smtp_blocking.SMTP
        if tls:
            client = smtp_blocking.SMTP_SSL(server.host, server.port, timeout=PATIENCE, context=client_context())
        else:
            client = smtp_blocking.SMTP(server.host, server.port, timeout=PATIENCE)
        client.ehlo()
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            call(client)
        thread.join(PATIENCE)
        assert client.sock is None
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize("method", ["putcmd", "getreply", "send"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted, ValueError])
def test_between_a_command_and_its_reply(method: str, error: type[BaseException]) -> None:
    """Interrupted in an override, behind the command and before its reply: the connection is gone as well."""

    def override(self: Any, *args: Any) -> Any:
        if method != "getreply":
            getattr(smtp_blocking.SMTP, method)(self, *args)
        raise error

    with ScriptedServer([*opening(), Expect(b"noop"), ExpectEOF()]) as server:
        client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE)
        client.ehlo()
        setattr(client, method, MethodType(override, client))
        with pytest.raises(error):
            client.noop()
        delattr(client, method)
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted, ValueError])
def test_in_the_middle_of_a_message(error: type[BaseException]) -> None:
    """Interrupted behind the 354: half a message leaves no way back, and no later command is taken for part of it."""

    def send(self: Any, s: Any) -> None:
        if b"hello" in s if isinstance(s, bytes) else "hello" in s:
            raise error
        smtp_blocking.SMTP.send(self, s)

    with ScriptedServer([*opening(), *MAIL, *RCPT, *DATA, ExpectHangUp()]) as server:
        client = smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE)
        client.ehlo()
        client.send = MethodType(send, client)  # type: ignore[method-assign]
        with pytest.raises(error):
            client.sendmail("a@b.test", "c@d.test", MESSAGE)
        del client.send
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()
    assert server.received_bytes.endswith(b"data\r\n")


def test_interrupted_before_anything_was_sent() -> None:
    """What is raised before a command has begun leaves the session as it was."""

    def authobject(challenge: bytes | None = None) -> str:
        raise Interrupted

    with (
        ScriptedServer([*opening(), *NOOP, *QUIT]) as server,
        smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE) as client,
    ):
        client.ehlo()
        with pytest.raises(Interrupted):
            client.auth("X", authobject)
        assert client.noop()[0] == 250
