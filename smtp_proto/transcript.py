"""The conversation as a value: what was said, by whom, in order; secrets masked, bodies elided.

The session tells an *observer* each thing as it happens.  There is no clock here: whoever drives the session stamps
what it is told (`Transcript` with a `clock`), and what is printed can be pasted into a bug report: of AUTH only the
mechanism is shown, of its responses nothing, and of a message its size.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from .commands import Command
from .errors import RemoteProtocolError
from .records import Record, set_field
from .replies import Reply, ReplyReader, printable


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

    `clock` gives the time in seconds, `time.time` for instance; this package has none.  A transcript goes to a file and
    back as JSON, octet for octet of each reply, or as the text that people paste; `smtp_proto.replay` plays it again.
    """

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
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

    def timed(self) -> str:
        """The same with the seconds since the first entry in front of each line."""
        start = self.entries[0].time if self.entries else 0.0
        return "\n".join(f"{time - start:8.3f} {line}" for time, said in self.entries for line in str(said).split("\n"))

    def to_json(self) -> str:
        """All of it as JSON: a list of objects with `time`, `who`, `text`, and some with `octets` or `raw`."""
        import json

        entries = []
        for time, said in self.entries:
            entry: dict[str, float | str] = {"time": time, "who": said.who, "text": said.text}
            if said.octets is not None:
                entry["octets"] = said.octets
            if said.reply is not None:
                entry["raw"] = said.reply.raw.decode("latin-1")
            entries.append(entry)
        return json.dumps(entries, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` gave; `ValueError` for anything else."""
        import json

        made = cls()
        try:
            for entry in json.loads(text):
                raw = entry.get("raw")
                reply = _read_reply(raw.encode("latin-1")) if raw is not None else None
                octets = entry.get("octets")
                said = Said(str(entry["who"]), str(entry["text"]), reply, int(octets) if octets is not None else None)
                made.entries.append(Entry(float(entry["time"]), said))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a transcript: {error!r}") from error
        return made

    @classmethod
    def from_text(cls, text: str) -> Self:
        """A transcript that was printed, by ``str()`` or `timed`, with or without white space around its lines.

        `ValueError` for a line that is none.  Replies are those of the text: what was escaped for people stays so.
        """
        made = cls()
        before: list[str] = []  # lines of a reply that is not at its end
        for line in text.strip().splitlines():
            found = re.fullmatch(_PRINTED, line.strip())
            if found is None or (before and found["who"] != "S"):
                raise ValueError(f"no line of a transcript: {line!r}")
            who, said, time = found["who"], found["said"] or "", float(found["time"] or 0)
            if who != "S":
                octets = re.fullmatch(_ELIDED, said)
                made.entries.append(Entry(time, Said(who, said, octets=int(octets[1]) if octets else None)))
                continue
            before.append(said)
            if said[3:4] != "-":
                reply = _read_reply("".join(f"{each}\r\n" for each in before).encode())
                made.entries.append(Entry(time, Said("S", "\n".join(before), reply)))
                before = []
        if before:
            raise ValueError(f"the reply {before} is not at its end")
        return made


# Compiled when a transcript is read, which most programs do not.
_PRINTED = r"(?:(?P<time>\d+(?:\.\d+)?) +)?(?P<who>[CS*]):(?: (?P<said>.*))?"
_ELIDED = r"<(\d+) octets of message>"


def _read_reply(octets: bytes) -> Reply:
    """The one reply in `octets`; `ValueError` if there is none, or more."""
    reader = ReplyReader()
    reader.feed(octets)
    try:
        reply = reader.next_reply()
    except RemoteProtocolError as error:
        raise ValueError(str(error)) from error
    if reply is None or not reader.quiet:
        raise ValueError(f"not one reply: {octets[:80]!r}")
    return reply
