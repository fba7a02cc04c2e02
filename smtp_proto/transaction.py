"""A mail transaction as one flow: sender, recipients, message, and the answers, in as few flights as may be.

Theory of operation.  The envelope is a list of commands: MAIL, each RCPT, and DATA.  With PIPELINING all of it goes out
in one flight and the answers are collected; without, each is sent and answered before the next.  Both run through the
same code and fill the same `Outcome`; going step by step only allows to stop early.  What pipelining cannot stop any
more is corrected (RFC 2920 3.1): after a 354 that no accepted recipient stands behind, only the end of the data is
sent, and what is left of a refused transaction is RSET.

With `chunking` the message goes as one BDAT LAST (RFC 3030) after the answers to the envelope, which RFC 3030 2 wants
collected first; no 354 has to be waited for.  With BODY=BINARYMIME it goes as it is, whatever is in it.

Once MAIL is out there is no way back: an exception, a cancellation included, aborts the connection.  Before the
message goes out, and while it does, the flow listens: a refusal that comes early ends it, and an acceptance of what was
not sent is none.  That part, `MessageWriter`, also serves those who send MAIL, RCPT and DATA themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .body import LineEndEncoder
from .commands import Bdat, Command, Data, EndOfData, Mail, Rcpt
from .effects import Flow, Pull
from .errors import ConnectionLost, InvalidArgument, LocalProtocolError, ProtocolError, RemoteProtocolError
from .outcome import Outcome, Phase
from .session import ClientSession
from .states import Stage, State
from .transcript import Said, body_said, command_said

Message = bytes | Iterable[bytes]

# Octets given to the encoder and the transport at a time: below 128 KiB, above which copies fall out of the caches.
PIECE = 65536


def deliver(
    session: ClientSession,
    mail: Mail,
    recipients: Sequence[Rcpt],
    message: Message,
    *,
    pipelining: bool = False,
    chunking: bool = False,
    outcome: Outcome | None = None,
) -> Flow[Outcome]:
    """Send one message to its recipients (RFC 5321 3.3); returns the `Outcome`, refusals included.

    `message`: octets with any line ends, or an iterable of chunks of them, which is pulled as they go out.
    `pipelining` and `chunking` say what the server offers and the caller wants; `chunking` needs the whole message for
    its size.  `outcome`, with an entry for each recipient, is filled in where it is given: for who has other names for
    them than their paths, or wants to see how far it came when it was interrupted.

    `ConnectionLost` with `outcome` if the connection ends before the last answer; `InvalidArgument`, with nothing sent,
    for a message with a NUL (in a stream the transaction is cut off and the connection aborted).  Refusals are followed
    by RSET, so that a transaction is never left open; if that fails, the connection is aborted and the outcome stands.
    """
    if session.connection.closed:
        raise ConnectionLost("the connection is closed")
    binary = (mail.parameter("BODY") or "").upper() == "BINARYMIME"
    if binary and not chunking:
        raise LocalProtocolError("BINARYMIME needs CHUNKING (RFC 3030 3)")
    body = _checked(message, binary)
    check_addresses(mail, recipients)
    if outcome is None:
        outcome = Outcome([command.path for command in recipients], mail.path)
    transaction = _Transaction(session, outcome, pipelining, binary)
    try:
        yield from transaction.run(mail, recipients, body, chunking)
    except (ConnectionLost, RemoteProtocolError) as error:
        session.connection.abort()
        # Behind a refusal of everything nothing is left to lose: it stands, as it does when RSET fails.
        if _refused(outcome):
            return outcome
        if isinstance(error, ConnectionLost):
            error.outcome = outcome
            raise
        raise ConnectionLost(str(error), error.reply, outcome) from error
    except BaseException:
        if transaction.begun:
            session.connection.abort()
        raise
    return outcome


def check_addresses(mail: Mail, recipients: Iterable[Rcpt]) -> None:
    """`LocalProtocolError` for an envelope that needs SMTPUTF8 and does not say so."""
    if mail.parameter("SMTPUTF8") is None:
        for command in (mail, *recipients):
            if not command.line.isascii():
                raise LocalProtocolError(f"{command.path!r} is not ASCII and needs SMTPUTF8 (RFC 6531 3.4)")


def _checked(message: object, binary: bool) -> bytes | Iterator[bytes]:
    """`message`, for a local mistake must show before anything is sent."""
    if isinstance(message, (bytes, bytearray, memoryview)):
        octets = bytes(message)
        if b"\0" in octets and not binary:
            raise InvalidArgument("message", "a NUL in the text needs BINARYMIME")
        return octets
    if isinstance(message, str) or not isinstance(message, Iterable):
        raise TypeError(f"a message is bytes or an iterable of them, not {type(message).__name__}")
    return iter(message)


def _refused(outcome: Outcome) -> bool:
    """True if the sender was refused, or every recipient."""
    if outcome.mail is None or not outcome.mail.accepted:
        return outcome.mail is not None
    return all(recipient.reply is not None for recipient in outcome.recipients) and not outcome.accepted


class MessageWriter:
    """Writes one message after its 354, or as one chunk, and listens meanwhile; `outcome` says how far it came."""

    def __init__(self, session: ClientSession, outcome: Outcome) -> None:
        self.session = session
        self.connection = session.connection
        self.outcome = outcome

    def lines(self, message: bytes | Iterator[bytes]) -> Flow[bool]:
        """Write the lines of a message and its end, dots stuffed and line ends normalised; True if it is all out.

        False if the server has refused it before: `outcome.final` has the refusal, and the connection is aborted.
        `ConnectionLost` if it is lost, `RemoteProtocolError` if the server accepts what it does not have.
        """
        if (yield from self.refused()):
            return False
        self.outcome.phase = Phase.BODY
        octets = 0
        at_hand = isinstance(message, bytes)
        pieces = _pieces(message) if isinstance(message, bytes) else message
        while True:
            # Pieces of a message that is at hand need no effect; an application's stream may want to be awaited.
            piece = next(pieces, None) if at_hand else (yield from Pull(pieces))
            if piece is None:
                break
            # The piece before this one goes out only now, so that the last one goes with the end of the data.
            if octets and not (yield from self._written()):
                return False
            self.connection.send_body(piece)
            octets += len(piece)
        self.connection.send(EndOfData())
        self._say(body_said(octets))
        return (yield from self._ended())

    def refused(self) -> Flow[bool]:
        """True, and all as with a False of `lines`, if the server has said more than its 354 by now, or hung up."""
        yield from self.session.poll()
        if self.connection.unread or not self.connection.can_send(EndOfData()):
            yield from self._heard()
            return True
        return False

    def chunk(self, message: bytes, binary: bool = False) -> Flow[bool]:
        """Write a message as one BDAT LAST (RFC 3030 2); the same results as of `lines`.

        Line ends are normalised, but for `binary`.
        """
        encoded = message
        if not binary:
            encoder = LineEndEncoder()
            encoded = encoder.encode(message) + encoder.finish()
        command = Bdat(len(encoded), last=True)
        yield from self.session.look()
        self.outcome.phase = Phase.BODY
        self.connection.send(command)
        self._say(command_said(command))
        self._say(body_said(len(encoded)))
        first = True
        for piece in _pieces(encoded):
            if not first and not (yield from self._written()):
                return False
            first = False
            self.connection.send_body(piece)
        return (yield from self._ended())

    def _ended(self) -> Flow[bool]:
        """Write the last of it: from here on the server may have the message."""
        self.outcome.phase = Phase.SENT
        return (yield from self._written())

    def _written(self) -> Flow[bool]:
        """Write what there is; False if the server has refused the message before all of it was out."""
        written = yield from self.session.flush(Stage.BODY, until_heard=True)
        if written and (self.outcome.phase is Phase.SENT or not self.connection.unread):
            return True
        yield from self._heard()
        return False

    def _heard(self) -> Flow[None]:
        """What the server says before the message is out: a refusal, or nothing more.

        The connection is aborted then: the server may go on reading what it has refused, or may take it for commands.
        """
        reply = (yield from self.session.reply()).reply
        if reply.severity in (2, 3):
            raise RemoteProtocolError(f"{reply.code} before the message was sent", reply)
        self.outcome.end(reply, self.outcome.accepted if self.connection.lmtp else [])
        self.connection.abort()

    def _say(self, said: Said) -> None:
        if self.session.observe is not None:
            self.session.observe(said)


class _Transaction:
    def __init__(self, session: ClientSession, outcome: Outcome, pipelining: bool, binary: bool) -> None:
        self.session = session
        self.connection = session.connection
        self.outcome = outcome
        self.pipelining = pipelining
        self.binary = binary
        self.begun = False
        self._writer = MessageWriter(session, outcome)
        self._unanswered = iter(outcome.recipients)  # answers come in the order of the commands

    def run(
        self, mail: Mail, recipients: Sequence[Rcpt], message: bytes | Iterator[bytes], chunking: bool
    ) -> Flow[None]:
        chunking = chunking and isinstance(message, bytes)
        yield from self._envelope([mail, *recipients, *([] if chunking or not recipients else [Data()])])
        outcome, connection = self.outcome, self.connection
        ready = bool(outcome.accepted)
        if connection.state is State.DATA:
            if ready:
                if (yield from self._writer.lines(message)):
                    yield from self._final()
            else:
                yield from self._nothing()
        elif ready and chunking and not connection.closed:
            assert isinstance(message, bytes)
            if (yield from self._writer.chunk(message, self.binary)):
                yield from self._final()
        if not outcome.delivered and not connection.closed:
            yield from self._reset()

    def _nothing(self) -> Flow[None]:
        """End a message that was asked for although there is nobody to send it to."""
        connection = self.connection
        yield from self.session.poll()
        if connection.accepted or connection.unread or not connection.can_send(EndOfData()):
            # MAIL was refused and all the rest accepted: what such a server would make of a message, even of an empty
            # one, nobody knows.  And an answer that is there already is none to the dot.
            connection.abort()
            return
        # RFC 2920 3.1: the client "MUST send a single dot"; its answer says nothing about any message.
        connection.send(EndOfData())
        yield from self.session.flush(Stage.BODY)
        yield from self.session.reply()

    # -- the envelope -------------------------------------------------------------------------------------------------

    def _envelope(self, commands: Iterable[Command]) -> Flow[None]:
        session, connection = self.session, self.connection
        for command in commands:
            if not self.pipelining and self._pointless(command):
                return
            yield from session.look()
            connection.send(command)
            self.begun = True
            if session.observe is not None:
                session.observe(command_said(command))
            if not self.pipelining:
                yield from session.flush(connection.stage)
                yield from self._answer()
        yield from session.flush(connection.stage)
        while connection.waiting and not connection.closed:
            yield from self._answer()

    def _pointless(self, command: Command) -> bool:
        """True if what was answered so far makes `command` useless: only going step by step can tell in time."""
        if self.connection.closed or (self.outcome.mail is not None and not self.outcome.mail.accepted):
            return True
        return isinstance(command, Data) and not self.outcome.accepted

    def _answer(self) -> Flow[None]:
        event = yield from self.session.reply()
        outcome, command, reply = self.outcome, event.command, event.reply
        if isinstance(command, Mail):
            outcome.mail = reply
        elif isinstance(command, Rcpt):
            # Behind a refused MAIL every RCPT is refused too, with a 503 that says nothing about the recipient.
            if outcome.mail is not None and outcome.mail.accepted:
                outcome.phase = Phase.RCPT
                next(self._unanswered).reply = reply
        elif outcome.accepted:
            # DATA; without a recipient it is refused for that, which is no answer to any message either.
            outcome.phase = Phase.DATA
            outcome.data = reply

    # -- after the message ---------------------------------------------------------------------------------------------

    def _final(self) -> Flow[None]:
        """The answer to the end of the message; in LMTP one for each accepted recipient (RFC 2033 4.2)."""
        due = self.outcome.accepted
        while True:
            event = yield from self.session.reply()
            self.outcome.final = event.reply
            if event.recipient is not None:
                due.pop(0).final = event.reply
            if not self.connection.waiting:
                break
        self.outcome.end(event.reply, due if self.connection.lmtp else [])

    def _reset(self) -> Flow[None]:
        """RSET after a refusal; its own failure never hides that."""
        try:
            if (yield from self.session.reset()).accepted:
                return
        except ProtocolError:
            pass
        self.connection.abort()


def _pieces(octets: bytes) -> Iterator[bytes]:
    if len(octets) <= PIECE:
        return iter([octets])
    return (octets[start : start + PIECE] for start in range(0, len(octets), PIECE))
