"""From messages to envelopes and octets: who sends, who receives, what is left out, and CRLF everywhere."""

from __future__ import annotations

import copy
import io
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from email import message_from_bytes, policy
from email.generator import BytesGenerator
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage, Message
from email.policy import EmailPolicy
from email.utils import getaddresses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtp_proto.errors import InvalidArgument
from smtp_proto.message import flatten, forward_paths, needs_utf8, resent_prefix, reverse_path
from smtp_proto.sources import PIECE


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


ADDRESS_WORDS = [
    "a",
    "x.test",
    "@",
    "a@x.test",
    "Ann",
    " ",
    ", ",
    ",",
    "<",
    ">",
    "<b@x.test>",
    '"',
    "\\",
    "(",
    ")",
    ":",
    ";",
]
ADDRESS_WORDS += [".", "..", "[", "]", "\t", "\r\n ", "ä", "=?utf-8?q?=2C?=", "@y.test:"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.sampled_from(ADDRESS_WORDS), max_size=8).map("".join), max_size=3))
def test_addresses_are_those_that_the_standard_library_finds(values: list[str]) -> None:
    """Whatever stands in a header, plain or not, and however many there are."""
    made: Any = Message()
    for value in values:
        made["To"] = value
    assert forward_paths(made) == [address for _, address in getaddresses(values) if address]


@pytest.mark.parametrize("part", [" ", "a", "a.", "a@", "a b", "<", "<a@b>"])
def test_addresses_are_looked_for_in_linear_time(part: str) -> None:
    """A header that somebody else wrote takes no time to speak of: with a square in it, this would take minutes."""
    made: Any = Message()
    made["To"] = part * 100_000 + "("
    forward_paths(made)


@pytest.mark.parametrize("ask", [reverse_path, forward_paths, resent_prefix])
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


# -- what is not ASCII -------------------------------------------------------------------------------------------------

MAKES = pytest.mark.parametrize("make", [EmailMessage, Message])


@MAKES
@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("From", "a@x.test", False),
        ("From", "Änn <a@x.test>", False),
        ("From", "a@bücher.test", False),
        ("From", "a@☃.test", True),
        ("Sender", "ä@x.test", True),
        ("To", "B <b@x.test>, ä@x.test", True),
        ("Resent-Cc", "ä@x.test", True),
        ("Bcc", "ä@x.test", False),  # not sent
        ("Subject", "ä@x.test", False),
        ("Message-ID", "<ä@x.test>", True),
        ("References", "<a@x.test> <b@ü.test>", True),
    ],
)
def test_needs_utf8(make: Callable[[], Message[Any, Any]], name: str, value: str, needs: bool) -> None:
    """UTF-8 is needed for what has no encoding: local parts, identifiers, domains without A-labels; words have one."""
    made = message((name, value), make=make)
    assert needs_utf8(made) is needs
    if needs:
        with pytest.raises(InvalidArgument, match=rf"header {name}: .*SMTPUTF8"):
            flatten(made)
        assert f"{name}: {value}\r\n".encode() in flatten(made, utf8=True)
    else:
        assert flatten(made).isascii()


@MAKES
def test_domains_in_headers(make: Callable[[], Message[Any, Any]]) -> None:
    """Domains become A-labels, in every address of every header, groups and display names kept; the message stays."""
    made = message(
        ("From", "Änn <a@bücher.test>"),
        ("To", '"B, C" <b@x.test>, c@bücher.test'),
        ("Subject", "a@bücher.test"),
        make=make,
    )
    before = made.as_string()
    octets = flatten(made)
    again = message_from_bytes(octets, policy=policy.default)
    assert again["From"].addresses[0].display_name == "Änn"
    assert [address.addr_spec for address in again["From"].addresses] == ["a@xn--bcher-kva.test"]
    assert [address.display_name for address in again["To"].addresses] == ["B, C", ""]
    assert [address.addr_spec for address in again["To"].addresses] == ["b@x.test", "c@xn--bcher-kva.test"]
    assert again["Subject"] == "a@bücher.test"
    assert list(again.keys()) == ["From", "To", "Subject"]
    assert made.as_string() == before


def test_groups_in_headers() -> None:
    """A group keeps its name and its members."""
    made = message(("To", "G: a@bücher.test, B <b@x.test>;, c@x.test"))
    assert b"To: G: a@xn--bcher-kva.test, B <b@x.test>;, c@x.test\r\n" in flatten(made)


@pytest.mark.parametrize("rules", [policy.compat32, policy.default, policy.SMTPUTF8])
def test_headers_that_a_parser_left_in_octets(rules: Any) -> None:
    """A message that was parsed from octets with UTF-8 in its headers can be sent again, with SMTPUTF8."""
    octets = "From: Änn <ä@bücher.test>\r\nSubject: ü\r\n\r\ntext\r\n".encode()
    made = message_from_bytes(octets, policy=rules)
    assert needs_utf8(made)
    assert flatten(made, utf8=True) == octets
    with pytest.raises(InvalidArgument, match="header From"):
        flatten(made)


def test_headers_in_no_known_encoding() -> None:
    """Octets that are no UTF-8 are left as they are."""
    octets = b"From: \xe4 <a@x.test>\r\n\r\ntext\r\n"
    made = message_from_bytes(octets)
    assert not needs_utf8(made)
    assert flatten(made) == flatten(made, utf8=True) == octets


def test_binary_parts_become_base64() -> None:
    """A part whose encoding is binary is encoded, for the generator would change its line ends; the message stays."""
    content = bytes(range(256)) + b"\r\n\n\r"
    made = EmailMessage()
    made["From"] = "a@x.test"
    made.set_content("text\n")
    made.add_attachment(content, "image", "x", cte="binary")
    sent: Any = message_from_bytes(flatten(made), policy=policy.default)
    [attachment] = sent.iter_attachments()
    assert attachment["Content-Transfer-Encoding"] == "base64"
    assert attachment.get_content() == content
    [original] = made.iter_attachments()
    assert original["Content-Transfer-Encoding"] == "binary"


# -- how text is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(PIECE - 3, PIECE + 2))
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\n\r"])
def test_text_is_written_as_the_standard_library_does(length: int, end: str) -> None:
    """Every line end is CRLF, those around the end of a piece too, and what is eight bits wide stays as it is."""
    text = "x" * length + end + "\udcfcber\n" + end + "last"
    made = message(("Subject", "x"), body=text, make=Message)
    expected = io.BytesIO()
    BytesGenerator(expected, policy=made.policy).flatten(made, linesep="\r\n")
    assert flatten(made) == expected.getvalue()


class Signed(Message):
    """Writes its own headers, as the standard library lets it."""

    def _write_headers(self, generator: Any) -> None:
        generator.write("X-Own: headers\r\n\r\n")


WORDS = ["a", ".", "\n", "\r", "\r\n", "From ", "\udcfc", "-- ", "--b0", " ", "ä"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
HEADERS = st.sampled_from(
    [[], [("X-Long", "word " * 30)], [("Content-Disposition", "inline"), ("X-A", "1"), ("X-A", "2")]]
)


def leaf(kind: str, text: str | None, headers: list[tuple[str, str]], encoding: str) -> Any:
    made: Any = Signed() if kind == "text/signed" else Message()
    made["Content-Type"] = kind + "; charset=utf-8; boundary=b9"
    made["Content-Transfer-Encoding"] = encoding
    for name, value in headers:
        made[name] = value
    made.set_payload(text)
    return made


def branch(
    kind: str, parts: list[Message[Any, Any]], headers: list[tuple[str, str]], before: str | None, behind: str | None
) -> Any:
    made: Any = Message()
    made["Content-Type"] = f"{kind}; boundary=b{len(parts)}"
    for name, value in headers:
        made[name] = value
    made.set_payload(parts[:1] if kind == "message/rfc822" and parts else parts)
    made.preamble, made.epilogue = before, behind
    return made


LEAVES = st.builds(
    leaf,
    st.sampled_from(["text/plain", "application/x", "image/x", "text/signed", "multipart/mixed", "message/x"]),
    st.none() | TEXTS,
    HEADERS,
    st.sampled_from(["7bit", "8bit", "base64"]),
)
TREES = st.recursive(
    LEAVES,
    lambda parts: st.builds(
        branch,
        st.sampled_from(["multipart/mixed", "multipart/signed", "multipart/digest", "message/rfc822", "message/x"]),
        st.lists(parts, max_size=3),
        HEADERS,
        st.none() | TEXTS,
        st.none() | TEXTS,
    ),
    max_leaves=5,
)


class Shouting(EmailPolicy):
    """Writes headers in its own way."""

    def fold_binary(self, name: str, value: str) -> bytes:
        return super().fold_binary(name, value).upper()


class Reversed(UnstructuredHeader):
    """A header that is written in its own way."""

    def fold(self, *, policy: Any) -> str:
        return f"X-Reversed: {str(self)[::-1]}{policy.linesep}"


REGISTRY: Any = HeaderRegistry()
REGISTRY.map_to_type("X-Reversed", Reversed)
POLICIES = [
    policy.compat32,
    policy.compat32.clone(mangle_from_=True),
    policy.default,
    policy.SMTP.clone(cte_type="7bit"),
    policy.SMTPUTF8,
    Shouting(),
]


def flattened(write: Callable[[], bytes]) -> bytes | None:
    """None where it raises: of several mistakes either may be found first."""
    try:
        return write()
    except Exception:  # noqa: BLE001  # whichever
        return None


@settings(max_examples=150, deadline=None)
@given(made=TREES, rules=st.sampled_from(POLICIES))
def test_it_writes_what_the_standard_library_writes(made: Message[Any, Any], rules: Any) -> None:
    """Octet by octet, for parts of every kind and whatever they have, under every policy, and where that raises."""
    made.policy = rules

    def by_the_library() -> bytes:
        expected = io.BytesIO()
        BytesGenerator(expected, policy=rules).flatten(copy.deepcopy(made), linesep="\r\n")
        return expected.getvalue()

    assert flattened(lambda: flatten(made)) == flattened(by_the_library)


NAMES = ["From", "To", "Subject", "Date", "Message-ID", "Content-Type", "Content-Disposition", "MIME-Version"]
NAMES += ["Content-Transfer-Encoding", "X-A", "X-Reversed", "X-" + "N" * 70, ""]
VALUE_WORDS = ["a@x.test", "Ann ", "<b@x.test>", ", ", '"q, r" ', "=?us-ascii?q?a_b?=", " ", "\t"]
VALUE_WORDS += ["text/plain", "; charset=utf-8", "; filename*=utf-8''%41", "x" * 55, "word " * 10, "G: ", ";", "(c)"]
VALUE_WORDS += ["\\", "1.0", "Fri, 21 Nov 1997 09:55:06 -0600", "7bit", "\r\n ", "\n\t", "\n", "\x0b"]
OTHER_WORDS = ["ä", "\udce4", "\x85", "=?utf-8?q?=C3=A4?="]
HEADER_POLICIES = [
    *POLICIES,
    policy.default.clone(max_line_length=0),
    policy.default.clone(max_line_length=40),
    policy.default.clone(refold_source="all"),
    policy.default.clone(refold_source="none"),
    policy.default.clone(header_factory=REGISTRY),
    policy.compat32.clone(max_line_length=None),
]


@st.composite
def a_field(draw: st.DrawFn) -> tuple[str, str]:
    name = draw(st.sampled_from(NAMES))
    # What becomes of addresses and identifiers that are not ASCII is no matter of how they are written.
    words = VALUE_WORDS + (OTHER_WORDS if name not in ("From", "To", "Message-ID") else [])
    return name, "".join(draw(st.lists(st.sampled_from(words), max_size=4)))


@settings(max_examples=600, deadline=None)
@given(
    st.lists(a_field(), max_size=3), st.booleans(), st.sampled_from(HEADER_POLICIES), st.sampled_from(HEADER_POLICIES)
)
def test_header_fields_are_those_that_the_standard_library_writes(
    fields: list[tuple[str, str]], parsed: bool, theirs: Any, rules: Any
) -> None:
    """Short or long, parsed or set, under one policy or made under another one, and where that raises."""
    made: Any = Message(theirs)
    for name, value in fields:
        with suppress(Exception):  # whatever a policy does not like
            made.set_raw(name, value) if parsed else made.add_header(name, value)
    made.policy = rules
    made.set_payload("text\n")

    def by_the_library() -> bytes:
        expected = io.BytesIO()
        BytesGenerator(expected, policy=rules).flatten(made, linesep="\r\n")
        return expected.getvalue()

    assert flattened(lambda: flatten(made)) == flattened(by_the_library)


def test_it_keeps_only_what_it_writes() -> None:
    """Of a large part there is no second copy: the octets, and pieces of them."""
    made = EmailMessage()
    made.set_content("text\n")
    made.add_attachment(bytes(3 << 20), maintype="application", subtype="octet-stream")
    flatten(made)  # what is imported, and compiled, the first time
    tracemalloc.start()
    try:
        size = len(flatten(made))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 4 << 20
    assert most < size + 12 * PIECE


def test_boundaries_are_made_up() -> None:
    """Where there is none a part gets one that cannot be guessed; neither the message nor its parts are changed."""
    inner = EmailMessage()
    inner.set_content("inner\n")
    inner.add_alternative("<p>inner", subtype="html")
    made = EmailMessage()
    made["Subject"] = "x"
    made.set_content("text\n")
    made.add_attachment(b"octets", maintype="application", subtype="octet-stream")
    made.attach(inner)
    found = set()
    for _ in range(2):
        again = message_from_bytes(flatten(made), policy=policy.default)
        assert [part.get_content_type() for part in again.walk()] == [part.get_content_type() for part in made.walk()]
        found |= {part.get_boundary() for part in again.walk() if part.is_multipart()}
    assert len(found) == 4
    assert [part.get_boundary() for part in made.walk()] == [None] * 6
