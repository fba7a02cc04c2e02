"""The threat model names every limit with its value, and each test that a rule or a difference is said to be held by
is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from smtp_proto import DEFAULT_TIMEOUTS, Settings
from smtp_proto.server_session import ServerSession

from .parity.differential_allowed import DIFFERENCES, NORMALISERS

ROOT = Path(__file__).parent.parent
THREATS = (ROOT / "docs" / "threat-model.md").read_text()
DIFFERENCES_PAGE = (ROOT / "docs" / "differences.md").read_text()
TESTING = (ROOT / "docs" / "testing.md").read_text()

# Limits by another name than MAX_...
OTHERS = {
    "smtp_proto.session.REPLY_LENGTH",
    "smtp_proto.server_session.RECIPIENT_LENGTH",
    "smtp_proto.transaction.EAGER_SIZE",
}
NAMED = dict(re.findall(r"^\| `(smtp_[\w.]+)` \| (\d+) \|", THREATS, re.MULTILINE))


def limits() -> set[str]:
    """The names of all limits that the code has."""
    found = set(OTHERS)
    for folder in (ROOT, ROOT / "backends"):
        for path in [*folder.glob("smtp_*/*.py")]:
            module = ".".join(path.relative_to(folder).with_suffix("").parts)
            for statement in ast.parse(path.read_text()).body:
                targets = statement.targets if isinstance(statement, ast.Assign) else []
                targets += [statement.target] if isinstance(statement, ast.AnnAssign) else []
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                found |= {f"{module}.{name}" for name in names if name.startswith("MAX_")}
    settings = f"{ServerSession.__module__}.{Settings.__name__}"
    return found | {f"{settings}.{field}" for field in Settings._fields if field.startswith("max_")}


def test_every_limit_is_in_the_threat_model() -> None:
    assert set(NAMED) == limits()


@pytest.mark.parametrize("name", NAMED)
def test_limits_have_the_value_that_is_said(name: str) -> None:
    module, _, constant = name.rpartition(".")
    if module.endswith(".Settings"):
        value = Settings._field_defaults[constant]
    else:
        value = getattr(importlib.import_module(module), constant)
    assert value == int(NAMED[name])


def test_every_deadline_is_in_the_threat_model() -> None:
    found = re.findall(r"^\| `(\w+)` \| (\d+) \|", THREATS, re.MULTILINE)
    assert {stage: float(seconds) for stage, seconds in found} == {
        str(stage): seconds for stage, seconds in DEFAULT_TIMEOUTS.items()
    }


def table(name: str) -> list[str]:
    """The rows of a table of docs/testing.md, without its heading."""
    rows = TESTING.partition(f"<!-- table: {name} -->\n\n")[2].partition("\n\n")[0].splitlines()
    return rows[2:]


def test_every_rule_and_every_class_of_fault_has_its_row() -> None:
    assert len(table("rules")) == 9
    assert len(table("faults")) == 25


def test_every_difference_from_smtplib_has_its_row() -> None:
    """A row of docs/differences.md is one that the differential test needs, or has tests that are named."""
    compared = (*(one.row for one in NORMALISERS), *(one.row for one in DIFFERENCES))
    differences = [line[2:].partition(" | ")[0] for line in DIFFERENCES_PAGE.splitlines() if line.startswith("| ")]
    apart = [row[2:].partition(" | ")[0] for row in table("differences")]
    assert [name for name in differences if not name.startswith(("what", *compared))] == apart


@pytest.mark.parametrize("row", [*table("rules"), *table("faults"), *table("differences")], ids=lambda row: row[2:40])
def test_the_tests_of_a_rule_are_there(row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w*)`", row)
    assert named
    for path, name in named:
        source = (ROOT / "tests" / path).read_text()
        # Without a name it is all of the file.
        assert f"def {name}(" in source if name else "def test_" in source, f"{path}::{name}"
