"""`install_as_smtplib`: who imports `smtplib` gets this package; who was earlier is named; all can be undone."""

from __future__ import annotations

import importlib
import smtplib
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import smtp_blocking
from smtp_blocking import install_as_smtplib

# This module is one of those that have the real one.
pytestmark = pytest.mark.filterwarnings("ignore:imported before install_as_smtplib:RuntimeWarning")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    assert sys.modules["smtplib"] is smtplib


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that has imported `smtplib` in all the ways that there are."""
    module = ModuleType("early")
    exec(  # noqa: S102  # a module's code
        "import smtplib, smtplib as mail\nfrom smtplib import SMTP, SMTPException as Error, quoteaddr, SMTP_PORT\n"
        "class Derived(SMTP): pass\n",
        vars(module),
    )
    monkeypatch.setitem(sys.modules, "early", module)
    return module


def test_import_gives_ours_until_it_is_undone() -> None:
    with install_as_smtplib():
        assert importlib.import_module("smtplib") is smtp_blocking
        names: dict[str, Any] = {}
        exec("import smtplib\nfrom smtplib import SMTP", names)  # noqa: S102  # an import statement
        assert names["smtplib"] is smtp_blocking
        assert names["SMTP"] is smtp_blocking.SMTP
    assert importlib.import_module("smtplib") is smtplib


def test_undone_by_hand_and_twice() -> None:
    substitution = install_as_smtplib()
    assert sys.modules["smtplib"] is smtp_blocking
    substitution.undo()
    substitution.undo()
    assert sys.modules["smtplib"] is smtplib


def test_one_within_the_other() -> None:
    with install_as_smtplib():
        with install_as_smtplib():
            pass
        assert sys.modules["smtplib"] is smtp_blocking


def test_where_nobody_had_imported_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.delitem(sys.modules, "smtplib")
        with install_as_smtplib():
            assert sys.modules["smtplib"] is smtp_blocking
        assert "smtplib" not in sys.modules


def test_what_somebody_else_has_put_there_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    another = ModuleType("smtplib")
    monkeypatch.setitem(sys.modules, "smtplib", smtplib)  # put back in the end
    with install_as_smtplib():
        sys.modules["smtplib"] = another
    assert sys.modules["smtplib"] is another


def test_modules_that_were_earlier_are_named_and_left_alone(early: ModuleType) -> None:
    before = dict(vars(early))
    with warnings.catch_warnings(), pytest.warns(RuntimeWarning, match=r"\bearly\b") as caught, install_as_smtplib():
        assert vars(early) == before
    assert {warning.filename for warning in caught} == {__file__}


def test_our_own_modules_are_not_named(early: ModuleType) -> None:
    with install_as_smtplib("early") as substitution:
        assert not [name for name in substitution.late() if name.startswith(("early", "smtp_", "smtplib"))]


def test_modules_that_are_asked_for_follow_and_come_back(early: ModuleType) -> None:
    before = dict(vars(early))
    with install_as_smtplib("early"):
        assert early.smtplib is early.mail is smtp_blocking
        assert early.SMTP is smtp_blocking.SMTP
        assert early.Error is smtp_blocking.SMTPException
        assert early.quoteaddr is smtp_blocking.quoteaddr
        assert early.Derived.__base__ is smtplib.SMTP  # what was made of the old one stays so
    assert vars(early) == before


def test_a_module_that_is_asked_for_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "logging.handlers", raising=False)
    with install_as_smtplib("logging.handlers"):
        assert "logging.handlers" in sys.modules


def test_a_module_that_there_is_not_leaves_all_as_it_was(early: ModuleType) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        install_as_smtplib("early", "no_such_module")
    assert early.smtplib is smtplib


def test_a_warning_that_is_an_error_leaves_all_as_it_was(early: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            install_as_smtplib()
    assert early.smtplib is smtplib


class Touchy:
    """As the proxies of some frameworks: whatever is asked of it makes it do something."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None  # type: ignore[assignment]  # nor can it be hashed


def test_other_names_of_a_module_are_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("touchy")
    vars(module)["touchy"] = Touchy()
    monkeypatch.setitem(sys.modules, "touchy", module)
    with install_as_smtplib("touchy") as substitution:
        assert "touchy" not in substitution.late()


def test_the_exceptions_stay_those_that_the_real_one_catches() -> None:
    with install_as_smtplib():
        found = importlib.import_module("smtplib")
        with pytest.raises(smtplib.SMTPServerDisconnected), found.SMTP() as smtp:
            smtp.noop()
