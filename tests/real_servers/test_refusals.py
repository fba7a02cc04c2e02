"""Refusals by real servers are reported exactly, and leave a connection that works."""

from __future__ import annotations

import pytest

import smtp_blocking

from .doors import DOORS, SENDER, OpenDoor
from .mailboxes import MailServer, address, without_added
from .messages import BODIES, header, new_ident, with_header

OUTSIDE = "someone@elsewhere.test"
#: The doors that decide about a sender, and about a whole message.
SMTP_DOORS = [name for name, door in DOORS.items() if door.server != "dovecot"]


def refusal(door: OpenDoor, recipient: str) -> tuple[int, bytes]:
    """What a server says to a recipient that it does not take, written down as its configuration or itself has it."""
    user = recipient.partition("@")[0]
    if door.kind.server == "dovecot":
        return 550, f"5.1.1 <{recipient}> User doesn't exist: {recipient}".encode()
    if door.kind.server == "exim":
        if recipient == OUTSIDE:
            return 550, b"5.7.1 No relaying for elsewhere.test"
        if user in ("busy", "later"):
            return 450, f"4.2.1 {user} is busy".encode()
        return 550, f"5.1.1 No such user\n5.1.1 {user} is unknown".encode()
    if recipient == OUTSIDE:
        # Who has logged in may send to others; but there is no way out.
        login = b"550 5.7.1 <%b>: Recipient address rejected: nothing leaves this host"
        other = b"554 5.7.1 <%b>: Relay access denied"
        code, _, text = (login if door.kind.login else other).partition(b" ")
        return int(code), text % OUTSIDE.encode()
    if user in ("busy", "later"):
        return 450, f"4.2.1 <{recipient}>: Recipient address rejected: {user} is busy".encode()
    unknown = "Recipient address rejected: User unknown in virtual mailbox table"
    return 550, f"5.1.1 <{recipient}>: {unknown}".encode()


def test_some_of_fifty_recipients_are_refused(door: OpenDoor) -> None:
    """Of fifty recipients exactly those that were refused are reported, each with its own answer; the rest has it."""
    known = [f"user{n:02}" for n in range(36)]
    refused = [address(f"stranger{n}") for n in range(11)] + [address("busy"), address("later"), OUTSIDE]
    recipients = [address(user) for user in known]
    for n, recipient in enumerate(refused):
        recipients.insert(n * 3, recipient)  # the first is refused, and the places vary
    assert len(recipients) == 50
    ident = new_ident()
    message = with_header(ident, BODIES["dots"])
    with door.connect() as client:
        answers = client.sendmail(SENDER, recipients, message.sent)
        assert answers == {recipient: refusal(door, recipient) for recipient in refused}
        assert list(answers) == [recipient for recipient in recipients if recipient in refused]
        assert client.noop()[0] == 250
    for user in known:
        assert without_added(door.server.message(user, ident)) == message.stored
    for user in ("stranger0", "busy", "user49"):
        assert door.server.messages(user, ident) == []


def test_all_of_fifty_recipients_are_refused(door: OpenDoor) -> None:
    """Where every recipient is refused all are reported, nothing is sent, and the next message goes its way."""
    refused = [address(f"stranger{n}") for n in range(48)] + [address("busy"), OUTSIDE]
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    with door.connect() as client:
        with pytest.raises(smtp_blocking.SMTPRecipientsRefused) as caught:
            client.sendmail(SENDER, refused, message.sent)
        assert caught.value.recipients == {recipient: refusal(door, recipient) for recipient in refused}
        assert client.sendmail(SENDER, address("user07"), message.sent) == {}
    assert without_added(door.server.message("user07", ident)) == message.stored


@pytest.mark.parametrize("name", SMTP_DOORS)
def test_a_refusal_for_now_says_so(request: pytest.FixtureRequest, name: str, pipelining: bool) -> None:
    """A 4xx is reported as one, with its enhanced code (RFC 3463)."""
    server: MailServer = request.getfixturevalue(DOORS[name].server)
    with OpenDoor(DOORS[name], server, pipelining).connect() as client:
        with pytest.raises(smtp_blocking.SMTPRecipientsRefused) as caught:
            client.sendmail(SENDER, address("busy"), "Subject: A test\n\nIt works.\n")
        assert caught.value.temporary
        assert str(caught.value.enhanced) == "4.2.1"


@pytest.mark.parametrize("name", SMTP_DOORS)
def test_a_sender_is_refused(request: pytest.FixtureRequest, name: str, pipelining: bool) -> None:
    """A sender that is refused is reported with the answer to MAIL, not with those to what was pipelined behind it."""
    server: MailServer = request.getfixturevalue(DOORS[name].server)
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    with OpenDoor(DOORS[name], server, pipelining).connect() as client:
        with pytest.raises(smtp_blocking.SMTPSenderRefused) as caught:
            client.sendmail("banned@client.test", [address("user08"), address("stranger")], message.sent)
        said = b"5.7.1 That sender is not wanted"
        if DOORS[name].server == "postfix":
            said = b"5.7.1 <banned@client.test>: Sender address rejected: That sender is not wanted"
        assert (caught.value.smtp_code, caught.value.smtp_error) == (550, said)
        assert caught.value.sender == "banned@client.test"
        assert client.sendmail(SENDER, address("user08"), message.sent) == {}
    assert without_added(server.message("user08", ident)) == message.stored  # there is only one


@pytest.mark.parametrize("name", SMTP_DOORS)
def test_a_message_is_refused(request: pytest.FixtureRequest, name: str, pipelining: bool) -> None:
    """A message that is refused after its end is reported with that answer, and the next one is sent."""
    server: MailServer = request.getfixturevalue(DOORS[name].server)
    refused, accepted = new_ident(), new_ident()
    with OpenDoor(DOORS[name], server, pipelining).connect() as client:
        with pytest.raises(smtp_blocking.SMTPDataError) as caught:
            client.sendmail(
                SENDER, [address("user09"), address("stranger")], header(refused, "Refuse me") + b".\n.No.\n"
            )
        code = 550 if DOORS[name].server == "postfix" else 554
        assert (caught.value.smtp_code, caught.value.smtp_error) == (code, b"5.6.0 That message is not wanted")
        assert client.sendmail(SENDER, address("user09"), with_header(accepted, BODIES["plain"]).sent) == {}
    server.message("user09", accepted)
    assert server.messages("user09", refused) == []


# -- LMTP: an answer for each recipient after the message -------------------------------------------------------------


@pytest.mark.parametrize("name", ["dovecot lmtp", "dovecot lmtp unix"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_lmtp_reports_each_recipient(dovecot: MailServer, name: str, place: int, pipelining: bool) -> None:
    """Of the recipients that were accepted exactly those are reported whose own answer to the message is a refusal."""
    recipients = [address("user10"), address("user11")]
    recipients.insert(place, address("full"))
    recipients.insert(1, address("stranger"))
    ident = new_ident()
    message = with_header(ident, BODIES["dots"])
    door = OpenDoor(DOORS[name], dovecot, pipelining)
    with door.connect() as client:
        full = b"5.2.2 <full@example.test> Quota exceeded (mailbox for user is full)"
        assert client.sendmail(SENDER, recipients, message.sent) == {
            address("stranger"): refusal(door, address("stranger")),
            address("full"): (552, full),
        }
        assert client.noop()[0] == 250
    for user in ("user10", "user11"):
        assert without_added(dovecot.message(user, ident)) == message.stored
    assert dovecot.messages("full", ident) == []


def test_lmtp_reports_a_message_that_nobody_took(dovecot: MailServer, pipelining: bool) -> None:
    """Where the only recipient that was accepted does not take the message, the message is what was refused."""
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    with OpenDoor(DOORS["dovecot lmtp"], dovecot, pipelining).connect() as client:
        with pytest.raises(smtp_blocking.SMTPDataError) as caught:
            client.sendmail(SENDER, [address("stranger"), address("full")], message.sent)
        assert caught.value.smtp_code == 552
        assert caught.value.outcome is not None
        assert [recipient.accepted for recipient in caught.value.outcome.recipients] == [False, True]
        assert client.sendmail(SENDER, address("user12"), message.sent) == {}
    assert without_added(dovecot.message("user12", ident)) == message.stored
