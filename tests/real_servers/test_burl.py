"""BURL (RFC 4468) at Dovecot's submission service: it fetches a message by its URL, and hands it to our own server."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import smtp_blocking
from tests.needs import needs

from .doors import SENDER, TIMEOUT
from .mailboxes import PASSWORDS, without_added
from .messages import header, new_ident
from .processes import HOST, OWNER, Prepared, directory, free_ports, needs_server, owned, running

PACKAGES = "apt-get install dovecot-core dovecot-imapd dovecot-submissiond"
USER = "user00"

_CONFIGURATION = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = imap submission
listen = {host}
ssl = no
hostname = dovecot.test
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {owner}
mail_gid = nogroup
mail_location = maildir:{base}/mail
mail_home = {base}/home
auth_mechanisms = plain
disable_plaintext_auth = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {base}/users
}}
userdb {{
  driver = passwd-file
  args = {base}/users
}}
# The keys of URLs (RFC 4467) are kept there.
mail_attribute_dict = file:{base}/home/attributes
imap_urlauth_host = dovecot.test
submission_relay_host = {host}
submission_relay_port = {relay}
service imap-login {{
  inet_listener imap {{
    port = {ports[imap]}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service submission-login {{
  inet_listener submission {{
    port = {ports[submission]}
  }}
}}
"""


class Submission(NamedTuple):
    """The service, the mailboxes that it takes messages from, and where it sends them."""

    port: int
    imap: int
    log: Path
    relay: smtp_blocking.Server


@contextmanager
def submission() -> Iterator[Submission]:
    """Dovecot's submission service with its IMAP, and our own server behind it, for the time of the block."""
    program = needs_server("dovecot", PACKAGES, "dovecot")
    for part in ("submission", "imap-urlauth"):
        needs(Path("/usr/lib/dovecot", part).exists(), f"Dovecot's {part} (Debian: {PACKAGES})")
    with directory("submission") as base, smtp_blocking.Server() as relay:
        owned(base / "mail")
        owned(base / "home")
        (base / "users").write_text(f"{USER}:{PASSWORDS[USER]}::::::\n", "utf-8")

        def prepare() -> Prepared:
            ports = free_ports("imap", "submission")
            text = _CONFIGURATION.format(base=base, host=HOST, owner=OWNER, ports=ports, relay=relay.port)
            (base / "dovecot.conf").write_text(text, "utf-8")
            return [program, "-F", "-c", base / "dovecot.conf"], ports, base / "log"

        with running(prepare, base) as ports:
            yield Submission(ports["submission"], ports["imap"], base / "log", relay)


def url_of(service: Submission, message: bytes) -> str:
    """Put the message into the user's mailbox; a URL by which the submission service may fetch it."""
    with imaplib.IMAP4(HOST, service.imap, TIMEOUT) as imap:
        imap.login(USER, PASSWORDS[USER])
        assert imap.append("INBOX", "", "", message)[0] == "OK"
        imaplib.Commands.setdefault("GENURLAUTH", ("AUTH",))  # RFC 4467, which imaplib does not know
        url = f"imap://{USER}@dovecot.test/INBOX/;uid=1;urlauth=submit+{USER}"
        imap._simple_command("GENURLAUTH", f'"{url}"', "INTERNAL")
        answer: bytes = imap._untagged_response("OK", [None], "GENURLAUTH")[1][0]
        return answer.decode().strip('"')


def test_a_message_is_sent_by_its_url() -> None:
    """The message arrives as it is in the mailbox; a URL that leads nowhere is a refusal, and the session goes on."""
    ident = new_ident()
    message = header(ident).replace(b"\n", b"\r\n") + b".It works.\r\n"
    with submission() as service:
        url = url_of(service, message)
        with smtp_blocking.SMTP(HOST, service.port, "client.test", TIMEOUT) as client:
            client.login(USER, PASSWORDS[USER])
            assert client.has_extn("burl")
            client.mail(SENDER)
            client.rcpt("grace@example.net")
            assert client.burl(f"{url[:-8]}00000000")[0] == 554
            client.rset()
            client.mail(SENDER)
            client.rcpt("grace@example.net")
            assert client.burl(url)[0] == 250
        [sent] = service.relay.messages
    assert sent.to == ("grace@example.net",)
    assert without_added(sent.content) == message
