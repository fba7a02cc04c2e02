"""Two ends of a connection in memory, for tests of programs that send or receive mail: no sockets, no ports.

Theory of operation.  What one end writes is in the other's buffer at once, up to `CAPACITY` octets; then the writer
waits for its reader, as over a network.  Whoever has to wait makes an event *before* it looks whether it has to, and
the other end sets it whenever it has changed anything: so nothing is missed, between tasks of a loop and between
threads alike.  An end that was closed is found out by the other as over TCP: what was sent before can be read, then
comes the end, and writing fails.  What waits differs from loop to loop, and is an `Alarm`.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

from smtp_proto.effects import Sent

# Octets on the way in one direction: less than most messages, so that tests see a writer wait.
CAPACITY = 65536


class Alarm(Protocol):
    """How a loop waits."""

    def event(self) -> Any:
        """Something with a method `set`."""

    async def wait(self, event: Any, timeout: float | None) -> None:
        """Wait for such an event; `TimeoutError` after so many seconds."""

    async def pause(self) -> None:
        """Let others run."""


class ThreadAlarm:
    """Where there is no loop: its coroutines never wait for one (see `smtp_surface.without_loop`)."""

    def event(self) -> threading.Event:
        return threading.Event()

    async def wait(self, event: threading.Event, timeout: float | None) -> None:
        if not event.wait(timeout):
            raise TimeoutError("timed out")

    async def pause(self) -> None:
        """Threads run as they like."""


class MemoryTransport:
    """One end of a pair: a transport of coroutines (`smtp_surface.async_driver.AsyncTransport`)."""

    _other: MemoryTransport

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._arrived = bytearray()
        self._closed = False
        self._news: Any = alarm.event()
        self._interrupted: Any = None

    def _look(self) -> Any:
        """An event for what happens from now on; to be made before looking at anything."""
        self._news = event = self._alarm.event()
        return event

    def _open(self) -> None:
        if self._closed:
            raise OSError("the connection was closed")

    def _take(self) -> bytes | None:
        self._open()
        ended = self._other._closed  # before what it may have sent in between
        octets = bytes(self._arrived)
        del self._arrived[: len(octets)]
        if octets:
            self._other._news.set()
        return octets if octets or ended else None

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        """Not for this transport: both ends are connected from the beginning."""
        raise OSError("connected already")

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        """Write, waiting for the reader where there is too much on the way."""
        await self._alarm.pause()
        octets = b"".join(chunks)
        while True:
            event = self._look()
            self._open()
            if self._other._closed:
                raise BrokenPipeError("the other end is closed")
            room = CAPACITY - len(self._other._arrived)
            self._other._arrived += octets[:room]
            octets = octets[room:]
            self._other._news.set()
            received = self._take() if listen and (self._arrived or octets) else None
            if received is not None or not octets:
                return Sent(received, [octets] if octets else [])
            await self._alarm.wait(event, timeout)

    async def receive(self, timeout: float | None) -> bytes:
        """Wait for octets; b"" at the end."""
        await self._alarm.pause()
        while True:
            event = self._look()
            octets = self._take()
            if octets is not None:
                return octets
            await self._alarm.wait(event, timeout)
            if self._interrupted is event:
                raise TimeoutError("interrupted")

    def interrupt(self) -> None:
        """Let the `receive` that another task is in raise `TimeoutError`."""
        self._interrupted = self._news
        self._news.set()

    async def poll(self) -> bytes | None:
        """What has arrived."""
        await self._alarm.pause()
        return self._take()

    async def close(self) -> None:
        """Close this end."""
        self.abort()
        await self._alarm.pause()

    def abort(self) -> None:
        """Close this end at once; who waits in it is told, and so is the other end."""
        self._closed = True
        self._news.set()
        self._other._news.set()


def memory_pair(alarm: Alarm) -> tuple[MemoryTransport, MemoryTransport]:
    """Two ends that are connected to each other."""
    first, second = MemoryTransport(alarm), MemoryTransport(alarm)
    first._other, second._other = second, first
    return first, second
