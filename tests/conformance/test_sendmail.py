"""`sendmail`: what goes out, what it returns, and what it raises, with and without PIPELINING."""

from __future__ import annotations

from typing import Any

import pytest

import smtp_blocking
from tests.scripted import Expect, ExpectBody, ExpectEOF, ExpectExactly, ExpectLines, ScriptedServer, Send, Step
from tests.scripts import (
    BODY,
    DATA,
    DELIVERY,
    GREETING,
    MAIL,
    MESSAGE,
    NOOP,
    OK,
    QUIT,
    RCPT,
    RSET,
    delivery,
    opening,
    turn,
)

from .backends import Backend

# How the server takes the envelope: the same conversation, once as a flight and once step by step.
EXTENSIONS = pytest.mark.parametrize("extensions", [[], ["PIPELINING"]], ids=["step by step", "pipelined"])
REFUSED = b"550 5.1.1 no such user"


@EXTENSIONS
def test_delivery(backend: Backend, extensions: list[str]) -> None:
    """All accepted: EHLO is said if need be, and the result is an empty dictionary."""
    with ScriptedServer([*opening(*extensions), *DELIVERY, *QUIT]) as server, backend.connect(server) as client:
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
    assert server.received[1:5] == [
        b"mail from:<a@client.test>\r\n",
        b"rcpt to:<b@mx.test>\r\n",
        b"data\r\n",
        MESSAGE + b".\r\n",
    ]


def test_envelope_in_one_flight(backend: Backend) -> None:
    """With PIPELINING the envelope is sent before any of its replies is there."""
    replies = b"250 ok\r\n" * 4 + b"354 go ahead\r\n"
    script = [*opening("PIPELINING"), ExpectLines(5), Send(replies), *BODY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test", "d@mx.test"], MESSAGE) == {}
    assert server.received[1].startswith(b"mail from:")
    assert server.received[5] == b"data\r\n"


def test_pipelining_turned_off(backend: Backend) -> None:
    """`pipelining=False` sends one command at a time whatever the server offers."""
    alone: list[Step] = []
    for step in (*MAIL, *RCPT, *DATA):
        alone.append(NothingMore() if isinstance(step, Send) else step)
        alone += [step] if isinstance(step, Send) else []
    with (
        ScriptedServer([*opening("PIPELINING"), *alone, *BODY, *QUIT]) as server,
        backend.connect(server, pipelining=False) as client,
    ):
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


class NothingMore:
    """A step: what came so far is one line and no more."""

    def play(self, conversation: Any) -> None:
        assert not conversation.unread


@pytest.mark.parametrize(
    ("recipients", "paths"),
    [
        ("b@mx.test", [b"b@mx.test"]),
        (["b@mx.test"], [b"b@mx.test"]),
        (("b@mx.test", "c@mx.test"), [b"b@mx.test", b"c@mx.test"]),
        (["B <b@mx.test>", "<c@mx.test>"], [b"b@mx.test", b"c@mx.test"]),
        (["b@mx.test", "b@mx.test"], [b"b@mx.test", b"b@mx.test"]),
        (['"b b"@mx.test'], [b'"b b"@mx.test']),
        ([f"b{n}@mx.test" for n in range(200)], [b"b%d@mx.test" % n for n in range(200)]),
    ],
    ids=["string", "list", "tuple", "display names", "twice", "quoted", "two hundred"],
)
@EXTENSIONS
def test_recipients(backend: Backend, extensions: list[str], recipients: Any, paths: list[bytes]) -> None:
    """Recipients are one string or a sequence of them, and each gets its RCPT, in order."""
    script = [*opening(*extensions), *delivery(len(paths)), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        assert client.sendmail("a@client.test", recipients, MESSAGE) == {}
    assert server.received[2 : 2 + len(paths)] == [b"rcpt to:<%b>\r\n" % path for path in paths]


@pytest.mark.parametrize("sender", ["", "<>"])
def test_null_sender(backend: Backend, sender: str) -> None:
    """The null reverse-path of a bounce."""
    with ScriptedServer([*opening(), *DELIVERY, *QUIT]) as server, backend.connect(server) as client:
        client.sendmail(sender, "b@mx.test", MESSAGE)
    assert server.received[1] == b"mail from:<>\r\n"


def test_options(backend: Backend) -> None:
    """SIZE is given where it is offered, then the caller's options; those of RCPT go with every recipient."""
    script = [*opening("SIZE", "DSN"), *delivery(2), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.sendmail("a@b.test", ["c@d.test", "e@f.test"], MESSAGE, ["BODY=8BITMIME", "RET=HDRS"], ["NOTIFY=NEVER"])
    assert server.received[1:4] == [
        f"mail from:<a@b.test> size={len(MESSAGE)} BODY=8BITMIME RET=HDRS\r\n".encode(),
        b"rcpt to:<c@d.test> NOTIFY=NEVER\r\n",
        b"rcpt to:<e@f.test> NOTIFY=NEVER\r\n",
    ]


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("a\nb", b"a\r\nb\r\n.\r\n"),
        ("a\r\n.b\r", b"a\r\n..b\r\n.\r\n"),
        (b"a\n.\r.\r\n", b"a\r\n..\r\n..\r\n.\r\n"),
        (b"\xff", b"\xff\r\n.\r\n"),
        (b"", b"\r\n.\r\n"),
        (bytearray(b"x"), b"x\r\n.\r\n"),
        (b"x" * 200_000, b"x" * 200_000 + b"\r\n.\r\n"),
        (b"\r\n." * 70_000, b"\r\n.." * 70_000 + b"\r\n.\r\n"),
    ],
    ids=["text", "text with dots", "octets", "8-bit", "empty", "bytearray", "long line", "many dots"],
)
@EXTENSIONS
def test_message(backend: Backend, extensions: list[str], message: Any, sent: bytes) -> None:
    """A message is octets or ASCII text with any line ends; on the wire lines end in CRLF and dots are stuffed."""
    with ScriptedServer([*opening(*extensions), *DELIVERY, *QUIT]) as server, backend.connect(server) as client:
        assert client.sendmail("a@client.test", "b@mx.test", message) == {}
    assert server.received[4] == sent


@EXTENSIONS
def test_some_refused(backend: Backend, extensions: list[str]) -> None:
    """The recipients that were refused are returned, with code and text; the others get the message."""
    recipients = [*RCPT, *turn(b"rcpt", REFUSED), *RCPT, *turn(b"rcpt", b"452 4.2.2 full")]
    script = [*opening(*extensions), *MAIL, *recipients, *DATA, *BODY, *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        refused = client.sendmail("a@client.test", ["b@mx.test", "c@mx.test", "d@mx.test", "e@mx.test"], MESSAGE)
        assert refused == {"c@mx.test": (550, b"5.1.1 no such user"), "e@mx.test": (452, b"4.2.2 full")}
        answer = refused["c@mx.test"]
        assert isinstance(answer, backend.module.SMTPReply)
        assert str(answer.enhanced) == "5.1.1"
        assert client.noop()[0] == 250


@EXTENSIONS
@pytest.mark.parametrize("code", [250, 251, 252])
def test_accepted_in_other_words(backend: Backend, extensions: list[str], code: int) -> None:
    """RCPT is accepted by 251 too, and 252: by its severity."""
    script = [*opening(*extensions), *MAIL, *turn(b"rcpt", b"%d will do" % code), *DATA, *BODY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        assert client.sendmail("a@client.test", ["b@mx.test"], MESSAGE) == {}


@EXTENSIONS
def test_sender_refused(backend: Backend, extensions: list[str]) -> None:
    """SMTPSenderRefused with the address as given; the transaction is reset and the session goes on."""
    pipelined = [*turn(b"rcpt", b"503 5.5.1 no sender"), *turn(b"data", b"503 5.5.1 no sender")] if extensions else []
    script = [*opening(*extensions), *turn(b"mail", b"550 5.1.8 not you"), *pipelined, *RSET, *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPSenderRefused) as raised:
            client.sendmail("A <a@client.test>", "b@mx.test", MESSAGE)
        assert raised.value.args == (550, b"5.1.8 not you", "A <a@client.test>")
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


@EXTENSIONS
def test_all_recipients_refused(backend: Backend, extensions: list[str]) -> None:
    """SMTPRecipientsRefused with code and text for each; nothing of the message is sent, and the session goes on."""
    pipelined = turn(b"data", b"503 5.5.1 no recipients") if extensions else []
    recipients = [*turn(b"rcpt", REFUSED), *turn(b"rcpt", b"450 4.2.0 later")]
    script = [*opening(*extensions), *MAIL, *recipients, *pipelined, *RSET, *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPRecipientsRefused) as raised:
            client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE)
        assert raised.value.recipients == {
            "b@mx.test": (550, b"5.1.1 no such user"),
            "c@mx.test": (450, b"4.2.0 later"),
        }
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


@pytest.mark.parametrize("answer", [b"554 5.5.1 no valid recipients", b"250 ok"])
def test_354_without_a_recipient(backend: Backend, answer: bytes) -> None:
    """DATA answered 354 although no recipient was accepted: only the dot is sent (RFC 2920 3.1)."""
    rest = [Send(answer + b"\r\n"), *RSET, *QUIT]
    script = [*opening("PIPELINING"), *MAIL, *turn(b"rcpt", REFUSED), *DATA, ExpectExactly(b".\r\n"), *rest]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPRecipientsRefused) as raised:
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert raised.value.recipients == {"b@mx.test": (550, b"5.1.1 no such user")}


@EXTENSIONS
def test_no_recipients(backend: Backend, extensions: list[str]) -> None:
    """Without recipients: SMTPRecipientsRefused with none, as in `smtplib`, and nothing is delivered."""
    with ScriptedServer([*opening(*extensions), *MAIL, *RSET, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPRecipientsRefused) as raised:
            client.sendmail("a@client.test", [], MESSAGE)
        assert raised.value.recipients == {}


@EXTENSIONS
def test_data_refused(backend: Backend, extensions: list[str]) -> None:
    """SMTPDataError if DATA is refused; the transaction is reset and the session goes on."""
    refusal = turn(b"data", b"451 4.3.0 disk full")
    script = [*opening(*extensions), *MAIL, *RCPT, *refusal, *RSET, *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPDataError) as raised:
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert raised.value.args == (451, b"4.3.0 disk full")
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


@EXTENSIONS
def test_message_refused(backend: Backend, extensions: list[str]) -> None:
    """SMTPDataError if the message is refused; the transaction is reset and the session goes on."""
    refusal: list[Step] = [ExpectBody(), Send(b"554 5.7.1 spam\r\n")]
    script = [*opening(*extensions), *MAIL, *RCPT, *DATA, *refusal, *RSET, *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPDataError) as raised:
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert raised.value.args == (554, b"5.7.1 spam")
        assert str(raised.value.enhanced) == "5.7.1"
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


@EXTENSIONS
def test_reset_refused(backend: Backend, extensions: list[str]) -> None:
    """A RSET that fails does not hide the refusal before it; the connection, whose state nobody knows, is closed."""
    refusal = turn(b"data", b"451 4.3.0 disk full")
    script = [*opening(*extensions), *MAIL, *RCPT, *refusal, *turn(b"rset", b"550 no"), ExpectEOF()]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPDataError, match="disk full"):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert client.sock is None


STEPS = {"mail": MAIL, "rcpt": RCPT, "data": DATA, "body": BODY}
ERRORS = {
    "mail": "SMTPSenderRefused",
    "rcpt": "SMTPRecipientsRefused",
    "data": "SMTPDataError",
    "body": "SMTPDataError",
}


@EXTENSIONS
@pytest.mark.parametrize("step", STEPS)
def test_421(backend: Backend, extensions: list[str], step: str) -> None:
    """A 421 at any step is raised with the step's own exception and the server's text, and closes the connection."""
    script = [*opening(*extensions)]
    for name, steps in STEPS.items():
        script += steps if name != step else [steps[0], Send(b"421 4.3.2 shutting down\r\n")]
        if name == step:
            break
    with ScriptedServer([*script, ExpectEOF()] if not extensions else script) as server:
        client = backend.connect(server)
        with pytest.raises(getattr(backend.module, ERRORS[step])) as raised:
            client.sendmail("a@client.test", "b@mx.test", MESSAGE)
        assert client.sock is None
        assert raised.value.reply.code == 421
        assert raised.value.temporary
        assert b"shutting down" in str(raised.value.args).encode()


def test_smtputf8(backend: Backend) -> None:
    """Addresses that need SMTPUTF8 are sent with it, asked for or not; the next transaction is ASCII again."""
    script = [*opening("SMTPUTF8", "8BITMIME"), *DELIVERY * 3, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.sendmail("\xe4@b.test", "\xf6@d.test", MESSAGE, ["SMTPUTF8"])
        client.sendmail("\xe4@b.test", "\xf6@d.test", MESSAGE)
        client.sendmail("a@b.test", "o@d.test", MESSAGE)
    assert server.received[1] == server.received[5] == "mail from:<\xe4@b.test> SMTPUTF8\r\n".encode()
    assert server.received[2] == server.received[6] == "rcpt to:<\xf6@d.test>\r\n".encode()
    assert server.received[9] == b"mail from:<a@b.test>\r\n"


def test_without_smtputf8(backend: Backend) -> None:
    """UnicodeEncodeError, nothing sent, for an address that needs what the server does not offer."""
    with ScriptedServer([*opening("8BITMIME"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        for sender, recipient in [
            ("\xe4@b.test", "c@d.test"),
            ("a@b.test", "\xf6@d.test"),
            ("a@b.test", "c@\u2603.test"),
        ]:
            with pytest.raises(UnicodeEncodeError, match="SMTPUTF8"):
                client.sendmail(sender, recipient, MESSAGE)
        assert client.noop()[0] == 250


def test_smtputf8_not_offered(backend: Backend) -> None:
    """SMTPNotSupportedError, nothing sent, where the server does not offer SMTPUTF8."""
    with ScriptedServer([*opening(), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPNotSupportedError, match="SMTPUTF8"):
            client.sendmail("\xe4@b.test", "\xf6@d.test", MESSAGE, ["SMTPUTF8"])
        assert client.noop()[0] == 250


def test_helo_only(backend: Backend) -> None:
    """To a server of RFC 821 the message goes without any parameter."""
    script = [*GREETING, Expect(b"ehlo"), Send(b"500 what?\r\n"), Expect(b"helo"), OK, *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        assert client.sendmail("a@b.test", "c@d.test", MESSAGE, ["SIZE=1"], ["NOTIFY=NEVER"]) == {}
    assert server.received[2:4] == [b"mail from:<a@b.test>\r\n", b"rcpt to:<c@d.test>\r\n"]


def test_our_own_server(backend: Backend, server: smtp_blocking.Server) -> None:
    """Between our own two ends messages arrive as they were sent, one after the other."""
    messages = [b"Subject: %d\r\n\r\n.%b\r\n" % (number, b"x" * (1 << number)) for number in range(20)]
    with backend.connect(server) as client:
        for message in messages:
            assert client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], message) == {}
    assert [message.content for message in server.messages] == messages
    assert server.messages[0].mail.parameter("SIZE") == str(len(messages[0]))
