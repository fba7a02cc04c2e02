"""The byte-level rules: what may become part of a command line, and the small notations inside it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.errors import InvalidArgument
from smtp_proto.grammar import (
    BRACKETED_PATH,
    CONTROL,
    CONTROL_BYTES,
    ESMTP_PARAMETER,
    MAX_COMMAND_LENGTH,
    PATH,
    SASL_MECHANISM,
    WORD,
    EnhancedStatus,
    clean_text,
    enhanced_status,
    excerpt,
    parse_xtext,
    xtext,
)

CONTROLS = [chr(c) for c in (*range(32), 127)]


# -- the choke point ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_no_control_character_passes(control: str) -> None:
    """C0 and DEL are refused at the beginning, in the middle and at the end, as text and as octets."""
    for text in (control, f"{control}ab", f"a{control}b", f"ab{control}"):
        assert CONTROL_BYTES.search(text.encode())
        with pytest.raises(InvalidArgument, match="some argument: prohibited control characters") as caught:
            clean_text("some argument", text)
        assert caught.value.argument == "some argument"


def test_everything_else_passes_as_utf8() -> None:
    """All other characters reach the wire as their UTF-8, C1 and white space beyond ASCII included."""
    text = "".join(chr(c) for c in range(32, 0x300) if c != 127) + "\u2028\ufeff\U0010ffff"
    assert clean_text("text", text) == text.encode()


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc80@example.org", "\ud83d\ude00"], ids=ascii)
def test_lone_surrogates_have_no_octets(text: str) -> None:
    """A lone surrogate (undecodable octets, read with surrogateescape) is refused, not sent as a guess."""
    with pytest.raises(InvalidArgument, match="lone surrogate"):
        clean_text("text", text)


def test_the_length_of_a_line_is_bounded() -> None:
    """What is longer than any command line is refused before it is encoded; the bound itself passes."""
    assert len(clean_text("text", "a" * MAX_COMMAND_LENGTH)) == MAX_COMMAND_LENGTH
    with pytest.raises(InvalidArgument, match="65537 characters"):
        clean_text("text", "a" * (MAX_COMMAND_LENGTH + 1))


@given(st.text())
def test_octets_of_clean_text_hold_no_control(text: str) -> None:
    """What `clean_text` lets pass has neither line end nor NUL, and decodes to what was given."""
    try:
        octets = clean_text("text", text)
    except InvalidArgument:
        assert CONTROL.search(text) or re.search("[\ud800-\udfff]", text)
    else:
        assert not CONTROL_BYTES.search(octets)
        assert octets.decode() == text


def test_excerpts_are_short() -> None:
    """A value in a message is shown whole while it is short, and cut visibly from there on."""
    assert excerpt("a" * 80) == repr("a" * 80)
    assert excerpt(b"\r\n") == r"b'\r\n'"
    assert excerpt("a" * 81) == repr("a" * 80) + "..."
    assert len(excerpt("\U000e0001" * 100_000)) < 1000


# -- paths -------------------------------------------------------------------------------------------------------------

PATHS = [
    "",
    "a@b",
    "postmaster",
    "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]",
    "@relay.example:a@b",
    "a+b=c/d@e",
    "käse@müller.example",
    '"a b"@c',
    '"a>b"@c',
    '"<"@c',
    r'"a\"b"@c',
    r'"a\\"@c',
    r'"\ "@c',
    '""@c',
    '"@"@c',
    "a,b@c",
    "a\\b@c",
]

NO_PATHS = [
    "a b@c",
    "a@b c",
    " a@b",
    "a@b ",
    "a@b> NOTIFY=NEVER",
    "a@b>,<c@d",
    "<a@b>",
    "a@b>",
    "<a@b",
    '"a',
    'a"b"@c',
    '"a b"',
    '"a"b"@c',
    '"a\\"@c',
    '"a b"x@c',
    'a@"b c"',
    '"a"@b"c"@d',
    "a\u00a0b@c",  # white space beyond ASCII: a server may split there
    "a\u2003b@c",
    "a\u2028b@c",
    "a\x85b@c",
    *(f"a{control}@b" for control in CONTROLS),
    *(f'"a{control}"@b' for control in CONTROLS),
    *(f'"a\\{control}"@b' for control in CONTROLS),
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_read_back_from_their_brackets(path: str) -> None:
    """What may stand in brackets is found again as it was, whatever parameters follow."""
    assert PATH.fullmatch(path)
    for behind, parameters in (("", None), (" ", ""), (" A=B C", "A=B C"), ("  A=<>", "A=<>")):
        match = BRACKETED_PATH.fullmatch(f"<{path}>{behind}")
        assert match is not None
        assert match.groups() == (path, parameters)


@pytest.mark.parametrize("path", NO_PATHS, ids=ascii)
def test_paths_cannot_end_early(path: str) -> None:
    """White space, angle brackets and stray quotation marks are no path: they could start something else."""
    assert not PATH.fullmatch(path)


@pytest.mark.parametrize("text", ["", "a@b", "<a@b", "a@b>", "<a@b>A=B", "< a@b>", "<a@b >", "<a b>", "<<a@b>>"])
def test_broken_brackets_are_none(text: str) -> None:
    """One pair of brackets around a path, a space before the parameters, and nothing else."""
    assert not BRACKETED_PATH.fullmatch(text)


@given(st.text(st.sampled_from('ab@.\\"<> \t\u2003ä'), max_size=12))
def test_any_path_ends_at_its_own_bracket(path: str) -> None:
    """A path that is accepted and its parameters are told apart in one way only."""
    if PATH.fullmatch(path):
        match = BRACKETED_PATH.fullmatch(f"<{path}> SIZE=1 AUTH=<>")
        assert match is not None
        assert match.groups() == (path, "SIZE=1 AUTH=<>")


def test_hostile_paths_end() -> None:
    """No path makes the patterns try all ways to cut it (an exponential search would not come back from this)."""
    for path in ('"' + "\\" * 50_001, '"' + "\\a" * 25_000, '"' * 50_000, '"' + " " * 50_000 + '"', "@" * 50_000 + " "):
        assert not PATH.fullmatch(path)
        assert not BRACKETED_PATH.fullmatch(f"<{path}")


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (
            WORD,
            ["a", "mx.example.org", "[192.0.2.1]", "bücher.example", "a_b"],
            ["", " ", "a b", "a\tb", "a\r", "a\xa0"],
        ),
        (
            ESMTP_PARAMETER,
            ["SIZE=1", "a", "8BIT", "X-Y=z", "AUTH=<>", "A=", "A==", "A=ä", "ENVID=x+2By"],
            ["", "=1", "-a", "A B", "A =1", "A=b c", "A=\r", "A=\u2003", "Ä=1", "A_B=1", "\u017fIZE=1"],
        ),
        (
            SASL_MECHANISM,
            ["PLAIN", "plain", "SCRAM-SHA-256", "X_Y", "9", "A" * 20],
            ["", "A" * 21, "PLAIN ", "PLA IN", "PLAIN\r\n", "PLAIN\n", "ÄPFEL", "PLAIN="],
        ),
    ],
    ids=["word", "parameter", "mechanism"],
)
def test_words(pattern: re.Pattern[str], good: list[str], bad: list[str]) -> None:
    """A word of a command is one word: nothing in it can start another."""
    assert [word for word in good if not pattern.fullmatch(word)] == []
    assert [word for word in bad if pattern.fullmatch(word)] == []


# -- enhanced status codes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text", "status"),
    [
        (250, b"2.0.0 ok", (2, 0, 0)),
        (250, b"2.0.0", (2, 0, 0)),
        (250, b"2.0.0\tok", (2, 0, 0)),
        (250, b"2.0.0  ", (2, 0, 0)),
        (421, b"4.3.2 closing", (4, 3, 2)),
        (501, b"5.5.124 three digits", (5, 5, 124)),
        (550, b"5.999.999 all digits", (5, 999, 999)),
        (550, b"4.1.1 another class", None),
        (250, b"5.0.0 another class", None),
        (354, b"3.0.0 no such class", None),
        (150, b"1.0.0 no such class", None),
        (550, b" 5.1.1 not at the start", None),
        (550, b"x5.1.1", None),
        (550, b"5.1.1x", None),
        (550, b"5.1.1.", None),
        (550, b"5.1.1.1 four parts", None),
        (550, b"5.1.1: colon", None),
        (550, b"5.1.1\r", None),
        (550, b"5.1.1\0", None),
        (550, b"5.1.1\xa0", None),
        (550, b"5.1 two parts", None),
        (550, b"5..1 empty part", None),
        (550, b"5.1000.1 four digits", None),
        (550, b"5.1.1000 four digits", None),
        (550, b"55.1.1", None),
        (550, b"5.-1.1", None),
        (550, b"5.\xb2.1 a superscript is no digit", None),
        (550, b"", None),
    ],
)
def test_enhanced_status(code: int, text: bytes, status: tuple[int, int, int] | None) -> None:
    """Three numbers of up to three digits, of the reply's own class, then white space or the end."""
    assert enhanced_status(code, text) == status


def test_enhanced_status_as_text() -> None:
    """`str()` gives what stood on the wire."""
    assert str(EnhancedStatus(5, 1, 10)) == "5.1.10"


# -- xtext -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"", ""),
        (b"a@b.example", "a@b.example"),
        (b"a+b=c", "a+2Bb+3Dc"),
        (b" \r\n\0\x7f", "+20+0D+0A+00+7F"),
        ("ä".encode(), "+C3+A4"),
        (b"!~", "!~"),
        (b"09azAZ*,-.<>", "09azAZ*,-.<>"),
    ],
)
def test_xtext_pairs(octets: bytes, text: str) -> None:
    """RFC 3461 4: "+", "=" and all but printable ASCII stand as two digits."""
    assert xtext(octets) == text
    assert parse_xtext(text) == octets


def test_all_octets_survive_xtext() -> None:
    """Every octet is written so that it is a parameter's value, and read back."""
    octets = bytes(range(256))
    assert ESMTP_PARAMETER.fullmatch(f"ORCPT={xtext(octets)}")
    assert parse_xtext(xtext(octets)) == octets


@given(st.binary())
def test_xtext_is_reversible(octets: bytes) -> None:
    """Reading is the inverse of writing."""
    assert parse_xtext(xtext(octets)) == octets


@pytest.mark.parametrize("text", ["+", "+2", "a+", "+2b", "+GG", "a=b", "a b", "ä", "\x7f", "a\n", "+\u0662B", "\r"])
def test_what_is_no_xtext(text: str) -> None:
    """Anything outside the notation is refused: lower-case digits, half a digit pair, octets that want encoding."""
    with pytest.raises(InvalidArgument, match="xtext"):
        parse_xtext(text)
