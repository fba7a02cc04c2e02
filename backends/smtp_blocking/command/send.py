"""``smtp-proto send``: one message to one server, and what became of it for each recipient."""

from __future__ import annotations

import argparse
from contextlib import closing

from smtp_blocking import SMTP
from smtp_proto.outcome import Outcome, RecipientOutcome
from smtp_proto.replies import Reply
from smtp_surface.refusals import refusal_error, refusals

from . import arguments, composing, server_options
from .composing import Submission
from .connecting import connected, log_in, password_for
from .failures import MAY_BE_DELIVERED, failure
from .server_options import Target
from .status import Status
from .terminal import Terminal, counted
from .watching import Watch

EXAMPLES = """\
examples:
  smtp-proto send --host mail.example.org message.eml
  SMTP_PROTO_HOST=mail.example.org smtp-proto send --from ada@example.org --to grace@example.net --body 'It works.'

The password is read from --password-file, from SMTP_PROTO_PASSWORD, or from the terminal: never from the command line,
which everybody on the machine can see.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add what `send` understands."""
    parser.epilog = EXAMPLES
    composing.add(parser)
    server_options.add(parser)
    login = parser.add_argument_group("the log-in")
    login.add_argument("--user", default=arguments.from_environment("USER"), help="log in as USER (SMTP_PROTO_USER)")
    login.add_argument("--password-file", metavar="FILE", help="its first line is the password (SMTP_PROTO_PASSWORD)")
    login.add_argument(
        "--allow-cleartext-auth", action="store_true", help="send the password even over an unencrypted connection"
    )
    parser.add_argument("--no-pipelining", action="store_true", help="send one command at a time")
    parser.add_argument("--dry-run", action="store_true", help="show envelope and message, and connect to nobody")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing unless something went wrong")


def run(options: argparse.Namespace, terminal: Terminal) -> Status:
    """Send the message; `Failure` if nobody got it."""
    target = server_options.target(options)
    with closing(composing.submission(options)) as submission:
        if options.dry_run:
            return _show(submission, target, terminal)
        return _send(submission, target, options, terminal)


def _send(submission: Submission, target: Target, options: argparse.Namespace, terminal: Terminal) -> Status:
    password = password_for(options.user, options.password_file) if options.user else None
    watch = Watch(terminal, verbose=options.verbose)
    with connected(
        target,
        watch.observe,
        pipelining=not options.no_pipelining,
        allow_cleartext_auth=options.allow_cleartext_auth,
    ) as client:
        if password is not None:
            log_in(client, target, options.user, password)
        outcome = _deliver(client, target, submission, watch, terminal)
        _report(outcome, terminal, quiet=options.quiet)
    return Status.SOME_REFUSED if refusals(outcome) else Status.DONE


def _deliver(client: SMTP, target: Target, submission: Submission, watch: Watch, terminal: Terminal) -> Outcome:
    try:
        outcome = client.deliver(submission.content, submission.sender, submission.recipients, progress=watch.progress)
    except KeyboardInterrupt:
        if watch.undecided:
            terminal.tell(f"smtp-proto: interrupted; {MAY_BE_DELIVERED}")
        raise
    refusal = refusal_error(outcome)
    if refusal is not None:
        # What the failure sums up, in the server's own words.
        for recipient, _ in refusals(outcome):
            terminal.tell(_recipient_line(recipient))
        raise failure(refusal, target)
    return outcome


def _report(outcome: Outcome, terminal: Terminal, *, quiet: bool) -> None:
    """A line for each recipient, and the last word of the server, in which its queue's number is."""
    for recipient in outcome.recipients:
        if recipient.refusal is not None:
            terminal.tell(_recipient_line(recipient))
        elif not quiet:
            terminal.say(_recipient_line(recipient))
    if not quiet and outcome.final is not None and outcome.final.accepted:
        terminal.say(f"sent: {_on_one_line(outcome.final)}")


def _recipient_line(recipient: RecipientOutcome) -> str:
    refusal = recipient.refusal
    reply = refusal or recipient.final or recipient.reply
    assert reply is not None
    word = "accepted" if refusal is None else "refused for now" if refusal.temporary else "refused"
    return f"{word}: <{recipient.address}> ({_on_one_line(reply)})"


def _on_one_line(reply: Reply) -> str:
    return " ".join(str(reply).split("\n"))


def _show(submission: Submission, target: Target, terminal: Terminal) -> Status:
    terminal.say(f"to {target}:")
    terminal.say(f"MAIL FROM:<{submission.sender}>")
    for recipient in submission.recipients:
        terminal.say(f"RCPT TO:<{recipient}>")
    content = submission.content if isinstance(submission.content, bytes) else submission.content.read()
    terminal.say(f"{counted(len(content), 'octet')} of message:")
    text = content.decode("utf-8", "backslashreplace")
    terminal.say(text.replace("\r\n", "\n").removesuffix("\n"))
    return Status.DONE
