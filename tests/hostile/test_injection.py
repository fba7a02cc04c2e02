"""Whatever text of a caller's becomes part of a line, the lines on the wire are the library's own: as many as it meant
to send, and each of them a command of its grammar.

`test_bad_input` is about what is refused and how; this is about what is refused or encoded: typed parameters, what a
log-in is made of, headers that become addresses, names of hosts, and all of it in `send` and `send_many`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage, Message
from typing import Any

import pytest

import smtp_blocking
from smtp_proto import parameters
from smtp_proto.parameter import Parameter
from smtp_proto.sasl import Anonymous, External, Mechanism, Plain
from smtp_proto.sasl_oauth import OAuthBearer, XOAuth2
from smtp_surface.addresses import Recipient
from tests.certificates import client_context
from tests.conformance.backends import Backend, Client
from tests.conformance.test_once import send
from tests.scripted import ClientHungUp, Conversation, ScriptedServer
from tests.scripts import MESSAGE

# What would be a command, a parameter or a header of the attacker's, were it to come where the text says.
POISON = [
    "\r\nevil",
    "\nevil",
    "\revil",
    "\0evil",
    "\x01evil",
    "\tevil",
    "\x1bevil",
    "\x7fevil",
    " evil=1",
    "> evil=1",
    ",<evil@y.test>",
    "\x85evil",
    "\u2028evil",
    "\xe4evil",
    "\ud800evil",
    "\udc0devil",
]
REFUSED = (ValueError, TypeError, smtp_blocking.SMTPException)

# RFC 5321 4.1.2: only a Quoted-string has room for white space and brackets.
_PATH = rb'<(?:"(?:[ !#-[\]-~]|\\[ -~])*"@)?[!-;=?-~]*>'
_PARAMETERS = rb"(?: (?!evil)[A-Z0-9-]+(?:=[!-<>-~]+)?)*"
#: What a line may be.  Offered is no SMTPUTF8, so that all of it is ASCII.
_COMMAND = re.compile(
    b"|".join(
        [
            rb"(?:mail from|rcpt to):" + _PATH + _PARAMETERS,
            rb"(?:ehlo|helo) [ -~]+",  # of several words a server makes what it likes, as with smtplib
            rb"auth [A-Z0-9-]+(?: [A-Za-z0-9+/=]+)?",
            rb"bdat [0-9]+ last|data|rset|noop|quit|starttls",
        ]
    ),
    re.IGNORECASE,
)
_RESPONSE = re.compile(rb"[A-Za-z0-9+/]*=*|\*")


class Listening:
    """A step: take all that is said, refuse every log-in, and say which lines were none."""

    def __init__(self, *extensions: str) -> None:
        self.extensions = (
            *extensions,
            "AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 OAUTHBEARER XOAUTH2 EXTERNAL ANONYMOUS",
        )
        self.commands: list[bytes] = []
        self.responses: list[bytes] = []
        self.wrong: list[bytes] = []

    def play(self, conversation: Conversation) -> None:
        conversation.send(b"220 listening\r\n")
        try:
            while True:
                self._serve(conversation, self._line(conversation, _COMMAND, self.commands))
        except ClientHungUp:
            pass

    def _line(self, conversation: Conversation, grammar: re.Pattern[bytes], lines: list[bytes]) -> bytes:
        line = conversation.read_line("a line")
        lines.append(line)
        if not line.endswith(b"\r\n") or not grammar.fullmatch(line[:-2]):
            self.wrong.append(line)
        return line[:-2].lower()

    def _serve(self, conversation: Conversation, line: bytes) -> None:
        if line.startswith(b"ehlo"):
            conversation.send(
                b"".join(b"250-%b\r\n" % each.encode() for each in ("hi", *self.extensions)) + b"250 ok\r\n"
            )
        elif line.startswith(b"auth"):
            # One challenge where a response is due, and to those that have more than one.
            if line.count(b" ") == 1 or line.split()[1] in (b"login", b"scram-sha-256"):
                conversation.send(b"334 \r\n")
                self._line(conversation, _RESPONSE, self.responses)
            else:
                self.responses.append(line.split(b" ")[2])
            conversation.send(b"535 5.7.8 no\r\n")
        elif line == b"data":
            conversation.send(b"354 go\r\n")
            while conversation.read_line("a line of the message") != b".\r\n":
                pass
            conversation.send(b"250 taken\r\n")
        elif line.startswith(b"bdat"):
            conversation.read_octets(int(line.split()[1]))
            conversation.send(b"250 taken\r\n")
        else:
            code = {b"quit": b"221 ", b"starttls": b"454 "}.get(line, b"250 ")
            conversation.send(code + line[:4] + b"\r\n")


Use = Callable[[Client, str], object]


def mail(parameter: Callable[[str], Parameter]) -> Use:
    return lambda client, text: client.mail("a@b.test", [parameter(text)])


def rcpt(parameter: Callable[[str], Parameter]) -> Use:
    return lambda client, text: client.rcpt("a@b.test", [parameter(text)])


class Own(Parameter):
    """A parameter of a program's own, which judges nothing."""

    __slots__ = ()
    keyword, extension, rfc, command = "XOWN", "XOWN", "none", "MAIL"

    @classmethod
    def from_value(cls, value: str | None) -> Own:
        return cls.made(value)


TYPED: dict[str, Use] = {
    "SIZE": mail(lambda text: parameters.Size.parse(f"SIZE=1{text}")),
    "BODY": mail(lambda text: parameters.Body(f"8BITMIME{text}")),
    "SMTPUTF8": mail(lambda text: parameters.SmtpUtf8.parse(f"SMTPUTF8{text}")),
    "REQUIRETLS": mail(lambda text: parameters.RequireTLS.parse(f"REQUIRETLS{text}")),
    "AUTH": mail(lambda text: parameters.AuthenticatedAs(f"a{text}@b.test")),
    "AUTH, read": mail(lambda text: parameters.AuthenticatedAs.parse(f"AUTH=a{text}")),
    "RET": mail(lambda text: parameters.Ret(f"FULL{text}")),
    "ENVID": mail(lambda text: parameters.EnvId(f"a{text}")),
    "ENVID, read": mail(lambda text: parameters.EnvId.parse(f"ENVID=a{text}")),
    "NOTIFY": rcpt(lambda text: parameters.Notify("SUCCESS", f"DELAY{text}")),
    "ORCPT": rcpt(lambda text: parameters.ORcpt(f"a{text}@b.test")),
    "ORCPT in UTF-8": rcpt(lambda text: parameters.ORcpt(f"a{text}@b.test", "utf-8")),
    "ORCPT as it is": rcpt(lambda text: parameters.ORcpt(f"a{text}@b.test", "utf-8", utf8=True)),
    "ORCPT's type": rcpt(lambda text: parameters.ORcpt("a@b.test", f"rfc822{text}")),
    "ORCPT, read": rcpt(lambda text: parameters.ORcpt.parse(f"ORCPT=rfc822;a{text}")),
    "BY": mail(lambda text: parameters.By(5, f"R{text}")),
    "BY, read": mail(lambda text: parameters.By.parse(f"BY=5;R{text}")),
    "HOLDFOR": mail(lambda text: parameters.HoldFor.parse(f"HOLDFOR=5{text}")),
    "HOLDUNTIL": mail(lambda text: parameters.HoldUntil(f"2030-01-01T00:00:00Z{text}")),
    "RRVS": rcpt(lambda text: parameters.Rrvs(f"2020-01-01T00:00:00Z{text}")),
    "RRVS's action": rcpt(lambda text: parameters.Rrvs("2020-01-01T00:00:00Z", f"C{text}")),
    "MT-PRIORITY": mail(lambda text: parameters.MtPriority.parse(f"MT-PRIORITY=5{text}")),
    "SOLICIT": mail(lambda text: parameters.Solicit("org.example:ADV", f"x{text}")),
    "one's own": mail(lambda text: Own.made(f"a{text}")),
    "one's own, read": mail(lambda text: Own.parse(f"XOWN=a{text}")),
    "deliver": lambda client, text: client.deliver(MESSAGE, "a@b.test", "c@d.test", [Own.made(f"a{text}")]),
    "a recipient's": lambda client, text: client.deliver(
        MESSAGE, "a@b.test", ["c@d.test", Recipient("e@f.test", [Own.made(f"a{text}")])]
    ),
    "a recipient": lambda client, text: client.sendmail("a@b.test", [Recipient(f"c{text}@d.test")], MESSAGE),
}


def source(text: Any) -> Any:
    return lambda: text


class Refreshable:
    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self) -> str:
        return "token"

    def refresh(self) -> str:
        return f"token{self.text}"


class Saying(Mechanism):
    """A mechanism of a program's own, which says whatever it is told to."""

    name = "PLAIN"

    def __init__(self, text: str) -> None:
        self.response = text.encode("utf-8", "surrogatepass")

    def step(self, challenge: bytes | None) -> bytes:
        return self.response


LOG_INS: dict[str, Use] = {
    **{
        f"{argument} of {mechanism}": lambda client, text, mechanism=mechanism, argument=argument: client.login(  # type: ignore[misc]  # lambdas with defaults have no type
            **{"user": "ada", "password": "secret", argument: f"a{text}"}, mechanisms=[mechanism]
        )
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256")
        for argument in ("user", "password")
    },
    "authorization identity": lambda client, text: client.login("ada", "x", authorization_identity=f"a{text}"),
    "user of OAUTHBEARER": lambda client, text: client.login(f"a{text}", token="t", mechanisms=["OAUTHBEARER"]),
    "user of XOAUTH2": lambda client, text: client.login(f"a{text}", token="t", mechanisms=["XOAUTH2"]),
    "token": lambda client, text: client.login("ada", token=f"a{text}"),
    "token of XOAUTH2": lambda client, text: client.login("ada", token=f"a{text}", mechanisms=["XOAUTH2"]),
    "token's source": lambda client, text: client.login("ada", token=source(f"a{text}")),
    "token's source, octets": lambda client, text: client.login("ada", token=source(text.encode("utf-8", "replace"))),
    "refreshed token": lambda client, text: client.login("ada", token=Refreshable(text)),
    "name of a mechanism to choose": lambda client, text: client.login("ada", "x", mechanisms=[f"PLAIN{text}"]),
    "name of a mechanism": lambda client, text: client.auth(f"PLAIN{text}", source("x")),
    "authobject's first response": lambda client, text: client.auth("X", lambda challenge=None: f"a{text}"),
    "authobject's octets": lambda client, text: client.auth(
        "X", lambda challenge=None: f"a{text}".encode("utf-8", "surrogatepass")
    ),
    "authobject's response": lambda client, text: client.auth(
        "X", lambda challenge=None: None if challenge is None else f"a{text}"
    ),
    "PLAIN": lambda client, text: client.auth("PLAIN", Plain("ada", f"a{text}", f"b{text}")),
    "EXTERNAL": lambda client, text: client.auth("EXTERNAL", External(f"a{text}")),
    "ANONYMOUS": lambda client, text: client.auth("ANONYMOUS", Anonymous(f"a{text}")),
    "host of OAUTHBEARER": lambda client, text: client.auth("OAUTHBEARER", OAuthBearer("ada", "t", f"h{text}", 25)),
    "XOAUTH2": lambda client, text: client.auth("XOAUTH2", XOAuth2(f"a{text}", "t")),
    "a mechanism of one's own": lambda client, text: client.auth("PLAIN", Saying(f"a{text}")),
    "name of the server": lambda client, text: set_and(
        client, "server_hostname", f"mx.test{text}", lambda: client.login("ada", token="t", mechanisms=["OAUTHBEARER"])
    ),
    "name of the server, for TLS": lambda client, text: set_and(
        client, "server_hostname", f"mx.test{text}", lambda: client.starttls(context=client_context())
    ),
    "own name": lambda client, text: set_and(client, "local_hostname", f"me{text}.test", client.ehlo),
    "own name, for HELO": lambda client, text: set_and(client, "local_hostname", f"me{text}.test", client.helo),
}


def set_and(client: Client, name: str, value: str, call: Callable[[], object]) -> None:
    """Call with an attribute of the client set, and set it back."""
    before = getattr(client, name)
    setattr(client, name, value)
    try:
        call()
    finally:
        setattr(client, name, before)


def headers(kind: type[Message], **given: Any) -> Message:
    message: Message = kind()
    for name, value in {"From": "a@b.test", "To": "c@d.test", **given}.items():
        message[name.replace("_", "-")] = value
    message.set_payload("hello\r\n")
    return message


def of_headers(*names: str) -> dict[str, Use]:
    """Every way for text into the addresses of these headers, in both kinds of message."""
    ways: dict[str, Callable[[str], Any]] = {
        "address": lambda text: f"x{text}y@z.test",
        "display form": lambda text: f'"x{text}y" <x@z.test>',
        "behind": lambda text: f"<x@z.test>{text}",
        "quoted": lambda text: f'"x{text}y"@z.test',
        "domain": lambda text: f"x@z{text}.test",
        "object": lambda text: Address(f"x{text}", f"x{text}", "z.test"),
        "object's domain": lambda text: Address("x", "x", f"z{text}.test"),
    }
    return {
        f"{name} ({kind.__name__}, {way})": lambda client, text, name=name, kind=kind, make=make: client.send_message(  # type: ignore[misc]  # as above
            headers(
                kind,
                **({"Resent_Date": "x", "Resent_To": "c@d.test"} if "Resent" in name else {}),
                **{name: make(text)},
            )
        )
        for name in names
        for kind in (EmailMessage, Message)
        for way, make in ways.items()
        if kind is EmailMessage or not way.startswith("object")
    }


HEADERS = of_headers("To", "From", "Sender", "Cc", "Bcc", "Resent_From", "Resent_Cc")


def hostile_use(backend: Backend, use: Use, *extensions: str) -> None:
    """Use it with all poisons: every line that comes is one of the library's, and every answer is that to its own."""
    listening = Listening(*extensions)
    with ScriptedServer([listening]) as server, backend.connect(server) as client:
        client.ehlo()
        for poison in POISON:
            with suppress(*REFUSED):
                use(client, poison)
            # Whatever was refused, the connection is there, and answers to what it is asked.
            assert client.noop() == (250, b"noop"), ascii(poison)
            assert listening.wrong == [], ascii(poison)


OFFERED = ["DSN", "SIZE", "DELIVERBY", "FUTURERELEASE 999 2099-01-01T00:00:00Z", "XOWN", "REQUIRETLS", "MT-PRIORITY"]
OFFERED += ["RRVS", "NO-SOLICITING", "8BITMIME", "CHUNKING", "PIPELINING"]


@pytest.mark.parametrize("name", TYPED)
def test_typed_parameters(backend: Backend, name: str) -> None:
    """A typed parameter is one word of its line, whatever its value is made of."""
    hostile_use(backend, TYPED[name], *OFFERED)


@pytest.mark.parametrize("name", LOG_INS)
def test_log_ins(backend: Backend, name: str) -> None:
    """What a log-in is made of goes as base64 or not at all, names of hosts not at all."""
    hostile_use(backend, LOG_INS[name], "STARTTLS")


@pytest.mark.parametrize("name", HEADERS)
def test_headers(backend: Backend, name: str) -> None:
    """Headers give addresses, and nothing else of them gets into the envelope."""
    hostile_use(backend, HEADERS[name], "PIPELINING")


ONCE: dict[str, Callable[[str], dict[str, Any]]] = {
    "sender": lambda text: {"sender": f"a{text}@b.test"},
    "recipient": lambda text: {"recipients": [f"a{text}@b.test"]},
    "MAIL's option": lambda text: {"mail_options": [Own.made(f"a{text}")]},
    "RCPT's option": lambda text: {"rcpt_options": [Own.made(text)]},
    "own name": lambda text: {"local_hostname": f"me{text}.test"},
    "user": lambda text: {"user": f"a{text}", "password": "x"},
    "password": lambda text: {"user": "ada", "password": f"x{text}"},
    "token": lambda text: {"user": "ada", "token": source(f"x{text}")},
    "name of the server": lambda text: {"server_hostname": f"mx{text}.test", "tls": "required"},
    "where from": lambda text: {"source_address": (f"127.0.0.1{text}", 0)},
}


@pytest.mark.parametrize("name", ONCE)
def test_send(backend: Backend, name: str) -> None:
    """The same for what `send` is given."""
    for poison in POISON:
        listening = Listening("STARTTLS", "PIPELINING")
        options = {"sender": "a@b.test", "recipients": "c@d.test", "context": client_context(), **ONCE[name](poison)}
        with ScriptedServer([listening]) as server:
            try:
                send(backend, server, **options)
            except (*REFUSED, OSError):
                pass
        assert listening.wrong == [], ascii(poison)


def test_send_many(backend: Backend) -> None:
    """The same for all the messages of `send_many`: those that are refused leave no trace among the others."""
    envelope = backend.module.Envelope
    messages: list[Any] = []
    for poison in POISON:
        messages += [
            (f"a{poison}@b.test", ["c@d.test"], MESSAGE),
            ("a@b.test", ["c@d.test", f"e{poison}@f.test"], MESSAGE),
            envelope("a@b.test", ["c@d.test"], MESSAGE, [Own.made(f"a{poison}")]),
            envelope("a@b.test", ["c@d.test"], MESSAGE, [], [Own.made(f"a{poison}")]),
            ("a@b.test", ["c@d.test"], MESSAGE),
        ]
    listening = Listening("PIPELINING")
    given = 0
    with ScriptedServer([listening]) as server, backend.connect(server) as client:
        with backend.sending(client, messages) as sending:
            for _ in messages:
                try:
                    outcome = next(sending)
                except REFUSED:
                    continue
                given += outcome.delivered
        assert client.noop() == (250, b"noop")
    assert listening.wrong == []
    assert given == sum(line.lower() == b"data\r\n" for line in listening.commands) >= len(POISON)
