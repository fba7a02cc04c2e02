"""The command ``smtp-proto``: SMTP for scripts and for people at a terminal.

``send`` sends one message, ``serve`` takes mail in, ``probe`` shows what a server offers, and ``demo`` shows the
library at work.  ``docs/command.md`` has all of it.

How it is built: each command is a module with `add`, its options, and `run`, which does it and returns how it ended.
Whatever goes wrong is a `Failure` with an exit status (`status`), written as one line to standard error here and
nowhere else.  Only `terminal` writes anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import demo, probe, send, serve
from .arguments import Parser
from .status import Failure, Status
from .terminal import Terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status (`Status`)."""
    terminal = Terminal()
    try:
        options = _parser().parse_args(arguments)
        status: Status = options.run(options, terminal)
    except Failure as failure:
        terminal.tell("smtp-proto: " + " ".join(str(failure).split("\n")))
        return failure.status
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    return status


def _parser() -> Parser:
    statuses = "\n".join(f"  {status:3d}  {status.meaning}" for status in Status)
    parser = Parser(
        prog="smtp-proto",
        description="SMTP from the command line.  `smtp-proto COMMAND --help` says more.",
        epilog=f"exit statuses:\n{statuses}",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, summary in (
        ("send", send, "send a message"),
        ("serve", serve, "take mail in, and print or store it"),
        ("probe", probe, "show what a server offers; sends no mail, and never logs in"),
        ("demo", demo, "send three messages to an embedded server and show the conversations"),
    ):
        added = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        module.add(added)
        added.set_defaults(run=module.run)
    return parser
