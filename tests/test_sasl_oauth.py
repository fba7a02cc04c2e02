"""OAUTHBEARER (RFC 7628) and XOAUTH2, the client's side: the published examples, and errors that the server reports."""

from __future__ import annotations

import pytest

from smtp_proto.errors import InvalidArgument
from smtp_proto.sasl import UnacceptableChallenge
from smtp_proto.sasl_oauth import OAuthBearer, RefreshableToken, XOAuth2, parse_saslname, saslname

from .flows import Scripted, introduced

RFC_TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
# RFC 7628 4.1 and 4.3, and Google's description of XOAUTH2.
RFC_IMAP = (
    b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNS"
    b"bGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
RFC_ERROR = (
    b"eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4"
    b"YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
)
GOOGLES = (
    b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cB"
    b"AQ=="
)


def test_the_example_of_rfc_7628() -> None:
    """RFC 7628 4.1: the initial response, octet for octet."""
    mechanism = OAuthBearer("user@example.com", RFC_TOKEN, "server.example.com", 143)
    peer = Scripted([b"235 ok\r\n"])
    assert peer.run(introduced().authenticate(mechanism)).code == 235
    assert peer.written == b"AUTH OAUTHBEARER " + RFC_IMAP + b"\r\n"


def test_the_failure_of_rfc_7628() -> None:
    """RFC 7628 4.3: the reason is a challenge, answered with a control-A, and then comes the refusal."""
    mechanism = OAuthBearer("user@example.com", "expired")
    peer = Scripted([b"334 " + RFC_ERROR + b"\r\n", b"535 5.7.8 no\r\n"])
    assert peer.run(introduced().authenticate(mechanism)).code == 535
    assert peer.segments[1] == b"AQ==\r\n"
    assert mechanism.error == {
        "status": "invalid_token",
        "scope": "example_scope",
        "openid-configuration": "https://example.com/.well-known/openid-configuration",
    }


def test_the_example_of_google() -> None:
    """XOAUTH2's published example, and its failure: answered with nothing."""
    token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    peer = Scripted([b"334 eyJzdGF0dXMiOiI0MDEifQ==\r\n", b"535 5.7.8 no\r\n"])
    mechanism = XOAuth2("someuser@example.com", token)
    assert mechanism.error is None
    assert peer.run(introduced().authenticate(mechanism)).code == 535
    assert peer.segments == [b"AUTH XOAUTH2 " + GOOGLES + b"\r\n", b"\r\n"]
    assert mechanism.error == {"status": "401"}


def test_what_is_left_out() -> None:
    """Without a user, a host and a port the response has none of them."""
    assert OAuthBearer("", "t").step(None) == b"n,,\x01auth=Bearer t\x01\x01"
    assert OAuthBearer("a,b=c", "t").step(b"") == b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01"
    assert OAuthBearer("j\xfcrgen", "t").step(b"") == "n,a=j\xfcrgen,\x01auth=Bearer t\x01\x01".encode()


@pytest.mark.parametrize("kind", [XOAuth2, OAuthBearer])
@pytest.mark.parametrize(
    "challenge", [b"", b"no JSON", b"[1]", b"\xff", b"null", b'{"a": ', b"[" * 100_000], ids=lambda octets: octets[:9]
)
def test_a_reason_that_is_none(kind: type[XOAuth2 | OAuthBearer], challenge: bytes) -> None:
    """Whatever is said instead of a reason is answered all the same, and reported as nothing."""
    mechanism = kind("u", "t")
    mechanism.step(None)
    mechanism.step(challenge)
    assert mechanism.error == {}
    with pytest.raises(UnacceptableChallenge):
        mechanism.step(b"")


@pytest.mark.parametrize("token", ["", "s3cret one", "s3cret\r\n", "s3cret\x01host=x", "s3cret\xe9", "s3cret\0"])
@pytest.mark.parametrize("kind", [XOAuth2, OAuthBearer])
def test_tokens_that_are_none(kind: type[XOAuth2 | OAuthBearer], token: str) -> None:
    """A token that could end its pair early is refused, and not shown."""
    with pytest.raises(InvalidArgument) as caught:
        kind("user", token)
    assert caught.value.argument == "token"
    assert "s3cret" not in str(caught.value)


def test_names_that_inject() -> None:
    """A control-A in a name or a host would begin another pair; a NUL can be in neither."""
    for user in ("u\x01auth=Bearer x", "u\0", "\ud800"):
        for kind in (XOAuth2, OAuthBearer):
            with pytest.raises(InvalidArgument, match="user name"):
                kind(user, "t")
    for host in ("h\x01port=1", "h\0", "\ud800"):
        with pytest.raises(InvalidArgument, match="host"):
            OAuthBearer("u", "t", host)


def test_a_token_shows_itself_to_nobody() -> None:
    """Neither `repr` nor `str` tells the token, and the mechanism is for encrypted connections."""
    for mechanism in (XOAuth2("u", "s3cret"), OAuthBearer("u", "s3cret")):
        assert "s3cret" not in f"{mechanism!r}{mechanism}"
        assert mechanism.shows_secret


def test_names_in_headers() -> None:
    """RFC 5801 4: "=" and "," are escaped, and nothing else may be."""
    assert parse_saslname(saslname("a=,b==2C")) == "a=,b==2C"
    for bad in ("a=b", "=", "=2c", "=3"):
        with pytest.raises(ValueError, match="neither"):
            parse_saslname(bad)


def test_what_can_be_refreshed() -> None:
    """A source with a method `refresh` is one that can; a plain function and a text are not."""

    class Source:
        def __call__(self) -> str:
            return "t"

        def refresh(self) -> str:
            return "u"

    assert isinstance(Source(), RefreshableToken)
    assert not isinstance(lambda: "t", RefreshableToken)
    assert not isinstance("t", RefreshableToken)


def test_a_token_that_is_too_long_goes_in_a_line_of_its_own() -> None:
    """RFC 4954 4: an AUTH of more than 12288 octets goes without an initial response, and the server asks for it."""
    short = Scripted([b"235 ok\r\n"])
    assert short.run(introduced().authenticate(XOAuth2("u", "t" * 9000))).code == 235
    assert 12000 < len(short.written) <= 12288
    long = Scripted([b"334 \r\n", b"235 ok\r\n"])
    assert long.run(introduced().authenticate(XOAuth2("u", "t" * 9216))).code == 235
    assert long.segments[0] == b"AUTH XOAUTH2\r\n"
    assert len(long.segments[1]) > 12288
