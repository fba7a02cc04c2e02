"""What asyncio has by other names than trio and anyio, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class Tasks(asyncio.TaskGroup):
    """asyncio's task group, with the others' names, and a way to cancel all that runs in it."""

    def __init__(self) -> None:
        super().__init__()
        self.cancel_scope = self
        self._started: set[asyncio.Task[Any]] = set()

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], /, *arguments: Any) -> None:
        task = self.create_task(function(*arguments))
        self._started.add(task)
        task.add_done_callback(self._started.discard)

    def cancel(self) -> None:
        for task in list(self._started):
            task.cancel()


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


event, task_group = asyncio.Event, Tasks
