"""The fixtures of the conformance suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

import smtp_blocking
from tests.leaks import nothing_left_behind

from .backends import BACKENDS, Backend

# What a report says of the backend that its test ran on.
_PROPERTY = "conformance backend"


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn."""
    found: Backend = request.param
    request.node.user_properties.append((_PROPERTY, found.name))
    found.start()
    return found


@pytest.fixture(autouse=True)
def _nothing_left_behind(backend: Backend) -> Iterator[None]:
    # After `backend`, whose loop has sockets and threads of its own.
    with nothing_left_behind():
        yield
        backend.settle()


@pytest.fixture(scope="session", autouse=True)
def _loops_are_stopped() -> Iterator[None]:
    yield
    for each in BACKENDS:
        each.stop()


@pytest.fixture
def server(_nothing_left_behind: None) -> Iterator[smtp_blocking.Server]:
    """Our own server, which takes everything."""
    with smtp_blocking.Server() as running:
        yield running
    assert running.errors == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests of the suite have passed on each backend: the same number, where none is left out."""
    counts = {backend.name: Counter[str]() for backend in BACKENDS}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            name = dict(getattr(report, "user_properties", ())).get(_PROPERTY)  # a module that fails has none
            if isinstance(name, str):
                counts[name][outcome] += 1
    if any(counts.values()):
        terminalreporter.section("conformance, by backend")
        for name, found in counts.items():
            terminalreporter.line(
                f"{name:14}" + ", ".join(f"{number:5} {outcome}" for outcome, number in found.items())
            )
