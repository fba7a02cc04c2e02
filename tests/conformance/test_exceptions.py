"""The exceptions: each from a real conversation, an instance of `smtplib`'s class of its name, with what ours add."""

from __future__ import annotations

import copy
import pickle
import smtplib
from collections.abc import Callable
from typing import NamedTuple

import pytest

from smtp_proto.replies import Reply
from tests.scripted import Close, Expect, ExpectBody, ScriptedServer, Send, Step
from tests.scripts import DATA, DELIVERY, GREETING, MAIL, MESSAGE, RCPT, RSET, opening, turn

from .backends import Backend, Client


def send(client: Client) -> object:
    return client.sendmail("a@client.test", "b@mx.test", MESSAGE)


def send_step_by_step(client: Client) -> object:
    client.mail("a@client.test")
    client.rcpt("b@mx.test")
    return client.data(MESSAGE)


class Case(NamedTuple):
    """An exception's name, a script that leads to it, the use that raises it, and what it must hold."""

    name: str
    script: list[Step]
    use: Callable[[Client], object]
    args: tuple[object, ...] | None = None
    reply: str | None = None
    enhanced: str | None = None
    temporary: bool = False
    may_be_delivered: bool = False


LOST: list[Step] = [ExpectBody(), Close()]
CASES = [
    Case("SMTPConnectError", [Send(b"554 5.3.2 no\r\n")], Client.noop, (554, b"5.3.2 no"), "554 5.3.2 no"),
    Case(
        "SMTPHeloError",
        [*GREETING, *turn(b"ehlo", b"450 no"), *turn(b"helo", b"450 4.7.1 not you")],
        send,
        (450, b"4.7.1 not you"),
        "450 4.7.1 not you",
        temporary=True,
    ),
    Case(
        "SMTPAuthenticationError",
        [*opening("AUTH PLAIN"), *turn(b"auth plain", b"535 5.7.8 wrong")],
        lambda client: client.login("user", "password"),
        (535, b"5.7.8 wrong"),
        "535 5.7.8 wrong",
        "5.7.8",
    ),
    Case("SMTPNotSupportedError", [*opening()], lambda client: client.login("user", "password"), None),
    Case(
        "SMTPSenderRefused",
        [*opening(), *turn(b"mail", b"451 4.1.8 later"), *RSET],
        send,
        (451, b"4.1.8 later", "a@client.test"),
        "451 4.1.8 later",
        "4.1.8",
        temporary=True,
    ),
    Case(
        "SMTPRecipientsRefused",
        [*opening(), *MAIL, *turn(b"rcpt", b"550 5.1.1 nobody"), *RSET],
        send,
        ({"b@mx.test": (550, b"5.1.1 nobody")},),
        "550 5.1.1 nobody",
        "5.1.1",
    ),
    Case(
        "SMTPDataError",
        [*opening(), *MAIL, *RCPT, *DATA, ExpectBody(), Send(b"554 5.7.1 spam\r\n"), *RSET],
        send,
        (554, b"5.7.1 spam"),
        "554 5.7.1 spam",
        "5.7.1",
    ),
    Case("SMTPServerDisconnected", [*opening(), *MAIL, *RCPT, *DATA, *LOST], send, may_be_delivered=True),
    Case("SMTPServerDisconnected", [*opening(), *MAIL, *RCPT, Expect(), Close()], send),
    Case(
        "SMTPServerDisconnected",
        # In one segment, so that the 421 is there before the next command, which it does not answer.
        [*GREETING, Expect(b"ehlo"), Send(b"250 mx.test\r\n421 4.3.2 restarting\r\n")],
        lambda client: (client.ehlo(), client.noop()),
        None,
        "421 4.3.2 restarting",
        "4.3.2",
        temporary=True,
    ),
    Case(
        "SMTPResponseException",
        [*opening("STARTTLS"), *turn(b"starttls", b"454 4.7.0 not now")],
        lambda client: client.starttls(),
        (454, b"4.7.0 not now"),
        "454 4.7.0 not now",
        "4.7.0",
        temporary=True,
    ),
]


def connect_and_use(backend: Backend, server: ScriptedServer, use: Callable[[Client], object]) -> None:
    client = backend.connect(server)
    try:
        use(client)
    finally:
        client.close()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.name} {number}" for number, case in enumerate(CASES)])
def test_exception(backend: Backend, case: Case) -> None:
    """Class, `args`, `reply`, `enhanced`, `temporary` and `may_be_delivered` say what happened, also as a pickle."""
    with (
        ScriptedServer(case.script, strict=False) as server,
        pytest.raises(getattr(backend.module, case.name)) as raised,
    ):
        connect_and_use(backend, server, case.use)
    error = raised.value
    assert type(error).__name__ == case.name
    for seen in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301  # our own pickle
        assert isinstance(seen, getattr(smtplib, case.name))
        assert isinstance(seen, smtplib.SMTPException)
        assert isinstance(seen, OSError)  # as `smtplib`'s are
        assert isinstance(seen, backend.module.SMTPException)
        if case.args is not None:
            assert seen.args == case.args
        assert seen.args == error.args
        assert str(seen) == str(error)
        assert (str(seen.reply) if seen.reply is not None else None) == case.reply
        assert (str(seen.enhanced) if seen.enhanced is not None else None) == case.enhanced
        assert seen.temporary is case.temporary
        assert seen.may_be_delivered is case.may_be_delivered


NAMES = [name for name in dir(smtplib) if name.startswith("SMTP") and name not in ("SMTP", "SMTP_SSL")]


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(getattr(smtplib, name), type)])
def test_hierarchy(backend: Backend, name: str) -> None:
    """Every exception of `smtplib` is here, is caught by an except of `smtplib`'s, and has its relatives here too."""
    ours, theirs = getattr(backend.module, name), getattr(smtplib, name)
    assert issubclass(ours, theirs)
    for base in theirs.__mro__[1:]:
        if base.__module__ == "smtplib":
            assert issubclass(ours, getattr(backend.module, base.__name__))


@pytest.mark.parametrize(
    ("name", "args", "attributes"),
    [
        ("SMTPServerDisconnected", ("gone",), {}),
        ("SMTPNotSupportedError", ("no",), {}),
        ("SMTPResponseException", (500, b"x"), {"smtp_code": 500, "smtp_error": b"x"}),
        ("SMTPSenderRefused", (500, b"x", "a"), {"smtp_code": 500, "smtp_error": b"x", "sender": "a"}),
        ("SMTPRecipientsRefused", ({"a": (500, b"x")},), {"recipients": {"a": (500, b"x")}}),
        ("SMTPDataError", (500, b"x"), {"smtp_code": 500, "smtp_error": b"x"}),
        ("SMTPConnectError", (500, b"x"), {"smtp_code": 500, "smtp_error": b"x"}),
        ("SMTPHeloError", (500, b"x"), {"smtp_code": 500, "smtp_error": b"x"}),
        ("SMTPAuthenticationError", (500, b"x"), {"smtp_code": 500, "smtp_error": b"x"}),
    ],
)
def test_made_by_hand(backend: Backend, name: str, args: tuple[object, ...], attributes: dict[str, object]) -> None:
    """An application's tests make them as `smtplib`'s are made; what only a conversation knows is absent then."""
    error = getattr(backend.module, name)(*args)
    theirs = getattr(smtplib, name)(*args)
    assert error.args == theirs.args
    assert str(error) == str(theirs)
    for attribute, value in attributes.items():
        assert getattr(error, attribute) == value
    assert (error.reply, error.enhanced, error.temporary, error.may_be_delivered) == (None, None, False, False)


def test_outcome_after_a_loss(backend: Backend) -> None:
    """`outcome` says how far a transaction came: every answer until the connection was lost."""
    refused = turn(b"rcpt", b"550 5.1.1 nobody")
    with ScriptedServer([*opening(), *MAIL, *RCPT, *refused, *DATA, *LOST]) as server:
        client = backend.connect(server)
        with pytest.raises(backend.module.SMTPServerDisconnected) as raised:
            client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE)
    outcome = raised.value.outcome
    assert outcome.may_be_delivered
    assert not outcome.delivered
    assert outcome.mail == Reply(250, "2.1.0 sender ok")
    assert [recipient.reply.code for recipient in outcome.recipients] == [250, 550]
    assert outcome.final is None


@pytest.mark.parametrize("use", [send, send_step_by_step])
def test_lost_before_and_behind_the_end(backend: Backend, use: Callable[[Client], object]) -> None:
    """`may_be_delivered` is True exactly if the end of the message was sent, whichever method sent it."""
    for script, expected in (([*DELIVERY[:6], *LOST], True), ([*DELIVERY[:5], Close()], False)):
        with ScriptedServer([*opening(), *script]) as server:
            client = backend.connect(server)
            client.ehlo()
            with pytest.raises(backend.module.SMTPServerDisconnected) as raised:
                use(client)
            assert raised.value.may_be_delivered is expected
