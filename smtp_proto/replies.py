"""Replies: what a server says, as a value, and how it is read off the wire and written to it (RFC 5321 4.2).

A reply is a code and one or more lines of text.  The octets are kept as they came: real servers send 8-bit text, NULs
and stray CRs, and decoding is for show only.  What is *not* tolerated is what makes it uncertain where a reply ends or
what it says: a line that does not begin with three digits and then SP, "-" or its end; lines of one reply with
different codes; anything beyond the limits below.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

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

_CODES = {b"%03d" % code: code for code in range(1000)}
# What begins a reply of one line that does not ask for anything and does not close the connection.
_PLAIN = {b"%03d " % code: code for code in range(200, 600) if code // 100 != 3 and code != 421}
SEPARATORS = (b" ", b"-")
LINE_ENDS = (b"\r\n", b"\n")

# C0 without LF, DEL, and C1.
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

# A whole reply within the limits: lines of one code, all but the last with "-" behind it.
_TEXT = rb"[^\n]{0,%d}\n" % (MAX_REPLY_LINE - len(b"250-\n"))
_WHOLE = re.compile(rb"([0-9]{3})(?:-%b\1){0,%d}(?: %b|\r?\n)" % (_TEXT, MAX_REPLY_LINES - 1, _TEXT))


class Reply(Record):
    """One reply: `code`, and `lines`, the text of each line without code, separator and line end.

    `Reply(250, "2.0.0 ok")` builds one to send; text with line feeds becomes several lines.  Two replies are equal if
    code and lines are.  `raw` holds the octets as they came (or as they would be sent).
    """

    __slots__ = ("_enhanced", "_raw", "code", "lines")
    fields = ("code", "lines")
    code: int
    lines: tuple[bytes, ...]
    _raw: bytes | None
    _enhanced: EnhancedStatus | None  # read when it is asked for, and so are the lines of a reply that was received

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
        return self._enhanced

    if not TYPE_CHECKING:  # for a type checker it would mean that a reply may have any attribute

        def __getattr__(self, name: str) -> object:
            """What was not asked for before."""
            if name == "lines":
                # The line end is LF or CRLF: a bare LF is tolerated in replies (real servers send it), and one CR at
                # most is taken off, for a second one is text.
                raw = self._raw
                if raw.find(b"\n") == len(raw) - 1:  # nearly all; without the lists it takes half the time
                    value = (raw[4:-2] if raw.endswith(b"\r\n") else raw[4:-1],)
                else:
                    lines = raw.split(b"\n")
                    del lines[-1]
                    value = tuple([line[4:-1] if line.endswith(b"\r") else line[4:] for line in lines])
            elif name == "_enhanced":
                value = enhanced_status(self.code, self.lines[0]) if self.code // 100 != 3 else None
            else:
                raise AttributeError(f"a reply has no {name!r}")
            set_field(self, name, value)
            return value

    @property
    def text(self) -> str:
        """All lines as text, for people: UTF-8, with what is not UTF-8 shown as ``\\xNN``.  Never raises."""
        return b"\n".join(self.lines).decode("utf-8", "backslashreplace")

    @property
    def raw(self) -> bytes:
        """The octets as received; for a reply that was built here, as it is sent."""
        return self._raw if self._raw is not None else self.encode()

    def encode(self) -> bytes:
        """The octets to send, each line ending in CRLF; `InvalidArgument` if a line would break the framing."""
        for line in self.lines:
            if b"\r" in line or b"\n" in line or b"\0" in line:
                raise InvalidArgument("reply", f"CR, LF or NUL in the text {line!r}")
        code = b"%03d" % self.code
        *before, last = self.lines
        # RFC 5321 4.2: "code SP text"; the SP stays when the text is empty, for receivers that cut at offset 4.
        return b"".join([*(code + b"-" + line + CRLF for line in before), code + b" " + last + CRLF])

    def __str__(self) -> str:
        """Code and text for messages and terminals: what would move the cursor or forge a line is escaped."""
        return f"{self.code:03d} {printable(self.text)}"


# A reply that was received: its octets were checked, and what they hold is taken apart when it is asked for.  Replies
# are what is made most, and setting two slots by their descriptors takes a third of the time of `__init__`.
_new = Reply.__new__
_set_code: Callable[[Reply, int], None] = Reply.__dict__["code"].__set__
_set_raw: Callable[[Reply, bytes], None] = Reply.__dict__["_raw"].__set__


def printable(text: str) -> str:
    """`text` with its control characters escaped, line feeds excepted."""
    return _UNPRINTABLE.sub(lambda character: f"\\x{ord(character[0]):02x}", text)


def without_enhanced_status(reply: Reply) -> Reply:
    """`reply`, whose text is known not to begin with an enhanced status code, whatever it looks like."""
    set_field(reply, "_enhanced", None)
    return reply


class ReplyReader:
    """Octets in, replies out: the client's half of the framing.

    Replies that arrive whole, as nearly all do, are cut out of their segment by one pattern.  What is not whole, or is
    no reply, goes through the buffer, line by line, until nothing is left of it: there it is found out what is wrong.

    Invariant: whatever way the octets are split, the same replies come out, and no more than one reply of
    `MAX_REPLY_SIZE` octets and what was fed on top is held.  After an error the reader must not be used again.
    """

    __slots__ = ("_at", "_code", "_lines", "_segment", "_size", "buffer")

    def __init__(self) -> None:
        self.buffer = ReceiveBuffer(MAX_REPLY_LINE)
        self._segment = b""  # came when nothing else was there, and is given out up to `_at`
        self._at = 0
        self._code = b""  # of the reply under way; empty between replies
        self._lines: list[bytes] = []  # its lines so far, as they came
        self._size = 0

    def feed(self, octets: bytes) -> None:
        if self._segment or self._code or self.buffer.octets:
            self._buffer_segment()
            self.buffer.append(octets)
        else:
            self._segment = bytes(octets)

    @property
    def quiet(self) -> bool:
        """True between replies, with nothing buffered."""
        return not (self._segment or self._code or self.buffer.octets)

    @property
    def unread(self) -> int:
        """Octets that are no part of a reply given out."""
        return len(self._segment) - self._at + len(self.buffer.octets) + (self._size if self._code else 0)

    def clear(self) -> None:
        self._buffer_segment()
        self.buffer.clear()
        self._code = b""
        self._lines = []

    def next_reply(self) -> Reply | None:
        """The next whole reply, or None if more octets are needed; `RemoteProtocolError` if what came is none."""
        segment, at = self._segment, self._at
        if not segment and not self._code and not self.buffer.octets:
            return None
        if segment:
            # One line is what nearly all replies have, and for one the pattern takes twice the time.
            end = segment.find(b"\n", at) + 1
            raw = segment[at:end]
            code = _CODES.get(raw[:3]) if raw[3:4] == b" " and end - at <= MAX_REPLY_LINE else None
            if code is None and (match := _WHOLE.match(segment, at)) is not None:
                raw = match[0]
                end = at + len(raw)
                if len(raw) <= MAX_REPLY_SIZE:
                    code = _CODES[raw[:3]]
            if code is not None:
                if end == len(segment):
                    self._segment = b""
                    self._at = 0
                else:
                    self._at = end
                reply = _new(Reply)
                _set_code(reply, code)
                _set_raw(reply, raw)
                return reply
            self._buffer_segment()
        while True:
            line = self.buffer.next_line()
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
                self._code = b""
                self._lines = []
                self._segment = self.buffer.take_all()
                return reply

    def next_plain(self, most: int) -> list[Reply]:
        """Up to `most` replies of one line each, 2xx, 4xx or 5xx but for 421, of those that came whole; it ends where
        there is any other, or none, which `next_reply` gives."""
        segment, at = self._segment, self._at
        replies = []
        for _ in range(most):
            end = segment.find(b"\n", at) + 1
            code = _PLAIN.get(segment[at : at + 4])
            if code is None or not 0 < end <= at + MAX_REPLY_LINE:
                break
            reply = _new(Reply)
            _set_code(reply, code)
            _set_raw(reply, segment[at:end])
            replies.append(reply)
            at = end
        if at == len(segment):
            self._segment = b""
            at = 0
        self._at = at
        return replies

    def _buffer_segment(self) -> None:
        """What is left of the segment, into the buffer."""
        if self._segment:
            self.buffer.append(self._segment[self._at :])
            self._segment, self._at = b"", 0
