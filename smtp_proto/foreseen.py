"""A mail transaction that goes as nearly all do, foreseen as a whole: all its flights in one effect.

Theory of operation.  What a small message's flights are is known before the first one goes out, and so is what answers
let the next one follow: as many replies as there are commands, of one line each, none of which refuses anything.  A
`Foreseen` is a `Flight` that goes on by itself while they are that: the driver gives it the octets of an answer, and is
told whether another flight is to follow.  So the flow is woken up once for a transaction, and not for each answer; and
the connection, in which nothing else may be under way, need not be moved by one command after the other.  When all is
answered it is where it was before, between two transactions.

Nothing here decides what another answer means.  Where one is different, comes in pieces or not at all, and where the
octets cannot be written, the transaction is carried out as always, in `smtp_proto.transaction`, from its beginning: its
flights are the same ones, and as far as they have been out already they are given the answers that there were.  So both
ways have the same outcome, and leave the same connection behind (`tests/test_foreseen.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from .body import MessageText
from .effects import Effect, Flight, Flow
from .outcome import Outcome, Phase
from .replies import Reply
from .states import Stage

if TYPE_CHECKING:
    from .session import ClientSession

#: One flight: its octets, how many replies are due to it, the first digit of the last one, where all others have a 2,
#: and the deadlines of its writing and of the wait for the first reply.
Part = tuple[bytes, int, int, Stage, Stage]

# Members that every message asks for: to find one in its class takes CPython 3.11 twenty times as long.
_MAIL, _RCPT, _DATA, _BODY, _FINAL = Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY, Stage.FINAL


class Foreseen(Flight):
    """The flights of one message, one after the other; see the module's header.

    `mail`, and the `recipients`, `count` of them: their lines.  `pipelining` and `chunking` are those of
    `smtp_proto.transaction.deliver`.
    """

    looks = True
    #: Gives the replies that octets are (`ClientConnection.foresee`).
    read: Callable[[bytes, int, int], Sequence[Reply]]

    def __init__(
        self, mail: bytes, recipients: bytes, count: int, text: MessageText, pipelining: bool, chunking: bool | str
    ) -> None:
        # In the order of going out, the next one last.
        self._parts = parts(mail, recipients, count, text, pipelining, chunking)
        self.octets, self._due, self._digit, self.stage, self.answer = self._parts.pop()
        #: The answers so far.
        self.replies: list[Reply] = []
        #: Those to the flights before this one, as they came.
        self.answers: list[bytes] = []
        #: All is answered, and nothing was refused.
        self.fulfilled = False

    def follow(self, octets: bytes) -> bool:
        replies = self.read(octets, self._due, self._digit)
        if not replies:
            return False
        self.replies += replies
        if not self._parts:
            self.fulfilled = True
            return False
        # In this order: interrupted in between, it looks as if the next flight were out, and nobody relies on less.
        self.answers.append(bytes(octets))
        self.octets, self._due, self._digit, self.stage, self.answer = self._parts.pop()
        self.begun = self.written = False
        return True

    @property
    def last(self) -> bool:
        """True if the message is a part of this flight."""
        return not self._parts


def parts(
    mail: bytes, recipients: bytes, count: int, text: MessageText, pipelining: bool, chunking: bool | str
) -> list[Part]:
    """The flights of a message, as `Transaction.in_steps` has them; the first one last."""
    if chunking:
        chunk = text.for_bdat()
        if pipelining and chunking == "eager":
            octets = b"%b%bBDAT %d LAST\r\n%b" % (mail, recipients, len(chunk), chunk)
            return [(octets, count + 2, 2, _BODY, _MAIL)]
        message = b"BDAT %d LAST\r\n%b" % (len(chunk), chunk)
    else:
        message = text.for_data()
    found: list[Part] = [(message, 1, 2, _BODY, _FINAL)]
    if pipelining:
        envelope = mail + recipients if chunking else b"%b%bdata\r\n" % (mail, recipients)
        found.append((envelope, count + (1 if chunking else 2), 2 if chunking else 3, _MAIL, _MAIL))
        return found
    if not chunking:
        found.append((b"data\r\n", 1, 3, _DATA, _DATA))
    found += [(line, 1, 2, _RCPT, _RCPT) for line in reversed(recipients.splitlines(keepends=True))]
    found.append((mail, 1, 2, _MAIL, _MAIL))
    return found


def carried_out(
    session: ClientSession, flight: Foreseen, outcome: Outcome, otherwise: Callable[[], Flow[Outcome]]
) -> Flow[Outcome]:
    """The transaction of a flight, for a session that `foresees`; `otherwise` makes the flow that does the same step by
    step.  Returns and raises what that does."""
    connection = session.connection
    read = connection.foresee(flight.octets)
    if read is None:
        return (yield from otherwise())
    flight.read = read
    failure: BaseException | None = None
    octets: bytes | None = None
    flow: Flow[Outcome] | None = None
    caught_up = False
    try:
        try:
            octets = yield flight
        except BaseException as error:  # noqa: BLE001  # raised again by the flow that knows what it means
            failure = error
        if flight.fulfilled:
            outcome.taken(flight.replies)
            connection.fulfilled(len(flight.replies))
            caught_up = True
            if failure is None:
                return outcome
            raise failure
        connection.forgo()
        flow = otherwise()
        step: Any = next(flow)
        for answer in flight.answers:
            step.begun = step.written = True
            step = flow.send(answer)
        step.begun, step.written, step.unsent = flight.begun, flight.written, flight.unsent
        caught_up = True
        effect = flow.send(octets) if failure is None else flow.throw(failure)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the flow's outcome
    except BaseException:
        if not caught_up:
            # Interrupted where nothing knows any more what was sent.
            if flow is not None:
                flow.close()  # which takes back what it has not begun
            connection.abort()
            if flight.last and flight.begun:
                outcome.phase = Phase.SENT
        raise
    finally:
        del failure  # whose traceback has this frame
    return (yield from _Begun(flow, effect))


class _Begun:
    """The rest of a flow, which waits for the result of `effect`; for `yield from`."""

    def __init__(self, flow: Flow[Outcome], effect: Effect[Any]) -> None:
        self._flow = flow
        self._effect: Effect[Any] | None = effect
        self.send, self.throw, self.close = flow.send, flow.throw, flow.close

    def __iter__(self) -> Generator[Effect[Any], Any, Outcome]:
        return self  # it has all that is asked of one

    def __next__(self) -> Effect[Any]:
        # Asked first, and then where a result is None.
        effect, self._effect = self._effect, None
        return effect if effect is not None else next(self._flow)
