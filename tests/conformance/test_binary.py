"""BINARYMIME (RFC 3030): whatever octets a message has, they arrive on every backend, by LMTP as well."""

from __future__ import annotations

import io
import smtplib
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.handler import ReceivedMessage
from smtp_proto.parameters import Body
from smtp_proto.server_session import Settings
from tests.scripted import ScriptedServer
from tests.scripts import NOOP, QUIT, opening

from .backends import Backend

# Every octet, line ends of every kind, what would end a DATA, and no line end at the end.
CONTENT = bytes(range(256)) * 40 + b"\r\n.\r\n.\n\r.\r\nQUIT\r\n\0"
HEADER = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n"
OFFER = Settings(offer=("BINARYMIME",))

KINDS = pytest.mark.parametrize("kind", ["SMTP", "LMTP"])


def only(server: smtp_blocking.Server) -> ReceivedMessage:
    """The one message that has come, said to be what it is, for both recipients."""
    [message] = server.messages
    assert message.to == ("b@mx.test", "c@mx.test")
    assert repr(message.mail.get(Body)) == "Body(type='BINARYMIME')"
    return message


@KINDS
@pytest.mark.parametrize(
    "options", [[], [Body("BINARYMIME")], ["BODY=BINARYMIME"]], ids=["found out", "typed", "plain"]
)
def test_octets(backend: Backend, kind: str, options: list[str]) -> None:
    """Octets that need it go as BINARYMIME, asked for or not, and arrive one by one as they were."""
    with smtp_blocking.Server(settings=OFFER, lmtp=kind == "LMTP") as server, backend.connect(server, kind) as client:
        assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], HEADER + CONTENT, options) == {}
        assert client.noop()[0] == 250
    assert only(server).content == HEADER + CONTENT


@KINDS
@pytest.mark.parametrize("chunking", [True, False])
@pytest.mark.parametrize("source", ["chunks", "a file"])
def test_chunks(backend: Backend, kind: str, chunking: bool, source: str) -> None:
    """Chunks and files that are declared to be BINARYMIME arrive octet by octet, too, whether or not a client sends
    others by BDAT."""
    octets = HEADER + CONTENT
    given = io.BytesIO(octets) if source == "a file" else [octets[at : at + 1000] for at in range(0, len(octets), 1000)]
    with smtp_blocking.Server(settings=OFFER, lmtp=kind == "LMTP") as server, backend.connect(server, kind) as client:
        client.chunking = chunking
        assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], given, ["BODY=BINARYMIME"]) == {}
    assert only(server).content == octets


def test_options_that_are_read_once(backend: Backend) -> None:
    """Options may come from a generator, as with `smtplib`, whatever kind the message is of."""
    with smtp_blocking.Server(settings=OFFER) as server, backend.connect(server) as client:
        for message in (HEADER + CONTENT, [HEADER, CONTENT]):
            options: Any = (option for option in ["BODY=BINARYMIME"])
            assert client.deliver(message, "a@client.test", ["b@mx.test", "c@mx.test"], options).delivered
            options = (option for option in ["BODY=BINARYMIME"])
            assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], message, options) == {}
    assert [message.content for message in server.messages] == [HEADER + CONTENT] * 4


def test_chunks_of_unknown_size(backend: Backend) -> None:
    """What nobody can tell the size of cannot go as BINARYMIME: that is said before anything is sent."""
    with smtp_blocking.Server(settings=OFFER) as server, backend.connect(server) as client:
        with pytest.raises(smtplib.SMTPException, match="size is known"):
            client.sendmail("a@client.test", "b@mx.test", iter([CONTENT]), ["BODY=BINARYMIME"])
        assert client.noop()[0] == 250
    assert server.messages == []


@KINDS
def test_an_email_message(backend: Backend, kind: str) -> None:
    """What `email` would change on its way out, the line ends within a binary part, is in base64, and arrives."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@client.test", "b@mx.test, c@mx.test", "x"
    message.set_content(CONTENT, "image", "x", cte="binary")
    with smtp_blocking.Server(settings=OFFER, lmtp=kind == "LMTP") as server, backend.connect(server, kind) as client:
        assert client.deliver(message).delivered
    [arrived] = server.messages
    assert message_from_bytes(arrived.content, policy=policy.default).get_content() == CONTENT


@pytest.mark.parametrize(
    "offer", [[], ["BINARYMIME"], ["CHUNKING"]], ids=["neither", "BINARYMIME only", "CHUNKING only"]
)
def test_where_it_is_not_offered(backend: Backend, offer: list[str]) -> None:
    """Asked for in so many words it is `SMTPNotSupportedError` without both extensions; nothing is sent."""
    with ScriptedServer([*opening(*offer), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPNotSupportedError, match="RFC 3030"):
            client.sendmail("a@client.test", "b@mx.test", HEADER + CONTENT, [Body("BINARYMIME")])
        assert client.noop()[0] == 250
