"""Other projects' tests on `smtplib` and on `smtp_blocking` in its place: ``python -m tests.parity.foreign [name ...]``

Makes a virtual environment, installs what the suites need and this checkout, fetches their sources from the Python
Package Index, and runs each suite twice, in a process each: as it is, and with `smtp_blocking.install_as_smtplib()`
before anything else.  Prints what passed, failed and was skipped on both, and every test that went differently; the
exit status is 1 if one did, 2 if the suites cannot be had.  `foreign_suites` says what is run.

These tests have clocks, ports and threads of their own.  So one that goes differently gets a second chance: what counts
is what goes differently both times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from .foreign_suites import REQUIREMENTS, SUITES, Suite

ROOT = Path(__file__).resolve().parents[2]
START = Path(__file__).with_name("foreign_start.py")
PATIENCE = 600  # seconds for one run of one suite, ten times what the longest takes

Outcomes = dict[str, str]


class Unreachable(Exception):
    """The suites cannot be had: no network, most likely."""


class Compared(NamedTuple):
    """One suite on `smtplib` and on `smtp_blocking`: the outcome of each test, and what the second run printed."""

    suite: Suite
    theirs: Outcomes
    ours: Outcomes
    printed: str

    @property
    def different(self) -> dict[str, tuple[str, str]]:
        """The tests that went differently, with both outcomes."""
        names = [*self.theirs, *(name for name in self.ours if name not in self.theirs)]
        both = {name: (self.theirs.get(name, "not run"), self.ours.get(name, "not run")) for name in names}
        return {name: outcomes for name, outcomes in both.items() if outcomes[0] != outcomes[1]}

    def __str__(self) -> str:
        lines = [f"{self.suite.name} ({self.suite.requirement}); left out: {self.suite.left_out}"]
        if self.suite.unverified:
            lines.append(f"    verifies no certificates: {self.suite.unverified}")
        for name, outcomes in (("smtplib", self.theirs), ("smtp_blocking", self.ours)):
            count = Counter(outcomes.values())
            lines.append(
                f"    {name:14} {count['passed']:4} passed, {count['failed']} failed, {count['skipped']} skipped"
            )
        lines += [f"    {test}: {their}, here {our}" for test, (their, our) in self.different.items()]
        return "\n".join(lines)


class Environment:
    """A virtual environment below `folder`, with the sources of the suites beside it."""

    def __init__(self, folder: Path, suites: list[Suite]) -> None:
        self.folder = folder
        self.sources: dict[str, Path] = {}
        venv.create(folder / "environment", with_pip=True)
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.python = folder / "environment" / scripts / "python"
        self._pip("install", *REQUIREMENTS)
        self._pip("install", "--no-deps", "--no-build-isolation", ROOT)
        wanted = {
            suite.requirement: suite for suite in (*suites, *SUITES) if suite in suites or suite.name == "aiosmtpd"
        }
        for requirement, suite in wanted.items():
            self.sources[requirement] = self._source(suite)
        self._aiosmtpd = next(path for requirement, path in self.sources.items() if requirement.startswith("aiosmtpd"))

    def _pip(self, *words: str | Path) -> None:
        command = [self.python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
        done = subprocess.run(command, env=self._variables(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unreachable(f"pip {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")

    def _source(self, suite: Suite) -> Path:
        """The unpacked source distribution."""
        downloaded = self.folder / suite.requirement
        downloaded.mkdir()
        pinned = downloaded / "requirements.txt"
        pinned.write_text(f"{suite.requirement} --hash=sha256:{suite.sha256}\n")
        # Without isolation: only its name and version are read, for which all there is to be had is here.
        options = (
            "--no-deps",
            "--no-build-isolation",
            "--no-binary",
            ":all:",
            "--require-hashes",
            "--dest",
            downloaded,
        )
        self._pip("download", *options, "--requirement", pinned)
        [archive] = downloaded.glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(downloaded, filter="data")
        [source] = [path for path in downloaded.iterdir() if path.is_dir()]
        return source

    def _variables(self, *path: Path) -> dict[str, str]:
        # Nothing of this process's environment shows through, nor of its measuring of coverage.
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE", "PYTEST"))
        }
        return {**kept, "PYTHONPATH": os.pathsep.join(map(str, path))}

    def run(self, suite: Suite, *options: str) -> tuple[Outcomes, str]:
        """The outcome of each test, and what was printed."""
        source = self.sources[suite.requirement]
        outcomes = self.folder / f"{suite.name}{''.join(options)}.json"
        outcomes.unlink(missing_ok=True)
        done = subprocess.run(
            [self.python, START, *options, outcomes, *suite.command],
            cwd=source / suite.folder,
            env=self._variables(source, self._aiosmtpd),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            timeout=PATIENCE,
            check=False,
        )
        return (json.loads(outcomes.read_text()) if outcomes.exists() else {}), done.stdout

    def compare(self, suite: Suite) -> Compared:
        """Run a suite on both, and a second time if anything differs; see the module's header."""
        options = ("--replace", "--unverified") if suite.unverified else ("--replace",)
        compared = Compared(suite, self.run(suite)[0], *self.run(suite, *options))
        first = compared.different
        if not first:
            return compared
        again = Compared(suite, self.run(suite)[0], *self.run(suite, *options))
        once = [name for name in again.different if name not in first]
        return again._replace(ours={**again.ours, **{name: again.theirs.get(name, "not run") for name in once}})


def main() -> int:
    """Run the suites that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(suite.name for suite in SUITES)}")
    names = parser.parse_args().name
    suites = [suite for suite in SUITES if not names or suite.name in names]
    if unknown := set(names) - {suite.name for suite in suites}:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            environment = Environment(Path(folder), suites)
        except Unreachable as error:
            print(error)
            return 2
        status = 0
        for suite in suites:
            compared = environment.compare(suite)
            print(compared, flush=True)
            if compared.different or not compared.ours:
                print(compared.printed)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
