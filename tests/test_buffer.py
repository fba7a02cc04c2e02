"""The receive buffer: lines in linear time and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.buffer import ReceiveBuffer
from smtp_proto.errors import LimitExceeded

from .splitting import bytewise, every_split

LIMIT = 8


def lines(pieces: Iterable[bytes], limit: int = LIMIT) -> tuple[list[bytes], bool, int]:
    """The lines that come out, whether the limit was exceeded, and how many octets are left."""
    buffer = ReceiveBuffer(limit)
    found: list[bytes] = []
    for piece in pieces:
        buffer.append(piece)
        try:
            while (line := buffer.next_line()) is not None:
                found.append(line)
        except LimitExceeded:
            return found, True, len(buffer)
    return found, False, len(buffer)


@pytest.mark.parametrize(
    ("octets", "expected", "exceeded"),
    [
        (b"", [], False),
        (b"\n", [b"\n"], False),
        (b"a\r\nb\n\r\n", [b"a\r\n", b"b\n", b"\r\n"], False),
        (b"a\rb\r\nc", [b"a\rb\r\n"], False),
        (b"a\n\rb\n", [b"a\n", b"\rb\n"], False),
        (b"\0\xff\n", [b"\0\xff\n"], False),
        # The limit counts the line's end: exactly at it, by one, and without an end.
        (b"123456\r\nabc\n", [b"123456\r\n", b"abc\n"], False),
        (b"1234567\n", [b"1234567\n"], False),
        (b"12345678\n", [], True),
        (b"1234567\r\n", [], True),
        (b"1234567", [], False),
        (b"12345678", [], True),
        (b"ok\n12345678", [b"ok\n"], True),
        (b"ok\n12345678\nnever\n", [b"ok\n"], True),
    ],
)
def test_lines_at_every_split(octets: bytes, expected: list[bytes], exceeded: bool) -> None:
    """The same lines and the same verdict on their length come out of every split."""
    for pieces in every_split(octets):
        assert lines(pieces)[:2] == (expected, exceeded), pieces


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"bcd", b""])))
def test_lines_lose_nothing(pieces: list[bytes]) -> None:
    """The lines and what is left over are, joined, what was put in."""
    octets = b"".join(pieces)
    expected = octets.splitlines(keepends=True) if b"\r" not in octets else None
    found, _, left = lines(pieces, 10_000)
    assert b"".join(found) == octets[: len(octets) - left]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in found)
    assert b"\n" not in octets[len(octets) - left :]
    if expected is not None:
        assert found == [line for line in expected if line.endswith(b"\n")]


def test_nothing_is_consumed_by_a_line_that_is_too_long() -> None:
    """After `LimitExceeded` all octets are still there, so that what follows the line can be found."""
    for octets in (b"123456789", b"123456789\nnext\n"):
        buffer = ReceiveBuffer(LIMIT)
        buffer.append(octets)
        for _ in range(2):
            with pytest.raises(LimitExceeded, match="more than 8 octets"):
                buffer.next_line()
        assert len(buffer) == len(octets)


class CountingOctets(bytearray):
    """Counts the octets that are looked at."""

    looked_at = 0

    def find(self, sub: object, start: object = 0, end: object = None) -> int:
        assert isinstance(start, int)
        found = super().find(sub, start)  # type: ignore[arg-type]  # as `bytearray` has it
        self.looked_at += (len(self) if found < 0 else found + 1) - start
        return found


@pytest.mark.parametrize("pieces", [bytewise(b"x" * 5000 + b"\n"), [b"x" * 5001], [b"xy" * 50] * 50 + [b"\n"]])
def test_a_drip_is_linear(pieces: list[bytes]) -> None:
    """No octet is searched twice: a line that comes octet by octet costs no more than one that comes whole."""
    buffer = ReceiveBuffer(10_000)
    octets = CountingOctets()
    buffer.octets = octets
    for piece in pieces:
        buffer.append(piece)
        buffer.next_line()
    assert octets.looked_at == len(b"".join(pieces))


def test_many_lines_in_one_piece_are_linear() -> None:
    """Lines that arrive together are searched once, each up to its own end."""
    buffer = ReceiveBuffer(100)
    octets = CountingOctets(b"line\n" * 1000)
    buffer.octets = octets
    for _ in range(1000):
        assert buffer.next_line() == b"line\n"
    assert buffer.next_line() is None
    assert octets.looked_at == 5000


@pytest.mark.parametrize("length", [9, 20])
def test_skipping_a_line_at_every_split(length: int) -> None:
    """The rest of an over-long line is dropped, up to its LF and no further, however it arrives."""
    octets = b"x" * length + b"\nnext\n"
    for pieces in every_split(octets):
        buffer = ReceiveBuffer(LIMIT)
        skipping = False
        found = []
        for piece in pieces:
            buffer.append(piece)
            while True:
                if skipping:
                    if not buffer.skip_line():
                        assert len(buffer) == 0  # bounded: nothing of the line is kept
                        break
                    skipping = False
                try:
                    line = buffer.next_line()
                except LimitExceeded:
                    skipping = True
                    continue
                if line is None:
                    break
                found.append(line)
        assert found == [b"next\n"], pieces


def test_counted_octets() -> None:
    """Octets are taken from the front, at most as many as there are, and lines are found behind them."""
    buffer = ReceiveBuffer(LIMIT)
    buffer.append(b"abc")
    assert buffer.next_line() is None
    assert buffer.take(2) == b"ab"
    buffer.append(b"d\nef")
    assert buffer.next_line() == b"cd\n"
    assert buffer.take(10) == b"ef"
    assert buffer.take(1) == b""
    buffer.append(b"gh")
    assert buffer.take_all() == b"gh"
    assert len(buffer) == 0
    buffer.append(b"\n")
    assert buffer.next_line() == b"\n"


def test_octets_put_back_are_searched_again() -> None:
    """A line end among octets that were put back is found, although the buffer was searched before."""
    buffer = ReceiveBuffer(LIMIT)
    buffer.append(b"rest")
    assert buffer.next_line() is None
    buffer.push_back(b"a\nb")
    assert buffer.next_line() == b"a\n"
    buffer.append(b"\n")
    assert buffer.next_line() == b"brest\n"
    buffer.push_back(b"\n")
    assert buffer.next_line() == b"\n"


def test_clearing_forgets_all() -> None:
    """After `clear` nothing of what came before matters, the search included."""
    buffer = ReceiveBuffer(LIMIT)
    buffer.append(b"1234567")
    assert buffer.next_line() is None
    buffer.clear()
    assert len(buffer) == 0
    buffer.append(b"\na\n")
    assert buffer.next_line() == b"\n"
    assert buffer.next_line() == b"a\n"
