"""``smtp-proto serve``: a server that prints or stores what it receives, until it is told to stop."""

from __future__ import annotations

import argparse
import re
import signal
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from smtp_blocking.server import Server
from smtp_proto.commands import Mail
from smtp_proto.grammar import WORD
from smtp_proto.handler import Decision, Decisions, ReceivedMessage, UserHandler
from smtp_proto.replies import Reply
from smtp_proto.sasl_server import password_mechanisms
from smtp_proto.server_session import ServerSession, Settings

from . import arguments
from .status import Failure, Status
from .storing import Store, into_files, into_maildir, printing
from .terminal import Terminal

# Seconds for clients to hear the last reply and to say goodbye.
GRACE = 2.0

_CLOSING = Reply(421, "4.3.2 Closing")


def add(parser: argparse.ArgumentParser) -> None:
    """Add what `serve` understands."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=arguments.port, default=0, help="0, the default: a free one, which is printed")
    parser.add_argument("--lmtp", action="store_true", help="speak LMTP, which answers for each recipient")
    parser.add_argument("--hostname", default="localhost", metavar="NAME", help="what it calls itself (localhost)")
    parser.add_argument(
        "--max-size", type=arguments.octets, metavar="OCTETS", help="the largest message; 32M; 0: any that fits memory"
    )
    parser.add_argument("--count", type=arguments.positive, metavar="N", help="end when N messages have arrived")
    store = parser.add_mutually_exclusive_group()
    store.add_argument("--maildir", type=Path, metavar="FOLDER", help="store messages in this Maildir")
    store.add_argument("--eml", type=Path, metavar="FOLDER", help="store each message as a file in this folder")
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--tls-cert", metavar="FILE", help="certificate and chain (PEM); offers STARTTLS")
    tls.add_argument("--tls-key", metavar="FILE", help="its key, where it is not in the same file")
    tls.add_argument("--implicit-tls", action="store_true", help="TLS from the first octet, in place of STARTTLS")
    login = parser.add_argument_group("log-ins")
    login.add_argument("--user-file", metavar="FILE", help="a line name:password for each user")
    login.add_argument("--require-auth", action="store_true", help="take mail from those who have logged in only")
    login.add_argument("--allow-cleartext-auth", action="store_true", help="offer log-ins without TLS, too")


def run(options: argparse.Namespace, terminal: Terminal) -> Status:
    """Serve until a signal, `--count` or a reader that has gone away ends it."""
    context = _tls(options)
    users = _users(options.user_file) if options.user_file is not None else {}
    _check_together(options, users)
    done = threading.Event()
    receiver = _Receiver(_store(options, terminal), terminal, users, options.count, done)
    settings = Settings(hostname=options.hostname, require_auth=options.require_auth)
    if options.max_size is not None:
        settings = settings._replace(max_size=options.max_size)
    if users:
        certificate = _own_certificate(options.tls_cert) if context is not None else None
        settings = settings._replace(mechanisms=password_mechanisms(), certificate=certificate)
    server = Server(
        receiver,
        options.host,
        options.port,
        tls_context=context,
        implicit_tls=options.implicit_tls,
        cleartext_auth=options.allow_cleartext_auth,
        lmtp=options.lmtp,
        settings=settings,
    )
    with _until_told(done):
        try:
            server.start()
        except (OSError, UnicodeError) as error:  # the latter for what can be no name
            where = f"{options.host} port {options.port}"
            reason = getattr(error, "strerror", None) or error
            raise Failure(Status.NO_OUTPUT, f"cannot listen on {where}: {reason}") from error
        try:
            if terminal.say(f"{'LMTP' if options.lmtp else 'SMTP'} on {server.host} port {server.port}"):
                done.wait()
        finally:
            server.stop(GRACE)
    if receiver.failure is not None:
        raise Failure(Status.NO_OUTPUT, f"not every message could be kept: {receiver.failure}")
    return Status.DONE


class _Receiver(UserHandler):
    """Keeps each message before it is accepted, and sets `done` when there were enough."""

    def __init__(
        self, store: Store, terminal: Terminal, users: Mapping[str, str], count: int | None, done: threading.Event
    ) -> None:
        super().__init__(users)
        self.failure: Exception | None = None
        self._store = store
        self._terminal = terminal
        self._left = count
        self._done = done
        self._lock = threading.Lock()  # connections have a thread each; what is shown of a message stays together

    def connect(self, session: ServerSession) -> Decision:
        return _CLOSING if self._done.is_set() else None

    def mail(self, session: ServerSession, command: Mail) -> Decision:
        return _CLOSING if self._done.is_set() else None

    def body(self, session: ServerSession, message: ReceivedMessage) -> Decisions:
        with self._lock:
            if self._done.is_set():
                return _CLOSING
            self._store(message)
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    self._done.set()
        return None

    def failed(self, session: ServerSession, error: Exception) -> None:
        self.failure = error
        self._terminal.tell(f"smtp-proto: a message was refused for now, for it cannot be kept: {error}")
        if isinstance(error, BrokenPipeError):
            self._done.set()


@contextmanager
def _until_told(done: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `done`, where this is the thread that hears them; a second one acts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        done.set()
        signal.signal(number, before[number])

    before.update({number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)})
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_together(options: argparse.Namespace, users: Mapping[str, str]) -> None:
    if not WORD.fullmatch(options.hostname):
        raise Failure(Status.USAGE, f"--hostname {options.hostname!r} is not a name")
    if options.implicit_tls and not options.tls_cert:
        raise Failure(Status.USAGE, "--implicit-tls needs --tls-cert")
    if options.tls_key and not options.tls_cert:
        raise Failure(Status.USAGE, "--tls-key needs --tls-cert")
    if options.require_auth and not users:
        raise Failure(Status.USAGE, "--require-auth needs --user-file with somebody in it")
    if users and not options.tls_cert and not options.allow_cleartext_auth:
        raise Failure(
            Status.USAGE, "--user-file: without TLS nobody could log in (--tls-cert, or --allow-cleartext-auth)"
        )


def _store(options: argparse.Namespace, terminal: Terminal) -> Store:
    try:
        if options.maildir is not None:
            return into_maildir(options.maildir, terminal)
        if options.eml is not None:
            return into_files(options.eml, terminal)
    except OSError as error:
        raise Failure(Status.NO_OUTPUT, f"{error.filename}: {error.strerror}") from error
    return printing(terminal)


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if not options.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except OSError as error:  # an SSLError is one
        files = " and ".join(filter(None, (options.tls_cert, options.tls_key)))
        hint = "" if isinstance(error, FileNotFoundError) else " (PEM; the key belongs to the certificate)"
        raise Failure(Status.NO_INPUT, f"{files}: {error.strerror or error}{hint}") from error
    return context


def _own_certificate(path: str) -> bytes | None:
    """The first certificate of the file, which is the server's own: the -PLUS forms of SCRAM are bound to it."""
    text = Path(path).read_text("latin-1")  # there may be remarks between the parts
    found = re.search(f"{ssl.PEM_HEADER}.*?{ssl.PEM_FOOTER}", text, re.DOTALL)
    # OpenSSL loads a few other forms as well; with those there is SCRAM without -PLUS.
    return None if found is None else ssl.PEM_cert_to_DER_cert(found[0])


def _users(path: str) -> dict[str, str]:
    """Name to password; nothing of the file is shown in an error."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise Failure(Status.NO_INPUT, f"--user-file {path}: it is not UTF-8") from None
    except OSError as error:
        raise Failure(Status.NO_INPUT, f"--user-file {path}: {error.strerror or error}") from error
    users = {}
    for number, line in enumerate(lines, 1):
        name, colon, password = line.removesuffix("\r").partition(":")
        if colon and name and password:
            users[name] = password
        elif line.strip():
            raise Failure(Status.NO_INPUT, f"--user-file {path}: line {number} is not name:password")
    return users
