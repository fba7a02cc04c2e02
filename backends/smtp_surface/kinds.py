"""What makes a client one over TLS from the first octet, or one of LMTP; in front of a backend's `SMTP`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtp_proto.transaction import Chunking

from .client import LMTP_PORT, SMTP_SSL_PORT, Client
from .timeouts import NOT_GIVEN
from .tls_policy import TLSPolicy

if TYPE_CHECKING:
    import ssl


class OverTLS(Client):
    """The same over TLS from the first octet (RFC 8314); the default port is 465.

    `context` decides what is verified; without one, `default_ssl_context()`.
    """

    default_port = SMTP_SSL_PORT

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        keyfile: str | None = None,
        certfile: str | None = None,
        timeout: Any = NOT_GIVEN,
        source_address: tuple[str, int] | None = None,
        context: ssl.SSLContext | None = None,
        *,
        tls: TLSPolicy = "implicit",
        **options: Any,
    ) -> None:
        if tls != "implicit":
            raise ValueError(f"tls={tls!r} is for the class SMTP; this one is TLS from the first octet")
        self.keyfile = keyfile
        self.certfile = certfile
        context = self._context(context, keyfile, certfile)
        super().__init__(host, port, local_hostname, timeout, source_address, tls=tls, context=context, **options)


class OverLMTP(Client):
    """LMTP (RFC 2033), over TCP or, for a host that begins with "/", a Unix socket."""

    ehlo_msg = "lhlo"
    chunking: Chunking = False  # hardly any LMTP server offers it, and to a server near by a round trip costs nothing
    _lmtp = True

    def __init__(
        self,
        host: str = "",
        port: int = LMTP_PORT,
        local_hostname: str | None = None,
        source_address: tuple[str, int] | None = None,
        timeout: Any = NOT_GIVEN,
        **options: Any,
    ) -> None:
        super().__init__(host, port, local_hostname, timeout, source_address, **options)
