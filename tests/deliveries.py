"""One mail transaction between the client's session and a server in memory, with all that became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Mail, Noop, Rcpt
from smtp_proto.effects import Flow
from smtp_proto.errors import ConnectionLost
from smtp_proto.outcome import Outcome
from smtp_proto.session import ClientSession
from smtp_proto.transaction import Chunking, deliver

from .flows import Joined, Pieces, whole
from .serving import Answering

SENDER = Mail("sender@client.test")
MESSAGE = b"Subject: test\r\n\r\n.a line that begins with a dot\r\n"


class Way(NamedTuple):
    """How a message is sent."""

    pipelining: bool = False
    chunking: Chunking = False
    lmtp: bool = False

    def __str__(self) -> str:
        return (
            " ".join("eager" if on == "eager" else name for name, on in self._asdict().items() if on) or "step by step"
        )

    @property
    def end(self) -> str:
        """The row of what is answered at the end of the message."""
        return "BDAT LAST" if self.chunking else "end of data"


WAYS = [Way(p, c, lmtp) for p in (False, True) for c in (False, True) for lmtp in (False, True)]
EAGER = [Way(True, "eager", lmtp) for lmtp in (False, True)]
WITH_DATA = [way for way in WAYS if not way.chunking]

every_way = pytest.mark.parametrize("way", WAYS, ids=str)
every_way_with_data = pytest.mark.parametrize("way", WITH_DATA, ids=str)


def recipients(count: int) -> list[Rcpt]:
    return [Rcpt(f"r{n}@mx.test") for n in range(count)]


class Delivery:
    """Greeting, introduction, one `deliver`, and where the connection is still open, a NOOP."""

    def __init__(
        self,
        way: Way = Way(),  # noqa: B008  # immutable
        codes: Mapping[str, Any] | None = None,
        *,
        to: int = 2,
        message: Any = MESSAGE,
        server: Any = None,
        pieces: Pieces = whole,
        room: int | None = None,
        lost_after: int | None = None,
        lost_with: type[OSError] | None = None,
        client_fails: Mapping[int, BaseException] | None = None,
        last: bool = False,
    ) -> None:
        self.way = way
        self._last = last
        self.server = server if server is not None else Answering(codes, lmtp=way.lmtp)
        self.session = ClientSession(ClientConnection(lmtp=way.lmtp))
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.noop: str | None = None
        self.joined = Joined(
            self._conversation(to, message),
            self.server.run(),
            pieces=pieces,
            room=room,
            lost_after=lost_after,
            lost_with=lost_with,
            client_fails=client_fails,
        )
        try:
            self.joined.run()
        except Exception as error:  # noqa: BLE001  # what was raised is what is looked at
            self.error = error
        except KeyboardInterrupt as error:
            self.error = error
        if isinstance(self.error, ConnectionLost) and self.outcome is None:
            self.outcome = self.error.outcome

    def _conversation(self, to: int, message: Any) -> Flow[None]:
        session, way = self.session, self.way
        yield from session.greet()
        yield from session.hello("client.test")
        self.outcome = yield from deliver(
            session,
            SENDER,
            recipients(to),
            message,
            pipelining=way.pipelining,
            chunking=way.chunking,
            last=self._last,
        )
        if not session.connection.closed:
            self.noop = (yield from session.command(Noop())).text

    @property
    def result(self) -> Outcome:
        """The outcome, where there is one and nothing was raised."""
        if self.error is not None:
            raise self.error
        assert self.outcome is not None
        return self.outcome

    @property
    def closed(self) -> bool:
        return self.session.connection.closed

    @property
    def codes(self) -> set[int]:
        """All codes that the client was answered with."""
        return {int(line[:3]) for line in self.joined.client.heard.splitlines()}

    @property
    def in_step(self) -> bool:
        """True if the NOOP behind the transaction got its own answer."""
        return self.noop == "NOOP" and self.error is None

    @property
    def rows(self) -> list[str]:
        """The commands of the transaction as the server got them."""
        rows: list[str] = self.server.rows
        return rows[:-1] if self.noop is not None else rows


def seen(outcome: Outcome) -> tuple[object, ...]:
    """All of an outcome that a caller sees."""
    return (
        outcome.mail,
        [(recipient.reply, recipient.final) for recipient in outcome.recipients],
        outcome.data,
        outcome.final,
        outcome.delivered,
        outcome.may_be_delivered,
        outcome.refusal,
        outcome.phase,
    )
