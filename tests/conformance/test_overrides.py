"""Methods that an application has made its own, in a subclass or on an instance, are used by all the others."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from tests.certificates import client_context
from tests.scripted import Expect, ExpectBody, ExpectEOF, ExpectLines, ScriptedServer, Send, Step
from tests.scripts import BODY, DATA, DELIVERY, GREETING, MAIL, MESSAGE, NOOP, OK, QUIT, RCPT, RSET, opening, turn

from .backends import Backend, Calls, Client

REFUSAL = turn(b"rcpt", b"550 5.1.1 nobody")
# What `sendmail` calls, directly or through another method, when one recipient of two is refused: a prefix of the first
# arguments of each call.
SENDMAIL: dict[str, list[tuple[Any, ...]]] = {
    "ehlo": [()],
    "mail": [("a@client.test",)],
    "rcpt": [("b@mx.test",), ("c@mx.test",)],
    "data": [(MESSAGE,)],
    "putcmd": [
        ("ehlo", "client.test"),
        ("mail", "from:<a@client.test>"),
        ("rcpt", "to:<b@mx.test>"),
        ("rcpt", "to:<c@mx.test>"),
        ("data",),
    ],
    "getreply": [()] * 6,
    "send": [
        ("ehlo client.test\r\n",),
        ("mail from:<a@client.test>\r\n",),
        ("rcpt to:<b@mx.test>\r\n",),
        ("rcpt to:<c@mx.test>\r\n",),
        ("data\r\n",),
        (MESSAGE + b".\r\n",),
    ],
}


def prefixes(calls: Calls, wanted: list[tuple[Any, ...]]) -> Calls:
    """The calls, each cut to the length of what is wanted of it."""
    return [call[: len(want)] for call, want in zip(calls, wanted, strict=True)]


def opened(backend: Backend, server: ScriptedServer, how: str, method: str) -> tuple[Client, Calls]:
    """A client with a method watched: overridden in a subclass, or patched on the instance."""
    if how == "patched":
        client = backend.connect(server)
        return client, backend.watch(client, method)
    kind, calls = backend.watching("SMTP", method)
    client = backend.connect(server, kind)
    if method == "getreply":
        calls.clear()  # the greeting
    return client, calls


HOW = pytest.mark.parametrize("how", ["overridden", "patched"])


@HOW
@pytest.mark.parametrize("method", SENDMAIL)
@pytest.mark.parametrize("extensions", [[], ["PIPELINING"]], ids=["plain", "pipelining offered"])
def test_sendmail(backend: Backend, how: str, method: str, extensions: list[str]) -> None:
    """`sendmail` goes through each method that is not the library's own, with PIPELINING on offer too."""
    script = [*opening(*extensions), *MAIL, *RCPT, *REFUSAL, *DATA, *BODY, *QUIT]
    with ScriptedServer(script) as server:
        client, calls = opened(backend, server, how, method)
        refused = client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE)
        assert refused == {"c@mx.test": (550, b"5.1.1 nobody")}
        assert prefixes(calls, SENDMAIL[method]) == SENDMAIL[method]
        client.quit()


@HOW
@pytest.mark.parametrize(("method", "expected"), [("rset", [()]), ("_rset", [()]), ("docmd", [("rset",)])])
def test_sendmail_resets(backend: Backend, how: str, method: str, expected: Calls) -> None:
    """After a refusal RSET goes through the methods for it."""
    with ScriptedServer([*opening(), *MAIL, *REFUSAL, *RSET, *QUIT]) as server:
        client, calls = opened(backend, server, how, method)
        with pytest.raises(backend.module.SMTPRecipientsRefused):
            client.sendmail("a@client.test", "c@mx.test", MESSAGE)
        assert prefixes(calls, expected) == expected
        client.quit()


@HOW
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "body"])
def test_sendmail_closes(backend: Backend, how: str, step: str) -> None:
    """A 421 goes to `close`, whichever step it answers."""
    steps = {"mail": MAIL, "rcpt": RCPT, "data": DATA, "body": BODY}
    script = [*opening()]
    for name, turns in steps.items():
        script += turns if name != step else [turns[0], Send(b"421 4.3.2 bye\r\n"), ExpectEOF()]
        if name == step:
            break
    with ScriptedServer(script) as server:
        client, calls = opened(backend, server, how, "close")
        with pytest.raises(backend.module.SMTPException):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert calls
        assert client.sock is None


@HOW
@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("ehlo", [()]),
        ("auth", [("PLAIN",)]),
        ("docmd", [("AUTH", "PLAIN AHVzZXIAcGFzc3dvcmQ=")]),
        ("putcmd", [("ehlo",), ("AUTH",)]),
        ("getreply", [(), ()]),
        ("send", [("ehlo client.test\r\n",), ("AUTH PLAIN AHVzZXIAcGFzc3dvcmQ=\r\n",)]),
        ("auth_plain", [()]),
        ("ehlo_or_helo_if_needed", [()]),
    ],
)
def test_login(backend: Backend, how: str, method: str, expected: Calls) -> None:
    """`login` goes through them too."""
    with ScriptedServer([*opening("AUTH PLAIN"), *turn(b"auth plain ", b"235 welcome"), *QUIT]) as server:
        client, calls = opened(backend, server, how, method)
        assert client.login("user", "password") == (235, b"welcome")
        assert prefixes(calls, expected) == expected
        client.quit()


@HOW
@pytest.mark.parametrize("method", ["sendmail", "ehlo_or_helo_if_needed"])
def test_send_message(backend: Backend, how: str, method: str) -> None:
    """`send_message` goes through `sendmail`, which gets the addresses and the octets."""
    message = EmailMessage()
    message["From"], message["To"] = "a@client.test", "b@mx.test"
    with ScriptedServer([*opening(), *DELIVERY, *QUIT]) as server:
        client, calls = opened(backend, server, how, method)
        assert client.send_message(message) == {}
        if method == "sendmail":
            [(sender, recipients, octets, *_)] = calls
            assert (sender, recipients) == ("a@client.test", ["b@mx.test"])
            assert octets.startswith(b"From: a@client.test\r\n")
        assert calls
        client.quit()


@HOW
@pytest.mark.parametrize("method", ["ehlo", "helo"])
@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.sendmail("a@client.test", "b@mx.test", MESSAGE),
        lambda client: client.starttls(context=client_context()),
        lambda client: client.login("user", "password"),
    ],
    ids=["sendmail", "starttls", "login"],
)
def test_helo_and_ehlo(backend: Backend, how: str, method: str, use: Callable[[Client], object]) -> None:
    """Whoever says EHLO first goes through `ehlo`, and through `helo` where that is refused."""
    refusing = [*GREETING, *turn(b"ehlo", b"502 no"), *turn(b"helo", b"504 neither"), *QUIT]
    with ScriptedServer(refusing) as server:
        client, calls = opened(backend, server, how, method)
        with pytest.raises(backend.module.SMTPHeloError):
            use(client)
        assert calls == [()]
        client.quit()


def test_login_with_challenges(backend: Backend) -> None:
    """Each response of an exchange is a `docmd` of its own."""
    script = [*turn(b"auth login dXNlcg==\r\n", b"334 UGFzc3dvcmQ6"), *turn(b"cGFzc3dvcmQ=\r\n", b"235 welcome")]
    with ScriptedServer([*opening("AUTH LOGIN"), *script, *QUIT]) as server, backend.connect(server) as client:
        calls = backend.watch(client, "docmd")
        client.login("user", "password")
        assert calls == [("AUTH", "LOGIN dXNlcg=="), ("cGFzc3dvcmQ=", "")]


# Each public method with what it goes through, as in `smtplib`.
THROUGH: list[tuple[str, tuple[Any, ...], str, bytes]] = [
    ("noop", (), "docmd", b"noop"),
    ("rset", (), "docmd", b"rset"),
    ("quit", (), "docmd", b"quit"),
    ("quit", (), "close", b"quit"),
    *[
        (method, args, through, method.encode()[:4])
        for method, args in [
            ("noop", ()),
            ("rset", ()),
            ("quit", ()),
            ("help", ()),
            ("ehlo", ()),
            ("helo", ()),
            ("mail", ("a@b.test",)),
            ("rcpt", ("a@b.test",)),
            ("expn", ("list",)),
            ("docmd", ("noop",)),
        ]
        for through in ("putcmd", "getreply", "send")
    ],
]


@pytest.mark.parametrize(
    ("method", "args", "through", "verb"), THROUGH, ids=[f"{case[0]} through {case[2]}" for case in THROUGH]
)
def test_each_method(backend: Backend, method: str, args: tuple[Any, ...], through: str, verb: bytes) -> None:
    """Every method goes through the ones below it."""
    verb = b"noop" if method == "docmd" else verb
    rest = [ExpectEOF()] if method == "quit" else QUIT
    with ScriptedServer([*GREETING, *turn(verb, b"250 ok"), *rest]) as server:
        client = backend.connect(server)
        calls = backend.watch(client, through)
        getattr(client, method)(*args)
        assert calls
        client.close() if method == "quit" else client.quit()


def test_replaced_answers_are_used(backend: Backend) -> None:
    """What a method put in the place of `rcpt` answers is what counts, also if it never asks the server."""
    with ScriptedServer([*opening("PIPELINING"), *MAIL, *RSET, *QUIT]) as server, backend.connect(server) as client:
        backend.replace(client, "rcpt", lambda recipient, options=(): (550, b"not " + recipient.encode()))
        with pytest.raises(backend.module.SMTPRecipientsRefused) as raised:
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert raised.value.recipients == {"b@mx.test": (550, b"not b@mx.test")}


def test_own_parameters_of_rcpt(backend: Backend) -> None:
    """Why people override: an option for one recipient and not for another."""

    def rcpt(self: Any, recip: str, options: Any = ()) -> Any:
        return parent.rcpt(self, recip, [*options, f"ORCPT=rfc822;{recip}"])

    parent = backend.module.SMTP
    script = [*opening("PIPELINING", "DSN"), *MAIL, *RCPT, *RCPT, *DATA, *BODY, *QUIT]
    with (
        ScriptedServer(script) as server,
        backend.connect(server, type("Recipients", (parent,), {"rcpt": rcpt})) as client,
    ):
        client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE, rcpt_options=["NOTIFY=NEVER"])
    assert server.received[2:4] == [
        b"rcpt to:<b@mx.test> NOTIFY=NEVER ORCPT=rfc822;b@mx.test\r\n",
        b"rcpt to:<c@mx.test> NOTIFY=NEVER ORCPT=rfc822;c@mx.test\r\n",
    ]


def test_patched_and_put_back(backend: Backend) -> None:
    """A patch that is taken off again leaves the library's own way, pipelining included."""
    flight: list[Step] = [ExpectLines(3), Send(b"250 ok\r\n250 ok\r\n354 go\r\n"), *BODY]
    with (
        ScriptedServer([*opening("PIPELINING"), *DELIVERY, *flight, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        calls = backend.watch(client, "mail")
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        del client.mail
        client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert len(calls) == 1


REFUSALS = {
    "SMTPSenderRefused": [*turn(b"mail", b"550 5.7.1 no"), *RSET],
    "SMTPRecipientsRefused": [*MAIL, *REFUSAL, *RSET],
    "SMTPDataError": [*MAIL, *RCPT, *turn(b"data", b"451 4.3.0 no"), *RSET],
    "SMTPDataError of the message": [*MAIL, *RCPT, *DATA, ExpectBody(), Send(b"554 5.7.1 no\r\n"), *RSET],
}


@pytest.mark.parametrize("refused", REFUSALS)
def test_the_long_way_raises_the_same(backend: Backend, refused: str) -> None:
    """Step by step the refusals are raised with the same class, arguments and attributes as in one go."""
    raised = []
    for method in (None, "mail"):
        with (
            ScriptedServer([*opening(), *REFUSALS[refused], *NOOP, *QUIT]) as server,
            backend.connect(server) as client,
        ):
            if method is not None:
                backend.watch(client, method)
            with pytest.raises(getattr(backend.module, refused.split(maxsplit=1)[0])) as caught:
                client.sendmail("a@client.test", "b@mx.test", MESSAGE)
            assert client.noop()[0] == 250
        raised.append((caught.value.args, str(caught.value.reply), caught.value.enhanced, caught.value.temporary))
    assert raised[0] == raised[1]


@pytest.mark.parametrize(
    "reset",
    [[Expect(b"rset"), Send(b"x" * 9000 + b"\r\n")], [Expect(b"rset")], [Expect(b"rset"), Send(b"what?\r\n")]],
    ids=["endless line", "closes", "no reply"],
)
def test_a_failing_reset_hides_nothing(backend: Backend, reset: list[Step]) -> None:
    """What becomes of RSET never takes the place of the refusal before it."""
    with ScriptedServer([*opening(), *MAIL, *REFUSAL, *reset]) as server:
        client = backend.connect(server)
        backend.watch(client, "rcpt")
        with pytest.raises(backend.module.SMTPRecipientsRefused):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize("method", ["putcmd", "send", "mail"])
def test_local_mistakes_on_the_long_way(backend: Backend, method: str) -> None:
    """A bad address on the long way is refused before it is sent, and the session can be used on."""
    with ScriptedServer([*opening(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        backend.watch(client, method)
        with pytest.raises(ValueError, match="prohibited"):
            client.sendmail("a@client.test\r\nrset", "b@mx.test", MESSAGE)
        assert client.noop()[0] == 250
    assert server.received[1] == b"noop\r\n"


def test_an_override_that_calls_another_method(backend: Backend) -> None:
    """An override may talk to the server itself: the lock is re-entrant for its owner."""

    def data(self: Any, msg: Any) -> Any:
        assert self.noop()[0] == 250
        return parent.data(self, msg)

    async def data_awaited(self: Any, msg: Any) -> Any:
        assert (await self.noop())[0] == 250
        return await parent.data(self, msg)

    parent = backend.module.SMTP
    own = type("Own", (parent,), {"data": data_awaited if backend.coroutines else data})
    script = [*opening(), *MAIL, *RCPT, Expect(b"noop"), OK, *DATA, *BODY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, own) as client:
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
