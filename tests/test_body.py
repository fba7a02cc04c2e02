"""Bodies on the wire: the same for every split, one end only for every reader of the wire, and back again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.body import DataDecoder, DataEncoder, LineEndEncoder, normalise_line_ends
from smtp_proto.errors import InvalidArgument
from smtp_proto.strategies import bodies, splits

from .splitting import bytewise, cut, every_split

# What a sloppy receiver might take for the end of the message (security.md, row 6).  Each is the attacker's, in a body.
LENIENT_ENDS = [
    a + b"." + z
    for a, z in product([b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n\0"], [b"\r\n", b"\n", b"\r", b"\r\r\n"])
]
# ... of which this one is the end, and these end in it or begin with it.
TRUE_END = b"\r\n.\r\n"

BODIES = [
    b"",
    b".",
    b"..",
    b"a",
    b"\n",
    b"\r",
    b"\r\n",
    b".\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"a\nb\r\nc\rd",
    b"a\r\r\nb\n\rc\n\n",
    b"\n.\n..\n...\nx.y\n.",
    b"end\r",
    b"end.\r\n.",
    b"Subject: x\r\n\r\n.hidden\r\n.\r\nMAIL FROM:<evil@example>\r\n",
    b"\xff\x80 8-bit \x01 controls\t\x7f\n",
    *(b"x" + end + b"DATA\r\n" for end in LENIENT_ENDS if b"\0" not in end),
]


def encoded(pieces: Iterable[bytes], encoder: LineEndEncoder | None = None) -> bytes:
    encoder = DataEncoder() if encoder is None else encoder
    return b"".join([*(encoder.encode(piece) for piece in pieces), encoder.finish()])


def decoded(pieces: Iterable[bytes]) -> tuple[bytes, bytes | None]:
    """The text, and what lies behind the end (None: no end was found)."""
    decoder = DataDecoder()
    text = b""
    rest: bytes | None = None
    for piece in pieces:
        if rest is None:
            more, behind = decoder.decode(piece)
            text += more
            rest = behind if decoder.finished else None
            assert decoder.finished or behind == b""
        else:
            rest += piece
    return text, rest


def whole_lines(body: bytes) -> bytes:
    """The body as it must arrive: CRLF line ends, by an independent definition, and one at its end."""
    lines = re.split(rb"\r\n|\r|\n", body)
    if not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def read_plainly(octets: bytes) -> tuple[bytes, bytes | None]:
    """What the decoder must find, from the whole at once and by RFC 5321 4.5.2 to the letter."""
    before, end, rest = (b"\r\n" + octets).partition(TRUE_END)
    lines = before.split(b"\r\n")[1:]
    if end:
        return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines), rest
    return b"\r\n".join(line.removeprefix(b".") for line in lines), None


# -- encoding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "wire"),
    [
        (b"", b".\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\n", b"a\r\n.\r\n"),
        (b"a\r", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a\r\n\r\n", b"a\r\n\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..a\n.b\n", b"...a\r\n..b\r\n.\r\n"),
        (b"a.b.\nc", b"a.b.\r\nc\r\n.\r\n"),
        (b"\r\r", b"\r\n\r\n.\r\n"),
        (b"\r\r\n", b"\r\n\r\n.\r\n"),
        (b"\n\r", b"\r\n\r\n.\r\n"),
        (b"a\n.\nQUIT\n", b"a\r\n..\r\nQUIT\r\n.\r\n"),
        (b"a\r.\rQUIT\r", b"a\r\n..\r\nQUIT\r\n.\r\n"),
    ],
)
def test_data_on_the_wire(body: bytes, wire: bytes) -> None:
    """Line ends become CRLF, dots at a line's start are doubled, the end is CRLF . CRLF: at every split."""
    for pieces in every_split(body):
        assert encoded(pieces) == wire, pieces


@pytest.mark.parametrize("body", BODIES)
def test_there_and_back(body: bytes) -> None:
    """For every split of the body the wire is the same, and for every split of the wire the body is, normalised."""
    wire = encoded([body])
    for pieces in every_split(body):
        assert encoded(pieces) == wire, pieces
    for pieces in every_split(wire + b"RSET\r\n"):
        assert decoded(pieces) == (whole_lines(body), b"RSET\r\n"), pieces


def small_bodies(longest: int) -> Iterator[bytes]:
    for length in range(longest + 1):
        for octets in product((b"\r", b"\n", b".", b"a"), repeat=length):
            yield b"".join(octets)


def test_all_small_bodies() -> None:
    """All bodies of up to five octets of CR, LF, "." and a letter: every cut in two, and octet by octet."""
    for body in small_bodies(5):
        wire = encoded([body])
        assert all(encoded(pieces) == wire for pieces in every_split(body)), body
        assert no_bare_line_ends(wire), body
        assert decoded([wire]) == (whole_lines(body), b""), body


def no_bare_line_ends(wire: bytes) -> bool:
    return not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)


@given(st.data())
def test_any_body_at_any_split(data: st.DataObject) -> None:
    """Whatever the body and its pieces: no bare CR or LF on the wire, one end, and the body comes back."""
    body = data.draw(bodies())
    wire = encoded(data.draw(splits(body)))
    assert wire == encoded([body])
    assert no_bare_line_ends(wire)
    assert (b"\r\n" + wire).find(TRUE_END) == len(wire) - 3
    assert decoded(data.draw(splits(wire + b"QUIT\r\n"))) == (whole_lines(body), b"QUIT\r\n")


@pytest.mark.parametrize("end", LENIENT_ENDS)
def test_no_body_ends_early_for_anybody(end: bytes) -> None:
    """Whatever sequence a lenient server takes for the end, no body can put it on the wire (NUL it cannot at all)."""
    body = b"x" + end + b"MAIL FROM:<evil@example>\r\n" + end + end + b".\r" + end
    if b"\0" in body:
        with pytest.raises(InvalidArgument):
            encoded([body])
        return
    for pieces in every_split(body):
        wire = b"\r\n" + encoded(pieces)
        for taken in LENIENT_ENDS:
            # Its first place is inside the true end, the last five octets.
            place = wire.find(taken)
            assert place == -1 or place >= len(wire) - 5, (taken, pieces)


@pytest.mark.parametrize("encoder", [DataEncoder, LineEndEncoder])
def test_a_refused_chunk_leaves_no_trace(encoder: type[LineEndEncoder]) -> None:
    """A NUL is refused wherever it stands, and what is sent afterwards is as if it had never been tried."""
    for offset in range(len(b"a\r.b") + 1):
        before, behind = cut(b"a\r.b", offset)
        for refused in (b"\0", b"\r\0", b".\0", b"\0\n", b"x" * 1000 + b"\0"):
            tried = encoder()
            wire = tried.encode(before)
            with pytest.raises(InvalidArgument, match="NUL"):
                tried.encode(refused)
            assert wire + encoded([behind], tried) == encoded([b"a\r.b"], encoder())


# -- BDAT --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "octets"),
    [
        (b"", b""),
        (b"a", b"a\r\n"),
        (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd\r\n"),
        (b".\n.\r", b".\r\n.\r\n"),
        (b"\r\r\n\n", b"\r\n\r\n\r\n"),
        (b"a\r", b"a\r\n"),
        (b"a\r\n.\r\n", b"a\r\n.\r\n"),
    ],
)
def test_chunks_have_line_ends_but_no_dots(body: bytes, octets: bytes) -> None:
    """For BDAT line ends are normalised and one is added at the end; nothing is stuffed and nothing marks the end."""
    for pieces in every_split(body):
        assert encoded(pieces, LineEndEncoder()) == octets


def test_all_small_bodies_in_chunks() -> None:
    """All bodies of up to five octets: what goes into BDAT is the body with CRLF line ends, at every split."""
    for body in small_bodies(5):
        expected = whole_lines(body)
        assert all(encoded(pieces, LineEndEncoder()) == expected for pieces in every_split(body)), body


@pytest.mark.parametrize("most", [1, 2, 3, 5])
@pytest.mark.parametrize("encoder", [DataEncoder, LineEndEncoder])
def test_a_large_chunk(encoder: type[LineEndEncoder], most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a large chunk is cut on its way, what comes of it is the same; and itself where nothing is to change."""
    small = [b"".join(octets) for length in range(8) for octets in product((b".", b"\r", b"\n"), repeat=length)]
    expected = [(encoder().encode(body), body) for body in small]
    monkeypatch.setattr("smtp_proto.body.MOST_AT_ONCE", most)
    for whole, body in expected:
        assert encoder().encode(body) == whole
        normal = normalise_line_ends(body).replace(b".", b"-")
        assert encoder().encode(normal) is normal or not normal.endswith(b"\r\n")


@pytest.mark.parametrize("encoder", [DataEncoder, LineEndEncoder])
def test_a_large_chunk_with_a_nul(encoder: type[LineEndEncoder], monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that is refused for its end leaves no trace of its beginning."""
    monkeypatch.setattr("smtp_proto.body.MOST_AT_ONCE", 2)
    for first in (b"", b"a", b"a\r", b"a\r\n"):
        refused, other = encoder(), encoder()
        assert refused.encode(first) == other.encode(first)
        with pytest.raises(InvalidArgument):
            refused.encode(b"\n.b\r\r\0")
        assert refused.encode(b".c") + refused.finish() == other.encode(b".c") + other.finish()


def test_normalising() -> None:
    """CRLF, LF and CR are one line end each; without a CR there is a shorter way, with the same result."""
    assert normalise_line_ends(b"") == b""
    assert normalise_line_ends(b"a\nb\n\n") == b"a\r\nb\r\n\r\n"
    assert normalise_line_ends(b"a\rb\r\r\n\n\r") == b"a\r\nb\r\n\r\n\r\n\r\n"
    assert normalise_line_ends(b"a\r\n") == b"a\r\n"


# -- decoding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "text", "rest"),
    [
        (b".\r\n", b"", b""),
        (b".\r\nMAIL", b"", b"MAIL"),
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b"a\r\n.\r\n.\r\n", b"a\r\n", b".\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b".a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n", b""),
        (b"\r\n.\r\n\r\n", b"\r\n", b"\r\n"),
        (b"a\r\n.\r.\r\n.\r\n", b"a\r\n\r.\r\n", b""),
        # Held back until more is known.
        (b"a", b"a", None),
        (b"a\r", b"a", None),
        (b"a\r\n", b"a", None),
        (b"a\r\n.", b"a", None),
        (b"a\r\n.\r", b"a", None),
        (b".", b"", None),
        (b"", b"", None),
    ],
)
def test_data_off_the_wire(wire: bytes, text: bytes, rest: bytes | None) -> None:
    """The dots come off, CRLF . CRLF ends it, and what lies behind is given back, at every split."""
    for pieces in every_split(wire):
        assert decoded(pieces) == (text, rest), pieces


@pytest.mark.parametrize("end", [end for end in LENIENT_ENDS if TRUE_END not in end])
def test_only_one_sequence_ends_the_message(end: bytes) -> None:
    """Anything like CRLF . CRLF is text, as it came but for a dot behind a true CRLF: at every split."""
    text = b"x" + end + b"y"
    for pieces in every_split(text + TRUE_END + b"QUIT\r\n"):
        assert decoded(pieces) == (text.replace(b"\r\n.", b"\r\n") + b"\r\n", b"QUIT\r\n"), pieces


def test_all_small_wires() -> None:
    """All octets off the wire, up to six of CR, LF, "." and a letter: the plain reading, at every split."""
    for wire in small_bodies(6):
        text, rest = read_plainly(wire)
        for pieces in every_split(wire):
            found, behind = decoded(pieces)
            assert behind == rest, pieces
            if rest is None:
                # What could be the beginning of the end is held back, and no more than that.
                assert text.startswith(found), pieces
                assert len(text) - len(found) <= 4
            else:
                assert found == text, pieces


@given(st.data())
def test_any_wire_at_any_split(data: st.DataObject) -> None:
    """However the octets arrive, the text before the end and what lies behind it are the same."""
    parts = st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a"])
    wire = b"".join(data.draw(st.lists(parts, max_size=20)))
    pieces = data.draw(splits(wire))
    assert decoded(pieces) == decoded([wire]) == decoded(bytewise(wire))


# -- time and memory ---------------------------------------------------------------------------------------------------


def test_a_drip_is_linear() -> None:
    """Octet by octet, neither side holds back more than a few octets, so each octet is handled a few times at most."""
    body = b"\r\n.\r..\n.\r\n\r\r." * 100
    encoder = DataEncoder()
    decoder = DataDecoder()
    sent = received = 0
    for fed, octet in enumerate(bytewise(body), 1):
        wire = encoder.encode(octet)
        sent += len(wire)
        assert len(wire) <= 4
        text, rest = decoder.decode(wire)
        received += len(text)
        assert len(decoder._held) <= 4
        assert sent + 1 >= fed - body[:fed].count(b"\r\n")
    text, rest = decoder.decode(encoder.finish())
    assert decoder.finished
    assert received + len(text) == len(whole_lines(body))
    assert rest == b""
