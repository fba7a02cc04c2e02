"""The client's end: messages, by DATA and by BDAT."""

from __future__ import annotations

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Bdat, Data, EndOfData, Noop, Rset
from smtp_proto.errors import InvalidArgument, LocalProtocolError, RemoteProtocolError
from smtp_proto.events import (
    BodyReceived,
    CommandReceived,
    CommandRejected,
    ReplyReceived,
    ServiceClosing,
)
from smtp_proto.replies import Reply
from smtp_proto.states import State
from tests.pairs import (
    RECIPIENT,
    SENDER,
    Cut,
    Pair,
    client_that_sent,
    drain,
    end_message,
    feed,
    frozen,
    only,
    pair_in,
    whole,
)
from tests.splitting import bytewise

HOSTILE_BODY = b".\n.\r\n..\rquit\r\n.\r\nmail from:<evil@example.org>"
AS_IT_ARRIVES = b".\r\n.\r\n..\r\nquit\r\n.\r\nmail from:<evil@example.org>\r\n"


def body_of(pair: Pair) -> bytes:
    """All that the server has received of messages."""
    return b"".join(event.octets for event in pair.seen if isinstance(event, BodyReceived))


# -- DATA -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [whole, bytewise])
@pytest.mark.parametrize("cut", [whole, bytewise])
def test_a_message_by_data(given: Cut, cut: Cut) -> None:
    """A message arrives with its line ends normalised, whatever it contains and however it is given and cut."""
    pair = pair_in(State.DATA, cut=cut)
    for piece in given(HOSTILE_BODY):
        pair.client.send_body(piece)
        pair.to_server()
    ticket = pair.client.send(EndOfData())
    assert pair.client.sent_state is State.READY
    pair.to_server()
    assert body_of(pair) == AS_IT_ARRIVES
    event = only(pair.answer(250), ReplyReceived)
    assert (event.command, event.ticket, event.recipient, event.early) == (EndOfData(), ticket, None, False)
    pair.check_state(State.READY)
    assert pair.client.accepted == ()


@pytest.mark.parametrize("code", [250, 452, 554])
def test_the_end_of_a_message_ends_the_transaction(code: int) -> None:
    """Whatever the answer to a message, no transaction is open after it (RFC 5321 4.1.1.4)."""
    pair = pair_in(State.DATA)
    end_message(pair)
    pair.answer(code)
    pair.check_state(State.READY)


def test_data_that_is_refused() -> None:
    """A refused DATA leaves the transaction as it was, and no body may be sent."""
    pair = pair_in(State.RCPT)
    pair.exchange(Data(), 451)
    pair.check_state(State.RCPT)
    before = frozen(pair.client)
    with pytest.raises(LocalProtocolError, match="no body may be sent in state RCPT"):
        pair.client.send_body(b"text")
    with pytest.raises(LocalProtocolError):
        pair.client.send(EndOfData())
    assert frozen(pair.client) == before


def test_a_nul_in_a_message() -> None:
    """A NUL is refused, nothing of its chunk is sent, and the message goes on as if it had not been given."""
    pair = pair_in(State.DATA)
    pair.client.send_body(b"one\r")
    before = frozen(pair.client)
    with pytest.raises(InvalidArgument):
        pair.client.send_body(b"two\0")
    assert frozen(pair.client) == before
    end_message(pair, b"\nthree")
    assert body_of(pair) == b"one\r\nthree\r\n"


@pytest.mark.parametrize("state", [state for state in State if state is not State.DATA])
def test_no_body_where_none_is_due(state: State) -> None:
    """Octets of a body are refused in every state but DATA, and nothing changes."""
    client = pair_in(state).client
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="no body may be sent"):
        client.send_body(b"text")
    assert frozen(client) == before


def test_no_accepted_recipient_and_a_354_all_the_same() -> None:
    """In SMTP a message may be asked for although no recipient was accepted; its end can be sent (RFC 2920 3.1)."""
    client = client_that_sent(SENDER, RECIPIENT, Data())
    feed(client, b"250 ok\r\n550 no\r\n354 go on\r\n")
    assert client.accepted == ()
    client.send(EndOfData())
    assert client.data_to_send() == [b".\r\n"]
    feed(client, b"554 no\r\n")
    assert client.state is State.READY


# -- an answer before the message is out ------------------------------------------------------------------------------


def half_sent(how: str) -> ClientConnection:
    """A client in the middle of a message."""
    pair = pair_in(State.DATA if how == "DATA" else State.RCPT)
    if how == "BDAT":
        pair.client.send(Bdat(10))
    pair.client.send_body(b"half")
    pair.to_server()
    return pair.client


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
@pytest.mark.parametrize("code", [421, 452, 552, 199, 600])
def test_an_early_refusal(how: str, code: int) -> None:
    """A refusal before the message is out is reported as that, and closes: nobody knows what the server reads next."""
    client = half_sent(how)
    client.receive_data(b"%d no\r\n" % code)
    event = only(drain(client), ReplyReceived)
    assert event.early
    assert event.command.row == ("end of data" if how == "DATA" else "BDAT")
    assert event.recipient is None
    assert client.closed
    assert client.sent_state is State.CLOSED
    assert client.outstanding == ()
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="the connection is closed"):
        client.send_body(b"rest")
    assert not client.can_send(EndOfData())
    assert frozen(client) == before


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_behind_an_early_refusal(how: str) -> None:
    """An early refusal is the one answer to its message: a 421 may follow, anything else was asked for by nobody."""
    client = half_sent(how)
    feed(client, b"452 full\r\n")
    events = feed(client, b"421 bye\r\n")
    assert events == [ServiceClosing(Reply(421, "bye"))]
    with pytest.raises(RemoteProtocolError, match="no command asked for"):
        feed(client, b"500 what?\r\n")


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
@pytest.mark.parametrize("code", [250, 354])
def test_an_early_success(how: str, code: int) -> None:
    """A server that claims to have what was not sent yet is out of step: poisoned."""
    client = half_sent(how)
    client.receive_data(b"%d ok\r\n" % code)
    with pytest.raises(RemoteProtocolError) as caught:
        client.next_event()
    assert caught.value.reply == Reply(code, "ok")
    with pytest.raises(RemoteProtocolError):
        client.send_body(b"rest")
    assert client.data_to_send() == []


# -- BDAT -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [whole, bytewise])
def test_a_message_by_bdat(cut: Cut) -> None:
    """The octets of a chunk are counted, not looked at, and they arrive as they were given (RFC 3030 2)."""
    pair = pair_in(State.RCPT, cut=cut)
    octets = b"\0.\r\nquit\r\n\r.\n"
    commands = [Bdat(len(octets)), Bdat(0), Bdat(3, last=True)]
    for command, chunk in zip(commands, (octets, b"", b"end"), strict=True):
        pair.client.send(command)
        for piece in bytewise(chunk) or [b""]:
            pair.client.send_body(piece)
    pair.to_server()
    assert [event.command for event in pair.answer(250, 250, 250) if isinstance(event, ReplyReceived)] == commands
    assert body_of(pair) == octets + b"end"
    assert [event.command for event in pair.seen if isinstance(event, CommandReceived)][-3:] == commands
    pair.check_state(State.READY)


def test_a_chunk_has_the_size_that_was_said() -> None:
    """Octets beyond the size, and commands before it is reached, are refused and change nothing."""
    pair = pair_in(State.RCPT)
    client = pair.client
    client.send(Bdat(5, last=True))
    assert not client.at_boundary
    client.send_body(b"abc")
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="3 octets of body where the BDAT has 2 left"):
        client.send_body(b"def")
    for command in (Bdat(0, last=True), Rset(), Noop(), EndOfData()):
        assert not client.can_send(command)
    with pytest.raises(LocalProtocolError, match="2 octets of the BDAT before it are still due"):
        client.send(Rset())
    assert frozen(client) == before
    client.send_body(b"de")
    assert client.can_send(Rset())
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="no body may be sent"):
        client.send_body(b"f")
    client.send_body(b"")  # nothing is nothing
    assert frozen(client) == before
    pair.to_server()
    pair.answer(250)
    assert body_of(pair) == b"abcde"


@pytest.mark.parametrize("cut", [whole, bytewise])
def test_a_refused_chunk_fails_the_transaction(cut: Cut) -> None:
    """Behind a refused chunk only RSET, EHLO and QUIT lead on; pipelined chunks are refused too, and read past."""
    pair = pair_in(State.RCPT, cut=cut)
    for command in (Bdat(3), Bdat(6, last=True), SENDER):
        pair.client.send(command)
        pair.client.send_body(b"rset\r\n"[: command.size if isinstance(command, Bdat) else 0])
    pair.to_server()
    pair.answer(452)
    for _ in range(2):
        hint = pair.seen[-1]
        assert isinstance(hint, CommandRejected)
        pair.answer(hint.hint)
    pair.check_state(State.FAILED)
    assert b"rset" not in b"".join(event.line for event in pair.seen if isinstance(event, CommandRejected))
    assert not pair.client.can_send(SENDER)
    pair.exchange(Rset(), 250)
    pair.check_state(State.READY)


def test_chunks_that_are_answered_while_the_next_one_goes_out() -> None:
    """A reply to an earlier chunk, or to RCPT, is no early answer to the one under way."""
    pair = pair_in(State.MAIL)
    pair.client.send(RECIPIENT)
    pair.client.send(Bdat(3))
    pair.client.send_body(b"abc")
    pair.client.send(Bdat(3, last=True))
    pair.client.send_body(b"d")
    pair.to_server()
    events = pair.answer(250, 250)
    assert [event.command.row for event in events if isinstance(event, ReplyReceived)] == ["RCPT", "BDAT"]
    pair.client.send_body(b"ef")
    pair.to_server()
    assert only(pair.answer(250), ReplyReceived).command == Bdat(3, last=True)
    assert body_of(pair) == b"abcdef"
