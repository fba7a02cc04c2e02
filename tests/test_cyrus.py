"""The server's SCRAM bound to its certificate (tls-server-end-point), against Cyrus' SASL: a client of another make."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import closing

import pytest

import smtp_blocking
from smtp_proto.sasl_exchange import Credentials
from smtp_proto.server_session import Settings

from .certificates import client_context, own_certificate, server_context
from .cyrus import CyrusClient, Failed
from .serving import PASSWORD, USER, Noting

BOUND = ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"]


@pytest.fixture
def handler() -> Noting:
    return Noting()


@pytest.fixture
def server(handler: Noting) -> Iterator[smtp_blocking.Server]:
    settings = Settings("localhost", mechanisms=(*BOUND, "SCRAM-SHA-256"), certificate=own_certificate())
    with smtp_blocking.Server(handler, settings=settings, tls_context=server_context()) as running:
        yield running


def log_in(server: smtp_blocking.Server, mechanism: str, password: str, spoil: bytes = b"") -> int:
    """Log in with Cyrus' library over the standard library's `smtplib`; the code of the last answer."""
    with smtplib.SMTP(server.host, server.port, "client.test", 30) as client:
        client.starttls(context=client_context())
        client.ehlo()
        assert mechanism in client.esmtp_features["auth"].split()
        assert isinstance(client.sock, ssl.SSLSocket)
        shown = client.sock.getpeercert(binary_form=True)
        assert shown is not None
        # RFC 5929 4.1: the hash is that of the certificate's signature, which these have with SHA-256.
        bound_to = hashlib.sha256(shown).digest() + spoil
        with closing(CyrusClient(mechanism, USER, password, "tls-server-end-point", bound_to)) as cyrus:
            code, said = client.docmd("AUTH", f"{mechanism} {b64encode(cyrus.start()).decode()}")
            while code == 334:
                code, said = client.docmd(b64encode(cyrus.step(b64decode(said))).decode())
        return code


@pytest.mark.parametrize("mechanism", BOUND)
def test_bound_to_the_certificate(server: smtp_blocking.Server, handler: Noting, mechanism: str) -> None:
    """Both ends see the same certificate, over TLS 1.3 too, and each believes the other's proof."""
    assert log_in(server, mechanism, PASSWORD) == 235
    assert handler.logged_in == [Credentials(mechanism, USER, "")]


@pytest.mark.parametrize("mechanism", BOUND)
def test_bound_to_something_else(server: smtp_blocking.Server, handler: Noting, mechanism: str) -> None:
    """Who sees another certificate, as behind a man in the middle, is refused with the right password."""
    assert log_in(server, mechanism, PASSWORD, b"!") == 535
    assert handler.logged_in == [None]


def test_a_wrong_password(server: smtp_blocking.Server, handler: Noting) -> None:
    """The binding is no substitute for the password."""
    assert log_in(server, BOUND[1], "wrong") == 535
    assert handler.logged_in == [None]


def test_a_server_that_proves_nothing() -> None:
    """The other end does check: what is no proof of the server's is no success to it."""
    with closing(CyrusClient(BOUND[1], USER, PASSWORD, "tls-server-end-point", b"x" * 32)) as cyrus:
        first = cyrus.start()
        nonce = first.rpartition(b"r=")[2]
        cyrus.step(b"r=" + nonce + b"more,s=" + b64encode(b"salt" * 4) + b",i=4096")
        with pytest.raises(Failed):
            cyrus.step(b"v=" + b64encode(b"0" * 32))
