"""A server in memory that takes every message and keeps none: a transport for clients that block, and one for others.

What the client costs can be measured beside it, for it holds no more than a piece: of each message it knows the size
and the hash of the octets that arrived, and of all that was written the hash.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from smtp_proto.commands import Bdat, Command, Data, Ehlo, Greeting, Mail, Quit
from smtp_proto.effects import Sent
from smtp_proto.events import BodyReceived, CommandReceived, CommandRejected, ConnectionClosed, Wait
from smtp_proto.replies import Reply
from smtp_proto.server import ServerConnection
from smtp_proto.sources import PIECE
from tests.scripts import PATIENCE


class Taken(NamedTuple):
    """A message that has arrived: its MAIL, all commands of its transaction, and of its octets number and hash."""

    mail: Mail
    commands: tuple[Command, ...]
    size: int
    digest: str


class Sink:
    """The transport, and the server at its other end, which lists `offers` in its answer to EHLO."""

    def __init__(self, *offers: str) -> None:
        self.taken: list[Taken] = []
        self.written = hashlib.sha256()
        self._hello = "\n".join(["sink.test", *offers])
        self._server = ServerConnection()
        self._server.send(Reply(220, "sink.test"))
        self._commands: list[Command] = []
        self._begin()

    def connect(self, host: str, port: int, timeout: float | None) -> None:
        """It is there."""

    def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        for chunk in chunks:
            self.written.update(chunk)
            self._server.receive_data(chunk)
            self._serve()
        return Sent(None, [])

    def receive(self, timeout: float | None) -> bytes:
        return b"".join(self._server.data_to_send())

    def poll(self) -> bytes | None:
        return self.receive(None) or None

    def close(self) -> None:
        self._server.receive_eof()

    def _begin(self) -> None:
        self._hash, self._size = hashlib.sha256(), 0

    def _serve(self) -> None:
        while not isinstance(event := self._server.next_event(), Wait):
            if isinstance(event, BodyReceived):
                self._hash.update(event.octets)
                self._size += len(event.octets)
                if event.finished:
                    mail = next(command for command in self._commands if isinstance(command, Mail))
                    self.taken.append(Taken(mail, tuple(self._commands), self._size, self._hash.hexdigest()))
                    self._commands = []
                    self._begin()
                    self._server.send(Reply(250, "taken"))
            elif isinstance(event, CommandRejected):
                self._server.send(event.hint)
            elif isinstance(event, ConnectionClosed):
                return
            else:
                assert isinstance(event, CommandReceived)
                self._answer(event.command)

    def _answer(self, command: Command) -> None:
        assert not isinstance(command, Greeting)
        if isinstance(command, Ehlo):
            self._server.send(Reply(250, self._hello))
            return
        self._commands.append(command)
        if isinstance(command, Bdat):
            return  # answered when its octets are in
        if isinstance(command, Quit):
            self._server.send(Reply(221, "bye"))
        elif isinstance(command, Data):
            self._server.send(Reply(354, "go on"))
        else:
            self._server.send(Reply(250, "ok"))


class AsyncSink:
    """The same for clients of coroutines, which it never keeps waiting."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        """It is there."""

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        return self._sink.send(chunks, timeout, listen)

    async def receive(self, timeout: float | None) -> bytes:
        return self._sink.receive(timeout)

    async def poll(self) -> bytes | None:
        return self._sink.poll()

    async def close(self) -> None:
        self._sink.close()

    def abort(self) -> None:
        self._sink.close()

    def interrupt(self) -> None:
        """Nobody waits for it."""


@contextmanager
def listening(sink: Sink) -> Iterator[int]:
    """A port of the loopback interface behind which a sink serves one connection; not left before that has ended."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(sink.receive(None))
            while octets := connection.recv(PIECE):
                sink.send([octets], None, False)
                connection.sendall(sink.receive(None))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)


def digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()
