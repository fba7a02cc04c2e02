"""Cancelled at any await of a `send_many`, what is told of each message is true, and the client is in step or gone."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest

import smtp_asyncio
from smtp_proto.outcome import Fate, Outcome
from tests.certificates import client_context
from tests.leaks import open_sockets

from .conftest import Doors
from .stepping import BACKENDS, Backend
from .test_every_point import MANY

COUNT = 4
_tokens = itertools.count()


class Source:
    """Messages that begin with a line that no other begins with, and how many of them were pulled."""

    def __init__(self, pause: Callable[[], Awaitable[None]] | None, chunks: bool) -> None:
        self.token = f"many{next(_tokens)}"
        self.pulled = 0
        self._pause = pause
        self._chunks = chunks

    @property
    def lines(self) -> list[str]:
        return [f"{self.token}.{number}" for number in range(COUNT)]

    def messages(self) -> Iterator[Any] | AsyncIterator[Any]:
        return self._one_by_one() if self._pause is None else self._slowly(self._pause)

    def _one_by_one(self) -> Iterator[Any]:
        for line in self.lines:
            self.pulled += 1
            octets = f"{line}\r\nx\r\n".encode()
            yield "a@client.test", ["b@mx.test", "c@mx.test"], iter([octets, octets]) if self._chunks else octets

    async def _slowly(self, pause: Callable[[], Awaitable[None]]) -> AsyncIterator[Any]:
        for message in self._one_by_one():
            self.pulled -= 1
            await pause()
            self.pulled += 1
            yield message


class Told:
    """What an attempt was told."""

    def __init__(self, sending: Any) -> None:
        self.sending = sending
        self.outcomes: list[Outcome] = []

    async def listen(self, leave_at: int = COUNT) -> None:
        async for outcome in self.sending:
            self.outcomes.append(outcome)
            if len(self.outcomes) == leave_at:
                break


async def in_a_block(told: Told) -> None:
    async with told.sending:
        await told.listen()


async def without_a_block(told: Told) -> None:
    await told.listen(COUNT + 1)


async def left_early(told: Told) -> None:
    async with told.sending:
        await told.listen(2)


async def left_at_once(told: Told) -> None:
    async with told.sending:
        pass


async def closed_early(told: Told) -> None:
    await told.listen(1)
    await told.sending.aclose()


async def raising(told: Told) -> None:
    with suppress(KeyError):
        async with told.sending:
            await told.listen(2)
            raise KeyError("the application's own")


class Case(NamedTuple):
    use: Callable[[Told], Awaitable[None]]
    kind: str = "SMTP"
    options: dict[str, Any] = {}  # noqa: RUF012  # never changed
    slow: bool = False  # the source awaits something before each message
    chunks: bool = False  # each message is a stream


EAGER = {"chunking": "eager", "local_hostname": "chunking.test"}

CASES: dict[str, Case] = {
    "in a block": Case(in_a_block),
    "a slow source": Case(in_a_block, slow=True),
    "without a block": Case(without_a_block),
    "a slow source without a block": Case(without_a_block, slow=True),
    "left early": Case(left_early),
    "left early, a slow source": Case(left_early, slow=True),
    "left at once": Case(left_at_once, slow=True),
    "closed early": Case(closed_early),
    "the block raises": Case(raising),
    "eager": Case(in_a_block, options=EAGER),
    "eager, a slow source": Case(in_a_block, options=EAGER, slow=True),
    "eager, left early": Case(left_early, options=EAGER),
    "BDAT": Case(in_a_block, options={"local_hostname": "chunking.test"}),
    "streams": Case(in_a_block, chunks=True),
    "step by step": Case(in_a_block, options={"pipelining": False}),
    "LMTP": Case(in_a_block, "LMTP"),
    "TLS": Case(in_a_block, "SMTP_SSL"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_cancelled_at_every_point(backend: Backend, case: str, doors: Doors, points: list[str]) -> None:
    """What was told as delivered was taken once, what as not sent was not, and each message was told."""
    use, kind, options, slow, chunks = CASES[case]
    options = {"local_hostname": "client.test", "timeout": 20, **options}
    if kind == "SMTP_SSL":
        options["context"] = client_context()
    address = "127.0.0.1", doors.secure if kind == "SMTP_SSL" else doors.plain

    async def main() -> None:
        sockets, tasks = open_sockets(), backend.tasks()
        for at in itertools.count(1):
            assert at < MANY
            source = Source(backend.pause if slow else None, chunks)
            client = getattr(backend.module, kind)(*address, **options)
            await client.connect(*address)
            await client.ehlo()
            messages = source.messages()
            told = Told(client.send_many(messages))
            attempt = await backend.attempt(use(told), at)  # type: ignore[arg-type]  # it is a coroutine
            if isinstance(messages, AsyncGenerator):
                await messages.aclose()
            assert attempt.cancelled or not (attempt.struck and backend.module is smtp_asyncio)
            if attempt.struck:
                points.append(backend.name)
            known = [*told.outcomes, *told.sending.left]
            await true(backend, client, address, source, known)
            if not attempt.cancelled:
                # Left early, a message may have been pulled and not begun.
                done = source.pulled - (use not in (in_a_block, without_a_block))
                assert [outcome.fate for outcome in known[:done]] == [Fate.DELIVERED] * done
            await backend.pause()
            assert open_sockets() == sockets
            assert backend.tasks() == tasks
            if not attempt.struck:
                break

    backend.run(main)
    assert points, "there was no point to cancel it at"


async def true(backend: Backend, client: Any, address: tuple[str, int], source: Source, known: list[Outcome]) -> None:
    """The server has taken what was told, and the replies are those to what is asked."""
    assert len(known) == source.pulled
    try:
        code, counts = await client.docmd("xtaken", " ".join(source.lines))
    except backend.module.SMTPServerDisconnected:
        assert client.sock is None
        await client.connect(*address)
        code, counts = await client.docmd("xtaken", " ".join(source.lines))
    assert code == 250
    taken = [int(count) for count in counts.split()]
    for outcome, times in itertools.zip_longest(known, taken):
        fate = outcome.fate if outcome is not None else Fate.NOT_SENT  # it was never pulled
        assert times in {Fate.DELIVERED: (1,), Fate.NOT_SENT: (0,), Fate.UNKNOWN: (0, 1)}[fate], (known, taken)
    assert await client.docmd("xagain", source.token) == (250, f"xagain {source.token}".encode())
    await client.close()
