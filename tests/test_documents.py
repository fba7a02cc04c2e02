"""Every example in the README, in `docs` and in `examples` runs as it is written."""

from __future__ import annotations

import re
import runpy
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import smtp_blocking
from tests import documents
from tests.documents import PAGES, ROOT, World

EXAMPLES = documents.examples()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with documents.world(monkeypatch, tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs_and_prints_what_it_says(
    name: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    example = EXAMPLES[name]
    if example.apart:
        done = documents.run_apart(name)
        assert done.returncode == 0, done.stderr
        printed = done.stdout
    else:
        example.run()
        printed = capsys.readouterr().out
    if example.said:
        assert printed.splitlines() == example.said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_python_is_an_example(page: Path) -> None:
    assert documents.unmarked(page) == []


# -- what more is to be shown of some ---------------------------------------------------------------------------------


def test_the_script(world: World) -> None:
    namespace = EXAMPLES["script"].run()
    assert world.asked == [("mail.example.org", 587)]
    assert namespace["refused"] == {}
    [message] = world.messages
    assert message.to == ("grace@example.net", "alan@example.net")
    assert message.content.endswith(b"\r\n\r\nIt works.\r\n")


def test_the_bare_socket() -> None:
    send = EXAMPLES["bare socket"].run()["send"]
    assert callable(send)
    deliver_over_a_bare_socket(send)


def test_the_example_file_is_the_one_in_the_readme() -> None:
    path = ROOT / "examples" / "bare_socket.py"
    code = path.read_text()
    assert EXAMPLES["bare socket"].code.strip() == code[code.index("import socket") :].strip()
    deliver_over_a_bare_socket(runpy.run_path(str(path))["send"])


def deliver_over_a_bare_socket(send: Callable[..., object]) -> None:
    with smtp_blocking.Server() as server:
        with socket.create_connection((server.host, server.port), timeout=10) as sock:
            reply = send(sock, "ada@example.org", "grace@example.net", b"Subject: x\n\n.dot\n")
        assert str(reply).startswith("250 ")
        assert server.messages[0].content == b"Subject: x\r\n\r\n.dot\r\n"


def test_the_test_server(capsys: pytest.CaptureFixture[str]) -> None:
    EXAMPLES["server"].run()
    assert capsys.readouterr().out == "ada@example.org ('grace@example.net',) Subject: Hello\r\n\r\nIt works.\r\n\n"


def test_the_commands_that_others_rely_on_are_there() -> None:
    # .ci/run takes the second from here, tests/command/test_demo.py runs what the first does.
    assert {"demo", "tests"} <= set(documents.blocks(ROOT / "README.md", "command"))


@pytest.mark.parametrize("name", ["Django", "a backend for Django", "Flask-Mail", "logging"])
def test_a_framework_sends_its_message(name: str) -> None:
    done = documents.run_apart(name)
    assert done.returncode == 0, done.stderr
    [message] = done.stderr.splitlines()
    assert message.startswith("smtp_blocking: ada@example.org -> grace@example.net b'")
    assert re.search(r"\\r\\n\\r\\n(It works\.|No tea\.)", message)


# -- the reading of documents -----------------------------------------------------------------------------------------


def test_an_example_without_a_marker_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- example: a -->\n```python\n1\n```\n\n```python\n2\n```\n\n```text\n3\n```\n")
    assert documents.blocks(page, "example") == {"a": "1\n"}
    assert documents.unmarked(page) == ["2\n"]


def test_links_lead_somewhere() -> None:
    for path in (*PAGES, *ROOT.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
