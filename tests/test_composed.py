"""Messages that are made as they go out: the same octets, sizes and needs as if they were all there."""

from __future__ import annotations

from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.body import normalise_line_ends
from smtp_proto.composed import Composed, Run, composed, octets_of_text
from smtp_proto.internationalization import MAX_LINE, Look, content_of
from smtp_proto.sources import PIECE, Source, source_of

from .deliveries import EAGER, WAYS, Delivery, Way
from .splitting import cut

WORDS = ["Subject: x", "\r\n", "\n", "\r", ".", "x" * MAX_LINE, "x", "", "\udcc3\udcbc", "\udcfc", "\r\n\r\n", ": "]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map("".join)


def as_octets(text: str) -> bytes:
    return normalise_line_ends(text.encode("ascii", "surrogateescape"))


RUNS = st.lists(TEXTS | TEXTS.map(as_octets), max_size=4)


def whole(runs: list[Run]) -> bytes:
    return b"".join(run if isinstance(run, bytes) else as_octets(run) for run in runs)


def chunks(source: Source) -> list[bytes]:
    assert source.at_hand is not None
    return list(source.at_hand)


@given(runs=RUNS, piece=st.sampled_from([1, 2, 3, 7, 1000, PIECE]))
def test_it_is_what_it_is_made_of(runs: list[Run], piece: int) -> None:
    """Octets, sizes and content are those of all of it, each time it is read; all pieces but the last have one size."""
    octets = whole(runs)
    with mock.patch("smtp_proto.composed.PIECE", piece), mock.patch("smtp_proto.sources.PIECE", piece):
        made = composed(runs)
        assert isinstance(made, Composed)
        once, again = chunks(made), chunks(made.again())
        joined = made.joined()
    assert once == again
    assert joined == b"".join(once) == octets
    assert {len(chunk) for chunk in once[:-1]} <= {piece}
    assert all(0 < len(chunk) <= piece for chunk in once)
    known = source_of(octets)
    assert (made.length, made.size, made.encoded) == (known.length, known.size, known.encoded)
    if piece > octets.find(b":"):  # the first has the name of the first field
        assert made.content == content_of(octets)


@given(TEXTS.map(as_octets), st.lists(st.integers(0, 4 * MAX_LINE), max_size=6))
def test_a_look_at_pieces_sees_what_a_look_at_all_of_it_does(octets: bytes, cuts: list[int]) -> None:
    """However a message is cut behind the name of its first field."""
    look = Look()
    name = octets.find(b":") + 1
    for piece in cut(octets, *sorted(min(max(offset, name), len(octets)) for offset in cuts)):
        look.add(piece)
    assert look.content == content_of(octets)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\n\r"])
@pytest.mark.parametrize("length", range(PIECE - 2, PIECE + 2))
def test_text(end: str, length: int) -> None:
    """A line end is one, wherever the text is cut."""
    text = "x" * length + end + "y"
    assert b"".join(octets_of_text(text)) == as_octets(text)


def test_a_nul() -> None:
    """What has a NUL is octets, for it may have to be changed, or refused."""
    assert composed(["a\n", b"b\0"]) == b"a\r\nb\0"


def test_text_that_has_no_octets() -> None:
    """A mistake is found before anything goes out."""
    with pytest.raises(UnicodeEncodeError):
        composed(["x" * PIECE, "ü"])


@pytest.mark.parametrize("way", [*WAYS, *EAGER], ids=str)
def test_a_delivery(way: Way) -> None:
    """It goes as octets do, by BDAT where that is to be had."""
    text = "Subject: x\n\n" + ".line\n" * PIECE
    delivery = Delivery(way, message=composed([b"X-First: y\r\n", text]))
    assert delivery.result.delivered
    assert delivery.server.messages == [b"X-First: y\r\n" + as_octets(text)]
    assert delivery.rows[-1] == ("BDAT LAST" if way.chunking else "DATA")


def test_pieces_are_few() -> None:
    """Many small runs make pieces of one size, not one of each."""
    made = composed(["x\n", b"y\r\n"] * PIECE)
    assert isinstance(made, Composed)
    sizes = list(map(len, chunks(made)))
    assert all(before == PIECE for before, _ in pairwise(sizes))
    assert sum(sizes) == 6 * PIECE
