"""Servers that fall silent, never come to an end, or take their time, at each reply of a session."""

from __future__ import annotations

import pytest

import smtp_blocking
from smtp_proto.states import Stage
from tests.conformance.backends import Backend
from tests.scripted import Drip, ExpectHangUp, Flood, ScriptedServer, Segments, Send, Step
from tests.scripts import PATIENCE

from .sessions import PLACES, SESSIONS, Progress, Session, all_at_once

AT_EVERY_REPLY = pytest.mark.parametrize(
    ("session", "number"),
    [pytest.param(*place, id=f"{place[0].name}: {place[0].exchanges[place[1]].name}") for place in PLACES],
)

# Seconds: enough for those of the replies before the stall that are waited for as it is, in all sessions at once.
TIMEOUT = 1.0

# Each never ends its reply.  Dripping, every read of the client is answered long before its time-out: only a deadline
# for the whole reply can end it.
STALLS: dict[str, list[Step]] = {
    "silent": [ExpectHangUp()],
    "half a line": [Send(b"25"), ExpectHangUp()],
    "a line of several": [Send(b"250-and\r\n"), ExpectHangUp()],
    "drips a line": [ExpectHangUp(Drip(b"250 " + b"x" * 8000, interval=0.05))],
    "drips lines": [ExpectHangUp(Segments(*[b"250-x\r\n"] * 1000, interval=0.05))],
}


@pytest.mark.parametrize("stall", STALLS)
def test_stall(backend: Backend, stall: str) -> None:
    """The time-out is for a reply as a whole: a server that never ends one is a lost connection, whatever it sends."""

    def run(session: Session, number: int) -> None:
        progress = Progress()
        timeouts = {**dict.fromkeys(Stage, PATIENCE), session.exchanges[number].stage: TIMEOUT}
        with (
            ScriptedServer([*session.before(number), *STALLS[stall]]) as server,
            pytest.raises(smtp_blocking.SMTPServerDisconnected) as raised,
        ):
            session.run(backend, server, timeouts, progress)
        name = session.exchanges[number].name
        assert "timed out" in str(raised.value)
        assert raised.value.may_be_delivered is (name == "message")
        assert progress.delivered is (name in ("NOOP", "QUIT"))

    all_at_once(run, PLACES)


# Each would fill the memory of a client that waits for the end.
FLOODS: dict[str, list[Step]] = {
    "endless line": [Flood(b"x" * 1000)],
    "endless line of a reply": [Send(b"250 "), Flood(b"x" * 1000)],
    "endless reply": [Flood(b"250-x\r\n")],
    "endless reply of long lines": [Flood(b"250-" + b"x" * 8000 + b"\r\n")],
}


@AT_EVERY_REPLY
@pytest.mark.parametrize("flood", FLOODS)
def test_flood(backend: Backend, session: Session, number: int, flood: str) -> None:
    """A line or a reply without end closes the connection after a bounded number of octets."""
    with (
        ScriptedServer([*session.before(number), *FLOODS[flood]]) as server,
        pytest.raises(smtp_blocking.SMTPException) as raised,
    ):
        session.run(backend, server, PATIENCE, Progress())
    if isinstance(raised.value, smtp_blocking.SMTPResponseException):
        assert raised.value.args == (500, "Line too long.")  # the words are `smtplib`'s
    else:
        assert isinstance(raised.value, smtp_blocking.SMTPServerDisconnected)


# Each breaks the framing: nobody can tell where the next reply begins.
NONSENSE = [
    b"\r\n",
    b"hello\r\n",
    b"2500 ok\r\n",
    b"+25 ok\r\n",
    b" 25 ok\r\n",
    b"25\r\n",
    b"250\tok\r\n",
    b"\xff\xfe\xfd\r\n",
    b"250-one\r\n251 two\r\n",
    b"250-one\r\nHTTP/1.1 400 Bad Request\r\n",
]


@AT_EVERY_REPLY
def test_nonsense(backend: Backend, session: Session, number: int) -> None:
    """What is no reply closes the connection, and is never skipped to find one behind it."""
    for nonsense in NONSENSE:
        script = [*session.before(number), Send(nonsense + b"250 ok\r\n"), ExpectHangUp()]
        progress = Progress()
        with (
            ScriptedServer(script) as server,
            pytest.raises(smtp_blocking.SMTPServerDisconnected) as raised,
        ):
            session.run(backend, server, PATIENCE, progress)
        name = session.exchanges[number].name
        assert raised.value.may_be_delivered is (name == "message")


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_slow_and_steady(backend: Backend, session: Session) -> None:
    """A server that is slow within the limits is served: every reply octet by octet."""
    script: list[Step] = []
    for exchange in session.exchanges:
        script += exchange.reads
        if exchange.reply:
            script.append(Drip(exchange.reply, interval=0.0005))
    progress = Progress()
    with ScriptedServer(script) as server:
        session.run(backend, server, PATIENCE, progress)
    assert progress.delivered
