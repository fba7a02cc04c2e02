"""A server in a thread of its own, over the same core: for tests, demonstrations and small jobs.

One thread accepts, and each connection has one; every one of them runs the flow `smtp_proto.server_session` over a
socket.  Stopping closes the listening socket, tells those who are connected, waits for the messages that are under way,
and cuts what is left.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self, Unpack

from smtp_proto.handler import Handler
from smtp_proto.server_session import ServerSession
from smtp_surface.driver import BlockingDriver, BlockingTransport
from smtp_surface.listening import address_of, close, listen
from smtp_surface.serving import PAUSE, ServerOptions, Service
from smtp_surface.without_loop import Given, RawTransport

from .transport import SocketTransport

# Each connection is a thread here.
MAX_CONNECTIONS = 100


class Server(Service):
    __doc__ = Service.__doc__

    def __init__(
        self, handler: Handler | None = None, host: str = "127.0.0.1", port: int = 0, **options: Unpack[ServerOptions]
    ) -> None:
        options.setdefault("max_connections", MAX_CONNECTIONS)
        super().__init__(handler, host, port, **options)
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._connections: dict[threading.Thread, tuple[SocketTransport, ServerSession]] = {}

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen; `OSError` if the address is taken."""
        listener = listen(self.host, self.port)
        self.host, self.port = address_of(listener)
        self._listener = listener
        self._stopping.clear()
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), name="smtp-server", daemon=True)
        self._acceptor.start()

    def stop(self, grace: float | None = None) -> None:
        """Accept nobody any more, tell those who are connected 421, and wait until all are gone.

        Messages under way may be finished for so many seconds (without a number, those that the server was made with);
        then what is left is cut.
        """
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with self._lock:
            self._stopping.set()
            open_now = dict(self._connections)
        # `accept` must wake up to find that it is to stop: Linux does so at a shutdown, other systems at a connection.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        with suppress(OSError), socket.socket(listener.family) as waking:
            waking.settimeout(1)
            waking.connect(listener.getsockname())
        assert self._acceptor is not None
        self._acceptor.join()
        close(listener)
        for transport, session in open_now.values():
            session.stop()
            # The order matters: a session that begins a message just now is seen to be busy here, or sees itself that
            # it is to stop when it has answered.
            if not session.busy:
                transport.stop_reading()
        deadline = time.monotonic() + (self.grace if grace is None else grace)
        for thread in open_now:
            thread.join(max(0.0, deadline - time.monotonic()))
        for transport, _ in open_now.values():
            transport.wake()
        for thread in open_now:
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- threads ------------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                sock, peer = listener.accept()
            except OSError:
                # That client is gone again, or there is no descriptor to be had just now, or this is the end.
                self._stopping.wait(PAUSE)
                continue
            self._admit(sock, peer)

    def _admit(self, sock: socket.socket, peer: object) -> None:
        """A thread for a connection, or a refusal where there are too many."""
        connection = SocketTransport(sock), self.new_session(peer)
        thread = threading.Thread(target=self._serve, args=connection, name=f"smtp-server {peer}", daemon=True)
        with self._lock:
            peers = (session.peer for _, session in self._connections.values())
            if not self._stopping.is_set() and not self.full(len(self._connections), peers, peer):
                # Inside the lock: `stop` joins what it finds here, and only a thread that runs can be joined.
                with suppress(RuntimeError):  # no more threads to be had
                    thread.start()
                    self._connections[thread] = connection
                    return
        self.refuse(sock)

    def _serve(self, transport: SocketTransport, session: ServerSession) -> None:
        try:
            self._run(transport, session)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]

    def _run(self, transport: BlockingTransport, session: ServerSession) -> None:
        try:
            BlockingDriver(transport, self.timeouts).run(self.conversation(session))
        except OSError:
            pass  # the handshake failed, or `stop` has cut the connection
        finally:
            transport.close()

    def converse(self, transport: RawTransport, peer: object = "in memory") -> None:
        """One conversation with a client, over any transport that is connected to it, to its end."""
        self._run(Given(transport), self.new_session(peer))
