"""Logging in with the mechanisms beyond `smtplib`'s three: tokens, SCRAM, certificates, and what each was answered."""

from __future__ import annotations

import ssl
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.commands import Mail
from smtp_proto.errors import MissingExtra
from smtp_proto.handler import UserHandler
from smtp_proto.replies import Reply
from smtp_proto.sasl import Anonymous, External, Login, Mechanism, Plain
from smtp_proto.sasl_exchange import Circumstances, Credentials
from smtp_proto.sasl_oauth import OAuthBearer, XOAuth2
from smtp_proto.sasl_scram import Scram
from smtp_proto.sasl_server import SERVER_MECHANISMS
from smtp_proto.server_session import ServerSession, Settings
from smtp_proto.transcript import Transcript
from tests.certificates import authority, client_context, own_certificate, server_context
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


# -- our own server ---------------------------------------------------------------------------------------------------


class Certified(UserHandler):
    """Lets in whoever has shown a certificate for the name that he wants to be, or for one at all."""

    credentials: Credentials | None = None

    def external(self, session: ServerSession, identity: str) -> str | Reply:
        assert session.tls_facts is not None
        names = [name for _, name in session.tls_facts.peer["subjectAltName"]]
        if identity and identity not in names:
            return Reply(535, "5.7.8 not yours")
        return identity or names[0]

    def anonymous(self, session: ServerSession, trace: str) -> None:
        return None

    def mail(self, session: ServerSession, command: Mail) -> None:
        self.credentials = session.credentials


ALL = tuple(SERVER_MECHANISMS)
# The other forms of SCRAM are not taken where the -PLUS forms are on offer.
WITH_SECRETS = ["OAUTHBEARER", "XOAUTH2", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "CRAM-MD5", "PLAIN", "LOGIN"]


def logged_in_by(backend: Backend, *arguments: Any, implicit: bool, **options: Any) -> str:
    """The mechanism by which our own server has let somebody in, over TLS, behind STARTTLS or from the start."""
    for_server = server_context()
    authority().configure_trust(for_server)
    for_server.verify_mode = ssl.CERT_OPTIONAL
    for_client = client_context()
    if options.pop("certificate", True):
        authority().issue_cert(USER).configure_cert(for_client)
    settings = Settings("mx.test", mechanisms=ALL, certificate=own_certificate(), require_auth=True)
    handler = Certified({USER: PASSWORD}, {TOKEN: USER})
    transcript = Transcript(lambda: 0.0)
    with smtp_blocking.Server(handler, settings=settings, tls_context=for_server, implicit_tls=implicit) as server:
        if implicit:
            client = backend.connect(server, "SMTP_SSL", context=for_client, transcript=transcript)
        else:
            client = backend.connect(server, transcript=transcript)
        with client:
            if not implicit:
                client.starttls(context=for_client)
            assert client.login(*arguments, **options)[0] == 235
            assert client.mail("a@b.test")[0] == 250
    text = str(transcript)
    for secret in (PASSWORD, TOKEN, b64encode(PASSWORD.encode()).decode(), XOAUTH2.decode()):
        assert secret not in text
    assert handler.credentials is not None
    assert handler.credentials.password in ("", PASSWORD)
    assert handler.credentials.user == (USER if handler.credentials.mechanism != "ANONYMOUS" else "")
    return handler.credentials.mechanism


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "TLS"])
@pytest.mark.parametrize("mechanism", WITH_SECRETS)
def test_every_mechanism_over_tls(backend: Backend, mechanism: str, implicit: bool) -> None:
    """Between our own two ends each mechanism logs in, the -PLUS forms bound to the session that both see."""
    used = logged_in_by(backend, USER, PASSWORD, token=TOKEN, mechanisms=[mechanism], implicit=implicit)
    assert used == mechanism


def test_the_strongest_over_tls(backend: Backend) -> None:
    """With everything on offer: SCRAM-SHA-256-PLUS for a password, OAUTHBEARER for a token, EXTERNAL for neither."""
    assert logged_in_by(backend, USER, PASSWORD, implicit=True) == "SCRAM-SHA-256-PLUS"
    assert logged_in_by(backend, USER, token=TOKEN, implicit=True) == "OAUTHBEARER"
    assert logged_in_by(backend, implicit=True) == "EXTERNAL"
    assert logged_in_by(backend, USER, implicit=False) == "EXTERNAL"
    assert logged_in_by(backend, "me", mechanisms=["ANONYMOUS"], implicit=True) == "ANONYMOUS"


def test_external_without_a_certificate(backend: Backend) -> None:
    """A client that has shown no certificate is not offered EXTERNAL."""
    with pytest.raises(backend.module.SMTPException, match="No suitable"):
        logged_in_by(backend, implicit=True, certificate=False)


def test_external_as_somebody_else(backend: Backend) -> None:
    """Whom a certificate is for is the server's to check."""
    with pytest.raises(backend.module.SMTPAuthenticationError, match="not yours"):
        logged_in_by(backend, "boss", implicit=True)


def offers(server: smtp_blocking.Server, backend: Backend) -> Sequence[str]:
    with backend.connect(server) as client:
        client.ehlo()
        return client.esmtp_features.get("auth", "").split()


def test_what_the_embedded_server_offers(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """With users what a password verifies, with tokens what takes one; nothing it could not check."""
    passwords = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]
    tokens = ["OAUTHBEARER", "XOAUTH2"]
    users = {USER: PASSWORD}
    with smtp_blocking.Server(users=users, cleartext_auth=True) as server:
        assert offers(server, backend) == passwords
        with backend.connect(server) as client:
            assert client.login(USER, PASSWORD)[0] == 235
    with smtp_blocking.Server(tokens={TOKEN: USER}, cleartext_auth=True) as server:
        assert offers(server, backend) == tokens
        with backend.connect(server) as client:
            with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
                client.login("boss", token=TOKEN)
            assert raised.value.oauth_error == {"status": "invalid_token", "schemes": "bearer"}
            assert client.login(USER, token=TOKEN)[0] == 235
    with smtp_blocking.Server(users=users, tokens={TOKEN: USER}, cleartext_auth=True) as server:
        assert offers(server, backend) == [*tokens, *passwords]
    monkeypatch.setitem(sys.modules, "scramp", None)
    with smtp_blocking.Server(users=users, cleartext_auth=True) as server:
        assert offers(server, backend) == passwords[2:]


def test_a_login_of_ones_own_over_ours(backend: Backend) -> None:
    """A typed mechanism is good for one exchange at our own server as well."""
    with (
        smtp_blocking.Server(users={USER: PASSWORD}, cleartext_auth=True) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        with pytest.raises(backend.module.SMTPAuthenticationError):
            client.auth("SCRAM-SHA-1", Scram(USER, "wrong", "SCRAM-SHA-1"))
        assert client.auth("LOGIN", Login(USER, PASSWORD))[0] == 235
        # Logged in already: even who wants proof has had it as far as this connection goes.
        assert client.auth("SCRAM-SHA-1", Scram(USER, PASSWORD, "SCRAM-SHA-1"))[0] == 503
