"""Messages whose parts are eight bits wide, or have long lines, as such that every server carries (RFC 6152 3).

What is changed is the transfer encoding of a part, and the header that names it; every reader of MIME sees the same
content afterwards.  That holds for what is MIME and not signed: a signature over the octets (DKIM, ARC, S/MIME and PGP
in multipart/signed) would be broken, so a message with one is left alone, and so is what is not well formed.

This imports `email`, and is imported where it is used only; see `smtp_proto.message`.
"""

from __future__ import annotations

import base64
import binascii
import io
import quopri
import re
from email.generator import BytesGenerator
from email.message import Message
from email.parser import BytesFeedParser
from email.policy import compat32
from typing import Any

from .body import normalise_line_ends
from .internationalization import has_long_lines, headers_of

#: Headers that sign the message: the octets of its body, whatever they mean.
_SIGNATURES = ("DKIM-Signature", "ARC-Message-Signature", "DomainKey-Signature")
# The same as they stand in octets, and the header without which a message is none of MIME.
_SIGNED = rb"(?i)(?:^|[\r\n])(?:%b):" % "|".join(_SIGNATURES).encode()
_MIME = rb"(?i)(?:^|[\r\n])MIME-Version:"
_IDENTITY = ("", "7bit", "8bit", "binary")
_KNOWN = (*_IDENTITY, "quoted-printable", "base64")
# Without a line length headers stay as they are.
_POLICY = compat32.clone(max_line_length=0, mangle_from_=False)
# Octets of 76 characters of base64, the line length of RFC 2045 6.8.
_BASE64_LINE = 57


def to_seven_bits(octets: bytes) -> bytes | None:
    """The message with every part in seven bits and short lines; None if that cannot be done without harm."""
    headers = headers_of(octets)
    # A look at the headers, for parsing a large message takes nine times the memory that it has.
    if re.search(_MIME, headers) is None or re.search(_SIGNED, headers) is not None:
        return None
    # The feed parser, unlike `BytesParser`, keeps all line ends.
    parser = BytesFeedParser(policy=_POLICY)
    parser.feed(octets)
    message = parser.close()
    if not _changeable(message):
        return None
    for part in message.walk():
        if part.is_multipart():
            # RFC 2045 6.4: such a part's encoding says what is in it, and nothing of that is 8bit any more.
            if _encoding(part) in ("8bit", "binary"):
                part.replace_header("Content-Transfer-Encoding", "7bit")
        elif not _plain(_payload(part)):
            reencode(part)
    written = io.BytesIO()
    BytesGenerator(written, policy=_POLICY).flatten(message, linesep="\r\n")
    result = written.getvalue()
    return result if _plain(result) else None


def reencode(part: Message[Any, Any]) -> None:
    """Give a part that has no parts the transfer encoding that suits it best: quoted-printable or base64."""
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    is_text = part.get_content_maintype() == "text" and b"\0" not in content
    if is_text:
        content = normalise_line_ends(content)
    # One octet in six is where base64 becomes shorter; and what is mostly no ASCII is not for reading as it is either.
    if is_text and len(content.translate(None, bytes(range(128)))) * 6 <= len(content):
        encoding, encoded = "quoted-printable", normalise_line_ends(quopri.encodestring(content))
    else:
        lines = range(0, len(content), _BASE64_LINE)
        encoding = "base64"
        encoded = b"".join(base64.b64encode(content[start : start + _BASE64_LINE]) + b"\r\n" for start in lines)
    part.set_payload(encoded.decode("ascii"))
    if "Content-Transfer-Encoding" in part:
        part.replace_header("Content-Transfer-Encoding", encoding)
    else:
        part["Content-Transfer-Encoding"] = encoding


def _changeable(message: Message[Any, Any]) -> bool:
    """True if the message is MIME, well formed, and not signed."""
    if "MIME-Version" not in message:
        return False
    for part in message.walk():
        if part.defects or part.get_content_type() == "multipart/signed":
            return False
        if any(name in part for name in _SIGNATURES) or _encoding(part) not in _KNOWN:
            return False
        if part.is_multipart():
            # A message within the message is one of its own: without this it is no MIME, and has no encodings.
            if part.get_content_maintype() == "message" and not all(
                "MIME-Version" in inner for inner in part.get_payload() if isinstance(inner, Message)
            ):
                return False
        elif _encoding(part) not in _IDENTITY and not _well_encoded(part):
            return False
    return True


def _well_encoded(part: Message[Any, Any]) -> bool:
    """True if what is encoded can be decoded."""
    payload = _payload(part)
    if _encoding(part) == "base64":
        try:
            binascii.a2b_base64(payload)
        except binascii.Error:
            return False
    return payload.isascii()


def _encoding(part: Message[Any, Any]) -> str:
    return str(part.get("Content-Transfer-Encoding", "")).strip().lower()


def _payload(part: Message[Any, Any]) -> bytes:
    """The octets of a part, as good as they stand in the message."""
    if _encoding(part) in _IDENTITY:
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        return content
    return str(part.get_payload()).encode("utf-8", "surrogateescape")


def _plain(octets: bytes) -> bool:
    return octets.isascii() and b"\0" not in octets and not has_long_lines(octets)
