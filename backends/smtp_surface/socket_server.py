"""The server for libraries whose functions on sockets fit into a `smtp_surface.sockets.Loop`."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from .async_driver import AsyncTransport
from .async_server import AsyncServer, Event, Scope, Tasks
from .sockets import Loop, SocketTransport

if TYPE_CHECKING:
    import socket
    from contextlib import AbstractContextManager


class _Scope:
    """The library's cancel scope, entered and left as an asynchronous block."""

    def __init__(self, scope: AbstractContextManager[Any]) -> None:
        self._scope: Any = scope

    def cancel(self) -> None:
        self._scope.cancel()

    async def __aenter__(self) -> None:
        self._scope.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        caught: bool | None = self._scope.__exit__(exc_type, exc, traceback)
        return caught


class SocketServer(AsyncServer):
    __doc__ = AsyncServer.__doc__

    #: The library's functions.
    LOOP: ClassVar[Loop]

    async def wait_readable(self, sock: socket.socket) -> None:
        await self.LOOP.wait_readable(sock)

    async def transport_over(self, sock: socket.socket) -> AsyncTransport:
        return SocketTransport(self.LOOP, sock)

    async def sleep(self, seconds: float) -> None:
        await self.LOOP.sleep(seconds)

    def new_event(self) -> Event:
        event: Event = self.LOOP.event()
        return event

    def new_scope(self, seconds: float | None) -> Scope:
        return _Scope(self.LOOP.move_on_after(float("inf") if seconds is None else seconds))

    def new_tasks(self) -> Tasks:
        tasks: Any = self.LOOP.task_group()
        return tasks  # type: ignore[no-any-return]  # both libraries' are such
