"""`send`: one message over a connection of its own, from greeting to goodbye."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from smtp_proto.outcome import Outcome, Phase
from smtp_surface.client import Client
from tests.certificates import client_context, server_context
from tests.scripted import Close, Expect, ExpectBody, ExpectEOF, ExpectLines, ScriptedServer, Send, StartTLS, Step
from tests.scripts import BODY, DATA, GREETING, MAIL, MESSAGE, PATIENCE, QUIT, RCPT, RSET, hello, opening, turn

from .backends import Backend
from .test_deliver import email_message

ADDRESSES: dict[str, Any] = {"sender": "a@client.test", "recipients": "b@mx.test"}
READY = turn(b"starttls\r\n", b"220 2.0.0 go ahead")
#: What the server hears of a whole message when nothing is pipelined.
STEPS = [*MAIL, *RCPT, *DATA, *BODY]
ENVELOPE: list[Step] = [ExpectLines(3), Send(b"250 ok\r\n250 ok\r\n354 go\r\n")]
LOG_IN = turn(b"auth plain", b"235 2.7.0 welcome")


def send(backend: Backend, server: Any, message: Any = MESSAGE, **options: Any) -> Outcome:
    """Call it as a program would, in the backend's loop if it has one."""
    options = {"local_hostname": "client.test", "timeout": PATIENCE, **options}
    outcome: Outcome = backend.called(backend.module.send, message, server.host, server.port, **options)
    return outcome


def test_greeting_to_goodbye(backend: Backend) -> None:
    """Each command is said once, and QUIT comes in the same flight as the end of the message."""
    script = [*opening("PIPELINING"), *ENVELOPE, ExpectBody(), Expect(b"quit\r\n"), Send(b"250 2.0.0 queued\r\n")]
    with ScriptedServer([*script, Send(b"221 bye\r\n"), ExpectEOF()]) as server:
        outcome = send(backend, server, **ADDRESSES)
    assert outcome.delivered
    assert str(outcome.final) == "250 2.0.0 queued"


def test_without_pipelining(backend: Backend) -> None:
    """Where nothing is offered QUIT follows the answer to the message."""
    with ScriptedServer([*opening(), *STEPS, *QUIT]) as server:
        assert send(backend, server, **ADDRESSES).delivered


def test_an_email_message_brings_its_addresses(backend: Backend, server: Any) -> None:
    """Sender and recipients of an email message come from its headers."""
    outcome = send(backend, server, email_message())
    assert (outcome.sender, [each.address for each in outcome.recipients]) == (
        "a@client.test",
        ["b@mx.test", "c@mx.test"],
    )
    assert [message.to for message in server.messages] == [("b@mx.test", "c@mx.test")]


@pytest.mark.parametrize("policy", ["opportunistic", "required"])
def test_encrypted_and_logged_in(backend: Backend, policy: Any) -> None:
    """With a policy and a user: STARTTLS, the log-in over TLS, and one EHLO for each of the two sessions."""
    script = [*opening("STARTTLS"), *READY, StartTLS(server_context()), *hello("AUTH PLAIN"), *LOG_IN, *STEPS, *QUIT]
    with ScriptedServer(script) as server:
        outcome = send(
            backend, server, **ADDRESSES, user="ada", password="secret", tls=policy, context=client_context()
        )
    assert outcome.delivered


def test_over_tls_from_the_first_octet(backend: Backend) -> None:
    """tls="implicit" begins with the handshake."""
    with ScriptedServer([StartTLS(server_context()), *opening(), *STEPS, *QUIT]) as server:
        assert send(backend, server, **ADDRESSES, tls="implicit", context=client_context()).delivered


@pytest.fixture
def overheard(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    """Loopback taken for a network."""
    for kind in ("SMTP", "LMTP"):
        monkeypatch.setattr(getattr(backend.module, kind), "_may_be_overheard", lambda client: True)


@pytest.mark.usefixtures("overheard")
def test_over_a_network_tls_is_used_where_it_is_offered(backend: Backend) -> None:
    """Without a policy and a user, what leaves the machine is encrypted if the server can."""
    secured = [*opening("STARTTLS"), *READY, StartTLS(server_context()), *hello(), *STEPS, *QUIT]
    with ScriptedServer(secured, [*opening(), *STEPS, *QUIT]) as server:
        for _ in range(2):
            assert send(backend, server, **ADDRESSES, context=client_context()).delivered


@pytest.mark.usefixtures("overheard")
@pytest.mark.parametrize("credentials", [{"user": "ada", "password": "x"}, {"password": "x"}, {"token": "t"}])
def test_over_a_network_a_log_in_requires_tls(backend: Backend, credentials: Any) -> None:
    """Without a policy, nobody's credentials and no message go over a network in the clear."""
    with (
        ScriptedServer([*opening("AUTH PLAIN XOAUTH2"), ExpectEOF()]) as server,
        pytest.raises(backend.module.SMTPNotSupportedError, match="STARTTLS"),
    ):
        send(backend, server, **ADDRESSES, **credentials)


def test_port_465_is_tls(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a policy port 465 is TLS from the first octet, also where the port is in the host's name."""
    seen: list[Any] = []

    def connect(client: Client, host: str, port: int) -> Any:
        seen.append((client.tls, host, port))
        raise OSError("enough")

    for kind in ("SMTP", "LMTP"):
        monkeypatch.setattr(getattr(backend.module, kind), "connect", connect)
    calls: list[tuple[Any, Any]] = [
        (("mx.test:465",), {}),
        (("mx.test", 465), {}),
        (("mx.test", 465), {"tls": "none"}),
        (("mx.test",), {"tls": "implicit"}),
        (("mx.test",), {}),
        (("mx.test",), {"lmtp": True}),
        (("mx.test:24",), {"lmtp": True}),
    ]
    for where, options in calls:
        with pytest.raises(OSError, match="enough"):
            backend.called(backend.module.send, MESSAGE, *where, **ADDRESSES, **options)
    assert seen == [
        ("implicit", "mx.test", 465),
        ("implicit", "mx.test", 465),
        ("none", "mx.test", 465),
        ("implicit", "mx.test", 465),
        ("none", "mx.test", 25),
        ("none", "mx.test", 2003),
        ("none", "mx.test", 24),
    ]


REFUSED: dict[str, tuple[list[Step], Phase]] = {
    "the sender": (turn(b"mail", b"550 5.1.8 not you"), Phase.MAIL),
    "all recipients": ([*MAIL, *turn(b"rcpt", b"550 5.1.1 nobody")], Phase.RCPT),
    "DATA": ([*MAIL, *RCPT, *turn(b"data", b"451 4.3.0 later")], Phase.DATA),
    "the message": ([*MAIL, *RCPT, *DATA, ExpectBody(), Send(b"554 5.7.1 spam\r\n")], Phase.DONE),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_is_no_exception(backend: Backend, what: str) -> None:
    """What is refused is in the outcome; instead of RSET there is QUIT."""
    script, phase = REFUSED[what]
    with ScriptedServer([*opening(), *script, *QUIT]) as server:
        outcome = send(backend, server, **ADDRESSES)
    assert (outcome.delivered, outcome.phase, len(outcome.refused)) == (False, phase, 1)


def test_too_large(backend: Backend) -> None:
    """A message that is larger than what the server takes is refused by ourselves, with a goodbye."""
    with ScriptedServer([*opening("SIZE 10"), *QUIT]) as server:
        outcome = send(backend, server, **ADDRESSES)
    assert str(outcome.mail).startswith("552 5.3.4")


GOODBYES: dict[str, list[Step]] = {
    "refused": [*turn(b"quit", b"500 what?"), ExpectEOF()],
    "hung up": [Expect(b"quit"), Close()],
    "hung up before": [Close()],
    "421": [*turn(b"quit", b"421 4.3.2 bye"), ExpectEOF()],
    "no reply at all": [*turn(b"quit", b"wat"), ExpectEOF()],
}


@pytest.mark.parametrize("how", GOODBYES)
@pytest.mark.parametrize("pipelining", [False, True])
def test_quit_never_overturns_a_delivery(backend: Backend, how: str, pipelining: bool) -> None:
    """Whatever becomes of QUIT, the message was delivered, and is said to be."""
    start = [*opening("PIPELINING"), *ENVELOPE, *BODY] if pipelining else [*opening(), *STEPS]
    with ScriptedServer([*start, *GOODBYES[how]]) as server:
        assert send(backend, server, **ADDRESSES).delivered


@pytest.mark.parametrize("at", ["mail", "body"])
def test_a_421_is_in_the_outcome(backend: Backend, at: str) -> None:
    """A 421 in the middle is a refusal, and no QUIT follows it."""
    before: list[Step] = [Expect(b"mail")] if at == "mail" else [*MAIL, *RCPT, *DATA, ExpectBody()]
    with ScriptedServer([*opening(), *before, Send(b"421 4.3.2 bye\r\n"), ExpectEOF()]) as server:
        outcome = send(backend, server, **ADDRESSES)
    assert not outcome.delivered
    assert [str(each.answer) for each in outcome.recipients] == ["421 4.3.2 bye"]


def test_a_greeting_that_refuses(backend: Backend) -> None:
    """Any greeting but 220 is SMTPConnectError; a QUIT is said where there is still somebody."""
    with (
        ScriptedServer([Send(b"554 5.3.2 no service\r\n"), *QUIT], [Send(b"421 busy\r\n"), ExpectEOF()]) as server,
    ):
        for code in (554, 421):
            with pytest.raises(backend.module.SMTPConnectError) as raised:
                send(backend, server, **ADDRESSES)
            assert raised.value.smtp_code == code


def test_connection_refused(backend: Backend) -> None:
    """Nobody there: the OSError of connecting."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        host, port = nobody.getsockname()
        where = type("Where", (), {"host": host, "port": port})
        with pytest.raises(ConnectionRefusedError):
            send(backend, where, **ADDRESSES)


def test_a_log_in_that_is_refused(backend: Backend) -> None:
    """A wrong password raises what `login` raises, and the goodbye is said."""
    script = [*opening("AUTH PLAIN"), *turn(b"auth plain", b"535 5.7.8 no"), *QUIT]
    with ScriptedServer(script) as server, pytest.raises(backend.module.SMTPAuthenticationError):
        send(backend, server, **ADDRESSES, user="ada", password="wrong")


def test_lost_in_the_middle(backend: Backend) -> None:
    """A connection that is lost behind the message raises, and says that it may have been delivered."""
    script = [*opening("PIPELINING"), *ENVELOPE, ExpectBody(), Expect(b"quit"), Close()]
    with ScriptedServer(script) as server, pytest.raises(backend.module.SMTPServerDisconnected) as raised:
        send(backend, server, **ADDRESSES)
    assert raised.value.may_be_delivered
    assert raised.value.outcome.phase is Phase.SENT


def test_arguments_that_must_not_be_sent(backend: Backend) -> None:
    """A line end in an address is a ValueError, and the server hears nothing of it but a goodbye."""
    with ScriptedServer([*opening(), *QUIT]) as server, pytest.raises(ValueError, match="forward-path"):
        send(backend, server, sender="a@client.test", recipients="b@mx.test>\r\nrset")


def test_octets_have_no_addresses(backend: Backend) -> None:
    """Octets without a sender are a TypeError."""
    with ScriptedServer([*GREETING, *QUIT]) as server, pytest.raises(TypeError, match="from_addr and to_addrs"):
        send(backend, server, recipients="b@mx.test")


def test_a_host_that_is_none(backend: Backend) -> None:
    """A host with a line end is refused before anything is looked up."""
    where = type("Where", (), {"host": "mx.test\r\n", "port": 25})
    with pytest.raises(ValueError, match="host"):
        send(backend, where, **ADDRESSES)


def test_overridden_steps(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a step of the class was replaced, the goodbye comes behind it, and a refusal is followed by RSET."""
    original = backend.module.SMTP.rcpt

    def override(client: Any, *args: Any) -> Any:
        return original(client, *args)

    monkeypatch.setattr(backend.module.SMTP, "rcpt", override)
    script = [*opening(), *MAIL, *turn(b"rcpt", b"550 5.1.1 nobody"), *RSET, *QUIT]
    with ScriptedServer(script) as server:
        assert not send(backend, server, **ADDRESSES).delivered


def test_lmtp(backend: Backend) -> None:
    """lmtp=True says LHLO, and each recipient has an answer of its own."""
    script = [*GREETING, *hello(verb=b"lhlo "), *MAIL, *RCPT * 2, *DATA, ExpectBody()]
    with ScriptedServer([*script, Send(b"250 2.0.0 saved\r\n452 4.2.2 quota\r\n"), *QUIT]) as server:
        outcome = send(backend, server, sender="", recipients=["b@mx.test", "c@mx.test"], lmtp=True)
    assert [each.delivered for each in outcome.recipients] == [True, False]


def test_progress_and_transcript(backend: Backend, server: Any) -> None:
    """Progress is told, and the transcript shows one whole conversation."""
    told: list[Any] = []
    said: list[Any] = []
    send(backend, server, **ADDRESSES, progress=lambda *done: told.append(done), transcript=said.append)
    assert told[-1] == (len(MESSAGE), len(MESSAGE))
    commands = [each.text.split(maxsplit=1)[0] for each in said if each.who == "C" and each.octets is None]
    assert [command.upper() for command in commands] == ["EHLO", "MAIL", "RCPT", "BDAT", "QUIT"]
