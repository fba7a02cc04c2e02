"""What all ESMTP parameters of MAIL and RCPT have in common, and how they are judged; `parameters` has the classes.

A parameter *is* its text, a `str` as it stands in the command, so that it goes wherever a string does: into `Mail` and
`Rcpt`, into the options of a method that somebody has overridden, onto the wire.  What it adds are its values
(``Notify("SUCCESS", "DELAY").conditions``), and what can be judged by them before anything is sent:

* which command it belongs to: `Mail` and `Rcpt` refuse the others', and two that exclude each other
  (`check_placement`);
* what its RFC allows: `InvalidArgument` otherwise, naming keyword, extension and RFC;
* what the server's EHLO offers (`lacking`).

The server reads the same classes (`typed_parameter`, used by `smtp_proto.parsing`) and judges them by the same
`lacking`, with its own offer.  A keyword that has no class here stays a plain string, at both ends; a subclass of
`Parameter` in a program of your own teaches both ends another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from .errors import InvalidArgument
from .extensions import Extensions
from .grammar import excerpt
from .records import set_field

_KNOWN: dict[tuple[str, str], type[Parameter]] = {}


class Parameter(str):
    """Base class, and all that a parameter without a value needs.

    A subclass says where it belongs; with values, it lists them in `fields`, and has a `__new__` that judges them and
    gives them to `made`, and a `from_value` that reads them.

    Class attributes: `keyword`; `extension`, the keyword of EHLO that offers it; `rfc`; `command`, "MAIL" or "RCPT";
    `excludes`, the keywords that cannot stand beside it.
    """

    __slots__ = ()
    keyword: ClassVar[str]
    extension: ClassVar[str]
    rfc: ClassVar[str]
    command: ClassVar[str]
    excludes: ClassVar[frozenset[str]] = frozenset()
    fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        if "keyword" in cls.__dict__:  # others are what several have in common
            _KNOWN[cls.command, cls.keyword] = cls

    def __new__(cls) -> Self:
        return cls.made(None)

    @classmethod
    def made(cls, value: str | None, *fields: object) -> Self:
        """The parameter with its canonical text."""
        return cls._restored(cls.keyword if value is None else f"{cls.keyword}={value}", fields)

    @classmethod
    def _restored(cls, text: str, fields: Iterable[object]) -> Self:
        self = str.__new__(cls, text)
        for name, value in zip(cls.fields, fields, strict=True):
            set_field(self, name, value)
        return self

    @classmethod
    def from_value(cls, value: str | None) -> Self:
        """The parameter with this value (None: without one); `InvalidArgument` if that is none."""
        if value is not None:
            raise cls.wrong("takes no value")
        return cls()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``KEYWORD=value``, in any letter case, and keep it as it came; `InvalidArgument` if it is wrong."""
        keyword, equals, value = text.partition("=")
        if keyword.upper() != cls.keyword:
            raise InvalidArgument("parameter", f"{excerpt(text)} is not {cls.keyword}")
        made = cls.from_value(value if equals else None)
        return cls._restored(text, made._values())

    @classmethod
    def wrong(cls, problem: str) -> InvalidArgument:
        return InvalidArgument(cls.keyword, f"{problem} ({cls.extension}, {cls.rfc})")

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.fields)

    def needs(self) -> Sequence[tuple[str, str]]:
        """The extensions that the server must offer for it, each with its RFC."""
        return [(self.extension, self.rfc)]

    def beyond(self, offer: Extensions, encrypted: bool) -> str | None:
        """What of its value is beyond what the server says in its offer; None if nothing is."""
        return None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be deleted")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.fields)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restored, (str(self), self._values())


# -- judging ----------------------------------------------------------------------------------------------------------


def keyword_of(parameter: str) -> str:
    """The keyword of a parameter, typed or not, in upper case."""
    return parameter.partition("=")[0].upper()


def typed_parameter(command: str, text: str) -> str:
    """A parameter of MAIL or RCPT as its class; as the plain string where it has none.

    `InvalidArgument` for a value that its RFC does not allow.
    """
    known = _KNOWN.get((command, keyword_of(text)))
    return text if known is None else known.parse(text)


def check_placement(command: str, parameters: Iterable[str]) -> None:
    """`InvalidArgument` for a typed parameter of the other command, or beside one that it excludes.

    Plain strings are judged only where a typed parameter stands beside them: whoever writes them by hand may want to
    see what a server says.
    """
    parameters = list(parameters)
    keywords = [keyword_of(parameter) for parameter in parameters]
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            continue
        if parameter.command != command:
            raise parameter.wrong(f"a parameter of {parameter.command}, not of {command}")
        if keywords.count(parameter.keyword) > 1:
            raise parameter.wrong("given twice")
        for other in parameter.excludes.intersection(keywords):
            raise parameter.wrong(f"cannot stand beside {other}")


def lacking(parameters: Iterable[str], offer: Extensions, *, encrypted: bool) -> str | None:
    """Why a server with this offer cannot do what the typed `parameters` ask, for people; None if it can.

    The text names the extension, its RFC and the offer.  Plain strings are passed over.
    """
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            continue
        for extension, rfc in parameter.needs():
            if extension not in offer:
                offered = ", ".join(offer) or "no extensions"
                return f"{parameter.keyword} needs the extension {extension} ({rfc}); the server offers {offered}"
        problem = parameter.beyond(offer, encrypted)
        if problem is not None:
            extension = parameter.extension
            said = " ".join(filter(None, (extension, offer.get(extension))))
            return f"{parameter.keyword} ({extension}, {parameter.rfc}): {problem}; the server offers {said}"
    return None
