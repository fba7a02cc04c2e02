"""Writing one message: behind its 354, or as one chunk of BDAT, in pieces, and listening meanwhile.

Theory of operation.  A message is put into the connection piece by piece, and a piece goes out when the next one is
there: so the last one leaves with the end of the message, and with whatever the caller puts behind it (`finish`).  What
the server says before the message is out is either the answer to a command before it, which goes to `taken`, or the
answer to the message: a refusal ends it, and an acceptance of what was not sent is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .body import LineEndEncoder, MessageText
from .commands import Bdat, EndOfData, Mail, Rcpt, Rset
from .effects import Call, Flight, Flow, Pull
from .errors import InvalidArgument, RemoteProtocolError
from .events import ReplyReceived
from .group import Group
from .outcome import Outcome, Phase
from .session import ClientSession
from .sources import PIECE, Source, octets_of, pieces
from .states import Stage
from .transcript import body_said

#: Told, as a message goes out, how many of its octets have, and how many there are (None: not known).
Progress = Callable[[int, int | None], object]

_END = EndOfData()
# As in `smtp_proto.outcome`.
_SENT, _BODY = Phase.SENT, Stage.BODY


class MessageWriter:
    """Writes one message; `outcome` says how far it came.

    `taken` is given the answers to earlier commands that come in meanwhile: here there must be none outstanding, and a
    `smtp_proto.transaction.Transaction`, whose commands they are, takes them.

    `lines`, `chunk` and `finish` return False where the server has refused the message before it was all out:
    `outcome.final` has the refusal, and the connection is aborted, for the server may go on reading what it has
    refused, or may take it for commands.  They raise `ConnectionLost` if it is lost, `RemoteProtocolError` if the
    server accepts what it does not have, and whatever the source raises.
    """

    _first = 0  # the ticket of the first answer that is one to the message
    _behind = 0  # octets put behind the message
    _put = 0  # octets of the source that were put into the connection
    _total: int | None = None

    def __init__(self, session: ClientSession, outcome: Outcome, progress: Progress | None = None) -> None:
        self.session = session
        self.connection = session.connection
        self.outcome = outcome
        #: Told how many octets are out.
        self.progress = progress

    def lines(self, source: Source) -> Flow[bool]:
        """Put the lines of a message and its end, dots stuffed and line ends normalised; all but the last is out."""
        if (yield from self.overruled()):
            return False
        self.outcome.phase = Phase.BODY
        if source.whole is not None:
            self.put_lines(source.whole)
            return True
        if not (yield from self._pieces(source, None)):
            return False
        self.connection.send(_END)
        self._say(self._put)
        return True

    def put_lines(self, text: MessageText) -> int:
        """Put all of a message; what the server says behind its 354 is to be looked at before it is written.  Returns
        the ticket of its end."""
        self._total = self._put = text.length
        ticket = self.connection.send_message(text)
        self._say(text.length)
        return ticket

    def overruled(self) -> Flow[bool]:
        """True, and all as with a False of `lines`, if the server has said more than its 354 by now, or hung up."""
        yield from self.session.poll()
        if self.connection.message_due:
            return False
        yield from self._heard()
        return True

    def chunk(self, source: Source) -> Flow[bool]:
        """Put a message as one BDAT LAST (RFC 3030 2); all but the last is out.  Unless it is binary its line ends are
        normalised.

        Where answers are outstanding, it goes behind the commands that they are due to.
        """
        assert source.encoded is not None, "the size of a chunk must be known"
        yield from self.session.look()
        self.outcome.phase = Phase.BODY
        if source.whole is not None:
            self.put_chunk(source.whole)
            return True
        self._first = self.session.say(Bdat(source.encoded, last=True))
        self._say(source.encoded)
        if source.binary:
            return (yield from self._pieces(source, None))
        encoder = LineEndEncoder()
        if not (yield from self._pieces(source, encoder.encode)):
            return False
        self.connection.send_body(encoder.finish())
        return True

    def put_chunk(self, text: MessageText, envelope: tuple[Sequence[Rset], Mail, Sequence[Rcpt]] | None = None) -> int:
        """Put all of a message as one BDAT LAST, and the `envelope` before it, as `Group` takes it; what the server
        says unasked is to be looked at before that.  Returns the ticket of the BDAT."""
        octets = text.for_bdat()
        self._total = self._put = text.length
        if envelope is None:
            self._first = self.session.say(Bdat(len(octets), last=True))
            self.connection.send_body(octets)
        else:
            self._first = self.session.say_envelope(Group(*envelope, chunk=octets))
        self._say(len(octets))
        return self._first

    def exchange(self, behind: int = 0, looks: bool = False) -> Flow[Flight | None]:
        """`finish`, for who waits for the answer next: the first octets of it are taken in.  None for a False.

        With `looks`, for a message that was put whole: what has arrived before it is written is no answer to it.
        """
        self._behind = behind
        before, self.outcome.phase = self.outcome.phase, _SENT
        flight = self.session.flight(looks, _BODY)
        try:
            if (yield from self.session.exchange(flight, self._hear)):
                return flight
        finally:
            if not flight.begun:
                self.outcome.phase = before
        yield from self._heard()
        return None

    def finish(self, behind: int = 0) -> Flow[bool]:
        """Write the last of it, and the `behind` octets that were put behind it.

        From here on the server may have the message.
        """
        self._behind = behind
        self.outcome.phase = Phase.SENT
        return self._written(complete=True)

    def _pieces(self, source: Source, encode: Callable[[bytes], bytes] | None) -> Flow[bool]:
        connection, chunks, at_hand = self.connection, source.chunks, source.at_hand
        self._total = source.length
        unsent = 0
        while True:
            # Pieces of a message that is at hand need no effect; an application's stream may want to be message_due.
            chunk = next(at_hand, None) if at_hand is not None else (yield from Pull(chunks))
            if chunk is None:
                break
            for piece in pieces(octets_of(chunk)):
                if unsent and unsent + len(piece) > PIECE:
                    if not (yield from self._written(complete=False)):
                        return False
                    unsent = 0
                unsent += len(piece)
                self._put += len(piece)
                if source.length is not None and self._put > source.length:
                    break
                connection.send_body(piece if encode is None else encode(piece))
        if source.length is not None and self._put != source.length:
            # What was announced cannot be taken back, and to end it here would deliver something else.
            raise InvalidArgument(
                "message",
                f"the source had {source.length} octets when it was measured, now it has "
                f"{'more' if self._put > source.length else self._put}",
            )
        return True

    def _written(self, complete: bool) -> Flow[bool]:
        """Write what there is; False if the server has refused the message before all of it was out."""
        if (yield from self.session.flush(Stage.BODY, self._hear)) and (complete or not self._hear(1)):
            if self.progress is not None:
                yield from Call(self.progress, self._put, self._total)
            return True
        yield from self._heard()
        return False

    def _hear(self, left: int) -> bool:
        """What the server has said while `left` octets are not written; True if that ends the message."""
        if left <= self._behind:
            return False  # the message is out: it is an answer like any other
        while self.connection.unread:
            if self.connection.answered >= self._first:
                return True
            event = self.session.heard()
            if event is None:
                break
            self.taken(event)
        return False

    def taken(self, event: ReplyReceived) -> None:
        """The answer to an earlier command; there is none without a transaction."""

    def _heard(self) -> Flow[None]:
        """What the server says to the message before it is out: a refusal, or nothing more."""
        while (event := (yield from self.session.reply())).ticket < self._first:
            self.taken(event)
        reply = event.reply
        if reply.severity in (2, 3):
            raise RemoteProtocolError(f"{reply.code} before the message was sent", reply)
        self.outcome.end(reply, self.outcome.accepted if self.connection.lmtp else [])
        self.connection.abort()

    def _say(self, octets: int) -> None:
        if self.session.observe is not None:
            self.session.observe(body_said(octets))
