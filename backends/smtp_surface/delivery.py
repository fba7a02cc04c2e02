"""Sending mail: the flows of `data`, `sendmail`, `send_message` and `deliver`.

All three that send whole messages run `_transaction`, which returns an `Outcome`: `deliver` gives it to its caller, and
`sendmail` makes of it what `smtplib` would return or raise (`smtp_surface.refusals`).
"""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from email.message import Message
from itertools import chain
from typing import Any

from smtp_proto.body import DataEncoder
from smtp_proto.commands import Mail, Rcpt
from smtp_proto.effects import Call, Flow
from smtp_proto.errors import ConnectionLost, InvalidArgument
from smtp_proto.extensions import Extensions
from smtp_proto.internationalization import Headers, Way
from smtp_proto.limits import deliver_within, in_parts, plan, used_up
from smtp_proto.outcome import Outcome, Phase
from smtp_proto.parameters import Size
from smtp_proto.replies import Reply
from smtp_proto.session import ClientSession
from smtp_proto.sources import source_of
from smtp_proto.states import State
from smtp_proto.writing import MessageWriter

from .addresses import one_address, paths_of
from .arguments import message_octets, options_for, size_on_the_wire, split_options
from .conversations import Answer, Refused
from .exceptions import SMTPDataError
from .letters import Letter, addresses_way, letter
from .login import LoginConversations
from .refusals import refusal_error, refusals
from .replies import SMTPReply, typed_reply


class MailConversations(LoginConversations):
    """`data`, `sendmail`, `send_message` and `deliver`."""

    def _data(self, msg: bytes | str) -> Flow[Answer]:
        octets = message_octets(msg)
        if b"\0" in octets:
            raise InvalidArgument("message", "a NUL in the text needs BINARYMIME")  # before DATA, not behind it
        answer = yield from self._docmd("data")
        if self.debuglevel > 0:
            self._print_debug("data:", answer)
        if answer[0] != 354:
            raise self._refusal(SMTPDataError(*answer), typed_reply(answer))
        session, outcome = self._session, Outcome(())
        # Where `putcmd` is somebody's own, the connection may know nothing of a message.
        writer = MessageWriter(session, outcome) if session and session.connection.state is State.DATA else None
        with self._translated():
            try:
                if writer is not None and self._own("send"):
                    written = (yield from writer.lines(source_of(octets))) and (yield from writer.finish())
                else:
                    written = writer is None or not (yield from writer.refused())
                    if written:
                        encoder = DataEncoder()
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
        msg: bytes | str,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> Flow[Refused]:
        octets = message_octets(msg)
        outcome = yield from self._transaction(from_addr, to_addrs, octets, mail_options, rcpt_options)
        error = refusal_error(outcome)
        if error is not None:
            raise error
        return {recipient.address: SMTPReply(refusal) for recipient, refusal in refusals(outcome)}

    def _deliver(
        self,
        msg: bytes | str | Message[Any, Any],
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> Flow[Outcome]:
        if isinstance(msg, Message):
            arguments = yield from self._prepared(msg, from_addr, to_addrs, mail_options)
            return (yield from self._transaction(*arguments, rcpt_options))
        octets = message_octets(msg)
        if from_addr is None or to_addrs is None:
            raise TypeError("from_addr and to_addrs are needed where msg is no email.message.Message")
        return (yield from self._transaction(from_addr, to_addrs, octets, mail_options, rcpt_options))

    def _transaction(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        octets: bytes,
        mail_options: Sequence[str],
        rcpt_options: Sequence[str],
    ) -> Flow[Outcome]:
        """One message to its recipients, in one go or step by step; what the server refuses is in the outcome."""
        recipients = [to_addrs] if isinstance(to_addrs, str) else [one_address(address) for address in to_addrs]
        sender = one_address(from_addr)
        outcome = Outcome(recipients, sender)
        yield from Call(self.ehlo_or_helo_if_needed)
        mail_options = self._usable(mail_options)
        rcpt_options = tuple(rcpt_options or ())
        for_all = self._usable(rcpt_options)
        parameters = [
            for_all if recipient.__class__ is str else self._usable(options_for(recipient, rcpt_options))
            for recipient in recipients
        ]
        at_once = self._own("mail", "rcpt", "data", "docmd", "putcmd", "getreply", "send", "rset", "_rset")
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
        if self.does_esmtp and self.has_extn("size"):
            size = len(fit.octets) if fit.binary else size_on_the_wire(fit.octets)
            most = Extensions({"SIZE": self.esmtp_features["size"]}).size
            if most is not None and size > most:
                self._live()  # what the server has said is remembered longer than there is a connection
                # RFC 1870 4 (1): better not sent at all than refused at its end.
                problem = f"5.3.4 The message has {size} octets, and the server takes {most} (RFC 1870)"
                outcome.mail = Reply(552, problem)
                return outcome
            if not any(isinstance(option, Size) for option in fit.options):
                fit.options.insert(0, f"size={size}")
        if at_once:
            yield from self._in_one_go(outcome, fit, parameters)
        else:
            try:
                yield from self._in_steps(outcome, fit, parameters)
            except smtplib.SMTPServerDisconnected as error:
                lost = getattr(error, "outcome", None)  # of the one step that it came from
                if lost is not None:
                    outcome.phase = lost.phase
                error.outcome = outcome  # type: ignore[attr-defined]  # ours have it, and an override's own may
                raise
        self._delivered = self._delivered or outcome.delivered
        return outcome

    def _in_one_go(self, outcome: Outcome, fit: Letter, parameters: Sequence[Sequence[str]]) -> Flow[None]:
        """The short way: one transaction of the core."""
        self.command_encoding = "ascii"
        if any(option.lower() == "smtputf8" for option in fit.options):
            if not self.has_extn("smtputf8"):
                raise self._lacking("SMTPUTF8 not supported by server")
            self.command_encoding = "utf-8"
        if fit.binary and not (self.has_extn("binarymime") and self.has_extn("chunking")):
            raise self._lacking("BINARYMIME or CHUNKING not supported by server")
        sender, *paths = paths_of([fit.sender, *fit.recipients])
        # UnicodeEncodeError before anything is sent.
        " ".join([sender, *paths, *fit.options, *chain.from_iterable(parameters)]).encode(self.command_encoding)
        self._nothing_due()
        session = self._live()
        mail = Mail(sender, split_options(fit.options))
        recipients = [
            Rcpt(path, split_options(given) if given else ()) for path, given in zip(paths, parameters, strict=True)
        ]
        pipelining = self.pipelining and self.has_extn("pipelining")
        chunking = (self.chunking or fit.binary) if self.has_extn("chunking") else False
        with self._translated():
            yield from deliver_within(
                session,
                mail,
                recipients,
                fit.octets,
                limits=self._offer.limits if self.has_extn("limits") else {},
                pipelining=pipelining,
                chunking=chunking,
                outcome=outcome,
                renew=self._renew if self.reconnect is not None else None,
            )
        if not outcome.delivered:
            self.command_encoding = "ascii"  # the transaction is over, by the RSET behind its refusal
        if self._session is not None and self._session.connection.closed:
            yield from Call(self.close)

    def _renew(self) -> Flow[ClientSession]:
        """Another connection, made by the application."""
        assert self.reconnect is not None
        yield from Call(self.quit)
        yield from Call(self.reconnect)
        yield from Call(self.ehlo_or_helo_if_needed)
        return self._live()

    def _in_steps(self, outcome: Outcome, fit: Letter, parameters: Sequence[Sequence[str]]) -> Flow[None]:
        """The long way, in as many transactions as the server's limits ask for."""
        limits = self._offer.limits
        if not limits:  # and there may be no connection, where every step is somebody's own
            yield from self._step_by_step(outcome, fit, parameters)
            return
        paths = paths_of(fit.recipients)
        with self._translated():
            parts = plan(self._live(), paths, limits, renewable=self.reconnect is not None)

        def send(part: range, done: Outcome) -> Flow[bool]:
            if used_up(self._live(), limits):
                yield from self._renew()
            letter = fit._replace(recipients=[fit.recipients[number] for number in part])
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
        # Where there were several, the last speaks for those that are left: for one, or after a 421 for all.
        outcome.end(final, accepted if len(accepted) < len(outcome.accepted) else [])
        if not outcome.delivered:
            yield from self._after_refusal(final)

    def _after_refusal(self, reply: Reply) -> Flow[None]:
        yield from Call(self.close if reply.code == 421 else self._rset)

    def _send_message(
        self,
        msg: Message[Any, Any],
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> Flow[Refused]:
        arguments = yield from self._prepared(msg, from_addr, to_addrs, mail_options)
        refused: Refused = yield from Call(self.sendmail, *arguments, rcpt_options)
        return refused

    def _prepared(
        self,
        msg: Message[Any, Any],
        from_addr: str | None,
        to_addrs: str | Sequence[str] | None,
        mail_options: Sequence[str],
    ) -> Flow[tuple[str, str | Sequence[str], bytes, Sequence[str]]]:
        """The first four arguments of `sendmail` for an email message: sender, recipients, octets and options."""
        from smtp_proto.message import flatten, forward_paths, needs_utf8, resent_prefix, reverse_path

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
        return sender, recipients, flatten(msg, utf8=utf8), mail_options
