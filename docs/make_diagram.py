"""Writes `docs/states.md` from the table in `smtp_proto.states`: two diagrams and all rows.

Run it after every change of the table::

    python docs/make_diagram.py

A test compares the committed file with what this would write, so the picture cannot fall behind the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from smtp_proto.states import DEFAULT_TIMEOUTS, TABLE, Row, Rule, State, after

OUTPUT = Path(__file__).with_name("states.md")

# The first diagram shows these as one box, the second shows what is inside.
TRANSACTION = (State.MAIL, State.RCPT, State.DATA, State.BDAT, State.FAILED)
BOX = "TRANSACTION"

INTRODUCTION = """\
<!-- Written by docs/make_diagram.py from smtp_proto/states.py: do not edit, run it again. -->

# The states of a connection

Each command has one row in [the table](../smtp_proto/states.py): the states in which it may be sent, whether something
may be pipelined behind it, and the next state for each *severity* of the answer (the first digit of the reply's code,
RFC 5321, 4.2.1). Client and server move by the same rows: the client's fires when the reply is received, the server's
when it is sent. A client has two states at once: the *confirmed* one, which moves with the replies, and the *sent* one,
which assumes that all that is outstanding succeeds and says what may be sent next. An answer whose severity a row does
not have (2xx to DATA, 3xx to MAIL) ends the connection, for nobody can tell what the peer will take the next octets
for. From everywhere a 421, or a code outside 2xx to 5xx, leads to CLOSED; the diagrams leave that out, and all answers
that change nothing.
"""

BETWEEN_DIAGRAMS = """
## A mail transaction

The box of the first diagram. EHLO, HELO and LHLO, too, end a transaction, as RSET does; QUIT leads to CLOSED from
everywhere but DATA.
"""

BEFORE_TABLE = """
## All rows

"Ends a group": nothing may be sent behind the command until its answer is there (RFC 2920, 3.1). "Stays": the answer
does not change the state; "none": there can be no such answer. The last column is the stage of the wait for the answer,
and its default timeout (RFC 5321, 4.5.3.2; other stages stand below). In LMTP the end of the data has one answer for
each accepted recipient, of which the last one moves the state.
"""


def verbs_and_answers(edges: Iterable[tuple[str, int]]) -> str:
    """The label of an arrow: commands that lead there by the same answers share them."""
    answers: dict[str, list[int]] = {}
    for name, severity in edges:
        answers.setdefault(name, []).append(severity)
    names: dict[str, list[str]] = {}
    for name, severities in answers.items():
        every = len(severities) == len(TABLE[name].replies)
        shown = "any answer" if every else " ".join(f"{severity}xx" for severity in severities)
        names.setdefault(shown, []).append(name)
    return ", ".join(f"{' / '.join(sharing)} {shown}" for shown, sharing in names.items())


def transitions(*, leave_out: Iterable[str] = ()) -> dict[tuple[State, State], list[tuple[str, int]]]:
    """(from, to) and the commands and severities that lead there, in the table's order; no arrow to itself."""
    found: dict[tuple[State, State], list[tuple[str, int]]] = {}
    for state in State:
        for name, row in TABLE.items():
            if state in row.states and name not in leave_out:
                for severity in row.replies:
                    following = after(row, state, severity * 100)
                    if following is not None and following is not state:
                        found.setdefault((state, following), []).append((name, severity))
    return found


def diagram(arrows: Iterable[str]) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {arrow}" for arrow in arrows), "```"])


def session_diagram() -> str:
    """From the greeting to the end, with the mail transaction as one box."""
    edges: dict[tuple[str, str], dict[tuple[str, int], None]] = {}  # dicts: ordered, each once
    for (start, end), steps in transitions().items():
        ends = tuple(BOX if state in TRANSACTION else str(state) for state in (start, end))
        if ends != (BOX, BOX):
            edges.setdefault((ends[0], ends[1]), {}).update(dict.fromkeys(steps))
    arrows = [f'state "mail transaction" as {BOX}', f"[*] --> {State.GREETING}"]
    arrows += [f"{start} --> {end} : {verbs_and_answers(steps)}" for (start, end), steps in edges.items()]
    # The one step that no reply brings about: `tls_established()`.
    arrows += [f"{State.TLS} --> {State.CONNECTED} : the TLS handshake is done", f"{State.CLOSED} --> [*]"]
    return diagram(arrows)


def transaction_diagram() -> str:
    """Inside a mail transaction; what ends it as RSET does, and QUIT, are said in the text."""
    return diagram(
        f"{start} --> {end} : {verbs_and_answers(steps)}"
        for (start, end), steps in transitions(leave_out=("EHLO", "HELO", "LHLO", "QUIT")).items()
        if start in TRANSACTION or end in TRANSACTION
    )


RULES = {
    Rule.SAME: "stays",
    Rule.IDLE: f"{State.READY}; {State.CONNECTED} stays",
    Rule.FAILED: f"{State.FAILED}; before EHLO stays",
}


def following(row: Row, severity: int) -> str:
    state = row.replies.get(severity)
    if state is None:
        return "none"
    if isinstance(state, Rule):
        return RULES[state]
    return str(state)


def table() -> str:
    """All rows, in the table's order."""
    lines = [
        "| command | may be sent in | ends a group | 2xx | 3xx | 4xx | 5xx | stage (seconds) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in TABLE.items():
        cells = [
            name,
            " ".join(state for state in State if state in row.states),
            "yes" if row.ends_group else "no",
            *(following(row, severity) for severity in (2, 3, 4, 5)),
            f"{row.stage} ({DEFAULT_TIMEOUTS[row.stage]:g})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def other_stages() -> str:
    """The stages that no command waits in."""
    used = {row.stage for row in TABLE.values()}
    stages = [f"{stage} ({seconds:g})" for stage, seconds in DEFAULT_TIMEOUTS.items() if stage not in used]
    return f"Stages that wait for something else than the answer to a command: {', '.join(stages)}."


def document() -> str:
    """The whole of `docs/states.md`."""
    parts = (INTRODUCTION, session_diagram(), BETWEEN_DIAGRAMS, transaction_diagram(), BEFORE_TABLE, table())
    return "\n".join([*parts, "", other_stages(), ""])


if __name__ == "__main__":
    OUTPUT.write_text(document(), encoding="utf-8")
