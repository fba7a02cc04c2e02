"""A large message is there once: what sending it takes beside is some pieces, whatever it is, by every way and backend.

What is counted is the most that was allocated while it was sent, by a server in memory that keeps nothing.  And what
arrives is what would arrive if all octets were made at once.
"""

from __future__ import annotations

import asyncio
import io
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.generator import BytesGenerator
from email.message import EmailMessage, Message
from typing import Any
from unittest import mock

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import smtp_anyio
import smtp_asyncio
import smtp_blocking
import smtp_trio
from smtp_proto.commands import Bdat
from smtp_proto.sources import PIECE

from .sinks import AsyncSink, Sink, digest, listening
from .test_message import POLICIES, TREES

SIZE = 4 << 20
#: What sending may take beside the message, the pieces in the server included: measured, 723 KiB at most.
BOUND = 1024 * 1024

SENDER, TO = "a@b.test", ["c@d.test"]
DATA = ("PIPELINING", "SIZE", "8BITMIME")
BDAT = (*DATA, "CHUNKING")
BINARY = (*BDAT, "BINARYMIME")


def email(size: int, encoding: str = "base64", **rules: Any) -> EmailMessage:
    """A message with a large part."""
    part = EmailMessage()
    part["Content-Type"], part["Content-Transfer-Encoding"] = "application/octet-stream", encoding
    line = "QUJD" * 19 if encoding == "base64" else "\udcc3\udcbc" * 30
    part.set_payload((line + "\n") * (size // len(line)))
    made = EmailMessage(**rules)
    made["From"], made["To"], made["Subject"] = SENDER, TO[0], "x"
    made.set_content("hello\n.\n")
    made.make_mixed()
    made.attach(part)
    made.set_boundary("boundary")
    return made


def forwarded(size: int) -> EmailMessage:
    """The same as a part of another one."""
    made = EmailMessage()
    made["From"], made["To"] = SENDER, TO[0]
    made.set_content("see below\n")
    made.add_attachment(email(size))
    made.set_boundary("outer")
    return made


def octets(line: bytes) -> Callable[[int], bytes]:
    return lambda size: b"Subject: x\r\n\r\n" + line * (size // len(line)) + b"last"


KINDS: dict[str, Callable[[int], Any]] = {
    "an email message": email,
    "one of eight bits": lambda size: email(size, "8bit"),
    "one that is forwarded": forwarded,
    "text": lambda size: octets(b"x" * 60 + b"\r\n")(size).decode(),
    "text with LF": lambda size: "Subject: x\n\n" + "From .\n" * (size // 7),
    "octets": octets(b"x" * 60 + b"\r\n"),
    "octets with LF": octets(b"." * 60 + b"\n"),
    "octets with CR": octets(b"x" * 60 + b"\r"),
    "octets of eight bits": octets("ü".encode() * 30 + b"\r\n"),
}


def expected(made: Any) -> bytes:
    """What a server gets of it."""
    if isinstance(made, Message):
        written = io.BytesIO()
        BytesGenerator(written, policy=made.policy).flatten(made, linesep="\r\n")
        return written.getvalue()
    whole = made.encode() if isinstance(made, str) else made
    normal: bytes = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return normal if normal.endswith(b"\r\n") else normal + b"\r\n"


def addressed(made: Any) -> Any:
    return made if isinstance(made, Message) else smtp_blocking.Envelope(SENDER, TO, made)


def arguments(made: Any) -> tuple[Any, ...]:
    return (made,) if isinstance(made, Message) else (made, SENDER, TO)


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "deliver": lambda client, made: client.deliver(*arguments(made)),
    "sendmail or send_message": lambda client, made: (
        client.send_message(made) if isinstance(made, Message) else client.sendmail(SENDER, TO, made)
    ),
}


@contextmanager
def measured() -> Iterator[list[int]]:
    """The most that is allocated in the block, in a list that is filled at its end."""
    most: list[int] = []
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield most
        most.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


def peak(work: Callable[[], object]) -> int:
    """The most that is allocated meanwhile."""
    with measured() as most:
        work()
    return most[0]


def check(sink: Sink, made: Any, offers: tuple[str, ...], most: int) -> None:
    """It has arrived as it should, its size was declared, and it did not take much."""
    whole = expected(made)
    taken = sink.taken[-1]
    assert (taken.size, taken.digest) == (len(whole), digest(whole))
    declared = int(taken.mail.parameter("SIZE") or 0)
    # RFC 1870 5: what the message has; the line end behind a last line that has none is the client's.
    complete = isinstance(made, Message) or (isinstance(made, str) and made.endswith("\n"))
    assert declared == (len(whole) if complete else len(whole) - 2)
    chunks = [command.size for command in taken.commands if isinstance(command, Bdat)]
    assert chunks == ([len(whole)] if "CHUNKING" in offers else [])
    assert most < BOUND


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("offers", [DATA, BDAT], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("kind", KINDS)
def test_blocking(kind: str, offers: tuple[str, ...], call: str) -> None:
    """Beside the message there are pieces of it."""
    sink, make = Sink(*offers), KINDS[kind]
    made = make(SIZE)
    with smtp_blocking.SMTP("localhost", stream=sink) as client:
        CALLS[call](client, make(2 * PIECE))  # what is made and imported once does not count
        check(sink, made, offers, peak(lambda: CALLS[call](client, made)))


@pytest.mark.parametrize("kind", KINDS)
def test_many(kind: str) -> None:
    """Several of them take as much as one."""
    sink, make = Sink(*BDAT), KINDS[kind]
    made = make(SIZE)
    with smtp_blocking.SMTP("localhost", stream=sink) as client:
        assert all(outcome.delivered for outcome in client.send_many([addressed(make(2 * PIECE))]))
        check(sink, made, BDAT, peak(lambda: list(client.send_many(iter([addressed(made)] * 2)))))
    assert sink.taken[-1].digest == sink.taken[-2].digest


@pytest.mark.parametrize("kind", ["an email message", "text", "octets"])
def test_send(kind: str) -> None:
    """The function that connects, too."""
    make = KINDS[kind]
    made = make(SIZE)

    def sent(message: Any) -> Sink:
        sink = Sink(*BDAT)
        with listening(sink) as port:
            assert smtp_blocking.send(message, "127.0.0.1", port, sender=SENDER, recipients=TO).delivered
        return sink

    sent(make(2 * PIECE))
    sinks: list[Sink] = []
    most = peak(lambda: sinks.append(sent(made)))
    check(sinks[0], made, BDAT, most)


@pytest.mark.parametrize("offers", [DATA, BDAT], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("kind", KINDS)
def test_asyncio(kind: str, offers: tuple[str, ...]) -> None:
    """The same with coroutines: one message, and many."""
    asyncio.run(in_a_loop(smtp_asyncio, kind, offers))


@pytest.mark.parametrize("kind", ["an email message", "text", "octets"])
@pytest.mark.parametrize("module", [smtp_trio, smtp_anyio], ids=["trio", "anyio"])
def test_other_loops(module: Any, kind: str) -> None:
    """And in the other loops."""
    trio.run(in_a_loop, module, kind, BDAT)


async def in_a_loop(module: Any, kind: str, offers: tuple[str, ...]) -> None:
    sink, make = Sink(*offers), KINDS[kind]
    made = make(SIZE)
    async with module.SMTP("localhost", stream=AsyncSink(sink)) as client:

        async def one(message: Any) -> None:
            assert (await client.deliver(*arguments(message))).delivered

        async def many(message: Any) -> None:
            async with client.send_many(iter([addressed(message)])) as sending:
                assert all([outcome.delivered async for outcome in sending])

        for send in (one, many):
            await send(make(2 * PIECE))
            with measured() as most:
                await send(made)
            check(sink, made, offers, most[0])


@pytest.mark.parametrize("header", [b"", b"MIME-Version: 1.0\r\nDKIM-Signature: x\r\n"], ids=["no MIME", "signed"])
def test_what_cannot_be_reencoded(header: bytes) -> None:
    """A message of eight bits that goes as it is, for nothing may be changed, is not parsed to find that out."""
    offers = ("PIPELINING", "SIZE")
    sink, made = Sink(*offers), header + octets("ü".encode() * 30 + b"\r\n")(SIZE)
    with smtp_blocking.SMTP("localhost", stream=sink) as client:
        client.sendmail(SENDER, TO, b"x")
        check(sink, made, offers, peak(lambda: client.sendmail(SENDER, TO, made)))


def test_what_is_held_is_seen() -> None:
    """The bound is one that a copy would break: a message that must be re-encoded is held."""
    sink, made = Sink("PIPELINING"), octets("ü".encode() * 30 + b"\r\n")(SIZE // 4)
    made = b"MIME-Version: 1.0\r\n" + made
    with smtp_blocking.SMTP("localhost", stream=sink) as client:
        assert peak(lambda: client.sendmail(SENDER, TO, made)) > BOUND


@pytest.mark.parametrize("offers", [DATA, BDAT], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("make", [email, lambda size: expected(email(size)).decode()], ids=["email message", "text"])
def test_progress(make: Callable[[int], Any], offers: tuple[str, ...]) -> None:
    """Progress is told as for the octets: after every piece, and of the same total."""

    def told(message: Any) -> list[tuple[int, int | None]]:
        found: list[tuple[int, int | None]] = []
        with smtp_blocking.SMTP("localhost", stream=Sink(*offers)) as client:
            client.deliver(message, SENDER, TO, progress=lambda *done: found.append(done))
        return found

    made = make(10 * PIECE)
    assert told(made) == told(expected(made))
    assert len(told(made)) > 10


def test_what_goes_out_is_what_the_message_was() -> None:
    """A message that is changed behind `send_many`'s back, for the next one, is sent as it was."""
    sink, made = Sink(*BDAT), email(10 * PIECE)
    first = digest(expected(made))

    def messages() -> Any:
        yield made
        del made["Subject"]
        made["Subject"] = "another"
        [part] = [part for part in made.iter_attachments() if part.get_content_type() != "text/plain"]
        part.set_payload("QUJE\n" * 2 * PIECE)
        yield made

    with smtp_blocking.SMTP("localhost", stream=sink) as client:
        assert all(outcome.delivered for outcome in client.send_many(messages()))
    assert [taken.digest for taken in sink.taken] == [first, digest(expected(made))]


def test_a_boundary_is_made_up_once() -> None:
    """A message without boundaries has the same where it is measured and where it is sent; itself it has none still."""
    made = forwarded(10 * PIECE)
    for part in made.walk():
        if part.is_multipart() and part.get_content_maintype() == "multipart":
            part.del_param("boundary")
    with (
        mock.patch("smtp_proto.message.os", wraps=os) as system,
        smtp_blocking.Server() as server,
        smtp_blocking.SMTP(server.host, server.port) as client,
    ):
        assert client.send_message(made) == {}
    assert system.urandom.call_count == 2
    assert {part.get_boundary() for part in made.walk()} == {None}
    arrived = message_from_bytes(server.messages[0].content, policy=policy.default)
    assert [part.get_content_type() for part in arrived.walk()] == [part.get_content_type() for part in made.walk()]
    assert len({part.get_boundary() for part in arrived.walk()} - {None}) == 2


@pytest.mark.parametrize("option", ["BODY=BINARYMIME", "BODY=8BITMIME"])
@pytest.mark.parametrize("make", [email, lambda size: expected(email(size)).decode()], ids=["email message", "text"])
def test_who_says_how_it_goes(make: Callable[[int], Any], option: str) -> None:
    """An option about the content is taken at its word."""
    sink, made = Sink(*BINARY), make(10 * PIECE)
    with smtp_blocking.SMTP("localhost", stream=sink) as client:
        assert client.deliver(made, SENDER, TO, [option]).delivered
    whole = expected(made)
    assert (sink.taken[0].size, sink.taken[0].digest) == (len(whole), digest(whole))
    assert sink.taken[0].mail.parameter("BODY") == option.removeprefix("BODY=")


class Own(smtp_blocking.SMTP):
    """Has a `sendmail` of its own, and steps, which are given octets."""

    given: object = None

    def sendmail(self, from_addr: Any, to_addrs: Any, msg: Any, *args: Any, **options: Any) -> Any:
        self.given = msg
        return super().sendmail(from_addr, to_addrs, msg, *args, **options)

    def send(self, s: Any) -> None:
        super().send(s)


class OwnSteps(smtp_blocking.SMTP):
    given: object = None

    def data(self, msg: Any) -> Any:
        self.given = msg
        return super().data(msg)


@pytest.mark.parametrize("kind", [Own, OwnSteps])
def test_what_is_overridden_is_given_octets(kind: Any) -> None:
    """What people have made their own has always had the whole message."""
    sink, made = Sink(*BDAT), email(10 * PIECE)
    with kind("localhost", stream=sink) as client:
        assert client.send_message(made) == {}
        assert client.given == expected(made)
        text = expected(made).decode()
        assert client.sendmail(SENDER, TO, text) == {}
    assert {taken.digest for taken in sink.taken} == {digest(expected(made))}


@pytest.mark.parametrize(
    ("text", "problem"), [("ü", UnicodeEncodeError), ("\udcc3", UnicodeEncodeError), ("\0", ValueError)]
)
@pytest.mark.parametrize("call", ["sendmail", "data"])
def test_text_that_is_none(text: str, problem: type[Exception], call: str) -> None:
    """A long text with what a message may not have is refused before anything is sent, as a short one is."""
    sink = Sink("PIPELINING")
    with smtp_blocking.SMTP("localhost", stream=sink) as client:
        client.ehlo()
        if call == "data":
            client.mail(SENDER)
            client.rcpt(TO[0])
        before = sink.written.hexdigest()
        with pytest.raises(problem):
            client.data("x\n" * PIECE + text) if call == "data" else client.sendmail(SENDER, TO, "x\n" * PIECE + text)
        assert sink.written.hexdigest() == before
        assert client.rset()[0] == 250


def test_data_of_a_long_text() -> None:
    """`data` takes a long text as well."""
    sink, text = Sink(), ".x\n" * PIECE
    with smtp_blocking.SMTP("localhost", stream=sink) as client:
        client.ehlo()
        client.mail(SENDER)
        client.rcpt(TO[0])
        assert client.data(text)[0] == 250
    assert sink.taken[0].digest == digest(expected(text))


OFFERS = st.sets(st.sampled_from(["PIPELINING", "SIZE", "8BITMIME", "CHUNKING", "BINARYMIME", "SMTPUTF8"]))


@settings(max_examples=100, deadline=None)
@given(made=TREES, rules=st.sampled_from(POLICIES), offers=OFFERS, piece=st.sampled_from([1, 5, 64, PIECE]))
def test_what_is_written_is_what_all_at_once_would_be(
    made: Message[Any, Any], rules: Any, offers: set[str], piece: int
) -> None:
    """To the octet, envelope and all, or the same mistake is told: however small a message is, and its pieces are."""
    made.policy = rules

    def wire(held: int) -> object:
        sink = Sink(*sorted(offers))
        with (
            mock.patch("smtp_proto.message.HELD", held),
            mock.patch("smtp_proto.composed.PIECE", piece),
            smtp_blocking.SMTP("localhost", stream=sink, local_hostname="client.test") as client,
        ):
            try:
                client.send_message(made, SENDER, TO)
            except Exception:  # noqa: BLE001  # whichever: of several mistakes either may be found first
                return "refused", sink.written.hexdigest()
        return "sent", sink.written.hexdigest()

    assert wire(-1) == wire(1 << 30)
