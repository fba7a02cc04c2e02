"""Random walks: a client and a server that do at random whatever they may, in memory, and are watched while they do.

One `Walk` is one connection.  The client chooses commands among those that `can_send` allows, pipelined where it can;
the server answers each with any code that the table has a way for, and sometimes with a 421; octets travel in pieces of
any size, each direction at its own pace.  Both ends are checked at every step:

* Every reply reaches its own command.  The server numbers what it receives and writes the number into its reply; the
  client's ticket must be that number, and the command that the server saw must equal the one sent with it.
* What `can_send` allows never raises, and what it forbids raises and changes nothing.
* The sent state is the fold of the confirmed one over what is outstanding.
* Messages arrive as they were sent, with line ends normalised after DATA and octet for octet after BDAT.
* Whenever both ends are quiet, they are in the same state.

What each end was told and what it said is logged, so that it can be replayed with the same octets in other pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from smtp_proto.client import ClientConnection
from smtp_proto.commands import (
    AuthResponse,
    Bdat,
    Command,
    EndOfData,
    Greeting,
    Rcpt,
)
from smtp_proto.errors import LocalProtocolError
from smtp_proto.events import (
    BodyReceived,
    CommandReceived,
    CommandRejected,
    ConnectionClosed,
    Event,
    ReplyReceived,
    ServiceClosing,
    Wait,
)
from smtp_proto.replies import Reply
from smtp_proto.server import ServerConnection
from smtp_proto.states import TABLE, State, assumed
from tests.choices import LONG, a_command, a_reply, some_octets
from tests.pairs import MANY, frozen

# Octets of a line: few, so that a line that is too long costs little.
MAX_LINE = LONG - 10
PLAIN = frozenset({"greeting", "EHLO", "LHLO", "HELO"})
UNASKED = "unasked"


class Step(NamedTuple):
    """One thing that an end was told, or said: `Event`s, and what was done to it."""

    what: str  # "event", "send", "body", "reply", "close" or "tls"
    value: Event | Command | Reply | bytes | None


def normalised(body: bytes) -> bytes:
    """A message as it must arrive after DATA; by other means than the library's."""
    text = re.sub(rb"\r\n|\r|\n", b"\r\n", body)
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"


def folded(state: State, outstanding: tuple[Command, ...]) -> State:
    for command in outstanding:
        if state is not State.CLOSED:
            state = assumed(TABLE[command.row], state)
    return state


class Walk:
    """One connection; `walk` goes it to its end."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.lmtp = random.random() < 0.5
        self.client = self.new_client()
        self.server = self.new_server()
        self.client_log: list[Step] = []
        self.server_log: list[Step] = []
        # All octets that arrived, before the first TLS handshake, between it and the second, and so on.
        self.client_heard = [bytearray()]
        self.server_heard = [bytearray()]
        self.on_way_to_client = bytearray()
        self.on_way_to_server = bytearray()
        self.sent = list(self.client.outstanding)  # by ticket; the first is the greeting
        self.messages: dict[int, bytes] = {}  # by ticket, as they must arrive
        self.body = bytearray()  # of the message under way
        self.chunk: bytes = b""  # still to be given to the client
        self.answering: Command = Greeting()  # what the server answers, or answered last,
        self.number = 0  # its number,
        self.rejected = False  # and whether it was
        self.recipients: list[str] = []  # as the server has accepted them
        self.due: list[str] = []  # whose final replies are
        self.received = bytearray()  # of the message under way
        self.drained = False  # the server has seen all that has arrived

    # -- the whole ----------------------------------------------------------------------------------------------------

    def new_client(self) -> ClientConnection:
        return ClientConnection(lmtp=self.lmtp)

    def new_server(self) -> ServerConnection:
        return ServerConnection(lmtp=self.lmtp, max_line=MAX_LINE)

    def walk(self) -> None:
        random = self.random
        steps: list[Callable[[], object]] = [
            self._speak,
            self._speak,
            self._move_to_server,
            self._serve,
            self._move_to_client,
            self._listen,
        ]
        for _ in range(random.choice((50, 200, 600))):
            random.choice(steps)()
            self._check()
        self._finish()
        self._check()

    def _finish(self) -> None:
        """Bring what is under way to its end, so that both ends are quiet or closed."""
        for _ in range(MANY):
            self._move(self.on_way_to_server, self.server, self.server_heard, len(self.on_way_to_server))
            while not isinstance(self._serve(), Wait):
                pass
            self._collect(self.server, self.on_way_to_client)
            self._move(self.on_way_to_client, self.client, self.client_heard, len(self.on_way_to_client))
            self._listen()
            if self.server.closed or self.client.closed:
                break
            if self.chunk or self.client.state is State.DATA:
                self._speak()
            elif self.client.state is State.AUTH and not self.client.waiting:
                self._send(AuthResponse(None))
            elif self._quiet():
                return
        else:
            raise AssertionError("no end")
        # One end has closed; the other learns it from the end of what it reads.
        self.client.receive_eof()
        self._listen()
        assert self.client.state is State.CLOSED
        assert self.server.state is State.CLOSED

    def _quiet(self) -> bool:
        on_way = self.on_way_to_client or self.on_way_to_server or self.client.pending_output
        return not (on_way or self.client.waiting or self.client.unread) and self.drained and not self.server.owes_reply

    def _check(self) -> None:
        client = self.client
        assert client.sent_state is folded(client.state, client.outstanding)
        if self._quiet():
            assert client.state is self.server.state
            assert len(client.accepted) == len(self.recipients)

    # -- octets on their way ------------------------------------------------------------------------------------------

    def _collect(self, end: ClientConnection | ServerConnection, way: bytearray) -> None:
        way += b"".join(end.data_to_send())

    def _move(
        self, way: bytearray, end: ClientConnection | ServerConnection, heard: list[bytearray], octets: int
    ) -> None:
        piece = bytes(way[:octets])
        del way[:octets]
        heard[-1] += piece
        end.receive_data(piece)
        if end is self.server:
            self.drained = False

    def _some(self, way: bytearray) -> int:
        return self.random.choice((1, 5, self.random.randint(0, len(way)), len(way), len(way), len(way)))

    def _move_to_client(self) -> None:
        self._collect(self.server, self.on_way_to_client)
        self._move(self.on_way_to_client, self.client, self.client_heard, self._some(self.on_way_to_client))

    def _move_to_server(self) -> None:
        self._collect(self.client, self.on_way_to_server)
        self._move(self.on_way_to_server, self.server, self.server_heard, self._some(self.on_way_to_server))

    # -- the client ---------------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        """Send a piece of the message under way, or a command."""
        client, random = self.client, self.random
        if client.closed:
            return
        if self.chunk:
            octets = random.choice((1, random.randint(0, len(self.chunk)), len(self.chunk)))
            piece, self.chunk = self.chunk[:octets], self.chunk[octets:]
            self._give(piece)
        elif client.state is State.DATA and not client.waiting:
            if random.random() < 0.7:
                piece = some_octets(random)
                self.body += piece
                self._give(piece)
            else:
                self.messages[len(self.sent)] = normalised(bytes(self.body))
                self.body.clear()
                self._send(EndOfData())
        else:
            command = self._command()
            if client.can_send(command):
                self._send(command)
            else:
                self._must_not(command)
        self._collect(client, self.on_way_to_server)

    def _give(self, piece: bytes) -> None:
        self.client.send_body(piece)
        self.client_log.append(Step("body", piece))

    def _send(self, command: Command) -> None:
        ticket = self.client.send(command)
        assert ticket == len(self.sent)
        self.sent.append(command)
        self.client_log.append(Step("send", command))
        self._collect(self.client, self.on_way_to_server)

    def _must_not(self, command: Command) -> None:
        before = frozen(self.client)
        try:
            self.client.send(command)
        except LocalProtocolError:
            assert frozen(self.client) == before
        else:
            raise AssertionError(f"can_send forbids {command!r}, and send allows it")

    def _command(self) -> Command:
        """A command; where that is a BDAT which may be sent, with the chunk that goes with it."""
        number = len(self.sent)
        command = a_command(self.random, self.client.sent_state, number, self.lmtp)
        if isinstance(command, Bdat):
            chunk = some_octets(self.random) + self.random.choice((b"", b"\0"))
            command = Bdat(len(chunk), command.last)
            if self.client.can_send(command):
                self.chunk = self.messages[number] = chunk
        return command

    def _listen(self) -> None:
        """Look for the client's events, and check each."""
        client = self.client
        for _ in range(MANY):
            in_message = client.state is State.DATA and not client.waiting
            event = client.next_event()
            if isinstance(event, Wait):
                break
            if isinstance(event, ConnectionClosed):
                assert self.server.closed
                return
            self.client_log.append(Step("event", event))
            assert not in_message or (isinstance(event, ReplyReceived) and event.early)
            self._heard(event)
        else:
            raise AssertionError("events without end")
        on_way = self.on_way_to_client or self.on_way_to_server
        if client.state is State.TLS and self.server.state is State.TLS and not on_way:
            for end, log, heard in (
                (client, self.client_log, self.client_heard),
                (self.server, self.server_log, self.server_heard),
            ):
                end.tls_established()
                log.append(Step("tls", None))
                heard.append(bytearray())
            assert client.extensions is None

    def _heard(self, event: ReplyReceived | ServiceClosing) -> None:
        text = event.reply.text
        if isinstance(event, ServiceClosing) or event.early or UNASKED in text:
            assert UNASKED in text
            assert event.reply.code == 421
            assert self.client.closed
            self.chunk = b""
            return
        command, reply = event.command, event.reply
        assert command is self.sent[event.ticket]
        number, _, recipient = text.split("\n")[0].rpartition("#")[2].partition(" ")
        assert int(number) == event.ticket
        if recipient and not self.client.closed:
            assert isinstance(event.recipient, Rcpt)
            assert event.recipient.path == recipient
        else:
            assert event.recipient is None
        enhanced = text[0] != "#" and reply.severity in (2, 4, 5) and command.row not in PLAIN
        assert (reply.enhanced is not None) is enhanced

    # -- the server ---------------------------------------------------------------------------------------------------

    def _serve(self) -> Wait | None:
        """Look for one event of the server, or give one reply that it owes."""
        server, random = self.server, self.random
        if server.closed:
            return Wait.NEED_DATA
        if server.state is not State.TLS and random.random() < (0.02 if server.state is State.DATA else 0.002):
            farewell = Reply(421, f"4.3.2 {UNASKED}")
            server.close_with(farewell)
            self.server_log.append(Step("close", farewell))
        elif server.owes_reply:
            self._answer()
        else:
            event = server.next_event()
            if isinstance(event, Wait):
                self.drained = True
                return event
            self._served(event)
        self._collect(server, self.on_way_to_client)
        return None

    def _served(self, event: Event) -> None:
        if isinstance(event, BodyReceived):
            self.received += event.octets
            if not event.finished:
                return
            event = BodyReceived(bytes(self.received), True)
            if not isinstance(self.answering, Bdat):
                self._numbered(EndOfData())
            assert event.octets == self.messages[self.number]
            self.received.clear()
        elif isinstance(event, CommandReceived):
            self._numbered(event.command)
            assert event.command == self.sent[self.number]
        else:
            assert isinstance(event, CommandRejected)
            self._numbered(self.sent[self.number + 1])
            self.rejected = True
            assert event.line + b"\r\n" == self.answering.line or not event.line
        self.server_log.append(Step("event", event))
        ends_message = self.answering.row in ("end of data", "BDAT LAST", "BURL LAST") and not self.rejected
        self.due = list(self.recipients) if self.lmtp and ends_message else []

    def _numbered(self, command: Command) -> None:
        self.answering = command
        self.number += 1
        self.rejected = False

    def _answer(self) -> None:
        """Give the reply that is owed, or the next of them."""
        recipient = f" {self.due.pop(0)}" if self.due else ""
        reply = a_reply(self.random, TABLE[self.answering.row], self.rejected, f"#{self.number}{recipient}")
        self.server.send(reply)
        self.server_log.append(Step("reply", reply))
        if self.server.owes_reply:
            return
        if isinstance(self.answering, Rcpt) and reply.accepted:
            self.recipients.append(self.answering.path)
        elif self.server.state in (State.READY, State.CONNECTED, State.MAIL):
            self.recipients = []
