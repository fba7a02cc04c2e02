"""Connecting: where to, from where, under which name, and what a refusal leaves behind."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable

import pytest

import smtp_blocking
from smtp_proto.handler import Decision, Handler
from smtp_proto.server_session import ServerSession
from tests.needs import can_listen, needs, needs_ipv6, needs_unix_sockets
from tests.scripted import ExpectEOF, ScriptedServer, Send
from tests.scripts import DELIVERY, GREETING, MESSAGE, PATIENCE, QUIT, hello, opening, turn

from .backends import Backend, Client


class Peers(Handler):
    """Keeps where its clients come from, and the names they give."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    def connect(self, session: ServerSession) -> Decision:
        assert isinstance(session.peer, tuple)
        self.addresses.append(session.peer[0])
        return None


def test_constructor_connects(backend: Backend) -> None:
    """With a host the constructor connects and reads the greeting, and nothing is sent."""
    with ScriptedServer([*GREETING, ExpectEOF()]) as server:
        client = backend.open("SMTP", server.host, server.port, timeout=PATIENCE)
        assert client.sock is not None
        client.close()
    assert server.received_bytes == b""


def test_connect_returns_the_greeting(backend: Backend) -> None:
    """Without a host nothing is connected until `connect`, which returns code and text of the greeting."""
    client = backend.open("SMTP", timeout=PATIENCE)
    assert client.sock is None
    with ScriptedServer([Send(b"220-mx.test ESMTP\r\n220 be polite\r\n"), ExpectEOF()]) as server:
        assert client.connect(server.host, server.port) == (220, b"mx.test ESMTP\nbe polite")
        client.close()


@pytest.mark.parametrize("kind", ["SMTP", "LMTP"])
def test_host_and_port_in_one_string(backend: Backend, kind: str) -> None:
    """``"name:port"`` is taken apart where no port is given."""
    with ScriptedServer([*GREETING, ExpectEOF()], [*GREETING, ExpectEOF()]) as server:
        address = f"localhost:{server.port}"
        # LMTP has a default for the port, so there the string needs an explicit 0.
        client = backend.open(kind, address, 0, timeout=PATIENCE)
        assert client.connect(address) == (220, b"mx.test ESMTP")
        client.close()


@pytest.mark.parametrize("address", ["localhost:smtp", "localhost:", "localhost:2 5x"])
def test_port_that_is_no_number(backend: Backend, address: str) -> None:
    """A port in the string that is no number is an OSError, as in `smtplib`."""
    with pytest.raises(OSError, match="nonnumeric port"):
        backend.open("SMTP", address)
    client = backend.open("SMTP")
    with pytest.raises(OSError, match="nonnumeric port"):
        client.connect(address)


def test_ipv6(backend: Backend) -> None:
    """An IPv6 address is a host, not a host and a port."""
    needs_ipv6()
    with ScriptedServer([*opening(), *QUIT], host="::1") as server:
        client = backend.open("SMTP", "::1", server.port, timeout=PATIENCE)
        assert client.ehlo()[0] == 250
        client.quit()
    # The name of a machine without a dot in its own is the address of the connection (RFC 5321 4.1.3).
    assert server.received[0] in (b"ehlo [IPv6:::1]\r\n", f"ehlo {client.local_hostname}\r\n".encode())


def test_default_ports(backend: Backend) -> None:
    """The ports are those of the registry, with `smtplib`'s names, and a subclass may have its own."""
    module = backend.module
    assert (module.SMTP.default_port, module.SMTP_SSL.default_port) == (25, 465)
    assert (module.SMTP_PORT, module.SMTP_SSL_PORT, module.LMTP_PORT) == (25, 465, 2003)
    assert inspect.signature(module.LMTP).parameters["port"].default == 2003
    with ScriptedServer([*GREETING, ExpectEOF()], [*GREETING, ExpectEOF()]) as server:
        near = type("Near", (module.SMTP,), {"default_port": server.port})
        client = backend.open(near, "127.0.0.1", timeout=PATIENCE)
        assert client.connect("127.0.0.1")[0] == 220
        client.close()


@pytest.mark.parametrize("where", ["constructor", "connect"])
def test_source_address(backend: Backend, where: str) -> None:
    """The connection comes from `source_address`, given to the constructor or to `connect`."""
    needs(can_listen("127.0.0.2"), "127.0.0.2 as a second loopback address")
    peers = Peers()
    with smtp_blocking.Server(peers) as server:
        source = ("127.0.0.2", 0)
        if where == "constructor":
            client = backend.connect(server, source_address=source)
        else:
            client = backend.open("SMTP", timeout=PATIENCE)
            client.connect(server.host, server.port, source_address=source)
        assert client.source_address == source
        client.quit()
    assert peers.addresses == ["127.0.0.2"]


def test_nobody_listens(backend: Backend) -> None:
    """A refused connection is the system's OSError, and leaves an unconnected client."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can get the port meanwhile
        host, port = taken.getsockname()
        with pytest.raises(ConnectionRefusedError):
            backend.open("SMTP", host, port, timeout=PATIENCE)
        client = backend.open("SMTP", timeout=PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            client.connect(host, port)
        assert client.sock is None
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize("code", [554, 421, 451])
def test_greeting_that_refuses(backend: Backend, code: int) -> None:
    """The constructor raises SMTPConnectError with the greeting, and closes."""
    with ScriptedServer([Send(b"%d 5.3.2 not today\r\n" % code), ExpectEOF()]) as server:
        with pytest.raises(backend.module.SMTPConnectError) as raised:
            backend.connect(server)
        assert (raised.value.smtp_code, raised.value.smtp_error) == (code, b"5.3.2 not today")
        assert raised.value.reply.code == code
        assert raised.value.temporary is (code != 554)


def test_connect_returns_a_refusal(backend: Backend) -> None:
    """`connect` returns a greeting that refuses; all that can be said then is QUIT."""
    client = backend.open("SMTP", timeout=PATIENCE)
    with ScriptedServer([Send(b"554 no mail here\r\n"), *QUIT]) as server:
        assert client.connect(server.host, server.port) == (554, b"no mail here")
        assert client.quit() == (221, b"2.0.0 bye")


def test_connecting_again(backend: Backend) -> None:
    """`connect` closes the connection that there is, and what its server offered is forgotten."""
    with ScriptedServer([*opening("SIZE 1000"), ExpectEOF()], [*opening("HELP"), *QUIT]) as server:
        client = backend.connect(server)
        client.ehlo()
        assert client.has_extn("size")
        client.connect(server.host, server.port)
        assert not client.has_extn("size")
        assert not client.does_esmtp
        assert client.ehlo_resp is None
        client.ehlo_or_helo_if_needed()
        assert client.has_extn("help")
        client.quit()


@pytest.mark.parametrize("kind", ["SMTP", "LMTP"])
def test_after_quit_it_can_connect_again(backend: Backend, kind: str) -> None:
    """One client may be used for one server after the other."""
    verb = b"ehlo " if kind == "SMTP" else b"lhlo "
    script = [*GREETING, *hello(verb=verb), *QUIT]
    with ScriptedServer(script, script) as server:
        client = backend.connect(server, kind)
        for _ in range(2):
            assert client.ehlo()[0] == 250
            assert client.quit() == (221, b"2.0.0 bye")
            assert client.sock is None
            if len(server.conversations) == 1:
                client.connect(server.host, server.port)


def test_local_hostname(backend: Backend) -> None:
    """EHLO gives `local_hostname`; `ehlo` and `helo` may be given another name."""
    script = [*GREETING, *turn(b"", b"250 mx.test") * 4, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, local_hostname="me.example") as client:
        assert client.local_hostname == "me.example"
        client.ehlo()
        client.ehlo("other.example")
        client.helo()
        client.helo("[192.0.2.1]")
    lines = [b"ehlo me.example\r\n", b"ehlo other.example\r\n", b"helo me.example\r\n", b"helo [192.0.2.1]\r\n"]
    assert server.received[:4] == lines


def test_local_hostname_by_default(backend: Backend) -> None:
    """Without a name it is the machine's if that has a dot, else an address literal; never empty, always sent as is."""
    with (
        ScriptedServer([*opening(), *QUIT]) as server,
        backend.open("SMTP", server.host, server.port, timeout=PATIENCE) as client,
    ):
        name = client.local_hostname
        client.ehlo()
    assert "." in name or name.startswith("[IPv6:")
    assert server.received[0] == f"ehlo {name}\r\n".encode()


USES: list[Callable[[Client], object]] = [
    lambda client: client.noop(),
    lambda client: client.ehlo(),
    lambda client: client.helo(),
    lambda client: client.rset(),
    lambda client: client.help(),
    lambda client: client.verify("a@b.test"),
    lambda client: client.expn("list"),
    lambda client: client.mail("a@b.test"),
    lambda client: client.rcpt("a@b.test"),
    lambda client: client.data(b"x"),
    lambda client: client.docmd("noop"),
    lambda client: client.putcmd("noop"),
    lambda client: client.getreply(),
    lambda client: client.send(b"noop\r\n"),
    lambda client: client.quit(),
    lambda client: client.ehlo_or_helo_if_needed(),
    lambda client: client.login("user", "password"),
    lambda client: client.starttls(),
    lambda client: client.sendmail("a@b.test", "c@d.test", b"x"),
]


@pytest.mark.parametrize("use", USES, ids=range(len(USES)))
def test_without_a_connection(backend: Backend, use: Callable[[Client], object]) -> None:
    """Every use of a client that is not connected, or not any more, is SMTPServerDisconnected."""
    client = backend.open("SMTP", timeout=PATIENCE)
    with pytest.raises(backend.module.SMTPServerDisconnected, match="connect"):
        use(client)
    with ScriptedServer([*GREETING, ExpectEOF()]) as server:
        client.connect(server.host, server.port)
        client.close()
        with pytest.raises(backend.module.SMTPServerDisconnected, match="connect"):
            use(client)


def test_close(backend: Backend) -> None:
    """`close` says nothing, may be called again, and without a connection."""
    client = backend.open("SMTP", timeout=PATIENCE)
    client.close()
    with ScriptedServer([*GREETING, ExpectEOF()]) as server:
        client.connect(server.host, server.port)
        client.close()
        client.close()
        assert client.sock is None
    assert server.received_bytes == b""


def test_several_clients_at_once(backend: Backend, server: smtp_blocking.Server) -> None:
    """Clients share nothing."""
    clients = [backend.connect(server, local_hostname=f"client{n}.test") for n in range(5)]
    for number, client in enumerate(clients):
        assert client.sendmail(f"a{number}@client.test", "b@mx.test", f"Subject: {number}\r\n\r\n") == {}
    for client in clients:
        client.quit()
    assert [message.sender for message in server.messages] == [f"a{number}@client.test" for number in range(5)]


@pytest.mark.parametrize("server_kind", ["TCP", "Unix socket"])
def test_a_socket_that_is_handed_in(backend: Backend, server_kind: str) -> None:
    """A connected socket may be given instead of an address; it is the client's then, and closed by it."""
    unix = server_kind != "TCP"
    if unix:
        needs_unix_sockets()
    with ScriptedServer([*opening(), *DELIVERY, *QUIT], unix=unix) as server:
        sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        sock.settimeout(PATIENCE)
        sock.connect(server.host if unix else (server.host, server.port))
        with backend.over(sock, local_hostname="client.test") as client:
            assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
        assert sock.fileno() == -1
