"""The functions of the module give what those of `smtplib` give, for whatever text."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import smtp_blocking

# Some of what they have is not known to the type checker.
THEIRS: Any = smtplib
OURS: Any = smtp_blocking

# Pieces that mean something to one of them, among others.
PIECES = [*'ab.@<>"(),:;\\ \t\r\n', "..", "\r\n", "\xe9", "b.c", "=?utf-8?q?x?="]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)


def outcome(function: Callable[[Any], object], argument: object) -> object:
    try:
        return function(argument)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is to be the same
        return type(error)


@pytest.mark.parametrize("name", ["quoteaddr", "quotedata", "_addr_only", "_fix_eols"])
@given(text=TEXTS)
@example("")
@example("<>")
@example(" <a@b> ")
@example("A B <a@b.c>")
@example('"a b"@c.d')
@example("a@b.c (comment)")
@example("group: a@b.c, d@e.f;")
@example(".\r.\n.\r\n..")
def test_text(name: str, text: str) -> None:
    assert outcome(getattr(OURS, name), text) == outcome(getattr(THEIRS, name), text)


@given(text=TEXTS)
def test_octets(text: str) -> None:
    octets = text.encode("utf-8", "surrogatepass")
    assert OURS._quote_periods(octets) == THEIRS._quote_periods(octets)


@pytest.mark.parametrize("octets", [b"", b"x", b"\0user\0password", b"\xff" * 100])
def test_encode_base64(octets: bytes) -> None:
    assert OURS.encode_base64(octets, eol="") == THEIRS.encode_base64(octets, eol="")
