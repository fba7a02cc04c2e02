"""The client's end: which command may be sent when, and which answer belongs to which command.

What answers carry, AUTH and STARTTLS are in `test_client_exchanges`, messages in `test_client_messages`, and how
connections end in `test_client_endings`.
"""

from __future__ import annotations

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import (
    Auth,
    AuthResponse,
    Bdat,
    Burl,
    Command,
    Data,
    Ehlo,
    EndOfData,
    Etrn,
    Expn,
    Greeting,
    Helo,
    Help,
    Lhlo,
    Noop,
    Quit,
    Raw,
    Rcpt,
    Rset,
    StartTLS,
    Vrfy,
    XClient,
    XForward,
)
from smtp_proto.errors import LocalProtocolError
from smtp_proto.events import CommandRejected, ReplyReceived
from smtp_proto.states import TABLE, Stage, State
from tests.pairs import OTHER_RECIPIENT, RECIPIENT, SENDER, Cut, Pair, feed, frozen, only, pair_in, whole
from tests.splitting import bytewise

# One command for each row of the table.
COMMANDS: list[Command] = [
    Greeting(),
    Ehlo("client.test"),
    Helo("client.test"),
    Lhlo("client.test"),
    SENDER,
    RECIPIENT,
    Data(),
    EndOfData(),
    Bdat(5),
    Bdat(5, last=True),
    Rset(),
    Noop(),
    Help(),
    Vrfy("b"),
    Expn("list"),
    StartTLS(),
    Auth("PLAIN"),
    AuthResponse(b"secret"),
    Burl("imap://mx.test/1"),
    Burl("imap://mx.test/2", last=True),
    Etrn("mx.test"),
    XClient({"NAME": "mx.test"}),
    XForward({"NAME": "mx.test"}),
    Quit(),
    Raw(b"XUNKNOWN"),
]
ANYWHERE = {"EHLO", "RSET", "NOOP", "HELP", "VRFY", "EXPN", "QUIT", "other"}
MAY_BE_SENT = {
    State.GREETING: set[str](),
    State.CONNECTED: ANYWHERE | {"HELO"},
    State.REFUSED: {"QUIT"},
    State.READY: ANYWHERE | {"HELO", "MAIL", "STARTTLS", "AUTH", "ETRN", "XCLIENT", "XFORWARD"},
    State.MAIL: ANYWHERE | {"HELO", "RCPT"},
    State.RCPT: ANYWHERE | {"HELO", "RCPT", "DATA", "BDAT", "BDAT LAST", "BURL", "BURL LAST"},
    State.DATA: {"end of data"},
    State.BDAT: ANYWHERE | {"HELO", "BDAT", "BDAT LAST", "BURL", "BURL LAST"},
    State.FAILED: ANYWHERE | {"HELO"},
    State.AUTH: {"AUTH response"},
    State.TLS: set[str](),
    State.CLOSED: set[str](),
}


def test_there_is_a_command_for_each_row() -> None:
    """The list of commands that the tests below go through is complete."""
    assert {command.row for command in COMMANDS} == set(TABLE)


@pytest.mark.parametrize("state", State)
def test_what_may_be_sent(state: State) -> None:
    """In each state exactly the commands of the table may be sent; a wrong one raises and changes nothing."""
    for command in COMMANDS:
        client = pair_in(state).client
        before = frozen(client)
        if command.row in MAY_BE_SENT[state]:
            assert client.can_send(command)
            assert frozen(client) == before
            client.send(command)
            assert client.outstanding == (command,)
            continue
        assert not client.can_send(command)
        with pytest.raises(LocalProtocolError, match=f"^{command.row} cannot be sent now: "):
            client.send(command)
        assert frozen(client) == before


def test_lmtp_has_a_hello_of_its_own() -> None:
    """LMTP begins with LHLO and nothing else, SMTP never does (RFC 2033 4.1)."""
    smtp, lmtp = pair_in(State.CONNECTED).client, pair_in(State.CONNECTED, lmtp=True).client
    hellos = [Ehlo("client.test"), Helo("client.test"), Lhlo("client.test")]
    assert [smtp.can_send(hello) for hello in hellos] == [True, True, False]
    assert [lmtp.can_send(hello) for hello in hellos] == [False, False, True]
    assert pair_in(State.CONNECTED, lmtp=True, strict=False).client.can_send(Ehlo("client.test"))


# -- order without strictness -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
def test_without_strictness_order_is_the_servers_to_judge(state: State) -> None:
    """strict=False sends any command out of order, but nothing where the octets would not be read as a command."""
    for command in COMMANDS:
        client = pair_in(state, strict=False).client
        fixed = state in (State.DATA, State.AUTH, State.TLS, State.CLOSED)
        no_command = command.row in ("greeting", "end of data", "AUTH response")
        allowed = command.row in MAY_BE_SENT[state] or not (fixed or no_command)
        assert client.can_send(command) is allowed


def test_a_server_refuses_what_is_out_of_order() -> None:
    """A command out of order is refused by the server, and both ends stay where they were."""
    pair = pair_in(State.READY, strict=False)
    for command in (RECIPIENT, Data(), Lhlo("client.test")):
        assert pair.rejected(command).reply.severity == 5
        pair.check_state(State.READY)


@pytest.mark.parametrize("command", [Data(), Auth("PLAIN"), StartTLS(), Quit()])
def test_even_without_strictness_a_change_of_mode_is_waited_for(command: Command) -> None:
    """Behind a command whose answer decides what the next octets mean nothing is sent, strict or not."""
    client = pair_in(State.READY, strict=False).client
    client.send(Noop())
    client.send(command)
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="decides what may follow"):
        client.send(Noop())
    assert frozen(client) == before


# -- pipelining -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [whole, bytewise])
def test_pipelined_answers_find_their_commands(cut: Cut) -> None:
    """Answers to a group come in its order, each with its command and ticket, and the state moves with each."""
    pair = pair_in(State.READY, cut=cut)
    group = [SENDER, RECIPIENT, OTHER_RECIPIENT, Data()]
    tickets = [pair.client.send(command) for command in group]
    assert pair.client.sent_state is State.DATA
    assert pair.client.state is State.READY
    assert pair.client.outstanding == tuple(group)
    assert pair.client.waiting
    assert pair.client.due == len(group)
    assert not pair.client.at_boundary
    pair.to_server()
    events = pair.answer(250, 550, 250, 354)
    assert [(event.command, event.ticket) for event in events if isinstance(event, ReplyReceived)] == list(
        zip(group, tickets, strict=True)
    )
    assert pair.client.accepted == (OTHER_RECIPIENT,)
    pair.check_state(State.DATA)
    assert pair.client.outstanding == ()


@pytest.mark.parametrize("state", State)
def test_the_boundary_is_where_commands_are_read(state: State) -> None:
    """Interrupted in the middle of a message or a log-in, before a handshake or before the greeting, no end can go on
    with commands; everywhere else it can."""
    pair = pair_in(state)
    commands = state not in (State.GREETING, State.DATA, State.AUTH, State.TLS, State.CLOSED)
    assert pair.client.at_boundary is commands
    assert pair.server.at_boundary is commands


def test_tickets_count_from_the_greeting() -> None:
    """The greeting has the first ticket, whoever has read it is told so, and each command the next one."""
    pair = Pair()
    assert only(pair.answer(220), ReplyReceived).ticket == 0
    assert pair.client.send(Ehlo("client.test")) == 1
    greeted = ClientConnection(greeted=True)
    assert greeted.state is State.CONNECTED
    assert greeted.outstanding == ()
    assert greeted.at_boundary
    assert greeted.send(Ehlo("client.test")) == 0
    assert only(feed(greeted, b"250 ok\r\n"), ReplyReceived).ticket == 0


def test_the_sent_state_is_corrected_by_refusals() -> None:
    """The sent state assumes that all that is outstanding succeeds, no more and no less, as each answer comes."""
    pair = pair_in(State.READY)
    pair.send(SENDER, RECIPIENT, RECIPIENT)
    states = [(pair.client.state, pair.client.sent_state)]
    pair.answer(550)
    states.append((pair.client.state, pair.client.sent_state))
    assert states == [(State.READY, State.RCPT)] * 2
    rejected = [pair.seen[-1]]
    pair.answer(503)
    rejected.append(pair.seen[-1])
    pair.answer(503)
    assert all(isinstance(event, CommandRejected) for event in rejected)
    pair.check_state(State.READY)
    assert pair.client.sent_state is State.READY
    assert not pair.client.can_send(RECIPIENT)


@pytest.mark.parametrize(
    "command",
    [Ehlo("client.test"), Data(), Noop(), Vrfy("b"), Expn("list"), Help(), Quit(), Raw(b"XUNKNOWN")],
)
def test_group_ends(command: Command) -> None:
    """Behind a command that ends a group nothing is sent before its answer (RFC 2920 3.1)."""
    pair = pair_in(State.RCPT)
    pair.client.send(Rcpt("d@example.org"))
    pair.client.send(command)
    before = frozen(pair.client)
    for late in COMMANDS:
        assert not pair.client.can_send(late)
    with pytest.raises(LocalProtocolError, match=f"the reply to {command.row} decides what may follow"):
        pair.client.send(Rset())
    assert frozen(pair.client) == before


def test_a_group_goes_on_behind_what_does_not_end_it() -> None:
    """RSET, MAIL, RCPT, BDAT and the end of a message may stand anywhere in a group (RFC 2920 3.1, RFC 3030 4.2)."""
    pair = pair_in(State.DATA)
    for command in (EndOfData(), SENDER, RECIPIENT, Rset(), SENDER, RECIPIENT, Bdat(0), Bdat(0, last=True), SENDER):
        pair.client.send(command)
    pair.to_server()
    pair.answer(250, 250, 250, 250, 250, 250, 250, 250, 250)
    pair.check_state(State.MAIL)


def test_a_transaction_of_urls_in_one_group() -> None:
    """RFC 4468 3.2: chunks and URLs in one flight with their envelope; a new transaction waits for the last of them."""
    pair = pair_in(State.READY)
    parts = [Burl("imap://mx.test/1"), Bdat(0), Burl("imap://mx.test/2", last=True)]
    for command in (SENDER, RECIPIENT, *parts):
        pair.client.send(command)
    with pytest.raises(LocalProtocolError, match="the reply to BURL LAST decides what may follow"):
        pair.client.send(SENDER)
    pair.to_server()
    pair.answer(250, 250, 250, 250, 250)
    pair.check_state(State.READY)


def test_a_url_that_fails_in_the_middle_of_a_group() -> None:
    """RFC 4468 3.2: the whole transaction fails; the octets of a chunk that was sent already are no commands."""
    pair = pair_in(State.READY)
    for command in (SENDER, RECIPIENT, Burl("imap://mx.test/1"), Bdat(6, last=True)):
        pair.client.send(command)
    pair.client.send_body(b"QUIT\r\n")
    pair.to_server()
    pair.answer(250, 250, 554, 503)
    pair.check_state(State.FAILED)
    pair.exchange(Rset(), 250)
    pair.check_state(State.READY)


def test_each_wait_has_its_stage() -> None:
    """The stage of a wait is that of the command whose reply is next."""
    pair = Pair()
    stages = [Pair().client.stage]
    pair = pair_in(State.READY)
    stages.append(pair.client.stage)
    pair.send(SENDER, RECIPIENT, Data())
    for code in (250, 250, 354):
        stages.append(pair.client.stage)
        pair.answer(code)
    stages.append(pair.client.stage)
    pair.client.send(EndOfData())
    stages.append(pair.client.stage)
    wait = [Stage.GREETING, Stage.COMMAND, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.COMMAND, Stage.FINAL]
    assert stages == wait
