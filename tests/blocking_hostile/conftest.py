"""What holds for every test of this folder."""

from __future__ import annotations

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
