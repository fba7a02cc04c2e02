"""The client's end of a connection: commands to octets, octets to replies, and which reply belongs to which command.

Theory of operation.  `send` validates a command against the *sent* state (see `smtp_proto.states`), puts its line into
the output and the command at the end of a queue.  `next_event` takes the next whole reply from the input, matches it to
the head of the queue, and moves the *confirmed* state by the command's row.  So nobody correlates by hand: an event
carries the command that it answers.  What no command asked for is a `ServiceClosing` (421) or the end: an unasked reply
means that from here on every answer could be taken for another's.

Three commands stay at the head for more than one reply: AUTH's 334 asks for an `AuthResponse`, which is a command of
its own; after LMTP's end of data one reply comes for each accepted recipient; and after STARTTLS's 220 the connection
is PAUSED until the handshake is done, and an octet that is in the buffer by then was injected before it.

A refusal is data.  `LocalProtocolError` leaves everything as it was.  `RemoteProtocolError` is for good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from itertools import islice
from operator import attrgetter
from typing import NoReturn

from .body import DataEncoder, MessageText
from .commands import AuthResponse, Bdat, Command, EndOfData, Greeting, Mail, Raw
from .errors import LocalProtocolError, RemoteProtocolError
from .events import NEED_DATA, PAUSED, ConnectionClosed, ReplyReceived, ServiceClosing, Wait
from .extensions import Extensions
from .group import Group
from .replies import Reply, ReplyReader, without_enhanced_status
from .states import MODES, TABLE, Row, Stage, State, after, answered_by_recipient, assumed, changes_mode

ClientEvent = ReplyReceived | ServiceClosing | ConnectionClosed | Wait

# Rows whose answers never carry an enhanced status code (RFC 2034 4).
_PLAIN_ANSWERS = frozenset({"greeting", "EHLO", "LHLO", "HELO"})
# States in which recipients have been accepted.  Not MAIL: a server may take a new one straight out of FAILED.
_WITH_RECIPIENTS = frozenset({State.RCPT, State.BDAT, State.DATA, State.FAILED})
# States that no command leads into or out of by being sent out of order.
_FIXED = MODES | {State.GREETING}
# Rows whose commands have octets of a message behind or before them.
_WITH_OCTETS = frozenset({"BDAT", "BDAT LAST", "end of data"})
# RFC 3207 4: what a server takes that requires TLS; HELO is what a client says when EHLO is refused.
_BEFORE_TLS = frozenset({"EHLO", "LHLO", "HELO", "STARTTLS", "NOOP", "QUIT"})
# What goes out in groups: no answer to it is one that the rest of the connection hangs on.
_GROUPED = frozenset({"MAIL", "RCPT", "DATA", "end of data", "BDAT", "BDAT LAST", "RSET"})
# Of these, what LMTP answers once for each recipient.
_BY_RECIPIENT = frozenset({"end of data", "BDAT LAST"})
_MODAL = frozenset(name for name, row in TABLE.items() if changes_mode(row))
_END = EndOfData()
# Members that every message asks for: to find one in its class takes CPython 3.11 twenty times as long.
_READY, _RCPT, _DATA = State.READY, State.RCPT, State.DATA

_line_of = attrgetter("line")


def _with_utf8(mail: Mail) -> bool:
    return mail.parameter("SMTPUTF8") is not None


class ClientConnection:
    """One connection, seen from the client.  No socket, no clock: octets and commands in, octets and events out.

    `lmtp`: speak LMTP (RFC 2033) instead of SMTP.  `strict=False` relaxes the *order* of commands, for callers that
    want to send what is out of order and see the server's answer; it never relaxes what keeps the two in step.
    `greeted=True` is for a connection whose greeting somebody else has read.  `require_tls`: until TLS is established,
    send nothing but what RFC 3207 4 lets a server take that insists on it.
    """

    def __init__(
        self, *, lmtp: bool = False, strict: bool = True, greeted: bool = False, require_tls: bool = False
    ) -> None:
        self.lmtp = lmtp
        self.strict = strict
        self.require_tls = require_tls
        #: The confirmed state: what the server has answered to.
        self.state = State.CONNECTED if greeted else State.GREETING
        #: True once the connection can serve for nothing more: said goodbye, poisoned, aborted, or at its end.  After
        #: `receive_eof` that is when `next_event` has given out all that came before it.
        self.closed = False
        self._sent: State | None = None  # the sent state, as long as nothing has changed; derived, see sent_state
        self._queue: deque[Command] = deque() if greeted else deque([Greeting()])
        #: Every command with a ticket below this one has had all of its replies: it is the ticket of the queue's head.
        self.answered = 0
        self._out: list[bytes] = []
        self._reader = ReplyReader()
        self._extensions: Extensions | None = None
        self._accepted: list[Command] = []
        self._final: deque[Command] | None = None  # LMTP: recipients whose final reply is due
        self._encoder: DataEncoder | None = None  # while the lines of the message are under way
        self._chunk_left = 0  # octets of a BDAT still to be given
        #: How many MAIL commands were sent: what MAILMAX counts (RFC 9422).
        self.transactions = 0
        self._groups: deque[Group] = deque()  # those that are not answered, and maybe some that are
        self._mail: Command | None = None  # of the transaction under way, as sent
        self._eof = False
        self._error: RemoteProtocolError | None = None

    # -- what is known ------------------------------------------------------------------------------------------------

    @property
    def sent_state(self) -> State:
        """The state if all that is outstanding succeeds: the confirmed state folded over the queue."""
        if self._sent is None:
            state = self.state
            for command in self._queue:
                if state is State.CLOSED:
                    break  # answers may still come, but nothing opens it again
                state = assumed(TABLE[command.row], state)
            self._sent = state
        return self._sent

    @property
    def extensions(self) -> Extensions | None:
        """What the last EHLO or LHLO listed; None before it, after HELO, and after TLS has started."""
        return self._extensions

    @property
    def accepted(self) -> tuple[Command, ...]:
        """The recipients of the transaction under way that the server has accepted so far."""
        return tuple(self._accepted)

    @property
    def outstanding(self) -> tuple[Command, ...]:
        """The commands whose replies are due, in order."""
        return tuple(self._queue)

    @property
    def waiting(self) -> bool:
        """True while a reply is due."""
        return bool(self._queue)

    @property
    def due(self) -> int:
        """How many commands are without a reply."""
        return len(self._queue)

    @property
    def unread(self) -> int:
        """Octets received that have not become an event yet."""
        return self._reader.unread

    @property
    def message_due(self) -> bool:
        """True if the server waits for the message, behind its 354, and has said nothing more."""
        return self._encoder is not None and not self.closed and not self._eof and self._reader.quiet

    @property
    def pending_output(self) -> bool:
        """True if something waits for `data_to_send`."""
        return bool(self._out)

    @property
    def output(self) -> bytes:
        """All that waits for `data_to_send`; it is not given out by that."""
        return self._out[0] if len(self._out) == 1 else b"".join(self._out)

    @property
    def at_boundary(self) -> bool:
        """True if nothing is under way in either direction: interrupted here, the connection stays in step.

        False in the middle of a message, of a log-in and before a TLS handshake: what is sent next is no command there.
        """
        busy = self._queue or self._out or self._chunk_left or self.state in MODES or self._eof or self._error
        return not busy and self._reader.quiet

    @property
    def stage(self) -> Stage:
        """Which deadline a wait for the next reply has."""
        return TABLE[self._queue[0].row].stage if self._queue else Stage.COMMAND

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, command: Command) -> int:
        """Put a command into the output; returns its ticket, which the event with its reply will carry.

        `LocalProtocolError`, with nothing changed, if the command may not be sent now; on a poisoned connection the
        `RemoteProtocolError` that poisoned it.
        """
        if self._error is not None:
            raise copy(self._error)
        name = command.row
        row = TABLE[name]
        before = self._sent or self.sent_state
        problem = self._refuse(command, row, before, self._queue[-1].row if self._queue else None, self._mail)
        if problem is not None:
            raise LocalProtocolError(f"{name} cannot be sent now: {problem}")
        if name == "end of data":
            assert self._encoder is not None
            self._out.append(self._encoder.finish())
            self._encoder = None
        else:
            self._out.append(command.line)
            if name == "MAIL":
                self.transactions += 1
                self._mail = command
            elif isinstance(command, Bdat):
                self._chunk_left = command.size
        self._queue.append(command)
        sent = row.success
        self._sent = sent if sent.__class__ is State else assumed(row, before)
        return self.answered + len(self._queue) - 1

    def send_group(self, commands: Sequence[Command], chunk: bytes | None = None) -> int:
        """Put commands into the output that go out together (RFC 2920 3.1), as `send` does with one: all of them or, if
        one may not be sent behind those before it, none.  Returns the ticket of the last.

        What octets of a message belong to has no place in the middle of a group: a BDAT may end it, with its `chunk`,
        and the end of the data may not.
        """
        if self._error is not None:
            raise copy(self._error)
        state = self._one_by_one(commands, self._sent or self.sent_state, chunk)
        octets = b"".join(map(_line_of, commands))
        # Interrupted from here on, there is output, and so something is under way.
        self._out.append(octets + chunk if chunk else octets)
        self._queue += commands
        self._sent = state
        return self.answered + len(self._queue) - 1

    def send_envelope(self, group: Group) -> int:
        """`send_group` for an envelope, in a fraction of the time: what its parts are need not be found out."""
        if self._error is not None:
            raise copy(self._error)
        commands, chunk, queue = group.commands, group.chunk, self._queue
        first, state = commands[0], self._sent or self.sent_state
        octets = b"".join(map(_line_of, commands))
        if (
            not octets.isascii()
            or not group.recipients  # without them it is no envelope
            or (chunk is not None and self.lmtp)  # which is answered for each recipient
            or self._refuse(first, TABLE[first.row], state, queue[-1].row if queue else None, None) is not None
            # RSET may stand wherever MAIL may, and then MAIL behind it.
            or (first is not group.mail and assumed(TABLE["RSET"], state) not in TABLE["MAIL"].states)
        ):
            return self.send_group(commands, chunk)
        groups, answered = self._groups, self.answered
        while groups and groups[0].ticket < answered:
            groups.popleft()
        group.ticket = answered + len(queue)
        # Interrupted from here on, there is output, and so something is under way.
        self._out.append(octets + chunk if chunk else octets)
        queue += commands
        self._mail = group.mail
        self.transactions += 1
        groups.append(group)
        self._sent = group.state
        return answered + len(queue) - 1

    def _one_by_one(self, commands: Sequence[Command], state: State, chunk: bytes | None) -> State:
        """See whether the commands may be sent in a group, and what state that leads to."""
        last = self._queue[-1].row if self._queue else None
        mail, transactions = self._mail, self.transactions
        end = commands[-1] if commands else None
        if chunk is not None and not (isinstance(end, Bdat) and end.size == len(chunk)):
            raise LocalProtocolError(f"a chunk of {len(chunk)} octets stands behind a BDAT that says so")
        for at, command in enumerate(commands, 1):
            name = command.row
            row = TABLE[name]
            problem = self._refuse(command, row, state, last, mail)
            if name in _WITH_OCTETS and (chunk is None or at < len(commands)):
                problem = problem or "its octets do not fit into a group"
            if problem is not None:
                raise LocalProtocolError(f"{name} cannot be sent now: {problem}")
            if name == "MAIL":
                mail = command
                transactions += 1
            state = assumed(row, state)
            last = name
        self._mail, self.transactions = mail, transactions
        return state

    def can_send(self, command: Command) -> bool:
        """True if `send(command)` would go through now."""
        last = self._queue[-1].row if self._queue else None
        return self._refuse(command, TABLE[command.row], self.sent_state, last, self._mail) is None

    def _refuse(self, command: Command, row: Row, sent: State, last: str | None, mail: Command | None) -> str | None:
        """Why this command may not be sent now, or None: in the sent state `sent`, behind `last`, after `mail`."""
        if self.closed or self._eof:
            return "the connection is closed"
        if self.require_tls and command.row not in _BEFORE_TLS:
            return "TLS is required, and not established"
        if self._chunk_left:
            return f"{self._chunk_left} octets of the BDAT before it are still due"
        strict = self.strict
        # Without strictness only what may change the meaning of the octets that follow must be waited for.
        if last is not None and (TABLE[last].ends_group if strict else last in _MODAL):
            return f"the reply to {last} decides what may follow"
        if sent not in row.states and (strict or sent in _FIXED or row.states <= _FIXED):
            return f"in state {sent} (it may be sent in {', '.join(sorted(row.states))})"
        if command.row == "end of data" and self._encoder is None:
            return "the server has not asked for the message yet"
        return self._unfit(command, mail) if strict else None

    def _unfit(self, command: Command, mail: Command | None) -> str | None:
        """Why a command does not fit what was agreed on, whatever the state, or None."""
        name = command.row
        if name in ("EHLO", "HELO", "LHLO") and (name == "LHLO") is not self.lmtp:
            return "LMTP begins with LHLO, SMTP with EHLO or HELO (RFC 2033 4.1)"
        if name == "RCPT" and not command.line.isascii() and isinstance(mail, Mail) and not _with_utf8(mail):
            return "an address that is not ASCII needs SMTPUTF8 with MAIL (RFC 6531 3.4)"
        if isinstance(command, Mail) and not command.line.isascii() and not _with_utf8(command):
            return "an address that is not ASCII needs SMTPUTF8 (RFC 6531 3.4)"
        return None

    def send_message(self, text: MessageText) -> int:
        """Send all of a message behind DATA's 354, dots stuffed, and its end; returns the ticket of that.

        `LocalProtocolError`, with nothing sent, where no message is due, or a part of one was sent already.
        """
        self._check()
        if self._encoder is None or self._encoder.begun or self.closed or self._eof:
            begun = " (a part of one was sent already)" if self._encoder is not None and self._encoder.begun else ""
            raise LocalProtocolError(f"no whole message may be sent in state {self.state}{begun}")
        self._out.append(text.for_data())
        self._encoder = None
        self._queue.append(_END)
        self._sent = _READY
        return self.answered + len(self._queue) - 1

    def send_body(self, chunk: bytes) -> None:
        """Send octets of the message: after DATA's 354 with line ends normalised and dots stuffed, after a BDAT as
        they are, counted.

        `LocalProtocolError` where no body is due or the chunk is longer than its BDAT said, `InvalidArgument` for a NUL
        in DATA; nothing of the chunk was sent then.  An empty chunk is nothing, and may stand behind a ``BDAT 0`` too.
        """
        self._check()
        if self.closed:
            raise LocalProtocolError("no body may be sent: the connection is closed")
        if self._encoder is not None:
            self._out.append(self._encoder.encode(chunk))
        elif len(chunk) <= self._chunk_left:
            if chunk:
                self._out.append(chunk)
                self._chunk_left -= len(chunk)
        elif self._chunk_left:
            raise LocalProtocolError(f"{len(chunk)} octets of body where the BDAT has {self._chunk_left} left")
        else:
            raise LocalProtocolError(f"no body may be sent in state {self.state}")

    def send_raw(self, octets: bytes) -> None:
        """Send octets that the machine does not look at, for callers that write by hand; `expect` their reply.

        Only with ``strict=False``: nothing guards what is sent here.
        """
        self._check()
        if self.strict or self.closed:
            raise LocalProtocolError("raw octets are for an open connection with strict=False")
        if self.require_tls:
            raise LocalProtocolError("no raw octets can be sent now: TLS is required, and not established")
        self._out.append(octets)
        self._chunk_left = max(0, self._chunk_left - len(octets))  # behind a BDAT they are its chunk

    def expect(self) -> int:
        """Expect a reply to something that was sent by hand; returns its ticket."""
        self._check()
        if self.strict or self.closed:
            raise LocalProtocolError("a reply out of order is for an open connection with strict=False")
        if self.state is State.DATA:
            self._encoder = None  # the caller wrote the message and its end
            command: Command = EndOfData()
        elif self.state is State.AUTH:
            command = AuthResponse(b"")
        else:
            command = Raw(b"")
        self._queue.append(command)
        self._sent = None
        return self.answered + len(self._queue) - 1

    def foresee(self, octets: bytes) -> Callable[[bytes, int, int], Sequence[Reply]] | None:
        """Let a mail transaction go out that begins with `octets`, and whose answers are read elsewhere (see
        `smtp_proto.foreseen`): gives what reads them (`ReplyReader.good`).  `fulfilled` or `forgo` ends it.

        None, with nothing done, where no transaction may begin now, and where something is under way.
        """
        if self.state is not _READY or self.require_tls or not self.at_boundary:
            return None
        self._out.append(octets)  # so that something is under way
        return self._reader.good

    def fulfilled(self, answers: int) -> None:
        """The transaction that was foreseen is over: it had so many answers, none of which refused anything."""
        self.transactions += 1
        self.answered += answers
        self._out = []

    def forgo(self) -> None:
        """The transaction that was foreseen is carried out command by command instead, beginning with its first."""
        self._out = []

    def withdraw(self) -> None:
        """Take back all that was put in since nothing was outstanding, for none of it was written.

        What has arrived meanwhile is no answer to it.
        """
        if self._queue and self._queue[0] is _END:  # with or without a QUIT behind it
            self._encoder = DataEncoder()
        self.transactions -= sum(command.row == "MAIL" for command in self._queue)
        self._queue.clear()
        self._groups.clear()
        self._out = []
        self._chunk_left = 0
        self._sent = None

    def data_to_send(self) -> list[bytes]:
        """All that is to be written, as chunks in order; each is given out once."""
        out, self._out = self._out, []
        return out

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive_data(self, octets: bytes) -> None:
        """Take in what has arrived, in pieces of any size; ignored once the connection is poisoned, aborted or at its
        end, where it could be matched to nothing."""
        if not self._eof and self._error is None:
            self._reader.feed(octets)

    def receive_eof(self) -> None:
        """The peer will send nothing more."""
        self._eof = True

    def next_event(self) -> ClientEvent:
        """What happened next; `NEED_DATA` or `PAUSED` if nothing did.

        `RemoteProtocolError` if the peer broke the framing or answered what cannot be an answer: from then on every
        call raises it, and nothing may be sent.
        """
        if self._error is not None:
            raise copy(self._error)
        if self.state is State.TLS:
            if not self._reader.quiet:
                # RFC 3207 6 and CVE-2011-0411: octets sent in the clear that would be taken for the secured server's.
                self._poison("octets after the reply to STARTTLS, before the TLS handshake: an injection")
            return PAUSED
        try:
            reply = self._reader.next_reply()
        except RemoteProtocolError as error:
            self._fail(error)
        if reply is None:
            if not self._eof:
                return NEED_DATA
            clean = not self._queue and self._reader.quiet and self._encoder is None
            self._close()
            return ConnectionClosed(clean)
        if not self._queue:
            return self._unasked(reply)
        return self._answer(reply, self._queue[0])

    def answers(self) -> tuple[Sequence[Command], Sequence[Reply]]:
        """The answers that are next, each of one line and what the sent state assumes, with the commands that they are
        to: what `next_event` would give one by one, in a fraction of the time.

        What is none of these, and what is a message's in LMTP, is left to that; so ask it where this gives nothing.
        """
        queue = self._queue
        due = len(queue)
        if not due or self.closed or self._chunk_left or self._error is not None:
            return (), ()
        if due == 1:
            return self._answer_alone(queue[0])
        replies = self._reader.run(due)
        if not replies:
            return (), ()
        group = self._groups[0] if self._groups else None
        if (
            group is not None
            and group.ticket == self.answered
            and len(group.commands) == due
            and group.accepted(replies)
        ):
            # All that was outstanding, and all answers to it: this is how nearly all envelopes go.
            self._groups.clear()
            self.answered += due
            self.state, self._accepted = group.state, group.left_open
            if group.state is _DATA:
                self._encoder = DataEncoder()
            queue.clear()
            return group.commands, replies
        return self._answer_several(replies)

    def _answer_several(self, replies: list[Reply]) -> tuple[Sequence[Command], Sequence[Reply]]:
        """`answers` where more is outstanding than one command or one group, or a group was not accepted as a whole."""
        queue = self._queue
        commands = list(islice(queue, len(replies)))
        groups, first = self._groups, self.answered
        state, accepted, at, count = self.state, self._accepted, 0, len(replies)
        while at < count:
            if groups and groups[0].ticket <= first + at:
                group = groups.popleft()
                if group.ticket == first + at and group.accepted(replies[at : at + len(group.commands)]):
                    state = group.state
                    accepted = group.left_open
                    at += len(group.commands)
                    continue
            command = commands[at]
            following = self._assumed(command, replies[at], state, accepted)
            if following is None:
                break
            state = following
            if state is State.RCPT:
                accepted += (command,)
            elif state not in _WITH_RECIPIENTS:
                accepted = []
            at += 1
        if at < count:
            self._reader.put_back(replies[at:])
            del commands[at:], replies[at:]
        if at and state is State.DATA:
            self._encoder = DataEncoder()
        self.answered += at
        self.state, self._accepted = state, accepted
        for _ in commands:
            queue.popleft()
        return commands, replies

    def _answer_alone(self, command: Command) -> tuple[Sequence[Command], Sequence[Reply]]:
        """`answers` where one command is outstanding."""
        name = command.row
        if name not in _GROUPED or (self.lmtp and self._special_in_lmtp(name, self._accepted)):
            return (), ()
        row = TABLE[name]
        reply = self._reader.alone(row.digit)
        if reply is None:
            return (), ()
        # Interrupted from here on, something is still outstanding.
        state = row.success
        if state.__class__ is not State:
            state = assumed(row, self.state)
        self.answered += 1
        self.state = state
        if state is _RCPT:
            self._accepted.append(command)
        elif state is _DATA:
            self._encoder = DataEncoder()
        elif state is not State.BDAT:
            self._accepted = []
        self._queue.clear()
        return (command,), (reply,)

    @staticmethod
    def _special_in_lmtp(name: str, accepted: Sequence[Command]) -> bool:
        """True for a row whose answer is not like that of SMTP."""
        return name in _BY_RECIPIENT or (name == "DATA" and not accepted)

    def _assumed(self, command: Command, reply: Reply, state: State, accepted: list[Command]) -> State | None:
        """The state after a reply that is what the sent state assumes; None for what `_answer` has to look at."""
        name = command.row
        row = TABLE[name]
        if name not in _GROUPED or reply.code // 100 != row.digit:
            return None
        if self.lmtp and self._special_in_lmtp(name, accepted):
            return None
        following = row.success
        return following if isinstance(following, State) else assumed(row, state)

    def _answer(self, reply: Reply, command: Command) -> ReplyReceived:
        """The reply to the head of the queue: move the state, and the head away if that was its last reply."""
        name = command.row
        row = TABLE[name]
        ticket = self.answered
        before = self.state
        code = reply.code
        state = row.answers[code // 100] if code != 421 else State.CLOSED
        if state.__class__ is not State:
            state = after(row, before, code)
            if state is None:
                self._poison(f"{code} is no answer to {name}", reply)
        if before is State.CLOSED:
            state = before  # what the server goes on saying behind a 421 is told, and opens nothing again
        if self._chunk_left and len(self._queue) == 1:
            # The chunk that is answered is not out yet.
            self._early(reply)
            self._queue.popleft()
            self.answered += 1
            return ReplyReceived(reply, command, ticket, None, True)
        recipient = None
        if self.lmtp and self._accepted and state is not State.CLOSED and answered_by_recipient(name, before):
            # RFC 2033 4.2: in the order of their RCPTs; the last one ends the transaction.
            if self._final is None:
                self._final = deque(self._accepted)
            recipient = self._final.popleft()
            if self._final:
                return ReplyReceived(reply, command, ticket, recipient)
            self._final = None
        self._queue.popleft()
        self.answered += 1
        self.state = state
        if state is not row.success and state is not assumed(row, before):
            self._sent = None  # not what the fold assumed
        if name == "RCPT":
            if code // 100 == 2:
                self._accepted.append(command)
        elif name == "XCLIENT":
            if code // 100 == 2:
                self._extensions = None  # the session begins anew, for somebody who may be offered something else
        elif name in _PLAIN_ANSWERS:
            reply = without_enhanced_status(reply)
            if reply.code // 100 == 2 and name != "greeting":
                self._extensions = Extensions.from_reply(reply) if name != "HELO" else None
        elif state is State.DATA:
            if self.lmtp and not self._accepted:
                # RFC 2033 4.2 wants a 503; how many replies will follow the end of the data nobody can tell.
                self._poison("a message is asked for although no recipient was accepted", reply)
            self._encoder = DataEncoder()
        if state not in _WITH_RECIPIENTS:
            self._accepted = []
            self.closed = state is State.CLOSED
        return ReplyReceived(reply, command, ticket, recipient)

    def _unasked(self, reply: Reply) -> ReplyReceived | ServiceClosing:
        """A reply that no command in the queue is there for."""
        if self._encoder is not None:
            self._early(reply)
            return ReplyReceived(reply, EndOfData(), self.answered, None, True)
        if reply.code == 421:
            self._close()
            return ServiceClosing(reply)
        self._poison(f"a reply that no command asked for: {reply}", reply)

    def _early(self, reply: Reply) -> None:
        """A reply to the message before it is out.

        A refusal is taken for what it says, and the connection is closed: the server may go on reading what it has
        refused, or may take it for commands.  Anything else claims to have what was not sent.
        """
        if reply.code // 100 in (2, 3):
            self._poison(f"{reply.code} before the message was sent", reply)
        self._close()
        self._encoder = None  # answered: what follows is no second answer to it
        self._chunk_left = 0

    def _close(self) -> None:
        self.state = State.CLOSED
        self.closed = True
        self._sent = None

    def _poison(self, message: str, reply: Reply | None = None) -> NoReturn:
        self._fail(RemoteProtocolError(message, reply))

    def _fail(self, error: RemoteProtocolError) -> NoReturn:
        # What is raised is a copy each time: an error that was raised has a traceback, and its frames this connection.
        self._error = error.with_traceback(None)
        self.closed = True
        self._out = []
        raise copy(error) from None

    def _check(self) -> None:
        if self._error is not None:
            raise copy(self._error)

    # -- from outside -------------------------------------------------------------------------------------------------

    def tls_established(self) -> None:
        """The TLS handshake is done: forget everything that was learnt before it (RFC 3207 4.2).

        `LocalProtocolError` where none was due; `RemoteProtocolError` if octets had been injected before it.
        """
        self._check()
        if self.state is not State.TLS:
            raise LocalProtocolError(f"no TLS handshake is due in state {self.state}")
        self.next_event()  # raises if anything is in the buffer
        self.require_tls = False
        self.state = State.CONNECTED
        self._sent = None
        self._extensions = None

    def abort(self) -> None:
        """I/O has failed or was cancelled: nobody can tell any more what was read or written.  Never raises."""
        self._close()
        self._eof = True
        self._out = []
        self._reader.clear()
