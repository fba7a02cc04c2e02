"""``smtp-proto probe``: what a server offers, for people or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from smtp_proto.extensions import Extensions
from smtp_proto.replies import Reply
from smtp_proto.transcript import Said

from . import server_options
from .probing import TLS, Findings, ask, offers
from .server_options import Target
from .status import Status
from .terminal import Terminal

# What an extension is for, in a word or two; the registry is IANA's "SMTP Service Extensions".
EXPLANATIONS = {
    "8BITMIME": "text that is not ASCII (RFC 6152)",
    "ATRN": "turn the connection round, once logged in (RFC 2645)",
    "AUTH": "log-ins (RFC 4954)",
    "BINARYMIME": "messages of any octets (RFC 3030)",
    "BURL": "messages out of an IMAP server (RFC 4468)",
    "CHECKPOINT": "go on with what was broken off (RFC 1845)",
    "CHUNKING": "messages by their size, without an end mark (RFC 3030)",
    "CONNEG": "what the recipient can show (RFC 4141)",
    "CONPERM": "permission to convert (RFC 4141)",
    "DELIVERBY": "delivery within a time (RFC 2852)",
    "DSN": "reports on delivery (RFC 3461)",
    "ENHANCEDSTATUSCODES": "replies with exact codes (RFC 2034)",
    "ETRN": "start a queue (RFC 1985)",
    "EXPN": "who is on a list (RFC 5321)",
    "FUTURERELEASE": "delivery not before a time (RFC 4865)",
    "HELP": "help (RFC 5321)",
    "LIMITS": "how much at once (RFC 9422)",
    "MT-PRIORITY": "urgent messages first (RFC 6710)",
    "MTRK": "tracking of messages (RFC 3885)",
    "NO-SOLICITING": "no advertising (RFC 3865)",
    "PIPELINING": "several commands at once (RFC 2920)",
    "REQUIRETLS": "TLS all the way (RFC 8689)",
    "RRVS": "only if the mailbox is still the same person's (RFC 7293)",
    "SIZE": "sizes of messages (RFC 1870)",
    "SMTPUTF8": "addresses that are not ASCII (RFC 6531)",
    "STARTTLS": "encryption (RFC 3207)",
    "UTF8SMTP": "SMTPUTF8 before it was one (RFC 5336)",
    "VRFY": "whether an address exists (RFC 5321)",
    "XCLIENT": "Postfix: speak for another client",
    "XFORWARD": "Postfix: where a message came from",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add what `probe` understands."""
    server_options.add(parser)
    parser.add_argument("--json", action="store_true", help="for machines: one JSON object")


def run(options: argparse.Namespace, terminal: Terminal) -> Status:
    """Ask and show; `Status.TLS` if TLS is not as it should be, which is said in what is shown."""
    target = server_options.target(options)

    def observe(said: Said) -> None:
        if options.verbose:
            terminal.tell(str(said))

    findings = ask(target, observe)
    if options.json:
        terminal.say(json.dumps(_as_json(target, findings), indent=2))
    else:
        terminal.say("\n".join(_lines(target, findings)))
    if findings.tls_problem is not None:
        raise findings.tls_problem
    unverified = findings.tls is not None and findings.tls.unverified is not None and not options.insecure
    return Status.TLS if unverified else Status.DONE


# -- for people -------------------------------------------------------------------------------------------------------


def _lines(target: Target, findings: Findings) -> Iterator[str]:
    yield f"{target}{' (LMTP)' if target.lmtp else ''}"
    for line in findings.greeting.text.split("\n"):
        yield f"  {findings.greeting.code} {line}"
    if findings.tls is None or findings.clear is not None:
        yield from _offered("In the clear", findings.clear, findings.secured)
    if findings.tls is not None:
        yield from _encryption(findings.tls)
        yield from _offered("Over TLS", findings.secured, findings.clear)


def _offered(title: str, reply: Reply | None, other: Reply | None) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    extensions, elsewhere = offers(reply), offers(other)
    if reply is None:
        yield "  it does not know EHLO, so nothing beyond RFC 821"
    for keyword, parameters in extensions.items():
        only = "  [only here]" if other is not None and elsewhere.get(keyword) != parameters else ""
        yield f"  {f'{keyword} {parameters}'.strip():<30}  {_explained(keyword, extensions)}{only}"


def _explained(keyword: str, extensions: Extensions) -> str:
    if keyword == "SIZE":
        size = extensions.size
        return f"up to {size:,} octets (RFC 1870)" if size is not None else "no fixed limit (RFC 1870)"
    return EXPLANATIONS.get(keyword, "not registered" if keyword.startswith("X") else "unknown")


def _encryption(tls: TLS) -> Iterator[str]:
    yield ""
    yield "TLS:"
    yield f"  version   {tls.version}"
    yield f"  cipher    {tls.cipher}, {tls.bits} bits"
    if tls.certificate is not None:
        yield f"  subject   {tls.certificate.subject}"
        yield f"  issuer    {tls.certificate.issuer}"
        first, last = (f"{when:%Y-%m-%d %H:%M}" for when in (tls.certificate.not_before, tls.certificate.not_after))
        yield f"  valid     {first} to {last} UTC"
        yield f"  names     {', '.join(tls.certificate.names) or 'none'}"
    yield f"  verified  {'yes' if tls.unverified is None else f'NO: {tls.unverified}'}"


# -- for machines -----------------------------------------------------------------------------------------------------


def _as_json(target: Target, findings: Findings) -> dict[str, Any]:
    return {
        "host": target.host,
        "port": None if target.host.startswith("/") else target.port,
        "protocol": "LMTP" if target.lmtp else "SMTP",
        "greeting": {"code": findings.greeting.code, "text": findings.greeting.text},
        "clear": _extensions_as_json(findings.clear),
        "tls": _tls_as_json(findings.tls),
        "secured": _extensions_as_json(findings.secured),
        "tls_problem": str(findings.tls_problem) if findings.tls_problem is not None else None,
    }


def _extensions_as_json(reply: Reply | None) -> dict[str, Any] | None:
    if reply is None:
        return None
    extensions = offers(reply)
    return {
        "extensions": dict(extensions),
        "auth": list(extensions.auth),
        "size": extensions.size,
        "limits": extensions.limits,
    }


def _tls_as_json(tls: TLS | None) -> dict[str, Any] | None:
    if tls is None:
        return None
    shown: dict[str, Any] = {"version": tls.version, "cipher": tls.cipher, "bits": tls.bits, "certificate": None}
    if tls.certificate is not None:
        shown["certificate"] = {
            "subject": tls.certificate.subject,
            "issuer": tls.certificate.issuer,
            "not_before": tls.certificate.not_before.isoformat(),
            "not_after": tls.certificate.not_after.isoformat(),
            "names": list(tls.certificate.names),
        }
    return {**shown, "verified": tls.unverified is None, "unverified_because": tls.unverified}
