"""Whole sessions, as what the client does and as what the server says to it, reply by reply.

A test takes such a session and lets one of the server's replies go wrong in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

from smtp_proto.states import Stage
from tests.certificates import client_context, server_context
from tests.conformance.backends import Backend, Client, Server
from tests.scripted import Expect, ExpectBody, ExpectLines, ScriptedServer, Send, StartTLS, Step
from tests.scripts import MESSAGE

RECIPIENTS = ["b@mx.test", "c@mx.test"]

#: What a client may be made with.
Timeout: TypeAlias = float | Mapping[Stage, float]


def hasty(seconds: float) -> Timeout:
    """A time-out for all replies, and not for connecting, which may take long where many do it at once."""
    return {stage: seconds for stage in Stage if stage not in (Stage.CONNECT, Stage.TLS)}


class Exchange(NamedTuple):
    """What the server reads before a reply, the reply, and as what the client waits for it."""

    name: str
    reads: list[Step]
    reply: bytes
    stage: Stage = Stage.COMMAND


class Progress:
    """How far a client came before it raised."""

    def __init__(self) -> None:
        self.delivered = False
        self.client: Client | None = None


class Session(NamedTuple):
    """A session in which all goes well; `run` is the client's side of it."""

    name: str
    exchanges: list[Exchange]
    run: Callable[[Backend, ScriptedServer, Timeout, Progress], None]

    def before(self, number: int) -> list[Step]:
        """The script up to the moment at which the reply of that number is due."""
        steps: list[Step] = []
        for exchange in self.exchanges[:number]:
            steps += [*exchange.reads, Send(exchange.reply)] if exchange.reply else exchange.reads
        return [*steps, *self.exchanges[number].reads]

    def script(self) -> list[Step]:
        """The whole script."""
        return [*self.before(len(self.exchanges) - 1), Send(self.exchanges[-1].reply)]

    def replies(self) -> Iterator[tuple[int, Exchange]]:
        """The exchanges that have a reply, with their numbers."""
        return ((number, exchange) for number, exchange in enumerate(self.exchanges) if exchange.reply)


def connect(backend: Backend, server: Server, tls: bool, **options: Any) -> Client:
    """A client in the clear, or in TLS from the start."""
    if tls:
        return backend.connect(server, "SMTP_SSL", context=client_context(), **options)
    return backend.connect(server, **options)


def _deliver(client: Client, progress: Progress, *, log_in: bool) -> None:
    progress.client = client
    try:
        if log_in:
            client.login("user", "password")
        assert client.sendmail("a@client.test", RECIPIENTS, MESSAGE) == {}
        progress.delivered = True
        client.noop()
        client.quit()
    finally:
        client.close()


def run_plain(backend: Backend, server: ScriptedServer, timeout: Timeout, progress: Progress) -> None:
    client = backend.connect(server, timeout=timeout)
    _deliver(client, progress, log_in=True)


def run_pipelined(backend: Backend, server: ScriptedServer, timeout: Timeout, progress: Progress) -> None:
    client = backend.connect(server, timeout=timeout)
    _deliver(client, progress, log_in=False)


def run_lmtp(backend: Backend, server: ScriptedServer, timeout: Timeout, progress: Progress) -> None:
    client = backend.connect(server, "LMTP", timeout=timeout)
    _deliver(client, progress, log_in=False)


def run_starttls(backend: Backend, server: ScriptedServer, timeout: Timeout, progress: Progress) -> None:
    client = backend.connect(server, timeout=timeout)
    progress.client = client
    try:
        client.starttls(context=client_context())
        _deliver(client, progress, log_in=False)
    finally:
        client.close()


GREETING = Exchange("greeting", [], b"220-mx.test ESMTP\r\n220 be polite\r\n", Stage.GREETING)
STEP_BY_STEP = [
    Exchange("MAIL", [Expect(b"mail from:")], b"250 2.1.0 ok\r\n", Stage.MAIL),
    Exchange("first RCPT", [Expect(b"rcpt to:")], b"250 2.1.5 ok\r\n", Stage.RCPT),
    Exchange("second RCPT", [Expect(b"rcpt to:")], b"251 2.1.5 ok\r\n", Stage.RCPT),
    Exchange("DATA", [Expect(b"data\r\n")], b"354 go ahead\r\n", Stage.DATA),
]
MESSAGE_END = Exchange("message", [ExpectBody()], b"250 2.0.0 queued\r\n", Stage.FINAL)
END = [
    Exchange("NOOP", [Expect(b"noop\r\n")], b"250 2.0.0 ok\r\n"),
    Exchange("QUIT", [Expect(b"quit\r\n")], b"221 2.0.0 bye\r\n", Stage.QUIT),
]

PLAIN = Session(
    "step by step",
    [
        GREETING,
        Exchange("EHLO", [Expect(b"ehlo ")], b"250-mx.test\r\n250-AUTH LOGIN\r\n250 SIZE\r\n"),
        Exchange("AUTH", [Expect(b"auth login ")], b"334 UGFzc3dvcmQ6\r\n"),
        Exchange("AUTH response", [Expect()], b"235 2.7.0 welcome\r\n"),
        *STEP_BY_STEP,
        MESSAGE_END,
        *END,
    ],
    run_plain,
)
PIPELINED = Session(
    "pipelined",
    [
        GREETING,
        Exchange("EHLO", [Expect(b"ehlo ")], b"250-mx.test\r\n250 PIPELINING\r\n"),
        Exchange("envelope", [ExpectLines(4)], b"".join(exchange.reply for exchange in STEP_BY_STEP), Stage.MAIL),
        MESSAGE_END,
        *END,
    ],
    run_pipelined,
)
LMTP = Session(
    "LMTP",
    [
        GREETING,
        Exchange("LHLO", [Expect(b"lhlo ")], b"250 mx.test\r\n"),
        *STEP_BY_STEP,
        Exchange("message", [ExpectBody()], b"250 2.0.0 for b\r\n250 2.0.0 for c\r\n", Stage.FINAL),
        *END,
    ],
    run_lmtp,
)
STARTTLS = Session(
    "STARTTLS",
    [
        GREETING,
        Exchange("EHLO", [Expect(b"ehlo ")], b"250-mx.test\r\n250 STARTTLS\r\n"),
        Exchange("STARTTLS", [Expect(b"starttls\r\n")], b"220 2.0.0 go ahead\r\n"),
        Exchange("handshake", [StartTLS(server_context())], b""),
        Exchange("EHLO in TLS", [Expect(b"ehlo ")], b"250-mx.test\r\n250 SIZE\r\n"),
        *STEP_BY_STEP,
        MESSAGE_END,
        *END,
    ],
    run_starttls,
)

SESSIONS = [PLAIN, PIPELINED, LMTP, STARTTLS]

#: Every reply of every session.
PLACES = [(session, number) for session in SESSIONS for number, _ in session.replies()]


def all_at_once(test: Callable[..., None], places: Sequence[tuple[Any, ...]]) -> None:
    """Run a test that does little but wait at every place, each in a thread; the first failure says where it was."""
    with ThreadPoolExecutor(len(places)) as executor:
        futures = [executor.submit(test, *place) for place in places]
    for future, place in zip(futures, places, strict=True):
        try:
            future.result()
        except BaseException as error:
            error.add_note(", ".join(str(getattr(part, "name", part)) for part in place))
            raise
