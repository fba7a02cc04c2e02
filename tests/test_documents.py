"""Every example in the README, in `docs` and in `examples` runs as it is written."""

from __future__ import annotations

import re
import runpy
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

import smtp_blocking
from smtp_proto import Settings
from tests import certificates

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

# A fenced block, with the marker in the comment before it where it has one.
BLOCK = re.compile(r"(?:<!-- (\w+): ([\w ]+) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(text: str) -> dict[str, str]:
    """The marked blocks of a document by their marker; every Python block must have one."""
    found = {}
    for kind, name, language, code in BLOCK.findall(text):
        assert language not in ("python", "py") or kind == "example", f"an example without a marker:\n{code}"
        if kind:
            found[f"{kind}: {name}"] = code
    return found


EXAMPLES = blocks(README)


def run(name: str) -> dict[str, object]:
    namespace: dict[str, object] = {"__name__": "example"}
    exec(compile(EXAMPLES[name], f"README.md ({name})", "exec"), namespace)  # noqa: S102  # the point of this file
    return namespace


def test_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    # Host and port are those that a reader has to replace: here every connection leads to a server of ours, whose
    # certificate is good for that name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.authority().issue_cert("mail.example.org").configure_cert(context)
    monkeypatch.setattr(smtp_blocking, "default_ssl_context", certificates.client_context)
    settings = Settings(hostname="mail.example.org")
    with smtp_blocking.Server(tls_context=context, users={"ada@example.org": "password"}, settings=settings) as server:
        connect = socket.create_connection
        asked: list[tuple[str, int]] = []

        def redirected(address: tuple[str, int], *arguments: object, **options: object) -> socket.socket:
            if address != (server.host, server.port):  # the server's own, when it stops
                asked.append(address)
            return connect((server.host, server.port), timeout=10)

        monkeypatch.setattr(socket, "create_connection", redirected)
        namespace = run("example: script")
        assert asked == [("mail.example.org", 587)]
        assert namespace["refused"] == {}
        [message] = server.messages
        assert message.to == ("grace@example.net", "alan@example.net")
        assert message.content.endswith(b"\r\n\r\nIt works.\r\n")


def test_the_bare_socket() -> None:
    send = run("example: bare socket")["send"]
    assert callable(send)
    deliver_over_a_bare_socket(send)


def test_the_example_file_is_the_one_in_the_readme() -> None:
    path = ROOT / "examples" / "bare_socket.py"
    code = path.read_text()
    assert EXAMPLES["example: bare socket"].strip() == code[code.index("import socket") :].strip()
    deliver_over_a_bare_socket(runpy.run_path(str(path))["send"])


def deliver_over_a_bare_socket(send: Callable[..., object]) -> None:
    with smtp_blocking.Server() as server:
        with socket.create_connection((server.host, server.port), timeout=10) as sock:
            reply = send(sock, "ada@example.org", "grace@example.net", b"Subject: x\n\n.dot\n")
        assert str(reply).startswith("250 ")
        assert server.messages[0].content == b"Subject: x\r\n\r\n.dot\r\n"


def test_the_test_server(capsys: pytest.CaptureFixture[str]) -> None:
    run("example: server")
    assert capsys.readouterr().out == ("ada@example.org ('grace@example.net',) Subject: Hello\r\n\r\nIt works.\r\n\n")


def test_the_errors(capsys: pytest.CaptureFixture[str]) -> None:
    run("example: errors")
    # The comments in the example say what it prints.
    said = re.findall(r"print\(.*\)  # (.*)", EXAMPLES["example: errors"])
    assert capsys.readouterr().out.splitlines() == said


def test_every_example_has_a_test() -> None:
    assert set(EXAMPLES) == {
        "command: demo",
        "command: tests",
        "example: script",
        "example: bare socket",
        "example: server",
        "example: errors",
    }


def test_links_lead_somewhere() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
