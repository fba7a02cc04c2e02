"""Channel bindings (RFC 5929): the hash of a certificate is the one of its signature, and what there is to bind to."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.channel_binding import ChannelBinding, TLSFacts, bindings, server_end_point
from smtp_proto.tls import TLSPump, facts_of

from .certificates import authority, client_context, server_context

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


def certificate(key: object, algorithm: hashes.HashAlgorithm | None, rsa_padding: padding.PSS | None = None) -> bytes:
    """A certificate (DER) that `key` has signed so."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx.test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())  # type: ignore[attr-defined]  # each of the keys has it
        .serial_number(1)
        .not_valid_before(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
    )
    made = builder.sign(key, algorithm, rsa_padding=rsa_padding)  # type: ignore[arg-type]  # as above
    return made.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("signed", "digest"),
    [
        (certificate(RSA, hashes.SHA256()), "sha256"),
        (certificate(RSA, hashes.SHA384()), "sha384"),
        (certificate(RSA, hashes.SHA512()), "sha512"),
        (certificate(RSA, hashes.SHA224()), "sha224"),
        (certificate(EC, hashes.SHA224()), "sha224"),
        (certificate(EC, hashes.SHA256()), "sha256"),
        (certificate(EC, hashes.SHA384()), "sha384"),
        (certificate(EC, hashes.SHA512()), "sha512"),
        (certificate(RSA, hashes.SHA256(), PSS), "sha256"),
        (certificate(RSA, hashes.SHA384(), PSS), "sha384"),
        (certificate(RSA, hashes.SHA512(), PSS), "sha512"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_hash_is_the_signatures(signed: bytes, digest: str) -> None:
    """RFC 5929 4.1: the certificate is hashed as it was for its signature."""
    assert server_end_point(signed) == hashlib.new(digest, signed).digest()


def test_old_hashes_are_replaced() -> None:
    """RFC 5929 4.1: SHA-256 stands in for SHA-1 and MD5, where the certificate was signed with those."""
    # What follows the algorithm does not matter, and no library signs so any more: a tbsCertificate of nothing.
    sha1_with_rsa, sha1_pss = bytes.fromhex("2a864886f70d010105"), bytes.fromhex("2a864886f70d01010a")
    # RSASSA-PSS-params: SHA-1 by default, with no parameters and with only a mask; SHA-1 named; and one unknown.
    for algorithm, parameters, known in (
        (sha1_with_rsa, "0500", True),
        (sha1_pss, "3000", True),
        (sha1_pss, "3003a20100", True),
        (sha1_pss, "300ba009300706052b0e03021a", True),
        (sha1_pss, "300ba009300706052b0e030299", False),
        (bytes.fromhex("2b0601"), "0500", False),
    ):
        inner = b"\x06" + bytes([len(algorithm)]) + algorithm + bytes.fromhex(parameters)
        outer = b"\x30\x00\x30" + bytes([len(inner)]) + inner
        signed = b"\x30" + bytes([len(outer)]) + outer
        assert server_end_point(signed) == (hashlib.sha256(signed).digest() if known else None), parameters


def test_a_signature_without_a_hash_has_no_binding() -> None:
    """RFC 5929 4.1: it is undefined for a signature that has no hash of its own, as Ed25519's."""
    assert server_end_point(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None


@given(st.binary() | st.integers(0, 400).map(lambda end: certificate(EC, hashes.SHA256())[:end]))
def test_what_is_no_certificate_has_no_binding(octets: bytes) -> None:
    """Whatever a server may show, it is hashed or it is not; nothing is raised."""
    digest = server_end_point(octets)
    assert digest is None or len(digest) >= 28


def test_what_there_is_to_bind_to() -> None:
    """Nothing without TLS; the certificate where it is known; tls-unique up to TLS 1.2 only (RFC 8446 C.5)."""
    signed = certificate(EC, hashes.SHA256())
    end_point = ChannelBinding("tls-server-end-point", hashlib.sha256(signed).digest())
    unique = ChannelBinding("tls-unique", b"finished")
    assert bindings(None, signed) == []
    assert bindings(TLSFacts("TLSv1.3", unique=b"finished"), signed) == [end_point]
    assert bindings(TLSFacts("TLSv1.2", unique=b"finished"), signed) == [end_point, unique]
    assert bindings(TLSFacts("TLSv1.2", unique=b"finished"), b"none") == [unique]
    assert bindings(TLSFacts("TLSv1.2"), None) == []
    assert bindings(TLSFacts(), None) == []


@pytest.mark.parametrize("mutual", [False, True])
def test_what_both_ends_know(mutual: bool) -> None:
    """Both ends of a real handshake see the same certificate and, in TLS 1.2, the same tls-unique."""
    import ssl

    for_server, for_client = server_context(), client_context()
    for_client.maximum_version = ssl.TLSVersion.TLSv1_2
    if mutual:
        authority().issue_cert("tim@client.test").configure_cert(for_client)
        authority().configure_trust(for_server)
        for_server.verify_mode = ssl.CERT_REQUIRED
    client = TLSPump(for_client, "localhost")
    server = TLSPump(for_server, server_side=True)
    for _ in range(10):
        for one, other in ((client, server), (server, client)):
            one.established or one.handshake()
            other.receive_data(one.data_to_send())
    seen, own = facts_of(client.ssl_object), facts_of(server.ssl_object)
    assert seen.version == own.version == "TLSv1.2"
    assert seen.unique == own.unique
    assert seen.unique
    assert seen.peer_certificate is not None
    assert seen.peer["subjectAltName"]
    assert (own.peer_certificate is not None) is mutual
    assert bool(own.peer) is mutual
