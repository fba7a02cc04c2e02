"""The server's log-ins against libgsasl's command, a client of another make: SCRAM bound to TLS among them."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import smtp_blocking
from smtp_proto.sasl_exchange import Credentials
from smtp_proto.server_session import Settings

from .certificates import authority, own_certificate, server_context
from .needs import needs_program
from .serving import PASSWORD, USER, Noting

PATIENCE = 30.0


def gsasl(port: int, mechanism: str, *options: str, password: str = PASSWORD) -> str:
    """Log in; what was said, on the wire and about it."""
    needs_program("gsasl", "gsasl")
    command = ["gsasl", "--smtp", "--connect", f"localhost:{port}", "-m", mechanism, "-a", USER, "-p", password]
    ran = subprocess.run([*command, *options], input=b"", capture_output=True, timeout=PATIENCE, check=False)
    return (ran.stdout + ran.stderr).decode("utf-8", "replace")


@contextmanager
def introducing(server: smtp_blocking.Server) -> Iterator[int]:
    """A port that leads to the server, with an EHLO said already: this client says STARTTLS without one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def relay() -> None:
            with (
                socket.create_connection((server.host, server.port), PATIENCE) as behind,
                behind.makefile("rb") as said,
            ):
                greeting = said.readline()
                behind.sendall(b"EHLO relay.test\r\n")
                while said.readline()[3:4] == b"-":
                    pass
                before, _ = listener.accept()
                with before:
                    before.sendall(greeting)
                    back = threading.Thread(target=pass_on, args=(behind, before))
                    back.start()
                    pass_on(before, behind)
                    back.join()

        thread = threading.Thread(target=relay)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def pass_on(one: socket.socket, other: socket.socket) -> None:
    """Octets, until one side ends."""
    with suppress(OSError):
        while octets := one.recv(65536):
            other.sendall(octets)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("first", [[], ["--no-client-first"]], ids=["initial response", "asked first"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_in_the_clear(mechanism: str, first: list[str]) -> None:
    """It logs in with each mechanism, believes the server's proof, and is refused with another password."""
    handler = Noting()
    settings = Settings("localhost", mechanisms=("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"))
    with smtp_blocking.Server(handler, settings=settings, cleartext_auth=True) as server:
        said = gsasl(server.port, mechanism, "--no-starttls", "--no-cb", *first)
        assert "server trusted" in said
        assert "235" in said
        assert "535" in gsasl(server.port, mechanism, "--no-starttls", "--no-cb", *first, password="wrong")
    assert [found and found.mechanism for found in handler.logged_in] == [mechanism]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
def test_bound_to_tls(mechanism: str, tmp_path: Path) -> None:
    """Both ends, one of them GnuTLS, see the same tls-unique; TLS 1.2, for it has no other that we have."""
    handler = Noting()
    settings = Settings(
        "localhost", mechanisms=("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"), certificate=own_certificate()
    )
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    trusted = tmp_path / "authority.pem"
    trusted.write_bytes(authority().cert_pem.bytes())
    with smtp_blocking.Server(handler, settings=settings, tls_context=context) as server, introducing(server) as port:
        said = gsasl(port, mechanism, "--starttls", f"--x509-ca-file={trusted}")
    assert "server trusted" in said, said
    assert handler.logged_in == [Credentials(mechanism, USER, "")]
