"""The methods of the `smtplib`-shaped classes as flows: written once, driven by blocking and asynchronous surfaces.

Theory of operation.  Each public method ``x`` of a surface runs the flow ``_x`` of this class.  A flow calls the other
public methods through `Call`, that is, through ``self``: so an override in a subclass or a patch on an instance is used
by `sendmail`, `login` and the rest, exactly as with `smtplib`.  The lowest ones, `putcmd` and `getreply`, are where the
typed core begins: what `putcmd` is given is read as a command, and `getreply` gives the answer to the oldest one.

The flows stand in three files, one class building on the other: here state, errors, single commands, introduction, TLS
and goodbye; then `login`; then `delivery`, whose `MailConversations` a surface is made of.

`sendmail` takes the shorter way, `smtp_proto.transaction.deliver` in as few flights as the server allows, as long as
the methods it would have called are the library's own; otherwise it calls them, one after the other.

Errors.  A refusal is returned by the low-level methods and raised by those that `smtplib` raises it from.  Whatever
ends the connection becomes `SMTPServerDisconnected`, with the reason in its text and as its ``__cause__``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from smtp_proto.channel_binding import TLSFacts
from smtp_proto.commands import Burl, Command, Etrn, Mail, Raw, Rcpt, XClient, XForward
from smtp_proto.effects import Call, Flow
from smtp_proto.errors import ConnectionLost, InvalidArgument, LimitExceeded, LocalProtocolError, RemoteProtocolError
from smtp_proto.extensions import Extensions
from smtp_proto.grammar import clean_text
from smtp_proto.outcome import Outcome, Phase
from smtp_proto.parameter import Parameter, lacking
from smtp_proto.replies import Reply
from smtp_proto.session import ClientSession
from smtp_proto.states import Stage, State
from smtp_proto.transaction import Chunking
from smtp_proto.transcript import Observer, Said, body_said, command_said

from .addresses import CRLF, _addr_only, bCRLF
from .arguments import clean, options_for, path_argument
from .exceptions import (
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from .replies import SMTPReply, features_of, typed_reply

if TYPE_CHECKING:
    import ssl

#: The methods that `sendmail` relies on: while they are the library's own, it may send a whole transaction at once.
STEPS = ("mail", "rcpt", "data", "docmd", "putcmd", "getreply", "send", "rset", "_rset")
#: ... those that it asks before, and itself: `send_message` relies on it.
OTHERS = ("ehlo_or_helo_if_needed", "has_extn", "sendmail")
_METHODS = frozenset(STEPS + OTHERS)
_methods_of = attrgetter(*STEPS, *OTHERS)

Answer = tuple[int, bytes]
Refused = dict[str, Answer]


class Translated:
    """A context in which what the core raises becomes what `smtplib` raises."""

    __slots__ = ("_client",)

    def __init__(self, client: "Conversations") -> None:
        self._client = client

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._client._translate(error)


class Terms(NamedTuple):
    """What a server offers, as far as every message is concerned."""

    size: bool
    most: int | None  # octets of a message
    pipelining: bool
    chunking: bool
    limits: Mapping[str, int]


class Conversations:
    """State and flows of one client; see the module's header.  Surfaces add I/O and the public methods."""

    debuglevel: int = 0
    helo_resp: bytes | None = None
    ehlo_msg: str = "ehlo"
    ehlo_resp: bytes | None = None
    does_esmtp: bool = False
    command_encoding: str = "ascii"
    esmtp_features: dict[str, str]
    local_hostname: str
    user: str
    password: str
    #: Use PIPELINING where the server offers it.
    pipelining: bool = True
    #: Re-encode a message of eight bits for a server that does not offer 8BITMIME, and one with lines that are too long
    #: for SMTP, where that breaks nothing; False sends it as it is, as `smtplib` does.
    reencode: bool = True
    #: Send messages by BDAT where the server offers CHUNKING (RFC 3030), and with "eager" together with the envelope.
    chunking: Chunking = True
    #: Send passwords over connections that anyone on the way can read.
    allow_cleartext_auth: bool = False
    #: Told everything that is said, secrets masked (`smtp_proto.transcript`).
    transcript: Observer | None = None
    #: Called for a new connection (with `connect`, and `login` where needed) when the server takes no more messages on
    #: this one (LIMITS MAILMAX, RFC 9422); without it that is an error.
    reconnect: Callable[[], Any] | None = None

    _host: str = ""  # where to connect to, as it was asked for
    _port: int = 0
    #: The name that the certificate must have, if it is not that of the host.
    server_hostname: str | None = None
    _session: ClientSession | None = None
    _auth_challenge_count: int = 0
    _challenged: bool = False  # the last reply asks for a secret
    _delivered: bool = False
    _calling_out: bool = False  # in a callback of the application, which must not call back
    # The library's own functions, by the names that `sendmail` would call; set when the surface's class is made.
    _library: ClassVar[dict[str, Any]] = {}
    _methods: ClassVar[tuple[Any, ...]] = ()  # the same, in order
    _terms: tuple[bool, dict[str, str], Terms] | None = None  # those found out last, and of what

    # -- what a surface provides --------------------------------------------------------------------------------------

    def _live(self) -> ClientSession:
        """The session of the connection that there is; `SMTPServerDisconnected` if there is none."""
        raise NotImplementedError

    def _discard(self) -> None:
        """Drop the connection with nothing that waits."""
        raise NotImplementedError

    def _may_be_overheard(self) -> bool:
        """True if the connection is neither encrypted nor local."""
        raise NotImplementedError

    def _tls_facts(self) -> TLSFacts | None:
        """What is known of the TLS session (`smtp_proto.tls.facts_of`), None without one: log-ins are bound to it."""
        return None

    def _secured(self) -> None:
        """TLS has just been established: show people the socket that they look for."""
        raise NotImplementedError

    if TYPE_CHECKING:
        # The public methods that flows call through `self`; each surface has them, blocking or as coroutines.
        auth: Callable[..., Any]
        close: Callable[[], Any]
        connect: Callable[..., Any]
        data: Callable[[bytes | str], Any]
        docmd: Callable[..., Any]
        ehlo: Callable[..., Any]
        ehlo_or_helo_if_needed: Callable[[], Any]
        getreply: Callable[[], Any]
        helo: Callable[..., Any]
        mail: Callable[..., Any]
        putcmd: Callable[..., Any]
        quit: Callable[[], Any]
        rcpt: Callable[..., Any]
        rset: Callable[[], Any]
        _rset: Callable[[], Any]
        send: Callable[..., Any]
        sendmail: Callable[..., Any]

    # -- errors and debug output --------------------------------------------------------------------------------------

    def _translate(self, error: BaseException) -> None:
        """Raise what `smtplib` raises for what the core has raised, where that is something else."""
        if isinstance(error, LimitExceeded):
            self._discard()
            raise SMTPResponseException(500, "Line too long.") from error
        if isinstance(error, (ConnectionLost, RemoteProtocolError)):
            self._discard()
            if isinstance(error.__cause__, LimitExceeded):
                outcome = error.outcome if isinstance(error, ConnectionLost) else None
                raise self._refusal(SMTPResponseException(500, "Line too long."), None, outcome) from error
            raise self._lost(error) from error
        if isinstance(error, LocalProtocolError) and not isinstance(error, InvalidArgument):
            connection = self._session.connection if self._session is not None else None
            if connection is not None and (connection.closed or connection.state is State.TLS):
                # The latter: after STARTTLS's 220 the server waits for a handshake, and understands nothing else.
                self._discard()
                raise SMTPServerDisconnected(f"Server not connected: {error}") from error
            raise SMTPException(str(error)) from error

    def _lost(self, error: ConnectionLost | RemoteProtocolError) -> SMTPException:
        disconnected = SMTPServerDisconnected(f"Connection unexpectedly closed: {error}")
        disconnected.reply = error.reply
        if isinstance(error, ConnectionLost):
            disconnected.outcome = error.outcome
        return disconnected

    @staticmethod
    def _refusal(error: SMTPException, reply: Reply | None, outcome: Outcome | None = None) -> SMTPException:
        error.reply = reply
        error.outcome = outcome
        return error

    def _lacking(self, message: str) -> SMTPException:
        """The server lacks an extension; or there is none any more, whose extensions are still remembered."""
        self._live()
        return SMTPNotSupportedError(message)

    def _print_debug(self, *args: object) -> None:
        raise NotImplementedError

    @contextmanager
    def _callback(self) -> Iterator[None]:
        """Around what belongs to the application: a call back into the client would get the replies of the call that
        it came from, so `_refuse_callbacks` stops it."""
        self._calling_out = True
        try:
            yield
        finally:
            self._calling_out = False

    def _refuse_callbacks(self) -> None:
        """`SMTPException` in the middle of a callback; for a surface, before it runs a flow."""
        if self._calling_out:
            raise SMTPException("the client is in the middle of a call, and the callback that it makes must not use it")

    def _observe(self, said: Said) -> None:
        if self.transcript is not None:
            with self._callback():
                self.transcript(said)
        if self.debuglevel > 0:
            if said.reply is not None:
                for line in said.reply.raw.splitlines(keepends=True):
                    self._print_debug("reply:", repr(line))
                code, text = SMTPReply(said.reply)
                self._print_debug(f"reply: retcode ({code}); Msg: {text!a}")
            elif said.octets is not None:
                self._print_debug("send:", said.text)
            elif said.who == "C":
                self._print_debug("send:", repr(said.text + CRLF))

    @property
    def _observer(self) -> Observer | None:
        return self._observe if self.debuglevel > 0 or self.transcript is not None else None

    # -- the lowest level: commands written by hand -------------------------------------------------------------------

    def _send(self, s: bytes | str) -> Flow[None]:
        session = self._live()
        if isinstance(s, str):
            octets = s.encode(self.command_encoding)
        elif isinstance(s, (bytes, bytearray, memoryview)):
            octets = bytes(s)
        else:
            raise TypeError(f"octets or text can be sent, not {type(s).__name__}")
        if session.observe is not None:
            state = session.connection.state
            by_hand = octets.endswith(bCRLF) and octets.count(b"\n") == 1 and state is not State.DATA
            # What answers a 334 is a secret, also where the AUTH was written by hand and the state does not know it.
            row = "AUTH response" if state is State.AUTH or self._challenged else "other"
            try:
                session.observe(command_said(Raw(octets[:-2], row)) if by_hand else body_said(len(octets)))
            except InvalidArgument:
                session.observe(body_said(len(octets)))
        with Translated(self):
            session.connection.send_raw(octets)
            if not (yield from session.flush(Stage.BODY)) and not session.connection.unread:
                raise ConnectionLost("the server hung up")

    def _putcmd(self, cmd: str, args: str = "") -> Flow[None]:
        line = cmd if args == "" else f"{cmd} {args}"
        if "\r" in line or "\n" in line:
            shown = line.replace("\n", "\\n").replace("\r", "\\r")
            if self._challenged or line[:4].upper() == "AUTH":
                shown = "***"
            raise ValueError(f"command and arguments contain prohibited newline characters: {shown}")
        session = self._live()
        connection = session.connection
        octets = line.encode(self.command_encoding)
        with Translated(self):
            if connection.state is State.DATA:
                # A line of the message, written by hand; its end, ".", is answered.
                connection.send_raw(octets + bCRLF)
                yield from session.flush(Stage.BODY)
                return
            from smtp_proto.parsing import written_command  # of use for commands written by hand only

            # After a 334 whatever is sent is taken for a response.
            command: Command
            command = Raw(octets, "AUTH response") if connection.state is State.AUTH else written_command(octets)
            yield from session.look()
            connection.send(command)
            if self._own("send"):
                if session.observe is not None:
                    session.observe(command_said(command))
                yield from session.flush(connection.stage)
            else:
                connection.data_to_send()  # `send` writes it
                yield from Call(self.send, line + CRLF)

    def _getreply(self) -> Flow[SMTPReply]:
        session = self._live()
        connection = session.connection
        with Translated(self):
            if not connection.waiting:
                connection.expect()
            due = connection.outstanding[0].row
            try:
                reply = (yield from session.reply()).reply
            except RemoteProtocolError as error:
                if error.reply is None or isinstance(error, LimitExceeded):
                    raise
                reply = error.reply  # a whole reply that is no answer to the command: its text is worth knowing
            except ConnectionLost as error:
                if due in ("end of data", "BDAT LAST", "BURL LAST"):
                    error.outcome = Outcome(())
                    error.outcome.phase = Phase.SENT
                raise
        self._challenged = reply.severity == 3 and reply.code != 354
        if reply.code == 421 or (connection.closed and reply.severity != 2):
            # The server has said goodbye, or something that leaves nobody in step.
            yield from Call(self.close)
        return SMTPReply(reply)

    def _docmd(self, cmd: str, args: str = "") -> Flow[Answer]:
        if self._session is not None:
            self._idle()
        yield from Call(self.putcmd, cmd, args)
        answer: Answer = yield from Call(self.getreply)
        return answer

    def _idle(self) -> ClientSession:
        """The session of the connection that there is; `SMTPException` if a reply is due that the caller has not read:
        the next one would be taken for another's."""
        session = self._live()
        if session.connection.due:
            due = ", ".join(command.shown or command.row for command in session.connection.outstanding)
            raise SMTPException(f"read the reply to {due!r} with getreply() first")
        return session

    def _own(self, *names: str) -> bool:
        """True if the methods are the library's own, neither overridden in a subclass nor patched."""
        instance, cls, library = self.__dict__, type(self), self._library
        return not any(name in instance or getattr(cls, name) is not library[name] for name in names)

    @classmethod
    def _remember(cls) -> None:
        """The methods that this class has now are the library's own."""
        cls._methods = _methods_of(cls)
        cls._library = dict(zip(STEPS + OTHERS, cls._methods, strict=True))

    @property
    def _untouched(self) -> bool:
        """True if all methods that count are the library's own: what nearly all clients are, found out at once."""
        return self.__dict__.keys().isdisjoint(_METHODS) and _methods_of(type(self)) == self._methods

    # -- one command each ---------------------------------------------------------------------------------------------

    def _helo(self, name: str = "") -> Flow[Answer]:
        answer = yield from self._docmd("helo", self._introduction(name))
        self.helo_resp = answer[1]
        return answer

    def _ehlo(self, name: str = "") -> Flow[Answer]:
        name = self._introduction(name)
        self.esmtp_features = {}
        answer = yield from self._docmd(self.ehlo_msg, name)
        self.ehlo_resp = answer[1]
        if answer[0] == 250:
            self.does_esmtp = True
            self.esmtp_features = features_of(typed_reply(answer))
        return answer

    def _introduction(self, name: str) -> str:
        name = name or self.local_hostname
        if "\r" not in name and "\n" not in name:  # those are for `putcmd` to name
            clean_text("local_hostname", name)
        return name

    def _help(self, args: str = "") -> Flow[bytes]:
        return (yield from self._docmd("help", args))[1]

    def _noop(self) -> Flow[Answer]:
        answer: Answer = yield from Call(self.docmd, "noop")
        return answer

    def _reset(self) -> Flow[Answer]:
        self.command_encoding = "ascii"
        answer: Answer = yield from Call(self.docmd, "rset")
        return answer

    def _reset_quietly(self) -> Flow[None]:
        # What went wrong here would hide the refusal that made the reset necessary; the next call will see it.
        with suppress(SMTPException):
            yield from Call(self.rset)

    def _mail(self, sender: str, options: Sequence[str] = ()) -> Flow[Answer]:
        options = self._usable(options)
        if any(option.lower() == "smtputf8" for option in options):
            if not self.has_extn("smtputf8"):
                raise self._lacking("SMTPUTF8 not supported by server")
            self.command_encoding = "utf-8"
        return (yield from self._docmd("mail", path_argument(Mail, sender, options, "from")))

    def _rcpt(self, recip: str, options: Sequence[str] = ()) -> Flow[Answer]:
        options = self._usable(options_for(recip, options))
        return (yield from self._docmd("rcpt", path_argument(Rcpt, recip, options, "to")))

    def _usable(self, options: Sequence[str]) -> tuple[str, ...]:
        """The options to send: without ESMTP none, as in `smtplib`; typed ones must have been offered."""
        if not options:
            return ()
        if any(isinstance(option, Parameter) for option in options):
            problem = lacking(options, self._offer, encrypted=self._tls_facts() is not None)
            if problem is not None:
                raise self._lacking(problem)
        return tuple(options) if self.does_esmtp else ()

    def _verify(self, address: str) -> Flow[Answer]:
        return (yield from self._question("vrfy", address))

    def _expn(self, address: str) -> Flow[Answer]:
        return (yield from self._question("expn", address))

    def _question(self, verb: str, address: str) -> Flow[Answer]:
        question = _addr_only(clean("address", address))
        if question.isascii() or not self.has_extn("smtputf8"):
            return (yield from self._docmd(verb, question))
        # RFC 6531 3.7.4.2: the parameter, for an address, and an answer, that is not ASCII.
        encoding, self.command_encoding = self.command_encoding, "utf-8"
        try:
            return (yield from self._docmd(verb, f"{question} SMTPUTF8"))
        finally:
            self.command_encoding = encoding

    # -- commands of extensions ---------------------------------------------------------------------------------------

    def _etrn(self, node: str) -> Flow[Answer]:
        return (yield from self._extension("ETRN", "RFC 1985", Etrn(node)))

    def _burl(self, url: str, last: bool) -> Flow[Answer]:
        return (yield from self._extension("BURL", "RFC 4468", Burl(url, last)))

    def _xclient(self, attributes: Mapping[str, str | None]) -> Flow[Answer]:
        command = XClient(attributes)
        self._check_attributes(command, self._offer.xclient)
        answer = yield from self._extension("XCLIENT", "Postfix", command)
        if answer[0] // 100 == 2:
            self._forget()
        return answer

    def _xforward(self, attributes: Mapping[str, str | None]) -> Flow[Answer]:
        command = XForward(attributes)
        self._check_attributes(command, self._offer.xforward)
        return (yield from self._extension("XFORWARD", "Postfix", command))

    def _check_attributes(self, command: XClient | XForward, known: tuple[str, ...]) -> None:
        for name, _ in command.attributes:
            if command.verb in self._offer and name not in known:
                raise self._lacking(f"{command.verb}: the server does not take {name}, but {', '.join(known)}")

    def _extension(self, keyword: str, rfc: str, command: Command) -> Flow[Answer]:
        """A command that the server must have offered."""
        if keyword not in self._offer:
            offered = ", ".join(self._offer) or "no extensions"
            raise self._lacking(f"{keyword} needs the extension {keyword} ({rfc}); the server offers {offered}")
        verb, _, arguments = command.line[:-2].decode("utf-8").partition(" ")
        return (yield from self._docmd(verb, arguments))

    @property
    def _offer(self) -> Extensions:
        """What the last EHLO listed, typed; from the dictionary, for people change that."""
        return Extensions(self.esmtp_features if self.does_esmtp else {})

    def _agreed(self, untouched: bool) -> Terms:
        """What the offer means for a message; found out anew when it has changed, or may have (`_untouched`)."""
        esmtp, features, known = self.does_esmtp, self.esmtp_features, self._terms
        if known is not None and untouched and known[0] == esmtp and known[1] == features:
            return known[2]
        offers, offer = self.has_extn, self._offer
        terms = Terms(
            size=esmtp and bool(offers("size")),
            most=offer.size,
            pipelining=bool(offers("pipelining")),
            chunking=bool(offers("chunking")),
            limits=offer.limits if offers("limits") else {},
        )
        self._terms = esmtp, dict(features), terms
        return terms

    def has_extn(self, opt: str) -> bool:
        """True if the last EHLO listed the extension; letter case does not matter."""
        return opt.lower() in self.esmtp_features

    # -- sequences ----------------------------------------------------------------------------------------------------

    def _greet(self) -> Flow[Answer]:
        """The greeting, on a connection that was just made."""
        answer: Answer = yield from Call(self.getreply)
        if self.debuglevel > 0:
            self._print_debug("connect:", repr(answer[1]))
        return answer

    @property
    def _introduced(self) -> bool:
        return self.helo_resp is not None or self.ehlo_resp is not None

    def _hello_due(self, untouched: bool) -> bool:
        """True if `ehlo_or_helo_if_needed` would do anything: who has made it their own is always asked."""
        return not (self._introduced and (untouched or self._own("ehlo_or_helo_if_needed")))

    def _hello(self) -> Flow[None]:
        if not self._introduced:
            answer: Answer = yield from Call(self.ehlo)
            if not 200 <= answer[0] <= 299:
                session = self._session
                # RFC 2033 4.1: LMTP has no HELO, and a server that takes it speaks SMTP, with one answer at the end.
                if answer[0] == 421 or (session is not None and session.connection.lmtp):
                    raise self._refusal(SMTPHeloError(*answer), typed_reply(answer))
                answer = yield from Call(self.helo)
                if not 200 <= answer[0] <= 299:
                    raise self._refusal(SMTPHeloError(*answer), typed_reply(answer))

    def _quit(self) -> Flow[Answer]:
        answer: Answer = yield from Call(self.docmd, "quit")
        self._forget()
        yield from Call(self.close)
        return answer

    def _goodbye(self, failed: bool) -> Flow[None]:
        """The end of a ``with`` block.

        A QUIT that is refused is worth an exception only where the block has neither raised nor delivered: it must not
        hide what went wrong, nor make people send again what has arrived.
        """
        try:
            session = self._live() if self._session is not None else None
            if session is None or session.connection.at_boundary:
                answer: Answer = yield from Call(self.docmd, "QUIT")
                if answer[0] != 221:
                    raise self._refusal(SMTPResponseException(*answer), typed_reply(answer))
        except SMTPServerDisconnected:
            pass
        except SMTPResponseException:
            if not failed and not self._delivered:
                raise
        finally:
            yield from Call(self.close)

    def _forget(self) -> None:
        """What one server said holds neither for the next nor for the same one after TLS has started (RFC 3207 4.2)."""
        self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    def _starttls(self, context: "ssl.SSLContext", server_hostname: str | None) -> Flow[Answer]:
        yield from Call(self.ehlo_or_helo_if_needed)
        if not self.has_extn("starttls"):
            raise self._lacking("STARTTLS extension not supported by server.")
        answer: Answer = yield from Call(self.docmd, "STARTTLS")
        session = self._session
        if session is None or session.connection.state is not State.TLS:
            raise self._refusal(SMTPResponseException(*answer), typed_reply(answer))
        with Translated(self):
            yield from session.secure(context, server_hostname, then=self._secured)
        self._forget()
        return answer
