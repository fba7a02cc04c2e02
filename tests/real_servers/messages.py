"""The messages that must arrive as they were sent, each as it is given to the client and as it must be in a Maildir.

Each has a Message-ID and a Date, which servers add where they are missing, and one address in From and To.  What must
arrive is written down, not computed with what the library computes it with: lines end with CRLF on the wire whatever
they ended with before (RFC 5321 2.3.8) and with LF in a Maildir; a dot at the beginning of a line is what it was.
"""

from __future__ import annotations

import random
import uuid
from typing import NamedTuple

_HEADER = (
    "From: Ada <ada@client.test>\n"
    "To: <user00@example.test>\n"
    "Subject: {subject}\n"
    "Date: Sun, 22 Nov 2026 12:00:00 +0000\n"
    "Message-ID: {ident}\n"
    "MIME-Version: 1.0\n"
    "Content-Type: text/plain; charset=utf-8\n"
    "Content-Transfer-Encoding: 8bit\n"
    "\n"
)

MEGABYTE = 1 << 20


class Body(NamedTuple):
    """A body as it is given to `sendmail`, and as it must be in a Maildir."""

    sent: bytes
    stored: bytes


def _same(octets: bytes) -> Body:
    return Body(octets, octets)


def _large() -> bytes:
    """5 MB in lines of every length up to 998 octets (RFC 5321 4.5.3.1.6), many of them with dots in front."""
    rng = random.Random(5321)
    text = rng.randbytes(MEGABYTE // 4).translate(bytes(33 + n % 94 for n in range(256)))
    lines = []
    size = 0
    while size < 5 * MEGABYTE:
        start, length = rng.randrange(len(text) - 998), rng.randrange(999)
        line = (b"." * rng.choice([0, 0, 1, 2]) + text[start : start + length])[:998]
        lines.append(line)
        size += len(line) + 2
    return b"\n".join(lines) + b"\n"


# Every octet but NUL (not allowed without BINARYMIME) and those that end lines, in lines of sixteen.
_OCTETS = [bytes([n]) for n in range(1, 256) if n not in b"\r\n"]

BODIES = {
    "plain": _same(b"It works.\n"),
    "no body": _same(b""),
    "dots": _same(b".\n..\n...\n.\n\n.hidden\n..twice\n. \n.\t\nno dot.\n.\n"),
    "a dot at the end": Body(b"text\n.", b"text\n.\n"),
    "no line end at the end": Body(b"text", b"text\n"),
    "empty lines at the end": _same(b"text\n\n\n\n"),
    "every octet": _same(b"\n".join(b"".join(_OCTETS[n : n + 16]) for n in range(0, len(_OCTETS), 16)) + b"\n"),
    "UTF-8": _same("Grüße, 世界, 🎉\n.Ä\n".encode()),
    "not UTF-8": _same(b"\xff\xfe\x80 \xe9t\xe9 \xc3(\n.\xff\n"),
    "each line end": Body(b"LF\nCRLF\r\nCR\r.LF\n.CRLF\r\n.CR\r.\r.", b"LF\nCRLF\nCR\n.LF\n.CRLF\n.CR\n.\n.\n"),
    "longest lines": _same(b"x" * 998 + b"\n." + b"y" * 997 + b"\n"),
    "what looks like the end": _same(b"text\n.\nQUIT\n.\nMAIL FROM:<>\n.\n"),
    "5 MB": _same(_large()),
}


def new_ident() -> str:
    """A Message-ID of which there is only one."""
    return f"<{uuid.uuid4().hex}@client.test>"


def header(ident: str, subject: str = "A test") -> bytes:
    """A header with its empty line."""
    return _HEADER.format(ident=ident, subject=subject).encode()


def with_header(ident: str, body: Body, subject: str = "A test") -> Body:
    """The same for a whole message."""
    start = header(ident, subject)
    return Body(start + body.sent, start + body.stored)
