"""SMTP for anyio, on asyncio and on trio: `smtplib`'s names, arguments, results and exceptions, as coroutines.

``async with smtp_anyio.SMTP(host, port) as smtp:`` connects, and says QUIT at the end.  Anything may be cancelled at
any time, by `anyio.move_on_after` for instance: a reply is never taken for the answer to another command than its own.
Several tasks may use one client: their calls queue.
"""

from __future__ import annotations

import socket
import ssl

try:
    import anyio
    import anyio.abc
    import anyio.lowlevel
except ImportError as error:
    raise ImportError("smtp_anyio needs anyio: pip install 'sansio-smtp[anyio]'") from error

from smtp_surface import kinds, names, once, socket_server
from smtp_surface.names import *  # noqa: F403  # the same in every backend
from smtp_surface.socket_client import ByteStream, Loop, SocketSMTP

__all__ = ["LMTP", "SMTP", "SMTP_SSL", "Server", "default_ssl_context", "in_memory", "memory_pair", "send", "serve"]
__all__ += names.__all__

#: What anyio brings to `smtp_surface.sockets`.
LOOP = Loop(
    wait_readable=anyio.wait_readable,
    wait_writable=anyio.wait_writable,
    notify_closing=anyio.notify_closing,
    checkpoint=anyio.lowlevel.checkpoint,
    checkpoint_if_cancelled=anyio.lowlevel.checkpoint_if_cancelled,
    cancel_shielded_checkpoint=anyio.lowlevel.cancel_shielded_checkpoint,
    move_on_after=anyio.move_on_after,
    task_group=anyio.create_task_group,
    event=anyio.Event,
    lock=anyio.Lock,
    token=lambda: anyio.lowlevel.current_token().native_token,
    sleep=anyio.sleep,
    getaddrinfo=anyio.getaddrinfo,
    broken=(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.BusyResourceError),
    end=anyio.EndOfStream,
)


#: Makes the context where none is given; replace it to change what a whole program verifies.
default_ssl_context = ssl.create_default_context


class SMTP(SocketSMTP):
    """A connection to an SMTP server, for asyncio's loop or trio's; see `smtp_surface.asynchronous.AsyncSMTP`.

    `stream` may be any `anyio.abc.ByteStream`, with what `smtp_surface.streams` says of it.
    """

    LOOP = LOOP
    _home = "an event loop of asyncio or trio"

    def _default_context(self) -> ssl.SSLContext:
        return default_ssl_context()

    def _stream(self, given: object) -> socket.socket | ByteStream | None:
        return given if isinstance(given, anyio.abc.ByteStream) else None


class SMTP_SSL(kinds.OverTLS, SMTP):  # the name is `smtplib`'s
    __doc__ = kinds.OverTLS.__doc__


class LMTP(kinds.OverLMTP, SMTP):
    __doc__ = kinds.OverLMTP.__doc__


class Server(socket_server.SocketServer):
    __doc__ = socket_server.SocketServer.__doc__

    LOOP, CLIENT = LOOP, SMTP


serve, in_memory, memory_pair = Server.serve, Server.in_memory, Server.memory_pair
send = once.AsyncOnce(SMTP, LMTP).send
