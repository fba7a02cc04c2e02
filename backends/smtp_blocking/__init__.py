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
import warnings
from contextlib import suppress
from email.base64mime import body_encode as encode_base64  # noqa: F401  # one of the names that are read through here
from typing import Any

from smtp_proto.client import ClientConnection
from smtp_proto.grammar import clean_text
from smtp_proto.session import ClientSession
from smtp_proto.states import DEFAULT_TIMEOUTS, Stage
from smtp_proto.transcript import Observer, closed_said, connected_said
from smtp_surface.addresses import CRLF as CRLF
from smtp_surface.addresses import _addr_only as _addr_only
from smtp_surface.addresses import _fix_eols as _fix_eols
from smtp_surface.addresses import _quote_periods as _quote_periods
from smtp_surface.addresses import bCRLF as bCRLF
from smtp_surface.addresses import quoteaddr, quotedata
from smtp_surface.blocking import BlockingSMTP
from smtp_surface.conversations import Answer
from smtp_surface.driver import Timeouts
from smtp_surface.exceptions import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from smtp_surface.replies import OLDSTYLE_AUTH as OLDSTYLE_AUTH
from smtp_surface.replies import SMTPReply

from .server import Server
from .substitution import Substitution as Substitution
from .substitution import install_as_smtplib
from .transport import SocketTransport, may_be_overheard, own_name, peer_name

__all__ = [
    "LMTP",
    "SMTP",
    "SMTP_SSL",
    "SMTPAuthenticationError",
    "SMTPConnectError",
    "SMTPDataError",
    "SMTPException",
    "SMTPHeloError",
    "SMTPNotSupportedError",
    "SMTPRecipientsRefused",
    "SMTPReply",
    "SMTPResponseException",
    "SMTPSenderRefused",
    "SMTPServerDisconnected",
    "Server",
    "default_ssl_context",
    "install_as_smtplib",
    "quoteaddr",
    "quotedata",
]

SMTP_PORT = 25
SMTP_SSL_PORT = 465
LMTP_PORT = 2003

# `smtplib` has these, and there is code that reads them.
_MAXLINE = 8192
_MAXCHALLENGE = 5
_have_ssl = True

#: Makes the context where none is given; replace it to change what a whole program verifies.
default_ssl_context = ssl.create_default_context

_DEFAULT_TIMEOUT: Any = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]  # as in `smtplib`'s signature


class SMTP(BlockingSMTP):
    """A connection to an SMTP server.

    With a `host` it connects at once, and `SMTPConnectError` is raised, nothing left open, if the greeting is not 220.
    `host` may be ``"name:port"``.  `local_hostname` is what EHLO says; without it, the machine's name if that has a
    dot, else the address literal of the connection (nothing is looked up).  `timeout`, in seconds, is for each wait as
    a whole: connecting, the TLS handshake, each reply, and each bit of progress of a message; None waits for ever; not
    given, `socket.getdefaulttimeout()` if that is set, else what RFC 5321 4.5.3.2 recommends for each stage
    (`smtp_proto.states.DEFAULT_TIMEOUTS`).  `source_address` is a ``(host, port)`` to connect from.

    Beyond `smtplib`: `server_hostname` is the name that the certificate must have, where `host` is only an address;
    `allow_cleartext_auth` lets `login` send a password over an unencrypted connection to another host; `pipelining`
    set to False sends one command at a time whatever the server offers; `transcript` is told all that is said, secrets
    masked (`smtp_proto.transcript.Transcript`).

    Used as a context manager it says QUIT at the end.
    """

    sock: Any = None
    file: Any = None
    default_port = SMTP_PORT
    timeout: Any = _DEFAULT_TIMEOUT

    _transport: SocketTransport | None = None
    _handed_in = False
    _shown_timeout: float | None = None
    _lmtp = False
    _host = ""

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        timeout: Any = _DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        *,
        server_hostname: str | None = None,
        allow_cleartext_auth: bool = False,
        pipelining: bool = True,
        transcript: Observer | None = None,
    ) -> None:
        self._host = host
        self.timeout = timeout
        self.command_encoding = "ascii"
        self.source_address = source_address
        self.server_hostname = server_hostname
        self.allow_cleartext_auth = allow_cleartext_auth
        self.pipelining = pipelining
        self.transcript = transcript
        self.local_hostname = local_hostname if local_hostname is not None else own_name(None)
        self._name_given = local_hostname is not None
        if host:
            code, message = answer = self.connect(host, port)
            if code != 220:
                self.close()
                error = SMTPConnectError(code, message)
                error.reply = answer.reply if isinstance(answer, SMTPReply) else None
                raise error

    # -- connecting ---------------------------------------------------------------------------------------------------

    def _timeouts(self) -> Timeouts:
        timeout = self.timeout
        if timeout is _DEFAULT_TIMEOUT:
            timeout = socket.getdefaulttimeout()
            if timeout is None:
                return DEFAULT_TIMEOUTS
        return dict.fromkeys(Stage, timeout)

    def _get_socket(self, host: str, port: int, timeout: Any) -> Any:
        """A connected socket; what subclasses override for proxies and the like."""
        if timeout is not None and not timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        if self.debuglevel > 0:
            self._print_debug("connect: to", (host, port), self.source_address)
        if timeout is _DEFAULT_TIMEOUT and socket.getdefaulttimeout() is None:
            sock = socket.create_connection((host, port), DEFAULT_TIMEOUTS[Stage.CONNECT], self.source_address)
            sock.settimeout(None)
            return sock
        return socket.create_connection((host, port), timeout, self.source_address)

    def connect(self, host: str = "localhost", port: int = 0, source_address: tuple[str, int] | None = None) -> Answer:
        """Connect and return the greeting; `OSError` if there is no connection to be had.

        `ValueError` for a host with control characters or lone surrogates.
        ``"name:port"`` is understood where `port` is 0.  A connection that there was is closed.
        """
        clean_text("host", host)
        if source_address:
            self.source_address = source_address
        if not port and host.count(":") == 1:
            host, _, digits = host.partition(":")
            try:
                port = int(digits)
            except ValueError:
                raise OSError("nonnumeric port") from None
        if not port:
            port = self.default_port
        with self._lock:
            self._discard()
            self._host = host
            sys.audit("smtplib.connect", self, host, port)
            return self._begin(self._get_socket(host, port, self.timeout))

    def _begin(self, sock: Any) -> Answer:
        try:
            self._adopt(sock, greeted=False)
            if self.transcript is not None:
                self.transcript(connected_said(peer_name(sock)))
            self._forget()
            if not self._name_given:
                self.local_hostname = own_name(sock)
        except BaseException:
            self._discard()
            raise
        return self._run(self._greet())

    def _adopt(self, sock: Any, greeted: bool) -> ClientSession:
        try:
            transport = SocketTransport(sock, lambda octets: sys.audit("smtplib.send", self, octets))
        except OSError as error:
            self._discard()
            raise SMTPServerDisconnected(f"Server not connected: {error}") from error
        self.sock = sock
        self.file = None
        self._transport = transport
        self._driver.transport = transport
        self._driver.timeouts = self._timeouts()
        self._handed_in = greeted
        self._shown_timeout = transport.timeout
        session = ClientSession(ClientConnection(lmtp=self._lmtp, strict=False, greeted=greeted), self._observer)
        self._session = session
        self._delivered = False
        return session

    # -- what the conversations need ----------------------------------------------------------------------------------

    def _live(self) -> ClientSession:
        sock = self.sock
        if sock is None:
            raise SMTPServerDisconnected("please run connect() first")
        transport, session = self._transport, self._session
        if session is None or transport is None or transport.sock is not sock:
            # Somebody has put a socket of their own here, and has read the greeting of whatever is behind it.
            return self._adopt(sock, greeted=True)
        session.observe = self._observer
        if transport.timeout != self._shown_timeout:
            # Somebody has called `sock.settimeout`, which is how `smtplib` is told to wait longer or shorter.
            self._shown_timeout = transport.timeout
            self._driver.timeouts = dict.fromkeys(Stage, transport.timeout)
        return session

    def _discard(self) -> None:
        # The socket first: were this interrupted behind any other line, the next call would take what is left of the
        # connection for one that somebody has handed in, and a reply that is still to come for an answer to itself.
        sock, self.sock = self.sock, None
        session, transport = self._session, self._transport
        try:
            if transport is not None:
                transport.close()
            if session is not None:
                session.connection.abort()
            if sock is not None and (transport is None or sock is not transport.sock):
                with suppress(OSError):
                    sock.close()
        finally:
            self._challenged = False
            self._driver.transport = None
            self._transport = None
            self._session = None
            self.file = None
        if session is not None and self.transcript is not None:
            self.transcript(closed_said())

    def _may_be_overheard(self) -> bool:
        # Whoever handed a socket in knows where it leads.
        return self.sock is not None and not self._handed_in and may_be_overheard(self.sock)

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
        context = _context(context, keyfile, certfile)
        name = self.server_hostname or self._host
        if context.check_hostname and not name and self.sock is not None:
            raise ValueError("server_hostname: needed for a socket that was handed in, to verify the certificate")
        if name:
            _check_tls(context, name)
        return self._run(self._starttls(context, name))


class SMTP_SSL(SMTP):  # the name is `smtplib`'s
    """The same over TLS from the first octet (RFC 8314); the default port is 465.

    `context` decides what is verified; without one, `default_ssl_context()`.
    """

    default_port = SMTP_SSL_PORT

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        keyfile: str | None = None,
        certfile: str | None = None,
        timeout: Any = _DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        context: ssl.SSLContext | None = None,
        *,
        server_hostname: str | None = None,
        pipelining: bool = True,
        transcript: Observer | None = None,
    ) -> None:
        self.keyfile = keyfile
        self.certfile = certfile
        self.context = _context(context, keyfile, certfile)
        super().__init__(
            host,
            port,
            local_hostname,
            timeout,
            source_address,
            server_hostname=server_hostname,
            pipelining=pipelining,
            transcript=transcript,
        )

    def _get_socket(self, host: str, port: int, timeout: Any) -> Any:
        sock = super()._get_socket(host, port, timeout)
        transport = SocketTransport(sock)
        try:
            transport.start_tls(self.context, self.server_hostname or self._host, False, self._timeouts()[Stage.TLS])
        except BaseException:
            transport.close()
            raise
        return transport.sock


class LMTP(SMTP):
    """LMTP (RFC 2033), over TCP or, for a host that begins with "/", a Unix socket."""

    ehlo_msg = "lhlo"
    _lmtp = True

    def __init__(
        self,
        host: str = "",
        port: int = LMTP_PORT,
        local_hostname: str | None = None,
        source_address: tuple[str, int] | None = None,
        timeout: Any = _DEFAULT_TIMEOUT,
        **options: Any,
    ) -> None:
        super().__init__(
            host, port, local_hostname=local_hostname, source_address=source_address, timeout=timeout, **options
        )

    def connect(self, host: str = "localhost", port: int = 0, source_address: tuple[str, int] | None = None) -> Answer:
        """Connect and return the greeting; see `SMTP.connect`."""
        if not host.startswith("/"):
            return super().connect(host, port, source_address=source_address)
        if self.timeout is not None and not self.timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        with self._lock:
            self._discard()
            self._host = ""  # a path is no name that a certificate could have
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                if self.timeout is not _DEFAULT_TIMEOUT:
                    sock.settimeout(self.timeout)
                sock.connect(host)
            except BaseException:
                if self.debuglevel > 0:
                    self._print_debug("connect fail:", host)
                sock.close()
                raise
            return self._begin(sock)


def _context(context: ssl.SSLContext | None, keyfile: str | None, certfile: str | None) -> ssl.SSLContext:
    if keyfile is None and certfile is None:
        return context if context is not None else default_ssl_context()
    if certfile is None:
        raise ValueError("certfile must be specified")
    if context is not None:
        raise ValueError("context and keyfile or certfile exclude each other: load the certificate into the context")
    warnings.warn(
        "keyfile and certfile are deprecated, use a context with load_cert_chain() instead",
        DeprecationWarning,
        stacklevel=3,
    )
    made = default_ssl_context()
    made.load_cert_chain(certfile, keyfile)
    return made


def _check_tls(context: ssl.SSLContext, server_hostname: str) -> None:
    """`ValueError` if a handshake could not even begin: better known before STARTTLS than behind its 220."""
    clean_text("server_hostname", server_hostname)
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), False, server_hostname)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"server_hostname {server_hostname!r} with this context: {error}") from error
