"""The fixtures of the servers' tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pytest

from smtp_proto.handler import Handler
from smtp_surface.serving import Service
from tests.conformance.backends import AsyncBackend, Backend
from tests.in_turn import in_turn
from tests.leaks import nothing_left_behind


class Serve(Protocol):
    """Serves for the time of a ``with`` block; the arguments are the server's."""

    def __call__(
        self, handler: Handler | None = None, host: str = ..., port: int = ..., **options: Any
    ) -> AbstractContextManager[Service]: ...


backend = in_turn(scope="session")


@pytest.fixture(autouse=True)
def _nothing_left_behind(backend: Backend) -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture
def serve(backend: Backend) -> Serve:
    """The backend's server."""

    def serving(handler: Handler | None = None, *where: Any, **options: Any) -> AbstractContextManager[Service]:
        if isinstance(backend, AsyncBackend):
            return backend.in_a_block(backend.module.serve(handler, *where, **options))
        server: AbstractContextManager[Service] = backend.module.Server(handler, *where, **options)
        return server

    return serving
