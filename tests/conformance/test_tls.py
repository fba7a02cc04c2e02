"""TLS: STARTTLS and implicit, what is verified, and that nothing is said in clear where it was asked for."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

import smtp_blocking
from tests.certificates import REFUSED, WRONG_HOST, client_context, server_context, wrong_name_server_context
from tests.scripted import Close, Drain, Expect, ExpectEOF, Reset, ScriptedServer, Send, StartTLS, Step
from tests.scripts import DELIVERY, GREETING, MESSAGE, NOOP, PATIENCE, QUIT, FirstOctets, hello, opening, turn

from .backends import Backend

# How a handshake fails: for the reason that the system or OpenSSL gives, all of them OSError.
FAILED = (ssl.SSLError, ConnectionError)
READY = turn(b"starttls\r\n", b"220 2.0.0 go ahead")


def secured() -> Step:
    return StartTLS(server_context())


def test_starttls(backend: Backend) -> None:
    """STARTTLS, saying EHLO first if need be, returns the 220; what follows is encrypted."""
    with (
        ScriptedServer([*opening("STARTTLS"), *READY, secured(), *hello(), *DELIVERY, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        assert client.starttls(context=client_context()) == (220, b"2.0.0 go ahead")
        assert backend.tls_of(client) is not None
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


def test_starttls_forgets(backend: Backend) -> None:
    """Nothing that the server said in the clear survives (RFC 3207 4.2), and EHLO is said again before it matters."""
    script = [*opening("STARTTLS", "SIZE", "AUTH PLAIN"), *READY, secured(), *hello("8BITMIME"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.starttls(context=client_context())
        assert client.esmtp_features == {}
        assert (client.ehlo_resp, client.helo_resp, client.does_esmtp) == (None, None, False)
        client.ehlo_or_helo_if_needed()
        assert set(client.esmtp_features) == {"8bitmime"}


def test_starttls_not_offered(backend: Backend) -> None:
    """SMTPNotSupportedError, nothing sent, and the session goes on in the clear, if the caller wants that."""
    with ScriptedServer([*opening(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPNotSupportedError):
            client.starttls(context=client_context())
        assert client.noop()[0] == 250


@pytest.mark.parametrize("code", [454, 500, 501])
def test_starttls_refused(backend: Backend, code: int) -> None:
    """SMTPResponseException with the refusal; the session goes on in the clear, with its features."""
    script = [*opening("STARTTLS"), *turn(b"starttls", b"%d 4.7.0 not now" % code), *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPResponseException) as raised:
            client.starttls(context=client_context())
        assert raised.value.args == (code, b"4.7.0 not now")
        assert client.has_extn("starttls")
        assert client.noop()[0] == 250


def test_starttls_421(backend: Backend) -> None:
    """A 421 to STARTTLS closes."""
    with ScriptedServer([*opening("STARTTLS"), *turn(b"starttls", b"421 bye"), ExpectEOF()]) as server:
        client = backend.connect(server)
        with pytest.raises(backend.module.SMTPResponseException):
            client.starttls(context=client_context())
        assert client.sock is None


def test_implicit_tls(backend: Backend) -> None:
    """SMTP_SSL is encrypted from the first octet."""
    with (
        ScriptedServer([secured(), *opening(), *DELIVERY, *QUIT]) as server,
        backend.connect(server, "SMTP_SSL", context=client_context()) as client,
    ):
        assert backend.tls_of(client) is not None
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


@pytest.mark.parametrize("kind", ["STARTTLS", "SMTP_SSL"])
@pytest.mark.parametrize("fault", REFUSED)
def test_certificates_are_verified(backend: Backend, kind: str, fault: str) -> None:
    """A certificate that is not this server's, or not trusted, ends the connection: nothing is said over it."""
    handshake = StartTLS(REFUSED[fault](), refused=True)
    script = [*opening("STARTTLS"), *READY, handshake] if kind == "STARTTLS" else [handshake]
    with ScriptedServer(script) as server:
        if kind == "SMTP_SSL":
            with pytest.raises(ssl.SSLCertVerificationError):
                backend.connect(server, kind, context=client_context())
            return
        client = backend.connect(server)
        with pytest.raises(ssl.SSLCertVerificationError):
            client.starttls(context=client_context())
        assert client.sock is None
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)


@pytest.mark.parametrize("kind", ["STARTTLS", "SMTP_SSL"])
def test_verified_without_a_context(backend: Backend, kind: str) -> None:
    """Without a context certificates are verified by the system's authorities, which do not know that of the tests."""
    handshake = StartTLS(server_context(), refused=True)
    script = [*opening("STARTTLS"), *READY, handshake] if kind == "STARTTLS" else [handshake]
    with ScriptedServer(script) as server:
        if kind == "SMTP_SSL":
            with pytest.raises(ssl.SSLCertVerificationError):
                backend.connect(server, kind)
            return
        client = backend.connect(server)
        with pytest.raises(ssl.SSLCertVerificationError):
            client.starttls()
        assert client.sock is None


@pytest.mark.parametrize("kind", ["STARTTLS", "SMTP_SSL"])
def test_default_context(backend: Backend, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`default_ssl_context` makes the context where none is given."""
    monkeypatch.setattr(backend.module, "default_ssl_context", client_context)
    start = [*opening("STARTTLS"), *READY, secured()] if kind == "STARTTLS" else [secured(), *GREETING]
    with (
        ScriptedServer([*start, *hello(), *QUIT]) as server,
        backend.connect(server, "SMTP" if kind == "STARTTLS" else kind) as client,
    ):
        if kind == "STARTTLS":
            client.starttls()
        assert client.ehlo()[0] == 250


@pytest.mark.parametrize("kind", ["STARTTLS", "SMTP_SSL"])
def test_server_hostname(backend: Backend, kind: str) -> None:
    """`server_hostname` is the name that the certificate must have, where `host` is only an address."""
    handshake = StartTLS(wrong_name_server_context())
    start = [*opening("STARTTLS"), *READY, handshake] if kind == "STARTTLS" else [handshake, *GREETING]
    with ScriptedServer([*start, *hello(), *QUIT]) as server:
        options: dict[str, Any] = {"server_hostname": WRONG_HOST}
        if kind == "SMTP_SSL":
            options["context"] = client_context()
        with backend.connect(server, "SMTP" if kind == "STARTTLS" else kind, **options) as client:
            if kind == "STARTTLS":
                client.starttls(context=client_context())
            assert client.ehlo()[0] == 250


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("kind", ["SMTP", "SMTP_SSL"])
@pytest.mark.parametrize("late", [False, True])
def test_name_of_the_host(backend: Backend, host: str, kind: str, late: bool) -> None:
    """The name to be verified is that of the host, taken from ``"host:port"`` too, by constructor or `connect`."""
    start = [*opening("STARTTLS"), *READY, secured()] if kind == "SMTP" else [secured(), *GREETING]
    with ScriptedServer([*start, *hello(), *QUIT]) as server:
        options: dict[str, Any] = {"timeout": PATIENCE}
        if kind == "SMTP_SSL":
            options["context"] = client_context()
        if late:
            client = backend.open(kind, **options)
            client.connect(f"{host}:{server.port}")
        else:
            client = backend.open(kind, f"{host}:{server.port}", **options)
        with client:
            if kind == "SMTP":
                client.starttls(context=client_context())
            assert client.ehlo()[0] == 250


def test_name_that_cannot_be_verified(backend: Backend) -> None:
    """A connection whose host nobody knows needs a `server_hostname`: ValueError before STARTTLS, session usable."""
    with ScriptedServer([*opening("STARTTLS"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        client._host = ""  # as for a socket that was handed in
        with pytest.raises(ValueError, match="server_hostname"):
            client.starttls(context=client_context())
        assert client.noop()[0] == 250


@pytest.mark.parametrize(
    "answer",
    [[Close()], [Reset()], [Send(b"250 not TLS\r\n"), Drain()], [Send(b"\x16\x03\x01\x00\x05hello"), Drain()]],
    ids=["closes", "resets", "speaks in clear", "nonsense"],
)
@pytest.mark.parametrize("kind", ["STARTTLS", "SMTP_SSL"])
def test_handshake_that_fails(backend: Backend, answer: list[Step], kind: str) -> None:
    """A handshake that fails is an OSError (ssl.SSLError is one), and the connection is closed."""
    # One octet of the client's hello is read first, so that what follows is no injection behind the 220.
    answer = [FirstOctets(), *answer]
    with ScriptedServer([*opening("STARTTLS"), *READY, *answer] if kind == "STARTTLS" else answer) as server:
        if kind == "SMTP_SSL":
            with pytest.raises(FAILED):
                backend.connect(server, kind, context=client_context())
            return
        client = backend.connect(server)
        with pytest.raises(FAILED):
            client.starttls(context=client_context())
        assert client.sock is None
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.noop()


def test_starttls_twice(backend: Backend) -> None:
    """In TLS a server does not offer it again; one that does gets no second handshake inside the first."""
    with (
        ScriptedServer([*opening("STARTTLS"), *READY, secured(), *hello("SIZE"), *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.starttls(context=client_context())
        with pytest.raises(backend.module.SMTPNotSupportedError):
            client.starttls(context=client_context())
        assert client.noop()[0] == 250


def test_keyfile_and_certfile(backend: Backend) -> None:
    """`smtplib`'s old arguments still work where they stand alone, with its warning; with a context they do not."""
    client = backend.open("SMTP")
    with pytest.raises(ValueError, match="context"):
        client.starttls(keyfile="key.pem", certfile="cert.pem", context=client_context())
    with pytest.raises(ValueError, match="context"):
        backend.open("SMTP_SSL", keyfile="key.pem", certfile="cert.pem", context=client_context())
    with pytest.warns(DeprecationWarning, match="deprecated"), pytest.raises(FileNotFoundError):
        backend.open("SMTP_SSL", keyfile="no such file", certfile="no such file")


SERVERS: list[Callable[[], smtp_blocking.Server]] = [
    lambda: smtp_blocking.Server(tls_context=server_context()),
    lambda: smtp_blocking.Server(tls_context=server_context(), implicit_tls=True),
]


@pytest.mark.parametrize("implicit", [False, True])
def test_our_own_server(backend: Backend, implicit: bool) -> None:
    """Between our own two ends: large messages in both kinds of TLS, and STARTTLS is not offered inside."""
    content = b"0123456789abcde\r\n" * 100_000
    with SERVERS[implicit]() as server:
        options = {"context": client_context()} if implicit else {}
        with backend.connect(server, "SMTP_SSL" if implicit else "SMTP", **options) as client:
            if not implicit:
                client.starttls(context=client_context())
            client.ehlo()
            assert not client.has_extn("starttls")
            assert client.sendmail("a@client.test", "b@mx.test", content) == {}
            assert client.docmd("STARTTLS")[0] == 503
            assert client.noop()[0] == 250
    assert server.messages[0].content == content


def test_end_without_close_notify(backend: Backend) -> None:
    """After QUIT a server that just hangs up does no harm; in the middle of a reply it is a lost connection."""
    polite: list[Step] = [Expect(b"quit"), Send(b"221 bye\r\n"), Close(close_notify=False)]
    with (
        ScriptedServer([secured(), *opening(), *polite]) as server,
        backend.connect(server, "SMTP_SSL", context=client_context()) as client,
    ):
        client.ehlo()
    with ScriptedServer(
        [secured(), *GREETING, Expect(), Send(b"250-mx.test\r\n250 "), Close(close_notify=False)]
    ) as server:
        client = backend.connect(server, "SMTP_SSL", context=client_context())
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.ehlo()
