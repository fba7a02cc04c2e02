"""What the server needs to know of asyncio; all the rest is `smtp_surface.async_server`."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import TracebackType

from smtp_surface.async_server import AsyncServer

from .tasks import Tasks
from .transport import StreamTransport


class _Scope:
    """A block that can be cancelled: asyncio's timeout, whose expiry is nothing to be raised."""

    def __init__(self, seconds: float | None) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        with suppress(RuntimeError):  # not begun yet, or over
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        if self._cancelled:
            self.cancel()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        with suppress(TimeoutError):
            await self._timeout.__aexit__(exc_type, exc, traceback)
            return False
        return True


class LoopServer(AsyncServer):
    __doc__ = AsyncServer.__doc__

    transport_over = StreamTransport.of_socket
    new_event = asyncio.Event
    new_scope = _Scope
    new_tasks = Tasks

    @classmethod
    async def wait_readable(cls, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(sock, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(sock)

    @classmethod
    async def sleep(cls, seconds: float) -> None:
        await asyncio.sleep(seconds)
