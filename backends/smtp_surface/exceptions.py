"""The exceptions, with `smtplib`'s names.

Each is a subclass of the one of the same name in `smtplib`, so that an ``except smtplib.SMTPException`` written years
ago keeps catching, and has the same attributes and `args`.  What ours add: `reply`, the whole reply behind it as a
typed value (None where there was none); with it `enhanced` and `temporary`; and `outcome`, after a mail transaction.
"""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from typing import Any

from smtp_proto.grammar import EnhancedStatus
from smtp_proto.outcome import Outcome
from smtp_proto.replies import Reply


class SMTPException(smtplib.SMTPException):
    """Base class of all exceptions of this library's clients."""

    #: The reply that led to this, where there was one.
    reply: Reply | None = None
    #: What became of the mail transaction, where there was one.
    outcome: Outcome | None = None

    @property
    def enhanced(self) -> EnhancedStatus | None:
        """The enhanced status code (RFC 3463) of the reply."""
        return self.reply.enhanced if self.reply is not None else None

    @property
    def temporary(self) -> bool:
        """True if the server said that the same may succeed later (4xx)."""
        return self.reply is not None and self.reply.temporary

    @property
    def may_be_delivered(self) -> bool:
        """True if the connection was lost after the end of the message was sent: the server may have taken it."""
        return self.outcome is not None and self.outcome.may_be_delivered


class SMTPNotSupportedError(SMTPException, smtplib.SMTPNotSupportedError):
    """The server does not offer what was asked for.  Nothing was sent; the session goes on."""


class SMTPServerDisconnected(SMTPException, smtplib.SMTPServerDisconnected):
    """There is no connection, or it has just been lost; connect again before going on."""


class SMTPResponseException(SMTPException, smtplib.SMTPResponseException):
    """The server refused.  `smtp_code` and `smtp_error` hold the code and the text (octets)."""


class SMTPSenderRefused(SMTPResponseException, smtplib.SMTPSenderRefused):
    """The server refused MAIL; `sender` is the address as given."""


class SMTPRecipientsRefused(SMTPException, smtplib.SMTPRecipientsRefused):
    """The server refused every recipient; `recipients` has the code and text for each address."""


class SMTPDataError(SMTPResponseException, smtplib.SMTPDataError):
    """The server refused the message."""


class SMTPConnectError(SMTPResponseException, smtplib.SMTPConnectError):
    """The server's greeting was a refusal."""


class SMTPHeloError(SMTPResponseException, smtplib.SMTPHeloError):
    """The server refused HELO."""


class SMTPAuthenticationError(SMTPResponseException, smtplib.SMTPAuthenticationError):
    """The server refused the log-in, or could not prove itself.

    `attempts` has each mechanism that was tried with the reply that ended it.  `oauth_error` is what the server said of
    a token (RFC 7628 3.2.2), where one was refused.
    """

    attempts: Sequence[tuple[str, Reply]] = ()
    oauth_error: dict[str, Any] | None = None
