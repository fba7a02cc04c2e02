"""What the child processes do: one function for each kind of work, over each library.

Run by `benchmarks.measuring.run` as ``python -m benchmarks.jobs FUNCTION ARGUMENTS``; prints the `Figures` as JSON.  A
job imports the library that it is about and no other, so that memory is that library's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from benchmarks.measuring import Figures, Stopwatch

SENDER = "alice@example.org"
HOST = "127.0.0.1"
NAME = "bench.example.org"
WARM_UP = 20  # at most; a fifth of what counts is enough


def recipients(count: int) -> list[str]:
    return [f"user{number}@example.net" for number in range(count)]


def content(size: int) -> bytes:
    """A message of about so many octets."""
    head = b"From: alice@example.org\r\nTo: bob@example.net\r\nSubject: A benchmark\r\n\r\n"
    line = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eius.\r\n"
    return head + line * max(1, (size - len(head)) // len(line))


def email_message(size: int, to: int) -> EmailMessage:
    """The same as an email message."""
    message = EmailMessage()
    message["From"] = SENDER
    message["To"] = ", ".join(recipients(to))
    message["Subject"] = "A benchmark"
    message.set_content(content(size).partition(b"\r\n\r\n")[2].decode("ascii"))
    return message


def repeat(send: Callable[[], object], count: int) -> Figures:
    """`count` times, after a few that do not count."""
    for _ in range(min(WARM_UP, count // 5 + 1)):
        send()
    watch = Stopwatch()
    watch.start()
    for _ in range(count):
        send()
    return watch.stop(count)


async def repeat_async(send: Callable[[], Awaitable[object]], count: int) -> Figures:
    """The same for coroutines."""
    for _ in range(min(WARM_UP, count // 5 + 1)):
        await send()
    watch = Stopwatch()
    watch.start()
    for _ in range(count):
        await send()
    return watch.stop(count)


def can_send_many() -> bool:
    """True if `smtp_blocking` has it; a note otherwise."""
    there = hasattr(importlib.import_module("smtp_blocking").SMTP, "send_many")
    if not there:
        print("(send_many is not there yet)")
    return there


# -- one connection, one message after the other -----------------------------------------------------------------------


def blocking(
    library: str, port: int, count: int, to: int, size: int = 2048, typed: bool = False, **options: Any
) -> Figures:
    """Messages over one connection, with `smtplib` or `smtp_blocking`: `sendmail`, or `send_message` where `typed`."""
    module = importlib.import_module(library)
    with module.SMTP(HOST, port, local_hostname=NAME, **options) as smtp:
        if typed:
            message = email_message(size, to)
            return repeat(lambda: smtp.send_message(message), count)
        octets, paths = content(size), recipients(to)
        return repeat(lambda: smtp.sendmail(SENDER, paths, octets), count)


def blocking_many(port: int, count: int, to: int, size: int = 2048, **options: Any) -> Figures:
    """Messages over one connection with `send_many` of `smtp_blocking`."""
    module = importlib.import_module("smtp_blocking")
    octets, paths = content(size), recipients(to)
    with module.SMTP(HOST, port, local_hostname=NAME, **options) as smtp:

        def send(messages: int) -> None:
            results = smtp.send_many([(SENDER, paths, octets)] * messages)
            assert all(result.delivered for result in results)

        send(min(WARM_UP, count // 5 + 1))
        watch = Stopwatch()
        watch.start()
        send(count)
        return watch.stop(count)


def limit(port: int, count: int, to: int, way: str, busy: bool, size: int = 2048) -> Figures:
    """What no client can be faster than: octets that were made beforehand, and answers that nobody reads.

    `way`: "step by step", "pipelined" in two flights, or "eager" in one.  `busy`: it asks for an answer again and again
    instead of sleeping until it is there, which is faster where the server has a processor of its own.
    """
    octets = content(size)
    envelope = [f"mail from:<{SENDER}> size={len(octets)}\r\n".encode()]
    envelope += [f"rcpt to:<{path}>\r\n".encode() for path in recipients(to)]
    chunk, data, message = b"BDAT %d LAST\r\n%b" % (len(octets), octets), b"data\r\n", octets + b".\r\n"
    flights = {
        "step by step": [(line, 1) for line in (*envelope, data, message)],
        "pipelined": [(b"".join([*envelope, data]), to + 2), (message, 1)],
        "eager": [(b"".join([*envelope, chunk]), to + 2)],
    }[way]
    with socket.create_connection((HOST, port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.recv(65536)
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        ask = poll.poll
        sock.sendall(f"ehlo {NAME}\r\n".encode())
        sock.recv(65536)

        def send() -> None:
            for flight, answers in flights:
                sock.send(flight)
                due = answers
                while due > 0:
                    while busy and not ask(0):
                        pass
                    due -= sock.recv(65536).count(b"\n")

        return repeat(send, count)


def smtp_source(program: str, port: int, count: int, to: int, size: int = 2048) -> Figures:
    """Messages over one connection with Postfix's `smtp-source`; the time of its process."""
    command = [program, "-d", "-s", "1", "-m", str(count), "-l", str(size), "-r", str(to)]
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*command, "-f", SENDER, "-t", recipients(1)[0], f"{HOST}:{port}"], check=True)
    seconds, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return Figures(seconds, cpu, count, now.ru_maxrss * 1024)


def once(library: str, port: int, count: int, size: int = 2048, **options: Any) -> Figures:
    """A connection for each message, greeting to goodbye, with what the library has for that."""
    octets, module = content(size), importlib.import_module(library)
    if library == "smtplib":

        def send() -> object:
            with module.SMTP(HOST, port, local_hostname=NAME) as smtp:
                return smtp.sendmail(SENDER, recipients(1), octets)
    else:

        def send() -> object:
            return module.send(
                octets, HOST, port, sender=SENDER, recipients=recipients(1), local_hostname=NAME, **options
            )

    return repeat(send, count)


def coroutine_client(library: str, port: int, options: dict[str, Any]) -> Any:
    """A client that `async with` connects."""
    # Imported by name: the peers are in the extra `bench`, and types are checked without it.
    module = importlib.import_module(library)
    if library == "aiosmtplib":
        return module.SMTP(hostname=HOST, port=port, local_hostname=NAME, start_tls=False)
    return module.SMTP(HOST, port, local_hostname=NAME, **options)


def asynchronous(
    library: str, loop: str, port: int, count: int, to: int, size: int = 2048, typed: bool = False, **options: Any
) -> Figures:
    """Messages over one connection of coroutines, under the loop asyncio, uvloop or trio."""

    async def work() -> Figures:
        octets, message, paths = content(size), email_message(size, to), recipients(to)
        if library == "smtpproto":
            peer = importlib.import_module("smtpproto.client")
            async with peer.AsyncSMTPClient(HOST, port, domain=NAME).connect() as session:
                return await repeat_async(lambda: session.send_message(message, sender=SENDER, recipients=paths), count)
        async with coroutine_client(library, port, options) as smtp:
            if typed:
                return await repeat_async(lambda: smtp.send_message(message), count)
            return await repeat_async(lambda: smtp.sendmail(SENDER, paths, octets), count)

    return under(loop, work)


def crowd(
    library: str, loop: str, port: int, connections: int, count: int, size: int = 2048, **options: Any
) -> Figures:
    """Many connections at once, each sending `count` messages to one recipient; memory is what they add."""

    async def one(octets: bytes) -> None:
        async with coroutine_client(library, port, options) as smtp:
            for _ in range(count):
                await smtp.sendmail(SENDER, recipients(1), octets)

    async def work() -> Figures:
        import asyncio

        octets = content(size)
        await one(octets)
        watch = Stopwatch()
        watch.start()
        await asyncio.gather(*[one(octets) for _ in range(connections)])
        return watch.stop(connections * count)

    return under(loop, work)


def idle(library: str, loop: str, port: int, connections: int, size: int = 2048, **options: Any) -> Figures:
    """Connections that have each sent a message and are kept; memory is what they add."""

    async def work() -> Figures:
        octets = content(size)

        async def one(stack: contextlib.AsyncExitStack) -> None:
            smtp = await stack.enter_async_context(coroutine_client(library, port, options))
            await smtp.sendmail(SENDER, recipients(1), octets)

        async with contextlib.AsyncExitStack() as stack:
            await one(stack)
            watch = Stopwatch()
            watch.start()
            for _ in range(connections):
                await one(stack)
            return watch.stop(connections)

    return under(loop, work)


def under(loop: str, work: Callable[[], Awaitable[Figures]]) -> Figures:
    """Run a coroutine under a loop."""
    if loop == "trio":
        import trio

        return trio.run(work)

    async def main() -> Figures:
        return await work()

    import asyncio

    if loop == "uvloop":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())
    return asyncio.run(main())


# -- a large message ---------------------------------------------------------------------------------------------------


def large(library: str, port: int, path: str, **options: Any) -> Figures:
    """One large message: with `smtplib` from memory, with `smtp_blocking` from the file.  `extra` is memory."""
    module = importlib.import_module(library)
    watch = Stopwatch()
    with module.SMTP(HOST, port, local_hostname=NAME, **options) as smtp:
        smtp.sendmail(SENDER, recipients(1), content(2048))
        if library == "smtplib":
            with Path(path).open("rb") as file:
                octets = file.read()
            watch.start()
            smtp.sendmail(SENDER, recipients(1), octets)
            return watch.stop(len(octets))
        with Path(path).open("rb") as file:
            watch.start()
            smtp.sendmail(SENDER, recipients(1), file)
            return watch.stop(file.tell())


def attachment(library: str, port: int, size: int, **options: Any) -> Figures:
    """One email message with an attachment of so many octets, by `send_message`.  `extra` is memory."""
    module = importlib.import_module(library)
    message, part = email_message(2048, 1), EmailMessage()
    part["Content-Type"], part["Content-Transfer-Encoding"] = "application/octet-stream", "base64"
    part.set_payload(("QUJD" * 19 + "\n") * (size // 57))  # at once, for what making it takes is not what counts
    message.make_mixed()
    message.attach(part)
    watch = Stopwatch()
    with module.SMTP(HOST, port, local_hostname=NAME, **options) as smtp:
        smtp.send_message(email_message(2048, 1))
        watch.start()
        smtp.send_message(message)
        return watch.stop(size)


# -- codecs ------------------------------------------------------------------------------------------------------------


def codec(library: str, work: str, count: int) -> Figures:
    """`count` times one of the works of `benchmarks.codecs`."""
    from benchmarks import codecs

    return repeat(codecs.WORKS[library, work](), count)


# -- the command -------------------------------------------------------------------------------------------------------

JOBS: dict[str, Callable[..., Figures]] = {
    "asynchronous": asynchronous,
    "attachment": attachment,
    "blocking": blocking,
    "blocking_many": blocking_many,
    "codec": codec,
    "crowd": crowd,
    "idle": idle,
    "large": large,
    "limit": limit,
    "once": once,
    "smtp_source": smtp_source,
}


def main(name: str, arguments: str) -> None:
    print(json.dumps(dataclasses.asdict(JOBS[name](**json.loads(arguments)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
