"""The client's small flows: greeting, introduction, looking, writing, waiting, reset and goodbye."""

from __future__ import annotations

import weakref
from contextlib import suppress

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Noop, Rcpt, Rset
from smtp_proto.effects import Close, Connect, Poll, Receive, Send
from smtp_proto.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from smtp_proto.replies import Reply
from smtp_proto.session import MAX_UNREAD, REPLY_LENGTH, ClientSession
from smtp_proto.states import Stage, State
from smtp_proto.transcript import Said

from .flows import Part, Scripted, effects_of, in_step, introduced
from .pairs import without_collector

RESET = ConnectionResetError("reset by peer")


def connected(*, lmtp: bool = False) -> ClientSession:
    return ClientSession(ClientConnection(lmtp=lmtp, greeted=True))


# -- the greeting -----------------------------------------------------------------------------------------------------


def test_the_greeting_is_waited_for_with_its_own_deadline() -> None:
    """Before the greeting nothing is sent, and the wait has the stage of the greeting for all of its pieces."""
    session = ClientSession(ClientConnection())
    peer = Scripted([b"22", b"0-mx.test\r\n220 rea", b"dy\r\n"])
    assert peer.run(session.greet()) == Reply(220, b"mx.test\nready")
    waits = effects_of(Receive, peer.effects)
    assert [(wait.stage, wait.again) for wait in waits] == [(Stage.GREETING, n > 0) for n in range(3)]
    assert peer.effects == waits
    assert session.connection.state is State.CONNECTED


def test_connecting_leads_to_the_greeting() -> None:
    """The transport is asked to connect before anything is waited for; what that raises goes on."""
    session = ClientSession(ClientConnection())
    peer = Scripted([b"220 ready\r\n"])
    assert peer.run(session.connect("mx.test", 25)) == Reply(220, b"ready")
    [connect] = effects_of(Connect, peer.effects)
    assert (connect.host, connect.port) == ("mx.test", 25)
    with pytest.raises(ConnectionRefusedError):
        Scripted(fails={0: ConnectionRefusedError()}).run(ClientSession(ClientConnection()).connect("mx.test", 25))


@pytest.mark.parametrize(("code", "state"), [(554, State.REFUSED), (450, State.REFUSED), (421, State.CLOSED)])
def test_a_refused_greeting_is_an_answer(code: int, state: State) -> None:
    """A refusal in the greeting is returned, not raised; a 421 closes."""
    session = ClientSession(ClientConnection())
    assert Scripted([b"%d no\r\n" % code]).run(session.greet()).code == code
    assert session.connection.state is state


@pytest.mark.parametrize("end", [b"", RESET, TimeoutError("timed out")])
@pytest.mark.parametrize("before", [b"", b"220", b"220-mx.test\r\n"])
def test_an_end_instead_of_the_greeting(before: bytes, end: bytes | OSError) -> None:
    """Whatever ends the connection with a reply due, half said or not, is ConnectionLost, and aborts."""
    session = ClientSession(ClientConnection())
    peer = Scripted([*([before] if before else []), end])
    with pytest.raises(ConnectionLost, match="greeting") as caught:
        peer.run(session.greet())
    assert caught.value.__cause__ is (end if isinstance(end, OSError) else None)
    assert caught.value.reply is None
    assert session.connection.closed


def test_what_is_no_reply_is_an_error_for_good() -> None:
    """Broken framing is a RemoteProtocolError, and so is everything after it."""
    session = ClientSession(ClientConnection())
    with pytest.raises(RemoteProtocolError, match="not a reply line"):
        Scripted([b"HTTP/1.1 400 Bad Request\r\n"]).run(session.greet())
    with pytest.raises(RemoteProtocolError, match="not a reply line"):
        Scripted().run(session.command(Noop()))


# -- EHLO, HELO, LHLO -------------------------------------------------------------------------------------------------


def test_ehlo_alone_where_it_is_accepted() -> None:
    """An accepted EHLO is the whole introduction, and its extensions are kept."""
    session = connected()
    peer = Scripted([b"250-mx.test\r\n250 PIPELINING\r\n"])
    assert peer.run(session.hello("client.test")).code == 250
    assert peer.written == b"ehlo client.test\r\n"
    assert session.connection.extensions is not None
    assert "PIPELINING" in session.connection.extensions


@pytest.mark.parametrize("code", [500, 502, 550, 504, 450])
def test_helo_where_ehlo_is_refused(code: int) -> None:
    """Any refusal of EHLO but a 421 is followed by HELO, whose answer is the result."""
    session = connected()
    peer = Scripted([b"%d what?\r\n" % code, b"250 mx.test\r\n"])
    assert peer.run(session.hello("client.test")) == Reply(250, b"mx.test")
    assert peer.segments == [b"ehlo client.test\r\n", b"helo client.test\r\n"]
    assert session.connection.state is State.READY
    assert session.connection.extensions is None


def test_both_refused() -> None:
    """Where HELO is refused too, its refusal is the answer, and the session is still in step."""
    session = connected()
    assert Scripted([b"502 no\r\n", b"550 nor this\r\n"]).run(session.hello("client.test")).code == 550
    assert session.connection.state is State.CONNECTED
    assert in_step(session)


@pytest.mark.parametrize("code", [421, 600, 199])
def test_no_second_try_on_a_closed_connection(code: int) -> None:
    """After a 421, or a code that is none, HELO is not sent."""
    session = connected()
    peer = Scripted([b"%d closing\r\n" % code])
    assert peer.run(session.hello("client.test")).code == code
    assert peer.written == b"ehlo client.test\r\n"
    assert session.connection.closed


@pytest.mark.parametrize("code", [250, 500])
def test_lhlo_has_no_other_form(code: int) -> None:
    """LMTP is introduced with LHLO, and there is no second try (RFC 2033 4.1)."""
    session = connected(lmtp=True)
    peer = Scripted([b"%d mx.test\r\n" % code])
    assert peer.run(session.hello("client.test")).code == code
    assert peer.written == b"lhlo client.test\r\n"


# -- what arrives unasked ---------------------------------------------------------------------------------------------


def test_an_unasked_421_before_a_command_is_raised() -> None:
    """A 421 that nobody asked for is seen before the next command, which is then not sent; the error carries it."""
    said: list[Said] = []
    session = introduced(observe=said.append)
    peer = Scripted(polls=[b"421 4.3.2 going down\r\n"])
    with pytest.raises(ConnectionLost, match="going down") as caught:
        peer.run(session.command(Noop()))
    assert caught.value.reply == Reply(421, "4.3.2 going down")
    assert [entry.reply for entry in said] == [caught.value.reply]
    assert peer.written == b""
    assert session.connection.closed


@pytest.mark.parametrize("octets", [b"250 ok\r\n", b"250 o", b"2", b"421 bye", b"250-more\r\n", b"\xff\r\n"])
def test_anything_else_unasked_is_an_error(octets: bytes) -> None:
    """An octet that no command asked for, part of a reply or not, is never discarded and never paired."""
    session = introduced()
    peer = Scripted([], polls=[octets])
    with pytest.raises(RemoteProtocolError):
        peer.run(session.command(Noop()))
    assert peer.written == b""
    assert session.connection.closed


@pytest.mark.parametrize("rest", [b"250 extra\r\n", b"2", b"250-extra\r\n", b"250-extra\r\n250 e"])
def test_octets_behind_the_last_reply_are_never_the_next_answer(rest: bytes) -> None:
    """What is left behind the last expected reply ends the connection, however little it is."""
    session = introduced()
    assert Scripted([b"250 ok\r\n" + rest]).run(session.command(Noop())).code == 250
    peer = Scripted([b"50 injected\r\n250 the real one\r\n"])
    with pytest.raises(RemoteProtocolError):
        peer.run(session.command(Noop()))
    assert peer.written == b""
    assert session.connection.closed


def test_an_unasked_421_behind_the_last_reply_is_raised() -> None:
    """A 421 that came in one segment with the last reply is raised before the next command."""
    session = introduced()
    Scripted([b"250 ok\r\n421 bye\r\n"]).run(session.command(Noop()))
    with pytest.raises(ConnectionLost) as caught:
        Scripted().run(session.command(Noop()))
    assert caught.value.reply == Reply(421, "bye")


@pytest.mark.parametrize("seen", [b"", RESET])
def test_the_end_is_seen_before_a_command(seen: bytes | OSError) -> None:
    """Where the connection is gone by now, the next command says so and is not sent."""
    session = introduced()
    peer = Scripted(polls=[seen])
    with pytest.raises(ConnectionLost):
        peer.run(session.command(Noop()))
    assert peer.written == b""
    assert session.connection.closed


def test_nothing_is_looked_for_while_a_reply_is_due() -> None:
    """With a reply due, what arrives may be that reply: looking leaves it alone."""
    session = introduced()
    session.connection.send(Noop())
    peer = Scripted(polls=[b"250 ok\r\n"])
    peer.run(session.look())
    assert peer.effects == []


def test_a_command_that_may_not_be_sent_leaves_the_session_as_it_was() -> None:
    """A local mistake writes nothing, and the next command gets its own answer."""
    session = introduced()
    peer = Scripted()
    with pytest.raises(LocalProtocolError, match="RCPT cannot be sent now"):
        peer.run(session.command(Rcpt("a@mx.test")))
    assert peer.written == b""
    assert in_step(session)


# -- writing ----------------------------------------------------------------------------------------------------------


def test_a_reply_that_comes_while_writing_is_the_answer() -> None:
    """Octets that arrive while a command is being written are taken in, and the rest is written all the same."""
    session = introduced()
    peer = Scripted([b"ly\r\n"], sends=[Part(3, b"250 ear"), Part(1, None)])
    assert peer.run(session.command(Noop())) == Reply(250, "early")
    assert peer.segments == [b"noo", b"p", b"\r\n"]


def test_a_reply_that_is_whole_while_writing_needs_no_waiting() -> None:
    """No Receive for an answer that is there already."""
    session = introduced()
    peer = Scripted(sends=[Part(6, b"250 early\r\n")])
    assert peer.run(session.command(Noop())) == Reply(250, "early")
    assert effects_of(Receive, peer.effects) == []


@pytest.mark.parametrize("end", [Part(2, b""), Part(6, b"")])
def test_the_end_while_writing(end: Part) -> None:
    """An end that is seen while writing, or just behind it, is ConnectionLost, and nothing more is written."""
    session = introduced()
    peer = Scripted(sends=[end])
    with pytest.raises(ConnectionLost, match="hung up"):
        peer.run(session.command(Noop()))
    assert len(peer.segments) == 1
    assert session.connection.closed


def test_a_flood_while_writing_is_bounded() -> None:
    """A server that sends without end while it is written to is cut off behind MAX_UNREAD octets and a reply more."""
    bound = MAX_UNREAD + REPLY_LENGTH
    half = b"250 " + b"x" * (bound // 2 - 6) + b"\r\n"
    for excess in (0, 1):
        session = introduced()
        peer = Scripted(sends=[Part(0, half), Part(0, half + b"x" * excess)])
        with pytest.raises(RemoteProtocolError, match="without end" if excess else "more than"):
            peer.run(session.command(Noop()))
        assert session.connection.closed
        assert len(peer.segments) == 3 - excess


def test_a_flight_has_as_many_replies_as_commands() -> None:
    """The bound on what is taken in while writing grows with the replies that are due."""
    session = introduced()
    for _ in range(1000):
        session.connection.send(Rset())
    replies = (b"250 " + b"x" * (REPLY_LENGTH - 6) + b"\r\n") * 1000
    peer = Scripted(sends=[Part(0, replies), Part(0, b"x" * (MAX_UNREAD + 1))])
    with pytest.raises(RemoteProtocolError, match="without end"):
        peer.run(session.flush())
    assert len(peer.segments) == 2


def test_a_deadline_on_progress() -> None:
    """RFC 5321 4.5.3.2: only a `Send` behind one that wrote nothing has the deadline of that one."""
    session = introduced()
    peer = Scripted(sends=[Part(0, b"2"), Part(0, b"5"), Part(2, b"0"), Part(0, b" "), Part(4, b"\r\n")])
    assert peer.run(session.command(Noop())).code == 250
    assert [write.again for write in effects_of(Send, peer.effects)] == [False, True, True, False, True]


@pytest.mark.parametrize("failure", [BrokenPipeError("broken pipe"), TimeoutError("no progress")])
def test_a_failed_write_with_a_reply_that_says_why(failure: OSError) -> None:
    """A send that fails looks for the reply that says why (rule 9); the connection serves for nothing after it."""
    session = introduced()
    peer = Scripted(sends=[failure], polls=[None, b"421 4.7.0 too many of you\r\n"])
    assert peer.run(session.command(Noop())).code == 421
    assert session.connection.closed


def test_a_failed_write_with_an_answer_is_still_the_end() -> None:
    """An answer that came before the write failed is given out, and the next command is not tried."""
    session = introduced()
    assert Scripted(sends=[RESET], polls=[None, b"250 ok\r\n"]).run(session.command(Noop())).code == 250
    peer = Scripted()
    with pytest.raises(ConnectionLost):
        peer.run(session.command(Noop()))
    assert peer.written == b""


@pytest.mark.parametrize("seen", [None, b"", b"250 hal", ConnectionAbortedError("aborted")])
def test_a_failed_write_with_no_whole_reply(seen: bytes | OSError | None) -> None:
    """A failed write with nothing to explain it is ConnectionLost, and its cause is the failure."""
    session = introduced()
    failure = TimeoutError("no progress")
    peer = Scripted(sends=[failure], polls=[None, seen])
    with pytest.raises(ConnectionLost, match="NOOP due: no progress") as caught:
        peer.run(session.command(Noop()))
    assert caught.value.__cause__ is failure
    assert session.connection.closed


def test_a_failed_write_keeps_nothing_alive() -> None:
    """A session that could not write is gone with whoever had it: why it could not is kept without a traceback."""
    session = introduced()
    alive = weakref.ref(session)
    with without_collector():
        with suppress(ConnectionLost):
            Scripted(sends=[OSError("broken")]).run(session.command(Noop()))
        assert session.connection.closed
        del session
        assert alive() is None


# -- interruptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(3))
def test_an_interrupted_command_is_not_at_a_boundary(n: int) -> None:
    """Interrupted between the first octet of a command and the last of its reply, no connection is at a boundary."""
    session = introduced()
    peer = Scripted([b"250 ok\r\n"], fails={n: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        peer.run(session.command(Noop()))
    assert isinstance(peer.effects[n], (Poll, Send, Receive)[n])
    assert session.connection.at_boundary is (n == 0)


# -- RSET and QUIT ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [250, 451, 502])
def test_reset_returns_its_answer(code: int) -> None:
    """RSET is one command and its answer, whatever that is."""
    session = introduced()
    peer = Scripted([b"%d x\r\n" % code])
    assert peer.run(session.reset()).code == code
    assert peer.written == b"rset\r\n"


@pytest.mark.parametrize("code", [221, 250, 421, 500, 199])
def test_quit_closes_whatever_the_answer(code: int) -> None:
    """QUIT, answered or refused, is followed by closing the transport."""
    session = introduced()
    peer = Scripted([b"%d bye\r\n" % code])
    assert peer.run(session.quit()).code == code
    assert peer.written == b"quit\r\n"
    assert [wait.stage for wait in effects_of(Receive, peer.effects)] == [Stage.QUIT]
    assert isinstance(peer.effects[-1], Close)
    assert session.connection.closed


@pytest.mark.parametrize("end", [b"", RESET, TimeoutError("timed out")])
def test_a_goodbye_that_is_not_answered(end: bytes | OSError) -> None:
    """A QUIT whose answer is lost raises ConnectionLost: the driver closes, for the connection is aborted."""
    session = introduced()
    with pytest.raises(ConnectionLost, match="QUIT"):
        Scripted([end]).run(session.quit())
    assert session.connection.closed
    assert not session.connection.at_boundary
