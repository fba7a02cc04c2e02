"""Replies: written and read by one set of rules, whatever way they are split, and what is no reply."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.errors import LimitExceeded, RemoteProtocolError
from smtp_proto.replies import (
    MAX_KNOWN,
    MAX_KNOWN_GROUPS,
    MAX_KNOWN_LINE,
    MAX_REPLY_LINE,
    MAX_REPLY_LINES,
    MAX_REPLY_SIZE,
    Reply,
    ReplyReader,
)
from smtp_proto.strategies import replies, splits

from .splitting import bytewise, every_split

# Value and octets: what is written so is read so.
PAIRS = [
    (Reply(250, "ok"), b"250 ok\r\n"),
    (Reply(250), b"250 \r\n"),
    (Reply(250, b""), b"250 \r\n"),
    (Reply(250, []), b"250 \r\n"),
    (Reply(250, "2.1.0 Sender <a@b> ok"), b"250 2.1.0 Sender <a@b> ok\r\n"),
    (Reply(250, "a\nb"), b"250-a\r\n250 b\r\n"),
    (Reply(250, "a\n\n"), b"250-a\r\n250-\r\n250 \r\n"),
    (Reply(250, (b"mx", b"SIZE 1000", b"AUTH PLAIN")), b"250-mx\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n"),
    (Reply(354, "go on"), b"354 go on\r\n"),
    (Reply(550, " - "), b"550  - \r\n"),
    (Reply(550, "-x"), b"550 -x\r\n"),
    (Reply(250, "250 ok"), b"250 250 ok\r\n"),
    (Reply(250, "grüß"), b"250 gr\xc3\xbc\xc3\x9f\r\n"),
    (Reply(250, b"8-bit \xff\x80"), b"250 8-bit \xff\x80\r\n"),
    (Reply(250, "\ttab and \x7f"), b"250 \ttab and \x7f\r\n"),
    (Reply.challenge(b""), b"334 \r\n"),
    (Reply.challenge(b"\0\xff"), b"334 AP8=\r\n"),
    (Reply(0, "no such code, but three digits"), b"000 no such code, but three digits\r\n"),
    (Reply(7), b"007 \r\n"),
    (Reply(999, "x"), b"999 x\r\n"),
]

# What is read, but never written: (octets, codes and lines).
TOLERATED: list[tuple[bytes, list[tuple[int, list[bytes]]]]] = [
    (b"250\r\n", [(250, [b""])]),
    (b"250\n", [(250, [b""])]),
    (b"250-a\n250\n", [(250, [b"a", b""])]),
    (b"250-a\n250 b\r\n", [(250, [b"a", b"b"])]),
    (b"250 ok\n", [(250, [b"ok"])]),
    (b"250 ok\r\r\n", [(250, [b"ok\r"])]),
    (b"250 \r\r\n", [(250, [b"\r"])]),
    (b"250 a\rb\r\n", [(250, [b"a\rb"])]),
    (b"250 a\0b\r\n", [(250, [b"a\0b"])]),
    (b"250 \rfoo\r\n", [(250, [b"\rfoo"])]),
    (b"250-\n250 \n", [(250, [b"", b""])]),
    (b"250--\r\n250 -\r\n", [(250, [b"-", b"-"])]),
    (b"250 a\r\n550 b\r\n", [(250, [b"a"]), (550, [b"b"])]),
    (b"250 a\r\n250 b\r\n250-c", [(250, [b"a"]), (250, [b"b"])]),
]

# No reply lines, each at the start and behind "250-a".
NO_REPLIES = [
    b"\r\n",
    b"\n",
    b"\r\r\n",
    b"250\rfoo\r\n",
    b"250\r\r\n",
    b"250\0\r\n",
    b"+25\r\n",
    b"+250 ok\r\n",
    b"-25 ok\r\n",
    b" 25\r\n",
    b" 250 ok\r\n",
    b"25 \r\n",
    b"25\r\n",
    b"2\n",
    b"2_0 ok\r\n",
    b"2500\r\n",
    b"2500 ok\r\n",
    b"250ok\r\n",
    b"250OK\r\n",
    b"250\tok\r\n",
    b"\t250 ok\r\n",
    b"250_ok\r\n",
    b"250\xa0ok\r\n",
    b"\xb2\xb5\xb0 ok\r\n",
    b"\xd9\xa2\xd9\xa5 ok\r\n",
    b"2x0 ok\r\n",
    b"ok\r\n",
    b"\0\0\0 \r\n",
    b"\xef\xbb\xbf250 ok\r\n",
    b"HTTP/1.1 400 Bad Request\r\n",
    b"\x16\x03\x01\x02\x00\n",
]


def read(pieces: Iterable[bytes]) -> tuple[list[tuple[int, tuple[bytes, ...], bytes]], str | None]:
    """Feed the pieces, taking replies out after each; what came out (with the raw octets), and the error's message."""
    reader = ReplyReader()
    found = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (reply := reader.next_reply()) is not None:
                found.append((reply.code, reply.lines, reply.raw))
        except RemoteProtocolError as error:
            return found, type(error).__name__ if isinstance(error, LimitExceeded) else str(error)
    return found, None


def line_of(length: int, start: bytes = b"250 ") -> bytes:
    return start + b"x" * (length - len(start) - 2) + b"\r\n"


# -- pairs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reply", "octets"), PAIRS)
def test_pairs(reply: Reply, octets: bytes) -> None:
    """A reply is written as its octets, and at every split these are read as that reply."""
    assert reply.encode() == octets
    assert reply.raw == octets
    for pieces in every_split(octets):
        assert read(pieces) == ([(reply.code, reply.lines, octets)], None)


@pytest.mark.parametrize(("octets", "expected"), TOLERATED)
def test_tolerated_forms(octets: bytes, expected: list[tuple[int, list[bytes]]]) -> None:
    """Line ends may be LF, the last separator may be missing, and the text is anything; `raw` is what came."""
    for pieces in every_split(octets):
        found, error = read(pieces)
        assert error is None
        assert [(code, list(lines)) for code, lines, _ in found] == expected
        assert octets.startswith(b"".join(raw for _, _, raw in found))


@pytest.mark.parametrize("line", NO_REPLIES)
def test_what_is_no_reply_line(line: bytes) -> None:
    """Three ASCII digits, then SP, "-" or the line's end; all else is an error at every split, also inside a reply."""
    for octets, message in (
        (line, f"not a reply line: {line!r}"),
        (b"250-a\r\n" + line, "not a reply line: "),
        (b"250-a\r\n" + line + b"250 c\r\n", "not a reply line: "),
    ):
        for pieces in every_split(octets):
            found, error = read(pieces)
            assert found == []
            assert error is not None
            assert error.startswith(message)


def test_replies_before_an_error_come_out() -> None:
    """What came before the octets that broke the framing is whole, at every split."""
    octets = b"250 a\r\n354 b\r\nfoo\r\n250 never\r\n"
    for pieces in every_split(octets):
        assert read(pieces) == (
            [(250, (b"a",), b"250 a\r\n"), (354, (b"b",), b"354 b\r\n")],
            r"not a reply line: b'foo\r\n'",
        )


@pytest.mark.parametrize(
    "octets", [b"250-a\r\n550 b\r\n", b"250-a\r\n251-b\r\n250 c\r\n", b"250-a\r\n250-b\r\n551 c\r\n"]
)
def test_codes_of_one_reply_agree(octets: bytes) -> None:
    """A reply whose lines have different codes says nothing; neither code is taken."""
    for pieces in every_split(octets):
        found, error = read(pieces)
        assert found == []
        assert error is not None
        assert error.startswith("a reply that began with b'250' goes on with")


def test_messages_are_short() -> None:
    """Of a hostile line only the beginning is shown, as `repr`."""
    _, error = read([b"x" * 8000 + b"\n"])
    assert error == f"not a reply line: {b'x' * 80!r}"
    _, error = read([b"250-a\r\n", line_of(8000, b"550 ")])
    assert error == f"a reply that began with b'250' goes on with {b'550 ' + b'x' * 76!r}"


@given(st.data())
def test_any_replies_at_any_split(data: st.DataObject) -> None:
    """Whatever replies are written, and however their octets are cut, the same replies are read."""
    said = data.draw(st.lists(replies(st.integers(0, 999)), max_size=4))
    octets = b"".join(reply.encode() for reply in said)
    expected = [(reply.code, reply.lines, reply.encode()) for reply in said]
    assert read(data.draw(splits(octets))) == (expected, None)
    assert read(bytewise(octets)) == (expected, None)


@given(st.data())
def test_any_octets_at_any_split(data: st.DataObject) -> None:
    """Octets that are no replies give the same replies before the same error, however they are cut."""
    parts = st.sampled_from([b"250", b"-", b" ", b"\r", b"\n", b"\r\n", b"ok", b"550 no\r\n", b"\0", b"\xff"])
    octets = b"".join(data.draw(st.lists(parts, max_size=12)))
    whole = read([octets])
    assert read(data.draw(splits(octets))) == whole
    assert read(bytewise(octets)) == whole


MANY = [b"%03d 2.1.%d ok %d\r\n" % (250 + number % 4, number, number) for number in range(40)]


@pytest.mark.parametrize(
    "odd",
    [
        b"250 a\r\n",
        b"250-a\r\n250 b\r\n",
        b"250 a\n",
        b"250\r\n",
        b"250 a\r\r\n",
        b"250 \r\n",
        b"foo\r\n",
        b"2\n",
        line_of(MAX_REPLY_LINE - 900),
        line_of(MAX_REPLY_LINE),
        line_of(MAX_REPLY_LINE + 1),
        b"",
    ],
    ids=lambda odd: f"{odd[:12]!r}, {len(odd)}",
)
@pytest.mark.parametrize("at", [0, 1, 20, 39, 40])
def test_many_at_once(at: int, odd: bytes) -> None:
    """Many replies in one piece are those that their octets are one by one, whatever stands among them."""
    octets = b"".join([*MANY[:at], odd, *MANY[at:]])
    found, error = read([octets])
    assert (found, error) == read(bytewise(octets))
    assert (found, error) == read([octets[:100], octets[100:]])
    assert b"".join(raw for _, _, raw in found) == (octets if error is None else b"".join(MANY[:at]))


def test_what_comes_behind_many() -> None:
    """What is fed while replies are left comes behind them, and all that is not given out counts as unread."""
    reader = ReplyReader()
    left = b"".join(MANY)
    reader.feed(left)
    for line in MANY[:10]:
        reply = reader.next_reply()
        assert reply is not None
        assert reply.raw == line
        left = left.removeprefix(line)
        assert reader.unread == len(left)
        assert not reader.quiet
    reader.feed(b"550 last\r\n25")
    assert reader.unread == len(left) + 12
    assert [reader.next_reply() for _ in range(32)] == [
        *[Reply(int(line[:3]), line[4:-2]) for line in MANY[10:]],
        Reply(550, "last"),
        None,
    ]
    reader.feed(b"0 a\r\n" + b"".join(MANY))
    assert reader.next_reply() == Reply(250, "a")
    assert reader.next_reply() is not None
    reader.clear()
    assert reader.quiet
    assert reader.unread == 0
    assert reader.next_reply() is None


@pytest.mark.parametrize("line", [b"250 a\r\n", b"250 b\n", b"354 c\n", b"250 \r\n", b"250 \n"])
def test_one_of_many(line: bytes) -> None:
    """A reply that comes again, alone or with others, is the one that is read."""
    reader = ReplyReader()
    reader.feed(line)
    reply = reader.alone(int(line[:1]))
    assert reply is not None
    assert read([line]) == ([(reply.code, reply.lines, reply.raw)], None)
    reader.feed(line)
    assert reader.alone(int(line[:1])) is reply
    reader.feed(line * 2)
    assert reader.run(2) == [reply, reply]
    assert reader.quiet


@pytest.mark.parametrize("octets", [b"250 a", b"250-a\r\n", b"550 a\r\n", b"250 a\r\n250 b", b"250\r\n"])
def test_none_of_many(octets: bytes) -> None:
    """What is no whole reply of one line, or refuses something, is not taken with others; read, it is what it is."""
    reader = ReplyReader()
    reader.feed(octets)
    assert reader.alone(2) is None
    assert reader.run(9) == []
    assert reader.unread == len(octets)
    assert read([octets]) == read([octets[:3], octets[3:]])


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_longest_of_many(end: bytes) -> None:
    """What is longer than a line may be is not taken at once, alone or with others; the longest is."""
    for excess in (0, 1):
        line = b"250 " + b"x" * (MAX_REPLY_LINE - 4 - len(end) + excess) + end
        for count in (1, 2):
            reader = ReplyReader()
            reader.feed(line * count)
            taken = [reader.alone(2)] if count == 1 else reader.run(count)
            assert [reply.raw for reply in taken if reply] == [line] * count * (not excess)
            assert reader.quiet is (excess == 0)


def test_known_replies_are_few() -> None:
    """What is remembered of replies is bounded: in number, and each in length."""
    reader = ReplyReader()
    for number in range(3 * MAX_KNOWN):
        reader.feed(b"250 %d\r\n" % number)
        assert reader.alone(2) is not None
        assert len(reader._known) <= MAX_KNOWN
    longest = line_of(MAX_KNOWN_LINE)
    for line in (longest, line_of(MAX_KNOWN_LINE + 1)):
        reader.feed(line)
        assert reader.alone(2) is not None
        assert (line[:-1] in reader._known) is (line is longest)


def test_known_answers_are_few() -> None:
    """What is remembered of whole answers is bounded, too, and is only what has come before."""
    reader = ReplyReader()
    for number in range(3 * MAX_KNOWN_GROUPS):
        octets = b"250 %d\r\n250 ok\r\n" % number
        first = reader.good(octets, 2, 2)
        assert octets not in [known for known, _, _ in reader._groups]
        assert reader.good(octets, 2, 2) == reader.good(octets, 2, 2) == first
        assert octets in [known for known, _, _ in reader._groups]
        assert len(reader._groups) <= MAX_KNOWN_GROUPS


# -- limits ------------------------------------------------------------------------------------------------------------


def test_longest_line() -> None:
    """A line of `MAX_REPLY_LINE` octets is read; one octet more is not, nor is one whose end cannot come any more."""
    longest = line_of(MAX_REPLY_LINE)
    for pieces in ([longest], bytewise(longest)):
        assert read(pieces) == ([(250, (longest[4:-2],), longest)], None)
    for octets in (line_of(MAX_REPLY_LINE + 1), longest[:-2] + b"xx", b"250-a\r\n" + line_of(MAX_REPLY_LINE + 1)):
        for pieces in ([octets], bytewise(octets)):
            assert read(pieces) == ([], "LimitExceeded")


def test_most_lines() -> None:
    """A reply of `MAX_REPLY_LINES` lines is read; one line more is not, complete or not."""
    for pieces in (as_one, bytewise):
        found, error = read(pieces(b"250-\r\n" * (MAX_REPLY_LINES - 1) + b"250 \r\n"))
        assert error is None
        assert len(found[0][1]) == MAX_REPLY_LINES
        assert read(pieces(b"250-\r\n" * MAX_REPLY_LINES + b"250 \r\n")) == ([], "LimitExceeded")
        assert read(pieces(b"250-\r\n" * MAX_REPLY_LINES)) == ([], None)
        assert read(pieces(b"250-\r\n" * (MAX_REPLY_LINES + 1))) == ([], "LimitExceeded")


def as_one(octets: bytes) -> list[bytes]:
    return [octets]


def test_largest_reply() -> None:
    """A reply of `MAX_REPLY_SIZE` octets is read, and the next one counts from zero; one octet more is not read."""
    lines = MAX_REPLY_SIZE // MAX_REPLY_LINE
    largest = line_of(MAX_REPLY_LINE, b"250-") * (lines - 1) + line_of(MAX_REPLY_LINE)
    assert len(largest) == MAX_REPLY_SIZE
    found, error = read([largest + largest])
    assert error is None
    assert [raw for _, _, raw in found] == [largest, largest]
    too_large = line_of(8, b"250-") + largest[:-MAX_REPLY_LINE] + line_of(MAX_REPLY_LINE - 7)
    assert len(too_large) == MAX_REPLY_SIZE + 1
    assert read([too_large]) == ([], "LimitExceeded")
    assert read([too_large[n : n + 1000] for n in range(0, len(too_large), 1000)]) == ([], "LimitExceeded")


def test_a_legal_long_ehlo_is_read() -> None:
    """An EHLO reply of 12 kB and two hundred lines is far from every bound."""
    octets = b"".join(b"250-X%03d %b\r\n" % (n, b"p" * 50) for n in range(200)) + b"250 HELP\r\n"
    found, error = read(bytewise(octets))
    assert error is None
    assert len(found[0][1]) == 201


@pytest.mark.parametrize("flood", [b"250-x\r\n", b"250-\n", b"x", b"250-" + b"y" * 4000 + b"\r\n"])
def test_memory_is_bounded(flood: bytes) -> None:
    """A server that never ends its reply is stopped before more than one reply's size is held."""
    reader = ReplyReader()
    piece = flood * (1000 // len(flood) + 1)
    fed = 0
    try:
        while fed < 10 * MAX_REPLY_SIZE:
            reader.feed(piece)
            fed += len(piece)
            reader.next_reply()
            assert reader.unread <= MAX_REPLY_SIZE + len(piece)
    except LimitExceeded:
        pass
    assert fed <= MAX_REPLY_SIZE + len(piece)


# -- the reader's own state --------------------------------------------------------------------------------------------


def test_what_is_unread() -> None:
    """The reader is quiet between replies only, and counts all octets that are no part of a reply given out."""
    reader = ReplyReader()
    states = []
    for piece in (b"", b"25", b"0-a\r\n", b"250", b" b\r\n", b"550 c\r\n22"):
        reader.feed(piece)
        reply = reader.next_reply()
        states.append((reader.quiet, reader.unread, reply and reply.code))
    assert states == [
        (True, 0, None),
        (False, 2, None),
        (False, 7, None),
        (False, 10, None),
        (True, 0, 250),
        (False, 2, 550),
    ]


def test_whole_replies_behind_one_that_was_cut() -> None:
    """A reply whose beginning came earlier is followed by those of its segment, in order, down to a cut one again."""
    reader = ReplyReader()
    reader.feed(b"250-a\r\n25")
    assert reader.next_reply() is None
    reader.feed(b"0 b\r\n251 c\r\n252-d\r\n252 e\r\n253-f\r\n")
    assert [reader.next_reply() for _ in range(3)] == [
        Reply(250, [b"a", b"b"]),
        Reply(251, [b"c"]),
        Reply(252, [b"d", b"e"]),
    ]
    assert reader.next_reply() is None
    assert reader.unread == len(b"253-f\r\n")
    reader.feed(b"253 g\r\n")
    assert reader.next_reply() == Reply(253, [b"f", b"g"])
    assert reader.quiet


def test_clearing_forgets_half_a_reply() -> None:
    """After `clear` the reader begins anew, with no code that the next reply would have to agree with."""
    reader = ReplyReader()
    reader.feed(b"250-a\r\n25")
    assert reader.next_reply() is None
    reader.clear()
    assert reader.quiet
    assert reader.unread == 0
    reader.feed(b"550 b\r\n")
    assert reader.next_reply() == Reply(550, "b")
