"""Smuggling at servers of other make: what looks like the end of a message, and is none, arrives as a part of it."""

from __future__ import annotations

import re

import pytest

from .doors import DOORS, SENDER, OpenDoor
from .mailboxes import MailServer, address, without_added
from .messages import header, new_ident

# By what stands before the dot; Exim delivers no more than ten messages of a connection at once.
ENDS = {
    a: [a + b"." + z for z in (b"\r\n", b"\n", b"\r", b"\r\r\n")] for a in (b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n")
}
CHUNK = 65536  # what is read of a message at once


@pytest.mark.parametrize("name", ["postfix plain", "exim plain"])
@pytest.mark.parametrize("how", ["whole", "across the edge of a chunk", "octet by octet"])
def test_exactly_the_message_that_was_sent_arrives(
    request: pytest.FixtureRequest, name: str, how: str, pipelining: bool
) -> None:
    """Of every body known from the papers one message arrives, and it is the one that was given."""
    server: MailServer = request.getfixturevalue(DOORS[name].server)
    evil = new_ident()
    sent: list[tuple[str, bytes]] = []
    for ends in ENDS.values():
        with OpenDoor(DOORS[name], server, pipelining).connect() as client:
            for number, end in enumerate(ends):
                ident = new_ident()
                start = header(ident)
                if how == "across the edge of a chunk":
                    start += (b"x" * 63 + b"\n") * ((CHUNK - len(start)) // 64 - 1)
                    start += b"y" * (CHUNK - len(start) - number % (len(end) + 1))
                smuggled = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{address('user05')}>\r\nDATA\r\n".encode()
                message = start + end + smuggled + header(evil) + b"evil" + end
                octets = [message[n : n + 1] for n in range(len(message))]
                sending = octets if how == "octet by octet" else message
                assert client.sendmail(SENDER, address("user06"), sending) == {}
                sent.append((ident, re.sub(rb"\r\n|\r|\n", b"\n", message)))
            assert client.noop()[0] == 250
    for ident, stored in sent:
        assert without_added(server.message("user06", ident)) == stored
    assert server.messages("user05", evil) == []
