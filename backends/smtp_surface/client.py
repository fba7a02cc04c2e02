"""What every client is made of, blocking or not: its options, its one connection, and what an interruption leaves.

A surface adds the public methods, and how a flow is run; a backend adds its transport.
"""

import sys
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypedDict
from weakref import ref

from smtp_proto.channel_binding import TLSFacts
from smtp_proto.client import ClientConnection
from smtp_proto.effects import Call, Flow
from smtp_proto.grammar import clean_text
from smtp_proto.session import ClientSession
from smtp_proto.transaction import Chunking
from smtp_proto.transcript import Observer, closed_said, connected_said

from .conversations import Answer
from .delivery import MailConversations
from .driver import Driver
from .endpoints import own_name, peer_name
from .exceptions import (
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from .replies import SMTPReply
from .timeouts import NOT_GIVEN, Timeouts, timeouts_of
from .tls_policy import TLSPolicy, checked

if TYPE_CHECKING:
    from ssl import SSLContext

    from .sending import Occupant
else:
    SSLContext = Any  # `ssl` is the backends' to import

SMTP_PORT = 25
SMTP_SSL_PORT = 465
LMTP_PORT = 2003


class Options(TypedDict, total=False):
    """What every client takes by keyword beyond `smtplib`'s arguments; see `Client`."""

    server_hostname: str | None
    allow_cleartext_auth: bool
    pipelining: bool
    chunking: Chunking | None
    transcript: Observer | None
    tls: TLSPolicy
    context: SSLContext | None


class Client(MailConversations):
    """A client of one server at a time.

    `host` may be ``"name:port"``.  `local_hostname` is what EHLO says; without it, the machine's name if that has a
    dot, else the address literal of the connection (nothing is looked up).  `timeout`, in seconds, is for each wait as
    a whole: connecting, the TLS handshake, each reply, and each bit of progress of a message; None waits for ever; a
    dictionary has seconds for some of the stages (`smtp_proto.states.Stage`); not given, `socket.getdefaulttimeout()`
    if that is set, else what RFC 5321 4.5.3.2 recommends for each stage (`smtp_proto.states.DEFAULT_TIMEOUTS`).
    `source_address` is a ``(host, port)`` to connect from.

    Beyond `smtplib`: `server_hostname` is the name that the certificate must have, where `host` is only an address;
    `allow_cleartext_auth` lets `login` send a password over an unencrypted connection to another host; `pipelining`
    set to False sends one command at a time whatever the server offers; `chunking` set to False sends messages by DATA
    only, and to "eager" sends a small one together with its envelope, for servers that are known to bear it
    (``docs/pipelining.md``); LMTP uses DATA unless `chunking` is given; `transcript` is told all that is said, secrets
    masked (`smtp_proto.transcript.Transcript`); `tls` says when to encrypt, "none" (until `starttls` is called),
    "opportunistic", "required" or "implicit" (`smtp_surface.tls_policy`), and `context` what is verified; without one,
    the backend's `default_ssl_context()`.
    """

    #: The connection, as the world below shows it; None without one.
    sock: Any = None
    file: Any = None
    default_port = SMTP_PORT
    timeout: Any = NOT_GIVEN

    #: When to encrypt (`smtp_surface.tls_policy`), and with what context.
    tls: TLSPolicy = "none"
    context: SSLContext | None = None

    _driver: Driver[Any]
    _handed_in = False
    _sending: ref[Any] | None = None  # what `send_many` has returned last, until it is over
    # Made anew for each object, and not part of its copies.
    _machinery: tuple[str, ...] = ("_driver",)

    def __new__(cls, *_arguments: Any, **_options: Any) -> Self:
        # Here and not in `__init__`: there are subclasses that use methods before they call that, or never do.
        self = super().__new__(cls)
        self.esmtp_features = {}
        self._prepare()
        return self

    def _prepare(self) -> None:
        """Make what `_machinery` names."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        # For copies of a client that is not connected; `__new__` makes the rest.
        return {name: value for name, value in self.__dict__.items() if name not in self._machinery}

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        timeout: Any = NOT_GIVEN,
        source_address: tuple[str, int] | None = None,
        *,
        server_hostname: str | None = None,
        allow_cleartext_auth: bool = False,
        pipelining: bool = True,
        chunking: Chunking | None = None,
        transcript: Observer | None = None,
        tls: TLSPolicy = "none",
        context: SSLContext | None = None,
    ) -> None:
        self.tls = checked(tls)
        self.context = context
        if self.tls == "implicit" and self.default_port == SMTP_PORT:
            self.default_port = SMTP_SSL_PORT
        self._port = port
        self._host = host
        self.timeout = timeout
        self.command_encoding = "ascii"
        self.source_address = source_address
        self.server_hostname = server_hostname
        self.allow_cleartext_auth = allow_cleartext_auth
        self.pipelining = pipelining
        if chunking is not None:
            self.chunking = chunking
        self.transcript = transcript
        self._name_made = own_name(None)
        self.local_hostname = local_hostname if local_hostname is not None else self._name_made

    # -- debug output -------------------------------------------------------------------------------------------------

    def set_debuglevel(self, debuglevel: int) -> None:
        """Print the conversation to standard error (1), with the time of day (2); secrets are masked."""
        self.debuglevel = debuglevel

    def _print_debug(self, *args: object) -> None:
        # Local time, as `smtplib` prints it: this is for the person at the terminal.
        stamp = [datetime.now().astimezone().time()] if self.debuglevel > 1 else []
        print(*stamp, *args, file=sys.stderr)  # noqa: T201  # this is what debuglevel is for

    # -- connecting ---------------------------------------------------------------------------------------------------

    def _timeouts(self) -> Timeouts:
        return timeouts_of(self.timeout)

    def _destination(self, host: str, port: int, source_address: tuple[str, int] | None) -> tuple[str, int]:
        """Where to connect to, taken apart and completed; a path is that of a Unix socket."""
        clean_text("host", host)
        if source_address:
            self.source_address = source_address
        if self.source_address:
            own = str(self.source_address[0])
            clean_text("source_address", own)
            own.encode("idna")  # over a name that has no encoding `socket.create_connection` loses a socket
        if not port and host.count(":") == 1 and not host.startswith("/"):
            host, _, digits = host.partition(":")
            try:
                port = int(digits)
            except ValueError:
                raise OSError("nonnumeric port") from None
        return host, port or self.default_port

    def _new_session(self, greeted: bool) -> ClientSession:
        """A session over the transport that the driver has just got."""
        self.file = None
        self._handed_in = greeted
        require_tls = self.tls == "required" and self.tls_state is None
        connection = ClientConnection(lmtp=self._lmtp, strict=False, greeted=greeted, require_tls=require_tls)
        session = ClientSession(connection, self._observer, flights=True)
        self._session = session
        self._delivered = False
        return session

    def _connected(self, sock: Any) -> None:
        """There is a connection, whose greeting is to come."""
        if self.transcript is not None:
            self.transcript(connected_said(peer_name(sock)))
        self._forget()
        if self.local_hostname is self._name_made:  # and nobody has set another one meanwhile
            self.local_hostname = self._name_made = own_name(sock)

    def _connect_error(self, answer: Answer) -> SMTPConnectError:
        """For a greeting that refuses, where nobody is there to be given it."""
        error = SMTPConnectError(*answer)
        error.reply = answer.reply if isinstance(answer, SMTPReply) else None
        return error

    # -- the connection that there is ---------------------------------------------------------------------------------

    def _live(self) -> ClientSession:
        session = self._session
        if session is None:
            self._disconnected()
        session.observe = self._observer
        return session

    @staticmethod
    def _disconnected() -> NoReturn:
        raise SMTPServerDisconnected("please run connect() first")

    def _discard(self) -> None:
        # The socket first: were this interrupted behind any other line, the next call would take what is left of the
        # connection for one that somebody has handed in, and a reply that is still to come for an answer to itself.
        sock, self.sock = self.sock, None
        session = self._session
        try:
            self._cut(sock)
            if session is not None:
                session.connection.abort()
        finally:
            self._challenged = False
            self._driver.transport = None
            self._session = None
            self.file = None
        if session is not None and self.transcript is not None:
            self.transcript(closed_said())

    def _cut(self, sock: Any) -> None:
        """Close the transport, and `sock` if that is not its own, with nothing that waits."""
        raise NotImplementedError

    def _interrupted(self, error: BaseException) -> None:
        """Drop the connection if `error`, which has left a flow, leaves anything under way.

        It can be used on if nothing was begun, or if all that was is complete.
        """
        self._calling_out = False  # a signal may have come between two lines of `_callback`
        session = self._session
        if session is None:
            return
        connection = session.connection
        failed = isinstance(error, Exception)
        begun = self._driver.touched or connection.pending_output or (connection.closed and not failed)
        if begun and not (failed and connection.at_boundary):
            self._discard()

    # -- many messages ------------------------------------------------------------------------------------------------

    @property
    def _occupant(self) -> Any:
        """The `send_many` that has the connection for itself, if one has."""
        sending = self._sending() if self._sending is not None else None
        return sending if sending is not None and sending.occupies else None

    def _refuse_beside_batch(self) -> None:
        if self._sending is not None and self._occupant is not None:
            raise SMTPException("send_many is under way on this client: take all its outcomes, or close it, first")

    def _occupy(self, sending: "Occupant") -> None:
        """Let a `send_many` begin or go on; `SMTPException` if another one is under way."""
        if self._occupant is not sending:
            self._refuse_beside_batch()
        self._sending = ref(sending)

    # -- TLS ----------------------------------------------------------------------------------------------------------

    @property
    def tls_state(self) -> TLSFacts | None:
        """What is known of the TLS session: version, cipher, the server's certificate, whether it was verified, and the
        name it was asked for; None in the clear."""
        return self._tls_facts()

    def _greet(self) -> Flow[Answer]:
        answer = yield from super()._greet()
        if answer[0] == 220 and self.tls in ("opportunistic", "required"):
            yield from self._encrypt()
        return answer

    def _encrypt(self) -> Flow[None]:
        """What a policy wants behind the greeting: EHLO, STARTTLS, and EHLO again (RFC 3207 4.2)."""
        try:
            session = self._live()
            if self.tls_state is not None:  # of a stream that was handed in
                session.connection.require_tls = False
                return
            context = self._context()
            try:
                yield from self._starttls(context, self._name_to_verify(context))
            except (SMTPNotSupportedError, SMTPResponseException) as error:
                # Not offered, or refused.  A 421 leaves nothing to go on with, nor does who refuses HELO too.
                if self.tls == "required" or self._session is None or isinstance(error, SMTPHeloError):
                    raise
            yield from Call(self.ehlo_or_helo_if_needed)
        except Exception:
            yield from Call(self.close)
            raise

    def _default_context(self) -> SSLContext:
        """What the backend's `default_ssl_context` makes."""
        raise NotImplementedError

    def _context(
        self, context: SSLContext | None = None, keyfile: str | None = None, certfile: str | None = None
    ) -> SSLContext:
        """The context to use, for a method that is called by the application itself: the one that it gives, that of the
        client, or that of the backend."""
        if keyfile is None and certfile is None:
            given = context if context is not None else self.context
            return given if given is not None else self._default_context()
        if certfile is None:
            raise ValueError("certfile must be specified")
        if context is not None:
            raise ValueError(
                "context and keyfile or certfile exclude each other: load the certificate into the context"
            )
        warnings.warn(
            "keyfile and certfile are deprecated, use a context with load_cert_chain() instead",
            DeprecationWarning,
            stacklevel=3,
        )
        made = self._default_context()
        made.load_cert_chain(certfile, keyfile)
        return made

    def _name_to_verify(self, context: SSLContext) -> str:
        """The name that a certificate must have; `ValueError` if no handshake could begin with it."""
        name = self.server_hostname or self._host
        if context.check_hostname and not name and self.sock is not None:
            raise ValueError("server_hostname: needed for a socket that was handed in, to verify the certificate")
        if name:
            _check_tls(context, name)
        return name


def _check_tls(context: SSLContext, server_hostname: str) -> None:
    """`ValueError` if a handshake could not even begin: better known before STARTTLS than behind its 220."""
    from smtp_proto.tls import TLSPump

    clean_text("server_hostname", server_hostname)
    try:
        TLSPump(context, server_hostname)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ValueError(f"server_hostname {server_hostname!r} with this context: {error}") from error
