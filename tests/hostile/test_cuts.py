"""Connections that end at any octet of what the server says: closed, reset, in clear and inside TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

import smtp_blocking
from tests.certificates import client_context, server_context
from tests.conformance.backends import Backend
from tests.faults import Fault, Faulty
from tests.scripted import Close, Reset, ScriptedServer, Send, Step
from tests.scripts import MESSAGE, PATIENCE

from .sessions import SESSIONS, STARTTLS, Progress, Session, connect


def every_cut(session: Session) -> Iterator[tuple[int, int, bytes]]:
    """The number of each reply, with each of its beginnings that is not all of it."""
    for number, exchange in session.replies():
        for length in range(len(exchange.reply)):
            yield number, length, exchange.reply[:length]


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_sessions_are_whole(backend: Backend, session: Session) -> None:
    """The sessions go well when nothing is cut."""
    progress = Progress()
    with ScriptedServer(session.script()) as server:
        session.run(backend, server, PATIENCE, progress)
    assert progress.delivered


CUTS = [
    *[pytest.param(session, Close(), id=f"{session.name} closed") for session in SESSIONS],
    *[pytest.param(session, Reset(), id=f"{session.name} reset") for session in SESSIONS],
    pytest.param(STARTTLS, Close(close_notify=False), id="STARTTLS truncated"),
]


#: Where it is cut at every octet: once without a loop, and once in one.  The others are cut at every seventh, each at
#: its own; what they have of their own is the transport, and that sees few differences between octets.
ALL_CUTS = ("blocking", "asyncio")


def cuts_for(backend: Backend, session: Session) -> list[tuple[int, int, bytes]]:
    """The cuts that are made in a session on a backend."""
    cuts = list(every_cut(session))
    return cuts if backend.name in ALL_CUTS else cuts[len(backend.name) % 7 :: 7]


@pytest.mark.parametrize(("session", "end"), CUTS)
def test_every_octet(backend: Backend, session: Session, end: Step) -> None:
    """Wherever it is cut: SMTPServerDisconnected, and a delivery is one only if its reply was whole."""
    last = next(number for number, exchange in session.replies() if exchange.name == "message")
    for number, length, part in cuts_for(backend, session):
        progress = Progress()
        script = [*session.before(number), *([Send(part)] if part else []), end]
        # A reset that comes at once may find a client that is still in its connect().
        at_once = [ConnectionResetError] if end == Reset() and number == 0 else []
        with (
            ScriptedServer(script) as server,
            pytest.raises((smtp_blocking.SMTPServerDisconnected, *at_once)) as raised,
        ):
            session.run(backend, server, PATIENCE, progress)
        assert progress.delivered is (number > last), (number, length)
        assert progress.client is None or progress.client.sock is None
        if isinstance(raised.value, smtp_blocking.SMTPServerDisconnected):
            assert raised.value.may_be_delivered is (number == last), (number, length)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
@pytest.mark.parametrize("end", [Close(), Reset()], ids=["closed", "reset"])
def test_between_replies(backend: Backend, session: Session, end: Step) -> None:
    """Ended behind a whole reply: what that reply said holds, and what comes next is SMTPServerDisconnected."""
    last = next(number for number, exchange in session.replies() if exchange.name == "message")
    for number, exchange in session.replies():
        if exchange.name in ("greeting", "STARTTLS", "QUIT"):
            continue  # before the first is the connect(), behind the second a handshake, behind the third nothing
        progress = Progress()
        script = [*session.before(number), Send(exchange.reply), end]
        with (
            ScriptedServer(script, strict=False) as server,
            pytest.raises(smtp_blocking.SMTPServerDisconnected) as raised,
        ):
            session.run(backend, server, PATIENCE, progress)
        assert progress.delivered is (number >= last)
        # Behind the 354 the message was written into a connection whose end had not arrived yet, or into a broken one.
        assert exchange.name in ("DATA", "envelope") or not raised.value.may_be_delivered


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit TLS"])
def test_every_place_under_tls(backend: Backend, implicit: bool) -> None:
    """Cut in the ciphertext, handshake included: an OSError of the handshake, or SMTPServerDisconnected; no hang."""

    def deliver(network: Faulty) -> bool:
        client = connect(backend, network, implicit)
        try:
            if not implicit:
                client.starttls(context=client_context())
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
            delivered[-1] = True
            client.quit()
        finally:
            client.close()
        return True

    # Certificates and session tickets make it some thousand octets; a stride that is prime to all lengths of records
    # falls into each of their parts.
    delivered = []
    failures: list[BaseException] = []
    with smtp_blocking.Server(tls_context=server_context(), implicit_tls=implicit) as server:
        octets, whole = 0, False
        while not whole:
            delivered.append(False)
            with Faulty(server.host, server.port, Fault.CUT, octets) as network:
                try:
                    whole = deliver(network)
                except (smtp_blocking.SMTPServerDisconnected, ssl.SSLError, ConnectionError) as error:
                    failures.append(error)
            octets += 41 if backend.name in ALL_CUTS else 163
    assert len(server.messages) >= sum(delivered) > 0
    # Raw errors are those of the handshake only, before anything could be delivered.
    raw = [not isinstance(failure, smtp_blocking.SMTPServerDisconnected) for failure in failures]
    assert any(raw)
    assert not any(was_raw and done for was_raw, done in zip(raw, delivered, strict=False))
