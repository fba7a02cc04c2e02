"""What `send` hears while it sends: the conversation, for --verbose; the octets that go out, for the progress bar; and
both together for the one thing that an interrupt must not leave unsaid, whether the message may be delivered already.
"""

from __future__ import annotations

from smtp_blocking import SMTP
from smtp_proto.transcript import Said

from .terminal import Terminal

# Octets from which on a message is worth a bar: below, it is out before anybody has looked.
LARGE = 1 << 18


class Watch:
    """An observer of the conversation in which one message of `octets` is sent."""

    def __init__(self, terminal: Terminal, octets: int, *, verbose: bool) -> None:
        self._terminal = terminal
        self._octets = octets
        self._verbose = verbose
        self._out = -1  # octets of the message that were given out; -1 before it is asked for, and after it is answered
        #: The message is out, and its fate is not known.
        self.undecided = False

    def observe(self, said: Said) -> None:
        """The conversation (`smtp_proto.transcript`)."""
        if self._verbose:
            self._terminal.tell(str(said))
        if said.octets is not None:
            # Until all answers are in: in LMTP the first of several is not the last word.
            self.undecided = True
        elif said.reply is not None:
            self._out = 0 if said.reply.code == 354 else -1

    def follow(self, client: SMTP) -> None:
        """Hear what the client writes, too."""
        audit = client._driver.on_send

        def on_send(octets: bytes) -> None:
            if audit is not None:
                audit(octets)
            if self._out >= 0 and self._octets >= LARGE:
                # These are about to be written, and all before them have been.
                self._terminal.progress(min(self._out, self._octets), self._octets)
                self._out += len(octets)

        client._driver.on_send = on_send
