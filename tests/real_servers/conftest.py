"""The servers as fixtures, each begun when the first test asks for it, and the doors through which they take mail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .doors import DOORS, OpenDoor
from .dovecot import dovecot
from .exim import exim
from .mailboxes import MailServer
from .postfix import postfix


@pytest.fixture(scope="session", name="dovecot")
def the_dovecot() -> Iterator[MailServer]:
    """Dovecot, for the whole run: it takes a second to end."""
    with dovecot() as server:
        yield server


@pytest.fixture(scope="session", name="exim")
def the_exim() -> Iterator[MailServer]:
    """Exim, for the whole run."""
    with exim() as server:
        yield server
        assert "synchronization error" not in server.log.read_text("utf-8", "replace"), "something came before its turn"


@pytest.fixture(scope="session", name="postfix")
def the_postfix(dovecot: MailServer) -> Iterator[MailServer]:
    """Postfix, for the whole run: it takes two seconds to begin."""
    with postfix(dovecot.path.with_name("auth")) as server:
        yield server
        assert "improper command pipelining" not in server.log.read_text("utf-8", "replace")


@pytest.fixture(params=[True, False], ids=["pipelining", "one at a time"])
def pipelining(request: pytest.FixtureRequest) -> bool:
    """Both ways to send an envelope: at once, and command by command."""
    assert isinstance(request.param, bool)
    return request.param


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, pipelining: bool) -> OpenDoor:
    """Every way in to every server, with and without pipelining."""
    kind = DOORS[request.param]
    server = request.getfixturevalue(kind.server)
    assert isinstance(server, MailServer)
    return OpenDoor(kind, server, pipelining)
