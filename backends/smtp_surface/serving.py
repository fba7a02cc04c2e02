"""What servers have in common, whatever they wait with: their arguments, who is let in, and what is kept for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypedDict

from smtp_proto.effects import Flow
from smtp_proto.handler import Decisions, Handler, ReceivedMessage, UserHandler
from smtp_proto.replies import Reply
from smtp_proto.sasl_server import check_mechanisms, password_mechanisms
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings
from smtp_proto.states import DEFAULT_TIMEOUTS

from .timeouts import Timeouts, timeouts_of

if TYPE_CHECKING:
    import ssl

# Errors of handlers that are kept: a server that runs for months must not grow by them.
MAX_ERRORS = 1000
# Seconds until a connection is accepted again when that has failed, for want of descriptors for instance.
PAUSE = 0.05


class ServerOptions(TypedDict, total=False):
    """What a server is told by name; see `Service`."""

    users: Mapping[str, str] | None
    tokens: Mapping[str, str] | None
    tls_context: ssl.SSLContext | None
    implicit_tls: bool
    cleartext_auth: bool
    lmtp: bool
    settings: Settings | None
    timeouts: Timeouts | float | None
    max_connections: int
    max_per_address: int | None
    grace: float


class _Collector(UserHandler):
    """Keeps what it is given for the server that it belongs to."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.users, service.tokens)
        self.service = service

    def body(self, session: ServerSession, message: ReceivedMessage) -> Decisions:
        self.service.messages.append(message)
        return None


class Service:
    """A server but for its I/O: where it is to listen, and a conversation for each client.

    Without a `handler` every message is accepted and kept in `messages`, and log-ins are checked against `users` (name
    to password) and `tokens` (bearer token to user); with one, its methods check them.  `host` may be the path of a
    Unix socket, which begins with "/"; `port` 0 is one that is free.  `tls_context` offers STARTTLS, or with
    `implicit_tls` wraps every connection at once.  Log-ins are offered where there are `users`, `tokens` or
    `settings.mechanisms`, in the clear only with `cleartext_auth`.  `settings` has the rest: the name, the sizes, the
    bounds.  `timeouts`, in seconds, are those of `smtp_proto.states.Stage`.  A client beyond `max_connections`, or
    beyond `max_per_address` from the same address, is told 421.  Stopped, it lets messages that are under way be
    finished for `grace` seconds.

    `host` and `port` then say where it listens, `errors` what handlers have raised (the last thousand).
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
        timeouts: Timeouts | float | None = DEFAULT_TIMEOUTS,
        max_connections: int = 1000,
        max_per_address: int | None = None,
        grace: float = 5.0,
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
        self.timeouts: Timeouts = timeouts_of(timeouts)
        self.max_connections = max_connections
        self.max_per_address = max_per_address
        self.grace = grace
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

    def new_session(self, peer: object) -> ServerSession:
        """The conversation with one more client, to be run with `conversation`."""
        return ServerSession(
            ServerConnection(lmtp=self._lmtp), self.handler, self.settings, peer, report=self.keep_error
        )

    def full(self, connections: int, peers: Iterable[object], peer: object) -> bool:
        """True if there is no room for one more client beside so many, who are `peers`."""
        if connections >= self.max_connections:
            return True
        if self.max_per_address is None or not isinstance(peer, tuple):  # a Unix socket's has no address
            return False
        same = [other for other in peers if isinstance(other, tuple) and other[0] == peer[0]]
        return len(same) >= self.max_per_address

    def conversation(self, session: ServerSession) -> Flow[None]:
        """All that is said to a client, and heard from it."""
        return session.run(implicit_tls=self._implicit_tls)

    def keep_error(self, error: Exception) -> None:
        """Put what a handler has raised into `errors`."""
        self.errors.append(error)
        del self.errors[:-MAX_ERRORS]

    def refuse(self, sock: Any) -> None:
        """Tell a client that there are too many, if that needs no waiting, and close its socket."""
        with suppress(OSError):
            sock.setblocking(False)
            sock.send(Reply(421, f"4.3.2 {self.settings.hostname} Too many connections").encode())
        with suppress(OSError):
            sock.close()
