"""Replies: what a server says, as a value, and how it is read off the wire and written to it (RFC 5321 4.2).

A reply is a code and one or more lines of text.  The octets are kept as they came: real servers send 8-bit text, NULs
and stray CRs, and decoding is for show only.  What is *not* tolerated is what makes it uncertain where a reply ends or
what it says: a line that does not begin with three digits and then SP, "-" or its end; lines of one reply with
different codes; anything beyond the limits below.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from itertools import repeat
from operator import itemgetter
from typing import Any

from .buffer import ReceiveBuffer
from .errors import InvalidArgument, LimitExceeded, RemoteProtocolError
from .grammar import CRLF, EnhancedStatus, enhanced_status
from .records import Record, set_field

# Line, octets with its end.  RFC 5321 4.5.3.1.5 asks for 512; sixteen times that is what the standard library takes.
MAX_REPLY_LINE = 8192
# Lines of one reply.  HELP and EXPN are the long ones; an EHLO of 12 kB has some hundred lines.
MAX_REPLY_LINES = 2048
# Octets of one reply, so that the two bounds above do not multiply to 16 MiB.
MAX_REPLY_SIZE = 131072
# Replies that are remembered, so that the next ones like them need not be made; and octets of each, its end included.
MAX_KNOWN = 32
MAX_KNOWN_LINE = 128
# Answers that are remembered as a whole; and octets of each: of up to seventy replies, as they usually are.
MAX_KNOWN_GROUPS = 8
MAX_KNOWN_GROUP = 1024

_CODES = {b"%03d" % code: code for code in range(1000)}
_LAST = {digits + b" ": code for digits, code in _CODES.items()}  # what the last line of a reply begins with
_CR = ord("\r")
_beginning, _text = itemgetter(slice(4)), itemgetter(slice(4, None))
_WORTH_IT = 200  # octets with some ten replies in them: to make fewer at once is no gain
# What begins a reply of one line that is no refusal.
_GOOD = {b"%03d " % code: code for code in range(200, 400)}
SEPARATORS = (b" ", b"-")
LINE_ENDS = (b"\r\n", b"\n")

# C0 without LF, DEL, and C1.
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Reply(Record):
    """One reply: `code`, and `lines`, the text of each line without code, separator and line end.

    `Reply(250, "2.0.0 ok")` builds one to send; text with line feeds becomes several lines.  Two replies are equal if
    code and lines are.  `raw` holds the octets as they came (or as they would be sent).
    """

    __slots__ = ("_enhanced", "_raw", "code", "lines")
    fields = ("code", "lines")
    code: int
    lines: tuple[bytes, ...]
    # These two may be empty: what they hold is found out when it is asked for.
    _raw: bytes | None  # None for a reply that was built here
    _enhanced: EnhancedStatus | None

    def __init__(self, code: int, lines: str | bytes | Iterable[bytes] = b"") -> None:
        if not 0 <= code <= 999:
            raise InvalidArgument("code", f"{code} is not a reply code of three digits")
        if isinstance(lines, str):
            lines = lines.encode("utf-8", "backslashreplace")
        if isinstance(lines, bytes):
            lines = lines.split(b"\n")
        set_field(self, "code", code)
        set_field(self, "lines", tuple(lines) or (b"",))
        set_field(self, "_raw", None)

    @classmethod
    def challenge(cls, octets: bytes) -> Reply:
        """A 334 that carries a SASL challenge (RFC 4954 4)."""
        return cls(334, b64encode(octets))

    @property
    def severity(self) -> int:
        """The first digit (RFC 5321 4.2.1): 2 done, 3 go on, 4 refused for now, 5 refused for good."""
        return self.code // 100

    @property
    def accepted(self) -> bool:
        """True for a 2xx."""
        return self.code // 100 == 2

    @property
    def temporary(self) -> bool:
        """True for a 4xx: the same command may succeed later."""
        return self.code // 100 == 4

    @property
    def enhanced(self) -> EnhancedStatus | None:
        """The enhanced status code (RFC 3463) that the first line begins with, if any.

        RFC 2034 4 keeps them out of the greeting, the replies to EHLO and HELO, and 3xx; `ClientConnection` knows
        which replies those are and never reports one there.
        """
        try:
            return self._enhanced
        except AttributeError:
            enhanced = enhanced_status(self.code, self.lines[0]) if self.code // 100 != 3 else None
            set_field(self, "_enhanced", enhanced)
            return enhanced

    @property
    def text(self) -> str:
        """All lines as text, for people: UTF-8, with what is not UTF-8 shown as ``\\xNN``.  Never raises."""
        return b"\n".join(self.lines).decode("utf-8", "backslashreplace")

    @property
    def raw(self) -> bytes:
        """The octets as received; for a reply that was built here, as it is sent."""
        try:
            raw = self._raw
        except AttributeError:
            raw = self._written()
            set_field(self, "_raw", raw)
        return raw if raw is not None else self.encode()

    def encode(self) -> bytes:
        """The octets to send, each line ending in CRLF; `InvalidArgument` if a line would break the framing."""
        for line in self.lines:
            if b"\r" in line or b"\n" in line or b"\0" in line:
                raise InvalidArgument("reply", f"CR, LF or NUL in the text {line!r}")
        return self._written()

    def _written(self) -> bytes:
        code = b"%03d" % self.code
        *before, last = self.lines
        # RFC 5321 4.2: "code SP text"; the SP stays when the text is empty, for receivers that cut at offset 4.
        return b"".join([*(code + b"-" + line + CRLF for line in before), code + b" " + last + CRLF])

    def __str__(self) -> str:
        """Code and text for messages and terminals: what would move the cursor or forge a line is escaped."""
        return f"{self.code:03d} {printable(self.text)}"


# For replies that were received, whose octets were checked.  They are what is made most, and setting two slots by their
# descriptors takes a third of the time of `__init__`.
_new = Reply.__new__
_set_code: Callable[[Reply, int], None] = Reply.__dict__["code"].__set__
_set_raw: Callable[[Reply, bytes], None] = Reply.__dict__["_raw"].__set__
_set_lines: Callable[[Reply, tuple[bytes, ...]], None] = Reply.__dict__["lines"].__set__


def printable(text: str) -> str:
    """`text` with its control characters escaped, line feeds excepted."""
    return _UNPRINTABLE.sub(lambda character: f"\\x{ord(character[0]):02x}", text)


def without_enhanced_status(reply: Reply) -> Reply:
    """A copy of `reply`, whose text is known not to begin with an enhanced status code, whatever it looks like.

    The reply itself may be an answer to another command, too: a reader gives out again what it has made before.
    """
    reply = copy(reply)
    set_field(reply, "_enhanced", None)
    return reply


def _several(segment: bytes, at: int) -> tuple[int, tuple[bytes, ...], int]:
    """The reply of several lines that stands there in one piece: its code, its lines and its end; no lines if not.

    Not what is longer than a line may be, so that there cannot be too many of them either.
    """
    digits = segment[at : at + 3]
    most = at + MAX_REPLY_LINE
    last = segment.find(b"\n%b " % digits, at, most)
    end = segment.find(b"\n", last + 1, most)
    if 0 <= last < end and digits in _CODES and segment[last - 1] == _CR == segment[end - 1]:
        lines = segment[at : last - 1].split(b"\r\n%b-" % digits)
        # Each line but the last ends where the next one begins with the code: there is no other LF.
        if segment.count(b"\n", at, last) == len(lines) - 1 and segment[at + 3 : at + 4] == b"-":
            lines[0] = lines[0][4:]
            lines.append(segment[last + 5 : end - 1])
            return _CODES[digits], tuple(lines), end + 1
    return 0, (), 0


class ReplyReader:
    """Octets in, replies out: the client's half of the framing.

    Replies that arrive whole and in the form that the RFC has for them, as nearly all do, are cut out of their segment,
    many of one line all at once.  All else goes line by line: there it is found out what is wrong, or still to come.

    Invariant: whatever way the octets are split, the same replies come out, and no more than one reply of
    `MAX_REPLY_SIZE` octets, what was fed on top, and what is remembered is held: `MAX_KNOWN` short replies, and those
    of `MAX_KNOWN_GROUPS` answers.  After an error the reader must not be used again.
    """

    __slots__ = ("_at", "_code", "_groups", "_known", "_lines", "_mixed", "_ready", "_segment", "_size", "buffer")

    def __init__(self) -> None:
        self.buffer = ReceiveBuffer(MAX_REPLY_LINE)
        self._segment = b""  # came when nothing else was there, and is given out up to `_at`
        self._at = 0
        self._mixed = False  # there is something in it that is not for `run`
        # Servers answer one recipient, and one message, like the other, and a reply never changes: lines as they came,
        # but for their LF, and what was made of them.
        self._known: dict[bytes, Reply] = {}
        # One envelope is answered like the other, too: what `good` has given, by what it was asked.
        self._groups: dict[tuple[bytes, int, int], Sequence[Reply]] = {}
        self._ready: list[Reply] = []  # made of what came before all that, and not given out; the next one last
        self._code = b""  # of the reply under way; empty between replies
        self._lines: list[bytes] = []  # its lines so far, as they came
        self._size = 0

    def feed(self, octets: bytes) -> None:
        if self._segment or self._ready or self._code or self.buffer.octets:
            self._buffer_segment()
            self.buffer.append(octets)
        else:
            self._segment = octets if octets.__class__ is bytes else bytes(octets)
            self._mixed = False

    @property
    def quiet(self) -> bool:
        """True between replies, with nothing buffered."""
        return not (self._segment or self._ready or self._code or self.buffer.octets)

    @property
    def unread(self) -> int:
        """Octets that are no part of a reply given out."""
        ready = sum([len(reply.raw) for reply in self._ready])
        return ready + len(self._segment) - self._at + len(self.buffer.octets) + (self._size if self._code else 0)

    def clear(self) -> None:
        self._buffer_segment()
        self.buffer.clear()
        self._ready = []
        self._code = b""
        self._lines = []

    def next_reply(self) -> Reply | None:
        """The next whole reply, or None if more octets are needed; `RemoteProtocolError` if what came is none."""
        if self._ready:
            return self._ready.pop()
        segment = self._segment
        if segment:
            at = self._at
            code = _LAST.get(segment[at : at + 4])
            end = segment.find(b"\n", at) + 1
            if code is not None and at < end <= at + MAX_REPLY_LINE and segment[end - 2] == _CR:
                lines: tuple[bytes, ...] = (segment[at + 4 : end - 2],)
            else:
                code, lines, end = _several(segment, at)
            if lines:
                if end == len(segment):
                    self._segment = b""
                    self._at = 0
                else:
                    self._at = end
                    if not at and _WORTH_IT < len(segment) <= MAX_REPLY_LINE:
                        self._make_ready()
                reply = _new(Reply)
                _set_code(reply, code)
                _set_lines(reply, lines)
                return reply
        elif not self._code and not self.buffer.octets:
            return None
        while True:
            line = self._next_line()
            if line is None:
                return None
            digits, separator = line[:3], line[3:4]
            # Not int(): that takes "+25" and " 25".
            if digits not in _CODES or (separator not in SEPARATORS and line[3:] not in LINE_ENDS):
                raise RemoteProtocolError(f"not a reply line: {line[:80]!r}")
            if digits != self._code:
                if self._code:
                    # RFC 5321 4.2.1: "the reply code in each of the lines MUST be the same".
                    raise RemoteProtocolError(f"a reply that began with {self._code!r} goes on with {line[:80]!r}")
                self._code = digits
                self._size = 0
            self._lines.append(line)
            self._size += len(line)
            if self._size > MAX_REPLY_SIZE or len(self._lines) > MAX_REPLY_LINES:
                raise LimitExceeded(f"a reply of more than {MAX_REPLY_LINES} lines or {MAX_REPLY_SIZE} octets")
            if separator != b"-":
                reply = _new(Reply)
                _set_code(reply, _CODES[digits])
                _set_raw(reply, b"".join(self._lines))
                # The line end is LF or CRLF: a bare LF is tolerated in replies (real servers send it), and one CR at
                # most is taken off, for a second one is text.
                _set_lines(reply, tuple([each[4:-2] if each.endswith(CRLF) else each[4:-1] for each in self._lines]))
                self._code = b""
                self._lines = []
                if not self._segment:
                    self._segment = self.buffer.take_all()
                    self._mixed = False
                return reply

    def alone(self, severity: int) -> Reply | None:
        """The reply, if all that has come is one, of one line and this severity, and nothing was given out of it yet.
        Else nothing is given out."""
        line, end, rest = self._segment.partition(b"\n")
        if rest or not end or self._at:
            return None
        reply = self._known.get(line) or self._known_by_now(line)
        if reply is None or reply.code // 100 != severity:
            return None
        self._segment = b""
        return reply

    def run(self, most: int) -> list[Reply]:
        """All that has come, if that is up to `most` whole replies of one line that refuse nothing; else none of it.

        What is not wanted of it is to be `put_back`.
        """
        octets = self._segment
        if self._mixed or not octets:
            return []
        # By functions in C as far as may be: with many recipients a line of Python for each takes ten times as long.
        lines = (octets[self._at :] if self._at else octets).split(b"\n", most)
        if not lines.pop():  # else the last one has no end, or there are too many
            replies: list[Any] = list(map(self._known.get, lines))
            if all(replies) or all(replies := [self._known.get(line) or self._known_by_now(line) for line in lines]):
                self._segment = b""
                self._at = 0
                return replies
        self._mixed = True
        return []

    def good(self, octets: bytes, due: int, digit: int) -> Sequence[Reply]:
        """The replies that `octets` are, if these are `due` of one line each, the first digit of the last one is
        `digit`, and that of all others 2.  Else none.

        Nothing is taken in, and nothing may have been: it is for who keeps in mind what came before.
        """
        if octets.__class__ is not bytes:
            octets = bytes(octets)
        asked, groups = (octets, due, digit), self._groups
        replies = groups.get(asked)
        if replies is not None:
            return replies
        lines = octets.split(b"\n", due)
        if lines.pop() or len(lines) != due:
            return ()
        found: list[Any] = list(map(self._known.get, lines))
        new = not all(found)
        if new:
            found = [self._known.get(line) or self._known_by_now(line) for line in lines]
        if not all(found) or found[-1].code // 100 != digit or any(reply.code >= 300 for reply in found[:-1]):
            return ()
        if not new and len(octets) <= MAX_KNOWN_GROUP:  # what has come before will come again
            if len(groups) == MAX_KNOWN_GROUPS:
                groups.clear()
            groups[asked] = found
        return found

    def _known_by_now(self, line: bytes) -> Reply | None:
        """The reply, if this is one of one line that is no refusal; else None.  The line is without its LF."""
        code = _GOOD.get(line[:4])
        if code is None or len(line) >= MAX_REPLY_LINE:
            return None
        reply = _new(Reply)
        _set_code(reply, code)
        if line[-1] == _CR:
            _set_lines(reply, (line[4:-1],))
        else:
            _set_lines(reply, (line[4:],))
            _set_raw(reply, line + b"\n")
        if len(line) < MAX_KNOWN_LINE:
            known = self._known
            if len(known) == MAX_KNOWN:
                known.clear()  # those that come again will be there again
            known[line] = reply
        return reply

    def put_back(self, replies: list[Reply]) -> None:
        """These, of a `run`, are given out again, one by one."""
        self._ready = replies[::-1]

    def _next_line(self) -> bytes | None:
        """The next line, out of the segment as long as it has one."""
        segment, at = self._segment, self._at
        end = segment.find(b"\n", at) + 1
        if not end:
            self._buffer_segment()
            return self.buffer.next_line()
        if end - at > MAX_REPLY_LINE:
            raise LimitExceeded(f"a line of more than {MAX_REPLY_LINE} octets")
        self._at = end
        if end == len(segment):
            self._segment, self._at = b"", 0
        return segment[at:end]

    def _make_ready(self) -> None:
        """Make all the replies that are left in the segment, if each has one line and came whole.

        By functions in C: making one in Python takes twice as long.
        """
        octets = self._segment[self._at :]
        lines = octets.split(CRLF)
        rest = lines.pop()
        if rest or octets.count(b"\n") != len(lines):
            return
        try:
            codes = list(map(_LAST.__getitem__, map(_beginning, lines)))
        except KeyError:
            return
        replies = list(map(_new, repeat(Reply, len(lines))))
        deque(map(_set_code, replies, codes), maxlen=0)
        deque(map(_set_lines, replies, zip(map(_text, lines))), maxlen=0)
        replies.reverse()
        self._ready = replies
        self._segment, self._at = b"", 0

    def _buffer_segment(self) -> None:
        """What is left of the segment, into the buffer."""
        if self._segment:
            self.buffer.append(self._segment[self._at :])
            self._segment, self._at = b"", 0
