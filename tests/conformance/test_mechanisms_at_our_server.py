"""Logging in between our own two ends: each mechanism over TLS, the strongest of all, and what a server offers."""

from __future__ import annotations

import ssl
import sys
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import pytest

import smtp_blocking
from smtp_proto.commands import Mail
from smtp_proto.handler import UserHandler
from smtp_proto.replies import Reply
from smtp_proto.sasl import Login
from smtp_proto.sasl_exchange import Credentials
from smtp_proto.sasl_scram import Scram
from smtp_proto.sasl_server import SERVER_MECHANISMS
from smtp_proto.server_session import ServerSession, Settings
from smtp_proto.transcript import Transcript
from tests.certificates import authority, client_context, own_certificate, server_context

from .backends import Backend
from .test_mechanisms import PASSWORD, TOKEN, USER, XOAUTH2


class Certified(UserHandler):
    """Lets in whoever has shown a certificate for the name that he wants to be, or for one at all."""

    credentials: Credentials | None = None

    def external(self, session: ServerSession, identity: str) -> str | Reply:
        assert session.tls_facts is not None
        names = [name for _, name in session.tls_facts.peer["subjectAltName"]]
        if identity and identity not in names:
            return Reply(535, "5.7.8 not yours")
        return identity or names[0]

    def anonymous(self, session: ServerSession, trace: str) -> None:
        return None

    def mail(self, session: ServerSession, command: Mail) -> None:
        self.credentials = session.credentials


ALL = tuple(SERVER_MECHANISMS)
# The other forms of SCRAM are not taken where the -PLUS forms are on offer.
WITH_SECRETS = ["OAUTHBEARER", "XOAUTH2", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "CRAM-MD5", "PLAIN", "LOGIN"]


def logged_in_by(backend: Backend, *arguments: Any, implicit: bool, **options: Any) -> str:
    """The mechanism by which our own server has let somebody in, over TLS, behind STARTTLS or from the start."""
    for_server = server_context()
    authority().configure_trust(for_server)
    for_server.verify_mode = ssl.CERT_OPTIONAL
    for_client = client_context()
    if options.pop("certificate", True):
        authority().issue_cert(USER).configure_cert(for_client)
    settings = Settings("mx.test", mechanisms=ALL, certificate=own_certificate(), require_auth=True)
    handler = Certified({USER: PASSWORD}, {TOKEN: USER})
    transcript = Transcript(lambda: 0.0)
    with smtp_blocking.Server(handler, settings=settings, tls_context=for_server, implicit_tls=implicit) as server:
        if implicit:
            client = backend.connect(server, "SMTP_SSL", context=for_client, transcript=transcript)
        else:
            client = backend.connect(server, transcript=transcript)
        with client:
            if not implicit:
                client.starttls(context=for_client)
            assert client.login(*arguments, **options)[0] == 235
            assert client.mail("a@b.test")[0] == 250
    text = str(transcript)
    for secret in (PASSWORD, TOKEN, b64encode(PASSWORD.encode()).decode(), XOAUTH2.decode()):
        assert secret not in text
    assert handler.credentials is not None
    assert handler.credentials.password in ("", PASSWORD)
    assert handler.credentials.user == (USER if handler.credentials.mechanism != "ANONYMOUS" else "")
    return handler.credentials.mechanism


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "TLS"])
@pytest.mark.parametrize("mechanism", WITH_SECRETS)
def test_every_mechanism_over_tls(backend: Backend, mechanism: str, implicit: bool) -> None:
    """Between our own two ends each mechanism logs in, the -PLUS forms bound to the session that both see."""
    used = logged_in_by(backend, USER, PASSWORD, token=TOKEN, mechanisms=[mechanism], implicit=implicit)
    assert used == mechanism


def test_the_strongest_over_tls(backend: Backend) -> None:
    """With everything on offer: SCRAM-SHA-256-PLUS for a password, OAUTHBEARER for a token, EXTERNAL for neither."""
    assert logged_in_by(backend, USER, PASSWORD, implicit=True) == "SCRAM-SHA-256-PLUS"
    assert logged_in_by(backend, USER, token=TOKEN, implicit=True) == "OAUTHBEARER"
    assert logged_in_by(backend, implicit=True) == "EXTERNAL"
    assert logged_in_by(backend, USER, implicit=False) == "EXTERNAL"
    assert logged_in_by(backend, "me", mechanisms=["ANONYMOUS"], implicit=True) == "ANONYMOUS"


def test_external_without_a_certificate(backend: Backend) -> None:
    """A client that has shown no certificate is not offered EXTERNAL."""
    with pytest.raises(backend.module.SMTPException, match="No suitable"):
        logged_in_by(backend, implicit=True, certificate=False)


def test_external_as_somebody_else(backend: Backend) -> None:
    """Whom a certificate is for is the server's to check."""
    with pytest.raises(backend.module.SMTPAuthenticationError, match="not yours"):
        logged_in_by(backend, "boss", implicit=True)


def offers(server: smtp_blocking.Server, backend: Backend) -> Sequence[str]:
    with backend.connect(server) as client:
        client.ehlo()
        return client.esmtp_features.get("auth", "").split()


def test_what_the_embedded_server_offers(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """With users what a password verifies, with tokens what takes one; nothing it could not check."""
    passwords = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]
    tokens = ["OAUTHBEARER", "XOAUTH2"]
    users = {USER: PASSWORD}
    with smtp_blocking.Server(users=users, cleartext_auth=True) as server:
        assert offers(server, backend) == passwords
        with backend.connect(server) as client:
            assert client.login(USER, PASSWORD)[0] == 235
    with smtp_blocking.Server(tokens={TOKEN: USER}, cleartext_auth=True) as server:
        assert offers(server, backend) == tokens
        with backend.connect(server) as client:
            with pytest.raises(backend.module.SMTPAuthenticationError) as raised:
                client.login("boss", token=TOKEN)
            assert raised.value.oauth_error == {"status": "invalid_token", "schemes": "bearer"}
            assert client.login(USER, token=TOKEN)[0] == 235
    with smtp_blocking.Server(users=users, tokens={TOKEN: USER}, cleartext_auth=True) as server:
        assert offers(server, backend) == [*tokens, *passwords]
    monkeypatch.setitem(sys.modules, "scramp", None)
    with smtp_blocking.Server(users=users, cleartext_auth=True) as server:
        assert offers(server, backend) == passwords[2:]


def test_a_login_of_ones_own_over_ours(backend: Backend) -> None:
    """A typed mechanism is good for one exchange at our own server as well."""
    with (
        smtp_blocking.Server(users={USER: PASSWORD}, cleartext_auth=True) as server,
        backend.connect(server) as client,
    ):
        client.ehlo()
        with pytest.raises(backend.module.SMTPAuthenticationError):
            client.auth("SCRAM-SHA-1", Scram(USER, "wrong", "SCRAM-SHA-1"))
        assert client.auth("LOGIN", Login(USER, PASSWORD))[0] == 235
        # Logged in already: even who wants proof has had it as far as this connection goes.
        assert client.auth("SCRAM-SHA-1", Scram(USER, PASSWORD, "SCRAM-SHA-1"))[0] == 503
