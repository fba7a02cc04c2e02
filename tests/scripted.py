r"""A server that says what a script tells it: bad networks and hostile peers, on demand.

Theory of operation
-------------------
A *script* is a sequence of *steps*, frozen values that read like a conversation::

    script = [
        Send(b"220 mx.test ESMTP\r\n"),
        Expect(b"ehlo "),
        Send(b"250-mx.test\r\n250 PIPELINING\r\n"),
        Repeat(2, Expect(b"rcpt to:"), Drip(b"250 ok\r\n", interval=0.01)),
        Reset(),
    ]
    with ScriptedServer(script) as server:
        client(server.host, server.port)
    assert server.received == [b"ehlo client.test\r\n", ...]

`ScriptedServer` listens on a free port of the loopback interface (or a Unix socket) and plays one
script per connection, one after the other, in a thread of its own. Each connection is a
`Conversation`: the socket, what was read but not yet expected, and the place in the script. A step
is anything with ``play(conversation)``; a test may define its own. There is no SMTP in here: a
server that knew the rules could not be made to break them.

*Failures.* A step that does not find what it expects raises `ScriptFailed`, which ends the
connection and is kept as ``server.failure``. Leaving the ``with`` raises it as an AssertionError,
unless ``strict=False``. If the test itself raises, its exception goes out, with a note that says
where the script was.

*Time.* Each step that waits has a bound, ``limit``, so that a broken test ends with a message. The
only sleeps are those that a script asks for (`Delay`, `Drip`, `Segments`): they are what is tested,
not a means of synchronisation, and they end early when the test has left the ``with``. For
synchronisation there are `WaitFor` and `Signal`.

*Leaving the* ``with`` waits until the script has ended, so ``received`` and ``failure`` are final
after it (inside, they are a moving target unless a `Signal` says that the script is past a step).
This wait blocks the thread: for asynchronous clients, put the event loop inside the ``with``
(``asyncio.run(...)``), not the ``with`` inside the loop, whose connections could not close.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeAlias

LIMIT = 10.0  # seconds for a step that waits: far more than a loaded machine needs for any of them
CHUNK = 65536
# Between segments: long enough for a reader that is waiting to be woken, so that it sees the pieces
# one by one; TCP promises nothing, and no test may depend on it for more than its coverage.
SEGMENT_INTERVAL = 0.005

Client: TypeAlias = Callable[[str, int], object]
"""Something that talks to the server at (host, port): any client can be run against any script."""


class ScriptFailed(AssertionError):
    """The conversation did not go as the script says."""


class ClientHungUp(ScriptFailed):
    """The client ended the connection, cleanly or not, before the script did."""


class Step(Protocol):
    """One thing to do in a conversation."""

    def play(self, conversation: Conversation) -> None:
        """Do it; raise `ScriptFailed` if the client did something else."""


Script: TypeAlias = Sequence[Step]


def split_everywhere(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield every way to cut ``data`` in two non-empty pieces."""
    return ((data[:cut], data[cut:]) for cut in range(1, len(data)))


# --- Steps that send ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Send:
    """Send ``data`` with one write: several replies in it travel in one segment (if they fit)."""

    data: bytes

    def play(self, conversation: Conversation) -> None:
        conversation.send(self.data)


@dataclass(frozen=True, init=False)
class Segments:
    """Send each piece as a segment (under TLS: a record) of its own, ``interval`` seconds apart."""

    pieces: tuple[bytes, ...]
    interval: float

    def __init__(self, *pieces: bytes, interval: float = SEGMENT_INTERVAL) -> None:
        object.__setattr__(self, "pieces", pieces)
        object.__setattr__(self, "interval", interval)

    def play(self, conversation: Conversation) -> None:
        for number, piece in enumerate(self.pieces):
            if number:
                conversation.pause(self.interval)
            conversation.send(piece)


@dataclass(frozen=True)
class Drip:
    """Send ``data`` in segments of ``size`` bytes, ``interval`` seconds apart."""

    data: bytes
    interval: float = SEGMENT_INTERVAL
    size: int = 1

    def play(self, conversation: Conversation) -> None:
        cuts = range(0, len(self.data), self.size)
        pieces = (self.data[cut : cut + self.size] for cut in cuts)
        Segments(*pieces, interval=self.interval).play(conversation)


@dataclass(frozen=True)
class Flood:
    """Send ``data`` again and again; the client must hang up before it has taken ``count`` of them.

    The socket buffers of both sides swallow some megabytes before the first byte is refused:
    ``count * len(data)`` has to be well above that.
    """

    data: bytes
    count: int = 10_000_000

    def play(self, conversation: Conversation) -> None:
        per_write = max(1, CHUNK // len(self.data))
        block = self.data * per_write
        with contextlib.suppress(ClientHungUp):
            for left in range(self.count, 0, -per_write):
                conversation.send(block[: left * len(self.data)])
            raise ScriptFailed(f"expected the client to hang up, but it took all {self.count}")


# --- Steps that read ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expect:
    """Read one line (to LF) that starts with ``prefix``, in any letter case; ``Expect()``: any."""

    prefix: bytes = b""

    def play(self, conversation: Conversation) -> None:
        wanted = f"a line that starts with {self.prefix!r}" if self.prefix else "a line"
        line = conversation.record(conversation.read_line(wanted))
        if not line.lower().startswith(self.prefix.lower()):
            raise ScriptFailed(f"expected {wanted}, got {_shortened(line)}")


@dataclass(frozen=True)
class ExpectExactly:
    """Read one line that is ``line``: letter case, white space, CR and LF included."""

    line: bytes

    def play(self, conversation: Conversation) -> None:
        line = conversation.record(conversation.read_line(repr(self.line)))
        if line != self.line:
            raise ScriptFailed(f"expected {self.line!r}, got {_shortened(line)}")


@dataclass(frozen=True)
class ExpectLines:
    """Read ``count`` lines, whatever they are."""

    count: int

    def play(self, conversation: Conversation) -> None:
        for number in range(1, self.count + 1):
            conversation.record(conversation.read_line(f"line {number} of {self.count}"))


@dataclass(frozen=True)
class ExpectBody:
    """Read the body of DATA, to the first CRLF.CRLF; it is recorded as sent, terminator included.

    The CRLF of the command counts (RFC 5321, 4.1.1.4): an empty body is a lone ``.CRLF``.
    """

    def play(self, conversation: Conversation) -> None:
        body = bytearray(b"\r\n")
        while not body.endswith(b"\r\n.\r\n"):
            body += conversation.read_line("a body and its CRLF.CRLF")
        conversation.record(bytes(body[2:]))


@dataclass(frozen=True)
class ExpectOctets:
    """Read ``count`` octets, whatever they are: the data of BDAT."""

    count: int

    def play(self, conversation: Conversation) -> None:
        conversation.record(conversation.read_octets(self.count))


@dataclass(frozen=True)
class ExpectEOF:
    """Wait until the client hangs up (FIN, RST, close_notify), without a byte before it."""

    def play(self, conversation: Conversation) -> None:
        if conversation.unread or conversation.receive("the client to hang up"):
            came = _shortened(bytes(conversation.unread))
            raise ScriptFailed(f"expected the client to hang up, got {came}")


@dataclass(frozen=True)
class Drain:
    """Read all that still comes, until the client hangs up; it is recorded in one piece."""

    def play(self, conversation: Conversation) -> None:
        while conversation.receive("the client to hang up"):
            pass
        if conversation.unread:
            conversation.record(conversation.read_octets(len(conversation.unread)))


# --- Steps about time -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Delay:
    """Do nothing for ``seconds``."""

    seconds: float

    def play(self, conversation: Conversation) -> None:
        conversation.pause(self.seconds)


@dataclass(frozen=True)
class WaitFor:
    """Wait until the test sets ``event``."""

    event: threading.Event

    def play(self, conversation: Conversation) -> None:
        conversation.wait_for(self.event)


@dataclass(frozen=True)
class Signal:
    """Set ``event``: tells the test that the script has come this far."""

    event: threading.Event

    def play(self, conversation: Conversation) -> None:
        self.event.set()


# --- Steps that change the connection -------------------------------------------------------------


@dataclass(frozen=True)
class StartTLS:
    """Do the server's side of a TLS handshake; as the first step this is implicit TLS.

    With ``refused=True`` the client must break the handshake off, or hang up instead of it.
    """

    context: ssl.SSLContext
    refused: bool = False

    def play(self, conversation: Conversation) -> None:
        try:
            conversation.start_tls(self.context)
        except TimeoutError:
            raise ScriptFailed("expected a TLS handshake: not finished in time") from None
        except OSError as error:  # ssl.SSLError is one
            if not self.refused:
                raise ScriptFailed(f"expected a TLS handshake, got {error!r}") from error
        else:
            if self.refused:
                raise ScriptFailed("expected the client to refuse TLS, but the handshake succeeded")


@dataclass(frozen=True)
class HalfClose:
    """Send FIN and go on reading. Under TLS no close_notify goes before it: a truncation."""

    def play(self, conversation: Conversation) -> None:
        conversation.half_close()


@dataclass(frozen=True)
class Close:
    """Close the connection, as the end of a script does too.

    Under TLS a close_notify goes first; ``close_notify=False`` leaves it out: a truncation.
    """

    close_notify: bool = True

    def play(self, conversation: Conversation) -> None:
        conversation.close(close_notify=self.close_notify)


@dataclass(frozen=True)
class Reset:
    """Send RST. (A Unix socket has none: it is just closed.)

    Soon after the start of a script it may reach a client that is still in its connect(); after an
    Expect() it cannot. Linux lets the client read what was sent before it, other systems may not.
    """

    def play(self, conversation: Conversation) -> None:
        conversation.reset()


# --- Steps made of steps --------------------------------------------------------------------------


@dataclass(frozen=True, init=False)
class Repeat:
    """Play ``steps`` ``count`` times."""

    count: int
    steps: tuple[Step, ...]

    def __init__(self, count: int, *steps: Step) -> None:
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "steps", steps)

    def play(self, conversation: Conversation) -> None:
        for number in range(1, self.count + 1):
            conversation.play(self.steps, turn=f"[{number}]")


@dataclass(frozen=True, init=False)
class ExpectHangUp:
    """Play ``steps``; the client must hang up during them or after them (for example a long Drip).

    This is stricter than ``strict=False``, which lets a client hang up anywhere. What the client
    sends after the steps is recorded and not judged.
    """

    steps: tuple[Step, ...]

    def __init__(self, *steps: Step) -> None:
        object.__setattr__(self, "steps", steps)

    def play(self, conversation: Conversation) -> None:
        with contextlib.suppress(ClientHungUp):
            conversation.play((*self.steps, Drain()))


# --- The machinery --------------------------------------------------------------------------------


class Conversation:
    """The server's end of one connection: what the steps act upon, and what came of it."""

    received: list[bytes]
    """What each step has read, as it was sent (CR and LF included): lines, bodies, octets."""
    received_bytes: bytearray
    """All that was read, whether a step expected it or not; in the clear, after TLS."""
    unread: bytearray
    """The end of `received_bytes` that no step has read yet."""

    def __init__(self, connection: socket.socket, limit: float, leaving: threading.Event) -> None:
        if connection.family != getattr(socket, "AF_UNIX", None):
            # Nagle's algorithm would join small pieces while one of them waits for its ACK.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = []
        self.received_bytes = bytearray()
        self.unread = bytearray()
        self.aborted = False
        self._socket = connection
        self._limit = limit
        self._leaving = leaving
        self._deadline = 0.0
        self._path = ""
        self._step: Step | None = None

    @property
    def position(self) -> str:
        """Where the script is: ``step 4[2].1, Expect(prefix=b'rcpt to:')`` is in a second turn."""
        return f"step {self._path}, {_shortened(self._step)}" if self._path else "at the end"

    def play(self, steps: Sequence[Step], turn: str = "") -> None:
        """Play ``steps``; ``turn`` marks a repetition in `position`."""
        # The path is deliberately left as it is by an exception: it is the place of the failure.
        outer = self._path
        for number, step in enumerate(steps, 1):
            if self.aborted:
                raise ScriptFailed("the test has ended")
            self._path = f"{outer}{turn}.{number}" if outer else str(number)
            self._step = step
            self._deadline = time.monotonic() + self._limit
            step.play(self)
        self._path = outer

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        try:
            self._start_waiting()
            self._socket.sendall(data)
        except TimeoutError:
            message = f"the client did not take {_shortened(data)} within {self._limit} s"
            raise ScriptFailed(message) from None
        except OSError as error:
            message = f"the client hung up before {_shortened(data)} was sent: {error!r}"
            raise ClientHungUp(message) from error

    def receive(self, wanted: str) -> bool:
        """Wait for some bytes and add them to `unread`; False when the client has hung up."""
        try:
            self._start_waiting()
            data = self._socket.recv(CHUNK)
        except TimeoutError:
            raise ScriptFailed(f"expected {wanted} within {self._limit} s{self._but()}") from None
        except OSError as error:
            # A client that closes with bytes unread sends RST, wanted or not: no other news than
            # FIN. So is a TLS alert, OpenSSL's answer to a truncation for example.
            alert = isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")
            if alert or isinstance(error, (ConnectionError, ssl.SSLEOFError)):
                return False
            raise ScriptFailed(f"expected {wanted}, got {error!r}{self._but()}") from error
        self.unread += data
        self.received_bytes += data
        return bool(data)

    def read_line(self, wanted: str) -> bytes:
        """Read to the next LF, and with it."""
        start = 0  # do not search again what was searched: bodies can be long
        while (end := self.unread.find(b"\n", start)) < 0:
            start = len(self.unread)
            self._receive_more(wanted)
        return self._take(end + 1)

    def read_octets(self, count: int) -> bytes:
        """Read exactly ``count`` octets."""
        while len(self.unread) < count:
            self._receive_more(f"{count} octets")
        return self._take(count)

    def record(self, data: bytes) -> bytes:
        """Add ``data`` to `received`; return it."""
        self.received.append(data)
        return data

    def pause(self, seconds: float) -> None:
        """Do nothing, out of the step's own time, not of its limit's."""
        self._leaving.wait(seconds)
        self._deadline += seconds

    def wait_for(self, event: threading.Event) -> None:
        """Wait for an event of the test's."""
        # In short waits only because nothing can wait for two events, and the test may fail.
        while not event.wait(0.02):
            if self.aborted or time.monotonic() > self._deadline:
                raise ScriptFailed(f"the event was not set within {self._limit} s")

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Do a handshake as the server; raises what `ssl` raises."""
        if self.unread:
            # Nothing is read after a 220 was sent: these bytes came too early to be a ClientHello.
            raise ScriptFailed(f"expected a TLS handshake{self._but()}")
        if isinstance(self._socket, ssl.SSLSocket):
            raise ScriptFailed("TLS inside TLS is not supported")
        self._start_waiting()
        failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))  # as wrap_socket() would, but that loses the socket then
        # Not the handshake of wrap_socket(): a failed one would take the socket away with it.
        wrapped = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = wrapped
        wrapped.do_handshake()

    def half_close(self) -> None:
        """Send FIN."""
        try:
            # Not SSLSocket.shutdown(), which forgets its TLS: what is read then is ciphertext.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
        except OSError as error:
            raise ClientHungUp(f"the client hung up first: {error!r}") from error

    def close(self, *, close_notify: bool = True) -> None:
        """Close the socket; may be called again."""
        with contextlib.suppress(OSError):
            self._socket.setblocking(False)
            # Closing a socket with bytes unread sends RST, which may overtake the last replies.
            while data := self._socket.recv(CHUNK):
                self.unread += data
                self.received_bytes += data
        if close_notify and isinstance(self._socket, ssl.SSLSocket):
            # Non-blocking, this sends ours and raises instead of waiting for the peer's.
            with contextlib.suppress(OSError, ValueError):
                self._socket.unwrap()
        self._socket.close()

    def reset(self) -> None:
        """Close the socket with RST."""
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    def abort(self) -> None:
        """From the test's thread: make the script fail wherever it is waiting."""
        self.aborted = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _receive_more(self, wanted: str) -> None:
        if not self.receive(wanted):
            raise ClientHungUp(f"expected {wanted}, but the client hung up{self._but()}")

    def _take(self, count: int) -> bytes:
        data = bytes(self.unread[:count])
        del self.unread[:count]
        return data

    def _but(self) -> str:
        return f"; what came is {_shortened(bytes(self.unread)) if self.unread else 'nothing'}"

    def _start_waiting(self) -> None:
        if self._socket.fileno() < 0:
            raise ScriptFailed("the script has closed the connection before this step")
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


class ScriptedServer:
    """A server on loopback that plays one script for each connection, in the order given.

    To be used once, as a context manager. ``unix=True`` listens on a Unix socket (`host` is its
    path, `port` 0); ``limit`` is the bound in seconds of each step that waits. A connection for
    which no script is left is refused.

    Leaving the ``with`` raises AssertionError if a script failed or, after the first connection, a
    later one never came; not if ``strict`` is False, nor if the test itself raised. That nobody
    connected at all is no failure: a client may rightly refuse before it connects.
    """

    host: str
    port: int
    failure: str | None
    """What went wrong first: where in the script, what was expected, what came."""
    conversations: list[Conversation]
    """The connections so far."""

    def __init__(
        self,
        *scripts: Script,
        host: str = "127.0.0.1",
        unix: bool = False,
        strict: bool = True,
        limit: float = LIMIT,
    ) -> None:
        self.host = host
        self.port = 0
        self.failure = None
        self.conversations = []
        self._scripts = scripts
        self._unix = unix
        self._strict = strict
        self._limit = limit
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="scripted server", daemon=True)

    @property
    def received(self) -> list[bytes]:
        """What the steps of all conversations have read, in order: lines, bodies, octets."""
        return [item for conversation in self.conversations for item in conversation.received]

    @property
    def received_bytes(self) -> bytes:
        """All that was read in all conversations, whether a step expected it or not."""
        return b"".join(conversation.received_bytes for conversation in self.conversations)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if self._unix:
                # A directory of our own: pytest's are too long for the 108 bytes of sun_path.
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="smtp"))
                self._listener = stack.enter_context(socket.socket(socket.AF_UNIX))
                self.host = str(Path(directory, "socket"))
                self._listener.bind(self.host)
                self._listener.listen()
            else:
                family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
                self._listener = socket.create_server((self.host, 0), family=family)
                stack.enter_context(self._listener)
                self.port = self._listener.getsockname()[1]
            self._listener.setblocking(False)
            self._woken, self._waker = socket.socketpair()
            stack.enter_context(self._woken)
            stack.enter_context(self._waker)
            self._thread.start()
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"Scripted server: {self.failure or self._whereabouts()}.")
        self._leaving.set()
        self._waker.close()  # seen by the accept loop as a readable socket
        if error is None:
            self._thread.join()
        while self._thread.is_alive():
            # Again and again: the thread may be about to accept, or to put TLS around its socket.
            for conversation in self.conversations[-1:]:
                conversation.abort()
            self._thread.join(0.02)
        self._resources.close()
        if error is None and self._strict and self.failure is not None:
            raise AssertionError(f"Scripted server: {self.failure}.")

    def _serve(self) -> None:
        for number, script in enumerate(self._scripts, 1):
            connection = self._accept()
            if connection is None:
                if number > 1:
                    self._fail(f"connection {number} of {len(self._scripts)} never came")
                return
            if number == len(self._scripts):
                self._listener.close()
            conversation = Conversation(connection, self._limit, self._leaving)
            self.conversations.append(conversation)
            try:
                conversation.play(script)
            except ScriptFailed as failure:
                if not conversation.aborted:
                    self._fail(f"{self._whereabouts()}: {failure}")
            finally:
                # After the failure is noted: the test may look as soon as the client has the FIN.
                conversation.close()

    def _accept(self) -> socket.socket | None:
        """Wait for a connection or, if none is there already, for the test to leave."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._listener in ready:
                    with contextlib.suppress(BlockingIOError, ConnectionError):  # gone again
                        return self._listener.accept()[0]
                elif self._woken in ready:
                    return None

    def _fail(self, failure: str) -> None:
        if self.failure is None:
            self.failure = failure

    def _whereabouts(self) -> str:
        number = len(self.conversations)
        return f"connection {number}, {self.conversations[-1].position}" if number else "not called"


def _shortened(value: object) -> str:
    if isinstance(value, bytes) and len(value) > 1000:  # the repr() of megabytes takes seconds
        value = value[:500] + value[-500:]
    if is_dataclass(value):
        parts = [f"{field.name}={_shortened(getattr(value, field.name))}" for field in fields(value)]
        text = f"{type(value).__name__}({', '.join(parts)})"
    else:
        text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-80:]}"
