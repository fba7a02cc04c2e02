"""A network that fails as it is told: a proxy between a real client and a real server.

`Faulty` passes on what both sides say.  From a certain octet of one direction on it does what its fault says: it cuts
both connections, resets them, or passes nothing on any more.  Or it changes nothing but the segments: it drips, holds
octets back to send them together, or does that and cuts them at other places.  `Faulty.came` says how many octets have
come by.
"""

from __future__ import annotations

import enum
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

PATIENCE = 10.0  # seconds for threads to end
CHUNK = 65536
QUIET = 0.002  # seconds without an octet, behind which those that are held back are sent


class Fault(enum.Enum):
    """What becomes of a connection."""

    NONE = "passes"
    CUT = "cut"
    RESET = "reset"
    STALL = "stalls"
    DRIP = "drips"
    JOIN = "joins"
    MOVE = "moves"


class Faulty:
    """A proxy for one connection to `host` and `port`, itself on a port of its own.

    The fault befalls what the server says, or with `upwards` what the client says, behind so many octets of it.
    """

    def __init__(
        self, host: str, port: int, fault: Fault = Fault.NONE, behind: int = 0, *, upwards: bool = False
    ) -> None:
        self._target = host, port
        self._fault = fault
        self._behind = behind
        self._upwards = upwards
        self._resources = ExitStack()
        self.came = {True: 0, False: 0}

    def __enter__(self) -> Self:
        self._listener = self._resources.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.host, self.port = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._resources.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # nobody came
        with client, socket.create_connection(self._target) as server:
            ends = client, server
            for end in ends:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up = threading.Thread(target=self._pass_on, args=(client, server, True))
            up.start()
            self._pass_on(server, client, False)
            up.join(PATIENCE)
            if self._fault is Fault.RESET:
                for end in ends:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _pass_on(self, source: socket.socket, target: socket.socket, upwards: bool) -> None:
        faulty = self._fault is not Fault.NONE and self._upwards is upwards
        with suppress(OSError):
            while octets := source.recv(CHUNK):
                left = self._behind - self.came[upwards] if faulty else len(octets)
                self.came[upwards] += len(octets)
                if len(octets) <= left:
                    target.sendall(octets)
                    continue
                target.sendall(octets[: max(left, 0)])
                if self._fault in (Fault.DRIP, Fault.JOIN, Fault.MOVE):
                    for piece in self._pieces(octets[max(left, 0) :], source):
                        target.sendall(piece)
                    continue
                if self._fault is Fault.STALL:
                    continue  # the rest is lost, until the side that waits for it has given up
                break
        # The end of one side is passed on by ending both: SMTP has no half-closed connections.
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _pieces(self, octets: bytes, source: socket.socket) -> Iterator[bytes]:
        """The octets, with those that follow soon, in segments of another size."""
        if self._fault is Fault.DRIP:
            yield from (bytes([octet]) for octet in octets)
            return
        while select.select([source], [], [], QUIET)[0] and (more := source.recv(CHUNK)):
            octets += more
            self.came[self._upwards] += len(more)
        if self._fault is Fault.JOIN:
            yield octets
            return
        sizes = random.Random(len(octets))
        while octets:
            size = sizes.choice((1, 2, 3, 7, 30, 200, 5000))
            yield octets[:size]
            octets = octets[size:]
