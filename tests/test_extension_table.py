"""`docs/extensions.md` is what the code says, and every claim in it has a test behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import make_extensions as table
from smtp_proto.commands import Burl, Etrn, XClient, XForward
from smtp_proto.sasl_choice import ON_REQUEST, PREFERENCE
from smtp_proto.sasl_server import SERVER_MECHANISMS

ROOT = Path(__file__).parent.parent
CLAIMS = {
    **{name: row[2] for name, row in table.EXTENSIONS.items()},
    **{name: row[1] for name, row in (table.MECHANISMS | table.BEHAVIOUR).items()},
}
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
    "User names and passwords in UTF-8": ["UTF-8"],
    "Initial response of AUTH": ["initial_response_ok"],
    "Cancelling AUTH": ["test_cancelling"],
    "Stopping at 535": ["test_no_other_mechanism"],
    "`AUTH=` lines of old servers": ["AUTH=LOGIN"],
    "SIZE before MAIL": ["too_large"],
    "8-bit content to a server of 7 bits": ["8bit"],
    "SMTPUTF8 where it is needed": ["SMTPUTF8", "international"],
    "Domains beyond ASCII": ["U-label"],
    "Pipelining across messages": ["flight"],
    "Enhanced status codes read": ["enhanced"],
}
# What the survey of the field lists that is no keyword of EHLO, mechanism or behaviour.
LEFT_OUT = ["MTRK", "CONPERM", "CONNEG", "ATRN", "CHECKPOINT", "DIGEST-MD5"]


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


def test_what_is_left_out_has_a_reason() -> None:
    """What other programs know and this one does not is listed with the reason, and nothing is listed as both."""
    listed = [name for what in table.LEFT_OUT for name in what.partition(" (")[0].split(", ")]
    assert listed == LEFT_OUT
    assert not set(listed) & {*table.EXTENSIONS, *table.MECHANISMS}
    assert all(table.LEFT_OUT.values())


def test_doing_without() -> None:
    """What is done without an extension is said of extensions that there are, each of those with parameters of its own
    for which an RFC knows a way to do without among them."""
    assert {"8BITMIME", "BINARYMIME", "SMTPUTF8", "DSN", "DELIVERBY", "MT-PRIORITY"} <= set(table.FALLBACKS)
    assert set(table.FALLBACKS) <= set(table.EXTENSIONS)


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


@pytest.mark.parametrize("name", [*table.EXTENSIONS, *table.MECHANISMS])
def test_the_conformance_suite_speaks_of_it(name: str) -> None:
    """Each of them is in the suite that every backend runs."""
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests" / "conformance").glob("test_*.py"))
    if name in SERVER_MECHANISMS:
        assert "ALL = tuple(SERVER_MECHANISMS)" in text  # test_every_mechanism_over_tls has them from there
    else:
        words = [
            name,
            name.lower(),
            *OTHER_NAMES.get(name, ()),
            *(one.__name__ for one in table.known_parameters() if one.extension == name),
        ]
        assert any(word in text for word in words)
