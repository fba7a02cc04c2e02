"""A transport that a user has written, five methods over raw octets: the whole surface over it, TLS included."""

from __future__ import annotations

import asyncio
import select
import smtplib
import socket
import ssl
from contextlib import suppress

import pytest

import smtp_anyio
import smtp_asyncio
import smtp_blocking
from smtp_proto.effects import Sent
from tests.certificates import client_context, server_context
from tests.scripted import Expect, ScriptedServer, Send, StartTLS, Step
from tests.scripts import PATIENCE

pytestmark = pytest.mark.usefixtures("_nothing_left_behind")


class Own:
    """Blocking, and as simple as can be."""

    def __init__(self, server: smtp_blocking.Server | ScriptedServer) -> None:
        self._sock = socket.create_connection((server.host, server.port))

    def connect(self, host: str, port: int, timeout: float | None) -> None:
        raise OSError("connected already")

    def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        self._sock.settimeout(timeout)
        self._sock.sendall(b"".join(chunks))
        return Sent(None, [])

    def receive(self, timeout: float | None) -> bytes:
        self._sock.settimeout(timeout)
        return self._sock.recv(65536)

    def poll(self) -> bytes | None:
        return self.receive(None) if select.select([self._sock], [], [], 0)[0] else None

    def close(self) -> None:
        self._sock.close()


class OwnOfAsyncio:
    """The same over asyncio's streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        raise OSError("connected already")

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        self._writer.writelines(chunks)
        async with asyncio.timeout(timeout):
            await self._writer.drain()
        return Sent(None, [])

    async def receive(self, timeout: float | None) -> bytes:
        async with asyncio.timeout(timeout):
            return await self._reader.read(65536)

    async def poll(self) -> bytes | None:
        return None  # these streams have no such look

    async def close(self) -> None:
        self.abort()
        with suppress(OSError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        self._writer.close()


def test_blocking() -> None:
    """Connecting, STARTTLS, a log-in and messages, over a transport that knows nothing of it."""
    with smtp_blocking.Server(tls_context=server_context(), users={"user": "pass"}) as server:
        own = Own(server)
        with smtp_blocking.SMTP("localhost", stream=own, timeout=PATIENCE) as smtp:
            assert smtp.sock is own
            smtp.starttls(context=client_context())
            smtp.login("user", "pass")
            assert smtp.sendmail("a@client.test", "b@mx.test", b"x\n" * 100_000) == {}
    assert len(server.messages) == 1


def test_blocking_tls_from_the_start() -> None:
    """`SMTP_SSL` takes one, too; a certificate that is not trusted ends it."""
    with smtp_blocking.Server(tls_context=server_context(), implicit_tls=True) as server:
        with smtp_blocking.SMTP_SSL(
            "localhost", stream=Own(server), context=client_context(), timeout=PATIENCE
        ) as smtp:
            smtp.sendmail("a@client.test", "b@mx.test", b"x")
        with pytest.raises(ssl.SSLCertVerificationError):
            smtp_blocking.SMTP_SSL("localhost", stream=Own(server), timeout=PATIENCE)
    assert len(server.messages) == 1


def test_blocking_injection_behind_starttls() -> None:
    """What comes in the clear behind the 220 is an attack over such a transport as well."""
    script: list[Step] = [
        Send(b"220 mx.test\r\n"),
        *(Expect(b"ehlo"), Send(b"250-mx.test\r\n250 STARTTLS\r\n")),
        *(Expect(b"starttls"), Send(b"220 go\r\n250 mx.test\r\n")),
        StartTLS(server_context(), refused=True),
    ]
    with ScriptedServer(script) as server:
        smtp = smtp_blocking.SMTP("localhost", stream=Own(server), timeout=PATIENCE)
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.starttls(context=client_context())


def test_blocking_silence() -> None:
    """A deadline ends it; the next use says that there is no connection, and `connect` then makes one of its own."""
    with smtp_blocking.Server() as server, ScriptedServer([Send(b"220 mx.test\r\n"), Expect(b"ehlo")]) as silent:
        smtp = smtp_blocking.SMTP(stream=Own(silent), timeout=0.1)
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.ehlo()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.noop()
        smtp.timeout = PATIENCE
        assert smtp.connect(server.host, server.port)[0] == 220
        smtp.quit()


@pytest.mark.parametrize("module", [smtp_asyncio, smtp_anyio], ids=["asyncio", "anyio"])
def test_asyncio(module: object) -> None:
    """The same for coroutines, in the two backends that run on asyncio's loop."""

    async def conversation(server: smtp_blocking.Server) -> None:
        own = OwnOfAsyncio(*await asyncio.open_connection(server.host, server.port))
        kind = smtp_asyncio.SMTP if module is smtp_asyncio else smtp_anyio.SMTP
        async with kind("localhost", stream=own, timeout=PATIENCE) as smtp:
            await smtp.starttls(context=client_context())
            await smtp.login("user", "pass")
            assert await smtp.sendmail("a@client.test", "b@mx.test", b"x\n" * 100_000) == {}

    with smtp_blocking.Server(tls_context=server_context(), users={"user": "pass"}) as server:
        asyncio.run(conversation(server))
    assert len(server.messages) == 1
