"""Measuring in fresh processes, taking turns, and telling the outcome as a table.

A *job* is a function of `benchmarks.jobs` with its arguments.  `measure` runs each job of a group once per round, each
time in a process of its own, and keeps the median over the rounds; so a machine that slows down for a while does so for
all of them.  A child measures itself: wall time and its own CPU time around the part that counts, and at its end the
most memory that it held.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "3"))


@dataclass(frozen=True)
class Figures:
    """What one job cost: seconds of wall and of CPU, for `count` things, and the process's peak memory in octets."""

    seconds: float
    cpu: float
    count: int
    peak: int
    extra: float = 0.0

    @property
    def rate(self) -> float:
        """Things per second of wall time."""
        return self.count / self.seconds

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU for each thing."""
        return self.cpu / self.count * 1e6


def peak_memory() -> int:
    """The most memory that this process has held, in octets."""
    with contextlib.suppress(OSError):
        # Not what `getrusage` says: that begins with what the process that started this one had.
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
        if found is not None:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Let the peak be what there is now, where the system can do that (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class Stopwatch:
    """Wall and CPU time between `start` and `stop`; what a job uses around the part that counts."""

    def start(self) -> None:
        self._peak = peak_memory()
        forget_peak()
        self._memory = peak_memory()
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def stop(self, count: int) -> Figures:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        peak = peak_memory()
        return Figures(wall, cpu, count, max(peak, self._peak), peak - self._memory)


@dataclass(frozen=True)
class Job:
    """A function of `benchmarks.jobs` by its name, and its arguments, which must fit into JSON."""

    name: str
    function: str
    arguments: Mapping[str, Any]


#: The processors, by number, that the server and the client each keep to: two, where the machine has them.
SERVERS, CLIENTS = 0, -1


@contextlib.contextmanager
def on_processor(number: int) -> Iterator[None]:
    """What is started in here keeps to one processor, where the system can do that (Linux).

    Left to itself it puts two processes that take turns on one processor or on two, and changes its mind: the time of a
    flight then differs by the factor of three, whoever sends it.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(job: Job, processor: int = CLIENTS) -> Figures:
    """One job in a fresh process; `RuntimeError` with what it said if it failed."""
    command = [sys.executable, "-m", "benchmarks.jobs", job.function, json.dumps(dict(job.arguments))]
    with on_processor(processor):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{job.name}: {done.stderr[-2000:]}")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def measure(jobs: Sequence[Job], rounds: int = 0, processor: int = CLIENTS) -> dict[str, Figures]:
    """The medians of each job, by name, after `rounds` turns, or as many as there are to be."""
    found: dict[str, list[Figures]] = {job.name: [] for job in jobs}
    for _ in range(rounds or ROUNDS):
        for job in jobs:
            found[job.name].append(run(job, processor))
    return {name: middle(figures) for name, figures in found.items()}


def installed(*packages: str) -> bool:
    """True if the peers are there; a note for those that are not."""
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            print(f"({package} is not installed: pip install 'sansio-smtp[bench]')")
            return False
    return True


def program(name: str) -> str | None:
    """Where a program of Postfix is; None, with a note, where there is none.  Users may not have it in their path."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        print(f"({name} is not installed: it comes with Postfix)")
    return found


def middle(figures: Sequence[Figures]) -> Figures:
    """Each of the figures' medians; the count is the same in all."""

    def median(value: Callable[[Figures], float]) -> float:
        return statistics.median(map(value, figures))

    return Figures(
        median(lambda each: each.seconds),
        median(lambda each: each.cpu),
        figures[0].count,
        int(median(lambda each: each.peak)),
        median(lambda each: each.extra),
    )


class Table:
    """Rows of text under headings, printed as Markdown as they come."""

    def __init__(self, title: str, *headings: str) -> None:
        print(f"\n### {title}\n")
        self.row(*headings)
        print("|" + "---|" * len(headings), flush=True)

    def row(self, *cells: object) -> None:
        """Print one row."""
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def ratio(value: float) -> str:
    """A ratio, for a table."""
    return f"{value:.2f}x"


def verdict(value: float, target: float, *, at_most: bool = False) -> str:
    """A ratio beside its target, and whether it was met."""
    met = value <= target if at_most else value >= target
    sign = "<=" if at_most else ">="
    return f"{sign} {target:g} {'met' if met else 'NOT met'}"
