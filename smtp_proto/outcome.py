"""What became of a mail transaction: every answer, and how far it came."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from .commands import Rcpt
from .replies import Reply


class Phase(Enum):
    """How far a transaction came: of the envelope what was answered last, of the message what was begun last."""

    MAIL = "mail"  # the sender at most was answered
    RCPT = "rcpt"  # a recipient was
    DATA = "data"  # the announcement of the message was
    BODY = "body"  # the message was begun
    SENT = "sent"  # its last octets were given to the transport: from here on the server may have it
    DONE = "done"  # ... and the server has answered


class RecipientOutcome:
    """One recipient: `reply`, the answer to its RCPT (None if there was none), and in LMTP `final`, the answer for it
    to the end of the message."""

    __slots__ = ("command", "final", "reply")

    def __init__(self, command: Rcpt) -> None:
        self.command = command
        self.reply: Reply | None = None
        self.final: Reply | None = None

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

    def __repr__(self) -> str:
        return f"RecipientOutcome({self.command.path!r}, reply={self.reply}, final={self.final})"


class Outcome:
    """The outcome of a mail transaction.

    `mail`, `data`, `final`: the replies to MAIL, to DATA and to the end of the message (SMTP: one for all; LMTP: the
    last one; each recipient's stands with it), None where there was none.  `recipients`: one entry for each RCPT, in
    order.  `phase`: how far it came.
    """

    __slots__ = ("data", "final", "mail", "phase", "recipients")

    def __init__(self, recipients: Iterable[Rcpt]) -> None:
        self.phase = Phase.MAIL
        self.mail: Reply | None = None
        self.recipients = [RecipientOutcome(command) for command in recipients]
        self.data: Reply | None = None
        self.final: Reply | None = None

    def end(self, reply: Reply, due: Iterable[RecipientOutcome]) -> None:
        """The last answer has come; in LMTP it is also for the recipients that are still without one (`due`)."""
        self.final = reply
        self.phase = Phase.DONE
        for recipient in due:
            recipient.final = reply

    @property
    def delivered(self) -> bool:
        """True if the server took the message, for one recipient at least."""
        finals = [recipient.final for recipient in self.recipients if recipient.final is not None]
        if finals:
            return any(final.accepted for final in finals)
        return self.final is not None and self.final.accepted

    @property
    def may_be_delivered(self) -> bool:
        """True if the message was sent to its end and the answer is missing: the server may have it (RFC 1047)."""
        return self.phase is Phase.SENT

    @property
    def accepted(self) -> list[RecipientOutcome]:
        """The recipients whose RCPT was accepted."""
        return [recipient for recipient in self.recipients if recipient.accepted]

    @property
    def refusal(self) -> Reply | None:
        """The reply that ended the transaction for all recipients, if one did; not that of a single recipient."""
        if self.mail is not None and not self.mail.accepted:
            return self.mail
        if self.data is not None and self.data.severity != 3:
            return self.data
        # In LMTP the last answer is one of several; it stands for all only if none of them took the message.
        return self.final if self.phase is Phase.DONE and not self.delivered else None

    def __repr__(self) -> str:
        return (
            f"Outcome(phase={self.phase.name}, mail={self.mail}, recipients={self.recipients}, data={self.data}, "
            f"final={self.final})"
        )
