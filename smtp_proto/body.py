"""The body of a message on its way through DATA and BDAT: incremental, and the same for every split.

Encoding.  On the wire every CR is followed by LF and every LF preceded by CR, a line that begins with "." gets another
one in front (RFC 5321 4.5.2), and CRLF "." CRLF ends the message.  The input may have any line ends: CRLF, LF and CR
alone each become CRLF.  That is not a courtesy but a guard: a server that takes a bare LF for a line end would see
"LF . LF" as the end of the message and read the rest as commands (SMTP smuggling).  So normalising comes first, and
stuffing looks at what is normalised.  The one octet of context that a chunk needs is what came before it: the encoder
holds back a CR at the end of a chunk until it knows whether an LF follows, and knows whether it is at a line's start.

Decoding.  Only CRLF "." CRLF ends the message; a "." behind a bare LF is text.  What could be the beginning of that
sequence at the end of a chunk is held back until more is known.
"""

from __future__ import annotations

from .errors import InvalidArgument

END_OF_DATA = b".\r\n"
_TERMINATOR = b"\r\n.\r\n"
# Octets that are encoded at a time: what is made of them is below 128 KiB, for more of which the system is asked.
MOST_AT_ONCE = 98304
# As numbers: `in` takes `bytes` for a number first, and an exception for that costs more than the search (0.2 us).
NUL, _CR, _DOT = b"\0\r."


def normalise_line_ends(octets: bytes) -> bytes:
    """Every CRLF, LF and CR of `octets` as CRLF."""
    # Replacing single octets is several times faster than replacing pairs, and that than a regular expression.  So what
    # has proper line ends is not searched for what has not: it is made anew and compared (4 times as fast, measured).
    if _CR not in octets:
        return octets.replace(b"\n", b"\r\n")
    normal = octets.replace(b"\r", b"").replace(b"\n", b"\r\n")
    if normal == octets:
        return octets
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def stuffed(octets: bytes) -> bytes:
    """Text with line ends that are CRLF, each line but the first that begins with a dot having one more (RFC 5321
    4.5.2)."""
    # `replace` takes four times as long: it looks twice, and CPython looks for three octets faster from the end
    # (measured for 8 MB, one line in twenty with a dot: 2.5 ms, 9.6 by `replace`, 5.7 by `split`).
    return b"\r\n..".join(octets.rsplit(b"\r\n."))


def refuse_nul(octets: bytes) -> None:
    """`InvalidArgument` for a NUL: RFC 5321 4.5.2 allows it nowhere in text, and receivers cut lines at it."""
    if NUL in octets:
        raise InvalidArgument("message", "a NUL in the text needs BINARYMIME")


class MessageText:
    """A whole message of text, fit to be sent: its line ends are CRLF, and there is no NUL in it (`InvalidArgument`).

    What the encoders below make of it, chunk by chunk, it gives at once: for DATA and for BDAT.  `length` is what it
    had before, in octets.
    """

    __slots__ = ("length", "octets")

    def __init__(self, octets: bytes) -> None:
        refuse_nul(octets)
        self.length = len(octets)
        self.octets = normalise_line_ends(octets)

    def for_bdat(self) -> bytes:
        """With a line end behind the last line."""
        octets = self.octets
        return octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"

    def for_data(self) -> bytes:
        """With dots stuffed, and the end of the data."""
        octets = stuffed(self.for_bdat())
        return b"." + octets + END_OF_DATA if octets.startswith(b".") else octets + END_OF_DATA


class LineEndEncoder:
    """Normalises line ends, chunk by chunk; what goes into BDAT, where nothing is stuffed (RFC 3030 2).

    NUL is refused; a message that needs it is BINARYMIME, which goes unencoded.
    """

    __slots__ = ("_held_cr", "_last")

    def __init__(self) -> None:
        self._held_cr = False
        self._last = b""  # the last two octets given out; before the first, which begins a line, none

    def encode(self, chunk: bytes) -> bytes:
        """The octets to send for `chunk`; `InvalidArgument` for a NUL, before anything of the chunk is taken in."""
        if len(chunk) <= MOST_AT_ONCE:
            refuse_nul(chunk)
            return self._encoded(chunk)
        before = self._held_cr, self._last
        try:
            return self._encoded_in_pieces(chunk)
        except InvalidArgument:
            self._held_cr, self._last = before
            raise

    def _encoded_in_pieces(self, chunk: bytes) -> bytes:
        # What is made on the way stays in the caches so, and is not asked of the system each time: half the time.
        found: list[bytes] = []  # nothing as long as nothing is changed
        start, size = 0, len(chunk)
        while start < size:
            end = start + MOST_AT_ONCE
            if chunk[end - 1 : end + 1] == b"\r\n":
                end += 1  # to hold the CR back would be a change
            piece = chunk[start:end]
            refuse_nul(piece)
            octets = self._encoded(piece)
            if octets is not piece and not found:
                found.append(chunk[:start])
            if found:
                found.append(octets)
            start = end
        return b"".join(found) if found else chunk

    def _encoded(self, chunk: bytes) -> bytes:
        if self._held_cr:
            chunk = b"\r" + chunk
        self._held_cr = chunk.endswith(b"\r")
        if self._held_cr:
            chunk = chunk[:-1]
        return self._give(normalise_line_ends(chunk))

    def finish(self) -> bytes:
        """What is still held back, and a line end if the message has none."""
        if self._held_cr:
            self._held_cr = False
            return self._give(b"\r\n")
        return self._give(b"" if self._at_line_start else b"\r\n")

    @property
    def begun(self) -> bool:
        """True if anything has been taken in."""
        return self._last != b"" or self._held_cr

    @property
    def _at_line_start(self) -> bool:
        return self._last in (b"", b"\r\n")

    def _give(self, octets: bytes) -> bytes:
        if octets:
            self._last = (self._last + octets[-2:])[-2:]
        return octets


class DataEncoder(LineEndEncoder):
    """Normalises line ends and stuffs dots, chunk by chunk; `finish` gives the end of the data too."""

    __slots__ = ()

    def finish(self) -> bytes:
        return super().finish() + END_OF_DATA

    def _give(self, octets: bytes) -> bytes:
        if _DOT not in octets:
            return super()._give(octets)
        begins = octets.startswith(b".") and self._at_line_start
        super()._give(octets)
        return b"." + stuffed(octets) if begins else stuffed(octets)


class DataDecoder:
    """Takes the dots off again and finds the end: the receiving side of DATA."""

    __slots__ = ("_held", "_skip", "finished")

    def __init__(self) -> None:
        # The line end of the DATA command counts: a message may begin with its end.  It is not part of the message,
        # so its two octets are dropped when they come out.
        self._held = b"\r\n"
        self._skip = 2
        self.finished = False

    def decode(self, octets: bytes) -> tuple[bytes, bytes]:
        """`(text, rest)`: unstuffed octets, and what lies behind the end of the message once `finished` is True."""
        octets = self._held + octets
        end = octets.find(_TERMINATOR)
        if end >= 0:
            self.finished = True
            self._held = b""
            text, rest = octets[: end + 2], octets[end + 5 :]
        else:
            held = next((n for n in (4, 3, 2, 1) if octets.endswith(_TERMINATOR[:n])), 0)
            text, rest = octets[: len(octets) - held], b""
            self._held = octets[len(octets) - held :]
        # A line's first dot is taken off (RFC 5321 4.5.2); one that follows a bare LF is not at a line's start.
        text = text.replace(b"\r\n.", b"\r\n")
        skipped = text[self._skip :]
        self._skip = max(0, self._skip - len(text))
        return skipped, rest
