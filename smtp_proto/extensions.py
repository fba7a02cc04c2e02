"""What an EHLO reply says, typed (RFC 5321 4.1.1.1).

Every line after the first is a keyword and its parameters.  Keywords are kept whatever they look like, parameters as
they came: a server's nonsense never raises, it only makes the typed view of it None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .replies import Reply

# RFC 1870 3: size-value is 1*20DIGIT.  A longer number says nothing about any real message.
MAX_SIZE_DIGITS = 20


class Extensions(Mapping[str, str]):
    """The keywords of an EHLO reply, in upper case, each with its parameters as one string ("" where it has none).

    A keyword that stands twice keeps its last parameters, as in `smtplib`; those of several AUTH lines are joined.
    Looking up ignores case: ``"starttls" in connection.extensions``.
    """

    __slots__ = ("_parameters",)

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = {keyword.upper(): value for keyword, value in parameters.items()}

    @classmethod
    def from_reply(cls, reply: Reply) -> Extensions:
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
