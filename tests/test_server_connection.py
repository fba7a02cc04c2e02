"""The server's end: commands in order, rejections with the right hint, and replies that are owed.

What the client's tests have seen through a pair is not repeated here; this is about clients that are not ours, and
about what an application may ask of the server's end.  Messages are in `test_server_messages`, and how it
ends in `test_server_endings`.
"""

from __future__ import annotations

import tracemalloc

import pytest

from smtp_proto.commands import Ehlo, Noop, Quit, Raw
from smtp_proto.errors import InvalidArgument, LocalProtocolError
from smtp_proto.events import (
    PAUSED,
    CommandReceived,
    CommandRejected,
    Event,
)
from smtp_proto.replies import Reply
from smtp_proto.server import MAX_LINE, ServerConnection
from smtp_proto.states import State
from tests.pairs import drain, feed, feed_pieces, frozen, only, pair_in
from tests.splitting import every_split


def server_in(state: State, *, lmtp: bool = False) -> ServerConnection:
    return pair_in(state, lmtp=lmtp).server


def hint(server: ServerConnection, line: bytes) -> Reply:
    """The hint with which one line is rejected, which is then given."""
    event = only(feed(server, line), CommandRejected)
    server.send(event.hint)
    return event.hint


# -- what is owed -----------------------------------------------------------------------------------------------------


def test_it_begins_by_owing_the_greeting() -> None:
    """Nothing is read before the greeting was given, though it may have arrived."""
    server = ServerConnection()
    assert server.owes_reply
    assert not server.at_boundary
    assert feed(server, b"EHLO client.test\r\n") == []
    assert server.next_event() is PAUSED
    server.send(Reply(220, "server.test"))
    assert b"".join(server.data_to_send()) == b"220 server.test\r\n"
    assert drain(server) == [CommandReceived(Ehlo("client.test"))]


def test_pipelined_commands_come_one_by_one() -> None:
    """The next command is given out only when the one before is answered, so answers cannot be confused."""
    for pieces in every_split(b"mail from:<a@x>\r\nRCPT TO:<b@x>\r\nNoop\r\n"):
        server = server_in(State.READY)
        events = feed_pieces(server, pieces)
        while server.owes_reply:
            server.send(Reply(250))
            events += drain(server)
        assert [event.command.verb for event in events if isinstance(event, CommandReceived)] == [
            "MAIL",
            "RCPT",
            "NOOP",
        ]
        assert server.state is State.RCPT
        assert not server.at_boundary
        assert b"".join(server.data_to_send()) == b"250 \r\n" * 3
        assert server.at_boundary


def test_wrong_replies_change_nothing() -> None:
    """A reply that is not owed, that can be no answer, or that would break the framing raises and changes nothing."""
    server = server_in(State.RCPT)
    wrong: list[tuple[bytes, Reply, type[Exception]]] = [
        (b"", Reply(250), LocalProtocolError),
        (b"DATA\r\n", Reply(250), LocalProtocolError),
        (b"", Reply(354, "a\rb"), InvalidArgument),
        (b"", Reply(354, "a\0b"), InvalidArgument),
    ]
    for octets, reply, kind in wrong:
        feed(server, octets)
        before = frozen(server)
        with pytest.raises(kind):
            server.send(reply)
        assert frozen(server) == before
    server.send(Reply(451))
    feed(server, b"bad\0line\r\n")
    for code in (250, 354, 199):
        before = frozen(server)
        with pytest.raises(LocalProtocolError, match=f"{code} is no answer to a rejected line"):
            server.send(Reply(code))
        assert frozen(server) == before
    server.send(Reply(500))
    assert server.state is State.RCPT


# -- what is rejected -------------------------------------------------------------------------------------------------

HINTS: list[tuple[State, bytes, int, str, State]] = [
    (State.CONNECTED, b"MAIL FROM:<a@x>\r\n", 503, "EHLO first", State.CONNECTED),
    (State.CONNECTED, b"STARTTLS\r\n", 503, "EHLO first", State.CONNECTED),
    (State.CONNECTED, b"LHLO client.test\r\n", 500, "This is SMTP", State.CONNECTED),
    (State.REFUSED, b"EHLO client.test\r\n", 503, "No service here", State.REFUSED),
    (State.REFUSED, b"NOOP\r\n", 503, "No service here", State.REFUSED),
    (State.REFUSED, b"BDAT 0\r\n", 503, "No service here", State.REFUSED),
    (State.READY, b"RCPT TO:<b@x>\r\n", 503, "MAIL first", State.READY),
    (State.READY, b"DATA\r\n", 503, "MAIL first", State.READY),
    (State.READY, b"BDAT 0 LAST\r\n", 503, "MAIL first", State.FAILED),
    (State.MAIL, b"DATA\r\n", 503, "No valid recipients", State.MAIL),
    (State.MAIL, b"MAIL FROM:<a@x>\r\n", 503, "Not now", State.MAIL),
    (State.RCPT, b"AUTH PLAIN\r\n", 503, "Not now", State.RCPT),
    (State.BDAT, b"DATA\r\n", 503, "Not now", State.BDAT),
    (State.FAILED, b"BDAT 0\r\n", 503, "Not now", State.FAILED),
    (State.READY, b"MAIL FROM a@x\r\n", 501, "Syntax", State.READY),
    (State.READY, b"NOOP \x00\r\n", 500, "Control characters", State.READY),
    (State.READY, b"NOOP \xff\r\n", 500, "not UTF-8", State.READY),
    (State.AUTH, b"not base64\r\n", 501, "base64", State.READY),
]


@pytest.mark.parametrize(("state", "line", "code", "text", "then"), HINTS)
def test_hints(state: State, line: bytes, code: int, text: str, then: State) -> None:
    """A line that is none, or none here, is owed a refusal, and the hint is the right one; the state stays, but for a
    chunk that fails the message and a refusal that ends AUTH."""
    server = server_in(state)
    reply = hint(server, line)
    assert reply.code == code
    assert text in reply.text
    assert server.state is then


def test_lmtp_hints() -> None:
    """LMTP's own hello is asked for, and SMTP's is refused (RFC 2033 4.1)."""
    server = server_in(State.CONNECTED, lmtp=True)
    assert "LHLO first" in hint(server, b"MAIL FROM:<a@x>\r\n").text
    assert "This is LMTP" in hint(server, b"EHLO client.test\r\n").text


@pytest.mark.parametrize("way", [b"BDAT 0\r\n", b"BDAT 0 LAST\r\n", b"EHLO client.test\r\n", b"XUNKNOWN\r\n"])
def test_no_way_around_a_refusal_of_service(way: bytes) -> None:
    """After a refused greeting nothing but QUIT is taken: no rejected command opens a way to RSET or MAIL."""
    server = server_in(State.REFUSED)
    for line in (way, b"RSET\r\n", b"EHLO client.test\r\n", b"MAIL FROM:<a@x>\r\n"):
        assert hint(server, line).code == 503
        assert server.state is State.REFUSED
    assert only(feed(server, b"QUIT\r\n"), CommandReceived).command == Quit()


def test_no_way_around_the_hello() -> None:
    """A chunk that is rejected before EHLO does not introduce the client, not even with a RSET behind it."""
    server = server_in(State.CONNECTED)
    assert hint(server, b"BDAT 0\r\n").code == 503
    feed(server, b"RSET\r\n")
    server.send(Reply(250))
    assert server.state is State.CONNECTED


def test_rejected_lines_are_not_shown() -> None:
    """The line of a rejection may be a mangled password: it is kept, and never part of a repr."""
    event = only(feed(server_in(State.READY), b"AUTH PLAIN c2VjcmV0 c2VjcmV0\r\n"), CommandRejected)
    assert b"c2VjcmV0" in event.line
    assert "c2VjcmV0" not in repr(event)


def test_a_bare_lf_ends_a_command() -> None:
    """A command may end in LF alone; a bare CR is no line end, and no part of a command either."""
    server = server_in(State.READY)
    assert drain(server) == []
    assert feed(server, b"NOOP\n") == [CommandReceived(Noop())]
    server.send(Reply(250))
    assert hint(server, b"NOOP\rQUIT\r\n").code == 500


# -- lines that are too long ------------------------------------------------------------------------------------------


def test_the_longest_line() -> None:
    """A line of exactly the limit is a command, one octet more is rejected with a 500, however they are cut."""
    for excess, kind in ((0, CommandReceived), (1, CommandRejected)):
        line = b"NOOP " + b"x" * (50 - len(b"NOOP \r\n") + excess) + b"\r\n"
        for pieces in every_split(line + b"NOOP\r\n"):
            server = ServerConnection(max_line=50)
            server.send(Reply(220))
            feed(server, b"EHLO x\r\n")
            server.send(Reply(250))
            events = feed_pieces(server, pieces)
            server.send(Reply(500))
            events += drain(server)
            assert [type(event) for event in events] == [kind, CommandReceived]


def test_a_line_without_end_costs_no_memory() -> None:
    """10 MB without a line end are read past in bounded memory and answered with a 500; the connection stays usable."""
    server = server_in(State.READY)
    piece = b"x" * 65536
    tracemalloc.start()
    events: list[Event] = []
    for _ in range(160):
        events += feed(server, piece)
    assert tracemalloc.get_traced_memory()[1] < 10 * len(piece)
    tracemalloc.stop()
    assert events == []
    assert not server.at_boundary
    rejected = only(feed(server, b"\r\nNOOP\r\n"), CommandRejected)
    assert (rejected.hint.code, rejected.line) == (500, b"")
    server.send(rejected.hint)
    assert drain(server) == [CommandReceived(Noop())]


def test_a_response_that_is_too_long() -> None:
    """In the middle of AUTH a line that is too long ends the exchange, as any refusal does (RFC 4954 4)."""
    pair = pair_in(State.AUTH)
    assert pair.rejected(Raw(b"x" * MAX_LINE, "AUTH response")).reply.code == 500
    pair.check_state(State.READY)
