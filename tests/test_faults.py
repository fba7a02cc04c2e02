"""Networks that fail between every client and a server of ours: a message is delivered once, or the error says rightly
whether it may have been."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import smtp_blocking
from tests.conformance.backends import Backend
from tests.faults import Fault, Faulty
from tests.in_turn import in_turn
from tests.leaks import nothing_left_behind
from tests.scripts import MESSAGE

TIMEOUT = 0.5  # seconds: for what stalls
PATIENCE = 10.0  # and for what does not

backend = in_turn(scope="module")


@pytest.fixture(autouse=True)
def _nothing_left_behind(backend: Backend) -> Iterator[None]:
    with nothing_left_behind():
        yield
        backend.settle()


def send(backend: Backend, proxy: Faulty, message: bytes, timeout: float) -> tuple[bool, bool]:
    """One message through the proxy: whether it was reported as delivered, and whether that is in doubt."""
    delivered = False
    try:
        client = backend.connect(proxy, timeout=timeout)
        try:
            assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], message) == {}
            delivered = True
            client.quit()
        finally:
            client.close()
    except smtp_blocking.SMTPServerDisconnected as error:
        return delivered, error.may_be_delivered
    except OSError:
        return delivered, False  # it was never connected
    return delivered, False


def length(backend: Backend, message: bytes, *, upwards: bool) -> int:
    """The octets that a whole session has in one direction."""
    with smtp_blocking.Server() as server, Faulty(server.host, server.port) as proxy:
        assert send(backend, proxy, message, PATIENCE) == (True, False)
    return proxy.came[upwards]


@pytest.mark.parametrize("upwards", [False, True], ids=["what the server says", "what the client says"])
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET])
def test_ended_anywhere(backend: Backend, fault: Fault, upwards: bool) -> None:
    """Cut or reset behind any octet: never twice, never lost if it was reported, and no doubt where there is none."""
    outcomes = set()
    for behind in range(0, length(backend, MESSAGE, upwards=upwards) + 1, 13):
        with (
            smtp_blocking.Server() as server,
            Faulty(server.host, server.port, fault, behind, upwards=upwards) as proxy,
        ):
            delivered, doubtful = send(backend, proxy, MESSAGE, PATIENCE)
        arrived = len(server.messages)
        outcomes.add((delivered, doubtful, arrived))
        assert arrived <= 1
        assert arrived == 1 or not delivered
        assert delivered or doubtful or arrived == 0, behind
    assert (False, False, 0) in outcomes
    assert (True, False, 1) in outcomes


@pytest.mark.parametrize("upwards", [False, True], ids=["what the server says", "what the client says"])
def test_stalled_anywhere(backend: Backend, upwards: bool) -> None:
    """Nothing comes through any more: the client gives up after its time-out, and knows what it does not know."""
    for behind in range(0, length(backend, MESSAGE, upwards=upwards), 97):
        with (
            smtp_blocking.Server() as server,
            Faulty(server.host, server.port, Fault.STALL, behind, upwards=upwards) as proxy,
        ):
            delivered, doubtful = send(backend, proxy, MESSAGE, TIMEOUT)
        assert len(server.messages) <= 1
        assert len(server.messages) == 1 or not delivered
        assert delivered or doubtful or server.messages == [], behind


@pytest.mark.parametrize("upwards", [False, True], ids=["what the server says", "what the client says"])
@pytest.mark.parametrize("fault", [Fault.DRIP, Fault.JOIN, Fault.MOVE], ids=lambda fault: fault.value)
def test_in_other_segments(backend: Backend, fault: Fault, upwards: bool) -> None:
    """Octet by octet, joined, or cut elsewhere, the session is what it is otherwise, and a message what it was."""
    message = b"Subject: x\r\n\r\n" + b".dots\r\n..\r\n" * 200
    with (
        smtp_blocking.Server() as server,
        Faulty(server.host, server.port, fault, 0, upwards=upwards) as proxy,
    ):
        assert send(backend, proxy, message, PATIENCE) == (True, False)
    assert [received.content for received in server.messages] == [message]
