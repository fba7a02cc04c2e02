"""Refusals by real servers are reported exactly, and leave a connection that works."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

import smtp_blocking
from tests.conformance.backends import BACKENDS

from .doors import BLOCKING, DOORS, SENDER, OpenDoor
from .mailboxes import address, without_added
from .messages import BODIES, header, new_ident, with_header

OUTSIDE = "someone@elsewhere.test"
#: The doors that decide about a sender, and about a whole message; and where each backend asks for its refusals: the
#: blocking one at every door, the others at one of each server.
SMTP_DOORS = [name for name, door in DOORS.items() if door.server != "dovecot"]
SMTP_CASES = [*((BLOCKING, name) for name in SMTP_DOORS), *product(BACKENDS[1:], ["postfix plain", "exim tls"])]
LMTP_CASES = [*product([BLOCKING], ["dovecot lmtp", "dovecot lmtp unix"]), *product(BACKENDS[1:], ["dovecot lmtp"])]


@pytest.fixture(params=SMTP_CASES, ids=lambda case: f"{case[0].name} {case[1]}")
def smtp_door(request: pytest.FixtureRequest, pipelining: bool) -> Iterator[OpenDoor]:
    """A door that decides about senders and messages, on each backend."""
    yield from opened(request, pipelining)


@pytest.fixture(params=LMTP_CASES, ids=lambda case: f"{case[0].name} {case[1]}")
def lmtp_door(request: pytest.FixtureRequest, pipelining: bool) -> Iterator[OpenDoor]:
    """A door that answers for each recipient, on each backend."""
    yield from opened(request, pipelining)


def opened(request: pytest.FixtureRequest, pipelining: bool) -> Iterator[OpenDoor]:
    backend, name = request.param
    kind = DOORS[name]
    backend.start()
    yield OpenDoor(kind, request.getfixturevalue(kind.server), pipelining, backend)
    backend.stop()


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


def test_a_refusal_for_now_says_so(smtp_door: OpenDoor) -> None:
    """A 4xx is reported as one, with its enhanced code (RFC 3463)."""
    with smtp_door.connect() as client:
        with pytest.raises(smtp_blocking.SMTPRecipientsRefused) as caught:
            client.sendmail(SENDER, address("busy"), "Subject: A test\n\nIt works.\n")
        assert caught.value.temporary
        assert str(caught.value.enhanced) == "4.2.1"


def test_a_sender_is_refused(smtp_door: OpenDoor) -> None:
    """A sender that is refused is reported with the answer to MAIL, not with those to what was pipelined behind it."""
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    with smtp_door.connect() as client:
        with pytest.raises(smtp_blocking.SMTPSenderRefused) as caught:
            client.sendmail("banned@client.test", [address("user08"), address("stranger")], message.sent)
        said = b"5.7.1 That sender is not wanted"
        if smtp_door.kind.server == "postfix":
            said = b"5.7.1 <banned@client.test>: Sender address rejected: That sender is not wanted"
        assert (caught.value.smtp_code, caught.value.smtp_error) == (550, said)
        assert caught.value.sender == "banned@client.test"
        assert client.sendmail(SENDER, address("user08"), message.sent) == {}
    assert without_added(smtp_door.server.message("user08", ident)) == message.stored  # there is only one


def test_a_message_is_refused(smtp_door: OpenDoor) -> None:
    """A message that is refused after its end is reported with that answer, and the next one is sent."""
    refused, accepted = new_ident(), new_ident()
    with smtp_door.connect() as client:
        with pytest.raises(smtp_blocking.SMTPDataError) as caught:
            client.sendmail(
                SENDER, [address("user09"), address("stranger")], header(refused, "Refuse me") + b".\n.No.\n"
            )
        code = 550 if smtp_door.kind.server == "postfix" else 554
        assert (caught.value.smtp_code, caught.value.smtp_error) == (code, b"5.6.0 That message is not wanted")
        assert client.sendmail(SENDER, address("user09"), with_header(accepted, BODIES["plain"]).sent) == {}
    smtp_door.server.message("user09", accepted)
    assert smtp_door.server.messages("user09", refused) == []


# -- LMTP: an answer for each recipient after the message -------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 2])
def test_lmtp_reports_each_recipient(lmtp_door: OpenDoor, place: int) -> None:
    """Of the recipients that were accepted exactly those are reported whose own answer to the message is a refusal."""
    recipients = [address("user10"), address("user11")]
    recipients.insert(place, address("full"))
    recipients.insert(1, address("stranger"))
    ident = new_ident()
    message = with_header(ident, BODIES["dots"])
    with lmtp_door.connect() as client:
        full = b"5.2.2 <full@example.test> Quota exceeded (mailbox for user is full)"
        assert client.sendmail(SENDER, recipients, message.sent) == {
            address("stranger"): refusal(lmtp_door, address("stranger")),
            address("full"): (552, full),
        }
        assert client.noop()[0] == 250
    for user in ("user10", "user11"):
        assert without_added(lmtp_door.server.message(user, ident)) == message.stored
    assert lmtp_door.server.messages("full", ident) == []


def test_lmtp_reports_a_message_that_nobody_took(lmtp_door: OpenDoor) -> None:
    """Where the only recipient that was accepted does not take the message, the message is what was refused."""
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    with lmtp_door.connect() as client:
        with pytest.raises(smtp_blocking.SMTPDataError) as caught:
            client.sendmail(SENDER, [address("stranger"), address("full")], message.sent)
        assert caught.value.smtp_code == 552
        assert caught.value.outcome is not None
        assert [recipient.accepted for recipient in caught.value.outcome.recipients] == [False, True]
        assert client.sendmail(SENDER, address("user12"), message.sent) == {}
    assert without_added(lmtp_door.server.message("user12", ident)) == message.stored
