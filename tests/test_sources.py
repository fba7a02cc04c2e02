"""Where messages come from: what is known of each kind in front, and what is found out only as it goes out."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.body import LineEndEncoder
from smtp_proto.commands import Mail
from smtp_proto.errors import ConnectionLost, InvalidArgument, LocalProtocolError
from smtp_proto.outcome import Fate
from smtp_proto.sources import PIECE, Measure, octets_of, source_of
from smtp_proto.transaction import deliver

from .deliveries import EAGER, MESSAGE, SENDER, WAYS, Delivery, Way, every_way, recipients
from .flows import Scripted, introduced
from .splitting import cut


class Unseekable(io.BytesIO):
    """A file that is read once, such as a pipe."""

    def seekable(self) -> bool:
        return False


class Growing(io.BytesIO):
    """A file that has another size when it is read the second time."""

    def __init__(self, first: bytes, second: bytes) -> None:
        super().__init__(first)
        self._second = second

    def seek(self, offset: int, whence: int = 0) -> int:
        self.__init__(self._second, b"")  # type: ignore[misc]  # the test's way to exchange the content
        return super().seek(offset, whence)


@given(
    message=st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"ab"]), max_size=12).map(b"".join),
    cuts=st.lists(st.integers(0, 20), max_size=4),
)
def test_what_is_counted_is_what_is_sent(message: bytes, cuts: list[int]) -> None:
    """The sizes are those of the encoded octets, whatever way a message is split."""
    measure = Measure()
    for chunk in cut(message, *sorted(min(offset, len(message)) for offset in cuts)):
        measure.add(chunk)
    encoder = LineEndEncoder()
    body = encoder.encode(message)
    encoded = body + encoder.finish()
    whole = source_of(message)
    assert (measure.length, measure.size) == (whole.length, whole.size)
    assert whole.encoded == len(encoded)
    assert whole.size in (len(encoded), len(encoded) - 2)
    assert source_of(message, binary=True).encoded == len(message)


@pytest.mark.parametrize("way", [*WAYS, *EAGER], ids=str)
@pytest.mark.parametrize("size", [0, 10, 3 * PIECE])
def test_a_file(way: Way, size: int) -> None:
    """A file is sent from where it stands, by BDAT too, for it can be counted first."""
    message = (b"x" * 70 + b"\n") * (size // 71) + b"last"
    file = io.BytesIO(b"skipped" + message)
    file.seek(7)
    delivery = Delivery(way, message=file)
    assert delivery.result.delivered
    assert delivery.server.messages == [message.replace(b"\n", b"\r\n") + b"\r\n"]
    assert delivery.rows[-1] == ("BDAT LAST" if way.chunking else "DATA")


def test_a_file_again() -> None:
    """What can be read once more is the same message, from its start; nothing of a file is at hand."""
    file = io.BytesIO(b"skipped" + MESSAGE)
    file.seek(7)
    source = source_of(file)
    for _ in range(2):
        source = source.again()
        assert source.at_hand is None
        assert isinstance(source.chunks, Iterator)
        assert b"".join(chunk for chunk in source.chunks if isinstance(chunk, bytes)) == MESSAGE
    octets = source_of(MESSAGE).again()
    assert octets.at_hand is octets.chunks


def test_a_real_file(tmp_path: Path) -> None:
    """The same from a disk."""
    path = tmp_path / "message"
    path.write_bytes(MESSAGE)
    with path.open("rb") as file:
        assert Delivery(Way(True, True), message=file).server.messages == [MESSAGE]


@every_way
def test_a_file_that_cannot_be_rewound(way: Way) -> None:
    """What can be read once only is not counted, and goes by DATA."""
    delivery = Delivery(way, message=Unseekable(MESSAGE))
    assert delivery.result.delivered
    assert delivery.server.messages == [MESSAGE]
    assert delivery.rows[-1] == "DATA"


@pytest.mark.parametrize("way", [*WAYS, *EAGER], ids=str)
@pytest.mark.parametrize(("first", "second"), [(b"short", b"longer\r\n"), (b"longer", b"short"), (b"a", b"")])
def test_a_file_that_changes(way: Way, first: bytes, second: bytes) -> None:
    """A message of another size than was announced is cut off: neither more nor less of it can be delivered."""
    delivery = Delivery(way, message=Growing(first, second))
    assert isinstance(delivery.error, InvalidArgument)
    assert "when it was measured" in str(delivery.error)
    assert delivery.closed
    assert delivery.server.messages == []


@pytest.mark.parametrize(
    "message",
    [io.StringIO("text"), io.StringIO(""), "text", 5, None, io.BytesIO(b"a\0b"), b"a\0b"],
    ids=["file of text", "empty file of text", "text", "number", "nothing", "file with NUL", "NUL"],
)
def test_mistakes_that_show_in_front(message: Any) -> None:
    """What is no message, or one with a NUL, is refused before an octet is sent."""
    with pytest.raises((TypeError, InvalidArgument)):
        source_of(message)


@pytest.mark.parametrize("chunk", ["text", 5, None, [b"octets"]])
def test_a_chunk_is_octets(chunk: object) -> None:
    """A number makes no octets."""
    with pytest.raises(TypeError, match="a chunk of a message is bytes"):
        octets_of(chunk)
    assert octets_of(bytearray(b"a")) == octets_of(memoryview(b"a")) == b"a"


@pytest.mark.parametrize("way", [Way(), Way(True)], ids=str)
def test_a_stream_of_something_else_is_cut_off(way: Way) -> None:
    """Chunks that are no octets are found as they come: the message is not ended, and the connection is."""
    delivery = Delivery(way, message=iter([b"half", "of it"]))
    assert isinstance(delivery.error, TypeError)
    assert delivery.closed
    assert delivery.server.messages == []


def test_an_asynchronous_stream_needs_a_driver_that_awaits() -> None:
    """A driver that awaits nothing says so."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"never"

    source = source_of(chunks())
    assert (source.length, source.at_hand) == (None, None)
    with pytest.raises(TypeError, match="asynchronous"):
        Scripted([b"250 m\r\n250 r\r\n354 d\r\n"]).run(
            deliver(introduced(), SENDER, recipients(1), source, pipelining=True)
        )


def test_binary_needs_bdat_and_a_size() -> None:
    """BINARYMIME is for BDAT alone (RFC 3030 3), whose size must be known."""
    binary = Mail("a@client.test", ["BODY=BINARYMIME"])
    for message, chunking in ((b"\0", False), (iter([b"\0"]), True)):
        with pytest.raises(LocalProtocolError, match="BINARYMIME"):
            Scripted().run(deliver(introduced(), binary, recipients(1), message, chunking=chunking))
    peer = Scripted([b"250 m\r\n250 r\r\n", b"250 q\r\n"])
    flow = deliver(introduced(), binary, recipients(1), io.BytesIO(b"\0\r.\n"), pipelining=True, chunking=True)
    assert peer.run(flow).delivered
    assert peer.written.endswith(b"BDAT 4 LAST\r\n\0\r.\n")


@pytest.mark.parametrize(("binary", "made"), [(True, "as text"), (False, "as it is")])
def test_a_source_is_what_body_says(binary: bool, made: str) -> None:
    """A source gives text, or its message as it is: one that does other than BODY says is refused before it is sent."""
    mail = Mail("a@client.test", ["BODY=BINARYMIME"] if binary else [])
    peer = Scripted()
    with pytest.raises(LocalProtocolError, match=made):
        peer.run(deliver(introduced(), mail, recipients(1), source_of([b"a\rb"], not binary), chunking=True))
    assert peer.written == b""


@pytest.mark.parametrize("way", [Way(), Way(True), Way(True, True), EAGER[0]], ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_progress(way: Way, stream: bool) -> None:
    """Progress tells how many octets of the message are out, up to all of them, and of how many."""
    told: list[tuple[int, int | None]] = []
    message = b"x" * 70 * 3000
    source: Any = iter([message]) if stream else message

    def reply() -> list[bytes]:
        if way.chunking and not stream:
            return (
                [b"250 m\r\n250 r\r\n250 q\r\n"] if way.chunking == "eager" else [b"250 m\r\n250 r\r\n", b"250 q\r\n"]
            )
        return [b"250 m\r\n250 r\r\n354 d\r\n", b"250 q\r\n"]

    replies = reply() if way.pipelining else [b"250 m\r\n", b"250 r\r\n", b"354 d\r\n", b"250 q\r\n"]
    flow = deliver(
        introduced(),
        SENDER,
        recipients(1),
        source,
        pipelining=way.pipelining,
        chunking=way.chunking,
        progress=lambda done, total: told.append((done, total)),
    )
    assert Scripted(replies).run(flow).delivered
    done = [octets for octets, _ in told]
    assert done == sorted(set(done))
    assert done[-1] == len(message)
    assert len(done) == 4
    assert {total for _, total in told} == {None if stream else len(message)}


def test_progress_that_raises_cuts_the_message_off() -> None:
    """A mistake of the application in the middle of a message leaves no way back."""

    def broken(done: int, total: int | None) -> Iterator[object]:
        raise ZeroDivisionError

    session = introduced()
    with pytest.raises(ZeroDivisionError):
        Scripted([b"250 m\r\n250 r\r\n354 d\r\n"]).run(
            deliver(session, SENDER, recipients(1), MESSAGE, pipelining=True, progress=broken)
        )
    assert session.connection.closed


# -- the goodbye ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [b"221 bye\r\n", b"500 no\r\n", b"nonsense\r\n", b"", TimeoutError(), OSError("gone")]
)
@pytest.mark.parametrize("pipelining", [False, True])
def test_a_goodbye_that_fails_changes_nothing(pipelining: bool, answer: bytes | OSError) -> None:
    """A delivered message is delivered, whatever becomes of the QUIT; the transport is closed."""
    session = introduced()
    first = [b"250 m\r\n250 r\r\n354 d\r\n"] if pipelining else [b"250 m\r\n", b"250 r\r\n", b"354 d\r\n"]
    peer = Scripted([*first, b"250 q\r\n", answer])
    outcome = peer.run(deliver(session, SENDER, recipients(1), MESSAGE, pipelining=pipelining, last=True))
    assert outcome.fate is Fate.DELIVERED
    assert peer.closed
    assert session.connection.closed
    assert peer.segments[-1].endswith(b".\r\nquit\r\n" if pipelining else b"quit\r\n")


@pytest.mark.parametrize("way", [*WAYS, *EAGER], ids=str)
@pytest.mark.parametrize("codes", [{"MAIL": 550}, {"RCPT": 550}, {"DATA": 451}, {"end of data": 550}, {"RCPT": 421}])
def test_a_goodbye_instead_of_a_reset(way: Way, codes: dict[str, int]) -> None:
    """Behind a refusal the connection is left, not reset."""
    delivery = Delivery(way, codes, last=True)
    assert delivery.outcome is not None
    assert "RSET" not in delivery.rows
    assert delivery.closed


def test_an_early_refusal_needs_no_goodbye() -> None:
    """Where the connection is given up there is nobody to say goodbye to."""
    session = introduced()
    peer = Scripted([b"250 m\r\n250 r\r\n354 d\r\n552 no\r\n"])
    outcome = peer.run(deliver(session, SENDER, recipients(1), MESSAGE, pipelining=True, last=True))
    assert outcome.final is not None
    assert outcome.final.code == 552
    assert peer.closed
    with pytest.raises(ConnectionLost):
        peer.run(deliver(session, SENDER, recipients(1), MESSAGE))
