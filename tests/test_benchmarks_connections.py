"""The benchmark of many connections: that it measures, and checks what it says that it checks."""

from __future__ import annotations

import pytest

from benchmarks.connections import SERVERS, Costs, letter, measure, print_rows
from tests.needs import needs_linux


@pytest.mark.parametrize(
    ("client", "server"), [(SERVERS[0], SERVERS[3]), (SERVERS[2], SERVERS[5]), (SERVERS[5], SERVERS[2])]
)
def test_a_row(client: str, server: str) -> None:
    """Every message arrives once, and both processes say what they used."""
    needs_linux()  # for the peak of memory
    row = measure(client, server, connections=5, messages=2)
    assert row.server["messages"] == 10
    assert row.clients["seconds"] > 0
    assert min(row.clients["memory"], row.server["memory"]) > 1


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each row, with medians over the rounds, and the ratio to the first."""
    costs = {"one": [(2.0, 1.0, 40.0), (9.0, 9.0, 90.0), (1.0, 0.5, 30.0)], "another": [(3.0, 2.0, 50.0)] * 3}
    print_rows("Clients", list(costs), lambda name: Costs(*costs[name].pop(0)), rounds=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["| one | 2.00 | 1.00x | 1.00 | 40 |", "| another | 3.00 | 1.50x | 2.00 | 50 |"]
    assert letter("a@b.test")["From"] == "a@b.test"
