"""The fixtures of the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import smtp_blocking
from tests.leaks import nothing_left_behind
from tests.tallies import CONFORMANCE

from .backends import BACKENDS, Backend


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn."""
    found: Backend = request.param
    request.node.user_properties.append((CONFORMANCE, found.name))
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
