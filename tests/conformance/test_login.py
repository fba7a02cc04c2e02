"""`login` as a whole: which mechanism it takes, what a refusal means, and where a password may be shown at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.server_session import Settings
from tests.certificates import client_context, server_context
from tests.scripted import Expect, ExpectEOF, ScriptedServer, Send
from tests.scripts import GREETING, NOOP, QUIT, hello, opening, turn

from .backends import Backend, Client
from .test_auth import CONVERSATIONS, PASSWORD, USER, WELCOME


@pytest.mark.parametrize(
    ("offered", "used"),
    [
        ("PLAIN LOGIN CRAM-MD5", b"AUTH CRAM-MD5"),
        ("LOGIN PLAIN", b"AUTH PLAIN"),
        ("XOAUTH2 LOGIN", b"AUTH LOGIN"),
        ("plain", b"AUTH PLAIN"),
    ],
)
def test_best_mechanism(backend: Backend, offered: str, used: bytes) -> None:
    """The best of CRAM-MD5, PLAIN and LOGIN that is offered, in this order."""
    with (
        ScriptedServer([*opening(f"AUTH {offered}"), Expect(used), Send(WELCOME + b"\r\n"), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.login(USER, PASSWORD)


@pytest.mark.parametrize("code", [504, 534, 500])
def test_next_mechanism(backend: Backend, code: int) -> None:
    """A mechanism that cannot be had is followed by the next."""
    refused = turn(b"auth cram-md5", b"%d not that" % code)
    with (
        ScriptedServer([*opening("AUTH PLAIN CRAM-MD5"), *refused, *turn(b"auth plain", WELCOME), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        assert client.login(USER, PASSWORD)[0] == 235


@pytest.mark.parametrize("code", [535, 454])
def test_no_other_mechanism(backend: Backend, code: int) -> None:
    """Wrong credentials are not tried in another way, which locks people out; the session goes on."""
    refused = turn(b"auth plain", b"%d 5.7.8 no" % code)
    with (
        ScriptedServer([*opening("AUTH PLAIN LOGIN"), *refused, *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
            client.login(USER, PASSWORD)
        assert raised.value.args == (code, b"5.7.8 no")
        assert client.noop()[0] == 250


def test_421_to_auth(backend: Backend) -> None:
    """A 421 is raised as the refusal it is, and closes."""
    script = [*opening("AUTH PLAIN LOGIN"), *turn(b"auth", b"421 4.7.0 too many"), ExpectEOF()]
    with ScriptedServer(script) as server:
        client = backend.connect(server)
        with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
            client.login(USER, PASSWORD)
        assert raised.value.smtp_code == 421
        assert client.sock is None


def test_logged_in_already(backend: Backend) -> None:
    """A 503 says that the connection is logged in already (RFC 4954 4), and is returned."""
    with (
        ScriptedServer([*opening("AUTH PLAIN"), *turn(b"auth", b"503 5.5.1 already"), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        assert client.login(USER, PASSWORD) == (503, b"5.5.1 already")


@pytest.mark.parametrize(
    ("extensions", "error"),
    [([], "SMTPNotSupportedError"), (["AUTH XOAUTH2 GSSAPI"], "SMTPException"), (["AUTH"], "SMTPException")],
)
def test_nothing_to_log_in_with(backend: Backend, extensions: list[str], error: str) -> None:
    """No AUTH, or none of the three: an exception, nothing sent, and the session goes on."""
    with ScriptedServer([*opening(*extensions), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(getattr(backend.module, error)):
            client.login(USER, PASSWORD)
        assert client.noop()[0] == 250


class Overheard:
    """Makes a client believe that others can listen, which on loopback nobody can."""

    def __init__(self, backend: Backend) -> None:
        self.kind = type("Overheard", (backend.module.SMTP,), {"_may_be_overheard": lambda client: True})


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_in_the_clear(backend: Backend, mechanism: str) -> None:
    """A mechanism that shows the password is refused where others can listen, unless that is allowed."""
    kind = Overheard(backend).kind
    with (
        ScriptedServer([*opening(f"AUTH {mechanism}"), *NOOP, *QUIT]) as server,
        backend.connect(server, kind) as client,
    ):
        with pytest.raises(backend.module.SMTPNotSupportedError, match="in clear"):
            client.login(USER, PASSWORD)
        assert client.noop()[0] == 250
    _, steps = CONVERSATIONS[mechanism]
    with (
        ScriptedServer([*opening(f"AUTH {mechanism}"), *steps, *QUIT]) as server,
        backend.connect(server, kind, allow_cleartext_auth=True) as client,
    ):
        assert client.login(USER, PASSWORD)[0] == 235


def test_proof_in_the_clear(backend: Backend) -> None:
    """A mechanism that only proves the password may be used anywhere."""
    _, steps = CONVERSATIONS["CRAM-MD5"]
    with (
        ScriptedServer([*opening("AUTH CRAM-MD5 PLAIN"), *steps, *QUIT]) as server,
        backend.connect(server, Overheard(backend).kind) as client,
    ):
        assert client.login(USER, PASSWORD)[0] == 235


USES: list[Callable[[Client], Any]] = [
    lambda client: client.login(USER, PASSWORD),
    lambda client: client.login(USER, PASSWORD, initial_response_ok=False),
]


@pytest.mark.parametrize("use", USES, ids=["at once", "later"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_our_own_server(backend: Backend, use: Callable[[Client], Any], mechanism: str) -> None:
    """Between our own two ends, in TLS: logged in, then MAIL is allowed."""
    settings = Settings(mechanisms=(mechanism,), require_auth=True)
    with (
        smtp_blocking.Server(users={USER: PASSWORD}, tls_context=server_context(), settings=settings) as server,
        backend.connect(server) as client,
    ):
        client.starttls(context=client_context())
        client.ehlo()
        assert client.mail("a@b.test")[0] == 530
        assert use(client)[0] == 235
        assert use(client)[0] == 503
        assert client.mail("a@b.test")[0] == 250


def test_our_own_server_refuses(backend: Backend) -> None:
    """Between our own two ends a wrong password is a 535, and after three the server hangs up."""
    with smtp_blocking.Server(users={USER: PASSWORD}, cleartext_auth=True) as server:
        client = backend.connect(server)
        for code in (535, 535, 421):
            with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
                client.login(USER, "wrong")
            assert raised.value.smtp_code == code
        assert client.sock is None


def test_features_after_login(backend: Backend) -> None:
    """Logging in does not change what is known of the server: no EHLO is said again."""
    script = [*GREETING, *hello("AUTH PLAIN", "SIZE"), *turn(b"auth", WELCOME), *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.login(USER, PASSWORD)
        assert client.has_extn("size")
        client.ehlo_or_helo_if_needed()
        client.noop()
