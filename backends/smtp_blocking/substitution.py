"""This package in the place of `smtplib`, for programs that import that themselves: frameworks, above all.

An import statement looks into `sys.modules` first, so one entry there is all that is needed, if it is made early: a
module that has been imported before holds the standard library's module, or functions and classes out of it, in names
of its own, and goes on using them.  Such modules are named in a warning, and those that are asked for are mended; a
class that was derived from one of `smtplib`'s cannot be.

`smtp_surface.exceptions` is derived from the real one, and always was: it is imported before anything is replaced.
"""

from __future__ import annotations

import importlib
import smtplib
import sys
import warnings
from types import ModuleType, TracebackType
from typing import Self

_NAME = "smtplib"
# What stands on the real one, and is to.
_ITS_OWN = ("smtplib", "smtp_surface", "smtp_blocking")


class Substitution:
    """What `install_as_smtplib` has replaced; used as a context manager, until the end of the block."""

    def __init__(self, replacement: ModuleType) -> None:
        self._before = sys.modules.get(_NAME)
        self._replacement = replacement
        self._rebound: list[tuple[ModuleType, str, object]] = []
        # What a module may have got out of the real one, and ours for it.  Found by identity, for other people's names
        # are nothing to be played with: some compute what they mean, or load it, as soon as they are asked anything.
        self._exchange = {id(smtplib): replacement} | {
            id(value): getattr(replacement, name)
            for name, value in vars(smtplib).items()
            if getattr(value, "__module__", None) == _NAME
        }
        sys.modules[_NAME] = replacement

    def rebind(self, module: ModuleType) -> None:
        """Let the names in `module` that came from the standard library's `smtplib` mean ours."""
        for name, value in self._held(module):
            self._rebound.append((module, name, value))
            setattr(module, name, self._exchange[id(value)])

    def late(self) -> list[str]:
        """The modules that had been imported too early, and go on with the standard library's."""
        return sorted(
            name
            for name, module in list(sys.modules.items())
            if type(module) is ModuleType and name.partition(".")[0] not in _ITS_OWN and self._held(module)
        )

    def undo(self) -> None:
        """Put back what was there before; modules that were imported meanwhile keep what they have."""
        while self._rebound:
            module, name, value = self._rebound.pop()
            setattr(module, name, value)
        if sys.modules.get(_NAME) is self._replacement:
            if self._before is None:
                del sys.modules[_NAME]
            else:
                sys.modules[_NAME] = self._before

    def _held(self, module: ModuleType) -> list[tuple[str, object]]:
        """The names in a module that hold the real `smtplib`, or a class or function out of it."""
        return [(name, value) for name, value in list(vars(module).items()) if id(value) in self._exchange]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()


def install_as_smtplib(*modules: str) -> Substitution:
    """Let ``import smtplib`` mean `smtp_blocking` from now on, in the whole process.

    To be called before anything imports `smtplib`: at the top of the program, of its settings, of its ``wsgi.py``.  A
    `RuntimeWarning` names the modules that were earlier and so go on with the standard library's.  `modules` are names
    of such that are to follow all the same: what they have imported from `smtplib` is exchanged in them (they are
    imported if they are not yet).

    Returns what can be undone: ``with install_as_smtplib(): ...``, or ``undo()``.
    """
    substitution = Substitution(sys.modules[__package__])
    try:
        for name in modules:
            substitution.rebind(importlib.import_module(name))
        late = substitution.late()
        if late:
            warnings.warn(
                f"imported before install_as_smtplib() and not changed by it: {', '.join(late)}; call it earlier, or "
                f"name them: install_as_smtplib({', '.join(map(repr, late))})",
                RuntimeWarning,
                stacklevel=2,
            )
    except BaseException:
        substitution.undo()
        raise
    return substitution
