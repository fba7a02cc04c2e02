"""A server in a thread of its own, over the same core: for tests, demonstrations and small jobs.

One thread accepts, and each connection has one; every one of them runs the flow `smtp_proto.server_session` over a
socket.  Stopping closes the listening socket and every connection that is open, and waits for the threads.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from smtp_proto.effects import Flow, StartTLS
from smtp_proto.handler import Decisions, Handler, ReceivedMessage, UserHandler
from smtp_proto.replies import Reply
from smtp_proto.sasl_server import check_mechanisms, password_mechanisms
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings
from smtp_proto.states import DEFAULT_TIMEOUTS, Stage
from smtp_surface.driver import BlockingDriver

from .transport import SocketTransport


class _Collector(UserHandler):
    """Keeps what it is given for the server that it belongs to."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.users, server.tokens)
        self.server = server

    def body(self, session: ServerSession, message: ReceivedMessage) -> Decisions:
        self.server.messages.append(message)
        return None

    def failed(self, session: ServerSession, error: Exception) -> None:
        self.server.errors.append(error)


class Server:
    """A server for the time of a ``with`` block, on a free port of `host` unless `port` says another.

    Without a `handler` every message is accepted and kept in `messages`, and log-ins are checked against `users` (name
    to password) and `tokens` (bearer token to user); with one, its methods check them.  `tls_context` offers STARTTLS,
    or with `implicit_tls` wraps every connection at once.  Log-ins are offered where there are `users`, `tokens` or
    `settings.mechanisms`, in the clear only with `cleartext_auth`.  `settings` has the rest: the name, the sizes, the
    bounds.  `timeouts` are those of `smtp_proto.states.Stage`, in seconds.

    `host` and `port` then say where it listens, `errors` what went wrong in handlers.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        users: Mapping[str, str] | None = None,
        tokens: Mapping[str, str] | None = None,
        tls_context: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        cleartext_auth: bool = False,
        lmtp: bool = False,
        settings: Settings | None = None,
        timeouts: Mapping[Stage, float | None] = DEFAULT_TIMEOUTS,
        max_connections: int = 100,
    ) -> None:
        if implicit_tls and tls_context is None:
            raise ValueError("implicit_tls needs a tls_context")
        if handler is not None and (users or tokens):
            raise ValueError("users are checked where there is no handler; override its auth instead")
        self.host = host
        self.port = port
        self.users = dict(users or {})
        self.tokens = dict(tokens or {})
        self.messages: list[ReceivedMessage] = []
        self.errors: list[Exception] = []
        self.handler: Handler = handler if handler is not None else _Collector(self)
        self._context = tls_context
        self._implicit_tls = implicit_tls
        self._lmtp = lmtp
        settings = settings or Settings()
        if tls_context is not None:
            settings = settings._replace(tls_context=tls_context)
        if not settings.mechanisms:
            verified = ("OAUTHBEARER", "XOAUTH2") if self.tokens else ()
            settings = settings._replace(mechanisms=(*verified, *(password_mechanisms() if self.users else ())))
        check_mechanisms(settings.mechanisms)
        self.settings = settings._replace(cleartext_auth=cleartext_auth or settings.cleartext_auth)
        self._timeouts = timeouts
        self._max_connections = max_connections
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._connections: dict[threading.Thread, SocketTransport] = {}

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen; `OSError` if the address is taken."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family)
        self.host, self.port = listener.getsockname()[:2]
        self._listener = listener
        self._stopping.clear()
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), name="smtp-server", daemon=True)
        self._acceptor.start()

    def stop(self, grace: float = 0.0) -> None:
        """Close everything and wait for the threads; connections that are still open after `grace` seconds are cut."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with self._lock:
            self._stopping.set()
            open_now = list(self._connections.items())
        # `accept` must wake up to find that it is to stop: Linux does so at a shutdown, other systems at a connection.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            socket.create_connection((self.host, self.port), timeout=1).close()
        assert self._acceptor is not None
        self._acceptor.join()
        deadline = time.monotonic() + grace
        for thread, _ in open_now:
            thread.join(max(0.0, deadline - time.monotonic()))
        for _, transport in open_now:
            transport.wake()
        for thread, _ in open_now:
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
        with listener:
            while not self._stopping.is_set():
                try:
                    sock, peer = listener.accept()
                except OSError:
                    # That client is gone again, or there is no descriptor to be had just now, or this is the end.
                    self._stopping.wait(0.05)
                    continue
                self._admit(SocketTransport(sock), peer)

    def _admit(self, transport: SocketTransport, peer: object) -> None:
        """A thread for a connection, or a refusal where there are too many."""
        sock = transport.sock
        with suppress(OSError):
            # Replies are small and wanted at once (what Nagle's algorithm would hold back).
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=self._serve, args=(transport, peer), name=f"smtp-server {peer}", daemon=True)
        with self._lock:
            if not self._stopping.is_set() and len(self._connections) < self._max_connections:
                # Inside the lock: `stop` joins what it finds here, and only a thread that runs can be joined.
                with suppress(RuntimeError):  # no more threads to be had
                    thread.start()
                    self._connections[thread] = transport
                    return
        with suppress(OSError):
            sock.setblocking(False)
            sock.send(Reply(421, f"4.3.2 {self.settings.hostname} Too many connections").encode())
        transport.close()

    def _serve(self, transport: SocketTransport, peer: object) -> None:
        driver = BlockingDriver(transport, self._timeouts)
        session = ServerSession(ServerConnection(lmtp=self._lmtp), self.handler, self.settings, peer)
        try:
            driver.run(self._secured(session))
        except OSError:
            pass  # the handshake failed, or `stop` has cut the connection
        finally:
            transport.close()
            with self._lock:
                del self._connections[threading.current_thread()]

    def _secured(self, session: ServerSession) -> Flow[None]:
        if self._implicit_tls:
            assert self._context is not None
            session.tls_facts = yield from StartTLS(self._context, None, server_side=True)
            session.tls = True
        yield from session.run()
