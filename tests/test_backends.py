"""What a backend of coroutines is: a transport and its loop's idioms, and nothing that another one has too."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import combinations
from pathlib import Path
from types import ModuleType

import pytest

import smtp_anyio
import smtp_asyncio
import smtp_blocking
import smtp_trio
from smtp_proto.states import TABLE
from smtp_surface import names

MODULES = [smtp_asyncio, smtp_trio, smtp_anyio]
MOST_LINES = 400
LONGEST_RUN = 5

# What does no I/O itself: some of what smtplib has, and what gives something to iterate over.
PLAIN = {"has_extn", "set_debuglevel", "auth_cram_md5", "auth_login", "auth_plain", "send_many"}


def sources(module: ModuleType) -> list[Path]:
    assert module.__file__ is not None
    return sorted(Path(module.__file__).parent.rglob("*.py"))


def lines(module: ModuleType) -> list[str]:
    """The lines that say something, without their indentation."""
    found = [line.strip() for path in sources(module) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in found if line]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_backend_is_small(module: ModuleType) -> None:
    """A backend of coroutines has 400 lines at most: all that is not about its loop stands on the surface."""
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in sources(module)) <= MOST_LINES


def runs(module: ModuleType, length: int) -> set[tuple[str, ...]]:
    said = lines(module)
    return {tuple(said[start : start + length]) for start in range(len(said) - length + 1)}


@pytest.mark.parametrize(("one", "other"), list(combinations(MODULES, 2)), ids=lambda module: module.__name__)
def test_backends_share_no_lines(one: ModuleType, other: ModuleType) -> None:
    """No six lines in a row are the same in two of them: those would be for the surface."""
    assert runs(one, LONGEST_RUN + 1) & runs(other, LONGEST_RUN + 1) == set()


def literals(module: ModuleType) -> list[str]:
    """All numbers and texts in the code, but for those that explain it."""
    found = []
    for path in sources(module):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in prose]
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_backend_knows_no_smtp(module: ModuleType) -> None:
    """No reply code and no command stands in a backend: the protocol is in the core."""
    verbs = {word for row in TABLE for word in re.findall("[A-Z]{4,}", row)}
    assert {"MAIL", "EHLO", "RSET"} <= verbs
    for literal in literals(module):
        words = set(re.findall(r"\w+", literal))
        assert not words & verbs, literal
        assert not (literal.isdigit() and 100 <= int(literal) <= 999), literal


@pytest.mark.parametrize("kind", ["SMTP", "SMTP_SSL", "LMTP"])
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_same_methods(module: ModuleType, kind: str) -> None:
    """Every public method of the blocking client is there with the same signature; what does I/O is a coroutine."""
    blocking, ours = getattr(smtp_blocking, kind), getattr(module, kind)
    methods = {name for name, value in inspect.getmembers(blocking, inspect.isfunction) if not name.startswith("_")}
    assert {"sendmail", "starttls", "login", "deliver", "connect", "close"} <= methods
    for name in methods:
        theirs, method = getattr(blocking, name), getattr(ours, name)
        assert inspect.signature(method).parameters == inspect.signature(theirs).parameters, name
        assert inspect.iscoroutinefunction(method) is (name not in PLAIN), name
    # Of what is handed in each world has its own kinds.
    expected, given = (
        [each for each in inspect.signature(kind).parameters.values() if each.name not in ("stream", "sock")]
        for kind in (blocking, ours)
    )
    assert given == expected


@pytest.mark.parametrize("module", [smtp_blocking, *MODULES], ids=lambda module: module.__name__)
def test_the_same_names(module: ModuleType) -> None:
    """The exceptions and constants of every backend are the same objects."""
    public = {"LMTP", "SMTP", "SMTP_SSL", "default_ssl_context", "send", *names.__all__}
    assert public <= set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))
    for name in names.__all__:
        assert getattr(module, name) is getattr(names, name)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_same_function_for_one_message(module: ModuleType) -> None:
    """`send` takes the same everywhere, and gives a coroutine where there are coroutines."""
    assert inspect.signature(module.send) == inspect.signature(smtp_blocking.send)
    coroutine = module.send(b"", "mx.test")
    assert inspect.iscoroutine(coroutine)
    coroutine.close()


def test_equal_lines_would_be_found() -> None:
    """The test of equal lines can fail: runs of five there are."""
    assert runs(smtp_trio, LONGEST_RUN) & runs(smtp_anyio, LONGEST_RUN)
