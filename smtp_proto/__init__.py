"""SMTP and LMTP as pure state machines: commands to octets, octets to replies, and nothing else.

No socket, no clock, no thread, no TLS: a program of your own moves the octets (`ClientConnection`, `ServerConnection`),
or drives one of the ready-made conversations (`ClientSession`, `deliver`, `ServerSession`).  The package
`smtp_blocking` does that for you, with the names of `smtplib`.
"""

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
from .engine import Cancelled, Engine
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
from .handler import Handler, ReceivedMessage, UserHandler
from .outcome import Outcome, Phase, RecipientOutcome
from .replay import Replay, ReplayError, replay
from .replies import Reply
from .sasl import Mechanism
from .server import ServerConnection, ServerEvent
from .server_session import ServerSession, Settings
from .session import ClientSession
from .states import DEFAULT_TIMEOUTS, Stage, State
from .transaction import deliver
from .transcript import Said, Transcript

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
