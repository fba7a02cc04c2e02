"""How long importing takes, beside `smtplib`: ``python -m benchmarks.imports``.

With the bytecode that installing leaves behind, wherever Python is told to keep it.
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.measuring import ROUNDS, Table, ratio, verdict

PROGRAM = """
import sys, time
start = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - start)
"""
TARGETS = {"smtp_proto": 1.0, "smtp_blocking": 1.8}


def seconds(module: str) -> float:
    """For one import in a fresh interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", PROGRAM, module]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return float(done.stdout)


def main() -> None:
    modules = ["smtplib", *TARGETS]
    found: dict[str, list[float]] = {module: [] for module in modules}
    for _ in range(ROUNDS * 4):
        for module in modules:
            found[module].append(seconds(module))
    table = Table("Importing", "module", "ms", "of smtplib's time", "target")
    of_smtplib = min(found["smtplib"])
    table.row("smtplib", f"{of_smtplib * 1e3:.1f}", "", "")
    for module, target in TARGETS.items():
        # The least: what is more was something else's, and an import is too short for a median to be of the import.
        least = min(found[module])
        table.row(
            module, f"{least * 1e3:.1f}", ratio(least / of_smtplib), verdict(least / of_smtplib, target, at_most=True)
        )


if __name__ == "__main__":
    main()
