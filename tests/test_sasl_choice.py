"""Which mechanisms are taken: the strongest that are offered and that the credentials are for, and no downgrades."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import spnego

from smtp_proto.channel_binding import ChannelBinding
from smtp_proto.errors import InvalidArgument, MissingExtra
from smtp_proto.sasl_choice import ON_REQUEST, PREFERENCE, Account, choose
from smtp_proto.sasl_server import SERVER_MECHANISMS

EVERYTHING = [*reversed([*PREFERENCE, *ON_REQUEST]), "DIGEST-MD5", "X-OWN"]
PASSWORD = Account("tim", "s3cret")
TOKEN = Account("tim", token="t0ken", host="mx.test", port=587)
BOUND = PASSWORD._replace(bindings=[ChannelBinding("tls-unique", b"x")], encrypted=True)


def names(account: Account, offered: list[str] = EVERYTHING, wanted: list[str] | None = None) -> list[str]:
    return [mechanism.name for mechanism in choose(account, offered, wanted)]


def test_with_a_password() -> None:
    """Those that prove before those that show, the stronger hash first; what the server lists first does not matter."""
    assert names(PASSWORD) == ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]
    assert names(PASSWORD, ["LOGIN", "plain", "Cram-MD5"]) == ["CRAM-MD5", "PLAIN", "LOGIN"]
    assert names(PASSWORD, ["XOAUTH2", "GSSAPI"]) == []
    assert names(PASSWORD._replace(password="")) == names(PASSWORD)


def test_with_something_to_bind_to() -> None:
    """The -PLUS forms come first; and with them on offer the others are no way out (RFC 5802 6)."""
    plus = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"]
    assert names(BOUND) == [*plus, "CRAM-MD5", "PLAIN", "LOGIN"]
    assert names(BOUND, ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256"]) == ["SCRAM-SHA-1-PLUS"]
    assert names(BOUND, ["SCRAM-SHA-1", "SCRAM-SHA-256"]) == ["SCRAM-SHA-256", "SCRAM-SHA-1"]
    for account, flag in ((BOUND, b"y,,"), (PASSWORD, b"n,,")):
        [mechanism] = choose(account, ["SCRAM-SHA-256"])
        assert (mechanism.step(None) or b"").startswith(flag)
    [mechanism] = choose(PASSWORD, ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
    assert (mechanism.step(None) or b"").startswith(b"n,,")


def test_with_a_token() -> None:
    """A token is for the two that take one; with a password too, those come behind."""
    assert names(TOKEN) == ["OAUTHBEARER", "XOAUTH2"]
    assert names(TOKEN._replace(password="x"), ["PLAIN", "XOAUTH2"]) == ["XOAUTH2", "PLAIN"]
    [mechanism] = choose(TOKEN, ["OAUTHBEARER"])
    assert mechanism.step(None) == b"n,a=tim,\x01host=mx.test\x01port=587\x01auth=Bearer t0ken\x01\x01"


def test_with_neither() -> None:
    """Over TLS who has neither password nor token has shown a certificate; in the clear there is nothing."""
    assert names(Account(encrypted=True)) == ["EXTERNAL"]
    assert names(Account()) == []
    assert names(PASSWORD._replace(encrypted=True), ["EXTERNAL"]) == []
    for account, response in (
        (Account(encrypted=True), b""),
        (Account("tim", encrypted=True), b"tim"),
        (Account("tim", authorization_identity="boss", encrypted=True), b"boss"),
    ):
        [mechanism] = choose(account, ["EXTERNAL"])
        assert mechanism.step(None) == response


def test_to_act_as_somebody_else() -> None:
    """Only the mechanisms that can say it are taken where somebody is to be acted as."""
    account = BOUND._replace(authorization_identity="boss")
    assert names(account) == ["PLAIN"]
    [mechanism] = choose(account, ["PLAIN"])
    assert mechanism.step(None) == b"boss\0tim\0s3cret"
    [mechanism] = choose(TOKEN._replace(authorization_identity="boss"), ["OAUTHBEARER", "XOAUTH2"])
    assert (mechanism.step(None) or b"").startswith(b"n,a=boss,")


def test_what_is_wanted() -> None:
    """Names say which, and in which order; some are taken only so."""
    assert names(PASSWORD, wanted=["login", "PLAIN"]) == ["LOGIN", "PLAIN"]
    assert names(PASSWORD, ["PLAIN"], wanted=["SCRAM-SHA-1"]) == []
    assert names(BOUND, wanted=["SCRAM-SHA-1"]) == ["SCRAM-SHA-1"]
    [unbound] = choose(BOUND, EVERYTHING, ["SCRAM-SHA-1"])
    assert (unbound.step(None) or b"").startswith(b"n,,")
    [bound] = choose(BOUND, ["SCRAM-SHA-1"], ["SCRAM-SHA-1"])
    assert (bound.step(None) or b"").startswith(b"y,,")
    assert names(PASSWORD, wanted=["NTLM"]) == ["NTLM"]
    assert names(Account("trace"), wanted=["ANONYMOUS", "NTLM"]) == ["ANONYMOUS"]
    with pytest.raises(InvalidArgument, match="'X-OWN' is none of EXTERNAL, "):
        choose(PASSWORD, EVERYTHING, ["X-OWN"])


def test_kerberos_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """GSSAPI takes the ticket cache's user where no other is given."""
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(spnego, "client", lambda *arguments, **options: asked.append((*arguments, options["hostname"])))
    assert names(Account(host="mx.test"), wanted=["GSSAPI"]) == ["GSSAPI"]
    assert asked == [(None, None, "mx.test")]


def test_what_cannot_be_used_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package, or a password that SASLprep forbids: the others are taken; if there are none it is said."""
    forbidden = PASSWORD._replace(password="s3cret\x07")
    assert names(forbidden, ["SCRAM-SHA-1", "PLAIN"]) == ["PLAIN"]
    with pytest.raises(InvalidArgument, match="SASLprep") as caught:
        choose(forbidden, ["SCRAM-SHA-1"])
    assert "s3cret" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "scramp", None)
    assert names(PASSWORD) == ["CRAM-MD5", "PLAIN", "LOGIN"]
    with pytest.raises(MissingExtra, match="pip install"):
        choose(PASSWORD, ["SCRAM-SHA-1", "SCRAM-SHA-256"])


def test_an_account_shows_no_secret() -> None:
    """Neither password nor token is in the `repr`."""
    for account in (PASSWORD, TOKEN):
        assert repr(account) == "Account('tim', ***)"


def test_the_table_in_the_documents() -> None:
    """The table says of each mechanism which ends of it there are, in the order of preference."""
    page = Path(__file__).parent.parent / "docs" / "authentication.md"
    rows = re.findall(r"^\| ([A-Z0-9-]+) \| [^|]+ \| (yes|no) \| (yes|no) \|", page.read_text("utf-8"), re.MULTILINE)
    assert rows == [(name, "yes", "yes" if name in SERVER_MECHANISMS else "no") for name in [*PREFERENCE, *ON_REQUEST]]
    assert set(SERVER_MECHANISMS) <= {name for name, _, _ in rows}
