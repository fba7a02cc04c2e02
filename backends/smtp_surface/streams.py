"""Octets over a stream that was handed in: one of the loop's own, made by a proxy's client, over TLS, or in memory.

Such a stream cannot tell what has arrived without waiting, nor be read while it is written.  So over it a reply that
nobody asked for is seen only with the next one, as an error, and a message that is refused early is written to its end
first.  Who can do better hands in a `smtp_surface.async_driver.AsyncTransport`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol

from smtp_proto.effects import Sent

from .sockets import READ_SIZE, Loop

# Octets in one write, for each of which the deadline begins anew.
PIECE = 65536


class ByteStream(Protocol):
    """A stream of octets as anyio has it."""

    async def receive(self, max_bytes: int = ..., /) -> bytes | bytearray:
        """Wait for octets."""

    async def send(self, item: bytes, /) -> None:
        """Write all of them."""

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Close."""


class StreamTransport:
    """A connection over a stream; raises nothing but `OSError` and cancellations."""

    def __init__(self, loop: Loop, stream: ByteStream) -> None:
        self._loop = loop
        self._stream = stream
        self._scope: Any = None  # of the `receive` that is under way

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        """Not for this transport: the stream is connected."""
        raise OSError("connected already")

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        """Write all of it; nothing is listened to meanwhile."""
        for chunk in chunks:
            for start in range(0, len(chunk), PIECE):
                with self._loop.within(timeout):
                    await self._stream.send(chunk[start : start + PIECE])
        return Sent(None, [])

    async def receive(self, timeout: float | None) -> bytes:
        """Wait for octets; b"" at the end."""
        with self._loop.within(timeout) as self._scope:
            try:
                return bytes(await self._stream.receive(READ_SIZE))
            except self._loop.end:
                return b""

    def interrupt(self) -> None:
        """Let the `receive` that another task is in raise `TimeoutError`."""
        if self._scope is not None:
            self._scope.cancel()

    async def poll(self) -> bytes | None:
        """Nothing: there is no asking without waiting."""
        await self._loop.checkpoint_if_cancelled()
        return None

    async def close(self) -> None:
        """Close the stream, with what its own goodbye is."""
        with suppress(OSError, *self._loop.broken):
            await self._stream.aclose()

    def abort(self) -> None:
        """Close the stream as far as that goes without waiting."""
        closing = self._stream.aclose()
        # Streams close first and wait then; one with a goodbye to say does so when it is told to hurry.
        with suppress(StopIteration, OSError, RuntimeError, *self._loop.broken):
            closing.send(None)
        with suppress(RuntimeError):  # it wants to wait all the same
            closing.close()
