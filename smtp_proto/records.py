"""Immutable values: the base of replies, commands and events.

`dataclasses` would serve, but importing it costs more time than all of `smtp_proto` together (it pulls in `inspect`),
and a frozen dataclass takes longer to build than what it holds takes to parse.  So this is the small part of it that is
needed: fields named in `fields`, compared, hashed, shown and pickled by them.  A subclass lists its slots and sets them
in `__init__` with `set_field`.
"""

from __future__ import annotations

from typing import Any, ClassVar

set_field = object.__setattr__


def _restore(cls: type[Record], values: dict[str, Any]) -> Record:
    record = cls.__new__(cls)
    for name, value in values.items():
        set_field(record, name, value)
    return record


def _slots(cls: type[Record]) -> list[str]:
    return [name for base in cls.__mro__ for name in getattr(base, "__slots__", ())]


class Record:
    """A value: equal to another of the same type with equal fields, hashable, and never changed after its making."""

    __slots__ = ()
    fields: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be deleted")

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.fields])

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Record)
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.fields)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A slot may be empty: what it holds is then found out when it is asked for.
        values = {name: getattr(self, name) for name in _slots(type(self)) if hasattr(self, name)}
        return _restore, (type(self), values)
