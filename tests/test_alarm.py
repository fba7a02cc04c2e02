"""An alarm rings when it was set for, once, however often it was set; and of a timer it asks only to be cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from smtp_surface.alarm import Alarm


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Entry(NamedTuple):
    when: float
    timer: Timer
    callback: Callable[[], object]


class Loop:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.entries: list[Entry] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        timer = Timer()
        self.entries.append(Entry(when, timer, callback))
        return timer

    @property
    def timers(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.timer.cancelled]

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((entry for entry in self.timers if entry.when <= end), key=lambda entry: entry.when):
            self.now = max(self.now, due[0].when)
            self.entries.remove(due[0])
            due[0].callback()
        self.now = end


steps = st.sampled_from(["set", "ring", "stop"])


@given(st.lists(st.tuples(steps, st.integers(-1, 9), st.integers(0, 5)), max_size=12))
def test_it_rings_when_it_was_set_for(steps: list[tuple[str, int, int]]) -> None:
    """Whatever was done before, it rings at the moment that it was set for last, and at no other."""
    loop = Loop()
    rung: list[float] = []
    alarm = Alarm(loop, lambda: rung.append(loop.now))
    expected: list[float] = []
    before_it = 0
    deadline: float | None = None
    for step, seconds, passes in steps:
        if step == "set":
            alarm.set(float(seconds) if seconds else None)
            deadline = loop.now + seconds if seconds else None
            before_it = len(expected)
        elif step == "ring":
            alarm.ring()
            expected.append(loop.now)
            deadline = None
        else:
            alarm.stop()
            deadline = None
            assert not loop.timers
        before = loop.now
        loop.move(passes)
        if deadline is not None and deadline <= loop.now:
            expected.append(max(deadline, before))
            deadline = None
        assert rung == expected
        assert alarm.rung == bool(expected[before_it:])
        assert len(loop.timers) <= 1


def test_a_deadline_that_has_passed_on_uvloop() -> None:
    """A loop may give something else than a timer for what is due at once."""
    loop = uvloop.new_event_loop()
    try:
        rung: list[float] = []

        def ring() -> None:
            rung.append(loop.time())
            loop.stop()

        alarm = Alarm(loop, ring)
        for seconds in (-1.0, 0.0, 60.0, -1.0):
            alarm.set(seconds)
        loop.run_forever()
        assert len(rung) == 1
    finally:
        loop.close()
