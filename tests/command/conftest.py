"""The command run in this process, as people run it: arguments and standard input in, status and output out."""

from __future__ import annotations

import io
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from smtp_blocking.command import main
from tests import certificates


class Ended(NamedTuple):
    """How the command ended, and what it wrote."""

    status: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's owner has set is none of the tests' business."""
    for name in list(os.environ):
        if name.startswith("SMTP_PROTO_"):
            monkeypatch.delenv(name)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run_it(*arguments: object, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Ended(status, *capsys.readouterr())

    return run_it


@pytest.fixture
def cafile(tmp_path: Path) -> Path:
    """The authority of the tests' certificates, for --cafile."""
    path = tmp_path / "authority.pem"
    path.write_bytes(certificates.authority().cert_pem.bytes())
    return path


@pytest.fixture
def eml(tmp_path: Path) -> Path:
    """A message as a file."""
    path = tmp_path / "message.eml"
    path.write_bytes(b"From: Ada <ada@example.org>\nTo: grace@example.net\nSubject: Hello\n\nIt works.\n.dot\n")
    return path


class Caught(io.TextIOBase):
    """Standard output as a queue of writes; a pipe whose reader is gone when `broken`."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.written: queue.Queue[str] = queue.Queue()
        self.broken = False

    def write(self, text: str) -> int:
        if self.broken:
            raise BrokenPipeError(32, "Broken pipe")
        self.written.put(text)
        return len(text)

    def next(self) -> str:
        return self.written.get(timeout=10)


class Serving:
    """``smtp-proto serve`` in a thread, which must end by itself (--count) within the ``with`` block."""

    def __init__(self, *arguments: object) -> None:
        self.out = Caught()
        self.err = Caught()
        self.status: int | None = None
        words = ["serve", *map(str, arguments)]
        self._thread = threading.Thread(target=self._main, args=(words,), daemon=True)

    def _main(self, words: list[str]) -> None:
        self.status = main(words)
        self.out.written.put("")

    def __enter__(self) -> Self:
        # Here and not in a fixture: between those and the test pytest puts its own in their place.
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self.out, self.err
        self._thread.start()
        self.line = self.out.next()
        self.port = int(self.line.split()[-1])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self._thread.join(10)
        sys.stdout, sys.stderr = self._streams
        assert error is not None or not self._thread.is_alive()
