"""What a connection's ends say: nobody else can listen on this machine; what one is called is a name or a literal."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from smtp_proto.commands import Ehlo
from smtp_surface.endpoints import may_be_overheard, own_name, peer_name
from tests.needs import needs_linux, needs_unix_sockets


class Ends:
    """Something with two ends; an exception is raised."""

    def __init__(self, peer: Any = None, own: Any = None) -> None:
        self.peer, self.own = peer, own

    def getpeername(self) -> Any:
        return self._say(self.peer)

    def getsockname(self) -> Any:
        return self._say(self.own)

    @staticmethod
    def _say(end: Any) -> Any:
        if isinstance(end, OSError):
            raise end
        return end


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("127.0.0.1", 25), False),
        (("127.1.2.3", 25), False),
        (("::1", 25, 0, 0), False),
        (("::ffff:127.0.0.1", 25, 0, 0), False),
        (("192.0.2.1", 25), True),
        (("2001:db8::1", 25, 0, 0), True),
        (("fe80::1%eth0", 25, 0, 2), True),
        (("::ffff:192.0.2.1", 25, 0, 0), True),
        (("::", 25, 0, 0), True),
        ("/run/lmtp", False),
        (b"\0abstract", False),
        ("", False),
        (OSError(errno.ENOTCONN, "gone"), False),
        (OSError(errno.EINVAL, "gone"), False),
        (OSError(errno.EBADF, "closed"), True),
    ],
)
def test_only_this_machine_is_out_of_hearing(peer: Any, expected: bool) -> None:
    assert may_be_overheard(Ends(peer)) is expected


def test_what_has_no_ends_was_handed_in() -> None:
    assert may_be_overheard(object()) is False
    assert peer_name(object()) == "what was handed in"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the name of the machine."""

    def called(name: str) -> None:
        result = os.uname_result(("Linux", name, "6", "1", "x86_64"))
        monkeypatch.setattr(os, "uname", lambda: result)

    def looked_up(*arguments: object) -> object:
        raise AssertionError("a name was looked up, which may block for long")

    for function in ("getfqdn", "gethostbyaddr", "gethostbyname", "getaddrinfo"):
        monkeypatch.setattr(socket, function, looked_up)
    return called


def test_a_name_with_a_dot_is_said(machine: Any) -> None:
    machine("mail.example.org")
    assert own_name(Ends(own=("192.0.2.1", 4000))) == "mail.example.org"


@pytest.mark.parametrize("name", ["localhost", "", "caf\xe9.example", "two words.example", "a\r\nb.example"])
@pytest.mark.parametrize(
    ("own", "literal"),
    [
        (("192.0.2.1", 4000), "[192.0.2.1]"),
        (("2001:db8::1", 4000, 0, 0), "[IPv6:2001:db8::1]"),
        (("fe80::1%eth0", 4000, 0, 2), "[IPv6:fe80::1]"),
        (("::ffff:192.0.2.1", 4000, 0, 0), "[IPv6:::ffff:192.0.2.1]"),
        ("/run/lmtp", "[127.0.0.1]"),
        (OSError(errno.EBADF, "closed"), "[127.0.0.1]"),
    ],
)
def test_without_a_name_the_address_is_said_as_a_literal(machine: Any, name: str, own: Any, literal: str) -> None:
    machine(name)
    said = own_name(Ends(own=own))
    assert said == literal
    assert Ehlo(said).line == f"ehlo {literal}\r\n".encode()


def test_without_a_connection_there_is_a_name_too(machine: Any) -> None:
    machine("localhost")
    assert own_name(None) == "[127.0.0.1]"


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        (("192.0.2.1", 25), "192.0.2.1 port 25"),
        (("2001:db8::1", 25, 0, 0), "2001:db8::1 port 25"),
        ("/run/lmtp", "/run/lmtp"),
        ("", "a Unix socket"),
        (OSError(errno.ENOTCONN, "gone"), "what was handed in"),
    ],
)
def test_the_peer_for_people(peer: Any, name: str) -> None:
    assert peer_name(Ends(peer)) == name


def test_unix_sockets_as_they_are(tmp_path: Path) -> None:
    needs_unix_sockets()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "lmtp"))
        listener.listen()
        client.connect(str(tmp_path / "lmtp"))
        assert may_be_overheard(client) is False
        assert peer_name(client) == str(tmp_path / "lmtp")


def test_unix_sockets_without_a_path() -> None:
    needs_linux()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(f"\0sansio-smtp-test-{os.getpid()}")
        listener.listen()
        client.connect(listener.getsockname())
        assert may_be_overheard(client) is False
        assert peer_name(client).startswith("\0sansio-smtp-test")
