"""TLS as a layer between the driver and any transport of coroutines, over `smtp_proto.tls.TLSPump`.

Theory of operation.  What the transport below brings goes into the pump, and what the pump puts out goes to the
transport.  Whether something has *arrived* is for the pump to say: a session ticket or a key update is nothing, so a
wait goes on behind it, with what is left of its deadline.

What is encrypted cannot be taken back.  So `send` encrypts a piece at a time; when it comes back early, what is left of
the piece's records is kept, the chunk that is reported as unsent for it is an empty one, and the next `send` writes
what was kept before anything else.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from smtp_proto.effects import Sent
from smtp_proto.tls import TLSPump

from .async_driver import AsyncTransport

if TYPE_CHECKING:
    import ssl

# Octets encrypted at a time: a few records' worth, so that little is kept when the peer interrupts.
PIECE = 65536


class AsyncTLS:
    """A transport of coroutines, encrypted over another one.  `ssl.SSLError`, an `OSError`, for what TLS refuses."""

    def __init__(
        self, below: AsyncTransport, context: ssl.SSLContext, server_hostname: str | None, *, server_side: bool = False
    ) -> None:
        self.below = below
        self.pump = TLSPump(context, server_hostname, server_side=server_side)
        self._records: list[bytes] = []  # encrypted, and not written yet
        self._receiving = False  # and nothing is being written

    async def handshake(self, timeout: float | None) -> None:
        """The whole handshake within `timeout`.  What a failed one raises goes on, when its alert is out."""
        deadline = _deadline(timeout)
        done = False
        while not done:
            try:
                done = self.pump.handshake()
            except OSError:
                await self._say_and_forget()
                raise
            await self._flush(deadline)
            if not done:
                self._feed(await self.below.receive(_left(deadline)))

    # -- the transport ------------------------------------------------------------------------------------------------

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        """Not for this transport: it stands on one that is connected."""
        raise OSError("connected already")

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        """Encrypt and write; see the module's header."""
        pieces = _pieces(chunks)
        while True:
            while self._records:
                received, self._records = await self.below.send(self._records, timeout, listen)
                if received is not None:
                    self._feed(received)
                    octets = self._read()
                    if octets is not None:
                        return Sent(octets, [b"", *pieces] if self._records or pieces else [])
            if not pieces:
                return Sent(None, [])
            self.pump.write(pieces.pop(0))
            self._collect()

    async def receive(self, timeout: float | None) -> bytes:
        """Wait for octets of the application; b"" at the end, with or without a close_notify."""
        deadline = _deadline(timeout)
        while (octets := self._read()) is None:
            await self._flush(deadline)
            self._receiving = True
            try:
                arrived = await self.below.receive(_left(deadline))
            finally:
                self._receiving = False
            self._feed(arrived)
        return octets

    async def poll(self) -> bytes | None:
        """What has arrived for the application."""
        arrived = await self.below.poll()
        if arrived is not None:
            self._feed(arrived)
        return self._read()

    async def close(self) -> None:
        """Say close_notify if that needs no waiting, and close; the peer's is not waited for (RFC 8446 6.1)."""
        self.pump.close()
        await self._say_and_forget()
        await self.below.close()

    def interrupt(self) -> None:
        """Let the `receive` that another task is in raise `TimeoutError`, if what is below can."""
        interrupt = getattr(self.below, "interrupt", None)
        if self._receiving and interrupt is not None:
            interrupt()

    def abort(self) -> None:
        """Close at once; for the peer this is a truncation."""
        self.below.abort()

    # -- between pump and transport -----------------------------------------------------------------------------------

    def _feed(self, octets: bytes) -> None:
        if octets:
            self.pump.receive_data(octets)
        else:
            self.pump.receive_eof()

    def _read(self) -> bytes | None:
        octets = self.pump.read()
        self._collect()  # a key update is answered
        return octets

    def _collect(self) -> None:
        records = self.pump.data_to_send()
        if records:
            self._records.append(records)

    async def _flush(self, deadline: float | None) -> None:
        """Write the records that are kept."""
        self._collect()
        while self._records:
            _, self._records = await self.below.send(self._records, _left(deadline), False)

    async def _say_and_forget(self) -> None:
        """Write what there is unless that has to wait or fails: the last words, an alert or a close_notify."""
        self._collect()
        records, self._records = self._records, []
        if records:
            with suppress(OSError):
                await self.below.send(records, 0, False)


def _pieces(chunks: list[bytes]) -> list[bytes]:
    """The chunks, none of them longer than what is encrypted at a time; empty ones are for who takes octets over."""
    return [chunk[start : start + PIECE] for chunk in chunks for start in range(0, len(chunk), PIECE)]


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    """Seconds until a deadline; `TimeoutError` behind it."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
