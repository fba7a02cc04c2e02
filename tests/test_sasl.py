"""SASL mechanisms, both sides: the RFCs' examples, each side against the other, and no secret in anything shown."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.errors import InvalidArgument
from smtp_proto.sasl import (
    MAX_CHALLENGES,
    SERVER_MECHANISMS,
    CramMD5,
    Credentials,
    Login,
    Mechanism,
    Plain,
    ServerExchange,
    UnacceptableResponse,
)

CLIENTS = [Plain, Login, CramMD5]
SECRET = "tanstaaftanstaaf"


def join(client: Mechanism, server: ServerExchange, *, initial_response: bool) -> tuple[Credentials, int]:
    """One exchange, step by step as AUTH does it: the credentials presented, and how many challenges it took."""
    next(server)
    response = client.step(None) if initial_response else None
    for challenges in range(MAX_CHALLENGES):
        try:
            challenge = server.send(response)
        except StopIteration as stop:
            presented: Credentials = stop.value
            return presented, challenges
        response = client.step(challenge)
    raise AssertionError("the exchange has no end")


# -- the client's side -------------------------------------------------------------------------------------------------


def test_plain_as_in_the_rfc() -> None:
    """RFC 4616 4, both examples: with and without an authorization identity; the challenge does not matter."""
    plain = Plain("tim", SECRET)
    assert plain.name == "PLAIN"
    assert plain.step(None) == plain.step(b"") == plain.step(b"anything") == b"\0tim\0tanstaaftanstaaf"
    assert Plain("Kurt", "xipj3plmq", "Ursel").step(None) == b"Ursel\0Kurt\0xipj3plmq"


def test_cram_md5_as_in_the_rfc() -> None:
    """RFC 2195 2: the server speaks first, and the answer is the user name and the digest."""
    cram = CramMD5("tim", SECRET)
    assert cram.name == "CRAM-MD5"
    assert cram.step(None) is None
    assert cram.step(b"<1896.697170952@postoffice.reston.mci.net>") == b"tim b913a602c7eda7a495b4e6e7334d3890"


@pytest.mark.parametrize("initial", [None, b"Username:", b"User Name\0", b"whatever"])
def test_login_answers_two_prompts(initial: bytes | None) -> None:
    """The user name comes first, with AUTH or to the first prompt, and the password to every other one."""
    login = Login("tim", SECRET)
    assert login.name == "LOGIN"
    assert login.step(initial) == b"tim"
    assert login.step(b"Username:") == SECRET.encode()
    assert login.step(b"Password:") == SECRET.encode()


def test_names_and_passwords_are_utf8() -> None:
    """RFC 4616 2: what is not ASCII is sent as UTF-8 by every mechanism."""
    assert Plain("jürgen", "päss", "ü").step(None) == "ü\0jürgen\0päss".encode()
    assert Login("jürgen", "päss").step(None) == "jürgen".encode()
    answer = CramMD5("jürgen", "päss").step(b"<1@x>")
    assert answer is not None
    assert answer.startswith("jürgen ".encode())


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("bad", ["\0", "a\0", "\0a", "\ud800", "a\udfffb"], ids=ascii)
def test_no_nul_and_no_surrogate(client: type[Plain | Login | CramMD5], bad: str) -> None:
    """A NUL, PLAIN's separator, and what has no encoding are refused, without showing the value."""
    for arguments in ((bad, "password"), ("user", bad)):
        with pytest.raises(InvalidArgument) as caught:
            client(*arguments)
        assert caught.value.argument == ("user name" if arguments[0] == bad else "password")
        assert repr(bad)[1:-1] not in str(caught.value)
    with pytest.raises(InvalidArgument, match="authorization identity"):
        Plain("user", "password", bad)


def test_control_characters_are_the_servers_to_judge() -> None:
    """CR and LF inside credentials cannot break a line, for base64 is between; they are sent as they are."""
    assert Plain("a\r\nb", "c\n").step(None) == b"\0a\r\nb\0c\n"


@pytest.mark.parametrize("client", CLIENTS)
def test_mechanisms_show_no_secret(client: type[Plain | Login | CramMD5]) -> None:
    """Neither `repr` nor `str` of a mechanism tells the user or the password."""
    mechanism = client("somebody", SECRET)
    for shown in (repr(mechanism), str(mechanism), f"{mechanism}"):
        assert SECRET not in shown


# -- the server's side -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "initial_response", "challenges"),
    [(Plain, True, 0), (Plain, False, 1), (Login, True, 1), (Login, False, 2)],
)
def test_client_and_server(client: type[Plain | Login], initial_response: bool, challenges: int) -> None:
    """What a client presents is what the server's side returns, with and without an initial response."""
    server = SERVER_MECHANISMS[client.name]()
    presented = join(client("jürgen", SECRET), server, initial_response=initial_response)
    assert presented == (Credentials(client.name, "jürgen", SECRET), challenges)


def test_login_prompts() -> None:
    """The prompts are those that clients look for."""
    exchange = SERVER_MECHANISMS["LOGIN"]()
    next(exchange)
    assert exchange.send(None) == b"Username:"
    assert exchange.send(b"tim") == b"Password:"


def test_plain_has_an_empty_challenge() -> None:
    """RFC 4954 4: without an initial response the server answers 334 and nothing."""
    exchange = SERVER_MECHANISMS["PLAIN"]()
    next(exchange)
    assert exchange.send(None) == b""
    with pytest.raises(StopIteration) as caught:
        exchange.send(b"me\0you\0secret")
    assert caught.value.value == Credentials("PLAIN", "you", "secret", "me")


@pytest.mark.parametrize(
    "response", [b"", b"user", b"user\0hunter2", b"\0\0", b"\0\0hunter2", b"a\0b\0c\0d", b"\0u\0\xff", b"\xff\0u\0p"]
)
@pytest.mark.parametrize("initial", [True, False])
def test_responses_that_are_no_plain(response: bytes, initial: bool) -> None:
    """Three parts in UTF-8 and a user name, or `UnacceptableResponse`, which does not show what came."""
    exchange = SERVER_MECHANISMS["PLAIN"]()
    next(exchange)
    if not initial:
        exchange.send(None)
    with pytest.raises(UnacceptableResponse) as caught:
        exchange.send(response)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("user", "password"), [(b"\xff", b"p"), (b"u", b"\xff"), (b"\xc3", b"\xa4")])
def test_responses_that_are_no_login(user: bytes, password: bytes) -> None:
    """Both responses of LOGIN are UTF-8 each, or the exchange has failed."""
    exchange = SERVER_MECHANISMS["LOGIN"]()
    next(exchange)
    exchange.send(user)
    with pytest.raises(UnacceptableResponse, match="UTF-8"):
        exchange.send(password)


def test_an_empty_login_has_empty_credentials() -> None:
    """An empty initial response ("=") is a response: the user name is empty, and for the handler to refuse."""
    exchange = SERVER_MECHANISMS["LOGIN"]()
    next(exchange)
    assert exchange.send(b"") == b"Password:"
    with pytest.raises(StopIteration) as caught:
        exchange.send(b"")
    assert caught.value.value == Credentials("LOGIN", "", "")


@given(st.lists(st.none() | st.binary(), max_size=3), st.sampled_from(sorted(SERVER_MECHANISMS)))
def test_any_responses_end(responses: list[bytes | None], mechanism: str) -> None:
    """Whatever responses come, a server's exchange asks again, ends with credentials, or calls them unacceptable."""
    exchange = SERVER_MECHANISMS[mechanism]()
    next(exchange)
    end: object = None
    for response in responses:
        try:
            assert isinstance(exchange.send(response), bytes)
        except StopIteration as stop:
            end = stop.value
            break
        except UnacceptableResponse:
            break
    assert end is None or isinstance(end, Credentials)


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(text.filter(bool), text, text, st.booleans())
def test_any_credentials_arrive(user: str, password: str, identity: str, initial_response: bool) -> None:
    """Any text without NUL arrives as it was given."""
    plain = Plain(user, password, identity)
    presented, _ = join(plain, SERVER_MECHANISMS["PLAIN"](), initial_response=initial_response)
    assert presented == ("PLAIN", user, password, identity)
    presented, _ = join(Login(user, password), SERVER_MECHANISMS["LOGIN"](), initial_response=initial_response)
    assert presented == ("LOGIN", user, password, "")


def test_credentials_show_no_password() -> None:
    """Wherever credentials are printed, the password is not."""
    credentials = Credentials("PLAIN", "tim", SECRET, "other")
    for shown in (
        repr(credentials),
        str(credentials),
        f"{credentials}",
        repr([credentials]),
        repr(copy.copy(credentials)),
    ):
        assert "'tim', ***" in shown
        assert SECRET not in shown
