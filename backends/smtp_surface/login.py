"""Logging in: the flows of `auth` and `login`, and authobjects as mechanisms of the core.

`login` takes the mechanisms that `smtp_proto.sasl_choice` gives, one after the other, until one is accepted or refused
for good.  For the three that `smtplib` knows it calls its authobjects (`auth_plain` and so on), so that an override of
those keeps being used; every one goes through the public `auth`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from smtp_proto.channel_binding import bindings
from smtp_proto.commands import AuthResponse, Command
from smtp_proto.effects import Call, Flow
from smtp_proto.replies import Reply
from smtp_proto.sasl import (
    MAX_CHALLENGES,
    AuthenticationAborted,
    CramMD5,
    Mechanism,
    Plain,
    ServerNotProven,
    UnacceptableChallenge,
)
from smtp_proto.states import State

from .conversations import Answer, Conversations, Translated
from .exceptions import SMTPAuthenticationError, SMTPException, SMTPNotSupportedError
from .replies import SMTPReply, typed_reply

if TYPE_CHECKING:
    from smtp_proto.sasl_oauth import TokenSource


class AuthFunction(Protocol):
    """An authobject of `smtplib`: called without arguments for an initial response (None: there is none), and with each
    challenge (octets).  What it returns is text, or anything with `encode`."""

    def __call__(self, challenge: bytes | None = None, /) -> Any: ...


#: What `auth` is given.
AuthObject: TypeAlias = AuthFunction | Mechanism

# The mechanisms that prove to know the secret, without showing it to whoever listens; the others are taken to show it.
_PROVING = ("CRAM-MD5", "DIGEST-MD5", "SCRAM-", "GSSAPI", "NTLM", "EXTERNAL", "ANONYMOUS")


class LoginConversations(Conversations):
    """`auth`, its authobjects, and `login`."""

    _authorization_identity = ""

    def _auth(self, mechanism: str, authobject: AuthObject, initial_response_ok: bool) -> Flow[Answer]:
        step: Mechanism
        if isinstance(authobject, Mechanism):
            step = authobject
            if mechanism.upper() != step.name.upper():
                raise ValueError(f"mechanism {mechanism!r} is not the one of {step.name}")
        else:
            step = _WrappedAuthObject(self, mechanism.upper(), authobject)
        if step.shows_secret and not self.allow_cleartext_auth and self._may_be_overheard():
            raise SMTPNotSupportedError(
                f"{step.name} would send the {step.shows} in clear over an unencrypted connection to another host; "
                "call starttls() first, use SMTP_SSL, or pass allow_cleartext_auth=True"
            )
        session = self._live()
        before = session.authenticated
        try:
            with Translated(self):
                try:
                    reply = yield from session.authenticate(
                        step, initial_response=initial_response_ok, exchange=self._exchange
                    )
                except ServerNotProven as error:
                    self._discard()
                    assert error.reply is not None  # noqa: PT017  # no test: for the type
                    raise self._refused(step, error.reply, str(error)) from error
        except AuthenticationAborted as error:
            last = SMTPReply(error.reply)
            if isinstance(step, _WrappedAuthObject) and step.challenges >= MAX_CHALLENGES:
                message = f"Server AUTH mechanism infinite loop. Last response: {tuple(last)!r}"
                raise self._refusal(SMTPException(message), error.reply) from error
            raise self._refused(step, error.reply, str(error)) from error
        # 235: done.  503: this connection is logged in already (RFC 4954 4); who wants proof of the server's has none
        # but that of the log-in before.
        if reply.code == 235 or (reply.code == 503 and (before or not step.proves_server)):
            return SMTPReply(reply)
        raise self._refused(step, reply)

    def _refused(self, mechanism: Mechanism, reply: Reply, problem: str = "") -> SMTPException:
        error = SMTPAuthenticationError(reply.code, problem.encode() or SMTPReply(reply)[1])
        error.attempts = [(mechanism.name, reply)]
        error.oauth_error = mechanism.error
        return self._refusal(error, reply)

    def _exchange(self, command: Command) -> Flow[Reply]:
        """One step of AUTH through `docmd`, so that an override of that is used."""
        verb, _, rest = command.line[:-2].decode("ascii").partition(" ")
        if isinstance(command, AuthResponse):
            verb, rest = command.line[:-2].decode("ascii"), ""
            session = self._session
            if session is not None and self._own("docmd", "putcmd") and session.connection.state is not State.AUTH:
                # The line would go out as a command, and be shown as one.
                raise SMTPException("the log-in was interrupted: the server waits for no response any more")
        answer: Answer = yield from Call(self.docmd, verb, rest)
        return typed_reply(answer)

    def auth_cram_md5(self, challenge: bytes | None = None) -> str | None:
        """Authobject for CRAM-MD5 (RFC 2195); needs `self.user` and `self.password`."""
        if challenge is not None:
            self._has_said("CRAM-MD5", 1)
        response = CramMD5(self.user, self.password).step(challenge)
        return response.decode("utf-8") if response is not None else None

    def auth_plain(self, challenge: bytes | None = None) -> str:
        """Authobject for PLAIN (RFC 4616); needs `self.user` and `self.password`."""
        if challenge is not None:
            self._has_said("PLAIN", 1)
        return Plain(self.user, self.password, self._authorization_identity).step(challenge).decode("utf-8")

    def auth_login(self, challenge: bytes | None = None) -> str:
        """Authobject for LOGIN: the user name first, then the password; needs `self.user` and `self.password`."""
        if challenge is not None:
            self._has_said("LOGIN", 2)
        return self.user if challenge is None or self._auth_challenge_count < 2 else self.password

    def _has_said(self, mechanism: str, responses: int) -> None:
        """`UnacceptableChallenge` behind the last of so many responses: the initial one counts (RFC 4954 4)."""
        if self._auth_challenge_count > responses:
            raise UnacceptableChallenge(f"{mechanism} has nothing more to say")

    def _login(
        self,
        user: str,
        password: str | None,
        initial_response_ok: bool = True,
        token: TokenSource | None = None,
        mechanisms: Sequence[str] | None = None,
        authorization_identity: str = "",
    ) -> Flow[Answer]:
        # All mechanisms; who does not log in needs none.
        from smtp_proto.sasl_choice import Account, choose
        from smtp_proto.sasl_oauth import BEARERS, RefreshableToken

        if isinstance(mechanisms, str):
            raise TypeError("mechanisms is a sequence of names, not one name")
        yield from Call(self.ehlo_or_helo_if_needed)
        if not self.has_extn("auth"):
            raise self._lacking("SMTP AUTH extension not supported by server.")
        offered = self.esmtp_features["auth"].upper().split()
        facts = self._tls_facts()
        # Nobody is asked for a token that no mechanism would take.
        wanted = token is not None and not BEARERS.isdisjoint(offered)
        account = Account(
            user,
            password,
            (yield from self._token(token)) if token is not None and wanted else None,
            authorization_identity,
            self.server_hostname or self._host,
            self._port,
            bindings(facts, facts.peer_certificate) if facts is not None else (),
            # Who has a token has not come with a certificate instead.
            encrypted=facts is not None and token is None,
        )
        usable = choose(account, offered, mechanisms)
        if not usable:
            raise SMTPException("No suitable authentication method found.")
        self.user, self.password = user, password or ""
        self._authorization_identity = authorization_identity
        attempts: list[tuple[str, Reply]] = []
        while True:
            mechanism = usable.pop(0)
            own = getattr(self, "auth_" + mechanism.name.lower().replace("-", "_"), None)
            try:
                return (yield from self._call_auth(mechanism.name, own or mechanism, initial_response_ok))
            except SMTPAuthenticationError as error:
                attempts += error.attempts
                error.attempts = attempts
                if error.smtp_code == 535 and mechanism.shows == "token" and isinstance(token, RefreshableToken):
                    # The token may only be too old; a new one is tried once, in the same way.
                    account = account._replace(token=(yield from self._token(token.refresh)))
                    usable, token = choose(account, offered, [mechanism.name]), None
                    continue
                # 535: the credentials are wrong, and would be with any mechanism; trying on locks people out.  454,
                # 421: not now.  Without a connection, nothing.  Anything else may only mean that this mechanism is not
                # to be had.
                if error.smtp_code in (535, 454, 421) or self._session is None or not usable:
                    raise

    def _token(self, source: TokenSource) -> Flow[str]:
        if isinstance(source, str):
            return source
        with self._callback():
            token = yield from Call(source)
        if isinstance(token, Awaitable):
            if isinstance(token, Coroutine):
                token.close()
            raise TypeError("a coroutine as the source of a token is for the asynchronous clients")
        if not isinstance(token, str):
            raise TypeError(f"the source of the token gave a {type(token).__name__}, not text")
        return token

    def _call_auth(self, mechanism: str, authobject: AuthObject, initial_response_ok: bool) -> Flow[Answer]:
        def auth() -> Any:
            return self.auth(mechanism, authobject, initial_response_ok=initial_response_ok)

        answer: Answer = yield from Call(auth)
        return answer


class _WrappedAuthObject(Mechanism):
    """An authobject as a mechanism of the core."""

    def __init__(self, client: Conversations, name: str, authobject: AuthFunction) -> None:
        self.name = name
        self.shows_secret = not name.startswith(_PROVING)
        self.challenges = 0
        self._client = client
        self._authobject = authobject
        client._auth_challenge_count = 0

    def step(self, challenge: bytes | None) -> bytes | None:
        with self._client._callback():
            if challenge is None:
                response = self._authobject()
            else:
                self.challenges += 1
                self._client._auth_challenge_count += 1
                response = self._authobject(challenge)
        if challenge is None and response is not None:
            self._client._auth_challenge_count = 1
        if response is None or isinstance(response, bytes):
            return response
        encoded = response.encode("utf-8")
        assert isinstance(encoded, bytes)
        return encoded
