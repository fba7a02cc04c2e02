"""Search for inputs that make a target fail: `python -m tests.fuzz TARGET --seconds 600`.

atheris (extra `fuzz`) does the search, over the target's corpus and the inputs that it finds on the way, which
`--corpus FOLDER` keeps for the next time.  `python -m tests.fuzz TARGET FILE...` tries inputs that were found.

At the end one line says how many inputs were tried, how many edges of the library they have reached and how many
features, which is edges with how often they were passed, and the time.  An input that fails is written to
`--artifacts FOLDER` and the exit status is 1; put it into `tests/fuzz/corpus/TARGET/` when the fault is mended.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import TARGETS
from tests.fuzz.inputs import CORPUS, TOKENS, target

ROOT = Path(__file__).resolve().parents[2]

# Seconds for one input, and MiB for the process: beyond is a failure too.
MOST_SECONDS = 20
MOST_MEMORY = 1024
# Octets of an input: more than the longest line that is read has, and little enough for thousands of tries a second.
MOST_OCTETS = 10240

_PROGRESS = re.compile(r"^#(\d+)\t.*cov: (\d+) ft: (\d+) corp: (\d+)", re.MULTILINE)


class Run(NamedTuple):
    """What a search has come to."""

    target: str
    executions: int
    edges: int
    features: int
    inputs: int
    seconds: float
    failed: bool

    def __str__(self) -> str:
        return (
            f"{self.target}: {self.executions:,} executions, {self.edges:,} edges, {self.features:,} features, "
            f"{self.inputs:,} inputs kept, {self.seconds:.0f} s, {'FAILED' if self.failed else 'no failure'}"
        )


def search(name: str, seconds: int, corpus: Path, artifacts: Path) -> Run:
    """Let atheris look for inputs that make the target fail."""
    corpus.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    dictionary = corpus.parent / f"{name}.dict"
    escaped = ("".join(map("\\x{:02x}".format, token)) for token in TOKENS)
    dictionary.write_text("".join(f'"{token}"\n' for token in escaped))
    command = [
        *(sys.executable, "-m", "tests.fuzz.searching", name, str(corpus), str(CORPUS / name)),
        *(f"-max_total_time={seconds}", f"-timeout={MOST_SECONDS}", f"-rss_limit_mb={MOST_MEMORY}"),
        f"-max_len={MOST_OCTETS}",
        *(f"-artifact_prefix={artifacts}/{name}-", f"-dict={dictionary}", "-print_final_stats=1"),
    ]
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    last = (0, 0, 0, 0)
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        found = _PROGRESS.match(line)
        if found is not None:
            last = (int(found[1]), int(found[2]), int(found[3]), int(found[4]))
    failed = process.wait() != 0
    return Run(name, *last, time.monotonic() - start, failed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("inputs", nargs="*", type=Path, help="files to try, instead of searching")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, help="a folder for inputs that reach something new")
    parser.add_argument("--artifacts", type=Path, default=Path("fuzz-artifacts"), help="a folder for those that fail")
    arguments = parser.parse_args()
    if arguments.inputs:
        for path in arguments.inputs:
            target(arguments.target)(path.read_bytes())
        print(f"{len(arguments.inputs)} inputs, no failure")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        corpus = (arguments.corpus or Path(folder)) / arguments.target
        run = search(arguments.target, arguments.seconds, corpus.resolve(), arguments.artifacts.resolve())
    print(run)
    return int(run.failed)


if __name__ == "__main__":
    sys.exit(main())
