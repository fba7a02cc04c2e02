"""A flood over real sockets costs a client's or a server's process less than 2 MB, on every backend.

`python -m tests.memory_over_sockets` does it with 1 GB.
"""

from __future__ import annotations

import mmap

import pytest

from tests.conformance.backends import BACKENDS
from tests.memory import BOUND
from tests.memory_over_sockets import CLIENT_FLOODS, SERVER_FLOODS, costs, resident, set_back
from tests.needs import needs_linux

# Enough for what is not bounded to be seen.
AMOUNT = 4 * BOUND


@pytest.mark.parametrize("backend", [backend.name for backend in BACKENDS])
def test_floods(backend: str) -> None:
    needs_linux()
    found = list(costs([backend], AMOUNT))
    assert len(found) == len(CLIENT_FLOODS) + len(SERVER_FLOODS)
    assert all(cost.octets >= AMOUNT for cost in found)
    assert [str(cost) for cost in found if cost.growth >= BOUND] == []


def test_what_is_not_bounded_is_seen() -> None:
    needs_linux()
    before = set_back()
    with mmap.mmap(-1, AMOUNT) as kept:  # pages that the process cannot have had before
        for at in range(0, AMOUNT, mmap.PAGESIZE):
            kept[at] = 1
        assert resident("VmHWM") - before > BOUND
