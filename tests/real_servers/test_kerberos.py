"""GSSAPI (RFC 4752) with real tickets of MIT's Kerberos, at Dovecot's SASL; `with_pyspnego` has the same through it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

import smtp_blocking
from smtp_proto.sasl_spnego import Gssapi

from .doors import TIMEOUT
from .gss import Ticketed
from .kerberos import SERVICE, Realm, realm
from .processes import HOST
from .submission import Submission, submission

USER, PASSWORD = "user00", "words"

_CONFIGURATION = """\
protocols = submission
auth_mechanisms = gssapi
auth_krb5_keytab = {keytab}
# Any key of that file will do: the name of this machine is of no matter.
auth_gssapi_hostname = "$ALL"
# "user@REALM" is "user".
auth_username_format = %n
import_environment = KRB5_CONFIG={krb5}
# The ticket is enough.
passdb {{
  driver = static
  args = nopassword=yes
}}
userdb {{
  driver = static
  args = allow_all_users=yes
}}
service auth {{
  user = root
}}
"""


def with_tickets(tickets: Realm) -> AbstractContextManager[Submission]:
    """The submission service, which takes log-ins by GSSAPI only."""
    return submission(
        _CONFIGURATION,
        packages="dovecot-gssapi",
        parts=["modules/auth/libmech_gssapi.so"],
        keytab=tickets.keytab,
        krb5=tickets.environment["KRB5_CONFIG"],
    )


@contextmanager
def logging_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Callable[[Gssapi], None], smtp_blocking.Server]]:
    """A function that logs in with a mechanism and sends a message, and the server that has the message then."""
    with realm(USER, PASSWORD) as tickets, with_tickets(tickets) as service:
        for name, value in tickets.environment.items():
            monkeypatch.setenv(name, value)

        def send(mechanism: Gssapi) -> None:
            with smtp_blocking.SMTP(HOST, service.port, "client.test", TIMEOUT) as client:
                client.ehlo()
                assert client.auth("GSSAPI", mechanism)[0] == 235
                client.sendmail("ada@example.org", "grace@example.net", "Subject: x\n\n")

        yield send, service.relay


def kinit() -> None:
    subprocess.run(["kinit", USER], input=PASSWORD, text=True, check=True, capture_output=True)


def test_tickets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tickets of `kinit` log in at Dovecot, which proves itself, as their owner and as nobody else."""
    with logging_in(monkeypatch) as (send, relay):
        with pytest.raises(OSError, match="gss_init_sec_context"):
            send(Gssapi(SERVICE, context=Ticketed(SERVICE)))
        kinit()
        for context in (Ticketed("elsewhere.test"), Ticketed("")):
            with pytest.raises(OSError, match="gss_init_sec_context"):
                send(Gssapi(SERVICE, context=context))
        send(Gssapi(SERVICE, context=Ticketed(SERVICE)))
        with pytest.raises(smtp_blocking.SMTPAuthenticationError):
            send(Gssapi(SERVICE, authorization_identity="somebody-else", context=Ticketed(SERVICE)))
        assert len(relay.messages) == 1
