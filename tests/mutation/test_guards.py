"""The list of guards is true to the sources: each change can be made, and each test that it names is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.__main__ import BEGIN, END, PAGE, Verdict, table
from tests.mutation.guard import Guard
from tests.mutation.guards import GUARDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_the_change_can_be_made(guard: Guard) -> None:
    source = (ROOT / guard.file).read_text()
    assert source.count(guard.old) == 1
    changed = source.replace(guard.old, guard.new)
    assert changed != source
    ast.parse(changed)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_the_tests_are_there(guard: Guard) -> None:
    assert guard.tests
    for test in guard.tests:
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text()


def test_each_guard_has_a_name_of_its_own() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS) >= 60


def test_the_table_has_every_guard() -> None:
    rows = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    caught = [row.rpartition("| `")[2].partition("`")[0] for row in rows[2:]]
    assert all(caught), "a guard that can be taken away unnoticed"
    assert "\n".join([*rows, ""]) == table([Verdict(guard, by) for guard, by in zip(GUARDS, caught, strict=True)])
