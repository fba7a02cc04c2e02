"""The backends that the conformance suite runs against, each behind one small interface.

Tests see every backend as a blocking one.  A backend with coroutines hands out clients whose methods run them to their
end in a loop of its own, and does the same for the functions that tests put in a method's place.
"""

from __future__ import annotations

import copy
import pickle
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from types import ModuleType
from typing import Any, Protocol, Self, TypeAlias, TypeVar, cast

from anyio import sleep
from anyio.from_thread import BlockingPortal, start_blocking_portal

import smtp_anyio
import smtp_asyncio
import smtp_blocking
import smtp_trio
from smtp_proto.outcome import Outcome
from smtp_surface.async_sending import AsyncSending
from smtp_surface.asynchronous import AsyncSMTP
from tests.scripts import PATIENCE

T = TypeVar("T")

#: The surface that tests are written against.
Client: TypeAlias = smtp_blocking.SMTP
#: The calls of a method that is watched: the positional arguments of each.
Calls: TypeAlias = list[tuple[Any, ...]]


class Server(Protocol):
    """Where there is something to connect to."""

    host: str
    port: int


class Backend:
    """How tests get clients of one backend.  The blocking one is as it is; others override what differs."""

    name: str
    #: The package, with `smtplib`'s names.
    module: ModuleType
    #: True where the methods are coroutines, and what overrides them is to be one.
    coroutines = False

    def open(self, kind: str | type[Any], *args: Any, **options: Any) -> Client:
        """A client made by the class of that name (SMTP, SMTP_SSL, LMTP), or by a subclass; connected if `args` say
        where to."""
        return cast("Client", (getattr(self.module, kind) if isinstance(kind, str) else kind)(*args, **options))

    def connect(self, server: Server, kind: str | type[Any] = "SMTP", **options: Any) -> Client:
        """A client of `server`, with a name and a time-out that suit tests."""
        options = {"local_hostname": "client.test", "timeout": PATIENCE, **options}
        return self.open(kind, server.host, server.port, **options)

    def watch(self, client: Client, method: str) -> Calls:
        """Patch the method of one client with a function that calls it and keeps the arguments."""
        calls: Calls = []
        setattr(client, method, self._watching(getattr(client, method), calls))
        return calls

    def watching(self, kind: str, method: str) -> tuple[type[Any], Calls]:
        """A subclass that overrides the method with one that calls the original and keeps the arguments."""
        calls: Calls = []
        parent = getattr(self.module, kind)

        def override(self: Any, *args: Any, **options: Any) -> Any:
            calls.append(args)
            return getattr(super(child, self), method)(*args, **options)

        child: type[Any] = type("Overriding", (parent,), {method: override})
        return child, calls

    def timeout_of(self, client: Client) -> float | None:
        """The seconds of every wait of a connection; None where there is not one number for all."""
        shown: float | None = client.sock.gettimeout()
        return shown

    def tls_of(self, client: Client) -> str | None:
        """The version of TLS that is spoken; None in the clear."""
        return client.sock.version() if isinstance(client.sock, ssl.SSLSocket) else None

    def over(self, sock: socket.socket, **options: Any) -> Client:
        """A client over a connected socket that is handed in, greeted."""
        greeting = b""
        while not greeting.endswith(b"\n"):
            greeting += sock.recv(1000)
        client = self.open("SMTP", **options)
        client.sock = sock
        return client

    def copies(self, client: Client) -> list[Client]:
        """Copies of a client that is not connected, each made in another way."""
        return [copy.deepcopy(client), pickle.loads(pickle.dumps(client))]  # noqa: S301  # our own

    def sending(self, client: Client, messages: Any) -> AbstractContextManager[Any]:
        """What `send_many` returns, in a ``with``; seen as a blocking one."""
        return client.send_many(messages)

    def called(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """What a function of the backend's gives, which may be a coroutine."""
        return function(*args, **options)

    def bare(self, client: Client) -> Any:
        """The client itself, whose methods may be coroutines: for callbacks, which the backend calls, or awaits."""
        return client

    def start(self) -> None:
        """Make what is needed to run tests, unless it is there."""

    def settle(self) -> None:
        """Let what was put off be done: a loop closes a socket a little later than it is asked to."""

    def stop(self) -> None:
        """Take it down."""

    def replace(self, client: Client, method: str, function: Callable[..., Any]) -> None:
        """Put a function of the test in the place of a method of one client."""
        setattr(client, method, function)

    @staticmethod
    def _watching(original: Callable[..., T], calls: Calls) -> Callable[..., T]:
        def watched(*args: Any, **options: Any) -> T:
            calls.append(args)
            return original(*args, **options)

        return watched


class BlockingBackend(Backend):
    name = "blocking"
    module = smtp_blocking


class AsyncBackend(Backend):
    """A backend of coroutines, in a loop that runs in a thread of its own."""

    coroutines = True

    def __init__(self, name: str, module: ModuleType, loop: str, **options: Any) -> None:
        self.name = name
        self.module = module
        self._loop = loop, options
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None

    def start(self) -> None:
        if self._portal is None:
            self._portal = self._stack.enter_context(start_blocking_portal(*self._loop))

    def settle(self) -> None:
        for _ in range(3):
            self.run(sleep, 0)

    def stop(self) -> None:
        self._portal = None
        self._stack.close()

    def run(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function in the loop, and await what it gives if it is awaitable."""
        assert self._portal is not None

        async def called() -> Any:
            result = function(*args, **options)
            return await result if isawaitable(result) else result

        try:
            return self._portal.call(called)
        except RuntimeError as error:
            if "event loop thread" not in str(error):
                raise
        # A callback, in the loop's thread, calls the client back; what it may not do it is told before any await.
        called().send(None)
        raise AssertionError("a callback must not get this far")

    def in_a_block(self, manager: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """An asynchronous context manager that is entered and left in the loop."""
        assert self._portal is not None
        return self._portal.wrap_async_context_manager(manager)

    @contextmanager
    def seen_in_a_block(self, manager: AbstractAsyncContextManager[tuple[Any, T]]) -> Iterator[tuple[Client, T]]:
        """The same for one that gives a client first, which is seen as a blocking one."""
        with self.in_a_block(manager) as (client, other):
            yield cast("Client", _Seen(self, client)), other

    def open(self, kind: str | type[Any], *args: Any, **options: Any) -> Client:
        async def opened() -> Any:
            client = (getattr(self.module, kind) if isinstance(kind, str) else kind)(*args, **options)
            if args:
                await client.__aenter__()
            return client

        return cast("Client", _Seen(self, self.run(opened)))

    def watch(self, client: Client, method: str) -> Calls:
        return super().watch(_behind(client), method)

    def replace(self, client: Client, method: str, function: Callable[..., Any]) -> None:
        async def replacement(*args: Any, **options: Any) -> Any:
            return function(*args, **options)

        setattr(client, method, replacement)

    def copies(self, client: Client) -> list[Client]:
        return [cast("Client", _Seen(self, made)) for made in super().copies(_behind(client))]

    @contextmanager
    def sending(self, client: Client, messages: Any) -> Iterator[Any]:
        sending = cast("AsyncSending", _behind(client).send_many(messages))
        with self.in_a_block(sending):
            yield _SeenSending(self, sending)

    def called(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return self.run(function, *args, **options)

    def bare(self, client: Client) -> Any:
        return _behind(client)

    def timeout_of(self, client: Client) -> float | None:
        timeouts = set(_behind(client)._driver.timeouts.values())
        return timeouts.pop() if len(timeouts) == 1 else None

    def tls_of(self, client: Client) -> str | None:
        tls = cast("Any", _behind(client)).ssl_object
        return None if tls is None else cast("str", tls.version())

    def over(self, sock: socket.socket, **options: Any) -> Client:
        client = self.open("SMTP", sock=sock, **options)
        client.connect()
        return client


class _Seen:
    """A client of coroutines, seen as a blocking one: what is called on it runs to its end in the loop."""

    def __init__(self, backend: AsyncBackend, client: Any) -> None:
        vars(self).update(_backend=backend, _client=client)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._client, name)
        return partial(self._backend.run, value) if iscoroutinefunction(getattr(AsyncSMTP, name, None)) else value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._client, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._client, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> Any:
        return self._backend.run(self._client.__aexit__, *exc)


class _SeenSending:
    """What `send_many` of a client of coroutines returns, seen as a blocking one."""

    def __init__(self, backend: AsyncBackend, sending: AsyncSending) -> None:
        self._backend = backend
        self._sending = sending

    @property
    def left(self) -> list[Outcome]:
        return self._sending.left

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Outcome:
        outcome: Outcome | None = self._backend.run(anext, self._sending, None)
        if outcome is None:
            raise StopIteration
        return outcome

    def close(self) -> None:
        self._backend.run(self._sending.aclose)


def _behind(client: Client) -> Client:
    return cast("Client", vars(client)["_client"])


BACKENDS: list[Backend] = [
    BlockingBackend(),
    AsyncBackend("asyncio", smtp_asyncio, "asyncio"),
    AsyncBackend("uvloop", smtp_asyncio, "asyncio", use_uvloop=True),
    AsyncBackend("trio", smtp_trio, "trio"),
    AsyncBackend("anyio-asyncio", smtp_anyio, "asyncio"),
    AsyncBackend("anyio-trio", smtp_anyio, "trio"),
]
