"""From a `Target` to a client that is connected, encrypted as the policy wants, introduced and logged in.

Whatever goes wrong is a `Failure`.
"""

from __future__ import annotations

import getpass
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from smtp_blocking import LMTP, SMTP
from smtp_proto.transcript import Observer
from smtp_surface.exceptions import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from .failures import failure
from .server_options import Target
from .status import Failure, Status


@contextmanager
def _failing(target: Target) -> Iterator[None]:
    """What is raised inside, as a `Failure`."""
    try:
        yield
    except (OSError, SMTPException, ValueError) as error:
        raise failure(error, target) from error


@contextmanager
def connected(
    target: Target,
    transcript: Observer | None,
    *,
    pipelining: bool = True,
    allow_cleartext_auth: bool = False,
) -> Iterator[SMTP]:
    """A client that has been greeted, and is encrypted as the policy wants.

    What is raised inside becomes a `Failure`.  It says QUIT at the end, and whatever is answered to that is no failure:
    all that matters has been said.
    """
    with _failing(target):
        client = _greeted(
            target, transcript=transcript, pipelining=pipelining, allow_cleartext_auth=allow_cleartext_auth
        )
    try:
        with _failing(target):
            yield client
    finally:
        with suppress(SMTPResponseException), client:
            pass


def _greeted(target: Target, **options: Any) -> SMTP:
    if target.timeout is not None:
        options["timeout"] = target.timeout
    kind = LMTP if target.lmtp else SMTP
    try:
        return kind(
            target.host,
            target.port,
            server_hostname=target.server_hostname,
            tls=target.tls,
            context=target.context,
            **options,
        )
    except UnicodeError as error:
        raise Failure(Status.NO_HOST, f"{target}: this can be no host's name: {error}") from error
    except (SMTPConnectError, SMTPHeloError):
        raise
    except SMTPNotSupportedError as error:
        raise Failure(Status.TLS, f"{target}: TLS is required and not offered (STARTTLS)") from error
    except SMTPResponseException as error:
        if error.reply is None:
            raise
        # STARTTLS is all that is left to be refused.
        refused = failure(error, target)
        status = Status.TEMPORARY if refused.status is Status.TEMPORARY else Status.TLS
        raise Failure(status, f"{refused} (to STARTTLS)") from error


def log_in(client: SMTP, target: Target, user: str, password: str) -> None:
    """AUTH with the best mechanism that both sides have."""
    client.ehlo_or_helo_if_needed()
    try:
        client.login(user, password)
    except (SMTPAuthenticationError, SMTPServerDisconnected):
        raise
    except SMTPNotSupportedError as error:
        if client.has_extn("auth"):
            what = (
                "the password would go over an unencrypted connection (use --tls required or implicit; "
                "--allow-cleartext-auth if you must)"
            )
        else:
            what = "it offers no log-in here (AUTH); many do so over TLS only (--tls required)"
        raise Failure(Status.LOGIN, f"{target}: {what}") from error
    except SMTPException as error:
        offered = client.esmtp_features.get("auth", "").strip()
        raise Failure(Status.LOGIN, f"{target}: the log-in failed: {error} (offered: {offered})") from error


def password_for(user: str, path: str | None) -> str:
    """The password: the first line of the file at `path`, else SMTP_PROTO_PASSWORD, else asked for on the terminal.

    It is no option: those are in the list of processes for everybody to see.
    """
    if path is not None:
        try:
            password = Path(path).read_text(encoding="utf-8").partition("\n")[0].removesuffix("\r")
        except UnicodeDecodeError:
            # Not as the cause: it would carry the octets of the file.
            raise Failure(Status.NO_INPUT, f"--password-file {path}: it is not UTF-8") from None
        except OSError as error:
            raise Failure(Status.NO_INPUT, f"--password-file {path}: {error.strerror or error}") from error
        if not password:
            raise Failure(Status.NO_INPUT, f"--password-file {path}: its first line is empty")
        return password
    given = os.environ.get("SMTP_PROTO_PASSWORD")
    if given:
        return given
    try:
        with warnings.catch_warnings():
            # Where there is no terminal it would warn, and then read the password from standard input, in plain sight.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(f"Password of {user}: ")
    except (getpass.GetPassWarning, EOFError) as error:
        raise Failure(
            Status.USAGE,
            "no password: set SMTP_PROTO_PASSWORD or give --password-file (there is no terminal to ask on)",
        ) from error
