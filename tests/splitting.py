"""Ways to cut octets into pieces: whatever way is taken, the results must be the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import strategies as st


def bytewise(octets: bytes) -> list[bytes]:
    """One octet at a time."""
    return [octets[n : n + 1] for n in range(len(octets))]


def cut(octets: bytes, *offsets: int) -> list[bytes]:
    """At the given offsets, which ascend; pieces may be empty."""
    bounds = [0, *offsets, len(octets)]
    return [octets[start:end] for start, end in pairwise(bounds)]


def every_split(octets: bytes) -> Iterator[list[bytes]]:
    """Whole, in two pieces at every offset (empty ones included), and octet by octet."""
    yield [octets]
    for offset in range(len(octets) + 1):
        yield cut(octets, offset)
    yield bytewise(octets)


def splits(octets: bytes) -> st.SearchStrategy[list[bytes]]:
    """Any cut into up to ten pieces."""
    offsets = st.lists(st.integers(0, len(octets)), max_size=9)
    return offsets.map(lambda unordered: cut(octets, *sorted(unordered)))
