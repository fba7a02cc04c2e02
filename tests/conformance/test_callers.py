"""Callers as they are: callbacks that call back, wrong types, odd orders, copies; nothing of it may cost more than a
clear error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any

import pytest

import smtp_blocking
from smtp_blocking import SMTPException, SMTPRecipientsRefused, SMTPServerDisconnected
from smtp_proto.transcript import Said
from tests.auditing import smtplib_events
from tests.conformance.backends import Backend, Client
from tests.scripted import Expect, ExpectEOF, ScriptedServer, Send, Signal, Step, WaitFor
from tests.scripts import DELIVERY, MESSAGE, PATIENCE, opening, turn

OK = Send(b"250 ok\r\n")
GREETING = Send(b"220 mx.test\r\n")
EHLO = (GREETING, Expect(b"ehlo"), OK)
QUIT = (Expect(b"quit"), Send(b"221 bye\r\n"))


# -- callbacks --------------------------------------------------------------------------------------------------------


def test_an_authobject_that_calls_back_gets_an_error_and_sends_no_secret(backend: Backend) -> None:
    """A callback cannot use the client that calls it: the next response would go out as a command, in the clear."""
    script = (*EHLO, Expect(b"AUTH LOGIN\r\n"), Send(b"334 VXNlcjo=\r\n"), Expect(b"*\r\n"), Send(b"501 no\r\n"))
    with ScriptedServer([*script, Expect(b"noop"), OK, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()

        def calls_back(challenge: bytes | None = None) -> str:
            client.noop()
            return "secret"

        with pytest.raises(SMTPException, match="callback"):
            client.auth("LOGIN", calls_back, initial_response_ok=False)
        assert client.noop()[0] == 250
    assert b"c2VjcmV0" not in server.received_bytes


def test_an_observer_that_calls_back_gets_an_error(backend: Backend) -> None:
    """What listens to the conversation cannot take part in it."""
    errors: list[Exception] = []
    clients: list[Any] = []

    def observer(said: Said) -> None:
        if said.text.startswith("noop"):
            try:
                clients[0].rset()
            except SMTPException as error:
                errors.append(error)

    script: list[Step] = [*EHLO, Expect(b"noop"), OK, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, transcript=observer) as client:
        clients.append(client)
        client.ehlo()
        assert client.noop() == (250, b"ok")
    assert len(errors) == 1


@pytest.mark.parametrize("text", ["connected to", "connection closed"])
def test_an_observer_that_raises_leaves_no_connection_behind(backend: Backend, text: str) -> None:
    """Whatever an observer raises, the socket is closed, and the client says that there is no connection."""

    def observer(said: Said) -> None:
        if said.text.startswith(text):
            raise ZeroDivisionError

    client = backend.open("SMTP", local_hostname="client.test", timeout=10, transcript=observer)
    with ScriptedServer([GREETING], strict=False) as server:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  # one of the two
            client.connect(server.host, server.port)
            client.close()
        assert client.sock is None
        with pytest.raises(SMTPServerDisconnected):
            client.noop()


# -- types ------------------------------------------------------------------------------------------------------------


def message_with_bcc() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["Bcc"] = "a@client.test", "hidden@mx.test"
    message.set_content("x")
    return message


@pytest.mark.parametrize("wrong", [5, [72, 105], None, message_with_bcc()], ids=["number", "list", "None", "message"])
def test_what_is_no_message_is_a_type_error(backend: Backend, wrong: Any) -> None:
    """Nothing is sent for a message that is none: not so many NULs, and not an EmailMessage with its Bcc header."""
    with ScriptedServer([*EHLO, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        with pytest.raises(TypeError):
            client.sendmail("a@client.test", "b@mx.test", wrong)
        with pytest.raises(TypeError):
            client.send(wrong)


@pytest.mark.parametrize("message", [bytearray(b"x\r\n"), memoryview(b"x\r\n")])
def test_octets_in_other_clothes(backend: Backend, message: Any) -> None:
    """Whatever holds octets is a message."""
    with smtp_blocking.Server() as server, backend.connect(server) as client:
        client.sendmail("a@client.test", "b@mx.test", message)
        assert server.messages[0].content == b"x\r\n"


def options() -> Iterator[str]:
    yield "NOTIFY=NEVER"


@pytest.mark.parametrize(("given", "sent"), [(lambda: None, b""), (tuple, b""), (options, b" NOTIFY=NEVER")])
def test_recipient_options_of_any_kind(backend: Backend, given: Any, sent: bytes) -> None:
    """Options that can be read only once reach every recipient."""
    script: list[Step] = [*EHLO, Expect(b"mail"), OK]
    for recipient in (b"b", b"c"):
        script += [Expect(b"rcpt to:<" + recipient + b"@mx.test>" + sent + b"\r\n"), OK]
    script += [Expect(b"data"), Send(b"354 go\r\n"), Expect(b"x\r\n"), Expect(b".\r\n"), OK, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], "x\n", (), given())


def test_the_size_declared_is_that_of_what_is_sent(backend: Backend) -> None:
    """SIZE counts line ends as they go out (RFC 1870 5)."""
    script: list[Step] = [GREETING, Expect(b"ehlo"), Send(b"250-mx\r\n250 SIZE 1000\r\n")]
    script += [Expect(b"mail from:<a@client.test> size=12\r\n"), Send(b"550 no\r\n"), Expect(b"rset"), OK, *QUIT]
    with (
        ScriptedServer(script) as server,
        backend.connect(server) as client,
        pytest.raises(smtp_blocking.SMTPSenderRefused),
    ):
        client.sendmail("a@client.test", "b@mx.test", b"a\nb\rc\r\n.\n")


def test_a_421_in_the_middle_is_on_the_exception(backend: Backend) -> None:
    """The refusal that ended it is the exception's reply, wherever in the list its recipient stands."""
    script: list[Step] = [*EHLO, Expect(b"mail"), OK, Expect(b"rcpt"), OK, Expect(b"rcpt"), Send(b"421 4.3.2 bye\r\n")]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(SMTPRecipientsRefused) as refused:
            client.sendmail("a@client.test", ["b@mx.test", "c@mx.test", "d@mx.test"], "x\n")
        assert refused.value.temporary
        assert str(refused.value.enhanced) == "4.3.2"


# -- odd orders and copies --------------------------------------------------------------------------------------------


def test_a_subclass_that_is_not_ready_yet(backend: Backend) -> None:
    """Methods work before `__init__`, and in a class that never calls it."""
    parent = getattr(backend.module, "SMTP")  # noqa: B009  # not known to the type checker here

    class Early(parent):  # type: ignore[misc, valid-type]  # any backend's
        def __init__(self) -> None:
            self.set_debuglevel(0)
            if not backend.coroutines:  # which nobody could await here
                self.close()
            super().__init__()

    class Never(parent):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            pass

    assert backend.open(Early).sock is None
    never = backend.open(Never)
    never.close()
    with pytest.raises(SMTPServerDisconnected):
        never.noop()


def test_a_client_that_is_not_connected_can_be_copied(backend: Backend) -> None:
    """As with `smtplib`: a copy is a client of its own."""
    client = backend.open("SMTP", timeout=7)
    for other in backend.copies(client):
        assert other.timeout == 7
        with pytest.raises(SMTPServerDisconnected):
            other.noop()


def test_a_server_hostname_that_cannot_be_verified_is_said_before_starttls(backend: Backend) -> None:
    """Nothing is sent for a name that no handshake could use, and the session goes on."""
    for name in ("x\0y", "x" * 300 + ".test", ".bad."):
        script: list[Step] = [GREETING, Expect(b"ehlo"), Send(b"250-mx\r\n250 STARTTLS\r\n"), *QUIT]
        with ScriptedServer(script) as server, backend.connect(server, server_hostname=name) as client:
            client.ehlo()
            with pytest.raises(ValueError, match="server_hostname"):
                client.starttls()


def test_every_octet_is_audited(backend: Backend) -> None:
    """`smtplib.connect` and `smtplib.send` are raised as the standard library raises them."""
    with (
        smtplib_events() as heard,
        ScriptedServer([*EHLO, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        address = (server.host, server.port)
    assert heard == [
        ("smtplib.connect", address),
        ("smtplib.send", (b"ehlo client.test\r\n",)),
        ("smtplib.send", (b"QUIT\r\n",)),
    ]


CALLS: dict[str, Callable[[Client], object]] = {
    "noop": lambda client: client.noop(),
    "sendmail": lambda client: client.sendmail("a@client.test", "b@mx.test", MESSAGE),
}


def audited(heard: list[tuple[str, tuple[Any, ...]]]) -> bytes:
    return b"".join(arguments[0] for event, arguments in heard if event == "smtplib.send")


@pytest.mark.parametrize("call", CALLS)
def test_what_goes_out_is_audited_once(backend: Backend, call: str) -> None:
    """A command's octets, and a whole message's, are told once, and no others."""
    steps = turn(b"noop", b"250 ok") if call == "noop" else DELIVERY
    script = [*opening(), *steps, *QUIT]
    with smtplib_events() as heard, ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        CALLS[call](client)
    assert audited(heard) == server.received_bytes


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("pipelining", [False, True])
def test_what_is_kept_back_is_not_audited(backend: Backend, call: str, pipelining: bool) -> None:
    """Where a 421 that nobody asked for is there before a command, that does not go out, and nobody is told it."""
    go, sent = threading.Event(), threading.Event()
    start = opening("PIPELINING") if pipelining else opening()
    script = [*start, WaitFor(go), Send(b"421 bye\r\n"), Signal(sent), ExpectEOF()]
    with smtplib_events() as heard, ScriptedServer(script) as server:
        client = backend.connect(server)
        client.ehlo()
        go.set()
        assert sent.wait(PATIENCE)
        backend.settle()
        with pytest.raises(SMTPServerDisconnected):
            CALLS[call](client)
    assert audited(heard) == server.received_bytes == b"ehlo client.test\r\n"
