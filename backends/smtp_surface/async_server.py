"""The server for event loops: one task accepts, each connection has one, and all of them end with the server.

Written once for every event loop.  A backend adds the few things that only its loop knows (`AsyncServer`, below "what a
backend provides").

Stopping.  First nobody is accepted any more.  Then each client is told 421 (RFC 5321 3.8): at once where no message is
under way, behind the answer to its message where one is.  What is left after `grace` seconds is cut: its task is
cancelled, which ends a handler that waits for something, too.  When the server's own task is cancelled, all is cut at
once.

An idle connection is a task that waits in `receive`, a session, and no buffer.  To wake it, its `receive` is ended with
a `TimeoutError` (`_Connection.stop`), which TLS above it bears as any other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, Unpack

from smtp_proto.effects import Sent
from smtp_proto.handler import Handler
from smtp_proto.server_session import ServerSession

from .async_driver import AsyncDriver, AsyncTransport
from .asynchronous import AsyncSMTP
from .listening import address_of, close, listen
from .memory import MemoryTransport, memory_pair
from .serving import PAUSE, ServerOptions, Service

if TYPE_CHECKING:
    import socket


class Scope(Protocol):
    """What can be cancelled: a block that ends then, with nothing raised."""

    async def __aenter__(self) -> Any: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...
    def cancel(self) -> None: ...


class Tasks(Protocol):
    """Tasks that end with a block: trio's nursery, anyio's task group."""

    async def __aenter__(self) -> Any: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...
    def start_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], /, *arguments: Any) -> object: ...


class Event(Protocol):
    """Something that is waited for and happens once."""

    def set(self) -> object: ...
    async def wait(self) -> object: ...


class _Connection:
    """One client, and the transport to it, whose `receive` can be ended from outside."""

    def __init__(self, server: AsyncServer, below: AsyncTransport, session: ServerSession) -> None:
        self.session = session
        self._server = server
        self._below = below
        self._waiting: Scope | None = None

    def stop(self) -> None:
        """Have it end as soon as no message is under way."""
        self.session.stop()
        if self._waiting is not None and not self.session.busy:
            self._waiting.cancel()

    async def receive(self, timeout: float | None) -> bytes:
        self._waiting = self._server.new_scope(None)
        try:
            async with self._waiting:
                return await self._below.receive(timeout)
        finally:
            self._waiting = None
        raise TimeoutError("the server is stopping")

    async def connect(self, host: str, port: int, timeout: float | None) -> None:
        raise OSError("connected already")

    async def send(self, chunks: list[bytes], timeout: float | None, listen: bool) -> Sent:
        return await self._below.send(chunks, timeout, listen)

    async def poll(self) -> bytes | None:
        return await self._below.poll()

    async def close(self) -> None:
        await self._below.close()

    def abort(self) -> None:
        self._below.abort()


class AsyncServer(Service):
    __doc__ = Service.__doc__

    #: The backend's client.
    CLIENT: ClassVar[type[AsyncSMTP]]

    _stopped: Event | None = None
    _emptied: Event | None = None

    def __init__(
        self, handler: Handler | None = None, host: str = "127.0.0.1", port: int = 0, **options: Unpack[ServerOptions]
    ) -> None:
        super().__init__(handler, host, port, **options)
        self._connections: set[_Connection] = set()

    # -- what a backend provides --------------------------------------------------------------------------------------

    @classmethod
    async def wait_readable(cls, sock: socket.socket) -> None:
        """Wait until a socket has something to read, or somebody to accept."""
        raise NotImplementedError

    @classmethod
    async def transport_over(cls, sock: socket.socket) -> AsyncTransport:
        """A transport over a connected socket, which it closes if that fails."""
        raise NotImplementedError

    @classmethod
    async def sleep(cls, seconds: float, /) -> None:
        """Let some time pass."""
        raise NotImplementedError

    @classmethod
    def new_event(cls) -> Event:
        """The loop's event."""
        raise NotImplementedError

    @classmethod
    def new_scope(cls, seconds: float | None) -> Scope:
        """The loop's cancel scope, which cancels itself after so many seconds."""
        raise NotImplementedError

    @classmethod
    def new_tasks(cls) -> Tasks:
        """The loop's nursery."""
        raise NotImplementedError

    # -- life ---------------------------------------------------------------------------------------------------------

    @classmethod
    def serve(
        cls,
        handler: Handler | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        task_status: Any = None,
        **options: Unpack[ServerOptions],
    ) -> Serving:
        """Serve: for the time of a block, or until stopped.

        ``async with serve(handler) as server:`` serves until the block is left, and ``await serve(handler)`` until
        `stop` is called or the task is cancelled; ``server = await nursery.start(serve, handler)`` does that in a task
        of its own, and gives the server when it listens (trio's nursery, anyio's task group).  The arguments are the
        server's.  `OSError` if the address is taken.

        Left by an exception, the block's messages under way are finished too; cancelled, all connections are cut.
        """
        return Serving(cls(handler, host, port, **options), task_status)

    def stop(self) -> None:
        """Have `serve`, where it is awaited, end: messages under way are finished, for `grace` seconds."""
        if self._stopped is not None:
            self._stopped.set()

    async def run(self, task_status: Any = None) -> None:
        """Serve until `stop` is called, or this is cancelled; tells `task_status` when it listens."""
        async with self.running():
            if task_status is not None:
                task_status.started(self)
            assert self._stopped is not None
            await self._stopped.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve for the time of a block; `OSError` if the address is taken."""
        listener = listen(self.host, self.port)
        self.host, self.port = address_of(listener)
        self._stopped, self._emptied = self.new_event(), None
        failure: Exception | None = None
        accepting, cutting = self.new_scope(None), self.new_scope(None)
        try:
            listener.setblocking(False)
            async with cutting, self.new_tasks() as tasks:
                tasks.start_soon(self._listen, listener, accepting, tasks)
                try:
                    yield self
                except Exception as error:  # noqa: BLE001  # raised below: tasks would wrap it into a group
                    failure = error
                accepting.cancel()
                await self._drain()
                cutting.cancel()
        finally:
            close(listener)
        if failure is not None:
            raise failure

    async def _drain(self) -> None:
        """Wait, for `grace` seconds, until all clients are gone."""
        self._emptied = self.new_event()
        for connection in list(self._connections):
            connection.stop()
        if self._connections:
            async with self.new_scope(self.grace):
                await self._emptied.wait()

    # -- in memory ----------------------------------------------------------------------------------------------------

    @classmethod
    def memory_pair(cls) -> tuple[MemoryTransport, MemoryTransport]:
        """Two ends of a connection in memory: for `SMTP(stream=...)`, for `converse`, or for a test's own code."""
        return memory_pair(_Alarm(cls))

    async def converse(self, transport: AsyncTransport, peer: object = "in memory") -> None:
        """One conversation with a client, over any transport that is connected to it, to its end."""
        await self._serve(_Connection(self, transport, self.new_session(peer)))

    @classmethod
    @asynccontextmanager
    async def in_memory(
        cls,
        handler: Handler | None = None,
        *,
        client: Mapping[str, Any] | None = None,
        **options: Unpack[ServerOptions],
    ) -> AsyncIterator[tuple[Any, Self]]:
        """A client, and the server that it is connected to in memory, for the time of a block.

        ``async with in_memory(handler) as (smtp, server):``.  `client` are arguments of the client by name, the others
        are the server's.
        """
        server = cls(handler, **options)
        ours, theirs = cls.memory_pair()
        failure: Exception | None = None
        async with cls.new_tasks() as tasks:
            tasks.start_soon(server.converse, theirs)
            try:
                async with cls.CLIENT(stream=ours, **{"local_hostname": "localhost", **(client or {})}) as smtp:
                    yield smtp, server
            except Exception as error:  # noqa: BLE001  # raised below: tasks would wrap it into a group
                failure = error
            ours.abort()
        if failure is not None:
            raise failure

    # -- clients ------------------------------------------------------------------------------------------------------

    async def _listen(self, listener: socket.socket, accepting: Scope, tasks: Tasks) -> None:
        """Accept clients until that is cancelled, and listen no longer."""
        try:
            async with accepting:
                while True:
                    try:
                        await self.wait_readable(listener)
                        sock, peer = listener.accept()
                    except BlockingIOError:
                        continue  # somebody else was faster
                    except OSError:
                        # That client is gone again, or there is no descriptor to be had just now.
                        await self.sleep(PAUSE)
                        continue
                    await self._admit(sock, peer, tasks)
        finally:
            close(listener)

    async def _admit(self, sock: socket.socket, peer: object, tasks: Tasks) -> None:
        """A task for a connection, or a refusal where there are too many."""
        peers = (connection.session.peer for connection in self._connections)
        if self.full(len(self._connections), peers, peer):
            self.refuse(sock)
            return
        try:
            connection = _Connection(self, await self.transport_over(sock), self.new_session(peer))
        except OSError:
            sock.close()  # gone again
            return
        self._connections.add(connection)
        if self._emptied is not None:
            connection.stop()  # it came in just before nobody was accepted any more
        tasks.start_soon(self._serve, connection)

    async def _serve(self, connection: _Connection) -> None:
        try:
            await AsyncDriver(connection, self.timeouts).run(self.conversation(connection.session))
        except OSError:
            pass  # the handshake failed
        except Exception as error:  # noqa: BLE001  # a fault of ours must not end the other conversations
            self.keep_error(error)
        finally:
            connection.abort()
            self._connections.discard(connection)
            if self._emptied is not None and not self._connections:
                self._emptied.set()


class _Alarm:
    """How ends in memory wait, with what the server's loop has."""

    def __init__(self, server: type[AsyncServer]) -> None:
        self._server = server

    def event(self) -> Event:
        return self._server.new_event()

    async def wait(self, event: Event, timeout: float | None) -> None:
        async with self._server.new_scope(timeout):
            await event.wait()
            return
        raise TimeoutError("timed out")

    async def pause(self) -> None:
        await self._server.sleep(0)


class Serving(Coroutine[Any, Any, None]):
    """What `serve` gives: a server for the time of an ``async with`` block, or, awaited, until it is stopped."""

    def __init__(self, server: AsyncServer, task_status: Any = None) -> None:
        self._server = server
        self._block: AbstractAsyncContextManager[AsyncServer] | None = None
        self._run = server.run(task_status)

    async def __aenter__(self) -> AsyncServer:
        self._run.close()
        self._block = self._server.running()
        return await self._block.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._block is not None
        return await self._block.__aexit__(exc_type, exc, traceback)

    def __await__(self) -> Generator[Any, Any, None]:
        return self._run.__await__()

    def send(self, value: Any) -> Any:
        return self._run.send(value)

    def throw(self, *arguments: Any) -> Any:
        return self._run.throw(*arguments)

    def close(self) -> None:
        self._run.close()
