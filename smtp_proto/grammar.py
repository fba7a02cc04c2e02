"""The byte-level rules that commands and replies share, as commented patterns.

Text is `str` where a person wrote it (addresses, names, options) and `bytes` where the peer did.  Everything that
becomes part of a command line passes `clean_text`: it is the one choke point against command injection.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from .errors import InvalidArgument

CRLF = b"\r\n"

# RFC 5321 4.1.1: a command line ends at CRLF, and 4.1.2 allows no control character in any argument, quoted strings
# included (qtextSMTP is %d32-33 / %d35-91 / %d93-126).  So C0 and DEL are refused everywhere, HTAB too.
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
CONTROL_BYTES = re.compile(rb"[\x00-\x1f\x7f]")

# What may stand between < and > (RFC 5321 4.1.2, Path and Mailbox), read generously: the server judges whether a
# mailbox exists or is well formed; what is refused here is what would end the path early and start something else:
# white space, angle brackets, and quotation marks outside a quoted local part.  Both sides use this one pattern.
_QUOTED_LOCAL_PART = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"(?=@)'
_PATH = rf'(?:{_QUOTED_LOCAL_PART})?[^\s<>"\x00-\x1f\x7f]*'
PATH = re.compile(_PATH)
BRACKETED_PATH = re.compile(rf"<({_PATH})>(?: +(.*))?", re.DOTALL)

# RFC 5321 4.1.2: esmtp-keyword ["=" esmtp-value]; RFC 6531 3.3 adds UTF-8 to the value.  "=" inside the value is
# outside the grammar, but base64 and xtext users send it.  This is what a server takes for a parameter; a client sends
# any word that its caller gives, for there are servers with parameters of their own.
ESMTP_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:=[^\s\x00-\x1f\x7f]*)?")
WORD = re.compile(r"[^\s\x00-\x1f\x7f]+")

# RFC 4954 3: sasl-mech is 1*20 of A-Z 0-9 - _ (RFC 4422 3.1).  Lower case is accepted and raised by the caller.
SASL_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}")

# A command line that no server takes (RFC 5321 4.5.3.1.4 asks for 512 octets, RFC 4954 4 for 12288 with AUTH).  Below
# this bound the length is the server's to judge.
MAX_COMMAND_LENGTH = 65536

# RFC 3463 2: class "." subject "." detail, each part up to three digits, then white space or the end of the text.
_ENHANCED = re.compile(rb"([245])\.(\d{1,3})\.(\d{1,3})(?=[ \t]|$)")


class EnhancedStatus(NamedTuple):
    """An enhanced mail system status code (RFC 3463), as in ``550 5.1.1 no such user``."""

    severity: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.severity}.{self.subject}.{self.detail}"


def enhanced_status(code: int, text: bytes) -> EnhancedStatus | None:
    """The enhanced status code at the start of a reply's text, or None.

    RFC 2034 4: the class must agree with the first digit of the reply code; one that does not is text like any other.
    """
    match = _ENHANCED.match(text)
    if match is None or int(match[1]) != code // 100:
        return None
    return EnhancedStatus(int(match[1]), int(match[2]), int(match[3]))


def excerpt(value: str | bytes) -> str:
    """`value` as it stands in a message: its `repr`, cut, for a server's hint must fit into a reply line."""
    return repr(value) if len(value) <= 80 else f"{value[:80]!r}..."


def clean_text(argument: str, text: str) -> bytes:
    """`text` as octets (UTF-8), or `InvalidArgument` naming `argument` if it must not stand in a command line."""
    if CONTROL.search(text):
        raise InvalidArgument(argument, f"prohibited control characters in {excerpt(text)}")
    if len(text) > MAX_COMMAND_LENGTH:
        raise InvalidArgument(argument, f"{len(text)} characters are more than any command line holds")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidArgument(argument, f"a lone surrogate in {excerpt(text)} has no encoding") from None


# RFC 5321 4.1.2: atext, and the hyphen and dot that hold atoms together.
_DOT_STRING = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~."
_ENDS_AS_DOTS = bytes.maketrans(b"@\n", b"..")


def plain_paths(paths: Sequence[str]) -> bytes | None:
    """The paths as octets, with a line feed between them, if each is nothing but Dot-string "@" Domain (RFC 5321
    4.1.2), which most are; else None.

    Of such a path nothing can be read as anything else: it needs no check, and no display form can be taken off it.
    All are looked at together, by the functions of `bytes`: with many recipients that takes a quarter of the time.
    """
    text = "\n".join(paths)
    if not text.isascii() or len(text) > MAX_COMMAND_LENGTH:
        return None
    octets = text.encode()
    # One "@" in each path, and no line feed but those between them.
    if octets.translate(None, _DOT_STRING) != b"@\n" * (len(paths) - 1) + b"@":
        return None
    # An atom has one character at least.
    if (b".%b." % octets.translate(_ENDS_AS_DOTS)).rfind(b"..") >= 0:  # `in` would take three times the time
        return None
    return octets


def domain_of(path: str) -> str:
    """The domain of a path, in lower case; "" where it has none ("postmaster")."""
    return path.rpartition("@")[2].lower() if "@" in path else ""


def xtext(octets: bytes) -> str:
    """Encode for a parameter's value (RFC 3461 4): "+", "=" and all but printable ASCII become ``+HH``."""
    return "".join(chr(c) if 33 <= c <= 126 and c not in b"+=" else f"+{c:02X}" for c in octets)


_HEXCHAR = r"\+([0-9A-F]{2})"
_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*"  # both compiled when there is some


def parse_xtext(text: str) -> bytes:
    """Decode xtext (RFC 3461 4); `InvalidArgument` if it is none."""
    if not re.fullmatch(_XTEXT, text):
        raise InvalidArgument("xtext", f"{excerpt(text)} is not xtext (RFC 3461)")
    return re.sub(_HEXCHAR, lambda hexchar: chr(int(hexchar[1], 16)), text).encode("latin-1")
