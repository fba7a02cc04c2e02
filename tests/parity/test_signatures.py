"""Whatever name, argument or attribute the `smtplib` of this Python has, a backend has too, and more only as listed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import smtp_blocking

from .signatures import differences


def test_names_signatures_and_attributes() -> None:
    assert differences(smtp_blocking) == []


def altered(**names: Any) -> ModuleType:
    """The package with some names exchanged."""
    module = ModuleType("altered")
    vars(module).update({name: value for name, value in vars(smtp_blocking).items() if not name.startswith("__")})
    vars(module).update({"__all__": list(smtp_blocking.__all__), **names})
    return module


class LostArgument(smtp_blocking.SMTP):
    def mail(self, sender: str) -> Any:  # type: ignore[override]  # that it is wrong is the point
        return super().mail(sender)


class OtherOrder(smtp_blocking.SMTP):
    def rcpt(self, options: Any, recip: Any = ()) -> Any:  # type: ignore[override]  # the same
        return super().rcpt(recip, options)


class OtherDefault(smtp_blocking.SMTP):
    def help(self, args: str = "me") -> bytes:
        return super().help(args)


class MoreByPosition(smtp_blocking.SMTP):
    def noop(self, transcript: Any = None) -> Any:
        return super().noop()


class OtherValue(smtp_blocking.SMTP):
    default_port = 587


class MoreNames(smtp_blocking.SMTP):
    surprise = 1


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (LostArgument, "SMTP.mail does not take options"),
        (OtherOrder, "SMTP.rcpt does not take recip as number 1"),
        (OtherDefault, "SMTP.help: args is 'me' by default, not ''"),
        (MoreByPosition, "SMTP.noop takes transcript: 'Any' = None, which is not in the list"),
        (OtherValue, "SMTP.default_port is 587, not 25"),
        (MoreNames, "SMTP().surprise is more, and not in the list"),
    ],
)
def test_what_differs_is_found(kind: type[Any], found: str) -> None:
    assert found in differences(altered(SMTP=kind))


def test_names_of_the_module_that_differ_are_found() -> None:
    module = altered(SMTP_PORT=26)
    del module.quotedata
    module.__all__.remove("SMTP_SSL")
    found = set(differences(module))
    assert found >= {"SMTP_PORT is 26, not 25", "quotedata is missing", "SMTP_SSL is not in __all__"}
