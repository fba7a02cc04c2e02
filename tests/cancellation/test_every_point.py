"""Cancelled at any await of any method, a client works on or says at once that it is disconnected."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from importlib import import_module
from typing import Any, NamedTuple

import pytest

import smtp_asyncio
from tests.certificates import client_context
from tests.leaks import open_sockets

from .conftest import Doors
from .stepping import BACKENDS, Backend

# More points than any operation has.
MANY = 1000
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcde\r\n" * 20_000
SMALL = b"Subject: small\r\n\r\nx\r\n"


class World(NamedTuple):
    backend: Backend
    doors: Doors


Operation = Callable[[Any], Awaitable[Any]]
Preparation = Callable[[World], Awaitable[Any]]

OPTIONS: dict[str, Any] = {"local_hostname": "client.test", "timeout": 20}


async def unconnected(world: World) -> Any:
    return world.backend.module.SMTP("127.0.0.1", world.doors.plain, **OPTIONS)


async def unconnected_tls(world: World) -> Any:
    return world.backend.module.SMTP_SSL("127.0.0.1", world.doors.secure, context=client_context(), **OPTIONS)


async def by_name(world: World) -> Any:
    return world.backend.module.SMTP("localhost", world.doors.plain, **OPTIONS)


async def over_stream(world: World) -> Any:
    return world.backend.module.SMTP(stream=await world.backend.stream(world.doors.plain), **OPTIONS)


async def greeted(world: World) -> Any:
    client = await unconnected(world)
    await client.connect(*client._address)
    return client


async def introduced(world: World) -> Any:
    client = await greeted(world)
    await client.ehlo()
    return client


async def introduced_tls(world: World) -> Any:
    client = await unconnected_tls(world)
    await client.connect(*client._address)
    await client.ehlo()
    return client


async def introduced_lmtp(world: World) -> Any:
    client = world.backend.module.LMTP("127.0.0.1", world.doors.plain, **OPTIONS)
    await client.connect(*client._address)
    await client.ehlo()
    return client


async def introduced_over_stream(world: World) -> Any:
    client = await over_stream(world)
    await client.connect()
    await client.ehlo()
    return client


async def in_transaction(world: World) -> Any:
    client = await introduced(world)
    await client.mail("a@client.test")
    await client.rcpt("b@mx.test")
    return client


async def owed_a_reply(world: World) -> Any:
    client = await introduced(world)
    await client.putcmd("noop", "owed")
    return client


def email() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@client.test", "b@mx.test", "message"
    message.set_content("x\n")
    return message


def sending(message: bytes, *to: str) -> Operation:
    return lambda client: client.sendmail("a@client.test", list(to) or ["b@mx.test"], message)


def sending_once(**options: Any) -> Operation:
    """`send`, beside a client that knows the port, and has nothing to do with it."""

    def operate(client: Any) -> Awaitable[Any]:
        send = import_module(type(client).__module__).send
        addresses = {"sender": "a@client.test", "recipients": ["b@mx.test", "c@mx.test"]}
        sent: Awaitable[Any] = send(SMALL, "127.0.0.1", client._port, **addresses, **OPTIONS, **options)
        return sent

    return operate


async def with_override(client: Any) -> None:
    """Step by step, through a method that somebody has made their own."""

    async def rcpt(recipient: str, options: Any = ()) -> Any:
        await client.noop()
        return await type(client).rcpt(client, recipient, options)

    client.rcpt = rcpt
    try:
        await client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], SMALL)
    finally:
        del client.rcpt


OPERATIONS: dict[str, tuple[Preparation, Operation]] = {
    "connect": (unconnected, lambda client: client.connect(*client._address)),
    "connect by name": (by_name, lambda client: client.connect(*client._address)),
    "connect with TLS": (unconnected_tls, lambda client: client.connect(*client._address)),
    "connect over a stream": (over_stream, lambda client: client.connect()),
    "connect again": (introduced, lambda client: client.connect(*client._address)),
    "enter": (unconnected, lambda client: client.__aenter__()),
    "leave": (introduced, lambda client: client.__aexit__(None, None, None)),
    "leave with TLS": (introduced_tls, lambda client: client.__aexit__(None, None, None)),
    "ehlo": (greeted, lambda client: client.ehlo()),
    "helo": (greeted, lambda client: client.helo()),
    "ehlo_or_helo_if_needed": (greeted, lambda client: client.ehlo_or_helo_if_needed()),
    "help": (introduced, lambda client: client.help("me")),
    "noop": (introduced, lambda client: client.noop()),
    "noop with TLS": (introduced_tls, lambda client: client.noop()),
    "noop over a stream": (introduced_over_stream, lambda client: client.noop()),
    "rset": (in_transaction, lambda client: client.rset()),
    "_rset": (in_transaction, lambda client: client._rset()),
    "verify": (introduced, lambda client: client.verify("somebody")),
    "vrfy": (introduced, lambda client: client.vrfy("somebody")),
    "expn": (introduced, lambda client: client.expn("list")),
    "docmd": (introduced, lambda client: client.docmd("xodd", "thing")),
    "putcmd": (introduced, lambda client: client.putcmd("noop", "put")),
    "send by hand": (introduced, lambda client: client.send("noop sent\r\n")),
    "getreply": (owed_a_reply, lambda client: client.getreply()),
    "mail": (introduced, lambda client: client.mail("a@client.test")),
    "rcpt": (in_transaction, lambda client: client.rcpt("c@mx.test")),
    "data": (in_transaction, lambda client: client.data(LARGE)),
    "sendmail": (introduced, sending(SMALL, "b@mx.test", "c@mx.test")),
    "sendmail of much": (introduced, sending(LARGE)),
    "sendmail with TLS": (introduced_tls, sending(LARGE)),
    "sendmail over a stream": (introduced_over_stream, sending(LARGE)),
    "sendmail in LMTP": (introduced_lmtp, sending(SMALL, "b@mx.test", "c@mx.test")),
    "sendmail with an override": (introduced, with_override),
    "send_message": (introduced, lambda client: client.send_message(email())),
    "deliver": (introduced, lambda client: client.deliver(email())),
    "send": (introduced, sending_once()),
    "send with a log-in": (
        introduced,
        sending_once(user="user", password="password", tls="required", context=client_context()),
    ),
    "starttls": (introduced, lambda client: client.starttls(context=client_context())),
    "auth": (introduced, lambda client: client.auth("LOGIN", lambda challenge=None: "x", initial_response_ok=False)),
    "login": (introduced, lambda client: client.login("user", "password")),
    "quit": (introduced, lambda client: client.quit()),
    "quit with TLS": (introduced_tls, lambda client: client.quit()),
    "close": (introduced, lambda client: client.close()),
    "close with TLS": (introduced_tls, lambda client: client.close()),
    "close over a stream": (introduced_over_stream, lambda client: client.close()),
}


async def used_again(world: World, client: Any, token: str, due: bool) -> None:
    """The client has the right reply to a command, or none at once; connected anew, it has the right one."""
    module = world.backend.module
    try:
        if due:  # a reply that was asked for, and not read: the next one must be it
            assert await client.getreply() in OWED
        assert await client.docmd("xagain", token) == (250, f"xagain {token}".encode())
    except module.SMTPServerDisconnected:
        assert client.sock is None
        await client.connect("127.0.0.1", world.doors.secure if "SSL" in type(client).__name__ else world.doors.plain)
        assert await client.docmd("xanew", token) == (250, f"xanew {token}".encode())
    await client.close()


# What may have no point: writing what the socket takes at once, and reading what has arrived by then.
AT_ONCE = {"putcmd", "send by hand", "getreply", "connect over a stream"}
OWED = [(250, b"noop put"), (250, b"noop sent"), (250, b"noop owed"), (220, b"echo")]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_cancelled_at_every_point(backend: Backend, operation: str, doors: Doors, points: list[str]) -> None:
    """Each await of the operation in turn is where it is cancelled; whatever is left then is a client in step."""
    prepare, operate = OPERATIONS[operation]
    world = World(backend, doors)

    async def main() -> None:
        await used_again(world, await prepare(world), "first", due=operation == "getreply")
        await backend.pause()
        sockets, tasks = open_sockets(), backend.tasks()
        for at in itertools.count(1):
            assert at < MANY
            client = await prepare(world)
            attempt = await backend.attempt(operate(client), at)  # type: ignore[arg-type]  # they are coroutines
            # A cancellation is never swallowed.  trio and anyio deliver none where all of the work is done.
            assert attempt.cancelled or not (attempt.struck and backend.module is smtp_asyncio)
            if attempt.struck:
                points.append(backend.name)
            # What `send` has written by hand is answered, and nobody but its caller knows that.
            due = client._session is not None and (
                bool(client._session.connection.waiting) or (operation == "send by hand" and not attempt.cancelled)
            )
            await used_again(world, client, f"at {at}", due)
            await backend.pause()
            assert open_sockets() == sockets
            assert backend.tasks() == tasks
            if not attempt.struck:
                break

    backend.run(main)
    assert points or operation in AT_ONCE, "there was no point to cancel it at"
