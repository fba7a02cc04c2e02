"""Extensions at servers of another make: typed DSN parameters, SIZE, ETRN, XCLIENT and XFORWARD."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest

import smtp_blocking
from smtp_blocking import Recipient
from smtp_proto.parameters import EnvId, MtPriority, Notify, ORcpt, Ret, Size

from .doors import SENDER, plain
from .mailboxes import SMALL, MailServer, address, without_added
from .messages import header, new_ident


def test_each_recipient_is_notified_as_it_was_asked_for(postfix: MailServer, pipelining: bool) -> None:
    """DSN (RFC 3461): Postfix reports the delivery to the one, with what was said of them, and not to the other."""
    ident = new_ident()
    envelope = f"{ident.strip('<>').partition('@')[0]} + 1"
    told = Recipient(address("user21"), [Notify("SUCCESS"), ORcpt("first+one@example.test")])
    untold = Recipient(address("user22"), [Notify("NEVER")])
    with plain(postfix, "plain", pipelining) as client:
        refused = client.sendmail(
            address("user20"), [told, untold], header(ident) + b"It works.\n", [Ret("HDRS"), EnvId(envelope)]
        )
        assert refused == {}
    assert postfix.message("user22", ident)
    report = message_from_bytes(postfix.message("user20", ident), policy=policy.default)
    [status] = [part for part in report.walk() if part.get_content_type() == "message/delivery-status"]
    per_message, *per_recipient = [part for part in status.get_payload() if not isinstance(part, str)]
    assert per_message["Original-Envelope-Id"] == envelope
    assert [part["Original-Recipient"] for part in per_recipient] == ["rfc822;first+one@example.test"]


def test_exim_takes_typed_parameters(exim: MailServer, pipelining: bool) -> None:
    """Exim reads DSN's parameters as they are written, and what it does not offer is not sent to it."""
    ident = new_ident()
    message = header(ident) + b"It works.\n"
    to = Recipient(address("user23"), [Notify("FAILURE", "DELAY"), ORcpt("first+one@example.test")])
    with plain(exim, "plain", pipelining) as client:
        with pytest.raises(smtp_blocking.SMTPNotSupportedError, match="RFC 6710"):
            client.sendmail(SENDER, to, message, [MtPriority(3)])
        assert client.sendmail(SENDER, to, message, [Ret("FULL"), EnvId("QQ+314159")]) == {}
    assert without_added(exim.message("user23", ident)) == message


@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_eight_bits_are_announced(request: pytest.FixtureRequest, name: str) -> None:
    """8BITMIME (RFC 6152): a message that has them is announced as one, and arrives as it was."""
    server: MailServer = request.getfixturevalue(name)
    ident = new_ident()
    message = header(ident) + b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
    message = message.replace(b"\n\n", b"\n") + "Content-Transfer-Encoding: 8bit\n\nGrüße\n".encode()
    said: list[str] = []
    with plain(server, "plain", True) as client:
        client.transcript = lambda one: said.append(one.text)
        client.ehlo()
        assert client.sendmail(SENDER, address("user27"), message) == {}
    assert any("BODY=8BITMIME" in text for text in said)
    assert without_added(server.message("user27", ident)) == message


def test_what_is_refused_here_is_refused_there(postfix: MailServer) -> None:
    """SIZE (RFC 1870): the refusal that `sendmail` gives itself has the code and the status of Postfix's own."""
    with plain(postfix, "small", True) as client:
        with pytest.raises(smtp_blocking.SMTPSenderRefused) as caught:
            client.sendmail(SENDER, address("user24"), b"x" * 2 * SMALL)
        theirs = client.mail(SENDER, [Size(2 * SMALL)])
    assert isinstance(theirs, smtp_blocking.SMTPReply)
    assert caught.value.reply is not None
    assert theirs[0] == caught.value.smtp_code == 552
    assert theirs.enhanced == caught.value.enhanced


def test_etrn(postfix: MailServer) -> None:
    """ETRN (RFC 1985): Postfix knows the command, and has no queue for a host that it does not relay to."""
    with plain(postfix, "plain", True) as client:
        client.ehlo()
        assert client.etrn("example.org")[0] == 459
        assert client.noop()[0] == 250


def test_xclient(postfix: MailServer) -> None:
    """XCLIENT: for Postfix the client is who the proxy says, and the session begins anew."""
    ident = new_ident()
    with plain(postfix, "proxied", True) as client:
        client.ehlo()
        assert client.xclient(name="real.client.test", addr="192.0.2.7", helo="helo.client.test")[0] == 220
        assert client.ehlo_resp is None
        assert client.sendmail(SENDER, address("user25"), header(ident) + b"It works.\n") == {}
    assert b"(real.client.test [192.0.2.7])" in postfix.message("user25", ident)
    with plain(postfix, "plain", True) as client:
        client.ehlo()
        with pytest.raises(smtp_blocking.SMTPNotSupportedError, match="XCLIENT"):
            client.xclient(name="real.client.test")


def test_xforward(postfix: MailServer) -> None:
    """XFORWARD: Postfix logs whom the message came from, as it was told."""
    ident = new_ident()
    with plain(postfix, "proxied", True) as client:
        client.ehlo()
        assert client.xforward(name="origin.test", addr="192.0.2.9", source=None)[0] == 250
        assert client.sendmail(SENDER, address("user26"), header(ident) + b"It works.\n") == {}
    assert postfix.message("user26", ident)
    assert "origin.test[192.0.2.9]" in postfix.log.read_text("utf-8", "replace")
