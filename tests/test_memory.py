"""A flood costs less than 2 MB, at whichever step it comes, and at either end (`python -m tests.memory`: with 1 GB)."""

from __future__ import annotations

from collections.abc import Iterator

from tests.memory import BOUND, PIECE, Flood, costs, measured

# Enough for what is not bounded to be seen.
AMOUNT = 2 * BOUND


def test_floods() -> None:
    found = list(costs(AMOUNT))
    assert len(found) > 90
    assert [str(cost) for cost in found if cost.peak >= BOUND] == []
    # A client refuses every one of them; a server reads past what a client may say at any length.
    assert [str(cost) for cost in found if cost.who == "client" and cost.refused_after is None] == []


def test_what_is_not_bounded_is_seen() -> None:
    def keeps(pieces: Iterator[bytes]) -> int | None:
        kept = bytearray()
        for piece in pieces:
            kept += piece
        return None

    assert measured(keeps, Flood("octets", b"x" * PIECE), AMOUNT)[1] > BOUND
