"""What an EHLO reply says: keywords as they are, typed views that nonsense turns into None, and never an exception."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.extensions import Extensions
from smtp_proto.replies import Reply


def listed(*lines: str | bytes) -> Extensions:
    """What a reply with these lines behind the first says."""
    octets = [line.encode() if isinstance(line, str) else line for line in lines]
    return Extensions.from_reply(Reply(250, [b"mx.example.org SIZE 1", *octets]))


@pytest.mark.parametrize(
    ("lines", "keywords"),
    [
        ([], {}),
        (["PIPELINING", "8BITMIME"], {"PIPELINING": "", "8BITMIME": ""}),
        (["SIZE 1000"], {"SIZE": "1000"}),
        (["size 1000", "8bitMime"], {"SIZE": "1000", "8BITMIME": ""}),
        (["X-Y  two  words "], {"X-Y": "two  words"}),
        ([" SIZE 1", "\tDSN\t"], {"SIZE": "1", "DSN": ""}),
        (["", " ", "DSN"], {"DSN": ""}),
        (["SIZE 1", "SIZE 2"], {"SIZE": "2"}),
        (["8 BITMIME"], {"8": "BITMIME"}),
        (["XVERP=Courier"], {"XVERP=COURIER": ""}),
        (["X_UNDERSCORE 1", ".DOT"], {"X_UNDERSCORE": "1", ".DOT": ""}),
        ([b"X-\xff a\xfe\0"], {"X-\\XFF": "a\\xfe\0"}),
        (["GRÜSSE ä"], {"GRÜSSE": "ä"}),
        (["AUTH PLAIN", "AUTH=LOGIN"], {"AUTH": "PLAIN LOGIN"}),
    ],
)
def test_keywords(lines: list[str | bytes], keywords: dict[str, str]) -> None:
    """Each line behind the first is a keyword, in upper case, and its parameters; the first line is never one."""
    assert dict(listed(*lines)) == keywords


@pytest.mark.parametrize(
    ("lines", "mechanisms"),
    [
        ([], ()),
        (["AUTH"], ()),
        (["AUTH="], ()),
        (["AUTH PLAIN LOGIN"], ("PLAIN", "LOGIN")),
        (["auth plain  Login"], ("PLAIN", "LOGIN")),
        (["AUTH=LOGIN"], ("LOGIN",)),
        (["auth=login plain"], ("LOGIN", "PLAIN")),
        (["AUTH PLAIN", "AUTH=PLAIN LOGIN"], ("PLAIN", "LOGIN")),
        (["AUTH=PLAIN LOGIN", "AUTH CRAM-MD5 PLAIN"], ("PLAIN", "LOGIN", "CRAM-MD5")),
        (["AUTH", "AUTH=LOGIN"], ("LOGIN",)),
        (["AUTH LOGIN", "AUTH"], ("LOGIN",)),
        (["AUTHX PLAIN"], ()),
        (["XAUTH PLAIN"], ()),
    ],
)
def test_mechanisms(lines: list[str], mechanisms: tuple[str, ...]) -> None:
    """The mechanisms of all AUTH and AUTH= lines, upper case, once each, in the server's order."""
    assert listed(*lines).auth == mechanisms


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("DSN", None),
        ("SIZE", None),
        ("SIZE 0", None),
        ("SIZE 1", 1),
        ("SIZE 35882577", 35882577),
        ("SIZE 0010", 10),
        ("SIZE 99999999999999999999", 10**20 - 1),
        ("SIZE 100000000000000000000", None),  # 21 digits
        ("SIZE " + "9" * 8000, None),  # more than int() reads
        ("SIZE 1 2", None),
        ("SIZE -1", None),
        ("SIZE +1", None),
        ("SIZE 1_0", None),
        ("SIZE 1.5", None),
        ("SIZE abc", None),
        ("SIZE ²", None),
        ("SIZE ٣", None),
    ],
)
def test_size(line: str, size: int | None) -> None:
    """SIZE is a number of up to 20 digits; 0 and nonsense declare no limit."""
    assert listed(line).size == size


@pytest.mark.parametrize(
    ("line", "limits"),
    [
        ("DSN", {}),
        ("LIMITS", {}),
        ("LIMITS RCPTMAX=100", {"RCPTMAX": 100}),
        ("limits mailmax=1000 RcptMax=50000", {"MAILMAX": 1000, "RCPTMAX": 50000}),
        ("LIMITS X=0 Y=999999999 Z=1000000000", {"X": 0, "Y": 999999999}),
        ("LIMITS A B= C=-1 D=x E=² F=1=2 G=1", {"G": 1}),
    ],
)
def test_limits(line: str, limits: dict[str, int]) -> None:
    """The limits of RFC 9422 that are numbers, by name."""
    assert listed(line).limits == limits


def test_looking_up_ignores_case() -> None:
    """A keyword is found in any case, and only a keyword."""
    extensions = Extensions({"starttls": "", "Size": "10"})
    assert "STARTTLS" in extensions
    assert "startTLS" in extensions
    assert "DSN" not in extensions
    assert not extensions.__contains__(5)
    assert extensions["size"] == extensions.get("SIZE") == "10"
    assert extensions.get("dsn") is None
    with pytest.raises(KeyError):
        extensions["dsn"]
    assert list(extensions) == ["STARTTLS", "SIZE"]
    assert len(extensions) == 2
    assert repr(extensions) == "Extensions({'STARTTLS': '', 'SIZE': '10'})"


def test_copies_are_equal() -> None:
    """Extensions compare as mappings do, and survive pickling and copying."""
    extensions = listed("SIZE 10", "AUTH PLAIN")
    for other in (pickle.loads(pickle.dumps(extensions)), copy.copy(extensions), copy.deepcopy(extensions)):  # noqa: S301
        assert other == extensions
        assert other.size == 10
    assert extensions == {"SIZE": "10", "AUTH": "PLAIN"}
    assert extensions != listed("SIZE 11", "AUTH PLAIN")


@given(st.lists(st.binary() | st.sampled_from([b"AUTH", b"AUTH=", b"SIZE ", b"LIMITS =", b"LIMITS a=1"])))
def test_nonsense_never_raises(lines: list[bytes]) -> None:
    """Whatever a server lists, the views of it have values, and keywords are upper case and not empty."""
    extensions = Extensions.from_reply(Reply(250, [b"mx", *lines]))
    assert extensions.size is None or 0 < extensions.size < 10**20
    assert all(mechanism and mechanism == mechanism.upper() for mechanism in extensions.auth)
    assert all(0 <= limit < 10**9 for limit in extensions.limits.values())
    assert all(keyword and keyword in extensions for keyword in extensions)


@pytest.mark.parametrize(
    ("line", "minimum"),
    [("DELIVERBY 240", 240), ("DELIVERBY", None), ("deliverby 0,XTOKEN", 0), ("DELIVERBY soon", None), ("SIZE", None)],
)
def test_deliver_by(line: str, minimum: int | None) -> None:
    """RFC 2852 3: the least time is the number in front of a comma; nonsense is none."""
    assert listed(line).deliver_by == minimum
    assert listed(f"DELIVERBY {'9' * 10}").deliver_by is None


def test_future_release() -> None:
    """RFC 4865 3: both bounds, or none; nonsense is none."""
    bounds = listed("FUTURERELEASE 172800 2006-10-06T20:00:00Z").future_release
    assert bounds == (172800, "2006-10-06T20:00:00Z")
    for nonsense in ("", " 1", " 0 2006-10-06T20:00:00Z", " 1 2006-10-06", " 1 2006-10-06T20:00:00+01:00"):
        assert listed(f"FUTURERELEASE{nonsense}").future_release is None
    assert listed().future_release is None


def test_lists_of_words() -> None:
    """Words behind a keyword are a tuple, empty where the extension is not offered, or says nothing more."""
    offer = listed("BURL imap imap://imap.example.com", "XCLIENT name ADDR", "XFORWARD NAME addr", "MT-PRIORITY mixer")
    assert offer.burl == ("imap", "imap://imap.example.com")
    assert offer.xclient == ("NAME", "ADDR")
    assert offer.xforward == ("NAME", "ADDR")
    assert offer.mt_priority == "MIXER"
    assert listed("NO-SOLICITING net.example:ADV,org.example:ADV").no_soliciting == (
        "NET.EXAMPLE:ADV",
        "ORG.EXAMPLE:ADV",
    )
    assert listed("MT-PRIORITY", "NO-SOLICITING").mt_priority == ""
    assert listed("MT-PRIORITY", "NO-SOLICITING").no_soliciting == ()
    nothing = listed()
    assert nothing.burl == nothing.xclient == nothing.xforward == nothing.no_soliciting == ()
    assert nothing.mt_priority is None


@given(st.dictionaries(st.sampled_from(["DELIVERBY", "FUTURERELEASE", "NO-SOLICITING", "LIMITS", "BURL"]), st.text()))
def test_nonsense_never_raises_in_typed_views(offered: dict[str, str]) -> None:
    """Whatever a server writes behind a keyword, looking at it raises nothing, and the keyword keeps it as it is."""
    offer = Extensions(offered)
    assert offer.deliver_by is None or offer.deliver_by < 10**9
    assert offer.future_release is None or offer.future_release.interval < 10**9
    assert all(offer.no_soliciting)
    assert all(offer.burl)
    assert all(value < 10**9 for value in offer.limits.values())
    assert all(offer[keyword] == value for keyword, value in offered.items())
