"""What `send` hears of its message while it goes out: for the progress bar, and for the one thing that an interrupt
must not leave unsaid, whether the message may be delivered already.
"""

from __future__ import annotations

from smtp_proto.sources import PIECE
from smtp_proto.transcript import Said

from .terminal import Terminal

# Octets from which on a message is worth a bar: below, it is out before anybody has looked.
LARGE = 1 << 18


class Watch:
    """An observer of the conversation in which one message is sent, and of the message's progress."""

    def __init__(self, terminal: Terminal, *, verbose: bool) -> None:
        self._terminal = terminal
        self._verbose = verbose
        self._announced = 0  # octets
        self._out = 0  # and so many of them are out

    def observe(self, said: Said) -> None:
        """The conversation (`smtp_proto.transcript`)."""
        if self._verbose:
            self._terminal.tell(str(said))
        # DATA says at its end how much it was, BDAT begins with saying so.
        if said.octets is not None:
            self._announced = self._announced or said.octets

    def progress(self, out: int, total: int | None) -> None:
        """So many octets are out (`smtp_proto.writing.Progress`)."""
        if total is not None:
            self._announced = total
            if total >= LARGE:
                self._terminal.progress(out, total)
        self._out = max(self._out, out)  # of several transactions the first has begun to deliver

    @property
    def undecided(self) -> bool:
        """True if the end of the message may be out.  It goes with the last piece, of which is told when it is out."""
        return 0 < self._announced <= self._out + PIECE
