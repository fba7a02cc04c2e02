"""SMTP and LMTP as pure state machines: commands to octets, octets to replies, and nothing else.

No socket, no clock, no thread, no TLS: a program of your own moves the octets (`ClientConnection`, `ServerConnection`),
or drives one of the ready-made conversations (`ClientSession`, `deliver`, `ServerSession`).  The package
`smtp_blocking` does that for you, with the names of `smtplib`.
"""

from typing import TYPE_CHECKING, Any

from .client import ClientConnection, ClientEvent
from .commands import (
    Auth,
    AuthResponse,
    Bdat,
    Burl,
    Command,
    Data,
    Ehlo,
    EndOfData,
    Etrn,
    Expn,
    Greeting,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Raw,
    Rcpt,
    Rset,
    StartTLS,
    Vrfy,
    XClient,
    XForward,
)
from .effects import Flow
from .errors import (
    ConnectionLost,
    InvalidArgument,
    LimitExceeded,
    LocalProtocolError,
    MissingExtra,
    ProtocolError,
    RemoteProtocolError,
)
from .events import (
    NEED_DATA,
    PAUSED,
    BodyReceived,
    CommandReceived,
    CommandRejected,
    ConnectionClosed,
    Event,
    ReplyReceived,
    ServiceClosing,
)
from .extensions import Extensions
from .grammar import EnhancedStatus
from .outcome import Outcome, Phase, RecipientOutcome
from .replies import Reply
from .sasl import Mechanism
from .session import ClientSession
from .states import DEFAULT_TIMEOUTS, Stage, State
from .transaction import deliver
from .transcript import Said, Transcript

if TYPE_CHECKING:
    from .engine import Cancelled, Engine
    from .handler import Handler, ReceivedMessage, UserHandler
    from .replaying import Replay, ReplayError, replay
    from .server import ServerConnection, ServerEvent
    from .server_session import ServerSession, Settings

_ON_DEMAND = {
    *("Cancelled", "Engine", "Handler", "ReceivedMessage", "Replay", "ReplayError", "UserHandler"),
    *("ServerConnection", "ServerEvent", "ServerSession", "Settings", "replay"),
}


def __getattr__(name: str) -> Any:
    """What a client needs none of is imported when somebody asks for it: that is a fifth of the time of the import."""
    if name in _ON_DEMAND:
        from . import engine, handler, replaying, server, server_session

        modules = (engine, handler, replaying, server, server_session)
        return next(getattr(module, name) for module in modules if hasattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DEFAULT_TIMEOUTS",
    "NEED_DATA",
    "PAUSED",
    "Auth",
    "AuthResponse",
    "Bdat",
    "BodyReceived",
    "Burl",
    "Cancelled",
    "ClientConnection",
    "ClientEvent",
    "ClientSession",
    "Command",
    "CommandReceived",
    "CommandRejected",
    "ConnectionClosed",
    "ConnectionLost",
    "Data",
    "Ehlo",
    "EndOfData",
    "Engine",
    "EnhancedStatus",
    "Etrn",
    "Event",
    "Expn",
    "Extensions",
    "Flow",
    "Greeting",
    "Handler",
    "Helo",
    "Help",
    "InvalidArgument",
    "Lhlo",
    "LimitExceeded",
    "LocalProtocolError",
    "Mail",
    "Mechanism",
    "MissingExtra",
    "Noop",
    "Outcome",
    "Phase",
    "ProtocolError",
    "Quit",
    "Raw",
    "Rcpt",
    "ReceivedMessage",
    "RecipientOutcome",
    "RemoteProtocolError",
    "Replay",
    "ReplayError",
    "Reply",
    "ReplyReceived",
    "Rset",
    "Said",
    "ServerConnection",
    "ServerEvent",
    "ServerSession",
    "ServiceClosing",
    "Settings",
    "Stage",
    "StartTLS",
    "State",
    "Transcript",
    "UserHandler",
    "Vrfy",
    "XClient",
    "XForward",
    "deliver",
    "replay",
]
