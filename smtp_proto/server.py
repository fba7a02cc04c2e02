"""The server's end of a connection: the mirror image of `smtp_proto.client`, over the same table.

`next_event` gives one command (or one piece of a message) at a time and then says PAUSED until the reply that is owed
was given with `send`; so pipelined input comes out in order, and input that was sent ahead waits in the buffer.  What
is malformed or out of order comes as `CommandRejected` with the right reply as a hint.

Two things are read past rather than answered at once, because the octets behind them are no commands: the chunk of a
BDAT, refused or not (the reply is owed when its last octet is in, RFC 3030 2), and a line that is too long.  A BDAT
whose size cannot be read is answered 521 and the connection is closed: its chunk would be taken for commands.
"""

from __future__ import annotations

from copy import copy
from typing import NoReturn

from .body import DataDecoder
from .buffer import ReceiveBuffer
from .commands import AuthResponse, Bdat, Burl, Command, EndOfData, Greeting, Raw
from .errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from .events import NEED_DATA, PAUSED, BodyReceived, CommandReceived, CommandRejected, ConnectionClosed, Wait
from .parsing import UNREADABLE_CHUNK, CommandSyntaxError, parse_auth_response, parse_command
from .replies import Reply
from .states import MODES, TABLE, State, after, answered_by_recipient

ServerEvent = CommandReceived | CommandRejected | BodyReceived | ConnectionClosed | Wait

# Octets of a line with its end: RFC 4954 4 wants 12288 for AUTH and its responses; no other command comes near.
MAX_LINE = 12290

_TOO_LONG = Reply(500, "5.5.6 Line too long")
# RFC 5321 4.5.1 and 4.5.4 leave no other place for a 503 than its text; LMTP has its own hello (RFC 2033 4.1).
_HELLO = {False: ("EHLO", "HELO"), True: ("LHLO",)}


class ServerConnection:
    """One connection, seen from the server.  It begins by owing the greeting: `send(Reply(220, ...))`.

    `lmtp`: speak LMTP (RFC 2033).  `max_line`: octets of a command line, its end included.  The same rows of the table
    move both ends, a rejected BDAT's included: it leaves the transaction failed until RSET (RFC 3030 2).
    """

    def __init__(self, *, lmtp: bool = False, max_line: int = MAX_LINE) -> None:
        self.lmtp = lmtp
        self._state = State.GREETING
        self._buffer = ReceiveBuffer(max_line)
        self._out: list[bytes] = []
        self._owed: Command | None = Greeting()  # what the next reply answers; None while reading
        self._rejected = False  # the owed reply is to a CommandRejected
        self._unreadable = False  # ... and what follows the line cannot be told from commands
        self._decoder: DataDecoder | None = None  # while the lines of a message are under way
        self._chunk: Bdat | None = None  # while the octets of a chunk are under way
        self._chunk_left = 0
        self._chunk_rejection: CommandRejected | None = None  # ... which is read past, and answered then
        self._skipping = False  # in the middle of a line that is too long
        self._accepted = 0  # recipients of the transaction under way
        self._final_left = 1  # replies still owed: in LMTP one for each recipient at the end of a message
        self._eof = False
        self._error: RemoteProtocolError | None = None

    @property
    def state(self) -> State:
        """The state after the replies sent so far."""
        return self._state

    @property
    def owes_reply(self) -> bool:
        """True while `next_event` waits for `send`."""
        return self._owed is not None

    @property
    def replies_waiting(self) -> int:
        """How many replies `data_to_send` would give out."""
        return len(self._out)

    @property
    def replies_owed(self) -> int:
        """How many replies what was received last is owed: more than one only at LMTP's end of a message."""
        return self._final_left if self._owed is not None else 0

    @property
    def expects_more(self) -> bool:
        """True if the chunk that is owed a reply was not the last of its message."""
        return isinstance(self._owed, (Bdat, Burl)) and not self._owed.last

    @property
    def at_boundary(self) -> bool:
        """True between commands, with nothing under way in either direction."""
        busy = self._owed or self._out or self._buffer or self._skipping or self._chunk
        return not (busy or self._state in MODES or self.closed)

    @property
    def closed(self) -> bool:
        """True once the connection can serve for nothing more."""
        return self._state is State.CLOSED or self._error is not None or self._eof

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive_data(self, octets: bytes) -> None:
        """Take in what has arrived, in pieces of any size; ignored once the connection is closed."""
        if not self.closed:
            self._buffer.append(octets)

    def receive_eof(self) -> None:
        """The peer will send nothing more."""
        self._eof = True

    def next_event(self) -> ServerEvent:
        """What happened next; `NEED_DATA` or `PAUSED` if nothing did.  `RemoteProtocolError` is for good."""
        self._check()
        if self._state is State.CLOSED:
            return ConnectionClosed(clean=True)
        if self._owed is not None:
            return PAUSED
        if self._state is State.TLS:
            self._check_injection()
            return PAUSED
        if self._decoder is not None:
            event = self._read_lines(self._decoder)
        elif self._chunk is not None:
            event = self._read_chunk(self._chunk)
        else:
            event = self._read_command()
        if event is NEED_DATA and self._eof:
            idle = not (self._buffer or self._decoder or self._chunk or self._skipping)
            return ConnectionClosed(clean=idle)
        return event

    def _read_lines(self, decoder: DataDecoder) -> ServerEvent:
        text, rest = decoder.decode(self._buffer.take_all())
        if decoder.finished:
            self._buffer.push_back(rest)
            self._decoder = None
            self._owe(EndOfData())
            return BodyReceived(text, True)
        return BodyReceived(text, False) if text else NEED_DATA

    def _read_chunk(self, chunk: Bdat) -> ServerEvent:
        octets = self._buffer.take(self._chunk_left)
        self._chunk_left -= len(octets)
        if self._chunk_left:
            return BodyReceived(octets, False) if octets and self._chunk_rejection is None else NEED_DATA
        self._chunk = None
        self._owe(chunk)
        rejection, self._chunk_rejection = self._chunk_rejection, None
        if rejection is not None:
            self._rejected = True
            return rejection
        return BodyReceived(octets, True)

    def _read_command(self) -> ServerEvent:
        if self._skipping:
            if not self._buffer.skip_line():
                return NEED_DATA
            self._skipping = False
            return self._reject(b"", _TOO_LONG)
        try:
            line = self._buffer.next_line()
        except LimitExceeded:
            if self._state is not State.AUTH and self._buffer.starts_with(b"BDAT"):
                self._unreadable = True
                return self._reject(b"", UNREADABLE_CHUNK)
            # RFC 5321 4.5.3.1.9 gives the reply; the rest of the line is read past first.
            self._skipping = True
            return self._read_command()
        if line is None:
            return NEED_DATA
        # A bare LF ends a command too, for people who type; a bare CR never does.
        line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        try:
            command = parse_auth_response(line) if self._state is State.AUTH else parse_command(line)
        except CommandSyntaxError as error:
            self._unreadable = error.hint.code == 521
            return self._reject(line, error.hint)
        return self._accept(line, command)

    def _accept(self, line: bytes, command: Command) -> ServerEvent:
        name = command.row
        hint = self._out_of_order(name)
        if isinstance(command, Bdat):
            self._chunk = command
            self._chunk_left = command.size
            if hint is not None:
                self._chunk_rejection = CommandRejected(line, hint)
                return self._read_chunk(command)
            return CommandReceived(command)
        if hint is not None:
            return self._reject(line, hint, command)
        # What stands behind a STARTTLS already is judged when that is answered: a refusal changes nothing, and whether
        # both came in one segment must make no difference.
        self._owe(command)
        return CommandReceived(command)

    def _out_of_order(self, name: str) -> Reply | None:
        if name in ("EHLO", "HELO", "LHLO") and name not in _HELLO[self.lmtp]:
            # RFC 2033 4.1: the server refuses the other protocol's hello.
            return Reply(500, f"5.5.1 This is {'LMTP' if self.lmtp else 'SMTP'}")
        if self._state in TABLE[name].states:
            return None
        needed = TABLE[name].states
        if self._state is State.CONNECTED:
            return Reply(503, f"5.5.1 {_HELLO[self.lmtp][0]} first")
        if self._state is State.REFUSED:
            return Reply(503, "5.5.1 No service here")
        if self._state is State.READY and State.RCPT in needed:
            return Reply(503, "5.5.1 MAIL first")
        if self._state is State.MAIL and State.RCPT in needed:
            # RFC 5321 3.3: 503 or 554 where DATA comes without a recipient.
            return Reply(503, "5.5.1 No valid recipients")
        return Reply(503, f"5.5.1 Not now: {name} has no place here")

    def _owe(self, command: Command) -> None:
        self._owed = command
        self._rejected = False
        many = self.lmtp and answered_by_recipient(command.row, self._state)
        self._final_left = max(1, self._accepted) if many else 1

    def _reject(self, line: bytes, hint: Reply, command: Command | None = None) -> CommandRejected:
        # In the middle of AUTH the refusal ends the exchange (RFC 4954 4); of a `command` that is out of order it means
        # what its row says; elsewhere nothing changes.
        self._owe(command or (AuthResponse(None) if self._state is State.AUTH else Raw(b"")))
        self._rejected = True
        return CommandRejected(line, hint)

    def _check_injection(self) -> None:
        if self._buffer:
            # RFC 3207 4: the client must wait for the reply; what is here would be taken for commands of the TLS
            # session.
            self._poison("octets behind STARTTLS, before the TLS handshake: an injection")

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, reply: Reply) -> None:
        """Give the reply that is owed.

        `LocalProtocolError`, with nothing changed, where none is owed or the reply can be no answer to the command;
        `InvalidArgument` if its text would break the framing; `RemoteProtocolError` if it is a 220 to STARTTLS and the
        client has sent something behind the command.
        """
        self._check()
        command = self._owed
        if command is None:
            raise LocalProtocolError("no reply is owed now")
        name = command.row
        state = after(TABLE[name], self._state, reply.code)
        if state is None or (self._rejected and reply.code < 400):
            raise LocalProtocolError(f"{reply.code} is no answer to {'a rejected line' if self._rejected else name}")
        octets = reply.encode()
        if state is State.TLS:
            self._check_injection()
        self._out.append(octets)
        self._final_left -= 1
        if self._final_left and state is not State.CLOSED:
            return
        self._owed = None
        self._state = state = State.CLOSED if self._unreadable else state
        if name == "RCPT" and reply.accepted:
            self._accepted += 1
        elif state is State.DATA:
            self._decoder = DataDecoder()
        if state not in (State.MAIL, State.RCPT, State.BDAT, State.DATA, State.FAILED):
            self._accepted = 0

    def close_with(self, reply: Reply) -> None:
        """Say an unasked 421 (RFC 5321 3.8) and close; after `data_to_send` was written, nothing more may follow.

        In the middle of a reply that is owed, it is that reply.
        """
        self._check()
        if reply.code != 421 or self.closed:
            raise LocalProtocolError("only an open connection may be closed, and with a 421")
        self._out.append(reply.encode())
        self._owed = None
        self._state = State.CLOSED

    def data_to_send(self) -> list[bytes]:
        """All that is to be written, as chunks in order; each is given out once."""
        out, self._out = self._out, []
        return out

    # -- from outside -------------------------------------------------------------------------------------------------

    def tls_established(self) -> None:
        """The TLS handshake is done: forget everything that was learnt before it (RFC 3207 4.2)."""
        self._check()
        if self._state is not State.TLS:
            raise LocalProtocolError(f"no TLS handshake is due in state {self._state}")
        self.next_event()  # raises if anything is in the buffer
        self._state = State.CONNECTED

    def abort(self) -> None:
        """I/O has failed or was cancelled.  Never raises."""
        self._state = State.CLOSED
        self._eof = True
        self._owed = None
        self._decoder = None
        self._chunk = None
        self._out = []
        self._buffer.clear()

    def _poison(self, message: str) -> NoReturn:
        # What is raised is a copy each time: an error that was raised has a traceback, and its frames this connection.
        self._error = RemoteProtocolError(message)
        self._out = []
        raise copy(self._error)

    def _check(self) -> None:
        if self._error is not None:
            raise copy(self._error)
