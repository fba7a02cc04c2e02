"""The examples of the documents that define extensions: what they print is what we write, and what we read.

A line is as the document has it, but for two things that it leaves open: verbs may be in any letter case (RFC 5321 2.4;
ours are those of `smtplib`), and lines that were broken to fit a page are whole.  "Grammar" marks what is made by the
document's grammar instead, where it has no example (RFC 6531 and 6533 have none), or where its example is not at hand.
Whole conversations are in `tests.dialogues`.
"""

from __future__ import annotations

import re

import pytest

from smtp_proto.commands import Bdat, Burl, Command, Etrn, Expn, Mail, Rcpt, Vrfy, XClient, XForward
from smtp_proto.parameters import (
    AuthenticatedAs,
    Body,
    By,
    EnvId,
    MtPriority,
    Notify,
    ORcpt,
    RequireTLS,
    Ret,
    Rrvs,
    Size,
    SmtpUtf8,
    Solicit,
)
from smtp_proto.parsing import parse_command
from smtp_proto.server_session import Settings

from .dialogues import URL
from .serving import Deciding, Served


def dsn(user: str, *conditions: str) -> Rcpt:
    """A recipient of RFC 3461's example, who is also the original one."""
    return Rcpt(user, [Notify(*conditions), ORcpt(user)])


EXAMPLES: list[tuple[str, Command, str]] = [
    (
        "RFC 1870 8",
        Mail("ned@thor.innosoft.com", [Size(500000)]),
        "MAIL FROM:<ned@thor.innosoft.com> SIZE=500000",
    ),
    ("RFC 1985, grammar", Etrn("foo.com"), "ETRN foo.com"),
    (
        "RFC 2852 6",
        Mail("eljefe@bigbiz.com", [By(120, "R")]),
        "MAIL FROM:<eljefe@bigbiz.com> BY=120;R",
    ),
    ("RFC 3030 4.1", Bdat(86, last=True), "BDAT 86 LAST"),
    (
        "RFC 3030 4.2",
        Mail("ned@ymir.claremont.edu", [Body("BINARYMIME")]),
        "MAIL FROM:<ned@ymir.claremont.edu> BODY=BINARYMIME",
    ),
    ("RFC 3030 4.2", Bdat(100000), "BDAT 100000"),
    ("RFC 3030 4.2", Bdat(0, last=True), "BDAT 0 LAST"),
    (
        "RFC 3461 10.1",
        Mail("Alice@Example.ORG", [Ret("HDRS"), EnvId("QQ314159")]),
        "MAIL FROM:<Alice@Example.ORG> RET=HDRS ENVID=QQ314159",
    ),
    (
        "RFC 3461 10.1",
        dsn("Bob@Example.COM", "SUCCESS"),
        "RCPT TO:<Bob@Example.COM> NOTIFY=SUCCESS ORCPT=rfc822;Bob@Example.COM",
    ),
    (
        "RFC 3461 10.1",
        dsn("Dana@Ivory.EDU", "SUCCESS", "FAILURE"),
        "RCPT TO:<Dana@Ivory.EDU> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Dana@Ivory.EDU",
    ),
    ("RFC 3461 10.1", Rcpt("Fred@Bombs.AF.MIL", [Notify("NEVER")]), "RCPT TO:<Fred@Bombs.AF.MIL> NOTIFY=NEVER"),
    (
        "RFC 3461 10.5",
        Rcpt("Sam@Boondoggle.GOV", [Notify("SUCCESS"), ORcpt("George@Tax-ME.GOV")]),
        "RCPT TO:<Sam@Boondoggle.GOV> NOTIFY=SUCCESS ORCPT=rfc822;George@Tax-ME.GOV",
    ),
    (
        "RFC 3865 2.3",
        Mail("save@example.com", [Solicit("org.example:ADV:ADLT")]),
        "MAIL FROM:<save@example.com> SOLICIT=org.example:ADV:ADLT",
    ),
    ("RFC 4468 3.4", Burl(URL, last=True), f"BURL {URL} LAST"),
    (
        "RFC 4954 5.1",
        Mail("e=mc2@example.com", [AuthenticatedAs("e=mc2@example.com")]),
        "MAIL FROM:<e=mc2@example.com> AUTH=e+3Dmc2@example.com",
    ),
    (
        "RFC 4954 5.1",
        Mail("john+@example.org", [AuthenticatedAs(None)]),
        "MAIL FROM:<john+@example.org> AUTH=<>",
    ),
    (
        "RFC 6152 4",
        Mail("ned@ymir.claremont.edu", [Body("8BITMIME")]),
        "MAIL FROM:<ned@ymir.claremont.edu> BODY=8BITMIME",
    ),
    (
        "RFC 6531 3.4, grammar",
        Mail("grå@example.org", [SmtpUtf8(), Body("8BITMIME")]),
        "MAIL FROM:<grå@example.org> SMTPUTF8 BODY=8BITMIME",
    ),
    ("RFC 6531 3.4, grammar", Rcpt("用户@例子.example"), "RCPT TO:<用户@例子.example>"),
    ("RFC 6531 3.7.4.2, grammar", Vrfy("grå@example.org SMTPUTF8"), "VRFY grå@example.org SMTPUTF8"),
    ("RFC 6531 3.7.4.2, grammar", Expn("grå SMTPUTF8"), "EXPN grå SMTPUTF8"),
    # RFC 6533 3: utf-8-addr-xtext, in which all that is not ASCII and "+", "=", "\\" are \\x{HEXPOINT} ...
    (
        "RFC 6533 3, grammar",
        Rcpt("b@example.org", [ORcpt("grå+a=b\\c@例.example")]),
        r"RCPT TO:<b@example.org> ORCPT=utf-8;gr\x{E5}\x{2B}a\x{3D}b\x{5C}c@\x{4F8B}.example",
    ),
    ("RFC 6533 3, grammar", Rcpt("b@example.org", [ORcpt("😀@x")]), r"RCPT TO:<b@example.org> ORCPT=utf-8;\x{1F600}@x"),
    # ... and utf-8-addr-unitext, in which UTF-8 is itself.
    (
        "RFC 6533 3, grammar",
        Rcpt("b@example.org", [ORcpt("grå+a=b\\c@例.example", utf8=True)]),
        r"RCPT TO:<b@example.org> ORCPT=utf-8;grå\x{2B}a\x{3D}b\x{5C}c@例.example",
    ),
    (
        "RFC 6710 8",
        Mail("eljefe@example.com", [By(125, "R"), EnvId("QQ314159"), MtPriority(3)]),
        "MAIL FROM:<eljefe@example.com> BY=125;R ENVID=QQ314159 MT-PRIORITY=3",
    ),
    (
        "RFC 7293 12.1",
        Rcpt("receiver@example.com", [Rrvs("2014-04-03T23:01:00Z")]),
        "RCPT TO:<receiver@example.com> RRVS=2014-04-03T23:01:00Z",
    ),
    ("RFC 8689 A.1", Mail("roger@example.org", [RequireTLS()]), "MAIL FROM:<roger@example.org> REQUIRETLS"),
    (
        "Postfix's XCLIENT_README",
        XClient({"NAME": "spike.porcupine.org", "ADDR": "168.100.189.2"}),
        "XCLIENT NAME=spike.porcupine.org ADDR=168.100.189.2",
    ),
    ("Postfix's XFORWARD_README", XForward({"HELO": "spike.porcupine.org"}), "XFORWARD HELO=spike.porcupine.org"),
    (
        "Postfix's XFORWARD_README",
        XForward({"NAME": "spike.porcupine.org", "ADDR": "168.100.189.2", "PROTO": "ESMTP"}),
        "XFORWARD NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP",
    ),
]
IDS = [f"{where}: {line.partition(' ')[0]}" for where, _, line in EXAMPLES]
_VERB = re.compile(rb"mail from:|rcpt to:|[a-z]+", re.IGNORECASE)


@pytest.mark.parametrize(("where", "command", "line"), EXAMPLES, ids=IDS)
def test_a_line_of_an_example(where: str, command: Command, line: str) -> None:
    """The command is written as the document writes it, and what the document writes is read as the command."""
    assert _VERB.sub(lambda verb: verb[0].upper(), command.line, count=1) == f"{line}\r\n".encode(), where
    read = parse_command(line.encode())
    assert type(read) is type(command)
    assert repr(read) == repr(command)


def test_simple_chunking() -> None:
    """RFC 3030 4.1: the conversation, with its 86 octets."""
    message = b"To: Susan@random.com\r\nFrom: Sam@random.com\r\nSubject: This is a bodyless test message\r\n"
    assert len(message) == 86
    handler = Deciding()
    heard = Served(
        b"EHLO ymir.claremont.edu\r\nMAIL FROM:<Sam@Random.com>\r\nRCPT TO:<Susan@Random.com>\r\nBDAT 86 LAST\r\n",
        message,
        b"QUIT\r\n",
        handler=handler,
    )
    assert heard.codes == [250, 250, 250, 250, 221]
    assert [one.content for one in handler.messages] == [message]


def test_pipelined_binary_chunks() -> None:
    """RFC 3030 4.2: the conversation, its chunks and the empty last one in one flight, with octets of every kind."""
    message = bytes(range(256)) * 391 + b"\0" * 228
    assert len(message) == 100324
    handler = Deciding()
    envelope = (
        b"MAIL FROM:<ned@ymir.claremont.edu> BODY=BINARYMIME\r\n"
        b"RCPT TO:<gvaudre@cnri.reston.va.us>\r\nRCPT TO:<jstewart@cnri.reston.va.us>\r\n"
    )
    chunks = b"BDAT 100000\r\n" + message[:100000] + b"BDAT 324\r\n" + message[100000:] + b"BDAT 0 LAST\r\n"
    heard = Served(
        b"EHLO ymir.claremont.edu\r\n",
        envelope,
        chunks,
        b"QUIT\r\n",
        handler=handler,
        settings=Settings("cnri.reston.va.us", offer=("BINARYMIME",)),
    )
    assert heard.codes == [250, *[250] * 3, *[250] * 3, 221]
    assert [one.content for one in handler.messages] == [message]
