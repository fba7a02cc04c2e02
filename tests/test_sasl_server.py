"""The server's side of SASL: each mechanism against the client's, broken responses, and what is asked of whom."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.channel_binding import ChannelBinding, TLSFacts
from smtp_proto.errors import InvalidArgument
from smtp_proto.handler import Handler, UserHandler
from smtp_proto.replies import Reply
from smtp_proto.sasl import MAX_CHALLENGES, Anonymous, CramMD5, External, Login, Mechanism, Plain
from smtp_proto.sasl_exchange import (
    INVALID,
    Ask,
    BearerToken,
    Circumstances,
    Credentials,
    Refused,
    ScramKeys,
    ServerExchange,
    TokenRefused,
    UnacceptableResponse,
    Verified,
)
from smtp_proto.sasl_oauth import OAuthBearer, XOAuth2
from smtp_proto.sasl_scram import Scram
from smtp_proto.sasl_server import SERVER_MECHANISMS, check_mechanisms, offered, password_mechanisms

USER, SECRET, TOKEN = "tim", "tanstaaftanstaaf", "ya29.token"
HERE = Circumstances("mx.test")
SESSION: Any = None  # these handlers do not look at it


class Presenting(Handler):
    """Takes everything, and keeps what was presented."""

    def __init__(self) -> None:
        self.presented: list[object] = []

    def _keep(self, *presented: object) -> None:
        self.presented += presented

    def auth(self, session: Any, credentials: Credentials) -> None:
        self._keep(credentials)

    def token(self, session: Any, token: BearerToken) -> None:
        self._keep(token)

    def external(self, session: Any, identity: str) -> None:
        self._keep(identity)

    def anonymous(self, session: Any, trace: str) -> None:
        self._keep(trace)


def begun(mechanism: str, circumstances: Circumstances = HERE) -> ServerExchange:
    """An exchange, up to where it takes the initial response."""
    exchange = SERVER_MECHANISMS[mechanism](circumstances)
    next(exchange)
    return exchange


def answer(exchange: ServerExchange, response: Any, handler: Handler) -> bytes | Verified:
    """The next challenge, or the end; the handler is asked on the way."""
    try:
        said = exchange.send(response)
        while isinstance(said, Ask):
            given = getattr(handler, said.method)(SESSION, *said.arguments)
            assert isinstance(given, said.answers)
            said = exchange.send(given)
    except StopIteration as stop:
        verified: Verified = stop.value
        return verified
    return said


def join(
    client: Mechanism,
    handler: Handler,
    *,
    initial_response: bool = True,
    circumstances: Circumstances = HERE,
) -> tuple[Verified, int]:
    """One exchange, step by step as AUTH does it: its end, and how many challenges it took."""
    exchange = begun(client.name, circumstances)
    response = client.step(None) if initial_response else None
    for challenges in range(MAX_CHALLENGES):
        said = answer(exchange, response, handler)
        if isinstance(said, Verified):
            client.succeeded()
            return said, challenges
        response = client.step(said) or b""
    raise AssertionError("the exchange has no end")


# -- the two ends -----------------------------------------------------------------------------------------------------

USERS = UserHandler({USER: SECRET, "j\xfcrgen": "p\xe4ss,=w\xf6rd"}, {TOKEN: USER})


@pytest.mark.parametrize(
    ("client", "initial_response", "challenges"),
    [
        (Plain(USER, SECRET), True, 0),
        (Plain(USER, SECRET), False, 1),
        (Plain(USER, SECRET, USER), True, 0),
        (Login(USER, SECRET), True, 1),
        (Login(USER, SECRET), False, 2),
        (CramMD5(USER, SECRET), True, 1),
        (CramMD5(USER, SECRET), False, 1),
        (XOAuth2(USER, TOKEN), True, 0),
        (XOAuth2(USER, TOKEN), False, 1),
        (OAuthBearer(USER, TOKEN, "mx.test", 587), True, 0),
        (OAuthBearer("", TOKEN), False, 1),
        (Scram(USER, SECRET), True, 2),
        (Scram(USER, SECRET), False, 3),
        (Scram(USER, SECRET, "SCRAM-SHA-1"), True, 2),
    ],
    ids=lambda value: value.name if isinstance(value, Mechanism) else str(value),
)
def test_client_and_server(client: Mechanism, initial_response: bool, challenges: int) -> None:
    """Who presents what the server knows is verified as who he is, with and without an initial response."""
    verified, taken = join(client, USERS, initial_response=initial_response)
    assert (verified.credentials.mechanism, verified.credentials.user) == (client.name, USER)
    assert verified.reply is None
    assert taken == challenges


@pytest.mark.parametrize(
    "client",
    [
        *(Plain(USER, "wrong"), Plain("nobody", SECRET), Plain("nobody", ""), Plain(USER, SECRET, "boss")),
        *(Login(USER, "wrong"), Login("nobody", "")),
        *(CramMD5(USER, "wrong"), CramMD5("nobody", ""), CramMD5("nobody", SECRET)),
        *(XOAuth2(USER, "wrong"), XOAuth2("boss", TOKEN), OAuthBearer("boss", TOKEN), OAuthBearer("", "wrong")),
        *(Scram(USER, "wrong"), Scram("nobody", SECRET), Scram(USER, "wrong", "SCRAM-SHA-1")),
        *(External(), External(USER), Anonymous("me")),
    ],
    ids=lambda client: client.name,
)
def test_what_is_not_known_is_refused(client: Mechanism) -> None:
    """A wrong password or token, an unknown user, or somebody who would be another: a 535 that tells no difference."""
    with pytest.raises(Refused) as caught:
        join(client, USERS)
    assert caught.value.reply == INVALID


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(text.filter(bool), text, text, st.booleans())
def test_any_credentials_arrive(user: str, password: str, identity: str, initial_response: bool) -> None:
    """Any text without NUL arrives as it was given."""
    handler = Presenting()
    join(Plain(user, password, identity), handler, initial_response=initial_response)
    join(Login(user, password), handler, initial_response=initial_response)
    assert handler.presented == [("PLAIN", user, password, identity), ("LOGIN", user, password, "")]
    verified, _ = join(CramMD5(user, password), UserHandler({user: password}), initial_response=initial_response)
    assert verified.credentials.user == user


printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@given(text.filter(lambda user: "\x01" not in user), printable, st.booleans())
def test_any_token_arrives(user: str, token: str, initial_response: bool) -> None:
    """Any user and token that the RFC allows arrive as they were given, "=" and "," among them."""
    handler = Presenting()
    join(XOAuth2(user, token), handler, initial_response=initial_response)
    join(OAuthBearer(user, token, "mx.test", 25), handler, initial_response=initial_response)
    assert handler.presented == [
        BearerToken("XOAUTH2", user, token),
        BearerToken("OAUTHBEARER", user, token, "mx.test", "25"),
    ]


@given(text, st.text(max_size=255).filter(lambda trace: trace.isprintable()))
def test_any_identity_arrives(identity: str, trace: str) -> None:
    """EXTERNAL's identity and ANONYMOUS' trace arrive as they were given."""
    handler = Presenting()
    join(External(identity), handler)
    join(External(identity), handler, initial_response=False)
    join(Anonymous(trace), handler)
    join(Anonymous(trace), handler, initial_response=False)
    assert handler.presented == [identity, identity, trace, trace]


def test_login_prompts() -> None:
    """The prompts are those that clients look for."""
    exchange = begun("LOGIN")
    assert exchange.send(None) == b"Username:"
    assert exchange.send(b"tim") == b"Password:"


def test_an_empty_login_has_empty_credentials() -> None:
    """An empty initial response ("=") is a response: the user name is empty, and for the handler to refuse."""
    exchange = begun("LOGIN")
    assert exchange.send(b"") == b"Password:"
    assert exchange.send(b"") == Ask("auth", (Credentials("LOGIN", "", ""),), (Reply, type(None)))


@pytest.mark.parametrize("mechanism", ["PLAIN", "XOAUTH2", "OAUTHBEARER", "EXTERNAL", "ANONYMOUS", "SCRAM-SHA-1"])
def test_who_speaks_second_is_asked_with_nothing(mechanism: str) -> None:
    """RFC 4954 4: without an initial response the server answers 334 and nothing."""
    assert begun(mechanism).send(None) == b""


def test_the_example_of_rfc_2195() -> None:
    """CRAM-MD5's challenge has the form of a message's identifier, and its digest is checked."""
    nonce = "1896.697170952"
    exchange = begun("CRAM-MD5", Circumstances("postoffice.reston.mci.net", nonce=nonce))
    assert exchange.send(None) == b"<1896.697170952@postoffice.reston.mci.net>"
    verified = answer(exchange, b"tim b913a602c7eda7a495b4e6e7334d3890", USERS)
    assert verified == Verified(Credentials("CRAM-MD5", "tim", ""))
    assert begun("CRAM-MD5").send(None) != begun("CRAM-MD5").send(None)


def test_a_password_that_has_no_encoding_is_nobodys() -> None:
    """A lone surrogate in what the application gives as a password lets nobody in, and breaks nothing."""
    for mechanism in (CramMD5(USER, "x"), Scram(USER, "x")):
        with pytest.raises((Refused, UnicodeEncodeError)):
            join(mechanism, UserHandler({USER: "\ud800"}))


# -- the application's answers ----------------------------------------------------------------------------------------


class Saying(Handler):
    """Gives the same answer to every question."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: list[tuple[object, ...]] = []

    def _say(self, *arguments: object) -> Any:
        self.asked.append(arguments[1:])
        return self._answer

    auth = secret = token = external = anonymous = _say  # type: ignore[assignment]  # one for all


EVERY_CLIENT: list[Mechanism] = [
    *(Plain(USER, SECRET), Login(USER, SECRET), CramMD5(USER, SECRET), Scram(USER, SECRET)),
    *(XOAuth2(USER, TOKEN), OAuthBearer(USER, TOKEN), External(USER), Anonymous("me")),
]


@pytest.mark.parametrize("client", EVERY_CLIENT, ids=lambda client: client.name)
def test_a_reply_of_the_applications_is_given(client: Mechanism) -> None:
    """Whatever is asked may be answered with a refusal in the application's own words."""
    later = Reply(454, "4.7.0 Not now")
    with pytest.raises(Refused) as caught:
        join(copy.deepcopy(client), Saying(later))
    assert caught.value.reply == later
    assert str(later) in str(caught.value)


@pytest.mark.parametrize(
    "client",
    [Plain(USER, SECRET), XOAuth2(USER, TOKEN), External(USER), Anonymous("me")],
    ids=lambda client: client.name,
)
def test_words_of_welcome(client: Mechanism) -> None:
    """An acceptance in the application's own words is kept for the client."""
    welcome = Reply(235, "2.7.0 Welcome")
    verified, _ = join(client, Saying(welcome))
    assert verified.reply == welcome


@pytest.mark.parametrize("client", [CramMD5(USER, SECRET), Scram(USER, SECRET)], ids=lambda client: client.name)
def test_words_of_welcome_are_no_password(client: Mechanism) -> None:
    """Where a password was asked for, a success in place of it lets nobody in."""
    with pytest.raises(Refused) as caught:
        join(client, Saying(Reply(235, "2.7.0 Welcome")))
    assert caught.value.reply == INVALID


@pytest.mark.parametrize("client", [XOAuth2("", TOKEN), OAuthBearer("", TOKEN), External("")], ids=lambda c: c.name)
def test_the_application_names_the_user(client: Mechanism) -> None:
    """Who claims to be nobody in particular is who the application says."""
    verified, _ = join(client, Saying("ada"))
    assert verified.credentials == Credentials(client.name, "ada", "")


def test_the_base_class_refuses() -> None:
    """A handler that decides nothing lets nobody in."""
    for client in (Plain(USER, ""), Login("", ""), CramMD5(USER, ""), XOAuth2(USER, TOKEN), External(), Anonymous()):
        with pytest.raises(Refused):
            join(client, Handler())
    with pytest.raises(Refused):
        join(Scram(USER, "x"), Handler())


def test_why_a_token_is_refused() -> None:
    """RFC 7628 3.2.2: a challenge with the reason as JSON comes first, and whatever is said to it, the refusal."""
    refusal = TokenRefused("insufficient_scope", "mail", "https://example.org/.well-known/openid-configuration")
    clients = (OAuthBearer(USER, TOKEN), XOAuth2(USER, TOKEN))
    for client in clients:
        with pytest.raises(Refused):
            join(client, Saying(refusal))
        assert client.error == {
            "status": "insufficient_scope",
            "schemes": "bearer",
            "scope": "mail",
            "openid-configuration": "https://example.org/.well-known/openid-configuration",
        }
    assert json.loads(TokenRefused().challenge()) == {"status": "invalid_token", "schemes": "bearer"}


# -- responses that are none ------------------------------------------------------------------------------------------

BROKEN = {
    "PLAIN": [b"", b"user", b"user\0hunter2", b"\0\0", b"\0\0hunter2", b"a\0b\0c\0d", b"\0u\0\xff", b"\xff\0u\0p"],
    "XOAUTH2": [
        *(b"", b"user=u", b"user=u\x01auth=Bearer\x01\x01", b"user=u\x01auth=Basic hunter2\x01\x01"),
        *(
            b"user=u\x01auth=Bearer hunter2\x01",
            b"auth=Bearer hunter2\x01\x01",
            b"user=u\0\x01auth=Bearer hunter2\x01\x01",
        ),
        b"user=u\x01auth=Bearer hunt er2\x01\x01",
    ],
    "OAUTHBEARER": [
        *(b"", b"n,,", b"n,a=u,\x01auth=Bearer hunter2\x01", b"n,a=u\x01auth=Bearer hunter2\x01\x01"),
        *(
            b"p=tls-unique,,\x01auth=Bearer hunter2\x01\x01",
            b"n,,\x01host=x\x01\x01",
            b"n,,\x01auth=Bearer hunter2\x01x\x01\x01",
        ),
        *(b"n,a=u=2,\x01auth=Bearer hunter2\x01\x01", b"n,,\x01auth=Bearer \x01\x01"),
    ],
    "EXTERNAL": [b"\xff", b"a\0b"],
    "ANONYMOUS": [b"\xff", b"a\0b", b"x" * 256],
    "SCRAM-SHA-256": [
        *(b"", b"n,,", b"n=tim,r=x", b"n,,n=tim", b"x,,n=tim,r=abc", b"p=tls-unique,,n=tim,r=abc", b"p,,n=tim,r=abc"),
        *(b"n,a=boss,n=tim,r=abc", b"n,,n=a=b,r=abc", b"n,,n=\x07,r=abc", b"\xff", b"n,,m=x,n=tim,r=abc"),
    ],
    "SCRAM-SHA-1-PLUS": [b"n,,n=tim,r=abc", b"y,,n=tim,r=abc"],
}


@pytest.mark.parametrize(
    ("mechanism", "response"), [(name, response) for name, responses in BROKEN.items() for response in responses]
)
@pytest.mark.parametrize("initial", [True, False])
def test_broken_responses(mechanism: str, response: bytes, initial: bool) -> None:
    """What does not have the mechanism's form is unacceptable, before anybody is asked, and is not shown."""
    exchange = begun(mechanism)
    if not initial:
        exchange.send(None)
    with pytest.raises(UnacceptableResponse) as caught:
        exchange.send(response)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("user", "password"), [(b"\xff", b"p"), (b"u", b"\xff"), (b"\xc3", b"\xa4")])
def test_responses_that_are_no_login(user: bytes, password: bytes) -> None:
    """Both responses of LOGIN are UTF-8 each, or the exchange has failed."""
    exchange = begun("LOGIN")
    exchange.send(user)
    with pytest.raises(UnacceptableResponse, match="UTF-8"):
        exchange.send(password)


@pytest.mark.parametrize("response", [b"", b"tim", b"\xff abc"])
def test_responses_that_are_no_cram_md5(response: bytes) -> None:
    """A user name in UTF-8, a space and a digest, or the exchange has failed; it has no initial response either."""
    exchange = begun("CRAM-MD5")
    exchange.send(None)
    with pytest.raises(UnacceptableResponse):
        exchange.send(response)
    with pytest.raises(UnacceptableResponse, match="initial"):
        begun("CRAM-MD5").send(response)


@given(st.lists(st.none() | st.binary(), max_size=3), st.sampled_from(sorted(SERVER_MECHANISMS)))
def test_any_responses_end(responses: list[bytes | None], mechanism: str) -> None:
    """Whatever responses come, an exchange asks again, ends, or calls them unacceptable or wrong."""
    exchange = begun(mechanism)
    for response in responses:
        try:
            if not isinstance(answer(exchange, response, USERS), bytes):
                break
        except (UnacceptableResponse, Refused):
            break


# -- SCRAM ------------------------------------------------------------------------------------------------------------


def test_scram_with_keys_in_place_of_a_password() -> None:
    """A server needs no password, only what was made of it (RFC 5802 3)."""
    import scramp

    keys = ScramKeys(*scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info(SECRET, iteration_count=5000))
    handler = Saying(keys)
    verified, _ = join(Scram(USER, SECRET), handler)
    assert verified.credentials.user == USER
    assert handler.asked == [("SCRAM-SHA-256", USER)]
    with pytest.raises(Refused):
        join(Scram(USER, "wrong"), Saying(keys))
    assert SECRET not in repr(keys)
    assert repr(keys.stored_key) not in repr(keys)


def test_an_unknown_user_gets_the_same_salt_each_time() -> None:
    """Nobody can tell by the salt who is known: it is the same at each try, known or not."""

    def first(user: str) -> str:
        exchange = begun("SCRAM-SHA-1", Circumstances(nonce="nonce"))
        said = answer(exchange, f"n,,n={user},r=client".encode(), USERS)
        assert isinstance(said, bytes)
        return said.decode()

    for user in (USER, "nobody"):
        assert first(user) == first(user)
        assert first(user).endswith("i=4096")
    assert first("nobody") != first("somebody")


UNIQUE = ChannelBinding("tls-unique", b"unique")
END_POINT = ChannelBinding("tls-server-end-point", b"digest")
BOUND = Circumstances("mx.test", [END_POINT, UNIQUE], offers_plus=True)


@pytest.mark.parametrize("name", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
@pytest.mark.parametrize("binding", [UNIQUE, END_POINT], ids=lambda binding: binding.name)
def test_a_log_in_that_is_bound(name: str, binding: ChannelBinding) -> None:
    """Both ends see the same session: the client may choose what to bind to."""
    verified, _ = join(Scram(USER, SECRET, name, binding=binding), USERS, circumstances=BOUND)
    assert verified.credentials == Credentials(name, USER, "")


@pytest.mark.parametrize(
    "binding",
    [ChannelBinding("tls-unique", b"another"), ChannelBinding("tls-unique-for-telnet", b"unique")],
)
def test_somebody_between_the_two_is_noticed(binding: ChannelBinding) -> None:
    """Another session at the client's end, or a type of binding that the server does not have: refused."""
    with pytest.raises(Refused):
        join(Scram(USER, SECRET, "SCRAM-SHA-256-PLUS", binding=binding), USERS, circumstances=BOUND)


def test_an_offer_that_was_taken_away_is_noticed() -> None:
    """RFC 5802 6: "y" says that no -PLUS was offered; where one was, somebody has lied to the client."""
    with pytest.raises(Refused):
        join(Scram(USER, SECRET, binding=UNIQUE), USERS, circumstances=BOUND)
    unable, _ = join(Scram(USER, SECRET), USERS, circumstances=BOUND)
    assert unable.credentials.user == USER
    truly_not_offered = BOUND._replace(offers_plus=False)
    assert join(Scram(USER, SECRET, binding=UNIQUE), USERS, circumstances=truly_not_offered)[0]


@pytest.mark.parametrize("final", [b"", b"c=biws,r=other,p=AAAA", b"c=eSws,r=clientserver,p=AAAA", b"nonsense"])
def test_broken_final_messages_of_scram(final: bytes) -> None:
    """A final message that proves nothing is a 535."""
    exchange = begun("SCRAM-SHA-256", Circumstances(nonce="server"))
    answer(exchange, b"n,,n=tim,r=client", USERS)
    with pytest.raises(Refused):
        exchange.send(final)


def test_nothing_is_said_to_the_signature() -> None:
    """RFC 5802 5: after the server's signature there is nothing more to say."""
    client = Scram(USER, SECRET)
    exchange = begun("SCRAM-SHA-256")
    first = answer(exchange, client.step(None), USERS)
    assert isinstance(first, bytes)
    exchange.send(client.step(first))
    with pytest.raises(UnacceptableResponse):
        exchange.send(b"something")


# -- the table --------------------------------------------------------------------------------------------------------


def test_names_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mechanism that is not there is refused before anybody is offered it; so is SCRAM without its package."""
    check_mechanisms(SERVER_MECHANISMS)
    with pytest.raises(InvalidArgument, match="'NTLM' is none of EXTERNAL, "):
        check_mechanisms(["PLAIN", "NTLM"])
    assert password_mechanisms()[0] == "SCRAM-SHA-256-PLUS"
    monkeypatch.setitem(__import__("sys").modules, "scramp", None)
    assert password_mechanisms() == ("CRAM-MD5", "PLAIN", "LOGIN")
    check_mechanisms(["PLAIN"])
    with pytest.raises(ImportError, match=r"pip install 'sansio-smtp\[scram\]'"):
        check_mechanisms(["SCRAM-SHA-1"])


def test_what_a_connection_allows() -> None:
    """-PLUS where there is something to bind to, EXTERNAL where a certificate was shown; nothing of it in the clear."""
    names = ["EXTERNAL", "SCRAM-SHA-1-PLUS", "PLAIN"]
    assert offered(names, None, b"certificate") == ["PLAIN"]
    assert offered(names, TLSFacts("TLSv1.3"), None) == ["PLAIN"]
    assert offered(names, TLSFacts("TLSv1.2", unique=b"x"), None) == ["SCRAM-SHA-1-PLUS", "PLAIN"]
    assert offered(names, TLSFacts("TLSv1.3", unique=b"x"), None) == ["PLAIN"]
    assert offered(names, TLSFacts(peer_certificate=b"x"), None) == ["EXTERNAL", "PLAIN"]


def test_nothing_shows_a_secret() -> None:
    """Wherever credentials are printed, the password or the token is not."""
    for credentials in (Credentials("PLAIN", "tim", SECRET, "other"), BearerToken("XOAUTH2", "tim", SECRET)):
        for shown in (repr(credentials), str(credentials), f"{credentials}", repr([credentials])):
            assert "'tim', ***" in shown
            assert SECRET not in shown
