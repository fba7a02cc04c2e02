"""What the asynchronous clients have and blocking ones have not: tasks that share one, loops, streams, checkpoints."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
import trio
import trio.testing

import smtp_blocking
import smtp_trio
from smtp_surface.async_driver import AsyncTransport
from smtp_surface.driver import LARGE
from smtp_surface.sockets import SocketTransport
from tests.cancellation.stepping import Backend, at_once
from tests.in_turn import run_by_itself
from tests.scripted import Expect, ExpectEOF, ExpectHangUp, ScriptedServer, Send, Signal, Step, WaitFor
from tests.scripts import BODY, DATA, GREETING, MAIL, MESSAGE, NOOP, PATIENCE, QUIT, RCPT, opening

OPTIONS: dict[str, Any] = {"local_hostname": "client.test", "timeout": PATIENCE}

pytestmark = pytest.mark.usefixtures("_nothing_left_behind")

backend = run_by_itself()


async def until(backend: Backend, condition: Any) -> None:
    """Let the other tasks run until something is so."""
    while not condition():
        await backend.pause()


# -- several tasks -----------------------------------------------------------------------------------------------------


def test_calls_of_several_tasks_queue(backend: Backend) -> None:
    """Each call is atomic: messages sent by many tasks over one client all arrive, each as it was."""

    async def main() -> None:
        async with backend.module.SMTP(server.host, server.port, **OPTIONS) as smtp:
            sent = [smtp.sendmail(f"a{n}@client.test", f"b{n}@mx.test", f"{n}\r\n" * 3000) for n in range(20)]
            assert await at_once(backend, *sent) == [{}] * 20

    with smtp_blocking.Server() as server:
        backend.run(main)
    assert len(server.messages) == 20
    for message in server.messages:
        number = message.sender[1:].partition("@")[0]
        assert message.to == (f"b{number}@mx.test",)
        assert message.content == f"{number}\r\n".encode() * 3000


def test_cancelled_while_it_waits_for_its_turn(backend: Backend) -> None:
    """A call that is cancelled in the queue has begun nothing: the calls before and behind it get their replies."""
    go = threading.Event()

    async def main() -> None:
        async with backend.module.SMTP(server.host, server.port, **OPTIONS) as smtp:

            async def cancelled() -> None:
                await until(backend, smtp._queue.locked)
                attempt = await backend.attempt(smtp.rset(), 1)
                assert attempt.cancelled
                go.set()

            first, _ = await at_once(backend, smtp.noop(), cancelled())
            assert first == (250, b"first")
            assert await smtp.noop() == (250, b"2.0.0 ok")

    script = [*GREETING, Expect(b"noop"), WaitFor(go), Send(b"250 first\r\n"), *NOOP, *QUIT]
    with ScriptedServer(script) as server:
        backend.run(main)


def test_close_ends_the_call_of_another_task(backend: Backend) -> None:
    """`close` waits for nobody: a call that waits for its reply is told that the connection is lost."""

    async def main() -> None:
        module = backend.module
        smtp = module.SMTP(server.host, server.port, **{**OPTIONS, "timeout": None})
        await smtp.connect(server.host, server.port)

        async def waiting() -> None:
            with pytest.raises(module.SMTPServerDisconnected):
                await smtp.noop()

        async def closing() -> None:
            await until(backend, heard.is_set)
            for _ in range(5):  # that call's task goes from writing to waiting
                await backend.pause()
            await smtp.close()
            assert smtp.sock is None

        await at_once(backend, waiting(), closing())
        with pytest.raises(module.SMTPServerDisconnected, match="connect"):
            await smtp.noop()

    heard = threading.Event()
    with ScriptedServer([*GREETING, Expect(b"noop"), Signal(heard), ExpectHangUp()]) as server:
        backend.run(main)


def test_an_override_that_starts_tasks(backend: Backend) -> None:
    """What an override does with its client belongs to the call, in whichever task; several tasks of it queue."""
    module = backend.module

    class Own(module.SMTP):  # type: ignore[name-defined, misc]  # any backend's
        async def mail(self, sender: str, options: Any = ()) -> Any:
            answers = await at_once(backend, self.noop(), self.noop())
            assert sorted(answers) == [(250, b"one"), (250, b"two")]  # whichever was first
            [answer] = await at_once(backend, super().mail(sender, options))
            return answer

    async def main() -> None:
        async with Own(server.host, server.port, **OPTIONS) as smtp:
            assert await smtp.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}

    noops: list[Step] = [Expect(b"noop"), Send(b"250 one\r\n"), Expect(b"noop"), Send(b"250 two\r\n")]
    with ScriptedServer([*opening(), *noops, *MAIL, *RCPT, *DATA, *BODY, *QUIT]) as server:
        backend.run(main)


def test_a_task_that_an_override_does_not_wait_for(backend: Backend) -> None:
    """It may run on when the override is over, and still no reply is taken for another's."""
    module = backend.module
    left: list[Any] = []

    async def main() -> None:
        async with module.SMTP(server.host, server.port, **OPTIONS) as smtp:
            ehlo = smtp.ehlo
            go: list[bool] = []

            async def beside() -> None:
                await until(backend, lambda: go)
                left.append(await smtp.docmd("vrfy", "beside"))

            async def patched(name: str = "") -> Any:
                go.append(True)
                return await ehlo(name)

            smtp.ehlo = patched
            await at_once(backend, smtp.sendmail("a@client.test", "b@mx.test", b"x"), beside())

    with smtp_blocking.Server() as server:
        backend.run(main)
    assert left[0][0] == 252
    assert len(server.messages) == 1


# -- loops -------------------------------------------------------------------------------------------------------------


def test_a_client_belongs_to_its_loop(backend: Backend) -> None:
    """In another loop than it was connected in a client says so, and goes on in its own."""
    errors: list[str] = []

    async def elsewhere(smtp: Any) -> None:
        for use in (smtp.noop(), smtp.connect(server.host, server.port)):
            with pytest.raises(RuntimeError) as raised:
                await use
            errors.append(str(raised.value))

    async def main() -> None:
        async with backend.module.SMTP(server.host, server.port, **OPTIONS) as smtp:
            thread = threading.Thread(target=backend.run, args=(lambda: elsewhere(smtp),))
            thread.start()
            await until(backend, lambda: not thread.is_alive())
            assert await smtp.noop() == (250, b"2.0.0 ok")

    with ScriptedServer([*GREETING, *NOOP, *QUIT]) as server:
        backend.run(main)
    assert ["another event loop" in error for error in errors] == [True, True]


def test_outside_of_a_loop(backend: Backend) -> None:
    """Without the loop of its backend a client says which it needs."""
    coroutine = backend.module.SMTP().noop()
    with pytest.raises(RuntimeError, match="event loop"):
        coroutine.send(None)


def test_in_the_loop_of_another_library() -> None:
    """trio's client in asyncio says what it needs."""

    async def main() -> None:
        await smtp_trio.SMTP().connect("127.0.0.1", 1)

    with pytest.raises(RuntimeError, match="trio's event loop"):
        asyncio.run(main())


def test_one_loop_after_the_other(backend: Backend) -> None:
    """A client that was closed may be connected in another loop."""
    smtp = backend.module.SMTP(**OPTIONS)

    async def main() -> None:
        await smtp.connect(server.host, server.port)
        assert await smtp.quit() == (221, b"2.0.0 bye")

    with ScriptedServer([*GREETING, *QUIT], [*GREETING, *QUIT]) as server:
        backend.run(main)
        backend.run(main)


# -- where to --------------------------------------------------------------------------------------------------------


def test_connect_without_arguments(backend: Backend) -> None:
    """`connect` goes where the client was made for, again and again; to another host, or another port, if told so."""

    async def main() -> None:
        smtp = backend.module.SMTP("127.0.0.1", first.port, **OPTIONS)
        for server, arguments in (
            (first, {}),
            (second, {"host": "localhost", "port": second.port}),
            (first, {}),
            (second, {"port": second.port}),
        ):
            assert await smtp.connect(**arguments) == (220, b"mx.test ESMTP")
            assert smtp._port == server.port
            await smtp.close()
        smtp = backend.module.SMTP(f"localhost:{first.port}", **OPTIONS)
        assert await smtp.connect() == (220, b"mx.test ESMTP")
        await smtp.close()
        smtp = backend.module.LMTP(port=second.port, **OPTIONS)
        assert await smtp.connect() == (220, b"mx.test ESMTP")
        assert smtp._host == "localhost"
        await smtp.close()

    session = [*GREETING, ExpectEOF()]
    with ScriptedServer(session, session, session) as first, ScriptedServer(session, session, session) as second:
        backend.run(main)


# -- what is handed in -------------------------------------------------------------------------------------------------


def test_a_transport_of_ones_own(backend: Backend) -> None:
    """Any object with the six methods is a connection, for TLS too."""

    async def main() -> None:
        made = backend.module.SMTP()._new_transport()
        assert isinstance(made, AsyncTransport)
        await made.connect(server.host, server.port, PATIENCE)
        async with backend.module.SMTP(stream=made, **OPTIONS) as smtp:
            assert await smtp.sendmail("a@client.test", "b@mx.test", b"x") == {}

    with smtp_blocking.Server() as server:
        backend.run(main)
    assert len(server.messages) == 1


def test_a_stream(backend: Backend) -> None:
    """A stream of the loop's own is a connection; closing it is the client's."""

    async def main() -> None:
        stream = await backend.stream(server.port)
        async with backend.module.SMTP(stream=stream, **OPTIONS) as smtp:
            assert await smtp.sendmail("a@client.test", "b@mx.test", b"x" * 300_000) == {}

    with smtp_blocking.Server() as server:
        backend.run(main)
    assert server.messages[0].content == b"x" * 300_000 + b"\r\n"


def test_what_cannot_be_handed_in(backend: Backend) -> None:
    """Something else is a TypeError, both at once a ValueError, and nothing is connected."""
    with pytest.raises(ValueError, match="exclude"):
        backend.module.SMTP(stream=1, sock=2)

    async def main() -> None:
        smtp = backend.module.SMTP(stream="a stream")
        with pytest.raises(TypeError, match="str"):
            await smtp.connect()
        assert smtp.sock is None

    backend.run(main)


# -- citizens ----------------------------------------------------------------------------------------------------------


def test_every_coroutine_is_a_checkpoint() -> None:
    """In trio whatever is awaited gives way to the loop, also where it fails or has nothing to do."""

    async def main() -> None:
        smtp = smtp_trio.SMTP(server.host, server.port, **OPTIONS)
        with trio.testing.assert_checkpoints(), pytest.raises(smtp_trio.SMTPServerDisconnected):
            await smtp.noop()
        for use in (smtp.close, smtp.__aenter__, smtp.noop, smtp.ehlo_or_helo_if_needed, smtp.noop, smtp.close):
            with trio.testing.assert_checkpoints():
                await use()

    with smtp_blocking.Server() as server:
        trio.run(main)


def test_small_flights_without_end() -> None:
    """However small they are, and though none has to wait: other tasks have their turn, and an early answer is seen."""
    turns = 0

    async def beside() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        transport = SocketTransport(smtp_trio.LOOP, ours)
        theirs.sendall(b"554 no\r\n")
        async with trio.open_nursery() as tasks:
            tasks.start_soon(beside)
            found = []
            for _ in range(2 * LARGE // 1024):
                found.append((await transport.send([bytes(1024)], None, True)).received)
                theirs.recv(1024)
            assert turns
            tasks.cancel_scope.cancel()
        assert [octets for octets in found if octets is not None] == [b"554 no\r\n"]

    ours, theirs = socket.socketpair()
    with ours, theirs:
        trio.run(main)


def test_a_receive_is_interrupted_at_any_time() -> None:
    """While it waits, and already while other tasks have the turn that they have before; one that is over is not."""

    async def interrupt(transport: SocketTransport) -> None:
        transport.interrupt()

    async def main() -> None:
        transport = SocketTransport(smtp_trio.LOOP, ours)
        with trio.fail_after(PATIENCE):
            for _ in range(30):  # the order of the two is a matter of chance
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(interrupt, transport)
                    with pytest.raises(TimeoutError):
                        await transport.receive(None)
            transport.interrupt()
            theirs.sendall(b"250 ok\r\n")
            assert await transport.receive(None) == b"250 ok\r\n"

    ours, theirs = socket.socketpair()
    with ours, theirs:
        trio.run(main)


def test_leaving_by_a_cancellation_says_nothing(backend: Backend) -> None:
    """Who is cancelled in the block is not kept waiting by a goodbye."""

    async def main() -> None:
        async def block() -> None:
            async with backend.module.SMTP(server.host, server.port, **OPTIONS) as smtp:
                await smtp.ehlo()
                while True:
                    await backend.pause()

        assert (await backend.attempt(block(), 1000)).cancelled

    with ScriptedServer([*opening(), ExpectEOF()]) as server:
        backend.run(main)
