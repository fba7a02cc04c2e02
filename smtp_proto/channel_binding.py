"""What ties a log-in to the TLS session that it goes over (RFC 5929), so that it is of no use over another one.

`TLSFacts` is what a transport tells of its session, as octets: nothing here knows `ssl`.  `bindings` makes of it the
data for each type of binding that both ends can know:

* tls-server-end-point: a hash of the server's certificate.
* tls-unique: the first Finished message of the handshake.  Up to TLS 1.2 only: TLS 1.3 has none that would do (RFC 8446
  C.5), and what Python gives there all the same is not it.

TLS 1.3's own, tls-exporter (RFC 9266), needs what Python's `ssl` does not give.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class ChannelBinding(NamedTuple):
    """One type of binding and its data."""

    name: str
    octets: bytes


class TLSFacts(NamedTuple):
    """What is known of a TLS session."""

    #: As `ssl` says it: "TLSv1.3".
    version: str | None = None
    #: The other end's certificate (DER); None where it has shown none, or none was asked for.
    peer_certificate: bytes | None = None
    #: The same as `ssl.SSLSocket.getpeercert` reads it; empty where it was not verified.
    peer: Mapping[str, Any] = {}
    #: The octets of tls-unique.
    unique: bytes | None = None
    #: The cipher suite, by OpenSSL's name.
    cipher: str | None = None
    #: True if the other end has proven who it is: the certificate's chain was verified, and by a client its name.
    verified: bool = False
    #: The name that the client has asked for.
    server_hostname: str | None = None


_WITH_UNIQUE = frozenset({"TLSv1", "TLSv1.1", "TLSv1.2"})


def bindings(facts: TLSFacts | None, certificate: bytes | None) -> list[ChannelBinding]:
    """The bindings of a session whose server has `certificate` (DER), the better ones first; none without TLS."""
    found = []
    if facts is not None and certificate is not None:
        digest = server_end_point(certificate)
        if digest is not None:
            found.append(ChannelBinding("tls-server-end-point", digest))
    if facts is not None and facts.unique and facts.version in _WITH_UNIQUE:
        found.append(ChannelBinding("tls-unique", facts.unique))
    return found


# The hash of a signature algorithm, by its object identifier, in hexadecimal as DER has it: RFC 3279, RFC 4055, RFC
# 5758.  RFC 5929 4.1: SHA-256 in place of MD5 and SHA-1.
_RSA, _ECDSA, _DSA = "2a864886f70d0101", "2a8648ce3d0403", "6086480165030403"
_HASHES = {
    **dict.fromkeys([f"{_RSA}04", f"{_RSA}05", f"{_RSA}0b", "2a8648ce380403", "2a8648ce3d0401"], "sha256"),
    f"{_RSA}0c": "sha384",
    f"{_RSA}0d": "sha512",
    f"{_RSA}0e": "sha224",
    f"{_ECDSA}01": "sha224",
    f"{_ECDSA}02": "sha256",
    f"{_ECDSA}03": "sha384",
    f"{_ECDSA}04": "sha512",
    f"{_DSA}01": "sha224",
    f"{_DSA}02": "sha256",
}
# RSASSA-PSS names its hash in its parameters.
_PSS = f"{_RSA}0a"
_PSS_HASHES = {
    "2b0e03021a": "sha256",  # SHA-1
    **{f"60864801650304020{n}": f"sha{bits}" for n, bits in ((1, 256), (2, 384), (3, 512), (4, 224))},
}

_SEQUENCE, _OID, _FIRST_PARAMETER = 0x30, 0x06, 0xA0


def server_end_point(certificate: bytes) -> bytes | None:
    """tls-server-end-point (RFC 5929 4): the certificate's hash, by the hash of its own signature.

    None where that is not defined: a signature without a hash of its own (Ed25519), or what is no certificate.
    """
    try:
        name = _signature_hash(certificate)
    except (ValueError, IndexError):
        return None
    if name is None:
        return None
    import hashlib  # here, because it loads OpenSSL's hashes

    return hashlib.new(name, certificate).digest()


def _signature_hash(certificate: bytes) -> str | None:
    """Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, ... } (RFC 5280)."""
    signed, behind = _element(_content(certificate, _SEQUENCE), _SEQUENCE)
    del signed
    algorithm, parameters = _element(_content(behind, _SEQUENCE), _OID)
    if algorithm.hex() != _PSS:
        return _HASHES.get(algorithm.hex())
    # RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm DEFAULT sha1, ... } (RFC 4055 3.1)
    values = _content(parameters, _SEQUENCE)
    if not values or values[0] != _FIRST_PARAMETER:
        return "sha256"
    return _PSS_HASHES.get(_content(_content(_content(values, _FIRST_PARAMETER), _SEQUENCE), _OID).hex())


def _content(octets: bytes, tag: int) -> bytes:
    return _element(octets, tag)[0]


def _element(octets: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the element of DER at the front, and what is behind it; ValueError if it is not whole."""
    if octets[0] != tag:
        raise ValueError(f"no element with the tag {tag:#x}")
    start, length = 2, octets[1]
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(octets[2:start], "big")
    if len(octets) < start + length:
        raise ValueError("cut off")
    return octets[start : start + length], octets[start + length :]
