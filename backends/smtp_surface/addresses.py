"""`smtplib`'s module functions on addresses and text, with the same results, and its way of writing arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.utils import parseaddr
from typing import Self

CRLF = "\r\n"
bCRLF = b"\r\n"  # noqa: N816  # the name is `smtplib`'s

# An address that is nothing but one (RFC 5321 4.1.2, Dot-string "@" Domain): `parseaddr` gives it back as it is, and
# takes 50 times as long to find that out, most of the time that sending to many recipients costs.
_BARE = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*", re.ASCII)

_LINE_END = re.compile(r"\r\n|\r|\n")


class Recipient(str):
    """An address with options of its own: ``Recipient("b@example.org", [Notify("NEVER")])``.

    It is the address, a `str`, and can stand wherever one can: in lists of recipients, and as a key of what `sendmail`
    returns.  Its options are ESMTP parameters of RCPT, and come before those for all recipients.
    """

    __slots__ = ("options",)
    options: tuple[str, ...]

    def __new__(cls, address: str, options: Iterable[str] = ()) -> Self:
        self = super().__new__(cls, address)
        self.options = (options,) if isinstance(options, str) else tuple(options)
        return self

    def __repr__(self) -> str:
        return f"Recipient({str(self)!r}, {list(self.options)!r})"

    def __reduce__(self) -> tuple[type[Recipient], tuple[str, tuple[str, ...]]]:
        return type(self), (str(self), self.options)


def quoteaddr(addrstring: str) -> str:
    """An address in angle brackets, taken out of its display form: ``A B <a@b>`` gives ``<a@b>``."""
    address = _addr_only(addrstring)
    if address is addrstring and addrstring.strip().startswith("<"):
        return addrstring  # no address that can be parsed, "<>" for instance; the caller wrote the brackets
    return f"<{address}>"


def one_address(address: str | Sequence[str]) -> str:
    """An address; a list of one counts as that one, as it does for `smtplib`.

    `TypeError` for a list of several: `smtplib` takes the first of them or, before Python 3.13, joins them.
    """
    if isinstance(address, (list, tuple)):
        if len(address) != 1:
            raise TypeError(f"one address at a time, not {len(address)}: {address!r}")
        [address] = address
    return address  # type: ignore[return-value]  # anything else that is no text has never got any further


def _addr_only(addrstring: str) -> str:
    """An address taken out of its display form; as it is where it cannot be parsed."""
    addrstring = one_address(addrstring)
    if _BARE.fullmatch(addrstring):
        return addrstring
    name, address = parseaddr(addrstring)
    return addrstring if (name, address) == ("", "") else address


def quotedata(data: str) -> str:
    """Lines with CRLF ends, and a dot before each that begins with one; kept for those who use it on its own."""
    return re.sub(r"(?m)^\.", "..", _fix_eols(data))


def _quote_periods(bindata: bytes) -> bytes:
    """`quotedata` for octets whose line ends are right."""
    return re.sub(rb"(?m)^\.", b"..", bindata)


def _fix_eols(data: str) -> str:
    """Every CRLF, CR and LF as CRLF."""
    return _LINE_END.sub(CRLF, data)


def paths_of(addresses: Iterable[str]) -> list[str]:
    """`path_of` of each."""
    return [address if _BARE.fullmatch(address) else path_of(address) for address in addresses]


def path_of(address: str) -> str:
    """What `quoteaddr` puts between the brackets, for the typed commands."""
    if _BARE.fullmatch(address):
        return address
    quoted = quoteaddr(address).strip()
    return quoted[1:-1] if quoted.startswith("<") and quoted.endswith(">") else quoted
