"""The server's conversation where it is stopped from outside, begins with TLS, or has somebody to report to."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from smtp_proto.effects import Effect, Receive, StartTLS
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import MAX_REPLIES, ServerSession, Settings

from .flows import Scripted
from .serving import DATA, EHLO, MAIL, QUIT, RCPT, Deciding, replies_in


def session_with(handler: Deciding, context: ssl.SSLContext | None = None) -> ServerSession:
    return ServerSession(ServerConnection(), handler, Settings(hostname="mx.test", tls_context=context))


class Stopping(Scripted):
    """A peer that has the session stopped while it waits for the last octets of the script."""

    session: ServerSession

    def _perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, Receive) and len(self.left) == 1:
            self.session.stop()
        return super()._perform(effect)


@pytest.mark.parametrize("woken", [TimeoutError(), b""], ids=["deadline", "end"])
def test_woken_between_messages(woken: bytes | BaseException) -> None:
    """A wait that ends because the server stops is neither the client's silence nor its end: it is told 421."""
    peer = Stopping([EHLO, woken])
    peer.session = session_with(Deciding())
    peer.run(peer.session.run())
    replies = replies_in(peer.written)
    assert [reply.code for reply in replies] == [220, 250, 421]
    assert "Shutting down" in replies[-1].text
    assert peer.closed


def test_stopped_while_it_is_busy_with_a_command() -> None:
    """Stopped in the middle of a command without a message, it answers that and goes."""
    session = session_with(Deciding(helo=lambda command: session.stop()))
    peer = Scripted([EHLO])
    peer.run(session.run())
    assert [reply.code for reply in replies_in(peer.written)] == [220, 250, 421]


def test_a_message_under_way_is_finished() -> None:
    """Stopped behind MAIL, it takes the message, answers it, and says 421 only then."""
    handler = Deciding(mail=lambda command: session.stop())
    session = session_with(handler)
    assert not session.busy
    peer = Scripted([EHLO, MAIL, RCPT, DATA, b"Subject: x\r\n", b"\r\n.\r\n"])
    peer.run(session.run())
    assert [reply.code for reply in replies_in(peer.written)] == [220, 250, 250, 250, 354, 250, 421]
    assert len(handler.messages) == 1


@pytest.mark.parametrize(("end", "codes"), [(TimeoutError(), [220, 250, 250, 421]), (b"", [220, 250, 250])])
def test_a_client_that_falls_silent_in_a_message_while_stopping(end: bytes | BaseException, codes: list[int]) -> None:
    """The deadlines hold on: one that says nothing more is told so, one that hangs up is gone."""
    session = session_with(Deciding(mail=lambda command: session.stop()))
    peer = Scripted([EHLO, MAIL, end])
    peer.run(session.run())
    assert [reply.code for reply in replies_in(peer.written)] == codes
    assert peer.closed


def test_implicit_tls_comes_first() -> None:
    """With `implicit_tls` the handshake is before the greeting, and the session knows of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    session = session_with(Deciding(), context)
    peer = Scripted([QUIT])
    peer.run(session.run(implicit_tls=True))
    [first, *_] = peer.effects
    assert isinstance(first, StartTLS)
    assert (first.context, first.server_side) == (context, True)
    assert session.tls


def test_a_failed_handshake_at_the_beginning() -> None:
    """Nothing is said to a client that did not finish the handshake."""
    handler = Deciding()
    session = session_with(handler, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    peer = Scripted([], handshake=ssl.SSLError("no"))
    peer.run(session.run(implicit_tls=True))
    assert peer.written == b""
    assert peer.closed
    assert handler.asked == []


def test_whoever_runs_the_server_hears_of_errors() -> None:
    """`report` is told what the handler raises, before the handler is."""
    handler = Deciding(mail=ZeroDivisionError("in mail"))
    errors: list[Exception] = []
    session = ServerSession(ServerConnection(), handler, Settings(), report=errors.append)
    Scripted([EHLO, MAIL, QUIT]).run(session.run())
    assert errors == handler.failures
    assert [str(error) for error in errors] == ["in mail"]


def test_replies_are_not_held_back_without_end() -> None:
    """A pipelined group is answered in one segment, but a flood of commands is not collected in memory."""
    handler = Deciding()
    peer = Scripted([EHLO + b"RSET\r\n" * 100, b"RSET\r\n" * 1000, QUIT])
    peer.run(session_with(handler).run())
    sizes = [segment.count(b"\r\n") for segment in peer.segments]
    assert sum(sizes) == 1 + len(session_with(handler).offers()) + 1 + 1100 + 1
    assert len(peer.segments[1].splitlines()) > 100
    assert max(sizes) <= MAX_REPLIES
