"""What holds for every test of this folder."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.leaks import nothing_left_behind

# Seconds; the slowest of these tests takes a tenth of it on a machine that does nothing else.
BOUND = 30.0


@pytest.fixture(autouse=True)
def _bounded_and_nothing_left_behind() -> Iterator[None]:
    start = time.monotonic()
    with nothing_left_behind():
        yield
    assert time.monotonic() - start < BOUND


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests were started in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
