"""Postfix: plain SMTP, submission with STARTTLS and log-in, the same with implicit TLS, into Maildirs.

The services that would connect to other hosts (smtp, relay, lmtp) are not in ``master.cf``, so that nothing leaves, and
`default_transport` says so to whoever tries.  Passwords are checked by Dovecot.  Deliveries are made by virtual(8),
which writes a message as it is, behind the fields that it adds.

Its ports: "plain" takes from anyone for the users it has; "submission" and "smtps" want TLS and a log-in; "small" takes
no more than `SMALL` octets, "proxied" believes XCLIENT and XFORWARD, and "strict" hangs up, as Postfix does by default,
behind the `ERRORS`th error.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .mailboxes import DOMAIN, SMALL, USERS, MailServer, address
from .processes import HOST, OWNER, Prepared, directory, free_ports, needs_server, owned, running, write_certificate

PACKAGES = "apt-get install postfix"
# Not postfix(1), whose checks of the whole installation take two seconds, or many where the disk is busy.
_MASTER_PROGRAM = "/usr/lib/postfix/sbin/master"
# The directories of the queue, which postfix(1) would make, as /etc/postfix/postfix-files has them: owner, group, mode.
_QUEUE = {
    **dict.fromkeys(("active", "bounce", "corrupt", "defer", "deferred"), ("postfix", "root", 0o700)),
    **dict.fromkeys(("flush", "hold", "incoming", "private", "saved", "trace"), ("postfix", "root", 0o700)),
    "maildrop": ("postfix", "postdrop", 0o1730),
    "public": ("postfix", "postdrop", 0o710),
    "pid": ("root", "root", 0o755),
}
ERRORS = 3

_MAIN = """\
compatibility_level = 3.6
myhostname = postfix.test
mydestination =
inet_interfaces = {host}
inet_protocols = ipv4
mynetworks = {host}/32
queue_directory = {base}/queue
data_directory = {base}/data
maillog_file = {base}/log
maillog_file_prefixes = {base}
# Nothing is looked up.
disable_dns_lookups = yes
smtpd_peername_lookup = no
default_transport = error:5.7.1 nothing leaves this host
relay_transport = error:5.7.1 nothing leaves this host
local_transport = error:5.7.1 there are no local users
local_recipient_maps =
alias_maps =
alias_database =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {base}/mail
virtual_mailbox_maps = texthash:{base}/users
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
message_size_limit = 20000000
smtputf8_enable = yes
# Headers stay as they are: this adds missing ones and completes addresses for clients that it takes for users' own.
local_header_rewrite_clients =
smtpd_relay_restrictions = reject_unauth_destination
smtpd_sender_restrictions = check_sender_access texthash:{base}/senders
smtpd_recipient_restrictions = check_recipient_access texthash:{base}/recipients
# MAIL is answered with what is thought of the sender, not only RCPT.
smtpd_delay_reject = no
header_checks = regexp:{base}/headers
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key} {certificate}
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {auth}
smtpd_sasl_security_options = noanonymous
# Refusals are answered at once, and however many there are.
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
in_flow_delay = 0
"""

# service type private unpriv chroot wakeup maxproc command
_MASTER = """\
{host}:{ports[plain]} inet n - n - - smtpd
{host}:{ports[submission]} inet n - n - - smtpd
    -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes
    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
{host}:{ports[smtps]} inet n - n - - smtpd
    -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes
    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
{host}:{ports[small]} inet n - n - - smtpd -o message_size_limit={small}
{host}:{ports[proxied]} inet n - n - - smtpd
    -o smtpd_authorized_xclient_hosts={host} -o smtpd_authorized_xforward_hosts={host}
{host}:{ports[strict]} inet n - n - - smtpd -o smtpd_hard_error_limit={errors} -o smtpd_soft_error_limit=100
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@contextmanager
def postfix(auth: Path) -> Iterator[MailServer]:
    """Postfix, for the time of the block; `auth` is the socket at which Dovecot answers for log-ins."""
    program = needs_server(_MASTER_PROGRAM, PACKAGES, "postfix")
    owner = pwd.getpwnam(OWNER)
    with directory("postfix") as base:
        owned(base / "mail")
        owned(base / "data", "postfix")
        (base / "queue").mkdir()
        for name, (user, group, mode) in _QUEUE.items():
            owned(base / "queue" / name, user, group).chmod(mode)
        configuration = base / "configuration"
        configuration.mkdir()
        certificate, key = write_certificate(base)
        _write_map(base / "users", {address(user): f"{box}/" for user, box in USERS.items()})
        _write_map(base / "senders", {"banned@client.test": "550 5.7.1 That sender is not wanted"})
        busy = {address(user): f"450 4.2.1 {user} is busy" for user in ("busy", "later")}
        _write_map(base / "recipients", busy)
        _write_settled(base / "headers", "/^Subject: Refuse me/ REJECT 5.6.0 That message is not wanted\n")
        main = _MAIN.format(
            base=base,
            host=HOST,
            domain=DOMAIN,
            uid=owner.pw_uid,
            gid=owner.pw_gid,
            certificate=certificate,
            key=key,
            auth=auth,
        )
        _write_settled(configuration / "main.cf", main)

        def prepare() -> Prepared:
            ports = free_ports("plain", "submission", "smtps", "small", "strict", "proxied")
            master = _MASTER.format(host=HOST, ports=ports, small=SMALL, errors=ERRORS)
            _write_settled(configuration / "master.cf", master)
            return [program, "-c", configuration], ports, base / "log"

        with running(prepare, base) as ports:
            yield MailServer(ports, base / "mail", base / "log")


def _write_settled(path: Path, text: str) -> None:
    """A file that looks old: for two seconds Postfix waits to see whether somebody is still writing a new one."""
    path.write_text(text, "utf-8")
    os.utime(path, (0, 0))


def _write_map(path: Path, entries: dict[str, str]) -> None:
    """A table of the kind texthash."""
    _write_settled(path, "".join(f"{key} {value}\n" for key, value in entries.items()))
