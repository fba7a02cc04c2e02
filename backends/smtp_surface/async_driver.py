"""The driver for coroutines, and the contract of the transports that it runs over.

It knows no event loop.  All that belongs to one is in a transport: six small methods over raw octets, which raise
nothing but `OSError` (`TimeoutError` for a deadline) and whatever their loop cancels a task with.  TLS is none of a
transport's business: `StartTLS` puts `smtp_surface.async_tls` on top of the one that there is.

Every exception goes into the flow first, a cancellation too, so that what was under way is told.  Some flows then still
ask for something (to close, mostly); a coroutine that is being closed cannot wait for it, so it is not done then.
Whoever runs a flow aborts the transport where an exception has left anything unfinished (`smtp_surface.asynchronous`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Protocol, TypeVar, cast, runtime_checkable

from smtp_proto.channel_binding import TLSFacts
from smtp_proto.effects import (
    Call,
    Close,
    Connect,
    Flight,
    Flow,
    Interrupted,
    Poll,
    Pull,
    Receive,
    Send,
    Sent,
    StartTLS,
)
from smtp_proto.foreseen import Foreseen
from smtp_proto.states import Stage

from .driver import LARGE, Driver

T = TypeVar("T")


@runtime_checkable
class AsyncTransport(Protocol):
    """Raw octets under an event loop.

    One task uses a transport at a time, but for `abort` and `close`, which any may call while another waits in it: that
    wait ends with an `OSError`.  Timeouts are in seconds; None waits as long as it takes.  A method that was cancelled
    may have done a part of its work: the transport is only good for `abort` then.

    Two more methods are optional.  `interrupt`: called while another task is in `receive`, it lets that raise
    `TimeoutError` at once, with nothing lost.  Without it, `send_many` sees a message that its source gives only when
    the server has said something.  `attempt` takes fewer than `LARGE` octets, and the stage of the answer to them that
    is waited for next; it writes what of them goes out at once, and gives the chunks that `send` is to be called with:
    none where all are out.  It raises what `send` does.
    """

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        """Connect to a host, or to the Unix socket whose path `host` is where it begins with "/"."""

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        """Write; with `listen` return as soon as something has arrived, with that and what is unsent.

        `timeout` is on progress: `TimeoutError` if for so long not an octet could be written; with 0, what would have
        to wait is not written.  Where all octets were taken over and not all are out yet, what is unsent ends with an
        empty chunk, and the next `send` waits for them too.
        """

    async def receive(self, timeout: float | None) -> bytes:
        """Wait for octets; b"" at the end."""

    async def poll(self) -> bytes | None:
        """What has arrived, without waiting; None for nothing, b"" at the end."""

    async def close(self) -> None:
        """Close; never fails, and waits for nobody at the other end."""

    def abort(self) -> None:
        """Close at once, without awaiting anything; never fails."""


async def call(effect: Call[Any]) -> Any:
    """Call what an effect wants called, and await what that gives if it is awaitable."""
    result = effect.function(*effect.arguments)
    # Not `inspect.isawaitable`, for whose module the blocking client would wait a tenth of the time of its import.
    return await result if isinstance(result, Awaitable) else result


async def pull(chunks: Any) -> Any:
    """The next of an iterator, which may be an asynchronous one; None at its end."""
    return await anext(chunks, None) if hasattr(chunks, "__anext__") else next(chunks, None)


class AsyncDriver(Driver[AsyncTransport]):
    """Runs flows over a transport of coroutines."""

    _receiving = _interrupted = False

    async def run(self, flow: Flow[T], call: Callable[[Call[Any]], Awaitable[Any]] = call) -> T:
        """Perform what the flow asks for, and return what it returns; every exception is thrown into it first.

        `call` performs a `Call`.
        """
        self.touched = False
        try:
            effect = next(flow)
            while True:
                kind = effect.__class__
                try:
                    if kind is Call:
                        # What is called may run flows of its own here; their I/O is this one's too.
                        touched = self.touched
                        try:
                            result = await call(cast("Call[Any]", effect))
                        finally:
                            self.touched = self.touched or touched
                    else:
                        self.touched = True
                        transport = self.transport
                        if transport is None:
                            raise OSError("not connected")
                        result = await _PERFORM[kind](self, transport, effect)
                except GeneratorExit:
                    flow.throw(GeneratorExit())  # this coroutine is being closed, and must not await any more
                    raise
                except BaseException as error:  # noqa: BLE001  # every exception goes into the flow
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the flow's T
        except BaseException:
            flow.close()  # interrupted on the way to the flow, which still tells what may have been sent
            raise

    def _send(self, transport: AsyncTransport, effect: Send) -> Awaitable[Sent]:
        return transport.send(self._chunks(effect), self._left(effect), effect.listen)

    async def _fly(self, transport: AsyncTransport, flight: Flight) -> bytes | None:
        attempt: Callable[[bytes, Stage], list[bytes]] | None = getattr(transport, "attempt", None)
        while True:
            if flight.looks:
                octets = await transport.poll()
                if octets is not None:
                    return octets
            flight.begun = True
            octets, unsent = None, [flight.octets]
            if self.on_send is not None:
                self.on_send(flight.octets)
            if attempt is not None and len(flight.octets) < LARGE:
                unsent = attempt(flight.octets, flight.answer)
            if unsent:
                octets, flight.unsent = await transport.send(unsent, self._begin(flight.stage), True)
                if flight.unsent:
                    return octets
            flight.written = True
            if octets is None:
                octets = await transport.receive(self._begin(flight.answer))
            if not flight.follow(octets):
                return octets

    def _connect(self, transport: AsyncTransport, effect: Connect) -> Awaitable[None]:
        return transport.connect(effect.host, effect.port, self.timeouts[Stage.CONNECT])

    async def _receive(self, transport: AsyncTransport, effect: Receive) -> bytes:
        self._receiving = True
        try:
            return await transport.receive(self._left(effect))
        except TimeoutError:
            if self._interrupted:
                raise Interrupted from None
            raise
        finally:
            self._receiving = self._interrupted = False

    def interrupt(self) -> None:
        """End the `Receive` under way, if there is one and the transport can; its flow is thrown `Interrupted`."""
        interrupt = getattr(self.transport, "interrupt", None)
        if self._receiving and interrupt is not None:
            self._interrupted = True
            interrupt()

    async def _start_tls(self, transport: AsyncTransport, effect: StartTLS) -> TLSFacts:
        from smtp_proto.tls import facts_of  # imports ssl, which who does without TLS may do without

        from .async_tls import AsyncTLS

        secured = AsyncTLS(transport, effect.context, effect.server_hostname, server_side=effect.server_side)
        await secured.handshake(self.timeouts[Stage.TLS])
        self.transport = secured
        return facts_of(secured.pump.ssl_object)


class _Performers(dict[type[Any], Callable[[AsyncDriver, AsyncTransport, Any], Awaitable[Any]]]):
    def __missing__(self, kind: type[Any]) -> NoReturn:
        raise TypeError(f"this driver performs no {kind.__name__}")


# What gives the result of each kind of effect, to be awaited: a coroutine less than with one function for all.
_PERFORM = _Performers(
    {
        Send: AsyncDriver._send,
        Receive: AsyncDriver._receive,
        Poll: lambda _driver, transport, _effect: transport.poll(),
        Flight: AsyncDriver._fly,
        Foreseen: AsyncDriver._fly,
        Pull: lambda _driver, _transport, effect: pull(effect.chunks),
        Connect: AsyncDriver._connect,
        StartTLS: AsyncDriver._start_tls,
        Close: lambda _driver, transport, _effect: transport.close(),
    }
)
