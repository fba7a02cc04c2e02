"""Many connections at once: ``python -m benchmarks.connections``.

A thousand clients connect to one server of ours, all of them before any sends; then each sends ten messages and says
goodbye.  That every message has arrived, and arrived once, is checked.  Each client library and each server runs in a
process of its own, fresh for each row and round; printed are the medians of the seconds from the first connection to
the last goodbye, of the process's CPU time, and of the peak of its memory, its imports included.

The first table is about clients, ours and those of the peers that are installed (``pip install
'sansio-smtp[bench]'``), at the server of `smtp_asyncio`; the second about our servers, with the clients of
`smtp_asyncio`.  Clients that block have a thread each, and so has each connection of the server that does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from email.message import EmailMessage
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.measuring import Table, installed, peak_memory, ratio

HOST = "127.0.0.1"
SERVERS = ["smtp_asyncio", "smtp_asyncio on uvloop", "smtp_trio", "smtp_anyio", "smtp_anyio on trio", "smtp_blocking"]
PEERS = ["smtplib", "aiosmtplib", "smtpproto"]

#: Sends some messages over a connection of its own, waiting in between until all are connected.
Meeting = Callable[[], Coroutine[Any, Any, None]]
Conversation = Callable[[int, Iterable[EmailMessage], Meeting], Coroutine[Any, Any, None]]


def raise_limits() -> None:
    """As many descriptors as the system allows: a connection is one."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run_in(name: str, main: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    """Run `main` in the event loop that a name stands for."""
    if name.endswith("on uvloop"):
        return import_module("uvloop").run(main(*arguments))
    if name.startswith("smtp_anyio"):
        return import_module("anyio").run(main, *arguments, backend="trio" if name.endswith("trio") else "asyncio")
    return import_module("trio").run(main, *arguments) if name == "smtp_trio" else asyncio.run(main(*arguments))


# -- the server's process ----------------------------------------------------------------------------------------------


async def serve(name: str) -> dict[str, Any]:
    """Serve until the parent closes our input; how often each message came."""
    module: Any = import_module(name.split(maxsplit=1)[0])
    arrived: Counter[str] = Counter()

    from smtp_proto import Handler, ReceivedMessage, ServerSession

    class Counting(Handler):
        def body(self, session: ServerSession, message: ReceivedMessage) -> None:
            arrived[message.sender] += 1

    import anyio.to_thread  # for all: trio's functions and asyncio's have no name in common

    async with AsyncExitStack() as stack:
        serving = (module.Server if name == "smtp_blocking" else module.serve)(Counting(), max_connections=1_000_000)
        if name == "smtp_blocking":
            server = stack.enter_context(serving)
        else:
            server = await stack.enter_async_context(serving)
        print(json.dumps({"port": server.port}), flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)
    return {
        "messages": len(arrived),
        "more than once": sum(count > 1 for count in arrived.values()),
        "errors": len(server.errors),
        "cpu": time.process_time(),
        "memory": peak_memory() / 1e6,
    }


# -- the clients' process ----------------------------------------------------------------------------------------------


def conversation_of(name: str) -> Conversation:
    """What a client library needs to be told."""
    module: Any = import_module(name.split(maxsplit=1)[0] if name != "smtpproto" else "smtpproto.client")

    async def ours(port: int, messages: Iterable[EmailMessage], all_connected: Meeting) -> None:
        async with module.SMTP(HOST, port, local_hostname="client.test") as smtp:
            await all_connected()
            for message in messages:
                await smtp.send_message(message)

    async def aiosmtplib(port: int, messages: Iterable[EmailMessage], all_connected: Meeting) -> None:
        async with module.SMTP(
            hostname=HOST, port=port, local_hostname="client.test", start_tls=False, timeout=300
        ) as smtp:
            await all_connected()
            for message in messages:
                await smtp.send_message(message)

    async def smtpproto(port: int, messages: Iterable[EmailMessage], all_connected: Meeting) -> None:
        async with module.AsyncSMTPClient(host=HOST, port=port, domain="client.test", timeout=300).connect() as smtp:
            await all_connected()
            for message in messages:
                await smtp.send_message(message)

    async def in_a_thread(port: int, messages: Iterable[EmailMessage], all_connected: Meeting) -> None:
        from anyio import CapacityLimiter, from_thread, to_thread

        def talk() -> None:
            with module.SMTP(HOST, port, local_hostname="client.test") as smtp:
                from_thread.run(all_connected)
                for message in messages:
                    smtp.send_message(message)

        await to_thread.run_sync(talk, limiter=CapacityLimiter(1))

    others = {"aiosmtplib": aiosmtplib, "smtpproto": smtpproto, "smtplib": in_a_thread, "smtp_blocking": in_a_thread}
    return others.get(name, ours)


async def send_all(name: str, port: int, connections: int, messages: int) -> dict[str, Any]:
    """All clients at once."""
    import anyio

    conversation = conversation_of(name)
    connected, everybody = 0, anyio.Event()

    async def all_connected() -> None:
        nonlocal connected
        connected += 1
        if connected == connections:
            everybody.set()
        await everybody.wait()

    start, cpu = time.perf_counter(), time.process_time()
    async with anyio.create_task_group() as tasks:
        for number in range(connections):
            tasks.start_soon(conversation, port, letters(number, messages), all_connected)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "memory": peak_memory() / 1e6}


def letters(number: int, count: int) -> Iterator[EmailMessage]:
    """One client's messages, made one by one, for those of the standard library are large."""
    return (letter(f"a{number}.{part}@client.test") for part in range(count))


def letter(sender: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, "b@mx.test", "Many connections"
    message.set_content("A short message, as most are.\n" * 20)
    return message


# -- the parent --------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One run: what the clients' process says, and the server's."""

    clients: dict[str, Any]
    server: dict[str, Any]


def measure(client: str, server: str, connections: int, messages: int) -> Row:
    """One row; AssertionError if a message did not arrive, or arrived twice."""
    command = [sys.executable, "-m", "benchmarks.connections"]
    with subprocess.Popen(
        [*command, "--serve", server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as serving:
        assert serving.stdout is not None
        port = json.loads(serving.stdout.readline())["port"]
        numbers = [f"--connections={connections}", f"--messages={messages}"]
        sending = subprocess.run(
            [*command, "--send", client, f"--port={port}", *numbers],
            stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        said, _ = serving.communicate()
    row = Row(json.loads(sending.stdout), json.loads(said))
    assert row.server["messages"] == connections * messages, row
    assert row.server["more than once"] == row.server["errors"] == 0, row
    return row


ROOT = Path(__file__).resolve().parent.parent


class Costs(NamedTuple):
    """What a row is about: seconds, CPU seconds, and megabytes of memory."""

    seconds: float
    cpu: float
    memory: float


def print_rows(title: str, names: list[str], costs: Callable[[str], Costs], rounds: int) -> None:
    """A table of medians over rounds in which all take turns; ratios are to the first row's."""
    found: dict[str, list[Costs]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(costs(name))
    table = Table(title, "", "seconds", "ratio", "CPU seconds", "peak MB")
    middle = {name: Costs(*map(median, zip(*each, strict=True))) for name, each in found.items()}
    first = middle[names[0]].seconds
    for name, (seconds, cpu, memory) in middle.items():
        table.row(name, f"{seconds:.2f}", ratio(seconds / first), f"{cpu:.2f}", f"{memory:.0f}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.connections", description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=1000, help="connections at once (default 1000)")
    parser.add_argument("--messages", type=int, default=10, help="messages over each (default 10)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured (default 1)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--send", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    raise_limits()
    if options.serve:
        print(json.dumps(run_in(options.serve, serve, options.serve)))
        return
    if options.send:
        numbers = options.port, options.connections, options.messages
        print(json.dumps(run_in(options.send, send_all, options.send, *numbers)))
        return
    what = f"{options.connections} connections at once, {options.messages} messages over each, all arrived once"

    def as_client(name: str) -> Costs:
        clients = measure(name, SERVERS[0], options.connections, options.messages).clients
        return Costs(clients["seconds"], clients["cpu"], clients["memory"])

    def as_server(name: str) -> Costs:
        row = measure(SERVERS[0], name, options.connections, options.messages)
        return Costs(row.clients["seconds"], row.server["cpu"], row.server["memory"])

    clients = [*SERVERS, *(peer for peer in PEERS if peer == "smtplib" or installed(peer))]
    print_rows(f"Clients: {what}", clients, as_client, options.rounds)
    print_rows(f"Servers: {what}", SERVERS, as_server, options.rounds)


if __name__ == "__main__":
    main()
