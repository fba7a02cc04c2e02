"""The client's end: LMTP, where each accepted recipient has an answer of its own (RFC 2033)."""

from __future__ import annotations

import pytest

from smtp_proto.commands import Bdat, Data, Lhlo, Rcpt
from smtp_proto.errors import RemoteProtocolError
from smtp_proto.events import (
    NEED_DATA,
    ConnectionClosed,
    ReplyReceived,
)
from smtp_proto.replies import Reply
from smtp_proto.states import State
from tests.pairs import (
    OTHER_RECIPIENT,
    RECIPIENT,
    SENDER,
    Pair,
    client_that_sent,
    drain,
    end_message,
    feed,
    only,
    pair_in,
)


def lmtp_message(how: str) -> Pair:
    """An LMTP pair whose client has sent a message to three recipients, the second refused."""
    pair = pair_in(State.MAIL, lmtp=True)
    for recipient, code in ((RECIPIENT, 250), (Rcpt("nobody@example.org"), 550), (OTHER_RECIPIENT, 250)):
        pair.exchange(recipient, code)
    if how == "DATA":
        pair.exchange(Data(), 354)
        end_message(pair)
    else:
        pair.client.send(Bdat(4, last=True))
        pair.client.send_body(b"text")
        pair.to_server()
    return pair


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_lmtp_answers_once_for_each_accepted_recipient(how: str) -> None:
    """One final reply comes for each accepted recipient, in their order; only the last ends the wait (RFC 2033 4.2)."""
    pair = lmtp_message(how)
    assert pair.server.replies_owed == 2
    first = only(pair.answer(452), ReplyReceived)
    assert first.recipient is RECIPIENT
    assert pair.client.outstanding == (first.command,)
    assert pair.server.replies_owed == 1
    second = only(pair.answer(250), ReplyReceived)
    assert second.recipient is OTHER_RECIPIENT
    assert second.ticket == first.ticket
    pair.check_state(State.READY)
    assert list(pair.client.outstanding) == []
    pair.exchange(SENDER, 250)
    assert pair.client.accepted == ()


def test_lmtp_with_too_few_answers() -> None:
    """While a final reply is missing nothing is quiet, and the end of the connection is no clean one."""
    pair = lmtp_message("DATA")
    pair.answer(250)
    assert not pair.client.at_boundary
    pair.client.receive_eof()
    assert drain(pair.client) == [ConnectionClosed(False)]


def test_lmtp_with_too_many_answers() -> None:
    """A final reply more than there are accepted recipients was asked for by nobody: poisoned."""
    pair = lmtp_message("DATA")
    pair.answer(250, 250)
    with pytest.raises(RemoteProtocolError, match="no command asked for"):
        feed(pair.client, b"250 and another\r\n")


@pytest.mark.parametrize("before", [0, 1])
def test_lmtp_with_a_421_among_the_answers(before: int) -> None:
    """A 421 among the final replies closes; it is about the connection, so it names no recipient."""
    pair = lmtp_message("DATA")
    pair.answer(*[250] * before)
    event = only(pair.answer(421), ReplyReceived)
    assert event.recipient is None
    assert not event.early
    pair.check_state(State.CLOSED)
    assert pair.client.sent_state is State.CLOSED


def test_lmtp_asked_for_a_message_without_recipients() -> None:
    """LMTP's 354 with no accepted recipient poisons: nobody can tell how many replies would follow (RFC 2033 4.2)."""
    client = client_that_sent(SENDER, RECIPIENT, Data(), lmtp=True)
    client.receive_data(b"250 ok\r\n550 no\r\n354 go on\r\n")
    client.next_event()
    client.next_event()
    with pytest.raises(RemoteProtocolError, match="although no recipient was accepted") as caught:
        client.next_event()
    assert caught.value.reply == Reply(354, "go on")


def test_lmtp_without_recipients() -> None:
    """A BDAT LAST that no accepted recipient stands before is answered once."""
    pair = pair_in(State.MAIL, lmtp=True)
    pair.client.send(RECIPIENT)
    pair.client.send(Bdat(0, last=True))
    pair.to_server()
    events = pair.answer(550, 503)
    assert [event.recipient for event in events if isinstance(event, ReplyReceived)] == [None, None]
    pair.check_state(State.FAILED)


def test_lmtp_behind_a_refused_chunk() -> None:
    """Behind a refused chunk a BDAT LAST ends no message, so it is answered once however many recipients there are."""
    pair = pair_in(State.RCPT, lmtp=True)
    pair.exchange(OTHER_RECIPIENT, 250)
    for command in (Bdat(0), Bdat(0, last=True)):
        pair.client.send(command)
    pair.to_server()
    pair.answer(452)
    assert pair.server.replies_owed == 1
    assert only(pair.answer(503), ReplyReceived).recipient is None
    assert not pair.client.waiting
    assert pair.server.next_event() is NEED_DATA
    pair.check_state(State.FAILED)


def test_lmtp_recipients_are_those_of_the_transaction() -> None:
    """Recipients of a message that failed are not counted again, even where a server takes a MAIL straight after it."""
    client = client_that_sent(
        SENDER, RECIPIENT, OTHER_RECIPIENT, Bdat(1, last=True), SENDER, RECIPIENT, Bdat(1, last=True), lmtp=True
    )
    events = feed(client, b"250 ok\r\n" * 4 + b"452 full\r\n" + b"250 ok\r\n" * 3)
    assert not client.waiting
    assert client.state is State.READY
    assert [event.recipient for event in events if isinstance(event, ReplyReceived)][3:] == [
        RECIPIENT,
        OTHER_RECIPIENT,
        None,
        None,
        RECIPIENT,
    ]


def test_lmtp_begins_with_its_own_hello() -> None:
    """LHLO brings the extensions as EHLO does (RFC 2033 4.1)."""
    pair = pair_in(State.CONNECTED, lmtp=True)
    pair.exchange(Lhlo("client.test"), Reply(250, "server.test\nCHUNKING"))
    assert pair.client.extensions is not None
    assert list(pair.client.extensions) == ["CHUNKING"]
