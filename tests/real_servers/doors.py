"""The ways in to the servers: each a port and what a client has to do there before it may send mail."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from smtp_blocking.transport import SocketTransport
from smtp_proto.client import ClientConnection
from smtp_proto.commands import Mail, Rcpt
from smtp_proto.outcome import Outcome
from smtp_proto.session import ClientSession
from smtp_proto.states import Stage
from smtp_proto.transaction import deliver
from smtp_surface.driver import BlockingDriver
from tests import certificates
from tests.conformance.backends import BACKENDS, Backend, Client

from .mailboxes import PASSWORDS, MailServer
from .processes import HOST

TIMEOUT = 30.0  # seconds for each wait; a real server that is busy may take some of them

SENDER = "ada@client.test"


BLOCKING = BACKENDS[0]


def plain(server: MailServer, port: str, pipelining: bool, backend: Backend = BLOCKING) -> Client:
    """A client in the clear."""
    return backend.open("SMTP", HOST, server.ports[port], timeout=TIMEOUT, pipelining=pipelining)


def starttls(server: MailServer, port: str, pipelining: bool, backend: Backend = BLOCKING) -> Client:
    """A client behind STARTTLS, the certificate verified."""
    client = plain(server, port, pipelining, backend)
    try:
        client.starttls(context=certificates.client_context())
    except BaseException:
        client.close()
        raise
    return client


def implicit_tls(server: MailServer, port: str, pipelining: bool, backend: Backend = BLOCKING) -> Client:
    """A client with TLS from the start, the certificate verified."""
    context = certificates.client_context()
    options = {"timeout": TIMEOUT, "context": context, "pipelining": pipelining}
    return backend.open("SMTP_SSL", HOST, server.ports[port], **options)


def lmtp(server: MailServer, port: str, pipelining: bool, backend: Backend = BLOCKING) -> Client:
    """A client of LMTP over TCP."""
    return backend.open("LMTP", HOST, server.ports[port], timeout=TIMEOUT, pipelining=pipelining)


def lmtp_unix(server: MailServer, port: str, pipelining: bool, backend: Backend = BLOCKING) -> Client:
    """A client of LMTP over a Unix socket."""
    return backend.open("LMTP", str(server.path), timeout=TIMEOUT, pipelining=pipelining)


class Door(NamedTuple):
    """A server (the name of its fixture), a port, a way to connect, and whether to log in."""

    server: str
    port: str
    connect: Callable[[MailServer, str, bool, Backend], Client]
    login: bool = False


DOORS = {
    "postfix plain": Door("postfix", "plain", plain),
    "postfix starttls login": Door("postfix", "submission", starttls, True),
    "postfix tls login": Door("postfix", "smtps", implicit_tls, True),
    "exim plain": Door("exim", "plain", plain),
    "exim starttls": Door("exim", "plain", starttls),
    "exim tls": Door("exim", "tls", implicit_tls),
    "dovecot lmtp": Door("dovecot", "lmtp", lmtp),
    "dovecot lmtp unix": Door("dovecot", "unix", lmtp_unix),
}


class OpenDoor(NamedTuple):
    """A door of a server that is running, and whose clients go through it."""

    kind: Door
    server: MailServer
    pipelining: bool
    backend: Backend = BLOCKING

    def connect(self) -> Client:
        """A client that may send."""
        client = self.kind.connect(self.server, self.kind.port, self.pipelining, self.backend)
        if self.kind.login:
            try:
                client.login("user00", PASSWORDS["user00"])
            except BaseException:
                client.close()
                raise
        return client


def chunked(
    server: MailServer, port: str, recipients: Sequence[str], message: bytes, *, pipelining: bool, lmtp: bool = False
) -> tuple[Outcome, bool]:
    """One message with BDAT (RFC 3030), by the core over a socket, for `sendmail` has no way to ask for it.

    Returns what became of it, and whether the connection can be used on.
    """
    transport = SocketTransport(socket.create_connection((HOST, server.ports[port]), TIMEOUT))
    try:
        driver = BlockingDriver(transport, dict.fromkeys(Stage, TIMEOUT))
        session = ClientSession(ClientConnection(lmtp=lmtp))
        assert driver.run(session.greet()).code == 220
        assert driver.run(session.hello("client.test")).code == 250
        flow = deliver(
            session, Mail(SENDER), [Rcpt(to) for to in recipients], message, pipelining=pipelining, chunking=True
        )
        outcome = driver.run(flow)
        in_step = not session.connection.closed and driver.run(session.quit()).code == 221
    finally:
        transport.close()
    return outcome, in_step
