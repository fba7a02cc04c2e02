"""The decision about addresses, headers and content: the tables, and what is seen in a message."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.internationalization import (
    BODY_WAYS,
    MAX_LINE,
    WAYS,
    Body,
    BodyRule,
    BodyWay,
    Content,
    Headers,
    Text,
    Way,
    WayRule,
    body_way,
    content_of,
    has_crlf_headers,
    has_long_lines,
    way,
)

PAGE = (Path(__file__).parent.parent / "docs" / "internationalization.md").read_text(encoding="utf-8")
BOOL = (True, False)

# -- the tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local_part", "domain", "headers", "smtputf8"),
    list(product((Text.ASCII, Text.UTF8), Text, Headers, BOOL)),
)
def test_ways(local_part: Text, domain: Text, headers: Headers, smtputf8: bool) -> None:
    """SMTPUTF8 only where nothing else helps, refused where it is not to be had; octets may go as they are."""
    chosen = way(local_part, domain, headers, smtputf8=smtputf8)
    address_needs_it = local_part is Text.UTF8 or domain is Text.UTF8
    if (address_needs_it or headers is not Headers.ASCII) and smtputf8:
        assert chosen is Way.SMTPUTF8
    elif address_needs_it or headers is Headers.ADDRESSES:
        assert chosen is Way.REFUSED
    else:
        assert chosen is (Way.A_LABELS if domain is Text.A_LABELS else Way.AS_GIVEN)


@pytest.mark.parametrize(
    ("body", "long_lines", "reencodable", "eight_bit_mime", "binary_mime"), list(product(Body, BOOL, BOOL, BOOL, BOOL))
)
def test_body_ways(body: Body, long_lines: bool, reencodable: bool, eight_bit_mime: bool, binary_mime: bool) -> None:
    """Nothing is announced that is not offered, re-encoded that would break, or refused that servers take anyway."""
    chosen = body_way(
        body,
        long_lines=long_lines,
        reencodable=reencodable,
        eight_bit_mime=eight_bit_mime,
        binary_mime=binary_mime,
    )
    assert chosen is not BodyWay.EIGHT_BIT or (eight_bit_mime and body is Body.EIGHT_BIT)
    assert chosen is not BodyWay.BINARY or (binary_mime and (body is Body.BINARY or long_lines))
    assert chosen is not BodyWay.REENCODED or reencodable
    assert (chosen is BodyWay.REFUSED) is (body is Body.BINARY and not reencodable and not binary_mime)
    if body is Body.SEVEN_BIT and not long_lines:
        assert chosen is BodyWay.AS_IT_IS
    if body is Body.EIGHT_BIT and not long_lines and eight_bit_mime:
        assert chosen is BodyWay.EIGHT_BIT


def row(rule: tuple[object, ...]) -> str:
    def cell(value: object) -> str:
        return "" if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)

    return "| " + " | ".join(map(cell, rule)) + " |"


def test_the_page_shows_the_tables() -> None:
    """The rows in the documentation are those of the code, in their order."""
    rows = [
        line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| local", "| content"))
    ]
    assert rows == [row(rule) for rule in (*WAYS, *BODY_WAYS)]


@pytest.mark.parametrize("rules", [WAYS, BODY_WAYS], ids=["ways", "body ways"])
def test_every_row_is_needed(rules: tuple[WayRule, ...] | tuple[BodyRule, ...]) -> None:
    """Each row is the first that fits for something."""
    if rules is WAYS:
        asked: list[tuple[object, ...]] = list(product((Text.ASCII, Text.UTF8), Text, Headers, BOOL))
    else:
        asked = list(product(Body, BOOL, BOOL, BOOL, BOOL))
    fitting = {
        next(rule for rule in rules if all(w is None or w == g for w, g in zip(rule[:-1], given, strict=True)))
        for given in asked
    }
    assert fitting == set(rules)


# -- what there is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "content"),
    [
        (b"", Content(Body.SEVEN_BIT, False, Headers.ASCII)),
        (b"Subject: x\r\n\r\nhello\r\n", Content(Body.SEVEN_BIT, False, Headers.ASCII)),
        (b"Subject: x\n\nh\xc3\xa4\n", Content(Body.EIGHT_BIT, False, Headers.ASCII)),
        (b"Subject: \xc3\xa4\n\nhello\n", Content(Body.EIGHT_BIT, False, Headers.OCTETS)),
        (b"Subject: \xc3\xa4", Content(Body.EIGHT_BIT, False, Headers.OCTETS)),
        (b"Subject: \xc3\xa4\r\rhello\r", Content(Body.EIGHT_BIT, False, Headers.OCTETS)),
        (b"Subject: \xe4\n\nhello\n", Content(Body.EIGHT_BIT, False, Headers.ASCII)),  # no UTF-8: nothing to ask for
        (b"no header \xc3\xa4\n\nhello\n", Content(Body.EIGHT_BIT, False, Headers.ASCII)),
        (b"Subject: x\n\na\0b\n", Content(Body.BINARY, False, Headers.ASCII)),
        (b"Subject: x\n\na\0b\xff" + b"x" * 999, Content(Body.BINARY, True, Headers.ASCII)),
    ],
)
def test_content(octets: bytes, content: Content) -> None:
    """What a message needs is seen in its octets, with any line ends."""
    assert content_of(octets) == content


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b""])
@pytest.mark.parametrize("length", [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, MAX_LINE + 2])
@pytest.mark.parametrize("before", [b"", b"short\r\n", b"x" * MAX_LINE + b"\r\n", b"\r\n" * 600])
@pytest.mark.parametrize("behind", [b"", b"short\r\n", b"y" * MAX_LINE])
def test_long_lines(before: bytes, length: int, end: bytes, behind: bytes) -> None:
    """A line may have 998 octets without its end, wherever it stands and whatever ends it."""
    octets = before + b"x" * length + (end or b"\n") + behind
    assert has_long_lines(octets) is (length > MAX_LINE)


@given(st.lists(st.tuples(st.integers(0, 2 * MAX_LINE), st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=6))
def test_long_lines_are_those_that_splitting_shows(lines: list[tuple[int, bytes]]) -> None:
    """Looking from line end to line end finds what looking at each line finds."""
    octets = b"".join(b"x" * length + end for length, end in lines)
    assert has_long_lines(octets) is any(len(line) > MAX_LINE for line in octets.splitlines())


@pytest.mark.parametrize(
    ("octets", "crlf"),
    [
        (b"A: b\r\n\r\nany\nthing\r", True),
        (b"A: b\r\n", True),
        (b"A: b\n\nany\r\nthing", False),
        (b"A: b\r\nC: d\n\r\n", False),
        (b"A: b\r\rx", False),
    ],
)
def test_crlf_headers(octets: bytes, crlf: bool) -> None:
    """What goes as it is must have its line ends already, in its headers at least."""
    assert has_crlf_headers(octets) is crlf
