"""How often to look for an answer before waiting for it.

A wait puts the thread to sleep, and what wakes it up finds its caches cold: together that takes longer than a server on
the same machine needs for an answer.  So it is worth to look a while first, as long as that finds something: a message
takes half the time so, and no more of the processor's (measured, `docs/performance.md`).  With a server that has not
answered by then a few times, waits have no looks before them; now and then it is tried anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from smtp_proto.states import Stage

from .endpoints import may_be_overheard

# So many more waits without than with an answer found are enough to give up; from then on one wait in so many is tried
# with looks again.
CREDIT = 8
ANEW = 64
# Seconds that looks may take among other tasks: where their turns are that long, there is something better to do.
LONGEST = 0.001


class Looks:
    """Before a wait of one kind `count` looks are to be made, `most` or none."""

    __slots__ = ("_credit", "_most", "count")

    def __init__(self, most: int) -> None:
        self._most = self.count = most
        self._credit = CREDIT

    def were(self, found: bool) -> None:
        """Whether they have found the answer."""
        if found:
            self._credit = min(CREDIT, max(self._credit, 0) + 1)
        else:
            self._credit -= 1
        anew = self._credit < 0 and self._credit % ANEW == 0
        self.count = self._most if anew or self._credit > 0 else 0

    async def find(self, turn: Callable[[], Awaitable[object]], take: Callable[[], bytes | None]) -> bytes | None:
        """What `take` gives behind one of the turns of the loop's other tasks, each of which is a part of a wait: who
        is cancelled in one knows no more and no less than there."""
        until = time.monotonic() + LONGEST
        for _ in range(self.count):
            await turn()
            octets = take()
            if octets is not None:
                self.were(found=True)
                return octets
            if time.monotonic() > until:
                break
        self.were(found=False)
        return None


class LooksByStage(dict[Stage, Looks]):
    """For one server, by what is waited for: it may be quick with an envelope and take its time with the message."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __missing__(self, stage: Stage) -> Looks:
        self[stage] = looks = Looks(self._most)
        return looks


# Those on this machine that connections were made to, by their address and the looks that are worth it at most.
MAX_SERVERS = 64
_servers: dict[tuple[object, int], LooksByStage] = {}


def looks_at(sock: Any, most: int) -> LooksByStage:
    """The looks for the connection of a socket: what was learnt of a server holds for all connections to it.

    There are none over a network, and one where there is but one processor: there the server has had it as soon as it
    was written to, or needs it to answer.
    """
    if may_be_overheard(sock):
        return LooksByStage(0)
    most = 1 if os.cpu_count() == 1 else most
    peer = None
    with suppress(OSError, AttributeError):
        peer = sock.getpeername()
    if not peer:  # one of a pair, or nobody any more
        return LooksByStage(most)
    if len(_servers) == MAX_SERVERS and (peer, most) not in _servers:
        _servers.clear()
    return _servers.setdefault((peer, most), LooksByStage(most))
