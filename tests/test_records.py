"""Immutable values, and errors: compared, hashed, shown, copied and pickled by what they say."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from smtp_proto.commands import Auth, Data, Mail, Noop, Quit, Rcpt, Rset
from smtp_proto.errors import (
    ConnectionLost,
    InvalidArgument,
    LimitExceeded,
    LocalProtocolError,
    MissingExtra,
    ProtocolError,
    RemoteProtocolError,
)
from smtp_proto.events import CommandReceived, ConnectionClosed, ReplyReceived
from smtp_proto.outcome import Outcome, Phase
from smtp_proto.parsing import CommandSyntaxError, parse_command
from smtp_proto.records import Record, set_field
from smtp_proto.replies import Reply
from smtp_proto.sasl import AuthenticationAborted
from smtp_proto.sasl_exchange import UnacceptableResponse


class Point(Record):
    __slots__ = ("cache", "x", "y")
    fields: ClassVar[tuple[str, ...]] = ("x", "y")
    x: int
    y: int
    cache: object

    def __init__(self, x: int, y: int, cache: object = None) -> None:
        set_field(self, "x", x)
        set_field(self, "y", y)
        set_field(self, "cache", cache)


class Point3(Point):
    __slots__ = ("z",)
    fields = ("x", "y", "z")
    z: int

    def __init__(self, x: int, y: int, z: int) -> None:
        super().__init__(x, y)
        set_field(self, "z", z)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301  # what was pickled here a moment ago


COPIERS: list[Callable[[Any], Any]] = [pickled, copy.copy, copy.deepcopy]

RECORDS: list[Record] = [
    Point(1, 2, "cache"),
    Point3(1, 2, 3),
    Reply(250, "ok"),
    Mail("a@b", ["SIZE=1"]),
    Quit(),
    Auth("PLAIN", b"secret"),
    ReplyReceived(Reply(550, "5.1.1 no"), Rcpt("a@b"), 3),
    ConnectionClosed(clean=True),
    CommandReceived(parse_command(b"Noop  x ")),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_nothing_can_be_changed(record: Record) -> None:
    """No attribute, declared or not, can be set or deleted once a record is made."""
    for name in (*record.fields, "_anything"):
        with pytest.raises(AttributeError, match=f"immutable: {name} cannot be set"):
            setattr(record, name, 1)
        with pytest.raises(AttributeError, match=f"immutable: {name} cannot be deleted"):
            delattr(record, name)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
@pytest.mark.parametrize("copier", COPIERS, ids=["pickle", "copy", "deepcopy"])
def test_copies(record: Record, copier: Callable[[Any], Any]) -> None:
    """A copy by any means is of the same type, equal, of equal hash, and has every slot of the original."""
    other = copier(record)
    assert type(other) is type(record)
    assert other == record
    assert hash(other) == hash(record)
    assert repr(other) == repr(record)
    for base in type(record).__mro__:
        for name in getattr(base, "__slots__", ()):
            assert getattr(other, name, "empty") == getattr(record, name, "empty")


def test_equality() -> None:
    """Two records are equal if they are of the same type and equal in their fields; no other attribute counts."""
    assert Point(1, 2, "one") == Point(1, 2, "other")
    assert hash(Point(1, 2, "one")) == hash(Point(1, 2, "other"))
    assert Point(1, 2) != Point(2, 1)
    assert Point3(1, 2, 3) != Point(1, 2)
    assert Point(1, 2) != Point3(1, 2, 3)
    assert Point(1, 2) != (1, 2)
    assert Data() == Data()
    assert Data() != Rset()
    assert Noop() != Data()
    assert len({Data(), Data(), Rset(), Point(1, 2), Point(1, 2, "x"), Reply(250), Reply(250, "")}) == 4


def test_a_received_command_equals_the_one_that_was_sent() -> None:
    """How a line was written is no part of what it says."""
    sent, received = Mail("a@b", ["SIZE=1"]), parse_command(b"Mail From: <a@b>   SIZE=1 ")
    assert sent == received
    assert sent.line != received.line


def test_repr() -> None:
    """A record is shown by its fields."""
    assert repr(Point(1, 2, "cache")) == "Point(x=1, y=2)"
    assert repr(Point3(1, 2, 3)) == "Point3(x=1, y=2, z=3)"
    assert repr(Data()) == "Data()"


# -- errors ------------------------------------------------------------------------------------------------------------


def error_with_outcome() -> ConnectionLost:
    outcome = Outcome(["a@b"])
    outcome.phase = Phase.SENT
    return ConnectionLost("lost", Reply(421, "bye"), outcome)


ERRORS: list[ProtocolError] = [
    ProtocolError("x"),
    LocalProtocolError("x"),
    InvalidArgument("domain", "two words"),
    RemoteProtocolError("x"),
    RemoteProtocolError("x", Reply(250, "ok")),
    LimitExceeded("x"),
    ConnectionLost("x"),
    error_with_outcome(),
    AuthenticationAborted("x", Reply(334, "!")),
    UnacceptableResponse("x"),
    MissingExtra("SCRAM", "scram"),
    CommandSyntaxError(Reply(501, "5.5.4 Syntax")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("copier", COPIERS, ids=["pickle", "copy", "deepcopy"])
def test_errors_survive_copying(error: ProtocolError, copier: Callable[[Any], Any]) -> None:
    """An error that crosses a process says the same on the other side, with what it carries."""
    other = copier(error)
    assert type(other) is type(error)
    assert str(other) == str(error)
    for name in ("argument", "problem", "reply", "hint"):
        assert getattr(other, name, None) == getattr(error, name, None)
    outcomes = [getattr(one, "outcome", None) for one in (error, other)]
    assert repr(outcomes[0]) == repr(outcomes[1])


def test_whose_mistake_it_was() -> None:
    """Errors divide by what is left of the connection; an invalid argument is also a `ValueError`."""
    assert issubclass(InvalidArgument, LocalProtocolError)
    assert issubclass(InvalidArgument, ValueError)
    assert issubclass(LimitExceeded, RemoteProtocolError)
    local, remote, lost = LocalProtocolError, RemoteProtocolError, ConnectionLost
    for one in (local, remote, lost):
        assert issubclass(one, ProtocolError)
        assert not any(issubclass(one, other) for other in (local, remote, lost) if other is not one)


def test_what_an_error_carries() -> None:
    """The argument by name, the offending reply, and how far a transaction had come."""
    invalid = InvalidArgument("reverse-path", "has a space")
    assert (invalid.argument, invalid.problem) == ("reverse-path", "has a space")
    assert str(invalid) == "reverse-path: has a space"
    assert RemoteProtocolError("x").reply is None
    assert ConnectionLost("x").reply is None
    assert ConnectionLost("x").outcome is None
    assert RemoteProtocolError("x", Reply(250)).reply == Reply(250)
