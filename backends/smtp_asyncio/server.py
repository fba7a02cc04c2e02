"""What the server needs to know of asyncio; all the rest is `smtp_surface.async_server`."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import TracebackType

from smtp_surface.async_driver import AsyncTransport
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
        try:
            await self._timeout.__aexit__(exc_type, exc, traceback)
        except TimeoutError:
            return True
        return False


class Server(AsyncServer):
    __doc__ = AsyncServer.__doc__

    async def wait_readable(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(sock, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(sock)

    async def transport_over(self, sock: socket.socket) -> AsyncTransport:
        return await StreamTransport.of_socket(sock)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def new_event(self) -> asyncio.Event:
        return asyncio.Event()

    def new_scope(self, seconds: float | None) -> _Scope:
        return _Scope(seconds)

    def new_tasks(self) -> Tasks:
        return Tasks()


serve = Server.serve
