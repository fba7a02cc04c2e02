"""The TLS pump: two ends joined in memory, and the whole of a session with STARTTLS through them."""

from __future__ import annotations

import ssl

import pytest

from smtp_proto import (
    NEED_DATA,
    PAUSED,
    ClientConnection,
    CommandReceived,
    Ehlo,
    Noop,
    Reply,
    ReplyReceived,
    ServerConnection,
    StartTLS,
    State,
)
from smtp_proto.tls import TLSPump
from tests import certificates


def pair(client_context: ssl.SSLContext | None = None) -> tuple[TLSPump, TLSPump]:
    client = TLSPump(client_context or certificates.client_context(), "localhost")
    return client, TLSPump(certificates.server_context(), server_side=True)


def carry(source: TLSPump, target: TLSPump, size: int = 0) -> None:
    """Move what `source` puts out, whole or in pieces of `size`."""
    octets = source.data_to_send()
    for start in range(0, len(octets), size or len(octets) or 1):
        target.receive_data(octets[start : start + (size or len(octets))])


def shake_hands(client: TLSPump, server: TLSPump, size: int = 0) -> None:
    for _ in range(10):
        done = client.handshake()
        carry(client, server, size)
        done = server.handshake() and done
        carry(server, client, size)
        if done:
            return
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize("size", [0, 1, 100])
def test_octets_arrive_as_they_were_sent(size: int) -> None:
    client, server = pair()
    shake_hands(client, server, size)
    assert client.established
    assert server.established
    assert client.ssl_object.version() in ("TLSv1.2", "TLSv1.3")
    message = bytes(range(256)) * 400  # several records
    client.write(message)
    carry(client, server, size * 1000)
    assert server.read() == message
    assert server.read() is None
    # A session ticket is no data.
    assert client.read() is None


def test_close_notify_is_an_end_and_truncation_says_so() -> None:
    client, server = pair()
    shake_hands(client, server)
    client.write(b"last words")
    client.close()
    carry(client, server)
    assert server.read() == b"last words"
    assert server.read() == b""
    assert not server.truncated
    server.close()
    assert server.read() == b""

    client, server = pair()
    shake_hands(client, server)
    client.write(b"cut")
    carry(client, server)
    server.receive_eof()
    assert server.read() == b"cut"
    assert server.truncated
    server.close()


def test_a_certificate_that_is_not_trusted_fails_and_says_so_to_the_peer() -> None:
    client, server = pair(ssl.create_default_context())
    assert not client.handshake()
    carry(client, server)
    assert not server.handshake()
    carry(server, client)
    with pytest.raises(ssl.SSLCertVerificationError):
        client.handshake()
    carry(client, server)
    with pytest.raises(ssl.SSLError):
        server.handshake()


def test_a_session_over_starttls() -> None:
    client, server = ClientConnection(), ServerConnection()

    def in_clear() -> None:
        for chunk in client.data_to_send():
            server.receive_data(chunk)
        for chunk in server.data_to_send():
            client.receive_data(chunk)

    server.send(Reply(220))
    in_clear()
    assert isinstance(client.next_event(), ReplyReceived)
    for command, reply in ((Ehlo("c"), Reply(250, "s\nSTARTTLS")), (StartTLS(), Reply(220))):
        client.send(command)
        in_clear()
        assert server.next_event() == CommandReceived(command)
        server.send(reply)
        in_clear()
        assert isinstance(client.next_event(), ReplyReceived)
    assert client.next_event() is PAUSED
    assert server.next_event() is PAUSED

    client_pump, server_pump = pair()
    shake_hands(client_pump, server_pump)
    client.tls_established()
    server.tls_established()
    assert client.extensions is None
    assert client.state is server.state is State.CONNECTED

    client.send(Noop())
    for chunk in client.data_to_send():
        client_pump.write(chunk)
    carry(client_pump, server_pump)
    server.receive_data(server_pump.read() or b"")
    assert server.next_event() == CommandReceived(Noop())
    server.send(Reply(250, "2.0.0 hidden"))
    for chunk in server.data_to_send():
        server_pump.write(chunk)
    carry(server_pump, client_pump)
    client.receive_data(client_pump.read() or b"")
    event = client.next_event()
    assert isinstance(event, ReplyReceived)
    assert event.reply == Reply(250, "2.0.0 hidden")
    assert client.next_event() is NEED_DATA
