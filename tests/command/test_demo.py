"""The command as a whole, and its demonstration."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from smtp_blocking.command.status import Status
from tests.command.conftest import Run


def check_demo(output: str) -> None:
    """The demonstration delivers three messages and shows no secret."""
    assert "3 messages arrived:" in output
    assert output.count("  from ada@example.org to grace@example.net") == 3
    assert "attached: octets.bin" in output
    assert "*: TLS established with localhost" in output
    assert re.search(r"C: (AUTH .*)?\*\*\*$", output, re.MULTILINE)  # the mechanism depends on what is installed
    assert "a password that you will not see below" not in output


def test_demo(run: Run) -> None:
    status, out, _ = run("demo")
    assert status == Status.DONE
    check_demo(out)


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


def test_what_fails_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    def fails(terminal: object) -> None:
        raise OSError("no port to be had")

    monkeypatch.setattr("smtp_blocking.command.demo._demonstrate", fails)
    assert run("demo") == (Status.SOFTWARE, "", "smtp-proto: no port to be had\n")


@pytest.mark.parametrize("arguments", [(), ("fly",), ("send", "--bcd", "x"), ("demo", "x")])
def test_a_wrong_call_is_said_in_one_line(arguments: tuple[str, ...], run: Run) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (Status.USAGE, "")
    assert err.startswith("smtp-proto: ")
    assert err.count("\n") == 1
    assert "--help says what there is" in err


@pytest.mark.parametrize("command", ["", "send", "serve", "probe", "demo"])
def test_every_command_explains_itself(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from smtp_blocking.command import main

    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"] if command else ["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: smtp-proto {command}".rstrip())
    if not command:
        for status in Status:
            assert f"{status:3d}  {status.meaning}" in out


def test_importing_the_package_does_not_load_the_command() -> None:
    """`import smtp_blocking` is for programs: what only the command needs is not loaded."""
    code = (
        "import sys, smtp_blocking; print({'argparse', 'smtp_blocking.command', 'mailbox', 'json'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
