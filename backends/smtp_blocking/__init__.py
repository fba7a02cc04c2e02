"""SMTP with plain blocking sockets: `smtplib`'s names, arguments, results and exceptions, on a protocol core that keeps
every reply with its command.

``import smtp_blocking as smtplib`` is meant to be all that a program needs to change.  What differs is in
``docs/differences.md``; above all, TLS certificates and host names are verified unless a `context` says otherwise
(`default_ssl_context` is the one documented way back for a whole program).

No event loop and no thread stands behind this.  A client may be used from several threads: calls follow one another.
The `Server` runs in a thread of its own, for tests, demonstrations and small jobs.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from email.base64mime import body_encode as encode_base64  # noqa: F401  # one of the names that are read through here
from types import ModuleType
from typing import TYPE_CHECKING, Any, Unpack

from smtp_proto.channel_binding import TLSFacts
from smtp_proto.session import ClientSession
from smtp_proto.states import Stage
from smtp_proto.tls import facts_of
from smtp_surface import names, once
from smtp_surface.addresses import _addr_only as _addr_only
from smtp_surface.addresses import _fix_eols as _fix_eols
from smtp_surface.addresses import _quote_periods as _quote_periods
from smtp_surface.blocking import BlockingSMTP
from smtp_surface.client import Options
from smtp_surface.conversations import Answer
from smtp_surface.endpoints import may_be_overheard
from smtp_surface.kinds import OverLMTP, OverTLS
from smtp_surface.names import *  # noqa: F403  # the same in every backend
from smtp_surface.replies import OLDSTYLE_AUTH as OLDSTYLE_AUTH
from smtp_surface.timeouts import NOT_GIVEN as _DEFAULT_TIMEOUT
from smtp_surface.timeouts import bounded, shown_timeout, timeouts_of
from smtp_surface.without_loop import Given, RawTransport

from .transport import SocketTransport, is_socket

if TYPE_CHECKING:
    from .memory import in_memory, memory_pair
    from .server import Server
    from .substitution import Substitution as Substitution
    from .substitution import install_as_smtplib


def __getattr__(name: str) -> Any:
    """What a client needs none of is imported when somebody asks for it."""
    module: ModuleType
    if name == "Server":
        from . import server as module
    elif name in ("in_memory", "memory_pair"):
        from . import memory as module
    elif name in ("Substitution", "install_as_smtplib"):
        from . import substitution as module
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)


__all__ = [
    "LMTP",
    "SMTP",
    "SMTP_SSL",
    "Server",
    "default_ssl_context",
    "in_memory",
    "install_as_smtplib",
    "memory_pair",
    "send",
]
__all__ += names.__all__

# `smtplib` has these, and there is code that reads them.
_MAXLINE = 8192
_MAXCHALLENGE = 5
_have_ssl = True

#: Makes the context where none is given; replace it to change what a whole program verifies.
default_ssl_context: Callable[[], ssl.SSLContext] = ssl.create_default_context


class SMTP(BlockingSMTP):
    """A connection to an SMTP server.

    With a `host` it connects at once, and `SMTPConnectError` is raised, nothing left open, if the greeting is not 220.
    Used as a context manager it says QUIT at the end.  The arguments are explained in `smtp_surface.client.Client`; in
    addition `stream` is a transport of your own (`smtp_surface.without_loop.RawTransport`) that is connected, to be
    used for the first connection instead of making one: `host` then is only the name for TLS.
    """

    _transport: SocketTransport | Given | None = None
    _given: RawTransport | None = None
    _shown_timeout: float | None = None

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        timeout: Any = _DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        *,
        stream: RawTransport | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(host, port, local_hostname, timeout, source_address, **options)
        self._given = stream
        if host or stream is not None:
            answer = self.connect(host, port)
            if answer[0] != 220:
                self.close()
                raise self._connect_error(answer)

    def _default_context(self) -> ssl.SSLContext:
        return default_ssl_context()

    # -- connecting ---------------------------------------------------------------------------------------------------

    def _get_socket(self, host: str, port: int, timeout: Any) -> Any:
        """A connected socket; what subclasses override for proxies and the like."""
        if self.debuglevel > 0:
            self._print_debug("connect: to", (host, port), self.source_address)
        sock = socket.create_connection((host, port), timeouts_of(timeout)[Stage.CONNECT], self.source_address)
        sock.settimeout(shown_timeout(timeout))
        return sock

    def connect(self, host: str = "localhost", port: int = 0, source_address: tuple[str, int] | None = None) -> Answer:
        """Connect and return the greeting; `OSError` if there is no connection to be had.

        `ValueError` for a host with control characters or lone surrogates.
        ``"name:port"`` is understood where `port` is 0.  A connection that there was is closed.
        """
        host, port = self._destination(host, port, source_address)
        with self._lock:
            self._discard()
            given, self._given = self._given, None
            self._host, self._port = host, port
            sys.audit("smtplib.connect", self, host, port)
            return self._begin(self._get_socket(host, port, self.timeout) if given is None else Given(given))

    def _begin(self, sock: Any) -> Answer:
        try:
            if self.tls == "implicit":
                sock = self._over_tls(sock)
            self._adopt(sock, greeted=False)
            self._connected(sock)
        except BaseException:
            self._discard()
            raise
        return self._run(self._greet())

    def _adopt(self, sock: Any, greeted: bool) -> ClientSession:
        try:
            transport = sock if isinstance(sock, Given) else SocketTransport(sock)
        except OSError as error:
            self._discard()
            raise names.SMTPServerDisconnected(f"Server not connected: {error}") from error
        self.sock = transport.sock
        self._transport = self._driver.transport = transport
        self._driver.timeouts = self._timeouts()
        self._shown_timeout = transport.timeout
        return self._new_session(greeted)

    # -- what the conversations need ----------------------------------------------------------------------------------

    def _live(self) -> ClientSession:
        sock, transport = self.sock, self._transport
        if sock is None:
            self._disconnected()
        if self._session is None or transport is None or transport.sock is not sock:
            # Somebody has put a socket of their own here, and has read the greeting of whatever is behind it.
            return self._adopt(sock, greeted=True)
        if transport.timeout != self._shown_timeout:
            # Somebody has called `sock.settimeout`, which is how `smtplib` is told to wait longer or shorter.
            self._shown_timeout = transport.timeout
            self._driver.timeouts = dict.fromkeys(Stage, bounded(transport.timeout))
        return super()._live()

    def _cut(self, sock: Any) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        if sock is not None and (transport is None or sock is not transport.sock):
            with suppress(OSError):
                sock.close()

    def _may_be_overheard(self) -> bool:
        # Whoever handed a socket in knows where it leads, and what is no socket was handed in.
        sock = self.sock
        plain = is_socket(sock) and not isinstance(sock, ssl.SSLSocket)
        return plain and not self._handed_in and may_be_overheard(sock)

    def _tls_facts(self) -> TLSFacts | None:
        if isinstance(self._transport, Given):
            return self._transport.facts
        return facts_of(self.sock) if isinstance(self.sock, ssl.SSLSocket) else None

    def _over_tls(self, sock: Any) -> Any:
        """The socket with TLS on it; one that has it, or is none of the operating system's, as it is."""
        if isinstance(sock, ssl.SSLSocket) or not isinstance(sock, (socket.socket, Given)):
            return sock
        transport = sock if isinstance(sock, Given) else SocketTransport(sock)
        context = self._context()
        try:
            transport.start_tls(context, self.server_hostname or self._host, False, self._timeouts()[Stage.TLS])
        except BaseException:
            transport.close()
            raise
        return sock if isinstance(sock, Given) else transport.sock

    def _secured(self) -> None:
        if self._transport is not None:
            self.sock = self._transport.sock

    def close(self) -> None:
        """Close the connection at once, saying nothing.

        A call that another thread is in ends with an error; one that is still connecting is not interrupted.
        """
        transport = self._transport
        mine = self._lock.acquire(blocking=False)
        try:
            if not mine and transport is not None:
                transport.wake()
            else:
                self._discard()
        finally:
            if mine:
                self._lock.release()

    # -- TLS ----------------------------------------------------------------------------------------------------------

    def starttls(
        self, keyfile: str | None = None, certfile: str | None = None, context: ssl.SSLContext | None = None
    ) -> Answer:
        """STARTTLS (RFC 3207): encrypt the connection; returns the 220.

        `context` decides what is verified; without one, `default_ssl_context()`: the certificate's chain and its name,
        which must be that of the host connected to (`server_hostname` where that is given).

        `SMTPNotSupportedError`: not offered.  `SMTPResponseException`: refused.  The session is usable after both, in
        the clear.  `ssl.SSLError`: the handshake failed.  `SMTPServerDisconnected`: anything came in the clear behind
        the 220.  The connection is closed after both.  `ValueError`, with nothing sent: the context or the name cannot
        be used.  All that the server said before is forgotten.
        """
        context = self._context(context, keyfile, certfile)
        return self._run(self._starttls(context, self._name_to_verify(context)))


class SMTP_SSL(OverTLS, SMTP):  # the name is `smtplib`'s
    __doc__ = OverTLS.__doc__

    def _get_socket(self, host: str, port: int, timeout: Any) -> Any:
        return self._over_tls(super()._get_socket(host, port, timeout))


class LMTP(OverLMTP, SMTP):
    __doc__ = OverLMTP.__doc__

    def connect(self, host: str = "localhost", port: int = 0, source_address: tuple[str, int] | None = None) -> Answer:
        """Connect and return the greeting; see `SMTP.connect`."""
        if not host.startswith("/"):
            return super().connect(host, port, source_address=source_address)
        timeout = self._timeouts()[Stage.CONNECT]
        with self._lock:
            self._discard()
            self._host, self._port = "", 0  # a path is no name that a certificate could have
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(timeout)
                sock.connect(host)
                sock.settimeout(shown_timeout(self.timeout))
            except BaseException:
                if self.debuglevel > 0:
                    self._print_debug("connect fail:", host)
                sock.close()
                raise
            return self._begin(sock)


send = once.BlockingOnce(SMTP, LMTP).send
