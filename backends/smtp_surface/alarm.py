"""An alarm for one wait after the other, for loops that call back.

Theory of operation.  A deadline is hardly ever reached, but each wait has one, and a timer of an event loop takes
longer to set and to cancel than all else that there is to a wait.  So one timer serves many: while one is set that
rings no later than the deadline, only the deadline is noted, and when it rings too early it is set anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Alarm:
    """Calls `wake` when it was `set` for so many seconds ago, unless it was set again or stopped meanwhile.

    `loop` has `time` and `call_at`, as asyncio's loops do.
    """

    __slots__ = ("_loop", "_rings_at", "_timer", "_wake", "deadline", "rung")

    def __init__(self, loop: Any, wake: Callable[[], object]) -> None:
        self._loop = loop
        self._wake = wake
        self._timer: Any = None
        self._rings_at = 0.0  # the timer; not every loop's can tell
        #: Since it was set.
        self.rung = False
        #: By the loop's clock, in seconds; None: off.
        self.deadline: float | None = None

    def set(self, seconds: float | None) -> None:
        """Ring in so many seconds, and not before; with None, never.  The timer may run on."""
        self.rung = False
        if seconds is None:
            self.deadline = None
            return
        self.deadline = deadline = self._loop.time() + seconds
        if self._timer is None or self._rings_at > deadline:
            self._start(deadline)

    def ring(self) -> None:
        """Ring now."""
        self.deadline, self.rung = None, True
        self._wake()

    def stop(self) -> None:
        """Do not ring; the timer is cancelled."""
        self.deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._rings_at = self._loop.call_at(when, self._timed_out), when

    def _timed_out(self) -> None:
        self._timer = None
        if self.deadline is not None:
            if self._loop.time() < self.deadline:
                self._start(self.deadline)
            else:
                self.ring()
