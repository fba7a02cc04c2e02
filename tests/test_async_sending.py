"""`send_many` with sources that are waited for: what only clients with coroutines have.

The rest of it is in the conformance suite, which is the same for every backend.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

import smtp_blocking
from tests.certificates import client_context, server_context
from tests.conformance.backends import BACKENDS, AsyncBackend
from tests.conformance.test_send_many import DELIVERED, PIPELINING, WAYS, all_of, fates, letter
from tests.leaks import nothing_left_behind
from tests.scripted import Conversation, ScriptedServer, Send
from tests.scripts import DELIVERY, NOOP, QUIT, opening

ASYNC = [backend for backend in BACKENDS if isinstance(backend, AsyncBackend)]


@pytest.fixture(params=ASYNC, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Iterator[AsyncBackend]:
    """Each backend of coroutines in turn."""
    found: AsyncBackend = request.param
    found.start()
    with nothing_left_behind():
        yield found
        found.settle()
    found.stop()


@WAYS
@pytest.mark.parametrize("kind", ["SMTP", "SMTP_SSL"])
def test_a_slow_source_holds_nothing_back(backend: AsyncBackend, options: dict[str, Any], kind: str) -> None:
    """Outcomes come while the next message is waited for, and that goes out when it comes, whatever is in flight."""
    secure = kind == "SMTP_SSL"
    context = {"context": client_context()} if secure else {}

    async def conversation(port: int) -> None:
        asked = anyio.Event()

        async def source() -> AsyncIterator[Any]:
            for number in range(3):
                yield letter(number)
            await asked.wait()  # set by who has all the outcomes so far
            yield letter(3)

        async with getattr(backend.module, kind)("127.0.0.1", port, timeout=10, **options, **context) as smtp:
            found = []
            async with smtp.send_many(source()) as outcomes:
                async for outcome in outcomes:
                    found.append(outcome.fate)
                    if len(found) == 3:
                        asked.set()
            assert found == [DELIVERED] * 4
            assert (await smtp.noop())[0] == 250

    with smtp_blocking.Server(tls_context=server_context(), implicit_tls=secure) as server:
        backend.run(conversation, server.port)


@dataclass(frozen=True)
class Silent:
    """A step: read a whole message that was sent by BDAT with its envelope, answer nothing, and tell."""

    tell: Callable[[], object]

    def play(self, conversation: Conversation) -> None:
        while not (line := conversation.record(conversation.read_line("the envelope"))).upper().startswith(b"BDAT"):
            pass
        conversation.read_octets(int(line.split()[1]))
        self.tell()


def test_a_message_does_not_wait_for_answers(backend: AsyncBackend) -> None:
    """A message that comes while the server is silent goes out at once: the wait for an answer is interrupted."""
    arrived: anyio.Event = backend.run(anyio.Event)

    async def source() -> AsyncIterator[Any]:
        yield letter(0)
        await arrived.wait()
        yield letter(1)

    answers = Send(b"250 2.0.0 ok\r\n" * 7)  # behind BDAT stands RSET
    script = [
        *opening("PIPELINING", "CHUNKING"),
        Silent(lambda: backend.run(arrived.set)),
        Silent(bool),
        answers,
        *QUIT,
    ]
    with (
        ScriptedServer(script) as server,
        backend.connect(server, chunking="eager") as smtp,
        backend.sending(smtp, source()) as sending,
    ):
        assert fates(list(sending)) == [DELIVERED] * 2


def test_an_asynchronous_source_must_not_call_the_client(backend: AsyncBackend) -> None:
    """It gets an SMTPException, at once, where waiting for its turn would be waiting for itself."""

    async def source() -> AsyncIterator[Any]:
        yield letter()
        await backend.bare(smtp).noop()

    with ScriptedServer([*PIPELINING, *DELIVERY, *NOOP, *QUIT]) as server, backend.connect(server) as smtp:
        with backend.sending(smtp, source()) as sending:
            assert fates(all_of(sending)) == [DELIVERED, "SMTPException"]
        assert smtp.noop()[0] == 250
