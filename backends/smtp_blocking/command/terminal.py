"""What a command writes: results to standard output; errors, the transcript and the progress bar to standard error.

Much of it comes from the other side of the network, so nothing is written that could move a cursor, change a colour,
turn the direction of writing or forge a line (`visible`).  A reader that goes away is no reason to fail: what is left
to do is done, and `say` says that nobody listened.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

_BAR_WIDTH = 30


def visible(text: str) -> str:
    r"""`text` with all that is not printable escaped (``\x1b``), line feeds excepted."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character == "\n" or character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def counted(number: int, what: str) -> str:
    """ "1 octet", "2 octets"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class Terminal:
    """Where the command writes to.  `sys.stdout` and `sys.stderr` are looked up when something is written."""

    def __init__(self) -> None:
        self._deaf = False
        self._bar = ""

    def say(self, text: str) -> bool:
        """A result, to standard output; False if it cannot be written: nobody reads any more, or the disk is full."""
        self._clear_bar()
        if not self._deaf:
            try:
                _write(sys.stdout, visible(text) + "\n")
            except OSError:
                self._deaf = True
                _to_nowhere(sys.stdout)
        return not self._deaf

    def tell(self, text: str) -> None:
        """An error or a bit of the transcript, to standard error."""
        self._clear_bar()
        with suppress(OSError):
            _write(sys.stderr, visible(text) + "\n")

    def progress(self, done: int, total: int) -> None:
        """How much of a message is out, as a bar that overwrites itself; only where standard error is a terminal."""
        if not sys.stderr.isatty():
            return
        filled = _BAR_WIDTH * done // total if total else _BAR_WIDTH
        bar = f"[{'#' * filled:<{_BAR_WIDTH}}] {100 * done // total if total else 100:3d} % of {total} octets"
        if bar != self._bar:
            self._bar = bar
            with suppress(OSError):
                _write(sys.stderr, "\r" + bar)

    def _clear_bar(self) -> None:
        bar, self._bar = self._bar, ""
        if bar:
            with suppress(OSError):
                _write(sys.stderr, "\r" + " " * len(bar) + "\r")


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _to_nowhere(stream: TextIO) -> None:
    """Let the interpreter flush what is left in the stream's buffer at its end without failing again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
