"""Logging in: the flows of `auth` and `login`, and authobjects as mechanisms of the core."""

from __future__ import annotations

from typing import Any, Protocol

from smtp_proto.commands import AuthResponse, Command
from smtp_proto.effects import Call, Flow
from smtp_proto.replies import Reply
from smtp_proto.sasl import AuthenticationAborted, CramMD5, Plain
from smtp_proto.states import State

from .conversations import Answer, Conversations
from .exceptions import SMTPAuthenticationError, SMTPException, SMTPNotSupportedError
from .replies import SMTPReply, typed_reply


class AuthObject(Protocol):
    """What `auth` is given: called without arguments for an initial response (None: there is none), and with each
    challenge (octets).  What it returns is text, or anything with `encode`."""

    def __call__(self, challenge: bytes | None = None, /) -> Any: ...


# The mechanisms that prove to know the secret, without showing it to whoever listens; the others are taken to show it.
_PROVING = ("CRAM-MD5", "DIGEST-MD5", "SCRAM-", "GSSAPI", "NTLM", "EXTERNAL", "ANONYMOUS")


class LoginConversations(Conversations):
    """`auth`, its authobjects, and `login`."""

    def _auth(self, mechanism: str, authobject: AuthObject, initial_response_ok: bool) -> Flow[Answer]:
        wrapped = _WrappedAuthObject(self, mechanism.upper(), authobject)
        if self._may_be_overheard() and not self.allow_cleartext_auth and not wrapped.name.startswith(_PROVING):
            raise SMTPNotSupportedError(
                f"{wrapped.name} would send the password in clear over an unencrypted connection to another host; "
                "call starttls() first, use SMTP_SSL, or pass allow_cleartext_auth=True"
            )
        try:
            session = self._live()
            with self._translated():
                reply = yield from session.authenticate(
                    wrapped, initial_response=initial_response_ok, exchange=self._exchange
                )
        except AuthenticationAborted as error:
            last = SMTPReply(error.reply)
            if wrapped.challenges > 1:
                message = f"Server AUTH mechanism infinite loop. Last response: {tuple(last)!r}"
                raise self._refusal(SMTPException(message), error.reply) from error
            raise self._refusal(SMTPAuthenticationError(*last), error.reply) from error
        # 235: done.  503: this connection is logged in already (RFC 4954 4).
        if reply.code in (235, 503):
            return SMTPReply(reply)
        raise self._refusal(SMTPAuthenticationError(*SMTPReply(reply)), reply)

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
        response = CramMD5(self.user, self.password).step(challenge)
        return response.decode("utf-8") if response is not None else None

    def auth_plain(self, challenge: bytes | None = None) -> str:
        """Authobject for PLAIN (RFC 4616); needs `self.user` and `self.password`."""
        return Plain(self.user, self.password).step(challenge).decode("utf-8")

    def auth_login(self, challenge: bytes | None = None) -> str:
        """Authobject for LOGIN: the user name first, then the password; needs `self.user` and `self.password`."""
        return self.user if challenge is None or self._auth_challenge_count < 2 else self.password

    def _login(self, user: str, password: str, initial_response_ok: bool) -> Flow[Answer]:
        yield from Call(self.ehlo_or_helo_if_needed)
        if not self.has_extn("auth"):
            raise self._lacking("SMTP AUTH extension not supported by server.")
        offered = self.esmtp_features["auth"].upper().split()
        usable = [mechanism for mechanism in ("CRAM-MD5", "PLAIN", "LOGIN") if mechanism in offered]
        if not usable:
            raise SMTPException("No suitable authentication method found.")
        Plain(user, password)  # `ValueError` for what no mechanism can carry, before anything is sent
        self.user, self.password = user, password
        failure: SMTPAuthenticationError | None = None
        for mechanism in usable:
            authobject = getattr(self, "auth_" + mechanism.lower().replace("-", "_"))
            try:
                return (yield from self._call_auth(mechanism, authobject, initial_response_ok))
            except SMTPAuthenticationError as error:
                failure = error
                # 535: the credentials are wrong, and would be with any mechanism; trying on locks people out.  454,
                # 421: not now.  Anything else may only mean that this mechanism is not to be had.
                if error.smtp_code in (535, 454, 421):
                    break
        assert failure is not None
        raise failure

    def _call_auth(self, mechanism: str, authobject: AuthObject, initial_response_ok: bool) -> Flow[Answer]:
        def auth() -> Any:
            return self.auth(mechanism, authobject, initial_response_ok=initial_response_ok)

        answer: Answer = yield from Call(auth)
        return answer


class _WrappedAuthObject:
    """An authobject as a mechanism of the core."""

    def __init__(self, client: Conversations, name: str, authobject: AuthObject) -> None:
        self.name = name
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
