"""SMTP for asyncio, on its own loop and on uvloop: `smtplib`'s names, arguments, results and exceptions, as coroutines.

``async with smtp_asyncio.SMTP(host, port) as smtp:`` connects, and says QUIT at the end.  Anything may be cancelled at
any time, by `asyncio.timeout` for instance: a reply is never taken for the answer to another command than its own.
Several tasks may use one client: their calls queue.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from smtp_surface import kinds, names, once
from smtp_surface.async_driver import AsyncTransport
from smtp_surface.asynchronous import AsyncSMTP
from smtp_surface.names import *  # noqa: F403  # the same in every backend

from .server import LoopServer
from .tasks import Tasks
from .transport import StreamTransport

__all__ = ["LMTP", "SMTP", "SMTP_SSL", "Server", "default_ssl_context", "in_memory", "memory_pair", "send", "serve"]
__all__ += names.__all__

#: Makes the context where none is given; replace it to change what a whole program verifies.
default_ssl_context = ssl.create_default_context


class SMTP(AsyncSMTP):
    """A connection to an SMTP server, for asyncio's loop or uvloop's; see `smtp_surface.asynchronous.AsyncSMTP`.

    `stream` may be what `asyncio.open_connection` gives, a pair of reader and writer.
    """

    _home = "asyncio's event loop"

    def _default_context(self) -> ssl.SSLContext:
        return default_ssl_context()

    _new_lock, _new_event, _new_task_group = asyncio.Lock, asyncio.Event, Tasks
    _running_loop = staticmethod(asyncio.get_running_loop)

    async def _pause(self) -> None:
        await asyncio.sleep(0)

    def _new_transport(self) -> AsyncTransport:
        return StreamTransport(self.source_address)

    async def _transport_over(self, given: Any) -> AsyncTransport:
        if isinstance(given, socket.socket):
            return await StreamTransport.of_socket(given)
        match given:
            case (asyncio.StreamReader() as reader, asyncio.StreamWriter() as writer):
                return await StreamTransport.of_streams(reader, writer)
        raise TypeError(f"a socket, a pair of streams or a transport can be handed in, not {type(given).__name__}")


class SMTP_SSL(kinds.OverTLS, SMTP):  # the name is `smtplib`'s
    __doc__ = kinds.OverTLS.__doc__


class LMTP(kinds.OverLMTP, SMTP):
    __doc__ = kinds.OverLMTP.__doc__


class Server(LoopServer):
    __doc__ = LoopServer.__doc__

    CLIENT = SMTP


serve, in_memory, memory_pair = Server.serve, Server.in_memory, Server.memory_pair
send = once.AsyncOnce(SMTP, LMTP).send
