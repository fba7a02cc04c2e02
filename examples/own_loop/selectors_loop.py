"""Many conversations in one thread, over `selectors`: each is a flow in an `Engine`, and the loop moves its octets."""

import selectors
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

from smtp_proto import DEFAULT_TIMEOUTS, Engine, Flow, Stage

T = TypeVar("T")


class Loop:
    """Runs flows over connected sockets until all are at their ends."""

    def __init__(self) -> None:
        self._engines: dict[socket.socket, Engine[Any]] = {}

    def start(
        self, sock: socket.socket, flow: Flow[T], timeouts: Mapping[Stage, float | None] = DEFAULT_TIMEOUTS
    ) -> Engine[T]:
        """Begin a conversation: its `cancel` ends it early, its `result` is what came of it."""
        sock.setblocking(False)
        self._engines[sock] = engine = Engine(flow, time.monotonic, timeouts)
        return engine

    def run(self) -> None:
        while running := {sock: engine for sock, engine in self._engines.items() if not engine.done}:
            with selectors.DefaultSelector() as selector:
                for sock, engine in running.items():
                    reading, writing = engine.reading, bool(engine.outgoing)
                    selector.register(sock, reading * selectors.EVENT_READ | writing * selectors.EVENT_WRITE)
                deadlines = [engine.deadline for engine in running.values() if engine.deadline is not None]
                selector.select(max(0, min(deadlines) - time.monotonic()) if deadlines else None)
            for sock, engine in running.items():
                move(sock, engine)
                engine.expire()
        for sock in self._engines:
            sock.close()


def move(sock: socket.socket, engine: Engine[Any]) -> None:
    """Read, then write, what goes without waiting; close when that was all."""
    try:
        with suppress(BlockingIOError):
            if engine.reading:
                engine.receive(sock.recv(65536))
        with suppress(BlockingIOError):
            if engine.outgoing:
                engine.written(sock.send(engine.outgoing))
    except OSError as error:
        engine.fail(error)
    if engine.done:
        sock.close()
