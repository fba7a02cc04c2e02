"""AUTH: the exchange of each mechanism, octet for octet, mechanisms of one's own, and exchanges that go wrong."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode

import pytest

from tests.scripted import Conversation, Expect, ExpectEOF, ExpectExactly, ScriptedServer, ScriptFailed, Send, Step
from tests.scripts import NOOP, QUIT, opening, turn

from .backends import Backend

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


class Asking:
    """A step: answer whatever comes with another challenge, until the client cancels; it must do so soon."""

    def play(self, conversation: Conversation) -> None:
        for _ in range(10):
            if conversation.record(conversation.read_line("a response")) == b"*\r\n":
                conversation.send(b"501 5.7.0 cancelled\r\n")
                return
            conversation.send(b"334 \r\n")
        raise ScriptFailed("the client answers challenges without end")


def test_challenges_without_end(backend: Backend) -> None:
    """A server that keeps asking an authobject that keeps answering is given up on with "*"; the session goes on."""
    with ScriptedServer([*opening(), Asking(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(backend.module.SMTPException, match="infinite loop"):
            client.auth("X", lambda challenge=None: "again")
        assert client.noop()[0] == 250


@pytest.mark.parametrize(("mechanism", "lines"), [("PLAIN", 1), ("LOGIN", 2), ("CRAM-MD5", 2)])
def test_a_challenge_too_many(backend: Backend, mechanism: str, lines: int) -> None:
    """A mechanism says what it has to say, and says nothing of it again: "*", and SMTPAuthenticationError."""
    script = [*opening(f"AUTH {mechanism}"), Asking(), *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
            client.login(USER, PASSWORD)
        assert raised.value.smtp_code == 334
        assert client.noop()[0] == 250
    assert server.received[1 + lines] == b"*\r\n"


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


def test_authobject_of_login(backend: Backend) -> None:
    """`auth_login` gives the user name first and then the password, with and without an initial response."""
    for mechanism in ("LOGIN", "LOGIN later"):
        early, steps = CONVERSATIONS[mechanism]
        with ScriptedServer([*opening(), *steps, *QUIT]) as server, backend.connect(server) as client:
            client.user, client.password = USER, PASSWORD
            client.ehlo()
            assert client.auth("LOGIN", client.auth_login, initial_response_ok=early)[0] == 235


def test_decoding_of_the_digest() -> None:
    """The digest above is what RFC 2195's own example gives."""
    key, text = b"tanstaaftanstaaf", b64decode("PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+")
    assert hmac.new(key, text, "md5").hexdigest() == "b913a602c7eda7a495b4e6e7334d3890"
