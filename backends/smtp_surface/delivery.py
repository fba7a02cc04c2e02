"""Sending mail: the flows of `data`, `sendmail`, `send_message` and `deliver`.

All three that send whole messages run `_transaction`, which returns an `Outcome`: `deliver` gives it to its caller, and
`sendmail` makes of it what `smtplib` would return or raise (`smtp_surface.refusals`).
"""

import smtplib
from collections.abc import AsyncIterator, Iterator, Sequence
from email.message import Message
from functools import partial
from itertools import chain
from typing import Any

from smtp_proto.body import DataEncoder
from smtp_proto.commands import Mail, Rcpt
from smtp_proto.composed import Composed
from smtp_proto.effects import Call, Flow
from smtp_proto.errors import ConnectionLost
from smtp_proto.internationalization import Headers, Way
from smtp_proto.limits import deliver_within, in_parts, plan, used_up
from smtp_proto.outcome import Outcome, Phase
from smtp_proto.parameter import Parameter
from smtp_proto.plain import PlainMail, plain_mail
from smtp_proto.replies import Reply
from smtp_proto.session import ClientSession
from smtp_proto.sources import Source, octets_of, source_of
from smtp_proto.states import State
from smtp_proto.transaction import Chunking, Transaction, deliver_plain, prepared
from smtp_proto.writing import MessageWriter, Progress

from .addresses import one_address, paths_of
from .arguments import message_octets, options_for, split_options
from .conversations import STEPS, Answer, Refused, Terms, Translated
from .exceptions import SMTPDataError
from .letters import Letter, addresses_way, declared_binary, letter
from .login import LoginConversations
from .refusals import refusal_error, refusals
from .replies import SMTPReply, typed_reply

#: What a message may be, beside an `email.message.Message`: octets, ASCII text, an open binary file, an iterable of
#: octets, and for asynchronous clients an asynchronous iterable of them.
Content = Any


class Ready:
    """A message that could be sent as it is: with the options and in the form that the server's offer asks for.

    `plain`: mail that is `smtp_proto.plain`.  All other has `fit` and each recipient's `parameters` instead.
    `at_once`: by the library's own methods.  `streamed`: the octets are with the source, not with `fit`.
    """

    # No tuple with names, as `Letter` is none.
    __slots__ = ("_source", "at_once", "fit", "outcome", "parameters", "plain", "streamed", "terms")

    def __init__(
        self,
        outcome: Outcome,
        terms: Terms,
        plain: PlainMail | None,
        source: Source | None = None,
        fit: Letter | None = None,
        parameters: Sequence[Sequence[str]] = (),
        at_once: bool = True,
        streamed: bool = False,
    ) -> None:
        self.outcome = outcome
        self.terms = terms
        self.plain = plain
        self._source = source
        self.fit = fit
        self.parameters = parameters
        self.at_once = at_once
        self.streamed = streamed

    @property
    def paths(self) -> list[str]:
        """The recipients' forward-paths."""
        return self.outcome.addresses if self.fit is None else paths_of(self.fit.recipients)

    @property
    def source(self) -> Source:
        """Where its octets come from; there is only one."""
        if self._source is None:
            assert self.plain is not None
            self._source = self.plain.source()
        return self._source


_TEXT = {str}


class MailConversations(LoginConversations):
    """`data`, `sendmail`, `send_message` and `deliver`."""

    _asynchronous = False
    _lmtp = False

    def _data(self, msg: bytes | str) -> Flow[Answer]:
        source = source_of(message_octets(msg))  # `InvalidArgument` for a NUL, before DATA, not behind it
        answer = yield from self._docmd("data")
        if self.debuglevel > 0:
            self._print_debug("data:", answer)
        if answer[0] != 354:
            raise self._refusal(SMTPDataError(*answer), typed_reply(answer))
        session, outcome = self._session, Outcome(())
        # Where `putcmd` is somebody's own, the connection may know nothing of a message.
        writer = MessageWriter(session, outcome) if session and session.connection.state is State.DATA else None
        with Translated(self):
            try:
                if writer is not None and self._own("send"):
                    written = (yield from writer.lines(source)) and (yield from writer.finish())
                else:
                    written = writer is None or not (yield from writer.overruled())
                    if written:
                        encoder = DataEncoder()
                        octets = b"".join((yield from self._whole(source)))
                        yield from Call(self.send, encoder.encode(octets) + encoder.finish())
            except ConnectionLost as error:
                error.outcome = outcome
                raise
        if not written:
            assert outcome.final is not None
            yield from Call(self.close)
            return SMTPReply(outcome.final)
        answered: Answer = yield from Call(self.getreply)
        if self.debuglevel > 0:
            self._print_debug("data:", answered)
        self._delivered = self._delivered or 200 <= answered[0] <= 299
        return answered

    def _sendmail(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: Content,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Flow[Refused]:
        mail_options = tuple(mail_options) if mail_options else ()  # read more than once
        content = self._content(msg, mail_options)
        outcome = yield from self._transaction(from_addr, to_addrs, content, mail_options, rcpt_options, progress)
        if outcome.unanimous and outcome.delivered:
            return {}
        error = refusal_error(outcome)
        if error is not None:
            raise error
        return {recipient.address: SMTPReply(refusal) for recipient, refusal in refusals(outcome)}

    def _deliver(
        self,
        msg: "Content | Message[Any, Any]",
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        progress: Progress | None = None,
        last: bool = False,
    ) -> Flow[Outcome]:
        arguments = yield from self._arguments(msg, from_addr, to_addrs, mail_options)
        return (yield from self._transaction(*arguments, rcpt_options, progress, last))

    def _arguments(
        self,
        msg: "Content | Message[Any, Any]",
        from_addr: str | None,
        to_addrs: str | Sequence[str] | None,
        mail_options: Sequence[str],
    ) -> Flow[tuple[str, str | Sequence[str], bytes | Source, Sequence[str]]]:
        """Sender, recipients, content and options of a message of any kind."""
        if isinstance(msg, Message):
            return (yield from self._prepared(msg, from_addr, to_addrs, mail_options))
        mail_options = tuple(mail_options) if mail_options else ()  # read more than once
        content = self._content(msg, mail_options)
        if from_addr is None or to_addrs is None:
            raise TypeError("from_addr and to_addrs are needed where msg is no email.message.Message")
        return from_addr, to_addrs, content, mail_options

    def _content(self, msg: Content, mail_options: Sequence[str]) -> bytes | Source:
        """Octets, or where they come from; `TypeError` for what is neither."""
        if isinstance(msg, bytes) and msg:
            return msg
        if isinstance(msg, (str, bytes, bytearray, memoryview, Message)):
            return message_octets(msg)  # type: ignore[arg-type]  # an email message is refused there
        # What is to go as it is must not be looked at as text; of octets that is seen to later.
        binary = declared_binary(split_options(mail_options))
        try:
            source = source_of(msg, binary)
        except TypeError:
            message_octets(msg)
            raise
        if not self._asynchronous and not isinstance(source.chunks, Iterator):
            raise TypeError("an asynchronous iterable needs an asynchronous client")
        return source

    def _transaction(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        content: bytes | Source,
        mail_options: Sequence[str],
        rcpt_options: Sequence[str],
        progress: Progress | None = None,
        last: bool = False,
    ) -> Flow[Outcome]:
        """One message to its recipients, in one go or step by step; what the server refuses is in the outcome."""
        untouched = self._untouched
        if self._hello_due(untouched):
            yield from Call(self.ehlo_or_helo_if_needed)
            untouched = self._untouched
        ready = self._made_ready(from_addr, to_addrs, content, mail_options, rcpt_options, untouched)
        return (yield from self._sent(ready, progress, last))

    def _sent(self, ready: Ready, progress: Progress | None = None, last: bool = False) -> Flow[Outcome]:
        """What became of a message that was made ready."""
        outcome = ready.outcome
        if outcome.mail is not None:
            return outcome
        if ready.at_once:
            try:
                yield from self._in_one_go(ready, progress, last)
            except BaseException as error:
                self._translate(error)
                raise
            delivered = outcome.delivered
            if not delivered:
                self.command_encoding = "ascii"  # the transaction is over, by the RSET behind its refusal
            if self._session is not None and self._session.connection.closed:
                yield from Call(self.close)
        else:
            try:
                yield from self._in_steps(ready)
            except smtplib.SMTPServerDisconnected as error:
                lost = getattr(error, "outcome", None)  # of the one step that it came from
                if lost is not None:
                    outcome.phase = lost.phase
                error.outcome = outcome  # type: ignore[attr-defined]  # ours have it, and an override's own may
                raise
            delivered = outcome.delivered
        self._delivered = self._delivered or delivered
        return outcome

    def _made_ready(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        content: bytes | Source,
        mail_options: Sequence[str],
        rcpt_options: Sequence[str],
        untouched: bool,
    ) -> Ready:
        """A message fitted to what the server offers; where it cannot be, its outcome has a refusal of our own."""
        recipients = [to_addrs] if isinstance(to_addrs, str) else list(to_addrs)
        kinds = set(map(type, recipients))
        if kinds != _TEXT:
            recipients = [one_address(each) for each in recipients]
        sender = from_addr if from_addr.__class__ is str else one_address(from_addr)
        outcome = Outcome(recipients, sender)
        terms = self._agreed(untouched)
        bare = kinds == _TEXT and not rcpt_options
        if untouched and bare and not mail_options and (content.__class__ is bytes or isinstance(content, Composed)):
            plain = plain_mail(sender, recipients, content, sized=terms.size)
            if plain is not None:
                self._refuse_too_large(outcome, plain.size, terms)
                return Ready(outcome, terms, plain)
        mail_options = self._usable(mail_options) if mail_options else ()
        parameters: Sequence[Sequence[str]] = [()] * len(recipients)
        if not bare:
            rcpt_options = tuple(rcpt_options or ())
            parameters = [self._usable(options_for(recipient, rcpt_options)) for recipient in recipients]
        at_once = untouched or self._own(*STEPS)
        given, streamed = None, False
        octets: bytes | Composed
        if isinstance(content, Source):
            streamed = True
            if isinstance(content, Composed):
                octets = content
            else:
                octets, given = b"", content
                if self.has_extn("8bitmime") and not any(
                    option.upper().startswith("BODY=") for option in split_options(mail_options)
                ):
                    # What will come is not known, and text of seven bits may be declared so, too (RFC 6152 3).
                    mail_options = (*mail_options, "BODY=8BITMIME")
        else:
            octets = content
        # Only the library's own way of sending a message knows BDAT.
        fit = letter(
            sender,
            recipients,
            octets,
            mail_options,
            self.has_extn,
            reencode=self.reencode,
            binary_possible=at_once,
        )
        source = given or source_of(fit.octets, fit.binary)
        if source.size is not None and terms.size:
            self._refuse_too_large(outcome, source.size, terms)
            if not any(isinstance(option, Parameter) and option.keyword == "SIZE" for option in fit.options):
                fit.options.insert(0, f"size={source.size}")
        return Ready(outcome, terms, None, source, fit, parameters, at_once, streamed)

    def _refuse_too_large(self, outcome: Outcome, size: int, terms: Terms) -> None:
        """RFC 1870 4 (1): better not sent at all than refused at its end."""
        if terms.most is not None and terms.size and size > terms.most:
            self._live()  # what the server has said is remembered longer than there is a connection
            problem = f"5.3.4 The message has {size} octets, and the server takes {terms.most} (RFC 1870)"
            outcome.mail = Reply(552, problem)

    def _in_one_go(self, ready: Ready, progress: Progress | None, last: bool) -> Flow[Outcome]:
        """The short way: one transaction of the core."""
        terms, plain = ready.terms, ready.plain
        pipelining, chunking = self.pipelining and terms.pipelining, self._chunks(ready)
        if plain is not None and progress is None and not last and not terms.limits:
            self.command_encoding = "ascii"
            return deliver_plain(self._idle(), plain, ready.outcome, pipelining, chunking)
        mail, recipients = self._commands(ready)
        session = self._idle()
        if progress is not None:
            progress = self._guarded(progress)
        if not terms.limits:
            source, outcome = self._source(ready, mail, recipients, chunking), ready.outcome
            return Transaction(session, mail, recipients, source, outcome, pipelining, chunking, progress).run(last)
        return deliver_within(
            session,
            mail,
            recipients,
            ready.source,
            limits=terms.limits,
            pipelining=pipelining,
            chunking=chunking,
            progress=progress,
            last=last,
            outcome=ready.outcome,
            renew=self._renew if self.reconnect is not None else None,
        )

    def _commands(self, ready: Ready) -> tuple[Mail, list[Rcpt]]:
        """MAIL and the RCPTs; what must not be sent is raised here, before anything is."""
        self.command_encoding = "ascii"
        if ready.plain is not None:
            return ready.plain.commands()
        fit, parameters = ready.fit, ready.parameters
        assert fit is not None
        if any(option.lower() == "smtputf8" for option in fit.options):
            if not self.has_extn("smtputf8"):
                raise self._lacking("SMTPUTF8 not supported by server")
            self.command_encoding = "utf-8"
        if fit.binary and not (self.has_extn("binarymime") and self.has_extn("chunking")):
            raise self._lacking("BINARYMIME or CHUNKING not supported by server")
        sender, *paths = paths_of([fit.sender, *fit.recipients])
        # UnicodeEncodeError before anything is sent.
        " ".join([sender, *paths, *fit.options, *chain.from_iterable(parameters)]).encode(self.command_encoding)
        self._live()
        recipients = [
            Rcpt(path, split_options(given) if given else ()) for path, given in zip(paths, parameters, strict=True)
        ]
        return Mail(sender, split_options(fit.options)), recipients

    def _chunks(self, ready: Ready) -> Chunking:
        if not ready.terms.chunking:
            return False
        return self.chunking or (ready.plain is None and ready.source.binary)

    def _source(self, ready: Ready, mail: Mail, recipients: list[Rcpt], chunking: Chunking) -> Source:
        """The message as it is to be read, beside its commands; of plain mail nothing is left to be checked."""
        return ready.source if ready.plain is not None else prepared(mail, recipients, ready.source, chunking)

    def _guarded(self, progress: Progress) -> Progress:
        """`progress`, which must not call the client back."""

        def guarded(done: int, total: int | None) -> object:
            with self._callback():
                return progress(done, total)

        return guarded

    def _renew(self) -> Flow[ClientSession]:
        """Another connection, made by the application."""
        assert self.reconnect is not None
        yield from Call(self.quit)
        yield from Call(self.reconnect)
        yield from Call(self.ehlo_or_helo_if_needed)
        return self._live()

    def _in_steps(self, ready: Ready) -> Flow[None]:
        """The long way, in as many transactions as the server's limits ask for."""
        outcome, fit, parameters = ready.outcome, ready.fit, ready.parameters
        assert fit is not None
        if ready.streamed:  # `data` takes octets only
            octets = b"".join((yield from self._whole(ready.source)))
            fit = Letter(fit.sender, fit.recipients, octets, fit.options, fit.binary)
        limits = ready.terms.limits
        if not limits:  # and there may be no connection, where every step is somebody's own
            yield from self._step_by_step(outcome, fit, parameters)
            return
        paths = paths_of(fit.recipients)
        with Translated(self):
            parts = plan(self._live(), paths, limits, renewable=self.reconnect is not None)

        def send(part: range, done: Outcome) -> Flow[bool]:
            if used_up(self._live(), limits):
                yield from self._renew()
            recipients = [fit.recipients[number] for number in part]
            letter = Letter(fit.sender, recipients, fit.octets, fit.options, fit.binary)
            yield from self._step_by_step(done, letter, [parameters[number] for number in part])
            return self._session is not None

        yield from in_parts(parts, outcome, send)

    def _step_by_step(self, outcome: Outcome, fit: Letter, parameters: Sequence[Sequence[str]]) -> Flow[None]:
        """The long way: every step a method that somebody has made their own, and what they return is what counts."""
        answer: Answer = yield from Call(self.mail, fit.sender, fit.options)
        outcome.mail = typed_reply(answer)
        if not outcome.mail.accepted:
            yield from self._after_refusal(outcome.mail)
            return
        for recipient, address, options in zip(outcome.recipients, fit.recipients, parameters, strict=True):
            answer = yield from Call(self.rcpt, address, options)
            recipient.reply = typed_reply(answer)
            outcome.phase = Phase.RCPT
            if recipient.reply.code == 421:
                yield from Call(self.close)
                return
        accepted = outcome.accepted
        if not accepted:
            yield from Call(self._rset)
            return
        try:
            answer = yield from Call(self.data, fit.octets)
        except smtplib.SMTPDataError as error:
            outcome.phase = Phase.DATA
            outcome.data = typed_reply((error.smtp_code, error.smtp_error))
            yield from self._after_refusal(outcome.data)
            return
        final = typed_reply(answer)
        session = self._session
        while session is not None and session.connection.waiting:
            accepted.pop(0).final = final
            answer = yield from Call(self.getreply)  # LMTP: one for each recipient that was accepted
            final = typed_reply(answer)
        # In LMTP the last speaks for those that are left: for one, or after a 421 for all.
        outcome.end(final, accepted if self._lmtp else [])
        if not outcome.delivered:
            yield from self._after_refusal(final)

    def _whole(self, source: Source) -> Flow[list[bytes]]:
        # By a `Call`, for whoever has made every step their own needs no connection to pull from.
        step = anext if isinstance(source.chunks, AsyncIterator) else next
        chunks: list[bytes] = []
        while (chunk := (yield from Call(step, source.chunks, None))) is not None:
            chunks.append(octets_of(chunk))
        return chunks

    def _after_refusal(self, reply: Reply) -> Flow[None]:
        yield from Call(self.close if reply.code == 421 else self._rset)

    def _send_message(
        self,
        msg: "Message[Any, Any]",
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Flow[Refused]:
        arguments = yield from self._prepared(msg, from_addr, to_addrs, mail_options)
        if self._untouched or self._own("sendmail"):
            return (yield from self._sendmail(*arguments, rcpt_options, progress))
        sender, recipients, octets, options = arguments
        if isinstance(octets, Composed):
            octets = octets.joined()  # what is somebody's own may do anything with them
        sendmail = partial(self.sendmail, progress=progress) if progress is not None else self.sendmail
        refused: Refused = yield from Call(sendmail, sender, recipients, octets, options, rcpt_options)
        return refused

    def _prepared(
        self,
        msg: "Message[Any, Any]",
        from_addr: str | None,
        to_addrs: str | Sequence[str] | None,
        mail_options: Sequence[str],
    ) -> Flow[tuple[str, str | Sequence[str], bytes | Composed, Sequence[str]]]:
        """The first four arguments of `sendmail` for an email message: sender, recipients, octets and options."""
        from smtp_proto.message import forward_paths, needs_utf8, resent_prefix, reverse_path, written

        if self._hello_due(self._untouched):
            yield from Call(self.ehlo_or_helo_if_needed)
        resent_prefix(msg)  # `ValueError` for a message that was resent twice, whoever gives the addresses
        sender = from_addr if from_addr is not None else reverse_path(msg)
        recipients = to_addrs if to_addrs is not None else forward_paths(msg)
        headers = Headers.ADDRESSES if needs_utf8(msg) else Headers.ASCII
        addresses = [sender, recipients] if isinstance(recipients, str) else [sender, *recipients]
        chosen, problem = addresses_way(addresses, headers, self.has_extn)
        if chosen is Way.REFUSED:
            raise self._lacking(
                "One or more source or delivery addresses require internationalized email support, but the server "
                f"does not advertise the required SMTPUTF8 capability{problem}"
            )
        utf8 = chosen is Way.SMTPUTF8
        if utf8:
            mail_options = (*mail_options, "SMTPUTF8", "BODY=8BITMIME")
        return sender, recipients, written(msg, utf8=utf8), mail_options
