"""Plain mail: what nearly all messages are, seen at once and made ready with nothing to decide.

Its addresses are of ASCII, each nothing but Dot-string "@" Domain; it is text of seven bits, with no NUL and no line
that is too long; and nobody has asked for options.  Such a message goes to every server as it is, and its commands need
no check but that.  What the functions that fit other mail to a server find out one after the other is found out here in
half the time, which for a small message to few is a tenth of all.
"""

from __future__ import annotations

from collections.abc import Sequence

from .commands import Mail, Rcpt
from .composed import Composed
from .grammar import plain_paths
from .internationalization import PLAIN, content_of
from .sources import Source, source_of

#: A message that is plain: its commands, and where its octets come from.
PlainMail = tuple[Mail, list[Rcpt], Source]


def plain_mail(sender: str, recipients: Sequence[str], message: bytes | Composed, *, sized: bool) -> PlainMail | None:
    """The commands and the source of a message that is plain, None for one that is not; `sized`: MAIL has SIZE."""
    content = message.content if isinstance(message, Composed) else content_of(message)
    paths = plain_paths([sender, *recipients]) if content is PLAIN and recipients else None
    if paths is None:
        return None
    source = source_of(message)
    reverse_path, _, forward_paths = paths.partition(b"\n")
    mail = Mail.sized(sender, reverse_path, source.size) if sized and source.size is not None else Mail(sender)
    return mail, Rcpt.each(recipients, plain=forward_paths), source
