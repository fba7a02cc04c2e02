"""What an EHLO reply says, typed (RFC 5321 4.1.1.1).

Every line after the first is a keyword and its parameters.  Keywords are kept whatever they look like, parameters as
they came: a server's nonsense never raises, it only makes the typed view of it None.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

from .replies import Reply

# RFC 1870 3: size-value is 1*20DIGIT.  A longer number says nothing about any real message.
MAX_SIZE_DIGITS = 20


_FUTURE_RELEASE = r"([1-9][0-9]{0,8}) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"  # compiled when it is offered


class FutureRelease(NamedTuple):
    """How long a server holds a message (RFC 4865 3): so many seconds, and until a date-time in UTC (RFC 3339)."""

    interval: int
    date_time: str


class Extensions(Mapping[str, str]):
    """The keywords of an EHLO reply, in upper case, each with its parameters as one string ("" where it has none).

    A keyword that stands twice keeps its last parameters, as in `smtplib`; those of several AUTH lines are joined.
    Looking up ignores case: ``"starttls" in connection.extensions``.
    """

    __slots__ = ("_parameters",)

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = {keyword.upper(): value for keyword, value in parameters.items()}

    @classmethod
    def from_reply(cls, reply: Reply) -> Self:
        """The extensions that a 250 to EHLO or LHLO lists."""
        parameters: dict[str, str] = {}
        for line in reply.lines[1:]:
            keyword, _, value = line.decode("utf-8", "backslashreplace").strip().partition(" ")
            if not keyword:
                continue  # an empty line in the list says nothing
            keyword, value = keyword.upper(), value.strip()
            if keyword.startswith("AUTH="):
                # Before RFC 2554 was out, servers wrote AUTH=LOGIN, and some still write both lines.
                keyword, value = "AUTH", f"{keyword[5:]} {value}".strip()
            if keyword == "AUTH" and "AUTH" in parameters:
                value = f"{parameters['AUTH']} {value}".strip()
            parameters[keyword] = value
        return cls(parameters)

    def __getitem__(self, keyword: str) -> str:
        return self._parameters[keyword.upper()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __contains__(self, keyword: object) -> bool:
        return isinstance(keyword, str) and keyword.upper() in self._parameters

    def __repr__(self) -> str:
        return f"Extensions({self._parameters!r})"

    @property
    def size(self) -> int | None:
        """The largest message in octets (RFC 1870 3); None where none is declared, 0 and nonsense included."""
        digits = self._parameters.get("SIZE", "")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > MAX_SIZE_DIGITS:
            return None
        # RFC 1870 3: "a size parameter value of 0 indicates no fixed maximum message size is in force".
        return int(digits) or None

    @property
    def auth(self) -> tuple[str, ...]:
        """The SASL mechanisms of the AUTH and AUTH= lines, upper case, each once, in the server's order."""
        return tuple(dict.fromkeys(self._parameters.get("AUTH", "").upper().split()))

    @property
    def limits(self) -> dict[str, int]:
        """The limits of RFC 9422 by name (RCPTMAX, MAILMAX, RCPTDOMAINMAX); one that is no number is left out."""
        pairs = [limit.partition("=") for limit in self._parameters.get("LIMITS", "").upper().split()]
        return {name: int(value) for name, _, value in pairs if value.isascii() and value.isdigit() and len(value) < 10}

    @property
    def deliver_by(self) -> int | None:
        """The least time of BY in mode R, in seconds (RFC 2852 3); None where none is said."""
        minimum = self._parameters.get("DELIVERBY", "").partition(",")[0]
        # RFC 2852 3: min-by-time is 1*9DIGIT.
        return int(minimum) if minimum.isascii() and minimum.isdigit() and len(minimum) <= 9 else None

    @property
    def future_release(self) -> FutureRelease | None:
        """The bounds of HOLDFOR and HOLDUNTIL (RFC 4865 3); None where they are not said, or not in this form."""
        match = re.fullmatch(_FUTURE_RELEASE, self._parameters.get("FUTURERELEASE", "").upper(), re.ASCII)
        return FutureRelease(int(match[1]), match[2]) if match is not None else None

    @property
    def mt_priority(self) -> str | None:
        """The name of the priority profile (RFC 6710 3, "MIXER" for one); "" for the default, None without it."""
        return self._parameters["MT-PRIORITY"].upper() if "MT-PRIORITY" in self._parameters else None

    @property
    def no_soliciting(self) -> tuple[str, ...]:
        """The solicitation class keywords that the server does not want to see, in upper case (RFC 3865 2.1)."""
        return tuple(word for word in self._parameters.get("NO-SOLICITING", "").upper().split(",") if word)

    @property
    def burl(self) -> tuple[str, ...]:
        """The kinds of URL that BURL takes: "imap", or "imap://host" for one server (RFC 4468 3.3)."""
        return tuple(self._parameters.get("BURL", "").split())

    @property
    def xclient(self) -> tuple[str, ...]:
        """The names of XCLIENT's attributes, in upper case."""
        return tuple(self._parameters.get("XCLIENT", "").upper().split())

    @property
    def xforward(self) -> tuple[str, ...]:
        """The names of XFORWARD's attributes, in upper case."""
        return tuple(self._parameters.get("XFORWARD", "").upper().split())
