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
        self._out: int | None = None  # octets that were given out since the message was begun
        self._due: int | None = None  # and so many they are

    def observe(self, said: Said) -> None:
        """The conversation (`smtp_proto.transcript`)."""
        if self._verbose:
            self._terminal.tell(str(said))
        # DATA begins with the 354, and says at its end how much it was; BDAT begins with saying so.
        if said.octets is not None:
            self._due = said.octets
        if self._out is None and (said.octets is not None or (said.reply is not None and said.reply.code == 354)):
            self._out = 0

    def follow(self, client: SMTP) -> None:
        """Hear what the client writes, too."""
        audit = client._driver.on_send

        def on_send(octets: bytes) -> None:
            if audit is not None:
                audit(octets)
            if self._out is not None:
                if self._octets >= LARGE:
                    # These are about to be written, and all before them have been.
                    self._terminal.progress(min(self._out, self._octets), self._octets)
                self._out += len(octets)

        client._driver.on_send = on_send

    @property
    def undecided(self) -> bool:
        """True if the message is out, and not all that the server has to say about it is in."""
        return self._out is not None and self._due is not None and self._out >= self._due

    def settled(self) -> None:
        """The fate of the message is known."""
        self._out = self._due = None
