"""Where the octets of a message come from: octets at hand, a file, or chunks that somebody makes as they go out.

Theory of operation.  Two things about a message are worth knowing before it is sent: its size, for MAIL's SIZE (RFC
1870) and for a chunk of BDAT (RFC 3030), which must be exact; and that there is no NUL in it.  Octets at hand are
counted where they are.  A file that can be rewound is read twice, in pieces, the first time only to count: that is a
pass over the page cache, and it buys one chunk of known size, and a mistake found before anything was sent, without
ever holding the file.  What comes from an iterator is not known before it is there, so it goes by DATA.

Nothing is believed of the second reading: chunks are checked as they come, and `MessageWriter` compares what a message
has with what was counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from copy import copy
from typing import Any

from .body import MessageText, normalise_line_ends, refuse_nul

# Octets given to the encoder and the transport at a time: below 128 KiB, above which copies fall out of the caches.
PIECE = 65536

#: What a message may be: octets, a binary file, an iterable or asynchronous iterable of octets.  A protocol for files
#: would be no help: what counts is what `read` gives, and that is looked at.
Message = Any


class Source:
    """A message on its way: `chunks` gives its octets once, in order.

    `length`: its octets as they are given; `size`: with each line end as CRLF, which is what SIZE declares (RFC 1870
    5); `encoded`: the same with a line end behind the last line, which is what BDAT counts.  All three are None where
    they cannot be known in front.  `at_hand`: the same as `chunks` where these need not be waited for, else None.
    `binary`: goes as it is, line ends and all (BINARYMIME, RFC 3030 3).  `restart` gives the chunks once more, where
    that is possible.  `whole`: all of it, where it is text, at hand, and no more than a `PIECE`; `chunks` has it too.
    """

    __slots__ = ("at_hand", "binary", "chunks", "encoded", "length", "restart", "size", "whole")
    length: int | None
    size: int | None
    encoded: int | None

    def __init__(
        self,
        chunks: Iterator[object] | AsyncIterator[object],
        measure: Measure | None = None,
        at_hand: Iterator[bytes] | None = None,
        binary: bool = False,
        restart: Callable[[], Iterator[Any]] | None = None,
        whole: MessageText | None = None,
    ) -> None:
        self.restart = restart
        self.chunks = chunks
        self.at_hand = at_hand
        self.binary = binary
        self.whole = whole
        if whole is not None:
            self.length = whole.length
            self.size = self.encoded = size = len(whole.octets)
            if size and not whole.octets.endswith(b"\r\n"):
                self.encoded = size + 2
        elif measure is not None:
            self.length = measure.length
            self.size = measure.length if binary else measure.size
            self.encoded = self.size + (0 if binary or measure.last in (b"", b"\n", b"\r") else 2)
        else:
            self.length = self.size = self.encoded = None

    def again(self) -> Source:
        """The same message, to be sent once more."""
        assert self.restart is not None
        once_more = copy(self)
        once_more.chunks = chunks = self.restart()
        if self.at_hand is not None:
            once_more.at_hand = chunks
        return once_more


class Measure:
    """Counts a message, chunk by chunk; `InvalidArgument` for a NUL, unless it is `binary`."""

    __slots__ = ("_binary", "last", "length", "size")

    def __init__(self, binary: bool = False) -> None:
        self._binary = binary
        self.length = 0
        self.size = 0
        self.last = b""

    def add(self, chunk: bytes) -> None:
        if not self._binary:
            refuse_nul(chunk)
        self.length += len(chunk)
        # Made, and thrown away: for a piece that takes a third of the time of counting all kinds of line ends.
        self.size += len(normalise_line_ends(chunk))
        if self.last == b"\r" and chunk.startswith(b"\n"):
            self.size -= 2
        self.last = chunk[-1:] or self.last


def source_of(message: Message, binary: bool = False) -> Source:
    """`message` as a source; a mistake that can be seen in front is raised here, before anything is sent.

    `TypeError` for what is no message, a text file included; `InvalidArgument` for a NUL in octets or in a file that
    can be rewound; what reading that raises goes on.
    """
    if message.__class__ is bytes and len(message) <= PIECE and not binary:
        return whole(message, MessageText(message))  # what nearly all is
    if isinstance(message, Source):
        return message
    if isinstance(message, (bytes, bytearray, memoryview)):
        octets = bytes(message)
        if len(octets) <= PIECE and not binary:
            return whole(octets, MessageText(octets))
        return _at_hand([octets], lambda: pieces(octets), binary)
    if isinstance(message, (list, tuple)):
        chunks = [octets_of(chunk) for chunk in message]
        return _at_hand(chunks, lambda: iter(chunks), binary)
    if hasattr(message, "__aiter__"):
        return Source(aiter(message), binary=binary)
    if hasattr(message, "read"):
        return _file_source(message, binary)
    if isinstance(message, (str, Mapping)) or not hasattr(message, "__iter__"):
        raise TypeError(f"a message is bytes, a binary file or an iterable of bytes, not {type(message).__name__}")
    return Source(iter(message), binary=binary)


def whole(octets: bytes, text: MessageText) -> Source:
    """Octets of no more than a `PIECE`, and the same as text."""
    chunks = iter((octets,))
    return Source(chunks, None, chunks, False, lambda: iter((octets,)), text)


def _at_hand(chunks: list[bytes], restart: Callable[[], Iterator[bytes]], binary: bool) -> Source:
    measure = Measure(binary)
    for chunk in chunks:
        for piece in pieces(chunk):
            measure.add(piece)
    at_hand = restart()
    return Source(at_hand, measure, at_hand, binary, restart)


def _file_source(file: Any, binary: bool) -> Source:
    def rest() -> Iterator[Any]:
        return iter(lambda: file.read(PIECE) or None, None)

    if not (hasattr(file, "seekable") and file.seekable()):
        return Source(rest(), binary=binary)
    start = file.tell()
    measure = Measure(binary)
    while chunk := octets_of(file.read(PIECE)):
        measure.add(chunk)

    def restart() -> Iterator[Any]:
        file.seek(start)
        return rest()

    return Source(restart(), measure, binary=binary, restart=restart)


def octets_of(chunk: object) -> bytes:
    """A chunk as octets; `TypeError` for anything else: `bytes` would make octets of numbers, too."""
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, (bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f"a chunk of a message is bytes, not {type(chunk).__name__} (open files in binary mode)")


def pieces(octets: bytes) -> Iterator[bytes]:
    """`octets` in pieces of a size that transports and caches like."""
    if len(octets) <= PIECE:
        return iter((octets,))
    return (octets[start : start + PIECE] for start in range(0, len(octets), PIECE))
