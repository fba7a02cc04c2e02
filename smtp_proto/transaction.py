"""A mail transaction as one flow: sender, recipients, message, and the answers, in as few flights as may be.

Theory of operation.  A `Transaction` is one message's commands, and what their answers mean for its `Outcome`.  The
envelope is a list of commands: MAIL, each RCPT, and DATA.  With PIPELINING all of it goes out in one flight and the
answers are collected; without, each is sent and answered before the next.  Both run through the same code and fill the
same outcome; going step by step only allows to stop early.  What pipelining cannot stop any more is corrected (RFC 2920
3.1): after a 354 that no accepted recipient stands behind, only the end of the data is sent, and what is left of a
refused transaction is RSET.

With `chunking` the message goes as one BDAT LAST (RFC 3030) after the answers to the envelope, which RFC 3030 2 wants
collected first; no 354 has to be waited for.  "eager" does not wait for them either: envelope and message are one
flight.  What is answered to a chunk that no accepted recipient stands behind means nothing.  With BODY=BINARYMIME a
chunk goes as it is, whatever is in it.

Once MAIL is out there is no way back: an exception, a cancellation included, aborts the connection.  Before the
message goes out, and while it does, the flow listens (`smtp_proto.writing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Literal

from .commands import Command, Data, EndOfData, Mail, Quit, Rcpt, Rset
from .effects import Close, Flow
from .errors import ConnectionLost, LocalProtocolError, ProtocolError, RemoteProtocolError
from .events import ReplyReceived
from .foreseen import Foreseen, carried_out
from .group import Group
from .outcome import Outcome, Phase, RecipientOutcome
from .plain import PlainMail
from .replies import Reply
from .session import Answered, ClientSession
from .sources import Message, Source, source_of
from .states import State
from .writing import MessageWriter, Progress

#: Whether to send a message by BDAT: not at all, behind the answers to the envelope, or with it.
Chunking = bool | Literal["eager"]

# Octets of a message that are sent before it is known whether anybody wants it.  For a larger one a round trip costs
# less than what would be sent in vain: a chunk that was announced can only be sent to its end.
EAGER_SIZE = 1 << 20


_DATA = Data()
_END = EndOfData()
_QUIT = Quit()

# What goes before the message.
_ENVELOPE = frozenset({"MAIL", "RCPT", "DATA"})


def deliver(
    session: ClientSession,
    mail: Mail,
    recipients: Sequence[Rcpt],
    message: Message,
    *,
    pipelining: bool = False,
    chunking: Chunking = False,
    progress: Progress | None = None,
    last: bool = False,
    outcome: Outcome | None = None,
) -> Flow[Outcome]:
    """Send one message to its recipients (RFC 5321 3.3); returns the `Outcome`, refusals included.

    `message`: octets with any line ends, a binary file, or an iterable of chunks, which is pulled as they go out (see
    `smtp_proto.sources`).  `pipelining` and `chunking` say what the server offers and the caller wants; BDAT needs the
    size of the message in front, so what has none goes by DATA; "eager" needs PIPELINING, and is for messages of up to
    `EAGER_SIZE`.  `progress` is called as octets of the message have gone out.  `last`: say QUIT in the same flight as
    the message, or in the place of RSET, and close the transport; its failure changes nothing.  `outcome`, with an
    entry for each recipient, is filled in where it is given: for who has other names for them than their paths, or
    wants to see how far it came when it was interrupted.

    `ConnectionLost` with `outcome` if the connection ends before the last answer; `InvalidArgument`, with nothing sent,
    for a message with a NUL.  If that is found only as the message goes out, and if its source raises, the transaction
    is cut off and the connection aborted.  Refusals are followed by RSET, so that a transaction is never left open; if
    that fails, the connection is aborted and the outcome stands.
    """
    source = prepared(mail, recipients, message, chunking)
    if outcome is None:
        outcome = Outcome([command.path for command in recipients], mail.path)
    transaction = Transaction(session, mail, recipients, source, outcome, pipelining, chunking, progress)
    return (yield from transaction.run(last))


def deliver_plain(
    session: ClientSession, plain: PlainMail, outcome: Outcome, pipelining: bool = False, chunking: Chunking = False
) -> Flow[Outcome]:
    """`deliver` for plain mail, whose commands are only made where they are needed."""
    otherwise = partial(_plain_in_steps, session, plain, outcome, pipelining, chunking)
    if plain.text is None or not session.foresees:
        return otherwise()
    mail, recipients = plain.lines()
    flight = Foreseen(mail, recipients, plain.count, plain.text, pipelining, chunking)
    return carried_out(session, flight, outcome, otherwise)


def _plain_in_steps(
    session: ClientSession, plain: PlainMail, outcome: Outcome, pipelining: bool, chunking: Chunking
) -> Flow[Outcome]:
    mail, recipients = plain.commands()
    return Transaction(session, mail, recipients, plain.source(), outcome, pipelining, chunking).in_steps()


def prepared(mail: Mail, recipients: Iterable[Rcpt], message: Message, chunking: Chunking) -> Source:
    """The message as it is to be read; `LocalProtocolError` for one that cannot be sent with these commands."""
    binary = (mail.parameter("BODY") or "").upper() == "BINARYMIME"
    source = source_of(message, binary)
    if source.binary is not binary:
        made, said = ("as it is", "no BINARYMIME") if source.binary else ("as text", "BINARYMIME")
        raise LocalProtocolError(f"a source that gives its message {made}, where BODY says {said} (RFC 3030 3)")
    if binary and not (chunking and source.encoded is not None):
        raise LocalProtocolError("BINARYMIME needs CHUNKING, and a message whose size is known (RFC 3030 3)")
    check_addresses(mail, recipients)
    return source


def check_addresses(mail: Mail, recipients: Iterable[Rcpt]) -> None:
    """`LocalProtocolError` for an envelope that needs SMTPUTF8 and does not say so."""
    lines = [command.line for command in (mail, *recipients)]
    if not b"".join(lines).isascii() and mail.parameter("SMTPUTF8") is None:
        path = next(command.path for command in (mail, *recipients) if not command.line.isascii())
        raise LocalProtocolError(f"{path!r} is not ASCII and needs SMTPUTF8 (RFC 6531 3.4)")


class Transaction(MessageWriter):
    """One message: its commands, and what the answers to them mean; see the module's header.

    `answered` is given every answer that is waited for here, where there may be others than to this one's commands.
    """

    begun = False
    last = -1  # the ticket of the last command
    _sender_accepted = False
    _answers = 0  # to recipients so far: answers come in the order of the commands
    _accepted = _refused = 0  # recipients so far
    _finals: list[RecipientOutcome] | None = None  # LMTP: those whose answer to the message is due
    _some_in = False  # an answer came with the first octets behind a flight: for the next one a new wait begins
    _hung_up = False  # a 421 came before any answer to the message

    def __init__(
        self,
        session: ClientSession,
        mail: Mail,
        recipients: Sequence[Rcpt],
        source: Source,
        outcome: Outcome,
        pipelining: bool,
        chunking: Chunking,
        progress: Progress | None = None,
        answered: Answered | None = None,
    ) -> None:
        super().__init__(session, outcome, progress)
        self.size = size = source.encoded or 0
        self.chunked = bool(chunking) and source.encoded is not None
        eager = self.chunked and pipelining and chunking == "eager"
        self.eager = eager and size <= EAGER_SIZE and bool(recipients)  # behind MAIL alone no chunk may be sent
        self.small = source.whole is not None
        self._pipelining = pipelining
        self._source = source
        self._mail = mail
        self._recipients = [*recipients]  # whose list it was may go on with it
        self._asked = len(outcome.replies)
        self._answered = answered

    # -- one transaction on its own -----------------------------------------------------------------------------------

    def run(self, last: bool) -> Flow[Outcome]:
        """All of it; with `last`, the goodbye too.  Raises what `deliver` does."""
        if last or not self.small or self.progress is not None or not self._recipients or not self.session.foresees:
            return self.in_steps(last)
        text = self._source.whole
        assert text is not None
        lines = b"".join([command.line for command in self._recipients])
        if not (self._mail.line + lines).isascii():
            return self.in_steps(last)
        way = self.chunked and ("eager" if self.eager else True)
        flight = Foreseen(self._mail.line, lines, self._asked, text, self._pipelining, way)
        return carried_out(self.session, flight, self.outcome, partial(self.in_steps, last))

    def in_steps(self, last: bool = False) -> Flow[Outcome]:
        """`run`, with an answer looked at before the next flight is made."""
        session, connection = self.session, self.connection
        if connection.closed:
            raise ConnectionLost("the connection is closed")
        # What is put into the connection with nothing to wait for is looked, written and waited for in one effect.
        at_once = self.small and self.progress is None and session.observe is None
        looks = session.unlooked and (at_once or not self.eager)
        try:
            if not self._pipelining:
                yield from self._step_by_step()
            else:
                if not looks:
                    yield from session.look()
                self.announce()
                if not self.eager:
                    flight = session.flight(looks)
                    yield from session.exchange(flight)
                    if not self._all_in():
                        yield from self.answers(flight.written and not self._some_in)
            if self.eager and self.small:
                put = True
            elif at_once and self._put_at_once():
                put = looks = True
            else:
                put, looks = (yield from self.put()), False
            if put:
                behind = 0
                if last and self._pipelining:
                    session.say(_QUIT)
                    behind = len(_QUIT.line)
                if self.progress is None:
                    written = yield from self.exchange(behind, looks)
                    if written is not None and not self._all_in():
                        yield from self.answers(written.written and not self._some_in)
                elif (yield from self.finish(behind)):
                    yield from self.answers()
            if last:
                yield from self._leave()
            elif not self.delivered and not connection.closed:
                yield from self._reset()
        except (ConnectionLost, RemoteProtocolError) as error:
            connection.abort()
            # Behind a refusal of everything nothing is left to lose: it stands, as it does when RSET fails.
            if not self.refused:
                if isinstance(error, ConnectionLost):
                    error.outcome = self.outcome
                    raise
                raise ConnectionLost(str(error), error.reply, self.outcome) from error
        except BaseException:
            if self.begun:
                connection.abort()
            raise
        finally:
            self.settle()
        return self.outcome

    def _step_by_step(self) -> Flow[None]:
        for command in self._envelope():
            # What was answered so far may make the rest useless: only going step by step can tell in time.
            if self.connection.closed or self.refused:
                return
            looks = self.session.unlooked
            if not looks:
                yield from self.session.look()
            self.last = self.session.say(command)
            self.begun = True
            flight = self.session.flight(looks)
            yield from self.session.exchange(flight)
            if not self._all_in():
                yield from self.answers(flight.written and not self._some_in)

    def _reset(self) -> Flow[None]:
        """RSET after a refusal; its own failure never hides that."""
        try:
            if (yield from self.session.reset()).accepted:
                return
        except ProtocolError:
            pass
        self.connection.abort()

    def _leave(self) -> Flow[None]:
        """QUIT, if it was not sent with the message; its own failure hides nothing either."""
        try:
            if self.connection.waiting and not self.connection.closed:
                yield from self.session.reply()
            elif not self.connection.closed:
                yield from self.session.command(_QUIT)
        except ProtocolError:
            pass
        self.connection.abort()
        yield from Close()

    # -- what others put together, too ---------------------------------------------------------------------------------

    def announce(self, *before: Rset) -> None:
        """Put the envelope into the connection, with what stands `before` it; with a `small` message behind it that is
        `eager`, so that there is nothing left to `put`."""
        session, mail, recipients, text = self.session, self._mail, self._recipients, self._source.whole
        if not recipients:
            for command in (*before, mail):
                self.last = session.say(command)
        elif self.eager and text is not None:
            self.last = self.put_chunk(text, (before, mail, recipients))
        else:
            self.last = session.say_envelope(Group(before, mail, recipients, data=None if self.chunked else _DATA))
        self.begun = True

    def _envelope(self) -> list[Command]:
        """The commands that go before the message."""
        mail, recipients = self._mail, self._recipients
        return [mail, *recipients] if self.chunked or not recipients else [mail, *recipients, _DATA]

    @property
    def announced(self) -> int:
        """The octets of the envelope."""
        return len(b"".join([command.line for command in self._envelope()]))

    def _all_in(self) -> bool:
        """True if the answers to all that was put have come in at once, as nearly always; they are taken."""
        self._some_in = self.session.hand_over(self)
        return self._some_in and self.connection.answered > self.last

    def answers(self, again: bool = False) -> Flow[None]:
        """Wait for the answers to all that was put, and to all before it; with `again`, go on waiting for the first."""
        return self.session.answers(self.last, self._answered or self, again)

    def put(self) -> Flow[bool]:
        """Put the message into the connection, if it is wanted or need not be asked for; the last of it is not written.

        After a 354 that nobody stands behind that is the end of the data alone.  False if there is nothing to finish,
        for all was refused or the server has refused the message while it was being written.
        """
        connection = self.connection
        if self.eager or (self.chunked and self._accepted and not connection.closed):
            begun = yield from self.chunk(self._source)
        elif connection.state is not State.DATA:
            return False
        elif self._accepted:
            begun = yield from self.lines(self._source)
        else:
            begun = yield from self._nothing()
        self.last = connection.answered + connection.due - 1
        return begun

    def _put_at_once(self) -> bool:
        """`put` for a small message, without a look at what has arrived, if that can be left to its writing."""
        connection, text = self.connection, self._source.whole
        assert text is not None
        if self.chunked and self._accepted and connection.at_boundary:
            self.last = self.put_chunk(text)
        elif self._accepted and connection.message_due:
            self.last = self.put_lines(text)
        else:
            return False
        return True

    def _nothing(self) -> Flow[bool]:
        """End a message that was asked for although there is nobody to send it to."""
        connection = self.connection
        yield from self.session.poll()
        if connection.accepted or connection.unread or not connection.can_send(_END):
            # MAIL was refused and all the rest accepted: what such a server would make of a message, even of an empty
            # one, nobody knows.  And an answer that is there already is none to the dot.
            connection.abort()
            return False
        # RFC 2920 3.1: the client "MUST send a single dot"; its answer says nothing about any message.
        connection.send(_END)
        return True

    # -- answers ------------------------------------------------------------------------------------------------------

    def taken(self, event: ReplyReceived) -> None:
        (self._answered or self).take(event)

    def take(self, event: ReplyReceived) -> None:
        """The answer to one of the commands."""
        if event.command.row in _ENVELOPE:
            self._take_envelope((event.command,), (event.reply,))
            self._hung_up = self._hung_up or event.reply.code == 421
        else:
            self._take_final(event)

    def take_all(self, commands: Sequence[Command], replies: Sequence[Reply], first: int) -> None:
        """The answers to several of them, none of which refuses anything."""
        outcome, count = self.outcome, self._asked + (1 if self.chunked else 2)
        if commands[0] is self._mail and len(commands) >= count > 1:
            # In this order: interrupted in between, it must not look refused.
            self._sender_accepted = True
            outcome.mail = replies[0]
            outcome.replies[:] = replies[1 : self._asked + 1]
            self._accepted = self._answers = self._asked
            outcome.all_accepted = True
            if not self.chunked:
                outcome.phase = Phase.DATA
                outcome.data = replies[count - 1]
            elif outcome.phase is Phase.MAIL:  # and not sent, with its message behind it
                outcome.phase = Phase.RCPT
        elif commands[0].row in _ENVELOPE:
            self._take_envelope(commands, replies)
        if commands[-1].row not in _ENVELOPE and not self.refused:
            outcome.end(replies[-1], ())

    def _take_envelope(self, commands: Sequence[Command], replies: Sequence[Reply]) -> None:
        outcome = self.outcome
        for command, reply in zip(commands, replies, strict=True):
            name = command.row
            if name == "RCPT":
                # Behind a refused MAIL every RCPT is refused too, with a 503 that says nothing about the recipient.
                if self._sender_accepted:
                    outcome.replies[self._answers] = reply
                    self._answers += 1
                    if reply.code // 100 == 2:
                        self._accepted += 1
                    else:
                        self._refused += 1
                    if outcome.phase is Phase.MAIL:
                        outcome.phase = Phase.RCPT
            elif name == "MAIL":
                # As above.
                self._sender_accepted = reply.code // 100 == 2
                outcome.mail = reply
            elif name == "DATA" and self._accepted:
                # Without a recipient it is refused for that, which is no answer to any message.
                outcome.phase = Phase.DATA
                outcome.data = reply

    def _take_final(self, event: ReplyReceived) -> None:
        """An answer to the message; in LMTP there is one for each accepted recipient (RFC 2033 4.2)."""
        if self.refused:
            return  # an answer to a message for nobody means nothing
        if self._finals is None:
            self._finals = self.outcome.accepted if self.connection.lmtp else []
        self.outcome.final = event.reply
        if event.recipient is not None:
            self._finals.pop(0).final = event.reply
        if self.connection.answered > event.ticket:
            self.outcome.end(event.reply, self._finals)

    @property
    def refused(self) -> bool:
        """True if the sender was refused, or every recipient."""
        if self.outcome.all_accepted:
            return False
        if not self._sender_accepted:
            return self.outcome.mail is not None
        return self._refused == self._asked

    @property
    def delivered(self) -> bool:
        """True if the message was taken, so that the transaction is over."""
        return not self.refused and self.outcome.delivered

    def settle(self) -> None:
        """At the end: what came of a message that was sent in vain does not count."""
        outcome = self.outcome
        if not self._hung_up and outcome.all_accepted:
            return  # as nearly always, and found out in no time
        if self.refused:
            outcome.final = None
        elif not self._hung_up:
            return
        # A server that hangs up has not looked at what stands behind the command that it answered with a 421.
        if outcome.phase in (Phase.BODY, Phase.SENT, Phase.DONE):
            outcome.phase = Phase.RCPT if outcome.mail is not None and outcome.mail.accepted else Phase.MAIL
