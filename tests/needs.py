"""What some machines lack: the tests that need it are skipped, with the reason; where CI is set they fail instead."""

from __future__ import annotations

import os
import shutil
import socket
import sys

import pytest


def needs(present: bool, what: str) -> None:
    """Skip the test unless `present`; fail it instead where the environment variable CI is set."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{what} must be there where CI is set")
    pytest.skip(f"needs {what}")


def needs_program(name: str, package: str) -> None:
    """A program, found by the PATH."""
    needs(shutil.which(name) is not None, f"{name} (Debian: apt-get install {package})")


def needs_linux() -> None:
    """What only Linux does, or promises."""
    needs(sys.platform == "linux", "Linux")


def needs_ipv6() -> None:
    """The loopback address of IPv6."""
    needs(can_listen("::1", socket.AF_INET6), "IPv6 on the loopback interface")


def needs_unix_sockets() -> None:
    """Sockets with a path."""
    needs(hasattr(socket, "AF_UNIX"), "Unix sockets")


def can_listen(host: str, family: socket.AddressFamily = socket.AF_INET, port: int = 0) -> bool:
    """True if a socket can be bound to `host`, and to `port` if that is given."""
    try:
        with socket.create_server((host, port), family=family):
            return True
    except OSError:
        return False
