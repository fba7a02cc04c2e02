"""All benchmarks, one after the other; what they print becomes ``docs/performance.md``: ``python -m benchmarks``."""

from __future__ import annotations

import contextlib
import io
import platform
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import asynchronous, codecs, connections, counts, imports, large_messages, round_trips, throughput
from benchmarks.measuring import ROUNDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
PARTS: list[Callable[[], None]] = [
    round_trips.main,
    throughput.main,
    asynchronous.main,
    # A thousand connections, which are the default there, take minutes.
    partial(connections.main, ["--connections=100", "--messages=10", f"--rounds={ROUNDS}"]),
    large_messages.main,
    counts.main,
    codecs.main,
    imports.main,
]
MARK = "<!-- figures -->\n"


class Both(io.StringIO):
    """Kept and shown."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)  # type: ignore[union-attr]  # this is a command: there is one
        sys.__stdout__.flush()  # type: ignore[union-attr]
        return super().write(text)


def processor() -> str:
    """The name of the processor, where the system tells."""
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        if found is not None:
            return found[1]
    return platform.processor() or platform.machine()


def main() -> None:
    start = time.monotonic()
    said = Both()
    with contextlib.redirect_stdout(said):
        for part in PARTS:
            part()
    seconds = time.monotonic() - start
    print(f"\n{seconds:.0f} seconds in all")
    before, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{PAGE} has no line {MARK!r}"
    where = f"Python {platform.python_version()}, {platform.system()}, {processor()}; {seconds:.0f} seconds in all."
    PAGE.write_text(f"{before}{mark}\n{where}\n{said.getvalue()}", encoding="utf-8")


if __name__ == "__main__":
    main()
