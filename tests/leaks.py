"""What a test must not leave behind: threads, and open sockets."""

from __future__ import annotations

import gc
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 10.0  # seconds for a thread to end, and for a socket that is being closed

# Threads in which event loops look up names, and which they keep.
_OF_LOOPS = ("asyncio_", "Trio thread")

# Each entry is one descriptor of this process.
_DESCRIPTORS = "/proc/self/fd"
_LISTED = Path(_DESCRIPTORS).is_dir()


def open_sockets() -> set[int]:
    """The sockets that this process has open, by the numbers that the system gives them; none where it does not say."""
    found: set[int] = set()
    # Before and behind each of thousands of tests, so no more than is needed is asked for.
    for name in os.listdir(_DESCRIPTORS) if _LISTED else ():  # noqa: PTH208  # names are all that is wanted
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # the descriptor that this loop lists them with
        if stat.S_ISSOCK(status.st_mode):
            found.add(status.st_ino)
    return found


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """AssertionError if there are threads or open sockets behind the block that were not there before it."""
    threads, sockets = set(threading.enumerate()), open_sockets()
    yield
    for thread in set(threading.enumerate()) - threads:
        if thread.name.startswith(_OF_LOOPS):
            continue
        thread.join(PATIENCE)  # one that has done its work may be about to end
        assert not thread.is_alive(), thread
    if open_sockets() - sockets:
        # The traceback of an exception that was caught may hold one.  One that was never closed is a ResourceWarning
        # when it is collected, and that is an error too.
        gc.collect()
    deadline = time.monotonic() + PATIENCE
    while (left := open_sockets() - sockets) and time.monotonic() < deadline:
        # Nothing tells when another thread, the C library's in a lookup for instance, is done with it: this is a look
        # again and no synchronisation, for only the end of PATIENCE decides.
        time.sleep(0.005)
    assert not left, described(left)


def described(sockets: set[int]) -> list[str]:
    """What the system says of these sockets: protocol, addresses and state, each as it is in /proc/net."""
    numbers = set(map(str, sockets))
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6", "unix", "netlink"):
        path = Path("/proc/net", table)
        rows = path.read_text("ascii").splitlines() if path.exists() else []
        found += [f"{table}: {row}" for row in rows if numbers & set(row.split())]
    return [*found, *sorted(numbers)]
