"""The server's end: the exchanges of AUTH and STARTTLS, injected octets, and how a connection ends."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from smtp_proto.commands import Auth, AuthResponse, Noop, StartTLS
from smtp_proto.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from smtp_proto.events import (
    NEED_DATA,
    PAUSED,
    CommandReceived,
    ConnectionClosed,
    ReplyReceived,
)
from smtp_proto.replies import Reply
from smtp_proto.server import MAX_LINE, ServerConnection
from smtp_proto.states import State
from tests.pairs import alike, drain, feed, feed_pieces, frozen, pair_in, without_collector
from tests.splitting import every_split


def server_in(state: State, *, lmtp: bool = False) -> ServerConnection:
    return pair_in(state, lmtp=lmtp).server


# -- AUTH and STARTTLS ------------------------------------------------------------------------------------------------


def test_responses_are_read_as_responses() -> None:
    """After a 334 a line is a response whatever it looks like; "*" cancels (RFC 4954 4)."""
    server = server_in(State.READY)
    feed(server, b"AUTH X =\r\n")
    server.send(Reply(334))
    assert feed(server, b"QUIT\r\n") == [CommandReceived(AuthResponse(b"AB\x13"))]
    server.send(Reply(334))
    assert feed(server, b"*\r\n") == [CommandReceived(AuthResponse(None))]
    server.send(Reply(501))
    assert server.state is State.READY
    assert feed(server, b"auth plain AGEAYg==\r\n") == [CommandReceived(Auth("PLAIN", b"\0a\0b"))]


@pytest.mark.parametrize("behind", [b"EHLO evil\r\n", b"M"])
def test_octets_behind_starttls_are_an_injection(behind: bytes) -> None:
    """Octets behind a STARTTLS that is accepted poison, in the same segment, in a later one, or after the 220."""
    for when in ("with it", "before the 220", "after the 220", "after the first look"):
        server = server_in(State.READY)
        octets = b"STARTTLS\r\n"
        assert feed(server, octets + (behind if when == "with it" else b"")) == [CommandReceived(StartTLS())]
        server.data_to_send()
        if when == "before the 220":
            server.receive_data(behind)
        if when in ("with it", "before the 220"):
            with pytest.raises(RemoteProtocolError, match="injection") as caught:
                server.send(Reply(220))
        else:
            server.send(Reply(220))
            if when == "after the first look":
                assert server.next_event() is PAUSED
            server.receive_data(behind)
            with pytest.raises(RemoteProtocolError, match="injection") as caught:
                server.tls_established()
        check_poisoned(server, caught.value)


def test_octets_behind_a_refused_starttls_are_commands() -> None:
    """Refused, a STARTTLS changes nothing: what stands behind it is read as before, however it is cut."""
    for pieces in every_split(b"STARTTLS\r\nNOOP\r\n"):
        server = server_in(State.READY)
        events = feed_pieces(server, pieces)
        server.send(Reply(454))
        assert [*events, *drain(server)] == [CommandReceived(StartTLS()), CommandReceived(Noop())]


def check_poisoned(server: ServerConnection, error: ProtocolError) -> None:
    """For good: every use raises the same error, nothing is written, what arrives is dropped."""
    server.receive_data(b"NOOP\r\n")
    uses: list[Callable[[], object]] = [
        server.next_event,
        lambda: server.send(Reply(220)),
        lambda: server.send(Reply(454)),
        lambda: server.close_with(Reply(421)),
        server.tls_established,
    ]
    for happens in (server.data_to_send, server.receive_eof, server.abort):
        happens()
        for use in uses:
            with pytest.raises(RemoteProtocolError) as caught:
                use()
            assert alike(caught.value, error)
    assert server.closed
    assert server.data_to_send() == []


def test_an_error_keeps_nothing_alive() -> None:
    """A poisoned connection is gone with whoever had it: its error, however often raised, does not lead back to it."""
    server = server_in(State.READY)
    feed(server, b"STARTTLS\r\nEHLO evil\r\n")
    alive = weakref.ref(server)
    with without_collector():
        for _ in range(3):
            with suppress(RemoteProtocolError):
                server.send(Reply(220))
        with suppress(RemoteProtocolError):
            server.next_event()
        del server
        assert alive() is None


# -- how it ends ------------------------------------------------------------------------------------------------------


def test_after_quit() -> None:
    """After the answer to QUIT nothing is read any more, and nothing is owed."""
    server = server_in(State.READY)
    feed(server, b"QUIT\r\nNOOP\r\n")
    server.send(Reply(221))
    assert drain(server) == [ConnectionClosed(True)]
    assert feed(server, b"NOOP\r\n") == [ConnectionClosed(True)]
    with pytest.raises(LocalProtocolError, match="no reply is owed"):
        server.send(Reply(250))


@pytest.mark.parametrize("owing", [False, True])
def test_a_farewell(owing: bool) -> None:
    """A 421 may be said at any time, in place of a reply that is owed too, and closes (RFC 5321 3.8)."""
    pair = pair_in(State.READY)
    if owing:
        pair.send(Noop())
    before = frozen(pair.server)
    with pytest.raises(LocalProtocolError):
        pair.server.close_with(Reply(221))
    assert frozen(pair.server) == before
    pair.server.close_with(Reply(421, "4.4.2 timeout"))
    assert isinstance(pair.to_client()[0], ReplyReceived) is owing
    pair.check_state(State.CLOSED)
    assert drain(pair.server) == [ConnectionClosed(True)]
    before = frozen(pair.server)
    with pytest.raises(LocalProtocolError):
        pair.server.close_with(Reply(421))
    assert frozen(pair.server) == before


@pytest.mark.parametrize(("octets", "clean"), [(b"", True), (b"NO", False), (b"x" * MAX_LINE, False)])
def test_the_end_of_the_stream(octets: bytes, clean: bool) -> None:
    """At the end whole commands are still given out and answered; it is clean if nothing was half said."""
    server = server_in(State.READY)
    server.receive_data(b"NOOP\r\n" + octets)
    server.receive_eof()
    assert server.closed
    assert drain(server) == [CommandReceived(Noop())]
    server.receive_data(b"NOOP\r\n")  # behind the end there is nothing
    server.send(Reply(250))
    assert server.data_to_send() == [b"250 \r\n"]
    assert drain(server) == drain(server) == [ConnectionClosed(clean)]
    assert not server.at_boundary


@pytest.mark.parametrize("state", State)
def test_abort(state: State) -> None:
    """After abort() nothing is read, owed or written any more."""
    server = server_in(state)
    server.receive_data(b"NO")
    server.abort()
    server.abort()
    server.receive_data(b"OP\r\n")
    assert drain(server) == [ConnectionClosed(True)]
    assert not server.owes_reply
    assert server.replies_owed == 0
    assert server.data_to_send() == []
    with pytest.raises(LocalProtocolError):
        server.send(Reply(250))
    with pytest.raises(LocalProtocolError):
        server.tls_established()
    assert server.next_event() is not NEED_DATA
