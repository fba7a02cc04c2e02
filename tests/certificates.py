"""Certificates for tests of TLS: one to trust, and each kind that a client must refuse.

The authorities and keys are made once per process and only in memory (trustme puts a key into a
temporary file for the moment in which `ssl` reads it, and removes it). The contexts are made anew
for each call: a context is mutable, and a test that changes one must not change another test's.
"""

import datetime as dt
import functools
import ssl
from collections.abc import Callable

import trustme

HOSTS = ("localhost", "127.0.0.1", "::1")
WRONG_HOST = "wrong.test"


@functools.cache
def authority() -> trustme.CA:
    """The authority that `client_context` trusts."""
    return trustme.CA(organization_name="sansio-smtp tests")


@functools.cache
def _unknown_authority() -> trustme.CA:
    return trustme.CA(organization_name="sansio-smtp tests, unknown to the client")


@functools.cache
def _good() -> trustme.LeafCert:
    return authority().issue_cert(*HOSTS)


@functools.cache
def _wrong_name() -> trustme.LeafCert:
    return authority().issue_cert(WRONG_HOST)


@functools.cache
def _expired() -> trustme.LeafCert:
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    return authority().issue_cert(*HOSTS, not_before=now - 2 * day, not_after=now - day)


@functools.cache
def _unknown() -> trustme.LeafCert:
    return _unknown_authority().issue_cert(*HOSTS)


def _server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    """A client's context with the library's defaults that trusts `authority` and nobody else."""
    # With cadata given, create_default_context() does not load the system's authorities.
    return ssl.create_default_context(cadata=authority().cert_pem.bytes().decode("ascii"))


def server_context() -> ssl.SSLContext:
    """A server that is what it says: localhost, 127.0.0.1 or ::1."""
    return _server_context(_good())


def own_certificate() -> bytes:
    """The certificate (DER) of `server_context`."""
    return ssl.PEM_cert_to_DER_cert(_good().cert_chain_pems[0].bytes().decode("ascii"))


def wrong_name_server_context() -> ssl.SSLContext:
    """A server with the certificate of another: `WRONG_HOST`, by the authority that is trusted."""
    return _server_context(_wrong_name())


def expired_server_context() -> ssl.SSLContext:
    """A server whose certificate has expired yesterday."""
    return _server_context(_expired())


def unknown_authority_server_context() -> ssl.SSLContext:
    """A server with the right names, certified by an authority that the client does not know."""
    return _server_context(_unknown())


def self_signed_server_context() -> ssl.SSLContext:
    """A server that certifies itself: an authority's own certificate, used as a server's.

    It has no names either; what a client reports first is that it is self-signed.
    """
    unknown = _unknown_authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = unknown.private_key_pem.bytes() + unknown.cert_pem.bytes()
    with trustme.Blob(pem).tempfile() as path:
        context.load_cert_chain(path)
    return context


REFUSED: dict[str, Callable[[], ssl.SSLContext]] = {
    "wrong name": wrong_name_server_context,
    "expired": expired_server_context,
    "unknown authority": unknown_authority_server_context,
    "self-signed": self_signed_server_context,
}
"""What a client must refuse, by name, for ``pytest.mark.parametrize``."""
