"""Dovecot: LMTP over TCP and a Unix socket into Maildirs, and the log-ins of Postfix (Dovecot SASL).

Bearer tokens are checked at an endpoint for introspection that the tests run.

The user ``full`` has a quota of almost nothing: it is taken as a recipient, and refused after the message, in an answer
of its own (RFC 2033 4.2).  Names that are not in the list are refused at RCPT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.needs import needs

from .introspection import introspection
from .mailboxes import PASSWORDS, TOKENS, USERS, MailServer
from .processes import HOST, OWNER, Prepared, directory, free_ports, needs_server, owned, running

PACKAGES = "apt-get install dovecot-core dovecot-lmtpd"
_LMTP = Path("/usr/lib/dovecot/lmtp")

_CONFIGURATION = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = lmtp
listen = {host}
ssl = no
hostname = dovecot.test
postmaster_address = postmaster@example.test
# What is in the mailboxes belongs to nobody; by default users below 500 and above 65000 are taken for mistakes.
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {owner}
mail_gid = nogroup
mail_location = maildir:{base}/mail/%{{userdb:box}}
mail_home = {base}/home/%{{userdb:box}}
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2
# Postfix says what may be used without TLS.
disable_plaintext_auth = no
auth_username_format = %n
# The default has only ASCII.
auth_username_chars =
# Wrong passwords are answered at once, also those after the first.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {base}/oauth2
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {base}/users
}}
userdb {{
  driver = passwd-file
  args = {base}/users
}}
mail_plugins = quota
plugin {{
  quota = maildir:User
  # None, but for those who have one of their own.
  quota_rule = *:storage=0
}}
service lmtp {{
  inet_listener lmtp {{
    address = {host}
    port = {ports[lmtp]}
  }}
  unix_listener {base}/lmtp {{
  }}
}}
service auth {{
  unix_listener {base}/auth {{
    mode = 0666
  }}
}}
"""

_OAUTH2 = """\
introspection_mode = post
introspection_url = {url}
username_attribute = username
active_attribute = active
active_value = true
"""


@contextmanager
def dovecot() -> Iterator[MailServer]:
    """Dovecot, for the time of the block; `path` is its Unix socket for LMTP, "auth" beside it that for log-ins."""
    program = needs_server("dovecot", PACKAGES, "dovecot")
    needs(_LMTP.exists(), f"Dovecot's LMTP (Debian: {PACKAGES})")
    with directory("dovecot") as base, introspection(TOKENS) as url:
        owned(base / "mail")
        owned(base / "home")
        # name:password:uid:gid:(gecos):home:(shell):fields
        lines = []
        for user, box in USERS.items():
            quota = " userdb_quota_rule=*:bytes=10" if user == "full" else ""
            lines.append(f"{user}:{PASSWORDS.get(user, '!')}::::::userdb_box={box}{quota}\n")
        (base / "users").write_text("".join(lines), "utf-8")
        (base / "oauth2").write_text(_OAUTH2.format(url=url), "utf-8")

        def prepare() -> Prepared:
            ports = free_ports("lmtp")
            configuration = base / "dovecot.conf"
            configuration.write_text(_CONFIGURATION.format(base=base, host=HOST, owner=OWNER, ports=ports), "utf-8")
            return [program, "-F", "-c", configuration], ports, base / "log"

        with running(prepare, base) as ports:
            yield MailServer(ports, base / "mail", base / "log", base / "lmtp")
