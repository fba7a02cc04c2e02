"""What the server needs to know of asyncio; all the rest is `smtp_surface.async_server`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any

from smtp_surface.async_driver import AsyncTransport
from smtp_surface.async_server import AsyncServer

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


class _Tasks(asyncio.TaskGroup):
    """asyncio's task group, with the others' name for what it does."""

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], /, *arguments: Any) -> object:
        return self.create_task(function(*arguments))


class Server(AsyncServer):
    __doc__ = AsyncServer.__doc__

    async def wait_readable(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        readable = loop.create_future()

        def tell() -> None:
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(sock, tell)
        try:
            await readable
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

    def new_tasks(self) -> _Tasks:
        return _Tasks()


serve = Server.serve
