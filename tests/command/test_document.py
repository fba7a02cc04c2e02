"""`docs/command.md` says what is so: its commands run, and it names every option, variable and exit status."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtp_blocking import command
from smtp_blocking.command.status import Status
from tests import documents
from tests.command.conftest import Ended, Run
from tests.documents import World

PAGE = documents.ROOT / "docs" / "command.md"
TEXT = PAGE.read_text(encoding="utf-8")
SHELL = documents.blocks(PAGE, "shell")


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from options_of(sub)
        yield from action.option_strings


OPTIONS = set(options_of(command._parser()))


def test_every_option_is_in_the_document_and_no_other() -> None:
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", re.sub(r"\]\([^)]*\)", "", TEXT)))
    others = {"-m"}  # of the shell's commands around it
    assert named - others <= OPTIONS
    assert OPTIONS - {"-h"} <= named


def test_every_variable_is_in_the_document_and_no_other() -> None:
    sources = (Path(path).read_text(encoding="utf-8") for path in Path(command.__file__).parent.glob("*.py"))
    used = {
        name
        for source in sources
        for name in re.findall(r'variable\("([A-Z]+)"\)|from_environment\("([A-Z]+)"\)', source)
    }
    names = {"SMTP_PROTO_" + "".join(pair) for pair in used} | {"SMTP_PROTO_PASSWORD"}
    assert set(re.findall(r"SMTP_PROTO_[A-Z]+", TEXT)) == names


def test_the_exit_statuses_are_those_of_the_command() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", TEXT, re.MULTILINE)
    assert rows == [(str(int(status)), status.meaning) for status in Status]


def test_there_are_examples_of_all_that_can_be_run() -> None:
    assert set(SHELL) == {"file", "envelope", "options", "log-in", "probe"}


def play(line: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> Ended | None:
    """One line of a shell, as far as the document goes: export, echo into a pipe, standard input from a file."""
    stdin = b""
    if line.startswith("export "):
        for name, value in (word.split("=", 1) for word in shlex.split(line)[1:]):
            monkeypatch.setenv(name, value)
        return None
    if line.startswith("echo "):
        said, line = line.split(" | ")
        stdin = shlex.split(said)[1].encode() + b"\n"
    if " < " in line:
        line, file = line.split(" < ")
        stdin = Path(file).read_bytes()
    program, *words = shlex.split(line)
    assert program == "smtp-proto"
    return run(*words, stdin=stdin)


@pytest.mark.parametrize("name", SHELL)
def test_the_examples_run(name: str, run: Run, eml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "password").write_text("password\n")
    commands = 0
    with documents.world(monkeypatch, tmp_path) as world:
        assert isinstance(world, World)
        for line in SHELL[name].replace("\\\n", "").splitlines():
            ended = play(line, run, monkeypatch)
            if ended is not None:
                commands += 1
                assert (ended.status, ended.err) == (Status.DONE, ""), line
        assert world.messages or name == "probe"
        assert len(world.messages) == (0 if name == "probe" else commands)
