"""Listening sockets, which are the same in every world: what differs is how one waits for who connects."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress

# Connections that may wait to be accepted; the system has a bound of its own (Linux: 4096).
BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address, or on a Unix socket where `host` begins with "/"; `OSError` if it is taken.

    The file of a Unix socket on which nobody listens any more is replaced.
    """
    if not host.startswith("/"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    _remove_if_deserted(host)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(host)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Host and port; of a Unix socket its path, and 0."""
    name = listener.getsockname()
    return (name[0], name[1]) if isinstance(name, tuple) else (name, 0)


def close(listener: socket.socket) -> None:
    """Close it, and remove its file where it has one; nothing where that was done before."""
    if listener.fileno() < 0:
        return
    name = listener.getsockname()
    listener.close()
    if isinstance(name, str):
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108  # a path as the system has it


def _remove_if_deserted(path: str) -> None:
    with suppress(FileNotFoundError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116  # as above
            return
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return  # somebody does, and is busy
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108
