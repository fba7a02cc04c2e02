"""Asking a server what it offers, before TLS and over it: the findings as values, for `probe` to show.

It says EHLO, STARTTLS and QUIT, and nothing else.  A certificate that is not accepted ends that connection, as it must;
then there is a second one, which verifies nothing and is only to see what the certificate says and what the server
offers to those who trust it.
"""

from __future__ import annotations

import ssl
from typing import NamedTuple

from smtp_blocking import SMTP
from smtp_proto.extensions import Extensions
from smtp_proto.replies import Reply
from smtp_proto.transcript import Observer, Said

from .certificate import Certificate, read_certificate
from .connecting import connected
from .failures import failure
from .server_options import Target
from .status import Failure, Status


class TLS(NamedTuple):
    """How the connection is encrypted, and with whom; `unverified` says why the certificate proves nothing."""

    version: str
    cipher: str
    bits: int
    certificate: Certificate | None
    unverified: str | None


class Findings(NamedTuple):
    """What there is to be told; what was not asked, or not answered, is None."""

    greeting: Reply
    clear: Reply | None  # the reply to EHLO
    tls: TLS | None
    secured: Reply | None  # the reply to EHLO over TLS
    tls_problem: Failure | None  # why there is no TLS where there should be


def ask(target: Target, observe: Observer) -> Findings:
    """All that a server says to somebody who only asks; `Failure` if it cannot be asked."""
    anybody = target.context.verify_mode is ssl.CERT_NONE
    try:
        return _ask(target, observe, unverified="nothing was verified (--insecure)" if anybody else None)
    except Failure as problem:
        if not isinstance(problem.__cause__, ssl.SSLCertVerificationError):
            raise
        return _ask(target.trusting_anybody(), observe, unverified=problem.__cause__.verify_message)


def _ask(target: Target, observe: Observer, unverified: str | None) -> Findings:
    greeting: list[Reply] = []

    def hear(said: Said) -> None:
        if said.reply is not None and not greeting:
            greeting.append(said.reply)
        observe(said)

    implicit = target.tls == "implicit"
    # STARTTLS is said here and not by the client's own policy: what is offered before it is to be seen.
    with connected(target if implicit else target._replace(tls="none"), hear) as client:
        first = _introduce(client)
        if implicit:
            return Findings(greeting[0], None, _tls(client, unverified), first, None)
        if target.tls == "none":
            return Findings(greeting[0], first, None, None, None)
        problem = _start_tls(client, target)
        if problem is not None:
            return Findings(greeting[0], first, None, None, problem)
        tls = _tls(client, unverified) if isinstance(client.sock, ssl.SSLSocket) else None
        return Findings(greeting[0], first, tls, _introduce(client) if tls else None, None)


def _introduce(client: SMTP) -> Reply | None:
    """The reply to EHLO; None from a server that only knows HELO."""
    client.ehlo_or_helo_if_needed()
    return Reply(250, client.ehlo_resp or b"") if client.does_esmtp else None


def _start_tls(client: SMTP, target: Target) -> Failure | None:
    """STARTTLS where it is offered; why it is not to be had, where it should be."""
    if not client.has_extn("starttls"):
        required = target.tls == "required"
        return Failure(Status.TLS, f"{target}: TLS is required and not offered (STARTTLS)") if required else None
    try:
        client.starttls(context=target.context)
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, ValueError) as error:
        problem = failure(error, target)
        return Failure(Status.TLS, str(problem))
    return None


def _tls(client: SMTP, unverified: str | None) -> TLS:
    assert isinstance(client.sock, ssl.SSLSocket)
    cipher, _, bits = client.sock.cipher() or ("?", "", 0)
    der = client.sock.getpeercert(binary_form=True)
    try:
        certificate = read_certificate(der) if der else None
    except ValueError:
        certificate = None
    return TLS(client.sock.version() or "?", cipher, bits, certificate, unverified)


def offers(reply: Reply | None) -> Extensions:
    """What an EHLO reply lists."""
    return Extensions.from_reply(reply) if reply is not None else Extensions({})
