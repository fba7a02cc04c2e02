"""The client's end: what answers carry, the exchanges of AUTH and STARTTLS, and what is written by hand."""

from __future__ import annotations

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import (
    Auth,
    AuthResponse,
    Data,
    Ehlo,
    EndOfData,
    Helo,
    Lhlo,
    Mail,
    Noop,
    Raw,
    Rcpt,
    Rset,
    StartTLS,
    Vrfy,
    XClient,
)
from smtp_proto.errors import InvalidArgument, LocalProtocolError, RemoteProtocolError
from smtp_proto.events import PAUSED, CommandReceived, ReplyReceived
from smtp_proto.replies import Reply
from smtp_proto.states import Stage, State
from tests.pairs import RECIPIENT, SENDER, Pair, drain, frozen, only, pair_in


def listed(pair: Pair) -> dict[str, str] | None:
    """The extensions as the client knows them."""
    extensions = pair.client.extensions
    return None if extensions is None else dict(extensions)


# -- what replies carry -----------------------------------------------------------------------------------------------


def test_extensions_are_those_of_the_last_hello() -> None:
    """`extensions` is what the last accepted EHLO listed: nothing before it, nothing after HELO, kept by a refusal."""
    pair = pair_in(State.CONNECTED)
    assert pair.client.extensions is None
    pair.exchange(Ehlo("client.test"), Reply(250, "server.test\nSIZE 1000\nPIPELINING"))
    assert listed(pair) == {"SIZE": "1000", "PIPELINING": ""}
    pair.exchange(Ehlo("client.test"), Reply(550, "server.test\n8BITMIME"))
    assert listed(pair) == {"SIZE": "1000", "PIPELINING": ""}
    pair.exchange(Helo("client.test"), Reply(250, "server.test\n8BITMIME"))
    assert pair.client.extensions is None


def test_a_hello_in_a_transaction_ends_it() -> None:
    """EHLO is a RSET too (RFC 5321 4.1.4); refused, it changes nothing."""
    pair = pair_in(State.RCPT)
    pair.exchange(Ehlo("client.test"), 500)
    pair.check_state(State.RCPT)
    accepted = list(pair.client.accepted)
    pair.exchange(Ehlo("client.test"), 250)
    pair.check_state(State.READY)
    assert (accepted, list(pair.client.accepted)) == ([RECIPIENT], [])


def test_no_enhanced_status_where_there_can_be_none() -> None:
    """Greeting, EHLO, HELO and LHLO have no enhanced status, whatever their text looks like (RFC 2034 4)."""
    text = "2.1.0 is my name"
    pair = Pair()
    events = pair.answer(Reply(220, text))
    events.append(pair.exchange(Helo("client.test"), Reply(250, text)))
    events.append(pair.exchange(Ehlo("client.test"), Reply(250, text)))
    lmtp = pair_in(State.CONNECTED, lmtp=True)
    events.append(lmtp.exchange(Lhlo("client.test"), Reply(250, text)))
    assert [event.reply.enhanced for event in events if isinstance(event, ReplyReceived)] == [None] * 4
    assert pair.exchange(SENDER, Reply(250, text)).reply.enhanced == (2, 1, 0)


def next_reply(client: ClientConnection) -> Reply:
    event = client.next_event()
    assert isinstance(event, ReplyReceived)
    return event.reply


def test_enhanced_status_of_a_reply_that_ehlo_has_too() -> None:
    """Words that answer EHLO behind another command are without an enhanced status there, and there alone."""
    client = pair_in(State.READY).client
    given: list[Reply] = []
    for commands in ([Rset()], [Rset(), Ehlo("client.test")], [Rset()]):
        for command in commands:
            client.send(command)
        client.receive_data(b"250 2.0.0 ok\r\n" * len(commands))
        while client.waiting:
            given += client.answers()[1] or [next_reply(client)]
    assert [reply.enhanced for reply in given] == [(2, 0, 0), (2, 0, 0), None, (2, 0, 0)]


def test_smtputf8_is_asked_for_before_it_is_used() -> None:
    """An address that is not ASCII is sent only in a transaction with SMTPUTF8 (RFC 6531 3.4), a mistake changes
    nothing, and without strictness it is the server's to judge."""
    client = pair_in(State.READY).client
    umlaut, asked = Rcpt("ä@example.org"), Mail("a@example.org", ["SMTPUTF8"])
    for wrong in (Mail("ä@example.org"), Mail("ä@example.org", ["BODY=8BITMIME"])):
        before = frozen(client)
        with pytest.raises(LocalProtocolError, match="needs SMTPUTF8"):
            client.send(wrong)
        assert frozen(client) == before
    client.send(SENDER)
    with pytest.raises(LocalProtocolError, match="needs SMTPUTF8 with MAIL"):
        client.send(umlaut)
    client.send(Rset())
    client.send(asked)
    client.send(umlaut)
    client.send(Rset())
    client.send(SENDER)
    assert not client.can_send(umlaut)
    assert pair_in(State.MAIL, strict=False).client.can_send(umlaut)


# -- AUTH -------------------------------------------------------------------------------------------------------------


def test_an_auth_exchange() -> None:
    """Each 334 asks for a response of its own, and the last answer ends the exchange (RFC 4954 4)."""
    pair = pair_in(State.READY)
    assert pair.exchange(Auth("X-TWO-STEP", b""), Reply.challenge(b"who?")).reply.lines == (b"d2hvPw==",)
    pair.check_state(State.AUTH)
    assert pair.client.outstanding == ()
    pair.exchange(AuthResponse(b"me"), Reply.challenge(b"really?"))
    pair.check_state(State.AUTH)
    pair.exchange(AuthResponse(b""), 235)
    pair.check_state(State.READY)


@pytest.mark.parametrize("code", [454, 501, 535])
def test_an_auth_exchange_that_fails(code: int) -> None:
    """A refusal in the middle of an exchange ends it, the answer to a cancellation like any other."""
    for response in (AuthResponse(None), AuthResponse(b"wrong")):
        pair = pair_in(State.AUTH)
        pair.exchange(response, code)
        pair.check_state(State.READY)
        assert pair.client.can_send(Auth("PLAIN"))


def test_a_response_that_is_not_base64() -> None:
    """A line that cannot be decoded is refused with a 501, which ends the exchange for both (RFC 4954 4)."""
    pair = pair_in(State.AUTH)
    assert pair.rejected(Raw(b"not base64", "AUTH response")).reply.code == 501
    pair.check_state(State.READY)


# -- STARTTLS ---------------------------------------------------------------------------------------------------------


def test_starttls_forgets_what_was_learnt_in_clear() -> None:
    """Between the 220 and the handshake the client is paused; after it, it knows nothing and is nobody."""
    pair = pair_in(State.READY)
    assert listed(pair) == {"PIPELINING": ""}
    pair.exchange(StartTLS(), 220)
    assert pair.client.next_event() is PAUSED
    assert pair.server.next_event() is PAUSED
    assert not pair.client.at_boundary
    assert not pair.server.at_boundary
    pair.secure()
    pair.check_state(State.CONNECTED)
    assert listed(pair) is None
    assert drain(pair.client) == []
    assert pair.client.sent_state is State.CONNECTED
    pair.exchange(Ehlo("client.test"), Reply(250, "server.test\nAUTH PLAIN"))
    assert listed(pair) == {"AUTH": "PLAIN"}


def test_starttls_refused_leaves_all_as_it_was() -> None:
    """A refused STARTTLS changes nothing."""
    pair = pair_in(State.READY)
    pair.exchange(StartTLS(), 454)
    pair.check_state(State.READY)
    assert listed(pair) == {"PIPELINING": ""}
    for end in (pair.client, pair.server):
        before = frozen(end)
        with pytest.raises(LocalProtocolError, match="no TLS handshake is due"):
            end.tls_established()
        assert frozen(end) == before


@pytest.mark.parametrize("injected", [b"2", b"250 PIPELINING\r\n", b"421 bye\r\n", b"\r\n"])
@pytest.mark.parametrize("later", [False, True])
def test_octets_behind_the_220_are_an_injection(injected: bytes, later: bool) -> None:
    """Any octet between the reply to STARTTLS and the handshake poisons, in the same segment or in a later one."""
    client = pair_in(State.READY).client
    client.send(StartTLS())
    client.data_to_send()
    client.receive_data(b"220 ready\r\n" + (b"" if later else injected))
    assert isinstance(client.next_event(), ReplyReceived)
    if later:
        assert client.next_event() is PAUSED
        client.receive_data(injected)
    with pytest.raises(RemoteProtocolError, match="injection"):
        client.tls_established()
    with pytest.raises(RemoteProtocolError, match="injection"):
        client.next_event()
    assert client.state is State.TLS
    assert client.extensions is not None  # whatever it was: it is the clear connection's, and that is at its end
    assert client.closed


# -- writing by hand --------------------------------------------------------------------------------------------------


def test_commands_written_by_hand_have_the_transitions_of_their_verbs() -> None:
    """A line that a person wrote moves the connection as the typed command would."""
    pair = pair_in(State.CONNECTED, strict=False)
    pair.send(Raw(b"EHLO client.test", "EHLO"))
    pair.answer(Reply(250, "server.test\n8BITMIME"))
    assert listed(pair) == {"8BITMIME": ""}
    for line, row, code in ((b"MAIL FROM:<\xc3\xa4@x>", "MAIL", 250), (b"RCPT TO:<b@x>", "RCPT", 250)):
        pair.send(Raw(line, row))
        pair.answer(code)
    assert [command.row for command in pair.client.accepted] == ["RCPT"]
    pair.send(Raw(b"DATA", "DATA"))
    pair.answer(354)
    pair.check_state(State.DATA)


def test_raw_octets_and_their_replies() -> None:
    """What is written by hand goes out as it is, and its reply is the next one that comes."""
    pair = pair_in(State.READY, strict=False)
    pair.client.send_raw(b"NOOP\r\n")
    assert pair.client.pending_output
    ticket = pair.client.expect()
    assert isinstance(only(pair.to_server(), CommandReceived).command, Noop)
    event = only(pair.answer(250), ReplyReceived)
    assert event.ticket == ticket
    assert event.command == Raw(b"")
    pair.check_state(State.READY)


def test_a_message_written_by_hand() -> None:
    """After a 354 the reply to what is written by hand is the one to the message's end."""
    pair = pair_in(State.DATA, strict=False)
    pair.client.send_raw(b"text\r\n.\r\n")
    pair.client.expect()
    assert pair.client.stage is Stage.FINAL
    pair.to_server()
    assert only(pair.answer(250), ReplyReceived).command == EndOfData()
    pair.check_state(State.READY)


def test_no_end_of_a_message_that_is_not_asked_for_yet() -> None:
    """A reply expected by hand behind a DATA lets no end of data out before the 354."""
    pair = pair_in(State.RCPT, strict=False)
    pair.client.send(Data())
    pair.client.expect()
    before = frozen(pair.client)
    with pytest.raises(LocalProtocolError, match="not asked for the message yet"):
        pair.client.send(EndOfData())
    assert frozen(pair.client) == before


def test_a_response_written_by_hand() -> None:
    """After a 334 the reply to what is written by hand is the one to a response."""
    pair = pair_in(State.AUTH, strict=False)
    pair.client.send_raw(b"c2VjcmV0\r\n")
    pair.client.expect()
    assert only(pair.to_server(), CommandReceived).command == AuthResponse(b"secret")
    assert only(pair.answer(235), ReplyReceived).command.row == "AUTH response"
    pair.check_state(State.READY)


@pytest.mark.parametrize("strict", [True, False])
def test_writing_by_hand_is_for_open_connections_without_strictness(strict: bool) -> None:
    """Raw octets and expected replies are refused, with nothing changed, on a strict or a closed connection."""
    client = pair_in(State.READY if strict else State.CLOSED, strict=strict).client
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="strict=False"):
        client.send_raw(b"NOOP\r\n")
    with pytest.raises(LocalProtocolError, match="strict=False"):
        client.expect()
    assert frozen(client) == before


def test_arguments_are_checked_before_there_is_a_command() -> None:
    """A bad address never becomes a command, so the connection never hears of it (RFC 5321 4.1.2)."""
    client = pair_in(State.READY).client
    before = frozen(client)
    with pytest.raises(InvalidArgument):
        client.send(Mail("a@example.org>\r\nrset"))
    assert frozen(client) == before
    assert drain(client) == []


# -- TLS that is required ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [True, False])
def test_required_tls_comes_first(strict: bool) -> None:
    """RFC 3207 4: until TLS is established nothing is sent but EHLO, HELO, NOOP, STARTTLS and QUIT; then everything."""
    client = ClientConnection(strict=strict, require_tls=True)
    client.receive_data(b"220 mx\r\n")
    client.next_event()
    client.send(Ehlo("client.test"))
    client.receive_data(b"250-mx\r\n250 STARTTLS\r\n")
    client.next_event()
    client.data_to_send()
    for command in (Mail("a@b.test"), Auth("PLAIN", b"\0a\0b"), Raw(b"XAUTH secret"), Rset(), Vrfy("a")):
        assert not client.can_send(command)
        with pytest.raises(LocalProtocolError, match="TLS is required"):
            client.send(command)
    with pytest.raises(LocalProtocolError):
        client.send_raw(b"MAIL FROM:<a@b.test>\r\n")
    assert client.data_to_send() == []
    assert client.can_send(Noop())
    client.send(StartTLS())
    client.receive_data(b"220 go\r\n")
    client.next_event()
    client.tls_established()
    assert not client.require_tls
    client.send(Ehlo("client.test"))
    client.receive_data(b"250 mx\r\n")
    client.next_event()
    client.send(Mail("a@b.test"))


def test_xclient_begins_the_session_anew() -> None:
    """What EHLO listed before is forgotten after the 220, for it was meant for somebody else; refused, all stays."""
    client = pair_in(State.READY).client
    before = client.extensions
    for octets, state, extensions in (
        (b"550 5.7.0 no\r\n", State.READY, before),
        (b"220 mx.test ESMTP\r\n", State.CONNECTED, None),
    ):
        client.send(XClient({"ADDR": "192.0.2.1"}))
        assert not client.can_send(Mail("a@client.test"))
        client.data_to_send()
        client.receive_data(octets)
        client.next_event()
        assert (client.state, client.extensions) == (state, extensions)
    assert not client.can_send(Mail("a@client.test"))
    assert client.can_send(Ehlo("client.test"))
