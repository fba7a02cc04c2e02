"""What can go wrong with the protocol itself.

A refusal (4xx, 5xx) is not here: it is an answer, and comes out of the core as data.  What is here divides by whose
mistake it was, because that decides what is left of the connection:

* `LocalProtocolError`: the caller asked for something that would desynchronise the dialogue or inject into it.
  Nothing was sent and the connection is as it was before the call.
* `RemoteProtocolError`: the peer broke the framing.  Nothing that follows can be matched to a command any more, so the
  connection is poisoned for good; every later use raises the same error again.
* `ConnectionLost`: the peer, or the network, ended the connection before an answer that was due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .outcome import Outcome
    from .replies import Reply


class ProtocolError(Exception):
    """Base class of the errors of `smtp_proto`."""


class LocalProtocolError(ProtocolError):
    """The caller's mistake.  Nothing was sent; the connection is as before."""


class InvalidArgument(LocalProtocolError, ValueError):
    """An argument that must not reach the wire: a control character, a lone surrogate, a broken path, ...

    `argument` names it, in the words of the RFC ("reverse-path", "domain", ...).
    """

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        self.argument = argument
        self.problem = problem

    def __reduce__(self) -> tuple[type[InvalidArgument], tuple[str, str]]:
        return type(self), (self.argument, self.problem)


class MissingExtra(ProtocolError, ImportError):
    """An optional package is not installed; the message says what to do."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs a package that is not installed: pip install 'sansio-smtp[{extra}]'")
        self.feature = feature
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return type(self), (self.feature, self.extra)


class RemoteProtocolError(ProtocolError):
    """The peer's mistake.  The connection is poisoned; close it.

    `reply` is the offending reply where there is a whole one (a 250 to DATA, say), so that its text is not lost.
    """

    def __init__(self, message: str, reply: Reply | None = None) -> None:
        super().__init__(message)
        self.reply = reply


class LimitExceeded(RemoteProtocolError):
    """The peer sent a line or a reply beyond the bound that keeps memory bounded (see `smtp_proto.buffer`)."""


class ConnectionLost(ProtocolError):
    """The connection ended while an answer was due, or was closed by the server with a 421.

    `reply` is the 421, or the refusal that came before the end, where one was received.  `outcome`, after a mail
    transaction, says how far it had come, and with `outcome.may_be_delivered` whether the server may have taken the
    message although its answer was lost.
    """

    def __init__(self, message: str, reply: Reply | None = None, outcome: Outcome | None = None) -> None:
        super().__init__(message)
        self.reply = reply
        self.outcome = outcome
