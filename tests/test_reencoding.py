"""Messages in seven bits: the same content for every reader of MIME, and nothing signed is touched."""

from __future__ import annotations

from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.body import normalise_line_ends
from smtp_proto.internationalization import Body, content_of
from smtp_proto.reencoding import to_seven_bits

UMLAUTS = "Grüße, und alles Gute für das neue Jahr.\r\n".encode()
HEADER = b"From: a@b.test\r\nSubject: =?utf-8?q?x?=\r\n   folded  as it was\r\nMIME-Version: 1.0\r\n"


def text(body: bytes, *headers: bytes, mime: bytes = HEADER) -> bytes:
    lines = headers or (b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit")
    return mime + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def multipart(*parts: bytes, kind: bytes = b"mixed", headers: bytes = b"") -> bytes:
    inside = b"".join(b"--xx\r\n" + part + b"\r\n" for part in parts)
    return HEADER + headers + b"Content-Type: multipart/%b; boundary=xx\r\n\r\n" % kind + inside + b"--xx--\r\n"


def part(body: bytes, kind: bytes = b"text/plain; charset=utf-8", encoding: bytes = b"8bit") -> bytes:
    return b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (kind, encoding, body)


INNER = b"Content-Type: multipart/%b; boundary=yy\r\n\r\n--yy\r\n" + part(UMLAUTS) + b"\r\n--yy--\r\n"


def contents(octets: bytes) -> list[tuple[str, Any]]:
    """What a reader sees of each part, line ends of text aside."""
    found = []
    for each in message_from_bytes(octets).walk():
        if not each.is_multipart():
            content = each.get_payload(decode=True)
            assert isinstance(content, bytes)
            is_text = each.get_content_maintype() == "text"
            found.append((each.get_content_type(), content.splitlines() if is_text else content))
    return found


BASE64 = b"Content-Transfer-Encoding: base64"
CONVERTED = {
    "text": text(UMLAUTS),
    "text that is mostly not ASCII": text("世界你好\r\n".encode() * 40),
    "without an encoding": text(UMLAUTS, b"Content-Type: text/plain; charset=utf-8"),
    "without a type": text(b"caf\xe9 au lait, s'il vous plait\r\n", b"X-Y: z"),
    "with LF": text(UMLAUTS).replace(b"\r\n", b"\n"),
    "dots, white space and From": text(b".\r\n.. \t\r\nFrom here\r\n \r\n" + UMLAUTS),
    "a long line": text(b"x" * 3000 + b"\r\n", b"Content-Type: text/html"),
    "a long line of base64": text(b"YWJj" * 1000 + b"\r\n", b"Content-Type: image/x", BASE64),
    "a NUL in text": text(b"a\0b\r\n"),
    "UTF-16": text("Grüße\n".encode("utf-16"), b"Content-Type: text/plain; charset=utf-16"),
    "binary": text(bytes(range(256)) * 9, b"Content-Type: image/x", b"Content-Transfer-Encoding: BINARY"),
    "parts": multipart(part(UMLAUTS), part(b"plain\r\n", encoding=b"7bit"), part(b"\xff\r\n\0", b"image/x", b"binary")),
    "parts that say 8bit": multipart(part(UMLAUTS), headers=b"Content-Transfer-Encoding: 8bit\r\n"),
    "parts of parts": multipart(INNER % b"mixed"),
    "a message within": multipart(b"Content-Type: message/rfc822\r\n\r\n" + text(UMLAUTS)),
}


@pytest.mark.parametrize("octets", CONVERTED.values(), ids=CONVERTED)
def test_the_content_stays(octets: bytes) -> None:
    """Seven bits, short lines, no NUL; headers as they were, and every part says the same."""
    result = to_seven_bits(octets)
    assert result is not None
    body, long_lines, _ = content_of(result)
    assert (body, long_lines) == (Body.SEVEN_BIT, False)
    assert result.startswith(HEADER)
    assert contents(result) == contents(octets)
    for each in message_from_bytes(result).walk():
        assert each.get("Content-Transfer-Encoding", "7bit") in ("7bit", "quoted-printable", "base64")
    assert to_seven_bits(result) == result


@pytest.mark.parametrize(
    ("name", "encodings"),
    [
        ("text", ["quoted-printable"]),
        ("text that is mostly not ASCII", ["base64"]),
        ("parts", ["quoted-printable", "7bit", "base64"]),
    ],
)
def test_the_encoding_suits_the_content(name: str, encodings: list[str]) -> None:
    """Mostly ASCII stays readable, the rest becomes base64; what needs nothing keeps its encoding."""
    result = to_seven_bits(CONVERTED[name])
    assert result is not None
    parts = [each for each in message_from_bytes(result).walk() if not each.is_multipart()]
    assert [each["Content-Transfer-Encoding"] for each in parts] == encodings


LEFT_ALONE = {
    "no MIME": text(UMLAUTS, mime=b"From: a@b.test\r\n"),
    "no header": UMLAUTS,
    "MIME-Version behind what is no header": text(UMLAUTS, mime=b"From: a@b.test\r\nno header\r\n" + HEADER),
    "8-bit headers": text(UMLAUTS, mime=HEADER + "X: ü\r\n".encode()),
    "8-bit headers of a part": multipart("X: ü\r\n".encode() + part(UMLAUTS)),
    "signed by DKIM": text(UMLAUTS, mime=b"DKIM-Signature: v=1\r\n" + HEADER),
    "signed by ARC": text(UMLAUTS, mime=b"ARC-Message-Signature: i=1\r\n" + HEADER),
    "a signed part": multipart(part(UMLAUTS), part(b"x", b"application/pgp-signature"), kind=b"signed"),
    "a signed part within": multipart(INNER % b"signed"),
    "a forwarded message that is signed": multipart(
        b"Content-Type: message/rfc822\r\n\r\nDKIM-Signature: v=1\r\n" + text(UMLAUTS)
    ),
    "a forwarded message that is no MIME": multipart(
        b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n" + UMLAUTS
    ),
    "an unknown encoding": text(UMLAUTS, b"Content-Transfer-Encoding: x-uuencode"),
    "broken base64": text(b"YWJjY" + b"Y" * 2000, BASE64),
    "8 bits in base64": text(b"YWJj\xff" * 5, BASE64),
    "no end of the parts": multipart(part(UMLAUTS)).removesuffix(b"--xx--\r\n"),
    "8 bits between the parts": multipart(part(UMLAUTS)) + UMLAUTS,
    "a long header": text(UMLAUTS, mime=HEADER + b"X: " + b"x" * 1200 + b"\r\n"),
}


@pytest.mark.parametrize("octets", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_is_left_alone(octets: bytes) -> None:
    """What is signed, no MIME, or not well formed, is none of ours to change."""
    assert to_seven_bits(octets) is None


@given(st.binary(max_size=300), st.sampled_from(["8bit", "binary", "7bit", "base64", "quoted-printable", "x", ""]))
def test_nonsense(body: bytes, encoding: str) -> None:
    """Whatever the octets are, nothing is raised, and what comes out is plain and says the same."""
    octets = text(body, b"Content-Type: image/x", b"Content-Transfer-Encoding: " + encoding.encode())
    result = to_seven_bits(octets)
    if result is not None:
        assert content_of(result).body is Body.SEVEN_BIT
        if encoding in ("8bit", "binary"):
            [(_, sent)], [(_, given)] = contents(result), contents(octets)
            assert normalise_line_ends(sent) == normalise_line_ends(given)  # what needed no encoding is sent as text
