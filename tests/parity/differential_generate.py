"""Conversations for the differential test: calls with their arguments, and a server's answers to them, by chance.

Everything comes from one seed and the number of the conversation, so that any one of them can be had again.  Each has a
temper: most servers are sane, so that long conversations happen at all, and some are not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .differential_pools import (
    ADDRESSES,
    CHALLENGES,
    CODES,
    COMMANDS,
    CREDENTIALS,
    CUT,
    EXTENSIONS,
    FRAGMENTS,
    GOOD_ADDRESSES,
    LINE_ENDS,
    LONG,
    MECHANISMS,
    NAMES,
    NOT_REPLIES,
    ODD_CODES,
    ODD_EXTENSIONS,
    OPTIONS,
    TEXTS,
)
from .differential_server import KINDS, USUAL, Say


class Call(NamedTuple):
    """A method and its arguments; a few names are the runner's own (see `differential_run`)."""

    name: str
    arguments: tuple[Any, ...] = ()
    inner: tuple[Any, ...] = ()  # the calls inside a `with` block


class Conversation(NamedTuple):
    """What is called, and what a server says to each kind of line."""

    calls: tuple[Call, ...]
    script: dict[str, tuple[Say, ...]]
    lmtp: bool = False
    constructed: bool = True  # connected by the constructor


class Letter(NamedTuple):
    """What a message for `send_message` is made of."""

    policy: str
    headers: tuple[tuple[str, str], ...]
    body: str


@dataclass(frozen=True)
class Responder:
    """An authobject: an initial response, and the same response to every challenge; None raises there."""

    initial: str | None
    response: str | None

    def __call__(self, challenge: bytes | None = None) -> str | None:
        if challenge is None:
            return self.initial
        if self.response is None:
            raise LookupError("no response to that")
        return self.response


def conversation(seed: int, number: int) -> Conversation:
    """The conversation with this number."""
    return _Generator(random.Random(f"{seed}/{number}")).conversation()


class _Generator:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        # How likely an answer is a refusal, and anything that no sane server says.
        self.refusing, self.insane = chance.choice([(0.0, 0.0), (0.05, 0.0), (0.2, 0.0), (0.1, 0.03), (0.4, 0.15)])
        self.odd_arguments = chance.choice([0.0, 0.0, 0.1, 0.5])
        self.lmtp = chance.random() < 0.1

    def conversation(self) -> Conversation:
        chance = self.chance
        calls = [self.call(top=True) for _ in range(chance.randint(1, 9))]
        constructed = chance.random() < 0.6
        if not constructed and chance.random() < 0.95:
            calls.insert(0, Call("connect", ("server.test",)))
        script = {kind: tuple(self.say(kind) for _ in range(chance.randint(1, 5))) for kind in KINDS}
        if chance.random() < 0.1:
            script["RCPT"] = tuple(Say(self.reply(chance.choice((450, 550, 554)))) for _ in range(9))
        return Conversation(tuple(calls), script, self.lmtp, constructed)

    # -- the server ---------------------------------------------------------------------------------------------------

    def say(self, kind: str) -> Say:
        chance = self.chance
        if chance.random() < self.insane:
            which = chance.randrange(8)
            if which < 2:
                return Say(self.reply(chance.choice(ODD_CODES if which else CODES)))
            if which == 2:
                return Say(chance.choice(NOT_REPLIES))
            if which == 3:
                return Say(chance.choice(CUT), hang_up=chance.random() < 0.8)
            if which == 4:
                return Say(chance.choice(LONG))
            if which == 5:
                return Say(self.reply(250) + self.reply(chance.choice(CODES)))
            return Say(self.reply(chance.choice(CODES)), hang_up=True)
        if chance.random() < self.refusing:
            return Say(self.reply(chance.choice((421, 450, 500, 503, 535, 550, 550, 554))))
        if kind == "STARTTLS":
            return Say(self.reply(454))
        if kind in ("EHLO", "LHLO"):
            return Say(self.features())
        if kind in ("AUTH", "response") and chance.random() < 0.15:
            return Say(self.reply(chance.choice((535, 454, 504, 503))))
        if kind == "AUTH" and chance.random() < 0.5:
            return Say(b"334 " + chance.choice(CHALLENGES) + b"\r\n")
        if kind == "response" and chance.random() < 0.3:
            return Say(b"334 " + chance.choice(CHALLENGES) + b"\r\n")
        usual = USUAL.get(kind, 250)
        if kind == "RCPT" and chance.random() < 0.2:
            usual = 251
        return Say(self.reply(usual))

    def reply(self, code: int) -> bytes:
        chance = self.chance
        lines = [chance.choice(TEXTS) for _ in range(1 if chance.random() < 0.8 else chance.randint(2, 5))]
        end = b"\n" if chance.random() < 0.05 else b"\r\n"
        head = b"%03d" % code
        last = head + b" " + lines[-1] if lines[-1] or chance.random() < 0.5 else head
        return b"".join(head + b"-" + line + end for line in lines[:-1]) + last + end

    def features(self) -> bytes:
        chance = self.chance
        lines = [b"server.test", *chance.choices(EXTENSIONS, k=chance.randint(0, 6))]
        if chance.random() < 0.05:
            lines += chance.choices(ODD_EXTENSIONS, k=2)
        return b"".join(b"250-" + line + b"\r\n" for line in lines[:-1]) + b"250 " + lines[-1] + b"\r\n"

    # -- the client ---------------------------------------------------------------------------------------------------

    def call(self, top: bool) -> Call:
        chance = self.chance
        name = chance.choice(_TOP if top else _INNER)
        make = getattr(self, f"_{name}", None)
        return Call(name) if make is None else make()

    def address(self, good: bool = False) -> str:
        odd = not good and self.chance.random() < self.odd_arguments
        return self.chance.choice(ADDRESSES if odd else GOOD_ADDRESSES)

    def options(self) -> tuple[str, ...]:
        few = OPTIONS if self.chance.random() < self.odd_arguments else OPTIONS[:8]
        return tuple(self.chance.choice(few) for _ in range(self.chance.choice((0, 0, 0, 1, 2))))

    def text(self) -> str:
        chance = self.chance
        fragments = FRAGMENTS if chance.random() < self.odd_arguments else FRAGMENTS[:-2]
        ends = LINE_ENDS if chance.random() < 0.5 else LINE_ENDS[:1]
        return "".join(chance.choice(fragments) + chance.choice(ends) for _ in range(chance.randint(0, 6)))

    def message(self) -> str | bytes:
        text = self.text()
        if self.chance.random() < 0.02:
            text += "A long message\r\n.\r\n" * 12000  # in several pieces
        return text.encode("latin-1", "replace") if self.chance.random() < 0.5 else text

    def letter(self) -> Letter:
        chance = self.chance
        names = [
            "From",
            "To",
            *chance.choices(("Cc", "Bcc", "Sender", "Resent-Date", "Resent-From", "Resent-To", "To"), k=2),
        ]
        if chance.random() < 0.8:
            names = list(dict.fromkeys(names))  # most messages have each header once
        if chance.random() < 0.05:
            names.remove("From")
        if chance.random() < 0.05:
            names += ["Resent-Date", "Resent-Date"]
        resent = "Wed, 01 Jan 2025 00:00:00 +0000"
        headers = [(name, resent if name == "Resent-Date" else self.address(good=True)) for name in names]
        if chance.random() < 0.1:
            headers.append(("Cc", "\u00fc@b.test"))
        body = self.text().replace("\0", "").replace("\r", "")
        policies = ("compat32", "default", "SMTP", "SMTPUTF8")
        # compat32 takes no text that is not ASCII without a character set, and the others repeat no address header.
        if len({name for name, _ in headers}) < len(headers):
            return Letter("compat32", tuple(headers), body.encode("ascii", "replace").decode())
        return Letter(chance.choice(policies), tuple(headers), body.encode("ascii", "replace").decode())

    def _connect(self) -> Call:
        return Call("connect", ("server.test", self.chance.choice((0, 25))))

    def _ehlo(self) -> Call:
        return Call("ehlo", (self.chance.choice(NAMES[:4] if self.chance.random() >= self.odd_arguments else NAMES),))

    def _helo(self) -> Call:
        return Call("helo", self._ehlo().arguments)

    def _has_extn(self) -> Call:
        return Call(
            "has_extn", (self.chance.choice(("size", "SIZE", "auth", "SmtpUtf8", "x-foo", "x", "", "8bit", "help")),)
        )

    def _help(self) -> Call:
        return Call("help", self.chance.choice(((), ("",), ("mail",), ("two words",), ("a\r\nb",))))

    def _mail(self) -> Call:
        return Call("mail", (self.address(), self.options()))

    def _rcpt(self) -> Call:
        return Call("rcpt", (self.address(), self.options()))

    def _data(self) -> Call:
        return Call("data", (self.message(),))

    def _verify(self) -> Call:
        return Call("verify", (self.address(),))

    def _expn(self) -> Call:
        return Call("expn", (self.address(),))

    def _putcmd(self) -> Call:
        return Call("putcmd", self.chance.choice(COMMANDS))

    def _docmd(self) -> Call:
        return Call("docmd", self.chance.choice((*COMMANDS, ("QUIT", ""), ("QUIT", ""))))

    def _written(self) -> Call:
        return Call("written", self.chance.choice(COMMANDS))

    def _raw(self) -> Call:
        return Call(
            "raw", (self.chance.choice((b"NOOP\r\n", "NOOP\r\n", b"XFOO bar\r\n", b"noop\n", "HELP \u00fc\r\n")),)
        )

    def _login(self) -> Call:
        credentials = self.chance.choice(CREDENTIALS if self.chance.random() < 0.3 else CREDENTIALS[:1])
        return Call("login", (*credentials, self.chance.random() < 0.8))

    def _auth(self) -> Call:
        mechanism = self.chance.choice(MECHANISMS if self.chance.random() < self.odd_arguments else MECHANISMS[:4])
        initial, response = (
            self.chance.choice((None, "", "secret", "x\0y")),
            self.chance.choice(("more", "", None, "x\ny")),
        )
        return Call("auth", (mechanism, Responder(initial, response), self.chance.random() < 0.7))

    def _sendmail(self) -> Call:
        chance = self.chance
        count = 1 if self.lmtp else chance.choice((0, 1, 1, 1, 2, 3))
        to = [self.address() for _ in range(count)]
        if count > 1 and chance.random() < 0.2:
            to[1] = to[0]
        given = to[0] if count == 1 and chance.random() < 0.3 else to
        return Call("sendmail", (self.address(), given, self.message(), self.options(), self.options()))

    def _send_message(self) -> Call:
        sender = self.chance.choice((None, None, self.address()))
        to = [self.address()] if self.lmtp else self.chance.choice((None, None, [self.address()]))
        return Call("send_message", (self.letter(), sender, to, self.options(), self.options()))

    def _with(self) -> Call:
        inner = tuple(self.call(top=False) for _ in range(self.chance.randint(0, 3)))
        return Call("with", (self.chance.random() < 0.2,), inner)


_INNER: Final = (
    *("ehlo", "ehlo", "helo", "has_extn", "noop", "rset", "quit", "close", "help", "mail", "rcpt", "data", "verify"),
    *(
        "expn",
        "docmd",
        "written",
        "raw",
        "login",
        "login",
        "login",
        "auth",
        "ehlo_or_helo_if_needed",
        "starttls",
        "connect",
    ),
    *("sendmail",) * 5,
    *("send_message",) * 3,
    *("transaction",) * 2,
)
_TOP: Final = (*_INNER, "with", "with", "getreply", "putcmd")
