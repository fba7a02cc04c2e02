"""How a command ends: the exit statuses, by kind, and the one exception that carries them.

The numbers are those of BSD's ``sysexits.h`` where that has the kind; a mail program that hands messages on reads them
the same way (75: keep it and try again).  79 and above are this command's own.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class Status(IntEnum):
    """An exit status; `meaning` says it in words."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> Self:
        self = int.__new__(cls, number)
        self._value_ = number
        self.meaning = meaning
        return self

    DONE = 0, "done; for send: accepted for every recipient"
    SOME_REFUSED = 1, "sent, but some recipients were refused"
    USAGE = 64, "the command was called wrongly"
    DATA = 65, "the message, or an address, cannot be sent as it is"
    NO_INPUT = 66, "a file cannot be read"
    RECIPIENTS_REFUSED = 67, "every recipient was refused for good"
    NO_HOST = 68, "there is no such host"
    NO_CONNECTION = 69, "no connection, or it was lost before anything could have been delivered"
    SOFTWARE = 70, "the command itself failed"
    NO_OUTPUT = 73, "the server cannot listen, or what was received cannot be stored or printed"
    MAY_BE_DELIVERED = 74, "the connection was lost behind the end of the message: it may have been delivered"
    TEMPORARY = 75, "refused for now: try again later"
    PROTOCOL = 76, "the server broke the protocol, or lacks what the message needs"
    LOGIN = 77, "the log-in failed, or was not to be had safely"
    SENDER_REFUSED = 79, "the sender was refused for good"
    MESSAGE_REFUSED = 80, "the message was refused for good"
    TLS = 81, "TLS failed, or was required and is not to be had, or the certificate is not the right one"
    INTERRUPTED = 130, "interrupted (Ctrl-C)"


class Failure(Exception):
    """The command ends with `status`; the text says what happened, with what, and what to do where that is known."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
