"""Commands of extensions: ETRN, BURL, XCLIENT, XFORWARD, and questions in UTF-8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.server_session import Settings
from tests.dialogues import URL
from tests.scripted import Expect, ExpectExactly, ScriptedServer, Send, Step
from tests.scripts import MAIL, NOOP, QUIT, RCPT, hello, opening, turn

from .backends import Backend, Client

OFFER = ["ETRN", "BURL imap", "XCLIENT NAME ADDR", "XFORWARD NAME ADDR"]
CALLS: dict[str, Callable[[Client], Any]] = {
    "ETRN": lambda client: client.etrn("example.org"),
    "BURL": lambda client: client.burl("imap://mx.test/1"),
    "XCLIENT": lambda client: client.xclient(name="client.test"),
    "XFORWARD": lambda client: client.xforward(name="client.test"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_offered_is_not_sent(backend: Backend, name: str) -> None:
    """`SMTPNotSupportedError` names extension and offer; nothing is sent, and the session goes on."""
    with ScriptedServer([*opening("HELP"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(backend.module.SMTPNotSupportedError, match=f"{name} .*HELP"):
            CALLS[name](client)
        assert client.noop()[0] == 250


def test_etrn(backend: Backend) -> None:
    """RFC 1985: the answer is returned, refusals too."""
    script: list[Step] = [
        ExpectExactly(b"etrn foo.com\r\n"),
        Send(b"458 Unable to queue messages for node foo.com\r\n"),
        ExpectExactly(b"etrn @bar.com\r\n"),
        Send(b"250 OK\r\n"),
    ]
    with ScriptedServer([*opening(*OFFER), *script, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.etrn("foo.com")[0] == 458
        assert client.etrn("@bar.com") == (250, b"OK")
        with pytest.raises(ValueError, match="ETRN"):
            client.etrn("a\r\nQUIT")


def test_burl(backend: Backend) -> None:
    """RFC 4468 3.4: in the place of the message; its authorisation is in no trace."""
    said: list[str] = []
    script = [*MAIL, *RCPT, ExpectExactly(f"BURL {URL} LAST\r\n".encode()), Send(b"250 2.5.0 Ok\r\n")]
    with (
        ScriptedServer([*opening(*OFFER), *script, *QUIT]) as server,
        backend.connect(server, transcript=lambda one: said.append(one.text)) as client,
    ):
        client.ehlo()
        client.mail("a@client.test")
        client.rcpt("b@mx.test")
        assert client.burl(URL)[0] == 250
    assert not any("internal" in text for text in said)


def test_xclient(backend: Backend) -> None:
    """Attributes as xtext; after the 220 what EHLO said is forgotten, and it is said again before the next message."""
    script: list[Step] = [
        ExpectExactly(b"XCLIENT NAME=a+2Bb ADDR=[UNAVAILABLE]\r\n"),
        Send(b"220 mx.test ESMTP\r\n"),
        *hello("SIZE"),
        Expect(b"mail from:<a@client.test>"),
        Send(b"550 no\r\n"),
        *turn(b"rset", b"250 ok"),
    ]
    with ScriptedServer([*opening(*OFFER), *script, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.xclient(name="a+b", addr=None)[0] == 220
        assert client.ehlo_resp is None
        assert client.esmtp_features == {}
        with pytest.raises(backend.module.SMTPSenderRefused):
            client.sendmail("a@client.test", "b@mx.test", b"text\r\n")
        assert "size" in client.esmtp_features


def test_a_refused_xclient_changes_nothing(backend: Backend) -> None:
    """The session goes on as it was."""
    script = [*opening(*OFFER), *turn(b"XCLIENT ", b"550 5.7.0 no"), *MAIL, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.xclient(name="x")[0] == 550
        assert client.has_extn("xclient")
        assert client.mail("a@client.test")[0] == 250


def test_attributes_that_the_server_does_not_take(backend: Backend) -> None:
    """They are not sent."""
    with ScriptedServer([*opening(*OFFER), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(backend.module.SMTPNotSupportedError, match="PORT, but NAME, ADDR"):
            client.xforward(port="25")
        assert client.noop()[0] == 250


def test_against_our_own_server(backend: Backend) -> None:
    """Both ends agree; who the client is, is what the proxy said."""
    settings = Settings(offer=tuple(OFFER), trusted=("127.0.0.1",))
    with smtp_blocking.Server(settings=settings) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.xclient(name="client.test", addr="192.0.2.7")[0] == 220
        client.ehlo()
        assert client.xforward(name="client.test")[0] == 250
        assert client.etrn("example.org")[0] == 250
        assert client.sendmail("a@client.test", "b@mx.test", b"text\r\n") == {}
    assert [message.to for message in server.messages] == [("b@mx.test",)]


@pytest.mark.parametrize("verb", ["vrfy", "expn"])
def test_questions_in_utf8(backend: Backend, verb: str) -> None:
    """RFC 6531 3.7.4.2: with SMTPUTF8 where it is offered, a `UnicodeEncodeError` where it is not; nothing is sent."""
    line = f"{verb} jürgen@mx.test SMTPUTF8\r\n".encode()
    script: list[Step] = [ExpectExactly(line), Send("252 jürgen?\r\n".encode()), *NOOP]
    with ScriptedServer([*opening("SMTPUTF8"), *script, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        assert getattr(client, verb)("jürgen@mx.test") == (252, "jürgen?".encode())
        assert client.command_encoding == "ascii"
        assert client.noop()[0] == 250
    with ScriptedServer([*opening(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(UnicodeEncodeError):
            getattr(client, verb)("jürgen@mx.test")
        assert client.noop()[0] == 250
