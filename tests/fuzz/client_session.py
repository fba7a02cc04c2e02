"""Whatever a server says to a client that delivers, the outcome is true: delivered only if all was sent and a 2xx came.

An input: flags, how the octets are divided among what is waited for (a length, and an octet for each piece), and what
the server sends.
"""

from __future__ import annotations

from typing import Any

from smtp_proto.body import DataEncoder, normalise_line_ends
from smtp_proto.client import ClientConnection
from smtp_proto.commands import Mail, Rcpt
from smtp_proto.effects import Call, Close, Effect, Flow, Poll, Pull, Receive, Send, Sent
from smtp_proto.errors import ConnectionLost, LocalProtocolError, ProtocolError
from smtp_proto.outcome import Outcome, Phase
from smtp_proto.sasl import AuthenticationAborted, CramMD5, Login, Mechanism, Plain
from smtp_proto.session import MAX_UNREAD, REPLY_LENGTH, ClientSession
from smtp_proto.transaction import deliver
from smtp_proto.transcript import Transcript
from tests.flows import run
from tests.fuzz.inputs import Input

PASSWORD = "pencil"
MESSAGE = b"Subject: x\n\n.\r\nquit\r.\n" + b"long " * 30000
_ENCODER = DataEncoder()
DATA = _ENCODER.encode(MESSAGE) + _ENCODER.finish()
CHUNK = normalise_line_ends(MESSAGE) + b"\r\n"
RECIPIENTS = (Rcpt("b@example.org"), Rcpt("c@example.org"))


class Server:
    """Performs the effects of a client: says what the input has, in pieces as the input says."""

    def __init__(self, octets: bytes, sizes: bytes) -> None:
        self.left = octets
        self.sizes = list(sizes)
        self.sent = b""

    def piece(self) -> bytes | None:
        """What has arrived; None for nothing, b"" for the end."""
        size = self.sizes.pop(0) if self.sizes else 255
        if size == 0:
            return None
        taken, self.left = self.left[: size * 4], self.left[size * 4 :]
        return taken

    def perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, Receive):
            return self.piece() or self.piece() or b""
        if isinstance(effect, Poll):
            return self.piece() if self.sizes and self.sizes[0] % 2 else None
        if isinstance(effect, Send):
            return self._send(b"".join(effect.chunks))
        if isinstance(effect, Call):
            return effect.function(*effect.arguments)
        if isinstance(effect, Pull):
            return effect.next()
        assert isinstance(effect, Close)
        return None

    def _send(self, octets: bytes) -> Sent:
        if not self.sizes or self.sizes[0] % 4:
            self.sent += octets
            return Sent(None, [])
        # The client is interrupted by what it hears.
        written = min(self.sizes.pop(0) * 16, len(octets))
        self.sent += octets[:written]
        return Sent(self.piece(), [octets[written:]] if octets[written:] else [])


def mechanism(flags: int) -> Mechanism | None:
    return (None, Plain("ada", PASSWORD), Login("ada", PASSWORD), CramMD5("ada", PASSWORD))[flags & 3]


def conversation(session: ClientSession, flags: int, outcome: Outcome) -> Flow[None]:
    yield from session.greet()
    yield from session.hello("client.test")
    log_in = mechanism(flags)
    if log_in is not None:
        yield from session.authenticate(log_in, initial_response=not flags & 4)
    yield from deliver(
        session,
        Mail("a@example.org"),
        RECIPIENTS,
        MESSAGE,
        pipelining=bool(flags & 8),
        chunking="eager" if flags & 48 == 48 else bool(flags & 16),
        last=bool(flags & 64),
        outcome=outcome,
    )
    if not session.connection.closed:
        yield from session.quit()


def check(data: bytes) -> None:
    given = Input(data)
    flags, sizes, octets = given.number(), given.some(), given.rest()
    server = Server(octets, sizes)
    transcript = Transcript(clock=lambda: 0.0)
    session = ClientSession(ClientConnection(lmtp=bool(flags & 128)), transcript)
    outcome = Outcome([command.path for command in RECIPIENTS], "a@example.org")
    failure: ProtocolError | None = None
    try:
        run(conversation(session, flags, outcome), server.perform)
    except (ProtocolError, AuthenticationAborted) as error:
        failure = error
        assert PASSWORD not in str(error)
    assert failure is not None or session.connection.closed
    assert isinstance(failure, (LocalProtocolError, AuthenticationAborted)) or session.connection.closed
    assert session.connection.unread <= MAX_UNREAD + REPLY_LENGTH * 8 + 1024
    check_outcome(outcome, server, failure)
    assert PASSWORD not in str(transcript)
    assert "AGFkYQBwZW5jaWw=" not in str(transcript)
    assert "cGVuY2ls" not in str(transcript)


def sent_in_vain(outcome: Outcome) -> bool:
    """True if the server took nobody before the message, or hung up before: then it has not looked at it."""
    answers = [outcome.mail, *(recipient.reply for recipient in outcome.recipients), outcome.data]
    hung_up = any(answer is not None and answer.code == 421 for answer in answers)
    return hung_up or not outcome.accepted


def check_outcome(outcome: Outcome, server: Server, failure: ProtocolError | None) -> None:
    complete = DATA in server.sent or CHUNK in server.sent
    if outcome.delivered:
        assert complete
        # In LMTP the answer for another recipient may be missing still.
        each_its_own = outcome.recipients[0].final is not None
        assert outcome.phase is Phase.DONE or (each_its_own and outcome.may_be_delivered)
        assert each_its_own or not isinstance(failure, ConnectionLost) or failure.outcome is None
    if complete and not sent_in_vain(outcome):
        # Nobody may think that it can safely be sent again.
        assert outcome.delivered or outcome.may_be_delivered or outcome.final is not None
    for recipient in outcome.recipients:
        assert not recipient.delivered or outcome.delivered
        assert str(recipient)
    assert str(outcome)
    assert server.sent.count(b"mail from:") <= 1
