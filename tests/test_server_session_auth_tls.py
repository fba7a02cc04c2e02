"""The server's side of AUTH (RFC 4954) and STARTTLS (RFC 3207)."""

from __future__ import annotations

import ssl
from base64 import b64encode

import pytest

from smtp_proto.commands import Ehlo
from smtp_proto.effects import Send, StartTLS
from smtp_proto.errors import InvalidArgument, LocalProtocolError
from smtp_proto.replies import Reply
from smtp_proto.sasl_exchange import Credentials
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings

from .flows import Scripted, effects_of
from .serving import DATA, EHLO, MAIL, QUIT, RCPT, Answer, Deciding, Served

STARTTLS = b"STARTTLS\r\n"
OPEN = Settings(hostname="mx.test", mechanisms=("PLAIN", "LOGIN"), cleartext_auth=True)


def b64(text: str | bytes) -> bytes:
    return b64encode(text.encode() if isinstance(text, str) else text) + b"\r\n"


PLAIN = b"AUTH PLAIN " + b64("\0tim\0secret")
TIM = Credentials("PLAIN", "tim", "secret")

# -- exchanges --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "codes", "credentials"),
    [
        (PLAIN, [235], TIM),
        (b"auth plain " + b64("\0tim\0secret"), [235], TIM),
        (b"AUTH PLAIN\r\n" + b64("\0tim\0secret"), [334, 235], TIM),
        (b"AUTH PLAIN " + b64("boss\0tim\0"), [235], Credentials("PLAIN", "tim", "", "boss")),
        (
            b"AUTH LOGIN\r\n" + b64("t\u00efm") + b64("s\u00ebcret"),
            [334, 334, 235],
            Credentials("LOGIN", "t\u00efm", "s\u00ebcret"),
        ),
        (b"AUTH LOGIN " + b64("tim") + b64("secret"), [334, 235], Credentials("LOGIN", "tim", "secret")),
        (b"AUTH LOGIN =\r\n\r\n", [334, 235], Credentials("LOGIN", "", "")),
    ],
)
def test_what_is_presented(octets: bytes, codes: list[int], credentials: Credentials) -> None:
    """The handler is given what the client presents, with or without an initial response."""
    handler = Deciding()
    served = Served(EHLO + octets, handler=handler, settings=OPEN)
    assert served.codes == [250, *codes]
    assert handler.credentials == [credentials]
    assert served.session.credentials == credentials


def test_the_prompts_of_login() -> None:
    """LOGIN asks with the prompts that clients look for, PLAIN with nothing."""
    served = Served(EHLO + b"AUTH LOGIN\r\n" + b64("tim") + b64("x") + QUIT, settings=OPEN)
    assert [reply.lines[0] for reply in served.replies[1:3]] == [b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"]
    assert Served(EHLO + b"AUTH PLAIN\r\n", settings=OPEN).replies[-1] == Reply(334, "")


@pytest.mark.parametrize(
    ("octets", "codes"),
    [
        (b"AUTH PLAIN\r\n*\r\n", [334, 501]),
        (b"AUTH PLAIN\r\nnot base64\r\n", [334, 501]),
        (b"AUTH PLAIN not+base64!\r\n", [501]),
        (b"AUTH PLAIN a b\r\n", [501]),
        (b"AUTH\r\n", [501]),
        (b"AUTH PLAIN " + b64("tim"), [501]),
        (b"AUTH PLAIN " + b64("\0\0secret"), [501]),
        (b"AUTH PLAIN " + b64(b"\0tim\0\xff"), [501]),
        (b"AUTH PLAIN =\r\n", [501]),
        (b"AUTH LOGIN " + b64("tim") + b64(b"\xff"), [334, 501]),
        (b"AUTH LOGIN\r\n*\r\n", [334, 501]),
        (b"AUTH CRAM-MD5\r\n", [504]),
    ],
)
def test_an_exchange_that_comes_to_nothing(octets: bytes, codes: list[int]) -> None:
    """A response that is none ends the exchange; nobody is asked, and the next command has its own answer."""
    handler = Deciding()
    served = Served(EHLO + octets + b"NOOP\r\n" + PLAIN, handler=handler, settings=OPEN)
    assert served.codes == [250, *codes, 250, 235]
    assert handler.credentials == [TIM]


def test_a_mechanism_that_nobody_has_written() -> None:
    """Settings that name a mechanism which this server does not know are refused before a client is offered it."""
    settings = OPEN._replace(mechanisms=("X-OWN",))
    with pytest.raises(InvalidArgument, match="X-OWN"):
        Served(EHLO, settings=settings)


def test_once_is_enough() -> None:
    """RFC 4954 4: after a successful AUTH another is a 503."""
    assert Served(EHLO + PLAIN + PLAIN, settings=OPEN).codes == [250, 235, 503]


def test_a_password_is_in_no_repr() -> None:
    """What was presented is masked in every representation."""
    served = Served(EHLO + PLAIN, settings=OPEN)
    assert "secret" not in repr(served.session.credentials)


# -- the handler's decision -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "failure"),
    [
        (None, 235, None),
        (Reply(235, "welcome"), 235, None),
        (Reply(535, "5.7.8 no"), 535, None),
        (Reply(454, "4.7.0 not now"), 454, None),
        (ZeroDivisionError(), 451, ZeroDivisionError),
        (Reply(334, "once more"), 451, LocalProtocolError),
        (Reply(235, "wel\rcome"), 451, InvalidArgument),
        (Reply(535, "n\ro"), 451, InvalidArgument),
    ],
)
@pytest.mark.parametrize("steps", [False, True])
def test_the_decision_about_credentials(
    steps: bool, answer: Answer, code: int, failure: type[Exception] | None
) -> None:
    """Only a log-in that the client was told of has taken place; whatever else comes of it, the next one may."""
    handler = Deciding(auth=answer)
    octets = b"AUTH PLAIN\r\n" + b64("\0tim\0secret") if steps else PLAIN
    served = Served(EHLO + octets + b"NOOP\r\n", handler=handler, settings=OPEN)
    assert served.codes == [250, *([334] if steps else []), code, 250]
    assert (served.session.credentials == TIM) is (code == 235)
    assert [type(error) for error in handler.failures] == ([failure] if failure else [])


def test_a_log_in_in_other_words_is_no_failure() -> None:
    """An acceptance is not counted as a try that failed, whatever its words."""
    handler = Deciding(auth=Reply(235, "welcome"))
    served = Served(EHLO + PLAIN, handler=handler, settings=OPEN._replace(max_auth_failures=1))
    assert served.replies[-1] == Reply(235, "welcome")


def test_a_log_in_that_closes() -> None:
    """A 421 of the handler's closes."""
    served = Served(EHLO + PLAIN, QUIT, handler=Deciding(auth=Reply(421, "4.7.0 go away")), settings=OPEN)
    assert served.codes == [250, 421]
    assert served.hung_up_early


@pytest.mark.parametrize("broken", [False, True])
def test_too_many_tries(broken: bool) -> None:
    """The third failed log-in, of whatever kind, is told 421."""
    handler = Deciding(auth=Reply(535, "5.7.8 no"))
    attempt = b"AUTH PLAIN " + b64("no user") if broken else PLAIN
    served = Served(EHLO, *[attempt] * 3, QUIT, handler=handler, settings=OPEN)
    assert served.codes == [250, *[501 if broken else 535] * 2, 421]
    assert served.hung_up_early
    assert Served(EHLO, attempt, handler=handler, settings=OPEN._replace(max_auth_failures=1)).codes == [250, 421]


def test_tries_are_counted_across_resets() -> None:
    """A RSET or a new EHLO gives no new tries."""
    handler = Deciding(auth=Reply(535, "5.7.8 no"))
    served = Served(EHLO + PLAIN + b"RSET\r\n" + PLAIN + EHLO + PLAIN, handler=handler, settings=OPEN)
    assert served.codes == [250, 535, 250, 535, 250, 421]


# -- where log-ins are wanted, and where not --------------------------------------------------------------------------


def test_mail_needs_a_log_in() -> None:
    """With `require_auth` MAIL is a 530 before it."""
    settings = OPEN._replace(require_auth=True)
    served = Served(EHLO + MAIL + PLAIN + MAIL + RCPT, settings=settings)
    assert served.codes == [250, 530, 235, 250, 250]


def test_passwords_in_the_clear_are_refused() -> None:
    """Without TLS AUTH is neither offered nor taken, unless `cleartext_auth` says so; nobody is asked."""
    handler = Deciding()
    settings = OPEN._replace(cleartext_auth=False)
    served = Served(EHLO + PLAIN + b"AUTH LOGIN\r\n", handler=handler, settings=settings)
    assert served.codes == [250, 538, 538]
    assert not any(line.startswith(b"AUTH") for line in served.replies[0].lines)
    assert handler.credentials == []
    secured = Served(EHLO + PLAIN, settings=settings, tls=True)
    assert b"AUTH PLAIN LOGIN" in secured.replies[0].lines
    assert secured.codes == [250, 235]
    assert b"AUTH PLAIN LOGIN" in Served(EHLO, settings=OPEN).replies[0].lines


def test_no_mechanisms_no_auth() -> None:
    """Without mechanisms AUTH is a 504, and not offered."""
    served = Served(EHLO + PLAIN, settings=Settings(cleartext_auth=True))
    assert served.codes == [250, 504]
    assert not any(line.startswith(b"AUTH") for line in served.replies[0].lines)


# -- STARTTLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def secure() -> Settings:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return Settings(hostname="mx.test", tls_context=context, mechanisms=("PLAIN",))


def test_everything_is_forgotten_after_starttls(secure: Settings) -> None:
    """RFC 3207 4.2: after the handshake the client is a stranger: no hello, no log-in, no transaction."""
    served = Served(EHLO, PLAIN, STARTTLS, MAIL, EHLO + STARTTLS + PLAIN + MAIL, settings=secure)
    assert served.codes == [250, 538, 220, 503, 250, 503, 235, 250]
    (handshake,) = served.peer.handshakes
    assert (handshake.context, handshake.server_side) == (secure.tls_context, True)
    assert served.session.tls
    assert b"STARTTLS" in served.replies[0].lines
    assert b"STARTTLS" not in served.replies[4].lines
    assert b"AUTH PLAIN" in served.replies[4].lines
    assert served.session.hello == Ehlo("client.test")


def test_a_log_in_in_clear_is_forgotten_too(secure: Settings) -> None:
    """What was presented in the clear counts for nothing behind the handshake."""
    settings = secure._replace(cleartext_auth=True, require_auth=True)
    served = Served(EHLO + PLAIN + STARTTLS, EHLO + MAIL + PLAIN + MAIL, settings=settings)
    assert served.codes == [250, 235, 220, 250, 530, 235, 250]
    stranger = Served(EHLO + PLAIN + STARTTLS, settings=settings).session
    assert (stranger.tls, stranger.hello, stranger.credentials) == (True, None, None)


def test_the_220_is_out_before_the_handshake(secure: Settings) -> None:
    """The last thing that is written in the clear is the 220."""
    served = Served(EHLO + STARTTLS, EHLO, settings=secure)
    at = next(n for n, effect in enumerate(served.peer.effects) if isinstance(effect, StartTLS))
    written = effects_of(Send, served.peer.effects[:at])
    assert written[-1].chunks[-1] == b"220 2.0.0 Ready to start TLS\r\n"


def test_starttls_where_there_is_none(secure: Settings) -> None:
    """Not offered, it is a 502; with TLS already, a 503."""
    assert Served(EHLO + STARTTLS).codes == [250, 502]
    assert Served(EHLO + STARTTLS, settings=secure, tls=True).codes == [250, 503]
    assert Served(EHLO + b"STARTTLS now\r\n", settings=secure).codes == [250, 501]


@pytest.mark.parametrize("injected", [EHLO, b"E", b"RCPT TO:<evil@mx.test>\r\n" + DATA])
def test_injected_commands_never_reach_the_secured_session(injected: bytes, secure: Settings) -> None:
    """CVE-2011-0411: octets behind STARTTLS end the connection, before a handshake."""
    handler = Deciding()
    served = Served(EHLO + STARTTLS + injected, EHLO, settings=secure, handler=handler)
    assert served.peer.handshakes == []
    assert handler.asked == ["connect", "helo"]
    assert served.peer.closed
    assert served.hung_up_early


@pytest.mark.parametrize("failure", [ssl.SSLError("bad handshake"), TimeoutError("timed out"), ConnectionResetError()])
def test_a_handshake_that_fails_is_the_end(failure: OSError, secure: Settings) -> None:
    """Behind a failed handshake not an octet is written, least of all in the clear."""
    served = Served(EHLO + STARTTLS, QUIT, settings=secure, handshake=failure)
    assert served.peer.written.endswith(b"220 2.0.0 Ready to start TLS\r\n")
    assert isinstance(served.peer.effects[-2], StartTLS)
    assert served.peer.closed
    assert served.hung_up_early


def test_an_interrupted_handshake_goes_on_as_an_interruption(secure: Settings) -> None:
    """Interrupted in the middle of a handshake, the connection is at no boundary: whoever drives the flow closes it."""
    session = ServerSession(ServerConnection(), Deciding(), secure)
    peer = Scripted([EHLO + STARTTLS], handshake=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        peer.run(session.run())
    assert isinstance(peer.effects[-1], StartTLS)
    assert not session.connection.at_boundary
