"""What an X.509 certificate says of itself, read from its DER (RFC 5280 4.1): whose it is, by whom, and how long.

`ssl` only shows this of certificates that it has verified, and those that it has not are the ones worth looking at.
Nothing is judged here: every word of it is the server's own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

# RFC 4519 2, RFC 2985 5.2.1: the attributes of names that people use.
_ATTRIBUTES = {
    bytes.fromhex("550403"): "CN",
    bytes.fromhex("550406"): "C",
    bytes.fromhex("550407"): "L",
    bytes.fromhex("550408"): "ST",
    bytes.fromhex("55040a"): "O",
    bytes.fromhex("55040b"): "OU",
    bytes.fromhex("2a864886f70d010901"): "emailAddress",
}
_SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("551d11")

# Tags: universal ones, and those that RFC 5280 gives a meaning by the place where they stand.
_OID, _SEQUENCE, _UTC_TIME = 0x06, 0x30, 0x17
_BMP_STRING = 0x1E
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87


class Certificate(NamedTuple):
    """The parts that people ask for."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]


def read_certificate(der: bytes) -> Certificate:
    """`ValueError` for what is no certificate."""
    [(_, certificate)] = _elements(der)
    (_, to_be_signed), *_ = _elements(certificate)
    fields = [(tag, content) for tag, content in _elements(to_be_signed) if tag != _VERSION]
    if len(fields) < 6:
        raise ValueError("a certificate has more fields")
    _serial, _signature, (_, issuer), (_, validity), (_, subject), _key, *rest = fields
    not_before, not_after = (_time(tag, content) for tag, content in _elements(validity))
    names = [name for tag, content in rest if tag == _EXTENSIONS for name in _alternative_names(content)]
    return Certificate(_name(subject), _name(issuer), not_before, not_after, tuple(names))


def _elements(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements that stand one after the other, as tag and content (X.690 8.1)."""
    place = 0
    while place < len(octets):
        tag, length, start = octets[place], int.from_bytes(octets[place + 1 : place + 2]), place + 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(octets[place + 2 : start])
        place = start + length
        if place > len(octets):
            raise ValueError("the certificate is cut off")
        yield tag, octets[start:place]


def _name(octets: bytes) -> str:
    attributes = [attribute for _, part in _elements(octets) for _, attribute in _elements(part)]
    parts = []
    for attribute in attributes:
        (_, kind), (tag, value) = _elements(attribute)
        text = value.decode("utf-16-be" if tag == _BMP_STRING else "utf-8", "backslashreplace")
        parts.append(f"{_ATTRIBUTES.get(kind, kind.hex())}={text}")
    return ", ".join(parts)


def _time(tag: int, octets: bytes) -> datetime:
    """RFC 5280 4.1.2.5: two digits of a year are 1950 to 2049; always to the second, always UTC."""
    text = octets.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _alternative_names(octets: bytes) -> Iterator[str]:
    [(_, extensions)] = _elements(octets)
    for _, extension in _elements(extensions):
        kind, *_, (_, value) = _elements(extension)
        if kind == (_OID, _SUBJECT_ALTERNATIVE_NAME):
            [(_, names)] = _elements(value)
            for tag, name in _elements(names):
                if tag == _DNS_NAME:
                    yield name.decode("ascii", "backslashreplace")
                elif tag == _IP_ADDRESS:
                    yield str(ipaddress.ip_address(name))
