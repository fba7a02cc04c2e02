"""The floors: who may import whom, read from the sources, and what an import brings along.

A module imports only from floors below its own, so that each can be understood, tested and replaced without those above
it. Imports inside functions count too; those under `if TYPE_CHECKING:` do not, for they never run.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "smtp_proto"
BACKENDS = ROOT / "backends"

# From the ground up. Modules of one floor do not import each other. A new module gets its place here.
FLOORS = [
    {"errors"},
    {"channel_binding"},
    {"records"},
    {"grammar"},
    {"domains"},
    {"buffer"},
    {"replies"},
    {"extensions"},
    {"parameter"},
    {"parameters"},
    {"commands"},
    {"states"},
    {"events"},
    {"parsing"},
    {"body"},
    {"internationalization"},
    {"sources"},
    {"composed"},
    {"plain"},
    {"group"},
    {"client", "server"},
    {"sasl"},
    {"sasl_oauth", "sasl_scram", "sasl_spnego"},
    {"sasl_choice", "sasl_exchange"},
    {"sasl_server"},
    {"queue_ids"},
    {"outcome"},
    {"transcript"},
    {"effects"},
    {"foreseen"},
    {"tls"},
    {"engine"},
    {"replaying"},
    {"session"},
    {"writing"},
    {"transaction"},
    {"limits", "many"},
    {"handler"},
    {"server_session"},
    {"reencoding"},
    {"message"},
    {"strategies"},
]
FLOOR = {module: number for number, floor in enumerate(FLOORS) for module in floor}

# What does I/O or knows the time. `smtplib` belongs to the surface; `email` pulls in `socket` before Python 3.13.
FORBIDDEN = {"asyncio", "email", "select", "selectors", "smtplib", "socket", "ssl", "threading", "time"}
ALLOWED = {"message": {"email"}, "reencoding": {"email"}, "tls": {"ssl"}}
# Optional packages, imported inside functions only; strategies, which nothing imports, is made of one.
OPTIONAL = {"strategies": {"hypothesis"}, "domains": {"idna"}, "sasl_scram": {"scramp"}, "sasl_spnego": {"spnego"}}
# Imported by nothing in the core at import time, for the sake of what they import themselves.
APART = {"message", "reencoding", "strategies", "tls"}
HEAVY = ["asyncio", "email", "select", "selectors", "smtplib", "socket", "ssl", "threading"]

MOST_LINES = 700

MODULES = sorted(path for path in PROTO.glob("*.py"))
PACKAGES = sorted(path.name for path in BACKENDS.iterdir() if (path / "__init__.py").exists())


# -- reading imports ---------------------------------------------------------------------------------------------------


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def statements(node: ast.AST, *, at_import_time: bool = False) -> Iterator[ast.AST]:
    """All nodes below `node` that may run, or only those that an import runs."""
    for child in ast.iter_child_nodes(node):
        if at_import_time and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(child, ast.If) and is_type_checking(child.test):
            for statement in child.orelse:
                yield statement
                yield from statements(statement, at_import_time=at_import_time)
        else:
            yield child
            yield from statements(child, at_import_time=at_import_time)


def imports(source: str, package: str, *, at_import_time: bool = False) -> set[str]:
    """What a module of `package` imports: dotted names, of modules or of what is taken out of them."""
    found = set()
    for node in statements(ast.parse(source), at_import_time=at_import_time):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def imports_of(path: Path, root: Path, *, at_import_time: bool = False) -> set[str]:
    package = ".".join(path.parent.relative_to(root).parts)
    return imports(path.read_text(encoding="utf-8"), package, at_import_time=at_import_time)


def test_imports_are_read() -> None:
    """Every form of import is seen, wherever it stands, but for those that are for type checkers only."""
    source = """
import a.b, c as d
from e import f, g as h
from . import i
from .j import k
from .j.l import m
from .. import n
if TYPE_CHECKING:
    import never
else:
    import o
if typing.TYPE_CHECKING and x:
    import p
def function():
    try:
        import q
    except ImportError:
        from r.s import t
    with x:
        class C:
            import u
    async def inner():
        if typing.TYPE_CHECKING:
            import never
        import v
"""
    assert imports(source, "one.two") == {
        *("a.b", "c", "e.f", "e.g", "one.two.i", "one.two.j.k", "one.two.j.l.m", "one.n"),
        *("o", "p", "q", "r.s.t", "u", "v"),
    }
    assert imports(source, "one.two", at_import_time=True) == {
        *("a.b", "c", "e.f", "e.g", "one.two.i", "one.two.j.k", "one.two.j.l.m", "one.n"),
        *("o", "p"),
    }


# -- smtp_proto --------------------------------------------------------------------------------------------------------


def test_every_module_has_its_floor() -> None:
    """A module that is added, renamed or removed is so in `FLOORS`, too."""
    assert {path.stem for path in MODULES} - {"__init__"} == set(FLOOR)


def test_every_module_is_in_the_tables() -> None:
    """The page on the design and CONTRIBUTING.md name each module of the core in their tables."""
    core = set(FLOOR)
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rows = "".join(line for line in design.splitlines() if line.startswith("|"))
    assert core <= set(re.findall(r"`(\w+)`", rows))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = "".join(re.findall(r"^\| [^|:]+(: [^|]+) \|", contributing, re.MULTILINE))
    assert core <= set(re.findall(r"\w+", rows))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_import_from_below(path: Path) -> None:
    """Of the core's own modules one imports only those on floors below, and those set apart only where it uses them."""
    for name in imports_of(path, ROOT):
        package, _, rest = name.partition(".")
        if package != PROTO.name:
            continue
        imported = rest.partition(".")[0]
        assert imported in FLOOR, f"{path.name}: {name} is not a module of the core"
        assert path.stem == "__init__" or FLOOR[imported] < FLOOR[path.stem], f"{path.name} imports {imported}"
    first_parts = {tuple(name.split(".")[:2]) for name in imports_of(path, ROOT, at_import_time=True)}
    assert not first_parts & {(PROTO.name, module) for module in APART}, f"{path.name}: import it where it is used only"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_core_does_no_io(path: Path) -> None:
    """No module of the core imports what does I/O or knows the time, nor anything but the standard library."""
    imported = {name.partition(".")[0] for name in imports_of(path, ROOT)}
    assert imported & FORBIDDEN <= ALLOWED.get(path.stem, set())
    assert imported - {PROTO.name} - OPTIONAL.get(path.stem, set()) <= sys.stdlib_module_names
    # The two ways to import that this test cannot see.
    assert "importlib" not in imported
    assert "__import__" not in path.read_text(encoding="utf-8")


def heavy_modules(*names: str) -> set[str]:
    """Which of `HEAVY` a bare interpreter has loaded after importing these."""
    return loaded(*names) & set(HEAVY)


def loaded(*names: str, before: str = "") -> set[str]:
    """What a bare interpreter has loaded after importing these; `before` is executed first."""
    # -I and -S: neither the environment nor site-packages (an editable install, coverage) may bring anything along.
    program = f"""
import sys
sys.path[:0] = {str(ROOT)!r}, {str(BACKENDS)!r}
{before}
for name in sys.argv[1:]:
    __import__(name)
print(*sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, *names], check=True, capture_output=True, text=True, timeout=60
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    "names",
    [["smtp_proto"], [f"smtp_proto.{module}" for module in sorted(set(FLOOR) - APART)]],
    ids=["the package", "all modules"],
)
def test_importing_the_core_loads_nothing_heavy(names: list[str]) -> None:
    """`import smtp_proto` is cheap and free of I/O: what it pulls in is what an interpreter has anyway."""
    assert heavy_modules(*names) <= heavy_modules()


@pytest.mark.parametrize("package", ["smtp_proto", "smtp_blocking"])
def test_who_needs_no_server_loads_none(package: str) -> None:
    """Importing a package for its client loads no server; each name of the package is there when it is asked for."""
    assert not loaded(package) & {"smtp_proto.server_session", "smtp_proto.sasl_server", "smtp_blocking.server"}
    module = import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.parametrize("package", ["smtp_proto", "smtp_blocking"])
def test_importing_a_client_compiles_nothing(package: str) -> None:
    """No annotation that is text meets `typing` when a client is imported, for it compiles each.

    The first use of `compile` alone would be a tenth of the time of `import smtp_proto`.
    """
    assert package in loaded(package, before="import typing; del typing.ForwardRef")


def test_heavy_modules_would_be_noticed() -> None:
    """The test above can fail: the TLS pump brings `ssl`."""
    assert "ssl" in heavy_modules("smtp_proto.tls")


# -- the backends ------------------------------------------------------------------------------------------------------


def sources(package: str) -> list[Path]:
    return sorted((BACKENDS / package).rglob("*.py"))


def test_the_core_knows_no_backend() -> None:
    """Nothing in `backends/` is imported by the core, not even for its types."""
    for path in MODULES:
        names = {name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in named(node)}
        assert not names & set(PACKAGES), path.name


def named(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {node.module.partition(".")[0]} if isinstance(node, ast.ImportFrom) and node.module else set()


@pytest.mark.parametrize("package", PACKAGES)
def test_backends_do_not_know_each_other(package: str) -> None:
    """A backend imports the core and the surface, the surface only the core."""
    allowed = {package} if package == "smtp_surface" else {package, "smtp_surface"}
    for path in sources(package):
        imported = {name.partition(".")[0] for name in imports_of(path, BACKENDS)}
        assert imported & set(PACKAGES) <= allowed, path.name


def test_the_surface_is_for_every_world() -> None:
    """The surface talks to the network through a transport only, so that one serves all of a kind."""
    for path in sources("smtp_surface"):
        imported = {name.partition(".")[0] for name in imports_of(path, BACKENDS)}
        # `socket` knows the default time-out of the process; and what trio's and anyio's sockets have in common stands
        # here once, as do listening sockets, which are the same everywhere.
        allowed = {"socket"} if path.stem in ("timeouts", "sockets", "socket_client", "listening") else set()
        if path.stem == "sockets":
            allowed.add("select")  # to ask a socket without waiting
        assert imported & {"anyio", "asyncio", "select", "selectors", "socket", "ssl", "trio"} <= allowed, path.name


# -- size --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [*MODULES, *(path for package in PACKAGES for path in sources(package))],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_no_file_is_too_long(path: Path) -> None:
    """A file that can be read in one sitting has no more than seven hundred lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
