"""The whole battery, and how much of it each backend holds: `python -m tests.hostile`.

Arguments go to pytest: `python -m tests.hostile -k trio`.  A case is a test on a backend: what it does at every octet,
offset or line counts as one.  The exit status is 1 if a case does not hold.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from . import PROPERTY


class Tally:
    """A plugin of pytest's that keeps which cases hold, by the file that has them and by backend."""

    def __init__(self) -> None:
        self.cases: dict[tuple[str, str], dict[str, bool]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A case holds if nothing of it fails: what it leaves behind is found when it is over."""
        family = Path(report.location[0]).stem.removeprefix("test_").replace("_", " ")
        backend = str(dict(report.user_properties).get(PROPERTY, "blocking"))
        cases = self.cases[family, backend]
        cases[report.nodeid] = cases.get(report.nodeid, True) and report.outcome == "passed"

    def show(self) -> str:
        """A row for each family, a column for each backend, and the sums."""
        # Not before pytest runs: anyio has a plugin of pytest's, which wants to import it itself.
        from tests.conformance.backends import BACKENDS

        names = [backend.name for backend in BACKENDS]
        families = sorted({family for family, _ in self.cases})
        width = max(map(len, [*families, "family"]))
        lines = [f"{'family':{width}}" + "".join(f"  {name:>13}" for name in names)]
        lines += [
            f"{family:{width}}" + "".join(f"  {len(self.cases.get((family, name), {})):13}" for name in names)
            for family in families
        ]
        lines.append("")
        for name in names:
            held = [held for (_, backend), cases in self.cases.items() if backend == name for held in cases.values()]
            lines.append(f"{name:13} held {sum(held)} of {len(held)}")
        return "\n".join(lines)


def main(arguments: list[str]) -> int:
    tally = Tally()
    folder = Path(__file__).parent
    status = pytest.main([str(folder), "-q", "--no-header", *arguments], plugins=[tally])
    print(f"\n{tally.show()}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
