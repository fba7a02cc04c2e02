"""The benchmarks: that each can be run, from its first row to its last kind of work, and prints a table."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks import (
    __main__,
    asynchronous,
    codecs,
    connections,
    counts,
    imports,
    large_messages,
    measuring,
    round_trips,
    throughput,
)
from tests.needs import needs_linux


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round, one thing at a time."""
    needs_linux()  # for the peak of memory, and for `/dev/stdout`
    run = measuring.run

    def small(job: measuring.Job, processor: int) -> measuring.Figures:
        least = {name: 1 for name in ("count", "connections") if name in job.arguments}
        return run(measuring.Job(job.name, job.function, {**job.arguments, **least}), processor)

    monkeypatch.setattr(measuring, "run", small)
    monkeypatch.setattr(measuring, "ROUNDS", 1)


def table(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The cells of all rows below the headings."""
    printed = capsys.readouterr().out
    rows = re.findall(r"^\|(?!-)(.*)\|$", printed, re.MULTILINE)
    assert rows, printed
    return [[cell.strip() for cell in row.split(" | ")] for row in rows]


# What is left of each: a row of every kind of work, the peers' where they are installed.
PARTS: list[tuple[ModuleType, dict[str, Any], int]] = [
    (
        round_trips,
        {
            "ROUND_TRIPS": (0.001,),
            "ROWS": round_trips.ROWS[2:3],
            "MANY": round_trips.MANY[:1],
            "ONCE": round_trips.ONCE[-1:],
        },
        1,
    ),
    (throughput, {"ROWS": throughput.ROWS[-2:], "POSTFIX_ROWS": [(2, 3)]}, 2),
    (asynchronous, {"ROWS": [asynchronous.ROWS[0], asynchronous.ROWS[-1]]}, 1),
    (large_messages, {"SIZE": 1 << 16, "ATTACHMENT": 1 << 16, "ROWS": large_messages.ROWS[:1]}, 5),
    (codecs, {"MESSAGES": {"base64, LF": codecs.MESSAGES["base64, LF"]}}, 2),
]


@pytest.mark.parametrize(("module", "changed", "least"), PARTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_part(
    module: Any,
    changed: dict[str, Any],
    least: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs to its end, and says something in every row."""
    for name, value in changed.items():
        assert hasattr(module, name), name
        monkeypatch.setattr(module, name, value)
    module.main()
    # The peers are in the extra `bench`: without them there is nothing to compare coroutines with.
    peers = module is not asynchronous or find_spec("aiosmtplib") is not None
    assert len(table(capsys)) >= (least if peers else 1)


def test_counts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts, without the tools, which take long."""
    monkeypatch.setattr("shutil.which", lambda name: None)
    counts.main()
    rows = table(capsys)
    ours = {row[0]: int(row[2]) for row in rows[1:]}
    assert 0 < ours["smtp_blocking"] < ours["smtplib"]


def test_imports(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each module's import is timed."""
    monkeypatch.setattr(imports, "ROUNDS", 1)
    imports.main()
    assert [row[0] for row in table(capsys)] == ["module", "smtplib", "smtp_proto", "smtp_blocking"]


def test_connections(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The small form that `python -m benchmarks` runs: both tables."""
    monkeypatch.setattr(connections, "SERVERS", connections.SERVERS[:1])
    monkeypatch.setattr(connections, "PEERS", [])
    connections.main(["--connections=2", "--messages=1"])
    assert len(table(capsys)) == 4


def test_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parts print is written to the page, below what stands there for people."""
    page = tmp_path / "performance.md"
    page.write_text(f"# For people\n\n{__main__.MARK}what was there\n")
    monkeypatch.setattr(__main__, "PAGE", page)
    monkeypatch.setattr(__main__, "PARTS", [lambda: print("a table")])  # noqa: T201  # that is what they do
    __main__.main()
    written = page.read_text()
    assert written.startswith("# For people\n")
    assert written.endswith("a table\n")
    assert "what was there" not in written
