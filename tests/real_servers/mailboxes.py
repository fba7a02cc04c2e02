"""What the servers have delivered: Maildirs, one for each user, and what a server may add to a message.

A Maildir needs no lock and no parsing: a file in ``new`` is one whole message, moved there when it was complete.  Lines
end with LF in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from .processes import PATIENCE, until

DOMAIN = "example.test"  # RFC 6761 6.2: nobody else's
#: Fifty recipients with some refused: as many users as are needed, the unknown ones are made up by the tests.
USERS: Mapping[str, str] = {**{f"user{n:02}": f"user{n:02}" for n in range(50)}, "jürgen": "juergen", "full": "full"}
"""The users that every server knows: the local part of the address, and the name of the Maildir."""

PASSWORDS = {"user00": "s3cret words", "jürgen": "Paßwort €"}  # what some of them log in with

TOKENS = {"ya29.a0-token_of.user00": "user00", "ya29.another": "user01"}
"""Bearer tokens, and whose they are."""

SMALL = 10_000
"""The octets that a server takes at most on its port "small"."""

_HEADERS = (
    8192  # octets that have the Message-ID among them, of a report too, which has the original's header at its end
)

#: What a server writes before a message that it delivers (RFC 5321 4.4, and the names that each of them has for it).
_ADDED = re.compile(
    rb"(?:(?:Return-Path|X-Original-To|Delivered-To|Received|Envelope-To|Delivery-Date):[^\n]*\n(?:[ \t][^\n]*\n)*)+",
    re.IGNORECASE,
)

_MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>\n]+>)", re.MULTILINE)
_LOGGED = re.compile(r"(?:message-id=<| id=)([^> \n]+)")  # by Postfix, by Exim


def address(user: str) -> str:
    """A user's address."""
    return f"{user}@{DOMAIN}"


class MailServer(NamedTuple):
    """A server that is running: where it listens, and where it delivers to."""

    ports: Mapping[str, int]
    mail: Path
    log: Path
    #: Where it listens on a Unix socket, if it does.
    path: Path = Path("/nonexistent")

    def message(self, user: str, ident: str) -> bytes:
        """Take the message with this Message-ID out of a user's Maildir, as soon as it is there."""
        found: list[Path] = []

        def look() -> bool:
            found[:] = self._files(user, ident)
            return bool(found)

        assert until(look), f"{ident} has not come to {user} in {PATIENCE} s:\n{self._said()}"
        assert len(found) == 1, f"{ident} has come to {user} {len(found)} times"
        message = found[0].read_bytes()
        found[0].unlink()  # dozens of 5 MB would fill a small disk
        return message

    def order(self, certain: Collection[str], others: Collection[str] = ()) -> list[str]:
        """The Message-IDs in the order in which they have come in, as the log has it, as soon as it has all that are
        `certain`; of the `others` those that it has by then."""
        known = {ident[1:-1] for ident in (*certain, *others)}
        found: list[str] = []

        def look() -> bool:
            said = self.log.read_text("utf-8", "replace")
            found[:] = [f"<{ident}>" for ident in dict.fromkeys(_LOGGED.findall(said)) if ident in known]
            return set(certain) <= set(found)

        # Another process writes the log, and may be behind what the client has been told.
        assert until(look), self._said()
        return found

    def take_all(self, user: str, idents: Collection[str]) -> list[str]:
        """Take as many messages out of a user's Maildir as there are `idents`, and return the Message-IDs they have."""
        new = self.mail / USERS.get(user, user) / "new"
        assert until(lambda: new.is_dir() and len(list(new.iterdir())) >= len(idents)), self._said()
        found = []
        for path in list(new.iterdir()):
            found += _MESSAGE_ID.findall(path.read_bytes())[:1]
            path.unlink()
        return [ident.decode() for ident in found]

    def messages(self, user: str, ident: str) -> list[bytes]:
        """What is in a user's Maildir just now with this Message-ID."""
        return [path.read_bytes() for path in self._files(user, ident)]

    def _files(self, user: str, ident: str) -> list[Path]:
        new = self.mail / USERS.get(user, user) / "new"
        found = []
        for path in new.iterdir() if new.is_dir() else ():
            with path.open("rb") as file:
                if ident.encode() in file.read(_HEADERS):
                    found.append(path)
        return found

    def _said(self) -> str:
        return self.log.read_text("utf-8", "replace")[-4000:] if self.log.exists() else "(no log)"


def without_added(delivered: bytes) -> bytes:
    """A message without the header fields that the server has put before it."""
    added = _ADDED.match(delivered)
    assert added is not None, f"the server has added nothing: {delivered[:200]!r}"
    return delivered[added.end() :]
