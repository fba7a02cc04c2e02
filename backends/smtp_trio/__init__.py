"""SMTP for trio, and with nothing but trio: `smtplib`'s names, arguments, results and exceptions, as coroutines.

``async with smtp_trio.SMTP(host, port) as smtp:`` connects, and says QUIT at the end.  Anything may be cancelled at any
time, by `trio.move_on_after` for instance: a reply is never taken for the answer to another command than its own.
The calls of several tasks that use one client queue.
"""

from __future__ import annotations

import socket
import ssl

try:
    import trio
except ImportError as error:
    raise ImportError("smtp_trio needs trio: pip install 'sansio-smtp[trio]'") from error

from smtp_surface import kinds, names, once
from smtp_surface.names import *  # noqa: F403  # the same in every backend
from smtp_surface.socket_client import ByteStream, Loop, SocketSMTP
from smtp_surface.socket_server import SocketServer

__all__ = ["LMTP", "SMTP", "SMTP_SSL", "Server", "default_ssl_context", "in_memory", "memory_pair", "send", "serve"]
__all__ += names.__all__

#: Makes the context where none is given; replace it to change what a whole program verifies.
default_ssl_context = ssl.create_default_context

#: What trio brings to `smtp_surface.sockets`.
LOOP = Loop(
    wait_readable=trio.lowlevel.wait_readable,
    wait_writable=trio.lowlevel.wait_writable,
    notify_closing=trio.lowlevel.notify_closing,
    checkpoint=trio.lowlevel.checkpoint,
    checkpoint_if_cancelled=trio.lowlevel.checkpoint_if_cancelled,
    cancel_shielded_checkpoint=trio.lowlevel.cancel_shielded_checkpoint,
    move_on_after=trio.move_on_after,
    task_group=trio.open_nursery,
    event=trio.Event,
    lock=trio.Lock,
    token=trio.lowlevel.current_trio_token,
    sleep=trio.sleep,
    getaddrinfo=trio.socket.getaddrinfo,
    broken=(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError),
    end=trio.EndOfChannel,
)


class _Stream:
    """A stream of trio's, with the names that `smtp_surface.streams` uses."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.receive = stream.receive_some
        self.send = stream.send_all
        self.aclose = stream.aclose


class SMTP(SocketSMTP):
    """A connection to an SMTP server, for trio's loop; see `smtp_surface.asynchronous.AsyncSMTP`.

    `stream` may be any `trio.abc.Stream`; over a `trio.SocketStream` nothing is lost, over others what
    `smtp_surface.streams` says.
    """

    LOOP = LOOP
    _home = "trio's event loop"

    def _default_context(self) -> ssl.SSLContext:
        return default_ssl_context()

    def _stream(self, given: object) -> socket.socket | ByteStream | None:
        if isinstance(given, trio.SocketStream):
            # The socket alone can do more than the stream, which has nothing of its own.
            return socket.socket(fileno=given.socket.detach())
        return _Stream(given) if isinstance(given, trio.abc.Stream) else None


class SMTP_SSL(kinds.OverTLS, SMTP):  # the name is `smtplib`'s
    __doc__ = kinds.OverTLS.__doc__


class LMTP(kinds.OverLMTP, SMTP):
    __doc__ = kinds.OverLMTP.__doc__


class Server(SocketServer):
    __doc__ = SocketServer.__doc__

    LOOP, CLIENT = LOOP, SMTP


serve, in_memory, memory_pair = Server.serve, Server.in_memory, Server.memory_pair
send = once.AsyncOnce(SMTP, LMTP).send
