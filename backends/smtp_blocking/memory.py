"""Connections in memory, for tests of programs that send or take mail: no socket, no port."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack

from smtp_proto.handler import Handler
from smtp_surface import memory
from smtp_surface.serving import ServerOptions
from smtp_surface.without_loop import Blocking

from .server import Server

if TYPE_CHECKING:
    from . import SMTP


def memory_pair() -> tuple[Blocking, Blocking]:
    """Two ends of a connection: for `SMTP(stream=...)`, for `Server.converse`, or for a test's own code."""
    first, second = memory.memory_pair(memory.ThreadAlarm())
    return Blocking(first), Blocking(second)


@contextmanager
def in_memory(
    handler: Handler | None = None, *, client: Mapping[str, Any] | None = None, **options: Unpack[ServerOptions]
) -> Iterator[tuple[SMTP, Server]]:
    """A client, and the server that it is connected to in memory, for the time of a block.

    ``with in_memory(handler) as (smtp, server):``.  `client` are arguments of the client by name, the others are the
    server's.
    """
    from . import SMTP

    server = Server(handler, **options)
    ours, theirs = memory_pair()
    thread = threading.Thread(target=server.converse, args=(theirs,), name="smtp-server in memory", daemon=True)
    thread.start()
    try:
        with SMTP(stream=ours, **{"local_hostname": "localhost", **(client or {})}) as smtp:
            yield smtp, server
    finally:
        ours.close()
        thread.join()
