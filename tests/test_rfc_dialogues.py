"""The conversations that documents print, at both ends of the core: what is said, in their order and groups."""

from __future__ import annotations

from collections import deque

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Command, EndOfData
from smtp_proto.events import NEED_DATA, BodyReceived, CommandReceived, CommandRejected, ReplyReceived
from smtp_proto.parsing import parse_auth_response, parse_command
from smtp_proto.replies import Reply
from smtp_proto.server import ServerConnection
from smtp_proto.states import State

from .dialogues import BY_SOURCE, DIALOGUES, Dialogue
from .pairs import drain, only
from .serving import replies_in


class Talking:
    """Our client, that says what a document's client says, and hears what its server says."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.connection = ClientConnection()
        self.held: deque[Command] = deque()
        self.late: list[str] = []
        self.replies: list[ReplyReceived] = []
        for speaker, line in dialogue.lines:
            if speaker == "S":
                self.hear(line)
            else:
                self.say(line)
        assert not self.held

    def say(self, line: bytes) -> None:
        connection = self.connection
        if connection.message_due and line != b".":
            connection.send_body(line + b"\r\n")
            assert b"".join(connection.data_to_send()) == line + b"\r\n"
            return
        command = self.command(line)
        if self.held or not connection.can_send(command):
            self.late.append(command.row)
            self.held.append(command)
            return
        connection.send(command)
        assert as_printed(b"".join(connection.data_to_send())) == line

    def command(self, line: bytes) -> Command:
        if self.connection.message_due:
            return EndOfData()
        return parse_auth_response(line) if self.connection.state is State.AUTH else parse_command(line)

    def hear(self, line: bytes) -> None:
        connection = self.connection
        due = connection.outstanding[0]
        connection.receive_data(line + b"\r\n")
        if line[3:4] == b"-":
            assert connection.next_event() is NEED_DATA
            return
        event = only(drain(connection)[:1], ReplyReceived)
        assert event.command is due
        self.replies.append(event)
        if connection.state is State.TLS:
            connection.tls_established()
        while self.held and connection.can_send(self.held[0]):
            connection.send(self.held.popleft())
        connection.data_to_send()


def as_printed(octets: bytes) -> bytes:
    """A command without its end, its verb in the letter case of documents (RFC 5321 2.4: it may be any)."""
    line = octets.removesuffix(b"\r\n")
    for verb in (b"mail from:", b"rcpt to:"):
        if line.startswith(verb):
            return verb.upper() + line[len(verb) :]
    verb, space, rest = line.partition(b" ")
    return line if line.endswith(b"=") and not space else verb.upper() + space + rest


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.source)
def test_the_client_says_it(dialogue: Dialogue) -> None:
    """Each line may be sent where the document sends it, octet for octet, and each reply answers its command."""
    talking = Talking(dialogue)
    assert tuple(talking.late) == dialogue.held
    assert not talking.connection.waiting


@pytest.mark.parametrize("dialogue", [one for one in DIALOGUES if one.server], ids=lambda dialogue: dialogue.source)
def test_the_server_says_it(dialogue: Dialogue) -> None:
    """What stands in one group is heard in its order, and the server may say all that the document's server says."""
    printed = b"".join(line + b"\r\n" for speaker, line in dialogue.lines if speaker == "S")
    replies = deque(replies_in(printed))
    server = ServerConnection()
    server.send(replies.popleft())
    lines = deque(dialogue.lines)
    while lines:
        said = b""
        while lines and lines[0][0] == "C":
            said += lines.popleft()[1] + b"\r\n"
        server.receive_data(said)
        while lines and lines[0][0] == "S":
            lines.popleft()
        answer(server, replies)
    assert not replies
    heard = replies_in(b"".join(server.data_to_send()))
    assert [(reply.code, reply.lines) for reply in heard] == [
        (reply.code, reply.lines) for reply in replies_in(printed)
    ]


def answer(server: ServerConnection, replies: deque[Reply]) -> None:
    """Give the document's replies to all that the server has heard, as long as it owes some."""
    while True:
        for event in drain(server):
            assert isinstance(event, (CommandReceived, CommandRejected, BodyReceived))
        if not server.owes_reply:
            return
        server.send(replies.popleft())
        if server.state is State.TLS:
            server.tls_established()
        if server.state is State.CLOSED:
            return


def statuses(source: str) -> list[str]:
    return [str(event.reply.enhanced) for event in Talking(BY_SOURCE[source]).replies]


def test_enhanced_status_codes() -> None:
    """RFC 2034 6: the codes of its example are read, and none is seen where there is none (RFC 2034 4)."""
    none = "None"
    assert statuses("RFC 2034 6") == [
        *[none, none, "2.1.0", "2.1.5", "5.1.1", "5.7.1"],
        *[none, "2.6.0", "2.0.0"],
    ]


def test_limits() -> None:
    """RFC 9422 5: "the client now knows" both limits."""
    offer = Talking(BY_SOURCE["RFC 9422 5"]).connection.extensions
    assert offer is not None
    assert offer.limits == {"RCPTMAX": 20, "MAILMAX": 5}


def test_what_the_other_offers_say() -> None:
    """The parameters of EHLO lines in examples are read."""
    for source, name, value in [
        ("RFC 1870 8", "size", 1000000),
        ("RFC 2852 6, the first server", "deliver_by", None),
        ("RFC 2852 6, relayed", "deliver_by", 30),
        ("RFC 3865 2.1", "no_soliciting", ("NET.EXAMPLE:ADV",)),
        ("RFC 4468 3.4, no recipient", "burl", ("imap",)),
        ("Postfix's XCLIENT_README", "xclient", ("NAME", "ADDR", "PROTO", "HELO")),
        ("Postfix's XFORWARD_README", "xforward", ("NAME", "ADDR", "PROTO", "HELO")),
    ]:
        offer = Talking(BY_SOURCE[source]).connection.extensions
        assert getattr(offer, name) == value, source
