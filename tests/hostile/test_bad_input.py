"""What callers hand in that must not reach the wire: refused before anything is sent, and the session goes on."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

import smtp_blocking
from tests.conformance.backends import Backend, Client
from tests.scripted import ScriptedServer
from tests.scripts import DELIVERY, GREETING, MAIL, MESSAGE, NOOP, QUIT, RCPT, opening, turn

CONTROLS = [chr(code) for code in range(0x20)] + ["\x7f"]
#: What stands in no command, with what follows it where it could do harm.
POISON = [
    *CONTROLS,
    "\r\nrset",
    "\nrset",
    "\rrset",
    "\r\n.\r\nmail from:<x@y.test>",
    "\ud800",
    "\udc80",
    "\udfff",
]
EIGHT_BIT = ["\x80", "\xe4", "\u20ac", "\U0001f4e7", "\xa0", "\u2028", "\u3002"]

REFUSED = (ValueError, UnicodeEncodeError)


Use = Callable[[Client, str], object]

# Every way for text of a caller's into a command line: the name of the argument, and its use.
ADDRESSES: dict[str, tuple[str, Use]] = {
    "sender": ("reverse-path", lambda client, text: client.mail(f"a{text}b@c.test")),
    "sender in a display form": ("reverse-path", lambda client, text: client.mail(f"A{text}B <a@c.test>")),
    "sender's domain": ("reverse-path", lambda client, text: client.mail(f"a@b{text}c.test")),
    "sender's end": ("reverse-path", lambda client, text: client.mail(f"a@b.test{text}")),
    "quoted sender": ("reverse-path", lambda client, text: client.mail(f'"a{text}b"@c.test')),
    "recipient": ("forward-path", lambda client, text: client.rcpt(f"a{text}b@c.test")),
    "bracketed recipient": ("forward-path", lambda client, text: client.rcpt(f"<a{text}b@c.test>")),
    "quoted recipient": ("forward-path", lambda client, text: client.rcpt(f'"a{text}b"@c.test')),
    "sendmail's sender": (
        "reverse-path",
        lambda client, text: client.sendmail(f"a{text}b@c.test", "d@e.test", MESSAGE),
    ),
    "sendmail's recipient": (
        "forward-path",
        lambda client, text: client.sendmail("a@c.test", f"d{text}@e.test", MESSAGE),
    ),
    "sendmail's last recipient": (
        "forward-path",
        lambda client, text: client.sendmail("a@c.test", ["d@e.test", "f@g.test", f"h{text}@i.test"], MESSAGE),
    ),
    "verify": ("address|command", lambda client, text: client.verify(f"a{text}b")),
    "expn": ("address|command", lambda client, text: client.expn(f"a{text}b")),
    "send_message's sender": (
        "reverse-path",
        lambda client, text: client.send_message(message(), f"a{text}b@c.test", "d@e.test"),
    ),
    "send_message's recipient": (
        "forward-path",
        lambda client, text: client.send_message(message(), "a@c.test", [f"a{text}b@c.test"]),
    ),
}
OTHERS: dict[str, tuple[str, Use]] = {
    "MAIL option": ("parameter|command", lambda client, text: client.mail("a@b.test", [f"BODY=8BIT{text}MIME"])),
    "MAIL option's keyword": ("parameter|command", lambda client, text: client.mail("a@b.test", [f"BO{text}DY=x"])),
    "RCPT option": ("parameter|command", lambda client, text: client.rcpt("a@b.test", [f"NOTIFY={text}NEVER"])),
    "sendmail's option": (
        "parameter|command",
        lambda client, text: client.sendmail("a@b.test", "c@d.test", MESSAGE, [f"X={text}y"]),
    ),
    "sendmail's RCPT option": (
        "parameter|command",
        lambda client, text: client.sendmail("a@b.test", "c@d.test", MESSAGE, [], [f"X={text}y"]),
    ),
    "EHLO's name": ("local_hostname|domain|command", lambda client, text: client.ehlo(f"a{text}b.test")),
    "HELO's name": ("local_hostname|domain|command", lambda client, text: client.helo(f"a{text}b.test")),
    "putcmd's verb": ("command", lambda client, text: client.putcmd(f"NO{text}OP")),
    "putcmd's argument": ("command", lambda client, text: client.putcmd("NOOP", f"x{text}y")),
    "docmd's argument": ("command", lambda client, text: client.docmd("XODD", f"x{text}y")),
    "help's argument": ("command", lambda client, text: client.help(f"x{text}y")),
    "mechanism": ("mechanism", lambda client, text: client.auth(f"X{text}Y", lambda challenge=None: "x")),
}
USES = {**ADDRESSES, **OTHERS}


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"] = "a@b.test"
    made["To"] = "c@d.test"
    made.set_content("hello")
    return made


@pytest.mark.parametrize("name", USES)
def test_control_characters_and_lone_surrogates(backend: Backend, name: str) -> None:
    """They are refused with the name of the argument, nothing was sent, and the session can be used on."""
    argument, use = USES[name]
    with ScriptedServer([*opening("AUTH X", "SMTPUTF8"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        for poison in POISON:
            with pytest.raises(REFUSED, match=f"{argument}|prohibited newline|codec can't encode"):
                use(client, poison)
        assert client.noop()[0] == 250
    assert server.received[1] == b"noop\r\n"


@pytest.mark.parametrize("name", USES)
def test_beyond_ascii(backend: Backend, name: str) -> None:
    """Without SMTPUTF8 nothing that is not ASCII is sent, nor anything made of it."""
    _, use = USES[name]
    # send_message would ask for SMTPUTF8 by itself, and is told that there is none.
    refused = (*REFUSED, smtp_blocking.SMTPNotSupportedError)
    with ScriptedServer([*opening("AUTH X"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        for text in EIGHT_BIT:
            if name == "sender in a display form":
                continue  # the name that is shown is no part of the address, whatever it is
            with pytest.raises(refused):
                use(client, text)
        assert client.noop()[0] == 250
    assert server.received[1] == b"noop\r\n"


@pytest.mark.parametrize("character", ["\r", "\n", "\x00", "\x07", "\x7f", "\ud800", "\xe4"])
def test_local_hostname(backend: Backend, character: str) -> None:
    """A bad name of one's own is refused when it would be sent; with a better one the session goes on."""
    script = [*opening(), *DELIVERY, *QUIT]
    with ScriptedServer(script) as server:
        client = backend.connect(server, local_hostname=f"me{character}.test")
        uses: list[Callable[[], object]] = [
            client.ehlo,
            client.helo,
            client.ehlo_or_helo_if_needed,
            lambda: client.sendmail("a@b.test", "c@d.test", MESSAGE),
            client.starttls,
            lambda: client.login("user", "password"),
        ]
        for use in uses:
            with pytest.raises(REFUSED):
                use()
        client.local_hostname = "client.test"
        assert client.sendmail("a@b.test", "c@d.test", MESSAGE) == {}
        client.quit()
    assert server.received[0] == b"ehlo client.test\r\n"


@pytest.mark.parametrize("character", ["\r", "\n", "\r\n", "\x00", "\x07", "\ud800"])
@pytest.mark.parametrize("kind", ["SMTP", "SMTP_SSL", "LMTP"])
def test_host(backend: Backend, kind: str, character: str) -> None:
    """A host with control characters or surrogates is refused before a name is looked up."""
    with pytest.raises(ValueError, match="host"):
        backend.open(kind, f"localhost{character}x", 25)
    client = backend.open(kind)
    with pytest.raises(ValueError, match="host"):
        client.connect(f"local{character}host", 25)
    assert client.sock is None


def test_host_while_connected(backend: Backend) -> None:
    """A bad host leaves the connection that there is."""
    with ScriptedServer([*GREETING, *NOOP, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(ValueError, match="host"):
            client.connect("local\r\nhost", 25)
        assert client.noop()[0] == 250


# Syntax that would end a path early, or be taken for something else behind it.
PATHS = [
    "a@b> NOTIFY=NEVER",
    "a@b.test>,<c@d.test",
    "a@b.test> <c@d.test",
    "<a@b.test> size=5",
    "a<b@c.test",
    'a"b@c.test',
    '"a@b.test',
    "a b@c.test",
    "a@b c.test",
    "a@b.test\xa0x",
]


@pytest.mark.parametrize("path", PATHS)
def test_addresses_that_would_break_out(backend: Backend, path: str) -> None:
    """Whatever becomes of it, on the wire there is one path in brackets and nothing of the address behind it."""
    script = [*opening(), *[step for _ in range(2) for step in turn(b"", b"250 ok")], *QUIT]
    with ScriptedServer(script, strict=False) as server:
        client = backend.connect(server)
        client.ehlo()
        for command in (client.mail, client.rcpt):
            try:
                command(path)
            except (ValueError, UnicodeEncodeError):
                continue
        client.close()
    for line in server.received[1:]:
        inside = line.partition(b":<")[2]
        assert inside.endswith(b">\r\n")
        assert b">" not in inside[:-3]
        assert b" " not in inside


def test_very_long_address(backend: Backend) -> None:
    """Length is for the server to judge: ten kilobytes go out, as they are."""
    address = "a" * 10_000 + "@b.test"
    script = [*opening("PIPELINING"), *MAIL, *RCPT, *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.mail(address)[0] == 250
        assert client.rcpt(address)[0] == 250
        assert client.sendmail(address, address, MESSAGE) == {}
    lines = [b"mail from:<%b>\r\n" % address.encode(), b"rcpt to:<%b>\r\n" % address.encode()]
    assert server.received[1:5] == lines * 2


def test_beyond_all_bounds(backend: Backend) -> None:
    """What no server takes is refused: a bound that is named, so that a slip of megabytes is found here."""
    with ScriptedServer([*opening(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        for use in (client.mail, client.rcpt, client.verify, client.docmd):
            with pytest.raises(ValueError, match="more than any command line holds"):
                use("a" * 1_000_000)
        assert client.noop()[0] == 250


WRONG_TYPES: list[Callable[[Any], object]] = [
    lambda client: client.mail(None),
    lambda client: client.mail(b"a@b.test"),
    lambda client: client.rcpt(5),
    lambda client: client.sendmail("a@b.test", None, MESSAGE),
    lambda client: client.sendmail("a@b.test", [None], MESSAGE),
    lambda client: client.sendmail("a@b.test", "c@d.test", None),
    lambda client: client.sendmail("a@b.test", "c@d.test", ["x"]),
    lambda client: client.sendmail("a@b.test", "c@d.test", MESSAGE, [5]),
    lambda client: client.send_message("From: a@b.test"),
    lambda client: client.docmd(None),
    lambda client: client.docmd(b"noop"),
    lambda client: client.data(None),
    lambda client: client.send(None),
    lambda client: client.ehlo(5),
    lambda client: client.verify(None),
    lambda client: client.auth(None, None),
]


@pytest.mark.parametrize("use", WRONG_TYPES, ids=range(len(WRONG_TYPES)))
def test_wrong_types(backend: Backend, use: Callable[[Any], object]) -> None:
    """An argument of a wrong type is an exception of Python's, with nothing sent; the session goes on."""
    with ScriptedServer([*opening(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises((TypeError, AttributeError, ValueError)):
            use(client)
        assert client.noop()[0] == 250
    assert server.received[1] == b"noop\r\n"


@pytest.mark.parametrize("method", ["sendmail", "data"])
@pytest.mark.parametrize("body", [b"a\0b", b"\0", b"x" * 100_000 + b"\0", "a\0b"])
def test_message_with_a_nul(backend: Backend, method: str, body: bytes | str) -> None:
    """A NUL needs BINARYMIME: ValueError that names the message, nothing sent, DATA neither."""
    with ScriptedServer([*opening(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(ValueError, match="message"):
            client.data(body) if method == "data" else client.sendmail("a@b.test", "c@d.test", body)
        assert client.noop()[0] == 250
    assert server.received[1] == b"noop\r\n"


def test_secrets_are_not_in_the_errors(backend: Backend) -> None:
    """A log-in written by hand that must not be sent: the error does not repeat it."""
    with (
        ScriptedServer([*opening(), *turn(b"auth", b"334 "), *turn(b"*", b"501 cancelled"), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        for bad in ("dHIw\r\ndWI", "dHIw\x00dWI", "dHIwdWI\x7f"):
            with pytest.raises(ValueError, match=r"prohibited") as raised:
                client.docmd("AUTH PLAIN", bad)
            assert "dHIw" not in str(raised.value)
        client.docmd("AUTH LOGIN")
        for bad in ("dHIw\r\ndWI", "dHIw\x00dWI"):
            with pytest.raises(ValueError, match=r"prohibited") as raised:
                client.docmd(bad)
            assert "dHIw" not in str(raised.value)
        assert client.docmd("*")[0] == 501


LINE_ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r"]


@pytest.mark.parametrize("before", LINE_ENDS)
@pytest.mark.parametrize("behind", LINE_ENDS)
def test_smuggling(backend: Backend, before: bytes, behind: bytes) -> None:
    """No message can end itself: every way to write a lone dot arrives as text, between line ends that are CRLF."""
    smuggled = b"mail from:<x@y.test>\r\nrcpt to:<z@y.test>\r\ndata\r\n"
    text = b"Subject: x\r\n\r\nhello" + before + b"." + behind + smuggled
    with ScriptedServer([*opening(), *DELIVERY, *QUIT]) as server, backend.connect(server) as client:
        assert client.sendmail("a@b.test", "c@d.test", text) == {}
    body = server.received[4]
    assert body.endswith(b"data\r\n.\r\n")
    assert body.count(b"\r\n.\r\n") == 1
    # Between two line ends that are CRLF there is neither of their octets alone.
    assert not any(octet in line for line in body.split(b"\r\n") for octet in (b"\r", b"\n"))


CHUNK = 65536  # what is read of a message at once


@pytest.mark.parametrize("before", LINE_ENDS)
@pytest.mark.parametrize("behind", LINE_ENDS)
def test_smuggling_across_the_edges_of_chunks(backend: Backend, before: bytes, behind: bytes) -> None:
    """The same where the lone dot lies across the edge of a chunk, or comes octet by octet."""
    end = before + b"." + behind
    bodies: list[bytes | list[bytes]] = [
        b"x" * (CHUNK - offset) + end + b"mail from:<x@y.test>\r\n" for offset in range(len(end) + 1)
    ]
    bodies.append([b"x", *(bytes([octet]) for octet in end), b"mail from:<x@y.test>\r\n"])
    with (
        ScriptedServer([*opening(), *DELIVERY * len(bodies), *QUIT]) as server,
        backend.connect(server) as client,
    ):
        for body in bodies:
            assert client.sendmail("a@b.test", "c@d.test", body) == {}
    for sent in server.received[4::4]:
        assert sent.endswith(b"\r\n.\r\n")
        text = sent.removesuffix(b".\r\n")
        assert b"\r\n.\r\n" not in text
        assert not any(octet in line for line in text.split(b"\r\n") for octet in (b"\r", b"\n"))
