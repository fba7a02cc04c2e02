"""The command `smtp-proto`, run as people run it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from smtp_blocking.command import main


def check_demo(output: str) -> None:
    """The demonstration delivers three messages and shows no secret."""
    assert "3 messages arrived:" in output
    assert output.count("  from ada@example.org to grace@example.net") == 3
    assert "attached: octets.bin" in output
    assert "*: TLS established with localhost" in output
    assert "C: AUTH PLAIN ***" in output
    assert "a password that you will not see below" not in output


def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    check_demo(capsys.readouterr().out)


def test_demo_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-bb", "-W", "error", "-m", "smtp_blocking", "demo"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    check_demo(done.stdout)


def test_no_command_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "usage: smtp-proto" in capsys.readouterr().err


def test_what_fails_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> int:
        raise OSError("no port to be had")

    monkeypatch.setattr("smtp_blocking.command.demo", fails)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == "smtp-proto: no port to be had\n"
