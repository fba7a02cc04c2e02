"""What all tests share: the settings of Hypothesis, the measuring of coverage, and what is said at the end of a run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import tallies
from tests.leaks import nothing_left_behind

# No deadlines and no complaints about slow data: both measure the machine and the coverage tracer, not the library.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run: a change is judged by what it changes, not by luck.  The search goes on at home.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# `python -m tests` shares the tests out among several processes, and says in COVERAGE_FILE where each of them leaves
# what it has measured, in a file of its own.  It begins here, before anything imports what is measured.
measuring = None
if {"COVERAGE_FILE", "PYTEST_XDIST_WORKER"} <= os.environ.keys():
    from coverage import Coverage

    measuring = Coverage(data_suffix=True)
    measuring.start()

from smtp_proto import internationalization, queue_ids  # noqa: E402  # measured, too

HERE = Path(__file__).parent
# Each reaches what chance leads to, and takes three times as long when it is measured.
BY_CHANCE = "test_random_walks.py"


@pytest.fixture
def _nothing_left_behind() -> Iterator[None]:
    """For files whose tests are to leave no threads and no sockets; folders with backends of their own have another."""
    with nothing_left_behind():
        yield


def pytest_configure(config: pytest.Config) -> None:
    # Hypothesis keeps the choices that it made as keys of dicts, and b"" and 0 have the same hash: under `python -bb`
    # comparing them is an error.  It is theirs, and harmless; ours would not come from inside their package.
    theirs = r"ignore:Comparison between bytes and:BytesWarning:hypothesis\.internal\."
    config.addinivalue_line("filterwarnings", theirs)
    # Whoever is started in the background ignores it, and what it starts does so, too; tests send it to both.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure the tests of the core alone: they stand in this folder, and none of it is to be reached by others only.

    Measuring those of its folders, too, would take half as much time again as they take.
    """
    if measuring is not None:
        measuring.stop()
        if item.path.parent == HERE and item.path.name != BY_CHANCE:
            measuring.start()
            # What others were told already must be found out again to be measured.
            for remembering in (internationalization.way, internationalization.body_way, queue_ids._known):
                remembering.cache_clear()
    return (yield)


def pytest_unconfigure() -> None:
    if measuring is not None:
        measuring.stop()
        measuring.save()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tallies.show(terminalreporter)
