"""The client's side of the simple SASL mechanisms: the RFCs' examples, and no secret in anything shown."""

from __future__ import annotations

import copy

import pytest

from smtp_proto.errors import InvalidArgument
from smtp_proto.sasl import Anonymous, CramMD5, External, Login, Mechanism, Plain, UnacceptableChallenge

CLIENTS = [Plain, Login, CramMD5]
SECRET = "tanstaaftanstaaf"


def test_plain_as_in_the_rfc() -> None:
    """RFC 4616 4, both examples: with and without an authorization identity; the challenge does not matter."""
    assert Plain.name == "PLAIN"
    for challenge in (None, b"", b"anything"):
        assert Plain("tim", SECRET).step(challenge) == b"\0tim\0tanstaaftanstaaf"
    assert Plain("Kurt", "xipj3plmq", "Ursel").step(None) == b"Ursel\0Kurt\0xipj3plmq"


def test_cram_md5_as_in_the_rfc() -> None:
    """RFC 2195 2: the server speaks first, and the answer is the user name and the digest."""
    cram = CramMD5("tim", SECRET)
    assert cram.name == "CRAM-MD5"
    assert cram.step(None) is None
    assert cram.step(b"<1896.697170952@postoffice.reston.mci.net>") == b"tim b913a602c7eda7a495b4e6e7334d3890"


@pytest.mark.parametrize("initial", [None, b"Username:", b"User Name\0", b"whatever"])
def test_login_answers_two_prompts(initial: bytes | None) -> None:
    """The user name comes first, with AUTH or to the first prompt, and then the password, whatever they say."""
    login = Login("tim", SECRET)
    assert login.name == "LOGIN"
    assert login.step(initial) == b"tim"
    assert login.step(b"Username:") == SECRET.encode()


@pytest.mark.parametrize("first", [None, b"challenge"])
@pytest.mark.parametrize(
    ("mechanism", "responses"),
    [
        (Plain("tim", SECRET), 1),
        (Login("tim", SECRET), 2),
        (CramMD5("tim", SECRET), 1),
        (External("tim"), 1),
        (Anonymous("tim"), 1),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_nothing_is_said_twice(mechanism: Mechanism, responses: int, first: bytes | None) -> None:
    """A mechanism has so many responses; to a server that asks on it says none of them again."""
    mechanism = copy.deepcopy(mechanism)
    said = [mechanism.step(first)]
    said += [mechanism.step(b"and?") for _ in range(responses - 1 if said[0] is not None else responses)]
    assert len([response for response in said if response is not None]) == responses
    for _ in range(2):
        with pytest.raises(UnacceptableChallenge):
            mechanism.step(b"and?")


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


def test_external_as_in_the_rfc() -> None:
    """RFC 4422 A: the response is the authorization identity, and empty where the server is to derive it."""
    assert External.name == "EXTERNAL"
    assert External().step(None) == External().step(b"") == b""
    assert External("fred@example.com").step(None) == b"fred@example.com"
    with pytest.raises(InvalidArgument, match="authorization identity"):
        External("a\0b")


def test_anonymous_as_in_the_rfc() -> None:
    """RFC 4505 4: the trace information, here the name of a tool; at most 255 characters of it."""
    assert Anonymous.name == "ANONYMOUS"
    assert Anonymous("sirhc").step(None) == Anonymous("sirhc").step(b"") == b"sirhc"
    assert Anonymous("\xe9" * 255).step(None) == "\xe9".encode() * 255
    for bad in ("x" * 256, "a\0b", "\ud800"):
        with pytest.raises(InvalidArgument, match="trace"):
            Anonymous(bad)


def test_who_shows_a_secret() -> None:
    """What lets a listener log in as well is said to; a mechanism of one's own is, unless it says otherwise."""
    assert Plain.shows_secret
    assert Login.shows_secret
    assert not CramMD5.shows_secret
    assert not External.shows_secret
    assert not Anonymous.shows_secret
    assert Mechanism.shows_secret
    assert not Mechanism.proves_server
    Plain("a", "b").succeeded()  # the server has nothing to prove
