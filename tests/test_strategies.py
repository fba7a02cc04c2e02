"""The strategies give what they say: what is well formed is taken by both ends, what is malformed by none."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from smtp_proto import strategies
from smtp_proto.body import normalise_line_ends
from smtp_proto.client import ClientConnection
from smtp_proto.commands import AuthResponse, Command, Mail, Rcpt
from smtp_proto.errors import InvalidArgument, MissingExtra, RemoteProtocolError
from smtp_proto.events import BodyReceived, ConnectionClosed, Event, ReplyReceived, Wait
from smtp_proto.extensions import Extensions
from smtp_proto.parsing import CommandSyntaxError, parse_auth_response, parse_command
from smtp_proto.replies import Reply
from smtp_proto.states import State
from smtp_proto.strategies import Conversation
from tests.pairs import end_message, feed, feed_pieces, pair_in


@given(st.data())
def test_codes_and_replies(data: st.DataObject) -> None:
    """Replies have a code and lines as asked for, and can be written; a 421 is never among them."""
    severities = data.draw(st.sampled_from(["2", "45", "0", "2345"]))
    reply = data.draw(strategies.replies(strategies.codes(severities), min_lines=2, max_lines=3))
    assert str(reply.severity) in severities
    assert reply.code != 421
    assert len(reply.lines) in (2, 3)
    assert reply.encode()


@given(strategies.malformed_replies())
def test_malformed_replies_are_none(octets: bytes) -> None:
    """No client takes one of them for an answer."""
    client = ClientConnection()
    with pytest.raises(RemoteProtocolError):
        feed(client, octets)


@given(strategies.ehlo_replies("PIPELINING", "SIZE 1000000"))
def test_ehlo_replies(reply: Reply) -> None:
    """What was asked for is listed, and all of it can be written and read."""
    assert "PIPELINING" in Extensions.from_reply(reply)
    assert reply.encode().count(b"\r\n") == len(reply.lines) >= 3


@given(st.booleans().flatmap(lambda utf8: st.tuples(st.just(utf8), strategies.addresses(utf8=utf8))))
def test_addresses_are_taken(given_: tuple[bool, str]) -> None:
    """A client sends them, and a server reads the same address."""
    utf8, address = given_
    assert utf8 or address.isascii()
    for command in (Mail(address), Rcpt(address)):
        assert parse_command(command.line[:-2]) == command


@given(strategies.malformed_addresses())
def test_malformed_addresses_are_refused(address: str) -> None:
    """None of them becomes part of a command."""
    for command in (Mail, Rcpt):
        with pytest.raises(InvalidArgument):
            command(address)


@given(st.booleans().flatmap(lambda lmtp: strategies.commands(lmtp=lmtp)))
def test_commands_are_read(command: Command) -> None:
    """A server reads each as it was written."""
    read = parse_auth_response if isinstance(command, AuthResponse) else parse_command
    assert read(command.line[:-2]) == command


@given(strategies.malformed_commands())
def test_malformed_commands_are_refused(line: bytes) -> None:
    """A server refuses each of them."""
    with pytest.raises(CommandSyntaxError):
        parse_command(line[:-2])


@given(strategies.bodies(nul=True))
def test_bodies_are_octets(body: bytes) -> None:
    """A message is any octets."""
    assert isinstance(body, bytes)


def containing(sequence: bytes) -> Callable[[bytes], bool]:
    return lambda body: sequence in body


def test_bodies_have_what_smuggling_needs() -> None:
    """Each of the sequences that were used for it comes up; NUL only where it is asked for."""
    quick = settings(max_examples=5000, deadline=None, database=None)
    for sequence in (b"\n.\n", b"\r.\r", b"\r\n.\r\n", b"\r\n.\n", b"\n.\r\n"):
        assert sequence in find(strategies.bodies(), containing(sequence), settings=quick)
    assert find(strategies.bodies(nul=True), containing(b"\0"), settings=quick)


@given(st.binary(max_size=30).flatmap(lambda octets: st.tuples(st.just(octets), strategies.splits(octets, 4))))
def test_splits(given_: tuple[bytes, list[bytes]]) -> None:
    """The pieces are all of it, in order, and not more of them than was said."""
    octets, pieces = given_
    assert b"".join(pieces) == octets
    assert len(pieces) <= 4


# -- conversations ----------------------------------------------------------------------------------------------------


@given(strategies.conversations())
def test_conversations(conversation: Conversation) -> None:
    """Whatever the pieces, a client reads the replies that are in them, in order."""
    client = ClientConnection(strict=False)
    for _ in conversation.replies[1:]:
        client.expect()
    events = feed_pieces(client, conversation.pieces)
    replies = [event.reply for event in events if isinstance(event, ReplyReceived)]
    assert replies == list(conversation.replies)
    assert conversation.octets == b"".join(map(Reply.encode, conversation.replies))


@given(strategies.conversations(["LHLO", "AUTH"], keywords=["AUTH PLAIN"]))
def test_conversations_of_ones_own(conversation: Conversation) -> None:
    """The commands and the keywords are the caller's."""
    _, hello, auth = conversation.replies
    assert "AUTH" in Extensions.from_reply(hello)
    assert auth.code == 334 or auth.severity in (2, 4, 5)


@given(strategies.hostile_conversations())
def test_hostile_conversations(conversation: Conversation) -> None:
    """A client that expects what came before, and nothing more, gets that, and then finds that something is wrong."""
    client = ClientConnection(strict=False)
    for _ in conversation.replies[1:]:
        client.expect()
    for piece in conversation.pieces:
        client.receive_data(piece)
    client.receive_eof()
    events: list[Event] = []
    with contextlib.suppress(RemoteProtocolError):
        while not (events and isinstance(events[-1], ConnectionClosed)):
            event = client.next_event()
            assert not isinstance(event, Wait)
            events.append(event)
    replies = [event.reply for event in events if isinstance(event, ReplyReceived)]
    honest = list(conversation.replies)
    assert replies == honest or (not honest and len(replies) <= 1)
    assert client.closed


@given(strategies.bodies(), st.data())
def test_a_message_through_both_ends(body: bytes, data: st.DataObject) -> None:
    """What the strategies are for: one message arrives, whatever it is and however it is cut."""
    pair = pair_in(State.DATA, cut=lambda octets: data.draw(strategies.splits(octets)))
    events = end_message(pair, body)
    pieces = [event for event in events if isinstance(event, BodyReceived)]
    assert len(pieces) == len(events)
    assert [piece.finished for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert b"".join(piece.octets for piece in pieces).rstrip(b"\r\n") == normalise_line_ends(body).rstrip(b"\r\n")


# -- without the package ----------------------------------------------------------------------------------------------


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install, and is an ImportError."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "smtp_proto.strategies")
    with pytest.raises(MissingExtra, match=r"pip install 'sansio-smtp\[hypothesis\]'"):
        importlib.import_module("smtp_proto.strategies")
