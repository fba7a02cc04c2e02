"""`docs/extensions.md` is what the code says, and every claim in it has a test behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import make_extensions as table
from smtp_proto.commands import Burl, Etrn, XClient, XForward
from smtp_proto.sasl_choice import ON_REQUEST, PREFERENCE
from smtp_proto.sasl_server import SERVER_MECHANISMS

ROOT = Path(__file__).parent.parent
CLAIMS = {**{name: row[2] for name, row in table.EXTENSIONS.items()}, **{n: r[1] for n, r in table.MECHANISMS.items()}}
# How a test speaks of what is not called by its keyword.
OTHER_NAMES = {
    "8BITMIME": ["eight", "8BITMIME"],
    "ENHANCEDSTATUSCODES": ["enhanced"],
    "PIPELINING": ["pipelin"],
    "STARTTLS": ["starttls"],
    "SIZE": ["Size", "size"],
    "CHUNKING": ["BDAT"],
    "SMTPUTF8": ["SMTPUTF8", "utf8", "jürgen"],
    "AUTH": ["AuthenticatedAs", "AUTH", "login"],
}


def test_the_document_is_up_to_date() -> None:
    """Whoever adds an extension or a mechanism writes the document again."""
    regenerate = "docs/extensions.md is out of date: run `python docs/make_extensions.py`"
    assert table.OUTPUT.read_text(encoding="utf-8") == table.document(), regenerate


def test_nothing_in_the_code_is_without_a_row() -> None:
    """Every parameter, every command of an extension, every offer of the server, and every mechanism has its row."""
    for parameter in table.known_parameters():
        assert parameter.extension in table.EXTENSIONS, parameter
        assert parameter.rfc.startswith("RFC ")
        assert parameter.rfc in table.EXTENSIONS[parameter.extension][0]
    assert {one.verb for one in (Burl, Etrn, XClient, XForward)} <= set(table.EXTENSIONS)
    assert table.offered() <= set(table.EXTENSIONS)
    assert {*PREFERENCE, *ON_REQUEST, *SERVER_MECHANISMS} == set(table.MECHANISMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_has_tests_that_speak_of_it(name: str) -> None:
    """Each file that a row names is there, and has to do with the row; and each row names one at least."""
    paths = CLAIMS[name].paths
    assert paths
    for path in paths:
        text = (ROOT / path).read_text(encoding="utf-8")
        parameters = [one.__name__ for one in table.known_parameters() if one.extension == name]
        words = [name, name.lower(), *OTHER_NAMES.get(name, ()), *parameters]
        assert any(word in text for word in words), f"{path} does not speak of {name}"
