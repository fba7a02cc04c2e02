"""Octets over a blocking socket: the transport of the blocking client and of the server's threads.

The socket stays as its owner sees it: blocking, or with the timeout that `gettimeout` shows.  What is done here never
relies on that.  Every operation tries without blocking and, where nothing can be done yet, waits in `select.poll` for
both directions at once: so a deadline covers a whole operation, a flight that fills the socket's buffer sees what the
server says meanwhile, and two sides that both write do not wait for each other for ever.

Three kinds of socket come by.  A plain one is told MSG_DONTWAIT with each call.  An `ssl.SSLSocket` takes no flags, and
may have to write in order to read: it is made non-blocking for the moment.  Anything else (a test's double, a wrapper
that people assign to `smtp.sock`) only has `sendall` and `recv`, and is used just so.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from types import BuiltinMethodType
from typing import Any, TypeGuard

from smtp_proto.channel_binding import TLSFacts
from smtp_proto.effects import Flight, Sent
from smtp_proto.tls import facts_of
from smtp_surface.driver import LARGE, Begin, Tell
from smtp_surface.looks import looks_at

# Octets asked for in one read: the largest TLS record is 16 kB, and replies are smaller.
READ_SIZE = 65536
# What one TLS record holds.  Of more at a time `ssl` would say nothing before all is out, and the peer's answer to the
# first record would be taken for one to what it has not seen.
RECORD = 16384

# Looks, of less than half a microsecond each, in which a server on the same machine has answered.
LOOKS = 400

_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
_ALL_SENT = Sent(None, [])

#: Asks within so many milliseconds (None: for ever) whether there is something; false if not.
Ask = Callable[[float | None], object]


def is_socket(given: object) -> TypeGuard[socket.socket]:
    """True for a socket of the operating system, whatever class is around it.

    There are programs that put a class of their own into the place of `socket.socket` (PySocks): sockets that were made
    before, and `ssl.SSLSocket`, are none of that one, but what all of them stand on stays the same.
    """
    return isinstance(given, (socket.SocketType, socket.socket))


class _Wait:
    """Waiting for a socket until it can be read, written, or either."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._polls: dict[tuple[bool, bool], Any] = {}
        #: Asks, with milliseconds, whether it can be read; None until that was needed for the first time.
        self.reads: Ask | None = None

    def readable(self, timeout: float | None) -> bool:
        """`ready` for reading alone, which nearly all waits are for, in half the time."""
        ask = self.reads
        if ask is None or self._sock.fileno() < 0:
            return self.ready(True, False, timeout)[0]
        return bool(ask(timeout and (timeout * 1000 if timeout > 0 else 0)))

    def ready(self, read: bool, write: bool, timeout: float | None) -> tuple[bool, bool]:
        """``(readable, writable)``; both False when `timeout` (seconds, None for ever, 0 not at all) has passed."""
        if not hasattr(select, "poll"):
            readable, writable, _ = select.select(
                [self._sock] if read else [], [self._sock] if write else [], [], timeout
            )
            return bool(readable), bool(writable)
        if self._sock.fileno() < 0:  # another thread has closed it, and its number may be another socket's by now
            raise OSError("the socket was closed")
        # One object for each direction and one for both, made when first needed: changing one takes as long as asking.
        poll = self._polls.get((read, write))
        if poll is None:
            poll = self._polls[read, write] = select.poll()
            poll.register(self._sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
            if not write:
                self.reads = poll.poll
        events = poll.poll(timeout if timeout is None else timeout * 1000 if timeout > 0 else 0)
        if not events:
            return False, False
        mask = events[0][1]
        # An error or a hang-up is found out by trying.
        broken = mask & ~(select.POLLIN | select.POLLOUT)
        return bool(mask & select.POLLIN or broken) and read, bool(mask & select.POLLOUT or broken) and write


class SocketTransport:
    """A connected socket; see the module's header.  Raises nothing but `OSError`."""

    def __init__(self, sock: socket.socket) -> None:
        """`OSError` for a socket that is closed."""
        self._woken = False
        self._wait: _Wait | None = None
        self._use(sock)

    def _use(self, sock: socket.socket) -> None:
        """Go on with this socket."""
        self.sock = sock
        if is_socket(sock):
            if sock.fileno() < 0:
                raise OSError(errno.EBADF, "the socket is closed")
            with suppress(OSError):  # a Unix socket has no such thing
                # What is small is wanted at once, and not with what follows (Nagle's algorithm): replies, and the last
                # of several flights that are under way.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._wait = _Wait(sock)
            self._looks = looks_at(sock, LOOKS)
        # Only a method of the operating system's socket takes flags: gevent puts its own in the place, which wait all
        # the same.
        self._takes_flags = bool(_DONT_WAIT) and isinstance(getattr(sock, "recv", None), BuiltinMethodType)
        # What TLS has taken in and not given out shows at no socket.
        self._holds_back = isinstance(sock, ssl.SSLSocket)

    @property
    def timeout(self) -> float | None:
        """The timeout that the socket shows, in seconds."""
        return None if self._wait is None else self.sock.gettimeout()

    @contextmanager
    def _without_blocking(self) -> Iterator[None]:
        """The socket made non-blocking, for what takes no flag that says so."""
        before = self.sock.gettimeout()
        self.sock.setblocking(False)
        try:
            yield
        finally:
            if self.sock.fileno() >= 0:
                self.sock.settimeout(before)

    def _attempt(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """`operation` without waiting; raises `BlockingIOError` or ssl's two equivalents if it would have to."""
        if self._takes_flags and self.sock.gettimeout() is None:
            return operation(*arguments, _DONT_WAIT)
        with self._without_blocking():
            return operation(*arguments)

    # -- the transport ------------------------------------------------------------------------------------------------

    def connect(self, host: str, port: int, timeout: float | None) -> None:
        """Not for this transport: it is made of a socket that is connected."""
        raise OSError("this socket is connected already")

    def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        """Write `chunks`; `TimeoutError` if for `timeout` seconds not an octet could be written."""
        octets = b"".join(chunks) if len(chunks) > 1 else chunks[0]
        if self._wait is None:
            self.sock.sendall(octets)
            return Sent(None, [])
        size = len(octets)
        view: bytes | memoryview = octets
        while view:
            try:
                if self._takes_flags and self.sock.gettimeout() is None:
                    written = self.sock.send(view, _DONT_WAIT)  # as `_attempt` does
                else:
                    written = self._attempt(self.sock.send, view[:RECORD] if self._holds_back else view)
                if written == size < LARGE:
                    return _ALL_SENT  # what nearly all is
                view = memoryview(view)[written:]
                continue
            except (BlockingIOError, ssl.SSLWantWriteError):
                read, write = listen, True
            except ssl.SSLWantReadError:
                read, write = True, False
            readable, writable = self._wait.ready(read, write, timeout)
            if not readable and not writable:
                raise TimeoutError("timed out")
            if readable and listen:
                received = self.poll()
                if received is not None:
                    return Sent(received, [bytes(view)])
        if listen and size >= LARGE:
            with suppress(OSError):  # of the reading: it comes back with the next one
                return Sent(self.poll() or None, [])
        return Sent(None, [])

    def exchange(self, flight: Flight, begin: Begin, tell: Tell) -> bytes | None:
        """Small flights in half the time of their steps, over a plain socket that blocks, as nearly all are."""
        sock, wait = self.sock, self._wait
        ask = wait.reads if wait is not None and self._takes_flags else None
        if ask is None or sock.gettimeout() is not None:
            return None  # nothing is done
        while len(octets := flight.octets) < LARGE and sock.fileno() >= 0:
            if flight.looks and ask(0):
                received = self.poll()
                if received is not None:
                    return received
            flight.begun = True
            if tell is not None:
                tell(octets)
            try:
                written = sock.send(octets, _DONT_WAIT)
            except BlockingIOError:
                written = 0
            if written != len(octets):
                flight.unsent = [octets[written:]]
                begin(flight.stage)
                return None
            flight.written = True
            timeout = begin(flight.answer)
            if timeout is None:
                received = sock.recv(READ_SIZE)
            else:  # as `receive`, in a third of its time
                looks = self._looks[flight.answer]
                looks.were(found := any(map(ask, repeat(0, looks.count))))
                if not found and not ask(timeout * 1000):
                    raise TimeoutError("timed out")
                try:
                    received = sock.recv(READ_SIZE, _DONT_WAIT)
                except BlockingIOError:
                    received = self.receive(timeout)  # what was there is not any more: it is as if nothing had been
            if not flight.follow(received):
                return received
        return None

    def receive(self, timeout: float | None) -> bytes:
        """Wait for octets until `timeout` seconds have passed (`TimeoutError`)."""
        if self._wait is None:
            received: bytes = self.sock.recv(READ_SIZE)
            return received
        if self._takes_flags and self.sock.gettimeout() is None:
            if timeout is None:
                return self.sock.recv(READ_SIZE)
            if self._wait.readable(timeout):
                try:
                    return self.sock.recv(READ_SIZE, _DONT_WAIT)
                except BlockingIOError:
                    pass  # what was there is not any more: it is as if nothing had been
        deadline = None if timeout is None else time.monotonic() + timeout
        # To ask first is one system call more where the octets are there, and two less where they are not: usual.
        if not self._holds_back and not self._wait.readable(timeout):
            raise TimeoutError("timed out")
        wanted = None
        left = timeout
        while True:
            if wanted is not None and self._wait.ready(*wanted, left) == (False, False):
                raise TimeoutError("timed out")
            try:
                return self._read()
            except (BlockingIOError, ssl.SSLWantReadError):
                wanted = (True, False)
            except ssl.SSLWantWriteError:
                wanted = (False, True)
            left = None if deadline is None else deadline - time.monotonic()

    def poll(self) -> bytes | None:
        """What has arrived; None for nothing."""
        if self._wait is None:
            return None  # there is no asking such a socket without waiting
        if not self._holds_back and not self._wait.readable(0):
            return None
        try:
            return self._read()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def _read(self) -> bytes:
        try:
            received: bytes = self._attempt(self.sock.recv, READ_SIZE)
        except ssl.SSLZeroReturnError:
            return b""
        return received

    def start_tls(
        self, context: ssl.SSLContext, server_hostname: str | None, server_side: bool, timeout: float | None
    ) -> TLSFacts:
        """Wrap the socket; what a failed handshake raises goes on."""
        if self._wait is None:
            self.sock = context.wrap_socket(self.sock, server_side=server_side, server_hostname=server_hostname)
            return facts_of(self.sock)
        deadline = None if timeout is None else time.monotonic() + timeout
        before = self.sock.gettimeout()
        failed = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))  # as `wrap_socket` would, but that loses the socket then
        # An end without close_notify is given as an end (`suppress_ragged_eofs`): one in the middle of a reply is told
        # by the reply being incomplete, and many servers end so after QUIT's 221 (RFC 8446 6.1 forbids it).
        secured = context.wrap_socket(
            self.sock, server_side=server_side, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        self._use(secured)
        if self._woken:
            raise OSError("closed by another thread")  # which has shut down the socket that this one was made of
        secured.setblocking(False)
        while True:
            try:
                secured.do_handshake()
                break
            except ssl.SSLWantReadError:
                wanted = (True, False)
            except ssl.SSLWantWriteError:
                wanted = (False, True)
            if self._wait.ready(*wanted, None if deadline is None else deadline - time.monotonic()) == (False, False):
                raise TimeoutError("the TLS handshake timed out")
        secured.settimeout(before)
        return facts_of(secured)

    def close(self) -> None:
        """Close without waiting for anybody: no TLS goodbye, which nobody would read."""
        with suppress(OSError):
            self.sock.close()

    def stop_reading(self) -> None:
        """End the `receive` that another thread is in, and all that follow, as if the peer had hung up."""
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RD)

    def wake(self) -> None:
        """End the operation that another thread is in: closing alone would leave it waiting."""
        self._woken = True
        if self._wait is None:
            self.close()
            return
        with suppress(OSError):
            # Not `SSLSocket.shutdown`: that takes its TLS off first, and the other thread would go on in the clear.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
