"""Whatever befalls octets on their way, only what the other end of TLS has written is read, in order, and nobody hangs.

The target is `smtp_surface.async_tls` over a wire that delays, joins, splits, damages, adds, drops and cuts off what
the other end sends, as the input says.  An input: flags, and steps: of the client, and, whenever it waits for the wire,
of that.  TLS draws on chance, so the octets on the wire differ each time; what is done to them does not.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from smtp_proto.effects import Sent
from smtp_proto.tls import TLSPump
from smtp_surface.async_tls import AsyncTLS
from tests.certificates import client_context, server_context, unknown_authority_server_context
from tests.fuzz.inputs import Input

T = TypeVar("T")

CLIENT = functools.cache(client_context)
SERVER = functools.cache(server_context)
STRANGER = functools.cache(unknown_authority_server_context)

# Writes of one piece that the wire may take in parts: each part is an octet at least, or brings octets of the peer's.
MOST_WRITES = 10_000


class Wire:
    """What the client's TLS stands on, and the peer behind it."""

    def __init__(self, given: Input, context: ssl.SSLContext) -> None:
        self.peer = TLSPump(context, server_side=True)
        self.said = b""  # what the peer has written
        self.heard = b""  # what it has read
        self.untouched = True
        self.orderly = True  # let the handshake pass
        self._given = given
        self._under_way = b""
        self._ended = self._failed = False

    # -- the peer -----------------------------------------------------------------------------------------------------

    def _peer(self, step: Callable[[], object]) -> None:
        """Let the peer do something; one that has refused what it got does nothing more."""
        if self._failed:
            return
        try:
            step()
        except ssl.SSLError:
            self._failed = True
        self._under_way += self.peer.data_to_send()

    def say(self, octets: bytes) -> None:
        def write() -> None:
            self.peer.write(octets)
            self.said += octets

        if self.peer.established and octets:
            self._peer(write)

    def _take(self) -> None:
        if self.peer.handshake():
            self.heard += self.peer.read() or b""

    # -- the wire -----------------------------------------------------------------------------------------------------

    def _arriving(self, waiting: bool) -> bytes | None:
        """What comes next; None for nothing, which who waits for is spared."""
        while True:
            if self._ended:
                return b""
            if self.orderly and self._under_way:
                return self._passed(len(self._under_way))
            step = 0 if self.orderly else self._given.number()
            octets = self._step(step % 8, step // 8)
            if octets:
                return octets
            if not waiting and not self._ended:
                return None

    def _step(self, kind: int, count: int) -> bytes:
        if kind == 0:
            self._ended = True
        elif kind == 1:
            return self._passed(count + 1)
        elif kind == 2:
            return self._passed(len(self._under_way))
        elif kind == 3:
            self.say(self._given.some())
        elif kind == 4:
            self._peer(self.peer.close)
        elif kind == 5:
            self._touched(self._given.some() + self._under_way)
        elif kind == 6:
            self._touched(self._under_way[:count] + self._under_way[count + 1 :])
        elif self._under_way:
            at = self._given.number() % len(self._under_way)
            damaged = bytes([self._under_way[at] ^ (count + 1)])
            self._touched(self._under_way[:at] + damaged + self._under_way[at + 1 :])
        return b""

    def _touched(self, octets: bytes) -> None:
        self.untouched = self.untouched and octets == self._under_way
        self._under_way = octets

    def _passed(self, count: int) -> bytes:
        passed, self._under_way = self._under_way[:count], self._under_way[count:]
        return passed

    def end(self) -> bool:
        """Let through what is under way, and see whether all that was said has been let through."""
        self.orderly = True
        return not self._ended

    # -- the transport ------------------------------------------------------------------------------------------------

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        raise AssertionError("it is connected")

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        octets = b"".join(chunks)
        count = len(octets) if self.orderly else min(len(octets), self._given.number() * 8 + 1)
        if self._ended:
            raise ConnectionResetError("the wire is cut")
        self.peer.receive_data(octets[:count])
        self._peer(self._take)
        received = self._arriving(waiting=False) if listen and octets[count:] else None
        return Sent(received, [octets[count:]] if octets[count:] else [])

    async def receive(self, timeout: float | None) -> bytes:
        received = self._arriving(waiting=True)
        assert received is not None
        return received

    async def poll(self) -> bytes | None:
        return self._arriving(waiting=False)

    async def close(self) -> None:
        self._ended = True

    def abort(self) -> None:
        self._ended = True


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing but this wire, which never makes it wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits for something else")


async def step(tls: AsyncTLS, kind: int, given: Input) -> tuple[bytes, bytes | None]:
    """One step of the client: what it has read, and what it has written; None if the end came first."""
    if kind == 0:
        return await tls.receive(None), b""
    if kind == 1:
        return await tls.poll() or b"", b""
    if kind == 2:
        wire = tls.below
        assert isinstance(wire, Wire)
        wire.say(given.some())
        return b"", b""
    octets = given.some() * (kind * kind)
    read, unsent = b"", [octets] if octets else []
    for _ in range(MOST_WRITES):
        if not unsent:
            return read, octets
        received, unsent = await tls.send(unsent, None, listen=kind % 2 == 1)
        read += received or b""
        if received == b"":
            return read, None
    raise AssertionError("writing comes to no end")


def check(data: bytes) -> None:
    given = Input(data)
    flags = given.number()
    stranger = flags & 3 == 3
    wire = Wire(given, STRANGER() if stranger else SERVER())
    wire.orderly = not flags & 4
    tls = AsyncTLS(wire, CLIENT(), "localhost")
    read = written = b""
    problem: OSError | None = None
    try:
        finished(tls.handshake(None))
        assert not stranger, "a server without a certificate was believed"
        wire.orderly = False
        for _ in range(given.number() % 32):
            got, put = finished(step(tls, given.number() % 6, given))
            read += got
            assert wire.said.startswith(read), "read what was not written"
            if put is None:
                break  # who knows how much of it has been written
            written += put
        if wire.end():
            while (octets := finished(tls.poll())) is not None:
                read += octets
                if not octets:
                    break
            assert read == wire.said or not wire.untouched, "what was written was not read"
    except OSError as error:
        problem = error
    assert wire.said.startswith(read)
    assert problem is None or stranger or not wire.untouched or not wire.end(), problem
    # Behind an error, and behind the end, there is nothing more to be had.
    for _ in range(2):
        try:
            read += finished(tls.poll()) or b""
        except OSError:
            problem = problem or OSError()
    assert wire.said.startswith(read)
    assert not stranger or (read == written == b"" and problem is not None)
    if problem is None and written:
        assert wire.heard.startswith(written) or written.startswith(wire.heard)
    finished(tls.close())
