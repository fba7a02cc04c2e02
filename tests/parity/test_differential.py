"""Whatever is called and whatever the server says, `smtp_blocking` does what `smtplib` does, or what the table says."""

from __future__ import annotations

import inspect
import smtplib
from pathlib import Path
from typing import NamedTuple

import pytest

from .differential import CONVERSATIONS, SEED, compare, describe, pick, smaller
from .differential_allowed import DIFFERENCES, NORMALISERS, Difference, KnownBug, Normaliser
from .differential_written import WRITTEN

TABLE = Path(__file__).resolve().parents[2] / "docs" / "differences.md"


class Played(NamedTuple):
    problems: list[int]
    needed: set[str]
    steps: int
    whole: int


@pytest.fixture(scope="module")
def played() -> Played:
    problems: list[int] = []
    needed: set[str] = set()
    steps = whole = 0
    for number in range(-len(WRITTEN), CONVERSATIONS):
        verdict = compare(pick(SEED, number))
        needed.update(verdict.allowed)
        steps += verdict.steps
        whole += verdict.case is None
        if verdict.problem:
            problems.append(number)
    return Played(problems, needed, steps, whole)


def test_nothing_differs_but_what_may(played: Played) -> None:
    if played.problems:
        first = played.problems[0]
        small = compare(smaller(pick(SEED, first)))
        pytest.fail(f"{len(played.problems)} conversations; number {first} of seed {SEED}:\n{describe(small)}")


def test_most_conversations_are_compared_to_their_end(played: Played) -> None:
    # An allowed difference ends the comparison: too many of them, and nothing much is compared.
    assert CONVERSATIONS >= 5000
    assert played.whole > CONVERSATIONS / 2
    assert played.steps > 3 * CONVERSATIONS


# The first is for versions of smtplib that write FROM: and TO:; this one may write them as we do.
_SAME_CASE = "from:%s" in inspect.getsource(smtplib.SMTP.mail)


@pytest.mark.parametrize(
    "allowed", [*NORMALISERS[1 if _SAME_CASE else 0 :], *DIFFERENCES], ids=lambda allowed: allowed.name
)
def test_every_difference_that_is_allowed_is_needed(played: Played, allowed: Difference | Normaliser) -> None:
    # Also for known bugs: one that is mended is to be taken out of the list.
    assert allowed.name in played.needed


@pytest.mark.parametrize("allowed", [*NORMALISERS, *DIFFERENCES], ids=lambda allowed: allowed.name)
def test_every_difference_that_is_allowed_is_in_the_table(allowed: Difference | Normaliser) -> None:
    row, proposed = allowed.row, allowed.proposed
    if not proposed and not isinstance(allowed, KnownBug):
        lines = TABLE.read_text(encoding="utf-8").splitlines()
        assert any(line.removeprefix("| ").startswith(row) for line in lines), row
