"""The loops in `examples/own_loop`, with real sockets: short, and right where the network is bad."""

from __future__ import annotations

import runpy
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import smtp_blocking
from smtp_proto import (
    DEFAULT_TIMEOUTS,
    Cancelled,
    ClientConnection,
    ClientSession,
    ConnectionLost,
    Engine,
    Flow,
    Mail,
    Outcome,
    Phase,
    Rcpt,
    RemoteProtocolError,
    Stage,
    deliver,
)
from smtp_proto.effects import Call
from tests.certificates import client_context, server_context
from tests.scripted import Drain, Expect, ExpectHangUp, ScriptedServer, Segments, Send, Signal, StartTLS, Step, WaitFor

FOLDER = Path(__file__).parent.parent / "examples" / "own_loop"
FILES = sorted(FOLDER.glob("*.py"))
MESSAGE = b"Subject: x\r\n\r\n.dot\r\n"

Timeouts = Mapping[Stage, float | None]
#: Runs flows over connected sockets to their ends, all at once, each in an engine of the list.
Run = Callable[..., list[Engine[Any]]]
Job = tuple[socket.socket, Flow[Any]]


def over_selectors(
    *jobs: Job, timeouts: Timeouts = DEFAULT_TIMEOUTS, engines: list[Engine[Any]] | None = None
) -> list[Engine[Any]]:
    engines = engines if engines is not None else []
    loop = runpy.run_path(str(FOLDER / "selectors_loop.py"))["Loop"]()
    for sock, flow in jobs:
        engines.append(loop.start(sock, flow, timeouts))  # the flows may know the list
    loop.run()
    return engines


def in_callbacks(
    *jobs: Job, timeouts: Timeouts = DEFAULT_TIMEOUTS, engines: list[Engine[Any]] | None = None
) -> list[Engine[Any]]:
    engines = engines if engines is not None else []
    example = runpy.run_path(str(FOLDER / "callback_reactor.py"))
    reactor = example["Reactor"]()
    done: list[Engine[Any]] = []
    for sock, flow in jobs:
        engines.append(Engine(flow, example["time"].monotonic, timeouts))
        example["Conversation"](reactor, sock, engines[-1], done.append)
    reactor.run()
    assert sorted(map(id, done)) == sorted(map(id, engines))
    return engines


@pytest.fixture(params=[over_selectors, in_callbacks], ids=["selectors", "callbacks"])
def run(request: pytest.FixtureRequest) -> Run:
    chosen: Run = request.param
    return chosen


pytestmark = pytest.mark.usefixtures("_nothing_left_behind")


def connected(server: smtp_blocking.Server | ScriptedServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=10)


def conversation(
    message: bytes | Iterator[bytes], context: ssl.SSLContext | None = None, session: ClientSession | None = None
) -> Flow[Outcome]:
    session = session or ClientSession(ClientConnection())
    yield from session.greet()
    yield from session.hello("client.test")
    if context is not None:
        yield from session.start_tls(context, "localhost")
        yield from session.hello("client.test")
    outcome = yield from deliver(session, Mail("a@client.test"), [Rcpt("b@mx.test")], message, pipelining=True)
    yield from session.quit()
    return outcome


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_they_are_short(path: Path) -> None:
    """Each is under sixty lines, and has neither coroutines nor generators."""
    code = path.read_text()
    assert code.count("\n") < 60
    assert not {"async", "await", "yield"} & set(code.split())


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "starttls"])
def test_many_at_once(run: Run, tls: bool) -> None:
    """Conversations share one thread, and each message arrives once, over TLS too."""
    with smtp_blocking.Server(tls_context=server_context()) as server:
        context = client_context() if tls else None
        messages = [b"%d\r\n" % number * 10_000 for number in range(5)]
        engines = run(*((connected(server), conversation(message, context)) for message in messages))
        assert [engine.result().phase for engine in engines] == [Phase.DONE] * 5
    assert sorted(message.content for message in server.messages) == sorted(messages)


GREETING = Send(b"220 mx.test\r\n")
HELLO: list[Step] = [Expect(b"ehlo"), Send(b"250-mx.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n")]
ENVELOPE: list[Step] = [
    Expect(b"mail"),
    Expect(b"rcpt"),
    Expect(b"data"),
    Send(b"250 ok\r\n250 ok\r\n354 go ahead\r\n"),
]


def test_split_replies(run: Run) -> None:
    """Replies may come octet by octet."""
    octets = [bytes([octet]) for octet in b"220-mx.test\r\n220 hello\r\n"]
    refusal: list[Step] = [
        Expect(b"mail"),
        Expect(b"rcpt"),
        Expect(b"data"),
        Segments(*map(bytes, zip(b"550 no\r\n" * 3))),
    ]
    script: list[Step] = [Segments(*octets, interval=0), *HELLO, *refusal]
    script += [Expect(b"rset"), Send(b"250 ok\r\n"), Expect(b"quit"), Send(b"221 bye\r\n")]
    with ScriptedServer(script) as server:
        [engine] = run((connected(server), conversation(MESSAGE)))
    outcome = engine.result()
    assert outcome.mail is not None
    assert outcome.mail.code == 550


@pytest.mark.parametrize("script", [[], [GREETING], [GREETING, *HELLO], [GREETING, *HELLO, *ENVELOPE]])
def test_a_server_that_hangs_up(run: Run, script: list[Step]) -> None:
    """A connection that is lost is an error that says so, wherever it happens."""
    with ScriptedServer(script) as server:
        [engine] = run((connected(server), conversation(b"x" * 1_000_000)))
    with pytest.raises(ConnectionLost):
        engine.result()


def test_a_deadline(run: Run) -> None:
    """A server that drips gains nothing."""
    with ScriptedServer([ExpectHangUp(Send(b"220-"))]) as server:
        [engine] = run((connected(server), conversation(MESSAGE)), timeouts={**DEFAULT_TIMEOUTS, Stage.GREETING: 0.05})
        with pytest.raises(ConnectionLost, match="timed out"):
            engine.result()


def test_octets_behind_the_220_of_starttls(run: Run) -> None:
    """What comes in the clear behind STARTTLS's 220 is an attack."""
    script: list[Step] = [GREETING, *HELLO, Expect(b"starttls"), ExpectHangUp(Send(b"220 go\r\n250 mx.test\r\n"))]
    with ScriptedServer(script) as server:
        [engine] = run((connected(server), conversation(MESSAGE, client_context())))
    with pytest.raises(RemoteProtocolError):
        engine.result()


def test_a_certificate_that_is_not_trusted(run: Run) -> None:
    """A handshake that fails ends the conversation with the reason."""
    script: list[Step] = [
        GREETING,
        *HELLO,
        Expect(b"starttls"),
        Send(b"220 go\r\n"),
        StartTLS(server_context(), refused=True),
    ]
    with ScriptedServer(script) as server:
        [engine] = run((connected(server), conversation(MESSAGE, ssl.create_default_context())))
    with pytest.raises(ssl.SSLCertVerificationError):
        engine.result()


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "starttls"])
def test_cancelled_in_the_middle_of_a_body(run: Run, tls: bool) -> None:
    """A conversation that another one cancels while its message goes out ends there, and nothing is mis-paired."""
    stuck = threading.Event()
    script: list[Step] = [GREETING, *HELLO]
    if tls:
        script += [Expect(b"starttls"), Send(b"220 go\r\n"), StartTLS(server_context()), *HELLO]
    script += [*ENVELOPE, Expect(), Signal(stuck), ExpectHangUp(Drain())]
    session = ClientSession(ClientConnection())
    engines: list[Engine[Any]] = []

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x\r\n" * 10_000

    def cancelling() -> Flow[None]:
        other = ClientSession(ClientConnection())
        yield from other.greet()
        yield from Call(engines[0].cancel)
        yield from other.quit()

    when_stuck: list[Step] = [WaitFor(stuck), GREETING, Expect(b"quit"), Send(b"221 bye\r\n")]
    with ScriptedServer(script) as server, ScriptedServer(when_stuck) as second:
        victim = conversation(endless(), client_context() if tls else None, session)
        run((connected(server), victim), (connected(second), cancelling()), engines=engines)
    with pytest.raises(Cancelled):
        engines[0].result()
    engines[1].result()
    assert session.connection.closed
    again = Engine(session.reset(), lambda: 0.0)
    again.expire()
    with pytest.raises(ConnectionLost):
        again.result()
