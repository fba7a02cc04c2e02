"""The conversation as a value: what was said, by whom, in order; secrets masked, bodies elided.

The session tells an *observer* each thing as it happens.  There is no clock here: whoever drives the session stamps
what it is told (`Transcript` with a `clock`), and what is printed can be pasted into a bug report: of AUTH only the
mechanism is shown, of its responses nothing, and of a message its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .commands import Command
from .records import Record, set_field
from .replies import Reply, printable


class Said(Record):
    """One thing that was said or done.  `who`: "C" the client, "S" the server, "*" neither: the connection itself.

    `text` is for people; `reply` is set where a server's reply was received, `octets` where a message's were sent.
    """

    __slots__ = ("octets", "reply", "text", "who")
    fields = ("who", "text", "reply", "octets")
    who: str
    text: str
    reply: Reply | None
    octets: int | None

    def __init__(self, who: str, text: str, reply: Reply | None = None, octets: int | None = None) -> None:
        set_field(self, "who", who)
        set_field(self, "text", text)
        set_field(self, "reply", reply)
        set_field(self, "octets", octets)

    def __str__(self) -> str:
        return "\n".join(f"{self.who}: {line}" for line in self.text.split("\n"))


Observer = Callable[[Said], None]


def command_said(command: Command) -> Said:
    """A command, with what is secret in it masked."""
    return Said("C", command.shown)


def reply_said(reply: Reply) -> Said:
    """A reply, as it stood on the wire."""
    *before, last = printable(reply.text).split("\n")
    return Said("S", "\n".join([*(f"{reply.code:03d}-{line}" for line in before), f"{reply.code:03d} {last}"]), reply)


def body_said(octets: int) -> Said:
    """A message or a chunk of it: only how much."""
    return Said("C", f"<{octets} octets of message>", octets=octets)


def connected_said(address: str) -> Said:
    """The connection is there."""
    return Said("*", f"connected to {address}")


def tls_said(server_hostname: str | None) -> Said:
    """What follows is encrypted."""
    return Said("*", f"TLS established with {server_hostname}" if server_hostname else "TLS established")


def closed_said() -> Said:
    """The connection is closed."""
    return Said("*", "connection closed")


class Entry(NamedTuple):
    """What was said, and when: in the seconds of the clock that the transcript was given."""

    time: float
    said: Said


class Transcript:
    """An observer that keeps what it is told, with times; ``str()`` of it is the conversation for people.

    `clock` gives the time in seconds, `time.time` for instance; this package has none.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.entries: list[Entry] = []

    def __call__(self, said: Said) -> None:
        self.entries.append(Entry(self._clock(), said))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        return "\n".join(str(entry.said) for entry in self.entries)
