"""The reply as a value: what it says, what it shows, and what its text can do to the framing (nothing)."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.errors import InvalidArgument
from smtp_proto.grammar import EnhancedStatus
from smtp_proto.replies import Reply, ReplyReader, without_enhanced_status


def received(octets: bytes) -> Reply:
    """The one reply that the octets are."""
    reader = ReplyReader()
    reader.feed(octets)
    reply = reader.next_reply()
    assert reply is not None
    assert reader.quiet
    return reply


def test_what_a_code_says() -> None:
    """The first digit says it all: accepted is 2xx, temporary is 4xx."""
    codes = (0, 99, 199, 200, 250, 299, 300, 399, 400, 499, 500, 599, 600, 999)
    assert [Reply(code).severity for code in codes] == [0, 0, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 9]
    assert [code for code in codes if Reply(code).accepted] == [200, 250, 299]
    assert [code for code in codes if Reply(code).temporary] == [400, 499]


@pytest.mark.parametrize("code", [-1, 1000, 2500])
def test_codes_have_three_digits(code: int) -> None:
    """A code that cannot be written in three digits is refused when the reply is built."""
    with pytest.raises(InvalidArgument, match="three digits"):
        Reply(code)


@pytest.mark.parametrize("octet", [b"\r", b"\n", b"\0", b"\r\n"])
def test_text_cannot_break_the_framing(octet: bytes) -> None:
    """CR, LF or NUL in a line, wherever it stands, is refused when the reply is written."""
    for lines in ([b"a" + octet], [octet + b"a"], [b"ok", b"a" + octet + b"250 b"], [b"a" + octet + b"b", b"ok"]):
        with pytest.raises(InvalidArgument, match="CR, LF or NUL"):
            Reply(250, lines).encode()
    with pytest.raises(InvalidArgument):
        Reply(250, "a\r\nb").encode()


@given(st.integers(0, 999), st.text() | st.binary())
def test_a_written_reply_is_one_reply(code: int, text: str | bytes) -> None:
    """Whatever text a reply is built from, what is written is refused or read as exactly this reply."""
    reply = Reply(code, text)
    try:
        octets = reply.encode()
    except InvalidArgument:
        assert any(octet in line for line in reply.lines for octet in (b"\r", b"\n", b"\0"))
    else:
        assert received(octets) == reply


def test_lone_surrogates_are_shown_not_raised() -> None:
    """Text that has no octets is written with escapes: a server's reply must go out."""
    assert Reply(550, "<\udcff>").encode() == b"550 <\\udcff>\r\n"


@given(st.lists(st.binary(), min_size=1))
def test_showing_never_raises(lines: list[bytes]) -> None:
    """Any octets can be shown, as text, as `str()` and as `repr()`; in the last two without a control character."""
    reply = Reply(250, lines)
    assert str(reply).startswith("250 ")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", str(reply) + repr(reply))
    assert repr(reply) == f"Reply(code=250, lines={tuple(lines)!r})"


def test_text() -> None:
    """UTF-8 is decoded, what is none is escaped, lines are joined by line feeds; codes have three digits."""
    assert Reply(250, [b"gr\xc3\xbc\xc3\x9f", b"\xff"]).text == "grüß\n\\xff"
    assert str(Reply(7, "x")) == "007 x"


def test_no_other_attributes() -> None:
    """What a reply does not have is an `AttributeError`, received or built."""
    for reply in (received(b"250 ok\r\n"), Reply(250)):
        with pytest.raises(AttributeError, match="no attribute 'line'"):
            reply.line  # type: ignore[attr-defined]  # noqa: B018  # that is the test


def test_equal_replies() -> None:
    """Code and lines make a reply; how it came is no part of it."""
    reply = received(b"250 ok\n")
    assert reply == Reply(250, "ok")
    assert hash(reply) == hash(Reply(250, b"ok"))
    assert reply.raw == b"250 ok\n"
    assert Reply(250, "ok") != Reply(251, "ok")
    assert Reply(250, "ok") != Reply(250, "OK")


def test_enhanced_status_of_a_reply() -> None:
    """The first line's code counts; a 3xx has none; and asking again gives the same."""
    reply = Reply(550, "5.1.1 no\n5.7.1 other")
    assert reply.enhanced == EnhancedStatus(5, 1, 1)
    assert reply.enhanced is reply.enhanced
    assert Reply(550, "no\n5.1.1 other").enhanced is None
    assert Reply(354, "3.0.0 go on").enhanced is None
    assert Reply(334, "NS4xLjEg").enhanced is None
    assert Reply(250, "2.0.0").enhanced == (2, 0, 0)


def test_replies_that_never_have_an_enhanced_status() -> None:
    """A greeting's or EHLO's first word is a name, whatever it looks like."""
    reply = Reply(220, "2.0.0 is my name")
    assert without_enhanced_status(reply) == reply
    assert without_enhanced_status(reply).enhanced is None
    assert reply.enhanced == (2, 0, 0)  # it may have been given out to another command


@pytest.mark.parametrize("asked_before", [False, True])
def test_copies_know_what_the_original_does(asked_before: bool) -> None:
    """A copy by any means has the octets and the enhanced status of the original, asked for before or not."""
    reply = received(b"550 5.1.1 no\n")
    if asked_before:
        assert reply.enhanced is not None
    for other in (pickle.loads(pickle.dumps(reply)), copy.copy(reply), copy.deepcopy(reply)):  # noqa: S301  # our own
        assert other == reply
        assert other.raw == b"550 5.1.1 no\n"
        assert other.enhanced == (5, 1, 1)
    plain = copy.deepcopy(without_enhanced_status(Reply(220, "2.0.0 mx")))
    assert plain.enhanced is None
