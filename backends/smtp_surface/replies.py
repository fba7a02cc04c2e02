"""What the methods return: `smtplib`'s tuple of code and text, which also carries the typed reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from smtp_proto.extensions import Extensions
from smtp_proto.grammar import EnhancedStatus
from smtp_proto.replies import Reply

# The keyword grammar that `smtplib` reads EHLO lines with; a keyword outside it is cut or left out there.
_KEYWORD_START = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_KEYWORD = _KEYWORD_START | {"-"}


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


def esmtp_features(extensions: Extensions) -> dict[str, str]:
    """`smtplib`'s dictionary: keywords in lower case; the mechanisms of AUTH with a space in front, as there."""
    features: dict[str, str] = {}
    for keyword, parameters in extensions.items():
        name = ""
        for character in keyword:
            if character not in (_KEYWORD if name else _KEYWORD_START):
                break
            name += character
        if name:
            rest = keyword[len(name) :]
            features[name.lower()] = f"{rest} {parameters}".strip() if rest else parameters
    if "auth" in features:
        features["auth"] = f" {features['auth']}"
    return features


def features_of(reply: Reply) -> Mapping[str, str]:
    """The features that an EHLO reply lists."""
    return esmtp_features(Extensions.from_reply(reply))
