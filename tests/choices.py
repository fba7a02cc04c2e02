"""What the two ends of a random walk choose from (see `tests.walks`): commands, replies, and octets of messages."""

from __future__ import annotations

from random import Random

from smtp_proto.commands import (
    Auth,
    AuthResponse,
    Bdat,
    Burl,
    Command,
    Data,
    Ehlo,
    EndOfData,
    Etrn,
    Expn,
    Greeting,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Raw,
    Rcpt,
    Rset,
    StartTLS,
    Vrfy,
    XClient,
    XForward,
)
from smtp_proto.replies import Reply
from smtp_proto.states import Row, State

# What a message is made of: all that looks like an end of it, or like a command.
PIECES = (b"\r", b"\n", b"\r\n", b".", b"..", b"text", b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"quit\r\n", b"\xff")
# Octets of a line that is too long.
LONG = 510


def some_octets(random: Random) -> bytes:
    """A few octets of a message, or none."""
    return b"".join(random.choices(PIECES, k=random.randint(0, 6)))


def a_command(random: Random, state: State, number: int, lmtp: bool) -> Command:
    """A command, most often one that makes sense in `state`, with its number in its argument where it has one.

    The size of a BDAT is for the caller to choose.
    """
    hello: Command = Lhlo(f"h{number}") if lmtp else Ehlo(f"h{number}")
    rcpt = Rcpt(f"r{number}@x")
    sensible: dict[State, list[Command]] = {
        State.CONNECTED: [hello],
        State.REFUSED: [Quit()],
        State.READY: [Mail(f"m{number}@x")] * 6
        + [Auth("PLAIN", b"%d" % number), StartTLS(), XClient({"NAME": f"{number}"})],
        State.MAIL: [rcpt],
        State.RCPT: [rcpt, rcpt, Data(), Bdat(0), Bdat(0, last=True), Burl(f"http://{number}", random.random() < 0.5)],
        State.BDAT: [Bdat(0), Bdat(0, last=True), Burl(f"http://{number}", last=True)],
        State.FAILED: [Rset()],
        State.AUTH: [AuthResponse(b"%d" % number), AuthResponse(None), Raw(b"!%d" % number, "AUTH response")],
    }
    if state in sensible and random.random() < 0.8:
        return random.choice(sensible[state])
    others = [
        hello,
        Helo(f"h{number}"),
        Rset(),
        Noop(f"{number}"),
        Help(f"{number}"),
        Vrfy(f"{number}"),
        Etrn(f"{number}"),
        XForward({"ADDR": f"{number}"}),
        Expn(f"{number}"),
        Raw(b"XUNKNOWN %d" % number),
        Raw(b"DATA %d" % number, "DATA"),  # which takes no argument: rejected
        Raw(b"XLONG %d ".ljust(LONG, b"x") % number),
        rcpt,
        Data(),
        Bdat(0),
        EndOfData(),
        Greeting(),
    ]
    return Quit() if random.random() < 0.04 else random.choice(others)


def a_reply(random: Random, row: Row, rejected: bool, text: str) -> Reply:
    """A reply that the table has a way for, most often a favourable one, of one line or of several."""
    severities = [severity for severity in row.replies if severity > 3 or not rejected]
    favourable = [severity for severity in severities if severity < 4 and random.random() < 0.75]
    code = 100 * random.choice(favourable or severities) + random.choice((0, 50, 51, 52, 99, random.randint(0, 99)))
    if random.random() < 0.003:
        code = random.choice((421, 600, 999))  # which closes
    text = random.choice(("", f"{code // 100}.7.1 ")) + text
    return Reply(code, random.choice((text, f"{text}\nPIPELINING\n#more")))
