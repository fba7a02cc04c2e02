"""Every check of the project, one after the other: `python -m tests`.

Runs ruff's rules, ruff's formatting, mypy, pytest under coverage, and the coverage report.  All of
them run, whatever fails; a summary says at the end which did, and the exit status is 1 if any did.

The tests run in one process more than there are processors, for there are always some that wait.  A file
of tests is run by one of them as a whole: what its tests share is made once.  The files begin in their
order, for the longest of them are in folders and come before the others, and at the end short ones are
wanted.  (`python -m pytest` runs them in one process: for a debugger, say.)

Arguments go to pytest: `python -m tests -k pipelining`.  A selection of the tests cannot cover all
of the core, so with arguments the coverage report is printed but its result does not count.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

# Comparing bytes with str is an error.  Half of this project is about bytes.
STRICT = "-bb"
# No more: the longest file takes a sixth of the time of all, and a container does not show how little of its machine's
# processors it may have.
PROCESSES = min(os.cpu_count() or 1, 4) + 1
# As pytest-xdist wants them described.
WORKERS = f"{PROCESSES}*popen//python={shlex.quote(sys.executable)} {STRICT}"


class Check(NamedTuple):
    name: str
    arguments: list[str]  # for the interpreter that runs this
    counts: bool = True
    environment: Mapping[str, str] = {}  # on top of this process's


class Result(NamedTuple):
    check: Check
    status: int
    seconds: float


def checks(pytest_arguments: list[str], measured: str) -> list[Check]:
    distribution = ["--tx", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder"]
    pytest = [STRICT, "-m", "pytest", *distribution, *pytest_arguments]
    return [
        Check("ruff check", ["-m", "ruff", "check"]),
        Check("ruff format", ["-m", "ruff", "format", "--check"]),
        Check("mypy", ["-m", "mypy"]),
        Check("pytest", pytest, environment={"COVERAGE_FILE": f"{measured}/.coverage"}),
        Check("combine", ["-m", "coverage", "combine", "--quiet", measured]),
        Check("coverage", ["-m", "coverage", "report"], counts=not pytest_arguments),
    ]


def run(check: Check) -> Result:
    # Flushed, because the output of the check goes past our buffer to the same place.
    print(f"\n--- {check.name}: python {' '.join(check.arguments)}", flush=True)
    start = time.monotonic()
    command, environment = [sys.executable, *check.arguments], {**os.environ, **check.environment}
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    return Result(check, status, time.monotonic() - start)


def describe(result: Result) -> str:
    outcome = f"FAILED (status {result.status})" if result.status else "passed"
    if not result.check.counts:
        outcome += ", does not count: only some of the tests were asked for"
    return f"{result.check.name:12} {result.seconds:6.1f} s  {outcome}"


def main(pytest_arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as measured:
        try:
            results = [run(check) for check in checks(pytest_arguments, measured)]
        except KeyboardInterrupt:
            return 130  # what a shell reports for SIGINT; the check itself has said the rest
    print("\n--- summary")
    for result in results:
        print(describe(result))
    return int(any(result.status and result.check.counts for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
