"""Drivers for flows without sockets: one over a script, one that joins a client's flow and a server's in memory.

`Scripted` performs the effects of one flow, client's or server's: what the peer says is a list of segments, and each
effect can be made to fail.  `Joined` runs two flows against each other and moves the octets between them in pieces of
any size; the connection can be lost after any octet.  Both record what was asked for and what was written, and both
keep the contract of `smtp_proto.effects`: every exception of an effect is thrown into the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Ehlo, Lhlo, Noop
from smtp_proto.effects import Call, Close, Connect, Effect, Flight, Flow, Poll, Pull, Receive, Send, Sent, StartTLS
from smtp_proto.events import ReplyReceived
from smtp_proto.session import ClientSession
from smtp_proto.transcript import Observer

T = TypeVar("T")


class Part(NamedTuple):
    """What becomes of a `Send`: `written` octets of it went out, when `heard` arrived (None: nothing, b"": the end)."""

    written: int
    heard: bytes | None


class Scripted:
    """Performs the effects of a flow as a script says.

    `receives`: for each `Receive`, in order, the octets (b"" for the end) or what it raises; there must be enough.
    `polls`: the same for each `Poll`, None for nothing; behind the last one nothing arrives any more.
    `sends`: for each `Send`, a `Part`, or what it raises, or None to write it all; behind the last one all is written.
    `handshake`: what a `StartTLS` raises.  `fails`: what the n-th effect of all raises, instead of being performed.
    """

    def __init__(
        self,
        receives: Iterable[bytes | BaseException] = (),
        *,
        polls: Iterable[bytes | BaseException | None] = (),
        sends: Iterable[Part | BaseException | None] = (),
        handshake: BaseException | None = None,
        fails: Mapping[int, BaseException] | None = None,
    ) -> None:
        self.effects: list[Effect[Any]] = []
        self.segments: list[bytes] = []  # what was written, one for each Send
        self._receives = list(receives)
        self._polls = list(polls)
        self._sends = list(sends)
        self._handshake = handshake
        self._fails = dict(fails or {})

    @property
    def written(self) -> bytes:
        return b"".join(self.segments)

    @property
    def closed(self) -> bool:
        return any(isinstance(effect, Close) for effect in self.effects)

    @property
    def handshakes(self) -> list[StartTLS]:
        return [effect for effect in self.effects if isinstance(effect, StartTLS)]

    @property
    def left(self) -> list[bytes | BaseException]:
        """What the peer was to say and nobody waited for."""
        return self._receives

    def run(self, flow: Flow[T]) -> T:
        return run(flow, self._perform)

    def _perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, Flight):
            return run(effect.steps(), self._perform)
        self.effects.append(effect)
        failure = self._fails.get(len(self.effects) - 1)
        if failure is not None:
            raise failure
        if isinstance(effect, Send):
            return self._send(effect)
        if isinstance(effect, Receive):
            assert self._receives, "the flow waits for more than the peer has to say"
            return _given(self._receives.pop(0))
        if isinstance(effect, Poll):
            return _given(self._polls.pop(0)) if self._polls else None
        if isinstance(effect, StartTLS):
            return _given(self._handshake)
        return _performed_at_once(effect)

    def _send(self, effect: Send) -> Sent:
        octets = b"".join(effect.chunks)
        planned = _given(self._sends.pop(0)) if self._sends else None
        part = planned if planned is not None else Part(len(octets), None)
        self.segments.append(octets[: part.written])
        unsent = octets[part.written :]
        return Sent(part.heard, [unsent] if unsent else [])


def run(flow: Flow[T], perform: Callable[[Effect[Any]], Any]) -> T:
    """The loop of every driver."""
    try:
        effect = next(flow)
        while True:
            try:
                result = perform(effect)
            except BaseException as error:  # noqa: BLE001  # every exception goes into the flow
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the flow's T


def _given(planned: Any) -> Any:
    if isinstance(planned, BaseException):
        raise planned
    return planned


def _performed_at_once(effect: Effect[Any]) -> Any:
    if isinstance(effect, Call):
        return effect.function(*effect.arguments)
    if isinstance(effect, Pull):
        return effect.next()
    assert isinstance(effect, (Close, Connect)), effect
    return None


# -- two flows, joined -----------------------------------------------------------------------------------------------

#: How many of so many octets move at a time.
Pieces = Callable[[int], int]


def whole(octets: int) -> int:
    return octets


def single(octets: int) -> int:
    return 1


def at_random(seed: int) -> Pieces:
    random = Random(seed)
    return lambda octets: random.randint(1, octets)


class _End(Generic[T]):
    """One of the two flows: what it waits for, and what is on the way to it."""

    def __init__(self, flow: Flow[T]) -> None:
        self.flow = flow
        self.effect: Effect[Any] | None = None
        self.effects: list[Effect[Any]] = []
        self.incoming = bytearray()
        self.heard = b""  # all that has come in, read or not
        self.handshakes = 0
        self.result: T | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.effect is None

    def advance(self, step: Callable[[], Effect[Any]]) -> None:
        try:
            self.effect = step()
            self.effects.append(self.effect)
        except StopIteration as stop:
            self.effect = None
            self.result = stop.value
        except BaseException as error:  # noqa: BLE001  # handed on by `Joined.run`
            self.effect = None
            self.error = error


_WAITING = object()


class Joined(Generic[T]):
    """A client's flow and a server's, joined in memory.

    `pieces` says how many octets a `Receive` or a `Poll` is given of what has arrived, `room` how many octets may be on
    the way in each direction (None: any number), so that a `Send` has to wait for its reader.  `lost_after`: when the
    server has written so many octets the connection is lost: the client reads no more, and then has `lost_with` raised,
    or without it finds the end; what it writes is lost, too.  `client_fails`: what the client's n-th effect raises.
    """

    def __init__(
        self,
        client: Flow[T],
        server: Flow[Any],
        *,
        pieces: Pieces = whole,
        room: int | None = None,
        lost_after: int | None = None,
        lost_with: type[OSError] | None = None,
        client_fails: Mapping[int, BaseException] | None = None,
    ) -> None:
        self.client = _End(client)
        self.server = _End(server)
        self._pieces = pieces
        self._room = room
        self._lost_after = lost_after
        self._lost_with = lost_with
        self._client_fails = dict(client_fails or {})
        self._closed = False
        self._moved = False

    @property
    def lost(self) -> bool:
        return self._lost_after is not None and len(self.client.heard) >= self._lost_after

    def run(self) -> T:
        """Both flows to their ends; what the client's returns or raises, unless the server's raises."""
        client, server = self.client, self.server
        client.advance(lambda: next(client.flow))
        server.advance(lambda: next(server.flow))
        while not (client.done and server.done):
            self._moved = False
            self._step(client, server)
            self._step(server, client)
            assert self._moved, f"deadlock: the client waits for {client.effect}, the server for {server.effect}"
        if server.error is not None:
            raise server.error
        if client.error is not None:
            raise client.error
        return client.result  # type: ignore[return-value]  # the flow's T, None included

    def _step(self, end: _End[Any], other: _End[Any]) -> None:
        effect = end.effect
        if effect is None:
            return
        try:
            failure = self._client_fails.pop(len(end.effects) - 1, None) if end is self.client else None
            if failure is not None:
                raise failure
            result = self._perform(effect, end, other)
        except BaseException as error:  # noqa: BLE001  # every exception goes into the flow
            thrown = error
            self._moved = True
            end.advance(lambda: end.flow.throw(thrown))
            return
        if result is not _WAITING:
            self._moved = True
            end.advance(lambda: end.flow.send(result))

    def _perform(self, effect: Effect[Any], end: _End[Any], other: _End[Any]) -> Any:
        if isinstance(effect, Send):
            return self._send(effect, end, other)
        if isinstance(effect, Receive):
            octets = self._take(end)
            return octets if octets is not None else _WAITING
        if isinstance(effect, Poll):
            return self._take(end)
        if isinstance(effect, StartTLS):
            return self._handshake(effect, end, other)
        if isinstance(effect, Close):
            self._closed = True
        return _performed_at_once(effect)

    def _over(self, end: _End[Any]) -> bool:
        """True if nothing will come in any more."""
        return self._closed or self.lost or (self.server if end is self.client else self.client).done

    def _take(self, end: _End[Any]) -> bytes | None:
        if end.incoming:
            count = self._pieces(len(end.incoming))
            octets = bytes(end.incoming[:count])
            del end.incoming[:count]
            return octets
        if not self._over(end):
            return None
        self._fail_if_lost(end)
        return b""

    def _fail_if_lost(self, end: _End[Any]) -> None:
        if self.lost and self._lost_with is not None and end is self.client:
            raise self._lost_with("lost")

    def _send(self, effect: Send, end: _End[Any], other: _End[Any]) -> Any:
        if self._closed:
            raise BrokenPipeError("closed")
        if other.done or self.lost:
            self._fail_if_lost(end)
            return Sent(None, [])
        octets = b"".join(effect.chunks)
        if effect.listen and end.incoming:
            return Sent(self._take(end), [octets])
        fits = len(octets) if self._room is None else min(len(octets), self._room - len(other.incoming))
        if end is self.server and self._lost_after is not None:
            fits = min(fits, self._lost_after - len(self.client.heard))
        other.incoming += octets[:fits]
        other.heard += octets[:fits]
        if fits == len(octets):
            return Sent(None, [])
        effect.chunks = [octets[fits:]]
        self._moved = self._moved or fits > 0
        return _WAITING

    def _handshake(self, effect: StartTLS, end: _End[Any], other: _End[Any]) -> Any:
        if self._over(end):
            raise ConnectionResetError("lost in the middle of the handshake")
        if not isinstance(other.effect, StartTLS) and other.handshakes <= end.handshakes:
            return _WAITING
        assert not end.incoming, "octets in the clear before the handshake"
        end.handshakes += 1
        return None


# -- sessions to begin with -------------------------------------------------------------------------------------------


def introduced(*, lmtp: bool = False, observe: Observer | None = None, flights: bool = False) -> ClientSession:
    """A client's session behind its EHLO (LHLO): ready for a transaction."""
    connection = ClientConnection(lmtp=lmtp, greeted=True)
    connection.send(Lhlo("client.test") if lmtp else Ehlo("client.test"))
    connection.data_to_send()
    connection.receive_data(b"250 mx.test\r\n")
    assert isinstance(connection.next_event(), ReplyReceived)
    return ClientSession(connection, observe, flights=flights)


def in_step(session: ClientSession) -> bool:
    """True if the next command gets its own answer."""
    reply = Scripted([b"250 to the noop\r\n"]).run(session.command(Noop()))
    return reply.text == "to the noop"


def effects_of(kind: type[Any], effects: Sequence[Effect[Any]]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]
