"""The server's side in tests: a handler that decides as it is told, a server that hears what a script says, and one
that answers whatever it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smtp_proto.commands import Bdat, Command, Mail, Rcpt
from smtp_proto.effects import Flow, Receive, Send
from smtp_proto.events import BodyReceived, CommandReceived, CommandRejected, ConnectionClosed
from smtp_proto.handler import Handler, ReceivedMessage, UserHandler
from smtp_proto.replies import Reply, ReplyReader
from smtp_proto.sasl_exchange import Credentials
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings
from smtp_proto.states import Stage

from .flows import Part, Scripted

# What clients say, for scripts.
EHLO = b"EHLO client.test\r\n"
LHLO = b"LHLO client.test\r\n"
MAIL = b"MAIL FROM:<a@client.test>\r\n"
RCPT = b"RCPT TO:<b@mx.test>\r\n"
DATA = b"DATA\r\n"
QUIT = b"QUIT\r\n"
TRANSACTION = EHLO + MAIL + RCPT + DATA + b"Subject: x\r\n\r\n..dot\r\n.\r\n"

USER, PASSWORD = "tim", "s3cret words"

#: What a method of a handler gives, or raises if it is an exception.
Answer = Reply | list[Reply] | Exception | None


class Deciding(Handler):
    """Keeps what it is asked, and decides by `answers`: by the method's name an answer, or a function that gives it."""

    def __init__(self, **answers: Answer | Callable[[Any], Answer]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.messages: list[ReceivedMessage] = []
        self.credentials: list[Credentials] = []
        self.failures: list[Exception] = []

    def _decide(self, method: str, argument: object = None) -> Any:
        self.asked.append(method)
        answer = self.answers.get(method)
        if callable(answer):
            answer = answer(argument)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def connect(self, session: ServerSession) -> Any:
        return self._decide("connect", session)

    def helo(self, session: ServerSession, command: Command) -> Any:
        return self._decide("helo", command)

    def auth(self, session: ServerSession, credentials: Credentials) -> Any:
        self.credentials.append(credentials)
        return self._decide("auth", credentials)

    def mail(self, session: ServerSession, command: Mail) -> Any:
        return self._decide("mail", command)

    def rcpt(self, session: ServerSession, command: Rcpt) -> Any:
        return self._decide("rcpt", command)

    def body(self, session: ServerSession, message: ReceivedMessage) -> Any:
        self.messages.append(message)
        return self._decide("body", message)

    def quit(self, session: ServerSession) -> Any:
        return self._decide("quit")

    def failed(self, session: ServerSession, error: Exception) -> None:
        self.failures.append(error)


class Noting(UserHandler):
    """Knows one user, and keeps who had logged in when QUIT came."""

    def __init__(self) -> None:
        super().__init__({USER: PASSWORD})
        self.logged_in: list[Credentials | None] = []

    def quit(self, session: ServerSession) -> None:
        self.logged_in.append(session.credentials)


class Served:
    """A server that has heard all of `segments` and then `end`: what it said, and what it is left with."""

    def __init__(
        self,
        *segments: bytes,
        handler: Handler | None = None,
        settings: Settings | None = None,
        lmtp: bool = False,
        tls: bool = False,
        end: bytes | BaseException = b"",
        sends: list[Part | BaseException | None] | None = None,
        handshake: BaseException | None = None,
    ) -> None:
        self.handler = handler if handler is not None else Deciding()
        self.session = ServerSession(
            ServerConnection(lmtp=lmtp), self.handler, settings or Settings(hostname="mx.test"), "somebody", tls
        )
        self.peer = Scripted([*filter(None, segments), end], sends=sends or [], handshake=handshake)
        self.peer.run(self.session.run())

    @property
    def replies(self) -> list[Reply]:
        """All replies behind the greeting."""
        return replies_in(self.peer.written)[1:]

    @property
    def codes(self) -> list[int]:
        return [reply.code for reply in self.replies]

    @property
    def hung_up_early(self) -> bool:
        """True if the server closed before it had heard all."""
        return bool(self.peer.left)


def replies_in(octets: bytes) -> list[Reply]:
    """Whole replies; what does not end in one fails."""
    reader = ReplyReader()
    reader.feed(octets)
    replies = []
    while (reply := reader.next_reply()) is not None:
        replies.append(reply)
    assert reader.quiet, f"half a reply at the end of {octets!r}"
    return replies


#: In the place of a code: no answer, the server hangs up.
HANGS_UP = 0

_USUAL = {"greeting": 220, "DATA": 354, "QUIT": 221}


class Answering:
    """A server that answers each command with the code that `codes` has for its row, and the row's name as text.

    Several codes are for one command after the other, the last one for all that follow; `HANGS_UP` is for hanging up
    instead.  It is the real `ServerConnection`, so it never breaks the protocol, but it accepts and refuses what and
    where it is told to.
    """

    def __init__(self, codes: Mapping[str, int | Sequence[int]] | None = None, *, lmtp: bool = False) -> None:
        self.connection = ServerConnection(lmtp=lmtp)
        self.commands: list[Command] = []
        self.messages: list[bytes] = []
        self.clean = True  # the client did not hang up in the middle of something
        self._gone = False
        self._codes = {row: [code] if isinstance(code, int) else list(code) for row, code in (codes or {}).items()}

    @property
    def rows(self) -> list[str]:
        """What has come in behind the introduction."""
        return [command.row for command in self.commands if command.row not in ("EHLO", "LHLO")]

    def _answer(self, row: str) -> None:
        codes = self._codes.get(row, [_USUAL.get(row, 250)])
        code = codes.pop(0) if len(codes) > 1 else codes[0]
        self._gone = self._gone or code == HANGS_UP
        if not self._gone:
            self.connection.send(Reply(code, row))

    def run(self) -> Flow[None]:
        connection = self.connection
        content = b""
        self._answer("greeting")
        while True:
            event = connection.next_event() if not self._gone else ConnectionClosed(False)
            if isinstance(event, CommandReceived):
                self.commands.append(event.command)
                if not isinstance(event.command, Bdat):
                    self._answer(event.command.row)
            elif isinstance(event, CommandRejected):
                connection.send(event.hint)
            elif isinstance(event, BodyReceived):
                content += event.octets
                if event.finished:
                    row = self.commands[-1].row if isinstance(self.commands[-1], Bdat) else "end of data"
                    self.messages.append(content)
                    content = b""
                    while connection.owes_reply and not self._gone:
                        self._answer(row)
            else:
                unsent = connection.data_to_send()
                while unsent:
                    _, unsent = yield from Send(unsent, Stage.SERVER, listen=False)
                if isinstance(event, ConnectionClosed):
                    self.clean = event.clean
                    return
                octets = yield from Receive(Stage.SERVER)
                if octets:
                    connection.receive_data(octets)
                else:
                    connection.receive_eof()


class Blunt:
    """A server that answers by rote, whatever may stand where: each line with the code that `codes` has for its verb.

    All that it knows is that a message follows a 354 and octets follow a BDAT, which it answers with
    ``codes["final"]``: in LMTP once for each recipient that it has accepted, and once where it has none.  It hangs up
    behind a 421, and instead of an answer where that is `HANGS_UP`.
    """

    def __init__(self, codes: Mapping[str, int | Sequence[int]], *, lmtp: bool = False) -> None:
        self.lmtp = lmtp
        self.rows: list[str] = []
        self.messages: list[bytes] = []
        self._codes = {verb: [code] if isinstance(code, int) else list(code) for verb, code in codes.items()}
        self._accepted = 0
        self._out: list[bytes] = []
        self._closed = False

    def _answer(self, verb: str) -> int:
        codes = self._codes.get(verb, [_USUAL.get(verb, 250)])
        code = codes.pop(0) if len(codes) > 1 else codes[0]
        if not self._closed and code != HANGS_UP:
            self._out.append(b"%03d %s\r\n" % (code, verb.encode()))
        self._closed = self._closed or code in (421, HANGS_UP)
        return code

    def _finish(self, message: bytes) -> None:
        self.messages.append(message)
        for _ in range(max(1, self._accepted) if self.lmtp else 1):
            self._answer("final")

    def run(self) -> Flow[None]:
        self._answer("greeting")
        octets = b""
        message = False
        while True:
            if message and (end := (b"\r\n" + octets).find(b"\r\n.\r\n")) >= 0:
                self._finish(octets[:end])
                octets, message = octets[end + 3 :], False
            elif not message and b"\r\n" in octets:
                line, _, rest = octets.partition(b"\r\n")
                verb = line.split()[0].decode().upper()
                if verb == "BDAT":
                    size = int(line.split()[1])
                    if len(rest) < size:
                        heard = yield from self._hear()
                        if not heard:
                            return
                        octets += heard
                        continue
                    self._finish(rest[:size])
                    octets = rest[size:]
                else:
                    octets = rest
                    code = self._answer(verb)
                    message = verb == "DATA" and code // 100 == 3
                    self._accepted = (
                        0 if verb in ("MAIL", "RSET") else self._accepted + (verb == "RCPT" and code // 100 == 2)
                    )
                if verb not in ("EHLO", "LHLO"):
                    self.rows.append(verb)
            else:
                heard = yield from self._hear()
                if not heard:
                    return
                octets += heard

    def _hear(self) -> Flow[bytes]:
        unsent, self._out = self._out, []
        while unsent:
            _, unsent = yield from Send(unsent, Stage.SERVER, listen=False)
        return b"" if self._closed else (yield from Receive(Stage.SERVER))
