"""Where `serve` puts messages: printed, into a Maildir, or one .eml file each.

A message is accepted only when it is there: a store that fails raises `OSError`, and the client is told to try again.
A store is called for one message at a time.  A stored
message begins with what RFC 5321 4.4 makes the last server add, the envelope's sender (Return-Path), and with the
recipients (Delivered-To); the rest is as it came.
"""

from __future__ import annotations

import mailbox
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

from smtp_proto.handler import ReceivedMessage

from .terminal import Terminal, counted

#: Keeps a message, and says so.
Store = Callable[[ReceivedMessage], None]


def printing(terminal: Terminal) -> Store:
    """Messages go to standard output: the envelope, and the text with what is not printable escaped."""

    def store(message: ReceivedMessage) -> None:
        text = message.content.decode("utf-8", "backslashreplace").replace("\r\n", "\n").removesuffix("\n")
        if not terminal.say(f"--- {_summary(message)}\n{text}\n--- end of message"):
            raise BrokenPipeError("nobody reads standard output any more")

    return store


def into_maildir(path: Path, terminal: Terminal) -> Store:
    """Messages go into a Maildir, made if there is none, by way of its ``tmp`` into its ``new``."""
    # Here, for `mailbox` takes a folder that is there for a Maildir.
    for folder in ("tmp", "new", "cur"):
        (path / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    maildir = mailbox.Maildir(path, create=False)

    def store(message: ReceivedMessage) -> None:
        # A file of this system's, and a store that other programs read: lines end as they do here.
        name = maildir.add(_with_envelope(message).replace(b"\r\n", os.linesep.encode()))
        terminal.say(f"{_summary(message)} in {path / 'new' / name}")

    return store


def into_files(folder: Path, terminal: Terminal) -> Store:
    """Each message is a file of its own, which has its name only when all of it is on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = count(1)

    def store(message: ReceivedMessage) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = folder / f"{stamp}-{os.getpid()}-{next(numbers)}.eml"
        part = path.with_suffix(".part")
        try:
            with part.open("xb") as file:
                file.write(_with_envelope(message))
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        terminal.say(f"{_summary(message)} in {path}")

    return store


def _summary(message: ReceivedMessage) -> str:
    recipients = ", ".join(f"<{path}>" for path in message.to)
    return f"from <{message.sender}> to {recipients}: {counted(len(message.content), 'octet')}"


def _with_envelope(message: ReceivedMessage) -> bytes:
    # No path can hold what would end a line (`smtp_proto.grammar.PATH`).
    lines = [f"Return-Path: <{message.sender}>", *(f"Delivered-To: {path}" for path in message.to)]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8") + message.content
