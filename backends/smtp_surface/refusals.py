"""What `sendmail` makes of an `Outcome`: the exceptions that `smtplib` raises, and the recipients that it returns."""

from __future__ import annotations

from smtp_proto.outcome import Outcome, RecipientOutcome
from smtp_proto.replies import Reply

from .exceptions import SMTPDataError, SMTPException, SMTPRecipientsRefused, SMTPSenderRefused
from .replies import SMTPReply


def refusals(outcome: Outcome) -> list[tuple[RecipientOutcome, Reply]]:
    """The recipients that were refused one by one, at RCPT or (LMTP) at the end, with the reply that did it."""
    found: list[tuple[RecipientOutcome, Reply]] = []
    if outcome.unanimous:
        return found
    for recipient in outcome.recipients:
        refusal = recipient.refusal
        if refusal is not None:
            found.append((recipient, refusal))
    return found


def refusal_error(outcome: Outcome) -> SMTPException | None:
    """The exception that `sendmail` raises for a message that nobody gets; None if somebody does."""
    if outcome.delivered:
        return None
    refused = refusals(outcome)
    reply: Reply | None
    error: SMTPException
    if outcome.mail is not None and not outcome.mail.accepted:
        reply = outcome.mail
        error = SMTPSenderRefused(*SMTPReply(reply), outcome.sender)
    elif not outcome.accepted or (outcome.data is None and outcome.final is None) or _refused_one_by_one(outcome):
        # No message was asked for: a 421 to a later recipient leaves the ones before it without one, too.
        reply = refused[-1][1] if refused else None
        error = SMTPRecipientsRefused({recipient.address: SMTPReply(refusal) for recipient, refusal in refused})
    elif outcome.refusal is not None:
        reply = outcome.refusal
        error = SMTPDataError(*SMTPReply(reply))
    else:
        return None
    error.reply = reply
    error.outcome = outcome
    return error


def _refused_one_by_one(outcome: Outcome) -> bool:
    """True if all that were accepted were refused at the end (LMTP), and there was more than one of them.

    With SMTPDataError, which `smtplib` raises for the first answer, all of them would be treated as one was: given up
    although another is only full, or tried for days although another is gone.
    """
    return len(outcome.finals) > 1 and not outcome.delivered
