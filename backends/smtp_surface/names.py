"""The names that every backend has besides its classes; a backend takes all of them over."""

from __future__ import annotations

from .addresses import CRLF, Recipient, bCRLF, quoteaddr, quotedata
from .batch import Envelope
from .client import LMTP_PORT, SMTP_PORT, SMTP_SSL_PORT
from .exceptions import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from .replies import SMTPReply

__all__ = [
    "CRLF",
    "LMTP_PORT",
    "SMTP_PORT",
    "SMTP_SSL_PORT",
    "Envelope",
    "Recipient",
    "SMTPAuthenticationError",
    "SMTPConnectError",
    "SMTPDataError",
    "SMTPException",
    "SMTPHeloError",
    "SMTPNotSupportedError",
    "SMTPRecipientsRefused",
    "SMTPReply",
    "SMTPResponseException",
    "SMTPSenderRefused",
    "SMTPServerDisconnected",
    "bCRLF",
    "quoteaddr",
    "quotedata",
]
