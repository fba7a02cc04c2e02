"""The server's end: messages, by DATA and by BDAT, and LMTP's several answers."""

from __future__ import annotations

import pytest

from smtp_proto.commands import Bdat
from smtp_proto.errors import LocalProtocolError
from smtp_proto.events import (
    NEED_DATA,
    BodyReceived,
    CommandReceived,
    CommandRejected,
    ConnectionClosed,
    Event,
)
from smtp_proto.replies import Reply
from smtp_proto.server import ServerConnection
from smtp_proto.states import State
from tests.pairs import OTHER_RECIPIENT, drain, end_message, feed, feed_pieces, frozen, only, pair_in
from tests.splitting import every_split

# What a body may hold that looks like commands, and must never be read as such.
COMMANDS = b"RSET\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<victim@x>\r\n"


def server_in(state: State, *, lmtp: bool = False) -> ServerConnection:
    return pair_in(state, lmtp=lmtp).server


def merged(events: list[Event]) -> list[Event]:
    """The events with the pieces of each message as one."""
    result: list[Event] = []
    body = b""
    for event in events:
        if isinstance(event, BodyReceived):
            body += event.octets
            if event.finished:
                result.append(BodyReceived(body, True))
                body = b""
        else:
            result.append(event)
    assert not body
    return result


def answered(server: ServerConnection, pieces: list[bytes], *codes: int) -> list[Event]:
    """The events that the pieces bring, each that is owed a reply answered with the next code."""
    events: list[Event] = []
    unused = list(codes)
    for piece in pieces:
        events += feed(server, piece)
        while server.owes_reply:
            server.send(Reply(unused.pop(0)))
            if not server.closed:
                events += drain(server)
        if server.closed:
            break
    assert not unused
    return merged(events)


# -- DATA -------------------------------------------------------------------------------------------------------------


def test_a_message_and_what_is_pipelined_behind_it() -> None:
    """Only CRLF "." CRLF ends a message, and what stands behind it is commands again, however it is cut."""
    for pieces in every_split(b"..\r\n\n.\n\r.\rRSET\r\n.\r\nNOOP\r\n"):
        server = server_in(State.DATA)
        first, second = answered(server, pieces, 250, 250)
        assert first == BodyReceived(b".\r\n\n.\n\r.\rRSET\r\n", True)
        assert isinstance(second, CommandReceived)
        assert server.state is State.READY


def test_an_empty_message() -> None:
    """A message may end at once, and then it is empty."""
    for pieces in every_split(b".\r\n"):
        assert answered(server_in(State.DATA), pieces, 250) == [BodyReceived(b"", True)]


def test_in_the_middle_of_a_message() -> None:
    """A message is given out as it comes, nothing is owed before its end, and an end of the stream in it is no clean
    one."""
    server = server_in(State.DATA)
    assert feed(server, b"half a li") == [BodyReceived(b"half a li", False)]
    assert server.next_event() is NEED_DATA
    assert not server.owes_reply
    assert not server.at_boundary
    before = frozen(server)
    with pytest.raises(LocalProtocolError):
        server.send(Reply(250))
    assert frozen(server) == before
    server.receive_eof()
    assert drain(server) == [ConnectionClosed(False)]


def test_a_farewell_in_the_middle_of_a_message() -> None:
    """A 421 in the middle of a message is, for the client, its early refusal."""
    pair = pair_in(State.DATA)
    pair.client.send_body(b"half")
    pair.to_server()
    pair.server.close_with(Reply(421, "4.3.2 shutting down"))
    events = pair.to_client()
    assert [getattr(event, "early", None) for event in events] == [True]
    pair.check_state(State.CLOSED)


# -- BDAT -------------------------------------------------------------------------------------------------------------


def test_chunks_are_counted() -> None:
    """The octets of a chunk are the message's whatever they look like; the reply is owed when all are in."""
    octets = b"BDAT %d\r\n%bBDAT 0\r\nbdat 3 last\r\nendNOOP\r\n" % (len(COMMANDS), COMMANDS)
    for pieces in every_split(octets):
        server = server_in(State.RCPT)
        events = answered(server, pieces, 250, 250, 250, 250)
        assert events[:-1] == [
            CommandReceived(Bdat(len(COMMANDS))),
            BodyReceived(COMMANDS, True),
            CommandReceived(Bdat(0)),
            BodyReceived(b"", True),
            CommandReceived(Bdat(3, last=True)),
            BodyReceived(b"end", True),
        ]
        assert server.state is State.READY


def test_what_a_chunk_is_owed() -> None:
    """Nothing is owed before a chunk is in; `expects_more` tells an intermediate chunk from the last."""
    server = server_in(State.RCPT)
    seen = []
    for octets in (b"BDAT 3\r\nab", b"c", b"BDAT 0 LAST\r\n"):
        seen.append((feed(server, octets), server.owes_reply, server.expects_more, server.at_boundary))
        if server.owes_reply:
            server.send(Reply(250))
    assert seen == [
        ([CommandReceived(Bdat(3)), BodyReceived(b"ab", False)], False, False, False),
        ([BodyReceived(b"c", True)], True, True, False),
        ([CommandReceived(Bdat(0, last=True)), BodyReceived(b"", True)], True, False, False),
    ]


@pytest.mark.parametrize("state", [State.CONNECTED, State.REFUSED, State.READY, State.MAIL, State.FAILED])
def test_a_rejected_chunk_is_read_past(state: State) -> None:
    """Octets of a chunk that is out of order never become commands; one refusal is owed when they are all in."""
    for last in (b"", b" LAST"):
        for pieces in every_split(b"BDAT %d%b\r\n%bQUIT\r\n" % (len(COMMANDS), last, COMMANDS)):
            server = server_in(state)
            events = answered(server, pieces, 503, 221)
            assert [type(event) for event in events] == [CommandRejected, CommandReceived]
            assert isinstance(events[0], CommandRejected)
            assert events[0].line.startswith(b"BDAT")
            assert server.state is State.CLOSED


def test_a_rejected_chunk_leaves_a_failed_transaction() -> None:
    """A chunk that is rejected within a transaction fails it, as one that is refused does (RFC 3030 2)."""
    server = server_in(State.MAIL)
    answered(server, [b"BDAT 3 LAST\r\nabc"], 503)
    assert server.state is State.FAILED


def test_in_the_middle_of_a_chunk() -> None:
    """An end of the stream in a chunk is no clean one, whether the chunk was rejected or not."""
    for state in (State.RCPT, State.READY):
        server = server_in(state)
        feed(server, b"BDAT 10 LAST\r\nabc")
        assert not server.at_boundary
        server.receive_eof()
        assert drain(server) == [ConnectionClosed(False)]


@pytest.mark.parametrize("size", [b"x", b"", b"-1", b"1 FIRST", b"1 LAST 2", b"1" * 21, "\u0661".encode()])
def test_a_chunk_whose_size_cannot_be_read(size: bytes) -> None:
    """Nobody knows where such a chunk ends: it is answered 521, whatever the state, and nothing behind it is read."""
    for state in (State.READY, State.RCPT, State.CONNECTED):
        server = server_in(state)
        event = only(feed(server, b"BDAT " + size + b"\r\n" + COMMANDS), CommandRejected)
        assert event.hint.code == 521
        server.send(event.hint)
        assert server.state is State.CLOSED
        assert drain(server) == [ConnectionClosed(True)]


def test_a_chunk_whose_line_is_too_long() -> None:
    """A BDAT beyond the limit of a line is one whose size cannot be read: 521 and closed, however it is cut."""
    line = b"bdat " + b"1".rjust(60) + b"\r\n"
    for pieces in every_split(line + COMMANDS):
        server = ServerConnection(max_line=50)
        server.send(Reply(220))
        event = only(feed_pieces(server, pieces), CommandRejected)
        assert event.hint.code == 521
        server.send(event.hint)
        assert server.state is State.CLOSED
        assert drain(server) == [ConnectionClosed(True)]


def test_a_huge_chunk_costs_no_memory() -> None:
    """A chunk of any size is given out as it comes, and a rejected one is dropped as it comes."""
    for state in (State.RCPT, State.READY):
        server = server_in(state)
        feed(server, b"BDAT 99999999999999999999\r\n")
        for _ in range(5):
            events = feed(server, b"x" * 65536)
            assert len(events) == (state is State.RCPT)
        assert not server.owes_reply


# -- LMTP -------------------------------------------------------------------------------------------------------------


def test_lmtp_owes_one_reply_for_each_recipient() -> None:
    """At the end of a message LMTP owes as many replies as recipients were accepted (RFC 2033 4.2)."""
    pair = pair_in(State.RCPT, lmtp=True)
    pair.exchange(OTHER_RECIPIENT, 250)
    pair.client.send(Bdat(1))
    pair.client.send_body(b"x")
    pair.to_server()
    owed = [pair.server.replies_owed]
    pair.answer(250)
    owed.append(pair.server.replies_owed)
    pair.client.send(Bdat(0, last=True))
    pair.to_server()
    owed.append(pair.server.replies_owed)
    pair.answer(250)
    owed.append(pair.server.replies_owed)
    pair.answer(250)
    owed.append(pair.server.replies_owed)
    assert owed == [1, 0, 2, 1, 0]
    pair.check_state(State.READY)


def test_lmtp_forgets_the_recipients_of_the_last_message() -> None:
    """Recipients are counted anew in each transaction, a reset or a refused one included."""
    pair = pair_in(State.RCPT, lmtp=True)
    feed(pair.server, b"RSET\r\n")
    pair.server.send(Reply(250))
    for line, code in ((b"MAIL FROM:<a@x>\r\n", 250), (b"RCPT TO:<b@x>\r\n", 550), (b"RCPT TO:<c@x>\r\n", 250)):
        feed(pair.server, line)
        pair.server.send(Reply(code))
    feed(pair.server, b"DATA\r\n")
    pair.server.send(Reply(354))
    feed_pieces(pair.server, [b"text\r\n.\r\n"])
    assert pair.server.replies_owed == 1


def test_lmtp_with_a_farewell_among_the_answers() -> None:
    """A 421 as one of several final replies closes, and no more are owed."""
    pair = pair_in(State.RCPT, lmtp=True)
    pair.exchange(OTHER_RECIPIENT, 250)
    feed(pair.server, b"DATA\r\n")
    pair.server.send(Reply(354))
    feed(pair.server, b".\r\n")
    pair.server.send(Reply(421))
    assert not pair.server.owes_reply
    assert drain(pair.server) == [ConnectionClosed(True)]


def test_smtp_owes_one_reply_for_a_message() -> None:
    """SMTP answers a message once, however many recipients it has."""
    pair = pair_in(State.RCPT)
    pair.exchange(OTHER_RECIPIENT, 250)
    pair.client.send(Bdat(0, last=True))
    pair.to_server()
    assert pair.server.replies_owed == 1
    pair = pair_in(State.DATA)
    end_message(pair)
    assert pair.server.replies_owed == 1
