"""What real servers said (`data/transcripts.json`), read by a client that had asked what they were asked.

Each row is read through a `ClientConnection` in the state that its kind implies, in one piece, octet by octet, and cut
in two at every offset: the events must be the same, and say what the row expects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import AuthResponse, Command, Data, Ehlo, EndOfData, Lhlo, Mail, Raw, Rcpt
from smtp_proto.errors import RemoteProtocolError
from smtp_proto.events import NEED_DATA, PAUSED, ReplyReceived
from smtp_proto.parsing import written_command

from .splitting import every_split

CORPUS = json.loads((Path(__file__).parent / "data" / "transcripts.json").read_text(encoding="utf-8"))
ROWS: list[dict[str, Any]] = CORPUS["rows"]

SENDER, RECIPIENT, SECOND = Mail("alice@lab.test"), Rcpt("alice@lab.test"), Rcpt("bob@lab.test")

# What must have been said before a command may be sent, by the command's row.
INTRODUCTION: list[tuple[Command, bytes]] = [(Ehlo("client.test"), b"250 mx\r\n")]
RECIPIENT_ACCEPTED = [*INTRODUCTION, (SENDER, b"250 ok\r\n"), (RECIPIENT, b"250 ok\r\n")]
BEFORE: dict[str, list[tuple[Command, bytes]]] = {
    "greeting": [],
    "EHLO": [],
    "HELO": [],
    "LHLO": [],
    "RCPT": [*INTRODUCTION, (SENDER, b"250 ok\r\n")],
    "DATA": RECIPIENT_ACCEPTED,
    "end of data": [*RECIPIENT_ACCEPTED, (Data(), b"354 go on\r\n")],
    "AUTH response": [*INTRODUCTION, (written_command(b"AUTH LOGIN"), b"334 VXNlcm5hbWU6\r\n")],
}

# "after", where it is described in words instead of being the line that was sent.
DESCRIBED: dict[str, Command] = {
    "*": AuthResponse(None),
    "end of DATA": EndOfData(),
    "Subject: x\r\n\r\nx\r\n.": EndOfData(),
    "HELO after '500 Command unrecognized' to EHLO": Raw(b"HELO client.test", "HELO"),
}


class Received(NamedTuple):
    """A reply, with all that a caller can see of it."""

    code: int
    lines: tuple[bytes, ...]
    raw: bytes
    enhanced: str | None
    command: Command
    ticket: int
    recipient: Command | None


def command_of(row: dict[str, Any]) -> Command:
    """The command that the row's reply answers: "after", or one whose answers may have the row's code."""
    after = row.get("after")
    if after in DESCRIBED:
        return DESCRIBED[after]
    if after is None:
        kinds = {"ehlo": b"EHLO client.test", "helo": b"HELO client.test"}
        after_code = {"354": b"DATA", "334": b"AUTH LOGIN", "235": b"AUTH PLAIN AHgAeQ==", "221": b"QUIT"}
        return written_command(kinds.get(row["kind"]) or after_code.get(row["raw"][:3], b"NOOP"))
    return written_command(after.encode())


def connection_for(row: dict[str, Any]) -> ClientConnection:
    """A connection that waits for what the row holds, brought there step by step."""
    if row["kind"] == "greeting":
        return ClientConnection()
    if row["kind"] == "stream":
        return stream_connection(row)
    command = command_of(row)
    connection = ClientConnection(greeted=True, lmtp=command.row == "LHLO")
    bring(connection, [*BEFORE.get(command.row, INTRODUCTION)])
    connection.send(command)
    return connection


def stream_connection(row: dict[str, Any]) -> ClientConnection:
    """Several replies in a row: a pipelined group, or the end of an LMTP message with two recipients."""
    if row.get("after") is None:
        connection = ClientConnection(greeted=True)
        bring(connection, INTRODUCTION)
        for command in (SENDER, RECIPIENT, Data()):
            connection.send(command)
        return connection
    assert row["after"] == "the message; two recipients were accepted"
    connection = ClientConnection(greeted=True, lmtp=True)
    accepted: list[tuple[Command, bytes]] = [
        (SENDER, b"250 ok\r\n"),
        (RECIPIENT, b"250 ok\r\n"),
        (SECOND, b"250 ok\r\n"),
    ]
    bring(connection, [(Lhlo("client.test"), b"250 mx\r\n"), *accepted, (Data(), b"354 go on\r\n")])
    connection.send(EndOfData())
    return connection


def bring(connection: ClientConnection, said: Iterable[tuple[Command, bytes]]) -> None:
    for command, reply in said:
        connection.send(command)
        connection.receive_data(reply)
        assert isinstance(connection.next_event(), ReplyReceived)
        assert connection.next_event() is NEED_DATA


def read(row: dict[str, Any], pieces: Iterable[bytes]) -> tuple[list[Received], str | None, ClientConnection]:
    """The replies, the error's message if there was one, and the connection as it was left."""
    connection = connection_for(row)
    replies: list[Received] = []
    for piece in pieces:
        connection.receive_data(piece)
        try:
            while (event := connection.next_event()) not in (NEED_DATA, PAUSED):
                if not isinstance(event, ReplyReceived):
                    break  # closed: with a 421, or a code that is none
                reply = event.reply
                enhanced = None if reply.enhanced is None else str(reply.enhanced)
                replies.append(
                    Received(reply.code, reply.lines, reply.raw, enhanced, event.command, event.ticket, event.recipient)
                )
        except RemoteProtocolError as error:
            return replies, str(error), connection
    return replies, None, connection


def mechanisms(parameters: str) -> list[str]:
    return list(dict.fromkeys(parameters.upper().split()))


PARAMETRIZED = pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])


@PARAMETRIZED
def test_the_same_events_at_every_split(row: dict[str, Any]) -> None:
    """In one piece, octet by octet and cut in two anywhere: the events, the error and the state are the same."""
    octets = row["raw"].encode("latin-1")
    replies, error, connection = read(row, [octets])
    for pieces in every_split(octets):
        again, another, other = read(row, pieces)
        assert (again, another) == (replies, error), pieces
        assert (other.state, other.closed, other.extensions) == (
            connection.state,
            connection.closed,
            connection.extensions,
        )


@PARAMETRIZED
def test_what_was_said(row: dict[str, Any]) -> None:
    """Codes, lines, enhanced status codes, capabilities and mechanisms are what the row expects."""
    octets = row["raw"].encode("latin-1")
    replies, error, connection = read(row, [octets])
    if row["verdict"] == "error":
        assert error is not None
        assert replies == []
        assert connection.closed
        return
    if row["expect"] is None:
        # Tolerated, and anything definite will do: a reply, or the end.
        assert replies or error is not None
        return
    assert error is None
    assert b"".join(reply.raw for reply in replies) == octets
    found = [(reply.code, [line.decode("latin-1") for line in reply.lines], reply.enhanced) for reply in replies]
    assert found == [(reply["code"], reply["lines"], reply["enhanced"]) for reply in row["expect"]]
    expected = row["expect"][-1]
    if "capabilities" in expected:
        assert connection.extensions is not None
        assert list(connection.extensions.auth) == expected["auth"]
        listed = {keyword.upper(): value for keyword, value in expected["capabilities"].items()}
        # Of several AUTH lines the corpus lists each mechanism once; the text that we keep is all of them.
        assert mechanisms(connection.extensions.get("AUTH", "")) == mechanisms(listed.get("AUTH", ""))
        assert {**connection.extensions, "AUTH": ""} == {**listed, "AUTH": ""}
        assert ("AUTH" in connection.extensions) == ("AUTH" in listed)


@PARAMETRIZED
def test_each_reply_has_its_command(row: dict[str, Any]) -> None:
    """A reply carries the command that was sent, and after as many replies as commands nothing is outstanding."""
    connection = connection_for(row)
    outstanding = connection.outstanding
    replies, error, after = read(row, [row["raw"].encode("latin-1")])
    if error is None:
        if row.get("after", "").startswith("the message;"):
            assert [reply.recipient for reply in replies] == [RECIPIENT, SECOND]
            assert {reply.command for reply in replies} == set(outstanding)
        else:
            assert tuple(reply.command for reply in replies) == outstanding
        assert not after.waiting
        assert after.unread == 0


def test_the_corpus_is_what_this_reads() -> None:
    """No row has a kind, a verdict or a field that these tests pass over."""
    assert len({row["id"] for row in ROWS}) == len(ROWS) > 100
    assert {row["kind"] for row in ROWS} == set(CORPUS["kinds"])
    assert {row["verdict"] for row in ROWS} == set(CORPUS["verdicts"])
    known = {"id", "server", "kind", "raw", "source", "note", "verdict", "expect", "after"}
    assert {field for row in ROWS for field in row} <= known
    assert {field for row in ROWS for reply in row["expect"] or () for field in reply} == {
        "code",
        "lines",
        "enhanced",
        "capabilities",
        "auth",
    }
    assert all(row["expect"] is None for row in ROWS if row["verdict"] == "error")
