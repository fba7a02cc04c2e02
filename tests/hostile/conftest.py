"""What holds for every test of this folder."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.conformance.backends import BACKENDS, Backend
from tests.leaks import nothing_left_behind

from . import PROPERTY

# Seconds; the slowest of these tests takes a tenth of it on a machine that does nothing else.
BOUND = 30.0


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn, with its loop running."""
    found: Backend = request.param
    request.node.user_properties.append((PROPERTY, found.name))
    found.start()
    return found


@pytest.fixture(scope="session", autouse=True)
def _loops_are_stopped() -> Iterator[None]:
    yield
    for each in BACKENDS:
        each.stop()


@pytest.fixture(autouse=True)
def _bounded_and_nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    # Behind the backend, whose loop has sockets and threads of its own; the tests of threads and signals have none.
    used: Backend | None = request.getfixturevalue("backend") if "backend" in request.fixturenames else None
    start = time.monotonic()
    with nothing_left_behind():
        yield
        if used is not None:
            used.settle()
    assert time.monotonic() - start < BOUND
