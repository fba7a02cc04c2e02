"""The receive buffer: octets in, lines and counted octets out, in linear time and bounded memory.

Lines end at LF; whether a CR must stand before it is for the reader of the line to judge.  A search never looks at an
octet twice, so a line that arrives octet by octet costs no more than one that arrives whole.
"""

from __future__ import annotations

from .errors import LimitExceeded


class ReceiveBuffer:
    """Octets received and not yet consumed; `max_line` bounds a line, its end included."""

    __slots__ = ("_searched", "max_line", "octets")

    def __init__(self, max_line: int) -> None:
        self.max_line = max_line
        self.octets = bytearray()
        self._searched = 0  # no LF before this offset

    def __len__(self) -> int:
        return len(self.octets)

    def append(self, octets: bytes) -> None:
        self.octets += octets

    def clear(self) -> None:
        self.octets.clear()
        self._searched = 0

    def next_line(self) -> bytes | None:
        """The next line with its LF, or None; `LimitExceeded`, consuming nothing, once it cannot fit any more."""
        octets = self.octets
        end = octets.find(b"\n", self._searched) + 1
        if not end:
            self._searched = len(octets)
            if self._searched >= self.max_line:
                raise LimitExceeded(f"a line of more than {self.max_line} octets")
            return None
        if end > self.max_line:
            raise LimitExceeded(f"a line of more than {self.max_line} octets")
        line = bytes(octets[:end])
        del octets[:end]
        self._searched = 0
        return line

    def starts_with(self, octets: bytes) -> bool:
        """True if the next octets are these, in any letter case."""
        return self.octets[: len(octets)].upper() == octets

    def skip_line(self) -> bool:
        """Drop what is left of an over-long line; True when its LF was found and dropped too."""
        end = self.octets.find(b"\n", self._searched) + 1
        self._searched = 0
        del self.octets[: end or len(self.octets)]
        return bool(end)

    def take(self, most: int) -> bytes:
        """Up to `most` octets from the front."""
        octets = bytes(self.octets[:most])
        del self.octets[:most]
        self._searched = 0
        return octets

    def take_all(self) -> bytes:
        """All octets."""
        return self.take(len(self.octets))

    def push_back(self, octets: bytes) -> None:
        """Put octets that turned out to belong to what follows back to the front."""
        self.octets[:0] = octets
        self._searched = 0
