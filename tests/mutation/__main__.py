"""Take away one guard after the other and see that a test fails: `python -m tests.mutation`.

Each change is made in a copy of the tree, and only the tests that are there for the guard are run.  First they are run
without any change, and must pass.  Words behind the command choose the guards whose names contain one of them;
`--write` puts the table into `docs/testing.md`.  The exit status is 1 if a guard can be taken away unnoticed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.mutation.guard import Guard
from tests.mutation.guards import GUARDS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "testing.md"
BEGIN, END = "<!-- table: guards -->\n", "<!-- end of table -->\n"

# What the tests read, each as it stands.
COPIED = ("smtp_proto", "backends", "tests", "docs", "examples", "pyproject.toml", "README.md")
# Seconds for the tests of one guard: without it they may wait for ever, which is noticed, too.
PATIENCE = 120
# ... and for all of them, with every guard in its place.
PATIENCE_FOR_ALL = 1200

_FAILED = re.compile(r"^(?:FAILED|ERROR) (?:\S*/)?tests/(\S+?)(?:\[| |$)", re.MULTILINE)


class Verdict(NamedTuple):
    guard: Guard
    #: The test that failed; "" if none did.
    caught_by: str


def copy_tree(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def run_tests(folder: Path, tests: tuple[str, ...], patience: float) -> str:
    """The first of the tests that fails, "" if all pass; "no end" if they come to none."""
    paths = os.pathsep.join([str(folder), str(folder / "backends")])
    # Without bytecode: two changes within a second may leave a file of the same size and time.
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-bb", "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        return "no end"
    if done.returncode == 0:
        return ""
    found = _FAILED.search(done.stdout)
    if done.returncode != 1 or found is None:
        raise RuntimeError(f"pytest came to no verdict:\n{done.stdout}{done.stderr}")
    return found[1]


@contextmanager
def without(folder: Path, guard: Guard) -> Iterator[None]:
    """The copy without this guard."""
    path = folder / guard.file
    source = path.read_text()
    path.write_text(source.replace(guard.old, guard.new))
    try:
        yield
    finally:
        path.write_text(source)


def check(guards: list[Guard]) -> list[Verdict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_tree(folder)
        every = tuple(sorted({test for guard in guards for test in guard.tests}))
        failed = run_tests(folder, every, PATIENCE_FOR_ALL)
        if failed:
            raise SystemExit(f"{failed} fails without any change: nothing can be said")
        verdicts = []
        for guard in guards:
            with without(folder, guard):
                verdict = Verdict(guard, run_tests(folder, guard.tests, PATIENCE))
            print(
                f"{'caught' if verdict.caught_by else 'NOT CAUGHT':10}  {guard.name}: {verdict.caught_by}", flush=True
            )
            verdicts.append(verdict)
        return verdicts


def table(verdicts: list[Verdict]) -> str:
    rows = [f"| {verdict.guard.name} | `{verdict.guard.file}` | `{verdict.caught_by}` |" for verdict in verdicts]
    return "\n".join(["| guard | in | without it fails |", "|---|---|---|", *rows, ""])


def write(verdicts: list[Verdict]) -> None:
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(verdicts)}\n{END}{rest.partition(END)[2]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="only guards whose name has one of these in it")
    parser.add_argument("--write", action="store_true", help="put the table into docs/testing.md")
    arguments = parser.parse_args()
    guards = [guard for guard in GUARDS if not arguments.words or any(word in guard.name for word in arguments.words)]
    verdicts = check(guards)
    caught = sum(bool(verdict.caught_by) for verdict in verdicts)
    print(f"caught {caught} of {len(verdicts)}")
    if arguments.write:
        write(verdicts)
    return int(caught < len(verdicts))


if __name__ == "__main__":
    sys.exit(main())
