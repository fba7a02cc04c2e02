"""The methods of the `smtplib`-shaped classes as flows: written once, driven by blocking and asynchronous surfaces.

Theory of operation.  Each public method ``x`` of a surface runs the flow ``_x`` of this class.  A flow calls the other
public methods through `Call`, that is, through ``self``: so an override in a subclass or a patch on an instance is used
by `sendmail`, `login` and the rest, exactly as with `smtplib`.  The lowest ones, `putcmd` and `getreply`, are where the
typed core begins: what `putcmd` is given is read as a command, and `getreply` gives the answer to the oldest one.

`sendmail` takes the shorter way, `smtp_proto.transaction.deliver` in as few flights as the server allows, as long as
the methods it would have called are the library's own; otherwise it calls them, one after the other.

Errors.  A refusal is returned by the low-level methods and raised by those that `smtplib` raises it from.  Whatever
ends the connection becomes `SMTPServerDisconnected`, with the reason in its text and as its ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from email.message import Message
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from smtp_proto.body import DataEncoder
from smtp_proto.commands import AuthResponse, Command, EndOfData, Mail, Raw, Rcpt
from smtp_proto.effects import Call, Flow
from smtp_proto.errors import ConnectionLost, InvalidArgument, LimitExceeded, LocalProtocolError, RemoteProtocolError
from smtp_proto.grammar import clean_text
from smtp_proto.outcome import Outcome, Phase
from smtp_proto.parsing import written_command
from smtp_proto.replies import Reply
from smtp_proto.sasl import AuthenticationAborted, CramMD5, Plain
from smtp_proto.session import ClientSession
from smtp_proto.states import MODES, Stage, State
from smtp_proto.transaction import PIECE, deliver
from smtp_proto.transcript import Observer, Said, body_said, command_said

from .addresses import CRLF, _addr_only, bCRLF, path_of, quoteaddr
from .arguments import check_path, clean, message_octets, split_options
from .exceptions import (
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from .replies import SMTPReply, features_of, typed_reply

if TYPE_CHECKING:
    import ssl

Answer = tuple[int, bytes]
Refused = dict[str, Answer]


class AuthObject(Protocol):
    """What `auth` is given: called without arguments for an initial response (None: there is none), and with each
    challenge (octets).  What it returns is text, or anything with `encode`."""

    def __call__(self, challenge: bytes | None = None, /) -> Any: ...


# The mechanisms that show the secret to whoever listens; the others prove it without.
_PROVING = ("CRAM-MD5", "DIGEST-MD5", "SCRAM-", "GSSAPI", "NTLM", "EXTERNAL", "ANONYMOUS")


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
    #: Send passwords over connections that anyone on the way can read.
    allow_cleartext_auth: bool = False
    #: Told everything that is said, secrets masked (`smtp_proto.transcript`).
    transcript: Observer | None = None

    _session: ClientSession | None = None
    _auth_challenge_count: int = 0
    _challenged: bool = False  # the last reply asks for a secret
    _delivered: bool = False
    # The library's own functions, by the names that `sendmail` would call; set when the surface's class is made.
    _library: ClassVar[dict[str, Any]] = {}

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

    if TYPE_CHECKING:
        # The public methods that flows call through `self`; each surface has them, blocking or as coroutines.
        auth: Callable[..., Any]
        close: Callable[[], Any]
        data: Callable[[bytes | str], Any]
        docmd: Callable[..., Any]
        ehlo: Callable[..., Any]
        ehlo_or_helo_if_needed: Callable[[], Any]
        getreply: Callable[[], Any]
        helo: Callable[..., Any]
        mail: Callable[..., Any]
        putcmd: Callable[..., Any]
        rcpt: Callable[..., Any]
        rset: Callable[[], Any]
        _rset: Callable[[], Any]
        send: Callable[..., Any]
        sendmail: Callable[..., Any]

    # -- errors and debug output --------------------------------------------------------------------------------------

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What the core raises, as what `smtplib` raises."""
        try:
            yield
        except LimitExceeded as error:
            self._discard()
            raise SMTPResponseException(500, "Line too long.") from error
        except (ConnectionLost, RemoteProtocolError) as error:
            self._discard()
            raise self._lost(error) from error
        except InvalidArgument:
            raise
        except LocalProtocolError as error:
            if self._session is not None and self._session.connection.closed:
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

    def _print_debug(self, *args: object) -> None:
        raise NotImplementedError

    def _observe(self, said: Said) -> None:
        if self.transcript is not None:
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
        octets = s.encode(self.command_encoding) if isinstance(s, str) else bytes(s)
        if session.observe is not None:
            state = session.connection.state
            by_hand = octets.endswith(bCRLF) and octets.count(b"\n") == 1 and state is not State.DATA
            # What answers a 334 is a secret, also where the AUTH was written by hand and the state does not know it.
            row = "AUTH response" if state is State.AUTH or self._challenged else "other"
            try:
                session.observe(command_said(Raw(octets[:-2], row)) if by_hand else body_said(len(octets)))
            except InvalidArgument:
                session.observe(body_said(len(octets)))
        with self._translated():
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
        with self._translated():
            if connection.state is State.DATA:
                # A line of the message, written by hand; its end, ".", is answered.
                connection.send_raw(octets + bCRLF)
                yield from session.flush(Stage.BODY)
                return
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
        with self._translated():
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
                if due in ("end of data", "BDAT LAST"):
                    error.outcome = Outcome(())
                    error.outcome.phase = Phase.SENT
                raise
        self._challenged = reply.severity == 3 and reply.code != 354
        if reply.code == 421 or (connection.closed and reply.severity != 2):
            # The server has said goodbye, or something that leaves nobody in step.
            yield from Call(self.close)
        return SMTPReply(reply)

    def _docmd(self, cmd: str, args: str = "") -> Flow[Answer]:
        self._nothing_due()
        yield from Call(self.putcmd, cmd, args)
        answer: Answer = yield from Call(self.getreply)
        return answer

    def _nothing_due(self) -> None:
        """`SMTPException` if a reply is due that the caller has not read: the next one would be taken for another's."""
        session = self._live() if self._session is not None else None  # somebody may have changed the socket
        if session is not None and session.connection.waiting:
            due = ", ".join(command.shown or command.row for command in session.connection.outstanding)
            raise SMTPException(f"read the reply to {due!r} with getreply() first")

    def _own(self, *names: str) -> bool:
        """True if the methods are the library's own, neither overridden in a subclass nor patched."""
        instance, cls, library = self.__dict__, type(self), self._library
        return all(name not in instance and getattr(cls, name) is library[name] for name in names)

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
            self.esmtp_features = dict(features_of(typed_reply(answer)))
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
        parameters = ""
        if options and self.does_esmtp:
            if any(option.lower() == "smtputf8" for option in options):
                if not self.has_extn("smtputf8"):
                    raise SMTPNotSupportedError("SMTPUTF8 not supported by server")
                self.command_encoding = "utf-8"
            parameters = " " + " ".join(options)
        check_path(Mail, sender, parameters, "from")
        return (yield from self._docmd("mail", f"from:{quoteaddr(sender)}{parameters}"))

    def _rcpt(self, recip: str, options: Sequence[str] = ()) -> Flow[Answer]:
        parameters = " " + " ".join(options) if options and self.does_esmtp else ""
        check_path(Rcpt, recip, parameters, "to")
        return (yield from self._docmd("rcpt", f"to:{quoteaddr(recip)}{parameters}"))

    def _data(self, msg: bytes | str) -> Flow[Answer]:
        octets = message_octets(msg)
        if b"\0" in octets:
            raise InvalidArgument("message", "a NUL in the text needs BINARYMIME")  # before DATA, not behind it
        answer = yield from self._docmd("data")
        if self.debuglevel > 0:
            self._print_debug("data:", answer)
        if answer[0] != 354:
            raise self._refusal(SMTPDataError(*answer), typed_reply(answer))
        session = self._session
        if session is not None and session.connection.state is State.DATA and self._own("send"):
            if session.observe is not None:
                session.observe(body_said(len(octets)))
            with self._translated():
                refusal = yield from self._write_message(session, octets)
            if refusal is not None:
                yield from Call(self.close)
                return SMTPReply(refusal)
        else:
            encoder = DataEncoder()
            yield from Call(self.send, encoder.encode(octets) + encoder.finish())
        answered: Answer = yield from Call(self.getreply)
        if self.debuglevel > 0:
            self._print_debug("data:", answered)
        self._delivered = self._delivered or 200 <= answered[0] <= 299
        return answered

    def _write_message(self, session: ClientSession, octets: bytes) -> Flow[Reply | None]:
        """Write the lines of a message and its end; returns the refusal if one came before all was out."""
        connection = session.connection
        for start in range(0, len(octets), PIECE):
            # The piece before this one goes out only now, so that the last one goes with the end of the data.
            if start and (not (yield from session.flush(Stage.BODY, until_heard=True)) or connection.unread):
                break
            connection.send_body(octets[start : start + PIECE])
        else:
            connection.send(EndOfData())
            if (yield from session.flush(Stage.BODY, until_heard=True)):
                return None
        reply = (yield from session.reply()).reply
        if reply.severity in (2, 3):
            raise RemoteProtocolError(f"{reply.code} before the message was sent", reply)
        return reply

    def _verify(self, address: str) -> Flow[Answer]:
        return (yield from self._docmd("vrfy", _addr_only(clean("address", address))))

    def _expn(self, address: str) -> Flow[Answer]:
        return (yield from self._docmd("expn", _addr_only(clean("address", address))))

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

    def _hello(self) -> Flow[None]:
        if self.helo_resp is None and self.ehlo_resp is None:
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
            if session is None or (session.connection.at_boundary and session.connection.state not in MODES):
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

    def _starttls(self, context: ssl.SSLContext, server_hostname: str | None) -> Flow[Answer]:
        yield from Call(self.ehlo_or_helo_if_needed)
        if not self.has_extn("starttls"):
            raise SMTPNotSupportedError("STARTTLS extension not supported by server.")
        answer: Answer = yield from Call(self.docmd, "STARTTLS")
        session = self._session
        if session is None or session.connection.state is not State.TLS:
            raise self._refusal(SMTPResponseException(*answer), typed_reply(answer))
        with self._translated():
            yield from session.secure(context, server_hostname)
        self._forget()
        return answer

    # -- log-in -------------------------------------------------------------------------------------------------------

    def _auth(self, mechanism: str, authobject: AuthObject, initial_response_ok: bool) -> Flow[Answer]:
        wrapped = _WrappedAuthObject(self, mechanism.upper(), authobject)
        if self._may_be_overheard() and not self.allow_cleartext_auth and not wrapped.name.startswith(_PROVING):
            raise SMTPNotSupportedError(
                f"{wrapped.name} would send the password in clear over an unencrypted connection to another host; "
                "call starttls() first, use SMTP_SSL, or pass allow_cleartext_auth=True"
            )
        try:
            session = self._live()
            with self._translated():
                reply = yield from session.authenticate(
                    wrapped, initial_response=initial_response_ok, exchange=self._exchange
                )
        except AuthenticationAborted as error:
            last = SMTPReply(error.reply)
            if wrapped.challenges > 1:
                message = f"Server AUTH mechanism infinite loop. Last response: {tuple(last)!r}"
                raise self._refusal(SMTPException(message), error.reply) from error
            raise self._refusal(SMTPAuthenticationError(*last), error.reply) from error
        # 235: done.  503: this connection is logged in already (RFC 4954 4).
        if reply.code in (235, 503):
            return SMTPReply(reply)
        raise self._refusal(SMTPAuthenticationError(*SMTPReply(reply)), reply)

    def _exchange(self, command: Command) -> Flow[Reply]:
        """One step of AUTH through `docmd`, so that an override of that is used."""
        verb, _, rest = command.line[:-2].decode("ascii").partition(" ")
        if isinstance(command, AuthResponse):
            verb, rest = command.line[:-2].decode("ascii"), ""
        answer: Answer = yield from Call(self.docmd, verb, rest)
        return typed_reply(answer)

    def auth_cram_md5(self, challenge: bytes | None = None) -> str | None:
        """Authobject for CRAM-MD5 (RFC 2195); needs `self.user` and `self.password`."""
        response = CramMD5(self.user, self.password).step(challenge)
        return response.decode("utf-8") if response is not None else None

    def auth_plain(self, challenge: bytes | None = None) -> str:
        """Authobject for PLAIN (RFC 4616); needs `self.user` and `self.password`."""
        return Plain(self.user, self.password).step(challenge).decode("utf-8")

    def auth_login(self, challenge: bytes | None = None) -> str:
        """Authobject for LOGIN: the user name first, then the password; needs `self.user` and `self.password`."""
        return self.user if challenge is None or self._auth_challenge_count < 2 else self.password

    def _login(self, user: str, password: str, initial_response_ok: bool) -> Flow[Answer]:
        yield from Call(self.ehlo_or_helo_if_needed)
        if not self.has_extn("auth"):
            raise SMTPNotSupportedError("SMTP AUTH extension not supported by server.")
        offered = self.esmtp_features["auth"].upper().split()
        usable = [mechanism for mechanism in ("CRAM-MD5", "PLAIN", "LOGIN") if mechanism in offered]
        if not usable:
            raise SMTPException("No suitable authentication method found.")
        Plain(user, password)  # `ValueError` for what no mechanism can carry, before anything is sent
        self.user, self.password = user, password
        failure: SMTPAuthenticationError | None = None
        for mechanism in usable:
            authobject = getattr(self, "auth_" + mechanism.lower().replace("-", "_"))
            try:
                return (yield from self._call_auth(mechanism, authobject, initial_response_ok))
            except SMTPAuthenticationError as error:
                failure = error
                # 535: the credentials are wrong, and would be with any mechanism; trying on locks people out.  454,
                # 421: not now.  Anything else may only mean that this mechanism is not to be had.
                if error.smtp_code in (535, 454, 421):
                    break
        assert failure is not None
        raise failure

    def _call_auth(self, mechanism: str, authobject: AuthObject, initial_response_ok: bool) -> Flow[Answer]:
        def auth() -> Any:
            return self.auth(mechanism, authobject, initial_response_ok=initial_response_ok)

        answer: Answer = yield from Call(auth)
        return answer

    # -- mail ---------------------------------------------------------------------------------------------------------

    def _sendmail(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: bytes | str,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> Flow[Refused]:
        yield from Call(self.ehlo_or_helo_if_needed)
        octets = message_octets(msg)
        options: list[str] = []
        if self.does_esmtp:
            if self.has_extn("size"):
                options.append(f"size={len(octets)}")
            options.extend(mail_options)
        recipients = [to_addrs] if isinstance(to_addrs, str) else list(to_addrs)
        if self._own("mail", "rcpt", "data", "docmd", "putcmd", "getreply", "send", "rset", "_rset"):
            return (yield from self._deliver(from_addr, recipients, octets, options, rcpt_options))
        return (yield from self._step_by_step(from_addr, recipients, octets, options, rcpt_options))

    def _deliver(
        self, from_addr: str, to_addrs: list[str], octets: bytes, options: list[str], rcpt_options: Sequence[str]
    ) -> Flow[Refused]:
        """The short way: one transaction of the core."""
        self.command_encoding = "ascii"
        if any(option.lower() == "smtputf8" for option in options):
            if not self.has_extn("smtputf8"):
                raise SMTPNotSupportedError("SMTPUTF8 not supported by server")
            self.command_encoding = "utf-8"
        sender = path_of(clean("reverse-path", from_addr))
        paths = [path_of(clean("forward-path", address)) for address in to_addrs]
        for path in (sender, *paths, *rcpt_options):
            path.encode(self.command_encoding)  # UnicodeEncodeError before anything is sent
        self._nothing_due()
        session = self._live()
        mail = Mail(sender, split_options(options))
        parameters = split_options(rcpt_options) if self.does_esmtp else ()
        recipients = [Rcpt(path, parameters) for path in paths]
        with self._translated():
            outcome = yield from deliver(
                session, mail, recipients, octets, pipelining=self.pipelining and self.has_extn("pipelining")
            )
        if session.connection.closed:
            yield from Call(self.close)
        return self._result(outcome, from_addr, to_addrs)

    def _result(self, outcome: Outcome, from_addr: str, to_addrs: list[str]) -> Refused:
        """An outcome as what `sendmail` returns or raises."""
        assert outcome.mail is not None
        if not outcome.mail.accepted:
            raise self._refusal(SMTPSenderRefused(*SMTPReply(outcome.mail), from_addr), outcome.mail, outcome)
        refused: Refused = {}
        for address, recipient in zip(to_addrs, outcome.recipients, strict=True):
            if recipient.refusal is not None:
                refused[address] = SMTPReply(recipient.refusal)
        last = outcome.recipients[-1].refusal if outcome.recipients else None
        if not outcome.accepted or (outcome.data is None and outcome.final is None):
            raise self._refusal(SMTPRecipientsRefused(refused), last, outcome)
        refusal = outcome.refusal
        if refusal is not None:
            raise self._refusal(SMTPDataError(*SMTPReply(refusal)), refusal, outcome)
        self._delivered = True
        return refused

    def _step_by_step(
        self, from_addr: str, to_addrs: list[str], octets: bytes, options: list[str], rcpt_options: Sequence[str]
    ) -> Flow[Refused]:
        """The long way: every step a method that somebody has made their own."""
        answer: Answer = yield from Call(self.mail, from_addr, options)
        if answer[0] // 100 != 2:
            yield from self._after_refusal(answer[0])
            raise self._refusal(SMTPSenderRefused(*answer, from_addr), typed_reply(answer))
        refused: Refused = {}
        accepted: list[str] = []
        for address in to_addrs:
            answer = yield from Call(self.rcpt, address, rcpt_options)
            if answer[0] // 100 == 2:
                accepted.append(address)
            else:
                refused[address] = answer
            if answer[0] == 421:
                yield from Call(self.close)
                raise self._refusal(SMTPRecipientsRefused(refused), typed_reply(answer))
        if not accepted:
            yield from Call(self._rset)
            raise self._refusal(SMTPRecipientsRefused(refused), typed_reply(answer))
        try:
            answer = yield from Call(self.data, octets)
        except SMTPDataError as error:
            yield from self._after_refusal(error.smtp_code)
            raise
        answers = [answer]
        session = self._session
        while session is not None and session.connection.waiting:
            answer = yield from Call(self.getreply)  # LMTP: one for each recipient that was accepted
            answers.append(answer)
        if all(each[0] // 100 != 2 for each in answers):
            yield from self._after_refusal(answer[0])
            raise self._refusal(SMTPDataError(*answer), typed_reply(answer))
        if len(answers) > 1:
            answers += [answer] * (len(accepted) - len(answers))  # a 421 is the last, and speaks for the others too
            refused.update({to: each for to, each in zip(accepted, answers, strict=True) if each[0] // 100 != 2})
        self._delivered = True
        return refused

    def _after_refusal(self, code: int) -> Flow[None]:
        yield from Call(self.close if code == 421 else self._rset)

    def _send_message(
        self,
        msg: Message[Any, Any],
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> Flow[Refused]:
        from smtp_proto.message import flatten, forward_paths, reverse_path

        yield from Call(self.ehlo_or_helo_if_needed)
        sender = from_addr if from_addr is not None else reverse_path(msg)
        recipients = to_addrs if to_addrs is not None else forward_paths(msg)
        utf8 = not (sender + "".join(recipients)).isascii()
        if utf8:
            if not self.has_extn("smtputf8"):
                raise SMTPNotSupportedError(
                    "One or more source or delivery addresses require internationalized email support, but the server "
                    "does not advertise the required SMTPUTF8 capability"
                )
            mail_options = (*mail_options, "SMTPUTF8", "BODY=8BITMIME")
        octets = flatten(msg, utf8=utf8)
        refused: Refused = yield from Call(self.sendmail, sender, recipients, octets, mail_options, rcpt_options)
        return refused


class _WrappedAuthObject:
    """An authobject as a mechanism of the core."""

    def __init__(self, client: Conversations, name: str, authobject: AuthObject) -> None:
        self.name = name
        self.challenges = 0
        self._client = client
        self._authobject = authobject
        client._auth_challenge_count = 0

    def step(self, challenge: bytes | None) -> bytes | None:
        if challenge is None:
            response = self._authobject()
        else:
            self.challenges += 1
            self._client._auth_challenge_count += 1
            response = self._authobject(challenge)
        if challenge is None and response is not None:
            self._client._auth_challenge_count = 1
        if response is None or isinstance(response, bytes):
            return response
        encoded = response.encode("utf-8")
        assert isinstance(encoded, bytes)
        return encoded
