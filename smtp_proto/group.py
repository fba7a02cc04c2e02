"""An envelope as a group: what goes out as one under PIPELINING, and what its answers must be to change nothing.

`ClientConnection.send_envelope` sends one, and recognises the answers to all of it together.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from .commands import Bdat, Command, Data, Mail, Rcpt, Rset
from .replies import Reply
from .states import State

# Members that every message asks for: to find one in its class takes CPython 3.11 twenty times as long.
_READY, _RCPT, _DATA = State.READY, State.RCPT, State.DATA

_code_of = attrgetter("code")


class Group:
    """An envelope that goes out as one (RFC 2920 3.1): MAIL and at least one RCPT, what stands `before` them (RSET, or
    nothing), and behind them DATA, or the `chunk` that is the whole message with its BDAT, or nothing."""

    __slots__ = ("chunk", "commands", "first", "mail", "recipients", "state", "ticket")

    def __init__(
        self,
        before: Sequence[Rset],
        mail: Mail,
        recipients: Sequence[Rcpt],
        *,
        data: Data | None = None,
        chunk: bytes | None = None,
    ) -> None:
        self.mail = mail
        self.chunk = chunk
        self.commands: list[Command] = [*before, mail, *recipients]
        self.first = len(before) + 1  # RCPT, by its number
        self.recipients = len(recipients)
        self.state = _RCPT  # behind it, if nothing is refused
        if chunk is not None:
            self.commands.append(Bdat(len(chunk), last=True))
            self.state = _READY
        elif data is not None:
            self.commands.append(data)
            self.state = _DATA
        self.ticket = -1  # of the first, once it is sent

    def accepted(self, replies: list[Reply]) -> bool:
        """True if these are all the answers to it, none of them a refusal."""
        if len(replies) != len(self.commands):
            return False
        last = -1 if self.state is _DATA else None
        highest: int = max(map(_code_of, replies[:last]))
        return highest < 300 and (last is None or replies[-1].code >= 300)

    @property
    def left_open(self) -> list[Command]:
        """The recipients of the transaction that it leaves open."""
        # Of the commands as they were sent: whose list the recipients were may have gone on with it.
        return [] if self.state is _READY else self.commands[self.first : self.first + self.recipients]
