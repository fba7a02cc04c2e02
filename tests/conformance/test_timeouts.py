"""The `timeout` argument: what it may be, what it means, and how the socket shows it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from smtp_proto.states import DEFAULT_TIMEOUTS, Stage
from smtp_surface import timeouts
from tests.certificates import client_context, server_context
from tests.needs import needs_linux, needs_unix_sockets
from tests.scripted import Delay, Expect, ExpectEOF, ExpectHangUp, ScriptedServer, Send, StartTLS, Step
from tests.scripts import GREETING, HASTE, NOOP, PATIENCE, QUIT, hello, opening, turn

from .backends import Backend


@pytest.fixture
def default_timeout() -> Iterator[float]:
    """A default for all sockets of the process."""
    socket.setdefaulttimeout(PATIENCE + 1)
    yield PATIENCE + 1
    socket.setdefaulttimeout(None)


KINDS = pytest.mark.parametrize("kind", ["SMTP", "SMTP_SSL", "LMTP"])


def script_and_options(kind: str) -> tuple[list[Step], dict[str, Any]]:
    """A greeting from a server of this kind, and what a client needs to believe it."""
    if kind == "SMTP_SSL":
        return [StartTLS(server_context()), *GREETING, ExpectEOF()], {"context": client_context()}
    return [*GREETING, ExpectEOF()], {}


@KINDS
@pytest.mark.parametrize(("timeout", "shown"), [(7, 7.0), (7.5, 7.5), (None, None)])
def test_socket_shows_the_timeout(backend: Backend, kind: str, timeout: float | None, shown: float | None) -> None:
    """The time-out that was given is that of every wait, and what a blocking socket shows; None is none at all."""
    script, options = script_and_options(kind)
    with ScriptedServer(script) as server:
        client = backend.open(kind, server.host, server.port, timeout=timeout, **options)
        assert backend.timeout_of(client) == shown
        client.close()


@KINDS
def test_without_a_default_of_the_process(backend: Backend, kind: str) -> None:
    """Not given, it is no time-out of the socket; what RFC 5321 recommends applies to each stage all the same."""
    script, options = script_and_options(kind)
    with ScriptedServer(script) as server:
        client = backend.open(kind, server.host, server.port, **options)
        assert backend.timeout_of(client) is None
        client.close()


@KINDS
def test_with_a_default_of_the_process(backend: Backend, kind: str, default_timeout: float) -> None:
    """Not given, it is `socket.getdefaulttimeout()`; None overrides that."""
    script, options = script_and_options(kind)
    with ScriptedServer(script, script) as server:
        client = backend.open(kind, server.host, server.port, **options)
        assert backend.timeout_of(client) == default_timeout
        client.close()
        client = backend.open(kind, server.host, server.port, timeout=None, **options)
        assert backend.timeout_of(client) is None
        client.close()


def test_default_of_the_process_is_the_deadline(backend: Backend) -> None:
    """`socket.getdefaulttimeout()` ends the wait for a reply."""
    with ScriptedServer([*GREETING, ExpectHangUp()]) as server:
        socket.setdefaulttimeout(5 * HASTE)  # for the connection and the greeting, too, which are to come
        try:
            client = backend.open("SMTP", server.host, server.port)
        finally:
            socket.setdefaulttimeout(None)
        with pytest.raises(backend.module.SMTPServerDisconnected, match="timed out"):
            client.noop()


@KINDS
@pytest.mark.parametrize("timeout", [0, 0.0])
def test_zero_is_refused(backend: Backend, kind: str, timeout: float) -> None:
    """Zero would be a non-blocking socket: ValueError, and nobody is connected to."""
    script, options = script_and_options(kind)
    with ScriptedServer(script) as server:
        with pytest.raises(ValueError, match="timeout=0"):
            backend.open(kind, server.host, server.port, timeout=timeout, **options)
        client = backend.open(kind, timeout=timeout, **options)
        with pytest.raises(ValueError, match="timeout=0"):
            client.connect(server.host, server.port)
    assert server.conversations == []


@pytest.mark.parametrize("timeout", [3e6, float("inf")])
def test_longer_than_can_be_waited_for(backend: Backend, timeout: float) -> None:
    """That is no time-out, whether the client or its socket is told."""
    with ScriptedServer([*opening(), *NOOP, *NOOP, *QUIT]) as server:
        client = backend.open("SMTP", server.host, server.port, timeout=timeout)
        client.ehlo()
        assert client.noop()[0] == 250
        if backend.name == "blocking":
            client.sock.settimeout(3e6)
        assert client.noop()[0] == 250
        client.quit()


def test_zero_is_refused_for_unix_sockets(backend: Backend) -> None:
    """The same where the connection is no network's."""
    needs_unix_sockets()
    with (
        ScriptedServer(GREETING, unix=True) as server,
        pytest.raises(ValueError, match="timeout=0"),
    ):
        backend.open("LMTP", server.host, timeout=0)
    assert server.conversations == []


@pytest.mark.parametrize("timeout", [5, None])
def test_socket_stays_as_it_is(backend: Backend, timeout: float | None) -> None:
    """After commands, deliveries, replies in pieces and TLS the socket still shows the time-out it was given."""
    script = [*opening("STARTTLS"), *turn(b"starttls", b"220 go"), StartTLS(server_context()), *hello(), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, timeout=timeout) as client:
        client.ehlo()
        assert backend.timeout_of(client) == timeout
        client.starttls(context=client_context())
        assert backend.timeout_of(client) == timeout
        client.ehlo()
        assert backend.timeout_of(client) == timeout


def test_deadline_is_for_each_reply(backend: Backend) -> None:
    """Replies that are slow, and in time, add up to nothing."""
    slow: list[Step] = [Expect(b"noop"), Delay(0.15), Send(b"250 ok\r\n")]
    with ScriptedServer([*opening(), *slow * 8, *QUIT]) as server, backend.connect(server, timeout=1) as client:
        client.ehlo()
        for _ in range(8):
            assert client.noop() == (250, b"ok")


def test_tls_handshake_has_a_deadline(backend: Backend) -> None:
    """SMTP_SSL to a server that does not speak TLS, and says nothing, ends after the time-out."""
    with (
        ScriptedServer([ExpectHangUp()]) as server,
        pytest.raises(TimeoutError),
    ):
        backend.open("SMTP_SSL", server.host, server.port, timeout=HASTE, context=client_context())


def test_connecting_has_a_deadline(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not given, the time-out is what is recommended for each stage, and for connecting too."""
    needs_linux()  # where a queue of connections that is full makes the next one wait, instead of refusing it
    monkeypatch.setattr(timeouts, "DEFAULT_TIMEOUTS", {**DEFAULT_TIMEOUTS, Stage.CONNECT: HASTE})
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        with socket.create_connection((host, port), PATIENCE), pytest.raises(TimeoutError):
            backend.open("SMTP", host, port)


def test_a_table(backend: Backend) -> None:
    """A table has the seconds of some stages; the others keep what is recommended, and the socket shows none."""
    with ScriptedServer([*opening(), ExpectHangUp()]) as server:
        client = backend.open("SMTP", server.host, server.port, timeout={Stage.MAIL: HASTE, "data": None})
        client.ehlo()
        assert client._driver.timeouts == {**DEFAULT_TIMEOUTS, Stage.MAIL: HASTE, Stage.DATA: None}
        with pytest.raises(backend.module.SMTPServerDisconnected, match="timed out"):
            client.mail("a@client.test")


@pytest.mark.parametrize("wrong", [{"mail": 0}, {"MAIL": 1}, -1], ids=str)
def test_a_table_with_a_mistake(backend: Backend, wrong: Any) -> None:
    """A stage that there is not, and a time that is none, are a ValueError before anything is connected to."""
    with ScriptedServer() as server, pytest.raises(ValueError, match=r"timeout|Stage"):
        backend.open("SMTP", server.host, server.port, timeout=wrong)
