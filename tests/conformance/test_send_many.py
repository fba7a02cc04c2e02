"""`send_many` on every backend: an outcome for each message, in order, whatever happens to the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from email.message import EmailMessage
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.commands import Rcpt
from smtp_proto.handler import Handler, ReceivedMessage
from smtp_proto.outcome import Fate, Outcome
from smtp_proto.replies import Reply
from smtp_proto.server_session import ServerSession
from tests.certificates import client_context, server_context
from tests.scripted import (
    Close,
    Expect,
    ExpectBody,
    ExpectEOF,
    ExpectLines,
    ScriptedServer,
    Send,
    StartTLS,
    Step,
)
from tests.scripts import DATA, DELIVERY, GREETING, MAIL, MESSAGE, NOOP, QUIT, RCPT, RSET, opening, turn
from tests.small_buffers import ANSWER, FULL, Shrink, client_of, recipients

from .backends import Backend

WAYS = pytest.mark.parametrize(
    "options", [{}, {"chunking": False}, {"chunking": "eager"}, {"pipelining": False}], ids=str
)
DELIVERED, NOT_SENT, UNKNOWN = Fate.DELIVERED, Fate.NOT_SENT, Fate.UNKNOWN
PIPELINING = opening("PIPELINING")


def letter(number: int = 0, to: str = "b@mx.test") -> tuple[str, list[str], bytes]:
    return "a@client.test", [to], MESSAGE + b"%d\r\n" % number


def letters(count: int) -> Iterator[tuple[str, list[str], bytes]]:
    return (letter(number) for number in range(count))


def all_of(sending: Any) -> list[Outcome | Exception]:
    """What is given, and what is raised, one after the other, until the end."""
    found: list[Outcome | Exception] = []
    while True:
        try:
            found.append(next(sending))
        except StopIteration:
            return found
        except Exception as error:  # noqa: BLE001  # it is looked at
            found.append(error)


def fates(found: list[Any]) -> list[Any]:
    """Outcomes in one word each, and exceptions by their kinds."""
    return [each.fate if isinstance(each, Outcome) else type(each).__name__ for each in found]


class Keeping(Handler):
    def __init__(self) -> None:
        self.contents: list[bytes] = []

    def body(self, session: ServerSession, message: ReceivedMessage) -> None:
        self.contents.append(message.content)


@WAYS
@pytest.mark.parametrize("kind", ["SMTP", "LMTP"])
def test_each_message_arrives_once_and_in_order(backend: Backend, kind: str, options: dict[str, Any]) -> None:
    """A hundred messages, more than the window: each is delivered, once, with its outcome at its place."""
    handler = Keeping()
    with smtp_blocking.Server(handler, lmtp=kind == "LMTP") as server, backend.connect(server, kind, **options) as smtp:
        with backend.sending(smtp, letters(100)) as sending:
            outcomes = list(sending)
        assert smtp.noop()[0] == 250
    assert fates(outcomes) == [DELIVERED] * 100
    assert handler.contents == [letter(number)[2] for number in range(100)]


class Choosy(Keeping):
    def rcpt(self, session: ServerSession, command: Rcpt) -> Reply | None:
        return Reply(550, "5.1.1 nobody") if command.path.startswith("nobody") else None


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("count", [1, 31, 32, 33, 150])
def test_messages_at_hand(backend: Backend, count: int, kind: Callable[[Any], Any]) -> None:
    """Messages of a list go out several at a time: what becomes of each, and when it is told, is what it always is."""
    ways = {3: "nobody@mx.test", 5: "no\nbody"}
    given = kind(letter(number, ways.get(number % 11, "b@mx.test")) for number in range(count))
    expected = [{3: NOT_SENT, 5: "InvalidArgument"}.get(number % 11, DELIVERED) for number in range(count)]
    handler = Choosy()
    with smtp_blocking.Server(handler) as server, backend.connect(server, chunking="eager") as smtp:
        with backend.sending(smtp, given) as sending:
            found = all_of(sending)
        assert smtp.noop()[0] == 250
    assert fates(found) == expected
    assert handler.contents == [letter(n)[2] for n, fate in enumerate(expected) if fate is DELIVERED]


def test_every_kind_of_message(backend: Backend) -> None:
    """Email messages, tuples and envelopes; octets, text, and streams: whatever `deliver` takes."""
    email = EmailMessage()
    email["From"], email["To"] = "a@client.test", "b@mx.test, c@mx.test"
    email.set_content("hello")
    envelope = backend.module.Envelope
    messages = [
        email,
        ("a@client.test", "b@mx.test", "text\r\n"),
        envelope("a@client.test", ["b@mx.test"], iter([b"a stream\r\n"]), ["BODY=8BITMIME"]),
        envelope("", ["d@mx.test"], email),
    ]
    handler = Keeping()
    with (
        smtp_blocking.Server(handler) as server,
        backend.connect(server) as smtp,
        backend.sending(smtp, messages) as sending,
    ):
        outcomes = list(sending)
    assert [outcome.sender for outcome in outcomes] == ["a@client.test", "a@client.test", "a@client.test", ""]
    assert [len(outcome.recipients) for outcome in outcomes] == [2, 1, 1, 1]
    assert handler.contents[1:3] == [b"text\r\n", b"a stream\r\n"]


def test_a_refusal_concerns_its_message_alone(backend: Backend) -> None:
    """Whatever of a message is refused, those before and behind it are delivered; RSET ends what is open."""
    no = b"550 5.1.1 nobody"
    script = [*PIPELINING, *DELIVERY]
    script += [*MAIL, *turn(b"rcpt", no), *turn(b"data", b"503 no recipients"), *RSET]
    script += [*DELIVERY, *turn(b"mail", no), *turn(b"rcpt", b"503 no"), *turn(b"data", b"503 no")]
    script += [*MAIL, *RCPT, *DATA, ExpectBody(), Send(b"452 4.2.2 full\r\n"), *DELIVERY, *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as smtp:
        with backend.sending(smtp, letters(6)) as sending:
            outcomes = list(sending)
        assert smtp.noop()[0] == 250
    assert fates(outcomes) == [DELIVERED, NOT_SENT, DELIVERED, NOT_SENT, NOT_SENT, DELIVERED]
    assert [str(outcome.recipients[0].answer)[:3] for outcome in outcomes] == ["250", "550", "250", "550", "452", "250"]


MISTAKES: dict[str, tuple[Any, str]] = {
    "an address": (letter(to="b@mx.test\r\nRSET"), "InvalidArgument"),
    "a NUL": (("a@client.test", "b@mx.test", b"\0"), "InvalidArgument"),
    "no message": (7, "TypeError"),
    "no addresses": ((None, None, b"x"), "TypeError"),
    "an international address": (letter(to="b\N{SNOWMAN}@mx.test"), "UnicodeEncodeError"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_raised_in_its_place(backend: Backend, mistake: str) -> None:
    """A message that cannot be sent is told where its outcome would be, and nothing else is concerned."""
    wrong, error = MISTAKES[mistake]
    script = [*PIPELINING, *DELIVERY * 2, *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as smtp:
        with backend.sending(smtp, [letter(), wrong, letter()]) as sending:
            found = all_of(sending)
        assert smtp.noop()[0] == 250
    assert fates(found) == [DELIVERED, error, DELIVERED]


def test_a_message_that_is_too_long_is_not_sent(backend: Backend) -> None:
    """What the server has said not to take is refused on its behalf (RFC 1870), as by `deliver`."""
    script = [*opening("PIPELINING", "SIZE 100"), *DELIVERY * 2, *QUIT]
    messages = [letter(), ("a@client.test", "b@mx.test", b"x" * 200), letter()]
    with (
        ScriptedServer(script) as server,
        backend.connect(server) as smtp,
        backend.sending(smtp, messages) as sending,
    ):
        outcomes = list(sending)
    assert fates(outcomes) == [DELIVERED, NOT_SENT, DELIVERED]
    assert outcomes[1].mail is not None
    assert outcomes[1].mail.code == 552


LOST: dict[str, tuple[list[Step], list[Any]]] = {
    "at the first MAIL": ([Expect(b"mail"), Close()], [NOT_SENT]),
    "at a later MAIL": ([*DELIVERY, Expect(b"mail"), Close()], [DELIVERED, NOT_SENT]),
    "at RCPT": ([*DELIVERY, *MAIL, Expect(b"rcpt"), Close()], [DELIVERED, NOT_SENT]),
    "at DATA": ([*DELIVERY, *MAIL, *RCPT, Expect(b"data"), Close()], [DELIVERED, NOT_SENT]),
    # The envelope of the next one is out by then.
    "at the end": ([*DELIVERY, *MAIL, *RCPT, *DATA, ExpectBody(), Close()], [DELIVERED, UNKNOWN, NOT_SENT]),
    "by a 421": (
        [*DELIVERY, *turn(b"mail", b"421 4.3.2 bye"), Expect(b"rcpt"), Expect(b"data"), Close()],
        [DELIVERED, NOT_SENT],
    ),
    "by nonsense": (
        [*DELIVERY, *MAIL, Expect(b"rcpt"), Send(b"nonsense\r\n"), Close()],
        [DELIVERED, NOT_SENT],
    ),
}


@pytest.mark.parametrize("where", LOST)
def test_a_lost_connection(backend: Backend, where: str) -> None:
    """Each message that was pulled has what is known of it, then SMTPServerDisconnected is raised, and it is over."""
    script, known = LOST[where]
    with ScriptedServer([*PIPELINING, *script]) as server:
        smtp = backend.connect(server)
        with backend.sending(smtp, letters(10)) as sending:
            found = all_of(sending)
        assert smtp.sock is None
    # How many more were pulled by then is a matter of time; whatever was is told.
    more = fates(found)[len(known) : -1]
    assert fates(found)[: len(known)] == known
    assert set(more) <= {NOT_SENT}
    assert fates(found)[-1] == "SMTPServerDisconnected"


def test_a_421_to_the_last_message_is_its_answer(backend: Backend) -> None:
    """A goodbye behind which nothing is left to be lost is no exception; the connection is closed."""
    script = [*PIPELINING, *DELIVERY, *MAIL, *RCPT, *DATA, ExpectBody(), Send(b"421 4.3.2 bye\r\n"), ExpectEOF()]
    with ScriptedServer(script) as server:
        smtp = backend.connect(server)
        with backend.sending(smtp, letters(2)) as sending:
            assert fates(all_of(sending)) == [DELIVERED, NOT_SENT]
        assert smtp.sock is None


def test_any_other_call_is_refused(backend: Backend) -> None:
    """While it is under way every other call is an SMTPException, a second `send_many` too, and harms nothing."""
    with ScriptedServer([*PIPELINING, *DELIVERY * 4, *NOOP, *QUIT]) as server, backend.connect(server) as smtp:
        with backend.sending(smtp, letters(4)) as sending:
            outcomes = []
            for outcome in sending:
                outcomes.append(outcome)
                if len(outcomes) == 4:
                    break
                for call in (smtp.noop, lambda: smtp.deliver(MESSAGE, "a@client.test", "b@mx.test"), smtp.quit):
                    with pytest.raises(backend.module.SMTPException, match="send_many is under way"):
                        call()
                with (
                    backend.sending(smtp, letters(1)) as other,
                    pytest.raises(backend.module.SMTPException, match="send_many is under way"),
                ):
                    next(other)
        assert smtp.noop()[0] == 250
    assert fates(outcomes) == [DELIVERED] * 4


def test_the_source_must_not_call_the_client(backend: Backend) -> None:
    """A generator that calls the client it feeds gets an SMTPException, at once, and not a deadlock."""

    def source() -> Iterator[Any]:
        yield letter()
        backend.bare(smtp).noop() if not backend.coroutines else backend.bare(smtp).noop().send(None)

    with ScriptedServer([*PIPELINING, *DELIVERY, *NOOP, *QUIT]) as server, backend.connect(server) as smtp:
        with backend.sending(smtp, source()) as sending:
            assert fates(all_of(sending)) == [DELIVERED, "SMTPException"]
        assert smtp.noop()[0] == 250


def test_a_source_that_raises(backend: Backend) -> None:
    """What was pulled before is delivered and told, then its exception is raised; the client goes on."""

    def source() -> Iterator[Any]:
        yield letter(1)
        yield letter(2)
        raise KeyError("the source")

    with ScriptedServer([*PIPELINING, *DELIVERY * 2, *NOOP, *QUIT]) as server, backend.connect(server) as smtp:
        with backend.sending(smtp, source()) as sending:
            assert fates(all_of(sending)) == [DELIVERED, DELIVERED, "KeyError"]
        assert smtp.noop()[0] == 250


def test_a_message_that_raises(backend: Backend) -> None:
    """A stream that breaks off ends the connection, for its message is half sent; what is known of all is told."""

    def chunks() -> Iterator[bytes]:
        yield b"half\r\n"
        raise KeyError("the stream")

    script = [*PIPELINING, *DELIVERY, *MAIL, *RCPT, *DATA, ExpectEOF()]
    with ScriptedServer(script, strict=False) as server:
        smtp = backend.connect(server)
        with backend.sending(smtp, [letter(), ("a@client.test", "b@mx.test", chunks()), letter()]) as sending:
            found = all_of(sending)
        assert smtp.sock is None
    # Whether the third one was pulled by then is a matter of time, where the source has a task of its own.
    assert fates(found) in ([DELIVERED, NOT_SENT, NOT_SENT, "KeyError"], [DELIVERED, NOT_SENT, "KeyError"])


@WAYS
def test_leaving_early(backend: Backend, options: dict[str, Any]) -> None:
    """No more is pulled, what was is finished and told in `left`, and the client is free for other calls."""
    pulled = []

    def source() -> Iterator[Any]:
        for number in range(1000):
            pulled.append(number)
            yield letter(number)

    handler = Keeping()
    with smtp_blocking.Server(handler) as server, backend.connect(server, **options) as smtp:
        with backend.sending(smtp, source()) as sending:
            first = next(sending)
            sending.close()
            assert all_of(sending) == []
            assert smtp.noop()[0] == 250
        sent = [first, *sending.left]
    assert fates(sent).count(DELIVERED) == len(handler.contents)
    assert len(sent) == len(pulled) < 100


class Broken(Exception):
    """The application's own."""


@WAYS
@pytest.mark.parametrize("how", ["break", "close", "an exception", "another call"])
def test_left_at_any_message(backend: Backend, how: str, options: dict[str, Any]) -> None:
    """Wherever the loop is left, and however: each message that was pulled is told once, and what is told is true."""
    count = 5
    for at in range(count):
        pulled: list[Any] = []

        def source(pulled: list[Any] = pulled) -> Iterator[Any]:
            for number in range(count):
                pulled.append(letter(number))
                yield pulled[-1]

        handler, told = Keeping(), []
        with smtp_blocking.Server(handler) as server, backend.connect(server, **options) as smtp:
            with suppress(Broken), backend.sending(smtp, source()) as sending:
                for outcome in sending:
                    told.append(outcome)
                    if len(told) > at:
                        if how == "an exception":
                            raise Broken
                        if how == "break":
                            break
                        if how == "another call" and len(told) < count:
                            with pytest.raises(backend.module.SMTPException, match="send_many is under way"):
                                smtp.noop()
                        sending.close()
            assert smtp.noop()[0] == 250
        told += sending.left
        assert len(told) == len(pulled)
        delivered = fates(told).count(DELIVERED)
        assert fates(told) == [DELIVERED] * delivered + [NOT_SENT] * (len(told) - delivered)
        assert handler.contents == [message[2] for message in pulled[:delivered]]


def test_leaving_a_lost_connection_early(backend: Backend) -> None:
    """Left when the server does not answer any more, what is unknown is marked so, and nothing is raised."""
    script = [*opening("PIPELINING"), *DELIVERY, *MAIL, *RCPT, *DATA, ExpectBody(), Close()]
    with ScriptedServer(script) as server:
        smtp = backend.connect(server)
        with backend.sending(smtp, letters(5)) as sending:
            assert next(sending).delivered
            sending.close()
        assert fates(sending.left)[:1] == [UNKNOWN]
        assert smtp.sock is None


def test_leaving_the_client_leaves_it_too(backend: Backend) -> None:
    """At the end of the client's block what is in flight is finished before the goodbye."""
    with smtp_blocking.Server(handler := Keeping()) as server:
        with backend.connect(server) as smtp:
            if backend.coroutines:
                kept = smtp.send_many(letters(5))
                assert backend.run(anext, kept).delivered  # type: ignore[attr-defined]  # it has a loop
            else:
                kept = smtp.send_many(letters(5))
                assert next(kept).delivered
        assert fates([*kept.left]) == [DELIVERED] * (len(handler.contents) - 1)


def test_closing_the_client_in_the_middle(backend: Backend) -> None:
    """`close` is never refused: what is in flight is told as far as it is known, and it is over."""
    script = [*PIPELINING, *DELIVERY, *MAIL, *RCPT, *DATA]
    with ScriptedServer(script, strict=False) as server:
        smtp = backend.connect(server)
        with backend.sending(smtp, letters(5)) as sending:
            assert next(sending).delivered
            smtp.close()
            found = all_of(sending)
    assert set(fates(found)[:-1]) <= {NOT_SENT, UNKNOWN}
    assert fates(found)[-1] == "SMTPServerDisconnected"


def test_methods_of_ones_own_are_used(backend: Backend) -> None:
    """Where a step is overridden or patched, messages go one after the other through it."""
    with ScriptedServer([*PIPELINING, *DELIVERY * 3, *NOOP, *QUIT]) as server, backend.connect(server) as smtp:
        calls = backend.watch(smtp, "rcpt")
        with backend.sending(smtp, letters(3)) as sending:
            assert fates(all_of(sending)) == [DELIVERED] * 3
        assert smtp.noop()[0] == 250
    assert len(calls) == 3


def test_limits(backend: Backend) -> None:
    """A message to more recipients than the server takes at once goes in several transactions (RFC 9422)."""
    script = [*opening("PIPELINING", "LIMITS RCPTMAX=1"), *DELIVERY * 4, *QUIT]
    messages = [letter(), ("a@client.test", ["b@mx.test", "c@mx.test"], MESSAGE), letter()]
    with (
        ScriptedServer(script) as server,
        backend.connect(server) as smtp,
        backend.sending(smtp, messages) as sending,
    ):
        assert fates(all_of(sending)) == [DELIVERED] * 3


def test_mailmax(backend: Backend) -> None:
    """Where the server takes no more messages on a connection, it is told of the message that is one too many."""
    script = [*opening("PIPELINING", "LIMITS MAILMAX=2"), *DELIVERY * 2, *NOOP, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as smtp:
        with backend.sending(smtp, letters(3)) as sending:
            assert fates(all_of(sending)) == [DELIVERED, DELIVERED, "SMTPException"]
        assert smtp.noop()[0] == 250


def test_no_connection(backend: Backend) -> None:
    """Without a connection the first outcome is an SMTPServerDisconnected, and nothing more is pulled."""
    smtp = backend.open("SMTP")
    with backend.sending(smtp, letters(3)) as sending:
        assert fates(all_of(sending)) == [NOT_SENT, "SMTPServerDisconnected"]


async def asynchronous() -> AsyncIterator[Any]:
    yield letter()


@pytest.mark.parametrize("wrong", [b"octets", "text", EmailMessage(), 7, smtp_blocking.Envelope("a", "b", b"c")])
def test_one_message_is_not_many(backend: Backend, wrong: Any) -> None:
    """What is no iterable of messages is a TypeError, at once."""
    with pytest.raises(TypeError):
        backend.open("SMTP").send_many(wrong)


def test_an_asynchronous_iterable(backend: Backend) -> None:
    """Asynchronous clients take one; a blocking one says so at once."""
    if not backend.coroutines:
        with pytest.raises(TypeError, match="needs an asynchronous client"):
            backend.open("SMTP").send_many(asynchronous())
        return
    with (
        ScriptedServer([*PIPELINING, *DELIVERY, *QUIT]) as server,
        backend.connect(server) as smtp,
        backend.sending(smtp, asynchronous()) as sending,
    ):
        assert fates(list(sending)) == [DELIVERED]


# -- both directions ---------------------------------------------------------------------------------------------------

READY = turn(b"starttls", b"220 2.0.0 go ahead")


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
def test_two_full_buffers(backend: Backend, tls: bool) -> None:
    """A server that reads nothing more until its long answers are out does not bring both to a standstill."""
    many = 2
    turns: list[Step] = [*MAIL, Expect(b"rcpt"), Send(ANSWER * FULL), ExpectLines(FULL - 1), *DATA, ExpectBody()]
    start = opening("PIPELINING")[1:]
    if tls:
        start = [*opening("STARTTLS")[1:], *READY, StartTLS(server_context()), *start]
    script = [*GREETING, Shrink(), *start, *[*turns, Send(b"250 2.0.0 queued\r\n")] * many, *QUIT]
    with ScriptedServer(script) as server, client_of(backend, server) as smtp:
        if tls:
            smtp.starttls(context=client_context())
        letters = [("a@client.test", recipients(), MESSAGE)] * many
        with backend.sending(smtp, letters) as sending:
            assert fates(list(sending)) == [DELIVERED] * many
