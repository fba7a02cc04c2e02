"""The table: when each command may be sent, and what state each answer leads to.

Theory of operation.  The protocol is one conversation in which every command gets an answer, and what the answer does
to the state depends on its severity alone (the first digit, RFC 5321 4.2.1): a server may answer any code, so no list
of codes stands anywhere.  The table has no role.  The client's row fires when a reply is received, the server's when it
is sent, and so both ends are in the same state after the same reply.

With pipelining (RFC 2920) a client sends before it has read, so it has two states: the *confirmed* one, which moves
with replies, and the *sent* one, which assumes that all that is outstanding succeeds and judges what may be sent next.
The sent state is never a thing of its own: it is the confirmed state folded over the queue of commands outstanding.

A severity that is missing from a row can be no answer to it: a 2xx to DATA, a 3xx to MAIL.  There nobody can tell any
more how the peer will read what comes next, so the connection is given up.

Three things do not fit into the rows, and stand in `after`: a 421 closes from anywhere (RFC 5321 3.8); a code outside
2xx to 5xx is a refusal after which the connection is closed; and LMTP answers the end of the data once for each
recipient (RFC 2033 4.2), of which only the last moves the state (the connections count them, where
`answered_by_recipient` says so).
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """Where the conversation stands."""

    GREETING = "GREETING"  # the server's greeting is due
    CONNECTED = "CONNECTED"  # greeted, but not introduced: before EHLO, and again after TLS has started
    REFUSED = "REFUSED"  # greeted with a 4xx or 5xx: only QUIT is left (RFC 5321 3.1)
    READY = "READY"  # introduced, no mail transaction
    MAIL = "MAIL"  # a transaction with a sender
    RCPT = "RCPT"  # ... and with a recipient at least
    DATA = "DATA"  # the lines of the message are under way
    BDAT = "BDAT"  # one chunk at least has been taken
    FAILED = "FAILED"  # a chunk was refused: "the resulting state is indeterminate" until RSET (RFC 3030 2)
    AUTH = "AUTH"  # the server waits for a SASL response
    TLS = "TLS"  # the TLS handshake is due: nothing may be sent or read in the clear any more
    CLOSED = "CLOSED"  # the server has said goodbye


class Stage(StrEnum):
    """What a driver waits for: the name of a deadline.  The core has no clock; it only says which one applies."""

    CONNECT = "connect"
    TLS = "tls"
    GREETING = "greeting"
    COMMAND = "command"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    FINAL = "final"
    QUIT = "quit"
    SERVER = "server"


# Seconds.  RFC 5321 4.5.3.2 gives the minimum for each wait that it names; the others are ours, with their reasons.
DEFAULT_TIMEOUTS: Final[Mapping[Stage, float]] = {
    Stage.CONNECT: 60.0,  # ours: twice the time in which TCP has repeated its SYN four times
    Stage.TLS: 60.0,  # ours: two round trips and some arithmetic
    Stage.GREETING: 300.0,  # 4.5.3.2.1: servers delay it when they are busy
    Stage.COMMAND: 300.0,  # as for MAIL and RCPT
    Stage.MAIL: 300.0,  # 4.5.3.2.2
    Stage.RCPT: 300.0,  # 4.5.3.2.3: a mailing list or an alias may have to be looked up
    Stage.DATA: 120.0,  # 4.5.3.2.4
    Stage.BODY: 180.0,  # 4.5.3.2.5: without any progress of the octets
    Stage.FINAL: 600.0,  # 4.5.3.2.6: the server delivers or queues; giving up early means double delivery
    Stage.QUIT: 30.0,  # ours: nothing is lost if the goodbye is, so nobody should wait for it
    Stage.SERVER: 300.0,  # 4.5.3.2.7: for the next command
}


class Rule(Enum):
    """A next state that depends on the present one."""

    SAME = "same"  # the state stays
    IDLE = "idle"  # the state between transactions: CONNECTED stays, any other becomes READY
    FAILED = "failed"  # FAILED, but for a client that nobody has let in: RSET would lead it from there to READY


class Row(NamedTuple):
    """One command: the states that it may be sent in, whether nothing may be pipelined behind it, the next state by
    severity of the answer, and the stage of the wait for it.

    `answers` is `replies` by the first digit, with what goes for every row; `success` what the fold assumes, for an
    answer with the first digit `digit`.
    """

    states: frozenset[State]
    ends_group: bool
    replies: Mapping[int, State | Rule]
    stage: Stage
    answers: tuple[State | Rule | None, ...]
    success: State | Rule
    digit: int


def _row(states: frozenset[State], ends_group: bool, replies: Mapping[int, State | Rule], stage: Stage) -> Row:
    # A code outside 2xx to 5xx is a refusal after which the connection is closed.
    answers = tuple(replies.get(digit) if 2 <= digit <= 5 else State.CLOSED for digit in range(10))
    digit = 2 if 2 in replies else 3
    return Row(states, ends_group, replies, stage, answers, replies[digit], digit)


_SAME: Final = Rule.SAME
_BETWEEN: Final = frozenset({State.CONNECTED, State.READY})
_TRANSACTION: Final = frozenset({State.MAIL, State.RCPT, State.BDAT, State.FAILED})
_CHUNKS: Final = frozenset({State.RCPT, State.BDAT})
_OUTSIDE: Final = frozenset({State.GREETING, State.CONNECTED, State.REFUSED})  # before EHLO was accepted
_ANY: Final = _BETWEEN | _TRANSACTION  # wherever the server waits for a command

#: States in which the octets that follow are no commands.
MODES: Final = frozenset({State.DATA, State.AUTH, State.TLS, State.CLOSED})


def _anywhere(ends_group: bool, success: State | Rule = _SAME, stage: Stage = Stage.COMMAND) -> Row:
    return _row(_ANY, ends_group, {2: success, 4: _SAME, 5: _SAME}, stage)


TABLE: Final[Mapping[str, Row]] = {
    # RFC 5321 3.1: 220, or 554 and the server waits for QUIT.
    "greeting": _row(
        frozenset({State.GREETING}),
        True,
        {2: State.CONNECTED, 4: State.REFUSED, 5: State.REFUSED},
        Stage.GREETING,
    ),
    # RFC 5321 4.1.4: EHLO may come again at any time and then resets like RSET; refused, the state stays.
    "EHLO": _anywhere(True, State.READY),
    "HELO": _anywhere(True, State.READY),
    "LHLO": _anywhere(True, State.READY),  # RFC 2033 4.1
    # RFC 2920 3.1: RSET, MAIL and RCPT may stand anywhere in a group; EHLO, DATA, VRFY, EXPN, QUIT and NOOP end it.
    "MAIL": _row(frozenset({State.READY}), False, {2: State.MAIL, 4: _SAME, 5: _SAME}, Stage.MAIL),
    "RCPT": _row(frozenset({State.MAIL, State.RCPT}), False, {2: State.RCPT, 4: _SAME, 5: _SAME}, Stage.RCPT),
    "DATA": _row(frozenset({State.RCPT}), True, {3: State.DATA, 4: _SAME, 5: _SAME}, Stage.DATA),
    # The transaction is over, whatever the answer (RFC 5321 4.1.1.4).  RFC 2920 3.1: the next MAIL may follow at once.
    "end of data": _row(frozenset({State.DATA}), False, {2: State.READY, 4: State.READY, 5: State.READY}, Stage.FINAL),
    # RFC 3030 2: a refused chunk fails the message; only RSET, or its own end, leads out.
    "BDAT": _row(_CHUNKS, False, {2: State.BDAT, 4: Rule.FAILED, 5: Rule.FAILED}, Stage.FINAL),
    "BDAT LAST": _row(_CHUNKS, False, {2: State.READY, 4: Rule.FAILED, 5: Rule.FAILED}, Stage.FINAL),
    # RFC 4468 3.2: in the place of a chunk, with its rules; "the client may pipeline the entire transaction", but "MUST
    # wait for the results of the LAST BDAT or BURL command prior to initiating a new transaction".  (Behind BDAT LAST
    # alone RFC 3030 lets it follow.)
    "BURL": _row(_CHUNKS, False, {2: State.BDAT, 4: Rule.FAILED, 5: Rule.FAILED}, Stage.FINAL),
    "BURL LAST": _row(_CHUNKS, True, {2: State.READY, 4: Rule.FAILED, 5: Rule.FAILED}, Stage.FINAL),
    "RSET": _anywhere(False, Rule.IDLE),
    "NOOP": _anywhere(True),
    "HELP": _anywhere(True),
    "VRFY": _anywhere(True),
    "EXPN": _anywhere(True),
    # RFC 3207 4: no parameters, and the client goes on with TLS at once.
    "STARTTLS": _row(frozenset({State.READY}), True, {2: State.TLS, 4: _SAME, 5: _SAME}, Stage.COMMAND),
    # RFC 4954 4: not during a mail transaction; a 334 asks for a response.
    "AUTH": _row(frozenset({State.READY}), True, {2: State.READY, 3: State.AUTH, 4: _SAME, 5: _SAME}, Stage.COMMAND),
    "AUTH response": _row(
        frozenset({State.AUTH}),
        True,
        {2: State.READY, 3: State.AUTH, 4: State.READY, 5: State.READY},
        Stage.COMMAND,
    ),
    # RFC 1985: after EHLO; in the middle of a transaction servers refuse it.
    "ETRN": _row(frozenset({State.READY}), True, {2: _SAME, 4: _SAME, 5: _SAME}, Stage.COMMAND),
    # Postfix's XCLIENT_README: not in a transaction; the 220 is a new greeting, and the client says EHLO again.
    "XCLIENT": _row(frozenset({State.READY}), True, {2: State.CONNECTED, 4: _SAME, 5: _SAME}, Stage.COMMAND),
    # Postfix's XFORWARD_README: not in a transaction; may be pipelined.
    "XFORWARD": _row(frozenset({State.READY}), False, {2: _SAME, 4: _SAME, 5: _SAME}, Stage.COMMAND),
    "QUIT": _row(_ANY | {State.REFUSED}, True, {2: State.CLOSED, 4: _SAME, 5: _SAME}, Stage.QUIT),
    # A verb that is not known here.  RFC 2920 3.1: an extension's command ends the group unless it says otherwise; what
    # a 3xx would mean only the one who sends it knows.
    "other": _row(_ANY, True, {2: _SAME, 3: _SAME, 4: _SAME, 5: _SAME}, Stage.COMMAND),
}


def changes_mode(row: Row) -> bool:
    """True if an answer decides whether what follows is commands at all; nothing may ever be sent behind such a row."""
    return any(state in MODES for state in row.replies.values())


def after(row: Row, state: State, code: int) -> State | None:
    """The state after a reply with `code` to a command of `row` in `state`; None if there can be no such answer."""
    return State.CLOSED if code == 421 else _resolved(row.answers[code // 100], state)


def _resolved(following: State | Rule | None, state: State) -> State | None:
    if following is None or following.__class__ is State:
        return following
    if following is Rule.SAME:
        return state
    if following is Rule.FAILED:
        return state if state in _OUTSIDE else State.FAILED
    return state if state is State.CONNECTED else State.READY


def answered_by_recipient(name: str, state: State) -> bool:
    """True if LMTP answers the command of row `name` in `state` once for each accepted recipient (RFC 2033 4.2).

    That is the end of a message; a BDAT LAST (or BURL LAST) behind a refused chunk, or without a recipient, ends none.
    """
    return name == "end of data" or (name in ("BDAT LAST", "BURL LAST") and state in _CHUNKS)


def assumed(row: Row, state: State) -> State:
    """The state after `row` if it succeeds: one step of the fold that gives the sent state."""
    following = _resolved(row.success, state)
    assert following is not None
    return following
