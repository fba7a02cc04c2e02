"""The options of `send` and `probe` that say which server, and how it is talked to; read into a `Target`."""

from __future__ import annotations

import argparse
import ssl
from typing import NamedTuple, get_args

import smtp_blocking
from smtp_surface.tls_policy import TLSPolicy, checked

from . import arguments
from .status import Failure, Status


class Target(NamedTuple):
    """The server, and how to talk to it."""

    host: str
    port: int
    lmtp: bool
    tls: TLSPolicy
    context: ssl.SSLContext
    server_hostname: str | None
    timeout: float | None

    def __str__(self) -> str:
        return self.host if self.host.startswith("/") else f"{self.host} port {self.port}"

    def trusting_anybody(self) -> Target:
        """The same server, whoever it is."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return self._replace(context=context)


_policy = arguments.reading(checked, ", ".join(get_args(TLSPolicy)))


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command."""
    variable = arguments.from_environment
    server = parser.add_argument_group("the server")
    server.add_argument(
        "--host",
        default=variable("HOST") or "localhost",
        help='a name or an address, "name:port", or with --lmtp the path of a Unix socket (SMTP_PROTO_HOST, localhost)',
    )
    server.add_argument(
        "--port",
        type=arguments.port,
        default=variable("PORT") or 0,
        help="SMTP_PROTO_PORT; 25, with --tls implicit 465, with --lmtp 2003",
    )
    server.add_argument("--lmtp", action="store_true", help="speak LMTP, which answers for each recipient")
    server.add_argument(
        "--timeout",
        type=arguments.seconds,
        metavar="SECONDS",
        help="for each wait as a whole, and each bit of progress of a message; what RFC 5321 recommends",
    )
    tls = parser.add_argument_group("TLS")
    tls.add_argument(
        "--tls",
        type=_policy,
        default=variable("TLS"),
        metavar="POLICY",
        help="none; opportunistic: STARTTLS where it is offered; required: STARTTLS or nothing; implicit: TLS from the "
        "first octet (SMTP_PROTO_TLS; implicit at port 465, none over a Unix socket, else opportunistic)",
    )
    tls.add_argument(
        "--cafile",
        default=variable("CAFILE"),
        metavar="FILE",
        help="the certificates to trust (PEM) in place of the system's (SMTP_PROTO_CAFILE)",
    )
    tls.add_argument("--server-hostname", metavar="NAME", help="the name that the certificate must have")
    tls.add_argument("--insecure", action="store_true", help="do not verify the certificate")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the conversation on standard error, secrets masked"
    )


def target(options: argparse.Namespace) -> Target:
    """The options as a value; `Failure` for those that do not go together."""
    host, port, tls = options.host, options.port, options.tls
    if host.count(":") == 1:
        host, _, digits = host.partition(":")
        try:
            port = arguments.port(digits)
        except argparse.ArgumentTypeError as error:
            raise Failure(Status.USAGE, f"--host {options.host}: {error}") from error
    unix = host.startswith("/")
    if tls is None and unix:
        tls = "none"
    elif tls is None:
        tls = "implicit" if port == smtp_blocking.SMTP_SSL_PORT else "opportunistic"
    if unix and not options.lmtp:
        raise Failure(Status.USAGE, f"--host {host}: Unix sockets are for --lmtp")
    if unix and tls != "none" and not options.server_hostname:
        raise Failure(Status.USAGE, "--server-hostname is missing: a path is no name that a certificate could have")
    client = smtp_blocking.SMTP_SSL if tls == "implicit" else smtp_blocking.SMTP
    default = smtp_blocking.LMTP_PORT if options.lmtp else client.default_port
    try:
        context = ssl.create_default_context(cafile=options.cafile)
    except OSError as error:
        raise Failure(Status.NO_INPUT, f"--cafile {options.cafile}: {error.strerror or error}") from error
    made = Target(host, port or default, options.lmtp, tls, context, options.server_hostname, options.timeout)
    return made.trusting_anybody() if options.insecure else made
