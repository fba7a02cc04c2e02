"""`tls="required"` for a socket that is handed in: by hand, too, nothing of worth goes out in the clear."""

from __future__ import annotations

import socket

import pytest

import smtp_blocking
from tests.certificates import client_context, server_context
from tests.conformance.backends import Backend
from tests.scripted import ScriptedServer, Send, StartTLS
from tests.scripts import DELIVERY, MESSAGE, QUIT, hello, turn

READY = turn(b"starttls\r\n", b"220 2.0.0 go ahead")


def test_required_for_what_is_handed_in(backend: Backend) -> None:
    """A connection that was handed in has no greeting of ours: until `starttls` nothing of worth is sent over it."""
    start = [Send(b"220 mx.test\r\n"), *hello("STARTTLS", "AUTH PLAIN")]
    script = [*start, *READY, StartTLS(server_context()), *hello(), *DELIVERY, *QUIT]
    with ScriptedServer(script) as server:
        client = smtp_blocking.SMTP(tls="required", local_hostname="client.test", server_hostname=server.host)
        client.sock = socket.create_connection((server.host, server.port), timeout=10)
        client.sock.recv(100)
        client.ehlo()
        for call in (
            lambda: client.mail("a@client.test"),
            lambda: client.docmd("MAIL", "FROM:<a@client.test>"),
            lambda: client.docmd("XAUTH", "c2VjcmV0"),
            lambda: client.send(b"MAIL FROM:<a@client.test>\r\n"),
            lambda: client.login("user", "password"),
            lambda: client.auth("PLAIN", client.auth_plain),
            lambda: client.sendmail("a@client.test", "b@mx.test", MESSAGE),
            lambda: client.deliver(MESSAGE, "a@client.test", "b@mx.test"),
        ):
            with pytest.raises(smtp_blocking.SMTPException, match="TLS is required"):
                call()
        client.starttls(context=client_context())
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        client.quit()
    assert server.received[:2] == [b"ehlo client.test\r\n", b"STARTTLS\r\n"]
