"""The engine: a flow driven by octets and time."""

from __future__ import annotations

import ssl
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from smtp_proto import (
    Cancelled,
    ClientConnection,
    ClientSession,
    ConnectionLost,
    Engine,
    Flow,
    Mail,
    Noop,
    Outcome,
    Phase,
    ProtocolError,
    Rcpt,
    Reply,
    ServerConnection,
    ServerSession,
    Settings,
    Stage,
    deliver,
)
from smtp_proto.channel_binding import bindings
from smtp_proto.effects import Call, Close, Connect, Poll, Pull, Receive, Send, Sent, StartTLS
from smtp_proto.handler import UserHandler
from smtp_proto.sasl_scram import Scram

from .certificates import client_context, own_certificate, server_context
from .flows import at_random, single, whole
from .pairs import without_collector
from .serving import Deciding


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def join(client: Engine[Any], server: Engine[Any], pieces: Callable[[int], int] = whole) -> None:
    """Move octets between the two until both are done; a hang-up of one is the other's end."""
    ends = (client, server), (server, client)
    while not (client.done and server.done):
        moved = False
        for end, other in ends:
            if end.outgoing and (other.reading or other.done):
                octets = bytes(end.outgoing[: pieces(len(end.outgoing))])
                end.written(len(octets))
                other.receive(octets)  # no more than lost where that is done
                moved = True
            elif other.done and end.reading and not other.outgoing:
                end.receive(b"")
                moved = True
            else:
                before = end.deadline
                end.expire()  # a poll's time is over at once
                moved = moved or end.deadline != before
        assert moved, "deadlock"


def conversation(message: bytes | Iterator[bytes], tls: bool = False) -> Flow[Outcome]:
    session = ClientSession(ClientConnection())
    yield from session.greet()
    yield from session.hello("client.test")
    if tls:
        yield from session.start_tls(client_context(), "localhost")
        yield from session.hello("client.test")
    outcome = yield from deliver(
        session, Mail("a@client.test"), [Rcpt("b@mx.test")], message, pipelining=True, chunking=True
    )
    yield from session.quit()
    return outcome


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("pieces", [whole, single, at_random(3)], ids=["whole", "single", "random"])
def test_two_engines_in_memory(tls: bool, pieces: Callable[[int], int], clock: Clock) -> None:
    """Client and server talk to each other without any I/O, whatever way the octets move, under TLS too."""
    handler = Deciding()
    settings = Settings(tls_context=server_context())
    server = Engine(ServerSession(ServerConnection(), handler, settings).run(), clock)
    client = Engine(conversation(b"Subject: x\n\n.\n", tls), clock)
    join(client, server, pieces)
    assert client.result().phase is Phase.DONE
    server.result()
    assert [message.content for message in handler.messages] == [b"Subject: x\r\n\r\n.\r\n"]
    assert not client.reading
    assert client.deadline is None


def test_a_log_in_that_is_bound_to_tls(clock: Clock) -> None:
    """Both ends are told of the TLS session, and a log-in can be bound to it, all in memory."""
    settings = Settings(tls_context=server_context(), mechanisms=("SCRAM-SHA-1-PLUS",), certificate=own_certificate())
    session = ClientSession(ClientConnection())

    def logging_in() -> Flow[Reply]:
        yield from session.greet()
        yield from session.hello("client.test")
        yield from session.start_tls(client_context(), "localhost")
        yield from session.hello("client.test")
        facts = session.tls_facts
        assert facts is not None
        [binding] = bindings(facts, facts.peer_certificate)
        reply = yield from session.authenticate(Scram("tim", "s3cret", "SCRAM-SHA-1-PLUS", binding=binding))
        yield from session.quit()
        return reply

    server = Engine(ServerSession(ServerConnection(), UserHandler({"tim": "s3cret"}), settings).run(), clock)
    client = Engine(logging_in(), clock)
    join(client, server, whole)
    assert client.result().code == 235
    server.result()


def test_a_long_stream(clock: Clock) -> None:
    """A message that is pulled goes out piece by piece, and never much of it is held."""
    handler = Deciding()
    server = Engine(ServerSession(ServerConnection(), handler, Settings()).run(), clock)
    longest = 0

    def chunks() -> Iterator[bytes]:
        nonlocal longest
        for _ in range(20):
            longest = max(longest, len(client.outgoing))
            yield b"x" * 998 + b"\r\n" + b"y" * 50_000 + b"\r\n"

    client: Engine[Outcome] = Engine(conversation(chunks()), clock)
    join(client, server)
    assert client.result().delivered
    assert len(handler.messages[0].content) == 20 * 51_002
    assert longest < 200_000


def test_result_before_the_end(clock: Clock) -> None:
    """There is no result before the flow has come to its end."""
    engine = Engine(ClientSession(ClientConnection()).greet(), clock)
    with pytest.raises(RuntimeError, match="not come to its end"):
        engine.result()
    engine.receive(b"220 hello\r\n")
    assert engine.result().code == 220
    engine.receive(b"220 hello\r\n")
    engine.receive(b"")
    engine.written(0)
    engine.fail(OSError())
    engine.expire()
    assert engine.result().code == 220


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_deadline_is_for_the_whole_reply(clock: Clock) -> None:
    """A peer that drips does not stretch the deadline; `expire` before it does nothing."""
    engine = Engine(ClientSession(ClientConnection()).greet(), clock, {Stage.GREETING: 5.0})
    assert engine.deadline == 105
    for octet in b"220":
        clock.now += 1
        engine.receive(bytes([octet]))
        engine.expire()
        assert engine.deadline == 105
    clock.now = 105.0
    engine.expire()
    with pytest.raises(ConnectionLost, match="timed out"):
        engine.result()


def test_the_deadline_of_a_body_is_on_progress(clock: Clock) -> None:
    """Each octet that could be written starts it again."""

    def sending() -> Flow[Sent]:
        return (yield from Send([b"some octets"], Stage.BODY))

    engine = Engine(sending(), clock, {Stage.BODY: 5.0})
    clock.now = 104.0
    engine.written(4)
    assert engine.deadline == 109
    clock.now = 109.0
    engine.expire()
    with pytest.raises(TimeoutError):
        engine.result()


def test_no_deadline(clock: Clock) -> None:
    """None waits for ever."""
    engine = Engine(ClientSession(ClientConnection()).greet(), clock, {Stage.GREETING: None})
    assert engine.deadline is None
    clock.now += 1e9
    engine.expire()
    assert not engine.done


# -- effects -----------------------------------------------------------------------------------------------------------


def test_poll(clock: Clock) -> None:
    """A poll is a wait whose deadline is now: what comes before `expire` is its result, or nothing is, or the end."""

    def polling() -> Flow[list[bytes | None]]:
        return [(yield from Poll()), (yield from Poll()), (yield from Poll())]

    engine = Engine(polling(), clock)
    assert engine.reading
    assert engine.deadline == clock.now
    engine.receive(b"unasked")
    engine.expire()
    engine.receive(b"")
    assert engine.result() == [b"unasked", None, b""]


def test_a_poll_keeps_the_deadline_of_the_wait_around_it(clock: Clock) -> None:
    """A wait that goes on behind a poll has the deadline that it had."""

    def waiting() -> Flow[bytes]:
        yield from Receive(Stage.COMMAND)
        yield from Poll()
        return (yield from Receive(Stage.COMMAND, again=True))

    engine = Engine(waiting(), clock, {Stage.COMMAND: 5.0})
    engine.receive(b"1")
    clock.now += 1
    engine.expire()
    assert engine.deadline == 105


def test_send_is_heard_over(clock: Clock) -> None:
    """`Send` returns when something arrives, with what is unsent; an empty chunk stands for what is not out yet."""

    def sending() -> Flow[list[Sent]]:
        first = yield from Send([b"x" * 70_000, b"y"], Stage.BODY)
        second = yield from Send(first.unsent, Stage.BODY)
        return [first, second]

    engine = Engine(sending(), clock)
    assert len(engine.outgoing) == 70_000
    engine.written(1000)
    engine.receive(b"452 no\r\n")
    assert len(engine.outgoing) == 69_000
    engine.written(69_000)
    engine.written(1)
    assert engine.result() == [Sent(b"452 no\r\n", [b"", b"y"]), Sent(None, [])]


def test_send_without_listening(clock: Clock) -> None:
    """A server that writes wants nothing to read."""

    def sending() -> Flow[Sent]:
        return (yield from Send([b"x"], Stage.SERVER, listen=False))

    engine = Engine(sending(), clock)
    assert not engine.reading
    engine.written(1)
    assert engine.result() == Sent(None, [])


def test_calls_pulls_and_close(clock: Clock) -> None:
    """What needs no waiting is done at once, and what it raises goes into the flow."""

    def calling() -> Flow[list[Any]]:
        results: list[Any] = [(yield from Call(max, 1, 2)), (yield from Pull(iter([b"chunk"])))]
        try:
            yield from Call(int, "x")
        except ValueError as error:
            results.append(type(error))
        try:
            yield from Connect("mx.test", 25)
        except TypeError as error:
            results.append(str(error))
        yield from Close()
        return results

    assert Engine(calling(), clock).result() == [2, b"chunk", ValueError, "an engine performs no Connect"]


def test_failures_of_the_network_go_into_the_flow(clock: Clock) -> None:
    """What reading or writing raises is what the effect raises."""
    engine = Engine(ClientSession(ClientConnection()).greet(), clock)
    engine.fail(ConnectionResetError("reset by peer"))
    with pytest.raises(ConnectionLost, match="reset by peer"):
        engine.result()


def test_what_is_no_exception_of_the_conversation_goes_out(clock: Clock) -> None:
    """An interrupt in a call ends the flow and goes on to whoever drives it."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    def calling() -> Flow[None]:
        yield from Receive(Stage.COMMAND)
        yield from Call(interrupted)

    engine = Engine(calling(), clock)
    with pytest.raises(KeyboardInterrupt):
        engine.receive(b"x")
    assert engine.done
    with pytest.raises(RuntimeError, match="has raised KeyboardInterrupt"):
        engine.result()


class Body:
    """What a flow has under way."""


def failing(body: Body, forgiving: bool = False) -> Flow[None]:
    try:
        yield from Receive(Stage.COMMAND)
    except OSError:
        if not forgiving:
            raise
    yield from Call(int, "x")


def raised_by(engine: Engine[Any]) -> str:
    try:
        engine.result()
    except BaseException as error:  # noqa: BLE001  # the name is all that is kept of it
        return type(error).__name__
    return "nothing"


# What goes wrong, and what the flow raises then.
FAILURES: dict[str, tuple[Callable[[Engine[Any]], None], str]] = {
    "an effect": (lambda engine: engine.receive(b"x"), "ValueError"),
    "the network": (lambda engine: engine.fail(ConnectionResetError()), "ConnectionResetError"),
    "a deadline": (Engine.expire, "TimeoutError"),
    "a cancellation": (Engine.cancel, "Cancelled"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_keeps_nothing_alive(failure: str, clock: Clock) -> None:
    """What a flow had under way is gone when its error was raised and is forgotten, though the engine is not."""
    happens, raised = FAILURES[failure]
    body = Body()
    alive = weakref.ref(body)
    with without_collector():
        engine = Engine(failing(body), clock, {Stage.COMMAND: 5.0})
        del body
        clock.now += 5
        happens(engine)
        assert engine.done
        assert raised_by(engine) == raised
        assert alive() is None


def test_an_error_that_is_handled_keeps_nothing_alive(clock: Clock) -> None:
    """A failure that the flow gets over leaves nothing behind that only the collector finds."""
    body = Body()
    alive = weakref.ref(body)
    with without_collector():
        engine = Engine(failing(body, forgiving=True), clock)
        del body
        engine.fail(OSError())
        assert raised_by(engine) == "ValueError"
        assert alive() is None


def test_an_error_is_raised_once_and_shows_where(clock: Clock) -> None:
    """The flow's own exception is raised, with the place in it; after that `result` says that it was."""
    engine = Engine(failing(Body()), clock)
    error = OSError("reset by peer")
    engine.fail(error)
    with pytest.raises(OSError, match="reset by peer") as caught:
        engine.result()
    assert caught.value is error
    assert "failing" in [entry.name for entry in caught.traceback]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="has raised OSError, which is given out once"):
            engine.result()


# -- TLS ---------------------------------------------------------------------------------------------------------------


def shaking_hands(context: ssl.SSLContext, server_side: bool) -> Flow[None]:
    yield from StartTLS(context, None if server_side else "localhost", server_side)


def test_a_failed_handshake_leaves_an_alert(clock: Clock) -> None:
    """A handshake that fails ends the flow, and the alert that says why is there to be written."""
    client = Engine(shaking_hands(ssl.create_default_context(), False), clock)
    server = Engine(shaking_hands(server_context(), True), clock)
    server.receive(bytes(client.outgoing))
    client.written(len(client.outgoing))
    client.receive(bytes(server.outgoing))
    with pytest.raises(ssl.SSLCertVerificationError):
        client.result()
    assert client.outgoing
    server.receive(bytes(client.outgoing))
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        server.result()


def test_an_end_in_the_middle_of_a_handshake(clock: Clock) -> None:
    """A peer that hangs up in the middle of the handshake fails it."""
    server = Engine(shaking_hands(server_context(), True), clock, {Stage.TLS: 5.0})
    assert server.deadline == 105
    server.receive(b"")
    with pytest.raises(ssl.SSLError):
        server.result()


def test_the_end_under_tls(clock: Clock) -> None:
    """A connection that ends without a goodbye of TLS is at its end all the same."""
    server = Engine(ServerSession(ServerConnection(), Deciding(), Settings(tls_context=server_context())).run(), clock)

    def hanging_up() -> Flow[None]:
        session = ClientSession(ClientConnection())
        yield from session.greet()
        yield from session.hello("client.test")
        yield from session.start_tls(client_context(), "localhost")

    client = Engine(hanging_up(), clock)
    join(client, server)
    server.result()
    assert server.done


# -- cancellation ------------------------------------------------------------------------------------------------------


def test_cancelled_anywhere(clock: Clock) -> None:
    """After a cancellation at any wait the next command gets its own reply, or the connection is known to be lost."""
    cancelled = 0
    for wait in range(100):
        session = ClientSession(ClientConnection())
        handler = Deciding()

        def sending(session: ClientSession = session) -> Flow[Outcome]:
            yield from session.greet()
            yield from session.hello("client.test")
            return (yield from deliver(session, Mail("a@b.test"), [Rcpt("c@d.test")], b"x" * 200_000))

        server = Engine(ServerSession(ServerConnection(), handler, Settings()).run(), clock)
        client = Engine(sending(), clock)
        for _ in range(wait):
            if client.outgoing:
                octets = bytes(client.outgoing[:1000])
                client.written(len(octets))
                server.receive(octets)
            if server.outgoing and client.reading:
                octets = bytes(server.outgoing)
                server.written(len(octets))
                client.receive(octets)
            client.expire()
        if client.done:
            break
        client.cancel()
        with pytest.raises(Cancelled):
            client.result()
        cancelled += 1
        client.cancel()
        if not session.connection.at_boundary:
            session.connection.abort()  # as whoever drives a flow has to
            again = Engine(session.command(Noop()), clock)
            again.expire()
            with pytest.raises(ProtocolError):
                again.result()
        assert handler.messages == []
    assert cancelled > 10


def test_a_flow_that_has_more_to_do_when_cancelled(clock: Clock) -> None:
    """What a flow asks for behind its cancellation is not done."""
    closed = []

    def stubborn() -> Flow[None]:
        try:
            yield from Receive(Stage.COMMAND)
        finally:
            try:
                yield from Close()
            finally:
                closed.append(True)

    engine = Engine(stubborn(), clock)
    engine.cancel()
    with pytest.raises(Cancelled):
        engine.result()
    assert closed == [True]


def test_cancelled_from_within(clock: Clock) -> None:
    """A call that cancels the conversation that it is part of is the last one."""
    done = []

    def calling() -> Flow[None]:
        yield from Receive(Stage.COMMAND)
        yield from Call(engine.cancel)
        done.append("too much")

    engine: Engine[None] = Engine(calling(), clock)
    engine.receive(b"x")
    with pytest.raises(Cancelled):
        engine.result()
    assert done == []


def test_a_cancellation_that_the_flow_takes_for_its_end(clock: Clock) -> None:
    """What a flow returns when it is cancelled is its result."""

    def forgiving() -> Flow[str]:
        try:
            yield from Receive(Stage.COMMAND)
        except Cancelled:
            return "cancelled"
        return "received"

    engine = Engine(forgiving(), clock)
    engine.cancel()
    assert engine.result() == "cancelled"
