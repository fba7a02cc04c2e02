"""Many messages over one connection, each sent before the answers to the ones before it are in.

Theory of operation.  A `Mailing` is given one `Transaction` after the other (`submit`) and gives them back in order,
with their outcomes (`result`).  With PIPELINING the envelope of a message goes out behind the last octets of the
message before it, as RFC 2920 3.1 allows: that is one round trip a message.  Where a transaction is `eager`, whole
messages go out behind one another, and the round trips are shared by all that are in flight.  Without PIPELINING each
message is finished before the next one begins.

Answers come in the order of the commands, so each is the oldest transaction's, until that has had its last.

Between two messages stands RSET where the state that the first one leaves could be the second one's: behind BDAT,
which may be refused and leaves the state open then (RFC 3030 2), and behind an envelope that came to nothing.  Were it
left out, the recipients of the second message could join the first one's sender.  So an RSET that is refused ends the
connection.  Behind the end of the data it is not needed: that ends the transaction whatever the answer.

Eager messages that are small may be held until several go out at once (`submit` with `hold`): over a fast network it is
the writes that take the time.  All that waits for the server writes them first.

Nothing is ever sent twice.  When the connection is lost, all that is in flight comes back with what is known of it:
`Outcome.fate` says of each whether it was delivered, certainly not, or maybe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .commands import Command, Rset
from .effects import Flow, Interrupted
from .errors import ConnectionLost, ProtocolError, RemoteProtocolError
from .events import ReplyReceived
from .outcome import Phase
from .replies import Reply
from .session import ClientSession
from .states import State
from .transaction import Transaction

# Messages in flight at most.  Thirty-two make a round trip a thirtieth of what it costs alone; more would gain little,
# and leave more in doubt when a connection is lost.
WINDOW = 32

# Octets that are held: a dozen small messages at once take half the processor's time that they take one by one.
HELD = 32768

_RSET = Rset()
_UNDER_WAY = frozenset({State.MAIL, State.RCPT, State.BDAT, State.FAILED})


class Mailing:
    """Many messages over the connection of `session`; see the module's header.

    The methods that are flows raise `ConnectionLost` when the connection is lost, and whatever the source of a message
    raises; the connection is aborted then, and `result` gives back all that was in flight.
    """

    def __init__(self, session: ClientSession, pipelining: bool, window: int = WINDOW) -> None:
        self.session = session
        self.connection = session.connection
        self.pipelining = pipelining
        self.window = window
        self._flight: deque[Transaction] = deque()  # announced, oldest first
        self._finished: deque[Transaction] = deque()
        self._open: Transaction | None = None  # the last in flight, if its message is not all put yet
        self._dirty = False  # what is in flight may leave a transaction behind
        #: The last transaction was `eager`, and so the next one need not wait for answers.
        self.eager = False
        self._held: list[Transaction] = []  # put into the connection, and not written
        self._room = HELD  # octets that may be held yet

    @property
    def full(self) -> bool:
        """True if nothing more should be submitted before something has been answered."""
        return len(self._flight) >= self.window

    @property
    def roomy(self) -> bool:
        """True if a quarter of the window is free: enough to go out together, while the rest keeps the line busy."""
        return 4 * len(self._flight) <= 3 * self.window

    @property
    def in_flight(self) -> int:
        """Messages that were begun and are not finished."""
        return len(self._flight)

    def result(self) -> Transaction | None:
        """The next finished transaction, in order; None if there is none yet."""
        return self._finished.popleft() if self._finished else None

    def take(self, event: ReplyReceived) -> None:
        """An answer, to whichever command."""
        if event.command is _RSET:
            if event.reply.code // 100 != 2:
                raise RemoteProtocolError(f"RSET was refused: {event.reply}", event.reply)
            return
        # Always the oldest one's: it leaves with its last answer, and behind it nothing is answered before.
        self._flight[0].take(event)
        self._sweep(self.connection.answered)
        if self.connection.closed and self._flight:
            raise ConnectionLost(f"the server is closing the connection: {event.reply}", event.reply)

    def take_all(self, commands: Sequence[Command], replies: Sequence[Reply], first: int) -> None:
        """The answers to several commands; those to the next transaction begin behind the last one of the first."""
        at, count = 0, len(commands)
        while at < count:
            if commands[at] is _RSET:
                at += 1
                continue
            oldest = self._flight[0]
            end = min(count, oldest.last + 1 - first)
            oldest.take_all(commands[at:end], replies[at:end], first + at)
            at = end
            self._sweep(first + at)

    def _sweep(self, answered: int) -> None:
        """What is answered to its end is finished; all commands below the ticket `answered` are."""
        flight = self._flight
        while flight and flight[0] is not self._open and answered > flight[0].last:
            self._finish(flight.popleft())

    def _finish(self, transaction: Transaction) -> None:
        transaction.settle()
        self._finished.append(transaction)

    def lose(self, last: Transaction | None = None) -> None:
        """Give up the connection, and all that is in flight with it; `last` was being submitted."""
        self.connection.abort()
        self._open = None
        self._held.clear()
        if last is not None and last not in self._flight and last not in self._finished:
            self._flight.append(last)
        while self._flight:
            self._finish(self._flight.popleft())

    # -- flows --------------------------------------------------------------------------------------------------------

    def submit(self, transaction: Transaction, *, hold: bool = False) -> Flow[None]:
        """Send a message, as far as may be; what is left of the one before it goes out first.

        With `hold`, which is for who has the next message at hand, a small one may wait for it, if it is `eager`.
        """
        before = self._open
        try:
            if self.connection.closed:
                raise ConnectionLost("the connection is closed")
            if not self.pipelining:
                self._flight.append(transaction)
                self._open = transaction
                yield from transaction.run(last=False)
                self._open = None
                self._finish(self._flight.pop())
                return
            put = before is not None and (yield from self._put(before))
            if put and transaction.eager:
                assert before is not None
                yield from self._finish_writing(before, 0)
                put = False
            if self._held and not (hold and transaction.eager and transaction.small and self._room > 0):
                yield from self._write()
            yield from self.session.look()
            self._flight.append(transaction)
            behind = self._announce(transaction)
            if put:
                assert before is not None
                yield from self._finish_writing(before, behind + transaction.announced)
            elif transaction.eager:
                if not transaction.small:
                    yield from transaction.put()
                self._open = None
                self._held.append(transaction)
                self._room -= transaction.size
                if not (hold and transaction.small):
                    yield from self._write()
            else:
                yield from self.session.flush(self.connection.stage)
        except BaseException:
            self.lose(transaction)
            raise

    def wait(self) -> Flow[None]:
        """Wait until the oldest message in flight is finished, and take what else has come in."""
        oldest = self._flight[0]
        try:
            yield from self._write()
            if oldest is self._open and (yield from self._put(oldest)):
                yield from self._finish_writing(oldest, 0)
            yield from oldest.answers()
            self._sweep(self.connection.answered)
            if self._flight and self._flight[0] is oldest:
                raise ConnectionLost("the connection was closed")  # not by the server, which would have been heard
            while self._flight and self.session.hand_over(self):
                pass
        except BaseException:
            self.lose()
            raise

    def listen(self) -> Flow[None]:
        """Wait for an answer and take it; returns without one where the wait is `Interrupted`."""
        try:
            yield from self._write()
            self.take((yield from self.session.reply()))
        except Interrupted:
            return
        except BaseException:
            self.lose()
            raise

    def heard(self) -> Flow[None]:
        """Take what has come in; a message that is asked for by now goes out, for no other may follow for long."""
        try:
            while self.session.hand_over(self):
                pass
            if self._open is not None and self.connection.answered > self._open.last:
                opened = self._open
                if (yield from self._put(opened)):
                    yield from self._finish_writing(opened, 0)
        except BaseException:
            self.lose()
            raise

    def write(self) -> Flow[None]:
        """Write what is held."""
        try:
            yield from self._write()
        except BaseException:
            self.lose()
            raise

    def _write(self) -> Flow[None]:
        if self._held:
            held, self._held, self._room = self._held, [], HELD
            for transaction in held:
                transaction.outcome.phase = Phase.SENT
            yield from self._finish_writing(held[-1], 0)

    def leave(self) -> Flow[None]:
        """Finish all that is in flight, and leave no transaction open."""
        while self._flight:
            yield from self.wait()
        if self.connection.state in _UNDER_WAY:
            try:
                if (yield from self.session.reset()).accepted:
                    return
            except ProtocolError:
                pass
            self.connection.abort()

    def _announce(self, transaction: Transaction) -> int:
        """Put an envelope, and RSET in front of it where it is needed; returns the octets of that."""
        reset = self._dirty if self.connection.waiting else self.connection.state in _UNDER_WAY
        self._dirty, self.eager = transaction.chunked, transaction.eager
        self._open = transaction
        if not reset:
            transaction.announce()
            return 0
        transaction.announce(_RSET)
        return len(_RSET.line)

    def _put(self, transaction: Transaction) -> Flow[bool]:
        """Put the message of the open transaction; False if it is refused, or was while it was being written."""
        yield from transaction.answers()
        put = yield from transaction.put()
        self._open = None
        if not put or transaction.refused:
            self._dirty = True
        self._sweep(self.connection.answered)
        if self.connection.closed:
            raise ConnectionLost("the server has refused the message before it was sent, or has closed the connection")
        return put

    def _finish_writing(self, transaction: Transaction, behind: int) -> Flow[None]:
        if not (yield from transaction.finish(behind)):
            raise ConnectionLost("the server has refused the message before it was sent")
