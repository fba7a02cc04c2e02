"""The client's end: servers that are broken or hostile, and what they can do: nothing but end the connection."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import (
    Auth,
    AuthResponse,
    Bdat,
    Command,
    Data,
    Ehlo,
    EndOfData,
    Mail,
    Noop,
    Quit,
    Raw,
    Rcpt,
    Rset,
    StartTLS,
)
from smtp_proto.errors import LimitExceeded, LocalProtocolError, ProtocolError, RemoteProtocolError
from smtp_proto.events import ReplyReceived
from smtp_proto.replies import MAX_REPLY_LINE, MAX_REPLY_LINES, MAX_REPLY_SIZE, Reply
from smtp_proto.states import TABLE, State
from tests.pairs import (
    OTHER_RECIPIENT,
    RECIPIENT,
    SENDER,
    alike,
    client_that_sent,
    drain,
    feed,
    feed_pieces,
    only,
    pair_in,
    without_collector,
)
from tests.splitting import every_split

GROUP: list[Command] = [SENDER, RECIPIENT, OTHER_RECIPIENT, Data()]
ROWS: dict[str, tuple[State, Command]] = {
    "EHLO": (State.CONNECTED, Ehlo("client.test")),
    "MAIL": (State.READY, Mail("a@example.org")),
    "RCPT": (State.MAIL, Rcpt("b@example.org")),
    "DATA": (State.RCPT, Data()),
    "end of data": (State.DATA, EndOfData()),
    "BDAT": (State.RCPT, Bdat(0)),
    "BDAT LAST": (State.RCPT, Bdat(0, last=True)),
    "RSET": (State.RCPT, Rset()),
    "NOOP": (State.READY, Noop()),
    "STARTTLS": (State.READY, StartTLS()),
    "AUTH": (State.READY, Auth("PLAIN")),
    "AUTH response": (State.AUTH, AuthResponse(b"me")),
    "QUIT": (State.READY, Quit()),
    "other": (State.READY, Raw(b"XUNKNOWN")),
}


def check_poisoned(client: ClientConnection, error: ProtocolError) -> None:
    """For good: every use raises the same error, nothing is written, what arrives is dropped."""
    assert client.closed
    assert not client.at_boundary
    assert not client.can_send(Noop())
    unread = client.unread
    client.receive_data(b"250 ok\r\n" * 1000)
    assert client.unread == unread
    uses: list[Callable[[], object]] = [
        client.next_event,
        lambda: client.send(Noop()),
        lambda: client.send_body(b""),
        lambda: client.send_raw(b""),
        client.expect,
        client.tls_established,
        client.next_event,
    ]
    for use in uses:
        with pytest.raises(RemoteProtocolError) as caught:
            use()
        assert alike(caught.value, error)
    assert client.data_to_send() == []
    client.abort()
    with pytest.raises(RemoteProtocolError) as caught:
        client.next_event()
    assert alike(caught.value, error)


@pytest.mark.parametrize("octets", [b"250 surprise\r\n", b"hello\r\n"], ids=["unasked", "no reply"])
def test_an_error_keeps_nothing_alive(octets: bytes) -> None:
    """A poisoned connection is gone with whoever had it: its error, however often raised, does not lead back to it."""
    client = pair_in(State.READY).client
    client.receive_data(octets)
    alive = weakref.ref(client)
    with without_collector():
        for _ in range(3):
            with suppress(RemoteProtocolError):
                client.next_event()
        with suppress(RemoteProtocolError):
            client.send(Noop())
        del client
        assert alive() is None


# -- replies that nobody asked for ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [250, 354, 450, 554, 199, 999])
@pytest.mark.parametrize("state", [State.READY, State.AUTH, State.CLOSED])
def test_any_other_reply_that_nobody_asked_for(state: State, code: int) -> None:
    """An unasked reply poisons, after QUIT too: from here on each answer could be taken for another's."""
    client = pair_in(state, strict=False).client
    client.receive_data(b"%d surprise\r\n" % code)
    with pytest.raises(RemoteProtocolError, match="no command asked for: ") as caught:
        client.next_event()
    assert caught.value.reply == Reply(code, "surprise")
    check_poisoned(client, caught.value)


def test_what_was_not_written_yet_is_not_written_any_more() -> None:
    """What is found out before the output was taken keeps it from being written."""
    client = pair_in(State.READY).client
    client.send(SENDER)
    with pytest.raises(RemoteProtocolError):
        feed(client, b"220 another greeting\r\n250 ok\r\n")
    assert not client.pending_output
    assert client.data_to_send() == []


# -- answers that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("code", [200, 299, 300, 399])
def test_impossible_answers(name: str, code: int) -> None:
    """A severity that the table has no way for poisons, and the error has the reply: a 2xx to DATA, a 3xx to MAIL."""
    state, command = ROWS[name]
    pair = pair_in(state, strict=False)
    pair.send(command)
    pair.client.receive_data(b"%d what?\r\n" % code)
    if code // 100 in TABLE[name].replies:
        assert only(drain(pair.client), ReplyReceived).command is command
        return
    with pytest.raises(RemoteProtocolError, match=f"{code} is no answer to {name}") as caught:
        pair.client.next_event()
    assert caught.value.reply == Reply(code, "what?")
    check_poisoned(pair.client, caught.value)


@pytest.mark.parametrize("code", [0, 99, 100, 199, 600, 999, 421])
def test_codes_that_close(code: int) -> None:
    """A 421, and any code outside 2xx to 5xx, is a refusal after which the connection is closed."""
    for state, command in ROWS.values():
        pair = pair_in(state)
        pair.send(command)
        pair.client.receive_data(b"%03d no\r\n" % code)
        event = only(drain(pair.client), ReplyReceived)
        assert event.command is command
        assert pair.client.state is State.CLOSED
        assert not pair.client.can_send(Quit())
    greeted = pair_in(State.GREETING).client
    feed(greeted, b"%03d no\r\n" % code)
    assert greeted.state is State.CLOSED


def test_a_closed_connection_never_opens_again() -> None:
    """Answers behind a 421 are told to the commands they answer, and none of them opens the connection again."""
    client = client_that_sent(*GROUP)
    events = feed(client, b"421 bye\r\n250 ok\r\n250 ok\r\n354 go on\r\n")
    assert [event.command for event in events if isinstance(event, ReplyReceived)] == GROUP
    assert client.state is State.CLOSED
    assert client.sent_state is State.CLOSED
    assert client.accepted == ()
    with pytest.raises(LocalProtocolError):
        client.send_body(b"text")
    assert client.data_to_send() == []


# -- framing and limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets", [b"hello\r\n", b"25\r\n", b"2500 ok\r\n", b"250-ok\r\n550 no\r\n", b"\r\n", b"+25 ok\r\n"]
)
def test_what_is_no_reply(octets: bytes) -> None:
    """Octets that are no reply poison, however they are cut."""
    for pieces in every_split(octets):
        client = ClientConnection(strict=False)
        with pytest.raises(RemoteProtocolError) as caught:
            feed_pieces(client, pieces)
        check_poisoned(client, caught.value)


@pytest.mark.parametrize(
    "octets",
    [
        b"250 " + b"x" * MAX_REPLY_LINE,
        b"250-ok\r\n" * (MAX_REPLY_LINES + 1),
        (b"250-" + b"x" * 8000 + b"\r\n") * (MAX_REPLY_SIZE // 8000 + 1),
    ],
    ids=["line", "lines", "reply"],
)
def test_replies_without_end(octets: bytes) -> None:
    """A line or a reply beyond the limits poisons, so that memory is bounded."""
    client = ClientConnection(strict=False)
    with pytest.raises(LimitExceeded) as caught:
        feed(client, octets)
    check_poisoned(client, caught.value)
