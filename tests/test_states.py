"""The table: properties of its rows, without any octets; and the document that is made from it."""

from __future__ import annotations

from itertools import product

import pytest

from docs import make_diagram
from smtp_proto import commands
from smtp_proto.commands import Command
from smtp_proto.states import (
    DEFAULT_TIMEOUTS,
    MODES,
    TABLE,
    Row,
    Rule,
    Stage,
    State,
    after,
    answered_by_recipient,
    assumed,
    changes_mode,
)

ROWS = pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
# Codes of each severity that no list of codes would have.
CODES = {2: (200, 250, 299), 3: (300, 334, 399), 4: (400, 450, 499), 5: (500, 521, 599)}
WAITING = frozenset({State.CONNECTED, State.READY, State.MAIL, State.RCPT, State.BDAT, State.FAILED})


def allowed(state: State) -> set[str]:
    return {name for name, row in TABLE.items() if state in row.states}


# -- the rows ----------------------------------------------------------------------------------------------------------


def test_every_command_has_a_row() -> None:
    """Each class of command names a row, and each row but "other" and the second ones belongs to a class."""
    classes = [
        one for one in vars(commands).values() if isinstance(one, type) and issubclass(one, Command) and one.verb
    ]
    assert {one.verb for one in classes} | {"BDAT LAST", "BURL LAST", "other"} == set(TABLE)
    assert len({one.verb for one in classes}) == len(classes)


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (State.GREETING, {"greeting"}),
        (State.CONNECTED, {"EHLO", "HELO", "LHLO", "RSET", "NOOP", "HELP", "VRFY", "EXPN", "QUIT", "other"}),
        (State.REFUSED, {"QUIT"}),
        (State.DATA, {"end of data"}),
        (State.AUTH, {"AUTH response"}),
        (State.TLS, set()),
        (State.CLOSED, set()),
    ],
)
def test_what_may_be_sent(state: State, names: set[str]) -> None:
    """Before EHLO, after a refusal and where no commands are read, exactly these may be sent."""
    assert allowed(state) == names


def test_what_may_be_sent_in_a_session() -> None:
    """In the states of a session, what is allowed wherever commands are read, and what belongs to the state."""
    common = {"EHLO", "HELO", "LHLO", "RSET", "NOOP", "HELP", "VRFY", "EXPN", "QUIT", "other"}
    assert all(common <= allowed(state) for state in WAITING)
    assert allowed(State.READY) - common == {"MAIL", "STARTTLS", "AUTH", "ETRN", "XCLIENT", "XFORWARD"}
    assert allowed(State.MAIL) - common == {"RCPT"}
    assert allowed(State.RCPT) - common == {"RCPT", "DATA", "BDAT", "BDAT LAST", "BURL", "BURL LAST"}
    assert allowed(State.BDAT) - common == {"BDAT", "BDAT LAST", "BURL", "BURL LAST"}
    assert allowed(State.FAILED) - common == set()


@pytest.mark.parametrize("state", State)
def test_what_lmtp_answers_by_recipient(state: State) -> None:
    """Only the end of a message is answered once for each recipient: a BDAT LAST that ends none has one answer."""
    assert answered_by_recipient("end of data", state)
    for name in ("BDAT LAST", "BURL LAST"):
        assert answered_by_recipient(name, state) is (state in (State.RCPT, State.BDAT))
    others = set(TABLE) - {"end of data", "BDAT LAST", "BURL LAST"}
    assert not any(answered_by_recipient(name, state) for name in others)


@ROWS
def test_every_command_can_be_refused(row: Row) -> None:
    """4xx and 5xx are answers to anything, one of 2xx and 3xx is success, and there is no other severity."""
    assert row.states
    assert {4, 5} < set(row.replies) <= {2, 3, 4, 5}


@ROWS
def test_temporary_and_permanent_refusals_lead_to_the_same_state(row: Row) -> None:
    """Whether to try again is not the connection's business."""
    assert row.replies[4] == row.replies[5]


@ROWS
def test_a_refusal_opens_nothing(row: Row) -> None:
    """After a refusal the state is as before, or one in which less is allowed than after success."""
    for state in row.states:
        refused = after(row, state, 550)
        assert refused in (state, State.REFUSED, State.FAILED, State.READY)
        if refused is State.READY and state is not State.READY:
            assert state in (State.DATA, State.AUTH)


@ROWS
def test_nothing_is_sent_behind_what_changes_the_mode(row: Row) -> None:
    """Where an answer decides whether the octets that follow are commands, nothing may follow before it (RFC 2920)."""
    assert row.ends_group or not changes_mode(row)


def test_what_changes_the_mode() -> None:
    """These commands, and no other, have an answer behind which no commands follow."""
    names = {name for name, row in TABLE.items() if changes_mode(row)}
    assert names == {"DATA", "STARTTLS", "AUTH", "AUTH response", "QUIT"}
    assert {State.DATA, State.AUTH, State.TLS, State.CLOSED} == MODES


def test_what_may_be_pipelined_behind() -> None:
    """RFC 2920 3.1, RFC 3030 4.2, RFC 4468 3.2: these may stand anywhere in a group; all others end it."""
    names = {name for name, row in TABLE.items() if not row.ends_group}
    assert names == {"MAIL", "RCPT", "RSET", "end of data", "BDAT", "BDAT LAST", "BURL", "XFORWARD"}


# -- the transitions ---------------------------------------------------------------------------------------------------


@ROWS
def test_only_the_first_digit_counts(row: Row) -> None:
    """A server may answer any code: all codes of one severity lead to the same state, but for 421."""
    for state, (severity, codes) in product(State, CODES.items()):
        following = {after(row, state, code) for code in codes}
        assert len(following) == 1
        assert following == {None} or severity in row.replies


@ROWS
@pytest.mark.parametrize("code", [421, 0, 1, 99, 100, 199, 600, 601, 999])
def test_what_closes_from_anywhere(row: Row, code: int) -> None:
    """A 421, and a code that is none of SMTP's, is an answer to anything, and the end."""
    assert {after(row, state, code) for state in State} == {State.CLOSED}


def test_impossible_answers() -> None:
    """A 2xx to DATA and a 3xx to what asks for nothing are no answers; only "other" takes any severity."""
    impossible = {(name, severity) for name, row in TABLE.items() for severity in (2, 3) if severity not in row.replies}
    for name, severity in impossible:
        assert after(TABLE[name], State.READY, severity * 100) is None
    assert {name for name, severity in impossible if severity == 2} == {"DATA"}
    assert set(TABLE) - {name for name, severity in impossible if severity == 3} == {
        "DATA",
        "AUTH",
        "AUTH response",
        "other",
    }


@pytest.mark.parametrize(
    ("name", "state", "code", "following"),
    [
        ("greeting", State.GREETING, 220, State.CONNECTED),
        ("greeting", State.GREETING, 554, State.REFUSED),
        ("EHLO", State.CONNECTED, 250, State.READY),
        ("EHLO", State.CONNECTED, 502, State.CONNECTED),
        ("EHLO", State.RCPT, 250, State.READY),
        ("EHLO", State.RCPT, 550, State.RCPT),
        ("MAIL", State.READY, 250, State.MAIL),
        ("RCPT", State.RCPT, 550, State.RCPT),
        ("DATA", State.RCPT, 354, State.DATA),
        ("DATA", State.RCPT, 554, State.RCPT),
        ("end of data", State.DATA, 250, State.READY),
        ("end of data", State.DATA, 451, State.READY),
        ("BDAT", State.RCPT, 250, State.BDAT),
        ("BDAT", State.BDAT, 552, State.FAILED),
        ("BDAT LAST", State.BDAT, 250, State.READY),
        ("BDAT LAST", State.RCPT, 451, State.FAILED),
        ("BDAT LAST", State.READY, 503, State.FAILED),
        ("BDAT LAST", State.CONNECTED, 503, State.CONNECTED),
        ("BDAT", State.REFUSED, 503, State.REFUSED),
        ("RSET", State.FAILED, 250, State.READY),
        ("RSET", State.CONNECTED, 250, State.CONNECTED),
        ("RSET", State.READY, 250, State.READY),
        ("RSET", State.MAIL, 500, State.MAIL),
        ("NOOP", State.MAIL, 250, State.MAIL),
        ("STARTTLS", State.READY, 220, State.TLS),
        ("STARTTLS", State.READY, 454, State.READY),
        ("AUTH", State.READY, 334, State.AUTH),
        ("AUTH", State.READY, 235, State.READY),
        ("AUTH response", State.AUTH, 334, State.AUTH),
        ("AUTH response", State.AUTH, 535, State.READY),
        ("QUIT", State.REFUSED, 221, State.CLOSED),
        ("QUIT", State.MAIL, 500, State.MAIL),
        ("other", State.CONNECTED, 354, State.CONNECTED),
    ],
)
def test_transitions(name: str, state: State, code: int, following: State) -> None:
    """The RFCs' own transitions, one by one."""
    assert after(TABLE[name], state, code) is following


def test_success_is_assumed() -> None:
    """The sent state takes a 2xx for granted, a 3xx where there is no 2xx; AUTH is assumed to need no challenge."""
    for row in TABLE.values():
        for state in row.states:
            assert assumed(row, state) is after(row, state, 250 if 2 in row.replies else 354)
    assert assumed(TABLE["DATA"], State.RCPT) is State.DATA
    assert assumed(TABLE["AUTH"], State.READY) is State.READY


def test_every_state_can_be_reached_and_left() -> None:
    """From the greeting there is a way to every state, and from every state one to the end."""
    steps = {(state, following) for row in TABLE.values() for state in row.states for following in reached(row, state)}
    steps.add((State.TLS, State.CONNECTED))  # by `tls_established`
    assert closure(State.GREETING, steps) == set(State)
    for state in State:
        assert State.CLOSED in closure(state, steps)


def reached(row: Row, state: State) -> set[State]:
    following = {after(row, state, severity * 100) for severity in row.replies}
    return {one for one in following if one is not None}


def closure(start: State, steps: set[tuple[State, State]]) -> set[State]:
    known = {start}
    while more := {end for begin, end in steps if begin in known} - known:
        known |= more
    return known


# -- stages ------------------------------------------------------------------------------------------------------------


def test_default_timeouts() -> None:
    """Each stage has a timeout in seconds, and none that RFC 5321 4.5.3.2 names is shorter than it says."""
    assert set(DEFAULT_TIMEOUTS) == set(Stage)
    minutes = {
        Stage.GREETING: 5,
        Stage.MAIL: 5,
        Stage.RCPT: 5,
        Stage.DATA: 2,
        Stage.BODY: 3,
        Stage.FINAL: 10,
        Stage.SERVER: 5,
    }
    for stage, least in minutes.items():
        assert DEFAULT_TIMEOUTS[stage] >= 60 * least
    assert all(seconds > 0 for seconds in DEFAULT_TIMEOUTS.values())


def test_stages_of_the_rows() -> None:
    """The waits that the RFC names have their own stages; the message's end waits longest, however it is sent."""
    stages = {name: row.stage for name, row in TABLE.items() if row.stage is not Stage.COMMAND}
    assert stages == {
        "greeting": Stage.GREETING,
        "MAIL": Stage.MAIL,
        "RCPT": Stage.RCPT,
        "DATA": Stage.DATA,
        "end of data": Stage.FINAL,
        "BDAT": Stage.FINAL,
        "BDAT LAST": Stage.FINAL,
        "BURL": Stage.FINAL,
        "BURL LAST": Stage.FINAL,
        "QUIT": Stage.QUIT,
    }


# -- the document ------------------------------------------------------------------------------------------------------


def test_the_document_is_the_table() -> None:
    """The committed picture of the states is what the generator makes of the table now."""
    regenerate = "docs/states.md is out of date: run `python docs/make_diagram.py`"
    assert make_diagram.OUTPUT.read_text(encoding="utf-8") == make_diagram.document(), regenerate


def test_the_document_shows_every_transition() -> None:
    """No row is left out of the table, and every change of state is an arrow of one of the diagrams."""
    rows = make_diagram.table().splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(TABLE)
    diagrams = make_diagram.session_diagram() + make_diagram.transaction_diagram()
    arrows = {tuple(line.split(" : ")[0].split(" --> ")) for line in diagrams.replace("    ", "").splitlines()}
    inside = make_diagram.TRANSACTION
    for start, end in make_diagram.transitions():
        boxed = tuple(make_diagram.BOX if state in inside else state for state in (start, end))
        assert (start, end) in arrows or boxed in arrows
    assert any(rule is Rule.IDLE for rule in TABLE["RSET"].replies.values())
    assert "READY; CONNECTED stays" in rows[list(TABLE).index("RSET")]
