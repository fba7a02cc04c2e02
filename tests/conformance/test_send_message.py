"""`send_message`: the envelope from the headers, and what of the message is sent."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage, Message
from email.mime.text import MIMEText
from typing import Any

import pytest

import smtp_blocking
from tests.scripted import ScriptedServer
from tests.scripts import DELIVERY, NOOP, QUIT, delivery, opening

from .backends import Backend


def message(**headers: str) -> EmailMessage:
    """A message with these headers ("_" for "-") and a short text."""
    made = EmailMessage()
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    made.set_content("hello\n.\n")
    return made


def deliver(backend: Backend, server: smtp_blocking.Server, made: Message[Any, Any], *args: Any) -> tuple[Any, bytes]:
    """Send it to our own server; the envelope and the octets that arrived."""
    with backend.connect(server) as client:
        assert client.send_message(made, *args) == {}
    received = server.messages[-1]
    return (received.sender, *received.to), received.content


@pytest.mark.parametrize(
    ("headers", "envelope"),
    [
        ({"From": "a@b.test", "To": "c@d.test"}, ("a@b.test", "c@d.test")),
        ({"From": "A B <a@b.test>", "To": "C D <c@d.test>, e@f.test"}, ("a@b.test", "c@d.test", "e@f.test")),
        ({"From": "a@b.test", "Cc": "c@d.test"}, ("a@b.test", "c@d.test")),
        ({"From": "a@b.test", "Bcc": "c@d.test"}, ("a@b.test", "c@d.test")),
        ({"From": "a@b.test, x@y.test", "To": "c@d.test"}, ("a@b.test", "c@d.test")),
        ({"From": "a@b.test", "Sender": "s@b.test", "To": "c@d.test"}, ("s@b.test", "c@d.test")),
        ({"From": "a@b.test", "To": "team: c@d.test, e@f.test;"}, ("a@b.test", "c@d.test", "e@f.test")),
        (
            {"From": "a@b.test", "To": "c@d.test", "Cc": "e@f.test", "Bcc": "g@h.test"},
            ("a@b.test", "c@d.test", "g@h.test", "e@f.test"),
        ),
        (
            {
                "From": "a@b.test",
                "To": "c@d.test",
                "Resent_Date": "Thu, 1 Jan 2026 00:00:00 +0000",
                "Resent_From": "r@b.test",
                "Resent_To": "t@d.test",
                "Resent_Bcc": "u@d.test",
            },
            ("r@b.test", "t@d.test", "u@d.test"),
        ),
    ],
)
def test_envelope(
    backend: Backend, server: smtp_blocking.Server, headers: dict[str, str], envelope: tuple[str, ...]
) -> None:
    """The sender is Sender or the first of From, the recipients are all of To, Bcc and Cc; Resent- headers go first."""
    assert deliver(backend, server, message(**headers))[0] == envelope


def test_several_headers_of_one_name(backend: Backend, server: smtp_blocking.Server) -> None:
    """Every header of a name counts, though a message should have one."""
    made = email.message_from_string("From: a@b.test\nTo: c@d.test\nTo: e@f.test\nCc: g@h.test\n\nhello\n")
    assert deliver(backend, server, made)[0] == ("a@b.test", "c@d.test", "e@f.test", "g@h.test")


def test_addresses_that_are_given(backend: Backend, server: smtp_blocking.Server) -> None:
    """Addresses that are given take the place of those in the headers; one recipient may be a string."""
    made = message(From="a@b.test", To="c@d.test")
    assert deliver(backend, server, made, "x@b.test", ["y@d.test"])[0] == ("x@b.test", "y@d.test")
    assert deliver(backend, server, made, None, "y@d.test")[0] == ("a@b.test", "y@d.test")
    assert deliver(backend, server, made, "")[0] == ("", "c@d.test")


def test_octets(backend: Backend, server: smtp_blocking.Server) -> None:
    """The message arrives with CRLF line ends, all of its headers but Bcc, and is not changed by being sent."""
    made = message(From="a@b.test", To="c@d.test", Bcc="e@f.test", Subject="x")
    before = made.as_bytes()
    _, octets = deliver(backend, server, made)
    del made["Bcc"]
    assert octets == made.as_bytes(policy=email.policy.SMTP)
    assert b"Bcc" not in octets
    assert b"\r\n\r\nhello\r\n.\r\n" in octets
    assert b"Bcc: e@f.test" in before


@pytest.mark.parametrize("policy", [email.policy.compat32, email.policy.default, email.policy.SMTP])
def test_policies(backend: Backend, server: smtp_blocking.Server, policy: Any) -> None:
    """Whatever the policy of the message, it arrives as it was."""
    text = "From: a@b.test\nTo: c@d.test\nSubject: x\n\nFrom here on\n.\nlast\n"
    made = email.message_from_string(text, policy=policy)
    _, octets = deliver(backend, server, made)
    assert octets.replace(b"\r\n", b"\n").replace(b">From here", b"From here").decode() == text


def test_mime(backend: Backend, server: smtp_blocking.Server) -> None:
    """A message of the older classes, and 8-bit text, which is encoded by its own policy."""
    made = MIMEText("\xe4\xf6\xfc", _charset="utf-8")
    made["From"] = "a@b.test"
    made["To"] = "c@d.test"
    _, octets = deliver(backend, server, made)
    assert email.message_from_bytes(octets).get_payload(decode=True) == "\xe4\xf6\xfc".encode()


def test_refused_recipients_are_returned(backend: Backend) -> None:
    """The result is that of `sendmail`."""
    with (
        ScriptedServer([*opening("8BITMIME", "SIZE"), *delivery(2), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        made = message(From="a@b.test", To="c@d.test, e@f.test")
        assert client.send_message(made, mail_options=["BODY=8BITMIME"], rcpt_options=["X=Y"]) == {}
    assert b"BODY=8BITMIME" in server.received[1]
    assert server.received[2] == b"rcpt to:<c@d.test> X=Y\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"From": "\xe4@b.test", "To": "c@d.test"},
        {"From": "a@b.test", "To": "\xf6@d.test"},
        {"From": "a@b.test", "To": "\xf6@\xf6.test"},
    ],
)
def test_smtputf8(backend: Backend, server: smtp_blocking.Server, headers: dict[str, str]) -> None:
    """An address that is not ASCII asks for SMTPUTF8, and the headers are then sent as UTF-8."""
    made = message(**headers, Subject="\xfc")
    envelope, octets = deliver(backend, server, made)
    assert envelope == (headers["From"], headers["To"])
    assert server.messages[0].mail.parameter("SMTPUTF8") == ""
    assert server.messages[0].mail.parameter("BODY") == "8BITMIME"
    assert "Subject: \xfc\r\n".encode() in octets


@pytest.mark.parametrize("make", [email.message.EmailMessage, email.message.Message])
def test_a_domain_needs_no_smtputf8(backend: Backend, server: smtp_blocking.Server, make: Any) -> None:
    """A domain that is not ASCII goes as A-labels, in the envelope and in the headers, whatever the server offers."""
    made = make()
    made["From"] = "a@b.test"
    made["To"] = "\xc4nn <c@\xf6.test>"
    envelope, octets = deliver(backend, server, made)
    assert envelope == ("a@b.test", "c@xn--nda.test")
    assert server.messages[0].mail.parameter("SMTPUTF8") is None
    assert b"<c@xn--nda.test>\r\n" in octets
    assert made["To"] == "\xc4nn <c@\xf6.test>"


def test_header_addresses_count(backend: Backend, server: smtp_blocking.Server) -> None:
    """An address that is not ASCII in a header needs SMTPUTF8, also where it is none of the envelope's."""
    made = message(From="a@b.test", To="c@d.test", Reply_To="\xf6@d.test")
    _, octets = deliver(backend, server, made)
    assert server.messages[0].mail.parameter("SMTPUTF8") == ""
    assert "Reply-To: \xf6@d.test\r\n".encode() in octets


def test_header_addresses_without_smtputf8(backend: Backend) -> None:
    """... and is refused where the server does not offer it: no encoding makes it an address again."""
    with ScriptedServer([*opening("8BITMIME"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        for call in (client.send_message, client.deliver):
            with pytest.raises(backend.module.SMTPNotSupportedError, match="SMTPUTF8"):
                call(message(From="a@b.test", To="c@d.test", Reply_To="\xf6@d.test"))
        assert client.noop()[0] == 250


def test_smtputf8_is_not_offered(backend: Backend) -> None:
    """SMTPNotSupportedError, and nothing sent, if the server does not offer it; the session goes on."""
    with ScriptedServer([*opening(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPNotSupportedError):
            client.send_message(message(From="\xe4@b.test", To="c@d.test"))
        assert client.noop()[0] == 250


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"To": "c@d.test"}, "no sender"),
        ({"To": "c@d.test", "Resent_Date": "Thu, 1 Jan 2026 00:00:00 +0000"}, "no sender"),
    ],
)
def test_no_sender(backend: Backend, headers: dict[str, str], problem: str) -> None:
    """ValueError for a message without a sender; nothing is sent and the session goes on."""
    with ScriptedServer([*opening(), *DELIVERY, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(ValueError, match=problem):
            client.send_message(message(**headers))
        assert client.send_message(message(**headers), "a@b.test", "c@d.test") == {}


def test_resent_more_than_once(backend: Backend) -> None:
    """ValueError for a message with several Resent- blocks: which is the last cannot be told."""
    made = email.message_from_string("Resent-Date: x\nResent-Date: y\nFrom: a@b.test\nTo: c@d.test\n\n")
    with ScriptedServer([*opening(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(ValueError, match="Resent-"):
            client.send_message(made)
        assert client.noop()[0] == 250
