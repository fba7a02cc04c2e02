"""Facts that other people's code relies on, each one test: what programs do with `smtplib`, and what servers do to it.

More of them are shown where their subject is: writing by hand in `test_raw`, overriding in `test_overrides`, and what
only blocking sockets have in `tests/parity/test_facts.py`.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from smtp_proto.replies import Reply
from tests.scripted import Expect, ExpectBody, ExpectEOF, ScriptedServer, Send, Step
from tests.scripts import (
    BODY,
    DATA,
    DELIVERY,
    GREETING,
    MAIL,
    MESSAGE,
    NOOP,
    PATIENCE,
    QUIT,
    RCPT,
    RSET,
    hello,
    opening,
    turn,
)

from .backends import Backend

# -- what programs do -------------------------------------------------------------------------------------------------


def test_attributes_that_a_subclass_sets_before_init(backend: Backend) -> None:
    """What is set before ``SMTP.__init__`` is still there behind it, and is used."""
    parent = getattr(backend.module, "SMTP")  # noqa: B009  # not known to the type checker here

    class Early(parent):  # type: ignore[misc, valid-type]  # any backend's
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.user, self.password, self.tag = "user", "password", "mine"
            self.debuglevel = 0
            self.ehlo_msg = "ehlo"
            super().__init__(*arguments, **options)

    script = [*opening("AUTH PLAIN"), *turn(b"auth plain AHVzZXIAcGFzc3dvcmQ=", b"235 welcome"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, Early) as client:
        assert (client.user, client.password, getattr(client, "tag", None)) == ("user", "password", "mine")
        client.ehlo()
        assert client.auth("PLAIN", client.auth_plain)[0] == 235


class Encodes:
    """No text, but something that can be made octets."""

    def __init__(self, text: str) -> None:
        self.text = text

    def encode(self, encoding: str) -> bytes:
        return self.text.encode(encoding)


@pytest.mark.parametrize(
    ("method", "mechanism", "steps"),
    [
        ("auth_plain", "PLAIN", [*turn(b"auth plain c2VjcmV0\r\n", b"235 welcome")]),
        ("auth_login", "LOGIN", [*turn(b"auth login c2VjcmV0\r\n", b"235 welcome")]),
        (
            "auth_cram_md5",
            "CRAM-MD5",
            [*turn(b"auth cram-md5\r\n", b"334 PHg+"), *turn(b"c2VjcmV0\r\n", b"235 welcome")],
        ),
    ],
)
def test_an_authobject_returns_anything_that_encodes(backend: Backend, method: str, mechanism: str, steps: Any) -> None:
    """An override of `auth_plain` and its like may return any object with `encode`; `login` uses it."""

    def override(self: Any, challenge: bytes | None = None) -> Any:
        return None if mechanism == "CRAM-MD5" and challenge is None else Encodes("secret")

    kind = type("Own", (backend.module.SMTP,), {method: override})
    with (
        ScriptedServer([*opening(f"AUTH {mechanism}"), *steps, *QUIT]) as server,
        backend.connect(server, kind) as client,
    ):
        assert client.login("user", "password") == (235, b"welcome")


@pytest.mark.parametrize("when", ["before connect", "after connect"])
def test_local_hostname_set_late(backend: Backend, when: str) -> None:
    """`local_hostname` may be set at any time before EHLO, on a client that was made without one."""
    with ScriptedServer([*GREETING, *hello(verb=b"ehlo late.example\r\n"), *QUIT]) as server:
        client = backend.open("SMTP", timeout=PATIENCE)
        if when == "before connect":
            client.local_hostname = "late.example"
        client.connect(server.host, server.port)
        if when == "after connect":
            client.local_hostname = "late.example"
        client.ehlo()
        assert client.local_hostname == "late.example"
        client.quit()


def test_the_fourth_argument(backend: Backend) -> None:
    """By position SMTP's fourth argument is the time-out, LMTP's the address to connect from."""
    assert backend.open("SMTP", "", 0, "client.test", 7).timeout == 7
    lmtp = backend.open("LMTP", "", 0, "client.test", ("127.0.0.1", 0), 7)
    assert lmtp.source_address == ("127.0.0.1", 0)
    assert lmtp.timeout == 7


@pytest.mark.parametrize("wrap", [list, tuple])
def test_an_address_in_a_list_of_one(backend: Backend, wrap: Any) -> None:
    """A list of one address in the place of the address is that one, wherever there is one."""
    script = [*opening(), *turn(b"mail from:<a@b.test>", b"250 ok"), *turn(b"rcpt to:<c@d.test>", b"250 ok")]
    script += [*turn(b"vrfy e@f.test\r\n", b"252 maybe"), *RSET]
    script += [*turn(b"mail from:<a@b.test>", b"250 ok"), *turn(b"rcpt to:<c@d.test>", b"550 no"), *RSET, *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        client.mail(wrap(["a@b.test"]))
        client.rcpt(wrap(["C D <c@d.test>"]))
        client.verify(wrap(["e@f.test"]))
        client.rset()
        with pytest.raises(backend.module.SMTPRecipientsRefused) as raised:
            client.sendmail(wrap(["a@b.test"]), [wrap(["c@d.test"])], MESSAGE)
        assert raised.value.recipients == {"c@d.test": (550, b"no")}
        with pytest.raises(TypeError, match="one address at a time"):
            client.rcpt(wrap(["a@b.test", "c@d.test"]))
        assert client.noop()[0] == 250


def test_has_extn_may_be_overridden(backend: Backend) -> None:
    """What `has_extn` says is what counts, for `sendmail` and for `starttls`."""

    def has_extn(self: Any, opt: str) -> bool:
        return opt.lower() != "size" and bool(parent.has_extn(self, opt))

    parent = backend.module.SMTP
    kind = type("NoSize", (parent,), {"has_extn": has_extn})
    script = [*opening("SIZE", "8BITMIME"), *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, kind) as client:
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert b"size=" not in server.received[1]


# -- what servers do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions", [["SIZE"], ["SIZE", "PIPELINING"]], ids=["step by step", "pipelined"])
def test_552_until_rset(backend: Backend, extensions: list[str]) -> None:
    """A server that repeats 552 after a refused ``SIZE=`` until RSET gets that RSET, and takes the next message."""
    refusal: list[Step]
    success: list[Step]
    if "PIPELINING" in extensions:
        flight: list[Step] = [Expect(b"mail"), Expect(b"rcpt"), Expect(b"data")]
        refusal = [*flight, Send(b"552 5.3.4 too big\r\n503 no\r\n503 no\r\n"), *RSET]
        success = [*flight, Send(b"250 ok\r\n250 ok\r\n354 go\r\n"), *BODY]
    else:
        refusal, success = [*turn(b"mail", b"552 5.3.4 too big"), *RSET], DELIVERY
    with (
        ScriptedServer([*opening(*extensions), *refusal, *success, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        with pytest.raises(backend.module.SMTPSenderRefused):
            client.sendmail("a@client.test", "b@mx.test", b"x" * 100)
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


def test_ehlo_is_not_said_again_after_a_login(backend: Backend) -> None:
    """There are servers that forget a log-in at the next EHLO, so nothing says it again."""
    script = [*opening("AUTH PLAIN"), *turn(b"auth plain", b"235 welcome"), *DELIVERY * 2, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.login("user", "password")
        for _ in range(2):
            client.ehlo_or_helo_if_needed()
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
    assert len([line for line in server.received if line.lower().startswith(b"ehlo")]) == 1


@pytest.mark.parametrize("challenge", [b"334", b"334 "])
def test_a_bare_334(backend: Backend, challenge: bytes) -> None:
    """A challenge of nothing, without even a space behind its code, is a challenge."""
    steps = [*turn(b"auth plain\r\n", challenge), *turn(b"AHVzZXIAcGFzc3dvcmQ=\r\n", b"235 welcome")]
    with ScriptedServer([*opening("AUTH PLAIN"), *steps, *QUIT]) as server, backend.connect(server) as client:
        assert client.login("user", "password", initial_response_ok=False) == (235, b"welcome")


ONE_REPLY: list[Step] = [*MAIL, *RCPT * 2, *DATA, ExpectBody(), Send(b"250 2.0.0 all of them\r\n")]


def test_lmtp_with_one_reply_for_all_ends_with_the_timeout(backend: Backend) -> None:
    """A server that speaks LMTP but gives one answer for all recipients is waited for no longer than `timeout`.

    The exception knows the one answer that came, and that the message may have arrived for the others.
    """
    script = [*GREETING, *hello(verb=b"lhlo client.test\r\n"), *ONE_REPLY, ExpectEOF()]
    with ScriptedServer(script) as server:
        client = backend.connect(server, "LMTP", timeout=0.2)
        with pytest.raises(backend.module.SMTPServerDisconnected, match="timed out") as raised:
            client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE)
        assert raised.value.may_be_delivered
        first, second = raised.value.outcome.recipients
        assert first.final == Reply(250, "2.0.0 all of them")
        assert second.final is None
        assert client.sock is None


def test_lmtp_with_one_reply_for_all_is_smtp_with_lhlo(backend: Backend) -> None:
    """The way to talk to such a server: SMTP, whose introduction is LHLO."""
    kind = type("OneReply", (backend.module.SMTP,), {"ehlo_msg": "lhlo"})
    script = [*GREETING, *hello("SIZE", verb=b"lhlo client.test\r\n"), *ONE_REPLY, *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, kind) as client:
        assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE) == {}
        assert client.noop()[0] == 250


def test_nothing_small_is_held_back(backend: Backend) -> None:
    """A socket over TCP sends at once what it is given: of several flights none waits for the one before."""
    with ScriptedServer([*GREETING, ExpectEOF()]) as server, backend.connect(server) as smtp:
        assert smtp.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        smtp.close()
