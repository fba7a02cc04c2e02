"""What a guard is, to take it away."""

from __future__ import annotations

from typing import NamedTuple

CORE = "smtp_proto"
SURFACE = "backends/smtp_surface"


class Guard(NamedTuple):
    """One guard.  `old`, which stands once in `file`, becomes `new`, and one of `tests` (pytest's names) fails."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def in_core(name: str, module: str, old: str, new: str, *tests: str) -> Guard:
    """A guard of the core, and tests of it."""
    return Guard(name, f"{CORE}/{module}.py", old, new, tuple(f"tests/test_{test}" for test in tests))


def outside(name: str, module: str, old: str, new: str, *tests: str) -> Guard:
    """A guard of a backend's, or of what they have in common."""
    return Guard(name, f"backends/{module}.py", old, new, tuple(f"tests/{test}" for test in tests))
