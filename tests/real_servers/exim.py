"""Exim 4: plain SMTP, STARTTLS and implicit TLS, into Maildirs.

Exim conflicts with Postfix as a package, so `.ci/run` unpacks it where `CACHE` says, and makes the user that it changes
to; one that is installed is used as well.  It runs as that user from the beginning (``deliver_drop_privilege``), for a
configuration that is not the system's makes it give up being root anyway.

It knows those who show a certificate by their address in it (AUTH EXTERNAL).

Its own choice of codes: the ACL below says which recipient is refused and how.  It also refuses what comes before it
was its turn (``smtp_enforce_sync``, the default), so that a client that pipelines where it must not is found out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import certificates

from .mailboxes import DOMAIN, SMALL, USERS, MailServer
from .processes import HOST, Prepared, directory, free_ports, needs_server, owned, running, write_certificate

USER = "Debian-exim"  # compiled into Debian's Exim
CACHE = Path("/var/cache/sansio-smtp/exim")
PACKAGES = ".ci/run unpacks exim4-daemon-light beside Postfix"

_CONFIGURATION = """\
exim_path = {program}
primary_hostname = exim.test
spool_directory = {base}/spool
log_file_path = {base}/log.%s
pid_file_path = {base}/pid
local_interfaces = {host}
daemon_smtp_ports = {ports[plain]} : {ports[tls]} : {ports[small]}
tls_on_connect_ports = {ports[tls]}
# Another program that has taken a port is not waited for.
daemon_startup_retries = 0
deliver_drop_privilege
# Each message is delivered as soon as it is there, however many come over one connection.
smtp_accept_queue_per_connection = 0
never_users =
# Nothing is looked up, nobody is asked who they are, and no reports are made of what cannot be delivered.
host_lookup =
dns_ipv4_lookup =
rfc1413_hosts =
bounce_message_file =
ignore_bounce_errors_after = 0s
accept_8bitmime
smtputf8_advertise_hosts = *
pipelining_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
tls_try_verify_hosts = *
tls_verify_certificates = {authority}
message_size_limit = ${{if eq{{$received_port}}{{{ports[small]}}}{{{small}}}{{20M}}}}
acl_smtp_mail = sender
acl_smtp_rcpt = recipient
acl_smtp_data = message

# The environment is purged; without this it says so in its log.
keep_environment =

begin acl

sender:
  deny senders = banned@client.test
       message = 550 5.7.1 That sender is not wanted
  accept

recipient:
  defer local_parts = busy : later
        message = 450 4.2.1 $local_part is busy
  deny  !domains = {domain}
        message = 550 5.7.1 No relaying for $domain
  deny  !local_parts = lsearch;{base}/users
        message = 550 5.1.1 No such user\\n$local_part is unknown
  accept

message:
  deny  condition = ${{if eq{{$h_subject:}}{{Refuse me}}}}
        message = 554 5.6.0 That message is not wanted
  accept

begin authenticators

# Only for who has shown a certificate that is good, and only as whom it is for.
certificate:
  driver = external
  public_name = EXTERNAL
  server_advertise_condition = $tls_in_certificate_verified
  server_param2 = ${{certextract {{subj_altname,mail,>:}} {{$tls_in_peercert}}}}
  server_condition = ${{if inlist {{$auth1}} {{$auth2}}}}
  server_set_id = $auth1

begin routers

users:
  driver = accept
  domains = {domain}
  local_parts = lsearch;{base}/users
  transport = maildir

begin transports

maildir:
  driver = appendfile
  maildir_format
  directory = {base}/mail/$local_part_data
  create_directory
  delivery_date_add
  envelope_to_add
  return_path_add
"""


def _program() -> str:
    return "exim4" if shutil.which("exim4") else str(CACHE / "usr/sbin/exim4")


@contextmanager
def exim() -> Iterator[MailServer]:
    """Exim, for the time of the block, on the ports "plain" (with STARTTLS), "tls", and "small"
    (where it takes no more than `SMALL` octets)."""
    program = needs_server(_program(), PACKAGES, USER)
    with directory("exim") as base:
        owned(base / "mail", USER)
        owned(base / "spool", USER)
        shutil.chown(base, USER)  # it makes its logs and the like here
        (base / "users").write_text("".join(f"{user}: {box}\n" for user, box in USERS.items()), "utf-8")
        certificate, key = write_certificate(base, USER)
        authority = base / "authority.pem"
        authority.write_bytes(certificates.authority().cert_pem.bytes())

        def prepare() -> Prepared:
            ports = free_ports("plain", "tls", "small")
            text = _CONFIGURATION.format(
                base=base,
                host=HOST,
                ports=ports,
                small=SMALL,
                program=program,
                certificate=certificate,
                key=key,
                authority=authority,
                domain=DOMAIN,
            )
            configuration = base / "exim.conf"
            configuration.write_text(text, "utf-8")
            return [program, "-C", configuration, "-bdf"], ports, base / "log.main"

        with running(prepare, base) as ports:
            yield MailServer(ports, base / "mail", base / "log.main")
