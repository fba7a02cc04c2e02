"""Many messages in flight: each with the outcome that it would have alone, none sent twice, and losses told of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Bdat, Mail, Noop, Rcpt
from smtp_proto.effects import Flow, Interrupted
from smtp_proto.errors import ConnectionLost, ProtocolError, RemoteProtocolError
from smtp_proto.many import HELD, Mailing
from smtp_proto.outcome import Fate, Outcome
from smtp_proto.replies import Reply
from smtp_proto.session import ClientSession
from smtp_proto.sources import PIECE, source_of
from smtp_proto.states import State
from smtp_proto.transaction import Chunking, Transaction

from .flows import Joined, Part, Pieces, Scripted, at_random, in_step, introduced, whole
from .serving import Answering


class Letter(NamedTuple):
    """A message that says what is to be answered to each part of it."""

    mail: int = 250
    rcpt: Sequence[int] = (250,)
    data: int = 354
    final: int = 250
    stream: bool = False  # its size is not known
    padding: int = 0

    def transaction(
        self, session: ClientSession, number: int, pipelining: bool, chunking: Chunking, mailing: Mailing | None
    ) -> Transaction:
        mail = Mail(f"{self.mail}.{self.data}.{self.final}@client.test")
        recipients = [Rcpt(f"{code}@{n}.test") for n, code in enumerate(self.rcpt)]
        octets = b"message %d\r\n" % number + b"." * self.padding + b"\r\n"
        outcome = Outcome([command.path for command in recipients], mail.path)
        source = source_of(iter([octets]) if self.stream else octets)
        return Transaction(session, mail, recipients, source, outcome, pipelining, chunking, answered=mailing)


class Obedient(Answering):
    """Answers as the letters say; `taken` has the numbers of the messages that it has said 2xx to."""

    def __init__(self, *, lmtp: bool) -> None:
        super().__init__(lmtp=lmtp)
        self.taken: list[int] = []
        self._mail = ("250", "354", "250")

    def _answer(self, row: str) -> None:
        command = self.commands[-1] if self.commands else None
        if isinstance(command, Mail) and row == "MAIL":
            self._mail = tuple(command.path.partition("@")[0].split("."))  # type: ignore[assignment]  # three of them
            code = int(self._mail[0])
        elif isinstance(command, Rcpt) and row == "RCPT":
            code = int(command.path.partition("@")[0])
        elif row == "DATA":
            code = int(self._mail[1])
        elif row == "end of data" or isinstance(command, Bdat):
            code = int(self._mail[2])
            number = int(self.messages[-1].split()[1])
            if code // 100 == 2 and number not in self.taken[-1:]:
                self.taken.append(number)
        else:
            super()._answer(row)
            return
        self._codes[row] = [code]
        super()._answer(row)


class Batch:
    """Letters sent over one connection: their outcomes in order, and what the server has."""

    def __init__(
        self,
        letters: Sequence[Letter],
        *,
        pipelining: bool = True,
        chunking: Chunking = False,
        lmtp: bool = False,
        window: int = 4,
        pieces: Pieces = whole,
        room: int | None = None,
        lost_after: int | None = None,
        hold: bool = False,
    ) -> None:
        self._hold = hold
        self.server = Obedient(lmtp=lmtp)
        self.session = ClientSession(ClientConnection(lmtp=lmtp))
        self.mailing = Mailing(self.session, pipelining, window)
        self.outcomes: list[Outcome] = []
        self.error: Exception | None = None
        self.noop: str | None = None
        self._letters = letters
        self._way = (pipelining, chunking)
        joined = Joined(self._conversation(), self.server.run(), pieces=pieces, room=room, lost_after=lost_after)
        try:
            joined.run()
        except ProtocolError as error:
            self.error = error

    def _conversation(self) -> Flow[None]:
        session, mailing = self.session, self.mailing
        yield from session.greet()
        yield from session.hello("client.test")
        try:
            for number, letter in enumerate(self._letters):
                while mailing.full:
                    yield from mailing.wait()
                    self._collect()
                yield from mailing.submit(letter.transaction(session, number, *self._way, mailing), hold=self._hold)
                self._collect()
            yield from mailing.leave()
        finally:
            self._collect()
        if not session.connection.closed:
            self.noop = (yield from session.command(Noop())).text

    def _collect(self) -> None:
        self.outcomes += outcomes(self.mailing)


def alone(letter: Letter, number: int, lmtp: bool) -> Outcome:
    """The outcome of a letter that is sent step by step, over a connection of its own."""
    session = ClientSession(ClientConnection(lmtp=lmtp))

    def conversation() -> Flow[Outcome]:
        yield from session.greet()
        yield from session.hello("client.test")
        transaction = letter.transaction(session, number, False, False, None)
        yield from transaction.run(last=False)
        transaction.settle()
        return transaction.outcome

    return Joined(conversation(), Obedient(lmtp=lmtp).run()).run()


CODES = st.sampled_from([250, 250, 250, 250, 251, 450, 550])
LETTERS = st.lists(
    st.builds(
        Letter,
        CODES,
        st.lists(CODES, min_size=1, max_size=3),
        st.sampled_from([354, 354, 354, 451]),
        CODES,
        st.booleans(),
        st.sampled_from([0, 0, 100]),
    ),
    max_size=9,
)
WAYS = st.tuples(st.booleans(), st.sampled_from([False, True, "eager"]))


@settings(max_examples=150, deadline=None)
@given(
    letters=LETTERS,
    way=WAYS,
    lmtp=st.booleans(),
    window=st.integers(1, 5),
    seed=st.integers(0, 1000),
    hold=st.booleans(),
)
def test_each_message_has_the_outcome_that_it_has_alone(
    letters: Sequence[Letter], way: tuple[bool, Chunking], lmtp: bool, window: int, seed: int, hold: bool
) -> None:
    """Whatever is refused of whichever message, the others know nothing of it, and the session is in step behind."""
    pipelining, chunking = way
    # Where a message goes by BDAT there is no answer to DATA.
    letters = [letter._replace(data=354) if chunking and not letter.stream else letter for letter in letters]
    batch = Batch(
        letters,
        pipelining=pipelining,
        chunking=chunking,
        lmtp=lmtp,
        window=window,
        pieces=at_random(seed),
        room=60,
        hold=hold,
    )
    assert batch.error is None
    apart = [alone(letter, number, lmtp) for number, letter in enumerate(letters)]
    assert [summary(outcome) for outcome in batch.outcomes] == [summary(outcome) for outcome in apart]
    assert batch.server.taken == [number for number, outcome in enumerate(apart) if outcome.delivered]
    assert batch.noop == "NOOP"


def summary(outcome: Outcome) -> tuple[object, ...]:
    """What is seen of an outcome, but for the texts, and for the 354 that BDAT does without."""

    def code(reply: Reply | None) -> int | None:
        return reply.code if reply is not None else None

    recipients = [(code(recipient.reply), code(recipient.final)) for recipient in outcome.recipients]
    return code(outcome.refused_before), recipients, code(outcome.final), outcome.fate, outcome.phase


@settings(max_examples=150, deadline=None)
@given(
    letters=LETTERS,
    way=WAYS,
    lmtp=st.booleans(),
    goodbye=st.integers(0, 9),
    lost_after=st.integers(20, 600),
    seed=st.integers(0, 1000),
    hold=st.booleans(),
)
def test_a_lost_connection(
    letters: Sequence[Letter],
    way: tuple[bool, Chunking],
    lmtp: bool,
    goodbye: int,
    lost_after: int,
    seed: int,
    hold: bool,
) -> None:
    """Wherever it is lost, what is told to be delivered is, what is told not to be is not, and nothing goes twice."""
    pipelining, chunking = way
    letters = [letter._replace(rcpt=[421]) if n == goodbye else letter for n, letter in enumerate(letters)]
    batch = Batch(
        letters,
        pipelining=pipelining,
        chunking=chunking,
        lmtp=lmtp,
        pieces=at_random(seed),
        lost_after=lost_after,
        hold=hold,
    )
    taken = batch.server.taken
    assert len(set(taken)) == len(taken)
    for number, outcome in enumerate(batch.outcomes):
        if outcome.fate is Fate.DELIVERED:
            assert number in taken
        elif outcome.fate is Fate.NOT_SENT:
            assert number not in taken
    assert set(taken) <= set(range(len(batch.outcomes)))
    if batch.error is not None:
        assert isinstance(batch.error, ConnectionLost | RemoteProtocolError)
        assert batch.session.connection.closed
        assert batch.mailing.in_flight == 0
    else:
        assert len(batch.outcomes) == len(letters)


@pytest.mark.parametrize("chunking", [False, True, "eager"])
@pytest.mark.parametrize("room", [1, 7, 100])
def test_no_deadlock_when_both_buffers_are_full(chunking: Chunking, room: int) -> None:
    """A server that answers while it reads, into a line that holds next to nothing, is heard while it is written to."""
    letters = [Letter(rcpt=[250, 550] * 5, padding=500) for _ in range(20)]
    batch = Batch(letters, chunking=chunking, window=16, room=room)
    assert batch.error is None
    assert batch.server.taken == list(range(20))


# -- scripted ---------------------------------------------------------------------------------------------------------


def submitted(session: ClientSession, mailing: Mailing, chunking: Chunking, count: int) -> Flow[None]:
    for number in range(count):
        yield from mailing.submit(Letter().transaction(session, number, True, chunking, mailing))


def outcomes(mailing: Mailing) -> list[Outcome]:
    """Those of all that is finished."""
    return [done.outcome for done in iter(mailing.result, None)]


def fates(mailing: Mailing) -> list[Fate]:
    return [outcome.fate for outcome in outcomes(mailing)]


ANSWERS = b"250 m\r\n250 r\r\n250 q\r\n"


def test_small_messages_go_out_together() -> None:
    """What may wait for the next message waits for it, and goes out with it; one that is large waits for none."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)
    rset = b"250 rset\r\n"
    peer = Scripted([ANSWERS + rset + ANSWERS, rset + ANSWERS, rset + ANSWERS, rset + ANSWERS])
    sizes = [0, 0, PIECE, HELD, 0]

    def flow() -> Flow[None]:
        for number, size in enumerate(sizes):
            transaction = Letter(padding=size).transaction(session, number, True, "eager", mailing)
            yield from mailing.submit(transaction, hold=True)
        yield from mailing.leave()

    peer.run(flow())
    assert [segment.count(b"BDAT") for segment in peer.segments if b"BDAT" in segment] == [2, 1, 1, 1]


def test_what_was_held_was_not_sent() -> None:
    """A message that waits for the next one when the connection is given up has certainly not been sent."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)

    def flow() -> Flow[None]:
        for number, hold in enumerate([False, True, True]):
            assert mailing.roomy
            yield from mailing.submit(Letter().transaction(session, number, True, "eager", mailing), hold=hold)
        mailing.lose()
        yield from mailing.write()

    peer = Scripted([b""])
    peer.run(flow())
    assert fates(mailing) == [Fate.UNKNOWN, Fate.NOT_SENT, Fate.NOT_SENT]
    assert b"".join(peer.segments).count(b"BDAT") == 1


def test_what_is_held_may_be_lost_as_it_is_written() -> None:
    """From the moment that it is given to the transport on, the server may have it."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)

    def flow() -> Flow[None]:
        yield from mailing.submit(Letter().transaction(session, 0, True, "eager", mailing), hold=True)
        yield from mailing.write()

    with pytest.raises(ConnectionLost):
        Scripted(sends=[OSError("broken")]).run(flow())
    assert fates(mailing) == [Fate.UNKNOWN]


@pytest.mark.parametrize("chunking", [True, "eager"])
def test_an_rset_that_is_refused_ends_it(chunking: Chunking) -> None:
    """Where a transaction may be open still, the next one must not be mixed with it: the connection is given up."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)
    first = b"250 m\r\n250 r\r\n"
    peer = Scripted([first, b"550 q\r\n500 rset\r\n"] if chunking is True else [first + b"550 q\r\n500 rset\r\n"])

    def flow() -> Flow[None]:
        yield from submitted(session, mailing, chunking, 2)
        yield from mailing.leave()

    with pytest.raises(RemoteProtocolError, match="RSET was refused"):
        peer.run(flow())
    assert fates(mailing) == [Fate.NOT_SENT, Fate.UNKNOWN if chunking == "eager" else Fate.NOT_SENT]
    assert session.connection.closed
    with pytest.raises(ConnectionLost, match="closed"):
        peer.run(submitted(session, mailing, chunking, 1))
    assert fates(mailing) == [Fate.NOT_SENT]


@pytest.mark.parametrize("answer", [b"250 ok\r\n", b"500 no\r\n", b"nonsense\r\n"])
def test_what_is_left_open_is_reset(answer: bytes) -> None:
    """At the end no transaction stays open; where it cannot be ended the connection is."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)
    peer = Scripted([b"250 m\r\n550 r\r\n503 d\r\n", answer])

    def flow() -> Flow[None]:
        yield from submitted(session, mailing, False, 1)
        yield from mailing.leave()

    peer.run(flow())
    assert peer.segments[-1] == b"rset\r\n"
    assert session.connection.closed is not answer.startswith(b"250")
    if not session.connection.closed:
        assert session.connection.state is State.READY
        assert in_step(session)


def test_a_message_goes_out_when_it_is_asked_for_though_no_other_comes() -> None:
    """What comes in while the next message is waited for is taken, and a message that is asked for goes out."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)
    peer = Scripted()

    def flow() -> Iterator[object]:
        yield from submitted(session, mailing, False, 1)
        session.connection.receive_data(b"250 m\r\n250 ")
        yield from mailing.heard()
        assert len(peer.segments) == 1
        session.connection.receive_data(b"r\r\n354 go\r\n")
        yield from mailing.heard()
        assert peer.segments[-1].endswith(b"\r\n.\r\n")
        session.connection.receive_data(b"250 q\r\n")
        yield from mailing.heard()
        yield from submitted(session, mailing, False, 1)
        session.connection.receive_data(b"550 m\r\n503 r\r\n503 d\r\n")
        yield from mailing.heard()

    peer.run(flow())  # type: ignore[arg-type]  # a flow of nothing
    assert fates(mailing) == [Fate.DELIVERED, Fate.NOT_SENT]


def test_a_server_that_hangs_up_while_a_message_is_waited_for() -> None:
    """The end is told at once, and what is in flight comes back."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)
    peer = Scripted()

    def flow() -> Flow[None]:
        yield from submitted(session, mailing, False, 1)
        session.connection.receive_eof()
        yield from mailing.heard()

    with pytest.raises(ConnectionLost):
        peer.run(flow())
    assert fates(mailing) == [Fate.NOT_SENT]


def test_an_interrupt_gives_back_what_is_in_flight() -> None:
    """Interrupted while it waits, the connection is aborted, and what may have been delivered is told."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)
    peer = Scripted([KeyboardInterrupt()])

    def flow() -> Flow[None]:
        yield from submitted(session, mailing, "eager", 2)
        yield from mailing.wait()

    with pytest.raises(KeyboardInterrupt):
        peer.run(flow())
    assert fates(mailing) == [Fate.UNKNOWN] * 2
    assert session.connection.closed


@pytest.mark.parametrize(
    ("chunking", "receives", "sends"),
    [
        (False, [b"250 m\r\n250 r\r\n354 d\r\n552 no\r\n"], []),
        (False, [b"250 m\r\n250 r\r\n354 d\r\n"], [None, Part(5, b"552 no\r\n")]),
        (True, [b"250 m\r\n250 r\r\n"], [None, Part(5, b"552 no\r\n")]),
        ("eager", [], [Part(80, b"250 m\r\n250 r\r\n552 no\r\n")]),
        ("eager", [b" no\r\n"], [Part(80, b"250 m\r\n250 r\r\n552")]),
    ],
)
def test_a_refusal_before_a_message_is_out(chunking: Chunking, receives: list[bytes], sends: list[Part | None]) -> None:
    """An early refusal is the answer to its message, and ends the connection with the ones behind it not sent."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)
    peer = Scripted(receives, sends=sends)

    def flow() -> Flow[None]:
        yield from submitted(session, mailing, chunking, 2)

    with pytest.raises(ConnectionLost, match="refused the message before it was sent"):
        peer.run(flow())
    first, *behind = outcomes(mailing)
    assert first.final is not None
    assert first.final.code == 552
    # An eager one is refused before the next one is submitted.
    assert [outcome.fate for outcome in (first, *behind)] == [Fate.NOT_SENT] * (1 if chunking == "eager" else 2)


def test_answers_that_come_while_nothing_is_open() -> None:
    """Whole messages are answered as the answers come in."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)

    def flow() -> Flow[None]:
        yield from submitted(session, mailing, "eager", 1)
        session.connection.receive_data(b"250 m\r\n250 r\r\n250 q\r\n")
        yield from mailing.heard()

    Scripted().run(flow())
    assert fates(mailing) == [Fate.DELIVERED]


def test_listening_takes_an_answer_or_is_interrupted() -> None:
    """An answer that is listened for finishes its message; an interruption loses nothing, a failure tells of it all."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)
    answers = b"250 m\r\n250 r\r\n250 taken\r\n"
    peer = Scripted([Interrupted(), answers, KeyboardInterrupt()])

    def flow() -> Flow[None]:
        yield from submitted(session, mailing, "eager", 2)
        yield from mailing.listen()
        assert mailing.in_flight == 2
        for _ in range(3):
            yield from mailing.listen()
        assert mailing.in_flight == 1
        yield from mailing.listen()

    with pytest.raises(KeyboardInterrupt):
        peer.run(flow())
    assert fates(mailing) == [Fate.DELIVERED, Fate.UNKNOWN]
    assert session.connection.closed


def test_a_connection_that_was_closed_from_outside() -> None:
    """Waiting ends when somebody has closed the connection meanwhile, and tells of what was in flight."""
    session = introduced()
    mailing = Mailing(session, pipelining=True)

    def flow() -> Flow[None]:
        yield from submitted(session, mailing, "eager", 1)
        session.connection.abort()
        yield from mailing.wait()

    with pytest.raises(ConnectionLost, match="the connection was closed"):
        Scripted().run(flow())
    assert fates(mailing) == [Fate.UNKNOWN]


def test_a_whole_message_behind_one_whose_size_is_not_known() -> None:
    """A stream goes by DATA and is finished first; what is behind it may go as a whole."""
    batch = Batch([Letter(stream=True), Letter(), Letter(stream=True)], chunking="eager")
    assert batch.error is None
    assert batch.server.taken == [0, 1, 2]
    assert [outcome.fate for outcome in batch.outcomes] == [Fate.DELIVERED] * 3
