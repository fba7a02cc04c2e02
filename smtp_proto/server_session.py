"""The server's conversation: one flow from the greeting to the end, asking a `Handler` for each decision.

Theory of operation.  `ServerConnection` gives one command at a time, in order, and says which replies are possible.
Here each command is judged in three steps: what the protocol forbids was rejected by the connection with a hint, what
this server does not do (sizes, parameters, mechanisms, verbs) is answered from `Settings`, and what is left is asked of
the handler.  Replies are written when there is nothing left to read, so that a pipelined group is answered in one
segment.

Memory is bounded: a message is kept up to `Settings.max_size` and read past beyond; a line up to its limit; recipients
up to `Settings.max_recipients`.  A client that makes too many mistakes, or tries too many passwords, is told 421.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .body import normalise_line_ends
from .channel_binding import TLSFacts, bindings
from .commands import (
    Auth,
    AuthResponse,
    Bdat,
    Burl,
    Command,
    Data,
    Ehlo,
    Etrn,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Quit,
    Raw,
    Rcpt,
    Rset,
    Vrfy,
    XClient,
    XForward,
)
from .commands import StartTLS as StartTLSCommand
from .effects import Call, Close, Flow, Receive, Send, StartTLS
from .errors import LocalProtocolError, ProtocolError
from .events import NEED_DATA, PAUSED, BodyReceived, CommandReceived, CommandRejected
from .extensions import Extensions
from .grammar import domain_of, excerpt
from .handler import Handler, ReceivedMessage
from .parameter import Parameter, keyword_of, lacking
from .parameters import Size
from .replies import Reply
from .sasl_exchange import Ask, Circumstances, Credentials, Refused, ServerExchange, UnacceptableResponse, Verified
from .sasl_scram import PLUS
from .sasl_server import SERVER_MECHANISMS, check_mechanisms, offered
from .server import ServerConnection
from .states import Stage

if TYPE_CHECKING:
    import ssl


class Settings(NamedTuple):
    """What a server offers and bears."""

    hostname: str = "localhost"
    #: Octets of a message; 0 for no bound (then memory is not bounded either).
    max_size: int = 33_554_432
    #: RFC 5321 4.5.3.1.8 wants 100 at least.
    max_recipients: int = 1000
    #: Offers STARTTLS where set.
    tls_context: ssl.SSLContext | None = None
    #: SASL mechanisms offered, of those in `smtp_proto.sasl_server.SERVER_MECHANISMS`; the -PLUS forms only where
    #: there is something to bind to, EXTERNAL only where the client has shown a certificate.
    mechanisms: tuple[str, ...] = ()
    #: The server's own certificate (DER), for the channel binding tls-server-end-point.
    certificate: bytes | None = None
    #: Offers and takes passwords without TLS too.
    cleartext_auth: bool = False
    #: MAIL only after a log-in (530 before).
    require_auth: bool = False
    #: Rejected commands, and failed log-ins, before the client is told 421.
    max_errors: int = 20
    max_auth_failures: int = 3
    #: More lines for the EHLO reply, for what the handler does: "DSN", "MT-PRIORITY MIXER", "LIMITS RCPTMAX=50", ...
    #: Their parameters are taken then, and checked by what the lines say; limits are kept by the session itself.
    offer: tuple[str, ...] = ()
    #: Addresses of the proxies and filters that XCLIENT and XFORWARD are offered to, if they are in `offer`; `peer` of
    #: the session is compared with them, or the first part of it.  Whoever stands here can say to be anybody.
    trusted: tuple[str, ...] = ()


# Replies held back so that a pipelined group is answered in one segment: more than any honest group has.  A client that
# sends commands without end, and reads nothing, would fill the memory with them.
MAX_REPLIES = 256
# Octets of a recipient's line, on the average of a transaction with as many as are taken.  RFC 5321 4.5.3.1.3 gives a
# path 256; a few may be longer, but a thousand lines of twelve kilobytes would fill the memory.
RECIPIENT_LENGTH = 256
# No limit: more than any session holds.
MANY = 1 << 62
# Verbs that are for those only whom they were offered to.
_OF_EXTENSIONS = frozenset({"BURL", "ETRN", "XCLIENT", "XFORWARD"})
_OK = Reply(250, "2.0.0 OK")
_FAILED = Reply(451, "4.3.0 Local error in processing")


class ServerSession:
    """One client's conversation.  `peer` says who it is; `tls` and `credentials` what was established with it.

    `tls_facts` is what is known of the TLS session, the client's certificate for instance; whoever did the handshake
    before the conversation began sets it.  `report` is told what the handler raises, as its `failed` is, for whoever
    runs the server.  `InvalidArgument` for a mechanism in the settings that is not known.
    """

    def __init__(
        self,
        connection: ServerConnection,
        handler: Handler,
        settings: Settings,
        peer: object = None,
        tls: bool = False,
        *,
        report: Callable[[Exception], None] | None = None,
    ) -> None:
        check_mechanisms(settings.mechanisms)
        self.connection = connection
        self.handler = handler
        self.settings = settings
        self.peer = peer
        self.report = report
        self.tls = tls
        self.tls_facts: TLSFacts | None = None
        self.hello: Command | None = None
        #: What the last EHLO was answered: what a client may make use of.
        self.extensions = Extensions({})
        self.credentials: Credentials | None = None
        #: What a trusted proxy has said of the client (XCLIENT), and a trusted filter of the next message (XFORWARD).
        self.client: dict[str, str] = {}
        self.forwarded: dict[str, str] = {}
        self._mail: Mail | None = None
        self._recipients: list[Rcpt] = []
        self._domains: set[str] = set()  # of the recipients
        self._recipients_octets = 0
        self._transactions = 0
        self._content = bytearray()
        self._oversize = False
        self._exchange: ServerExchange | None = None
        self._verified: Credentials | None = None
        self._errors = 0
        self._auth_failures = 0
        self._stopping = False
        self._judges: dict[type[Command], Callable[[Any], Flow[Reply]]] = {
            Ehlo: self._on_hello,
            Helo: self._on_hello,
            Lhlo: self._on_hello,
            Mail: self._on_mail,
            Rcpt: self._on_rcpt,
            Auth: self._on_auth,
            AuthResponse: self._on_auth_response,
            Quit: self._on_quit,
            Vrfy: self._on_question,
            Expn: self._on_question,
            Etrn: self._on_etrn,
            XClient: self._on_attributes,
            XForward: self._on_attributes,
        }

    # -- the loop -----------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """True from an accepted MAIL to the answer to its message."""
        return self._mail is not None

    def stop(self) -> None:
        """Say 421 and close (RFC 5321 3.8), as soon as no message is under way.

        Unless it is `busy`, whoever has it waiting should end that `Receive`, with a `TimeoutError` or with b"".
        """
        self._stopping = True

    def run(self, *, implicit_tls: bool = False) -> Flow[None]:
        """The whole conversation, until one side closes; the transport is closed at the end.

        With `implicit_tls` it begins with the TLS handshake (RFC 8314 3.3), with the context of the settings.
        A client that says nothing for too long is told 421 (RFC 5321 3.8); one that breaks the framing, or does not
        read what it is told, is hung up on.
        """
        connection = self.connection
        try:
            if implicit_tls:
                yield from self._shake_hands()
            refusal = yield from self._ask(self.handler.connect)
            protocol = "LMTP" if connection.lmtp else "ESMTP"
            yield from self._answer(refusal or Reply(220, f"{self.settings.hostname} {protocol}"))
            yield from self._talk()
        except (ProtocolError, OSError):
            # Injected octets, or a connection that failed: there is nobody to tell.
            pass
        connection.abort()
        yield from Close()

    def _talk(self) -> Flow[None]:
        connection = self.connection
        again = False
        while True:
            event = connection.next_event()
            if event is NEED_DATA:
                yield from self._flush()
                # Only here: in the middle of a reply or of a handshake there is no place for a line.
                if self._stopping and not self.busy:
                    connection.close_with(Reply(421, f"4.3.2 {self.settings.hostname} Shutting down"))
                    continue
                octets: bytes | None = None
                with suppress(TimeoutError):
                    octets = yield from Receive(Stage.SERVER, again)
                again = True
                if octets:
                    connection.receive_data(octets)
                elif self._stopping and not self.busy:
                    pass  # woken by whoever stops it
                elif octets is None:
                    connection.close_with(Reply(421, f"4.4.2 {self.settings.hostname} Timeout, closing"))
                else:
                    connection.receive_eof()
                continue
            again = False
            if connection.replies_waiting >= MAX_REPLIES:
                yield from self._flush()
            if event is PAUSED:
                yield from self._flush()
                yield from self._secure()
            elif isinstance(event, CommandReceived):
                yield from self._on_command(event.command)
            elif isinstance(event, CommandRejected):
                self._reject(event.hint)
            elif isinstance(event, BodyReceived):
                yield from self._on_body(event)
            else:
                yield from self._flush()
                return

    def _flush(self) -> Flow[None]:
        unsent = self.connection.data_to_send()
        while unsent:
            _, unsent = yield from Send(unsent, Stage.SERVER, listen=False)

    def _ask(self, function: Callable[..., Any], *arguments: object, several: bool = False) -> Flow[Any]:
        """What the application decides (with `several`, maybe a list); a 451 where it raises, or gives no reply."""
        try:
            decision = yield from Call(function, self, *arguments)
            replies = decision if several and isinstance(decision, list) else [decision]
            if not all(isinstance(reply, Reply) or (reply is None and reply is decision) for reply in replies):
                raise TypeError(f"{function.__name__} decided {decision!r}, which is neither None nor a Reply")
        except Exception as error:  # noqa: BLE001  # whatever the application raised is told to it, and the client 451
            yield from self._tell(error)
            return _FAILED
        return decision

    def _tell(self, error: Exception) -> Flow[None]:
        """The application is told what it did; what it raises at that is nobody's to hear any more."""
        if self.report is not None:
            self.report(error)
        with suppress(Exception):
            yield from Call(self.handler.failed, self, error)

    def _reject(self, hint: Reply) -> None:
        self._exchange = None
        self._errors += 1
        if self._errors > self.settings.max_errors:
            hint = Reply(421, f"4.7.0 {self.settings.hostname} Too many errors, closing")
        self.connection.send(hint)

    # -- commands -----------------------------------------------------------------------------------------------------

    def _on_command(self, command: Command) -> Flow[None]:
        if isinstance(command, Bdat):
            return  # its reply is owed when its octets are in
        if command.verb in _OF_EXTENSIONS and command.verb not in self.extensions:
            while self.connection.owes_reply:
                # RFC 5321 4.2.4: 502 for a verb that is known and not implemented.
                self._reject(Reply(502, f"5.5.1 {command.verb} is not offered"))
            return
        if isinstance(command, Burl):
            yield from self._on_burl(command)
            return
        judge = self._judges.get(type(command))
        reply = (yield from judge(command)) if judge is not None else self._plain_answer(command)
        if isinstance(command, Raw):
            self._reject(reply)
            return
        reply = yield from self._answer(reply)
        if reply.accepted:
            self._take_effect(command, reply)

    def _answer(self, reply: Reply) -> Flow[Reply]:
        """Give a reply, and return what was given: one that can be no answer here is the handler's failure, a 451."""
        try:
            self.connection.send(reply)
        except LocalProtocolError as error:
            yield from self._tell(error)
            reply = _FAILED
            self.connection.send(reply)
        return reply

    def _take_effect(self, command: Command, reply: Reply) -> None:
        """What an accepted command changes here: when its reply is out, for both sides must think the same of it."""
        if isinstance(command, (Ehlo, Helo, Lhlo)):
            self.hello = command
            self.extensions = Extensions({}) if isinstance(command, Helo) else Extensions.from_reply(reply)
            self._forget_transaction()
        elif isinstance(command, Rset):
            self._forget_transaction()
        elif isinstance(command, Mail):
            self._mail = command
            self._transactions += 1
        elif isinstance(command, Rcpt):
            self._recipients.append(command)
            self._domains.add(domain_of(command.path))
            self._recipients_octets += len(command.line)
        elif isinstance(command, (Auth, AuthResponse)):
            self.credentials = self._verified
        elif isinstance(command, XClient):
            # As at the beginning, and whatever the proxy had been allowed is not the client's.
            self.client = {**self.client, **dict(command.attributes)}
            self.hello = None
            self.extensions = Extensions({})
            self.credentials = None
            self.forwarded = {}
            self._forget_transaction()
        elif isinstance(command, XForward):
            self.forwarded = {**self.forwarded, **dict(command.attributes)}

    def _plain_answer(self, command: Command) -> Reply:
        """The answer to a command that nothing needs to be decided for."""
        if isinstance(command, Data):
            if self._binary:
                return Reply(503, "5.5.1 BINARYMIME goes with BDAT")  # RFC 3030 3
            return Reply(354, "End data with <CR><LF>.<CR><LF>")
        if isinstance(command, StartTLSCommand):
            if self.settings.tls_context is None:
                return Reply(502, "5.5.1 STARTTLS is not offered")
            if self.tls:
                return Reply(503, "5.5.1 TLS is active already")
            return Reply(220, "2.0.0 Ready to start TLS")
        if isinstance(command, Help):
            return Reply(214, "2.0.0 See RFC 5321")
        if isinstance(command, Raw):
            # RFC 5321 4.2.4: 500 for a verb that is not known.
            return Reply(500, "5.5.2 Command not recognised")
        return _OK

    def _on_hello(self, command: Ehlo | Helo | Lhlo) -> Flow[Reply]:
        refusal: Reply | None = yield from self._ask(self.handler.helo, command)
        if refusal is not None:
            return refusal
        if isinstance(command, Helo):
            return Reply(250, self.settings.hostname)
        return Reply(250, "\n".join([self.settings.hostname, *self.offers()]))

    def offers(self) -> list[str]:
        """The lines of the EHLO reply, its first left out."""
        settings = self.settings
        lines = ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"]
        lines.append(f"SIZE {settings.max_size}" if settings.max_size else "SIZE")
        if settings.tls_context is not None and not self.tls:
            lines.append("STARTTLS")
        mechanisms = self._mechanisms()
        if mechanisms and (self.tls or settings.cleartext_auth):
            lines.append("AUTH " + " ".join(mechanisms))
        # RFC 8689 2: REQUIRETLS "MUST NOT be advertised" without TLS.
        withheld = set() if self.tls else {"REQUIRETLS"}
        if not self._trusted:
            withheld |= {"XCLIENT", "XFORWARD"}
        lines += [line for line in settings.offer if keyword_of(line.partition(" ")[0]) not in withheld]
        return [*lines, "HELP"]

    @property
    def _trusted(self) -> bool:
        address = self.peer[0] if isinstance(self.peer, tuple) and self.peer else self.peer
        return address in self.settings.trusted

    def _unfit(self, command: Mail | Rcpt) -> Reply | None:
        """The refusal of a parameter that this server does not know, or that is beyond what it has offered."""
        offer = self.extensions
        for parameter in command.parameters:
            # One that has no class (see `smtp_proto.parameter`) is known to nobody here.
            if not isinstance(parameter, Parameter) or any(name not in offer for name, _ in parameter.needs()):
                # RFC 5321 4.1.1.11: 555 for a parameter that is not recognised, without EHLO all of them.
                return Reply(555, f"5.5.4 {keyword_of(parameter)[:80]} is not recognised")
        problem = lacking(command.parameters, offer, encrypted=self.tls)
        return Reply(501, f"5.5.4 {problem}") if problem is not None else None

    def _on_mail(self, command: Mail) -> Flow[Reply]:
        settings = self.settings
        if settings.require_auth and self.credentials is None:
            return Reply(530, "5.7.0 Authentication required")
        refused = self._unfit(command)
        if refused is not None:
            return refused
        size = command.get(Size)
        if size is not None and settings.max_size and size.octets > settings.max_size:
            return self._too_big()
        limits = self.extensions.limits
        if self._transactions >= limits.get("MAILMAX", MANY):
            return Reply(452, "4.5.3 Too many transactions in this session")
        if not command.path.isascii() and command.parameter("SMTPUTF8") is None:
            return Reply(553, "5.6.7 An address that is not ASCII needs SMTPUTF8")
        refusal: Reply | None = yield from self._ask(self.handler.mail, command)
        return refusal or Reply(250, "2.1.0 Sender OK")

    def _on_rcpt(self, command: Rcpt) -> Flow[Reply]:
        assert self._mail is not None
        refused = self._unfit(command)
        if refused is not None:
            return refused
        if not command.path.isascii() and self._mail.parameter("SMTPUTF8") is None:
            return Reply(553, "5.6.7 An address that is not ASCII needs SMTPUTF8")
        limits = self.extensions.limits
        most = min(self.settings.max_recipients, limits.get("RCPTMAX", MANY))
        if len(self._recipients) >= most or self._recipients_octets >= most * RECIPIENT_LENGTH:
            # RFC 5321 4.5.3.1.10: 452, and the client sends the rest in another transaction.
            return Reply(452, "4.5.3 Too many recipients")
        new = domain_of(command.path) not in self._domains
        if new and len(self._domains) >= limits.get("RCPTDOMAINMAX", MANY):
            return Reply(452, "4.5.3 Too many domains")
        refusal: Reply | None = yield from self._ask(self.handler.rcpt, command)
        return refusal or Reply(250, "2.1.5 Recipient OK")

    # -- commands of extensions ---------------------------------------------------------------------------------------

    def _on_question(self, command: Vrfy | Expn) -> Flow[Reply]:
        decide = self.handler.vrfy if isinstance(command, Vrfy) else self.handler.expn
        answer: Reply | None = yield from self._ask(decide, command)
        # RFC 5321 3.5.3: 252, for a server that will not say.
        return answer or Reply(252, "2.1.5 Send some mail, and it will be tried")

    def _on_etrn(self, command: Etrn) -> Flow[Reply]:
        refusal: Reply | None = yield from self._ask(self.handler.etrn, command)
        return refusal or Reply(250, f"2.0.0 Queuing for node {excerpt(command.text)} started")

    def _on_attributes(self, command: XClient | XForward) -> Flow[Reply]:
        known = self.extensions.xclient if isinstance(command, XClient) else self.extensions.xforward
        for name, _ in command.attributes:
            if name not in known:
                return Reply(501, f"5.5.4 {name[:80]} is no attribute of {command.verb} here")
        decide = self.handler.xclient if isinstance(command, XClient) else self.handler.xforward
        refusal: Reply | None = yield from self._ask(decide, command)
        # XCLIENT is answered with a greeting.
        welcome = Reply(220, f"{self.settings.hostname} ESMTP") if isinstance(command, XClient) else _OK
        return refusal or welcome

    def _on_burl(self, command: Burl) -> Flow[None]:
        """Fetch a part of the message, which then is what the octets of a chunk are."""
        fetched: Any
        try:
            fetched = yield from Call(self.handler.burl, self, command)
            if not isinstance(fetched, bytes) and not (isinstance(fetched, Reply) and fetched.severity in (4, 5)):
                raise TypeError(f"burl gave {type(fetched).__name__}, which is neither octets nor a refusal")
        except Exception as error:  # noqa: BLE001  # as in `_ask`
            yield from self._tell(error)
            fetched = _FAILED
        if isinstance(fetched, bytes):
            yield from self._on_body(BodyReceived(fetched, True))
            return
        while self.connection.owes_reply:
            yield from self._answer(fetched)

    def _on_quit(self, command: Quit) -> Flow[Reply]:
        answer: Reply | None = yield from self._ask(self.handler.quit)
        return answer if answer is not None and answer.accepted else Reply(221, "2.0.0 Bye")

    # -- the message --------------------------------------------------------------------------------------------------

    def _on_body(self, event: BodyReceived) -> Flow[None]:
        if not self._oversize:
            self._content += event.octets
            if self.settings.max_size and len(self._content) > self.settings.max_size:
                self._oversize = True
                self._content.clear()
        if not event.finished:
            return
        if self.connection.expects_more:
            self.connection.send(self._too_big() if self._oversize else Reply(250, "2.0.0 Chunk OK"))
            return
        answers: Reply | list[Reply] | None
        if self._oversize:
            answers = self._too_big()
        else:
            assert self._mail is not None
            content = bytes(self._content)
            if not self._binary:
                # A bare CR or LF is no line end in SMTP, but one to much that may read the message next: passed on as
                # it is, "LF . CRLF" could end it there (SMTP smuggling).  So what is handed over has none.
                content = normalise_line_ends(content)
            message = ReceivedMessage(self._mail, tuple(self._recipients), content)
            answers = yield from self._ask(self.handler.body, message, several=True)
        replies = self.connection.replies_owed
        self._forget_transaction()
        if not isinstance(answers, list):
            answers = [answers or Reply(250, "2.0.0 Message accepted")] * replies
        elif len(answers) != replies:
            mismatch = LocalProtocolError(f"{len(answers)} answers for {replies} recipients")
            yield from self._tell(mismatch)
            answers = [_FAILED] * replies
        due = iter(answers)
        while self.connection.owes_reply:  # a 421 is the last, whatever was to follow
            yield from self._answer(next(due))

    @property
    def _binary(self) -> bool:
        """True if the message may hold any octets: they are kept as they come (RFC 3030 3)."""
        return self._mail is not None and (self._mail.parameter("BODY") or "").upper() == "BINARYMIME"

    def _too_big(self) -> Reply:
        return Reply(552, f"5.3.4 The message is larger than {self.settings.max_size} octets")

    def _forget_transaction(self) -> None:
        if self._mail is not None:
            self.forwarded = {}  # it was for one message
        self._mail = None
        self._recipients = []
        self._domains = set()
        self._recipients_octets = 0
        self._content = bytearray()
        self._oversize = False

    # -- AUTH ---------------------------------------------------------------------------------------------------------

    def _mechanisms(self) -> list[str]:
        return offered(self.settings.mechanisms, self._facts, self.settings.certificate)

    @property
    def _facts(self) -> TLSFacts | None:
        return self.tls_facts or (TLSFacts() if self.tls else None)

    def _on_auth(self, command: Auth) -> Flow[Reply]:
        settings = self.settings
        if self.credentials is not None:
            return Reply(503, "5.5.1 Already authenticated")  # RFC 4954 4
        mechanisms = self._mechanisms()
        if command.mechanism not in mechanisms:
            return Reply(504, "5.5.4 Mechanism not supported")
        if not self.tls and not settings.cleartext_auth:
            return Reply(538, "5.7.11 Encryption required for the mechanism")
        circumstances = Circumstances(
            settings.hostname,
            bindings(self._facts, settings.certificate),
            offers_plus=any(name.endswith(PLUS) for name in mechanisms),
        )
        self._exchange = SERVER_MECHANISMS[command.mechanism](circumstances)
        next(self._exchange)  # up to where it takes the initial response, or None
        return (yield from self._step(command.initial_response))

    def _on_auth_response(self, command: AuthResponse) -> Flow[Reply]:
        if command.octets is None:
            # It counts: what was asked of the application until here has told something about the user.
            self._exchange = None
            return self._auth_failed(Reply(501, "5.7.0 Authentication cancelled"))
        return (yield from self._step(command.octets))

    def _step(self, response: bytes | None) -> Flow[Reply]:
        exchange = self._exchange
        assert exchange is not None
        try:
            said = exchange.send(response)
            while isinstance(said, Ask):
                said = exchange.send((yield from self._answer_to(said)))
            return Reply.challenge(said)
        except StopIteration as stop:
            verified: Verified = stop.value
        except UnacceptableResponse as error:
            self._exchange = None
            return self._auth_failed(Reply(501, f"5.5.2 {error}"))
        except Refused as error:
            self._exchange = None
            return self._auth_failed(error.reply)
        self._exchange = None
        self._verified = verified.credentials
        return verified.reply or Reply(235, "2.7.0 Authentication succeeded")

    def _answer_to(self, question: Ask) -> Flow[Any]:
        """What the application says in the middle of a log-in; a 451 where it raises, or says what is no answer."""
        try:
            function = getattr(self.handler, question.method)
            answer = yield from Call(function, self, *question.arguments)
            if not isinstance(answer, question.answers):
                raise TypeError(f"{question.method} gave a {type(answer).__name__}, which is no answer to it")
            if isinstance(answer, Reply) and answer.severity == 3:
                # The mechanism is at its end, and nobody would know what to do with another response.
                raise LocalProtocolError(f"{answer.code} is no answer to credentials")
        except Exception as error:  # noqa: BLE001  # whatever the application raised is told to it, and the client 451
            yield from self._tell(error)
            return _FAILED
        return answer

    def _auth_failed(self, refusal: Reply) -> Reply:
        self._auth_failures += 1
        if self._auth_failures >= self.settings.max_auth_failures:
            return Reply(421, f"4.7.0 {self.settings.hostname} Too many failed log-ins, closing")
        return refusal

    # -- TLS ----------------------------------------------------------------------------------------------------------

    def _secure(self) -> Flow[None]:
        yield from self._shake_hands()
        self.connection.tls_established()
        # RFC 3207 4.2: "the server MUST discard any knowledge obtained from the client".
        self.hello = None
        self.extensions = Extensions({})
        self.credentials = None
        self._forget_transaction()

    def _shake_hands(self) -> Flow[None]:
        context = self.settings.tls_context
        assert context is not None
        try:
            self.tls_facts = yield from StartTLS(context, None, server_side=True)
        except OSError:
            self.connection.abort()  # in the middle of a handshake there is no saying goodbye
            raise
        self.tls = True
