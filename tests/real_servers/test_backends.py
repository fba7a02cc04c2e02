"""The asynchronous clients at real servers: one case of each kind on every backend; the others have all on blocking."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from tests.conformance.backends import Backend
from tests.in_turn import LOOPS, in_turn
from tests.leaks import nothing_left_behind

from .doors import DOORS, SENDER, OpenDoor
from .mailboxes import MailServer, address, without_added
from .messages import BODIES, new_ident, with_header

WAYS = ["postfix plain", "postfix starttls login", "exim tls", "dovecot lmtp"]

backend = in_turn(LOOPS)


@pytest.mark.parametrize("name", WAYS)
def test_what_is_sent_arrives(request: pytest.FixtureRequest, backend: Backend, name: str) -> None:
    """Plain text, leading dots and octets of every kind arrive as they were sent, over one connection."""
    server: MailServer = request.getfixturevalue(DOORS[name].server)
    door = OpenDoor(DOORS[name], server, True, backend)
    sent = []
    with nothing_left_behind():
        with door.connect() as client:
            for body in ("plain", "dots", "not UTF-8", "a dot at the end"):
                ident = new_ident()
                message = with_header(ident, BODIES[body])
                sent.append((ident, message.stored))
                assert client.sendmail(SENDER, address("user30"), message.sent) == {}
        backend.settle()
    for ident, stored in sent:
        assert without_added(server.message("user30", ident)) == stored


@pytest.mark.parametrize("name", ["postfix plain", "dovecot lmtp"])
def test_some_of_fifty_recipients_are_refused(request: pytest.FixtureRequest, backend: Backend, name: str) -> None:
    """Exactly those that were refused are reported, each with its own answer, and the others have the message."""
    server: MailServer = request.getfixturevalue(DOORS[name].server)
    door = OpenDoor(DOORS[name], server, True, backend)
    users = [f"user{n:02}" for n in range(30)]
    strangers = [f"stranger{n}" for n in range(20)]
    recipients = [address(user) for pair in zip(users, strangers, strict=False) for user in pair]
    recipients += [address(user) for user in users[20:]]
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    with door.connect() as client:
        refused = client.sendmail(SENDER, recipients, message.sent)
        assert client.noop()[0] == 250
    assert len(recipients) == 50
    assert list(refused) == [address(stranger) for stranger in strangers]
    for recipient, (code, text) in refused.items():
        assert code == 550
        assert recipient.encode() in text
    for user in users:
        assert without_added(server.message(user, ident)) == message.stored


def test_international_addresses_and_headers_arrive(postfix: MailServer, backend: Backend) -> None:
    """SMTPUTF8 (RFC 6531) is said where it is needed, and what it is for arrives."""
    message = EmailMessage()
    message["From"], message["To"] = "Žofie <žofie@client.test>", "Jürgen <jürgen@example.test>"
    message["Subject"], message["Date"] = "Grüße, 世界", "Sun, 22 Nov 2026 12:00:00 +0000"
    message["Message-ID"] = ident = new_ident()
    message.set_content(".Viele Grüße\n", cte="8bit")
    with OpenDoor(DOORS["postfix plain"], postfix, True, backend).connect() as client:
        assert client.send_message(message) == {}
    read = message_from_bytes(postfix.message("jürgen", ident), policy=policy.SMTPUTF8)
    assert [read[field] for field in message] == [message[field] for field in message]
    assert read.get_content() == message.get_content()
