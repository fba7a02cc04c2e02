"""The client's STARTTLS (RFC 3207)."""

from __future__ import annotations

import ssl

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import StartTLS as StartTLSCommand
from smtp_proto.effects import Flow, Poll, StartTLS
from smtp_proto.errors import RemoteProtocolError
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings
from smtp_proto.session import ClientSession
from smtp_proto.states import State
from smtp_proto.transcript import Said

from .flows import Joined, Scripted, at_random, in_step, introduced, single, whole
from .serving import Deciding


@pytest.fixture
def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def test_start_tls_forgets_what_was_learnt_in_clear(context: ssl.SSLContext) -> None:
    """After the 220 comes the handshake, with the context and name given, and then the state before EHLO."""
    said: list[Said] = []
    session = introduced(observe=said.append)
    peer = Scripted([b"220 go ahead\r\n"])
    assert peer.run(session.start_tls(context, "mx.test")).code == 220
    assert peer.written == b"STARTTLS\r\n"
    assert [(effect.context, effect.server_hostname, effect.server_side) for effect in peer.handshakes] == [
        (context, "mx.test", False)
    ]
    assert isinstance(peer.effects[-1], StartTLS)
    assert session.connection.state is State.CONNECTED
    assert session.connection.extensions is None
    assert str(said[-1]) == "*: TLS established with mx.test"


def test_start_tls_against_the_real_server(context: ssl.SSLContext) -> None:
    """Both ends begin the handshake behind the same octet, whatever way the octets come."""
    for pieces in (whole, single, at_random(2)):
        session = ClientSession(ClientConnection())
        server = ServerSession(ServerConnection(), Deciding(), Settings(tls_context=context))

        def conversation(session: ClientSession) -> Flow[int]:
            yield from session.greet()
            yield from session.hello("client.test")
            yield from session.start_tls(context, "mx.test")
            reply = yield from session.hello("client.test")
            yield from session.quit()
            return len(reply.lines)

        joined = Joined(conversation(session), server.run(), pieces=pieces)
        assert joined.run() > 1
        assert server.tls
        assert joined.client.handshakes == joined.server.handshakes == 1
        assert joined.client.heard.count(b"STARTTLS") == 1  # offered once, not again over TLS


@pytest.mark.parametrize("failing", [False, True])
def test_what_is_to_be_done_as_soon_as_tls_is_there(failing: bool, context: ssl.SSLContext) -> None:
    """`then` is called behind the handshake, before any effect; if it fails, the connection is aborted."""
    session = introduced()
    peer = Scripted([b"220 go ahead\r\n"])
    states: list[State] = []

    def then() -> None:
        states.append(session.connection.state)
        if failing:
            raise ZeroDivisionError

    def conversation() -> Flow[None]:
        yield from session.command(StartTLSCommand())
        yield from session.secure(context, "mx.test", then)

    if failing:
        with pytest.raises(ZeroDivisionError):
            peer.run(conversation())
    else:
        peer.run(conversation())
    assert states == [State.CONNECTED]
    assert isinstance(peer.effects[-1], StartTLS)
    assert session.connection.closed is failing


@pytest.mark.parametrize("code", [454, 501, 502])
def test_a_refused_starttls_leaves_the_session_in_the_clear(code: int, context: ssl.SSLContext) -> None:
    """A refusal before the 220 is returned: no handshake, and the session is usable as it was."""
    session = introduced()
    peer = Scripted([b"%d no\r\n" % code])
    assert peer.run(session.start_tls(context)).code == code
    assert peer.handshakes == []
    assert session.connection.extensions is not None
    assert in_step(session)


def test_starttls_answered_with_421(context: ssl.SSLContext) -> None:
    """A 421 closes instead."""
    session = introduced()
    peer = Scripted([b"421 bye\r\n"])
    assert peer.run(session.start_tls(context)).code == 421
    assert peer.handshakes == []
    assert session.connection.closed


@pytest.mark.parametrize("injected", [b"250 injected\r\n", b"2", b"\x16\x03\x01"])
@pytest.mark.parametrize("later", [False, True])
def test_injected_octets_never_reach_the_secured_session(injected: bytes, later: bool, context: ssl.SSLContext) -> None:
    """An octet in the clear behind the 220, in its segment or in a later one, is an error, and no handshake follows."""
    session = introduced()
    peer = Scripted(
        [b"220 go ahead\r\n" + (b"" if later else injected)], polls=[None, injected] if later else [None, None]
    )
    with pytest.raises(RemoteProtocolError, match="injection"):
        peer.run(session.start_tls(context))
    assert peer.handshakes == []
    assert session.connection.closed


@pytest.mark.parametrize(
    "failure", [ssl.SSLCertVerificationError("untrusted"), TimeoutError("timed out"), KeyboardInterrupt()]
)
def test_a_handshake_that_fails_or_is_cancelled_is_the_end(failure: BaseException, context: ssl.SSLContext) -> None:
    """What the handshake raises goes on, and the connection serves for nothing more, least of all in the clear."""
    session = introduced()
    with pytest.raises(type(failure)):
        Scripted([b"220 go ahead\r\n"], handshake=failure).run(session.start_tls(context))
    assert session.connection.closed
    assert not session.connection.at_boundary


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError("gone")])
def test_the_look_before_the_handshake_may_fail(interruption: BaseException, context: ssl.SSLContext) -> None:
    """Between the 220 and the handshake there is no way back either."""
    session = introduced()
    peer = Scripted([b"220 go ahead\r\n"], fails={3: interruption})
    with pytest.raises(type(interruption)):
        peer.run(session.start_tls(context))
    assert isinstance(peer.effects[3], Poll)
    assert session.connection.closed


def test_an_end_before_the_handshake_is_the_handshakes_to_find(context: ssl.SSLContext) -> None:
    """A server that hangs up behind its 220 makes the handshake fail, whose error is the better one."""
    session = introduced()
    peer = Scripted([b"220 go ahead\r\n"], polls=[None, b""], handshake=ConnectionResetError("reset"))
    with pytest.raises(ConnectionResetError):
        peer.run(session.start_tls(context))
    assert session.connection.closed
