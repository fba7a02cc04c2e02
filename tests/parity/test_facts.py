"""Facts about sockets and the module that other people's code relies on; see `tests/conformance/test_facts.py`."""

from __future__ import annotations

import smtplib
import socket
from typing import Any

import pytest

import smtp_blocking
from tests.scripted import ScriptedServer
from tests.scripts import (
    BODY,
    DATA,
    DELIVERY,
    MAIL,
    MESSAGE,
    NOOP,
    PATIENCE,
    QUIT,
    RCPT,
    opening,
    turn,
)


def connect(server: ScriptedServer) -> smtp_blocking.SMTP:
    return smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE)


@pytest.mark.parametrize("how", ["send", "sendall"])
def test_octets_written_to_the_socket_itself_are_answered(how: str) -> None:
    """``client.sock.send(...)``, then `getreply`: the reply is the next one; the session goes on."""
    script = [*opening(), *turn(b"noop by hand", b"250 heard"), *NOOP, *QUIT]
    with ScriptedServer(script) as server, connect(server) as client:
        client.ehlo()
        getattr(client.sock, how)(b"NOOP by hand\r\n")
        assert client.getreply() == (250, b"heard")
        assert client.noop() == (250, b"2.0.0 ok")


def test_a_message_written_to_the_socket_itself() -> None:
    """``docmd("DATA")``, parts by ``client.sock.send``, `getreply`: the answer to the message."""
    script = [*opening(), *MAIL, *RCPT, *DATA, *BODY, *NOOP, *QUIT]
    with ScriptedServer(script) as server, connect(server) as client:
        client.ehlo()
        client.mail("a@client.test")
        client.rcpt("b@mx.test")
        assert client.docmd("DATA")[0] == 354
        for part in (b"Subject: x\r\n", b"\r\nhello\r\n", b".\r\n"):
            client.sock.send(part)
        assert client.getreply() == (250, b"2.0.0 queued")
        assert client.noop() == (250, b"2.0.0 ok")


def test_names_that_are_read_from_the_module() -> None:
    """`_MAXLINE` at import, `_have_ssl`, and `socket` through the module, as programs and their tests do."""
    for name in ("_MAXLINE", "_MAXCHALLENGE", "_have_ssl", "socket", "ssl", "sys"):
        assert getattr(smtp_blocking, name) == getattr(smtplib, name)


@pytest.mark.parametrize("kind", ["SMTP", "LMTP"])
def test_a_port_in_the_host_is_looked_at_only_without_another(kind: str) -> None:
    """``"host:port"`` is taken apart where the port is 0; LMTP's is 2003 unless it is given."""
    asked: list[tuple[Any, ...]] = []

    def get_socket(self: Any, host: str, port: int, timeout: Any) -> Any:
        asked.append((host, port))
        raise OSError("that is all")

    own = type("Own", (getattr(smtp_blocking, kind),), {"_get_socket": get_socket})
    for arguments in (("mx.test:25", 26), ("mx.test:25", 0), ("mx.test:25",)):
        with pytest.raises(OSError, match="that is all"):
            own(*arguments)
    assert asked == [
        ("mx.test:25", 26),
        ("mx.test", 25),
        ("mx.test:25", 2003) if kind == "LMTP" else ("mx.test", 25),
    ]


def test_get_socket_may_be_overridden() -> None:
    """A connection by other ways (a proxy, a file descriptor that was inherited) comes from `_get_socket`."""
    asked: list[tuple[Any, ...]] = []

    def get_socket(self: Any, host: str, port: int, timeout: Any) -> socket.socket:
        asked.append((host, port, timeout))
        return socket.create_connection((server.host, server.port), timeout)

    with ScriptedServer([*opening(), *DELIVERY, *QUIT]) as server:
        kind = type("Proxied", (smtp_blocking.SMTP,), {"_get_socket": get_socket})
        with kind("far.example", 2525, "client.test", PATIENCE) as client:
            assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
    assert asked == [("far.example", 2525, PATIENCE)]
