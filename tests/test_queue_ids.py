"""The queue id in what servers say to the end of a message."""

from __future__ import annotations

import pytest

from smtp_proto.queue_ids import queue_id
from smtp_proto.replies import Reply

SAID: list[tuple[str, str | None]] = [
    ("2.0.0 Ok: queued as 4XyZ1a2B3cz5D", "4XyZ1a2B3cz5D"),  # Postfix, with long queue ids
    ("2.0.0 Ok: queued as 9F3A21C0DE", "9F3A21C0DE"),
    ("2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 9F3A21C0DE", "9F3A21C0DE"),  # a filter before it
    ("2.0.0 Ok: queued on mx1.example as 1577436433-aBcD", "1577436433-aBcD"),
    ("OK id=1sABCd-0000xx-1Y", "1sABCd-0000xx-1Y"),  # Exim
    ("Requested mail action okay, completed: id=0Lh7M3-1csvNv3Q9v-00oUqv", "0Lh7M3-1csvNv3Q9v-00oUqv"),
    ("2.0.0 0f1d1d3a Message accepted for delivery", "0f1d1d3a"),  # OpenSMTPD; sendmail
    ("2.0.0: 0f1d1d3a Message accepted for delivery", "0f1d1d3a"),
    ("2.0.0 4APDv3xM012345 Message accepted for delivery", "4APDv3xM012345"),
    (
        "2.6.0 <1@a.example> [InternalId=8435, Hostname=x.example] 3 bytes in 0.1, 5 KB/sec Queued mail for delivery",
        "8435",
    ),
    (
        "2.0.0 OK  1672231234 d2e1a72fcca58-72d40548a06sm7355966b3a.34 - gsmtp",
        "d2e1a72fcca58-72d40548a06sm7355966b3a.34",
    ),
    ("ok 1672231234 qp 12345", "1672231234 qp 12345"),
    ("2.0.0 <bob@lab.test> KHLZDEfLb2UFAAAA Saved", "KHLZDEfLb2UFAAAA"),  # Dovecot's LMTP
    ("Message Queued (9E2C0F3A-1234.1)", "9E2C0F3A-1234.1"),
    ("2.0.0 OK 4F/2A-12345-ABCDEF01", "4F/2A-12345-ABCDEF01"),
    (
        "Ok 0102018f3a2b1c0d-1a2b3c4d-2222-3333-4444-555555555555-000000",
        "0102018f3a2b1c0d-1a2b3c4d-2222-3333-4444-555555555555-000000",
    ),  # Amazon SES
    ("2.0.0 Ok", None),
    ("", None),
    ("Message accepted for delivery", None),
    ("Queued (0.123 seconds)", None),
    ("2.6.0 Queued mail for delivery", None),
    ("flushed\nOk: queued as 9F3A21C0DE.", "9F3A21C0DE"),  # any line of it
]


@pytest.mark.parametrize(("text", "found"), SAID)
def test_known_texts(text: str, found: str | None) -> None:
    """What servers are known to write is recognised, with an enhanced status code in front or not; the rest is not."""
    assert queue_id(Reply(250, text)) == found


@pytest.mark.parametrize("text", ["queued as 9F3A21C0DE", "OK id=1sABCd-0000xx-1Y"])
def test_a_refusal_queues_nothing(text: str) -> None:
    """A refusal has no queue id, whatever its text says."""
    assert queue_id(Reply(450, text)) is None


@pytest.mark.parametrize("octets", [b"queued as \x1b[31mred", b"queued as \xc3\xa9", b'queued as "', b"queued as "])
def test_what_cannot_be_logged_is_no_id(octets: bytes) -> None:
    """Control characters, quotation marks and what is not ASCII never become part of an id."""
    assert queue_id(Reply(250, octets)) is None


def test_long_nonsense_takes_no_time() -> None:
    """An id has a bound, and so has the work: a text as long as a reply may be is just none that is known."""
    assert queue_id(Reply(250, b"queued on " + b"x" * 100_000)) is None
    found = queue_id(Reply(250, b"queued as " + b"x" * 100_000))
    assert found is not None
    assert len(found) == 200
