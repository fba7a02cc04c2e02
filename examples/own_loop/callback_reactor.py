"""A conversation in callbacks: when its socket is readable, when it is writable, and when time has passed."""

import socket
import time
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any

from smtp_proto import Engine


class Reactor:
    """The smallest of its kind; yours, under names of its own, watches sockets and calls at a time."""

    def __init__(self) -> None:
        self.watched: set[Conversation] = set()

    def run(self) -> None:
        while self.watched:
            with DefaultSelector() as selector:
                for each in self.watched:
                    wanted = each.engine.reading * EVENT_READ | bool(each.engine.outgoing) * EVENT_WRITE or EVENT_WRITE
                    selector.register(each.sock, wanted, each)
                deadline = min(each.engine.deadline or float("inf") for each in self.watched)
                ready = selector.select(max(0, min(deadline - time.monotonic(), 3600)))
            for key, events in ready:
                (key.data.on_readable if events & EVENT_READ else key.data.on_writable)()
            for each in list(self.watched):
                each.on_timer()


class Conversation:
    """Joins an engine to a reactor; `then` is called with the engine when that is done."""

    def __init__(self, reactor: Reactor, sock: socket.socket, engine: Engine[Any], then: Callable[..., None]) -> None:
        sock.setblocking(False)
        self.watched, self.sock, self.engine, self.then = reactor.watched, sock, engine, then
        self.watched.add(self)

    def on_readable(self) -> None:
        self._do(lambda: self.engine.receive(self.sock.recv(65536)))

    def on_writable(self) -> None:
        self._do(lambda: self.engine.written(self.sock.send(self.engine.outgoing)))

    def on_timer(self) -> None:
        self._do(self.engine.expire)

    def _do(self, action: Callable[[], None]) -> None:
        try:
            action()
        except BlockingIOError:
            pass
        except OSError as error:
            self.engine.fail(error)
        if self.engine.done and self in self.watched:
            self.watched.remove(self)
            self.sock.close()
            self.then(self.engine)
