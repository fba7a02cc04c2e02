"""Writes `docs/extensions.md`: each extension and mechanism, with its RFC, both ends, and what it is tested against.

Run it after adding one::

    python docs/make_extensions.py

What can be read from the code is: parameters with their places and RFCs, commands, what a server offers by itself, and
the mechanisms of both ends.  What cannot, the tests that stand behind a row, is listed here, and a test sees to it that
each of those files is there and speaks of it, and that nothing in the code is without a row.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from smtp_proto import parameters
from smtp_proto.handler import Handler
from smtp_proto.parameter import Parameter
from smtp_proto.sasl_choice import ON_REQUEST, PREFERENCE
from smtp_proto.sasl_server import SERVER_MECHANISMS
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings

OUTPUT = Path(__file__).with_name("extensions.md")


class Tests(NamedTuple):
    """Where something is tested: the files, by what stands at the other end."""

    examples: str = ""  # the octets of the RFC's own examples
    ours: str = ""  # our own server
    real: tuple[tuple[str, str], ...] = ()  # servers of another make

    def __str__(self) -> str:
        named = [("the examples of its document", self.examples), ("our server", self.ours), *self.real]
        return ", ".join(f"[{name}](../{path})" for name, path in named if path)

    @property
    def paths(self) -> list[str]:
        return [path for path in (self.examples, self.ours, *(path for _, path in self.real)) if path]


_WIRE = "tests/conformance/test_extensions.py"
_EXAMPLES = "tests/test_rfc_examples.py"
_DIALOGUES = "tests/dialogues.py"
_SERVER = "tests/test_server_session_parameters.py"
_COMMANDS = "tests/conformance/test_extension_commands.py"
_REAL = "tests/real_servers/test_extensions.py"
_SUBMISSION = "tests/real_servers/test_submission.py"
_ARRIVAL = "tests/real_servers/test_arrival.py"

#: Extension: its RFC, what a client has of it beyond parameters, and the tests.
EXTENSIONS: dict[str, tuple[str, str, Tests]] = {
    "SIZE": (
        "RFC 1870",
        "declared by `sendmail`; a message that is larger than the server's limit is not sent",
        Tests(_DIALOGUES, _SERVER, (("Postfix", _SUBMISSION),)),
    ),
    "8BITMIME": (
        "RFC 6152",
        "said where the message needs it; re-encoded where the server lacks it",
        Tests(_DIALOGUES, "tests/test_server_session_bodies.py", (("Postfix, Exim", _REAL),)),
    ),
    "BINARYMIME": (
        "RFC 3030",
        "where the message needs it, with CHUNKING",
        Tests(_EXAMPLES, "tests/conformance/test_binary.py"),
    ),
    "CHUNKING": ("RFC 3030", "`chunking=`; BDAT", Tests(_EXAMPLES, "tests/test_server_session_bodies.py")),
    "SMTPUTF8": (
        "RFC 6531",
        "said where an address or a header needs it; `verify` and `expn` too",
        Tests("", _COMMANDS, (("Postfix, Exim", _ARRIVAL),)),
    ),
    "PIPELINING": (
        "RFC 2920",
        "`pipelining=`; used wherever it is offered",
        Tests(_DIALOGUES, "tests/test_transaction_pipelining.py", (("Postfix, Exim, Dovecot", _ARRIVAL),)),
    ),
    "STARTTLS": (
        "RFC 3207",
        "`starttls()`, `tls=`",
        Tests(_DIALOGUES, "tests/conformance/test_tls.py", (("Postfix, Exim", _SUBMISSION),)),
    ),
    "AUTH": ("RFC 4954", "`login()`, `auth()`: see below", Tests(_DIALOGUES, _SERVER, (("Postfix", _SUBMISSION),))),
    "ENHANCEDSTATUSCODES": (
        "RFC 2034",
        "`enhanced` on replies, exceptions and outcomes",
        Tests(_DIALOGUES, "tests/test_reply_values.py", (("Postfix", _SUBMISSION),)),
    ),
    "DSN": (
        "RFC 3461, RFC 6533",
        "by recipient with `Recipient`",
        Tests(_DIALOGUES, _SERVER, (("Postfix", _SUBMISSION), ("Exim", _REAL))),
    ),
    "DELIVERBY": ("RFC 2852", "", Tests(_DIALOGUES, _SERVER)),
    "FUTURERELEASE": ("RFC 4865", "", Tests("", _SERVER)),
    "MT-PRIORITY": ("RFC 6710", "", Tests(_DIALOGUES, _SERVER)),
    "REQUIRETLS": ("RFC 8689", "over TLS only", Tests(_DIALOGUES, _SERVER)),
    "RRVS": ("RFC 7293", "", Tests(_DIALOGUES, _SERVER)),
    "NO-SOLICITING": ("RFC 3865", "", Tests(_EXAMPLES, _SERVER)),
    "LIMITS": (
        "RFC 9422",
        "heeded by `sendmail`, `send_message` and `deliver`: several transactions; `reconnect`",
        Tests(_DIALOGUES, "tests/test_limits.py"),
    ),
    "ETRN": ("RFC 1985", "`etrn()`", Tests("", _COMMANDS, (("Postfix", _REAL),))),
    "BURL": (
        "RFC 4468",
        "`burl()`",
        Tests(_DIALOGUES, "tests/test_server_session_extensions.py", (("Dovecot", "tests/real_servers/test_burl.py"),)),
    ),
    "XCLIENT": ("Postfix's XCLIENT_README", "`xclient()`", Tests(_DIALOGUES, _COMMANDS, (("Postfix", _REAL),))),
    "XFORWARD": ("Postfix's XFORWARD_README", "`xforward()`", Tests(_DIALOGUES, _COMMANDS, (("Postfix", _REAL),))),
    "HELP": ("RFC 5321", "`help()`", Tests("", "tests/conformance/test_commands.py")),
    "VRFY": ("RFC 5321", "`verify()`", Tests("", _COMMANDS)),
    "EXPN": ("RFC 5321", "`expn()`", Tests("", _COMMANDS)),
}
#: Commands that servers have whether EHLO lists them or not.
COMMANDS = {"VRFY", "EXPN"}

_SASL = "tests/test_sasl.py"
_SCRAM = "tests/test_sasl_scram.py"
_OAUTH = "tests/test_sasl_oauth.py"
_OURS = "tests/conformance/test_mechanisms.py"
_LOG_INS = "tests/real_servers/test_log_ins.py"
_GSASL = ("gsasl", "tests/test_gsasl.py")
_CYRUS = ("Cyrus SASL", "tests/test_cyrus.py")
_SIMULATED = (("a simulated peer", "tests/test_sasl_spnego.py"),)
#: Mechanism: its document, and the tests.
MECHANISMS: dict[str, tuple[str, Tests]] = {
    "EXTERNAL": ("RFC 4422", Tests(_DIALOGUES, _OURS, (("Exim", _LOG_INS),))),
    "OAUTHBEARER": ("RFC 7628", Tests(_OAUTH, _OURS, (("Dovecot", _LOG_INS),))),
    "XOAUTH2": ("Google's and Microsoft's documents", Tests(_OAUTH, _OURS, (("Dovecot", _LOG_INS),))),
    "SCRAM-SHA-256-PLUS": ("RFC 7677, RFC 5929", Tests("", _OURS, (_GSASL, _CYRUS))),
    "SCRAM-SHA-1-PLUS": (
        "RFC 5802, RFC 5929",
        Tests("", "tests/conformance/test_mechanisms_at_our_server.py", (_GSASL, _CYRUS)),
    ),
    "SCRAM-SHA-256": ("RFC 7677", Tests(_SCRAM, _OURS, (_GSASL, ("Dovecot", _LOG_INS)))),
    "SCRAM-SHA-1": ("RFC 5802", Tests(_SCRAM, _OURS, (_GSASL,))),
    "CRAM-MD5": ("RFC 2195", Tests(_SASL, _OURS, (("Postfix", _SUBMISSION),))),
    "PLAIN": ("RFC 4616", Tests(_SASL, _OURS, (("Postfix", _SUBMISSION),))),
    "LOGIN": ("draft-murchison-sasl-login", Tests("", _OURS, (("Postfix", _SUBMISSION),))),
    "GSSAPI": ("RFC 4752", Tests("", "", (*_SIMULATED, ("Dovecot", "tests/real_servers/test_kerberos.py")))),
    "NTLM": ("MS-SMTPNTLM", Tests("", "", _SIMULATED)),
    "ANONYMOUS": ("RFC 4505", Tests("", _OURS)),
}

_INTERNATIONAL = "tests/test_internationalized_mail.py"
_AUTH = "tests/conformance/test_auth.py"
_LOGIN = "tests/conformance/test_login.py"
#: What is neither a keyword nor a mechanism: how it is done, and the tests.
BEHAVIOUR: dict[str, tuple[str, Tests]] = {
    "User names and passwords in UTF-8": (
        "RFC 4616; a NUL or a lone surrogate is a `ValueError`",
        Tests("", _AUTH, (("Postfix, Dovecot", _SUBMISSION),)),
    ),
    "Initial response of AUTH": (
        "RFC 4954 4: sent at once unless `initial_response_ok=False`; an empty one is `=`",
        Tests("", _AUTH, (("Postfix", _SUBMISSION),)),
    ),
    "Cancelling AUTH": (
        "RFC 4954 4: `*` where a challenge makes no sense, or the client's side fails; read and obeyed by the server",
        Tests("", _AUTH),
    ),
    "Stopping at 535": (
        "no other mechanism is tried with credentials that were wrong (535), nor at 454 and 421",
        Tests("", _LOGIN),
    ),
    "`AUTH=` lines of old servers": ("read like `AUTH`, and joined with it", Tests("", "tests/test_extensions.py")),
    "SIZE before MAIL": (
        "a message that is larger than the server takes is refused as by a 552; nothing is sent",
        Tests("", _WIRE, (("Postfix", _SUBMISSION),)),
    ),
    "8-bit content to a server of 7 bits": (
        "encoded anew (RFC 6152 3), unless it is signed: then refused",
        Tests("", _INTERNATIONAL),
    ),
    "SMTPUTF8 where it is needed": (
        "by the envelope or the headers, and nowhere else",
        Tests("", _INTERNATIONAL, (("Postfix, Exim", _ARRIVAL),)),
    ),
    "Domains beyond ASCII": (
        "A-labels (IDNA 2008, extra `idna`) where nothing else needs SMTPUTF8",
        Tests("", _INTERNATIONAL),
    ),
    "Pipelining across messages": (
        "the end of one message and the next envelope in one flight",
        Tests("", "tests/test_many.py"),
    ),
    "Enhanced status codes read": (
        "`enhanced` of replies, exceptions and outcomes",
        Tests("", "tests/test_reply_values.py", (("Postfix, Exim", "tests/real_servers/test_refusals.py"),)),
    ),
}

#: Extension: what `sendmail`, `send_message` and `deliver` do where it is not offered.  All that is not here is an
#: `SMTPNotSupportedError` before anything is sent.
FALLBACKS = {
    "SIZE": "nothing is declared, and nothing is checked; a typed `Size` is refused",
    "8BITMIME": "8-bit content is encoded anew (RFC 6152 3), or refused where it is signed; a typed `Body` is refused",
    "BINARYMIME": "encoded as base64 (RFC 3030 3), or refused where it is signed; a typed `Body` is refused",
    "CHUNKING": "DATA",
    "SMTPUTF8": "A-labels where only a domain needs it; else refused",
    "PIPELINING": "one command at a time",
    "STARTTLS": 'as `tls=` says: "opportunistic" goes on in the clear, "required" never does',
    "ENHANCEDSTATUSCODES": "`enhanced` is what a reply has, None where it has none",
    "LIMITS": "one transaction for all recipients",
    "DSN": "refused. A relay may go on without, and report itself (RFC 3461 10.4); who submits is told instead",
    "DELIVERBY": "refused, in mode N as well: no server further on would know of the time",
    "MT-PRIORITY": "refused. RFC 6758 has a header field for it, which an application can add itself",
    "RRVS": "refused. RFC 7293 has a header field for it, which an application can add itself",
    "BURL": "refused. The message goes by `sendmail`, in the octets that the URL leads to",
}

#: What is left out, and why.
LEFT_OUT = {
    "MTRK (RFC 3885)": "it asks for a tracking service (MTQP, RFC 3887) that no server is known to have",
    "CONPERM, CONNEG (RFC 4141)": "conversion of content on the way, for fax machines; no server offers it",
    "ATRN (RFC 2645)": "it turns the connection round, and makes a server of the client; ETRN is what is in use",
    "CHECKPOINT (RFC 1845)": "an experiment; no server offers it",
    "DIGEST-MD5": "moved to historic by RFC 6331, which says why; SCRAM is in its place",
}

INTRODUCTION = """\
<!-- Written by docs/make_extensions.py from the code: do not edit, run it again. -->

# Extensions and mechanisms

A parameter is a class of [`smtp_proto.parameters`](../smtp_proto/parameters.py). It goes wherever options go: into
`mail`, `rcpt`, `sendmail`, `send_message` and `deliver` of every backend, into `Mail` and `Rcpt` of the core; and
`Recipient` gives one address options of its own. A typed parameter is checked before anything is sent: by its RFC and
its place when it is made and used (`ValueError`), and by what the server has offered (`SMTPNotSupportedError`). Plain
strings are sent as they are, for extensions that are not in this table.

<!-- example: typed parameters -->
```python
import smtp_blocking
from smtp_blocking import Recipient
from smtp_proto.parameters import By, EnvId, HoldFor, MtPriority, Notify, Ret

recipients = [
    Recipient("grace@example.net", [Notify("SUCCESS", "FAILURE")]),
    Recipient("list@example.net", [Notify("NEVER")]),
    "alan@example.net",
]
options = [Ret("HDRS"), EnvId("results-2026-11"), MtPriority(-2), HoldFor(3600)]

with smtp_blocking.SMTP("mail.example.org", 587) as smtp:
    smtp.sendmail("ada@example.org", recipients, "Subject: Results\\n\\nAll of them.\\n", options)
    try:
        smtp.mail("ada@example.org", [By(120, "R")])
    except smtp_blocking.SMTPNotSupportedError as error:
        print(str(error).partition(";")[0])  # BY needs the extension DELIVERBY (RFC 2852)
```

The server reads the same classes and hands them to its handler (`command.get(Notify)`). What it does by itself it
offers by itself; the rest is for the handler to do, and offered where `Settings.offer` has the line.
"""

BEFORE_MECHANISMS = """
## Mechanisms of AUTH

[Logging in](authentication.md) explains how they are chosen.
"""

BEFORE_BEHAVIOUR = """
## What is done with them
"""

BEFORE_FALLBACKS = """
## Where an extension is not offered

What is asked for in earnest and cannot be had is an `SMTPNotSupportedError` that names the extension, its RFC and what
the server does offer; nothing is sent, and the session goes on. No typed parameter is left out in silence. With these
there is more to say:
"""

BEFORE_LEFT_OUT = """
## Left out
"""


def known_parameters() -> list[type[Parameter]]:
    """The classes of `smtp_proto.parameters` that stand for a keyword."""
    found = [one for one in vars(parameters).values() if isinstance(one, type) and issubclass(one, Parameter)]
    return [one for one in found if "keyword" in vars(one)]


def offered() -> set[str]:
    """What a server offers by itself, where it has the certificate, or the users, for it."""
    session = ServerSession(ServerConnection(), Handler(), Settings(mechanisms=("PLAIN",), cleartext_auth=True))
    return {line.partition(" ")[0] for line in session.offers()} | {"STARTTLS"} | COMMANDS


def _parameters_of(extension: str) -> str:
    found = [one for one in known_parameters() if one.extension == extension]
    if extension == "BINARYMIME":
        found = [parameters.Body]
    return ", ".join(f"`{one.__name__}` ({one.keyword} of {one.command})" for one in found)


def extensions() -> str:
    """The table of extensions."""
    lines = ["| extension | defined in | client | server | tested with |", "|---|---|---|---|---|"]
    by_itself = offered()
    for name, (rfc, client, tests) in EXTENSIONS.items():
        can = "; ".join(filter(None, (_parameters_of(name), client)))
        server = "by itself" if name in by_itself else "with `Settings.offer`"
        if name in ("XCLIENT", "XFORWARD"):
            server += ", for `Settings.trusted`"
        lines.append(f"| {name} | {rfc} | {can} | {server} | {tests} |")
    return "\n".join(lines)


def mechanisms() -> str:
    """The table of mechanisms, in the order in which `login` prefers them."""
    lines = ["| mechanism | defined in | client | server | tested with |", "|---|---|---|---|---|"]
    for name, (rfc, tests) in MECHANISMS.items():
        client = "yes" if name in PREFERENCE else "on request" if name in ON_REQUEST else "no"
        server = "yes" if name in SERVER_MECHANISMS else "no"
        lines.append(f"| {name} | {rfc} | {client} | {server} | {tests} |")
    return "\n".join(lines)


def behaviour() -> str:
    """The table of what is done beyond keywords and mechanisms."""
    lines = ["| what | how | tested with |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {how} | {tests} |" for what, (how, tests) in BEHAVIOUR.items())])


def fallbacks() -> str:
    """The table of what is done where an extension is not offered."""
    return "\n".join(
        ["| extension | not offered |", "|---|---|", *(f"| {n} | {how} |" for n, how in FALLBACKS.items())]
    )


def left_out() -> str:
    """The list of what is left out."""
    return "\n".join(["| what | why |", "|---|---|", *(f"| {what} | {why} |" for what, why in LEFT_OUT.items())])


def document() -> str:
    """The whole of `docs/extensions.md`."""
    parts = (
        *(INTRODUCTION, extensions(), BEFORE_MECHANISMS, mechanisms(), BEFORE_BEHAVIOUR, behaviour()),
        *(BEFORE_FALLBACKS, fallbacks(), BEFORE_LEFT_OUT, left_out(), ""),
    )
    return "\n".join(parts)


if __name__ == "__main__":
    OUTPUT.write_text(document(), encoding="utf-8")
