"""Drivers: they perform the effects of a flow over a transport, one after the other.

`Driver` has what all have: the transport, and the deadlines that span several calls (that of a reply runs from the
first `Receive` to the last).  `BlockingDriver` is the one for what blocks; `smtp_surface.async_driver` has the one for
coroutines.

The contract of a transport is `BlockingTransport`: a handful of small methods over raw octets, each with its own
deadline in seconds (None: wait as long as it takes), which raise nothing but `OSError`.

One more method is optional: ``exchange(flight, begin, tell)`` performs a `smtp_proto.effects.Flight`, and those that
follow it, without waiting before they are written: `poll` if it `looks`, `tell` of the octets, `send`, and with all of
them written `receive`.  It sets `begun`, `written` and `unsent`, and asks `begin`, with the stage of a wait that begins
now, for its timeout.  One of `LARGE` octets and more, and what else it cannot perform so, it leaves as it is, and gives
None: then it is performed step by step.  With a part of it written it gives None, too, and `unsent` has the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from smtp_proto.channel_binding import TLSFacts
from smtp_proto.effects import (
    Call,
    Close,
    Connect,
    Effect,
    Flight,
    Flow,
    Poll,
    Pull,
    Receive,
    Send,
    Sent,
    StartTLS,
)
from smtp_proto.foreseen import Foreseen
from smtp_proto.states import DEFAULT_TIMEOUTS, Stage

from .timeouts import Timeouts

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")
Transport = TypeVar("Transport")

#: Asked when a wait of this stage begins: the seconds that it has, or None.
Begin = Callable[[Stage], float | None]
#: Told octets before they are written; None where nobody wants to know.
Tell = Callable[[bytes], object] | None

# Octets of which it may take a while until they are out: meanwhile, what has arrived is looked at, so that a peer that
# reads on behind an early refusal is heard.
LARGE = 32768


class BlockingTransport(Protocol):
    """Raw octets over something that blocks."""

    def connect(self, host: str, port: int, timeout: float | None) -> None:
        """Connect; `OSError` if that fails."""

    def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        """Write, and with `listen` return as soon as something has arrived; `timeout` is on progress."""

    def receive(self, timeout: float | None) -> bytes:
        """Wait for octets; b"" at the end."""

    def poll(self) -> bytes | None:
        """What has arrived, without waiting; None for nothing, b"" at the end."""

    def start_tls(
        self, context: ssl.SSLContext, server_hostname: str | None, server_side: bool, timeout: float | None
    ) -> TLSFacts | None:
        """The whole handshake within `timeout`; gives what is known of the session (`smtp_proto.tls.facts_of`)."""

    def close(self) -> None:
        """Close, without waiting; never fails."""


class Driver(Generic[Transport]):
    """What runs flows over `transport` with the deadlines in `timeouts`; both may be exchanged between two runs."""

    def __init__(self, transport: Transport | None = None, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        self.transport = transport
        self.timeouts = timeouts
        #: True once the flow under way has asked for I/O: from then on an interruption may have lost something.
        self.touched = False
        #: Told all octets before they are written.
        self.on_send: Tell = None
        self._deadline: float | None = None

    def _chunks(self, effect: Send) -> list[bytes]:
        """What is to be written, when whoever wants to know has been told: once, however often it takes to write it."""
        chunks = effect.chunks
        if self.on_send is not None and not effect.rest:
            if len(chunks) > 1:
                chunks = [b"".join(chunks)]
            if chunks[0]:
                self.on_send(chunks[0])
        return chunks

    def _left(self, effect: Send | Receive) -> float | None:
        """Seconds until the deadline of a wait, which began with an earlier effect if this one is `again`."""
        timeout = self.timeouts[effect.stage]
        if timeout is None:
            return None
        if effect.again and self._deadline is not None:
            timeout = self._deadline - time.monotonic()
            if timeout <= 0:
                raise TimeoutError("timed out")
            return timeout
        return self._begin(effect.stage)

    def _begin(self, stage: Stage) -> float | None:
        """Seconds for a wait that begins now."""
        timeout = self.timeouts[stage]
        if timeout is not None:
            self._deadline = time.monotonic() + timeout
        return timeout


class BlockingDriver(Driver[BlockingTransport]):
    """Runs flows over a transport that blocks."""

    def __init__(self, transport: BlockingTransport | None = None, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        super().__init__(transport, timeouts)
        self._perform: dict[type[Effect[Any]], Callable[[BlockingTransport, Any], Any]] = {
            Send: self._send,
            Receive: self._receive,
            Poll: lambda transport, effect: transport.poll(),
            Flight: self._fly,
            Foreseen: self._fly,
            Connect: self._connect,
            StartTLS: self._start_tls,
            Pull: lambda transport, effect: effect.next(),
            Close: lambda transport, effect: transport.close(),
        }

    def run(self, flow: Flow[T]) -> T:
        """Perform what the flow asks for, and return what it returns; every exception is thrown into it first."""
        perform = self._perform
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
                            result = effect.function(*effect.arguments)  # type: ignore[attr-defined]
                        finally:
                            self.touched = self.touched or touched
                    else:
                        self.touched = True
                        transport = self.transport
                        if transport is None:
                            raise OSError("not connected")
                        result = perform[kind](transport, effect)
                except BaseException as error:  # noqa: BLE001  # every exception goes into the flow
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the flow's T
        except BaseException:
            flow.close()  # interrupted on the way to the flow, which still tells what may have been sent
            raise

    def _send(self, transport: BlockingTransport, effect: Send) -> Sent:
        return transport.send(self._chunks(effect), self._left(effect), effect.listen)

    def _receive(self, transport: BlockingTransport, effect: Receive) -> bytes:
        return transport.receive(self._left(effect))

    def _fly(self, transport: BlockingTransport, flight: Flight) -> bytes | None:
        exchange: Callable[..., bytes | None] | None = getattr(transport, "exchange", None)
        octets = exchange(flight, self._begin, self.on_send) if exchange is not None else None
        return octets if flight.begun or octets is not None else self._fly_in_steps(transport, flight)

    def _fly_in_steps(self, transport: BlockingTransport, flight: Flight) -> bytes | None:
        while True:
            if flight.looks:
                octets = transport.poll()
                if octets is not None:
                    return octets
            flight.begun = True
            if self.on_send is not None:
                self.on_send(flight.octets)
            octets, flight.unsent = transport.send([flight.octets], self._begin(flight.stage), True)
            if flight.unsent:
                return octets
            flight.written = True
            if octets is None:
                octets = transport.receive(self._begin(flight.answer))
            if not flight.follow(octets):
                return octets

    def _connect(self, transport: BlockingTransport, effect: Connect) -> None:
        transport.connect(effect.host, effect.port, self.timeouts[Stage.CONNECT])

    def _start_tls(self, transport: BlockingTransport, effect: StartTLS) -> TLSFacts | None:
        return transport.start_tls(effect.context, effect.server_hostname, effect.server_side, self.timeouts[Stage.TLS])
