"""From an `email.message.Message` to what SMTP carries: the envelope, the octets, and what they need of the server.

The only module that imports `email`: before Python 3.13 that pulls in `socket`, so `import smtp_proto` leaves it out.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable
from email.generator import BytesGenerator
from email.message import Message
from email.utils import getaddresses
from typing import Any


def resent_prefix(message: Message[Any, Any]) -> str:
    """ "Resent-" if the message was resent (RFC 5322 3.6.6), for its envelope is then in those headers."""
    dates = message.get_all("Resent-Date")
    if dates is None:
        return ""
    if len(dates) > 1:
        # Which block is the newest cannot be told from the headers, and guessing would send mail to the wrong people.
        raise ValueError("message has more than one 'Resent-' header block")
    return "Resent-"


def _addresses(headers: Iterable[object]) -> list[str]:
    return [address for _, address in getaddresses([str(header) for header in headers]) if address]


def reverse_path(message: Message[Any, Any]) -> str:
    """The sender: the Sender header, else the first address of From (RFC 5322 3.6.2); Resent- ones of a resent message.

    `ValueError` where there is none.
    """
    prefix = resent_prefix(message)
    for name in ("Sender", "From"):
        headers = message.get_all(prefix + name)
        if headers is not None:
            addresses = _addresses(headers)
            if addresses:
                return addresses[0]
    raise ValueError(f"no sender: the message has no {prefix}Sender or {prefix}From header with an address")


def forward_paths(message: Message[Any, Any]) -> list[str]:
    """The recipients: all addresses of all To, Bcc and Cc headers; Resent- ones of a resent message."""
    prefix = resent_prefix(message)
    headers = [header for name in ("To", "Bcc", "Cc") for header in message.get_all(prefix + name, [])]
    return _addresses(headers)


def flatten(message: Message[Any, Any], *, utf8: bool = False) -> bytes:
    """The octets of the message with CRLF line ends, without Bcc and Resent-Bcc; `message` itself is not changed.

    `utf8`: write headers as UTF-8 (RFC 6532), for a transaction with SMTPUTF8.  The message's own policy is used, so a
    line that begins with "From " stays as it is unless the policy asks for mangling.
    """
    without_bcc = copy.copy(message)
    del without_bcc["Bcc"]
    del without_bcc["Resent-Bcc"]
    # Every policy of the standard library that is not compat32 has `utf8`; compat32 leaves such headers as they are.
    changes: dict[str, Any] = {"utf8": True} if utf8 and hasattr(message.policy, "utf8") else {}
    policy = message.policy.clone(**changes)
    octets = io.BytesIO()
    BytesGenerator(octets, policy=policy).flatten(without_bcc, linesep="\r\n")
    return octets.getvalue()
