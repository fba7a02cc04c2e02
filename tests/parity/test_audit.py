"""`sys.audit` hears of `smtp_blocking` what it hears of `smtplib`: where it connects to, and all that it sends."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import smtp_blocking
from tests.auditing import smtplib_events
from tests.certificates import client_context, server_context
from tests.needs import needs_unix_sockets
from tests.scripted import ScriptedServer, StartTLS, Step
from tests.scripts import DELIVERY, GREETING, MESSAGE, NOOP, PATIENCE, QUIT, hello, opening, turn


def joined(heard: list[tuple[str, tuple[Any, ...]]]) -> list[tuple[str, Any]]:
    """What was heard, with all that was sent in one go as one: into how many pieces it is cut is nobody's business."""
    found: list[tuple[str, Any]] = []
    for event, arguments in heard:
        if event != "smtplib.send":
            found.append((event, arguments))
        elif found and found[-1][0] == event:
            found[-1] = (event, found[-1][1] + arguments[0])
        else:
            found.append((event, arguments[0]))
    return found


def plain(module: Any, server: ScriptedServer) -> None:
    with module.SMTP(server.host, server.port, "client.test", PATIENCE) as client:
        client.login("user", "password")
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)


def secured(module: Any, server: ScriptedServer) -> None:
    with module.SMTP(server.host, server.port, "client.test", PATIENCE) as client:
        client.starttls(context=client_context())
        client.noop()


def local(module: Any, server: ScriptedServer) -> None:
    with module.LMTP(server.host, local_hostname="client.test", timeout=PATIENCE) as client:
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)


STARTTLS: list[Step] = [*turn(b"starttls", b"220 go"), StartTLS(server_context())]


@pytest.mark.parametrize(
    ("use", "script", "unix"),
    [
        (plain, [*opening("AUTH PLAIN"), *turn(b"auth plain", b"235 welcome"), *DELIVERY, *QUIT], False),
        (secured, [*opening("STARTTLS"), *STARTTLS, *NOOP, *QUIT], False),
        (local, [*GREETING, *hello(verb=b"lhlo"), *DELIVERY, *QUIT], True),
    ],
    ids=["plain", "STARTTLS", "LMTP over a Unix socket"],
)
def test_audit_events(use: Callable[[Any, ScriptedServer], None], script: list[Step], unix: bool) -> None:
    """The events `smtplib.connect` and `smtplib.send`, and their arguments, are those that `smtplib` raises."""
    if unix:
        needs_unix_sockets()
    found: dict[ModuleType, list[tuple[str, Any]]] = {}
    for module in (smtplib, smtp_blocking):
        with ScriptedServer(script, unix=unix) as server, smtplib_events() as heard:
            use(module, server)
            address = (server.host, server.port)
        # The one connects to this port, the other to that.
        found[module] = [(event, "here" if what == address else what) for event, what in joined(heard)]
    theirs, ours = found.values()
    assert len(theirs) == (1 if unix else 2)
    # Letter case of FROM: and TO: is that of the newest Python.
    assert [(event, what.lower() if isinstance(what, bytes) else what) for event, what in ours] == [
        (event, what.lower() if isinstance(what, bytes) else what) for event, what in theirs
    ]
