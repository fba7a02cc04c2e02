"""An alarm for one wait after the other, for loops that call back.

Theory of operation.  A deadline is hardly ever reached, but each wait has one, and a timer of an event loop takes
longer to set and to cancel than all else that there is to a wait.  So one timer serves many: while one is set that
rings no later than the deadline, only the deadline is noted, and when it rings too early it is set anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Alarm:
    """Calls `ring` when `set` was for so many seconds ago, unless it was set again or put `off` meanwhile.

    `loop` has `time` and `call_at`, as asyncio's loops do.
    """

    __slots__ = ("_loop", "_ring", "_rings_at", "_timer", "deadline")

    def __init__(self, loop: Any, ring: Callable[[], object]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: Any = None
        self._rings_at = 0.0  # the timer; not every loop's can tell
        #: By the loop's clock, in seconds; None: off.
        self.deadline: float | None = None

    def set(self, seconds: float | None) -> None:
        """Ring in so many seconds, and not before; with None, never."""
        self.deadline = None if seconds is None else self._loop.time() + seconds
        if self.deadline is not None and (self._timer is None or self._rings_at > self.deadline):
            self._start(self.deadline)

    def off(self) -> None:
        """Do not ring; the timer may run on."""
        self.deadline = None

    def stop(self) -> None:
        """The same, and the timer is cancelled."""
        self.deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._rings_at = self._loop.call_at(when, self._rung), when

    def _rung(self) -> None:
        self._timer = None
        if self.deadline is not None:
            if self._loop.time() < self.deadline:
                self._start(self.deadline)
            else:
                self.deadline = None
                self._ring()
