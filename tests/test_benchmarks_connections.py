"""The benchmark of many connections: that it measures, and checks what it says that it checks."""

from __future__ import annotations

import pytest

from benchmarks.connections import SERVERS, letter, measure, print_rows
from tests.needs import needs_linux


@pytest.mark.parametrize("client", [SERVERS[0], SERVERS[2]])
def test_a_row(client: str) -> None:
    """Every message arrives once, and both processes say what they used."""
    needs_linux()  # for the peak of memory
    row = measure(client, SERVERS[3], connections=5, messages=2)
    assert row.server["messages"] == 10
    assert row.clients["seconds"] > 0
    assert min(row.clients["memory"], row.server["memory"]) > 1


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each row, with the ratio to the first."""
    figures = {"one": (2.0, 40.0), "another": (3.0, 50.0)}
    print_rows("Clients", list(figures), figures.__getitem__)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["| one | 2.00 | 1.00x | 40 |", "| another | 3.00 | 1.50x | 50 |"]
    assert letter("a@b.test")["From"] == "a@b.test"
