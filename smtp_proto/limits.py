"""One message to more recipients than a server takes at once (LIMITS, RFC 9422): several transactions, one outcome.

A list of recipients is cut where RCPTMAX or RCPTDOMAINMAX say so, in order, and each part is a transaction of its own.
As long as no part was accepted, a failure is what it would have been of one transaction: it ends the delivery, and is
the outcome, or raised.  Once one was, the message is out, and nobody must be led to send it again to all: from then on
every failure, a lost connection included, stands with the recipients that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from .commands import Mail, Rcpt
from .effects import Flow
from .errors import ConnectionLost, LocalProtocolError, ProtocolError
from .grammar import domain_of
from .outcome import Outcome, Phase
from .replies import Reply
from .session import ClientSession
from .sources import Message, source_of
from .transaction import Chunking, check_addresses, deliver
from .writing import Progress

#: A new connection in the place of one that takes no more transactions: greeted, introduced, logged in.
Renew = Callable[[], Flow[ClientSession]]


def cut(paths: Sequence[str], limits: Mapping[str, int]) -> list[range]:
    """Where to cut a list of forward-paths so that no part is beyond the limits; one of zero is nonsense, and none."""
    everybody = range(len(paths))
    most, most_domains = limits.get("RCPTMAX") or len(everybody), limits.get("RCPTDOMAINMAX") or len(everybody)
    if most >= len(everybody) and most_domains >= len(everybody):
        return [everybody]
    parts: list[range] = []
    start, domains = 0, set[str]()
    for number, path in enumerate(paths):
        domains.add(domain_of(path))
        if number - start >= most or len(domains) > most_domains:
            parts.append(range(start, number))
            start, domains = number, {domain_of(path)}
    return [*parts, range(start, len(paths))]


def used_up(session: ClientSession, limits: Mapping[str, int]) -> bool:
    """True if the server takes no more transactions on this connection (MAILMAX)."""
    most = limits.get("MAILMAX")
    return bool(most) and session.connection.transactions >= (most or 0)


def plan(session: ClientSession, paths: Sequence[str], limits: Mapping[str, int], *, renewable: bool) -> list[range]:
    """The parts of a list of recipients, each for a transaction of its own.

    `LocalProtocolError` where they are more than the server takes on this connection (MAILMAX), and there is no way to
    another one.
    """
    parts = cut(paths, limits)
    most = limits.get("MAILMAX")
    left = most - session.connection.transactions if most else len(parts)
    if len(parts) > left and not renewable:
        raise LocalProtocolError(
            f"{len(parts)} transactions are needed, and the server takes {max(left, 0)} more on this connection "
            "(LIMITS MAILMAX, RFC 9422); connect again, or give a way to"
        )
    return parts


def deliver_within(
    session: ClientSession,
    mail: Mail,
    recipients: Sequence[Rcpt],
    message: Message,
    *,
    limits: Mapping[str, int],
    pipelining: bool = False,
    chunking: Chunking = False,
    progress: Progress | None = None,
    last: bool = False,
    outcome: Outcome | None = None,
    renew: Renew | None = None,
) -> Flow[Outcome]:
    """`deliver`, in as many transactions as the `limits` that EHLO has listed ask for (`Extensions.limits`).

    With MAILMAX, `renew` is asked for another connection to the same server when this one takes no more transactions.
    `LocalProtocolError`, with nothing sent, where that is needed and there is no `renew`, and for a stream that would
    have to be sent more than once.  For the rest see `deliver`.
    """
    once = partial(deliver, mail=mail, pipelining=pipelining, chunking=chunking, progress=progress)
    if not limits:
        return (yield from once(session, recipients=recipients, message=message, last=last, outcome=outcome))
    check_addresses(mail, recipients)
    parts = plan(session, [command.path for command in recipients], limits, renewable=renew is not None)
    source = source_of(message, (mail.parameter("BODY") or "").upper() == "BINARYMIME")
    if len(parts) > 1 and source.restart is None:
        raise LocalProtocolError(
            f"the server takes no more than {len(parts[0])} of {len(recipients)} recipients at once (LIMITS, RFC 9422),"
            " and a stream can be sent once only"
        )

    def send(part: range, done: Outcome) -> Flow[bool]:
        nonlocal session
        if used_up(session, limits):
            assert renew is not None
            session = yield from renew()
        yield from once(
            session,
            recipients=[recipients[number] for number in part],
            message=source if part is parts[0] else source.again(),
            last=last and part is parts[-1],
            outcome=done,
        )
        return not session.connection.closed

    outcome = outcome or Outcome([command.path for command in recipients], mail.path)
    yield from in_parts(parts, outcome, send)
    return outcome


def in_parts(parts: Sequence[range], outcome: Outcome, send: Callable[[range, Outcome], Flow[bool]]) -> Flow[None]:
    """Send each part with `send`, which fills the outcome of that part and returns False where the connection ended.

    What it raises goes on as long as nothing was delivered; from then on it stands with the recipients.
    """
    if len(parts) == 1:
        yield from send(parts[0], outcome)
        return
    delivery = _Delivery(outcome)
    try:
        for part in parts:
            done = delivery.begin(part)
            if not (yield from send(part, done)) or not delivery.goes_on(done):
                break
    except (ProtocolError, OSError) as error:
        if not delivery.delivered:
            if isinstance(error, ConnectionLost):
                error.outcome = outcome
            raise
        delivery.failure = error
    finally:
        delivery.merge()


class _Delivery:
    """The parts of one delivery, and what they make together."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.parts: list[tuple[range, Outcome]] = []
        self.failure: Exception | None = None  # behind a part that was delivered

    def begin(self, part: range) -> Outcome:
        done = Outcome([self.outcome.recipients[number].address for number in part], self.outcome.sender)
        self.parts.append((part, done))
        return done

    @property
    def delivered(self) -> bool:
        return any(done.delivered for _, done in self.parts)

    def goes_on(self, done: Outcome) -> bool:
        """False behind a part that failed for its sender or its message, when no other has been delivered: it would
        fail again."""
        return self.delivered or done.refusal is None

    def merge(self) -> None:
        """Fill the outcome of it all.  With several parts the answer to the end of the message stands with each
        recipient, as in LMTP."""
        outcome = self.outcome
        lead = next((done for _, done in reversed(self.parts) if done.delivered), self.parts[-1][1])
        outcome.mail, outcome.data, outcome.final, outcome.phase = lead.mail, lead.data, lead.final, lead.phase
        for part, done in self.parts:
            for number, recipient in zip(part, done.recipients, strict=True):
                whole = outcome.recipients[number]
                whole.reply, whole.final = recipient.reply, recipient.final
                if self.delivered and recipient.refusal is None and recipient.final is None:
                    self._settle(number, done)
        if self.delivered:
            asked = self.parts[-1][0].stop
            for number in range(asked, len(outcome.recipients)):
                outcome.recipients[number].reply = self._lost("the message was not sent")
            if self.parts[-1][1].may_be_delivered:
                outcome.phase = Phase.SENT

    def _settle(self, number: int, done: Outcome) -> None:
        """A recipient who has no final answer of its own gets that of its part."""
        whole = self.outcome.recipients[number]
        answer = done.refusal or (done.final if done.phase is Phase.DONE else None)
        if answer is None:
            doubt = "the message may have been delivered" if done.may_be_delivered else "the message was not sent"
            answer = self._lost(doubt)
        if whole.reply is None:
            whole.reply = answer
        else:
            whole.final = answer

    def _lost(self, what: str) -> Reply:
        """What stands for an answer that never came: nobody must take its absence for success."""
        return Reply(421, f"4.4.2 {self.failure or 'the connection was closed'}; {what}")
