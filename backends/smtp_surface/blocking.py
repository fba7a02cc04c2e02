"""The blocking surface: `smtplib`'s class, its methods each a flow of `smtp_surface.conversations` run to its end.

Each public call holds a lock, so that calls from several threads follow one another and never mix on the wire; it is
re-entrant, because flows call public methods.  `close` waits for no lock: it must be possible while another thread
waits.

When an exception leaves a flow and something is under way, the connection is dropped: nobody can tell any more which
reply the next octets belong to.  A `KeyboardInterrupt` (or anything else that is no `Exception`) drops it in any case.
The next use then raises `SMTPServerDisconnected`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from email.message import Message
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from smtp_proto.effects import Flow
from smtp_proto.outcome import Outcome
from smtp_proto.writing import Progress

from .batch import Batch, Messages
from .client import Client
from .conversations import Answer, Refused
from .delivery import Content
from .driver import BlockingDriver
from .login import AuthObject
from .sending import Sending

if TYPE_CHECKING:
    from smtp_proto.sasl_oauth import TokenSource

T = TypeVar("T")


class BlockingSMTP(Client):
    """The methods of `smtplib.SMTP`.  A backend adds how to connect, and `_live`.

    Unless a method says otherwise: what it sends is one command line; it returns ``(code, text)``, refusals included;
    it raises `SMTPServerDisconnected`, with the connection closed, if there is no connection, it is lost, or the server
    breaks the protocol; `ValueError`, with nothing sent and the session usable, for an argument that must not reach the
    wire (control characters, lone surrogates).  After a 421 the connection is closed.
    """

    _driver: BlockingDriver
    _lock: threading.RLock
    _machinery = ("_driver", "_lock", "_sending")

    def _prepare(self) -> None:
        self._driver = BlockingDriver()
        self._driver.on_send = partial(sys.audit, "smtplib.send", self)
        self._lock = threading.RLock()

    def _run(self, flow: Flow[T]) -> T:
        with self._lock:
            if self._calling_out or self._sending is not None:
                self._refuse_callbacks()
                self._refuse_beside_batch()
            try:
                return self._driver.run(flow)
            except BaseException as error:
                self._interrupted(error)
                raise

    def _run_batch(self, flow: Flow[T], sending: Sending) -> T:
        with self._lock:
            self._refuse_callbacks()
            self._occupy(sending)
            before, sending.at_work = sending.at_work, True
            try:
                return self._run(flow)
            finally:
                sending.at_work = before

    # -- the lowest level ---------------------------------------------------------------------------------------------

    def send(self, s: bytes | str) -> None:
        """Write octets (or text, in `command_encoding`) as they are; for what no method covers."""
        self._run(self._send(s))

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command line; its reply is to be read with `getreply`."""
        self._run(self._putcmd(cmd, args))

    def getreply(self) -> Answer:
        """Wait for the reply to the oldest command that has none yet, or to what was written by hand.

        `SMTPResponseException` with code 500, the connection closed, if a line or a reply is too long.
        """
        return self._run(self._getreply())

    def docmd(self, cmd: str, args: str = "") -> Answer:
        """Send a command line and wait for its reply."""
        return self._run(self._docmd(cmd, args))

    # -- commands -----------------------------------------------------------------------------------------------------

    def helo(self, name: str = "") -> Answer:
        """HELO (RFC 5321 4.1.1.1), with `local_hostname` unless a name is given."""
        return self._run(self._helo(name))

    def ehlo(self, name: str = "") -> Answer:
        """EHLO (RFC 5321 4.1.1.1), with `local_hostname` unless a name is given; fills `esmtp_features`."""
        return self._run(self._ehlo(name))

    def help(self, args: str = "") -> bytes:
        """HELP (RFC 5321 4.1.1.8); returns the text alone."""
        return self._run(self._help(args))

    def rset(self) -> Answer:
        """RSET (RFC 5321 4.1.1.5): end the mail transaction under way."""
        return self._run(self._reset())

    def _rset(self) -> None:
        """RSET after a refusal; a lost connection is left for the next call to report."""
        self._run(self._reset_quietly())

    def noop(self) -> Answer:
        """NOOP (RFC 5321 4.1.1.9)."""
        return self._run(self._noop())

    def mail(self, sender: str, options: Sequence[str] = ()) -> Answer:
        """MAIL (RFC 5321 4.1.1.2): begin a mail transaction; `options` are ESMTP parameters.

        `SMTPNotSupportedError` for the option SMTPUTF8 that the server does not offer, `UnicodeEncodeError` for an
        address that needs it; nothing was sent then.
        """
        return self._run(self._mail(sender, options))

    def rcpt(self, recip: str, options: Sequence[str] = ()) -> Answer:
        """RCPT (RFC 5321 4.1.1.3): add a recipient; `options` are ESMTP parameters."""
        return self._run(self._rcpt(recip, options))

    def data(self, msg: bytes | str) -> Answer:
        """DATA and the message (RFC 5321 4.1.1.4); returns the answer to the message.

        Line ends are sent as CRLF whatever they are, dots are stuffed, text must be ASCII.  `SMTPDataError` if DATA
        itself is refused.  Interrupted in the middle, the connection is closed.
        """
        return self._run(self._data(msg))

    def verify(self, address: str) -> Answer:
        """VRFY (RFC 5321 4.1.1.6)."""
        return self._run(self._verify(address))

    # a.k.a.
    vrfy = verify

    def expn(self, address: str) -> Answer:
        """EXPN (RFC 5321 4.1.1.7)."""
        return self._run(self._expn(address))

    def etrn(self, node: str) -> Answer:
        """ETRN (RFC 1985): have the server send what it has queued for a host, "@domain" or "#queue".

        `SMTPNotSupportedError`, with nothing sent, if the server does not offer it; so for the three that follow.
        """
        return self._run(self._etrn(node))

    def burl(self, url: str, *, last: bool = True) -> Answer:
        """BURL (RFC 4468): after `mail` and `rcpt`, have the server fetch the message, or a part of it, from a URL."""
        return self._run(self._burl(url, last))

    def xclient(self, **attributes: str | None) -> Answer:
        """XCLIENT (Postfix): say for whom a proxy speaks: ``xclient(name="mx.example.org", addr="192.0.2.1")``.

        None is a value that is not known.  After the 220 the session is as after the greeting: EHLO comes next.
        """
        return self._run(self._xclient(attributes))

    def xforward(self, **attributes: str | None) -> Answer:
        """XFORWARD (Postfix): say where the next message came from, for the server's log."""
        return self._run(self._xforward(attributes))

    # -- sequences ----------------------------------------------------------------------------------------------------

    def ehlo_or_helo_if_needed(self) -> None:
        """EHLO, and HELO where that is refused, unless one of them was sent before; `SMTPHeloError` if both are."""
        self._run(self._hello())

    def auth(self, mechanism: str, authobject: AuthObject, *, initial_response_ok: bool = True) -> Answer:
        """AUTH (RFC 4954) with any mechanism; returns the 235, or the 503 of a connection that is logged in.

        `authobject` is a `smtp_proto.sasl.Mechanism`, or a function: `authobject()` gives the initial response or None,
        `authobject(challenge)` the response to a challenge (octets); text is sent as UTF-8.  `SMTPAuthenticationError`
        if the server refuses, asks what makes no sense, or has not proven itself where the mechanism wants that (the
        connection is closed then); `SMTPException` if it keeps asking; what `authobject` raises goes on, the exchange
        being cancelled.  The session is usable after all of these but one.  `SMTPNotSupportedError`, with nothing sent,
        for a mechanism that shows the password on a connection that is neither encrypted nor local, unless
        `allow_cleartext_auth` is set.
        """
        return self._run(self._auth(mechanism, authobject, initial_response_ok))

    def login(
        self,
        user: str = "",
        password: str | None = None,
        *,
        initial_response_ok: bool = True,
        token: TokenSource | None = None,
        mechanisms: Sequence[str] | None = None,
        authorization_identity: str = "",
    ) -> Answer:
        """Log in with the strongest mechanism that the server offers and the credentials allow.

        With a password: SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1 (all with the extra
        ``scram``), CRAM-MD5, PLAIN, LOGIN.  With a `token` (text, or a callable that gives it and may have a method
        `refresh`): OAUTHBEARER, XOAUTH2.  With neither, over TLS: EXTERNAL, which is for client certificates.
        `mechanisms` names others, or fewer, in the order to try them in; GSSAPI, NTLM and ANONYMOUS have to be named.
        `authorization_identity` is whom to act as, with the mechanisms that can say it.

        Says EHLO first if need be.  Returns the 235.  `SMTPAuthenticationError` if the server refuses, with all
        `attempts`; after a 535, 454 or 421 no other mechanism is tried, but a refreshed token is, once.
        `SMTPNotSupportedError` if it offers no AUTH, or only what would show the password (see `auth`); `SMTPException`
        if it offers nothing that these credentials are for; `smtp_proto.errors.MissingExtra` (an `ImportError`) if that
        would need a package that is not installed.
        """
        return self._run(self._login(user, password, initial_response_ok, token, mechanisms, authorization_identity))

    def sendmail(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: Content,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        *,
        progress: Progress | None = None,
    ) -> Refused:
        """Send one message to one or more recipients, saying EHLO first if need be.

        The message: octets, ASCII text, an open binary file, or an iterable of octets, which is sent as it comes, in
        constant memory.  What such a source raises goes on; the message is cut off then, and the connection closed.
        `progress` is called with the octets that are out, and their number, or None where it is not known.

        With a server that offers PIPELINING the envelope goes in one flight.  Returns the recipients that were refused,
        with code and text for each, when one at least was accepted.  `SMTPSenderRefused`, `SMTPRecipientsRefused` (all
        were), `SMTPDataError`: the session is usable, the transaction was reset.  `SMTPServerDisconnected`: the
        connection was lost; ``error.may_be_delivered`` says whether the message was sent to its end by then, and
        ``error.outcome`` how far it came.  `ValueError` for an address or option that must not be sent and for a
        message with a NUL, `UnicodeEncodeError` for an address that needs SMTPUTF8: nothing was sent.
        """
        return self._run(self._sendmail(from_addr, to_addrs, msg, mail_options, rcpt_options, progress))

    def send_message(
        self,
        msg: Message[Any, Any],
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        *,
        progress: Progress | None = None,
    ) -> Refused:
        """`sendmail` for an `email.message.Message`; addresses that are not given are taken from its headers.

        All To, Cc and Bcc headers count (those of the Resent- block if there is one; `ValueError` if there are
        several); Bcc is not sent.  `SMTPNotSupportedError` if an address needs SMTPUTF8 and the server lacks it.
        """
        return self._run(self._send_message(msg, from_addr, to_addrs, mail_options, rcpt_options, progress))

    def quit(self) -> Answer:
        """QUIT (RFC 5321 4.1.1.10), and close."""
        return self._run(self._quit())

    def deliver(
        self,
        msg: Content | Message[Any, Any],
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        *,
        progress: Progress | None = None,
    ) -> Outcome:
        """Send one message like `sendmail` or `send_message`, and return all that the server said of it.

        Refusals are in the `Outcome`, never raised: for each recipient its replies, and whether a refusal is temporary;
        the reply to the message, and the queue id in it; how far it came.  For an `email.message.Message` the addresses
        may be left out, as in `send_message`.  Raises the rest of what those two raise: `SMTPServerDisconnected`, whose
        `outcome` and `may_be_delivered` say what is known, `SMTPHeloError`, and, with nothing sent,
        `SMTPNotSupportedError`, `UnicodeEncodeError` and `ValueError`.
        """
        return self._run(self._deliver(msg, from_addr, to_addrs, mail_options, rcpt_options, progress))

    def send_many(self, messages: Messages) -> Sending:
        """Send many messages over this connection; iterate over what this returns for their outcomes, in order.

        Each message is an `email.message.Message`, a tuple ``(sender, recipients, message)``, or an `Envelope`, which
        has options too; the message in it is whatever `deliver` takes.  They are pulled as they go out, so that a
        generator will do.  With PIPELINING each envelope goes out behind the message before it, and with
        ``chunking="eager"`` up to 32 whole messages are on the way at a time: outcomes come as messages are pulled.
        Nothing is sent before the first outcome is asked for, and without "eager" a message is kept until the next one
        was pulled, or there is none.

        An `Outcome` for each message, refusals included; its `fate` says whether the message was delivered, certainly
        was not, or may have been.  Where a message cannot be sent at all (a bad address, a NUL), what `deliver` would
        raise is raised in the place of its outcome, and iterating can go on behind it.  When the connection is lost,
        each message that was pulled has its outcome, and then `SMTPServerDisconnected` is raised; what the iterable
        raises is raised behind the outcomes too.  Nothing is sent twice.

        To leave early, use it as a context manager, or call its `close`.  Any other call on this client meanwhile is an
        `SMTPException`.
        """
        return Sending(self, Batch(self, messages))

    def close(self) -> None:
        """Close the connection at once, saying nothing; never fails, and never waits for another call."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """QUIT and close.  A refused QUIT raises only where the block has neither raised nor delivered."""
        if isinstance(exc, KeyboardInterrupt):
            self.close()  # do not make anyone wait for a goodbye
            return
        sending = self._occupant
        if sending is not None:
            sending.close()
        self._run(self._goodbye(failed=exc is not None))


BlockingSMTP._remember()
