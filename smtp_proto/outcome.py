"""What became of a mail transaction: every answer, and how far it came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from .grammar import EnhancedStatus
from .queue_ids import queue_id
from .replies import Reply


class Phase(Enum):
    """How far a transaction came: of the envelope what was answered last, of the message what was begun last."""

    MAIL = "mail"  # the sender at most was answered
    RCPT = "rcpt"  # a recipient was
    DATA = "data"  # the announcement of the message was
    BODY = "body"  # the message was begun
    SENT = "sent"  # its last octets were given to the transport: from here on the server may have it
    DONE = "done"  # ... and the server has answered


# Members that every message asks for: to find one in its class takes CPython 3.11 twenty times as long.
_MAIL, _DONE = Phase.MAIL, Phase.DONE


class Fate(Enum):
    """What is known of a message, in one word."""

    DELIVERED = "delivered"  # sent, and taken by the server, for one recipient at least
    NOT_SENT = "not sent"  # refused, or cut off before its end: certainly not delivered
    UNKNOWN = "unknown"  # sent, and the answer is missing: it may have been delivered


class RecipientOutcome:
    """What became of the message for one recipient.

    `address`: the recipient as the caller gave it.  `reply`: the answer to its RCPT, None if there was none.  `final`:
    in LMTP, the answer for it to the end of the message (in SMTP one answer stands for all: `Outcome.final`).

    What it says stands in lists of its `outcome`: most are made and never looked at one by one.
    """

    __slots__ = ("_number", "outcome")

    def __init__(self, outcome: Outcome, number: int) -> None:
        self.outcome = outcome
        self._number = number

    @property
    def address(self) -> str:
        return self.outcome.addresses[self._number]

    @property
    def reply(self) -> Reply | None:
        return self.outcome.replies[self._number]

    @reply.setter
    def reply(self, reply: Reply | None) -> None:
        self.outcome.replies[self._number] = reply
        self.outcome.all_accepted = False

    @property
    def final(self) -> Reply | None:
        return self.outcome.finals.get(self._number)

    @final.setter
    def final(self, reply: Reply | None) -> None:
        if reply is not None:
            self.outcome.finals[self._number] = reply

    @property
    def accepted(self) -> bool:
        """True if RCPT was accepted."""
        return self.reply is not None and self.reply.accepted

    @property
    def refusal(self) -> Reply | None:
        """The reply that refused this recipient, at RCPT or (LMTP) at the end."""
        for reply in (self.reply, self.final):
            if reply is not None and not reply.accepted:
                return reply
        return None

    @property
    def answer(self) -> Reply | None:
        """The reply that decided: what refused this recipient, or all of them, else the one that took the message.

        None where the connection was lost before it, and for a recipient of whom the server was never asked.
        """
        own = self.refusal or self.final or self.outcome.refused_before
        if own is not None or not self.accepted:
            return own
        # One answer for all: SMTP.  In LMTP each recipient has one of its own when all is done, and until then none.
        return self.outcome.final if self.outcome.phase is Phase.DONE else None

    @property
    def delivered(self) -> bool:
        """True if the server took the message for this recipient."""
        answer = self.answer
        return answer is not None and answer.accepted

    @property
    def enhanced(self) -> EnhancedStatus | None:
        """The enhanced status code (RFC 3463) of `answer`."""
        answer = self.answer
        return answer.enhanced if answer is not None else None

    @property
    def temporary(self) -> bool:
        """True if the server refused for now (4xx): the same may succeed later (RFC 5321 4.2.1)."""
        answer = self.answer
        return answer is not None and answer.temporary

    @property
    def permanent(self) -> bool:
        """True if the server refused for good; trying again unchanged is of no use."""
        answer = self.answer
        return answer is not None and not answer.accepted and not answer.temporary

    @property
    def queue_id(self) -> str | None:
        """The queue id in `answer`, see `Outcome.queue_id`; LMTP has one for each recipient."""
        answer = self.answer
        return queue_id(answer) if answer is not None else None

    def __str__(self) -> str:
        return f"{self.address}: {self.answer if self.answer is not None else 'no answer'}"

    def __repr__(self) -> str:
        return f"RecipientOutcome({self.address!r}, reply={self.reply}, final={self.final})"


class Outcome:
    """The outcome of a mail transaction.  ``str()`` of it is for people.

    `sender`: as the caller gave it.  `mail`, `data`, `final`: the replies to MAIL, to DATA and to the end of the
    message (SMTP: one for all; LMTP: the last one; each recipient's stands with it), None where there was none; the
    octets of each are its `raw`.  `recipients`: one entry for each RCPT, in order.  `phase`: how far it came.

    `addresses` and `replies`: those of the recipients, in order.  `finals`: the answers to the end of the message that
    some of them have for themselves, by their number.  `all_accepted` is True where it is known without looking at each
    that all of them were accepted at RCPT.
    """

    __slots__ = (
        "_recipients",
        "addresses",
        "all_accepted",
        "data",
        "final",
        "finals",
        "mail",
        "phase",
        "replies",
        "sender",
    )

    def __init__(self, recipients: Iterable[str] = (), sender: str = "") -> None:
        self.phase = _MAIL
        self.sender = sender
        self.mail: Reply | None = None
        self.addresses = list(recipients)
        self.replies: list[Reply | None] = [None] * len(self.addresses)
        self.all_accepted = False
        self.finals: dict[int, Reply] = {}
        self._recipients: list[RecipientOutcome] | None = None
        self.data: Reply | None = None
        self.final: Reply | None = None

    @property
    def recipients(self) -> list[RecipientOutcome]:
        """One entry for each RCPT, in order."""
        if self._recipients is None:
            self._recipients = [RecipientOutcome(self, number) for number in range(len(self.addresses))]
        return self._recipients

    def end(self, reply: Reply, due: Iterable[RecipientOutcome]) -> None:
        """The last answer has come; in LMTP it is also for the recipients that are still without one (`due`)."""
        self.final = reply
        self.phase = _DONE
        for recipient in due:
            recipient.final = reply

    def taken(self, replies: Sequence[Reply]) -> None:
        """The server took the message for all: the answers to MAIL, to each RCPT, to DATA if there was one, and to the
        message."""
        # In this order: interrupted in between, it must not look refused.
        self.all_accepted = True
        self.final = replies[-1]
        self.phase = _DONE
        self.mail = replies[0]
        count = len(self.addresses)
        self.replies = list(replies[1 : count + 1])
        if len(replies) > count + 2:
            self.data = replies[-2]

    @property
    def delivered(self) -> bool:
        """True if the server took the message, for one recipient at least."""
        if self.final is not None and self.final.code // 100 == 2:
            return True
        return any(final.accepted for final in self.finals.values())

    @property
    def may_be_delivered(self) -> bool:
        """True if the message was sent to its end and the answer is missing: the server may have it (RFC 1047)."""
        return self.phase is Phase.SENT

    @property
    def fate(self) -> Fate:
        """Whether the message was delivered, certainly was not, or may have been."""
        if self.delivered:
            return Fate.DELIVERED
        return Fate.UNKNOWN if self.may_be_delivered else Fate.NOT_SENT

    @property
    def accepted(self) -> list[RecipientOutcome]:
        """The recipients whose RCPT was accepted; whether they get the message is decided at its end."""
        return [recipient for recipient in self.recipients if recipient.accepted]

    @property
    def refused(self) -> list[RecipientOutcome]:
        """The recipients that the server refused the message for, at MAIL, RCPT, DATA or the end."""
        return [recipient for recipient in self.recipients if recipient.temporary or recipient.permanent]

    @property
    def unanimous(self) -> bool:
        """True if all recipients were accepted, and none has an answer of its own to the end of the message."""
        if self.finals:
            return False
        return self.all_accepted or all(reply is not None and reply.accepted for reply in self.replies)

    @property
    def refused_before(self) -> Reply | None:
        """The refusal of MAIL or DATA, if one of them was refused."""
        if self.mail is not None and not self.mail.accepted:
            return self.mail
        return self.data if self.data is not None and self.data.severity != 3 else None

    @property
    def refusal(self) -> Reply | None:
        """The reply that ended the transaction for all recipients, if one did; not that of a single recipient."""
        before = self.refused_before
        if before is not None:
            return before
        # In LMTP the last answer is one of several; it stands for all only if none of them took the message.
        return self.final if self.phase is Phase.DONE and not self.delivered else None

    @property
    def queue_id(self) -> str | None:
        """The name under which the server has queued the message, from the text of its answer; None where it says
        none that is recognised (see `smtp_proto.queue_ids`)."""
        return queue_id(self.final) if self.final is not None else None

    def __str__(self) -> str:
        taken = sum(recipient.delivered for recipient in self.recipients)
        if self.delivered:
            said = f"delivered to {taken} of {len(self.recipients)} recipients"
        elif self.may_be_delivered:
            said = "sent, but the answer is missing: it may have been delivered"
        else:
            said = f"not delivered (it came to {self.phase.name})"
        if self.queue_id is not None:
            said += f", queued as {self.queue_id}"
        return "\n".join([f"from {self.sender or '<>'}: {said}", *(f"  to {each}" for each in self.recipients)])

    def __repr__(self) -> str:
        return (
            f"Outcome(phase={self.phase.name}, mail={self.mail}, recipients={self.recipients}, data={self.data}, "
            f"final={self.final})"
        )
