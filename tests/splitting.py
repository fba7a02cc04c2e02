"""Ways to cut octets into pieces: whatever way is taken, the results must be the same.

Random ways are `smtp_proto.strategies.splits`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise


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
