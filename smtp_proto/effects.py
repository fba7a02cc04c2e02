"""Effects: what a conversation asks its driver to do.

A conversation (a *flow*) is a generator.  It yields effects and is sent their results, so that it can be written once
and run by any driver: with blocking sockets, under any event loop, or over scripted octets in a test.  Each effect is
typed by what it gives back: in ``octets = yield from Receive(stage)`` a type checker knows that these are `bytes`.

A driver is a loop of ten lines: perform the effect, send the result in, and throw in *every* exception that performing
it raised.  When an exception leaves the flow and the connection is not `at_boundary`, the driver closes the transport
with nothing that can wait; the flow cannot do it any more, for it cannot yield.

What transports must make of it stands with each effect.  All failures of the network are `OSError` (`TimeoutError` for
a deadline); nothing else is taken for one.
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar

from .channel_binding import TLSFacts
from .states import Stage

if TYPE_CHECKING:
    import ssl

R = TypeVar("R")
T = TypeVar("T")
P = ParamSpec("P")


class Effect(Generic[R]):
    """Something to be done that gives back an `R`."""

    __slots__ = ()

    def __iter__(self) -> "Generator[Effect[R], R, R]":
        return (yield self)


#: A conversation that returns a `T`.
Flow = Generator[Effect[Any], Any, T]


class Connect(Effect[None]):
    """Connect the transport.  Deadline: `Stage.CONNECT`."""

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port


class Sent(NamedTuple):
    """What became of a `Send`: octets that arrived meanwhile (None: nothing, b"": the end), and chunks still unsent."""

    received: bytes | None
    unsent: list[bytes]


class Send(Effect[Sent]):
    """Write the chunks, in order; return when all is written *or* octets have arrived.

    Looking at what arrives while writing is how an early refusal is seen, and why two full buffers do not deadlock.
    The deadline (that of `stage`) is on progress: it starts again whenever an octet could be written; with `again`, the
    one of the `Send` before it, which wrote nothing, runs on.  With `listen=False` nothing is read: for a server, whose
    input may be a flood and can wait.  `rest`: it was all in the effect before it already, for who tells what goes out.
    """

    __slots__ = ("again", "chunks", "listen", "rest", "stage")

    def __init__(
        self, chunks: list[bytes], stage: Stage, listen: bool = True, again: bool = False, rest: bool = False
    ) -> None:
        self.chunks = chunks
        self.stage = stage
        self.listen = listen
        self.again = again
        self.rest = rest


class Receive(Effect[bytes]):
    """Wait for octets; b"" is the end of what the peer sends.

    The deadline is for all that is waited for, not for each read: with `again`, the one of the `Receive` before it runs
    on, so that a peer that drips gains nothing.
    """

    __slots__ = ("again", "stage")

    def __init__(self, stage: Stage, again: bool = False) -> None:
        self.stage = stage
        self.again = again


class Interrupted(Exception):  # it is no error
    """Thrown into a flow that is in a `Receive`, for somebody else has something for it to do; nothing was lost."""


class Poll(Effect[bytes | None]):
    """What has arrived by now, without waiting: None for nothing, b"" for the end."""

    __slots__ = ()


class Flight(Effect[bytes | None]):
    """Octets and the first ones of their answer: a `Poll` if it `looks`, a `Send`, and a `Receive` with the deadline of
    `answer`, in one.

    It ends early where anything arrives before the first octet was written, for that is no answer, or before the last;
    and it may, with None, where the rest has to wait until the peer has read.  `begun` and `written` say how far it has
    come, also where it raises: with `begun`, octets may be out, and with `written` all are; in between, `unsent` has
    the rest.

    What came behind the last octet is given to `follow`: where that is True, the flight is another one by then, and is
    performed like the one before (`smtp_proto.foreseen`).

    `steps` is what it does in the other effects, and so drivers need not know of it: flows only ask for it where they
    are told that their driver performs it (`ClientSession.flights`): one effect takes less time than three.
    """

    # Slots could have no defaults, and there is one of these for each message and more.
    begun = written = False
    unsent: Sequence[bytes] = ()

    def __init__(self, octets: bytes, stage: Stage, answer: Stage, looks: bool) -> None:
        self.octets = octets
        self.stage = stage
        self.answer = answer
        self.looks = looks

    def follow(self, octets: bytes) -> bool:
        """What follows an answer that begins with `octets`: nothing, unless this says so."""
        return False

    def steps(self) -> Flow[bytes | None]:
        """All of it, by other effects."""
        while True:
            if self.looks:
                octets = yield from Poll()
                if octets is not None:
                    return octets
            self.begun = True
            octets, self.unsent = yield from Send([self.octets], self.stage)
            if self.unsent:
                return octets
            self.written = True
            if octets is None:
                octets = yield from Receive(self.answer)
            if not self.follow(octets):
                return octets


class StartTLS(Effect[TLSFacts | None]):
    """Do the TLS handshake and go on encrypted.  Deadline: `Stage.TLS`, for the whole handshake.

    Gives what is known of the session (`smtp_proto.tls.facts_of`), for log-ins that depend on it; None where the
    transport has no way to tell.
    """

    __slots__ = ("context", "server_hostname", "server_side")

    def __init__(
        self, context: "ssl.SSLContext", server_hostname: str | None = None, server_side: bool = False
    ) -> None:
        self.context = context
        self.server_hostname = server_hostname
        self.server_side = server_side


class Pull(Effect[object]):
    """The next of `chunks`, a streamed body; None at its end.  An asynchronous driver takes asynchronous ones, too."""

    __slots__ = ("chunks",)

    def __init__(self, chunks: Iterator[object] | AsyncIterator[object]) -> None:
        self.chunks = chunks

    def next(self) -> object:
        """What a driver gives that awaits nothing; `TypeError` for what would have to be awaited."""
        if not isinstance(self.chunks, Iterator):
            raise TypeError("an asynchronous iterable needs an asynchronous client")
        return next(self.chunks, None)


class Call(Effect[R]):
    """Call a function of the application; where the driver is asynchronous, await what it gives if that is awaitable.

    This is how a public method that was overridden or patched keeps being used, and how a server asks its handler.
    """

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., R], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments


class Close(Effect[None]):
    """Close the transport.  Never fails."""

    __slots__ = ()
