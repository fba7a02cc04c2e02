"""The name under which a server has queued a message, read out of the text of its last reply.

No RFC says where it stands, so this is a list of what servers are known to write.  It is for people and for log files:
nothing in the protocol depends on it, and a text that is not known gives None.
"""

from __future__ import annotations

import re
from functools import cache

from .replies import Reply

# Printable octets without white space and quotation marks, so that what a server writes can be logged as it is; the
# bound is far above the longest that is known.
_ID = r"([!#-&(-~]{1,200})"

# In the order in which they are tried: the ones that cannot be mistaken for anything else first.
_KNOWN = (
    r"\[InternalId=(\d{1,30})",  # Exchange: "<message-id> [InternalId=8435, Hostname=...] Queued mail for delivery"
    r"\bqueued (?:on \S{1,255} )?as ID",  # Postfix, and what imitates it; with the host's name: Yandex
    r"\bid=ID",  # Exim, GMX
    r"\bMessage queued \(ID\)",  # Haraka
    r"^(?:2\.\d\.\d: )?ID Message accepted for delivery",  # sendmail, OpenSMTPD
    r"\bok +(\d{1,20} qp \d{1,20})",  # qmail
    r"^OK +\d{1,20} +ID - gsmtp",  # Gmail
    r"^<[^<>\s]{0,320}> ID Saved\b",  # Dovecot's LMTP
    r"^OK ([0-9a-f]{16}-[0-9a-f-]{1,60})$",  # Amazon SES
    r"^OK ([0-9A-F]{2}/[0-9A-F]{2}-[0-9A-F-]{1,60})$",  # Momentum (SparkPost)
)


@cache
def _known() -> tuple[re.Pattern[str], ...]:
    """The patterns, compiled when they are first asked for: importing them so would take longer than all else here."""
    return tuple([re.compile(pattern.replace("ID", _ID), re.IGNORECASE) for pattern in _KNOWN])


def queue_id(reply: Reply) -> str | None:
    """The queue id in the text of an accepted reply to the end of a message; None where none is recognised."""
    if not reply.accepted:
        return None
    for line in reply.lines:
        text = line.decode("latin-1")
        if reply.enhanced is not None:
            text = text.removeprefix(str(reply.enhanced)).lstrip(" ")
        for known in _known():
            found = known.search(text)
            if found is not None:
                return found[1].rstrip(".,;")
    return None
