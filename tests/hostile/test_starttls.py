"""STARTTLS under attack: octets injected in the clear, downgrades, and handshakes that never end."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.states import Stage
from tests.certificates import authority, client_context, server_context
from tests.conformance.backends import Backend
from tests.faults import Faulty
from tests.scripted import (
    Close,
    Drain,
    Drip,
    Expect,
    ExpectEOF,
    ExpectHangUp,
    ScriptedServer,
    Send,
    Signal,
    StartTLS,
    Step,
)
from tests.scripts import GREETING, HASTE, MESSAGE, PATIENCE, FirstOctets, hello, opening, turn

INJECTED = [
    b"250 injected\r\n",
    b"250-injected\r\n250 AUTH PLAIN\r\n",
    b"421 injected\r\n",
    b"2",
    b"\r\n",
    b"\x16\x03\x03\x00\x01x",
    b"250 injected\r\n" * 5000,
]


@pytest.mark.parametrize("injected", INJECTED, ids=range(len(INJECTED)))
def test_injection_behind_the_220(backend: Backend, injected: bytes) -> None:
    """Octets in the clear behind the 220 end the connection (CVE-2011-0411): no handshake, and nothing is believed."""
    script = [*opening("STARTTLS"), *turn(b"starttls", b"220 go ahead\r\n" + injected.removesuffix(b"\r\n")), Drain()]
    with ScriptedServer(script) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.starttls(context=client_context())
        assert client.sock is None
        assert not client.has_extn("auth")
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.login("user", "password")
    # Not an octet was sent behind STARTTLS: no hello of TLS either.
    assert server.received_bytes == b"ehlo client.test\r\nSTARTTLS\r\n"


@pytest.mark.parametrize("injected", INJECTED, ids=range(len(INJECTED)))
def test_injection_before_the_handshake(backend: Backend, injected: bytes) -> None:
    """The same in a segment of its own: seen before the handshake, or the handshake fails over it."""
    script = [*opening("STARTTLS"), *turn(b"starttls", b"220 go ahead"), Send(injected), Drain()]
    with ScriptedServer(script) as server:
        # Fewer octets than a record's header are waited on, if they come late.
        client = backend.connect(server, timeout={Stage.TLS: 5 * HASTE})
        with pytest.raises((smtp_blocking.SMTPServerDisconnected, ssl.SSLError, TimeoutError)):
            client.starttls(context=client_context())
        assert client.sock is None
        assert not client.has_extn("auth")
    assert b"AUTH" not in server.received_bytes


def test_injection_before_the_220(backend: Backend) -> None:
    """A 220 that came before STARTTLS was sent is no answer to it."""
    script = [*GREETING, Expect(b"ehlo"), Send(b"250-mx.test\r\n250 STARTTLS\r\n220 go ahead\r\n"), ExpectEOF()]
    with ScriptedServer(script) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.starttls(context=client_context())
    assert len(server.received) == 1


def test_nothing_of_the_clear_is_left(backend: Backend) -> None:
    """What was received in the clear is not read again under TLS: the first reply there is that of the server."""
    script = [*opening("STARTTLS", "AUTH PLAIN"), *turn(b"starttls", b"220 go ahead"), StartTLS(server_context())]
    with ScriptedServer([*script, *hello("SIZE"), Drain()]) as server:
        client = backend.connect(server)
        client.starttls(context=client_context())
        assert client.ehlo() == (250, b"mx.test\nSIZE")
        assert not client.has_extn("auth")
        client.close()


# Time-outs by which nothing but a handshake is waited for briefly.
BRIEF_HANDSHAKE = {Stage.TLS: HASTE}


@pytest.mark.parametrize(
    "handshake",
    [[ExpectHangUp()], [ExpectHangUp(Drip(b"\x16\x03\x03\x40\x00" + b"x" * 5000, interval=0.01))]],
    ids=["silent", "drips"],
)
@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit TLS"])
def test_handshake_without_end(backend: Backend, handshake: list[Step], implicit: bool) -> None:
    """The time-out is for the handshake as a whole."""
    if implicit:
        with ScriptedServer(handshake) as server, pytest.raises(TimeoutError):
            backend.connect(server, "SMTP_SSL", timeout=BRIEF_HANDSHAKE, context=client_context())
        return
    with ScriptedServer([*opening("STARTTLS"), *turn(b"starttls", b"220 go"), FirstOctets(), *handshake]) as server:
        client = backend.connect(server, timeout=BRIEF_HANDSHAKE)
        with pytest.raises(TimeoutError):
            client.starttls(context=client_context())
        assert client.sock is None
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()


def test_stripped(backend: Backend) -> None:
    """A server, or somebody on the way, that hides STARTTLS gets an exception, and no message in the clear."""
    with ScriptedServer([*opening("AUTH PLAIN"), ExpectEOF()]) as server:
        client = backend.connect(server)
        with pytest.raises(smtp_blocking.SMTPNotSupportedError):
            client.starttls(context=client_context())
        client.close()
    assert server.received == [b"ehlo client.test\r\n"]


@pytest.mark.parametrize("reply", [b"250 sure", b"299 go ahead"])
def test_other_successes(backend: Backend, reply: bytes) -> None:
    """A 2xx that is not 220 is still a go-ahead: TLS or an exception, never a session that believes it is encrypted."""
    with ScriptedServer([*opening("STARTTLS"), *turn(b"starttls", reply), ExpectHangUp()]) as server:
        client = backend.connect(server, timeout=BRIEF_HANDSHAKE)
        with pytest.raises(OSError, match=r".") as raised:
            client.starttls(context=client_context())
        assert isinstance(raised.value, (TimeoutError, smtp_blocking.SMTPException))
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
    assert b"mail from" not in server.received_bytes


def test_close_in_the_middle_of_the_handshake(backend: Backend) -> None:
    """`close` from another thread ends a handshake that waits, and nothing goes on in the clear."""
    started = threading.Event()
    failures: list[BaseException] = []

    def secure() -> None:
        try:
            client.starttls(context=client_context())
        except OSError as error:
            failures.append(error)

    script = [*opening("STARTTLS"), *turn(b"starttls", b"220 go"), FirstOctets(), Signal(started), ExpectHangUp()]
    with ScriptedServer(script) as server:
        client = backend.connect(server)
        thread = threading.Thread(target=secure)
        thread.start()
        assert started.wait(PATIENCE)
        client.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert failures
    assert client.sock is None


def test_server_in_the_clear_behind_tls(backend: Backend) -> None:
    """Octets in the clear once TLS has started are an error, not a reply."""

    class InTheClear:
        def play(self, conversation: Any) -> None:
            socket.socket.sendall(conversation._socket, b"250 injected\r\n")

    script = [*opening("STARTTLS"), *turn(b"starttls", b"220 go"), StartTLS(server_context()), Expect(b"ehlo")]
    with ScriptedServer([*script, InTheClear(), Close(close_notify=False)]) as server:
        client = backend.connect(server)
        client.starttls(context=client_context())
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.ehlo()


def test_proxy_is_no_part_of_the_conversation(backend: Backend) -> None:
    """Through a proxy that lets all through, STARTTLS works as it does without one."""
    with (
        smtp_blocking.Server(tls_context=server_context()) as server,
        Faulty(server.host, server.port) as proxy,
        backend.connect(proxy) as client,
    ):
        client.starttls(context=client_context())
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
    assert len(server.messages) == 1


def test_a_client_certificate_that_is_missing(backend: Backend) -> None:
    """A server that wants a certificate and gets none ends the connection: an error, and nothing was sent in clear."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    with smtp_blocking.Server(tls_context=context) as server:
        client = backend.connect(server)

        def send() -> None:
            client.starttls(context=client_context())
            # In TLS 1.3 the client is done before the server has looked at what it sent.
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)

        with pytest.raises((smtp_blocking.SMTPServerDisconnected, ssl.SSLError)):
            send()
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()
        client.close()
        assert server.messages == []
