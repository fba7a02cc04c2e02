"""SCRAM, the client's side: the RFCs' examples octet for octet, and servers that do not prove themselves."""

from __future__ import annotations

import sys
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.channel_binding import ChannelBinding
from smtp_proto.errors import InvalidArgument, MissingExtra
from smtp_proto.handler import UserHandler
from smtp_proto.sasl import AuthenticationAborted, ServerNotProven, UnacceptableChallenge
from smtp_proto.sasl_exchange import Circumstances, ScramKeys
from smtp_proto.sasl_scram import MAX_ITERATIONS, Scram
from smtp_proto.sasl_server import SERVER_MECHANISMS

from .flows import Scripted, in_step, introduced
from .test_sasl_server import answer, join

BINDING = ChannelBinding("tls-server-end-point", b"digest")

# RFC 5802 5 and RFC 7677 3: the user is "user", the password "pencil".
EXAMPLES = {
    "SCRAM-SHA-1": (
        "fyko+d2lbbFgONRv9qkxdawL",
        "3rfcNHYJY1ZVvWVs7j",
        "QSXCR+Q6sek8bf92",
        [
            b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ],
    ),
    "SCRAM-SHA-256": (
        "rOprNGfwEbeRWgbNEkqO",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        [
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    ),
}


def client(name: str = "SCRAM-SHA-256") -> Scram:
    """The client of the example."""
    return Scram("user", "pencil", name, nonce=EXAMPLES[name][0])


def lines(*messages: bytes) -> list[bytes]:
    """Challenges as they stand on the wire."""
    return [b"334 " + b64encode(message) + b"\r\n" for message in messages]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_client_of_the_rfcs(name: str) -> None:
    """RFC 5802 5, RFC 7677 3: the client's messages, octet for octet, and RFC 4954's line for each."""
    _, _, _, (first, server_first, final, server_final) = EXAMPLES[name]
    session = introduced()
    peer = Scripted([*lines(server_first, server_final), b"235 ok\r\n"])
    assert peer.run(session.authenticate(client(name))).code == 235
    assert session.authenticated
    assert peer.segments == [
        b"AUTH %b %b\r\n" % (name.encode(), b64encode(first)),
        b64encode(final) + b"\r\n",
        b"\r\n",
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_server_of_the_rfcs(name: str) -> None:
    """RFC 5802 5, RFC 7677 3: the server's messages, octet for octet."""
    from base64 import b64decode

    import scramp

    _, nonce, salt, (first, server_first, final, server_final) = EXAMPLES[name]
    keys = ScramKeys(*scramp.ScramMechanism(name).make_auth_info("pencil", salt=b64decode(salt)))

    class Keeping(UserHandler):
        def secret(self, session: object, mechanism: str, user: str) -> ScramKeys:
            assert (mechanism, user) == (name, "user")
            return keys

    exchange = SERVER_MECHANISMS[name](Circumstances(nonce=nonce))
    next(exchange)
    assert answer(exchange, first, Keeping({})) == server_first
    assert answer(exchange, final, Keeping({})) == server_final


# -- what the flag says -----------------------------------------------------------------------------------------------


def test_the_flag() -> None:
    """RFC 5802 6: "p" and the type with -PLUS, "y" without it from a client that could, "n" from one that cannot."""
    assert Scram("u", "p", "SCRAM-SHA-1-PLUS", binding=BINDING).step(None).startswith(b"p=tls-server-end-point,,n=u,r=")
    assert Scram("u", "p", "SCRAM-SHA-1", binding=BINDING).step(None).startswith(b"y,,n=u,r=")
    assert Scram("u", "p", "SCRAM-SHA-1").step(b"").startswith(b"n,,n=u,r=")
    with pytest.raises(InvalidArgument, match="SCRAM-SHA-1-PLUS needs one"):
        Scram("u", "p", "SCRAM-SHA-1-PLUS")


# -- names and passwords ----------------------------------------------------------------------------------------------


def test_saslprep() -> None:
    """RFC 4013 3: its examples; what it forbids is refused, and not shown."""
    assert Scram("I\xadX", "p", nonce="n").step(None) == b"n,,n=IX,r=n"
    assert Scram("\xaa", "p", nonce="n").step(None) == b"n,,n=a,r=n"
    assert Scram("\u2168", "p", nonce="n").step(None) == b"n,,n=IX,r=n"
    assert Scram("a,b=c", "p", nonce="n").step(None) == b"n,,n=a=2Cb=3Dc,r=n"
    for bad in ("s3cret\x07", "\u0627s3cret1", "s3cret\0", "s3cret\ud800"):
        for arguments in (("user", bad), (bad, "password")):
            with pytest.raises(InvalidArgument) as caught:
                Scram(*arguments)
            assert caught.value.argument == ("password" if arguments[1] == bad else "user name")
            assert "s3cret" not in str(caught.value)
    with pytest.raises(InvalidArgument, match="user name"):
        Scram("", "password")


letters = st.text(
    st.characters(categories=["Lu", "Ll", "Nd"], max_codepoint=0x17F) | st.sampled_from(",= +"), min_size=1
)


@given(letters, letters)
def test_any_name_and_password(user: str, password: str) -> None:
    """Whatever SASLprep allows is verified, for what it makes of the name."""
    import scramp

    known = UserHandler({scramp.utils.saslprep(user): password})
    verified, _ = join(Scram(user, password, "SCRAM-SHA-1"), known)
    assert verified.credentials.user == scramp.utils.saslprep(user)


def test_a_password_shows_itself_to_nobody() -> None:
    """Neither `repr` nor `str` tells the password; it never goes out, so that anyone may listen."""
    mechanism = Scram("u", "s3cret")
    assert "s3cret" not in f"{mechanism!r}{mechanism}"
    assert not mechanism.shows_secret


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scramp the error says what to install."""
    monkeypatch.setitem(sys.modules, "scramp", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sansio-smtp\[scram\]'"):
        Scram("u", "p")


# -- servers that cannot be what they say -----------------------------------------------------------------------------

FIRST, FINAL = EXAMPLES["SCRAM-SHA-256"][3][1], EXAMPLES["SCRAM-SHA-256"][3][3]


@pytest.mark.parametrize(
    "first",
    [
        *(b"", b"\xff", b"nonsense", b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", b"e=other-error"),
        *(FIRST.replace(b"i=4096", b"i=1"), FIRST.replace(b"i=4096", b"i=0"), FIRST.replace(b"i=4096", b"i=x")),
        *(FIRST.replace(b"i=4096", b"i=%d" % (MAX_ITERATIONS + 1)), b"m=mandatory," + FIRST),
        *(
            FIRST.replace(b"s=W22ZaJ0SNY7soEsUEjb6gQ==", b"s=eA=="),
            FIRST.replace(b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", b""),
        ),
    ],
)
def test_a_first_message_that_is_none(first: bytes) -> None:
    """Too few iterations or too many, another nonce, no salt: cancelled before the password is used."""
    session = introduced()
    peer = Scripted([*lines(first), b"501 cancelled\r\n"])
    with pytest.raises(AuthenticationAborted) as caught:
        peer.run(session.authenticate(client()))
    assert isinstance(caught.value.__cause__, UnacceptableChallenge)
    assert peer.segments[1:] == [b"*\r\n"]
    assert in_step(session)
    assert not session.authenticated


@pytest.mark.parametrize(
    "challenges",
    [
        [],
        [FIRST],
        [FIRST, b"e=invalid-proof"],
    ],
    ids=["at once", "behind the proof", "behind an error"],
)
def test_a_success_too_early(challenges: list[bytes]) -> None:
    """A 235 of a server that has not proven itself is none: the connection is of no use any more."""
    session = introduced()
    peer = Scripted([*lines(*challenges), b"235 welcome\r\n"])
    with pytest.raises(ServerNotProven) as caught:
        peer.run(session.authenticate(client()))
    assert caught.value.reply is not None
    assert caught.value.reply.code == 235
    assert session.connection.closed
    assert not session.authenticated


@pytest.mark.parametrize("final", [b"v=AAAA", b"", b"v=", FINAL.replace(b"6r", b"7r"), FINAL + b",v=x"])
def test_a_signature_that_is_wrong(final: bytes) -> None:
    """A server that does not know the password ends the connection, before anything else is said over it."""
    session = introduced()
    peer = Scripted(lines(FIRST, final))
    with pytest.raises(ServerNotProven) as caught:
        peer.run(session.authenticate(client()))
    assert caught.value.reply is not None
    assert caught.value.reply.code == 334
    assert len(peer.segments) == 2
    assert session.connection.closed


def test_an_error_is_followed_by_the_refusal() -> None:
    """RFC 5802 7: a server may say in the exchange why it will refuse, and then it does."""
    session = introduced()
    peer = Scripted([*lines(FIRST, b"e=invalid-proof"), b"535 no\r\n"])
    assert peer.run(session.authenticate(client())).code == 535
    assert in_step(session)


def test_a_challenge_too_many() -> None:
    """Behind the server's signature there is nothing to ask: cancelled."""
    session = introduced()
    peer = Scripted([*lines(FIRST, FINAL, b"more"), b"501 cancelled\r\n"])
    with pytest.raises(AuthenticationAborted, match="at its end"):
        peer.run(session.authenticate(client()))
    assert in_step(session)
    assert not session.authenticated


@given(st.lists(st.binary(max_size=80) | st.sampled_from([FIRST, FINAL, FIRST + b",x=y", b"e=x"]), max_size=4))
def test_any_challenges(challenges: list[bytes]) -> None:
    """Whatever a server says, it is logged in at only if it has given the one signature that is right."""
    session = introduced()
    peer = Scripted([*lines(*challenges), b"235 ok\r\n", b"501 no\r\n"])
    try:
        peer.run(session.authenticate(client()))
    except (AuthenticationAborted, ServerNotProven):
        assert not session.authenticated
    else:
        assert challenges == [FIRST, FINAL]
