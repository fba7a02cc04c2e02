"""Starts somebody else's test suite, in an environment of its own, and writes down what became of each test.

    python foreign_start.py [--replace] [--unverified] OUTCOMES (MODULE | FILE.py) ARGUMENT...

`--replace` puts `smtp_blocking` in the place of `smtplib` first, as a program would.  `--unverified` also takes the one
documented way back to connections that verify nothing, for suites that use a certificate of their own without a
context.  The outcomes are written as JSON: the name of each test, and "passed", "failed" or "skipped".

Nothing of this checkout can be imported here but what is installed.
"""

from __future__ import annotations

import json
import runpy
import ssl
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUTCOMES: dict[str, str] = {}
# From good to bad: a test may have several parts, and the worst counts.
RANK = ("passed", "skipped", "failed")


def note(name: str, outcome: str) -> None:
    before = OUTCOMES.get(name, RANK[0])
    OUTCOMES[name] = max(before, outcome, key=RANK.index)


class PytestPlugin:
    """Told of each phase of each test: setup, call, teardown."""

    def pytest_runtest_logreport(self, report: Any) -> None:
        note(report.nodeid, report.outcome)


def watch_unittest() -> None:
    """Whatever runner it is, and whatever class of result it uses, the base class of all results is told."""

    def watch(method: str, outcome: str) -> None:
        original: Callable[..., Any] = getattr(unittest.TestResult, method)

        def watched(self: unittest.TestResult, test: unittest.TestCase, *arguments: Any) -> Any:
            if method != "addSubTest" or arguments[-1] is not None:
                note(test.id(), outcome)
            return original(self, test, *arguments)

        setattr(unittest.TestResult, method, watched)

    for method, outcome in {
        "addSuccess": "passed",
        "addExpectedFailure": "passed",
        "addSkip": "skipped",
        "addFailure": "failed",
        "addError": "failed",
        "addUnexpectedSuccess": "failed",
        "addSubTest": "failed",
    }.items():
        watch(method, outcome)


def run(program: str, arguments: list[str]) -> None:
    if program == "pytest":
        import pytest

        sys.exit(pytest.main(arguments, plugins=[PytestPlugin()]))
    watch_unittest()
    sys.argv[:] = [program, *arguments]
    sys.path[0] = str(Path(program).resolve().parent) if program.endswith(".py") else str(Path.cwd())
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def main(arguments: list[str]) -> None:
    replace = "--replace" in arguments[:2]
    if replace:
        import smtp_blocking

        smtp_blocking.install_as_smtplib()
        if "--unverified" in arguments[:2]:
            smtp_blocking.default_ssl_context = ssl._create_unverified_context
    outcomes, program, *rest = [word for word in arguments if word not in ("--replace", "--unverified")]
    try:
        run(program, rest)
    finally:
        Path(outcomes).write_text(json.dumps(OUTCOMES))


if __name__ == "__main__":
    main(sys.argv[1:])
