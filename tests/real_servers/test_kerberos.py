"""GSSAPI (RFC 4752) with real tickets of MIT's Kerberos, at Dovecot's SASL; `with_pyspnego` has the same through it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import smtp_blocking
from smtp_proto.sasl_spnego import Gssapi
from tests.needs import needs

from .doors import TIMEOUT
from .gss import Ticketed
from .kerberos import SERVICE, Realm, realm
from .processes import HOST, OWNER, Prepared, directory, free_ports, needs_server, owned, running

PACKAGES = "apt-get install dovecot-core dovecot-submissiond dovecot-gssapi"
USER, PASSWORD = "user00", "words"

_CONFIGURATION = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = submission
listen = {host}
ssl = no
hostname = dovecot.test
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {owner}
mail_gid = nogroup
mail_location = maildir:{base}/mail
mail_home = {base}/home
auth_mechanisms = gssapi
auth_krb5_keytab = {keytab}
# Any key of that file will do: the name of this machine is of no matter.
auth_gssapi_hostname = "$ALL"
# "user@REALM" is "user".
auth_username_format = %n
import_environment = KRB5_CONFIG={krb5}
# Refusals are answered at once.
auth_failure_delay = 0
# The ticket is enough.
passdb {{
  driver = static
  args = nopassword=yes
}}
userdb {{
  driver = static
  args = allow_all_users=yes
}}
submission_relay_host = {host}
submission_relay_port = {relay}
service auth {{
  user = root
}}
service submission-login {{
  inet_listener submission {{
    port = {ports[submission]}
  }}
}}
"""


@contextmanager
def submission(tickets: Realm) -> Iterator[tuple[int, smtp_blocking.Server]]:
    """The port of Dovecot's submission service, which takes log-ins by GSSAPI only, and our own server behind it."""
    program = needs_server("dovecot", PACKAGES, "dovecot")
    for part in ("submission", "modules/auth/libmech_gssapi.so"):
        needs(Path("/usr/lib/dovecot", part).exists(), f"Dovecot's {part} (Debian: {PACKAGES})")
    with directory("gssapi") as base, smtp_blocking.Server() as relay:
        owned(base / "mail")
        owned(base / "home")

        def prepare() -> Prepared:
            ports = free_ports("submission")
            text = _CONFIGURATION.format(
                base=base,
                host=HOST,
                owner=OWNER,
                ports=ports,
                relay=relay.port,
                keytab=tickets.keytab,
                krb5=tickets.environment["KRB5_CONFIG"],
            )
            (base / "dovecot.conf").write_text(text, "utf-8")
            return [program, "-F", "-c", base / "dovecot.conf"], ports, base / "log"

        with running(prepare, base) as ports:
            yield ports["submission"], relay


@contextmanager
def logging_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Callable[[Gssapi], None], smtp_blocking.Server]]:
    """A function that logs in with a mechanism and sends a message, and the server that has the message then."""
    with realm(USER, PASSWORD) as tickets, submission(tickets) as (port, relay):
        for name, value in tickets.environment.items():
            monkeypatch.setenv(name, value)

        def send(mechanism: Gssapi) -> None:
            with smtp_blocking.SMTP(HOST, port, "client.test", TIMEOUT) as client:
                client.ehlo()
                assert client.auth("GSSAPI", mechanism)[0] == 235
                client.sendmail("ada@example.org", "grace@example.net", "Subject: x\n\n")

        yield send, relay


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
