"""Other projects' tests go the same way on `smtp_blocking` as on `smtplib`; and the way in which that is found out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.needs import can_listen, needs

from .foreign import START, Compared, Environment, Unreachable
from .foreign_suites import SUITES, Suite

SHORT = [suite for suite in SUITES if not suite.long]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Compared]]:
    for port in {port for suite in SHORT for port in suite.ports}:
        needs(can_listen("127.0.0.1", port=port), f"port {port}, which nobody else listens on")
    try:
        environment = Environment(tmp_path_factory.mktemp("foreign"), SHORT)
    except Unreachable as error:
        needs(False, f"the Python Package Index: {error}")
        raise
    # Two at a time: these suites wait more than they work.
    with ThreadPoolExecutor(2) as pool:
        yield {each.suite.name: each for each in pool.map(environment.compare, reversed(SHORT))}


@pytest.mark.parametrize("suite", SHORT, ids=lambda suite: suite.name)
def test_a_suite_goes_the_same_way_on_both(suite: Suite, compared: dict[str, Compared]) -> None:
    result = compared[suite.name]
    assert not result.different, f"{result}\n{result.printed}"
    outcomes = list(result.ours.values())
    assert outcomes.count("passed") >= 80, result
    assert outcomes.count("failed") == 0, result


# -- how that is found out ---------------------------------------------------------------------------------------------

TESTS = """
import smtplib, unittest

class Tests(unittest.TestCase):
    def test_passes(self): pass
    def test_needs_ours(self): assert smtplib.__name__ == "smtp_blocking"
    def test_needs_theirs(self): assert smtplib.__name__ == "smtplib"
    def test_error(self): raise OSError
    @unittest.expectedFailure
    def test_fails_as_it_should(self): assert False
    @unittest.expectedFailure
    def test_passes_unexpectedly(self): pass
    def test_is_skipped(self): self.skipTest("no")
    def test_has_parts(self):
        for part in range(3):
            with self.subTest(part): assert part != 1
"""
ALWAYS = {
    "test_passes": "passed",
    "test_error": "failed",
    "test_fails_as_it_should": "passed",
    "test_passes_unexpectedly": "failed",
    "test_is_skipped": "skipped",
    "test_has_parts": "failed",
}
# The two runners see an expected failure differently; what matters is that it is the same both times.
PYTEST = {**ALWAYS, "test_fails_as_it_should": "skipped"}


@pytest.mark.parametrize(
    ("program", "always"),
    [(("unittest", "tiny"), ALWAYS), (("pytest", "-q", "tiny.py"), PYTEST)],
    ids=["unittest", "pytest"],
)
@pytest.mark.parametrize("options", [(), ("--replace",)], ids=["as it is", "replaced"])
def test_every_outcome_is_written_down(
    tmp_path: Path, program: tuple[str, ...], always: dict[str, str], options: tuple[str, ...]
) -> None:
    (tmp_path / "tiny.py").write_text(TESTS)
    subprocess.run(
        [sys.executable, START, *options, tmp_path / "outcomes", *program],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    outcomes = json.loads((tmp_path / "outcomes").read_text())
    found = {name.replace("::", ".").rpartition(".")[2]: outcome for name, outcome in outcomes.items()}
    ours, theirs = ("passed", "failed") if options else ("failed", "passed")
    assert found == {**always, "test_needs_ours": ours, "test_needs_theirs": theirs}


def test_the_way_back_to_unverified_tls_is_taken_only_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(
        "import smtplib, unittest\n"
        "class Tests(unittest.TestCase):\n"
        "    def test(self): assert smtplib.SMTP_SSL().context.check_hostname\n"
    )
    found = []
    for options in (["--replace"], ["--replace", "--unverified"]):
        subprocess.run(
            [sys.executable, START, *options, tmp_path / "outcomes", "unittest", "tiny"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        found += json.loads((tmp_path / "outcomes").read_text()).values()
    assert found == ["passed", "failed"]


def test_tests_that_differ_or_are_missing_are_told() -> None:
    theirs = {"a": "passed", "b": "passed", "c": "failed", "d": "passed"}
    ours = {"a": "passed", "b": "failed", "c": "failed", "e": "passed"}
    result = Compared(SUITES[0], theirs, ours, "")
    assert result.different == {
        "b": ("passed", "failed"),
        "d": ("passed", "not run"),
        "e": ("not run", "passed"),
    }
    assert "b: passed, here failed" in str(result)


class Scripted(Environment):
    """Runs that are given."""

    def __init__(self, *runs: dict[str, str]) -> None:
        self.runs = iter(runs)

    def run(self, suite: Suite, *options: str) -> tuple[dict[str, str], str]:
        return next(self.runs), ""


def test_a_second_chance_for_what_differs_once_and_no_third() -> None:
    good, bad = {"a": "passed", "b": "passed"}, {"a": "passed", "b": "failed"}
    other = {"a": "failed", "b": "passed"}
    assert Scripted(good, bad, good, good).compare(SUITES[0]).different == {}
    assert Scripted(good, bad, good, other).compare(SUITES[0]).different == {}
    assert Scripted(good, bad, good, bad).compare(SUITES[0]).different == {"b": ("passed", "failed")}
    assert Scripted(good, good).compare(SUITES[0]).different == {}
