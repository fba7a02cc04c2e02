"""Logging in: `login` with each mechanism, `auth` with any, and what ends an exchange that goes wrong."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.server_session import Settings
from tests.certificates import client_context, server_context
from tests.scripted import Expect, ExpectEOF, ExpectExactly, Repeat, ScriptedServer, Send, Step
from tests.scripts import GREETING, NOOP, QUIT, hello, opening, turn

from .backends import Backend, Client

USER, PASSWORD = "user", "p\xe4ssw\xf6rd"
WELCOME = b"235 2.7.0 welcome"


def base64(text: str | bytes) -> bytes:
    return b64encode(text.encode() if isinstance(text, str) else text)


def plain(user: str = USER, password: str = PASSWORD) -> bytes:
    return base64(f"\0{user}\0{password}")


CHALLENGE = b"<1896.697170952@mx.test>"
DIGEST = hmac.new(PASSWORD.encode(), CHALLENGE, "md5").hexdigest()

CONVERSATIONS: dict[str, tuple[bool, list[Step]]] = {
    "PLAIN": (True, [ExpectExactly(b"AUTH PLAIN %b\r\n" % plain()), Send(WELCOME + b"\r\n")]),
    "PLAIN later": (
        False,
        [
            ExpectExactly(b"AUTH PLAIN\r\n"),
            Send(b"334 \r\n"),
            ExpectExactly(plain() + b"\r\n"),
            Send(WELCOME + b"\r\n"),
        ],
    ),
    "LOGIN": (
        True,
        [
            *(ExpectExactly(b"AUTH LOGIN %b\r\n" % base64(USER)), Send(b"334 UGFzc3dvcmQ6\r\n")),
            *(ExpectExactly(base64(PASSWORD) + b"\r\n"), Send(WELCOME + b"\r\n")),
        ],
    ),
    "LOGIN later": (
        False,
        [
            *(ExpectExactly(b"AUTH LOGIN\r\n"), Send(b"334 VXNlcm5hbWU6\r\n")),
            *(ExpectExactly(base64(USER) + b"\r\n"), Send(b"334 UGFzc3dvcmQ6\r\n")),
            *(ExpectExactly(base64(PASSWORD) + b"\r\n"), Send(WELCOME + b"\r\n")),
        ],
    ),
    "CRAM-MD5": (
        True,
        [
            *(ExpectExactly(b"AUTH CRAM-MD5\r\n"), Send(b"334 " + base64(CHALLENGE) + b"\r\n")),
            *(ExpectExactly(base64(f"{USER} {DIGEST}") + b"\r\n"), Send(WELCOME + b"\r\n")),
        ],
    ),
}


@pytest.mark.parametrize("mechanism", CONVERSATIONS)
def test_login(backend: Backend, mechanism: str) -> None:
    """Each mechanism's exchange, octet for octet, in UTF-8; the 235 is returned."""
    early, steps = CONVERSATIONS[mechanism]
    with (
        ScriptedServer([*opening(f"AUTH {mechanism.split(maxsplit=1)[0]}"), *steps, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        answer = client.login(USER, PASSWORD, initial_response_ok=early)
        assert answer == (235, b"2.7.0 welcome")
        assert (client.user, client.password) == (USER, PASSWORD)


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


def test_auth_with_a_mechanism_of_ones_own(backend: Backend) -> None:
    """`auth` takes any mechanism: called without arguments for the initial response, then with each challenge."""
    seen: list[bytes | None] = []

    def authobject(challenge: bytes | None = None) -> str:
        seen.append(challenge)
        return f"step {len(seen)}"

    steps = [*turn(b"auth xodd " + base64("step 1"), b"334 " + base64(b"\x00\xff")), *turn(base64("step 2"), WELCOME)]
    with ScriptedServer([*opening(), *steps, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.auth("xodd", authobject) == (235, b"2.7.0 welcome")
    assert seen == [None, b"\x00\xff"]


@pytest.mark.parametrize(
    ("response", "sent"),
    [("\xfc", base64("\xfc")), (b"\xff\x00", base64(b"\xff\x00")), ("", b"="), (b"", b"=")],
)
def test_responses(backend: Backend, response: str | bytes, sent: bytes) -> None:
    """A response is text, sent as UTF-8, or octets; an empty initial one is "=" (RFC 4954 4)."""
    with (
        ScriptedServer([*opening(), *turn(b"AUTH X " + sent + b"\r\n", WELCOME), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        client.auth("X", lambda challenge=None: response)


def test_no_initial_response(backend: Backend) -> None:
    """An authobject that returns None has none: the server speaks first."""
    steps = [*turn(b"auth x\r\n", b"334 "), *turn(base64("answer"), WELCOME)]
    with ScriptedServer([*opening(), *steps, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        client.auth("X", lambda challenge=None: None if challenge is None else "answer")


def test_exception_of_the_authobject(backend: Backend) -> None:
    """What the authobject raises goes out; the exchange is cancelled with "*", and the session goes on."""

    def authobject(challenge: bytes | None = None) -> str | None:
        if challenge is None:
            return None
        raise ZeroDivisionError

    steps = [*turn(b"auth x\r\n", b"334 "), *turn(b"*\r\n", b"501 5.7.0 cancelled")]
    with ScriptedServer([*opening(), *steps, *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(ZeroDivisionError):
            client.auth("X", authobject)
        assert client.noop()[0] == 250


def test_challenge_that_is_not_base64(backend: Backend) -> None:
    """A broken challenge cancels the exchange: SMTPAuthenticationError, and the session goes on."""
    steps = [*turn(b"auth cram-md5", b"334 not*base64"), *turn(b"*\r\n", b"501 5.7.0 cancelled")]
    with (
        ScriptedServer([*opening("AUTH CRAM-MD5"), *steps, *NOOP, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(backend.module.SMTPAuthenticationError):
            client.login(USER, PASSWORD)
        assert client.noop()[0] == 250


def test_challenges_without_end(backend: Backend) -> None:
    """A server that keeps asking is given up on after `smtplib`'s number of challenges; the session goes on."""
    asking = Repeat(6, Expect(), Send(b"334 \r\n"))
    steps: list[Step] = [asking, ExpectExactly(b"*\r\n"), Send(b"501 cancelled\r\n")]
    with (
        ScriptedServer([*opening("AUTH LOGIN"), *steps, *NOOP, *QUIT], strict=False) as server,
        backend.connect(server) as client,
        pytest.raises(backend.module.SMTPException, match="infinite loop"),
    ):
        client.login(USER, PASSWORD)
    assert server.received[-3:] == [b"*\r\n", b"noop\r\n", b"QUIT\r\n"] or b"*\r\n" in server.received


def test_cancelling_is_answered_with_another_challenge(backend: Backend) -> None:
    """A 334 to "*" leaves no way out of the exchange: the connection is closed."""
    steps = [*turn(b"auth cram-md5", b"334 not*base64"), *turn(b"*\r\n", b"334 "), ExpectEOF()]
    with ScriptedServer([*opening("AUTH CRAM-MD5"), *steps]) as server:
        client = backend.connect(server)
        with pytest.raises(backend.module.SMTPException):
            client.login(USER, PASSWORD)
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN", "LOGIN"])
@pytest.mark.parametrize(
    ("user", "password"), [("us\0er", "x"), ("user", "x\0"), ("us\udc80er", "x"), ("user", "\ud800")]
)
def test_credentials_that_have_no_encoding(backend: Backend, mechanism: str, user: str, password: str) -> None:
    """NUL and lone surrogates in credentials: ValueError without the secret, nothing of AUTH is sent."""
    with ScriptedServer([*opening(f"AUTH {mechanism}"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(ValueError, match="password" if user == "user" else "user") as raised:
            client.login(user, password)
        assert repr(password)[1:-1] not in str(raised.value)
        assert client.noop()[0] == 250


def test_authobjects_of_the_client(backend: Backend) -> None:
    """`auth_plain`, `auth_login` and `auth_cram_md5` are authobjects to be used with `auth`."""
    steps: list[Step] = [Expect(b"AUTH PLAIN " + plain()), Send(WELCOME + b"\r\n")]
    with ScriptedServer([*opening(), *steps, *QUIT]) as server, backend.connect(server) as client:
        client.user, client.password = USER, PASSWORD
        client.ehlo()
        client.auth("PLAIN", client.auth_plain)
        assert client.auth_cram_md5(CHALLENGE) == f"{USER} {DIGEST}"
        assert client.auth_cram_md5() is None


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


def test_decoding_of_the_digest() -> None:
    """The digest above is what RFC 2195's own example gives."""
    key, text = b"tanstaaftanstaaf", b64decode("PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+")
    assert hmac.new(key, text, "md5").hexdigest() == "b913a602c7eda7a495b4e6e7334d3890"
