"""A line between a client and a server in memory that has no clock: it is as slow as nothing else is.

What the client sends arrives when it can do nothing more without an answer.  Each of these moments is a flight.
"""

from __future__ import annotations

from typing import Any, Protocol

from anyio.lowlevel import checkpoint

from smtp_proto.effects import Effect, Flow, Receive, Send, Sent

# What a client's own tasks may take, in turns of the loop, before the line is what is waited for.
TURNS = 10


class Serving(Protocol):
    """A server of `tests.serving`."""

    def run(self) -> Flow[None]: ...


class Line:
    """A transport of blocking clients whose other end is a server: what is sent arrives when the client waits."""

    def __init__(self, server: Serving) -> None:
        self.flights = 0
        self.closed = False
        self._running = server.run()
        self._effect: Effect[Any] | None = None
        self._sent = b""
        self._said = b""

    def connect(self, host: str, port: int, timeout: float | None) -> None:
        raise AssertionError("it is connected")

    def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        self._sent += b"".join(chunks)
        return Sent(None, [])

    def receive(self, timeout: float | None) -> bytes:
        if not self._said:
            self.flights += 1
            self._turn()
        return self._taken()

    def poll(self) -> bytes | None:
        return self._taken() or None

    def close(self) -> None:
        self.closed = True

    def _taken(self) -> bytes:
        said, self._said = self._said, b""
        return said

    def _turn(self) -> None:
        """The server goes on until it waits, or is at its end."""
        effect = self._effect or next(self._running)
        try:
            while not isinstance(effect, Receive) or self._sent:
                if isinstance(effect, Send):
                    self._said += b"".join(effect.chunks)
                    effect = self._running.send(Sent(None, []))
                else:
                    heard, self._sent = self._sent, b""
                    effect = self._running.send(heard if isinstance(effect, Receive) else None)
        except StopIteration:
            return
        self._effect = effect


class AsyncLine:
    """The same for clients of coroutines: the line is waited for when no task of theirs has anything left to do."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._interrupted = False

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        raise AssertionError("it is connected")

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        return self._line.send(chunks, timeout, listen)

    async def receive(self, timeout: float | None) -> bytes:
        self._interrupted = False
        for _ in range(TURNS):
            await checkpoint()
            if self._interrupted:
                raise TimeoutError
        return self._line.receive(timeout)

    async def poll(self) -> bytes | None:
        return self._line.poll()

    async def close(self) -> None:
        self._line.close()

    def abort(self) -> None:
        self._line.close()

    def interrupt(self) -> None:
        self._interrupted = True
