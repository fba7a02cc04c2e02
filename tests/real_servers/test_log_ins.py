"""Log-ins at servers of another make: each mechanism that one of them has, and the wrong credentials for it."""

from __future__ import annotations

import pytest

import smtp_blocking
from smtp_proto.sasl import Mechanism, Plain
from smtp_proto.sasl_oauth import OAuthBearer, XOAuth2
from smtp_proto.sasl_scram import Scram
from smtp_proto.transcript import Transcript
from tests import certificates

from .doors import SENDER, TIMEOUT, implicit_tls, starttls
from .mailboxes import PASSWORDS, TOKENS, MailServer, address
from .processes import HOST

USER = "user00"
TOKEN = next(token for token, user in TOKENS.items() if user == USER)

# -- Postfix with Dovecot's SASL --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("user", PASSWORDS)
def test_scram(postfix: MailServer, name: str, user: str) -> None:
    """SCRAM logs in at Dovecot, and Dovecot proves itself, also for names and passwords beyond ASCII."""
    with starttls(postfix, "submission", True) as client:
        client.ehlo()
        assert client.auth(name, Scram(user, PASSWORDS[user], name))[0] == 235
        assert client.mail(SENDER)[0] == 250


@pytest.mark.parametrize("initial_response_ok", [True, False])
@pytest.mark.parametrize(
    "mechanism",
    [
        lambda: Scram(USER, PASSWORDS[USER]),
        lambda: OAuthBearer(USER, TOKEN, HOST, 587),
        lambda: XOAuth2(USER, TOKEN),
        lambda: Plain(USER, PASSWORDS[USER]),
    ],
    ids=["SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN"],
)
def test_asked_or_not(postfix: MailServer, mechanism: type[Mechanism], initial_response_ok: bool) -> None:
    """Each mechanism logs in with an initial response, and where the server asks first."""
    step = mechanism()
    with implicit_tls(postfix, "smtps", True) as client:
        client.ehlo()
        assert client.auth(step.name, step, initial_response_ok=initial_response_ok)[0] == 235


def test_the_strongest_is_taken(postfix: MailServer) -> None:
    """With a password SCRAM-SHA-256, for Dovecot has nothing to bind to; with a token OAUTHBEARER."""
    for options, used in (({"password": PASSWORDS[USER]}, "SCRAM-SHA-256"), ({"token": TOKEN}, "OAUTHBEARER")):
        with starttls(postfix, "submission", True) as client:
            client.transcript = transcript = Transcript(lambda: 0.0)
            assert client.login(USER, **options)[0] == 235  # type: ignore[arg-type]  # each has its own type
            assert f"C: AUTH {used} ***" in str(transcript)


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_a_wrong_password(postfix: MailServer, name: str) -> None:
    """A wrong password and an unknown user are a 535, and the connection can be used for the right one."""
    with implicit_tls(postfix, "smtps", True) as client:
        client.ehlo()
        for user in (USER, "nobody"):
            with pytest.raises(smtp_blocking.SMTPAuthenticationError) as caught:
                client.auth(name, Scram(user, "wrong", name))
            assert caught.value.smtp_code == 535
        assert client.login(USER, PASSWORDS[USER])[0] == 235


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_a_wrong_token(postfix: MailServer, mechanism: str) -> None:
    """A token that is not good, or another's, is refused with a reason, and a fresh one logs in after all."""

    class Source:
        def __call__(self) -> str:
            return "ya29.stale"

        def refresh(self) -> str:
            return TOKEN

    with implicit_tls(postfix, "smtps", True) as client:
        for token in ("ya29.stale", next(token for token, user in TOKENS.items() if user != USER)):
            with pytest.raises(smtp_blocking.SMTPAuthenticationError) as caught:
                client.login(USER, token=token, mechanisms=[mechanism])
            assert caught.value.smtp_code == 535
            assert caught.value.oauth_error
            assert caught.value.oauth_error["status"] in ("invalid_token", "401", "400")
        assert client.login(USER, token=Source(), mechanisms=[mechanism])[0] == 235


# -- Exim -------------------------------------------------------------------------------------------------------------


def test_a_certificate(exim: MailServer) -> None:
    """Who shows a certificate is offered EXTERNAL, and is let in as whom it is for and as nobody else."""
    context = certificates.client_context()
    certificates.authority().issue_cert(address(USER)).configure_cert(context)
    with smtp_blocking.SMTP_SSL(HOST, exim.ports["tls"], timeout=TIMEOUT, context=context) as client:
        client.ehlo()
        assert client.esmtp_features["auth"].split() == ["EXTERNAL"]
        with pytest.raises(smtp_blocking.SMTPAuthenticationError):
            client.login(address("user01"))
        assert client.login(address(USER))[0] == 235
        assert client.sendmail(SENDER, address("user02"), b"Subject: x\r\n\r\n") == {}
    assert f"A=certificate:{address(USER)}" in exim.log.read_text("utf-8", "replace")


def test_no_certificate(exim: MailServer) -> None:
    """Who shows none is offered nothing."""
    with implicit_tls(exim, "tls", True) as client, pytest.raises(smtp_blocking.SMTPNotSupportedError):
        client.login()
