"""A flow, driven by octets and time: all of a driver but the socket and the clock, for loops that call back.

Theory of operation.  An `Engine` performs the effects of one flow itself, up to where octets have to move or time has
to pass; there it stops and says what it waits for.  Whoever owns the socket then moves octets, in whatever way its
world has:

* `outgoing` are octets for the network; write what goes, and say how many went with `written`.
* While `reading`, what arrives is wanted: hand it to `receive`.  Otherwise leave it where it is, so that the peer is
  held back.
* When `deadline` has passed, by the clock that the engine was given, read what is there and then call `expire`.
* `fail` tells it that the network has failed, and `cancel` ends the flow from outside, at any moment.
* `done` is the end: close the socket, whatever happened, and take `result()`.

TLS needs nothing of the loop: after a `StartTLS` effect what goes in and out is encrypted (`smtp_proto.tls`).  A `Poll`
is a wait whose deadline is now.  Reading before writing, where both can be done, lets a refusal be heard before the
rest of a message goes out.  Only `Connect` is not for the engine: it begins with a socket that is connected.

After every call the engine may want something else, so look at all of them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .effects import Call, Close, Effect, Flow, Poll, Pull, Receive, Send, Sent, StartTLS
from .states import DEFAULT_TIMEOUTS, Stage

if TYPE_CHECKING:
    from .tls import TLSPump

T = TypeVar("T")

# Octets put into `outgoing` at a time, so that little of a message is out of reach when the peer refuses it early.
PIECE = 65536

#: How a flow goes on: `next`, `send` or `throw` with their arguments.
_Step = Callable[[], Effect[Any]]

_WAITING = object()


class Cancelled(BaseException):
    """Thrown into a flow by `Engine.cancel`; no `Exception`, so that nothing on the way takes it for a failure."""


class Engine(Generic[T]):
    """Runs `flow`, at once up to its first wait.

    `clock` gives the time in seconds, as `time.monotonic` does; `timeouts` how many each stage may take, None for ever.
    """

    def __init__(
        self,
        flow: Flow[T],
        clock: Callable[[], float],
        timeouts: Mapping[Stage, float | None] = DEFAULT_TIMEOUTS,
    ) -> None:
        #: Octets for the network.
        self.outgoing = bytearray()
        #: True when the flow is at its end; the socket is to be closed then.
        self.done = False
        self._flow = flow
        self._clock = clock
        self._timeouts = timeouts
        self._effect: Effect[Any] = Close()  # the one that is being performed
        self._chunks: list[bytes] = []  # of a `Send`, those that are not in `outgoing` yet
        self._deadline: float | None = None
        self._polled: float | None = None  # when the `Poll` that is being performed began
        self._pump: TLSPump | None = None
        self._incoming = bytearray()  # has come in the clear, and nobody has asked for it yet
        self._eof = False
        self._busy = False
        self._cancelled: Cancelled | None = None
        self._result: T | None = None
        self._error: BaseException | None = None
        self._raised = ""  # the name of what was raised already
        self._advance(lambda: next(flow))

    # -- what it waits for --------------------------------------------------------------------------------------------

    @property
    def reading(self) -> bool:
        """True while it wants what arrives."""
        return not self.done and (not isinstance(self._effect, Send) or self._effect.listen)

    @property
    def deadline(self) -> float | None:
        """When to call `expire`, by the clock; None: never."""
        return self._polled if self._polled is not None else self._deadline

    def result(self) -> T:
        """What the flow has returned; raises what it has raised, and `Cancelled` after `cancel`.

        An exception is raised once, and let go: its traceback keeps alive what the flow had under way, the message for
        one.  Asked again, and where an interrupt has gone through the engine already, `RuntimeError` names it.
        """
        if not self.done:
            raise RuntimeError("the flow has not come to its end yet")
        error, self._error = self._error, None
        if error is not None:
            self._raised = type(error).__name__
            try:
                raise error
            finally:
                del error  # this frame stays alive with its traceback, and would keep it
        if self._raised:
            raise RuntimeError(f"the flow has raised {self._raised}, which is given out once")
        return self._result  # type: ignore[return-value]  # the flow's T, None included

    # -- what happens -------------------------------------------------------------------------------------------------

    def receive(self, octets: bytes) -> None:
        """Octets have arrived from the network; b"" is the end of all that will."""
        if self._pump is None:
            self._incoming += octets
            self._eof = not octets
        elif octets:
            self._pump.receive_data(octets)
        else:
            self._pump.receive_eof()
        self._go_on()

    def written(self, count: int) -> None:
        """So many octets of `outgoing` were written."""
        del self.outgoing[:count]
        if isinstance(self._effect, Send):
            self._wait(self._effect.stage)  # its deadline is on progress
        self._go_on()

    def expire(self) -> None:
        """Time has passed.  Nothing happens if the deadline has not."""
        if self.done or self.deadline is None or self._clock() < self.deadline:
            return
        if self._polled is not None:
            self._advance(lambda: self._flow.send(None))
        else:
            self.fail(TimeoutError("timed out"))

    def fail(self, error: OSError) -> None:
        """Reading or writing has failed.  The flow hears of it, and may have more to do."""
        try:
            if not self.done:
                self._advance(partial(self._flow.throw, error))
        finally:
            del error  # as in `result`

    def cancel(self) -> None:
        """End the flow where it is; from within one of its calls, behind that.

        The connection is of no use any more then, unless nothing was under way (`ClientConnection.at_boundary`).
        """
        self._cancelled = Cancelled()
        if not self.done and not self._busy:
            self._advance(self._cancel)

    # -- the effects --------------------------------------------------------------------------------------------------

    def _advance(self, step: _Step | None) -> None:
        """Let the flow go on, and perform what it asks for until that has to wait."""
        self._busy = True
        try:
            while step is not None:
                self._effect = step()
                step = self._attempt(begin=True)
                if self._cancelled is not None:
                    step = self._cancel
        except StopIteration as stop:
            self._finish(stop.value, None)
        except (Exception, Cancelled) as error:  # noqa: BLE001  # it is `result` that raises it
            self._finish(None, error)
        except BaseException as error:
            self._finish(None, None)
            self._raised = type(error).__name__
            raise
        finally:
            self._busy = False
            del step  # which may have an exception

    def _go_on(self) -> None:
        if not self.done:
            self._advance(self._attempt())

    def _finish(self, result: T | None, error: BaseException | None) -> None:
        self.done = True
        self._polled = self._deadline = None
        self._result, self._error = result, error

    def _cancel(self) -> Effect[Any]:
        assert self._cancelled is not None
        error, self._cancelled = self._cancelled, None
        try:
            self._flow.throw(error)
            # It wants to do something still; there is nobody to do it.
            self._flow.close()
            raise error
        finally:
            del error  # as in `result`

    def _attempt(self, *, begin: bool = False) -> _Step | None:
        """How the flow goes on, with what the effect has given or raised; None while it has to wait."""
        try:
            if begin:
                self._begin(self._effect)
            result = self._perform(self._effect)
        except BaseException as error:  # noqa: BLE001  # every exception goes into the flow
            return partial(self._flow.throw, error)
        return None if result is _WAITING else lambda: self._flow.send(result)

    def _begin(self, effect: Effect[Any]) -> None:
        self._polled = None
        if isinstance(effect, (Send, Receive)):
            if not effect.again:
                self._wait(effect.stage)
            if isinstance(effect, Send):
                self._chunks = list(effect.chunks)
        elif isinstance(effect, Poll):
            self._polled = self._clock()
        elif isinstance(effect, StartTLS):
            from .tls import TLSPump  # imports ssl, which those who do without TLS do not need

            self._wait(Stage.TLS)
            self._pump = TLSPump(effect.context, effect.server_hostname, server_side=effect.server_side)
            # What has come behind the last octets that the flow asked for can only be the handshake's.
            self._pump.receive_data(bytes(self._incoming))
            self._incoming.clear()

    def _wait(self, stage: Stage) -> None:
        timeout = self._timeouts[stage]
        self._deadline = None if timeout is None else self._clock() + timeout

    def _perform(self, effect: Effect[Any]) -> Any:
        match effect:
            case Call():
                return effect.function(*effect.arguments)
            case Send():
                return self._send(effect)
            case Receive() | Poll():
                octets = self._read()
                return _WAITING if octets is None else octets
            case Pull():
                return effect.next()
            case StartTLS():
                return self._shake_hands()
            case Close():
                return None
        raise TypeError(f"an engine performs no {type(effect).__name__}")

    def _send(self, effect: Send) -> object:
        while self._chunks and len(self.outgoing) < PIECE:
            self._put(self._chunks.pop(0))
        octets = self._read() if effect.listen else None
        unsent = [b"", *self._chunks] if self.outgoing else []  # an empty one: what `outgoing` has is not out yet
        return Sent(octets, unsent) if octets is not None or not unsent else _WAITING

    def _put(self, octets: bytes) -> None:
        if self._pump is None:
            self.outgoing += octets
        else:
            self._pump.write(octets)
            self._collect(self._pump)

    def _read(self) -> bytes | None:
        if self._pump is not None:
            read = self._pump.read()
            self._collect(self._pump)  # a key update is answered
            return read
        octets = bytes(self._incoming)
        self._incoming.clear()
        return octets if octets or self._eof else None

    def _shake_hands(self) -> object:
        from .tls import facts_of

        assert self._pump is not None
        try:
            return facts_of(self._pump.ssl_object) if self._pump.handshake() else _WAITING
        finally:
            self._collect(self._pump)  # of a failure the alert, which says why

    def _collect(self, pump: TLSPump) -> None:
        self.outgoing += pump.data_to_send()
