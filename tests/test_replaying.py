"""Transcripts on their way to a file and back, and played again."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import smtp_blocking
from smtp_proto.client import ClientConnection
from smtp_proto.commands import Mail, Noop, Rcpt
from smtp_proto.effects import Flow, Pull
from smtp_proto.errors import ConnectionLost
from smtp_proto.events import ReplyReceived, ServiceClosing
from smtp_proto.outcome import Outcome
from smtp_proto.replaying import Replay, ReplayError, replay
from smtp_proto.sasl import Mechanism
from smtp_proto.server_session import Settings
from smtp_proto.session import ClientSession
from smtp_proto.transaction import deliver
from smtp_proto.transcript import Transcript, connected_said
from tests.certificates import client_context, server_context

# A log-in in the clear, on loopback, so that there is one in each conversation.
SETTINGS = Settings(cleartext_auth=True)
MESSAGE = b"Subject: x\r\n\r\n.hello\r\n"

ONE = """
*: connected to 192.0.2.1 port 25
S: 220 mx.test ESMTP
C: ehlo client.test
S: 250-mx.test
S: 250-PIPELINING
S: 250 AUTH PLAIN LOGIN
C: AUTH PLAIN ***
S: 535 5.7.8 no
C: AUTH LOGIN
S: 334 VXNlcm5hbWU6
C: ***
S: 334 UGFzc3dvcmQ6
C: *
S: 501 5.7.0 cancelled
C: mail from:<a@b.test>
C: rcpt to:<c@d.test>
C: data
S: 250 2.1.0 ok
S: 250 2.1.5 ok
S: 354 go
C: <22 octets of message>
S: 250 2.0.0 queued
C: quit
S: 221 bye
*: connection closed
"""


def recorded(*, tls: bool = False, pipelining: bool = True, chunking: bool = True, lmtp: bool = False) -> Transcript:
    """A real conversation with our own server: a log-in, a message to two, one recipient refused, a goodbye."""
    ticks = iter(range(1000))
    transcript = Transcript(lambda: float(next(ticks)))
    kind = smtp_blocking.LMTP if lmtp else smtp_blocking.SMTP
    context = server_context() if tls else None
    with (
        smtp_blocking.Server(lmtp=lmtp, users={"user": "secret"}, tls_context=context, settings=SETTINGS) as server,
        kind(
            server.host,
            server.port,
            local_hostname="client.test",
            transcript=transcript,
            pipelining=pipelining,
            chunking=chunking,
            tls="required" if tls else "none",
            context=client_context(),
        ) as client,
    ):
        client.login("user", "secret")
        client.sendmail("a@b.test", ["c@d.test", "e@f.test"], MESSAGE)
        client.noop()
    return transcript


WAYS = [
    {},
    {"pipelining": False},
    {"chunking": False},
    {"pipelining": False, "chunking": False},
    {"lmtp": True, "chunking": False},
    {"tls": True},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(
    "again",
    [
        lambda transcript: transcript,
        lambda transcript: Transcript.from_json(transcript.to_json()),
        lambda transcript: Transcript.from_text(str(transcript)),
        lambda transcript: Transcript.from_text(transcript.timed()),
    ],
    ids=["itself", "JSON", "text", "timed text"],
)
def test_what_happened_can_happen_again(way: dict[str, bool], again: Callable[[Transcript], Transcript]) -> None:
    """Every conversation of our own can be replayed, from every form: each reply answers what it answered then."""
    transcript = recorded(**way)
    events = replay(again(transcript))
    replies = [entry.said.reply for entry in transcript if entry.said.who == "S"]
    assert [event.reply for event in events] == replies
    answered = [event.command.row for event in events if isinstance(event, ReplyReceived)]
    assert answered[0] == "greeting"
    assert answered[-1] == "QUIT"
    assert "secret" not in transcript.to_json()


def test_json_keeps_everything() -> None:
    """Times, texts, octets: what comes back from JSON is equal, octets of replies included."""
    transcript = recorded()
    transcript.entries[0] = transcript.entries[0]._replace(time=0.25)
    again = Transcript.from_json(transcript.to_json())
    assert again.entries == transcript.entries
    assert [entry.said.reply.raw for entry in again if entry.said.reply is not None] == [
        entry.said.reply.raw for entry in transcript if entry.said.reply is not None
    ]


def test_text_keeps_what_is_shown() -> None:
    """What was printed and is pasted prints the same again; white space around it does not matter."""
    transcript = Transcript.from_text(ONE)
    assert str(transcript) == ONE.strip()
    assert str(Transcript.from_text("  " + ONE.replace("\n", "\n    "))) == str(transcript)
    assert str(Transcript.from_text("")) == Transcript().timed() == ""
    timed = recorded().timed()
    assert Transcript.from_text(timed).timed() == timed


def test_a_pasted_conversation() -> None:
    """What each reply of a pasted conversation answers is found out by the core."""
    events = replay(Transcript.from_text(ONE))
    rows = [event.command.row for event in events if isinstance(event, ReplyReceived)]
    assert rows == [
        *("greeting", "EHLO", "AUTH", "AUTH", "AUTH response", "AUTH response"),
        *("MAIL", "RCPT", "DATA", "end of data", "QUIT"),
    ]


def test_a_goodbye_of_the_server() -> None:
    """A 421 that nobody asked for is one in the replay, too; several connections may follow one another."""
    text = "*: connected to x\nS: 220 mx\nS: 421 bye\n*: connection closed\n"
    greeting, goodbye, *_ = replay(Transcript.from_text(text * 2))
    assert isinstance(greeting, ReplyReceived)
    assert isinstance(goodbye, ServiceClosing)


def test_without_its_beginning() -> None:
    """A conversation over a socket that was handed in begins with what the client says."""
    [event] = replay(Transcript.from_text("C: AUTH ***\nS: 501 what?\n"))
    assert isinstance(event, ReplyReceived)
    assert event.command.row == "AUTH"


# Lines of the conversation above, and what stands in their place: the last line of it is the one that cannot be.
WRONG = {
    "S: 220 mx.test ESMTP\n": {"S: 220 mx.test ESMTP\nS: 250 more\n": "no command asked for"},
    "C: ***\n": {"C: noop\n": "state AUTH"},
    "S: 250 2.1.0 ok\n": {"S: 354 go\n": "is no answer to MAIL"},
    "C: <22 octets of message>\n": {"C: noop\n": "state DATA"},
    "C: quit\n": {
        "": "no command asked for",
        "*: TLS established\n": "no TLS handshake is due",
        "C: <5 octets of message>\n": "no body",
        "C: BDAT 999999999\nC: <999999999 octets of message>\n": "no chunk of more than",
    },
    "S: 221 bye\n": {"S: 221 bye\nS: 220 again\n": "no command asked for"},
    "S: 221 bye\n*: connection closed\n": {"": "QUIT is missing"},
    "*: connection closed\n": {"*: connection closed\nS: 220 again\n": "no answer to anything"},
}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [(old, new, problem) for old, changes in WRONG.items() for new, problem in changes.items()],
)
def test_what_cannot_have_happened(old: str, new: str, problem: str) -> None:
    """What the core would not send, or not take for an answer, is found, with its place."""
    before, found, behind = ONE.partition(old)
    assert found
    with pytest.raises(ReplayError, match=problem) as raised:
        replay(Transcript.from_text(before + new + behind))
    assert raised.value.index == len(Transcript.from_text(before)) + max(0, new.count("\n") - 1)


def test_half_a_reply() -> None:
    """A reply that is not whole, or is none at all, cannot be replayed."""
    transcript = Transcript.from_json('[{"time": 0, "who": "S", "text": "220 mx"}]')
    with pytest.raises(ReplayError, match="entry 0, 'S: 220 mx': a reply is missing"):
        replay(transcript)


@pytest.mark.parametrize(
    "text", ["hello", "S: hello", "S: 250-a", "S: 250-a\nC: noop", "S: 250-a\nS: 220 b", "C: a\n\nC: b", "X: y"]
)
def test_no_transcript(text: str) -> None:
    """Text that is no transcript is a ValueError."""
    with pytest.raises(ValueError, match=r"transcript|reply"):
        Transcript.from_text(text)


@pytest.mark.parametrize(
    "value",
    [
        [1],
        ["x"],
        [{}],
        [{"time": 0, "who": "C"}],
        [{"time": 0, "who": "S", "text": "x", "raw": "250 a\r\n2"}],
        5,
    ],
)
def test_no_transcript_in_json(value: object) -> None:
    """JSON that is none is a ValueError, too."""
    with pytest.raises(ValueError, match=r"transcript|reply"):
        Transcript.from_json(json.dumps(value))
    with pytest.raises(json.JSONDecodeError):
        Transcript.from_json("{")


# -- flows -------------------------------------------------------------------------------------------------------------

TRANSACTION = """
C: mail from:<a@b.test>
S: 250 ok
C: rcpt to:<c@d.test>
S: 250 ok
C: data
S: 354 go
C: <22 octets of message>
S: 250 2.0.0 Ok: queued as 9F3A21C0DE
"""


def run(text: str, message: bytes | list[bytes] = MESSAGE, recipient: str = "c@d.test") -> tuple[Replay, Outcome]:
    replayed = Replay(Transcript.from_text(text))
    session = ClientSession(ClientConnection(greeted=True, strict=False), replayed)
    flow = deliver(session, Mail("a@b.test"), [Rcpt(recipient)], message)
    return replayed, replayed.run(flow)


@pytest.mark.parametrize("message", [MESSAGE, [MESSAGE[:5], MESSAGE[5:]]], ids=["octets", "chunks"])
def test_a_flow_is_answered_as_then(message: bytes | list[bytes]) -> None:
    """A flow that says the same gets the same answers, and comes to the same end."""
    replayed, outcome = run(TRANSACTION, message)
    assert outcome.queue_id == "9F3A21C0DE"
    replayed.finish()


def test_a_whole_session() -> None:
    """Connecting, AUTH and the goodbye are replayed, too; the secrets are whatever they are."""
    replayed = Replay(Transcript.from_text(ONE))
    session = ClientSession(ClientConnection(), replayed)
    replayed(connected_said("192.0.2.1 port 25"))  # which the surface tells, and no flow can do again
    replayed.run(session.connect("192.0.2.1", 25))
    replayed.run(session.hello("client.test"))
    with pytest.raises(ReplayError, match="entry 4, 'C: AUTH PLAIN \\*\\*\\*': 'C: noop' was said instead"):
        replayed.run(session.command(Noop()))
    with pytest.raises(ReplayError, match="it was not said again"):
        replayed.finish()


@pytest.mark.parametrize(
    ("text", "recipient", "problem"),
    [
        (TRANSACTION, "other@d.test", "entry 2, .*: 'C: rcpt to:<other@d.test>' was said instead"),
        (TRANSACTION.replace("<22", "<23"), "c@d.test", "entry 6, .*23 octets"),
        (TRANSACTION.replace("S: 354 go\n", ""), "c@d.test", "entry 5, .*: a reply is waited for instead"),
    ],
)
def test_a_flow_that_says_something_else(text: str, recipient: str, problem: str) -> None:
    """The first thing that is said, or waited for, otherwise than then is an error that shows both."""
    with pytest.raises(ReplayError, match=problem):
        run(text, recipient=recipient)


def test_behind_the_end_the_server_has_hung_up() -> None:
    """Where the transcript ends the connection does, and a flow that says more is told so."""
    with pytest.raises(ConnectionLost):
        run(TRANSACTION.replace("S: 250 2.0.0 Ok: queued as 9F3A21C0DE\n", ""))
    with pytest.raises(ReplayError, match="the end: 'C: data' was said instead"):
        run(TRANSACTION.partition("C: data")[0])


def test_what_flows_call_is_called() -> None:
    """AUTH's mechanism is called, and what it raises goes into the flow, which cancels the exchange."""

    class Failing(Mechanism):
        name = "LOGIN"

        def step(self, challenge: bytes | None) -> bytes | None:
            if challenge is not None:
                raise LookupError("no secret")
            return None

    replayed = Replay(Transcript.from_text("C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\nS: 501 cancelled\n"))
    session = ClientSession(ClientConnection(greeted=True, strict=False), replayed)
    with pytest.raises(LookupError):
        replayed.run(session.authenticate(Failing()))
    replayed.finish()


def test_what_flows_pull_is_pulled() -> None:
    """The chunks of a stream come from where they come from, for a transcript has none of them."""

    def flow() -> Flow[list[object]]:
        chunks = iter([b"a", b"b"])
        return [(yield from Pull(chunks)), (yield from Pull(chunks)), (yield from Pull(chunks))]

    assert Replay(Transcript.from_text(TRANSACTION)).run(flow()) == [b"a", b"b", None]
