"""A recorded conversation, played again: as a test of the core, and of what a program does with the same answers.

`replay` gives a transcript to a fresh `ClientConnection`: each command must be one that may be sent there, and each
reply an answer to the command that it answered then.  So a conversation that went wrong somewhere becomes a test by
being pasted.  `Replay` stands in the place of a driver: it runs flows, answers them as the server answered then, and
fails where they say something else.

What is not in a transcript cannot be compared: secrets are masked, and messages are only as long as they were.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from .client import ClientConnection
from .commands import Auth, AuthResponse, Command, EndOfData, Raw
from .effects import Call, Effect, Flow, Pull, Receive, Send, Sent
from .errors import ProtocolError
from .events import ReplyReceived, ServiceClosing
from .grammar import SASL_MECHANISM
from .parsing import written_command
from .states import State
from .transcript import Entry, Said

T = TypeVar("T")

# Octets.  A chunk is counted, so it has to be there; a transcript may have come from anywhere, and memory is bounded.
MAX_CHUNK = 1 << 28


class ReplayError(ProtocolError):
    """The transcript cannot have happened, or did not happen again; `index` says at which of its entries."""

    def __init__(self, index: int, entry: Entry | None, problem: str) -> None:
        shown = repr(str(entry.said)) if entry is not None else "the end"
        super().__init__(f"entry {index}, {shown}: {problem}")
        self.index = index
        self.entry = entry
        self.problem = problem


def replay(transcript: Iterable[Entry]) -> list[ReplyReceived | ServiceClosing]:
    """Play a transcript again; returns what the connection made of each reply, with the command that it answers.

    `ReplayError` at the first entry that does not fit.  Several connections may follow one another.
    """
    entries = list(transcript)
    lmtp = any(entry.said.who == "C" and entry.said.text[:4].upper() == "LHLO" for entry in entries)
    # Whoever hands a socket in has read its greeting, and nobody is told of the connection.
    first = next((entry.said.who for entry in entries if entry.said.who != "*"), "S")
    connection = ClientConnection(lmtp=lmtp, strict=False, greeted=first == "C")
    events: list[ReplyReceived | ServiceClosing] = []
    for index, entry in enumerate(entries):
        try:
            if entry.said.text.startswith("connected to ") and entry.said.who == "*":
                connection = ClientConnection(lmtp=lmtp, strict=False)
            elif entry.said.who == "S":
                events.append(_heard(connection, entry.said))
            else:
                _say(connection, entry.said)
        except (ProtocolError, ValueError) as error:
            raise ReplayError(index, entry, str(error)) from error
    if connection.waiting and not connection.closed:
        raise ReplayError(len(entries), None, f"a reply to {connection.outstanding[0].row} is missing")
    return events


def _say(connection: ClientConnection, said: Said) -> None:
    """The client says or does it again."""
    if said.who == "*":
        if said.text.startswith("TLS established"):
            connection.tls_established()
        else:
            connection.abort()
    elif said.octets is None:
        connection.send(_command(said.text))
    elif connection.state is State.DATA:
        connection.send_body(b"x")  # whatever was in it, and however much
        connection.send(EndOfData())
    elif said.octets <= MAX_CHUNK:
        connection.send_body(b"x" * said.octets)
    else:
        raise ValueError(f"no chunk of more than {MAX_CHUNK} octets is played again")
    connection.data_to_send()


def _heard(connection: ClientConnection, said: Said) -> ReplyReceived | ServiceClosing:
    """The server says it again."""
    if said.reply is None:
        raise ValueError("a reply is missing")
    connection.receive_data(said.reply.raw)
    event = connection.next_event()
    if not isinstance(event, (ReplyReceived, ServiceClosing)):
        raise ValueError(f"it is no answer to anything, but {event!r}")
    return event


def _command(text: str) -> Command:
    """The command of a line for people; what is masked in it has some value of its own."""
    if text in ("*", "***"):
        return AuthResponse(None if text == "*" else b"")
    verb, _, rest = text.partition(" ")
    mechanism, masked, _ = rest.partition(" ***")
    if verb.upper() == "AUTH" and masked:
        return Auth(mechanism, b"") if SASL_MECHANISM.fullmatch(mechanism) else Raw(text.encode(), "AUTH")
    return written_command(text.encode())


class Replay:
    """A driver that answers flows from a transcript, and the observer that compares what is said with what was.

    It must be the `observe` of the session whose flows it runs.  Behind the last entry the server has hung up.
    """

    def __init__(self, transcript: Iterable[Entry]) -> None:
        # What the connection itself does, the flow's effects do again.
        self._entries = [(index, entry) for index, entry in enumerate(transcript) if entry.said.who != "*"]
        self._said = 0  # entries that were said again
        self._received = 0  # entries before the next reply that the server gives

    def __call__(self, said: Said) -> None:
        """Something was said: it must be what was said then."""
        if said.who == "*":
            return
        index, entry = self._entries[self._said] if self._said < len(self._entries) else (len(self._entries), None)
        if entry is None or entry.said.who != said.who or entry.said.text != said.text:
            raise ReplayError(index, entry, f"{str(said)!r} was said instead")
        self._said += 1

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end; `ReplayError` where it says or waits for something else than then."""
        try:
            effect = next(flow)
            while True:
                try:
                    result = self._perform(effect)
                except Exception as error:  # noqa: BLE001  # every exception goes into the flow
                    effect = flow.throw(error)
                else:
                    effect = flow.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the flow's T

    def finish(self) -> None:
        """`ReplayError` if there is more in the transcript than was said."""
        if self._said < len(self._entries):
            raise ReplayError(*self._entries[self._said], "it was not said again")

    def _perform(self, effect: Effect[Any]) -> Any:
        match effect:
            case Send():
                return Sent(None, [])
            case Receive():
                return self._receive()
            case Call():
                return effect.function(*effect.arguments)
            case Pull():
                return effect.next()
        return None  # what is asked of the network: there is none

    def _receive(self) -> bytes:
        self._received = max(self._received, self._said)
        if self._received == len(self._entries):
            return b""
        index, entry = self._entries[self._received]
        if entry.said.reply is None:
            raise ReplayError(index, entry, "a reply is waited for instead")
        self._received += 1
        return entry.said.reply.raw
