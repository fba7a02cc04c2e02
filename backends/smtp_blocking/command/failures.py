"""What went wrong on the way, as one line and an exit status: a table from exceptions to `Failure`.

The line says what happened, with which server, and what to do where that is known.  Whether the message may have been
delivered is said whenever it is not certain that it was not.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from smtp_proto.errors import RemoteProtocolError
from smtp_proto.replies import Reply
from smtp_surface.exceptions import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from .server_options import Target
from .status import Failure, Status

MAY_BE_DELIVERED = "the message may have been delivered, and sending it again may deliver it twice"


def failure(error: Exception, target: Target) -> Failure:
    """The end of the command that `error`, which came of talking to `target`, leads to."""
    status, message = _table(error, target)
    return Failure(status, f"{target}: {message}")


def _table(error: Exception, target: Target) -> tuple[Status, str]:
    if isinstance(error, SMTPException) and error.may_be_delivered:
        return Status.MAY_BE_DELIVERED, f"the connection was lost: {_reason(error)}; {MAY_BE_DELIVERED}"
    match error:
        case ssl.SSLCertVerificationError():
            return Status.TLS, (
                f"the certificate was not accepted: {error.verify_message} (--cafile says whom to trust, "
                "--server-hostname which name to expect, --insecure trusts anybody)"
            )
        case ssl.SSLError():
            reason = (error.reason or str(error)).replace("_", " ").lower()
            hint = "; is this a port for STARTTLS (--tls required)?" if "wrong version" in reason else ""
            return Status.TLS, f"TLS failed: {reason}{hint}"
        case socket.gaierror():
            again = error.errno == socket.EAI_AGAIN
            return (Status.TEMPORARY if again else Status.NO_HOST), f"no address for this name: {error.strerror}"
        case SMTPServerDisconnected():
            return _lost(error)
        case SMTPConnectError():
            return _refused(Status.NO_CONNECTION, "it does not want to talk", error)
        case SMTPAuthenticationError():
            return _refused(Status.LOGIN, "the log-in was refused", error)
        case SMTPSenderRefused():
            return _refused(Status.SENDER_REFUSED, f"the sender <{error.sender}> was refused", error)
        case SMTPRecipientsRefused():
            return _all_refused(error)
        case SMTPDataError():
            return _refused(Status.MESSAGE_REFUSED, "the message was refused", error)
        case SMTPResponseException() if error.reply is not None:
            return _refused(Status.PROTOCOL, "refused", error)
        case SMTPResponseException():
            return Status.PROTOCOL, f"it does not keep to the protocol: {_reason(error)}"
        case SMTPNotSupportedError() | SMTPException():
            return Status.PROTOCOL, str(error)
        case UnicodeEncodeError():
            return Status.PROTOCOL, f"nothing was sent: {error.object!r}: {error.reason}"
        case OSError():
            return Status.NO_CONNECTION, f"no connection: {error.strerror or error}"
        case _:
            return Status.DATA, f"nothing was sent: {error}"


def _refused(lasting: Status, what: str, error: SMTPResponseException) -> tuple[Status, str]:
    reply = error.reply or Reply(error.smtp_code, error.smtp_error)
    text = " ".join(str(reply).split("\n"))
    if reply.temporary:
        return Status.TEMPORARY, f"{what} for now: {text} (try again later)"
    return lasting, f"{what}: {text}"


def _all_refused(error: SMTPRecipientsRefused) -> tuple[Status, str]:
    # One that may be accepted later is worth trying again, with all of them: none has got it.
    if any(400 <= code <= 499 for code, _ in error.recipients.values()):
        return Status.TEMPORARY, "no recipient was accepted, some only for now (try again later)"
    return Status.RECIPIENTS_REFUSED, "no recipient was accepted"


def _lost(error: SMTPServerDisconnected) -> tuple[Status, str]:
    what = _reason(error)
    ending = "; the message was not delivered" if error.outcome is not None else ""
    if any(isinstance(cause, RemoteProtocolError) for cause in _causes(error)):
        return Status.PROTOCOL, f"it does not keep to the protocol: {what}{ending}"
    if error.temporary:
        return Status.TEMPORARY, f"{what}{ending} (try again later)"
    return Status.NO_CONNECTION, f"the connection was lost: {what}{ending}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _reason(error: SMTPException) -> str:
    """What is behind an exception, on one line, without the words that `smtplib` puts in front of it."""
    return " ".join(str(next(_causes(error), error)).split("\n"))
