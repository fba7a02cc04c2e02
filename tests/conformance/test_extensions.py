"""ESMTP extensions: typed options in their place, checked by what the server offers before anything is sent."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.parameter import Parameter
from smtp_proto.parameters import (
    AuthenticatedAs,
    Body,
    By,
    EnvId,
    HoldFor,
    HoldUntil,
    MtPriority,
    Notify,
    ORcpt,
    RequireTLS,
    Ret,
    Rrvs,
    Size,
    Solicit,
)
from smtp_proto.server_session import Settings
from tests import certificates
from tests.scripted import Close, Expect, ScriptedServer, Send, Step
from tests.scripts import BODY as MESSAGE_TAKEN
from tests.scripts import DATA, DELIVERY, MAIL, MESSAGE, NOOP, QUIT, RCPT, opening, turn

from .backends import Backend

REFUSED = b"550 5.1.1 no such user"
ALL = [
    "8BITMIME",
    "AUTH PLAIN",
    "DELIVERBY 60",
    "DSN",
    "FUTURERELEASE 3600 2027-01-01T00:00:00Z",
    "MT-PRIORITY MIXER",
    "NO-SOLICITING net.example:ADV",
    "RRVS",
]
MAIL_OPTIONS: list[Parameter] = [
    Body("8BITMIME"),
    AuthenticatedAs("e=mc2@example.com"),
    By(120, "R"),
    Ret("HDRS"),
    EnvId("QQ314159"),
    HoldFor(60),
    MtPriority(3),
    Solicit("org.example:ADV"),
]
RCPT_OPTIONS: list[Parameter] = [Notify("SUCCESS", "DELAY"), Rrvs("2014-04-03T23:01:00Z")]
MAIL_LINE = (
    b"mail from:<a@client.test> BODY=8BITMIME AUTH=e+3Dmc2@example.com BY=120;R RET=HDRS ENVID=QQ314159 HOLDFOR=60 "
    b"MT-PRIORITY=3 SOLICIT=org.example:ADV\r\n"
)
RCPT_LINE = b"rcpt to:<b@mx.test> NOTIFY=SUCCESS,DELAY RRVS=2014-04-03T23:01:00Z\r\n"

HOW = pytest.mark.parametrize("how", ["in one go", "step by step"])


def prepare(backend: Backend, client: Any, how: str) -> Any:
    if how == "step by step":
        backend.watch(client, "rcpt")
    return client


@HOW
def test_typed_options_of_sendmail(backend: Backend, how: str) -> None:
    """Typed options stand in the lines of MAIL and RCPT, as plain ones do."""
    with ScriptedServer([*opening(*ALL), *DELIVERY, *QUIT]) as server, backend.connect(server) as client:
        prepare(backend, client, how)
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE, MAIL_OPTIONS, RCPT_OPTIONS) == {}
    assert server.received[1:3] == [MAIL_LINE, RCPT_LINE]


def test_typed_options_of_mail_and_rcpt(backend: Backend) -> None:
    """The single steps take them too."""
    with ScriptedServer([*opening(*ALL), *MAIL, *RCPT, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.mail("a@client.test", MAIL_OPTIONS)[0] == 250
        assert client.rcpt("b@mx.test", RCPT_OPTIONS)[0] == 250
    assert server.received[1:3] == [MAIL_LINE, RCPT_LINE]


@HOW
def test_options_of_one_recipient(backend: Backend, how: str) -> None:
    """A recipient's own options go before those for all; it is its address in what is returned."""
    recipient = backend.module.Recipient
    to = [
        "b@mx.test",
        recipient("C <c@mx.test>", [Notify("NEVER"), ORcpt("c+x@mx.test")]),
        recipient("d@mx.test", Notify("FAILURE")),
    ]
    script = [*opening("DSN"), *MAIL, *RCPT, *RCPT, *turn(b"rcpt", REFUSED), *DATA, *MESSAGE_TAKEN, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        refused = prepare(backend, client, how).sendmail("a@client.test", to, MESSAGE, (), [Notify("DELAY")])
    assert refused == {"d@mx.test": (550, REFUSED[4:])}
    assert server.received[2:5] == [
        b"rcpt to:<b@mx.test> NOTIFY=DELAY\r\n",
        b"rcpt to:<c@mx.test> NOTIFY=NEVER ORCPT=rfc822;c+2Bx@mx.test\r\n",
        b"rcpt to:<d@mx.test> NOTIFY=FAILURE\r\n",
    ]


def test_a_recipient_is_its_address() -> None:
    """It is equal to it, can be looked up by it, and copies keep its options."""
    recipient = smtp_blocking.Recipient("b@mx.test", [Notify("NEVER")])
    assert recipient == "b@mx.test"
    assert {"b@mx.test": 1}[recipient] == 1
    assert repr(recipient) == "Recipient('b@mx.test', [Notify(conditions=('NEVER',))])"
    for again in (copy.deepcopy(recipient), pickle.loads(pickle.dumps(recipient))):  # noqa: S301  # our own
        assert again == recipient
        assert again.options == recipient.options == ("NOTIFY=NEVER",)


@HOW
@pytest.mark.parametrize(
    ("options", "rfc"),
    [
        ([Ret("FULL")], "RFC 3461"),
        ([By(120, "R")], "RFC 2852"),
        ([HoldUntil("2027-01-01T00:00:00Z")], "RFC 4865"),
        ([MtPriority(3)], "RFC 6710"),
        ([RequireTLS()], "RFC 8689"),
        ([Body("BINARYMIME")], "RFC 3030"),
        ([Size(3)], "RFC 1870"),
    ],
)
def test_what_is_not_offered_is_not_sent(backend: Backend, how: str, options: list[Any], rfc: str) -> None:
    """`SMTPNotSupportedError` with extension, RFC and offer; nothing is sent, and the session goes on."""
    with ScriptedServer([*opening("HELP"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        prepare(backend, client, how)
        with pytest.raises(backend.module.SMTPNotSupportedError, match=f"{rfc}.*HELP"):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE, options)
        assert client.noop()[0] == 250


def test_what_is_not_offered_for_a_recipient_is_not_sent(backend: Backend) -> None:
    """The same for the options of RCPT, before MAIL is sent."""
    with ScriptedServer([*opening("HELP"), *NOOP, *MAIL, *QUIT]) as server, backend.connect(server) as client:
        to = ["b@mx.test", backend.module.Recipient("c@mx.test", [Notify("NEVER")])]
        with pytest.raises(backend.module.SMTPNotSupportedError, match="DSN"):
            client.sendmail("a@client.test", to, MESSAGE)
        assert client.noop()[0] == 250
        assert client.mail("a@client.test")[0] == 250
        with pytest.raises(backend.module.SMTPNotSupportedError, match="DSN"):
            client.rcpt(to[1])


def test_a_server_without_extensions_does_not_take_typed_options(backend: Backend) -> None:
    """Without ESMTP plain options are left out, as `smtplib` does; typed ones are asked for in earnest."""
    script = [*opening()[:1], *turn(b"ehlo", b"502 no"), *turn(b"helo", b"250 mx"), *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPNotSupportedError, match="no extensions"):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE, [Ret("FULL")])
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE, ["RET=FULL"], ["NOTIFY=NEVER"]) == {}
    assert b"mail from:<a@client.test>\r\n" in server.received


def test_requiretls_over_tls_only(backend: Backend) -> None:
    """RFC 8689: asked for over a connection that is encrypted, and refused before anything is sent over any other."""
    settings = Settings(offer=("REQUIRETLS",))
    with (
        smtp_blocking.Server(settings=settings, tls_context=certificates.server_context()) as server,
        backend.connect(server) as client,
    ):
        client.starttls(context=certificates.client_context())
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE, [RequireTLS()]) == {}
    assert server.messages[0].mail.get(RequireTLS) is not None
    with ScriptedServer([*opening("REQUIRETLS"), *NOOP, *QUIT]) as lying, backend.connect(lying) as client:
        with pytest.raises(backend.module.SMTPNotSupportedError, match=r"RFC 8689.*not encrypted"):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE, [RequireTLS()])
        assert client.noop()[0] == 250


def test_against_our_own_server(backend: Backend) -> None:
    """Both ends agree on every parameter; the server's application gets the values that the client's gave."""
    settings = Settings(offer=tuple(ALL[2:]), mechanisms=("PLAIN",), cleartext_auth=True)
    with smtp_blocking.Server(settings=settings) as server, backend.connect(server) as client:
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE, MAIL_OPTIONS, RCPT_OPTIONS) == {}
    [message] = server.messages
    given = [message.mail.get(type(option)) for option in MAIL_OPTIONS]
    assert [repr(option) for option in given] == [repr(option) for option in MAIL_OPTIONS]
    given = [message.recipients[0].get(type(option)) for option in RCPT_OPTIONS]
    assert [repr(option) for option in given] == [repr(option) for option in RCPT_OPTIONS]


@HOW
def test_an_option_in_the_wrong_place(backend: Backend, how: str) -> None:
    """`ValueError` with the RFC; nothing is sent, and the session goes on."""
    with ScriptedServer([*opening("DSN"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        prepare(backend, client, how)
        with pytest.raises(ValueError, match=r"of RCPT, not of MAIL \(DSN, RFC 3461\)"):
            client.sendmail("a@client.test", "b@mx.test", MESSAGE, [Notify("NEVER")])
        assert client.noop()[0] == 250


def test_unknown_extensions_stay_usable(backend: Backend) -> None:
    """A plain string is sent as it is, whatever the server offers."""
    with ScriptedServer([*opening(), *DELIVERY, *QUIT]) as server, backend.connect(server) as client:
        client.sendmail("a@client.test", "b@mx.test", MESSAGE, ["XVERP=-=", "MT-PRIORITY=99"], ["NOTIFY=X"])
    assert server.received[1:3] == [
        b"mail from:<a@client.test> XVERP=-= MT-PRIORITY=99\r\n",
        b"rcpt to:<b@mx.test> NOTIFY=X\r\n",
    ]


# -- SIZE -------------------------------------------------------------------------------------------------------------


@HOW
def test_a_message_that_is_too_large_is_not_sent(backend: Backend, how: str) -> None:
    """RFC 1870: the exception is the one that a 552 to MAIL would have raised; nothing is sent."""
    with ScriptedServer([*opening("SIZE 20"), *NOOP, *QUIT]) as server, backend.connect(server) as client:
        prepare(backend, client, how)
        with pytest.raises(backend.module.SMTPSenderRefused, match="20") as caught:
            client.sendmail("a@client.test", "b@mx.test", b"x" * 19 + b"\r\n")
        assert (caught.value.smtp_code, str(caught.value.enhanced)) == (552, "5.3.4")
        assert caught.value.sender == "a@client.test"
        assert client.noop()[0] == 250
        outcome = client.deliver(b"x" * 19 + b"\r\n", "a@client.test", "b@mx.test")
        assert (outcome.delivered, outcome.recipients[0].permanent) == (False, True)


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE 20", "SIZE plenty", "SIZE 99999999999999999999999"])
def test_a_message_that_fits_or_nobody_knows(backend: Backend, size: str) -> None:
    """What fits exactly is sent; a server that declares nothing, or nonsense, has no limit."""
    with ScriptedServer([*opening(size), *DELIVERY, *QUIT]) as server, backend.connect(server) as client:
        assert client.sendmail("a@client.test", "b@mx.test", b"x" * 18 + b"\n") == {}
    assert server.received[1] == b"mail from:<a@client.test> size=20\r\n"


def test_a_size_of_ones_own(backend: Backend) -> None:
    """A typed SIZE stands in the place of the one that is counted."""
    with ScriptedServer([*opening("SIZE"), *DELIVERY, *QUIT]) as server, backend.connect(server) as client:
        assert client.sendmail("a@client.test", "b@mx.test", MESSAGE, [Size(5000)]) == {}
    assert server.received[1] == b"mail from:<a@client.test> SIZE=5000\r\n"


# -- LIMITS -----------------------------------------------------------------------------------------------------------


@HOW
def test_a_long_list_goes_in_parts(backend: Backend, how: str) -> None:
    """RCPTMAX: each transaction has as many recipients as the server takes, and what is refused stands by recipient."""
    part = [*MAIL, *RCPT, *RCPT, *DATA, *MESSAGE_TAKEN]
    script = [*opening("LIMITS RCPTMAX=2"), *part, *MAIL, *turn(b"rcpt", REFUSED), *turn(b"rset", b"250 ok"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        refused = prepare(backend, client, how).sendmail(
            "a@client.test", ["b@mx.test", "c@mx.test", "d@mx.test"], MESSAGE
        )
    assert refused == {"d@mx.test": (550, REFUSED[4:])}


@HOW
@pytest.mark.parametrize("closing", [b"421 4.3.2 closing", b""])
def test_a_connection_lost_between_the_parts(backend: Backend, how: str, closing: bytes) -> None:
    """Whoever has the message has it: what is raised of one transaction is in the result for the others."""
    lost: list[Step] = [Expect(b"mail"), *([Send(closing + b"\r\n")] if closing else []), Close()]
    with (
        ScriptedServer([*opening("LIMITS RCPTMAX=1"), *DELIVERY, *lost]) as server,
        backend.connect(server) as client,
    ):
        prepare(backend, client, how)
        refused = client.sendmail("a@client.test", ["b@mx.test", "c@mx.test", "d@mx.test"], MESSAGE)
    assert list(refused) == ["c@mx.test", "d@mx.test"]
    assert [code for code, _ in refused.values()] == [421, 421]


@HOW
def test_too_few_transactions(backend: Backend, how: str) -> None:
    """MAILMAX without a way to another connection: an error that says so, and nothing is sent."""
    script = [*opening("LIMITS MAILMAX=1 RCPTMAX=1"), *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        prepare(backend, client, how)
        with pytest.raises(backend.module.SMTPException, match="MAILMAX"):
            client.sendmail("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE)
        assert client.noop()[0] == 250


@HOW
def test_another_connection(backend: Backend, how: str) -> None:
    """MAILMAX with `reconnect`: QUIT, what the application does to connect, and the next transaction."""
    one = [*opening("LIMITS MAILMAX=1"), *DELIVERY, *QUIT]
    with ScriptedServer(one, one) as server, backend.connect(server) as client:
        prepare(backend, client, how)
        client.reconnect = lambda: backend.bare(client).connect(server.host, server.port)
        for _ in range(2):
            assert client.sendmail("a@client.test", "b@mx.test", MESSAGE) == {}
