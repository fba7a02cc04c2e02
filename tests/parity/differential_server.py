"""The server of the differential test: answers every line from a script, in the thread of the client that wrote it.

The client's end of a socket pair runs the server whenever something was written to it, so that by the time the client
reads, all that will ever come is there.  A server in a thread of its own would be nearer to a network, and would make
what a client sees of a hang-up a matter of luck: two runs could not be compared.  Races have tests of their own, in
`tests/conformance`.  For the same reason nobody waits here: where nothing has come, nothing will, and the wait ends as
if its time were up.

A script has a list of answers for each kind of line, not one list for all: so a command that one client sends and the
other does not (an RSET, say) leaves all the other answers where they were.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

#: What a line can be.  "greeting" is no line; "." is the end of a message with all of it, "response" one in AUTH.
KINDS = (
    "greeting",
    "EHLO",
    "LHLO",
    "HELO",
    "MAIL",
    "RCPT",
    "DATA",
    ".",
    "RSET",
    "NOOP",
    "HELP",
    "VRFY",
    "EXPN",
    "AUTH",
    "response",
    "STARTTLS",
    "QUIT",
    "other",
)
USUAL = {"greeting": 220, "DATA": 354, "AUTH": 235, "response": 235, "STARTTLS": 454, "QUIT": 221}

# How much is written at once: less than the buffer of any system's socket pair, so that no write ever has to wait.
_AT_ONCE = 4096


class Say(NamedTuple):
    """One answer, as octets: empty for none; `hang_up` closes the connection behind it."""

    octets: bytes
    hang_up: bool = False

    @property
    def code(self) -> int:
        """The code as `smtplib` reads it, that of the last line; -1 if that has none."""
        lines = self.octets.split(b"\n")
        line = lines[-2] if len(lines) > 1 else lines[0]
        return int(line[:3]) if line[:3].isdigit() else -1


Script = Mapping[str, tuple[Say, ...]]


class Exchange(NamedTuple):
    """One line (or message) that the server received, and what it said to it."""

    kind: str
    request: bytes
    said: Say


class Server:
    """All connections of one client in one conversation; `exchanges` is what was said, in order."""

    def __init__(self, script: Script) -> None:
        self.exchanges: list[Exchange] = []
        self._left = {kind: deque(script.get(kind, ())) for kind in KINDS}
        self._connections: list[_Connection] = []
        self._clients: list[ScriptedSocket] = []

    def connect(self) -> ScriptedSocket:
        """A new connection; the greeting is on its way already."""
        ours, theirs = socket.socketpair()
        client = ScriptedSocket(theirs.family, theirs.type, theirs.proto, theirs.detach())
        client.connection = _Connection(self, ours)
        self._clients.append(client)
        self._connections.append(client.connection)
        client.connection.answer("greeting", b"")
        return client

    def close(self) -> None:
        """Close what anybody has left open."""
        for client in self._clients:
            client.close()
        for connection in self._connections:
            connection.close()

    def next(self, kind: str, request: bytes) -> Say:
        """What to say to this line."""
        left = self._left[kind]
        # One answer to all RSETs: the two clients need not send equally many of them.
        said = (left[0] if kind == "RSET" else left.popleft()) if left else Say(b"%d ok\r\n" % USUAL.get(kind, 250))
        self.exchanges.append(Exchange(kind, request, said))
        return said


class _Connection:
    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._socket = sock
        self._unread = b""
        self._mode = "command"

    def pump(self) -> None:
        """Take what has come and answer it."""
        while self._socket.fileno() >= 0:
            try:
                received = self._socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                received = b""
            if not received:
                self.close()
                return
            self._unread += received
            while self._socket.fileno() >= 0 and self._take():
                pass

    def _take(self) -> bool:
        """Answer one line or message; False if none is complete."""
        if self._mode == "data":
            kind = "."
            # The line end of DATA counts (RFC 5321 4.1.1.4), so a message may begin with its end.
            before, found, _ = (b"\r\n" + self._unread).partition(b"\r\n.\r\n")
            end = len(before) + 3 if found else 0
        else:
            end = self._unread.find(b"\n") + 1
            kind = "response" if self._mode == "auth" else _kind(self._unread[:end])
        if not end:
            return False
        request, self._unread = self._unread[:end], self._unread[end:]
        self._mode = "command"
        said = self.answer(kind, request)
        if kind == "DATA" and said.code == 354:
            self._mode = "data"
        elif kind in ("AUTH", "response") and said.code == 334:
            self._mode = "auth"
        return True

    def answer(self, kind: str, request: bytes) -> Say:
        said = self._server.next(kind, request)
        with suppress(OSError):  # a client that has hung up
            if said.octets:
                self._socket.sendall(said.octets)
        if said.hang_up:
            self.close()
        return said

    def close(self) -> None:
        self._socket.close()


def _kind(line: bytes) -> str:
    word = line.split(None, 1)[0].decode("latin-1").upper() if line.strip() else ""
    return word if word in KINDS else "other"


class ScriptedSocket(socket.socket):
    """The client's end: a real socket that lets the server run behind every write."""

    connection: _Connection

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        sent = super().send(memoryview(data)[:_AT_ONCE], flags)
        self.connection.pump()
        return sent

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        view = memoryview(data)
        while view:
            view = view[self.send(view, flags) :]

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        # `smtplib` reads through this, and would wait for ever for what no script will say.
        try:
            return super().recv_into(buffer, nbytes, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            raise TimeoutError("timed out") from None
