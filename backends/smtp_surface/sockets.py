"""Octets over a plain socket that does not block, for every loop that tells when one is ready.

trio and anyio have the same handful of functions under nearly the same names; `Loop` is the table of them, and all that
is done with a socket stands here once: connecting to the first of a host's addresses that answers, writing while
listening, reading until a deadline.  Their own streams are not used: they have no way to see what has arrived without
waiting, and anyio's may have read ahead (`smtp_proto.effects.Poll`).

Good citizens.  Every method but `abort` is a checkpoint before it does anything that could not be done again: a
cancellation that is due strikes before the first octet, and one that comes later strikes where the loop waits.  The
loop's other tasks have their turn with each write and each read: one may be about to give `send_many` a message.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

from smtp_proto.effects import Sent
from smtp_proto.states import Stage

from .driver import LARGE
from .looks import Looks, looks_at

# Octets asked for in one read: the largest TLS record is 16 kB, and replies are smaller.
READ_SIZE = 65536
# Turns of a loop's other tasks in which a server on the same machine has answered.
LOOKS = 16
# Seconds after which the next address of a host is tried beside the one that does not answer (RFC 8305 8).
HAPPY_EYEBALLS_DELAY = 0.25
# Seconds after which a Unix socket whose queue is full is tried again: nothing tells when it is not any more.
FULL_QUEUE_DELAY = 0.05


class Loop(NamedTuple):
    """The functions of an asynchronous library, by the names that trio and anyio give them."""

    wait_readable: Callable[[Any], Awaitable[None]]
    wait_writable: Callable[[Any], Awaitable[None]]
    notify_closing: Callable[[Any], None]
    checkpoint: Callable[[], Awaitable[None]]
    checkpoint_if_cancelled: Callable[[], Awaitable[None]]
    cancel_shielded_checkpoint: Callable[[], Awaitable[None]]
    move_on_after: Callable[[float], AbstractContextManager[Any]]
    task_group: Callable[[], AbstractAsyncContextManager[Any]]
    event: Callable[[], Any]
    lock: Callable[[], Any]
    #: The running loop, to be compared; `RuntimeError` outside of one.
    token: Callable[[], object]
    sleep: Callable[[float], Awaitable[None]]
    getaddrinfo: Callable[..., Awaitable[Any]]
    #: What waiting for a socket or using a stream raises when it was closed or is broken.
    broken: tuple[type[Exception], ...]
    #: What a stream's `receive` raises at its end, where it does not give b"".
    end: type[Exception]

    async def connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a socket that does not block."""
        while True:
            try:
                sock.connect(address)
            except BlockingIOError as error:
                if error.errno != errno.EINPROGRESS:
                    await self.sleep(FULL_QUEUE_DELAY)
                    continue
                await self.wait_writable(sock)
                failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    raise OSError(failed, os.strerror(failed)) from None
            return

    async def wait(self, event: Any, seconds: float) -> None:
        """Wait for an event, but not longer."""
        with self.move_on_after(seconds):
            await event.wait()

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[Any]:
        """`TimeoutError` if the block takes longer; what the library raises for what is broken, as `OSError`."""
        try:
            with self.move_on_after(float("inf") if seconds is None else max(0.0, seconds)) as scope:
                yield scope
        except self.broken as error:
            raise OSError(f"the connection was closed: {error}") from error
        if scope.cancelled_caught:
            raise TimeoutError("timed out")


class SocketTransport:
    """A connection over a socket, or one to be made by `connect`; raises nothing but `OSError` and cancellations."""

    def __init__(
        self, loop: Loop, sock: socket.socket | None = None, source_address: tuple[str, int] | None = None
    ) -> None:
        self._loop = loop
        self._source_address = source_address
        self.sock = sock
        self._scope: Any = None  # of the `receive` that is under way
        self._asked: Looks | None = None  # by `attempt`, for what
        self._written = 0  # octets since what has arrived was looked at
        if sock is not None:
            self._prepare(sock)

    def _prepare(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with suppress(OSError):  # a Unix socket has no such thing
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._may_be_read = readiness(sock.fileno())
        self._looks = looks_at(sock, LOOKS)

    def _open(self) -> socket.socket:
        if self.sock is None:
            raise OSError("not connected")
        if self.sock.fileno() < 0:
            raise OSError("the connection was closed")
        return self.sock

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        """Connect, trying the host's addresses beside each other; a `host` that begins with "/" is a Unix socket's."""
        loop = self._loop
        with loop.within(timeout):
            self.sock = await open_socket(host, port, self._source_address, loop, loop.getaddrinfo, loop.connect)
        self._prepare(self.sock)

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        """Write; see `smtp_surface.async_driver.AsyncTransport`."""
        loop, sock = self._loop, self._open()
        await loop.checkpoint_if_cancelled()
        octets = b"".join(chunks) if len(chunks) != 1 else chunks[0]
        view = memoryview(octets)
        while view:
            try:
                view = view[sock.send(view) :]
                continue
            except BlockingIOError:
                pass
            with loop.within(timeout):
                await (_either(loop, sock) if listen else loop.wait_writable(sock))
            if listen and (received := self._read()) is not None:
                return Sent(received, [bytes(view)])
        await loop.cancel_shielded_checkpoint()
        self._written += len(octets)
        if self._written >= LARGE:
            self._written = 0
            if listen:
                with suppress(OSError):  # of the reading: it comes back with the next one
                    return Sent(self._read() or None, [])
        return Sent(None, [])

    def attempt(self, octets: bytes, answer: Stage) -> list[bytes]:
        """Write what goes out at once; see `smtp_surface.async_driver.AsyncTransport`."""
        try:
            written = self._open().send(octets)
        except BlockingIOError:
            written = 0
        if written < len(octets):
            return [octets[written:]]
        self._asked = self._looks[answer]
        return []

    async def receive(self, timeout: float | None) -> bytes:
        """Wait for octets; b"" at the end."""
        loop = self._loop
        self._written = 0
        looks, self._asked = self._asked, None
        if looks is not None:
            # Not shielded, which takes anyio five times as long.
            octets = await looks.find(loop.checkpoint, self._read_at_hand)
            return octets if octets is not None else await self._arrival(timeout)
        # To look takes 1.3 us, where a wait with its deadline takes 17 to 28 (measured).
        await loop.checkpoint_if_cancelled()
        octets = self._read()
        if octets is not None:
            await loop.cancel_shielded_checkpoint()
            return octets
        return await self._arrival(timeout)

    async def _arrival(self, timeout: float | None) -> bytes:
        octets = None
        with self._loop.within(timeout) as self._scope:
            while octets is None:
                await self._loop.wait_readable(self._open())
                octets = self._read()
        assert octets is not None
        return octets

    def interrupt(self) -> None:
        """Let the `receive` that another task is in raise `TimeoutError`: nothing is read before it is given."""
        if self._scope is not None:
            self._scope.cancel()

    async def poll(self) -> bytes | None:
        """What has arrived."""
        await self._loop.checkpoint_if_cancelled()
        return self._read_at_hand()

    def _read_at_hand(self) -> bytes | None:
        self._open()
        return self._read() if self._may_be_read() else None

    def _read(self) -> bytes | None:
        try:
            return self._open().recv(READ_SIZE)
        except BlockingIOError:
            return None

    async def close(self) -> None:
        """Close; no goodbye is waited for."""
        self.abort()
        await self._loop.checkpoint()

    def abort(self) -> None:
        """Close at once; who waits for the socket is told."""
        if self.sock is None or self.sock.fileno() < 0:
            return
        with suppress(RuntimeError):  # of a loop that has gone, with all who waited in it
            self._loop.notify_closing(self.sock)
        self.sock.close()


# -- waiting and connecting --------------------------------------------------------------------------------------------


def readiness(number: int) -> Callable[[], object]:
    """A function whose result is true if something may be read from a socket.

    To read where there is nothing, which raises, takes three times as long.  When the socket is closed it is of no use
    any more: its number may be another's.
    """
    if os.name != "posix":
        return lambda: True
    ready = select.poll()
    ready.register(number, select.POLLIN)
    return partial(ready.poll, 0)


def look_at(transport: Any) -> Callable[[], bytes | None]:
    """A function that gives what has arrived at the socket of one of asyncio's transports; None for nothing.

    b"" is not only for the end, but for all that the loop has to find out itself, so where TLS hides what has arrived.
    To ask the loop, which takes two rounds, costs ten times as much.  It is of use as long as `readiness` is.
    """
    if os.name != "posix" or transport.get_extra_info("sslcontext") is not None:
        return bytes
    number = transport.get_extra_info("socket").fileno()
    may_be_read = readiness(number)

    def look() -> bytes | None:
        try:
            return os.read(number, READ_SIZE) if may_be_read() else None
        except BlockingIOError:
            return None
        except OSError:  # the loop hears of it, too
            return b""

    return look


async def _either(loop: Loop, sock: socket.socket) -> None:
    """Wait until a socket can be read or written; what is wrong with it is found out by trying."""

    async def wait(ready: Callable[[Any], Awaitable[None]]) -> None:
        with suppress(OSError, *loop.broken):
            await ready(sock)
        group.cancel_scope.cancel()

    async with loop.task_group() as group:
        group.start_soon(wait, loop.wait_readable)
        group.start_soon(wait, loop.wait_writable)


async def connected_socket(
    info: Any, source: tuple[str, int] | None, connect: Callable[[socket.socket, Any], Awaitable[None]]
) -> socket.socket:
    """A socket that is connected to one address, as `getaddrinfo` gives them; `OSError` if it cannot be."""
    family, kind, proto, _, address = info
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        if source is not None:
            sock.bind(source)
        await connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def in_turns(found: list[Any]) -> list[Any]:
    """Addresses as the resolver orders them, but those of the two families in turns (RFC 8305 4)."""
    first = [info for info in found if info[0] == found[0][0]]
    others = [info for info in found if info[0] != found[0][0]]
    ordered = []
    while first or others:
        ordered += [first.pop(0)] if first else []
        ordered += [others.pop(0)] if others else []
    return ordered


async def open_socket(
    host: str,
    port: int,
    source: tuple[str, int] | None,
    library: Any,
    getaddrinfo: Callable[..., Awaitable[Any]],
    connect: Callable[[socket.socket, Any], Awaitable[None]],
) -> socket.socket:
    """A connection to a host, or to a Unix socket whose path begins with "/".

    Of a host's addresses it is the one that answers first; each has a head start before the next.  `library` has
    `task_group`, `event` and `wait`, as a `Loop` has.
    """
    if host.startswith("/"):
        return await connected_socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", host), None, connect)
    infos = in_turns(await getaddrinfo(host, port, type=socket.SOCK_STREAM))
    connected: list[socket.socket] = []
    failures: list[Exception] = []

    async def attempt(info: Any, done: Any) -> None:
        try:
            connected.append(await connected_socket(info, source, connect))
        except Exception as error:  # noqa: BLE001  # raised below, and not in a group of exceptions
            failures.append(error)
        else:
            group.cancel_scope.cancel()
        done.set()

    try:
        async with library.task_group() as group:
            for info in infos:
                done = library.event()
                group.start_soon(attempt, info, done)
                await library.wait(done, HAPPY_EYEBALLS_DELAY)
                if connected:
                    break
        if connected:
            return connected.pop(0)
    finally:
        for sock in connected:  # two at the same time, or a cancellation that came with the answer
            sock.close()
    raise failures[-1] if failures else OSError(f"{host!r} has no address")
