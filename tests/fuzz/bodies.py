"""However a message is cut, it is one message on the wire, to strict and to lenient servers, and arrives as it was.

An input: one octet that chooses where to cut, and the message.  The same octets are also read as what a client sends
behind DATA: whatever way they are cut, the same text comes out.
"""

from __future__ import annotations

import re

from smtp_proto.body import DataDecoder, DataEncoder, LineEndEncoder
from smtp_proto.errors import InvalidArgument
from tests.fuzz.inputs import Input, ways


def check(data: bytes) -> None:
    given = Input(data)
    at = given.number()
    octets = given.rest()
    check_received(octets, at)
    if b"\0" in octets:
        check_refused(octets)
        octets = octets.replace(b"\0", b"")
    wires = [encoded(DataEncoder(), pieces) for pieces in ways(octets, at)]
    assert set(wires) == {wires[0]}
    check_wire(wires[0], octets, at)
    chunks = {encoded(LineEndEncoder(), pieces) for pieces in ways(octets, at)}
    assert chunks == {normal(octets)}


def encoded(encoder: LineEndEncoder, pieces: list[bytes]) -> bytes:
    return b"".join(map(encoder.encode, pieces)) + encoder.finish()


def normal(octets: bytes) -> bytes:
    """The message as it must arrive, by other means than the library's."""
    text = re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"


def check_wire(wire: bytes, octets: bytes, at: int) -> None:
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)
    # Receivers that take any of these for a line end, and a dot between two of them for the end of the message.
    for line_end in (rb"\r\n", rb"\r?\n", rb"\r\n?|\n", rb"[\r\n]"):
        ends = [match.end() for match in re.finditer(rb"(?:^|(?<=[\r\n]))\.(?:%b)" % line_end, wire)]
        assert len(ends) == 1, wire
        assert ends[0] in (len(wire), len(wire) - 1)
    for pieces in ways(wire + b"quit\r\n", at):
        assert decoded(pieces) == (normal(octets), b"quit\r\n")


def decoded(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """The text, and what lies behind its end, None if that has not come."""
    decoder = DataDecoder()
    text = b""
    for number, piece in enumerate(pieces):
        part, rest = decoder.decode(piece)
        text += part
        if decoder.finished:
            return text, rest + b"".join(pieces[number + 1 :])
        assert not rest
    return text, None


def check_received(octets: bytes, at: int) -> None:
    results = [decoded(pieces) for pieces in ways(octets, at)]
    end = (b"\r\n" + octets).find(b"\r\n.\r\n")
    for text, rest in results:
        assert rest == results[0][1] == (octets[end + 3 :] if end >= 0 else None)
        if rest is not None:
            assert text == (b"\r\n" + octets)[: end + 2].replace(b"\r\n.", b"\r\n")[2:]
        # What may be the beginning of the end is held back: five octets are the whole of it.
        assert text == results[0][0]


def check_refused(octets: bytes) -> None:
    """A NUL is refused, and what was given before and comes behind makes a message as if it had not been there."""
    encoder = DataEncoder()
    before = encoder.encode(b"before\r")
    try:
        encoder.encode(octets)
    except InvalidArgument:
        assert before + encoder.encode(b".\n") + encoder.finish() == b"before\r\n..\r\n.\r\n"
    else:
        raise AssertionError("a NUL was taken")
