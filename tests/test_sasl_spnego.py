"""GSSAPI (RFC 4752) and NTLM, the client's side, against an acceptor of pyspnego's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import spnego

from smtp_proto.errors import InvalidArgument, MissingExtra
from smtp_proto.sasl import ServerNotProven, UnacceptableChallenge
from smtp_proto.sasl_spnego import Context, Gssapi, Ntlm

# There is no Kerberos to test against: pyspnego's own NTLM does for both, as its contexts have the same four methods.
OPTIONS = spnego.NegotiateOptions.use_ntlm


@pytest.fixture
def acceptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The server's context, which knows tim."""
    users = tmp_path / "users"
    users.write_text("DOMAIN:tim:s3cret\n", "utf-8")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    return spnego.server(hostname="mx.test", service="smtp", protocol="ntlm", options=OPTIONS)


def initiator(password: str = "s3cret") -> Context:
    return spnego.client("DOMAIN\\tim", password, hostname="mx.test", service="smtp", protocol="ntlm", options=OPTIONS)


# -- NTLM -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("initial", [None, b""])
def test_ntlm(acceptor: Any, initial: bytes | None) -> None:
    """Three messages, the first with AUTH or when asked for; then there is nothing more to say."""
    mechanism = Ntlm("DOMAIN\\tim", "s3cret")
    assert (mechanism.name, mechanism.shows_secret) == ("NTLM", False)
    acceptor.step(mechanism.step(acceptor.step(mechanism.step(initial))))
    assert acceptor.complete
    assert acceptor.client_principal == "DOMAIN\\tim"
    with pytest.raises(UnacceptableChallenge, match="at its end"):
        mechanism.step(b"")
    mechanism.succeeded()


@pytest.mark.parametrize("token", [b"", b"x", b"NTLMSSP\0\2\0\0\0", b"NTLMSSP\0" + bytes(60)])
def test_broken_tokens(token: bytes) -> None:
    """Whatever a broken token makes pyspnego raise, the exchange is to be cancelled."""
    mechanism = Ntlm("DOMAIN\\tim", "s3cret")
    mechanism.step(None)
    with pytest.raises(UnacceptableChallenge, match="token"):
        mechanism.step(token)


@pytest.mark.parametrize("bad", ["\0", "a\ud800"], ids=ascii)
def test_credentials_that_have_no_encoding(bad: str) -> None:
    """As in every mechanism."""
    for arguments in ((bad, "x"), ("x", bad)):
        with pytest.raises(InvalidArgument):
            Ntlm(*arguments)
    with pytest.raises(InvalidArgument, match="authorization identity"):
        Gssapi("mx.test", authorization_identity=bad)


def test_a_password_shows_itself_to_nobody() -> None:
    """Neither `repr` nor `str` tells the password."""
    mechanism = Ntlm("DOMAIN\\tim", "s3cret")
    assert "s3cret" not in f"{mechanism!r}{mechanism}"


def test_what_is_missing_here_is_not_the_servers_fault() -> None:
    """What pyspnego raises before there is a token of the server's (no ticket, for instance) goes on as it is."""

    class Missing:
        complete = False

        def step(self, in_token: bytes | None = None) -> bytes | None:
            raise ZeroDivisionError

        def wrap(self, data: bytes, encrypt: bool = True) -> Any:
            raise AssertionError

        unwrap = wrap

    for nothing in (None, b""):
        for mechanism in (Ntlm("u", "p", context=Missing()), Gssapi("mx.test", context=Missing())):
            with pytest.raises(ZeroDivisionError):
                mechanism.step(nothing)
            # From the second on an empty challenge is a broken token like any other.
            with pytest.raises(UnacceptableChallenge):
                mechanism.step(b"")


# -- GSSAPI -----------------------------------------------------------------------------------------------------------


def agreed(acceptor: Any, identity: str = "") -> Gssapi:
    """A mechanism whose contexts are agreed: the server's offer is what comes next."""
    mechanism = Gssapi("mx.test", authorization_identity=identity, context=initiator())
    acceptor.step(mechanism.step(acceptor.step(mechanism.step(None))))
    assert acceptor.complete
    return mechanism


@pytest.mark.parametrize("layers", [b"\x01\0\0\0", b"\x07\x00\xff\xff"])
def test_gssapi(acceptor: Any, layers: bytes) -> None:
    """RFC 4752 3: contexts, the server's offer of layers, the choice of none and whom to act as: all wrapped."""
    mechanism = agreed(acceptor, "j\xfcrgen")
    assert (mechanism.name, mechanism.shows_secret) == ("GSSAPI", False)
    answer = mechanism.step(acceptor.wrap(layers).data)
    assert answer is not None
    assert acceptor.unwrap(answer).data == b"\x01\0\0\0" + "j\xfcrgen".encode()
    mechanism.succeeded()
    with pytest.raises(UnacceptableChallenge, match="at its end"):
        mechanism.step(b"")


@pytest.mark.parametrize("offer", [b"\x06\0\xff\xff", b"", b"\x01\0\0", b"\x01\0\0\0\0"])
def test_layers_that_are_not_wanted(acceptor: Any, offer: bytes) -> None:
    """A server that insists on a layer of its own, or whose offer has another length: cancelled."""
    mechanism = agreed(acceptor)
    with pytest.raises(UnacceptableChallenge, match="layer"):
        mechanism.step(acceptor.wrap(offer).data)


@pytest.mark.parametrize("offer", [b"", b"\x01\0\0\0", bytes(20)])
def test_an_offer_that_is_not_the_servers(acceptor: Any, offer: bytes) -> None:
    """What the context has not wrapped may be anybody's."""
    with pytest.raises(ServerNotProven):
        agreed(acceptor).step(offer)


def test_a_success_too_early(acceptor: Any) -> None:
    """A server that says yes before its offer has not proven itself."""
    for mechanism in (agreed(acceptor), Gssapi("mx.test", context=initiator())):
        with pytest.raises(ServerNotProven):
            mechanism.succeeded()


def test_nothing_to_send_is_an_empty_response() -> None:
    """RFC 4752 3.1: where the context is complete and has no token, the response is empty."""

    class Silent:
        complete = False

        def step(self, in_token: bytes | None = None) -> bytes | None:
            self.complete = True
            return None

        def wrap(self, data: bytes, encrypt: bool = True) -> Any:
            raise AssertionError

        unwrap = wrap

    assert Gssapi("mx.test", context=Silent()).step(b"token") == b""


# -- without the packages ---------------------------------------------------------------------------------------------


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyspnego the error says what to install."""
    monkeypatch.setitem(sys.modules, "spnego", None)
    for make in (lambda: Ntlm("u", "p"), lambda: Gssapi("mx.test")):
        with pytest.raises(MissingExtra, match=r"pip install 'sansio-smtp\[spnego\]'"):
            make()


def test_gssapi_asks_for_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 4752 3.1, RFC 4954: the service is smtp at the host; the user is the ticket cache's unless one is given."""
    asked: list[tuple[Any, ...]] = []

    def client(*arguments: Any, **options: Any) -> Context:
        asked.append((*arguments, *options.values()))
        return made

    made = initiator()
    monkeypatch.setattr(spnego, "client", client)
    Gssapi("mx.test")
    Gssapi("", "u", "p")
    assert asked == [
        (None, None, "mx.test", "smtp", "kerberos"),
        ("u", "p", "unspecified", "smtp", "kerberos"),
    ]
