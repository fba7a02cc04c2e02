"""Sending mail: the flows of `data`, `sendmail` and `send_message`."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import Message
from typing import Any

from smtp_proto.body import DataEncoder
from smtp_proto.commands import Mail, Rcpt
from smtp_proto.effects import Call, Flow
from smtp_proto.errors import ConnectionLost, InvalidArgument
from smtp_proto.outcome import Outcome
from smtp_proto.states import State
from smtp_proto.transaction import MessageWriter, deliver

from .addresses import path_of
from .arguments import clean, message_octets, size_on_the_wire, split_options
from .conversations import Answer, Refused
from .exceptions import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused
from .login import LoginConversations
from .replies import SMTPReply, typed_reply


class MailConversations(LoginConversations):
    """`data`, `sendmail` and `send_message`."""

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
                    written = yield from writer.lines(octets)
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
        rcpt_options = tuple(rcpt_options or ())
        yield from Call(self.ehlo_or_helo_if_needed)
        options: list[str] = []
        if self.does_esmtp:
            if self.has_extn("size"):
                options.append(f"size={size_on_the_wire(octets)}")
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
                raise self._lacking("SMTPUTF8 not supported by server")
            self.command_encoding = "utf-8"
        sender = path_of(clean("reverse-path", from_addr))
        paths = [path_of(clean("forward-path", address)) for address in to_addrs]
        for text in (sender, *paths, *options, *(rcpt_options if self.does_esmtp else ())):
            text.encode(self.command_encoding)  # UnicodeEncodeError before anything is sent
        self._nothing_due()
        session = self._live()
        mail = Mail(sender, split_options(options))
        parameters = split_options(rcpt_options) if self.does_esmtp else ()
        recipients = [Rcpt(path, parameters) for path in paths]
        with self._translated():
            outcome = yield from deliver(
                session, mail, recipients, octets, pipelining=self.pipelining and self.has_extn("pipelining")
            )
        if not outcome.delivered:
            self.command_encoding = "ascii"  # the transaction is over, by the RSET behind its refusal
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
        last = next((each.refusal for each in reversed(outcome.recipients) if each.refusal is not None), None)
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
        from smtp_proto.message import flatten, forward_paths, resent_prefix, reverse_path

        yield from Call(self.ehlo_or_helo_if_needed)
        resent_prefix(msg)  # `ValueError` for a message that was resent twice, whoever gives the addresses
        sender = from_addr if from_addr is not None else reverse_path(msg)
        recipients = to_addrs if to_addrs is not None else forward_paths(msg)
        utf8 = not (sender + "".join(recipients)).isascii()
        if utf8:
            if not self.has_extn("smtputf8"):
                raise self._lacking(
                    "One or more source or delivery addresses require internationalized email support, but the server "
                    "does not advertise the required SMTPUTF8 capability"
                )
            mail_options = (*mail_options, "SMTPUTF8", "BODY=8BITMIME")
        octets = flatten(msg, utf8=utf8)
        refused: Refused = yield from Call(self.sendmail, sender, recipients, octets, mail_options, rcpt_options)
        return refused
