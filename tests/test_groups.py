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
from smtp_proto.group import Group
from smtp_proto.internationalization import PLAIN, content_of
from smtp_proto.parameters import Notify, Size
from smtp_proto.plain import plain_mail
from smtp_proto.replies import MAX_REPLY_LINE, ReplyReader
from smtp_proto.sources import source_of
from smtp_proto.states import State
from smtp_proto.strategies import addresses, bodies, codes, malformed_addresses, malformed_replies, replies, splits
from tests.pairs import RECIPIENT, SENDER, alike, client_that_sent, feed, frozen, pair_in

UTF8_SENDER = Mail("j\u00f6rg@example.org", ["SMTPUTF8"])
UTF8_RECIPIENTS_SENDER = Mail("ada@example.org", ["SMTPUTF8"])
UTF8_RECIPIENT = Rcpt("j\u00f6rg@example.org")
COMMANDS = [SENDER, UTF8_SENDER, RECIPIENT, UTF8_RECIPIENT, Raw(b"MAIL FROM:<a@b>"), Data(), Rset(), Noop(), Quit()]
WITH_OCTETS = [Bdat(3), Bdat(3, last=True), Bdat(0), EndOfData()]


# -- commands ---------------------------------------------------------------------------------------------------------


def is_the_same(
    together: ClientConnection, alone: ClientConnection, at_once: Callable[[], int], otherwise: Callable[[], int]
) -> None:
    """What `at_once` does to one connection is what `otherwise` does to one like it, where that goes through; else it
    raises the same, and changes nothing."""
    before = frozen(together)
    problem, ticket = "", 0
    try:
        ticket = otherwise()
    except LocalProtocolError as error:
        problem = str(error)
    if problem:
        with pytest.raises(LocalProtocolError) as raised:
            at_once()
        assert str(raised.value) == problem
        assert frozen(together) == before
        assert not together.pending_output
    else:
        assert at_once() == ticket
        assert b"".join(together.data_to_send()) == b"".join(alone.data_to_send())
        together._groups.clear()  # a short cut, of which nothing else shows
        assert frozen(together) == frozen(alone)
        assert (together.outstanding, together.sent_state) == (alone.outstanding, alone.sent_state)
        assert together.transactions == alone.transactions


@given(
    group=st.lists(st.sampled_from([*COMMANDS, RECIPIENT, RECIPIENT]), max_size=6),
    state=st.sampled_from([state for state in State if state is not State.GREETING]),
    strict=st.booleans(),
)
def test_a_group_is_its_commands(group: list[Command], state: State, strict: bool) -> None:
    """A group is sent where its commands could be one after the other, and leaves the same; else it changes nothing."""
    together, alone = (pair_in(state, strict=strict).client for _ in range(2))

    def one_by_one() -> int:
        return [alone.answered + alone.due - 1, *map(alone.send, group)][-1]

    is_the_same(together, alone, lambda: together.send_group(group), one_by_one)


@given(
    group=st.lists(st.sampled_from([*COMMANDS, RECIPIENT, RECIPIENT, *WITH_OCTETS]), max_size=4)
    | st.sampled_from([[SENDER, RECIPIENT], [Rset(), SENDER, RECIPIENT, RECIPIENT], [RECIPIENT]]),
    end=st.sampled_from([Bdat(3, last=True), Bdat(3, last=True), Bdat(3), Bdat(0, last=True), Data(), EndOfData()]),
    chunk=st.sampled_from([b"abc", b"abc", b"", b"abcd"]),
    state=st.sampled_from([State.READY, State.READY, State.RCPT, State.BDAT, State.DATA, State.CLOSED]),
    lmtp=st.booleans(),
)
def test_a_group_with_a_chunk(group: list[Command], end: Command, chunk: bytes, state: State, lmtp: bool) -> None:
    """A group that ends with a BDAT and its chunk is sent where they could be one by one, and leaves the same; else,
    and if the chunk is not what the BDAT says, it changes nothing."""
    together, alone = pair_in(state, lmtp=lmtp).client, pair_in(state, lmtp=lmtp).client
    before = frozen(together)
    fits = isinstance(end, Bdat) and end.size == len(chunk) and not any(each in WITH_OCTETS for each in group)
    ticket = 0
    try:
        for command in [*group, end]:
            ticket = alone.send(command)
        if fits:
            alone.send_body(chunk)
    except LocalProtocolError:
        fits = False
    if fits:
        assert together.send_group([*group, end], chunk) == ticket
        assert b"".join(together.data_to_send()) == b"".join(alone.data_to_send())
        together._groups.clear()  # a short cut, of which nothing else shows
        assert frozen(together) == frozen(alone)
        assert together.sent_state is alone.sent_state
    else:
        with pytest.raises(LocalProtocolError):
            together.send_group([*group, end], chunk)
        assert frozen(together) == before
        assert not together.pending_output


@given(
    before=st.sampled_from([[], [], [Rset()]]),
    mail=st.sampled_from([SENDER, SENDER, UTF8_SENDER, UTF8_RECIPIENTS_SENDER]),
    recipients=st.lists(st.sampled_from([RECIPIENT, RECIPIENT, UTF8_RECIPIENT]), max_size=3),
    end=st.sampled_from([None, Data(), b"abc", b""]),
    state=st.sampled_from([state for state in State if state is not State.GREETING]),
    strict=st.booleans(),
    lmtp=st.booleans(),
)
def test_an_envelope_is_its_commands(
    before: list[Rset],
    mail: Mail,
    recipients: list[Rcpt],
    end: Data | bytes | None,
    state: State,
    strict: bool,
    lmtp: bool,
) -> None:
    """An envelope is sent where the group of its commands could be, and leaves the same; else it changes nothing."""
    together, alone = (pair_in(state, strict=strict, lmtp=lmtp).client for _ in range(2))
    data, chunk = (None, end) if isinstance(end, bytes) else (end, None)
    group = Group(before, mail, recipients, data=data, chunk=chunk)
    is_the_same(together, alone, lambda: together.send_envelope(group), lambda: alone.send_group(group.commands, chunk))


@pytest.mark.parametrize("end", [None, Data()])
@pytest.mark.parametrize("lmtp", [True, False])
def test_recipients_in_a_list_that_changes(end: Data | None, lmtp: bool) -> None:
    """Whoever goes on with the list of the recipients changes nothing of an envelope that was made with it: in LMTP as
    many answers to the message are due as there were."""
    client = pair_in(State.READY, lmtp=lmtp).client
    given = [RECIPIENT, RECIPIENT]
    client.send_envelope(Group((), SENDER, given, data=end))
    given.clear()
    client.receive_data(b"250 ok\r\n" * 3 + b"354 go\r\n" * (end is not None))
    client.answers()
    assert not client.waiting
    assert client.accepted == (RECIPIENT, RECIPIENT)


def test_a_chunk_of_no_command() -> None:
    """A chunk without a command is refused."""
    client = pair_in(State.RCPT).client
    with pytest.raises(LocalProtocolError, match="a chunk of 3 octets"):
        client.send_group([], b"abc")


def test_a_reset_is_answered() -> None:
    """RSET alone leads out of the transaction."""
    client = pair_in(State.RCPT).client
    client.send(Rset())
    client.receive_data(b"250 ok\r\n")
    assert [*client.answers()[0]] == [Rset()]
    assert (client.state, client.accepted) == (State.READY, ())


@pytest.mark.parametrize("state", [State.CONNECTED, State.MAIL, State.DATA])
def test_an_envelope_out_of_place(state: State) -> None:
    """MAIL, RCPT and DATA are refused as what they are where MAIL may not stand, and nothing is changed."""
    client = pair_in(state).client
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="MAIL cannot be sent now"):
        client.send_group([SENDER, RECIPIENT, Data()])
    assert frozen(client) == before


def test_an_envelope_behind_a_reset_out_of_place() -> None:
    """Before EHLO RSET may be sent, and nothing becomes possible by it."""
    client = pair_in(State.CONNECTED).client
    before = frozen(client)
    with pytest.raises(LocalProtocolError, match="MAIL cannot be sent now"):
        client.send_group([Rset(), SENDER, RECIPIENT])
    assert frozen(client) == before


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
    sent: list[Callable[[], int]] = [
        lambda: client.send_group([RECIPIENT]),
        lambda: client.send_envelope(Group((), SENDER, [RECIPIENT])),
    ]
    for send in sent:
        with pytest.raises(RemoteProtocolError) as raised:
            send()
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


def test_commands_with_parameters_for_many() -> None:
    """Each has the parameters, which are checked once."""
    never = Notify("NEVER")
    for recipients in (["a@b"], ["a@b", "c@d"]):
        assert Rcpt.each(recipients, [never, "X=1"]) == [Rcpt(path, [never, "X=1"]) for path in recipients]
    with pytest.raises(InvalidArgument, match="not one word"):
        Rcpt.each(["a@b", "c@d"], ["two words"])


@given(st.lists(paths, min_size=1, max_size=4))
def test_plain_paths(paths: list[str]) -> None:
    """What is plain is a path, in octets, of a local part and a domain without anything that means something."""
    plain = plain_paths(paths)
    if plain is not None:
        assert [octets.decode() for octets in plain.split(b"\n")] == paths
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


@given(
    sender=addresses() | hostile,
    recipients=st.lists(addresses() | hostile, max_size=3),
    octets=bodies() | st.sampled_from([b"", b"x" * 998, b"x" * 999, "\u00fc".encode(), b"a\0b"]),
    sized=st.booleans(),
)
def test_plain_mail(sender: str, recipients: list[str], octets: bytes, sized: bool) -> None:
    """What is made of plain mail is what the constructors make of its parts; and nothing is that needs a decision."""
    plain = plain_mail(sender, recipients, octets, sized=sized)
    if plain_paths([sender, *recipients]) is None or content_of(octets) is not PLAIN or not recipients:
        assert plain is None
        return
    assert plain is not None
    (mail, commands), source = plain.commands(), plain.source()
    known = source_of(octets)
    expected = [Mail(sender, [f"size={known.size}"] if sized else []), *map(Rcpt, recipients)]
    assert [mail, *commands] == expected
    assert [command.line for command in (mail, *commands)] == [command.line for command in expected]
    assert plain.lines() == (mail.line, b"".join([command.line for command in commands]))
    assert (plain.size, plain.count) == (known.size, len(recipients))
    assert (source.length, source.size, source.encoded) == (known.length, known.size, known.encoded)
    assert b"".join(source.chunks) == octets  # type: ignore[arg-type]  # octets have no asynchronous chunks


def test_what_is_plain() -> None:
    """Nearly all addresses are."""
    assert plain_paths(["a@b", "ada.love-lace+x@mail.example.org"]) == b"a@b\nada.love-lace+x@mail.example.org"


# -- answers ----------------------------------------------------------------------------------------------------------

GROUP = [SENDER, *[RECIPIENT] * 4, Data()]
an_answer = replies(codes("245"), max_lines=2).map(lambda reply: reply.encode())
bare_lines = codes("245").map(lambda code: b"%03d\r\n" % code)
closing = st.sampled_from([b"421 bye\r\n", b"250-a\r\n421 b\r\n", b"250 x" + b"y" * MAX_REPLY_LINE + b"\r\n"])


def taken(client: ClientConnection, pieces: Sequence[bytes], together: bool) -> list[object]:
    """What becomes of the answers, taken together wherever that is possible, or all one by one."""
    found: list[object] = []

    def take_all() -> None:
        while True:
            first = client.answered
            answered = zip(*client.answers(), strict=True) if together else ()
            for ticket, (command, reply) in enumerate(answered, first):
                found.append((ticket, command, reply, reply.raw))
            event = client.next_event()
            if isinstance(event, Wait):
                return
            if not isinstance(event, ReplyReceived):
                found.append(event)
                return
            found.append((event.ticket, event.command, event.reply, event.reply.raw))

    try:
        for piece in pieces:
            client.receive_data(piece)
            take_all()
        client.receive_eof()
        take_all()
    except RemoteProtocolError as error:
        found.append(str(error))
        assert client.answers() == ((), ())
    return found


# What is sent at once, one after the other; chunks go alone, or end a group.
FLIGHTS: list[list[list[Command]]] = [
    [GROUP],
    [GROUP[1:]],
    [[SENDER, RECIPIENT], [Data()]],
    [[SENDER, *[RECIPIENT] * 2], [Rset()], GROUP],
    [[SENDER, RECIPIENT, Rset(), *GROUP]],
    [[Rset(), SENDER, RECIPIENT], [Bdat(0, last=True)], [Rset(), *GROUP]],
    [[SENDER, RECIPIENT], [Bdat(0)], [Bdat(0, last=True)], [Rset()], [SENDER, RECIPIENT], [Bdat(0, last=True)]],
    [[SENDER, RECIPIENT], [Rset(), Quit()]],
    [[SENDER, RECIPIENT, Bdat(0, last=True)], [Rset(), SENDER, *[RECIPIENT] * 2, Bdat(0, last=True)]],
    [[SENDER, RECIPIENT, Bdat(0)], [Bdat(0, last=True)]],
]


def envelope(commands: Sequence[Command]) -> Group | None:
    """The commands as an envelope, if they are one."""
    kinds = [type(command) for command in commands]
    before = [command for command in commands[:1] if isinstance(command, Rset)]
    mail = next((command for command in commands if isinstance(command, Mail)), None)
    recipients = [command for command in commands if isinstance(command, Rcpt)]
    data = next((command for command in commands if isinstance(command, Data)), None)
    chunk = b"" if commands[-1] == Bdat(0, last=True) else None
    if mail is None or not recipients:
        return None
    group = Group(before, mail, recipients, data=data, chunk=chunk)
    return group if [type(command) for command in group.commands] == kinds else None


@given(
    st.lists(an_answer | bare_lines, max_size=7) | st.lists(st.sampled_from([b"250 ok\r\n", b"250 a\n"]), max_size=9),
    st.none() | malformed_replies() | closing | st.just(b"354 go\r\n"),
    st.booleans(),
    st.data(),
)
def test_answers_taken_together(answers: list[bytes], wrong: bytes | None, lmtp: bool, data: st.DataObject) -> None:
    """Answers that are taken together are those that come one by one, and all that follows is the same, whatever the
    server says and in what pieces."""
    pieces = data.draw(splits(b"".join([*answers, wrong or b""])))
    flight = data.draw(st.sampled_from(FLIGHTS))
    state = State.MAIL if isinstance(flight[0][0], Rcpt) else State.READY
    one, other = pair_in(state, lmtp=lmtp).client, pair_in(state, lmtp=lmtp).client
    for group in flight:
        known = envelope(group)
        for client in (one, other):
            if isinstance(group[0], Bdat):
                client.send(group[0])
            elif known is not None and client is one:
                client.send_envelope(known)
            else:
                client.send_group(group, b"" if isinstance(group[-1], Bdat) else None)
    assert taken(one, pieces, together=True) == taken(other, pieces, together=False)
    assert one.state is other.state
    assert (one.accepted, one.outstanding, one.answered) == (other.accepted, other.outstanding, other.answered)
    assert (one._reader.quiet, one.unread) == (other._reader.quiet, other.unread)
    for client in (one, other):
        # Short cuts, of which nothing else shows.
        client._groups.clear()
        client._reader = ReplyReader()
    assert (one._error is None) is (other._error is None)
    # What it says is compared above; its reply may be one that `one` has given out before, and whose octets were asked.
    one._error = other._error = None
    assert frozen(one) == frozen(other)


def test_answers_come_together() -> None:
    """All that have come in are given at once, if none refuses anything: with a refusal, none is."""
    client = client_that_sent(SENDER, RECIPIENT)
    client.send_group([RECIPIENT, Data()])
    assert client.answers() == ((), ())
    client.receive_data(b"250 sender\r\n250 one\r\n")
    commands, answers = client.answers()
    assert [*commands] == [SENDER, RECIPIENT]
    assert [reply.text for reply in answers] == ["sender", "one"]
    assert client.answers() == ((), ())
    client.receive_data(b"550 two\r\n354 go\r\n")
    for _ in range(2):
        assert client.answers() == ((), ())
        assert isinstance(client.next_event(), ReplyReceived)
    assert client.accepted == (RECIPIENT,)
    assert client.message_due


def test_many_groups_are_answered() -> None:
    """What is kept of an envelope is dropped when it is answered, one by one or at once."""
    client = pair_in(State.READY).client
    for n in range(9):
        client.send_envelope(Group((), SENDER, [RECIPIENT]))
        client.send(Bdat(0, last=True))
        client.receive_data(b"250 ok\r\n" * 3)
        while n % 2 and client.waiting:
            assert isinstance(client.next_event(), ReplyReceived)
        assert client.waiting is (n % 2 == 0)
        client.answers()
        assert client.state is State.READY
        assert len(client._groups) <= 1


def test_the_answer_to_a_chunk_alone() -> None:
    """It leaves the recipients as they are: more chunks may follow."""
    client = pair_in(State.RCPT).client
    client.send(Bdat(0))
    client.receive_data(b"250 ok\r\n")
    commands, answers = client.answers()
    assert ([*commands], [reply.code for reply in answers]) == ([Bdat(0)], [250])
    assert (client.state, client.accepted) == (State.BDAT, (RECIPIENT,))


def test_a_message_of_several_chunks() -> None:
    """The last chunk is not answered with the envelope, but behind the chunks before it."""
    client = pair_in(State.READY).client
    client.send_group([SENDER, RECIPIENT])
    client.send(Bdat(0))
    client.send(Bdat(0, last=True))
    client.receive_data(b"250 ok\r\n" * 4)
    assert [*client.answers()[0]] == [SENDER, RECIPIENT, Bdat(0), Bdat(0, last=True)]
    assert (client.state, client.accepted) == (State.READY, ())


def test_answers_while_octets_are_due() -> None:
    """An answer to a chunk that is not out is one that `next_event` has to judge."""
    client = client_that_sent(SENDER, RECIPIENT)
    client.send(Bdat(3, last=True))
    client.receive_data(b"250 ok\r\n250 ok\r\n250 ok\r\n")
    assert client.answers() == ((), ())
    client.send_body(b"abc")
    assert len(client.answers()[0]) == 3


def test_a_message_for_nobody_in_lmtp() -> None:
    """A 354 although no recipient was accepted is what `next_event` raises; its answers go to recipients."""
    client = pair_in(State.READY, lmtp=True).client
    for command in [SENDER, RECIPIENT, Data()]:
        client.send(command)
    client.receive_data(b"250 ok\r\n550 no\r\n354 go\r\n")
    for _ in range(2):
        assert isinstance(client.next_event(), ReplyReceived)
    assert client.answers() == ((), ())
    with pytest.raises(RemoteProtocolError, match="no recipient"):
        client.next_event()


# -- taking back ------------------------------------------------------------------------------------------------------


def test_what_was_not_written_is_taken_back() -> None:
    """A group that was not written, or a message, leaves no trace: what has arrived is judged as if before it."""
    client = pair_in(State.READY).client
    before = frozen(client)
    client.send_envelope(Group((), SENDER, [RECIPIENT], data=Data()))
    client.data_to_send()
    client.withdraw()
    assert (client.outstanding, client.pending_output, client.sent_state) == ((), False, State.READY)
    client._mail = None  # the last one said, which only those behind a MAIL are compared with
    assert frozen(client) == before
    asked = pair_in(State.DATA).client
    asked.send_message(MessageText(b"text"))
    asked.data_to_send()
    asked.withdraw()
    assert asked.message_due
    asked.receive_data(b"554 no\r\n")
    event = asked.next_event()
    assert isinstance(event, ReplyReceived)
    assert event.early
    chunk = pair_in(State.RCPT).client
    chunk.send(Bdat(3, last=True))
    chunk.withdraw()
    assert chunk.can_send(Rset())


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
