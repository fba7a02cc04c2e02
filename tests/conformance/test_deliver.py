"""`deliver`: the outcome of a transaction, refusals never raised, in one go and step by step alike."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

import pytest

from smtp_proto.outcome import Outcome, Phase
from tests.scripted import Close, Expect, ExpectBody, ExpectEOF, ExpectLines, ScriptedServer, Send, Step
from tests.scripts import DATA, GREETING, MAIL, MESSAGE, NOOP, QUIT, RCPT, RSET, hello, opening, turn

from .backends import Backend

REFUSAL = turn(b"rcpt", b"550 5.1.1 nobody")
QUEUED: list[Step] = [ExpectBody(), Send(b"250 2.0.0 Ok: queued as 9F3A21C0DE\r\n")]
RECIPIENTS = ["b@mx.test", "c@mx.test"]

HOW = pytest.mark.parametrize("how", ["in one go", "step by step"])


def prepare(backend: Backend, client: Any, how: str) -> Any:
    if how == "step by step":
        backend.watch(client, "rcpt")
    return client


@HOW
def test_everything_is_told(backend: Backend, how: str) -> None:
    """Each recipient's reply, the accepted ones' too; the last reply with its queue id; raw octets; the phase."""
    with (
        ScriptedServer([*opening(), *MAIL, *RCPT, *REFUSAL, *DATA, *QUEUED, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        outcome = prepare(backend, client, how).deliver(MESSAGE, "a@client.test", RECIPIENTS)
    assert isinstance(outcome, Outcome)
    assert outcome.delivered
    assert outcome.sender == "a@client.test"
    assert outcome.phase is Phase.DONE
    assert outcome.queue_id == "9F3A21C0DE"
    assert outcome.mail is not None
    assert outcome.mail.raw == b"250 2.1.0 sender ok\r\n"
    assert outcome.final is not None
    assert outcome.final.raw == b"250 2.0.0 Ok: queued as 9F3A21C0DE\r\n"
    one, other = outcome.recipients
    assert (one.address, one.accepted, one.delivered, str(one.enhanced)) == ("b@mx.test", True, True, "2.0.0")
    assert one.reply is not None
    assert one.reply.raw == b"250 2.1.5 recipient ok\r\n"
    assert (other.address, other.delivered, other.permanent, str(other.enhanced)) == ("c@mx.test", False, True, "5.1.1")
    assert outcome.refused == [other]


REFUSED: dict[str, tuple[list[Step], Phase]] = {
    "the sender": ([*turn(b"mail", b"451 4.1.8 later"), *RSET], Phase.MAIL),
    "the recipients": ([*MAIL, *turn(b"rcpt", b"451 4.7.1 later") * 2, *RSET], Phase.RCPT),
    "DATA": ([*MAIL, *RCPT * 2, *turn(b"data", b"451 4.3.0 later"), *RSET], Phase.DATA),
    "the message": ([*MAIL, *RCPT * 2, *DATA, ExpectBody(), Send(b"451 4.3.0 later\r\n"), *RSET], Phase.DONE),
}


@HOW
@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_is_no_exception(backend: Backend, how: str, what: str) -> None:
    """Whatever is refused, the outcome says so for each recipient, RSET follows, and the session goes on."""
    script, phase = REFUSED[what]
    with ScriptedServer([*opening(), *script, *NOOP, *QUIT]) as server, backend.connect(server) as client:
        outcome = prepare(backend, client, how).deliver(MESSAGE, "a@client.test", RECIPIENTS)
        assert client.noop()[0] == 250
    assert (outcome.delivered, outcome.phase, outcome.may_be_delivered) == (False, phase, False)
    assert [recipient.temporary for recipient in outcome.recipients] == [True, True]
    assert len(outcome.refused) == 2


@HOW
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "body"])
def test_a_421_is_no_exception_either(backend: Backend, how: str, step: str) -> None:
    """A 421 is in the outcome, and the connection is closed."""
    steps = {"mail": MAIL, "rcpt": RCPT, "data": DATA, "body": QUEUED}
    script = [*opening()]
    for name, turns in steps.items():
        script += turns if name != step else [turns[0], Send(b"421 4.3.2 bye\r\n"), ExpectEOF()]
        if name == step:
            break
    with ScriptedServer(script) as server:
        client = prepare(backend, backend.connect(server), how)
        outcome = client.deliver(MESSAGE, "a@client.test", "b@mx.test")
        assert client.sock is None
    assert not outcome.delivered
    assert [str(recipient.answer) for recipient in outcome.recipients] == ["421 4.3.2 bye"]


LOST: dict[str, tuple[list[Step], Phase, bool]] = {
    "at MAIL": ([Expect(b"mail"), Close()], Phase.MAIL, False),
    "at RCPT": ([*MAIL, *REFUSAL, Expect(b"rcpt"), Close()], Phase.RCPT, False),
    "at DATA": ([*MAIL, *REFUSAL, *RCPT, Expect(b"data"), Close()], Phase.RCPT, False),
    "at the end": ([*MAIL, *REFUSAL, *RCPT, *DATA, ExpectBody(), Close()], Phase.SENT, True),
}


@HOW
@pytest.mark.parametrize("where", LOST)
def test_a_lost_connection(backend: Backend, how: str, where: str) -> None:
    """SMTPServerDisconnected carries the outcome so far, and whether the message may have been delivered."""
    script, phase, may_be_delivered = LOST[where]
    with ScriptedServer([*opening(), *script]) as server:
        client = prepare(backend, backend.connect(server), how)
        with pytest.raises(backend.module.SMTPServerDisconnected) as raised:
            client.deliver(MESSAGE, "a@client.test", RECIPIENTS)
    outcome = raised.value.outcome
    assert (outcome.phase, outcome.may_be_delivered) == (phase, may_be_delivered)
    assert raised.value.may_be_delivered is may_be_delivered
    assert [recipient.address for recipient in outcome.recipients] == RECIPIENTS
    if where != "at MAIL":
        assert str(outcome.recipients[0].refusal) == "550 5.1.1 nobody"
        assert not outcome.recipients[1].delivered


@HOW
def test_lmtp(backend: Backend, how: str) -> None:
    """In LMTP each recipient that was accepted has a last reply of its own, with its own queue id."""
    answers = b"250 2.0.0 <b@mx.test> KHLZDEfLb2UFAAAA Saved\r\n452 4.2.2 quota\r\n"
    script = [*GREETING, *hello(verb=b"lhlo "), *MAIL, *RCPT, *REFUSAL, *RCPT, *DATA, ExpectBody(), Send(answers)]
    with ScriptedServer([*script, *QUIT]) as server, backend.connect(server, "LMTP") as client:
        outcome = prepare(backend, client, how).deliver(MESSAGE, "a@client.test", [*RECIPIENTS, "d@mx.test"])
    assert outcome.delivered
    assert outcome.phase is Phase.DONE
    assert [recipient.delivered for recipient in outcome.recipients] == [True, False, False]
    assert [recipient.temporary for recipient in outcome.recipients] == [False, False, True]
    assert [recipient.queue_id for recipient in outcome.recipients] == ["KHLZDEfLb2UFAAAA", None, None]
    assert [str(recipient.final) for recipient in outcome.recipients] == [
        "250 2.0.0 <b@mx.test> KHLZDEfLb2UFAAAA Saved",
        "None",
        "452 4.2.2 quota",
    ]


@HOW
def test_lmtp_lost_between_the_last_replies(backend: Backend, how: str) -> None:
    """Lost between two last replies, the first recipient has its answer, and of the second nothing is known."""
    script = [*GREETING, *hello(verb=b"lhlo "), *MAIL, *RCPT * 2, *DATA, ExpectBody(), Send(b"250 2.0.0 ok\r\n")]
    with ScriptedServer([*script, Close()]) as server:
        client = prepare(backend, backend.connect(server, "LMTP"), how)
        with pytest.raises(backend.module.SMTPServerDisconnected) as raised:
            client.deliver(MESSAGE, "a@client.test", RECIPIENTS)
    assert raised.value.may_be_delivered
    assert [recipient.delivered for recipient in raised.value.outcome.recipients] == [True, False]
    assert [recipient.answer is None for recipient in raised.value.outcome.recipients] == [False, True]


def test_in_one_flight(backend: Backend) -> None:
    """With PIPELINING the envelope goes in one flight, and each answer finds its recipient."""
    answers = b"250 ok\r\n550 5.1.1 nobody\r\n250 ok\r\n354 go\r\n"
    script = [*opening("PIPELINING"), ExpectLines(4), Send(answers), *QUEUED, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        outcome = client.deliver(MESSAGE, "a@client.test", RECIPIENTS)
    assert [recipient.delivered for recipient in outcome.recipients] == [False, True]


def email_message() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Anna <a@client.test>"
    message["To"] = "Bob <b@mx.test>"
    message["Bcc"] = "c@mx.test"
    message["Subject"] = "x"
    message.set_content("hello\n")
    return message


def test_an_email_message(backend: Backend) -> None:
    """An email message brings its addresses with it, as in `send_message`, and goes out without its Bcc."""
    script = [*opening(), *MAIL, *RCPT, *RCPT, *DATA, *QUEUED, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        outcome = client.deliver(email_message())
    assert outcome.sender == "a@client.test"
    assert [recipient.address for recipient in outcome.recipients] == RECIPIENTS
    assert b"c@mx.test" not in server.received[-2]


def test_an_email_message_with_other_addresses(backend: Backend) -> None:
    """What is given takes the place of what the headers say."""
    with (
        ScriptedServer([*opening(), *MAIL, *RCPT, *DATA, *QUEUED, *QUIT]) as server,
        backend.connect(server) as client,
    ):
        outcome = client.deliver(email_message(), "", ["Dora <d@mx.test>"], ["X=1"], ["Y=2"])
    assert outcome.sender == ""
    assert [recipient.address for recipient in outcome.recipients] == ["Dora <d@mx.test>"]
    assert server.received[1].startswith(b"mail from:<> ")
    assert server.received[1].endswith(b"X=1\r\n")
    assert server.received[2] == b"rcpt to:<d@mx.test> Y=2\r\n"


@pytest.mark.parametrize("missing", [(None, "b@mx.test"), ("a@client.test", None)])
def test_octets_have_no_addresses(backend: Backend, missing: tuple[Any, Any]) -> None:
    """A message of octets or text needs both addresses: TypeError, nothing sent, session usable."""
    with ScriptedServer([*GREETING, *NOOP, *QUIT]) as server, backend.connect(server) as client:
        with pytest.raises(TypeError, match="from_addr and to_addrs"):
            client.deliver(MESSAGE, *missing)
        assert client.noop()[0] == 250


def test_overridden_answers_are_what_counts(backend: Backend) -> None:
    """Where a method is replaced, the outcome is made of what it returned and raised."""

    def data(_message: Any) -> Any:
        raise backend.module.SMTPDataError(451, b"4.3.0 not by me")

    with ScriptedServer([*opening(), *MAIL, *RSET, *QUIT]) as server, backend.connect(server) as client:
        backend.replace(client, "rcpt", lambda *_: (250, b"2.1.5 as you like"))
        backend.replace(client, "data", data)
        outcome = client.deliver(MESSAGE, "a@client.test", "b@mx.test")
    assert str(outcome.recipients[0].reply) == "250 2.1.5 as you like"
    assert str(outcome.data) == "451 4.3.0 not by me"
    assert outcome.refused == outcome.recipients


def test_quit_never_overturns_a_delivery(backend: Backend) -> None:
    """A refused QUIT behind a message that was delivered raises nothing."""
    script = [*opening(), *MAIL, *RCPT, *DATA, *QUEUED, *turn(b"quit", b"500 what?"), ExpectEOF()]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        assert client.deliver(MESSAGE, "a@client.test", "b@mx.test").delivered
