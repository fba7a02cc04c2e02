"""The fixture `backend`, for files of tests that run on each backend, or on some of them: ``backend = in_turn()``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest

from tests.cancellation import stepping
from tests.conformance.backends import BACKENDS, Backend

#: Those that have a loop.
LOOPS = [backend for backend in BACKENDS if backend.coroutines]


def in_turn(
    backends: Sequence[Backend] = BACKENDS, scope: Literal["function", "module", "session"] = "function"
) -> Any:
    """A fixture that gives these backends in turn, each with its loop running."""

    @pytest.fixture(scope=scope, params=backends, ids=lambda backend: backend.name)
    def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
        found: Backend = request.param
        found.start()
        yield found
        found.stop()

    return backend


def run_by_itself() -> Any:
    """A fixture that gives each loop in turn, as `tests.cancellation.stepping` has them: the test runs it itself."""

    @pytest.fixture(params=stepping.BACKENDS, ids=lambda backend: backend.name)
    def backend(request: pytest.FixtureRequest) -> stepping.Backend:
        found: stepping.Backend = request.param
        return found

    return backend
