"""Plain mail: what nearly all messages are, seen at once and made ready with nothing to decide.

Its addresses are of ASCII, each nothing but Dot-string "@" Domain; it is text of seven bits, with no NUL and no line
that is too long; and nobody has asked for options.  Such a message goes to every server as it is, and its commands need
no check but that.  What the functions that fit other mail to a server find out one after the other is found out here in
a fraction of the time; and what its commands are on the wire is known without making them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .body import MessageText
from .commands import Mail, Rcpt
from .composed import Composed
from .grammar import plain_paths
from .internationalization import PLAIN, content_of
from .sources import PIECE, Source, source_of, whole


class PlainMail:
    """A message that is plain.

    `size`: what SIZE declares (RFC 1870).  `text`: all of it, where that is no more than a `PIECE`.  `count`: the
    number of recipients.
    """

    __slots__ = ("_content", "_paths", "_recipients", "_sender", "_sized", "count", "size", "text")

    def __init__(
        self, sender: str, recipients: Sequence[str], content: bytes | Composed, sized: bool, paths: bytes
    ) -> None:
        """`sized`: MAIL has SIZE; `paths`: what `plain_paths` has given for all of them, the sender's first."""
        self._sender = sender
        self._recipients = recipients
        self.count = len(recipients)
        self._sized = sized
        self._paths = paths
        self._content: Any = content
        self.text: MessageText | None = None
        self.size: int
        if isinstance(content, bytes) and len(content) <= PIECE:
            self.text = text = MessageText(content)
            self.size = len(text.octets)
        else:
            self._content = source = source_of(content)
            assert source.size is not None
            self.size = source.size

    def lines(self) -> tuple[bytes, bytes]:
        """Those of its commands: of MAIL, and of all RCPTs."""
        reverse_path, _, forward_paths = self._paths.partition(b"\n")
        return Mail.lines(reverse_path, b" size=%d" % self.size if self._sized else b""), Rcpt.lines(forward_paths)

    def commands(self) -> tuple[Mail, list[Rcpt]]:
        """MAIL and the RCPTs."""
        reverse_path, _, forward_paths = self._paths.partition(b"\n")
        mail = Mail.sized(self._sender, reverse_path, self.size) if self._sized else Mail(self._sender)
        return mail, Rcpt.each(self._recipients, plain=forward_paths)

    def source(self) -> Source:
        """Where its octets come from, to be read once."""
        source: Source = whole(self._content, self.text) if self.text is not None else self._content
        return source


def plain_mail(sender: str, recipients: Sequence[str], message: bytes | Composed, *, sized: bool) -> PlainMail | None:
    """A message that is plain, None for one that is not; `sized`: MAIL has SIZE."""
    content = message.content if isinstance(message, Composed) else content_of(message)
    paths = plain_paths([sender, *recipients]) if content is PLAIN and recipients else None
    return PlainMail(sender, recipients, message, sized, paths) if paths is not None else None
