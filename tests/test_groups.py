"""What is done with many commands, answers or lines at once, beside what comes of doing it one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.body import DataEncoder, LineEndEncoder, MessageText
from smtp_proto.client import ClientConnection
from smtp_proto.commands import Bdat, Command, Data, EndOfData, Mail, Noop, Quit, Raw, Rcpt, Rset
from smtp_proto.errors import InvalidArgument, LocalProtocolError, RemoteProtocolError
from smtp_proto.events import ReplyReceived, Wait
from smtp_proto.grammar import MAX_COMMAND_LENGTH, PATH, plain_paths
from smtp_proto.parameters import Notify, Size
from smtp_proto.replies import MAX_REPLY_LINE
from smtp_proto.states import State
from smtp_proto.strategies import addresses, bodies, codes, malformed_addresses, malformed_replies, replies, splits
from tests.pairs import RECIPIENT, SENDER, alike, client_that_sent, feed, frozen, pair_in

UTF8_SENDER = Mail("j\u00f6rg@example.org", ["SMTPUTF8"])
UTF8_RECIPIENT = Rcpt("j\u00f6rg@example.org")
COMMANDS = [SENDER, UTF8_SENDER, RECIPIENT, UTF8_RECIPIENT, Raw(b"MAIL FROM:<a@b>"), Data(), Rset(), Noop(), Quit()]
WITH_OCTETS = [Bdat(3), Bdat(3, last=True), Bdat(0), EndOfData()]


# -- commands ---------------------------------------------------------------------------------------------------------


@given(
    group=st.lists(st.sampled_from([*COMMANDS, RECIPIENT, RECIPIENT]), max_size=6),
    state=st.sampled_from([state for state in State if state is not State.GREETING]),
    strict=st.booleans(),
)
def test_a_group_is_its_commands(group: list[Command], state: State, strict: bool) -> None:
    """A group is sent where its commands could be one after the other, and leaves the same; else it changes nothing."""
    together, alone = pair_in(state, strict=strict).client, pair_in(state, strict=strict).client
    before = frozen(together)
    ticket = alone.answered + alone.due - 1
    problem = ""
    try:
        for command in group:
            ticket = alone.send(command)
    except LocalProtocolError as error:
        problem = str(error)
    if problem:
        with pytest.raises(LocalProtocolError) as raised:
            together.send_group(group)
        assert str(raised.value) == problem
        assert frozen(together) == before
        assert not together.pending_output
    else:
        assert together.send_group(group) == ticket
        assert frozen(together) == frozen(alone)
        assert together.data_to_send() == alone.data_to_send()
        assert (together.outstanding, together.sent_state) == (alone.outstanding, alone.sent_state)
        assert together.transactions == alone.transactions


@pytest.mark.parametrize("command", WITH_OCTETS, ids=repr)
@pytest.mark.parametrize("strict", [True, False])
def test_octets_have_no_place_in_a_group(command: Command, strict: bool) -> None:
    """What octets of a message belong to is refused: they could not be put where they belong."""
    state = State.DATA if isinstance(command, EndOfData) else State.RCPT
    client = pair_in(state, strict=strict).client
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="octets"):
        client.send_group([command])
    assert frozen(client) == before


def test_a_group_on_a_poisoned_connection() -> None:
    """What poisoned it is raised."""
    client = client_that_sent(SENDER)
    with pytest.raises(RemoteProtocolError) as poison:
        feed(client, b"rubbish\r\n")
    with pytest.raises(RemoteProtocolError) as raised:
        client.send_group([RECIPIENT])
    assert alike(raised.value, poison.value)


hostile = st.sampled_from(["", "a@b\nc@d", "a@b\r\n", "\ud800@b"])
paths = addresses() | addresses(utf8=True) | malformed_addresses() | hostile
PARAMETERS = [(), (Notify("NEVER"),), ("NOTIFY=NEVER", "X=1"), ("two words",), (Size(1),), ("\u00fc",), ("x" * 70000,)]


@given(
    paths=st.lists(addresses(), max_size=5) | st.lists(paths, max_size=4),
    parameters=st.sampled_from(PARAMETERS),
)
def test_commands_for_many(paths: list[str], parameters: Sequence[str]) -> None:
    """They are what the constructor makes of each path, and what it refuses is refused."""

    def made(make: Callable[[], list[Rcpt]]) -> object:
        try:
            return [(command, command.line, command.parameters) for command in make()]
        except InvalidArgument as error:
            return str(error)

    one_by_one = made(lambda: [Rcpt(path, parameters) for path in paths])
    assert made(lambda: Rcpt.each(paths, parameters)) == one_by_one


@given(st.lists(paths, min_size=1, max_size=4))
def test_plain_paths(paths: list[str]) -> None:
    """What is plain is a path, in octets, of a local part and a domain without anything that means something."""
    plain = plain_paths(paths)
    if plain is not None:
        assert [octets.decode() for octets in plain] == paths
        for path in paths:
            assert PATH.fullmatch(path)
            assert path.isascii()
            local_part, at, domain = path.partition("@")
            assert at
            assert all([*local_part.split("."), *domain.split(".")])
            assert not set(path) & set('()<>[]:;@\\," \r\n\t\0') - {"@"}


@pytest.mark.parametrize(
    "paths",
    [
        *(["a"], ["@b"], ["a@"], ["a@b@c"], [".a@b"], ["a.@b"], ["a..b@c"], ["a@.b"], ["a@b."], ["a@b..c"], [""], []),
        *(
            ["a@b\nc@d"],
            ["a@b\nc@d", "e"],
            ["a@b\n", "c@d"],
            ["a@b", "\nc@d"],
            ["a@b", ""],
            ["a@b", "c@d\r"],
            ["a b@c"],
        ),
        *(["a@b>"], ['"a"@b'], ["a@[1.2.3.4]"], ["\u00fc@b"], ["a@b", "a@" + "b" * MAX_COMMAND_LENGTH]),
    ],
)
def test_what_is_not_plain(paths: list[str]) -> None:
    """Nothing is plain that has to be looked at, wherever the line feeds stand that hold the paths together."""
    assert plain_paths(paths) is None


def test_what_is_plain() -> None:
    """Nearly all addresses are."""
    assert plain_paths(["a@b", "ada.love-lace+x@mail.example.org"]) == [b"a@b", b"ada.love-lace+x@mail.example.org"]


# -- answers ----------------------------------------------------------------------------------------------------------

GROUP = [SENDER, *[RECIPIENT] * 4, Data()]
an_answer = replies(codes("245"), max_lines=2).map(lambda reply: reply.encode())
bare_lines = codes("245").map(lambda code: b"%03d\r\n" % code)
closing = st.sampled_from([b"421 bye\r\n", b"250-a\r\n421 b\r\n", b"250 x" + b"y" * MAX_REPLY_LINE + b"\r\n"])


def taken(client: ClientConnection, pieces: Sequence[bytes], together: bool) -> list[object]:
    """What becomes of the answers, with recipients' taken together wherever that is possible, or all one by one."""
    found: list[object] = []

    def take_all() -> None:
        while True:
            if together:
                first = client.answered
                found.extend((first + n, reply, reply.raw) for n, reply in enumerate(client.recipients_answered()))
            event = client.next_event()
            if isinstance(event, Wait):
                return
            found.append((event.ticket, event.reply, event.reply.raw) if isinstance(event, ReplyReceived) else event)
            if not isinstance(event, ReplyReceived):
                return

    try:
        for piece in pieces:
            client.receive_data(piece)
            take_all()
        client.receive_eof()
        take_all()
    except RemoteProtocolError as error:
        found.append(str(error))
        assert client.recipients_answered() == []
    return found


@given(
    st.lists(an_answer | bare_lines, max_size=7),
    st.none() | malformed_replies() | closing,
    st.data(),
)
def test_answers_taken_together(answers: list[bytes], wrong: bytes | None, data: st.DataObject) -> None:
    """Recipients' answers that are taken together are those that come one by one, and all that follows is the same,
    whatever the server says and in what pieces."""
    pieces = data.draw(splits(b"".join([*answers, wrong or b""])))
    group = data.draw(st.sampled_from([GROUP, GROUP[1:], [SENDER, *[RECIPIENT] * 2, Rset(), *GROUP]]))
    state = State.READY if isinstance(group[0], Mail) else State.MAIL
    one, other = pair_in(state).client, pair_in(state).client
    for client in (one, other):
        client.send_group(group)
    assert taken(one, pieces, together=True) == taken(other, pieces, together=False)
    assert one.state is other.state
    assert (one.accepted, one.outstanding, one.answered) == (other.accepted, other.outstanding, other.answered)
    assert frozen(one) == frozen(other)


def test_answers_to_recipients_come_together() -> None:
    """All that have come in are given at once, and no others."""
    client = client_that_sent(*GROUP)
    assert client.recipients_answered() == []
    feed(client, b"250 sender\r\n")
    client.receive_data(b"250 one\r\n550 two\r\n250 three\r\n450 four\r\n354 go\r\n")
    assert [reply.code for reply in client.recipients_answered()] == [250, 550, 250, 450]
    assert client.recipients_answered() == []
    assert len(client.accepted) == 2
    assert isinstance(client.next_event(), ReplyReceived)
    assert client.message_due


# -- a whole message --------------------------------------------------------------------------------------------------


@given(bodies())
def test_a_whole_text(octets: bytes) -> None:
    """A text that is whole becomes what the encoders make of it."""
    text = MessageText(octets)
    data, bdat = DataEncoder(), LineEndEncoder()
    assert text.for_data() == data.encode(octets) + data.finish()
    assert text.for_bdat() == bdat.encode(octets) + bdat.finish()
    assert text.length == len(octets)


def test_a_text_has_no_nul() -> None:
    """A NUL is found before anything is sent."""
    with pytest.raises(InvalidArgument, match="NUL"):
        MessageText(b"a\0b")


@given(bodies())
def test_a_message_sent_whole(octets: bytes) -> None:
    """It arrives as one that is sent in pieces does, and its answer is that to the end of the data."""
    pair = pair_in(State.DATA)
    due = [pair.client.message_due]
    ticket = pair.client.send_message(MessageText(octets))
    due.append(pair.client.message_due)
    assert due == [True, False]
    sent = b"".join(pair.client.data_to_send())
    assert sent == MessageText(octets).for_data()
    feed(pair.client, b"250 ok\r\n")
    assert (pair.client.answered, pair.client.state) == (ticket + 1, State.READY)


def test_a_message_cannot_be_sent_whole() -> None:
    """Where no message is due, a part of one is sent, or the connection is at its end, nothing is sent."""
    begun = pair_in(State.DATA).client
    begun.send_body(b"\r")
    ended, closed, ready = pair_in(State.DATA).client, pair_in(State.DATA).client, pair_in(State.READY).client
    ended.receive_eof()
    feed(closed, b"554 no\r\n")
    for client in (begun, ended, closed, ready):
        before = frozen(client)
        with pytest.raises(LocalProtocolError, match="no whole message"):
            client.send_message(MessageText(b"text"))
        assert frozen(client) == before
