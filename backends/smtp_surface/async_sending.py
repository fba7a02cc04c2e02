"""What `send_many` of an asynchronous client returns: the outcomes of a `Batch`, one after the other.

Theory of operation.  In ``async with`` the source of the messages is pulled by a task of its own, one message at a time
and only when there is room for it.  While that takes, the flow listens to the server; a message that comes first
interrupts it (`smtp_surface.async_driver.AsyncDriver.interrupt`), which loses nothing.  Neither is ever cancelled for
the other's sake: a generator that is cancelled is at its end, and a read that is may have taken something.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from smtp_proto.outcome import Outcome

from .async_driver import pull
from .batch import Batch
from .sending import Occupant

if TYPE_CHECKING:
    from .asynchronous import AsyncSMTP


class AsyncSending(Occupant):
    """The outcomes of `send_many`, in the order of the messages: an asynchronous iterator, and a context manager."""

    def __init__(self, client: AsyncSMTP, batch: Batch) -> None:
        self._client = client  # which `__del__` needs, from when on there is a batch
        super().__init__(batch)
        self._tasks: Any = None
        self._group: Any = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        outcome = None
        if not self._over:
            try:
                place = await self._client._run(self._batch.next(), self)
            except BaseException:
                self._end(lost=True)
                raise
            outcome = self._given(place)
        if outcome is None:
            raise StopAsyncIteration
        return outcome

    async def aclose(self) -> None:
        """Leave early: no more messages are pulled, what is in flight is finished, and the client is free again.

        What became of the messages whose outcomes were not taken is in `left`.  Cancelled, the connection is closed.
        """
        if self._over:
            return
        try:
            await self._client._run(self._batch.leave(), self)
        except BaseException:
            self._end(lost=True)
            raise
        self._end()

    async def __aenter__(self) -> Self:
        self._tasks = self._client._new_task_group()
        self._group = await self._tasks.__aenter__()
        feeder = SourceTask(self._client, self._batch.messages)
        self._group.start_soon(feeder.run)
        self._batch.feeder = feeder
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if exc is not None and not isinstance(exc, Exception):
                self._end(lost=True)  # who was cancelled does not wait for answers
            else:
                await self.aclose()
        finally:
            # Not before: it cancels what is done in this block, too.
            self._group.cancel_scope.cancel()
            try:
                await self._tasks.__aexit__(None, None, None)
            finally:
                self._end()  # what was pulled while it ended is told, too

    def __del__(self) -> None:
        # Nobody can await what is due, so the connection cannot be used any more.
        if not getattr(self, "_over", True):
            self._end(lost=True)


class SourceTask:
    """The task that pulls messages, one for each that is asked for: a `smtp_surface.batch.Feeder`."""

    def __init__(self, client: AsyncSMTP, messages: Any) -> None:
        self.ready = self.listening = False
        self._client = client
        self._messages = messages
        self._pulling = False
        self._asked, self._arrived = client._new_event(), client._new_event()
        self._message: object = None
        self._error: Exception | None = None

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked = self._client._new_event()
            try:
                self._message = await pull(self._messages)
            except Exception as error:  # noqa: BLE001  # for who takes the message
                self._error = error
            self.ready = True
            self._arrived.set()
            if self.listening:
                self._client._driver.interrupt()

    def ask(self) -> None:
        if not self._pulling:
            self._pulling = True
            self._asked.set()

    async def wait(self) -> None:
        await self._arrived.wait()

    def take(self) -> object:
        self.ready = self._pulling = False
        self._arrived = self._client._new_event()
        message, self._message = self._message, None
        error, self._error = self._error, None
        if error is not None:
            raise error
        return message
