"""What `next_event()` returns: something that happened, or that nothing can happen before someone acts."""

from __future__ import annotations

from enum import Enum
from typing import Final

from .commands import Command
from .records import Record, set_field
from .replies import Reply


class Wait(Enum):
    """No event: see `NEED_DATA` and `PAUSED`."""

    NEED_DATA = "NEED_DATA"
    PAUSED = "PAUSED"

    def __repr__(self) -> str:
        return self.value


#: Nothing more until the peer has sent more: call `receive_data` or `receive_eof`.
NEED_DATA: Final = Wait.NEED_DATA
#: Nothing more until *you* have acted: a client or server whose TLS handshake is due (`tls_established`), a server that
#: owes a reply (`send`).
PAUSED: Final = Wait.PAUSED


class Event(Record):
    """Base class of what happens."""

    __slots__ = ()


class ReplyReceived(Event):
    """Client: the reply to `command`, which was sent with `ticket`.

    `recipient` is set on the replies to the end of the data in LMTP: the accepted RCPT that this one is for.
    `early` marks a refusal that came before the body was all sent; the connection is closed after it.
    """

    __slots__ = ("command", "early", "recipient", "reply", "ticket")
    fields = ("reply", "command", "ticket", "recipient", "early")
    reply: Reply
    command: Command
    ticket: int
    recipient: Command | None
    early: bool

    def __init__(
        self, reply: Reply, command: Command, ticket: int, recipient: Command | None = None, early: bool = False
    ) -> None:
        _set_reply(self, reply)
        _set_command(self, command)
        _set_ticket(self, ticket)
        _set_recipient(self, recipient)
        _set_early(self, early)


# There is one for each reply: by the slots' descriptors it takes half the time.
_set_reply, _set_command, _set_ticket, _set_recipient, _set_early = [
    ReplyReceived.__dict__[name].__set__ for name in ReplyReceived.fields
]


class ServiceClosing(Event):
    """Client: the server said 421 without being asked (RFC 5321 3.8) and closes."""

    __slots__ = ("reply",)
    fields = ("reply",)
    reply: Reply

    def __init__(self, reply: Reply) -> None:
        set_field(self, "reply", reply)


class ConnectionClosed(Event):
    """The connection is at its end.  `clean` is False if something was still due or half said."""

    __slots__ = ("clean",)
    fields = ("clean",)
    clean: bool

    def __init__(self, clean: bool) -> None:
        set_field(self, "clean", clean)


class CommandReceived(Event):
    """Server: a command that is well formed and in order; it is owed a reply (BDAT: when its octets are in)."""

    __slots__ = ("command",)
    fields = ("command",)
    command: Command

    def __init__(self, command: Command) -> None:
        set_field(self, "command", command)


class CommandRejected(Event):
    """Server: a line that is no command, or none that may stand here.  It is owed a reply; `hint` is the right one."""

    __slots__ = ("hint", "line")
    fields = ("line", "hint")
    line: bytes
    hint: Reply

    def __init__(self, line: bytes, hint: Reply) -> None:
        set_field(self, "line", line)
        set_field(self, "hint", hint)

    def __repr__(self) -> str:
        # The line may be a mangled AUTH.
        return f"CommandRejected(<{len(self.line)} octets>, hint={self.hint!r})"


class BodyReceived(Event):
    """Server: octets of the message, dots taken off.  With `finished`, the message or the chunk is complete, and the
    reply to it is owed (LMTP: one for each accepted recipient)."""

    __slots__ = ("finished", "octets")
    fields = ("octets", "finished")
    octets: bytes
    finished: bool

    def __init__(self, octets: bytes, finished: bool) -> None:
        set_field(self, "octets", octets)
        set_field(self, "finished", finished)
