"""What `send_many` returns: the outcomes of a `Batch`, one after the other; with coroutines see `async_sending`.

While one is under way the connection is its own: any other call on the client gets an `SMTPException`, for its replies
would be among those of the messages in flight.  It is over when its last outcome was taken, and when it was closed.
"""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from smtp_proto.outcome import Outcome

from .batch import Batch, Place
from .exceptions import SMTPException

if TYPE_CHECKING:
    from .blocking import BlockingSMTP


class Occupant:
    """What both kinds have in common."""

    def __init__(self, batch: Batch) -> None:
        #: True while a flow of this one runs, whose calls of the client's methods are a part of it.
        self.at_work = False  # (blocking)
        #: When it is over: what became of the messages that were sent, and whose outcomes were not taken.
        self.left: list[Outcome] = []
        self._batch = batch
        self._over = False

    @property
    def occupies(self) -> bool:
        """True if the client must not be used for anything else."""
        return not self._over and not self.at_work and self._batch.occupied

    def _end(self, lost: bool = False) -> None:
        self._over = True
        if lost:
            self._batch.give_up()
        self.left += self._batch.rest()

    def _given(self, place: Place | None) -> Outcome | None:
        """The outcome at a place; what stands there instead is raised."""
        if place is None:
            self._end()
            return None
        self._over = self._batch.over
        if place.error is not None:
            raise place.error
        return place.outcome if place.outcome is not None else Outcome()


class Sending(Occupant):
    """The outcomes of `send_many`, in the order of the messages: an iterator, and a context manager that closes it."""

    _client: BlockingSMTP

    def __init__(self, client: BlockingSMTP, batch: Batch) -> None:
        self._client = client  # which `__del__` needs, from when on there is a batch
        super().__init__(batch)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Outcome:
        outcome = None
        if not self._over:
            with self._client._lock:
                place = None if self.at_work else self._batch.finished()
            if place is None:
                try:
                    place = self._client._run_batch(self._batch.next(), self)
                except BaseException:
                    self._end(lost=True)
                    raise
            outcome = self._given(place)
        if outcome is None:
            raise StopIteration
        return outcome

    def close(self) -> None:
        """Leave early: no more messages are pulled, what is in flight is finished, and the client is free again.

        What became of the messages whose outcomes were not taken is in `left`.
        """
        if self._over:
            return
        try:
            self._client._run_batch(self._batch.leave(), self)
        except BaseException:
            self._end(lost=True)
            raise
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is not None and not isinstance(exc, Exception):
            self._end(lost=True)  # do not make anyone wait for answers
        else:
            self.close()

    def __del__(self) -> None:
        # Left by `break`: the same as `close`, as far as it goes; there is nobody to be told of errors.
        if not getattr(self, "_over", True):
            with suppress(SMTPException, OSError):
                self.close()
