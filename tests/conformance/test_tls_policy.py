"""`tls`: when a client encrypts, and that what is required is never left out, whatever the server does."""

from __future__ import annotations

import ssl

import pytest

from tests.certificates import REFUSED, WRONG_HOST, client_context, server_context, wrong_name_server_context
from tests.scripted import Close, Drain, ExpectEOF, Reset, ScriptedServer, Send, StartTLS, Step
from tests.scripts import DELIVERY, GREETING, MESSAGE, NOOP, QUIT, FirstOctets, hello, opening, turn

from .backends import Backend

READY = turn(b"starttls\r\n", b"220 2.0.0 go ahead")
HANDSHAKE_FAILED = (ssl.SSLError, ConnectionError)


def secured() -> Step:
    return StartTLS(server_context())


@pytest.mark.parametrize("policy", ["opportunistic", "required"])
def test_encrypted_behind_the_greeting(backend: Backend, policy: str) -> None:
    """EHLO, STARTTLS, EHLO again: all that the client knows and does from then on is encrypted."""
    script = [*opening("STARTTLS", "AUTH PLAIN"), *READY, secured(), *hello("8BITMIME"), *DELIVERY, *QUIT]
    with (
        ScriptedServer(script) as server,
        backend.connect(server, tls=policy, context=client_context()) as client,
    ):
        assert set(client.esmtp_features) == {"8bitmime"}
        state = client.tls_state
        assert state is not None
        assert state.version is not None
        assert state.version.startswith("TLSv1.")
        assert state.cipher is not None
        assert state.verified
        assert state.server_hostname == server.host
        assert state.peer_certificate is not None
        assert state.peer["subjectAltName"]
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


@pytest.mark.parametrize("policy", ["opportunistic", "required"])
def test_again_with_each_connection(backend: Backend, policy: str) -> None:
    """A policy is for every connection of the client, and the name that is verified is that of the host."""
    script = [*opening("STARTTLS"), *READY, secured(), *hello(), *QUIT]
    with ScriptedServer(script, script) as server:
        client = backend.open("SMTP", tls=policy, context=client_context(), local_hostname="client.test")
        for _ in range(2):
            assert client.connect(server.host, server.port)[0] == 220
            assert client.tls_state is not None
            client.quit()
            assert client.tls_state is None


STRIPPED: dict[str, list[Step]] = {
    "not offered": opening("8BITMIME"),
    "EHLO refused": [*GREETING, *turn(b"ehlo", b"500 what?"), *turn(b"helo", b"250 mx.test")],
    "refused": [*opening("STARTTLS"), *turn(b"starttls", b"454 4.7.0 not now")],
    "refused for good": [*opening("STARTTLS"), *turn(b"starttls", b"500 what?")],
}


@pytest.mark.parametrize("how", STRIPPED)
def test_required_never_goes_on_in_the_clear(backend: Backend, how: str) -> None:
    """Stripped or refused, the connection is closed with an exception that says so."""
    module = backend.module
    with ScriptedServer([*STRIPPED[how], ExpectEOF()]) as server:
        client = backend.open("SMTP", tls="required", context=client_context(), local_hostname="client.test")
        refused = how.startswith("refused")
        with pytest.raises(module.SMTPResponseException if refused else module.SMTPNotSupportedError):
            client.connect(server.host, server.port)
        assert client.sock is None
        with pytest.raises(module.SMTPServerDisconnected):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)


@pytest.mark.parametrize("how", STRIPPED)
def test_opportunistic_goes_on_in_the_clear(backend: Backend, how: str) -> None:
    """Stripped or refused, the session goes on without TLS; that is all that opportunistic means."""
    with (
        ScriptedServer([*STRIPPED[how], *DELIVERY, *QUIT]) as server,
        backend.connect(server, tls="opportunistic", context=client_context()) as client,
    ):
        assert client.tls_state is None
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


def test_nobody_is_let_in(backend: Backend) -> None:
    """EHLO and HELO refused: there is nothing to go on with, whatever the policy."""
    script = [*GREETING, *turn(b"ehlo", b"550 no"), *turn(b"helo", b"550 5.7.1 not you"), ExpectEOF()]
    with ScriptedServer(script) as server:
        client = backend.open("SMTP", tls="opportunistic", local_hostname="client.test")
        with pytest.raises(backend.module.SMTPHeloError):
            client.connect(server.host, server.port)
        assert client.sock is None


@pytest.mark.parametrize("policy", ["opportunistic", "required"])
@pytest.mark.parametrize(
    "broken",
    [
        [*turn(b"starttls\r\n", b"421 4.3.2 bye"), ExpectEOF()],
        [*turn(b"starttls\r\n", b"220 go\r\n250 injected"), Drain()],
        [*READY, FirstOctets(), Close()],
        [*READY, FirstOctets(), Reset()],
        [*READY, FirstOctets(), Send(b"250 no TLS here\r\n"), Drain()],
        [*READY, StartTLS(REFUSED["wrong name"](), refused=True)],
    ],
    ids=["421", "injection", "closes", "resets", "speaks in the clear", "wrong name"],
)
def test_what_was_begun_never_ends_in_the_clear(backend: Backend, policy: str, broken: list[Step]) -> None:
    """Once the server has agreed, TLS is established or the connection is closed, whatever the policy."""
    with ScriptedServer([*opening("STARTTLS"), *broken]) as server:
        client = backend.open("SMTP", tls=policy, context=client_context(), local_hostname="client.test")
        with pytest.raises((backend.module.SMTPException, *HANDSHAKE_FAILED)):
            client.connect(server.host, server.port)
        assert client.sock is None
    assert b"mail" not in server.received_bytes


@pytest.mark.parametrize("kind", ["SMTP", "LMTP"])
def test_implicit(backend: Backend, kind: str) -> None:
    """`tls="implicit"` makes any class TLS from the first octet, like SMTP_SSL."""
    verb = b"lhlo " if kind == "LMTP" else b"ehlo "
    with (
        ScriptedServer([secured(), *GREETING, *hello(verb=verb), *QUIT]) as server,
        backend.connect(server, kind, tls="implicit", context=client_context()) as client,
    ):
        assert client.tls_state is not None
        client.ehlo()
    assert backend.open("SMTP", tls="implicit").default_port == 465
    assert backend.open("SMTP").default_port == 25


@pytest.mark.parametrize("fault", REFUSED)
def test_implicit_is_verified(backend: Backend, fault: str) -> None:
    """A certificate that does not prove the server ends the connection before its greeting."""
    with (
        ScriptedServer([StartTLS(REFUSED[fault](), refused=True)]) as server,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        backend.connect(server, tls="implicit", context=client_context())


@pytest.mark.parametrize("policy", ["opportunistic", "required", "implicit"])
def test_server_hostname(backend: Backend, policy: str) -> None:
    """`server_hostname` is the name that is verified, where the host is only an address."""
    handshake = StartTLS(wrong_name_server_context())
    start = [handshake, *opening()] if policy == "implicit" else [*opening("STARTTLS"), *READY, handshake, *hello()]
    with (
        ScriptedServer([*start, *NOOP, *QUIT]) as server,
        backend.connect(server, tls=policy, context=client_context(), server_hostname=WRONG_HOST) as client,
    ):
        client.ehlo_or_helo_if_needed()
        assert client.tls_state is not None
        assert client.tls_state.server_hostname == WRONG_HOST
        client.noop()


def test_unverified_is_said_to_be(backend: Backend) -> None:
    """A context that verifies nothing is the caller's choice, and `tls_state` says what it is worth."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    script = [*opening("STARTTLS"), *READY, StartTLS(REFUSED["wrong name"]()), *hello(), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, tls="required", context=context) as client:
        assert client.tls_state is not None
        assert not client.tls_state.verified
        assert client.tls_state.peer == {}
        assert client.tls_state.peer_certificate is not None


def test_the_context_of_the_client(backend: Backend) -> None:
    """`context` holds for `starttls` too, and in its place nothing less is taken."""
    with (
        ScriptedServer([*opening("STARTTLS"), *READY, secured(), *QUIT]) as server,
        backend.connect(server, context=client_context()) as client,
    ):
        client.starttls()
        assert client.tls_state is not None
        assert client.tls_state.verified


def test_no_such_policy(backend: Backend) -> None:
    """A policy that there is not is a ValueError, and so is one that a class cannot keep."""
    with pytest.raises(ValueError, match="'none', 'opportunistic', 'required', 'implicit'"):
        backend.open("SMTP", tls="maybe")
    with pytest.raises(ValueError, match="first octet"):
        backend.open("SMTP_SSL", tls="required")


def test_a_greeting_that_refuses(backend: Backend) -> None:
    """Nothing is encrypted for a server that is not at home: its refusal is what is told."""
    with ScriptedServer([Send(b"554 5.3.2 no\r\n")]) as server, pytest.raises(backend.module.SMTPConnectError):
        backend.connect(server, tls="required", context=client_context())
