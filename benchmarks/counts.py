"""What one message costs, counted instead of timed: ``python -m benchmarks.counts``.

Python calls are those of Python functions and of built-in ones, as a profiler sees them.  System calls are counted by
strace and instructions (of the process, not of the kernel) by valgrind's cachegrind, each as the difference between a
process that sends more messages and one that sends fewer; where the tool is missing the column stays empty.  Calls come
out the same in every run, whatever else the machine does, and instructions nearly so: strings are hashed alike, and
the interpreter has seen enough of the code in both processes to have specialised it.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.jobs import HOST, NAME, SENDER, content, recipients
from benchmarks.measuring import Table, verdict
from benchmarks.sink import CHUNKING, PIPELINING, Offer, running_sink

RECIPIENTS = 10
FEWER, MORE = 10, 40
# As many for instructions: the interpreter must have seen enough of the code in both processes.
FEWER_INSTRUCTED, MORE_INSTRUCTED = 50, 200

# The library, what the server offers, how the client is made; and the targets for calls, system calls and instructions.
ROWS: list[tuple[str, Offer, dict[str, Any], tuple[float, float, float] | None]] = [
    ("smtplib", PIPELINING, {}, None),
    ("smtp_blocking", PIPELINING, {"timeout": None}, (250, 6, 0.3)),
    ("smtp_blocking", CHUNKING, {"timeout": None, "chunking": "eager"}, (250, 3, 0.3)),
]


def send(library: str, port: int, count: int, options: dict[str, Any]) -> None:
    """`count` messages over one connection."""
    smtp = connected(library, port, options)
    octets, paths = content(2048), recipients(RECIPIENTS)
    for _ in range(count):
        smtp.sendmail(SENDER, paths, octets)
    smtp.close()


def connected(library: str, port: int, options: dict[str, Any]) -> Any:
    return importlib.import_module(library).SMTP(HOST, port, local_hostname=NAME, **options)


def calls(library: str, port: int, options: dict[str, Any]) -> int:
    """Calls of Python functions and of built-in ones during the sending of one message."""
    smtp = connected(library, port, options)
    octets, paths = content(2048), recipients(RECIPIENTS)
    for _ in range(3):
        smtp.sendmail(SENDER, paths, octets)
    found = 0

    def see(_frame: object, event: str, _argument: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(see)
    smtp.sendmail(SENDER, paths, octets)
    sys.setprofile(None)
    smtp.close()
    return found - 1  # the call that ends the counting


def difference(counted: Callable[[int], int], fewer: int, more: int) -> float:
    """What one message more costs."""
    return (counted(more) - counted(fewer)) / (more - fewer)


def child(library: str, port: int, count: int, options: dict[str, Any]) -> list[str]:
    program = f"from benchmarks.counts import send; send({library!r}, {port}, {count}, {options!r})"
    return [sys.executable, "-c", program]


def system_calls(library: str, port: int, options: dict[str, Any]) -> float:
    """Those that one message in ten makes at least: that the process takes more memory, once, is not a message's."""

    def counted(count: int) -> Counter[str]:
        command = ["strace", "-f", "-c", "-o", "/dev/stdout", *child(library, port, count, options)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", said, re.MULTILINE)
        assert found, said
        return Counter({name: int(calls) for calls, name in found if name != "total"})

    more, fewer = counted(MORE), counted(FEWER)
    each = [(more[name] - fewer[name]) / (MORE - FEWER) for name in more]
    return sum(calls for calls in each if calls > 0.1)


def instructions(library: str, port: int, options: dict[str, Any]) -> float:
    def counted(count: int) -> int:
        tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        command = [*tool, *child(library, port, count, options)]
        alike = {**os.environ, "PYTHONHASHSEED": "0"}
        said = subprocess.run(command, capture_output=True, text=True, check=True, env=alike).stderr
        total = re.search(r"I\s+refs:\s+([\d,]+)", said)
        assert total is not None, said
        return int(total[1].replace(",", ""))

    return difference(counted, FEWER_INSTRUCTED, MORE_INSTRUCTED)


def main() -> None:
    table = Table(
        f"One message to {RECIPIENTS} recipients, counted",
        *("library", "server offers", "Python calls", "target", "system calls", "target", "million instructions"),
        "target",
    )
    for library, offer, options, targets in ROWS:
        with running_sink(offer) as port:
            cells: list[object] = [library, offer.name + (" (eager)" if "chunking" in options else "")]
            found = [
                float(calls(library, port, options)),
                system_calls(library, port, options) if shutil.which("strace") else None,
                instructions(library, port, options) / 1e6 if shutil.which("valgrind") else None,
            ]
            for value, digits, target in zip(found, (0, 0, 2), targets or (None, None, None), strict=True):
                cells.append("" if value is None else f"{value:.{digits}f}")
                cells.append("" if value is None or target is None else verdict(value, target, at_most=True))
            table.row(*cells)


if __name__ == "__main__":
    main()
