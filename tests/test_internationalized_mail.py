"""All combinations of addresses, headers, content and offer, on the wire: what `sendmail` says and sends, or refuses.

What is expected is not computed by the tables of `smtp_proto.internationalization`, but said once more, in sentences.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest

import smtp_blocking
from tests.scripted import Conversation, Expect, ExpectBody, ExpectOctets, ScriptedServer, Send, Step
from tests.scripts import DATA, MAIL, NOOP, PATIENCE, QUIT, RCPT, opening

LOCAL_PARTS = {"ascii": "b", "utf8": "bö"}
DOMAINS = {"ascii": "mx.test", "U-label": "bücher.test", "A-label": "xn--bcher-kva.test", "no A-label": "☃.test"}
HEADERS = {"ascii": b"x", "utf8": "ü".encode()}
BODIES = {
    "7bit": b"hello\r\n",
    "8bit": "Grüße, und alles Gute für das neue Jahr.\r\n".encode(),
    "binary": b"a\0b\r\n",
    "long lines": b"x" * 1500 + b"\r\n",
}
OFFERS: dict[str, list[str]] = {
    "none": [],
    "8BITMIME": ["8BITMIME"],
    "SMTPUTF8": ["SMTPUTF8", "8BITMIME"],
    "CHUNKING": ["8BITMIME", "CHUNKING"],
    "BINARYMIME": ["8BITMIME", "CHUNKING", "BINARYMIME"],
    "all": ["SMTPUTF8", "8BITMIME", "CHUNKING", "BINARYMIME"],
}


class LastChunk:
    """A step: read a BDAT that is the last, and its octets."""

    def play(self, conversation: Conversation) -> None:
        Expect(b"BDAT ").play(conversation)
        _, size, last = conversation.received[-1].split()
        assert last == b"LAST"
        ExpectOctets(int(size)).play(conversation)


class Case(NamedTuple):
    local_part: str
    domain: str
    headers: str
    body: str
    signed: bool
    offer: str

    @property
    def message(self) -> bytes:
        signature = b"DKIM-Signature: v=1\r\n" if self.signed else b""
        header = b"Subject: %b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        return signature + header % HEADERS[self.headers] + BODIES[self.body]

    @property
    def recipient(self) -> str:
        return f"{LOCAL_PARTS[self.local_part]}@{DOMAINS[self.domain]}"


class Expected(NamedTuple):
    """What goes out; `refusal` instead of all that."""

    parameters: set[str]
    recipient: str
    reencoded: bool = False
    refusal: type[Exception] | None = None


def expected(case: Case) -> Expected:
    offered = OFFERS[case.offer]
    binary_mime = "BINARYMIME" in offered
    parameters = set()
    recipient = case.recipient
    # Addresses: what has no form in ASCII needs SMTPUTF8; a domain that has one gets it, if nothing else does.
    address_needs_it = case.local_part == "utf8" or case.domain == "no A-label"
    if address_needs_it or case.headers == "utf8":
        if "SMTPUTF8" in offered:
            parameters.add("SMTPUTF8")
        elif address_needs_it:
            return Expected(set(), "", refusal=UnicodeEncodeError)
    if "SMTPUTF8" not in parameters and case.domain == "U-label":
        recipient = f"{LOCAL_PARTS[case.local_part]}@{DOMAINS['A-label']}"
    # Content: it cannot be changed if it is signed, nor made seven bits if its headers are not.
    reencodable = not case.signed and case.headers == "ascii"
    eight = case.body == "8bit" or case.headers != "ascii"
    if case.body == "binary" and not binary_mime and not reencodable:
        return Expected(set(), "", refusal=ValueError)
    if case.body == "binary" and binary_mime:
        return Expected(parameters | {"BODY=BINARYMIME"}, recipient)
    if case.body in ("binary", "long lines") and reencodable:
        return Expected(parameters, recipient, reencoded=True)
    if case.body == "long lines" and binary_mime:
        return Expected(parameters | {"BODY=BINARYMIME"}, recipient)
    if eight and "8BITMIME" in offered:
        return Expected(parameters | {"BODY=8BITMIME"}, recipient)
    return Expected(parameters, recipient, reencoded=eight and reencodable)


CASES = [Case(*case) for case in product(LOCAL_PARTS, DOMAINS, HEADERS, BODIES, (False, True), OFFERS)]


def name(case: Case) -> str:
    return ", ".join([*case[:4], "signed" if case.signed else "not signed", case.offer])


@pytest.mark.parametrize("case", CASES, ids=name)
def test_all_combinations(case: Case) -> None:
    """What is announced is needed and offered; what arrives is the message, or says the same; else an error."""
    wanted = expected(case)
    binary = "BODY=BINARYMIME" in wanted.parameters
    message: list[Step] = [*DATA, ExpectBody(), Send(b"250 2.0.0 ok\r\n")]
    if "CHUNKING" in OFFERS[case.offer]:
        message = [LastChunk(), Send(b"250 2.0.0 ok\r\n")]
    steps = NOOP if wanted.refusal is not None else [*MAIL, *RCPT, *message]
    with (
        ScriptedServer([*opening(*OFFERS[case.offer]), *steps, *QUIT]) as server,
        smtp_blocking.SMTP(server.host, server.port, "client.test", PATIENCE) as client,
    ):
        if wanted.refusal is not None:
            with pytest.raises(wanted.refusal):
                client.sendmail("a@client.test", case.recipient, case.message)
            assert client.noop()[0] == 250
            return
        assert client.sendmail("a@client.test", case.recipient, case.message) == {}
    _, mail, rcpt, *rest = server.received
    assert mail.startswith(b"mail from:<a@client.test>")
    assert set(mail.decode().split()[2:]) == wanted.parameters
    assert rcpt.decode() == f"rcpt to:<{wanted.recipient}>\r\n"
    assert binary <= rest[0].startswith(b"BDAT ")
    sent = rest[1].removesuffix(b"\r\n.\r\n") + b"\r\n" if rest[0] == b"data\r\n" else rest[1]
    if not wanted.reencoded:
        assert sent == case.message
        return
    assert b"\r\nContent-Transfer-Encoding: " in sent
    assert sent.isascii()
    assert b"\0" not in sent
    assert max(map(len, sent.split(b"\r\n"))) < 80
