"""BURL (RFC 4468) at Dovecot's submission service: it fetches a message by its URL, and hands it to our own server."""

from __future__ import annotations

import imaplib
from contextlib import AbstractContextManager

import smtp_blocking

from .doors import SENDER, TIMEOUT
from .dovecot import PASSWD_FILE, user
from .mailboxes import PASSWORDS, without_added
from .messages import header, new_ident
from .processes import HOST
from .submission import Submission, submission

USER = "user00"

_CONFIGURATION = (
    """\
protocols = imap submission
auth_mechanisms = plain
# The keys of URLs (RFC 4467) are kept there.
mail_attribute_dict = file:{base}/home/attributes
imap_urlauth_host = dovecot.test
service imap-login {{
  inet_listener imap {{
    port = {ports[imap]}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""
    + PASSWD_FILE
)


def with_mailboxes() -> AbstractContextManager[Submission]:
    """The submission service, and IMAP for the mailboxes that it takes messages from."""
    packages, parts = "dovecot-imapd", ["imap-urlauth"]
    return submission(_CONFIGURATION, "imap", packages=packages, parts=parts, files={"users": user(USER)})


def url_of(service: Submission, message: bytes) -> str:
    """Put the message into the user's mailbox; a URL by which the submission service may fetch it."""
    with imaplib.IMAP4(HOST, service.ports["imap"], TIMEOUT) as imap:
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
    with with_mailboxes() as service:
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
