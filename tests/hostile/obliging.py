"""A server that does whatever it is told, one line after the other, and says which line it answers."""

from __future__ import annotations

from tests.scripted import ClientHungUp, Conversation


class Obliging:
    """A step: serve until the client has gone.  The reply to ``noop 7`` is ``250 noop 7``."""

    def __init__(self, *extensions: bytes) -> None:
        self.extensions = extensions

    def play(self, conversation: Conversation) -> None:
        conversation.send(b"220 obliging\r\n")
        try:
            while True:
                line = conversation.record(conversation.read_line("a command")).rstrip()
                verb = line[:4].lower()
                if verb == b"ehlo":
                    lines = [b"obliging", *self.extensions]
                    conversation.send(b"".join(b"250-%b\r\n" % each for each in lines) + b"250 HELP\r\n")
                elif verb == b"data":
                    conversation.send(b"354 go\r\n")
                    while line != b".":
                        line = conversation.read_line("a line of the message").rstrip()
                    conversation.send(b"250 message\r\n")
                else:
                    conversation.send(b"250 " + line + b"\r\n")
        except ClientHungUp:
            pass
