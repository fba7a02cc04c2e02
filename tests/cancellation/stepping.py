"""A coroutine that is cancelled when it awaits for the n-th time, under each of the event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel
import trio
import uvloop

import smtp_anyio
import smtp_asyncio
import smtp_trio

T = TypeVar("T")


class Stepped(Generic[T]):
    """Awaited, it runs the coroutine and counts how often that gives way to the loop; the time `at` which it does so,
    it calls `strike` first."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], at: int, strike: Callable[[], object]) -> None:
        self._coroutine = coroutine
        self._at = at
        self._strike = strike
        self.points = 0

    @property
    def struck(self) -> bool:
        return self.points >= self._at

    def __await__(self) -> Generator[Any, Any, T]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                waiting = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # the coroutine's T
            value = error = None
            self.points += 1
            if self.points == self._at:
                self._strike()
            try:
                value = yield waiting
            except BaseException as thrown:  # noqa: BLE001  # all of it is for the coroutine
                error = thrown


class Attempt(NamedTuple):
    """What became of a coroutine: was there an n-th await, and has the cancellation come out of it?"""

    struck: bool
    cancelled: bool


class Backend(NamedTuple):
    """A backend, and its loop's ways to run, to cancel, and to count what is left."""

    name: str
    module: ModuleType
    run: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
    attempt: Callable[[Coroutine[Any, Any, Any], int], Awaitable[Attempt]]
    stream: Callable[[int], Awaitable[Any]]  # a stream of the loop's own, connected to a port
    pause: Callable[[], Awaitable[None]]  # until the loop has done what it has put off
    tasks: Callable[[], int]


async def _attempt_asyncio(coroutine: Coroutine[Any, Any, Any], at: int) -> Attempt:
    stepped = Stepped(coroutine, at, lambda: task.cancel())  # noqa: PLW0108  # made below

    async def main() -> None:
        await stepped

    task = asyncio.create_task(main())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return Attempt(stepped.struck, task.cancelled())


async def _attempt_trio(coroutine: Coroutine[Any, Any, Any], at: int) -> Attempt:
    with trio.CancelScope() as scope:
        stepped = Stepped(coroutine, at, scope.cancel)
        await stepped
    return Attempt(stepped.struck, scope.cancelled_caught)


async def _attempt_anyio(coroutine: Coroutine[Any, Any, Any], at: int) -> Attempt:
    with anyio.CancelScope() as scope:
        stepped = Stepped(coroutine, at, scope.cancel)
        await stepped
    return Attempt(stepped.struck, scope.cancelled_caught)


async def _stream_trio(port: int) -> trio.abc.Stream:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    return trio.StapledStream(stream, stream)  # which hides the socket


async def _pause_asyncio() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def _pause_anyio() -> None:
    for _ in range(3):
        await anyio.lowlevel.checkpoint()


def _tasks_trio() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def _run_asyncio(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def _run_uvloop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(main())


def _on_asyncio(name: str, run: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]) -> Backend:
    return Backend(
        name,
        smtp_asyncio,
        run,
        _attempt_asyncio,
        partial(asyncio.open_connection, "127.0.0.1"),
        _pause_asyncio,
        lambda: len(asyncio.all_tasks()),
    )


def _on_anyio(loop: str) -> Backend:
    return Backend(
        f"anyio-{loop}",
        smtp_anyio,
        partial(anyio.run, backend=loop),
        _attempt_anyio,
        partial(anyio.connect_tcp, "127.0.0.1"),
        _pause_anyio,
        lambda: len(anyio.get_running_tasks()),
    )


BACKENDS = [
    _on_asyncio("asyncio", _run_asyncio),
    _on_asyncio("uvloop", _run_uvloop),
    Backend("trio", smtp_trio, trio.run, _attempt_trio, _stream_trio, trio.lowlevel.checkpoint, _tasks_trio),
    _on_anyio("asyncio"),
    _on_anyio("trio"),
]


async def at_once(backend: Backend, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """What the coroutines give, each run in a task of its own."""
    results: list[Any] = [None] * len(coroutines)

    async def keep(number: int, coroutine: Coroutine[Any, Any, Any]) -> None:
        results[number] = await coroutine

    if "LOOP" in vars(backend.module):
        async with backend.module.LOOP.task_group() as group:
            for number, coroutine in enumerate(coroutines):
                group.start_soon(keep, number, coroutine)
    else:
        await asyncio.gather(*(keep(number, coroutine) for number, coroutine in enumerate(coroutines)))
    return results
