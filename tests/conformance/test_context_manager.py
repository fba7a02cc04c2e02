"""The end of a ``with`` block: QUIT where that makes sense, and which exception goes out."""

from __future__ import annotations

import pytest

from smtp_proto.states import Stage
from tests.scripted import Close, Expect, ExpectEOF, ExpectHangUp, Reset, ScriptedServer, Send, Step
from tests.scripts import DELIVERY, GREETING, HASTE, MAIL, MESSAGE, PATIENCE, QUIT, RCPT, RSET, opening, turn

from .backends import Backend, Client

REFUSED_QUIT: list[Step] = [*turn(b"quit", b"554 5.7.1 stay"), ExpectEOF()]
#: What a server may do instead of saying goodbye.
RUDE: dict[str, list[Step]] = {
    "refuses": REFUSED_QUIT,
    "closes": [Expect(b"quit"), Close()],
    "resets": [Expect(b"quit"), Reset()],
    "421": [*turn(b"quit", b"421 4.3.2 busy"), ExpectEOF()],
    "cuts its reply": [Expect(b"quit"), Send(b"221-bye\r\n"), Close()],
    "silent": [Expect(b"quit"), ExpectHangUp()],
}


def timeouts(rude: str) -> dict[Stage, float]:
    """Nothing is waited for briefly but a goodbye that is not to come."""
    return {**dict.fromkeys(Stage, PATIENCE), Stage.QUIT: HASTE if rude == "silent" else PATIENCE}


def deliver(client: Client) -> None:
    assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}


def test_quit_at_the_end(backend: Backend) -> None:
    """QUIT, the 221 is read, and the connection is closed."""
    with ScriptedServer([*opening(), *QUIT]) as server:
        with backend.connect(server) as client:
            client.ehlo()
        assert client.sock is None
    assert server.received[-1] == b"QUIT\r\n"  # in capitals here and small ones from `quit`, as in `smtplib`


def test_the_client_itself(backend: Backend) -> None:
    """``with`` gives the client, connected or not; one that is not connected says nothing at the end."""
    client = backend.open("SMTP")
    with client as given:
        assert given.sock is None
    with ScriptedServer([*GREETING, *QUIT]) as server, backend.open("SMTP", timeout=10) as client:
        client.connect(server.host, server.port)


@pytest.mark.parametrize("how", ["quit", "close"])
def test_already_closed(backend: Backend, how: str) -> None:
    """A block that has said goodbye itself ends in silence."""
    with (
        ScriptedServer([*GREETING, *(QUIT if how == "quit" else [ExpectEOF()])]) as server,
        backend.connect(server) as client,
    ):
        getattr(client, how)()


@pytest.mark.parametrize("rude", RUDE)
def test_after_a_delivery(backend: Backend, rude: str) -> None:
    """What becomes of QUIT never overturns a delivery."""
    with ScriptedServer([*opening(), *DELIVERY, *RUDE[rude]]) as server:
        with backend.connect(server, timeout=timeouts(rude)) as client:
            deliver(client)
        assert client.sock is None


@pytest.mark.parametrize("rude", RUDE)
def test_after_an_exception(backend: Backend, rude: str) -> None:
    """What becomes of QUIT never hides the exception of the block."""
    script = [*opening(), *turn(b"mail", b"550 5.7.1 no"), *RSET, *RUDE[rude]]
    with (
        ScriptedServer(script) as server,
        pytest.raises(backend.module.SMTPSenderRefused),
        backend.connect(server, timeout=timeouts(rude)) as client,
    ):
        deliver(client)


@pytest.mark.parametrize("rude", RUDE)
def test_block_that_did_nothing(backend: Backend, rude: str) -> None:
    """A refused QUIT is raised where the block has neither raised nor delivered; a lost connection is not."""
    with ScriptedServer([*opening(), *RUDE[rude]]) as server:
        client = backend.connect(server, timeout=timeouts(rude))
        client.ehlo()
        if rude in ("refuses", "421"):
            with pytest.raises(backend.module.SMTPResponseException) as raised, client:
                pass
            assert raised.value.smtp_code in (554, 421)
        else:
            with client:
                pass
        assert client.sock is None


def fail_inside(client: Client, error: type[BaseException]) -> None:
    with client:
        client.ehlo()
        raise error


def test_other_exceptions_of_the_block(backend: Backend) -> None:
    """QUIT is said after any exception that leaves the session in step, and the exception goes out."""
    with ScriptedServer([*opening(), *QUIT]) as server, pytest.raises(ZeroDivisionError):
        fail_inside(backend.connect(server), ZeroDivisionError)


def test_keyboard_interrupt(backend: Backend) -> None:
    """Nobody who has pressed Control-C waits for a goodbye: closed, nothing sent."""
    with ScriptedServer([*opening(), ExpectEOF()]) as server, pytest.raises(KeyboardInterrupt):
        fail_inside(backend.connect(server), KeyboardInterrupt)


def test_in_the_middle_of_a_transaction(backend: Backend) -> None:
    """A transaction that the block left open is no reason to be rude: QUIT ends it."""
    with ScriptedServer([*opening(), *MAIL, *RCPT, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        client.mail("a@client.test")
        client.rcpt("b@mx.test")


@pytest.mark.parametrize("left_open", ["message", "log-in", "reply"])
def test_where_no_command_can_stand(backend: Backend, left_open: str) -> None:
    """In the middle of a message, of a log-in, or with a reply due, a QUIT would be taken for something else."""
    scripts: dict[str, list[Step]] = {
        "message": [*MAIL, *RCPT, *turn(b"data", b"354 go ahead")],
        "log-in": turn(b"auth login", b"334 VXNlcm5hbWU6"),
        "reply": [Expect(b"noop")],
    }
    with (
        ScriptedServer([*opening("AUTH LOGIN"), *scripts[left_open], ExpectEOF()]) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        if left_open == "message":
            client.mail("a@client.test")
            client.rcpt("b@mx.test")
            client.docmd("data")
        elif left_open == "log-in":
            client.docmd("AUTH LOGIN")
        else:
            client.putcmd("noop")


def test_delivery_counts_for_one_connection(backend: Backend) -> None:
    """A delivery on an earlier connection does not excuse the QUIT of a later one."""

    def deliver_and_connect_again() -> None:
        with backend.connect(server) as client:
            deliver(client)
            client.quit()
            client.connect(server.host, server.port)

    with (
        ScriptedServer([*opening(), *DELIVERY, *QUIT], [*GREETING, *REFUSED_QUIT]) as server,
        pytest.raises(backend.module.SMTPResponseException),
    ):
        deliver_and_connect_again()


def test_handwritten_delivery(backend: Backend) -> None:
    """`data` delivers as `sendmail` does."""
    with ScriptedServer([*opening(), *DELIVERY, *REFUSED_QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        client.mail("a@client.test")
        client.rcpt("b@mx.test")
        assert client.data(MESSAGE)[0] == 250


def test_reusable(backend: Backend) -> None:
    """A client can be used in one ``with`` block after the other."""
    with ScriptedServer([*GREETING, *QUIT], [*GREETING, *QUIT]) as server:
        client = backend.connect(server)
        with client:
            pass
        with client:
            client.connect(server.host, server.port)
