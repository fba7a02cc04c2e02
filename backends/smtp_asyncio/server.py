"""What the server needs to know of asyncio; all the rest is `smtp_surface.async_server`."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

from smtp_surface.async_server import AsyncServer

from .tasks import Tasks
from .transport import StreamTransport


class _Scope:
    """A block that can be cancelled: asyncio's timeout, whose expiry is nothing to be raised."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._timeout: Any = None

    def cancel(self) -> None:
        self._seconds = 0
        if self._timeout is not None:
            with suppress(RuntimeError):  # it is over
                self._timeout.reschedule(0)

    async def __aenter__(self) -> None:
        self._timeout = asyncio.timeout(self._seconds)
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: Any) -> bool:  # noqa: PYI036  # only passed on, and `object` cannot be
        with suppress(TimeoutError):
            await self._timeout.__aexit__(*raised)
            return False
        return True


class LoopServer(AsyncServer):
    __doc__ = AsyncServer.__doc__

    transport_over = StreamTransport.of_socket
    new_event, new_scope, new_tasks = asyncio.Event, _Scope, Tasks
    sleep = staticmethod(asyncio.sleep)

    @classmethod
    async def wait_readable(cls, sock: socket.socket) -> None:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(sock, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(sock)
