"""Log-ins at the asynchronous server, whose handler answers in coroutines; client and server in one loop."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

import smtp_asyncio
from smtp_proto.handler import Handler
from smtp_proto.sasl_exchange import INVALID, BearerToken, Credentials, TokenRefused
from smtp_proto.sasl_server import SERVER_MECHANISMS
from smtp_proto.server_session import ServerSession, Settings

from .certificates import authority, client_context, own_certificate, server_context

USER, PASSWORD, TOKEN = "tim@client.test", "s3cret", "t0ken"


class Looking(Handler):
    """Looks everything up somewhere else, which takes a turn of the loop."""

    def __init__(self) -> None:
        self.logged_in: list[Credentials | None] = []

    async def auth(self, session: ServerSession, credentials: Credentials) -> Any:
        await asyncio.sleep(0)
        return None if credentials.password == PASSWORD else INVALID

    async def secret(self, session: ServerSession, mechanism: str, user: str) -> str | None:
        await asyncio.sleep(0)
        return {USER: PASSWORD}.get(user)

    async def token(self, session: ServerSession, token: BearerToken) -> Any:
        await asyncio.sleep(0)
        return USER if token.token == TOKEN else TokenRefused()

    async def external(self, session: ServerSession, identity: str) -> str:
        await asyncio.sleep(0)
        assert session.tls_facts is not None
        names: dict[str, str] = dict(session.tls_facts.peer["subjectAltName"])
        return names["email"]

    def quit(self, session: ServerSession) -> None:
        self.logged_in.append(session.credentials)


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "TLS"])
@pytest.mark.parametrize("mechanism", [name for name in SERVER_MECHANISMS if name != "ANONYMOUS"])
def test_every_mechanism(mechanism: str, implicit: bool) -> None:
    """Each mechanism waits for what the handler looks up; -PLUS and EXTERNAL know of the TLS session."""
    for_server, for_client = server_context(), client_context()
    authority().configure_trust(for_server)
    for_server.verify_mode = ssl.CERT_OPTIONAL
    authority().issue_cert(USER).configure_cert(for_client)
    settings = Settings("mx.test", mechanisms=tuple(SERVER_MECHANISMS), certificate=own_certificate())
    handler = Looking()
    external = mechanism == "EXTERNAL"

    async def token() -> str:
        await asyncio.sleep(0)
        return TOKEN

    async def conversation() -> None:
        async with smtp_asyncio.serve(
            handler, settings=settings, tls_context=for_server, implicit_tls=implicit
        ) as server:
            make = smtp_asyncio.SMTP_SSL if implicit else smtp_asyncio.SMTP
            options: dict[str, Any] = {"context": for_client} if implicit else {}
            async with make(server.host, server.port, timeout=30, **options) as client:
                if not implicit:
                    await client.starttls(context=for_client)
                credentials: dict[str, Any] = {} if external else {"password": PASSWORD, "token": token}
                answer = await client.login(USER, mechanisms=[mechanism], **credentials)
                assert answer[0] == 235

    asyncio.run(conversation())
    [credentials] = handler.logged_in
    assert credentials is not None
    assert (credentials.mechanism, credentials.user) == (mechanism, USER)


def test_wrong_credentials() -> None:
    """What the handler's coroutines refuse is refused, and what they raise is a 451."""

    class Failing(Looking):
        async def auth(self, session: ServerSession, credentials: Credentials) -> Any:
            raise ZeroDivisionError

    settings = Settings("mx.test", mechanisms=("SCRAM-SHA-256", "XOAUTH2", "PLAIN"))

    async def conversation() -> None:
        async with (
            smtp_asyncio.serve(Failing(), settings=settings, cleartext_auth=True) as server,
            smtp_asyncio.SMTP(server.host, server.port, timeout=30) as client,
        ):
            for options, code in (
                ({"password": "wrong", "mechanisms": ["SCRAM-SHA-256"]}, 535),
                ({"token": "wrong"}, 535),
                ({"password": PASSWORD, "mechanisms": ["PLAIN"]}, 421),  # the third try
            ):
                with pytest.raises(smtp_asyncio.SMTPAuthenticationError) as raised:
                    await client.login(USER, **options)
                assert raised.value.smtp_code == code
            assert [type(error) for error in server.errors] == [ZeroDivisionError]

    asyncio.run(conversation())
