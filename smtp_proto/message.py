"""From an `email.message.Message` to what SMTP carries: the envelope, the octets, and what they need of the server.

With `reencoding` the only module that imports `email`: before Python 3.13 that pulls in `socket`, so `import
smtp_proto` leaves both out.
"""

from __future__ import annotations

import copy
import io
import os
import re
from collections.abc import Iterable, Iterator
from email.generator import BytesGenerator
from email.headerregistry import Address, BaseHeader, Group
from email.message import Message
from email.policy import Compat32, EmailPolicy
from email.utils import formataddr, getaddresses
from typing import Any

from .composed import Composed, Run, composed, octets_of_text
from .domains import a_labels, with_a_labels
from .errors import InvalidArgument
from .grammar import excerpt
from .sources import PIECE

# Characters of text up to which the octets of a message are made at once: making them twice would take a third more
# time.  Beyond that it takes less than finding memory for them: at 1 MB a tenth, at 5 MB a quarter (measured).
HELD = 4 * PIECE


def _headers(message: Message[Any, Any], *names: str) -> dict[str, list[Any]]:
    """The values of all headers of each name, in lower case; `get_all` goes through the message once for each name."""
    found: dict[str, list[Any]] = {name: [] for name in names}
    for name, value in message.raw_items():
        values = found.get(name.lower())
        if values is not None:
            values.append(message.policy.header_fetch_parse(name, value))
    return found


def resent_prefix(message: Message[Any, Any]) -> str:
    """ "Resent-" if the message was resent (RFC 5322 3.6.6), for its envelope is then in those headers."""
    return _prefix(_headers(message, "resent-date"))


def _prefix(headers: dict[str, list[Any]]) -> str:
    dates = headers["resent-date"]
    if len(dates) > 1:
        # Which block is the newest cannot be told from the headers, and guessing would send mail to the wrong people.
        raise ValueError("message has more than one 'Resent-' header block")
    return "Resent-" if dates else ""


# A mailbox as nearly all are: dot-atoms, alone or in angle brackets behind a display name of words (RFC 5322 3.4).
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_ADDRESS = rf"([{_ATEXT}]+(?:\.[{_ATEXT}]+)*@[{_ATEXT}]+(?:\.[{_ATEXT}]+)*)"
_PLAIN_MAILBOX = re.compile(rf"(?:[. {_ATEXT}]*<{_ADDRESS}>| *{_ADDRESS}) *")


def _addresses(headers: Iterable[object]) -> list[str]:
    texts = [str(header) for header in headers]
    # Where no comma can be a part of anything, 1.3 us an address instead of the 7 that `getaddresses` takes (measured).
    found = [_PLAIN_MAILBOX.fullmatch(mailbox) for text in texts for mailbox in text.split(",")]
    plain = [match[1] or match[2] for match in found if match is not None]
    if len(plain) == len(found):
        return plain
    return [address for _, address in getaddresses(texts) if address]


def reverse_path(message: Message[Any, Any]) -> str:
    """The sender: the Sender header, else the first address of From (RFC 5322 3.6.2); Resent- ones of a resent message.

    `ValueError` where there is none.
    """
    headers = _headers(message, "resent-date", "sender", "from", "resent-sender", "resent-from")
    prefix = _prefix(headers)
    for name in ("sender", "from"):
        addresses = _addresses(headers[prefix.lower() + name])
        if addresses:
            return addresses[0]
    raise ValueError(f"no sender: the message has no {prefix}Sender or {prefix}From header with an address")


def forward_paths(message: Message[Any, Any]) -> list[str]:
    """The recipients: all addresses of all To, Bcc and Cc headers; Resent- ones of a resent message."""
    headers = _headers(message, "resent-date", "to", "bcc", "cc", "resent-to", "resent-bcc", "resent-cc")
    prefix = _prefix(headers).lower()
    return _addresses([header for name in ("to", "bcc", "cc") for header in headers[prefix + name]])


def needs_utf8(message: Message[Any, Any]) -> bool:
    """True if a header that is sent has an address, or an identifier, that is not ASCII and has no form that is.

    There is no encoding for them (RFC 2047 5 (3)), so such a header goes as UTF-8 (RFC 6532), with SMTPUTF8.
    """
    for name, value in message.raw_items():
        text = _text(value)
        if text.isascii():
            continue
        if name.lower() in _IDENTIFIERS:
            return True
        if name.lower() in _ADDRESSES and any(_in_ascii(address) is None for address in _addresses([text])):
            return True
    return False


def flatten(message: Message[Any, Any], *, utf8: bool = False) -> bytes:
    """The octets of the message with CRLF line ends, without Bcc and Resent-Bcc; `message` itself is not changed.

    `utf8`: write headers as UTF-8 (RFC 6532), for a transaction with SMTPUTF8.  Without, domains in addresses become
    A-labels, and `InvalidArgument` is raised for a header that `needs_utf8`.  Parts whose transfer encoding is binary
    become base64.  The message's own policy is used, so a line that begins with "From " stays as it is unless the
    policy asks for mangling.
    """
    octets = written(message, utf8=utf8)
    return octets if isinstance(octets, bytes) else octets.joined()


def written(message: Message[Any, Any], *, utf8: bool = False) -> bytes | Composed:
    """The same; of a message with more text than `HELD`, as a source that makes the octets as they go out.

    The texts of its parts are not copied then.  What goes out is what the message was when this was called.
    """
    given = list(message.raw_items())
    headers = [
        (name, _sendable(message.policy, name, value, utf8)) for name, value in given if name.lower() not in _NOT_SENT
    ]
    binary = any(_is_binary(part) for part in message.walk())
    sent = message
    if binary or headers != given:
        sent = copy.deepcopy(message) if binary else copy.copy(message)
        for name, _ in given:
            del sent[name]
        for name, value in headers:
            sent.set_raw(name, value)
    if binary:
        from .reencoding import reencode

        for part in sent.walk():
            if _is_binary(part):
                reencode(part)
    # Every policy of the standard library that is not compat32 has `utf8`.
    changes: dict[str, Any] = {"utf8": True} if utf8 and hasattr(sent.policy, "utf8") else {}
    runs = _runs_of(sent, sent.policy.clone(linesep="\r\n", **changes))
    if sum([_size(_payload_of(part)) for part in sent.walk()]) > HELD:
        return composed(list(runs))
    octets: list[bytes] = []
    for run in runs:
        if isinstance(run, bytes):
            octets.append(run)
        else:
            octets += octets_of_text(run)
    return b"".join(octets)


def _payload_of(part: Message[Any, Any]) -> Any:
    """What a part has, as its generator finds it: `get_payload` would decode it."""
    return part._payload  # type: ignore[attr-defined]  # not documented, and there in all versions


def _size(payload: Any) -> int:
    """The characters of a part."""
    return len(payload) if isinstance(payload, str) else 0


def _runs_of(part: Message[Any, Any], policy: Any) -> Iterator[Run]:
    """What the standard library's generator writes of a part: octets, and text that is written as it is.

    That one has four copies of a large attachment at a time, one of them to look for a boundary that does not occur in
    it; here there is none, and a boundary that nobody could have guessed.  Measured, for an attachment of 20 MB:
    `flatten` takes 27 MB and 0.04 s instead of 109 MB and 0.48 s.  What is rare is left to it.
    """
    payload, main = _payload_of(part), part.get_content_maintype()
    texts = [payload] if isinstance(payload, str) else [part.preamble, part.epilogue]
    usual = not hasattr(part, "_write_headers") and all(_as_it_is(text, policy) for text in texts)
    if usual and isinstance(payload, list) and main == "multipart":
        yield from _runs_of_many(part, payload, policy)
    elif usual and isinstance(payload, str) and main not in ("multipart", "message"):
        yield _head(part, policy)
        yield payload
    elif usual and isinstance(payload, list) and payload and part.get_content_type() == "message/rfc822":
        yield _head(part, policy)
        yield from _runs_of(payload[0], policy)
    else:
        octets = io.BytesIO()
        # A copy, for it would give the part a boundary where that has none.
        BytesGenerator(octets, policy=policy).flatten(copy.copy(part))
        yield octets.getvalue()


def _runs_of_many(part: Message[Any, Any], subparts: list[Any], policy: Any) -> Iterator[Run]:
    """A part that has parts (RFC 2046 5.1.1)."""
    boundary = part.get_boundary()
    if boundary is None:
        boundary = f"{'=' * 15}{os.urandom(10).hex()[:19]}=="
        part = copy.copy(part)
        part.set_boundary(boundary)
    delimiter = f"--{boundary}".encode("ascii", "surrogateescape")
    yield _head(part, policy)
    if part.get_content_subtype() == "signed":
        policy = policy.clone(max_line_length=0)  # headers inside were signed as they are
    if part.preamble is not None:
        yield part.preamble
        yield b"\r\n"
    yield delimiter + b"\r\n"
    for number, subpart in enumerate(subparts):
        if number:
            yield b"\r\n" + delimiter + b"\r\n"
        yield from _runs_of(subpart, policy)
    yield b"\r\n" + delimiter + b"--\r\n"
    if part.epilogue is not None:
        yield part.epilogue


def _as_it_is(text: str | None, policy: Any) -> bool:
    """True for text that is written as it is, with neither its transfer encoding nor its lines changed."""
    if text is None:
        return True
    return (text.isascii() or policy.cte_type != "7bit") and not (policy.mangle_from_ and _has_from_lines(text))


def _has_from_lines(text: str) -> bool:
    """True if there are lines that begin with "From ", as the standard library looks for them."""
    return "From " in text and (text.startswith("From ") or "\nFrom " in text)


class _Head(BytesGenerator):
    """Writes header fields and the empty line behind them, whatever the part has."""

    def _dispatch(self, msg: Message[Any, Any]) -> None:
        """Not documented, and of this shape in all versions; a test compares what comes of it."""


def _head(part: Message[Any, Any], policy: Any) -> bytes:
    """The header fields of a part, and the empty line behind them."""
    fields = [_in_one_line(name, value, policy) or _folded(name, value, policy) for name, value in part.raw_items()]
    return b"".join(fields) + b"\r\n"


def _in_one_line(name: str, value: Any, policy: Any) -> bytes | None:
    """A field that needs no folding, as the generator writes it; None where that is left to it.

    Measured: 1 to 6 us a field instead of 7 to 12.
    """
    kind = policy.__class__
    if value.__class__ is str and (kind is Compat32 or (kind is EmailPolicy and policy.refold_source != "all")):
        text = value
    elif kind is EmailPolicy and getattr(value.__class__, "fold", None) is BaseHeader.fold and value._parse_tree:
        text = str(value._parse_tree)  # not documented, and what is folded in all versions
    else:
        return None  # a policy, or a class of headers, of somebody's own may write something else
    line = f"{name}: {text}"
    fits = not policy.max_line_length or len(line) <= policy.max_line_length
    return f"{line}\r\n".encode() if fits and line.isascii() and line.isprintable() else None


def _folded(name: str, value: Any, policy: Any) -> bytes:
    """A field as the generator writes it."""
    field: Message[Any, Any] = Message(policy)
    field.set_raw(name, value)
    octets = io.BytesIO()
    _Head(octets, policy=policy).flatten(field)
    return octets.getvalue().removesuffix(b"\r\n")


# RFC 5322 3.6.3: what they are for is that others do not see them.
_NOT_SENT = frozenset({"bcc", "resent-bcc"})
# RFC 5322 3.6: the headers with addresses, and those with identifiers, that are sent; in lower case.
_ADDRESSES = frozenset(
    prefix + name for prefix in ("", "resent-") for name in ("from", "sender", "reply-to", "to", "cc")
) | {"disposition-notification-to", "return-receipt-to"}
_IDENTIFIERS = frozenset({"message-id", "in-reply-to", "references", "resent-message-id"})


def _is_binary(part: Message[Any, Any]) -> bool:
    """True for a part that the generator would break: it takes every line end for one of text."""
    return not part.is_multipart() and str(part.get("Content-Transfer-Encoding", "")).strip().lower() == "binary"


def _text(value: object) -> str:
    """A header's value as text; octets that a parser has left undecoded are UTF-8 where they can be."""
    text = str(value)
    if text.isascii():
        return text
    try:
        return text.encode("ascii", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return text


def _in_ascii(address: str) -> str | None:
    """An address with its domain as A-labels; None if it has no form in ASCII."""
    try:
        address = with_a_labels(address)
    except InvalidArgument:
        return None
    return address if address.isascii() else None


def _sendable(policy: Any, name: str, value: Any, utf8: bool) -> Any:
    """The value of a header as the generator is to have it: no address in it may come to be encoded."""
    text = _text(value)
    kind = name.lower()
    if text.isascii() or (kind not in _ADDRESSES and kind not in _IDENTIFIERS):
        return value
    if utf8:
        # The generator of compat32 leaves octets alone, and encodes text as a whole, addresses with it.
        return (
            value
            if hasattr(policy, "utf8")
            else text.encode("utf-8", "surrogateescape").decode("ascii", "surrogateescape")
        )
    addresses = [] if kind in _IDENTIFIERS else _addresses([text])
    refused = [address for address in addresses if _in_ascii(address) is None]
    if kind in _IDENTIFIERS or refused:
        problem = f"{excerpt(refused[0] if refused else text)} is not ASCII and needs SMTPUTF8 (RFC 6531 3.4)"
        raise InvalidArgument(f"header {name}", problem)
    if all(address.isascii() for address in addresses):
        return value
    header = policy.header_fetch_parse(name, value)
    if not hasattr(header, "groups"):
        pairs = [(display_name, with_a_labels(address)) for display_name, address in getaddresses([text])]
        return ", ".join([formataddr(pair) for pair in pairs])
    groups = [Group(group.display_name, [_with_a_labels(each) for each in group.addresses]) for group in header.groups]
    return policy.header_store_parse(name, groups)[1]


def _with_a_labels(address: Address) -> Address:
    return Address(address.display_name, address.username, a_labels(address.domain))
