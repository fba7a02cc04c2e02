"""The server, and the number of points that were tried."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.certificates import authority
from tests.tallies import POINTS

ROOT = Path(__file__).parent.parent.parent


class Doors(NamedTuple):
    """The ports of the server that answers each line with itself."""

    plain: int
    secure: int


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    certificate = tmp_path_factory.mktemp("echo") / "certificate.pem"
    issued = authority().issue_cert("127.0.0.1", "localhost")
    certificate.write_bytes(issued.private_key_pem.bytes() + b"".join(each.bytes() for each in issued.cert_chain_pems))
    command = [sys.executable, "-m", "tests.cancellation.echo", str(certificate)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield Doors(*map(int, server.stdout.readline().split()))
        server.stdin.close()


@pytest.fixture
def points(request: pytest.FixtureRequest) -> list[str]:
    """Where to put the backend's name for each point at which it was cancelled; it is counted at the end of the run."""
    struck: list[str] = []
    request.node.user_properties.append((POINTS, struck))
    return struck
