"""`sys.audit` hears of `smtp_blocking` what it hears of `smtplib`: where it connects to, and all that it sends."""

from __future__ import annotations

import smtplib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import smtp_blocking
from tests.certificates import client_context, server_context
from tests.needs import needs_unix_sockets
from tests.scripted import ScriptedServer, StartTLS, Step
from tests.scripts import DELIVERY, GREETING, MESSAGE, NOOP, PATIENCE, QUIT, hello, opening, turn

# An audit hook cannot be taken away again, so there is one for all, and it listens only when it is asked to.
heard: list[tuple[str, Any]] = []
listening = False


def listen(event: str, arguments: tuple[Any, ...]) -> None:
    if not listening or not event.startswith("smtplib."):
        return
    if event == "smtplib.send" and heard and heard[-1][0] == event:
        heard[-1] = (event, heard[-1][1] + arguments[1])  # into how many pieces it is cut is nobody's business
    else:
        heard.append((event, arguments[1] if event == "smtplib.send" else arguments[1:]))


sys.addaudithook(listen)


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
    global listening  # noqa: PLW0603  # as there is one hook for all
    if unix:
        needs_unix_sockets()
    found: dict[ModuleType, list[tuple[str, Any]]] = {}
    for module in (smtplib, smtp_blocking):
        with ScriptedServer(script, unix=unix) as server:
            heard.clear()
            listening = True
            try:
                use(module, server)
            finally:
                listening = False
            address = (server.host, server.port)
        # The one connects to this port, the other to that.
        found[module] = [(event, "here" if what == address else what) for event, what in heard]
    theirs, ours = found.values()
    assert len(theirs) == (1 if unix else 2)
    # Letter case of FROM: and TO: is that of the newest Python.
    assert [(event, what.lower() if isinstance(what, bytes) else what) for event, what in ours] == [
        (event, what.lower() if isinstance(what, bytes) else what) for event, what in theirs
    ]
