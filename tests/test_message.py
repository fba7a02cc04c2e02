"""From messages to envelopes and octets: who sends, who receives, what is left out, and CRLF everywhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from typing import Any

import pytest

from smtp_proto.message import flatten, forward_paths, reverse_path


def message(
    *headers: tuple[str, str], body: str = "text\n", make: Callable[[], Message[Any, Any]] = EmailMessage
) -> Any:
    made = make()
    for name, value in headers:
        made[name] = value
    made.set_payload(body)
    return made


# -- the envelope ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [EmailMessage, Message])
@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ([("From", "a@x.test")], "a@x.test"),
        ([("From", "A <a@x.test>, b@x.test")], "a@x.test"),
        ([("From", '"x@y, z" <a@x.test>')], "a@x.test"),
        ([("From", "a@x.test"), ("Sender", "s@x.test")], "s@x.test"),
        ([("From", "a@x.test"), ("Sender", "")], "a@x.test"),
        ([("From", "a@x.test"), ("Resent-From", "r@x.test")], "a@x.test"),
        ([("From", "a@x.test"), ("Resent-From", "r@x.test"), ("Resent-Date", "x")], "r@x.test"),
        (
            [("Sender", "s@x.test"), ("Resent-From", "r@x.test"), ("Resent-Sender", "q@x.test"), ("Resent-Date", "x")],
            "q@x.test",
        ),
    ],
)
def test_reverse_path(make: Callable[[], Message[Any, Any]], headers: list[tuple[str, str]], path: str) -> None:
    """Sender before From (RFC 5322 3.6.2), those with Resent- in a message that was resent, the first address of it."""
    assert reverse_path(message(*headers, make=make)) == path


@pytest.mark.parametrize(
    ("headers", "missing"),
    [
        ([], "no Sender or From header"),
        ([("To", "a@x.test")], "no Sender or From header"),
        ([("From", "")], "no Sender or From header"),
        ([("From", "a@x.test"), ("Resent-Date", "x")], "no Resent-Sender or Resent-From header"),
    ],
)
def test_no_sender(headers: list[tuple[str, str]], missing: str) -> None:
    """A message without a sender is a local mistake: a `ValueError` says which headers were looked for."""
    with pytest.raises(ValueError, match=missing):
        reverse_path(message(*headers))


@pytest.mark.parametrize("make", [EmailMessage, Message])
@pytest.mark.parametrize(
    ("headers", "paths"),
    [
        ([], []),
        ([("To", "")], []),
        ([("To", "a@x.test")], ["a@x.test"]),
        (
            [("Cc", "c@x.test"), ("Bcc", "b@x.test"), ("To", "A <a@x.test>, d@x.test")],
            ["a@x.test", "d@x.test", "b@x.test", "c@x.test"],
        ),
        ([("To", "a@x.test"), ("Resent-To", "r@x.test")], ["a@x.test"]),
        ([("To", "a@x.test"), ("Resent-To", "r@x.test"), ("Resent-Date", "x")], ["r@x.test"]),
        ([("Resent-Bcc", "b@x.test"), ("Resent-Cc", "c@x.test"), ("Resent-Date", "x")], ["b@x.test", "c@x.test"]),
        ([("To", "group: a@x.test, b@x.test;")], ["a@x.test", "b@x.test"]),
    ],
)
def test_forward_paths(make: Callable[[], Message[Any, Any]], headers: list[tuple[str, str]], paths: list[str]) -> None:
    """All addresses of To, Bcc and Cc, or of their Resent- counterparts alone."""
    assert forward_paths(message(*headers, make=make)) == paths


def test_a_header_that_stands_twice() -> None:
    """Where a message has several To headers, the addresses of all of them are recipients."""
    assert forward_paths(message(("To", "a@x.test"), ("To", "b@x.test"), make=Message)) == ["a@x.test", "b@x.test"]


@pytest.mark.parametrize("ask", [reverse_path, forward_paths])
def test_several_resent_blocks(ask: Callable[[Message[Any, Any]], object]) -> None:
    """Which of two Resent- blocks counts cannot be told, so nobody guesses."""
    resent = message(("From", "a@x.test"), ("Resent-Date", "x"), ("Resent-Date", "y"), make=Message)
    with pytest.raises(ValueError, match="more than one 'Resent-' header block"):
        ask(resent)


# -- the octets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [EmailMessage, Message])
def test_octets_have_crlf_and_no_bcc(make: Callable[[], Message[Any, Any]]) -> None:
    """Every line ends in CRLF; Bcc and Resent-Bcc are left out, in any case and number; the message is not changed."""
    original = message(
        ("From", "a@x.test"),
        ("To", "b@x.test"),
        ("bcc", "secret@x.test"),
        ("Resent-BCC", "hidden@x.test"),
        ("Subject", "s"),
        body="one\n.two\n",
        make=make,
    )
    before = copy.deepcopy(original)
    octets = flatten(original)
    assert octets == b"From: a@x.test\r\nTo: b@x.test\r\nSubject: s\r\n\r\none\r\n.two\r\n"
    assert original.items() == before.items()
    assert original.get_payload() == before.get_payload()
    assert forward_paths(original) == ["b@x.test", "secret@x.test"]


def test_octets_of_a_parsed_message_are_kept() -> None:
    """8-bit octets of a message that was parsed go out as they came."""
    octets = b"From: a@x.test\r\nContent-Type: text/plain; charset=latin-1\r\n"
    octets += b"Content-Transfer-Encoding: 8bit\r\n\r\nk\xe4se\r\n"
    assert flatten(message_from_bytes(octets)) == octets
    assert flatten(message_from_bytes(octets, policy=policy.SMTP)) == octets


def test_utf8_headers() -> None:
    """Headers are ASCII (RFC 2047) unless UTF-8 is asked for, which needs a transaction with SMTPUTF8."""
    original = message(("From", "a@x.test"), ("Subject", "grüße"))
    assert flatten(original) == b"From: a@x.test\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\ntext\r\n"
    assert flatten(original, utf8=True) == "From: a@x.test\r\nSubject: grüße\r\n\r\ntext\r\n".encode()


def test_lines_that_begin_with_from() -> None:
    """A line of text that begins with "From " is changed only where the message's policy asks for it."""
    plain = message(body="From me\n")
    mangled = EmailMessage(policy=policy.default.clone(mangle_from_=True))
    mangled.set_payload("From me\n")
    assert flatten(plain) == b"\r\nFrom me\r\n"
    assert flatten(mangled) == b"\r\n>From me\r\n"


def test_multipart() -> None:
    """Parts and their boundaries have CRLF, and their octets are a message that says the same."""
    original = EmailMessage()
    original["From"] = "a@x.test"
    original.set_content("text\n")
    original.add_attachment(b"\0\xff", maintype="application", subtype="octet-stream", filename="f")
    octets = flatten(original)
    assert b"\n" not in octets.replace(b"\r\n", b"")
    again = message_from_bytes(octets, policy=policy.default)
    assert [part.get_content_type() for part in again.walk()] == [part.get_content_type() for part in original.walk()]
    assert list(again.walk())[-1].get_payload(decode=True) == b"\0\xff"
