"""One message over a connection of its own, from greeting to goodbye: the function `send` of every backend.

Theory of operation.  `_used_once` connects, logs in where there is somebody to log in as, and delivers with ``last``:
so QUIT goes out with the end of the message, and nothing is said twice.  Beyond the TCP handshake that is four round
trips with PIPELINING (greeting, EHLO, envelope, message and goodbye), three if the message goes with the envelope.

Encryption.  Without a policy of the caller's the function has one: TLS from the first octet on port 465 (RFC 8314 3);
elsewhere it depends on who could listen.  On a connection that leaves the machine TLS is required where there are
credentials, and used where it is offered otherwise.  On one that does not, and on a Unix socket, it would protect from
nobody, and the certificate of a local server rarely has a name that could be verified.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from email.message import Message
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from smtp_proto.effects import Call, Flow
from smtp_proto.outcome import Outcome
from smtp_proto.writing import Progress

from .client import LMTP_PORT, SMTP_SSL_PORT, Client, Options
from .conversations import Answer
from .delivery import Content
from .timeouts import NOT_GIVEN

if TYPE_CHECKING:
    from smtp_proto.sasl_oauth import TokenSource

#: What `send` returns: an outcome, or a coroutine that does.
T = TypeVar("T")


class _Once(Generic[T]):
    """The function for a backend's classes."""

    # Any: what the two surfaces' `_run` return is where they differ.
    def __init__(self, smtp: Callable[..., Any], lmtp: Callable[..., Any]) -> None:
        self._smtp = smtp
        self._lmtp = lmtp

    def send(
        self,
        message: Content | Message[Any, Any],
        host: str,
        port: int = 0,
        *,
        sender: str | None = None,
        recipients: str | Sequence[str] | None = None,
        user: str = "",
        password: str | None = None,
        token: TokenSource | None = None,
        local_hostname: str | None = None,
        timeout: Any = NOT_GIVEN,
        source_address: tuple[str, int] | None = None,
        lmtp: bool = False,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> T:
        """Send one message over a connection that is made for it, and return the `Outcome`; a coroutine where the
        backend has coroutines.

        The message, `mail_options`, `rcpt_options` and `progress` are those of `SMTP.deliver`; an
        `email.message.Message` brings `sender` and `recipients` with it.  With a `user`, `password` or `token` there is
        a log-in, as by `SMTP.login`.  The rest is what the client is made with; `lmtp` is for LMTP, on port 2003 or,
        with a `host` that begins with "/", on a Unix socket.

        `tls` not given means: "implicit" on port 465.  Elsewhere, on a connection that leaves this machine, "required"
        with a log-in and "opportunistic" without; "none" on one that does not.  Another policy can be given
        (`smtp_surface.tls_policy`).

        It takes as few round trips as the RFCs permit: QUIT is in the same flight as the message.  Refusals are in the
        outcome, never raised.  Raised is what goes wrong before the message: `OSError` for no connection (an
        `ssl.SSLError` is one), `SMTPConnectError` for a greeting that refuses, `SMTPHeloError`,
        `SMTPNotSupportedError` for TLS that is required and not offered, `SMTPAuthenticationError`; what `SMTP.deliver`
        raises, above all `SMTPServerDisconnected` with ``may_be_delivered`` and `outcome`.  What becomes of QUIT
        changes nothing.  The connection is closed in any case; after a cancellation nobody waits for a goodbye.
        """
        client = (self._lmtp if lmtp else self._smtp)(
            local_hostname=local_hostname, timeout=timeout, source_address=source_address, **options
        )
        if lmtp:
            client.default_port = LMTP_PORT
        credentials = user or password is not None or token is not None
        login = partial(client.login, user, password, token=token) if credentials else None
        delivery = client._deliver(message, sender, recipients, mail_options, rcpt_options, progress, last=True)
        sent: T = client._run(_used_once(client, (host, port), "tls" in options, login, delivery))
        return sent


BlockingOnce = _Once[Outcome]
AsyncOnce = _Once[Coroutine[Any, Any, Outcome]]


def _used_once(
    client: Client,
    address: tuple[str, int],
    policy_given: bool,
    login: Callable[[], Any] | None,
    delivery: Flow[Outcome],
) -> Flow[Outcome]:
    """Connect, log in, deliver, and leave nothing open."""
    host, port = client._destination(*address, None)
    if not policy_given and port == SMTP_SSL_PORT:
        client.tls = "implicit"
    try:
        answer: Answer = yield from Call(client.connect, host, port)
        if answer[0] != 220:
            raise client._connect_error(answer)
        if not policy_given and client.tls == "none" and client._may_be_overheard():
            client.tls = "opportunistic" if login is None else "required"
            client._live().connection.require_tls = client.tls == "required"
            yield from client._encrypt()
        if login is not None:
            yield from Call(login)
        return (yield from delivery)
    except Exception:
        raise
    except BaseException:
        client._discard()  # who was cancelled, or interrupted otherwise, does not wait for a goodbye
        raise
    finally:
        # After an error, where nothing was sent, or where somebody has made a step of the delivery their own.
        if client._session is not None:
            yield from client._goodbye(failed=True)
