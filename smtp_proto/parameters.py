"""The ESMTP parameters of MAIL and RCPT, typed: one immutable class for each keyword.

Each knows its place, the extension and the RFC that define it, and the range that its RFC allows; see
`smtp_proto.parameter` for what can be done with them.  They are built from values (``HoldFor(3600)``) and read from
text (``HoldFor.parse("HOLDFOR=3600")``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from .errors import InvalidArgument
from .extensions import Extensions
from .grammar import CONTROL, excerpt, parse_xtext, xtext
from .parameter import Parameter

if TYPE_CHECKING:
    from datetime import datetime

# -- the message ------------------------------------------------------------------------------------------------------

_DIGITS = re.compile(r"[0-9]{1,20}")


class Size(Parameter):
    """SIZE of MAIL (RFC 1870 6): the octets of the message, line ends as CRLF, dots that are stuffed not counted."""

    __slots__ = fields = ("octets",)
    keyword, extension, rfc, command = "SIZE", "SIZE", "RFC 1870", "MAIL"
    octets: int

    def __new__(cls, octets: int) -> Self:
        if not 0 <= octets < 10**20:
            raise cls.wrong(f"{octets} is no number of octets with 1 to 20 digits")
        return cls.made(str(octets), octets)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        if value is None or not _DIGITS.fullmatch(value):
            raise cls.wrong("the value is a number of octets with 1 to 20 digits")
        return cls(int(value))


class Body(Parameter):
    """BODY of MAIL: "7BIT" or "8BITMIME" (RFC 6152), or "BINARYMIME" (RFC 3030 3), which goes with BDAT only."""

    __slots__ = fields = ("type",)
    keyword, extension, rfc, command = "BODY", "8BITMIME", "RFC 6152", "MAIL"
    type: str

    def __new__(cls, type: str) -> Self:  # noqa: A002  # the RFC's word: body-type
        name = type.upper()
        if name not in ("7BIT", "8BITMIME", "BINARYMIME"):
            raise cls.wrong(f"{excerpt(type)} is not 7BIT, 8BITMIME or BINARYMIME")
        return cls.made(name, name)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        return cls(value or "")

    def needs(self) -> Sequence[tuple[str, str]]:
        if self.type != "BINARYMIME":
            return super().needs()
        return [("BINARYMIME", "RFC 3030"), ("CHUNKING", "RFC 3030")]


class SmtpUtf8(Parameter):
    """SMTPUTF8 of MAIL (RFC 6531 3.4): addresses or headers of this transaction are in UTF-8."""

    __slots__ = ()
    keyword, extension, rfc, command = "SMTPUTF8", "SMTPUTF8", "RFC 6531", "MAIL"


class RequireTLS(Parameter):
    """REQUIRETLS of MAIL (RFC 8689 2): the message must travel over verified TLS all the way, or bounce."""

    __slots__ = ()
    keyword, extension, rfc, command = "REQUIRETLS", "REQUIRETLS", "RFC 8689", "MAIL"

    def beyond(self, offer: Extensions, encrypted: bool) -> str | None:
        return None if encrypted else "the connection is not encrypted"


class AuthenticatedAs(Parameter):
    """AUTH of MAIL (RFC 4954 5): who submitted the message, a mailbox; None ("<>") if that is not known."""

    __slots__ = fields = ("mailbox",)
    keyword, extension, rfc, command = "AUTH", "AUTH", "RFC 4954", "MAIL"
    mailbox: str | None

    def __new__(cls, mailbox: str | None) -> Self:
        if mailbox is None:
            return cls.made("<>", None)
        if not mailbox or CONTROL.search(mailbox):
            raise cls.wrong(f"{excerpt(mailbox)} is no mailbox")
        value = _encoded(cls, mailbox)
        if len(value) > 500:
            raise cls.wrong(f"{len(value)} characters, and 500 are allowed")
        return cls.made(value, mailbox)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        return cls(None if value == "<>" else _decoded(cls, value))


# -- delivery status notifications (RFC 3461, RFC 6533) ---------------------------------------------------------------


def _encoded(cls: type[Parameter], text: str) -> str:
    try:
        return xtext(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise cls.wrong(f"a lone surrogate in {excerpt(text)} has no encoding") from None


def _decoded(cls: type[Parameter], value: str | None) -> str:
    try:
        return parse_xtext(value or "").decode("utf-8")
    except (InvalidArgument, UnicodeDecodeError):
        raise cls.wrong(f"{excerpt(value or '')} is not xtext") from None


class Ret(Parameter):
    """RET of MAIL (RFC 3461 4.3): a notification of failure returns the message "FULL", or only its headers "HDRS"."""

    __slots__ = fields = ("what",)
    keyword, extension, rfc, command = "RET", "DSN", "RFC 3461", "MAIL"
    what: str

    def __new__(cls, what: str) -> Self:
        if what.upper() not in ("FULL", "HDRS"):
            raise cls.wrong(f"{excerpt(what)} is not FULL or HDRS")
        return cls.made(what.upper(), what.upper())

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        return cls(value or "")


class EnvId(Parameter):
    """ENVID of MAIL (RFC 3461 4.4): an identifier of the sender's that notifications repeat; printable ASCII."""

    __slots__ = fields = ("identifier",)
    keyword, extension, rfc, command = "ENVID", "DSN", "RFC 3461", "MAIL"
    identifier: str

    def __new__(cls, identifier: str) -> Self:
        if not identifier or not identifier.isascii() or not identifier.isprintable():
            raise cls.wrong(f"{excerpt(identifier)} is not printable ASCII")
        value = xtext(identifier.encode("ascii"))
        if len(value) > 100:
            raise cls.wrong(f"{len(value)} characters as xtext, and 100 are allowed")
        return cls.made(value, identifier)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        return cls(_decoded(cls, value))


class Notify(Parameter):
    """NOTIFY of RCPT (RFC 3461 4.1): when to notify the sender: "NEVER", or any of "SUCCESS", "FAILURE", "DELAY"."""

    __slots__ = fields = ("conditions",)
    keyword, extension, rfc, command = "NOTIFY", "DSN", "RFC 3461", "RCPT"
    conditions: tuple[str, ...]

    def __new__(cls, *conditions: str) -> Self:
        names = tuple(condition.upper() for condition in conditions)
        if names != ("NEVER",) and (not names or not set(names) <= {"SUCCESS", "FAILURE", "DELAY"}):
            shown = excerpt(",".join(conditions))
            raise cls.wrong(f"{shown} is not NEVER, nor a list of SUCCESS, FAILURE and DELAY")
        if len(set(names)) < len(names):
            raise cls.wrong(f"{excerpt(','.join(conditions))} names a condition twice")
        return cls.made(",".join(names), names)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        return cls(*(value or "").split(","))


_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
# RFC 6533 3: QCHAR is printable ASCII without "+", "=" and "\"; the others, and what is not ASCII, as \x{HEX}.
_UNQUOTED = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")
_UNQUOTED_IN_UTF8 = re.compile(r"[\x00-\x20+=\\\x7f]")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


class ORcpt(Parameter):
    """ORCPT of RCPT (RFC 3461 4.2): the address that the sender gave first, before any forwarding.

    `type` is "rfc822", or "utf-8" where the address is not ASCII (RFC 6533 3), unless another one is given.  A utf-8
    address is written in ASCII, with ``\\x{HEX}`` for what is not; with `utf8=True`, for a transaction with SMTPUTF8,
    as it is.
    """

    __slots__ = fields = ("address", "type")
    keyword, extension, rfc, command = "ORCPT", "DSN", "RFC 3461", "RCPT"
    address: str
    type: str

    def __new__(cls, address: str, type: str | None = None, *, utf8: bool = False) -> Self:  # noqa: A002  # addr-type
        if type is None:
            type = "rfc822" if address.isascii() else "utf-8"  # noqa: A001
        if not _ADDRESS_TYPE.fullmatch(type):
            raise cls.wrong(f"{excerpt(type)} is no type of address")
        if not address or CONTROL.search(address):
            raise cls.wrong(f"{excerpt(address)} is no address")
        value = _encoded(cls, address)
        if type.lower() == "utf-8":
            special = _UNQUOTED_IN_UTF8 if utf8 else _UNQUOTED
            value = special.sub(lambda character: f"\\x{{{ord(character[0]):02X}}}", address)
        elif not address.isascii():
            raise cls.wrong(f"{excerpt(address)} is not ASCII, and its type is not utf-8")
        if len(type) + 1 + len(value.encode()) > 500:
            raise cls.wrong(f"{excerpt(address)} takes more than 500 characters")
        return cls.made(f"{type};{value}", address, type)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        kind, semicolon, encoded = (value or "").partition(";")
        if not semicolon:
            raise cls.wrong(f"{excerpt(value or '')} is not of the form type;address")
        if kind.lower() != "utf-8":
            return cls(_decoded(cls, encoded), kind)
        if "\\" in _EMBEDDED.sub("", encoded):
            raise cls.wrong(f"{excerpt(encoded)} has a backslash that is none of \\x{{HEX}}")
        try:
            return cls(_EMBEDDED.sub(lambda embedded: chr(int(embedded[1], 16)), encoded), kind)
        except ValueError as error:
            if isinstance(error, InvalidArgument):
                raise
            raise cls.wrong(f"{excerpt(encoded)} has a character that there is none of") from None


# -- when, how urgently, to whom --------------------------------------------------------------------------------------

_BY = re.compile(r"([+-]?[0-9]{1,9});([RN])(T?)", re.IGNORECASE)


class By(Parameter):
    """BY of MAIL (RFC 2852 4): deliver within so many seconds; else mode "R" returns the message, "N" notifies.

    `trace` asks for a notification of each hop.  Zero and less is for "N" only.
    """

    __slots__ = fields = ("seconds", "mode", "trace")
    keyword, extension, rfc, command = "BY", "DELIVERBY", "RFC 2852", "MAIL"
    seconds: int
    mode: str
    trace: bool

    def __new__(cls, seconds: int, mode: str, trace: bool = False) -> Self:
        if not -999_999_999 <= seconds <= 999_999_999:
            raise cls.wrong(f"{seconds} seconds are more than nine digits")
        mode = mode.upper()
        if mode not in ("R", "N"):
            raise cls.wrong(f"the mode {excerpt(mode)} is not R or N")
        if mode == "R" and seconds <= 0:
            raise cls.wrong(f"mode R needs a positive time, not {seconds}")
        return cls.made(f"{seconds};{mode}{'T' if trace else ''}", seconds, mode, trace)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        match = _BY.fullmatch(value or "")
        if match is None:
            raise cls.wrong(f"{excerpt(value or '')} is not of the form seconds;mode")
        return cls(int(match[1]), match[2], bool(match[3]))

    def beyond(self, offer: Extensions, encrypted: bool) -> str | None:
        minimum = offer.deliver_by
        # RFC 2852 4: the minimum holds for mode R only.
        if self.mode == "N" or minimum is None or self.seconds >= minimum:
            return None
        return f"{self.seconds} seconds are less than the server's minimum of {minimum}"


_SECONDS = re.compile(r"[1-9][0-9]{0,8}")


class HoldFor(Parameter):
    """HOLDFOR of MAIL (RFC 4865 4): keep the message so many seconds before it is sent on."""

    __slots__ = fields = ("seconds",)
    keyword, extension, rfc, command = "HOLDFOR", "FUTURERELEASE", "RFC 4865", "MAIL"
    excludes = frozenset({"HOLDUNTIL"})
    seconds: int

    def __new__(cls, seconds: int) -> Self:
        if not 1 <= seconds <= 999_999_999:
            raise cls.wrong(f"{seconds} is no number of seconds with 1 to 9 digits")
        return cls.made(str(seconds), seconds)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        if value is None or not _SECONDS.fullmatch(value):
            raise cls.wrong("the value is a number of seconds with 1 to 9 digits")
        return cls(int(value))

    def beyond(self, offer: Extensions, encrypted: bool) -> str | None:
        limits = offer.future_release
        if limits is None or self.seconds <= limits.interval:
            return None
        return f"{self.seconds} seconds are more than the {limits.interval} that the server holds a message for"


_DATE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _date_time(cls: type[Parameter], moment: datetime | str) -> str:
    """A moment as RFC 3339 writes it; in UTC where it is given as a `datetime`, which must know its zone."""
    # Imported here: most programs never need it, and the core is on the way of every one of them.
    from datetime import UTC, datetime

    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise cls.wrong(f"{moment.isoformat()} does not say in which time zone")
        moment = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    try:
        if not _DATE_TIME.fullmatch(moment):
            raise ValueError(moment)
        datetime.fromisoformat(moment.upper())
    except ValueError:
        raise cls.wrong(f"{excerpt(moment)} is no date-time of RFC 3339") from None
    return moment.upper()


class _Moment(Parameter):
    """A parameter with a date-time, kept as text; `moment` gives it as a `datetime`."""

    __slots__ = ()
    date_time: str

    @property
    def moment(self) -> datetime:
        """The date-time as a value that can be compared."""
        from datetime import datetime

        return datetime.fromisoformat(self.date_time)


class HoldUntil(_Moment):
    """HOLDUNTIL of MAIL (RFC 4865 4): keep the message until this moment, in UTC, before it is sent on."""

    __slots__ = fields = ("date_time",)
    keyword, extension, rfc, command = "HOLDUNTIL", "FUTURERELEASE", "RFC 4865", "MAIL"
    excludes = frozenset({"HOLDFOR"})

    def __new__(cls, moment: datetime | str) -> Self:
        text = _date_time(cls, moment)
        if not text.endswith("Z"):
            raise cls.wrong(f"{text} is not in UTC")
        return cls.made(text, text)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        return cls(value or "")

    def beyond(self, offer: Extensions, encrypted: bool) -> str | None:
        limits = offer.future_release
        # Both are in UTC, so that their texts compare, fractions of seconds too.
        if limits is None or self.date_time.removesuffix("Z") <= limits.date_time.removesuffix("Z"):
            return None
        return f"{self.date_time} is later than the {limits.date_time} that the server holds a message until"


class Rrvs(_Moment):
    """RRVS of RCPT (RFC 7293 3): deliver only if the mailbox has had the same owner since this moment.

    `action`, for a server further on that does not know the extension: "R" to reject, "C" to continue.
    """

    __slots__ = fields = ("date_time", "action")
    keyword, extension, rfc, command = "RRVS", "RRVS", "RFC 7293", "RCPT"
    action: str | None

    def __new__(cls, since: datetime | str, action: str | None = None) -> Self:
        text = _date_time(cls, since)
        if action is None:
            return cls.made(text, text, None)
        if action.upper() not in ("R", "C"):
            raise cls.wrong(f"the action {excerpt(action)} is not R or C")
        return cls.made(f"{text};{action.upper()}", text, action.upper())

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        text, semicolon, action = (value or "").partition(";")
        return cls(text, action if semicolon else None)


_PRIORITY = re.compile(r"0|-?[1-9]")


class MtPriority(Parameter):
    """MT-PRIORITY of MAIL (RFC 6710 4): how urgent the message is for the servers on its way, from -9 to 9."""

    __slots__ = fields = ("priority",)
    keyword, extension, rfc, command = "MT-PRIORITY", "MT-PRIORITY", "RFC 6710", "MAIL"
    priority: int

    def __new__(cls, priority: int) -> Self:
        if not -9 <= priority <= 9:
            raise cls.wrong(f"{priority} is not between -9 and 9")
        return cls.made(str(priority), priority)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        if value is None or not _PRIORITY.fullmatch(value):
            raise cls.wrong(f"{excerpt(value or '')} is not between -9 and 9")
        return cls(int(value))


_SOLICITATION = re.compile(r"[A-Za-z][A-Za-z0-9._:-]*")


class Solicit(Parameter):
    """SOLICIT of MAIL (RFC 3865 2.2): what kinds of solicitation the message is, as keywords ("org.example:ADV")."""

    __slots__ = fields = ("keywords",)
    keyword, extension, rfc, command = "SOLICIT", "NO-SOLICITING", "RFC 3865", "MAIL"
    keywords: tuple[str, ...]

    def __new__(cls, *keywords: str) -> Self:
        for word in keywords or ("",):
            if not _SOLICITATION.fullmatch(word):
                raise cls.wrong(f"{excerpt(word)} is no solicitation class keyword")
        value = ",".join(keywords)
        if len(value) > 1000:
            raise cls.wrong(f"{len(value)} characters, and 1000 are allowed")
        return cls.made(value, keywords)

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        return cls(*(value or "").split(","))

    def beyond(self, offer: Extensions, encrypted: bool) -> str | None:
        unwanted = [word for word in self.keywords if word.upper() in offer.no_soliciting]
        return f"the server takes no mail of the kind {', '.join(unwanted)}" if unwanted else None
