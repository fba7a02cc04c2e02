"""The client's end: how a connection ends, cleanly, by a 421, by the end of the stream, or by the failure of I/O."""

from __future__ import annotations

import pytest

from smtp_proto.commands import (
    Command,
    Data,
    Ehlo,
    Noop,
    Quit,
    Rset,
)
from smtp_proto.errors import LocalProtocolError
from smtp_proto.events import NEED_DATA, PAUSED, ConnectionClosed, ReplyReceived, ServiceClosing
from smtp_proto.replies import Reply
from smtp_proto.states import State
from tests.pairs import (
    OTHER_RECIPIENT,
    RECIPIENT,
    SENDER,
    client_that_sent,
    drain,
    frozen,
    only,
    pair_in,
)

GROUP: list[Command] = [SENDER, RECIPIENT, OTHER_RECIPIENT, Data()]


# -- goodbyes ---------------------------------------------------------------------------------------------------------


def test_a_421_that_nobody_asked_for() -> None:
    """An unasked 421 is an event of its own, and nothing may be sent after it (RFC 5321 3.8)."""
    for strict in (True, False):
        pair = pair_in(State.RCPT, strict=strict)
        assert pair.client.can_send(Rset())
        pair.server.close_with(Reply(421, "4.3.2 shutting down"))
        assert pair.to_client() == [ServiceClosing(Reply(421, "4.3.2 shutting down"))]
        pair.check_state(State.CLOSED)
        assert pair.client.sent_state is State.CLOSED
        assert not pair.client.can_send(Quit())
        assert not pair.client.at_boundary


def test_a_refused_greeting_leaves_quit() -> None:
    """After a greeting of 4xx or 5xx there is QUIT and nothing else (RFC 5321 3.1)."""
    pair = pair_in(State.REFUSED)
    assert not pair.client.can_send(Ehlo("client.test"))
    pair.exchange(Quit(), 221)
    pair.check_state(State.CLOSED)


def test_a_refused_quit_leaves_the_connection() -> None:
    """A refused QUIT changes nothing; an accepted one closes."""
    pair = pair_in(State.MAIL)
    pair.exchange(Quit(), 500)
    pair.check_state(State.MAIL)
    pair.exchange(Quit(), 221)
    pair.check_state(State.CLOSED)
    assert pair.client.next_event() is NEED_DATA
    pair.client.receive_eof()
    assert pair.client.next_event() == ConnectionClosed(True)


# -- the end of the stream --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in State if state is not State.TLS])
def test_the_end_of_the_stream(state: State) -> None:
    """At the end nothing may be sent any more; it is a clean one if nothing was due and nothing half said."""
    client = pair_in(state).client
    client.receive_eof()
    assert not client.can_send(Quit())
    assert not client.at_boundary
    clean = state not in (State.GREETING, State.DATA)
    for _ in range(2):  # and it stays what it was
        assert client.next_event() == ConnectionClosed(clean)
    assert client.state is State.CLOSED
    assert client.closed
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="the connection is closed"):
        client.send(Noop())
    client.receive_data(b"250 ok\r\n")
    assert frozen(client) == before


def test_the_end_of_the_stream_where_tls_is_due() -> None:
    """An end where the handshake is due is the handshake's to find out."""
    client = pair_in(State.TLS).client
    client.receive_eof()
    assert client.next_event() is PAUSED


def test_the_end_of_the_stream_after_any_octet() -> None:
    """Wherever answers are cut off, all whole ones are told, none is made up, and the end is clean only at the end."""
    octets = b"250 ok\r\n250-one\r\n250 two\r\n550 no\r\n354 go on\r\n"
    for cut in range(len(octets) + 1):
        client = client_that_sent(*GROUP)
        client.receive_data(octets[:cut])
        client.receive_eof()
        *events, last = drain(client)
        whole = octets[:cut].count(b"\n") - (octets[:cut].count(b"-one\r\n"))
        assert [event.command for event in events if isinstance(event, ReplyReceived)] == GROUP[:whole]
        assert last == ConnectionClosed(False)


def test_an_end_with_a_reply_due() -> None:
    """An end is clean if all was answered, also when what came before it is read only after it."""
    client = client_that_sent(SENDER)
    client.receive_data(b"250 ok\r\n")
    client.receive_eof()
    assert not client.closed
    assert [type(event) for event in drain(client)] == [ReplyReceived, ConnectionClosed]
    assert client.next_event() == ConnectionClosed(True)


# -- failure of I/O ---------------------------------------------------------------------------------------------------


def test_unread_octets_are_counted() -> None:
    """`unread` is what has arrived and has not become an event: a whole reply, or a part of one."""
    client = client_that_sent(SENDER)
    client.receive_data(b"250-one\r\n250")
    assert client.next_event() is NEED_DATA
    counts = [client.unread]
    client.receive_data(b" two\r\n")
    counts.append(client.unread)
    only(drain(client), ReplyReceived)
    counts.append(client.unread)
    assert counts == [12, 18, 0]


@pytest.mark.parametrize("state", State)
def test_abort(state: State) -> None:
    """After abort() nothing is written, nothing that still arrives is matched to anything, and only the end comes."""
    pair = pair_in(state, strict=False)
    client = pair.client
    if client.can_send(Rset()):
        client.send(Rset())
    client.receive_data(b"250 not read yet\r\n25")
    client.abort()
    client.abort()
    assert client.closed
    assert client.data_to_send() == []
    client.receive_data(b"0 ok\r\n250 ok\r\n")
    events = drain(client)
    assert [type(event) for event in events] == [ConnectionClosed]
    assert client.state is State.CLOSED
    assert client.sent_state is State.CLOSED
    before = frozen(client)
    for wrong in (lambda: client.send(Noop()), lambda: client.send_body(b"x"), client.expect, client.tls_established):
        with pytest.raises(LocalProtocolError):
            wrong()
    assert frozen(client) == before
