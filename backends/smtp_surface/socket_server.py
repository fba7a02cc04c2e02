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

    @classmethod
    async def wait_readable(cls, sock: socket.socket) -> None:
        await cls.LOOP.wait_readable(sock)

    @classmethod
    async def transport_over(cls, sock: socket.socket) -> AsyncTransport:
        return SocketTransport(cls.LOOP, sock)

    @classmethod
    async def sleep(cls, seconds: float, /) -> None:
        await cls.LOOP.sleep(seconds)

    @classmethod
    def new_event(cls) -> Event:
        event: Event = cls.LOOP.event()
        return event

    @classmethod
    def new_scope(cls, seconds: float | None) -> Scope:
        return _Scope(cls.LOOP.move_on_after(float("inf") if seconds is None else seconds))

    @classmethod
    def new_tasks(cls) -> Tasks:
        tasks: Any = cls.LOOP.task_group()
        return tasks  # type: ignore[no-any-return]  # both libraries' are such
