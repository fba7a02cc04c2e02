"""The asynchronous client for libraries whose functions on sockets fit into a `smtp_surface.sockets.Loop`."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from .async_driver import AsyncTransport
from .asynchronous import AsyncSMTP
from .sockets import Loop, SocketTransport
from .streams import ByteStream, StreamTransport

__all__ = ["ByteStream", "Loop", "SocketSMTP"]


class SocketSMTP(AsyncSMTP):
    """A client that drives sockets itself.  A backend adds `LOOP` and what its streams are."""

    #: The library's functions.
    LOOP: ClassVar[Loop]

    def _stream(self, given: Any) -> socket.socket | ByteStream | None:
        """What was handed in as a stream to be used, or as its socket; None if it is none."""
        raise NotImplementedError

    def _running_loop(self) -> object:
        return self.LOOP.token()

    def _new_lock(self) -> Any:
        return self.LOOP.lock()

    def _new_event(self) -> Any:
        return self.LOOP.event()

    def _new_task_group(self) -> Any:
        return self.LOOP.task_group()

    async def _pause(self) -> None:
        await self.LOOP.checkpoint()

    async def _heed_cancellation(self) -> None:
        await self.LOOP.checkpoint_if_cancelled()

    def _new_transport(self) -> AsyncTransport:
        return SocketTransport(self.LOOP, source_address=self.source_address)

    async def _transport_over(self, given: Any) -> AsyncTransport:
        stream = given if isinstance(given, socket.socket) else self._stream(given)
        if stream is None:
            raise TypeError(f"a socket, a stream or a transport can be handed in, not {type(given).__name__}")
        if isinstance(stream, socket.socket):
            return SocketTransport(self.LOOP, stream)
        return StreamTransport(self.LOOP, stream)
