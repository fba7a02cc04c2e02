"""Events: values that say what happened, and two waits that are none."""

from __future__ import annotations

from copy import copy

import pytest

from smtp_proto.commands import Noop
from smtp_proto.events import (
    NEED_DATA,
    PAUSED,
    BodyReceived,
    CommandReceived,
    CommandRejected,
    ConnectionClosed,
    Event,
    ReplyReceived,
    ServiceClosing,
)
from smtp_proto.replies import Reply

# One of each, and another of the same type.
EVENTS: list[tuple[Event, Event]] = [
    (ReplyReceived(Reply(250), Noop(), 1), ReplyReceived(Reply(250), Noop(), 2)),
    (ReplyReceived(Reply(250), Noop(), 1), ReplyReceived(Reply(250), Noop(), 1, early=True)),
    (ServiceClosing(Reply(421)), ServiceClosing(Reply(421, "bye"))),
    (ConnectionClosed(True), ConnectionClosed(False)),
    (CommandReceived(Noop()), CommandReceived(Noop("again"))),
    (CommandRejected(b"NOP", Reply(500)), CommandRejected(b"NOP", Reply(501))),
    (BodyReceived(b"text", True), BodyReceived(b"text", False)),
]


@pytest.mark.parametrize(("event", "other"), EVENTS)
def test_events_are_values(event: Event, other: Event) -> None:
    """An event equals one that says the same, differs from one that does not, and can be copied."""
    assert event != other
    again = copy(event)
    assert again == event
    assert again is not event
    assert repr(again) == repr(event) != repr(other)


def test_waits_show_their_names() -> None:
    """What is returned instead of an event reads as the name that it is imported by."""
    assert [repr(wait) for wait in (NEED_DATA, PAUSED)] == ["NEED_DATA", "PAUSED"]
