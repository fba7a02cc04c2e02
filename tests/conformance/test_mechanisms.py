"""Logging in with the mechanisms beyond `smtplib`'s three: tokens, SCRAM, certificates, and what each was answered."""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spnego

import smtp_blocking
from smtp_proto.errors import MissingExtra
from smtp_proto.replies import Reply
from smtp_proto.sasl import Anonymous, External, Mechanism, Plain
from smtp_proto.sasl_exchange import Circumstances
from smtp_proto.sasl_oauth import OAuthBearer, XOAuth2
from smtp_proto.sasl_scram import Scram
from smtp_proto.sasl_server import SERVER_MECHANISMS
from smtp_proto.sasl_spnego import Gssapi
from tests.scripted import Conversation, ExpectEOF, ExpectExactly, ScriptedServer, Send, Step
from tests.scripts import NOOP, QUIT, opening, turn

from .backends import Backend
from .test_login import Overheard

USER, PASSWORD, TOKEN = "tim@mx.test", "s3cret w\xf6rds", "ya29.t0ken"
WELCOME = b"235 2.7.0 welcome"
REASON = b64encode(b'{"status":"401","schemes":"bearer"}')
XOAUTH2 = b64encode(f"user={USER}\1auth=Bearer {TOKEN}\1\1".encode())


def said(line: bytes, reply: bytes) -> list[Step]:
    """A line of the client's, octet for octet, and the reply."""
    return [ExpectExactly(line + b"\r\n"), Send(reply + b"\r\n")]


class Source:
    """Gives tokens one after the other, the first for the asking and the others by refreshing it."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked: list[str] = []

    def __call__(self) -> str:
        self.asked.append("call")
        return self.tokens.pop(0)

    def refresh(self) -> str:
        self.asked.append("refresh")
        return self.tokens.pop(0)


# -- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [lambda: TOKEN, lambda: lambda: TOKEN, lambda: Source(TOKEN)], ids=["text", "function", "refreshable"]
)
def test_xoauth2(backend: Backend, make: Callable[[], Any]) -> None:
    """A token, or what gives one, and the exchange octet for octet."""
    source = make()
    with (
        ScriptedServer([*opening("AUTH PLAIN XOAUTH2"), *said(b"AUTH XOAUTH2 " + XOAUTH2, WELCOME), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        assert client.login(USER, token=source) == (235, b"2.7.0 welcome")


def test_oauthbearer(backend: Backend) -> None:
    """OAUTHBEARER goes first; it says where the client thinks that it is (RFC 7628 3.1)."""
    response = f"n,a={USER},\1host=%s\1port=%d\1auth=Bearer {TOKEN}\1\1"

    class Answering:
        def play(self, conversation: Conversation) -> None:
            line = conversation.record(conversation.read_line("AUTH"))
            expected = response % (server.host, server.port)
            assert b64decode(line.split()[2]) == expected.encode()
            conversation.send(WELCOME + b"\r\n")

    with (
        ScriptedServer([*opening("AUTH XOAUTH2 OAUTHBEARER"), Answering(), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        assert client.login(USER, token=TOKEN)[0] == 235


@pytest.mark.parametrize(("mechanism", "answer"), [("XOAUTH2", b""), ("OAUTHBEARER", b"AQ==")])
def test_the_reason_of_a_refusal(backend: Backend, mechanism: str, answer: bytes) -> None:
    """The error challenge is answered with next to nothing, and the exception has its JSON."""
    steps = [*turn(f"auth {mechanism}".encode(), b"334 " + REASON), *said(answer, b"535 5.7.8 no")]
    with (
        ScriptedServer([*opening(f"AUTH {mechanism} PLAIN"), *steps, *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
            client.login(USER, token=TOKEN)
        assert raised.value.args == (535, b"5.7.8 no")
        assert raised.value.oauth_error == {"status": "401", "schemes": "bearer"}
        assert raised.value.attempts == [(mechanism, Reply(535, "5.7.8 no"))]
        assert TOKEN not in f"{raised.value!r}{raised.value.attempts}"
        assert client.noop()[0] == 250


def refused(mechanism: bytes = b"xoauth2") -> list[Step]:
    return [*turn(b"auth " + mechanism, b"334 " + REASON), *said(b"", b"535 5.7.8 expired")]


def test_a_token_is_refreshed_once(backend: Backend) -> None:
    """After a 535 a source that can gives another token, which is tried in the same way; there is no third try."""
    fresh = said(b"AUTH XOAUTH2 " + XOAUTH2, WELCOME)
    source = Source("old", TOKEN)
    with (
        ScriptedServer([*opening("AUTH XOAUTH2 PLAIN"), *refused(), *fresh, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        assert client.login(USER, PASSWORD, token=source)[0] == 235
    assert source.asked == ["call", "refresh"]
    source = Source("old", "older", "oldest")
    with (
        ScriptedServer([*opening("AUTH XOAUTH2 PLAIN"), *refused() * 2, *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
            client.login(USER, PASSWORD, token=source)
        assert [mechanism for mechanism, _ in raised.value.attempts] == ["XOAUTH2"] * 2
        assert client.noop()[0] == 250
    assert source.asked == ["call", "refresh"]


def test_a_function_is_asked_once(backend: Backend) -> None:
    """A plain function gives no second token, and is not asked where no mechanism takes one."""
    asked: list[None] = []

    def source() -> str:
        asked.append(None)
        return "old"

    with (
        ScriptedServer([*opening("AUTH XOAUTH2"), *refused(), *QUIT]) as server,
        backend.connect(server) as client,
        pytest.raises(backend.module.SMTPAuthenticationError),
    ):
        client.login(USER, token=source)
    assert len(asked) == 1
    with (
        ScriptedServer([*opening("AUTH PLAIN"), *QUIT]) as server,
        backend.connect(server) as client,
        pytest.raises(backend.module.SMTPException, match="No suitable"),
    ):
        client.login(USER, token=source)
    assert len(asked) == 1


def test_a_source_that_fails(backend: Backend) -> None:
    """What a source raises goes on, what it gives must be a token, and nothing was sent; the session goes on."""

    def failing() -> str:
        raise ZeroDivisionError

    wrong: list[tuple[Any, type[Exception]]] = [
        *((failing, ZeroDivisionError), (lambda: None, TypeError), (lambda: b"octets", TypeError)),
        *((lambda: "a\r\nb", ValueError), ("", ValueError)),
    ]
    with (
        ScriptedServer([*opening("AUTH XOAUTH2 OAUTHBEARER"), *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        for source, error in wrong:
            with pytest.raises(error):
                client.login(USER, token=source)
        assert client.noop()[0] == 250


def test_a_coroutine_as_a_source(backend: Backend) -> None:
    """In the asynchronous clients a source may be a coroutine function, to refresh a token with as well."""

    class Slow:
        async def __call__(self) -> str:
            return "old"

        async def refresh(self) -> str:
            return TOKEN

    script = [*opening("AUTH XOAUTH2"), *refused(), *said(b"AUTH XOAUTH2 " + XOAUTH2, WELCOME), *QUIT]
    if backend.module is smtp_blocking:
        script = [*opening("AUTH XOAUTH2"), *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        if backend.module is smtp_blocking:
            with pytest.raises(TypeError, match="asynchronous clients"):
                client.login(USER, token=Slow())
            assert client.noop()[0] == 250
        else:
            assert client.login(USER, token=Slow())[0] == 235


def test_a_token_is_not_sent_in_the_clear(backend: Backend) -> None:
    """A token lets whoever hears it in, as a password does."""
    with (
        ScriptedServer([*opening("AUTH XOAUTH2"), *NOOP, *QUIT]) as server,
        backend.connect(server, Overheard(backend).kind) as client,
    ):
        with pytest.raises(backend.module.SMTPNotSupportedError, match="in clear"):
            client.login(USER, token=TOKEN)
        with pytest.raises(backend.module.SMTPNotSupportedError, match="in clear"):
            client.auth("XOAUTH2", XOAuth2(USER, TOKEN))
        assert client.noop()[0] == 250


# -- SCRAM ------------------------------------------------------------------------------------------------------------


class Scramming:
    """A step: the server's side of SCRAM, whose last words may be others."""

    def __init__(self, *last: bytes, mechanism: str = "SCRAM-SHA-256") -> None:
        self._last = list(last)
        self._mechanism = mechanism

    def play(self, conversation: Conversation) -> None:
        exchange = SERVER_MECHANISMS[self._mechanism](Circumstances())
        next(exchange)
        auth, mechanism, response = conversation.record(conversation.read_line("AUTH")).split()
        assert (auth.upper(), mechanism.decode()) == (b"AUTH", self._mechanism)
        exchange.send(b64decode(response))
        first = exchange.send(PASSWORD)
        assert isinstance(first, bytes)
        conversation.send(b"334 " + b64encode(first) + b"\r\n")
        final = exchange.send(b64decode(conversation.record(conversation.read_line("the proof"))))
        assert isinstance(final, bytes)
        lines = self._last or [b"334 " + b64encode(final), WELCOME]
        while lines:
            conversation.send(lines.pop(0) + b"\r\n")
            if lines:
                assert conversation.record(conversation.read_line("an empty response")) == b"\r\n"


@pytest.mark.parametrize(
    ("offered", "used"),
    [
        ("PLAIN CRAM-MD5 SCRAM-SHA-1", "SCRAM-SHA-1"),
        ("SCRAM-SHA-1 SCRAM-SHA-256 LOGIN", "SCRAM-SHA-256"),
        # In the clear there is nothing to bind to.
        ("SCRAM-SHA-256-PLUS SCRAM-SHA-256", "SCRAM-SHA-256"),
    ],
)
def test_scram(backend: Backend, offered: str, used: str) -> None:
    """SCRAM comes before what shows a password, and before CRAM-MD5."""
    with (
        ScriptedServer([*opening(f"AUTH {offered}"), Scramming(mechanism=used), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        assert client.login(USER, PASSWORD) == (235, b"2.7.0 welcome")


@pytest.mark.parametrize("last", [[WELCOME], [b"334 dj1BQUFB"], [b"334 ZT1pbnZhbGlkLXByb29m", WELCOME]])
def test_a_server_that_has_not_proven_itself(backend: Backend, last: list[bytes]) -> None:
    """A 235 too early, a wrong signature, a 235 behind an error: not logged in, and the connection is closed."""
    with ScriptedServer([*opening("AUTH SCRAM-SHA-256 PLAIN"), Scramming(*last), ExpectEOF()]) as server:
        client = backend.connect(server)
        with pytest.raises(backend.module.SMTPAuthenticationError, match="proven") as raised:
            client.login(USER, PASSWORD)
        assert [mechanism for mechanism, _ in raised.value.attempts] == ["SCRAM-SHA-256"]
        assert client.sock is None
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.noop()


def test_a_503_proves_nothing(backend: Backend) -> None:
    """Who says that the connection is logged in already, when it is not, has not proven anything either."""
    already = turn(b"auth scram-sha-1", b"503 5.5.1 already")
    with (
        ScriptedServer([*opening("AUTH SCRAM-SHA-1"), *already, *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
            client.login(USER, PASSWORD)
        assert raised.value.smtp_code == 503
        assert client.noop()[0] == 250


def test_without_the_package(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scramp the next mechanism is taken, and where there is none the error says what to install."""
    monkeypatch.setitem(sys.modules, "scramp", None)
    plain = said(b"AUTH PLAIN " + b64encode(f"\0{USER}\0{PASSWORD}".encode()), WELCOME)
    with (
        ScriptedServer([*opening("AUTH SCRAM-SHA-256 PLAIN"), *plain, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        assert client.login(USER, PASSWORD)[0] == 235
    with (
        ScriptedServer([*opening("AUTH SCRAM-SHA-256"), *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(MissingExtra, match=r"pip install 'sansio-smtp\[scram\]'"):
            client.login(USER, PASSWORD)
        assert client.noop()[0] == 250


# -- what is asked for ------------------------------------------------------------------------------------------------


def test_what_each_was_answered(backend: Backend) -> None:
    """The error that is raised last tells of all that were tried."""
    steps = [*turn(b"auth cram-md5", b"504 5.5.4 not that"), *turn(b"auth plain", b"534 5.7.9 too weak")]
    with (
        ScriptedServer([*opening("AUTH PLAIN CRAM-MD5"), *steps, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
            client.login(USER, PASSWORD)
        assert raised.value.attempts == [
            ("CRAM-MD5", Reply(504, "5.5.4 not that")),
            ("PLAIN", Reply(534, "5.7.9 too weak")),
        ]
        assert raised.value.smtp_code == 534


def test_mechanisms(backend: Backend) -> None:
    """`mechanisms` says which are tried, in which order; one that is not known is refused, and so is one text."""
    steps = [*turn(b"auth login", b"504 no"), *turn(b"auth plain", WELCOME)]
    with (
        ScriptedServer([*opening("AUTH PLAIN CRAM-MD5 LOGIN"), *steps, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(ValueError, match="'X-OWN' is none of"):
            client.login(USER, PASSWORD, mechanisms=["X-OWN"])
        with pytest.raises(TypeError, match="sequence"):
            client.login(USER, PASSWORD, mechanisms="PLAIN")
        assert client.login(USER, PASSWORD, mechanisms=["LOGIN", "plain"])[0] == 235


def test_to_act_as_somebody_else(backend: Backend) -> None:
    """An authorization identity goes with PLAIN, whatever else is on offer."""
    response = b64encode(f"boss\0{USER}\0{PASSWORD}".encode())
    with (
        ScriptedServer(
            [*opening("AUTH CRAM-MD5 PLAIN LOGIN"), *said(b"AUTH PLAIN " + response, WELCOME), *QUIT]
        ) as server,
        backend.connect(server) as client,
    ):
        assert client.login(USER, PASSWORD, authorization_identity="boss")[0] == 235


def test_anonymous(backend: Backend) -> None:
    """ANONYMOUS is taken where it is asked for; who gives nothing at all in the clear has nothing to log in with."""
    steps = said(b"AUTH ANONYMOUS " + b64encode(b"sirhc"), WELCOME)
    with (
        ScriptedServer([*opening("AUTH ANONYMOUS EXTERNAL"), *steps, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(backend.module.SMTPException, match="No suitable"):
            client.login()
        assert client.login("sirhc", mechanisms=["ANONYMOUS"])[0] == 235


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Plain("a", "b"), b"AUTH PLAIN AGEAYg=="),
        (External, b"AUTH EXTERNAL ="),
        (lambda: External("a"), b"AUTH EXTERNAL YQ=="),
        (lambda: Anonymous(""), b"AUTH ANONYMOUS ="),
        (lambda: OAuthBearer("", "t"), b"AUTH OAUTHBEARER " + b64encode(b"n,,\1auth=Bearer t\1\1")),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_auth_with_a_typed_mechanism(backend: Backend, make: Callable[[], Mechanism], line: bytes) -> None:
    """`auth` takes a mechanism of the core under its own name only."""
    mechanism = make()
    with ScriptedServer([*opening(), *said(line, WELCOME), *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(ValueError, match="is not the one of"):
            client.auth("X-OTHER", mechanism)
        assert client.auth(mechanism.name.lower(), mechanism)[0] == 235


def test_a_challenge_that_makes_no_sense(backend: Backend) -> None:
    """A mechanism that cannot go on cancels: SMTPAuthenticationError with the reason, and the session goes on."""
    steps = [*turn(b"auth scram-sha-1", b"334 eD15"), *said(b"*", b"501 5.7.0 cancelled")]
    with ScriptedServer([*opening(), *steps, *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(backend.module.SMTPAuthenticationError, match="first message") as raised:
            client.auth("SCRAM-SHA-1", Scram(USER, PASSWORD, "SCRAM-SHA-1"))
        assert raised.value.smtp_code == 334
        assert client.noop()[0] == 250


# -- what pyspnego does -----------------------------------------------------------------------------------------------


class Accepting:
    """A step: the server's side of NTLM, and of GSSAPI with NTLM's tokens in place of Kerberos' (RFC 4752 3)."""

    def __init__(self, acceptor: Any, offer: bytes | None = None) -> None:
        self._acceptor = acceptor
        self._offer = offer

    def play(self, conversation: Conversation) -> None:
        token = b64decode(conversation.record(conversation.read_line("AUTH")).split()[2])
        while not self._acceptor.complete:
            answer = self._acceptor.step(token)
            if answer:
                token = self._ask(conversation, answer)
        if self._offer is not None:
            choice = self._ask(conversation, self._acceptor.wrap(self._offer).data)
            assert self._acceptor.unwrap(choice).data == b"\x01\0\0\0boss"
        conversation.send(WELCOME + b"\r\n")

    @staticmethod
    def _ask(conversation: Conversation, challenge: bytes) -> bytes:
        conversation.send(b"334 " + b64encode(challenge) + b"\r\n")
        return b64decode(conversation.record(conversation.read_line("a token")))


@pytest.fixture
def acceptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A security context of pyspnego's that knows one user."""
    users = tmp_path / "users"
    users.write_text(f"DOMAIN:tim:{PASSWORD}\n", "utf-8")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    return spnego.server(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)


def test_ntlm(backend: Backend, acceptor: Any) -> None:
    """NTLM is taken where it is asked for by name, and never shows the password."""
    with (
        ScriptedServer([*opening("AUTH PLAIN NTLM"), Accepting(acceptor), *QUIT]) as server,
        backend.connect(server, Overheard(backend).kind) as client,
    ):
        assert client.login("DOMAIN\\tim", PASSWORD, mechanisms=["NTLM"])[0] == 235
    assert acceptor.client_principal == "DOMAIN\\tim"


def test_gssapi(backend: Backend, acceptor: Any) -> None:
    """GSSAPI's tokens, the server's offer of security layers, and whom to act as: all over AUTH."""
    context = spnego.client("DOMAIN\\tim", PASSWORD, protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
    mechanism = Gssapi("mx.test", authorization_identity="boss", context=context)
    with (
        ScriptedServer([*opening("AUTH GSSAPI"), Accepting(acceptor, b"\x07\0\x10\0"), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        assert client.auth("GSSAPI", mechanism)[0] == 235


def test_gssapi_too_early(backend: Backend, acceptor: Any) -> None:
    """A 235 before the server's offer is one of a server that has not proven itself."""
    context = spnego.client("DOMAIN\\tim", PASSWORD, protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
    with ScriptedServer([*opening("AUTH GSSAPI"), Accepting(acceptor), ExpectEOF()]) as server:
        client = backend.connect(server)
        client.ehlo()
        with pytest.raises(backend.module.SMTPAuthenticationError, match="proven"):
            client.auth("GSSAPI", Gssapi("mx.test", context=context))
        assert client.sock is None
