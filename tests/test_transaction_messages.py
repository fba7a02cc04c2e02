"""The message that `deliver` is given: octets or streams, big or empty, and mistakes that are found in front."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.body import normalise_line_ends
from smtp_proto.commands import Mail, Rcpt
from smtp_proto.effects import Pull, Send
from smtp_proto.errors import InvalidArgument, LocalProtocolError
from smtp_proto.replies import Reply
from smtp_proto.sources import PIECE
from smtp_proto.states import Stage, State
from smtp_proto.transaction import deliver

from .deliveries import MESSAGE, SENDER, WAYS, Delivery, Way, every_way, every_way_with_data, recipients
from .flows import Pieces, Scripted, at_random, effects_of, in_step, introduced, single, whole
from .splitting import cut


def _pieces() -> Iterator[bytes]:
    yield b""
    yield b"one\r"
    yield b"\ntwo\n"
    yield b"."


@every_way
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", b""),
        (b"no line end", b"no line end\r\n"),
        (b"one\ntwo\rthree\r\n.\r\n..\n", b"one\r\ntwo\r\nthree\r\n.\r\n..\r\n"),
        (bytearray(b"octets"), b"octets\r\n"),
        (memoryview(b"octets"), b"octets\r\n"),
        ([b"in ", b"a ", b"list"], b"in a list\r\n"),
        ([], b""),
    ],
)
def test_a_message_may_be_octets_or_chunks_of_them(way: Way, message: object, expected: bytes) -> None:
    """Line ends become CRLF and the last line gets one; chunks are as if they were one."""
    delivery = Delivery(way, message=message)
    assert delivery.result.delivered
    assert delivery.server.messages == [expected]


@given(
    message=st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"a", b"QUIT\r\n"]), max_size=30).map(b"".join),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    way=st.sampled_from(WAYS),
    stream=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_no_message_ends_early_and_none_is_changed_but_in_its_line_ends(
    message: bytes, cuts: list[int], way: Way, stream: bool, seed: int
) -> None:
    """Whatever a message is made of, and however it is cut, exactly one arrives, with its line ends as CRLF."""
    pieces = cut(message, *sorted(min(offset, len(message)) for offset in cuts))
    delivery = Delivery(way, message=iter(pieces) if stream else message, pieces=at_random(seed), room=50)
    lines = normalise_line_ends(message)
    assert delivery.server.messages == [lines + (b"" if lines.endswith(b"\r\n") or not lines else b"\r\n")]
    assert delivery.result.delivered
    assert delivery.in_step


@every_way_with_data
@pytest.mark.parametrize("pieces", [whole, single])
def test_a_generator_is_pulled_through_the_driver(way: Way, pieces: Pieces) -> None:
    """A stream is an effect for each chunk and one for its end; a message at hand needs none."""
    delivery = Delivery(way, message=_pieces(), pieces=pieces)
    assert delivery.result.delivered
    assert delivery.server.messages == [b"one\r\ntwo\r\n.\r\n"]
    assert len(effects_of(Pull, delivery.joined.client.effects)) == 5
    assert effects_of(Pull, Delivery(way).joined.client.effects) == []


def test_a_stream_goes_by_data_even_where_chunking_is_asked_for() -> None:
    """BDAT needs the size in front, which a stream does not tell."""
    delivery = Delivery(Way(chunking=True), message=_pieces())
    assert delivery.result.delivered
    assert delivery.rows[-1] == "DATA"


@every_way
def test_a_big_message_goes_out_in_pieces(way: Way) -> None:
    """No write is much larger than PIECE, and nothing is lost between them."""
    message = b"".join(b"%06d %s\r\n" % (n, b"." * (n % 70)) for n in range(6000))
    delivery = Delivery(way, message=message)
    assert delivery.result.delivered
    assert delivery.server.messages == [message]
    writes = effects_of(Send, delivery.joined.client.effects)
    assert max(sum(len(chunk) for chunk in write.chunks) for write in writes) < 1.1 * PIECE
    assert {write.stage for write in writes} == {Stage.COMMAND, Stage.MAIL, *_stages(way), Stage.BODY}


def _stages(way: Way) -> set[Stage]:
    # A pipelined group is written with the deadline of its first command.
    return set() if way.pipelining else {Stage.RCPT} if way.chunking else {Stage.RCPT, Stage.DATA}


@every_way_with_data
def test_a_stream_that_raises_aborts(way: Way) -> None:
    """What a stream raises goes on; half a message leaves no way back, so the connection is aborted."""

    def failing() -> Iterator[bytes]:
        yield b"half of "
        raise ZeroDivisionError

    delivery = Delivery(way, message=failing())
    assert isinstance(delivery.error, ZeroDivisionError)
    assert delivery.closed
    assert delivery.server.messages == []
    assert not delivery.server.clean


@every_way_with_data
@pytest.mark.parametrize("chunks", [[b"\0"], [b"good", b"and\0bad"]])
def test_a_nul_in_a_stream_aborts(way: Way, chunks: list[bytes]) -> None:
    """A NUL that is found in the middle is refused all the same, and no message has been ended."""
    delivery = Delivery(way, message=iter(chunks))
    assert isinstance(delivery.error, InvalidArgument)
    assert delivery.closed
    assert delivery.server.messages == []


# -- local mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS[:4], ids=str)
@pytest.mark.parametrize(
    ("mail", "to", "message", "error"),
    [
        (SENDER, recipients(1), b"with a \0", InvalidArgument),
        (SENDER, recipients(1), "text", TypeError),
        (SENDER, recipients(1), None, TypeError),
        (SENDER, recipients(1), 5, TypeError),
        (Mail("s\u00f8ren@client.test"), recipients(1), MESSAGE, LocalProtocolError),
        (SENDER, [*recipients(1), Rcpt("s\u00f8ren@mx.test")], MESSAGE, LocalProtocolError),
    ],
)
def test_a_local_mistake_sends_nothing(
    way: Way, mail: Mail, to: list[Rcpt], message: object, error: type[Exception]
) -> None:
    """Rule 4: a mistake that can be known in front is raised before an octet is sent, and the session goes on."""
    session = introduced(lmtp=way.lmtp)
    peer = Scripted()
    flow = deliver(session, mail, to, message, pipelining=way.pipelining, chunking=way.chunking)
    with pytest.raises(error):
        peer.run(flow)
    assert peer.effects == []
    assert in_step(session)


def test_utf8_in_addresses_with_smtputf8() -> None:
    """With SMTPUTF8 such addresses are sent."""
    session = introduced()
    peer = Scripted([b"250 m\r\n", b"250 r\r\n", b"354 go\r\n", b"250 q\r\n"])
    mail = Mail("s\u00f8ren@client.test", ["SMTPUTF8"])
    assert peer.run(deliver(session, mail, [Rcpt("s\u00f8ren@mx.test")], MESSAGE)).delivered
    assert "rcpt to:<s\u00f8ren@mx.test>\r\n".encode() in peer.written


def test_a_transaction_inside_another_is_refused_and_changes_nothing() -> None:
    """Where MAIL may not stand, nothing is sent, and the transaction under way goes on."""
    session = introduced()
    Scripted([b"250 ok\r\n"]).run(session.command(SENDER))
    peer = Scripted()
    with pytest.raises(LocalProtocolError, match="MAIL cannot be sent now"):
        peer.run(deliver(session, SENDER, recipients(1), MESSAGE))
    assert peer.written == b""
    assert session.connection.state is State.MAIL
    assert in_step(session)


def test_one_address_twice() -> None:
    """Each RCPT has its own answer, though two of them be the very same object."""
    session = introduced()
    peer = Scripted([b"250 m\r\n", b"250 first\r\n", b"550 second\r\n", b"354 go\r\n", b"250 q\r\n"])
    outcome = peer.run(deliver(session, SENDER, [Rcpt("a@mx.test")] * 2, MESSAGE))
    assert [recipient.reply for recipient in outcome.recipients] == [Reply(250, "first"), Reply(550, "second")]


# -- BINARYMIME --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [b"", b"\0", b"a\nb\rc\r\n.\r\n\0", bytes(range(256)) * 600])
def test_a_binary_message_goes_as_it_is(message: bytes) -> None:
    """With BODY=BINARYMIME not an octet is added or changed (RFC 3030 3), NUL and bare line ends included."""
    session = introduced()
    peer = Scripted([b"250 m\r\n", b"250 r\r\n", b"250 q\r\n"])
    outcome = peer.run(deliver(session, Mail("a@b.test", ["body=BinaryMIME"]), recipients(1), message, chunking=True))
    assert outcome.delivered
    assert b"".join(peer.segments).endswith(b"BDAT %d LAST\r\n" % len(message) + message)
    assert in_step(session)


def test_a_binary_message_needs_chunking() -> None:
    """RFC 3030 3: BINARYMIME goes through BDAT only; nothing is sent, and the connection is as before."""
    session = introduced()
    peer = Scripted()
    with pytest.raises(LocalProtocolError, match="CHUNKING"):
        peer.run(deliver(session, Mail("a@b.test", ["BODY=BINARYMIME"]), recipients(1), b"\0"))
    assert peer.written == b""
    assert in_step(session)
