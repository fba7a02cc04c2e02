"""The client's conversations, each written once: greeting, introduction, log-in, TLS, a mail transaction, goodbye.

Theory of operation.  A `ClientSession` joins a `ClientConnection` to the effects that a driver performs.  Every method
that talks is a flow (see `smtp_proto.effects`).  Three small flows carry all the others:

* `look`, before a command that nothing is outstanding before: what has arrived unasked is seen *now*, while it cannot
  be taken for the answer to what comes next.  A 421 there is raised as `ConnectionLost`, anything else is a
  `RemoteProtocolError`.
* `flush`, which writes what the connection has put out, and takes in what arrives meanwhile.
* `reply`, which waits for the next answer.

`exchange` is all three in one, as far as the first octets of an answer, for what goes out and is answered at once.

A refusal is returned, never raised.  What is raised is the end of the connection: `ConnectionLost` and
`RemoteProtocolError`, which leave it aborted; and `LocalProtocolError`, which leaves it as it was.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from .channel_binding import TLSFacts
from .client import ClientConnection
from .commands import Auth, AuthResponse, Command, Ehlo, Helo, Lhlo, Quit, Rset, StartTLS
from .effects import Call, Close, Connect, Flight, Flow, Poll, Receive, Send
from .effects import StartTLS as StartTLSEffect
from .errors import ConnectionLost, LocalProtocolError, ProtocolError, RemoteProtocolError
from .events import NEED_DATA, ConnectionClosed, ReplyReceived, ServiceClosing
from .group import Group
from .replies import Reply
from .sasl import MAX_CHALLENGES, AuthenticationAborted, Mechanism, ServerNotProven, UnacceptableChallenge
from .states import Stage, State
from .transcript import Observer, command_said, reply_said, tls_said

if TYPE_CHECKING:
    import ssl

# Octets taken in while writing: so many, and a reply of the length that RFC 5321 4.5.3.1.5 allows for each command that
# is out.  A server that sends without end and does not read would fill the memory.
MAX_UNREAD = 1 << 19
REPLY_LENGTH = 512

# RFC 4954 4: AUTH with its initial response may have so many octets, its end included.
MAX_AUTH_LINE = 12288

# Yielded as it is, and so are the two that go with it: `yield from`, for the sake of types, takes a generator for each.
_POLL = Poll()
# There is one for each reply, and they differ by nothing else.
_RECEIVE = {stage: Receive(stage) for stage in Stage}

#: Asked, for a message under way, when something arrives while so many octets are unsent: True ends the writing.
Hear = Callable[[int], bool]

#: How one command is sent and answered, where a caller wants its own way (see `ClientSession.authenticate`).
Exchange = Callable[[Command], Flow[Reply]]


def _octets(chunks: list[bytes]) -> int:
    return sum(map(len, chunks))


class Answered(Protocol):
    """Whoever has sent commands, and is given the answers."""

    def take(self, event: ReplyReceived) -> None:
        """One answer."""

    def take_all(self, commands: Sequence[Command], replies: Sequence[Reply], first: int) -> None:
        """The answers to several commands, whose tickets begin with `first`: none that refuses anything."""


class ClientSession:
    """Conversations over one connection.  `observe`, if given, is told all that is said (`smtp_proto.transcript`)."""

    def __init__(self, connection: ClientConnection, observe: Observer | None = None, *, flights: bool = False) -> None:
        self.connection = connection
        self.observe = observe
        #: The driver performs a `Flight`; where it does not, flows ask for what that is made of.
        self.flights = flights
        #: What is known of the TLS session that STARTTLS has begun; None without one.
        self.tls_facts: TLSFacts | None = None
        #: True once a log-in has succeeded over this connection.
        self.authenticated = False
        self._write_failed: OSError | None = None  # why the end came

    # -- the three that carry the others ------------------------------------------------------------------------------

    def look(self) -> Flow[None]:
        """See what has arrived unasked, without waiting."""
        if not self.connection.due:
            yield from self.poll()
            self._refuse_unasked()

    def _refuse_unasked(self) -> None:
        """Raise what it means that anything has arrived while nothing was outstanding."""
        connection = self.connection
        if connection.at_boundary:
            return  # nothing has
        event = connection.next_event()  # a reply that nobody asked for raises here
        if isinstance(event, ServiceClosing):
            if self.observe is not None:
                self.observe(reply_said(event.reply))
            connection.abort()
            raise ConnectionLost(f"the server is closing the connection: {event.reply}", event.reply)
        if isinstance(event, ConnectionClosed):
            connection.abort()
            raise ConnectionLost("the server has closed the connection")
        if connection.unread:
            # A part of a reply, come by now or left behind the last one: the rest would be taken for the next answer.
            connection.abort()
            raise RemoteProtocolError("octets that no command asked for, and no whole reply")

    def poll(self) -> Flow[None]:
        """Take in what has arrived, without waiting; `ConnectionLost`, and aborted, if the connection has failed."""
        try:
            octets: bytes | None = yield _POLL
        except OSError as error:
            raise self._failed(error) from error
        if octets is not None:
            self._take_in(octets)

    def _failed(self, error: OSError) -> ConnectionLost:
        self.connection.abort()
        return ConnectionLost(f"the connection failed: {error}")

    def _take_in(self, octets: bytes) -> None:
        if octets:
            self.connection.receive_data(octets)
        else:
            self.connection.receive_eof()

    def flush(self, stage: Stage = Stage.COMMAND, hear: Hear | None = None) -> Flow[bool]:
        """Write what the connection has put out; False if the peer has ended or broken the connection meanwhile.

        What it said before that is in the connection, and `reply` gives it out; so a failed write is not raised here.
        `hear`, for a message under way, is called when something arrives while octets are unsent, with their number;
        if it returns True writing stops, and the result is False.
        """
        return self._write(self.connection.data_to_send(), stage, hear)

    def _write(
        self, unsent: list[bytes], stage: Stage, hear: Hear | None, again: bool = False, rest: bool = False
    ) -> Flow[bool]:
        while unsent:
            chunks = unsent
            try:
                received, unsent = yield Send(chunks, stage, again=again, rest=rest)
            except OSError as error:
                yield from self._after_failed_write(error)
                return False
            if received is None and not unsent:
                return True
            if not self._overheard(received, unsent, hear):
                return False
            again, rest = _octets(unsent) == _octets(chunks), True
        return True

    def _after_failed_write(self, error: OSError) -> Flow[None]:
        """The peer may have said why before it hung up: what has arrived is still to be read."""
        self._write_failed = error.with_traceback(None)  # whose frames have this session, and the message
        try:
            received = yield from Poll()
        except OSError:
            received = None
        if received:
            self.connection.receive_data(received)
        self.connection.receive_eof()

    def _overheard(self, received: bytes | None, unsent: list[bytes], hear: Hear | None) -> bool:
        """Take in what has arrived while writing; False if that ends the writing."""
        connection = self.connection
        if received:
            connection.receive_data(received)
            if unsent and hear is not None and hear(_octets(unsent)):
                return False
            if connection.unread > MAX_UNREAD + REPLY_LENGTH * connection.due:
                connection.abort()
                raise RemoteProtocolError("the server sends without end and does not read")
        elif received is not None:
            connection.receive_eof()
            return False
        return True

    def reply(self, again: bool = False) -> Flow[ReplyReceived]:
        """The next answer.  `ConnectionLost` at the end, after a failed read and after a deadline; aborted then.

        With `again` the wait for it has begun already.
        """
        while (event := self.heard()) is None:
            yield from self._arrival(again)
            again = True
        return event

    def answers(self, last: int, answered: Answered, again: bool = False) -> Flow[None]:
        """Wait for the answers to all commands up to the ticket `last`, and hand them over; fewer if the connection is
        closed by one.  Raises what `reply` does."""
        connection = self.connection
        while connection.answered <= last and not connection.closed:
            if self.hand_over(answered):
                again = False
            else:
                yield from self._arrival(again)
                again = True

    def hand_over(self, answered: Answered) -> bool:
        """Hand over the next answer, or as many as can be at once; False if none has come in."""
        first = self.connection.answered
        commands, replies = self.connection.answers()
        if commands:
            if self.observe is not None:
                for reply in replies:
                    self.observe(reply_said(reply))
            answered.take_all(commands, replies, first)
            return True
        event = self.heard()
        if event is None:
            return False
        answered.take(event)
        return True

    def _arrival(self, again: bool) -> Flow[None]:
        """Wait for octets, and take them in; with `again`, for more of the same reply."""
        connection = self.connection
        try:
            octets: bytes = yield Receive(connection.stage, again=True) if again else _RECEIVE[connection.stage]
        except OSError as error:
            raise self._unanswered(error) from error
        self._take_in(octets)

    def _unanswered(self, error: OSError) -> ConnectionLost:
        due = self._due()
        self.connection.abort()
        return ConnectionLost(f"no reply to {due}: {error}")

    def heard(self) -> ReplyReceived | None:
        """The next answer of those that have come in, None if there is none; at the end it raises what `reply` does."""
        event = self.connection.next_event()
        if isinstance(event, ReplyReceived):
            if self.observe is not None:
                self.observe(reply_said(event.reply))
            return event
        if event is NEED_DATA:
            return None
        due = self._due()
        self.connection.abort()
        failure = self._write_failed
        if failure is not None:
            raise ConnectionLost(f"writing failed, with a reply to {due} due: {failure}") from failure
        raise ConnectionLost(f"the server hung up, with a reply to {due} due")

    def _due(self) -> str:
        """The command whose reply is waited for, for people."""
        return next((command.row for command in self.connection.outstanding), "the message")

    # -- the three in one ---------------------------------------------------------------------------------------------

    @property
    def foresees(self) -> bool:
        """True if a whole transaction may be one effect: the driver performs it, and nobody is told what is said."""
        return self.flights and self.observe is None and not self.connection.lmtp

    @property
    def unlooked(self) -> bool:
        """True if a flight may be put into the connection now that `looks` itself.

        Not where an observer is told in order what is said, nor where something is there that must be heard before.
        """
        return self.observe is None and self.connection.at_boundary

    def flight(self, looks: bool, stage: Stage | None = None) -> Flight:
        """What the connection has put out, to be exchanged for an answer; `stage`, where it is not that of the answer,
        has the deadline of the writing."""
        answer = self.connection.stage
        return Flight(self.connection.output, stage or answer, answer, looks)

    def exchange(self, flight: Flight, hear: Hear | None = None) -> Flow[bool]:
        """Write a flight, and take in the first octets that come then; False as in `flush`.

        What has arrived before it was begun is raised as by `look`; if it is the answer to a message that the server
        has asked for, the flight is taken back, and the result is False.
        """
        connection = self.connection
        try:
            octets: bytes | None = (yield flight) if self.flights else (yield from flight.steps())
            # Not before: interrupted on the way to the driver, there is output, and so something is under way.
            connection.data_to_send()
        except OSError as error:
            connection.data_to_send()
            if flight.written:
                raise self._unanswered(error) from error
            if not flight.begun:
                raise self._failed(error) from error
            yield from self._after_failed_write(error)
            return False
        except BaseException:
            if flight.looks and not flight.begun:  # else there may be something outstanding
                connection.withdraw()
            raise
        if flight.written:
            if octets:
                connection.receive_data(octets)
            else:
                connection.receive_eof()
            return True
        if flight.begun:
            unsent = list(flight.unsent)
            again = _octets(unsent) == len(flight.octets)
            if not self._overheard(octets, unsent, hear):
                return False
            return (yield from self._write(unsent, flight.stage, hear, again, rest=True))
        assert octets is not None
        connection.withdraw()
        self._take_in(octets)
        if connection.state is not State.DATA:
            self._refuse_unasked()
        return False

    def answered(self, looks: bool) -> Flow[ReplyReceived]:
        """Write the command that was put into the connection, and wait for its answer."""
        flight = self.flight(looks)
        yield from self.exchange(flight)
        event = self.heard() if flight.written else None
        return event or (yield from self.reply(again=flight.written))

    def command(self, command: Command) -> Flow[Reply]:
        """Send one command and wait for its answer."""
        looks = self.unlooked
        if not looks:
            yield from self.look()
        self.say(command)
        return (yield from self.answered(looks)).reply

    def say(self, command: Command) -> int:
        """Put a command into the connection's output, and tell the observer; returns its ticket."""
        ticket = self.connection.send(command)
        if self.observe is not None:
            self.observe(command_said(command))
        return ticket

    def say_envelope(self, group: Group) -> int:
        """The same with an envelope, and the message if it is a part of it; returns the ticket of the last command."""
        ticket = self.connection.send_envelope(group)
        if self.observe is not None:
            for command in group.commands:
                self.observe(command_said(command))
        return ticket

    # -- conversations ------------------------------------------------------------------------------------------------

    def connect(self, host: str, port: int) -> Flow[Reply]:
        """Connect the transport and wait for the greeting; what connecting raises goes on, with nothing to close."""
        yield from Connect(host, port)
        return (yield from self.greet())

    def greet(self) -> Flow[Reply]:
        """Wait for the server's greeting (RFC 5321 3.1)."""
        return (yield from self.reply()).reply

    def hello(self, domain: str) -> Flow[Reply]:
        """Introduce the client: EHLO, and HELO where that is refused (RFC 5321 3.2); LHLO in LMTP.

        Returns the last answer.  After a 421 there is no second try.
        """
        if self.connection.lmtp:
            return (yield from self.command(Lhlo(domain)))
        reply = yield from self.command(Ehlo(domain))
        if not reply.accepted and not self.connection.closed:
            reply = yield from self.command(Helo(domain))
        return reply

    def authenticate(
        self, mechanism: Mechanism, *, initial_response: bool = True, exchange: Exchange | None = None
    ) -> Flow[Reply]:
        """One AUTH exchange (RFC 4954 4); returns its last answer, a 235 if it succeeded.

        `initial_response=False` lets the server ask first.  `exchange` replaces `self.command`, for a surface whose
        own methods are to be used.  `AuthenticationAborted` if the exchange had to be cancelled with "*": for a
        challenge that is not base64, or none for the mechanism, and after too many of them.  `ServerNotProven`, the
        connection aborted, if the server was to prove itself and has not.  If the mechanism raises anything else, the
        exchange is cancelled and what it raised goes on; the session stays usable, unless the server answers "*" with a
        334 or hangs up.  Interrupted or cancelled in the middle of the exchange, the connection is aborted.
        `LocalProtocolError` for a mechanism that has been used before.
        """
        exchange = exchange or self.command
        if mechanism.used:
            raise LocalProtocolError(f"a mechanism is good for one exchange: make a new {type(mechanism).__name__}")
        mechanism.used = True
        first = (yield from Call(mechanism.step, None)) if initial_response else None
        command = Auth(mechanism.name, first)
        challenges = 1 if first is not None else 0
        held = None
        if len(command.line) > MAX_AUTH_LINE:
            # RFC 4954 4: then the server asks, with an empty challenge, for what is a line of its own.
            held, command = first, Auth(mechanism.name)
        reply = yield from exchange(command)
        try:
            while reply.severity == 3:
                challenges += 1
                if challenges > MAX_CHALLENGES + 1:
                    raise AuthenticationAborted("the server keeps sending challenges", reply)
                try:
                    challenge = b64decode(reply.lines[0].strip(), validate=True)
                except (binascii.Error, ValueError):
                    raise AuthenticationAborted("the challenge is not base64", reply) from None
                response: bytes | None
                if held is not None:
                    response, held = held, None
                else:
                    try:
                        response = yield from Call(mechanism.step, challenge)
                    except UnacceptableChallenge as error:
                        raise AuthenticationAborted(str(error), reply) from error
                reply = yield from exchange(AuthResponse(response or b""))
            if reply.accepted:
                mechanism.succeeded()
                self.authenticated = True
        except ServerNotProven as error:
            self.connection.abort()
            error.reply = reply
            raise
        except BaseException as error:
            if self.connection.state is State.AUTH and not self.connection.closed:
                yield from self._cancel(waiting=isinstance(error, Exception))
            raise
        return reply

    def _cancel(self, waiting: bool) -> Flow[None]:
        """Get out of an exchange; its failure only ends the connection, for it must not hide why it had to be."""
        connection = self.connection
        try:
            # RFC 4954 4: "the server MUST reject the AUTH command by sending a 501 reply".  One that asks again cannot
            # be got out of the exchange; and whoever was interrupted cannot wait for what it says.
            if waiting and (yield from self.command(AuthResponse(None))).severity != 3:
                return
        except ProtocolError:
            pass
        except BaseException:
            connection.abort()
            raise
        connection.abort()

    def start_tls(self, context: ssl.SSLContext, server_hostname: str | None = None) -> Flow[Reply]:
        """STARTTLS (RFC 3207): ask for it, and after the 220 do the handshake.  Returns the answer.

        `RemoteProtocolError` if anything arrives in the clear behind the 220; what the handshake raises goes on.  After
        either, and after a cancellation in the middle of the handshake, the connection is aborted.  A refusal leaves it
        usable, in the clear: whether to go on is for the caller.
        """
        reply = yield from self.command(StartTLS())
        if self.connection.state is State.TLS:
            yield from self.secure(context, server_hostname)
        return reply

    def secure(
        self, context: ssl.SSLContext, server_hostname: str | None = None, then: Callable[[], None] | None = None
    ) -> Flow[None]:
        """The handshake that is due after STARTTLS's 220; `then` is called as soon as it is done."""
        try:
            octets = yield from Poll()
            if octets:
                self.connection.receive_data(octets)
            self.connection.next_event()  # raises if anything came behind the 220
            self.tls_facts = yield from StartTLSEffect(context, server_hostname)
            self.connection.tls_established()
            self.authenticated = False
            if then is not None:
                then()
        except BaseException:
            self.connection.abort()
            raise
        if self.observe is not None:
            self.observe(tls_said(server_hostname))

    def reset(self) -> Flow[Reply]:
        """RSET: end the transaction under way (RFC 5321 4.1.1.5)."""
        return (yield from self.command(Rset()))

    def quit(self) -> Flow[Reply]:
        """QUIT, and close the transport whatever the answer (RFC 5321 4.1.1.10)."""
        reply = yield from self.command(Quit())
        self.connection.abort()
        yield from Close()
        return reply
