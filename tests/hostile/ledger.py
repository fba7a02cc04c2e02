"""A server that takes messages, and keeps a ledger: which it has, and which it has said that it has.

What it says names what it answers: ``250 a7`` to the sender of message 7, ``250 q7`` to its end.  So an answer that was
taken for another's is found.  One of its replies can be troubled: a test says what comes in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tests.scripted import ClientHungUp, Conversation, ScriptFailed, Send, Step

#: How a message names itself, in its text and in its addresses.
_NUMBER = re.compile(rb"number (\d+)")


def letter(number: int, lines: int = 0) -> tuple[str, list[str], bytes]:
    """Sender, recipients and text of a message, with so many lines behind its number."""
    text = b"Subject: x\r\n\r\nnumber %d\r\n" % number + b"0123456789abcd\r\n" * lines
    return f"a{number}@client.test", [f"b{number}@mx.test"], text


PART = 100_000  # octets of a message that are read before its trouble


class Trouble(NamedTuple):
    """What befalls a reply, by its number, those to NOOP and QUIT not counted, or, with `inside`, a message.

    `steps` are made of the reply, and played in its place; then it is over, unless the server `goes_on`.  Inside a
    message they come when a part of it is read.
    """

    at: int
    steps: Callable[[bytes], list[Step]]
    goes_on: bool = False
    inside: bool = False


class Ledger:
    """A step: serve until the client has gone."""

    def __init__(self, *extensions: str, trouble: Trouble | None = None) -> None:
        #: The numbers of the messages that have come to their end, in order, each as often as it has come.
        self.taken: list[int] = []
        #: The numbers of those that the server has accepted, and said so in a whole reply.
        self.confirmed: set[int] = set()
        #: What was said, or would have been.
        self.replies: list[bytes] = []
        #: Whether the trouble has come: how many RSETs there are depends on the time, and so how many replies.
        self.troubled = False
        self._extensions = extensions
        self._trouble = trouble
        self._messages = 0
        self._over = False

    def play(self, conversation: Conversation) -> None:
        try:
            self._say(conversation, b"220 hi\r\n")
            while not self._over:
                self._serve(conversation, conversation.record(conversation.read_line("a command")).rstrip())
        except ClientHungUp:
            pass

    def _serve(self, conversation: Conversation, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        verb = verb.lower()
        if verb in (b"ehlo", b"lhlo"):
            lines = [b"hi", *(extension.encode() for extension in self._extensions)]
            self._say(conversation, b"".join(b"250-%b\r\n" % each for each in lines) + b"250 HELP\r\n")
        elif verb in (b"mail", b"rcpt"):
            self._say(conversation, b"250 %b\r\n" % line.partition(b"<")[2].partition(b"@")[0])
        elif verb == b"data":
            self._say(conversation, b"354 go\r\n")
            if not self._over:
                self._take_lines(conversation)
        elif verb == b"bdat":
            self._take_chunk(conversation, int(argument.split()[0]))
        elif verb == b"noop":
            conversation.send(b"250 %b\r\n" % line)
        elif verb == b"quit":
            conversation.send(b"221 bye\r\n")
            self._over = True
        else:
            self._say(conversation, b"250 %b\r\n" % line)

    def _take_lines(self, conversation: Conversation) -> None:
        self._disturb(conversation)
        message = bytearray()
        while not self._over and not message.endswith(b"\r\n.\r\n"):
            message += conversation.read_line("a line of the message")
        self._take(conversation, message)

    def _take_chunk(self, conversation: Conversation, size: int) -> None:
        self._disturb(conversation)
        if not self._over:
            self._take(conversation, conversation.read_octets(size))

    def _disturb(self, conversation: Conversation) -> None:
        """What comes in the middle of a message."""
        self._messages += 1
        trouble = self._trouble
        if trouble is not None and trouble.inside and trouble.at == self._messages - 1:
            self.troubled = self._over = True
            conversation.read_octets(PART)
            conversation.play(trouble.steps(b""))

    def _take(self, conversation: Conversation, message: bytes | bytearray) -> None:
        if self._over:
            return
        found = _NUMBER.search(message)
        if found is None:
            raise ScriptFailed(f"a message that is none: {bytes(message)!r}")
        number = int(found[1])
        self.taken.append(number)
        if self._say(conversation, b"250 q%d\r\n" % number):
            self.confirmed.add(number)

    def _say(self, conversation: Conversation, reply: bytes) -> bool:
        """Say it, or what a trouble has in its place; True if it was said as a whole."""
        self.replies.append(reply)
        trouble = self._trouble
        if trouble is None or trouble.inside or trouble.at != len(self.replies) - 1:
            conversation.send(reply)
            return True
        self.troubled = True
        steps = trouble.steps(reply)
        conversation.play(steps)
        self._over = not trouble.goes_on
        return any(isinstance(step, Send) and reply in step.data for step in steps)
