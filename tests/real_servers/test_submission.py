"""What not every server does, tried on Postfix: log-ins, DSN, sizes that are refused, hanging up.  And TLS."""

from __future__ import annotations

import ssl
from email import message_from_bytes, policy
from typing import Any

import pytest

import smtp_blocking
from tests import certificates

from .doors import SENDER, TIMEOUT, implicit_tls, plain, starttls
from .mailboxes import PASSWORDS, SMALL, MailServer, address, without_added
from .messages import BODIES, header, new_ident, with_header
from .postfix import ERRORS
from .processes import HOST

MECHANISMS = {
    "CRAM-MD5": smtp_blocking.SMTP.auth_cram_md5,
    "PLAIN": smtp_blocking.SMTP.auth_plain,
    "LOGIN": smtp_blocking.SMTP.auth_login,
}

# -- log-ins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", PASSWORDS)
@pytest.mark.parametrize("at_once", [True, False], ids=["initial response", "asked first"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_each_mechanism_logs_in(postfix: MailServer, mechanism: str, at_once: bool, user: str) -> None:
    """Each mechanism logs in, names and passwords beyond ASCII (RFC 4616: UTF-8) as well as others."""
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    with starttls(postfix, "submission", True) as client:
        client.ehlo()
        assert set(MECHANISMS) <= set(client.esmtp_features["auth"].split())
        client.user, client.password = user, PASSWORDS[user]
        answer = client.auth(mechanism, MECHANISMS[mechanism].__get__(client), initial_response_ok=at_once)
        assert answer[0] == 235
        assert client.sendmail(SENDER, address("user13"), message.sent) == {}
    delivered = postfix.message("user13", ident)
    assert b"with ESMTPSA" in delivered  # RFC 3848: over TLS, logged in
    assert without_added(delivered) == message.stored


@pytest.mark.parametrize("chunking", [False, True, "eager"])
@pytest.mark.parametrize(("door", "policy"), [("submission", "required"), ("smtps", "implicit")])
def test_a_connection_used_once(postfix: MailServer, door: str, policy: Any, chunking: Any) -> None:
    """`send` logs in over TLS and delivers, QUIT in the same flight as the message."""
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    outcome = smtp_blocking.send(
        message.sent, HOST, postfix.ports[door], sender=SENDER, recipients=[address("user14")],
        user="user00", password=PASSWORDS["user00"], tls=policy, context=certificates.client_context(),
        timeout=TIMEOUT, chunking=chunking,
    )  # fmt: skip
    assert outcome.delivered
    assert outcome.queue_id
    assert without_added(postfix.message("user14", ident)) == message.stored


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_refused(postfix: MailServer, mechanism: str) -> None:
    """A wrong password is a 535 by each mechanism, and the connection can be used for the right one."""
    with implicit_tls(postfix, "smtps", True) as client:
        client.ehlo()
        client.user, client.password = "user00", "wrong"
        with pytest.raises(smtp_blocking.SMTPAuthenticationError) as caught:
            client.auth(mechanism, MECHANISMS[mechanism].__get__(client))
        assert caught.value.smtp_code == 535
        assert client.login("user00", PASSWORDS["user00"])[0] == 235


def test_who_is_logged_in_already_is_told_so(postfix: MailServer) -> None:
    """A second log-in is a 503 (RFC 4954 4), which is success."""
    with implicit_tls(postfix, "smtps", True) as client:
        assert client.login("user00", PASSWORDS["user00"])[0] == 235
        assert client.login("user00", PASSWORDS["user00"])[0] == 503


def test_no_login_is_offered_in_the_clear(postfix: MailServer) -> None:
    """Where a server wants TLS first, `login` says that there is none, and mail is refused with what is missing."""
    with plain(postfix, "submission", True) as client:
        with pytest.raises(smtp_blocking.SMTPNotSupportedError):
            client.login("user00", PASSWORDS["user00"])
        with pytest.raises(smtp_blocking.SMTPSenderRefused) as caught:
            client.sendmail(SENDER, address("user00"), "It works.\n")
        assert (caught.value.smtp_code, caught.value.smtp_error) == (530, b"5.7.0 Must issue a STARTTLS command first")


def test_who_is_not_logged_in_is_refused(postfix: MailServer, pipelining: bool) -> None:
    """Without a log-in where one is wanted every recipient is refused."""
    with starttls(postfix, "submission", pipelining) as client:
        with pytest.raises(smtp_blocking.SMTPRecipientsRefused) as caught:
            client.sendmail(SENDER, [address("user00"), address("user01")], "It works.\n")
        assert [answer[0] for answer in caught.value.recipients.values()] == [554, 554]
        assert client.login("user00", PASSWORDS["user00"])[0] == 235


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("server", "port"), [("postfix", "submission"), ("exim", "plain")])
def test_a_certificate_of_an_unknown_authority_is_refused(
    request: pytest.FixtureRequest, server: str, port: str
) -> None:
    """Without a context the system's authorities decide, and they do not know this server: nothing more is sent."""
    running: MailServer = request.getfixturevalue(server)
    with plain(running, port, True) as client:
        with pytest.raises(ssl.SSLCertVerificationError):
            client.starttls()
        assert client.sock is None


@pytest.mark.parametrize(("server", "port"), [("postfix", "smtps"), ("exim", "tls")])
def test_a_certificate_for_another_name_is_refused(request: pytest.FixtureRequest, server: str, port: str) -> None:
    """The certificate must be for the host that was meant, and is for the one that was connected to."""
    running: MailServer = request.getfixturevalue(server)
    context = certificates.client_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        smtp_blocking.SMTP_SSL(
            HOST, running.ports[port], timeout=TIMEOUT, context=context, server_hostname=certificates.WRONG_HOST
        )


# -- DSN --------------------------------------------------------------------------------------------------------------


def test_a_success_is_notified(postfix: MailServer, pipelining: bool) -> None:
    """What is asked with RET, ENVID, NOTIFY and ORCPT (RFC 3461) is what the server's report says."""
    ident = new_ident()
    message = header(ident) + b"It works.\n"
    envelope = ident.strip("<>").partition("@")[0]
    with plain(postfix, "plain", pipelining) as client:
        client.ehlo()
        assert client.has_extn("dsn")
        refused = client.sendmail(
            address("user14"),
            address("user15"),
            message,
            ["RET=HDRS", f"ENVID={envelope}+2B1"],
            ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first+40example.test"],
        )
        assert refused == {}
    assert without_added(postfix.message("user15", ident)) == message
    report = message_from_bytes(postfix.message("user14", ident), policy=policy.default)
    assert report.get_content_type() == "multipart/report"
    [status] = [part for part in report.walk() if part.get_content_type() == "message/delivery-status"]
    per_message, per_recipient = (part for part in status.get_payload() if not isinstance(part, str))
    assert per_message["Original-Envelope-Id"] == f"{envelope}+1"
    assert per_recipient["Original-Recipient"] == "rfc822;first@example.test"
    assert per_recipient["Final-Recipient"] == "rfc822; user15@example.test"
    assert per_recipient["Action"] == "delivered"
    assert not [part for part in report.walk() if part.get_content_type() == "message/rfc822"]


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_size_that_is_too_large_is_refused_before_it_is_sent(postfix: MailServer, pipelining: bool) -> None:
    """A message above SIZE (RFC 1870) is refused before MAIL, and the next one, a small one, is sent."""
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    with plain(postfix, "small", pipelining) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == str(SMALL)
        with pytest.raises(smtp_blocking.SMTPSenderRefused) as caught:
            client.sendmail(SENDER, [address("user16"), address("user17")], b"x" * 70 * SMALL)
        assert caught.value.smtp_code == 552
        assert str(caught.value.enhanced) == "5.3.4"
        assert client.sendmail(SENDER, address("user16"), message.sent) == {}
    assert without_added(postfix.message("user16", ident)) == message.stored


@pytest.mark.parametrize("chunking", [False, True], ids=["DATA", "BDAT"])
def test_a_server_that_has_had_enough_is_heard(postfix: MailServer, pipelining: bool, chunking: bool) -> None:
    """The 421 of a server that counts errors, sent at once behind the last of them, is what is reported.

    Where DATA was sent already it is the answer to that.  Where it was not, as before BDAT, it is the answer to
    nothing, and the connection is lost (docs/differences.md: a reply nobody asked for).
    """
    ident = new_ident()
    message = with_header(ident, BODIES["plain"])
    strangers = [address(f"stranger{n}") for n in range(ERRORS)]
    with plain(postfix, "strict", pipelining) as client:
        client.chunking = chunking
        with pytest.raises(smtp_blocking.SMTPException) as caught:
            client.sendmail(SENDER, [address("user18"), *strangers], message.sent)
        error = caught.value
        asked = pipelining and not chunking
        assert type(error) is (smtp_blocking.SMTPDataError if asked else smtp_blocking.SMTPServerDisconnected)
        assert error.reply is not None
        assert (error.reply.code, error.reply.text) == (421, "4.7.0 postfix.test Error: too many errors")
        assert error.outcome is not None
        assert [recipient.reply and recipient.reply.code for recipient in error.outcome.recipients] == [250, *[550] * 3]
        assert not error.may_be_delivered
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()
    assert postfix.messages("user18", ident) == []


def test_a_server_that_has_had_enough_of_recipients_is_heard(postfix: MailServer, pipelining: bool) -> None:
    """The same among the recipients: it is the answer to the RCPT that was sent already, or to nothing."""
    strangers = [address(f"stranger{n}") for n in range(ERRORS + 5)]
    with plain(postfix, "strict", pipelining) as client:
        with pytest.raises(smtp_blocking.SMTPException) as caught:
            client.sendmail(SENDER, [address("user19"), *strangers], "It works.\n")
        error = caught.value
        assert error.reply is not None
        assert error.reply.code == 421
        if pipelining:
            assert isinstance(error, smtp_blocking.SMTPRecipientsRefused)
            assert list(error.recipients) == strangers[: ERRORS + 1]
            assert [code for code, _ in error.recipients.values()] == [550] * ERRORS + [421]
        else:
            assert isinstance(error, smtp_blocking.SMTPServerDisconnected)
            assert error.outcome is not None
            assert not error.may_be_delivered
        with pytest.raises(smtp_blocking.SMTPServerDisconnected):
            client.noop()
