"""A mail server's processes, directory and ports: how they begin, and that nothing of them stays.

Theory of operation.  A server runs in the foreground as the leader of a session of its own, so that all that it forks
is in its process group, which can be killed as a whole.  It is asked to end, then made to; then the processes that work
in its directory are looked for (each of these servers changes to a directory inside it), for a helper may have left the
group.  This also happens when starting fails or a test is interrupted: it is the end of a ``with`` block.

A free port is found by binding it, and is free again until the server binds it.  If somebody else takes it in between,
the server ends at once, which is seen, and it is started anew with other ports.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests import certificates
from tests.needs import needs

HOST = "127.0.0.1"
#: Who owns what is delivered: every system has this user, and nothing else of the tests needs it.
OWNER = "nobody"

PATIENCE = 20.0  # seconds for a server to begin, or to deliver
_GRACE = 2.0  # seconds for a server to end by itself; Dovecot takes up to six, and nothing of it is wanted any more
_PAUSE = 0.01  # seconds between two looks at what there is no way to wait for
_ATTEMPTS = 3  # with other ports each time
# Whoever kills the tests before they can clean up (a runner that has waited too long) ends the servers with them: the
# guard's standard input is a pipe that ends when the tests do.  (What prctl's PR_SET_PDEATHSIG would do for a server is
# lost when it changes its user.)
_GUARD = 'cat; kill -s KILL -- "-$1"; rm -rf -- "$2"'


class Failed(Exception):
    """A server did not begin; the text has what it said."""


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Look until `condition` is true; False if it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def needs_server(program: str, package: str, user: str) -> str:
    """The path of a server's program, or the test is skipped: without it, without its user, or without being root."""
    needs(hasattr(os, "geteuid") and os.geteuid() == 0, "root (mail servers change to users of their own)")
    path = shutil.which(program)
    needs(path is not None, f"{program} (Debian: {package})")
    assert path is not None
    needs(_is_user(user), f"the user {user} (Debian: {package})")
    return path


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def free_ports(*names: str) -> dict[str, int]:
    """A port for each name; all are bound at the same time, so that no two are equal."""
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.create_server((HOST, 0))) for name in names}
        return {name: listener.getsockname()[1] for name, listener in sockets.items()}


@contextmanager
def directory(name: str) -> Iterator[Path]:
    """An empty directory that every user may pass through, gone at the end."""
    # Not pytest's tmp_path, which only its owner may enter; and short, for the path of a Unix socket has 107 octets.
    with tempfile.TemporaryDirectory(prefix=f"sansio-smtp-{name}-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


def owned(path: Path, owner: str = OWNER, group: str | None = None) -> Path:
    """A new directory that belongs to `owner`."""
    path.mkdir()
    shutil.chown(path, owner, group)
    return path


def write_certificate(path: Path, owner: str = "root") -> tuple[Path, Path]:
    """A certificate for the loopback interface that `certificates.client_context` trusts: its file, and its key's."""
    made = certificates.authority().issue_cert(*certificates.HOSTS)
    certificate, key = path / "certificate.pem", path / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.touch(mode=0o600)
    key.write_bytes(made.private_key_pem.bytes())
    shutil.chown(key, owner)
    return certificate, key


Prepared = tuple[Sequence[str | Path], Mapping[str, int], Path]


@contextmanager
def running(prepare: Callable[[], Prepared], work: Path) -> Iterator[Mapping[str, int]]:
    """A server that takes connections on all of its ports; gives their numbers.

    `prepare` writes the configuration with free ports, and returns the command that runs the server in the foreground,
    the ports, and the log.  `work` is the directory that all of its processes work in.
    """
    failure = ""
    for _ in range(_ATTEMPTS):
        command, ports, log = prepare()
        with log.with_name("output").open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=work,
                env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "HOME": str(work)},
                start_new_session=True,
            )
        try:
            with _guarded(process, work):
                if _ready(process, ports.values()):
                    yield ports
                    return
        finally:
            _stop(process, work)
        said = [path.read_text("utf-8", "replace")[-4000:] for path in (log.with_name("output"), log) if path.exists()]
        failure = "\n".join([f"{' '.join(map(str, command))} ended with {process.returncode}", *said])
    raise Failed(failure)


@contextmanager
def _guarded(process: subprocess.Popen[bytes], work: Path) -> Iterator[None]:
    """A guard for the time of the block, which ends the server if these tests are ended inside it."""
    guard = subprocess.Popen(
        ["sh", "-c", _GUARD, "sh", str(process.pid), work],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
    )
    try:
        yield
    finally:
        os.killpg(guard.pid, signal.SIGKILL)
        guard.communicate()


def _ready(process: subprocess.Popen[bytes], ports: Iterable[int]) -> bool:
    """True as soon as each port takes a connection; False if the server ends, or takes too long."""
    waiting = list(ports)

    def settled() -> bool:
        while waiting and _listens(waiting[-1]):
            waiting.pop()
        return not waiting or process.poll() is not None

    return until(settled) and process.poll() is None


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


# -- the end ----------------------------------------------------------------------------------------------------------


def _stop(process: subprocess.Popen[bytes], work: Path) -> None:
    """End the server and all that belongs to it; AssertionError if anything is left then."""
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    with suppress(ProcessLookupError):
        # Its group still has the process's number, also when the process itself is gone, as long as anyone is in it.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not _working_in(work, signal.SIGKILL))
    assert not _working_in(work), f"processes are left in {work}"


def _working_in(work: Path, send: signal.Signals | None = None) -> list[int]:
    """The processes whose working directory is inside `work`, with a signal to each if one is given."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            at = (entry / "cwd").readlink()
        except OSError:
            continue  # it has ended meanwhile, or is a thread of the kernel
        if at.is_relative_to(work):
            found.append(int(entry.name))
            if send is not None:
                with suppress(ProcessLookupError):
                    os.kill(int(entry.name), send)
    return found
