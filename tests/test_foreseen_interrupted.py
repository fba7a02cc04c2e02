"""A transaction that is foreseen, and interrupted or lost anywhere: nothing is forgotten that was under way."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings

from smtp_proto import foreseen
from smtp_proto.client import ClientConnection
from smtp_proto.effects import Effect, Flight
from smtp_proto.foreseen import Foreseen
from smtp_proto.outcome import Fate, Outcome
from smtp_proto.replies import ReplyReader
from smtp_proto.session import ClientSession
from smtp_proto.transaction import Transaction, deliver, prepared

from .attempts import (
    Attempt,
    Case,
    Peer,
    Script,
    both_kinds,
    cases,
    deviating,
    every_way,
    joined,
    left,
    told,
    usual,
)
from .deliveries import MESSAGE, SENDER, Way, recipients
from .flows import introduced
from .pairs import without_collector


class Cancelled(BaseException):
    """What an event loop cancels a task with."""


@settings(max_examples=60)
@given(case=cases())
def test_a_failure_at_each_effect(case: Case) -> None:
    """Whatever an effect raises, and whichever effect it is, both ways raise, tell and leave the same."""
    for failure in (KeyboardInterrupt, GeneratorExit, OSError, TimeoutError, Cancelled):
        fails = 0
        while True:
            one, other = (Attempt(case, flights, {fails: failure}) for flights in (True, False))
            one.check_same(other)
            assert one.connection.closed or one.connection.at_boundary or failure is not KeyboardInterrupt
            if len(one.peer.effects) <= fails:
                break
            fails += 1


# -- interrupted within -----------------------------------------------------------------------------------------------


BEFORE = introduced().connection.answered


def check_interrupted(attempt: Attempt) -> None:
    """Nothing is under way in a connection that looks usable, and what may have been delivered is not "not sent"."""
    error, attempt.error = attempt.error, None
    assert isinstance(error, KeyboardInterrupt), repr(error)
    for _ in range(2):  # and also when what was under way is gone
        if attempt.connection.at_boundary and not attempt.connection.closed:
            assert attempt.connection.answered == BEFORE + attempt.peer.commands
        if whole_message_out(attempt):
            outcome = attempt.outcome
            known = outcome.refusal is not None or not any(reply is None or reply.accepted for reply in outcome.replies)
            assert outcome.fate is not Fate.NOT_SENT or known
        error = None


def whole_message_out(attempt: Attempt) -> bool:
    written = attempt.peer.written
    return b"BDAT %d LAST\r\n%b" % (len(MESSAGE), MESSAGE) in written or written.endswith(b"\r\n.\r\n")


@contextmanager
def interrupted_at(line: int) -> Iterator[list[int]]:
    """Interrupted before a line of `smtp_proto.foreseen`: the one that is run when so many have been; as a signal does
    it.  Gives a list that has the line's number then."""
    lines: list[int] = []
    count = 0

    def trace(frame: Any, event: str, argument: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename != foreseen.__file__:
            return None
        if event == "line":
            if count == line:
                lines.append(frame.f_lineno)
                raise KeyboardInterrupt
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


@every_way
@both_kinds
def test_interrupted_at_each_line(way: Way, plain: bool) -> None:
    """Wherever in it a transaction is interrupted, the connection is not taken for usable with something under way,
    and a message that is out is not told to be unsent."""
    for script in deviating(way):
        line = 0
        while True:
            with interrupted_at(line) as lines:
                attempt = Attempt(Case(way, 2, plain, script), True)
            if not lines:
                break
            check_interrupted(attempt)
            line += 1
        assert line > 10


@every_way
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (ReplyReader, "good"),
        *(
            (ClientConnection, name)
            for name in ("foresee", "fulfilled", "forgo", "receive_data", "next_event", "answers")
        ),
        *((ClientConnection, name) for name in ("send", "send_group", "send_envelope", "send_message", "send_body")),
        *((Transaction, name) for name in ("take", "take_all", "in_steps")),
        (ClientSession, "flight"),
    ],
)
@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_interrupted_in_each_call(
    way: Way, owner: Any, name: str, behind: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where what is interrupted is a call of the connection or the regular flow, at its beginning or end."""
    original = getattr(owner, name)
    left = 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1 and not behind:
            raise KeyboardInterrupt
        result = original(*arguments, **options)
        if left == -1:
            raise KeyboardInterrupt
        return result

    for script in deviating(way):
        for nth in range(100):
            left, session = nth, introduced(flights=True)
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, interrupted)
                attempt = Attempt(Case(way, 2, False, script), True, session=session)
            if left >= 0:
                break
            # What raises by itself at that time is not interrupted behind it.
            if not (behind and name == "next_event" and not isinstance(attempt.error, KeyboardInterrupt)):
                check_interrupted(attempt)
        else:
            pytest.fail("calls without end")


@every_way
@pytest.mark.parametrize(("begun", "written"), [(False, False), (True, False), (True, True)])
def test_closed_in_a_flight(way: Way, begun: bool, written: bool) -> None:
    """A flow that is closed in any of its flights tells the same of the message as one that goes step by step."""
    answers = joined(usual(way, 2))
    for answered in range(len(answers)):
        found = []
        for steps in (False, True):
            session = introduced(flights=True)
            outcome = Outcome([command.path for command in recipients(2)], SENDER.path)
            if steps:
                source = prepared(SENDER, recipients(2), MESSAGE, way.chunking)
                flow = Transaction(session, SENDER, recipients(2), source, outcome, *way[:2]).in_steps()
            else:
                options: dict[str, Any] = {"pipelining": way.pipelining, "chunking": way.chunking}
                flow = deliver(session, SENDER, recipients(2), MESSAGE, outcome=outcome, **options)
            effect: Any = next(flow)
            assert isinstance(effect, Foreseen) is not steps
            assert session.connection.pending_output
            for answer in answers[:answered]:
                effect.begun = effect.written = True
                if not effect.follow(answer):
                    effect = flow.send(answer)
            effect.begun, effect.written = begun, written
            flow.close()
            found.append((told(outcome), left(session.connection)))
            assert session.connection.closed
            assert (outcome.fate is Fate.UNKNOWN) is (begun and answered == len(answers) - 1)
        assert found[0] == found[1]


@every_way
@pytest.mark.parametrize("error", [KeyboardInterrupt, Cancelled, OSError])
def test_interrupted_behind_the_last_answer(way: Way, error: type[BaseException]) -> None:
    """What is raised when all was answered is raised, and hides neither that nor that the connection is good."""
    session = introduced(flights=True)
    outcome = Outcome([command.path for command in recipients(2)], SENDER.path)
    options: dict[str, Any] = {"pipelining": way.pipelining, "chunking": way.chunking}
    flow = deliver(session, SENDER, recipients(2), MESSAGE, outcome=outcome, **options)
    effect: Any = next(flow)
    for answer in joined(usual(way, 2)):
        effect.begun = effect.written = True
        effect.follow(answer)
    with pytest.raises(error):
        flow.throw(error())
    assert outcome.fate is Fate.DELIVERED
    assert session.connection.at_boundary
    assert not session.connection.closed


# -- what is kept alive -----------------------------------------------------------------------------------------------


class Failing(Peer):
    """Raises at one of its effects, counted from 1, what nobody else has a reference of."""

    def __init__(self, script: Script, at: int, failure: type[BaseException] | None) -> None:
        super().__init__(script)
        self._at = at if failure is not None else -1
        self._failure = failure or KeyboardInterrupt

    def _perform(self, effect: Effect[Any]) -> Any:
        if len(self.effects) == self._at and not isinstance(effect, Flight):
            raise self._failure
        return super()._perform(effect)


@every_way
@both_kinds
@pytest.mark.parametrize("failure", [None, ConnectionResetError, KeyboardInterrupt])
def test_no_cycle_is_left(way: Way, failure: type[BaseException] | None, plain: bool) -> None:
    """Whatever became of a transaction, nothing of it is left for the collector: not of one that was lost, either."""
    with without_collector():
        gc.collect()
        for script in deviating(way):
            for at in range(12 if failure is not None else 1):
                Attempt(Case(way, 2, plain, script), True, peer=Failing(script, at, failure)).forget()
        assert gc.collect() == 0
