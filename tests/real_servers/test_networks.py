"""Networks that fail between every client and a real server: each message arrives once, or the client knows that it may
not have."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

import smtp_blocking
from smtp_proto.outcome import Fate
from tests.conformance.backends import BACKENDS, Backend
from tests.conformance.test_send_many import all_of
from tests.faults import Fault, Faulty
from tests.in_turn import in_turn
from tests.leaks import nothing_left_behind

from .doors import SENDER, TIMEOUT
from .mailboxes import MailServer, address, without_added
from .messages import BODIES, new_ident, with_header
from .processes import HOST

SERVERS = pytest.mark.parametrize("name", ["postfix", "exim"])
UPWARDS = pytest.mark.parametrize("upwards", [False, True], ids=["what the server says", "what the client says"])
USER = "user45"
HASTE = 0.5  # seconds: for what stalls


# One of each kind of transport: the others have one of these, under another loop.
KINDS = [backend for backend in BACKENDS if backend.name in ("blocking", "asyncio", "trio")]

backend = in_turn(KINDS)


class Try(NamedTuple):
    """A message and what its client was told of it."""

    ident: str
    delivered: bool
    doubtful: bool


def send(backend: Backend, proxy: Any, body: str = "dots", timeout: float = TIMEOUT) -> Try:
    """Send a message through the proxy."""
    ident = new_ident()
    delivered = doubtful = False
    try:
        client = backend.connect(proxy, timeout=timeout)
        try:
            assert client.sendmail(SENDER, address(USER), with_header(ident, BODIES[body]).sent) == {}
            delivered = True
            client.quit()
        finally:
            client.close()
    except smtp_blocking.SMTPServerDisconnected as error:
        doubtful = error.may_be_delivered
    except ConnectionError:
        pass  # it was never connected
    return Try(ident, delivered, doubtful)


def check(server: MailServer, tries: list[Try]) -> None:
    """What was delivered has arrived once, what may have been at most once, and nothing else at all."""
    # What comes behind all of them, straight to the server: when it is there, what they were is over.
    with smtp_blocking.SMTP(HOST, server.ports["plain"], timeout=TIMEOUT) as client:
        last = new_ident()
        client.sendmail(SENDER, address(USER), with_header(last, BODIES["plain"]).sent)
    server.message(USER, last)
    for each in tries:
        if each.delivered:
            server.message(USER, each.ident)  # waits for it, and fails if it is there twice
        else:
            assert len(server.messages(USER, each.ident)) <= int(each.doubtful), each
    # The log knows of those too that are taken, and not in their Maildir yet.
    idents = [each.ident for each in tries]
    certain = {each.ident for each in tries if each.delivered}
    assert set(server.order(certain, idents)) <= certain | {each.ident for each in tries if each.doubtful}


def length(backend: Backend, server: MailServer, *, upwards: bool) -> int:
    """The octets that a whole session has in one direction."""
    with Faulty(HOST, server.ports["plain"]) as proxy:
        assert send(backend, proxy).delivered
    return proxy.came[upwards]


@SERVERS
@UPWARDS
@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET], ids=lambda fault: fault.value)
def test_ended_anywhere(
    request: pytest.FixtureRequest, backend: Backend, name: str, fault: Fault, upwards: bool
) -> None:
    """Cut or reset, wherever it is: nothing twice, nothing lost that was reported, no doubt where there is none."""
    server: MailServer = request.getfixturevalue(name)
    tries = []
    with nothing_left_behind():
        for behind in range(len(backend.name), length(backend, server, upwards=upwards) + 1, 41):
            with Faulty(HOST, server.ports["plain"], fault, behind, upwards=upwards) as proxy:
                tries.append(send(backend, proxy))
        backend.settle()
    check(server, tries)


@SERVERS
@UPWARDS
def test_stalled_anywhere(request: pytest.FixtureRequest, backend: Backend, name: str, upwards: bool) -> None:
    """Nothing comes through any more: the client gives up, and knows what it does not know."""
    server: MailServer = request.getfixturevalue(name)

    def stalled(behind: int) -> Try:
        with Faulty(HOST, server.ports["plain"], Fault.STALL, behind, upwards=upwards) as proxy:
            return send(backend, proxy, timeout=HASTE)

    places = range(len(backend.name), length(backend, server, upwards=upwards), 67)
    with ThreadPoolExecutor(len(places)) as executor:
        tries = list(executor.map(stalled, places))
    check(server, tries)


@SERVERS
@UPWARDS
@pytest.mark.parametrize("fault", [Fault.DRIP, Fault.JOIN, Fault.MOVE], ids=lambda fault: fault.value)
@pytest.mark.parametrize("chunking", [False, "eager"])
def test_in_other_segments(
    request: pytest.FixtureRequest, backend: Backend, name: str, fault: Fault, upwards: bool, chunking: Any
) -> None:
    """Octet by octet, joined, or cut elsewhere: messages behind one another arrive as they were, once and in order."""
    server: MailServer = request.getfixturevalue(name)
    messages = [
        (new_ident(), body) for body in ("dots", "plain", "a dot at the end", "what looks like the end", "dots")
    ]
    sent = {ident: with_header(ident, BODIES[body]) for ident, body in messages}
    with (
        Faulty(HOST, server.ports["plain"], fault, upwards=upwards) as proxy,
        backend.connect(proxy, timeout=TIMEOUT, chunking=chunking) as client,
        backend.sending(client, [(SENDER, address(USER), each.sent) for each in sent.values()]) as sending,
    ):
        found = all_of(sending)
    assert [getattr(outcome, "fate", outcome) for outcome in found] == [Fate.DELIVERED] * len(sent)
    assert server.order(sent) == list(sent)
    for ident, message in sent.items():
        assert without_added(server.message(USER, ident)) == message.stored
