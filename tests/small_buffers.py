"""Sockets that take only a few kilobytes in each direction, at both ends: what it takes for two writers to wait."""

from __future__ import annotations

import socket

from tests.conformance.backends import Backend, Client, Server
from tests.scripted import Conversation
from tests.scripts import PATIENCE

SMALL = 4096
# A server's socket is there before it can be made small, and takes some 64 KB of what comes first; and a client whose
# server waits for it must fill that, too.
FULL = 1000


def recipients(domain: str = "mx.test") -> list[str]:
    """So many, and so long, that their commands fill the buffers on the way, as the answers to them do."""
    return [f"b{number}.{'x' * 180}@{domain}" for number in range(FULL)]


ANSWER = b"250 2.1.5 " + b"x" * 180 + b"\r\n"


def shrink(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)


class Shrink:
    """A step: small buffers at the server's end."""

    def play(self, conversation: Conversation) -> None:
        shrink(conversation._socket)


def client_of(backend: Backend, server: Server) -> Client:
    """A client with small buffers."""
    sock = socket.socket()
    shrink(sock)
    # The loopback's segments are larger than such buffers: TCP would wait before it sends a part of one.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    sock.settimeout(PATIENCE)
    sock.connect((server.host, server.port))
    return backend.over(sock, local_hostname="client.test", timeout=PATIENCE, server_hostname="localhost")
