"""The asynchronous surface: `smtplib`'s methods as coroutines, each a flow of `smtp_surface.conversations`.

Written once for every event loop.  A backend adds its transport and five small things that only its loop knows
(`AsyncSMTP`, below "what a backend provides").

Turns.  Each public call has the connection for itself, and calls from several tasks queue.  Flows call public methods,
so a call may come from inside another: through `Call`, from an override, and from a task that an override has started.
Who is inside is told by the context (`contextvars`), which tasks inherit, and counts while the outer flow is in a
`Call`: then a call from inside queues behind the others from the same inside, not behind the one that it is a part of,
and the outer flow goes on when they are over.  `close` takes no turn.

Cancellation may strike at any await.  While a call waits for its turn, nothing has begun.  Later, if anything is under
way, the connection is aborted with nothing that awaits, and the next use raises `SMTPServerDisconnected`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextvars import ContextVar
from email.message import Message
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, Unpack

from smtp_proto.channel_binding import TLSFacts
from smtp_proto.effects import Call, Connect, Flow, StartTLS
from smtp_proto.outcome import Outcome
from smtp_proto.writing import Progress

from .async_driver import AsyncDriver, AsyncTransport, call
from .async_sending import AsyncSending
from .batch import Batch, Messages
from .client import Client, Options
from .conversations import Answer, Refused
from .delivery import Content
from .endpoints import may_be_overheard
from .login import AuthObject
from .timeouts import NOT_GIVEN

if TYPE_CHECKING:
    import ssl

    from smtp_proto.sasl_oauth import TokenSource

T = TypeVar("T")


class _NotSaid(str):
    """A default value that is the same as the blocking client's, and can be told from it when it is given."""

    __slots__ = ()


_NOT_SAID: Final = _NotSaid("localhost")


class _Turn:
    """A call's right to the connection, for as long as it takes."""

    over = False
    calling = False  # in a `Call`: only then others may use the connection
    _queue: Any = None

    def __init__(self, client: AsyncSMTP, outer: _Turn | None) -> None:
        self.client = client
        self.outer = outer

    @property
    def queue(self) -> Any:
        """For those others; few turns have any."""
        if self._queue is None:
            self._queue = self.client._new_lock()
        return self._queue

    async def call(self, effect: Call[Any]) -> Any:
        """Perform a `Call` for the flow whose turn it is."""
        self.calling = True
        try:
            return await call(effect)
        finally:
            self.calling = False
            # By a task that was started in there, and not waited for.
            if self._queue is not None and self._queue.locked():
                async with self.queue:
                    pass


_turn: ContextVar[_Turn | None] = ContextVar("smtp_surface.turn", default=None)


class AsyncSMTP(Client):
    """A connection to an SMTP server, with `smtplib`'s methods as coroutines.

    Making one touches no network.  ``async with SMTP(host, port) as smtp:`` connects, with `SMTPConnectError` if the
    greeting is not 220, and says QUIT at the end; without a host, or before, `connect` does.  The arguments are
    explained in `smtp_surface.client.Client`; in addition `sock` is a socket that is connected, or `stream` a stream of
    this loop or any `smtp_surface.async_driver.AsyncTransport`, to be used for the first connection instead of making
    one (`host` then is only the name for TLS).

    Unless a method says otherwise: what it sends is one command line; it returns ``(code, text)``, refusals included;
    it raises `SMTPServerDisconnected`, with the connection closed, if there is no connection, it is lost, or the server
    breaks the protocol; `ValueError`, with nothing sent and the session usable, for an argument that must not reach the
    wire; `RuntimeError` outside of an event loop, or in another one than the connection was made in.  After a 421 the
    connection is closed, and so it is after a cancellation, unless nothing had been begun.
    """

    _asynchronous = True
    _driver: AsyncDriver
    _machinery = ("_driver", "_given", "_sending")
    _address: tuple[str, int] = ("", 0)
    _given: Any = None  # what was handed in, until it is used
    _home: ClassVar[str]  # the event loops of the backend, for people
    _loop: object = None
    _queue: Any = None

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        timeout: Any = NOT_GIVEN,
        source_address: tuple[str, int] | None = None,
        *,
        stream: Any = None,
        sock: Any = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(host, port, local_hostname, timeout, source_address, **options)
        if stream is not None and sock is not None:
            raise ValueError("stream and sock exclude each other")
        self._address = (host, port)
        self._given = stream if stream is not None else sock

    def _prepare(self) -> None:
        self._driver = AsyncDriver()
        self._driver.on_send = partial(sys.audit, "smtplib.send", self)

    # -- what a backend provides --------------------------------------------------------------------------------------

    def _running_loop(self) -> object:
        """The loop that this is called in; `RuntimeError` if it is none of the backend's."""
        raise NotImplementedError

    def _new_lock(self) -> Any:
        """The loop's lock, with `acquire`, `release` and `locked`, for ``async with``, and maybe `acquire_nowait`."""
        raise NotImplementedError

    def _new_event(self) -> Any:
        """The loop's event, with `set` and `wait`."""
        raise NotImplementedError

    def _new_task_group(self) -> Any:
        """The loop's task group, with `start_soon` and `cancel_scope`."""
        raise NotImplementedError

    async def _pause(self) -> None:
        """Let the loop's other tasks run, and be cancelled if that is due."""
        raise NotImplementedError

    async def _heed_cancellation(self) -> None:
        """Be cancelled if that is due, and let nothing else run; for who has a lock with `acquire_nowait`."""
        raise NotImplementedError

    def _new_transport(self) -> AsyncTransport:
        """A transport that can connect."""
        raise NotImplementedError

    async def _transport_over(self, given: Any) -> AsyncTransport:
        """A transport over a connected socket or a stream of the loop's, which is closed if that fails."""
        raise NotImplementedError

    # -- turns --------------------------------------------------------------------------------------------------------

    def _inside(self) -> _Turn | None:
        """The call of this client, not over yet, that the running code was started from; None if there is none."""
        turn = _turn.get()
        while turn is not None and (turn.over or turn.client is not self):
            turn = turn.outer
        return turn

    async def _run(self, flow: Flow[T], sending: AsyncSending | None = None) -> T:
        try:
            loop = self._running_loop()
        except RuntimeError as error:
            raise RuntimeError(f"{self._home} is where this client can be used, and it is not running here") from error
        if self._loop is not loop:
            if self._session is not None:
                raise RuntimeError("this client was connected in another event loop: use it there, or close() it first")
            self._loop, self._queue = loop, self._new_lock()
        outer = _turn.get()
        inside = self._inside() if outer is not None else None
        if inside is not None:
            self._refuse_callbacks()
        # Who waits for its turn while `send_many` waits for a source may be the one that the source waits for.
        beside = sending is None and not (inside is not None and inside.calling)
        if beside and self._sending is not None:
            self._refuse_beside_batch()
        queue = inside.queue if inside is not None and inside.calling else self._queue
        # trio's and anyio's `acquire` lets all other tasks run first, which all I/O does, too.  But `send_many` needs
        # that: one of them may be about to give it a message.
        at_once = sending is None and not queue.locked() and hasattr(queue, "acquire_nowait")
        if at_once:
            await self._heed_cancellation()
            queue.acquire_nowait()
        else:
            await queue.acquire()
        try:
            if sending is not None:
                self._occupy(sending)
            elif beside and self._sending is not None:
                self._refuse_beside_batch()
            turn = _Turn(self, outer)
            token = _turn.set(turn)
            try:
                result = await self._driver.run(flow, turn.call)
            except BaseException as error:
                self._interrupted(error)
                if at_once and isinstance(error, Exception) and not self._driver.touched:
                    await self._pause()
                raise
            finally:
                turn.over = True
                _turn.reset(token)
            if at_once and not self._driver.touched:
                await self._pause()
            return result
        finally:
            queue.release()

    # -- connecting, and the end --------------------------------------------------------------------------------------

    async def connect(
        self, host: str = _NOT_SAID, port: int = 0, source_address: tuple[str, int] | None = None
    ) -> Answer:
        """Connect and return the greeting; `OSError` if there is no connection to be had.

        Without a host, to the one that the client was made with, and its port unless another one is given; to localhost
        if that has none either.
        ``"name:port"`` is understood where `port` is 0, and a host that begins with "/" is a Unix socket's path.  A
        connection that there was is closed.  What was handed in with `sock` or `stream` is used first.
        """
        return await self._run(self._connect(host, port, source_address))

    def _connect(self, host: str, port: int, source_address: tuple[str, int] | None) -> Flow[Answer]:
        given = self._given
        if given is not None:
            host = self._address[0]
        elif host is _NOT_SAID:
            host, port = self._address[0] or str(host), port or self._address[1]
        host, port = self._destination(host, port, source_address)
        timeouts = self._timeouts()
        self._discard()
        # A path is no name that a certificate could have.
        self._host, self._port = (host, port) if not host.startswith("/") else ("", 0)
        sys.audit("smtplib.connect", self, host, port)
        if self.debuglevel > 0:
            self._print_debug("connect: to", (host, port), self.source_address)
        self._given = None
        transport: AsyncTransport
        if given is None or isinstance(given, AsyncTransport):
            transport = given or self._new_transport()
        else:
            transport = yield from Call(self._transport_over, given)  # type: ignore[assignment]  # when awaited
        self._driver.transport, self._driver.timeouts = transport, timeouts
        session = self._new_session(greeted=False)
        try:
            if given is None:
                yield from Connect(host, port)
            self._handed_in = given is not None
            self.sock = getattr(transport, "sock", None) or transport
            if self.tls == "implicit":
                context = self._context()
                yield from StartTLS(context, self._name_to_verify(context))
            self._connected(self.sock)
        except BaseException:
            if self._session is session:
                self._discard()
            raise
        return (yield from self._greet())

    async def close(self) -> None:
        """Close the connection at once, saying nothing to the server; never fails.

        A call that another task is in ends with an error.
        """
        transport = self._driver.transport
        inside = self._inside()
        in_use = self._queue is not None and self._queue.locked() and not (inside is not None and inside.calling)
        if transport is None or in_use or self._loop is not self._running_loop():
            self._discard()
            await self._pause()
            return
        self._driver.transport = None  # `_discard` would abort it
        try:
            self._discard()
            await transport.close()
        finally:
            transport.abort()

    def _cut(self, sock: Any) -> None:
        if self._driver.transport is not None:
            self._driver.transport.abort()

    async def __aenter__(self) -> Self:
        if self._session is None and (self._address[0] or self._given is not None):
            answer = await self.connect(*self._address)
            if answer[0] != 220:
                await self.close()
                raise self._connect_error(answer)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """QUIT and close.  A refused QUIT raises only where the block has neither raised nor delivered.

        Who was cancelled, or interrupted otherwise, does not wait for a goodbye.
        """
        if exc is not None and not isinstance(exc, Exception):
            self._discard()
        else:
            sending = self._occupant
            if sending is not None:
                await sending.aclose()
            await self._run(self._goodbye(failed=exc is not None))

    def _may_be_overheard(self) -> bool:
        return not self._handed_in and self.ssl_object is None and may_be_overheard(self.sock)

    def _tls_facts(self) -> TLSFacts | None:
        from smtp_proto.tls import facts_of

        tls = self.ssl_object
        return facts_of(tls) if tls is not None else None

    def _secured(self) -> None:
        """Nothing to show: `ssl_object` looks at the transport that there is."""

    @property
    def ssl_object(self) -> ssl.SSLObject | None:
        """What knows the TLS version, the cipher and the server's certificate; None in the clear."""
        pump = getattr(self._driver.transport, "pump", None)
        return pump.ssl_object if pump is not None else None

    # -- the lowest level ---------------------------------------------------------------------------------------------

    async def send(self, s: bytes | str) -> None:
        """Write octets (or text, in `command_encoding`) as they are; for what no method covers."""
        await self._run(self._send(s))

    async def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command line; its reply is to be read with `getreply`."""
        await self._run(self._putcmd(cmd, args))

    async def getreply(self) -> Answer:
        """Wait for the reply to the oldest command that has none yet, or to what was written by hand."""
        return await self._run(self._getreply())

    async def docmd(self, cmd: str, args: str = "") -> Answer:
        """Send a command line and wait for its reply."""
        return await self._run(self._docmd(cmd, args))

    # -- commands -----------------------------------------------------------------------------------------------------

    async def helo(self, name: str = "") -> Answer:
        """HELO (RFC 5321 4.1.1.1), with `local_hostname` unless a name is given."""
        return await self._run(self._helo(name))

    async def ehlo(self, name: str = "") -> Answer:
        """EHLO (RFC 5321 4.1.1.1), with `local_hostname` unless a name is given; fills `esmtp_features`."""
        return await self._run(self._ehlo(name))

    async def help(self, args: str = "") -> bytes:
        """HELP (RFC 5321 4.1.1.8); returns the text alone."""
        return await self._run(self._help(args))

    async def rset(self) -> Answer:
        """RSET (RFC 5321 4.1.1.5): end the mail transaction under way."""
        return await self._run(self._reset())

    async def _rset(self) -> None:
        """RSET after a refusal; a lost connection is left for the next call to report."""
        await self._run(self._reset_quietly())

    async def noop(self) -> Answer:
        """NOOP (RFC 5321 4.1.1.9)."""
        return await self._run(self._noop())

    async def mail(self, sender: str, options: Sequence[str] = ()) -> Answer:
        """MAIL (RFC 5321 4.1.1.2): begin a mail transaction; raises what `BlockingSMTP.mail` raises."""
        return await self._run(self._mail(sender, options))

    async def rcpt(self, recip: str, options: Sequence[str] = ()) -> Answer:
        """RCPT (RFC 5321 4.1.1.3): add a recipient; `options` are ESMTP parameters."""
        return await self._run(self._rcpt(recip, options))

    async def data(self, msg: bytes | str) -> Answer:
        """DATA and the message (RFC 5321 4.1.1.4); returns the answer to the message, as `BlockingSMTP.data`."""
        return await self._run(self._data(msg))

    async def verify(self, address: str) -> Answer:
        """VRFY (RFC 5321 4.1.1.6)."""
        return await self._run(self._verify(address))

    # a.k.a.
    vrfy = verify

    async def expn(self, address: str) -> Answer:
        """EXPN (RFC 5321 4.1.1.7)."""
        return await self._run(self._expn(address))

    async def etrn(self, node: str) -> Answer:
        """ETRN (RFC 1985): have the server send what it has queued for a host, "@domain" or "#queue".

        `SMTPNotSupportedError`, with nothing sent, if the server does not offer it; so for the three that follow.
        """
        return await self._run(self._etrn(node))

    async def burl(self, url: str, *, last: bool = True) -> Answer:
        """BURL (RFC 4468): after `mail` and `rcpt`, have the server fetch the message, or a part of it, from a URL."""
        return await self._run(self._burl(url, last))

    async def xclient(self, **attributes: str | None) -> Answer:
        """XCLIENT (Postfix): say for whom a proxy speaks: ``xclient(name="mx.example.org", addr="192.0.2.1")``.

        None is a value that is not known.  After the 220 the session is as after the greeting: EHLO comes next.
        """
        return await self._run(self._xclient(attributes))

    async def xforward(self, **attributes: str | None) -> Answer:
        """XFORWARD (Postfix): say where the next message came from, for the server's log."""
        return await self._run(self._xforward(attributes))

    # -- sequences ----------------------------------------------------------------------------------------------------

    async def ehlo_or_helo_if_needed(self) -> None:
        """EHLO, and HELO where that is refused, unless one of them was sent before; `SMTPHeloError` if both are."""
        await self._run(self._hello())

    async def starttls(
        self, keyfile: str | None = None, certfile: str | None = None, context: ssl.SSLContext | None = None
    ) -> Answer:
        """STARTTLS (RFC 3207): encrypt the connection; returns the 220.

        `context` decides what is verified; without one, `default_ssl_context()`: the certificate's chain and its name,
        which must be that of the host connected to (`server_hostname` where that is given).

        `SMTPNotSupportedError`: not offered.  `SMTPResponseException`: refused.  The session is usable after both, in
        the clear.  `ssl.SSLError`: the handshake failed.  `SMTPServerDisconnected`: anything came in the clear behind
        the 220.  The connection is closed after both.
        """
        context = self._context(context, keyfile, certfile)
        return await self._run(self._starttls(context, self._name_to_verify(context)))

    async def auth(self, mechanism: str, authobject: AuthObject, *, initial_response_ok: bool = True) -> Answer:
        """AUTH (RFC 4954) with any mechanism; `authobject` is a plain function, as for `BlockingSMTP.auth`."""
        return await self._run(self._auth(mechanism, authobject, initial_response_ok))

    async def login(
        self,
        user: str = "",
        password: str | None = None,
        *,
        initial_response_ok: bool = True,
        token: TokenSource | None = None,
        mechanisms: Sequence[str] | None = None,
        authorization_identity: str = "",
    ) -> Answer:
        """Log in with the strongest mechanism that the server offers and the credentials allow.

        Takes and raises what `BlockingSMTP.login` does; a `token`'s source and its `refresh` may be coroutines.
        """
        flow = self._login(user, password, initial_response_ok, token, mechanisms, authorization_identity)
        return await self._run(flow)

    async def sendmail(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: Content,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        *,
        progress: Progress | None = None,
    ) -> Refused:
        """Send one message to one or more recipients; returns and raises what `BlockingSMTP.sendmail` does.

        Cancelled in the middle, the connection is aborted, and the message may have been delivered.
        """
        return await self._run(self._sendmail(from_addr, to_addrs, msg, mail_options, rcpt_options, progress))

    async def send_message(
        self,
        msg: Message[Any, Any],
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        *,
        progress: Progress | None = None,
    ) -> Refused:
        """`sendmail` for an `email.message.Message`; addresses that are not given are taken from its headers."""
        return await self._run(self._send_message(msg, from_addr, to_addrs, mail_options, rcpt_options, progress))

    async def deliver(
        self,
        msg: Content | Message[Any, Any],
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        *,
        progress: Progress | None = None,
    ) -> Outcome:
        """Send one message and return all that the server said of it, refusals included; see `BlockingSMTP.deliver`."""
        return await self._run(self._deliver(msg, from_addr, to_addrs, mail_options, rcpt_options, progress))

    def send_many(self, messages: Messages) -> AsyncSending:
        """Send many messages over this connection; iterate over what this returns for their outcomes, in order.

        Takes, gives and raises what `BlockingSMTP.send_many` does; the iterable may be an asynchronous one.  In
        ``async with client.send_many(messages) as outcomes:`` the source has a task of its own, and is waited for
        together with the server: outcomes come, and messages that the server asks for go out, however long the next
        message takes.  Without the ``async with``, outcomes come as messages are pulled, and whoever leaves the loop
        early calls `aclose`.  Cancelled, the connection is closed, and what is known of the messages that were on the
        way is in `left`.
        """
        return AsyncSending(self, Batch(self, messages))

    async def quit(self) -> Answer:
        """QUIT (RFC 5321 4.1.1.10), and close."""
        return await self._run(self._quit())


AsyncSMTP._remember()
