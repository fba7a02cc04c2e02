"""`send_many`: many messages over one connection, for every surface; what goes when is for `smtp_proto.many`.

Theory of operation.  A `Batch` pulls a message, makes it ready, and hands it over to a `Mailing`; what comes of it has
its `Place` in the order of the messages, and is given out when it is the first.  A message that cannot be sent at all,
for its addresses or itself, has the reason at its place, and nothing else is concerned.  A message that needs more than
one transaction, or methods that somebody has made their own, waits until all before it are finished, and is then sent
as `deliver` would.

What ends it all, a lost connection or an exception of the source, is raised behind the last place: so first everybody
learns what is known of each message.
"""

import smtplib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from email.message import Message
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from smtp_proto.effects import Call, Flow
from smtp_proto.limits import cut
from smtp_proto.many import Mailing
from smtp_proto.outcome import Outcome
from smtp_proto.transaction import Transaction

from .conversations import Translated
from .delivery import Content, Ready
from .exceptions import SMTPServerDisconnected

if TYPE_CHECKING:
    from .client import Client

#: What `send_many` takes; an asynchronous iterable needs an asynchronous client.
Messages = Iterable[Any] | AsyncIterable[Any]


class Envelope(NamedTuple):
    """A message for `send_many`, with its addresses and options; a plain tuple of the first three does as well.

    `message` may be whatever `deliver` takes; for an `email.message.Message` the addresses may be None.
    """

    sender: str | None
    recipients: str | Sequence[str] | None
    message: Content
    mail_options: Sequence[str] = ()
    rcpt_options: Sequence[str] = ()


class Place:
    """What became of one message: its `outcome`, or the `error` that is the reason why it was not sent."""

    __slots__ = ("error", "outcome", "transaction")

    def __init__(self) -> None:
        self.outcome: Outcome | None = None  # until the message is made ready
        self.error: Exception | None = None
        self.transaction: Transaction | None = None  # that is in flight


class Feeder(Protocol):
    """Pulls messages while the connection is waited for."""

    #: True while the connection is listened to, which a message is to interrupt.
    listening: bool

    def ask(self) -> None:
        """Have the next message pulled, unless it is being pulled already."""

    @property
    def ready(self) -> bool:
        """True if the message, or the end of them, is there."""

    def wait(self) -> Any:
        """Wait until it is; to be awaited."""

    def take(self) -> object:
        """What was pulled, None for the end; what pulling raised is raised here."""


class Batch:
    """One `send_many`: flows for the surface to run, one result at a time."""

    def __init__(self, client: "Client", messages: Messages) -> None:
        if isinstance(messages, (str, bytes, Envelope, Message)):
            raise TypeError(f"send_many takes an iterable of messages, not one {type(messages).__name__}")
        if isinstance(messages, AsyncIterable) and not client._asynchronous:
            raise TypeError("an asynchronous iterable needs an asynchronous client")
        self.messages: Iterator[Any] | AsyncIterator[Any]
        self._step: Callable[[Any, Any], Any]
        self._at_hand = isinstance(messages, (list, tuple))  # pulling waits for nobody, and calls nobody
        if isinstance(messages, AsyncIterable):
            self.messages, self._step = aiter(messages), anext
        else:
            self.messages, self._step = iter(messages), next
        self.feeder: Feeder | None = None
        #: True when nothing is left to be given.
        self.over = False
        self._client = client
        self._mailing: Mailing | None = None
        self._places: deque[Place] = deque()
        self._flying: deque[Place] = deque()  # those of them whose transactions are in flight
        self._started = False
        self._ended = False  # no more messages are pulled
        self._failure: Exception | None = None  # to be raised behind the last place

    def next(self) -> Flow[Place | None]:
        """The next place whose message is finished; None behind the last."""
        self._started = True
        while True:
            self._notice()
            self._collect()
            yield from self._refill()
            mailing = self._mailing
            if self._places and self._places[0].transaction is None:
                return self._places.popleft()
            if mailing is not None and mailing.in_flight and (self._ended or mailing.full or self._streams):
                yield from self._watched(mailing.wait())
            elif not self._ended:
                yield from self._pull()
            else:
                yield from self.leave()
                self.over = True
                if self._failure is None:
                    return None
                last = Place()
                last.error, self._failure = self._failure, None
                return last

    def finished(self) -> Place | None:
        """`next`, where nothing is to be done for it: its message is finished and the line is busy.  None where not."""
        places, mailing = self._places, self._mailing
        if not places or places[0].transaction is not None or (mailing is not None and mailing.roomy):
            return None
        return places.popleft()

    @property
    def _streams(self) -> bool:
        """True if one message after the other can go out without waiting, so that they go several at a time."""
        return self._at_hand and self._mailing is not None and self._mailing.eager

    def _refill(self) -> Flow[None]:
        """Send what is at hand before a result is given out: who knows when the next one is asked for."""
        mailing = self._mailing
        if not self._streams or mailing is None or not mailing.roomy or len(self._places) > mailing.window:
            return
        for _ in range(mailing.window - mailing.in_flight):
            if self._ended or self._mailing is not mailing:
                return
            yield from self._pull()
        yield from self._watched(mailing.write())

    def leave(self) -> Flow[None]:
        """Pull no more, finish all that is in flight, and leave no transaction open."""
        self._notice()
        self._ended = True
        mailing = self._mailing
        if mailing is not None and mailing.session is self._client._session:
            yield from self._watched(mailing.leave())
            if mailing.connection.closed:
                yield from Call(self._client.close)
        self._client.command_encoding = "ascii"

    def give_up(self) -> None:
        """The connection is given up: what is in flight stays as it is known."""
        self._ended = self.over = True
        mailing = self._mailing
        if mailing is not None:
            mailing.lose()
            if self._client._session is mailing.session:
                self._client._discard()

    def rest(self) -> list[Outcome]:
        """What became of the messages that were not given out."""
        self._collect()
        if self.feeder is not None and self.feeder.ready:
            with suppress(Exception):
                if self.feeder.take() is not None:
                    self._places.append(Place())  # which nobody has asked for any more
        rest = [place.outcome or Outcome() for place in self._places]
        self._places.clear()
        return rest

    @property
    def occupied(self) -> bool:
        """True if the connection is this batch's: from the first step to the last, or until it is closed."""
        return self._started and not self.over and (self._mailing is None or not self._mailing.connection.closed)

    # -- one message --------------------------------------------------------------------------------------------------

    def _pull(self) -> Flow[None]:
        client = self._client
        try:
            if self._at_hand:
                assert isinstance(self.messages, Iterator)  # for the type checker
                message = next(self.messages, None)
            elif self.feeder is None:
                with client._callback():
                    message = yield from Call(self._step, self.messages, None)
            elif (yield from self._fed(self.feeder)):
                message = self.feeder.take()
            else:
                return
        except Exception as error:  # noqa: BLE001  # of the application: told when all that was sent has been
            self._end(error)
            return
        if message is None:
            self._ended = True
            return
        place = Place()
        self._places.append(place)
        try:
            envelope = envelope_of(message)
            arguments = yield from client._arguments(
                envelope.message, envelope.sender, envelope.recipients, envelope.mail_options
            )
            untouched = client._untouched
            if client._hello_due(untouched):
                yield from Call(client.ehlo_or_helo_if_needed)
                untouched = client._untouched
            ready = client._made_ready(*arguments, envelope.rcpt_options, untouched)
            place.outcome = ready.outcome
            if ready.outcome.mail is None:
                yield from self._send(place, ready)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told at the message's place
            if client._session is None or isinstance(error, (smtplib.SMTPServerDisconnected, smtplib.SMTPHeloError)):
                self._end(error)  # no message that could follow would fare better
            else:
                place.error = error

    def _fed(self, feeder: Feeder) -> Flow[bool]:
        """Wait for a message or an answer; False if an answer has finished something, or everything."""
        feeder.ask()
        while not feeder.ready:
            mailing = self._mailing
            if mailing is None or not mailing.in_flight:
                yield from Call(feeder.wait)
                continue
            feeder.listening = True
            try:
                yield from self._watched(mailing.listen())
            finally:
                feeder.listening = False
            if not self._ended:
                yield from self._watched(mailing.heard())
            self._collect()
            if self._ended or self._places[0].transaction is None:
                return self._ended and feeder.ready
        return True

    def _send(self, place: Place, ready: Ready) -> Flow[None]:
        client = self._client
        if not ready.at_once or self._in_parts(ready):
            yield from self._send_alone(ready)
            return
        mail, recipients = client._commands(ready)
        mailing, chunking = self._begun(), client._chunks(ready)
        source = client._source(ready, mail, recipients, chunking)
        place.transaction = Transaction(
            mailing.session, mail, recipients, source, ready.outcome, mailing.pipelining, chunking, answered=mailing
        )
        self._flying.append(place)
        yield from self._watched(mailing.submit(place.transaction, hold=self._at_hand))

    def _in_parts(self, ready: Ready) -> bool:
        limits = ready.terms.limits
        return bool(limits) and ("MAILMAX" in limits or len(cut(ready.paths, limits)) > 1)

    def _send_alone(self, ready: Ready) -> Flow[None]:
        """Send a message as `deliver` does, with nothing else in flight."""
        client = self._client
        if self._mailing is not None:
            yield from self._watched(self._mailing.leave())
            self._collect()
        if self._failure is not None:
            return
        try:
            yield from client._sent(ready)
        except Exception as error:
            client._interrupted(error)
            raise
        finally:
            self._mailing = None
        if client._session is not None:  # another one, maybe
            self._begun()

    def _begun(self) -> Mailing:
        """The mailing over the connection that there is."""
        if self._mailing is None:
            terms = self._client._agreed(self._client._untouched)
            self._mailing = Mailing(self._client._idle(), self._client.pipelining and terms.pipelining)
        return self._mailing

    def _notice(self) -> None:
        """See whether the connection was closed from outside; what stands in its place is not this batch's."""
        mailing = self._mailing
        if mailing is not None and not self._ended and mailing.session is not self._client._session:
            mailing.lose()
            self._end(SMTPServerDisconnected("the connection was closed while send_many was under way"))

    def _watched(self, flow: Flow[None]) -> Flow[None]:
        """What ends the connection is raised behind the last place, not before."""
        try:
            with Translated(self._client):
                yield from flow
        except Exception as error:
            assert self._mailing is not None
            if not self._mailing.connection.closed:
                raise
            self._end(error)

    def _end(self, error: Exception) -> None:
        self._ended = True
        self._failure = self._failure or error

    def _collect(self) -> None:
        """Match what is finished to its place."""
        if self._mailing is None:
            return
        while (done := self._mailing.result()) is not None:
            # They are finished in their order.  Only where somebody has interrupted this is another one the first.
            if self._flying and self._flying[0].transaction is done:
                self._flying.popleft().transaction = None
            self._client._delivered = self._client._delivered or done.outcome.delivered


def envelope_of(message: Any) -> Envelope:
    """A message of any kind with its addresses; `TypeError` for what is none."""
    if isinstance(message, Envelope):
        return message
    if isinstance(message, tuple) and len(message) == 3:
        return Envelope(*message)
    if isinstance(message, Message):
        return Envelope(None, None, message)
    raise TypeError(
        "a message is an email.message.Message, an Envelope, or a tuple (sender, recipients, message), not "
        f"{type(message).__name__}"
    )
