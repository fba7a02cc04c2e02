"""Domains that are not ASCII, as A-labels."""

from __future__ import annotations

import sys

import pytest

from smtp_proto.domains import a_labels, with_a_labels
from smtp_proto.errors import InvalidArgument


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("example.test", "example.test"),
        ("EXAMPLE.test", "EXAMPLE.test"),  # nothing to do: as it is
        ("", ""),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER.example", "xn--bcher-kva.example"),  # mapped, as everybody does
        ("bu\u0308cher.example", "xn--bcher-kva.example"),  # decomposed
        ("\u4f8b\u3002test", "xn--fsq.test"),  # an ideographic full stop
        ("fa\u00df.example", "xn--fa-hia.example"),  # IDNA 2003 would make "fass" of it
        ("a_b.b\u00fccher.example", "a_b.xn--bcher-kva.example"),
        ("xn--bcher-kva.b\u00fccher.example", "xn--bcher-kva.xn--bcher-kva.example"),
    ],
)
def test_a_labels(domain: str, expected: str) -> None:
    """IDNA 2008 with the mapping of UTS 46, label by label, and only where one is not ASCII."""
    assert a_labels(domain) == expected
    assert with_a_labels(f'"a@b"@{domain}') == f'"a@b"@{expected}'


@pytest.mark.parametrize(
    "domain", ["\u2603.test", "\u00fc..\u2603", "-\u00fc-.test", "\u00fc" * 80 + ".test", "\u0627a.test"]
)
def test_no_a_labels(domain: str) -> None:
    """What IDNA 2008 does not allow is a local mistake, and the error says which domain."""
    with pytest.raises(InvalidArgument, match="has no form in ASCII"):
        a_labels(domain)


@pytest.mark.parametrize("character", ["\uff1e", "\uff1c", "\uff02", "\uff20", "\uff1a", "\u3000", "\xa0", "\uff0d>"])
def test_no_domain_breaks_out_of_its_path(character: str) -> None:
    """What the mapping makes is a domain name: no bracket, quotation mark or white space comes of it."""
    for domain in (f"b{character}.test", f"b.test{character}", f"b.test{character}\xfc", f"{character}x"):
        with pytest.raises(InvalidArgument, match="has no form in ASCII"):
            a_labels(domain)


def test_an_address_without_a_domain() -> None:
    """A local part alone is no business of IDNA's."""
    assert with_a_labels("postmaster") == "postmaster"
    assert with_a_labels("b\u00fccher") == "b\u00fccher"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error says what to install; ASCII needs none."""
    monkeypatch.setitem(sys.modules, "idna", None)
    assert a_labels("example.test") == "example.test"
    with pytest.raises(InvalidArgument, match=r"pip install 'sansio-smtp\[idna\]'"):
        a_labels("b\u00fccher.example")
