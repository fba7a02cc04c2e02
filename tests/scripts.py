"""Pieces of which scripts for `tests.scripted` are made: turns of a conversation, and whole ones.

A script is a list of steps, so pieces are joined with ``+`` or ``*``: ``[*opening("PIPELINING"), *QUIT]``.
"""

from __future__ import annotations

from tests.scripted import Conversation, Expect, ExpectBody, ExpectEOF, Send, Step

PATIENCE = 10.0  # seconds: of clients and tests; nothing that passes gets near it
HASTE = 0.1  # seconds: the time-out of a client that is meant to run into it

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"

OK: Step = Send(b"250 2.0.0 ok\r\n")
GREETING: list[Step] = [Send(b"220 mx.test ESMTP\r\n")]


def turn(command: bytes, reply: bytes) -> list[Step]:
    """A command that begins with `command`, in any letter case, and its reply (without its last line end)."""
    return [Expect(command), Send(reply + b"\r\n")]


def hello(*extensions: str, verb: bytes = b"ehlo ") -> list[Step]:
    """EHLO, answered with the extensions."""
    *before, last = [b"mx.test", *(extension.encode() for extension in extensions)]
    return [Expect(verb), Send(b"".join(b"250-" + line + b"\r\n" for line in before) + b"250 " + last + b"\r\n")]


def opening(*extensions: str) -> list[Step]:
    """The greeting, and EHLO answered with the extensions."""
    return [*GREETING, *hello(*extensions)]


MAIL: list[Step] = turn(b"mail from:<", b"250 2.1.0 sender ok")
RCPT: list[Step] = turn(b"rcpt to:<", b"250 2.1.5 recipient ok")
DATA: list[Step] = turn(b"data\r\n", b"354 go ahead")
BODY: list[Step] = [ExpectBody(), Send(b"250 2.0.0 queued\r\n")]
RSET: list[Step] = turn(b"rset\r\n", b"250 2.0.0 flushed")
NOOP: list[Step] = turn(b"noop", b"250 2.0.0 ok")
QUIT: list[Step] = [*turn(b"quit\r\n", b"221 2.0.0 bye"), ExpectEOF()]

#: One message to one recipient, all accepted.
DELIVERY: list[Step] = [*MAIL, *RCPT, *DATA, *BODY]


def delivery(recipients: int) -> list[Step]:
    """One message to several recipients, all accepted."""
    return [*MAIL, *RCPT * recipients, *DATA, *BODY]


class FirstOctets:
    """A step: wait until something has come, and leave it unread.

    Behind a 220 to STARTTLS it waits for the client's hello: what is sent then is none of an injection.
    """

    def play(self, conversation: Conversation) -> None:
        if not conversation.unread:
            conversation.receive("an octet")
