"""The command as a process of its own: signals, pipes, the list of processes, and a real terminal."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smtp_blocking import SMTP, Server
from smtp_blocking.command.status import Status
from tests.needs import needs, needs_linux
from tests.scripted import Drain, Expect, ScriptedServer, Send, Signal, Step, WaitFor

COMMAND = (sys.executable, "-bb", "-W", "error", "-m", "smtp_blocking")


def test_standard_input_and_output_are_pipes() -> None:
    with Server() as server:
        done = subprocess.run(
            [*COMMAND, "send", "--host", server.host, "--port", str(server.port)],
            input=b"From: a@b.test\nTo: c@d.test\n\ngr\xc3\xbc\xc3\x9f\n",
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (Status.DONE, b"")
        assert server.messages[0].content.endswith(b"gr\xc3\xbc\xc3\x9f\r\n")


def test_a_reader_that_has_gone_away_changes_nothing(eml: Path) -> None:
    """With standard output a broken pipe the message is sent, the status says so, and there is no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with Server() as server:
        done = subprocess.run(
            [*COMMAND, "send", "--host", server.host, "--port", str(server.port), str(eml)],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (Status.DONE, b"")
        assert len(server.messages) == 1


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen(
        [*COMMAND, "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline().split()[-1])
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    """What was received is shown, nothing is said to standard error, and the status is 0."""
    with serving() as (process, port):
        with SMTP("127.0.0.1", port) as smtp:
            smtp.sendmail("a@b.test", "c@d.test", b"Subject: x\n\n")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (Status.DONE, "")
    assert "from <a@b.test> to <c@d.test>" in out


@pytest.mark.parametrize("secret", ["environment", "file"])
def test_the_list_of_processes_shows_no_password(secret: str, eml: Path, tmp_path: Path) -> None:
    """While it waits for the server, the password is not among its arguments."""
    needs_linux()
    (tmp_path / "password").write_text("sesame\n")
    environment = {**os.environ, "SMTP_PROTO_PASSWORD": "sesame"} if secret == "environment" else None
    option = ["--password-file", str(tmp_path / "password")] if secret == "file" else []
    asked, looked = threading.Event(), threading.Event()
    script: list[Step] = [
        *(Send(b"220 mx.test\r\n"), Expect(b"ehlo "), Send(b"250-mx.test\r\n250 AUTH PLAIN\r\n")),
        *(Expect(b"auth plain AGFkYQBzZXNhbWU="), Signal(asked), WaitFor(looked), Send(b"535 no\r\n"), Expect(b"quit")),
    ]
    with ScriptedServer(script, strict=False) as server:
        where = ["--host", server.host, "--port", str(server.port), "--user", "ada"]
        with subprocess.Popen(
            [*COMMAND, "send", *where, *option, str(eml)], env=environment, stderr=subprocess.DEVNULL
        ) as process:
            assert asked.wait(30)
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            looked.set()
    assert b"--user" in words
    assert not [word for word in words if b"sesame" in word]


def test_ctrl_c_is_quiet(eml: Path) -> None:
    connected = threading.Event()
    script: list[Step] = [Send(b"220 mx.test\r\n"), Expect(b"ehlo "), Signal(connected), Drain()]
    with ScriptedServer(script) as server:
        command = [*COMMAND, "send", "--host", server.host, "--port", str(server.port), str(eml)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert connected.wait(30)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == Status.INTERRUPTED


# -- a terminal -------------------------------------------------------------------------------------------------------


def on_a_terminal(arguments: list[str], answer: Callable[[bytes], bytes] = lambda shown: b"") -> tuple[int, bytes]:
    """Run the command with a terminal of its own for everything; `answer` is what is typed at what is shown."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        # In a session of its own: the terminal of whoever runs the tests is not asked for passwords.
        [*COMMAND, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = typed = b""
        try:
            while True:
                assert select.select([ours], [], [], 30)[0], f"it says no more than {shown!r}"
                try:
                    octets = os.read(ours, 65536)
                except OSError:  # how Linux says that the other end is closed
                    break
                if not octets:
                    break
                shown += octets
                wanted = answer(shown)
                if wanted != typed:
                    os.write(ours, wanted)
                    typed = wanted
        finally:
            os.close(ours)
    return process.returncode, shown


def test_a_terminal_shows_a_bar(tmp_path: Path) -> None:
    """A large message has a bar, which is gone when the result is written."""
    needs(sys.platform != "win32", "terminals")
    message = tmp_path / "large.eml"
    message.write_bytes(b"From: a@b.test\nTo: c@d.test\n\n" + (b"x" * 70 + b"\n") * 20_000)
    with Server() as server:
        status, shown = on_a_terminal(["send", "--host", server.host, "--port", str(server.port), str(message)])
    assert status == Status.DONE
    assert b"\r[" in shown
    assert b" % of 1420029 octets" in shown
    assert shown.index(b"accepted: <c@d.test>") > shown.rindex(b" % of ")


def test_a_terminal_is_asked_for_the_password(eml: Path) -> None:
    """The password is asked for, is not shown, and is what the server gets."""
    needs(sys.platform != "win32", "terminals")

    def answer(shown: bytes) -> bytes:
        return b"sesame\n" if b"Password of ada: " in shown else b""

    with Server(users={"ada": "sesame"}, cleartext_auth=True) as server:
        arguments = ["send", "--host", server.host, "--port", str(server.port), "--user", "ada", str(eml)]
        status, shown = on_a_terminal(arguments, answer)
        assert len(server.messages) == 1
    assert status == Status.DONE
    assert b"sesame" not in shown
