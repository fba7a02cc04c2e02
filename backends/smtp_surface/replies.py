"""What the methods return: `smtplib`'s tuple of code and text, which also carries the typed reply."""

from __future__ import annotations

import re
from typing import Self

from smtp_proto.grammar import EnhancedStatus
from smtp_proto.replies import Reply

OLDSTYLE_AUTH = re.compile(r"auth=(.*)", re.IGNORECASE)
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


class SMTPReply(tuple[int, bytes]):  # noqa: SLOT001  # a tuple's subclass can have no slots but empty ones
    """``(code, text)`` as `smtplib` returns it, the lines joined with LF; `reply` is the typed reply behind it."""

    reply: Reply

    def __new__(cls, reply: Reply) -> Self:
        text = b"\n".join([line.strip(b" \t\r\n") for line in reply.lines])
        self = super().__new__(cls, (reply.code, text))
        self.reply = reply
        return self

    @property
    def enhanced(self) -> EnhancedStatus | None:
        """The enhanced status code (RFC 3463)."""
        return self.reply.enhanced

    def __reduce__(self) -> tuple[type[SMTPReply], tuple[Reply]]:
        return type(self), (self.reply,)


def typed_reply(answer: tuple[int, bytes | str]) -> Reply:
    """The typed reply of what a method returned: its own, or one made of a plain tuple that an override gave."""
    if isinstance(answer, SMTPReply):
        return answer.reply
    code, text = answer
    return Reply(code if 0 <= code <= 999 else 0, text)


def features_of(reply: Reply) -> dict[str, str]:
    """`smtplib`'s dictionary of what an EHLO reply lists, with `smtplib`'s reading of it.

    Keywords in lower case, cut where they stop being ones; the mechanisms of AUTH and AUTH= lines with a space in front
    of each line's.  The typed view is `smtp_proto.extensions`; this one is compared with what old programs expect.
    """
    features: dict[str, str] = {}
    for octets in reply.lines[1:]:
        line = octets.strip(b" \t\r\n").decode("latin-1")
        old_style = OLDSTYLE_AUTH.match(line)
        if old_style is not None:
            features["auth"] = f"{features.get('auth', '')} {old_style[1]}"
            continue
        keyword = _KEYWORD.match(line)
        if keyword is None:
            continue
        name, parameters = keyword[0].lower(), line[keyword.end() :].strip()
        features[name] = f"{features.get(name, '')} {parameters}" if name == "auth" else parameters
    return features
