"""A message that is made as it goes out, of octets and texts: a long text, or an email message with its attachments.

Theory of operation.  What such a message consists of is in memory already, as text, with whatever line ends; its octets
would be there a second time.  So they are made piece by piece, twice: once to see what is to be known in front (its
size, exactly, what its octets are, and that it can be made at all), and once as they go out.  Octets and texts cannot
be changed by anybody, so what is sent is what was measured, whatever becomes of the objects that they were taken from.

Held as a whole it is only where it must be changed (`joined`): for a server that lacks what carries it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

from .body import normalise_line_ends
from .internationalization import Body, Content, Look
from .sources import PIECE, Measure, Source, pieces

#: A run of the message: octets as they are, or text, whose line ends may be any.
Run = bytes | str


class Composed(Source):
    """A message made of runs; `content` is what it is made of (see `smtp_proto.internationalization`).  It is at hand,
    and can be restarted."""

    __slots__ = ("content",)

    def __init__(self, runs: Sequence[Run], measure: Measure, content: Content) -> None:
        chunks = _made(runs)
        super().__init__(chunks, measure, chunks, False, lambda: _made(runs))
        self.content = content

    def joined(self) -> bytes:
        """All of it."""
        assert self.restart is not None
        assert self.length is not None
        octets = io.BytesIO()
        # Room for all of it at once: a buffer that has to grow is there twice while it does.
        octets.seek(self.length)
        octets.write(b"\0")
        octets.seek(0)
        for piece in self.restart():
            octets.write(piece)
        octets.truncate()
        return octets.getvalue()


def composed(runs: Sequence[Run]) -> bytes | Composed:
    """A message of these runs, with CRLF for the line ends of its texts; as octets if there is a NUL in it, for how
    that goes, or why it does not, needs all of them.

    `UnicodeEncodeError` for text that is neither ASCII nor, as lone surrogates, octets that are not (PEP 383).
    """
    measure, look = Measure(binary=True), Look()
    for piece in _made(runs):
        measure.add(piece)
        look.add(piece)
    content = look.content
    if content.body is Body.BINARY:
        return b"".join(_made(runs))
    return Composed(runs, measure, content)


def octets_of_text(text: str) -> Iterator[bytes]:
    """Text as octets, in pieces, with every line end as CRLF, and lone surrogates as the octets that they stand for."""
    start = 0
    while start < len(text):
        end = start + PIECE
        if text[end - 1 : end + 1] == "\r\n":
            end += 1  # no piece ends within a CRLF
        yield normalise_line_ends(text[start:end].encode("ascii", "surrogateescape"))
        start = end


def _made(runs: Iterable[Run]) -> Iterator[bytes]:
    """The octets, all pieces but the last as long as transports and caches like."""
    held: list[bytes] = []
    size = 0
    for run in runs:
        for octets in pieces(run) if isinstance(run, bytes) else octets_of_text(run):
            held.append(octets)
            size += len(octets)
            if size >= PIECE:
                joined = b"".join(held)
                rest = size % PIECE
                yield from pieces(joined[: size - rest])
                held, size = [joined[size - rest :]], rest
    if size:
        yield b"".join(held)
