"""Dovecot, with whatever services (`serving`); and one with LMTP and log-ins, for all tests (`dovecot`).

That one has LMTP over TCP and a Unix socket into Maildirs, and the log-ins of Postfix (Dovecot SASL).  Bearer tokens
are checked at an endpoint for introspection that the tests run.

The user ``full`` has a quota of almost nothing: it is taken as a recipient, and refused after the message, in an answer
of its own (RFC 2033 4.2).  Names that are not in the list are refused at RCPT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.needs import needs

from .introspection import introspection
from .mailboxes import PASSWORDS, TOKENS, USERS, MailServer
from .processes import HOST, OWNER, Prepared, directory, free_ports, needs_server, owned, running

# What all of them have; what is in the mailboxes belongs to nobody.
_EVERY = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
listen = {host}
ssl = no
hostname = dovecot.test
# By default users below 500 and above 65000 are taken for mistakes.
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {owner}
mail_gid = nogroup
# Passwords may be sent in the clear.  Of the servers behind which it stands Postfix says what may be used without TLS.
disable_plaintext_auth = no
# Refusals are answered at once, also those after the first.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""

#: Passwords, and what else is known of a user, in the file "users".
PASSWD_FILE = """\
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {base}/users
}}
userdb {{
  driver = passwd-file
  args = {base}/users
}}
"""

_CONFIGURATION = (
    """\
protocols = lmtp
postmaster_address = postmaster@example.test
mail_location = maildir:{base}/mail/%{{userdb:box}}
mail_home = {base}/home/%{{userdb:box}}
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2
auth_username_format = %n
# The default has only ASCII.
auth_username_chars =
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {base}/oauth2
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
    + PASSWD_FILE
)

_OAUTH2 = """\
introspection_mode = post
introspection_url = {url}
username_attribute = username
active_attribute = active
active_value = true
"""


class Running(NamedTuple):
    """A Dovecot: its directory, and the ports of its services."""

    base: Path
    ports: Mapping[str, int]


@contextmanager
def serving(
    configuration: str,
    ports: Iterable[str],
    *,
    packages: str,
    parts: Iterable[str],
    files: Mapping[str, str] = {},
    **values: object,
) -> Iterator[Running]:
    """Dovecot with a service on each of the `ports`, for the time of the block.

    The `configuration`, a format string for these ports and other `values`, comes on top of what every Dovecot has.
    The `files` are put into its directory.  Of Debian's `packages` it needs these `parts`, below Dovecot's own folder.
    """
    program = needs_server("dovecot", f"apt-get install {packages}", "dovecot")
    for part in parts:
        needs(Path("/usr/lib/dovecot", part).exists(), f"Dovecot's {part} (Debian: apt-get install {packages})")
    with directory("dovecot") as base:
        owned(base / "mail")
        owned(base / "home")
        for name, text in files.items():
            (base / name).write_text(text, "utf-8")

        def prepare() -> Prepared:
            free = free_ports(*ports)
            text = (_EVERY + configuration).format(base=base, host=HOST, owner=OWNER, ports=free, **values)
            (base / "dovecot.conf").write_text(text, "utf-8")
            return [program, "-F", "-c", base / "dovecot.conf"], free, base / "log"

        with running(prepare, base) as taken:
            yield Running(base, taken)


def user(name: str, fields: str = "") -> str:
    """The line of a user in the file "users", with a password if there is one."""
    # name:password:uid:gid:(gecos):home:(shell):fields
    return f"{name}:{PASSWORDS.get(name, '!')}::::::{fields}\n"


@contextmanager
def dovecot() -> Iterator[MailServer]:
    """Dovecot, for the time of the block; `path` is its Unix socket for LMTP, "auth" beside it that for log-ins."""
    users = "".join(
        user(name, f"userdb_box={box}" + (" userdb_quota_rule=*:bytes=10" if name == "full" else ""))
        for name, box in USERS.items()
    )
    with (
        introspection(TOKENS) as url,
        serving(
            _CONFIGURATION,
            ["lmtp"],
            packages="dovecot-core dovecot-lmtpd",
            parts=["lmtp"],
            files={"users": users, "oauth2": _OAUTH2.format(url=url)},
        ) as (base, ports),
    ):
        yield MailServer(ports, base / "mail", base / "log", base / "lmtp")
