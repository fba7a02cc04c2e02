"""The driver for coroutines and the TLS layer, over asyncio's transport and against our own server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar, cast

import pytest

import smtp_blocking
from smtp_asyncio.transport import PIECE, StreamTransport
from smtp_blocking.transport import SocketTransport
from smtp_proto.client import ClientConnection
from smtp_proto.commands import Mail, Rcpt
from smtp_proto.effects import Call, Close, Connect, Effect, Flow, Poll, Pull, Receive, Send, StartTLS
from smtp_proto.session import ClientSession
from smtp_proto.states import Stage
from smtp_proto.transaction import deliver
from smtp_surface.async_driver import AsyncDriver, AsyncTransport
from smtp_surface.driver import BlockingDriver
from tests.certificates import client_context, server_context

T = TypeVar("T")

LARGE = b"0123456789abcde\r\n" * 100_000

pytestmark = pytest.mark.usefixtures("_nothing_left_behind")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine, debug=False)


def conversation(host: str, port: int, tls: bool) -> Flow[None]:
    session = ClientSession(ClientConnection())
    yield from session.connect(host, port)
    yield from session.hello("client.test")
    if tls:
        yield from session.start_tls(client_context(), "localhost")
        yield from session.hello("client.test")
    yield from deliver(session, Mail("a@client.test"), [Rcpt("b@mx.test")], LARGE, pipelining=True)
    yield from session.quit()


@pytest.mark.parametrize("tls", [False, True])
def test_a_whole_conversation(tls: bool) -> None:
    """A flow written for nobody in particular delivers a large message, in the clear and over TLS."""
    with smtp_blocking.Server(tls_context=server_context() if tls else None) as server:
        transport = StreamTransport()
        assert isinstance(transport, AsyncTransport)
        run(AsyncDriver(transport).run(conversation(server.host, server.port, tls)))
        assert server.messages[0].content == LARGE


def test_every_exception_goes_into_the_flow() -> None:
    """What performing an effect raises is raised where the flow asked for it, a cancellation too."""
    seen: list[BaseException] = []

    def fails() -> None:
        raise KeyError

    async def cancelled() -> None:
        raise asyncio.CancelledError

    def flow() -> Flow[str]:
        for function in (fails, cancelled):
            try:
                yield from Call(function)
            except BaseException as error:  # noqa: BLE001  # to see what comes
                seen.append(error)
        try:
            yield from Poll()
        except OSError as error:
            seen.append(error)
        return "done"

    driver = AsyncDriver()
    assert run(driver.run(flow())) == "done"
    assert [type(error) for error in seen] == [KeyError, asyncio.CancelledError, OSError]
    assert driver.touched


def test_calls_alone_touch_nothing() -> None:
    """Until the flow asks for I/O an interruption can have lost nothing; a coroutine is awaited."""

    async def answer(number: int) -> int:
        return number

    def flow() -> Flow[int]:
        return (yield from Call(answer, 7))  # type: ignore[return-value]  # the driver awaits it

    driver = AsyncDriver()
    assert run(driver.run(flow())) == 7
    assert not driver.touched


def test_a_call_forgets_nothing() -> None:
    """A call that runs a flow of its own without I/O does not hide that the flow around it has asked for some."""

    def nothing() -> Flow[None]:
        yield from Call(int)

    def flow(driver: Any) -> Flow[None]:
        yield from Receive(Stage.COMMAND)
        yield from Call(driver.run, nothing())

    class Mute:
        async def receive(self, timeout: float | None) -> bytes:
            return b""

    asynchronous = AsyncDriver(cast("Any", Mute()))
    run(asynchronous.run(flow(asynchronous)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.shutdown(socket.SHUT_WR)
        blocking = BlockingDriver(SocketTransport(ours))
        blocking.run(flow(blocking))
    assert asynchronous.touched
    assert blocking.touched


async def counted() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


@pytest.mark.parametrize("chunks", [iter([b"a", b"b"]), counted()], ids=["iterator", "asynchronous iterator"])
def test_streams_of_both_kinds(chunks: Any) -> None:
    """A stream is pulled chunk by chunk until None, whichever kind of iterator it is."""

    def flow() -> Flow[list[object]]:
        first = yield from Pull(chunks)
        second = yield from Pull(chunks)
        return [first, second, (yield from Pull(chunks))]

    assert run(AsyncDriver(StreamTransport()).run(flow())) == [b"a", b"b", None]


def test_an_effect_of_another_kind() -> None:
    """What the driver does not know is an error, and no silence."""

    class Dance(Effect[None]):
        __slots__ = ()

    def flow() -> Flow[None]:
        yield from Dance()

    with pytest.raises(TypeError, match="Dance"):
        run(AsyncDriver(StreamTransport()).run(flow()))


def test_a_coroutine_that_is_closed_awaits_nothing() -> None:
    """Closed in the middle, the coroutine gives the flow a last word and does not do what it asks for then."""
    said: list[str] = []

    class Forever:
        def __await__(self) -> Iterator[None]:
            yield

    def forever() -> Any:
        return Forever()

    def flow() -> Flow[None]:
        try:
            yield from Call(forever)
        finally:
            said.append("closing")
            yield from Close()
            said.append("never")

    coroutine = AsyncDriver(StreamTransport()).run(flow())
    coroutine.send(None)
    coroutine.close()
    assert said == ["closing"]


# -- the transport -----------------------------------------------------------------------------------------------------


def test_deadlines() -> None:
    """A read has its deadline; so has a write that nobody reads, and what was received meanwhile comes back early."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            transport = await StreamTransport.of_socket(ours)
            with pytest.raises(TimeoutError):
                await transport.receive(0.01)
            theirs.setblocking(True)
            assert (await transport.send([b"x"], 1, True)) == (None, [])
            theirs.sendall(b"early")
            sent = await transport.send([bytes(10_000_000)], 5, True)
            assert sent.received == b"early"
            assert sum(map(len, sent.unsent)) > 0
            with pytest.raises(TimeoutError):
                await transport.send(sent.unsent, 0.01, True)
            transport.abort()
            await transport.close()

    run(main())


@pytest.mark.parametrize("octets", [b"", b"a", bytes(200_000)])
def test_what_has_arrived_is_seen_without_waiting(octets: bytes) -> None:
    """`poll` gives what is there, and reads only so much ahead that memory stays bounded."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            transport = await StreamTransport.of_socket(ours)
            assert await transport.poll() is None
            theirs.setblocking(False)
            left = len(octets) - (theirs.send(octets) if octets else 0)
            assert left >= 0
            taken = bytearray()
            while (arrived := await transport.poll()) is not None:
                assert len(arrived) <= 2 * 65536
                taken += arrived
            assert len(taken) == len(octets) - left
            theirs.shutdown(socket.SHUT_WR)
            assert await transport.receive(5) == b""
            assert await transport.poll() == b""
            await transport.close()

    run(main())


def test_a_flood_that_nobody_reads_is_held_back() -> None:
    """The loop reads so much ahead, however long the peer goes on writing, and goes on behind that when it is taken."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            transport = await StreamTransport.of_socket(ours)
            theirs.setblocking(False)
            sent = 0
            for _ in range(500):  # turns of the loop, each of which could read 64 KiB
                with suppress(BlockingIOError):
                    sent += theirs.send(bytes(PIECE))
                await asyncio.sleep(0)
            arrived = await transport.poll()
            assert arrived is not None
            assert PIECE <= len(arrived) < 2 * PIECE
            theirs.shutdown(socket.SHUT_WR)
            taken = len(arrived)
            while octets := await transport.receive(5):
                taken += len(octets)
            assert taken == sent
            await transport.close()

    run(main())


def test_closed_from_beside() -> None:
    """A wait ends with an `OSError` when another task closes the transport, and so does each later use."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            transport = await StreamTransport.of_socket(ours)
            waiting = asyncio.create_task(transport.receive(None))
            await asyncio.sleep(0)
            transport.abort()
            with pytest.raises(OSError, match="closed"):
                await waiting
            for use in (transport.receive(1), transport.send([b"x"], 1, True), transport.poll()):
                with pytest.raises(OSError, match="closed"):
                    await use
            await transport.close()

    run(main())


def test_last_words_of_who_hangs_up() -> None:
    """What the peer said before it broke the connection is still to be read after a failed write."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            transport = StreamTransport()
            await transport.connect("127.0.0.1", listener.getsockname()[1], 5)
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"421 bye\r\n")
            received = b""
            with pytest.raises(OSError):  # noqa: PT011, PT012  # which, depends on the system
                for _ in range(100):
                    sent = await transport.send([bytes(1_000_000)], 5, False)
                    received += sent.received or b""
            received += await transport.poll() or b""
            assert received == b"421 bye\r\n"
            await transport.close()

    run(main())


def test_not_connected() -> None:
    """A transport that was never connected says so, and closing it is nothing."""

    async def main() -> None:
        transport = StreamTransport()
        for use in (transport.receive(1), transport.send([b"x"], 1, True), transport.poll()):
            with pytest.raises(OSError, match="not connected"):
                await use
        transport.abort()
        await transport.close()

    run(main())


# -- TLS ---------------------------------------------------------------------------------------------------------------


def handshake() -> Flow[None]:
    yield from StartTLS(client_context(), "localhost")


@pytest.mark.parametrize("answer", [b"", b"250 this is no TLS\r\n", None], ids=["closes", "nonsense", "silence"])
def test_a_handshake_that_fails(answer: bytes | None) -> None:
    """A peer that hangs up, talks nonsense or says nothing ends it with an `OSError`, in time."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            timeouts = {**dict.fromkeys(Stage, 5.0), Stage.TLS: 0.05 if answer is None else 5.0}
            driver = AsyncDriver(await StreamTransport.of_socket(ours), timeouts)
            if answer:
                theirs.sendall(answer)
            elif answer is not None:
                theirs.shutdown(socket.SHUT_WR)
            with pytest.raises(OSError):  # noqa: PT011  # ssl's, or the deadline's
                await driver.run(handshake())
            assert driver.transport is not None
            await driver.transport.close()

    run(main())


def test_tickets_are_nothing() -> None:
    """Behind a handshake a session ticket may make the socket readable: `poll` says that nothing has arrived."""

    def look(server: smtp_blocking.Server) -> Flow[bytes | None]:
        yield from Connect(server.host, server.port)
        yield from handshake()
        greeting = yield from Receive(Stage.GREETING)
        assert greeting.startswith(b"220 ")
        yield from Send([b"EHLO client.test\r\n"], Stage.COMMAND)
        yield from Receive(Stage.COMMAND)
        return (yield from Poll())

    async def main(server: smtp_blocking.Server) -> None:
        driver = AsyncDriver(StreamTransport())
        assert await driver.run(look(server)) is None
        assert driver.transport is not None
        await driver.transport.close()

    with smtp_blocking.Server(tls_context=server_context(), implicit_tls=True) as server:
        run(main(server))
