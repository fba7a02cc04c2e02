"""What `send` sends: an envelope and octets, from a file, from standard input, or made of options.

A message that exists is sent as it is, octet for octet, but for its Bcc fields: parsing it and writing it anew would
fold headers differently and break its signatures.  Only for the envelope its header is read.  A large file in which
nothing has to be changed, whatever the server offers, is not read into memory.
"""

from __future__ import annotations

import argparse
import mimetypes
import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email import policy
from email.errors import MessageError
from email.message import EmailMessage
from email.parser import HeaderParser
from email.utils import formatdate, make_msgid
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from smtp_proto.commands import Mail, Rcpt
from smtp_proto.message import flatten, forward_paths, reverse_path
from smtp_surface.addresses import path_of
from smtp_surface.arguments import clean

from .status import Failure, Status

STANDARD_INPUT = "-"

# Octets of a message that are read to begin with: whatever is smaller is not worth a second reading.
_BEGINNING = 1 << 18

# RFC 5322 2.2: the header ends at the first empty line.
_HEADER = re.compile(rb"(?:[^\r\n]+(?:\r\n|\r|\n))*")
# A field with its folded lines (RFC 5322 2.2.3).
_BCC = re.compile(
    rb"(?<![^\r\n])(?:Resent-)?Bcc[ \t]*:[^\r\n]*(?:\r\n|\r|\n)?(?:[ \t][^\r\n]*(?:\r\n|\r|\n)?)*", re.IGNORECASE
)
# RFC 5322 4.5.8: white space before the colon is obsolete, and must be read all the same; `email` would end the header.
_OBSOLETE = re.compile(rb"(?<![^\r\n])([!-9;-~]+)[ \t]+:")
_FIELD_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 2.2: printable ASCII except the colon
# What the parts of a message decide by themselves.
_MADE_HERE = ("content-", "mime-version")


class Input:
    """A file, or standard input, to be read; what goes wrong is a `Failure` that names it."""

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == STANDARD_INPUT else path
        self._standard = path == STANDARD_INPUT
        with self._failing():
            # Closed by `close`.
            self._file: BinaryIO = sys.stdin.buffer if self._standard else Path(path).open("rb")  # noqa: SIM115
        self.seekable, self.tell, self.seek = self._file.seekable, self._file.tell, self._file.seek

    def read(self, octets: int = -1) -> bytes:
        """As files do."""
        with self._failing():
            return self._file.read(octets)

    def close(self) -> None:
        """Close it; standard input is others' to close."""
        if not self._standard:
            self._file.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Failure(Status.NO_INPUT, f"{self.name}: {error.strerror or error}") from error


class Submission(NamedTuple):
    """What goes to the server: the envelope, and the message as octets or as a file that has them."""

    sender: str
    recipients: list[str]
    content: bytes | Input

    def close(self) -> None:
        """Close the file, if there is one."""
        if isinstance(self.content, Input):
            self.content.close()


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of the message and its envelope."""
    parser.add_argument(
        "message", nargs="?", metavar="FILE", help='the message (.eml); "-", or nothing at all, for standard input'
    )
    made = parser.add_argument_group("a message made of options, in place of FILE")
    made.add_argument("--from", dest="from_", metavar="ADDRESS", help='"Ada <ada@example.org>"')
    for name in ("to", "cc", "bcc"):
        made.add_argument(f"--{name}", action="append", default=[], metavar="ADDRESS", help="may be repeated")
    made.add_argument("--subject")
    made.add_argument("--body", metavar="TEXT")
    made.add_argument("--body-file", metavar="FILE", help='the text, UTF-8; "-" for standard input')
    made.add_argument("--attach", action="append", default=[], metavar="FILE", help="may be repeated")
    made.add_argument("--header", action="append", default=[], metavar='"NAME: VALUE"', help="may be repeated")
    envelope = parser.add_argument_group("the envelope, in place of that in the message's header")
    envelope.add_argument("--sender", metavar="ADDRESS", help='where bounces go; "" for nowhere')
    envelope.add_argument("--recipient", action="append", default=[], metavar="ADDRESS", help="may be repeated")


def submission(options: argparse.Namespace) -> Submission:
    """The message and its envelope as the options say; `Failure` if there is none."""
    used = [
        option
        for option, value in (
            ("--from", options.from_),
            *((f"--{name}", getattr(options, name)) for name in ("to", "cc", "bcc")),
            ("--subject", options.subject),
            ("--body", options.body),
            ("--body-file", options.body_file),
            ("--attach", options.attach),
            ("--header", options.header),
        )
        if value not in (None, [])
    ]
    if options.message is not None and used:
        raise Failure(
            Status.USAGE,
            f"{used[0]} is for a message made of options, and {options.message} is one already "
            "(its envelope: --sender and --recipient)",
        )
    if options.body is not None and options.body_file is not None:
        raise Failure(Status.USAGE, "--body and --body-file exclude each other")
    found = _made(options) if used else _as_it_is(options)
    try:
        # What must not stand in a command is found out before anybody is connected to.
        Mail(path_of(clean("reverse-path", found.sender)))
        for address in found.recipients:
            Rcpt(path_of(clean("forward-path", address)))
    except ValueError as error:
        found.close()
        raise Failure(Status.DATA, f"nothing was sent: {error}") from error
    return found


def _as_it_is(options: argparse.Namespace) -> Submission:
    source: str = options.message if options.message is not None else STANDARD_INPUT
    if options.message is None and sys.stdin.isatty():
        raise Failure(
            Status.USAGE, 'no message: give a file, "-" to type it here, or --from, --to, --subject and --body'
        )
    file = Input(source)
    try:
        return _from_file(options, file)
    except BaseException:
        file.close()
        raise


def _from_file(options: argparse.Namespace, file: Input) -> Submission:
    header, rest = _taken_apart(file)
    # Text in UTF-8 (RFC 6532) or, in old messages, in anything: what is no UTF-8 must not become part of an address.
    parsed = HeaderParser().parsestr(_OBSOLETE.sub(rb"\1:", header).decode("utf-8", "replace"), headersonly=True)
    try:
        sender = options.sender if options.sender is not None else reverse_path(parsed)
        recipients = options.recipient or forward_paths(parsed)
    except ValueError as error:
        raise Failure(Status.DATA, f"{file.name}: {error} (--sender and --recipient give the envelope)") from error
    for address in (sender, *recipients):
        if "\ufffd" in address:
            raise Failure(
                Status.DATA, f"{file.name}: the address {address!r} is not UTF-8 (give --sender and --recipient)"
            )
    if not recipients:
        raise Failure(Status.DATA, f"{file.name}: no recipients: no To, Cc or Bcc with an address (give --recipient)")
    content: bytes | Input = file
    if rest is not None:
        content = _BCC.sub(b"", header) + rest
        file.close()
    return Submission(sender, list(dict.fromkeys(recipients)), content)


def _taken_apart(file: Input) -> tuple[bytes, bytes | None]:
    """The header, and what is behind it; None for that, the file as it was, where it is large and can go as it is."""
    start = file.tell() if file.seekable() else None
    octets = file.read(_BEGINNING)
    if start is not None and len(octets) == _BEGINNING:
        header = _header(octets)
        whole = octets[len(header) :].startswith((b"\r", b"\n"))
        # Eight bits may have to be announced, or encoded.
        chunks = chain([octets], iter(partial(file.read, _BEGINNING), b""))
        as_it_is = whole and not _BCC.search(header) and all(map(bytes.isascii, chunks))
        file.seek(start if as_it_is else start + len(octets))
        if as_it_is:
            return header, None
    octets += file.read()
    header = _header(octets)
    return header, octets[len(header) :]


def _made(options: argparse.Namespace) -> Submission:
    if options.from_ is None:
        raise Failure(Status.USAGE, "--from is missing: the message needs an author")
    try:
        message = _composed(options)
        sender = options.sender if options.sender is not None else reverse_path(message)
        recipients = list(dict.fromkeys(options.recipient or forward_paths(message)))
        content = flatten(message, utf8=not (sender + "".join(recipients)).isascii())
    except (ValueError, MessageError, IndexError) as error:  # the last of `email`'s own, for some broken addresses
        raise Failure(Status.DATA, f"the message cannot be made: {error}") from error
    if not recipients:
        raise Failure(Status.USAGE, "no recipients: give --to, --cc, --bcc or --recipient")
    return Submission(sender, recipients, content)


def _composed(options: argparse.Namespace) -> EmailMessage:
    # No 8-bit text: not every server takes it.
    message = EmailMessage(policy=policy.SMTP.clone(cte_type="7bit"))
    message["From"] = options.from_
    for name in ("To", "Cc", "Bcc"):
        addresses = getattr(options, name.lower())
        if addresses:
            message[name] = ", ".join(addresses)
    if options.subject is not None:
        message["Subject"] = options.subject
    for header in options.header:
        name, value = _field(header)
        message[name] = value
    if "Date" not in message:
        message["Date"] = formatdate(localtime=True)
    if "Message-ID" not in message:
        # A domain that is given: to find one out might wait for a resolver.
        _, _, domain = reverse_path(message).partition("@")
        message["Message-ID"] = make_msgid(domain=domain if domain.isascii() and domain else "localhost")
    message.set_content(_text(options))
    for path in options.attach:
        kind, encoding = mimetypes.guess_type(path)
        maintype, _, subtype = (kind if kind and not encoding else "application/octet-stream").partition("/")
        message.add_attachment(_read(path), maintype=maintype, subtype=subtype, filename=Path(path).name)
    return message


def _field(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not _FIELD_NAME.fullmatch(name):
        raise Failure(Status.USAGE, f'--header {header!r} is not "NAME: VALUE"')
    if name.lower().startswith(_MADE_HERE):
        raise Failure(Status.USAGE, f"--header {name}: that one is made of the parts of the message")
    return name, value.strip()


def _text(options: argparse.Namespace) -> str:
    if options.body_file is None:
        return options.body or ""
    try:
        return _read(options.body_file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(
            Status.NO_INPUT, f"--body-file {options.body_file}: it is not UTF-8 (octet {error.start})"
        ) from error


def _header(octets: bytes) -> bytes:
    found = _HEADER.match(octets)
    assert found is not None  # it matches nothing, too
    return found[0]


def _read(path: str) -> bytes:
    with closing(Input(path)) as file:
        return file.read()
