"""What a run says at its end, backend by backend: the tests of the conformance suite, and the points of cancellation.

What is counted stands in the reports of the tests, as one of their properties.  So it is all there also where the tests
have run in several processes, which send their reports to one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

#: The property that says on which backend a test of the conformance suite has run.
CONFORMANCE = "conformance backend"
#: The property that has, for each point at which something was cancelled, the name of the backend.
POINTS = "points of cancellation"


def _reported(reporter: pytest.TerminalReporter, outcome: str, name: str) -> Iterator[Any]:
    for report in reporter.getreports(outcome):
        # A module that fails has no properties.
        yield from (value for each, value in getattr(report, "user_properties", ()) if each == name)


def show(reporter: pytest.TerminalReporter) -> None:
    """Say how many tests have passed on each backend (the same number, where none is left out), and how many points."""
    outcomes = {
        outcome: Counter(_reported(reporter, outcome, CONFORMANCE))
        for outcome in ("passed", "failed", "error", "skipped")
    }
    points = Counter(name for names in _reported(reporter, "passed", POINTS) for name in names)
    if not any((*outcomes.values(), points)):
        return
    # Not before there is something to be said: this loads every loop.
    from tests.conformance.backends import BACKENDS

    if any(outcomes.values()):
        reporter.section("conformance, by backend")
        for backend in BACKENDS:
            found = [f"{count[backend.name]:5} {outcome}" for outcome, count in outcomes.items() if count[backend.name]]
            reporter.line(f"{backend.name:14}" + ", ".join(found))
    if points:
        reporter.section("cancellation, points tried by backend")
        for name, number in points.items():
            reporter.line(f"{name:14}{number:6}")
        reporter.line(f"{'all':14}{points.total():6}")
