"""One conversation of the differential test, played with one of the two libraries.

Beyond the methods there are calls of the runner's own: "written" is `putcmd` and `getreply`, "raw" `send` and
`getreply`, "transaction" `mail`, `rcpt` and `data`, "with" a `with` block with calls inside, and a `starttls` has a
context that verifies nothing (the server always refuses it: TLS has tests of its own).
"""

from __future__ import annotations

import email
import email.policy
import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from functools import partial
from typing import Any, NamedTuple

import smtp_blocking

from .differential_generate import Call, Conversation, Letter
from .differential_server import Exchange, ScriptedSocket, Server

#: What is compared after every call.
ATTRIBUTES = (
    *("ehlo_resp", "helo_resp", "esmtp_features", "does_esmtp", "command_encoding", "ehlo_msg", "local_hostname"),
    *("default_port", "timeout", "source_address", "debuglevel", "user", "password"),
)
# What exceptions of this library have on top (see smtp_surface.exceptions), and InvalidArgument's own.
_ADDED = ("reply", "outcome", "argument", "attempts", "oauth_error")

# A wait on the scripted server is for what will never come, so this may be short.  It is not to be zero.
_TIMEOUT = 0.005

_CONTEXT = ssl._create_unverified_context()  # noqa: S323  # no handshake ever comes about


class Raised(NamedTuple):
    """An exception: its classes' names, the own one first, its arguments and attributes."""

    classes: tuple[str, ...]
    text: str
    arguments: tuple[Any, ...]
    attributes: dict[str, Any]

    @property
    def name(self) -> str:
        return self.classes[0]


class Step(NamedTuple):
    """What one call did."""

    call: Call
    result: Any
    exchanges: tuple[Exchange, ...]
    connected: bool
    attributes: dict[str, Any]
    end: int  # how many exchanges there were so far

    @property
    def wire(self) -> bytes:
        """What the server received."""
        return b"".join(exchange.request for exchange in self.exchanges)


def play(library: Any, conversation: Conversation) -> list[Step]:
    """Play the conversation; the first step is the constructor."""
    server = Server(conversation.script)
    base: Any = library.LMTP if conversation.lmtp else library.SMTP

    class Client(base):  # type: ignore[misc]  # which of the two it is only shows now
        def _get_socket(self, host: str, port: int, timeout: Any) -> ScriptedSocket:
            return server.connect()

    steps: list[Step] = []
    client: Any = None

    def record(call: Call, function: Callable[[], Any]) -> None:
        before = len(server.exchanges)
        failure = None
        try:
            result = function()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is compared
            result, failure = _raised(error), error
        # The calls inside a block are steps of their own, with exchanges of their own.
        before = max([before, *(step.end for step in steps)])
        attributes = {name: _plain(getattr(client, name, None)) for name in ATTRIBUTES}
        connected = client is not None and client.sock is not None
        exchanges = tuple(server.exchanges[before:])
        steps.append(Step(call, _plain(result), exchanges, connected, attributes, len(server.exchanges)))
        if failure is not None:
            raise failure

    def construct() -> None:
        nonlocal client
        host = "server.test" if conversation.constructed else ""
        options = {} if library is smtplib else {"pipelining": False, "chunking": False}
        client = Client(host, local_hostname="client.test", timeout=_TIMEOUT, **options)

    def block(raising: bool, inner: tuple[Call, ...]) -> None:
        with client:
            for call in inner:
                record(call, partial(perform, client, call))
            if raising:
                raise LookupError("raised inside the block")

    try:
        with suppress(Exception):
            record(Call("constructor"), construct)
        for call in conversation.calls if client is not None else ():
            make = (
                partial(block, call.arguments[0], call.inner) if call.name == "with" else partial(perform, client, call)
            )
            with suppress(Exception):
                record(call, make)
    finally:
        if client is not None:
            client.close()
        server.close()
    return steps


def perform(client: Any, call: Call) -> Any:
    """Make one call."""
    match call.name:
        case "written":
            client.putcmd(*call.arguments)
            return client.getreply()
        case "raw":
            client.send(*call.arguments)
            return client.getreply()
        case "transaction":
            return [client.mail("a@b.test"), client.rcpt("c@d.test"), client.data(b"text\r\n")]
        case "starttls":
            return client.starttls(context=_CONTEXT)
        case "login" | "auth":
            *arguments, initial_response_ok = call.arguments
            return getattr(client, call.name)(*arguments, initial_response_ok=initial_response_ok)
        case "send_message":
            return client.send_message(_message(call.arguments[0]), *call.arguments[1:])
    return getattr(client, call.name)(*call.arguments)


def _message(letter: Letter) -> Message[Any, Any]:
    policy: Any = email.message_from_string("", policy=getattr(email.policy, letter.policy))
    for name, value in letter.headers:
        policy[name] = value
    policy.set_payload(letter.body)
    return policy  # type: ignore[no-any-return]


def _raised(error: Exception) -> Raised:
    classes = tuple(cls.__name__ for cls in type(error).__mro__ if issubclass(cls, Exception))
    if isinstance(error, smtplib.SMTPException):
        # Not of the same name only: whoever catches the one of smtplib catches it.
        assert isinstance(error, getattr(smtplib, classes[0]))
    attributes = {name: _plain(value) for name, value in vars(error).items() if name not in _ADDED}
    return Raised(tuple(dict.fromkeys(classes)), str(error), _plain(error.args), attributes)


def _plain(value: Any) -> Any:
    """A copy made of the types that are equal if they print alike: our tuples as tuples."""
    if isinstance(value, Raised):
        return value
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def play_both(conversation: Conversation) -> tuple[list[Step], list[Step]]:
    """What `smtplib` did, and what `smtp_blocking` did."""
    return play(smtplib, conversation), play(smtp_blocking, conversation)
