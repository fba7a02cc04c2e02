"""What was sent through each door arrives octet by octet, with and without pipelining."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from tests.leaks import nothing_left_behind

from .doors import DOORS, SENDER, OpenDoor, chunked
from .mailboxes import MailServer, address, without_added
from .messages import BODIES, header, new_ident, with_header

# Those that take CHUNKING, by the names of their fixtures: the port, and whether it is LMTP.
CHUNKING = {"postfix": ("plain", False), "exim": ("plain", False), "dovecot": ("lmtp", True)}


@pytest.mark.parametrize("body", BODIES)
def test_each_body_arrives_as_it_was_sent(door: OpenDoor, body: str) -> None:
    """A message arrives as it was sent, whatever its octets, behind nothing but the header fields of a server."""
    ident = new_ident()
    message = with_header(ident, BODIES[body])
    with nothing_left_behind(), door.connect() as client:
        assert client.sendmail(SENDER, address("user00"), message.sent) == {}
    assert without_added(door.server.message("user00", ident)) == message.stored


def test_one_connection_carries_many_messages(door: OpenDoor) -> None:
    """Messages that follow each other on one connection arrive as they were sent, the refused ones between them not."""
    sent = []
    with door.connect() as client:
        for body in ("plain", "dots", "a dot at the end", "what looks like the end", "no body"):
            ident = new_ident()
            message = with_header(ident, BODIES[body])
            sent.append((ident, message.stored))
            with pytest.raises(Exception, match="stranger") as caught:
                client.sendmail(SENDER, address("stranger"), message.sent)
            assert type(caught.value).__name__ == "SMTPRecipientsRefused"
            assert client.sendmail(SENDER, [address("user01"), address("user02")], message.sent) == {}
        assert client.noop()[0] == 250
    for ident, stored in sent:
        for user in ("user01", "user02"):
            assert without_added(door.server.message(user, ident)) == stored


@pytest.mark.parametrize("subject", ["Refuse nobody", "Grüße, 世界"])
def test_a_header_arrives_as_it_was_sent(door: OpenDoor, subject: str) -> None:
    """A header of raw UTF-8 octets (not that of a message with SMTPUTF8) is nobody's to change."""
    ident = new_ident()
    message = header(ident, subject) + b"It works.\n"
    with door.connect() as client:
        assert client.sendmail(SENDER, address("user00"), message.replace(b"\n", b"\r\n")) == {}
    assert without_added(door.server.message("user00", ident)) == message


@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if door.server != "dovecot"])
def test_international_addresses_and_headers_arrive(
    request: pytest.FixtureRequest, name: str, pipelining: bool
) -> None:
    """An address and headers beyond ASCII (RFC 6531, RFC 6532) are what they were when the message arrives."""
    server: MailServer = request.getfixturevalue(DOORS[name].server)
    message = EmailMessage()
    message["From"] = "Žofie <žofie@client.test>"
    message["To"] = "Jürgen <jürgen@example.test>"
    message["Subject"] = "Grüße, 世界"
    message["Date"] = "Sun, 22 Nov 2026 12:00:00 +0000"
    message["Message-ID"] = ident = new_ident()
    message.set_content(".Viele Grüße\n.\n世界\n", cte="8bit")
    with OpenDoor(DOORS[name], server, pipelining).connect() as client:
        assert client.send_message(message) == {}
    arrived = server.message("jürgen", ident)
    assert "\nTo: Jürgen <jürgen@example.test>\n".encode() in arrived
    read = message_from_bytes(arrived, policy=policy.SMTPUTF8)
    assert read["Return-Path"].strip() == "<žofie@client.test>"
    assert [read[field] for field in message] == [message[field] for field in message]
    assert read.get_content() == message.get_content()
    assert "utf8" in read["Received"].lower()  # RFC 6531 4.3: the protocol's name there says that SMTPUTF8 was used


def test_lmtp_without_smtputf8_takes_no_such_address(dovecot: MailServer, pipelining: bool) -> None:
    """Where SMTPUTF8 is not offered an address that needs it is an error here, and nothing is sent."""
    import smtp_blocking

    with OpenDoor(DOORS["dovecot lmtp"], dovecot, pipelining).connect() as client:
        assert not client.has_extn("smtputf8")
        with pytest.raises(smtp_blocking.SMTPNotSupportedError):
            client.sendmail(SENDER, address("jürgen"), "It works.\n", ["SMTPUTF8"])
        with pytest.raises(UnicodeEncodeError):
            client.sendmail(SENDER, address("jürgen"), "It works.\n")
        assert client.noop()[0] == 250


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("name", CHUNKING)
def test_each_body_arrives_in_a_chunk(request: pytest.FixtureRequest, name: str, body: str, pipelining: bool) -> None:
    """A message sent with BDAT arrives as it was: nothing is stuffed there (RFC 3030 2)."""
    server: MailServer = request.getfixturevalue(name)
    port, lmtp = CHUNKING[name]
    ident = new_ident()
    message = with_header(ident, BODIES[body])
    recipients = [address("user03"), address("stranger"), address("user04")]
    outcome, in_step = chunked(server, port, recipients, message.sent, pipelining=pipelining, lmtp=lmtp)
    assert outcome.delivered
    assert in_step
    assert [recipient.refusal is None for recipient in outcome.recipients] == [True, False, True]
    assert without_added(server.message("user03", ident)) == message.stored
    assert without_added(server.message("user04", ident)) == message.stored
