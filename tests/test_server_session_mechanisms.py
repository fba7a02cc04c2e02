"""The server's conversation with each mechanism: what is asked of the application, and what its answers lead to."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest

from smtp_proto.channel_binding import TLSFacts
from smtp_proto.client import ClientConnection
from smtp_proto.effects import Flow
from smtp_proto.errors import ConnectionLost, LocalProtocolError
from smtp_proto.handler import Handler, UserHandler
from smtp_proto.replies import Reply
from smtp_proto.sasl import CramMD5, Mechanism, Plain
from smtp_proto.sasl_exchange import Credentials, TokenRefused
from smtp_proto.sasl_oauth import OAuthBearer, XOAuth2
from smtp_proto.sasl_scram import Scram
from smtp_proto.sasl_server import SERVER_MECHANISMS, password_mechanisms
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings
from smtp_proto.session import ClientSession

from .flows import Joined, Pieces, at_random, single, whole
from .serving import EHLO, MAIL, RCPT, Deciding, Served

ALL = Settings("mx.test", mechanisms=tuple(SERVER_MECHANISMS), cleartext_auth=True)
USER, SECRET, TOKEN = "tim", "s3cret", "t0ken"


def b64(octets: bytes) -> bytes:
    return b64encode(octets) + b"\r\n"


CRAM = b"AUTH CRAM-MD5\r\n"
SCRAM = b"AUTH SCRAM-SHA-1 " + b64(b"n,,n=tim,r=client")
XOAUTH2 = b"AUTH XOAUTH2 " + b64(b"user=tim\1auth=Bearer t0ken\1\1")
ANONYMOUS = b"AUTH ANONYMOUS " + b64(b"sirhc")


class Answering(Deciding):
    """Answers what mechanisms ask, as `Deciding` does the rest."""

    def secret(self, session: Any, mechanism: str, user: str) -> Any:
        return self._decide("secret", (mechanism, user))

    def token(self, session: Any, token: Any) -> Any:
        return self._decide("token", token)

    def external(self, session: Any, identity: str) -> Any:
        return self._decide("external", identity)

    def anonymous(self, session: Any, trace: str) -> Any:
        return self._decide("anonymous", trace)


# -- both ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [whole, single, at_random(1)])
@pytest.mark.parametrize("initial_response", [True, False])
@pytest.mark.parametrize(
    ("client", "code"),
    [
        (Plain, 235),
        (CramMD5, 235),
        (Scram, 235),
        (lambda user, secret: Scram(user, secret, "SCRAM-SHA-1"), 235),
        (lambda user, secret: OAuthBearer(user, TOKEN, "mx.test", 25), 235),
        (lambda user, secret: XOAuth2(user, TOKEN), 235),
        (lambda user, secret: CramMD5(user, "wrong"), 535),
        (lambda user, secret: Scram("nobody", secret), 535),
        (lambda user, secret: XOAuth2(user, "wrong"), 535),
        (lambda user, secret: OAuthBearer("boss", TOKEN), 535),
    ],
)
def test_a_log_in_between_the_two_ends(client: Any, code: int, initial_response: bool, pieces: Pieces) -> None:
    """Every mechanism works over two real connections, in pieces of any size; who is refused may try again."""
    session = ClientSession(ClientConnection())
    mechanism: Mechanism = client(USER, SECRET)

    def conversation() -> Flow[Reply]:
        yield from session.greet()
        yield from session.hello("client.test")
        reply = yield from session.authenticate(mechanism, initial_response=initial_response)
        assert session.authenticated is (code == 235)
        if code != 235:
            assert (yield from session.authenticate(Plain(USER, SECRET))).code == 235
        assert (yield from session.quit()).code == 221
        return reply

    server = ServerSession(ServerConnection(), UserHandler({USER: SECRET}, {TOKEN: USER}), ALL)
    assert Joined(conversation(), server.run(), pieces=pieces).run().code == code
    assert server.credentials is not None
    assert server.credentials.user == USER


# -- what the application says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "method", "argument"),
    [
        (SCRAM, "secret", ("SCRAM-SHA-1", USER)),
        (CRAM + b64(b"tim 0123"), "secret", ("CRAM-MD5", USER)),
        (XOAUTH2, "token", ("XOAUTH2", USER, TOKEN, "", "")),
        (ANONYMOUS, "anonymous", "sirhc"),
    ],
)
def test_what_is_asked(octets: bytes, method: str, argument: object) -> None:
    """Each mechanism asks one question, with what the client has presented."""
    asked: list[object] = []

    def later(given: object) -> Reply:
        asked.append(given)
        return Reply(454, "4.7.0 later")

    handler = Answering(**{method: later})
    served = Served(EHLO + octets, handler=handler, settings=ALL)
    assert served.codes[-1] == 454
    assert asked == [argument]
    assert handler.asked == ["connect", "helo", method]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (ZeroDivisionError(), ZeroDivisionError),
        (42, TypeError),
        (Reply(334, "once more"), LocalProtocolError),
    ],
)
@pytest.mark.parametrize("octets", [SCRAM, CRAM + b64(b"tim 0123"), XOAUTH2, ANONYMOUS])
def test_what_is_no_answer(octets: bytes, answer: Any, failure: type[Exception]) -> None:
    """An application that raises, or answers with what is none, has failed: a 451, and nobody is logged in."""
    handler = Answering(secret=answer, token=answer, anonymous=answer)
    served = Served(EHLO + octets + b"NOOP\r\n", handler=handler, settings=ALL)
    assert served.codes[-2:] == [451, 250]
    assert [type(error) for error in handler.failures] == [failure]
    assert served.session.credentials is None


@pytest.mark.parametrize("octets", [SCRAM, CRAM + b64(b"tim 0123")])
def test_a_success_is_no_password(octets: bytes) -> None:
    """A 2xx in place of a password logs nobody in."""
    served = Served(EHLO + octets, handler=Answering(secret=Reply(235, "welcome")), settings=ALL)
    assert served.codes[-1] == 535
    assert served.session.credentials is None


def test_a_token_with_a_reason() -> None:
    """The reason is a challenge; what the client says to it makes no difference, but for "*"."""
    refusal: Any = TokenRefused("invalid_token")
    for answer, code in ((b"AQ==\r\n", 535), (b"\r\n", 535), (b"*\r\n", 501), (b"!\r\n", 501)):
        served = Served(EHLO + XOAUTH2 + answer, handler=Answering(token=refusal), settings=ALL)
        assert served.codes == [250, 334, code]
        assert served.replies[1].lines == (b64encode(b'{"status": "invalid_token", "schemes": "bearer"}'),)


def test_who_has_logged_in_is_known() -> None:
    """The application may name the user of a token, and who is anonymous has none."""
    known: Any = "ada"
    served = Served(EHLO + XOAUTH2, handler=Answering(token=known), settings=ALL)
    assert served.codes == [250, 235]
    assert served.session.credentials == Credentials("XOAUTH2", "ada", "", USER)
    served = Served(EHLO + ANONYMOUS, handler=Answering(), settings=ALL)
    assert served.session.credentials == Credentials("ANONYMOUS", "", "")


# -- bounds and order -------------------------------------------------------------------------------------------------


def test_a_cancellation_counts_as_a_try() -> None:
    """Whoever begins and cancels has learnt something each time; the third time is the last."""
    handler = Answering()
    served = Served(EHLO, *[SCRAM, b"*\r\n"] * 3, EHLO, handler=handler, settings=ALL)
    assert served.codes == [250, 334, 501, 334, 501, 334, 421]
    assert served.hung_up_early


def test_tries_of_all_kinds_are_counted_together() -> None:
    """Another mechanism gives no new tries."""
    served = Served(EHLO + CRAM, b64(b"tim 0"), XOAUTH2, b"\r\n", SCRAM, b64(b"c=biws,r=x,p=AAAA"), settings=ALL)
    assert served.codes == [250, 334, 535, 334, 535, 334, 421]


@pytest.mark.parametrize("mechanism", SERVER_MECHANISMS)
def test_where_auth_has_no_place(mechanism: str) -> None:
    """AUTH before EHLO, in a transaction, and without TLS where that is wanted: refused, and nobody is asked."""
    handler = Answering()
    line = b"AUTH %b\r\n" % mechanism.encode()
    assert Served(line, settings=ALL, handler=handler).codes == [503]
    assert Served(EHLO + MAIL + line + RCPT + line, settings=ALL, handler=handler).codes == [250, 250, 503, 250, 503]
    closed = ALL._replace(cleartext_auth=False)
    bound = mechanism.endswith("-PLUS") or mechanism == "EXTERNAL"
    assert Served(EHLO + line, settings=closed, handler=handler).codes == [250, 504 if bound else 538]
    assert not set(handler.asked) & {"auth", "secret", "token", "external", "anonymous"}


def test_what_is_offered() -> None:
    """-PLUS and EXTERNAL only where the TLS session allows them; behind STARTTLS they may be there."""
    served = Served(EHLO, settings=ALL)
    plain = [name for name in SERVER_MECHANISMS if name != "EXTERNAL" and not name.endswith("-PLUS")]
    assert b"AUTH " + " ".join(plain).encode() in served.replies[0].lines
    session = ServerSession(ServerConnection(), Handler(), ALL, tls=True)
    session.tls_facts = TLSFacts("TLSv1.2", b"certificate", {}, b"unique")
    assert "AUTH " + " ".join(SERVER_MECHANISMS) in session.offers()
    assert set(password_mechanisms()) < set(SERVER_MECHANISMS)


def test_the_certificate_needs_no_facts() -> None:
    """Where the transport tells nothing of the TLS session, the server's own certificate is there to bind to."""
    # A certificate whose signature is by SHA-256 with RSA, and nothing else in it.
    der = bytes.fromhex("30113000300d06092a864886f70d01010b0500")
    session = ServerSession(ServerConnection(), Handler(), ALL._replace(certificate=der), tls=True)
    assert any("SCRAM-SHA-256-PLUS" in line for line in session.offers())
    assert not any("EXTERNAL" in line for line in session.offers())


def test_a_client_that_is_gone_in_the_middle() -> None:
    """A connection that ends in an exchange logs nobody in."""
    served = Served(EHLO + SCRAM, handler=UserHandler({USER: SECRET}), settings=ALL)
    assert served.codes == [250, 334]
    assert served.session.credentials is None


def test_a_server_that_hangs_up_in_the_middle() -> None:
    """Lost after any octet of an exchange, the client is not logged in, unless it had the 235."""
    for lost_after in range(60, 400, 7):
        session = ClientSession(ClientConnection())

        def conversation(session: ClientSession = session) -> Flow[None]:
            yield from session.greet()
            yield from session.hello("client.test")
            yield from session.authenticate(Scram(USER, SECRET, "SCRAM-SHA-1"))

        server = ServerSession(ServerConnection(), UserHandler({USER: SECRET}), ALL)
        joined = Joined(conversation(), server.run(), lost_after=lost_after)
        with suppress(ConnectionLost):
            joined.run()
        assert session.authenticated is (b"\r\n235 " in joined.client.heard and joined.client.heard.endswith(b"\r\n"))
