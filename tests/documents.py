"""The examples of the documents, and a world in which they run as they are written.

An example is a fenced block of Python in `README.md` or `docs/*.md`, directly behind a line ``<!-- example: name -->``;
each has one, and its name is its own among all pages.  `Example.run` executes it.  What it prints is what it says that
it prints: the comments behind its calls of `print`, one for each line of output (`Example.said`).

In the `world` every host below example.org, example.net and example.com is one server of ours, whatever the port: TLS
from the start on 465, LMTP on 24 and 2003, STARTTLS elsewhere; its certificates are trusted, and the users are `USERS`,
with `TOKENS`.  So an example can name hosts as a reader would, and needs no test of its own unless more is to be shown
of it.

One that changes the process that it runs in says so: ``<!-- example: name, in a process of its own -->``.  There it is
run by ``python -m tests.documents NAME``, in a world of its own too, whose messages are printed to standard error.
"""

from __future__ import annotations

import functools
import re
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import smtp_blocking
from smtp_proto import ReceivedMessage, Settings
from tests import certificates

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
#: Names and passwords that log-ins of examples may use.
USERS = {"ada@example.org": "password"}
#: Extensions that it offers beside its own.
OFFER = ("DSN", "MT-PRIORITY", "FUTURERELEASE 604800 2036-01-01T00:00:00Z")
#: Bearer tokens, and whose they are.
TOKENS = {"ya29.fresh": "ada@example.org"}

# A fenced block, with the marker in the comment before it where it has one.
_BLOCK = re.compile(r"(?:<!-- (\w+): ([\w, -]+) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_APART = ", in a process of its own"
_PRINTED = re.compile(r"print\(.*\)  # (.*)")
_SOMEWHERE = re.compile(r"(?:.*\.)?example\.(?:org|net|com)")


class Example(NamedTuple):
    """One block of Python."""

    name: str
    page: Path
    code: str
    #: It changes the process in which it runs.
    apart: bool = False

    def run(self) -> dict[str, object]:
        """Execute it as a program; returns its global names."""
        namespace: dict[str, object] = {"__name__": "__main__"}
        exec(compile(self.code, f"{self.page.name} ({self.name})", "exec"), namespace)  # noqa: S102  # the point of it
        return namespace

    @property
    def said(self) -> list[str]:
        """What it says that it prints."""
        return _PRINTED.findall(self.code)


def blocks(page: Path, kind: str) -> dict[str, str]:
    """The blocks of a page that are marked as of this kind, by name."""
    return {name: code for marker, name, _, code in _BLOCK.findall(page.read_text()) if marker == kind}


def unmarked(page: Path) -> list[str]:
    """The blocks of Python that have no marker, and so would be run by nobody."""
    found = _BLOCK.findall(page.read_text())
    return [code for kind, _, language, code in found if language in ("python", "py") and kind != "example"]


def examples() -> dict[str, Example]:
    """All examples, by name."""
    found: dict[str, Example] = {}
    for page in PAGES:
        for name, code in blocks(page, "example").items():
            example = Example(name.removesuffix(_APART), page, code, apart=name.endswith(_APART))
            assert example.name not in found, f"two examples are called {example.name!r}"
            found[example.name] = example
    return found


class World:
    """See the module's header."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._servers: dict[str, smtp_blocking.Server] = {}
        #: The hosts and ports that were asked for.
        self.asked: list[tuple[str, int]] = []

    @property
    def messages(self) -> list[ReceivedMessage]:
        """What has arrived, at whichever server."""
        return [message for server in self._servers.values() for message in server.messages]

    def server(self, port: int) -> smtp_blocking.Server:
        """The server that is behind a port, started when it is first asked for."""
        kind = "implicit" if port == smtp_blocking.SMTP_SSL_PORT else "lmtp" if port in (24, 2003) else "smtp"
        if kind not in self._servers:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            names = [f"{prefix}example.{domain}" for prefix in ("", "*.") for domain in ("org", "net", "com")]
            certificates.authority().issue_cert(*names).configure_cert(context)
            server = smtp_blocking.Server(
                tls_context=context,
                users=USERS,
                tokens=TOKENS,
                implicit_tls=kind == "implicit",
                lmtp=kind == "lmtp",
                settings=Settings(hostname="mail.example.org", offer=OFFER),
            )
            self._servers[kind] = self._stack.enter_context(server)
        return self._servers[kind]


@contextmanager
def world(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[World]:
    """The world of the examples; `folder` is for the certificate of the authority that it trusts."""
    trusted = folder / "authority.pem"
    trusted.write_bytes(certificates.authority().cert_pem.bytes())
    # Read by OpenSSL for the default authorities, so for `ssl.create_default_context()` wherever it is called.
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with ExitStack() as stack:
        made = World(stack)
        look_up = socket.getaddrinfo  # what every way of connecting comes to: sockets, asyncio, trio, anyio

        def redirected(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            if name is None or _SOMEWHERE.fullmatch(name) is None:
                return look_up(host, port, *arguments, **options)
            made.asked.append((name, int(port)))
            server = made.server(int(port))
            return look_up(server.host, server.port, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", redirected)
        yield made


@functools.cache
def run_apart(name: str) -> subprocess.CompletedProcess[str]:
    """Run an example in a process of its own."""
    return subprocess.run(
        [sys.executable, "-bb", "-m", "tests.documents", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def main(name: str) -> None:
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        tempfile.TemporaryDirectory() as folder,
        world(monkeypatch, Path(folder)) as made,
    ):
        clients: list[str] = []  # the packages that those come from which connect
        sys.addaudithook(
            lambda event, arguments: (
                clients.append(type(arguments[0]).__module__) if event == "smtplib.connect" else None
            )
        )
        examples()[name].run()
        for client, message in zip(clients, made.messages, strict=True):
            sys.stderr.write(f"{client}: {message.sender} -> {' '.join(message.to)} {message.content!r}\n")


if __name__ == "__main__":
    main(sys.argv[1])
