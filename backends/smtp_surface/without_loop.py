"""Between transports that block and transports of coroutines, where no event loop is needed.

A coroutine that never has to wait for a loop runs to its end when it is started.  So what is written for coroutines
(TLS, the streams in memory) serves those who block as well, if what it waits with blocks.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from smtp_proto.channel_binding import TLSFacts
from smtp_proto.effects import Sent

if TYPE_CHECKING:
    import ssl

    from .async_driver import AsyncTransport

T = TypeVar("T")


class RawTransport(Protocol):
    """Octets over something that blocks: what it takes to have the whole blocking surface, TLS included.

    Each method has its own deadline in seconds (None: wait as long as it takes), and raises nothing but `OSError`.
    """

    def connect(self, host: str, port: int, timeout: float | None) -> None:
        """Connect; one that is connected raises `OSError`."""

    def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        """Write, and with `listen` return as soon as something has arrived; `timeout` is on progress."""

    def receive(self, timeout: float | None) -> bytes:
        """Wait for octets; b"" at the end."""

    def poll(self) -> bytes | None:
        """What has arrived, without waiting; None for nothing, b"" at the end."""

    def close(self) -> None:
        """Close, without waiting; never fails.  What another thread waits for then ends with an `OSError`."""


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never waits for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the coroutine's T
    coroutine.close()
    raise RuntimeError("this wants to wait in an event loop, and there is none")


class InCoroutines:
    """A transport that blocks, with methods that are coroutines all the same."""

    def __init__(self, below: RawTransport) -> None:
        self._below = below

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        self._below.connect(host, port, timeout)

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        return self._below.send(chunks, timeout, listen)

    async def receive(self, timeout: float | None) -> bytes:
        return self._below.receive(timeout)

    async def poll(self) -> bytes | None:
        return self._below.poll()

    async def close(self) -> None:
        self._below.close()

    def abort(self) -> None:
        self._below.close()


class Blocking:
    """A transport whose coroutines never wait for a loop, as one that blocks; TLS is put on top when asked for."""

    def __init__(self, inner: AsyncTransport) -> None:
        self._inner = inner

    def connect(self, host: str, port: int, timeout: float | None) -> None:
        finish(self._inner.connect(host, port, timeout))

    def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        return finish(self._inner.send(chunks, timeout, listen))

    def receive(self, timeout: float | None) -> bytes:
        return finish(self._inner.receive(timeout))

    def poll(self) -> bytes | None:
        return finish(self._inner.poll())

    def start_tls(
        self, context: ssl.SSLContext, server_hostname: str | None, server_side: bool, timeout: float | None
    ) -> TLSFacts | None:
        from .async_tls import AsyncTLS  # imports ssl, which who does without TLS may do without

        secured = AsyncTLS(self._inner, context, server_hostname, server_side=server_side)
        facts = finish(secured.handshake(timeout))
        self._inner = secured
        return facts

    def close(self) -> None:
        self._inner.abort()


class Given(Blocking):
    """A transport that was handed in, with what clients look for in the transport of a socket.

    `sock` is what people see as ``smtp.sock``: the transport as it was given.
    """

    timeout: float | None = None

    def __init__(self, transport: RawTransport) -> None:
        super().__init__(InCoroutines(transport))
        self.sock = transport
        self.facts: TLSFacts | None = None

    def start_tls(
        self, context: ssl.SSLContext, server_hostname: str | None, server_side: bool, timeout: float | None
    ) -> TLSFacts | None:
        self.facts = super().start_tls(context, server_hostname, server_side, timeout)
        return self.facts

    def wake(self) -> None:
        """End the operation that another thread is in."""
        self.close()
