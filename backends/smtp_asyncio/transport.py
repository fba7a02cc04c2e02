"""Octets over asyncio's own transports, of asyncio's loops and of uvloop's.

Theory of operation.  `StreamTransport` is the protocol that the loop tells what happens, and the transport that the
driver awaits.  What arrives is kept until somebody takes it, and reading is paused when that is more than `PIECE`: so
memory is bounded.  Writing hands a piece to the loop and waits until it is out.  One task at a time waits, for whatever
happens next; its deadline is a timer of the loop, so a cancellation loses nothing.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from smtp_proto.effects import Sent
from smtp_proto.states import Stage
from smtp_surface.alarm import Alarm
from smtp_surface.driver import LARGE
from smtp_surface.looks import Looks, looks_at
from smtp_surface.sockets import look_at, open_socket

from . import tasks

# Octets kept unread before the peer has to wait, what one read may bring, and what the loop is given at a time.
PIECE = 65536
LOOKS = 32  # rounds of the loop in which a server on the same machine has answered

# Where a loop reads into: it is emptied before the loop turns to another connection, so one serves all, and an idle
# connection holds none.
_read_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, bytearray] = WeakKeyDictionary()


class StreamTransport(asyncio.BufferedProtocol):
    """A connection, or one to be made by `connect`; raises nothing but `OSError` and `CancelledError`."""

    def __init__(self, source_address: tuple[str, int] | None = None) -> None:
        self._source_address = source_address
        self.sock: Any = None  # asyncio's view of it, for people to look at
        self._transport: Any = None  # an `asyncio.Transport`; uvloop's has its methods, and is none
        self._arrived = bytearray()
        self._asked: Looks | None = None  # by `attempt`, for what
        self._paused = False  # the loop has been told not to read
        self._writable = True
        self._ended = False  # the peer sends no more
        self._lost: OSError | None = None  # why the connection is over
        self._waiter: asyncio.Future[None] | None = None
        self._writer: asyncio.StreamWriter | None = None  # kept, for it closes its transport when it is collected

    @classmethod
    async def of_socket(cls, sock: socket.socket) -> StreamTransport:
        """Over a socket that is connected."""
        self = cls()
        sock.setblocking(False)
        await self._over(sock)
        return self

    async def _over(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        unix = sock.family == getattr(socket, "AF_UNIX", None)  # which uvloop has a way of its own for
        try:
            await (loop.create_unix_connection if unix else loop.create_connection)(lambda: self, sock=sock)
        except BaseException:
            if self._transport is None:
                sock.close()
            raise

    @classmethod
    async def of_streams(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> StreamTransport:
        """Over what a pair of asyncio's streams is connected to; they are of no use after that."""
        self = cls()
        self._writer = writer
        self._ended = reader.at_eof()
        writer.transport.set_protocol(self)
        self.connection_made(writer.transport)
        reader.feed_eof()  # nothing more comes there, so that this waits for nothing:
        self._arrived += await reader.read()
        self._connection().resume_reading()  # which the reader pauses when it has much
        return self

    # -- what the loop calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._buffer = _read_buffers.get(self._loop) or _read_buffers.setdefault(self._loop, bytearray(PIECE))
        self._alarm = Alarm(self._loop, self._wake)
        self.interrupt = self._alarm.ring
        self._transport.set_write_buffer_limits(0)  # `resume_writing` then says that all is out
        self._look = look_at(self._transport)
        self.sock = transport.get_extra_info("socket")
        self._looks = looks_at(self.sock, LOOKS)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._arrived += memoryview(self._buffer)[:nbytes]
        if len(self._arrived) >= PIECE and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return True  # the other direction stays open

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._lost is None:
            # A write has failed.  What the peer said before it hung up may still be in the socket, and says why.
            self._arrived += self._look() or b""
        self._lost = self._lost or (exc if isinstance(exc, OSError) else OSError("the connection was closed"))
        self._alarm.stop()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _connection(self) -> Any:
        """The loop's transport; why there is none (any more), as an `OSError`."""
        if self._lost is not None:
            raise self._lost
        if self._transport is None:
            raise OSError("not connected")
        return self._transport

    def _take(self) -> bytes | None:
        """What has arrived, and let the loop read on; None for nothing, b"" at the end."""
        if self._arrived:
            octets = bytes(self._arrived)
            self._arrived.clear()
            if self._paused and self._lost is None:
                self._paused = False
                self._connection().resume_reading()
            return octets
        self._connection()
        return b"" if self._ended else None

    # -- the transport ------------------------------------------------------------------------------------------------

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        """Connect, trying the host's addresses beside each other; a `host` that begins with "/" is a Unix socket's."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            # Not `create_connection`: cancelled in its race for the first address that answers, it loses a socket.
            sock = await open_socket(host, port, self._source_address, tasks, loop.getaddrinfo, loop.sock_connect)
            await self._over(sock)

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        """Write; see `smtp_surface.async_driver.AsyncTransport`."""
        large = sum(map(len, chunks)) >= LARGE
        unsent = [c[at : at + PIECE] for c in chunks for at in range(0, len(c), PIECE)] if large else list(chunks)
        held = None
        while True:
            connection = self._connection()
            if listen and (self._arrived or (self._ended and not self._writable)):
                return Sent(self._take(), unsent if self._writable else [b"", *unsent])
            if not self._writable or connection.is_closing():  # `connection_lost` is to come, and says why
                if held != (held := connection.get_write_buffer_size()):
                    self._alarm.set(timeout)
                elif self._alarm.rung:
                    raise TimeoutError("timed out")
                self._waiter = self._loop.create_future()
                await self._waiter
            elif unsent:
                connection.write(unsent.pop(0))
                held = None
            else:
                if listen and large:
                    with suppress(OSError):  # of the reading: it comes back with the next one
                        await asyncio.sleep(0)  # a write that never had to wait has let nobody else run
                        return Sent(await self.poll() or None, [])
                return Sent(None, [])

    async def receive(self, timeout: float | None) -> bytes:
        """Wait for octets; b"" at the end."""
        octets, looks, self._asked = self._take(), self._asked, None
        self._alarm.set(timeout)
        if octets is None and looks is not None:
            octets = await looks.find(partial(asyncio.sleep, 0), self._take)
        while octets is None and not self._alarm.rung:
            self._waiter = self._loop.create_future()
            await self._waiter
            octets = self._take()
        if octets is None:
            raise TimeoutError("timed out")
        return octets

    def attempt(self, octets: bytes, answer: Stage) -> list[bytes]:
        """Write at once, which the loop's transport tries; see `smtp_surface.async_driver.AsyncTransport`."""
        connection = self._connection()
        if not self._writable or self._arrived or self._ended or connection.is_closing():
            return [octets]
        connection.write(octets)
        out = not (connection.get_write_buffer_size() or connection.is_closing())
        self._asked = self._looks[answer] if out else None
        return [] if out else [b""]

    async def poll(self) -> bytes | None:
        """What has arrived; where TLS hides that from the socket, when the loop has had the chance to look."""
        octets = b"" if self._arrived or self._connection().is_closing() else self._look()
        if octets != b"":
            return octets
        # Once is not enough: a task that yields stands in line before what the loop reads next.
        for _ in range(2):
            if not self._arrived and not self._ended:
                await asyncio.sleep(0)
        return self._take()

    async def close(self) -> None:
        """Close, and let the loop do so; what the peer does not take is dropped."""
        if self._transport is not None and not self._transport.get_write_buffer_size():
            self._transport.close()
        self.abort()
        for _ in range(2):  # as in `poll`
            await asyncio.sleep(0)

    def abort(self) -> None:
        """Close at once; the loop lets go of the socket in its next round."""
        self._lost = self._lost or OSError("the connection was closed")
        if self._transport is not None:
            with suppress(RuntimeError):  # of a loop that is closed itself
                self._transport.abort()
        self._wake()
