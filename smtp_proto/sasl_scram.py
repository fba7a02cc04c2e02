"""SCRAM (RFC 5802, RFC 7677), the client's side, on the package scramp, which has the cryptography.

Both ends prove to know the password, and neither shows it.  The server's proof comes last, in a challenge; only one
that has given it is believed (`ServerNotProven`).  The -PLUS forms also tie the log-in to the TLS session.

Downgrades are detected by the flag in the first message (RFC 5802 6): "p" with a binding; "y" from a client that could
bind and was offered no -PLUS form, which a server that did offer one refuses; "n" from one that cannot.
"""

from __future__ import annotations

from typing import Any

from .channel_binding import ChannelBinding
from .errors import InvalidArgument, MissingExtra
from .sasl import Mechanism, ServerNotProven, UnacceptableChallenge, credential

# RFC 7677 4 wants 4096 at least, and what is more is the server's to choose; but it is the client that has to do the
# work, and has a loop that waits for it: this many take a second or two.
MAX_ITERATIONS = 2_000_000

PLUS = "-PLUS"


def scramp() -> Any:
    """The package that does SCRAM; `MissingExtra` without it."""
    try:
        import scramp as package
    except ImportError:
        raise MissingExtra("SCRAM", "scram") from None
    return package


class Scram(Mechanism):
    """SCRAM-SHA-1, SCRAM-SHA-256 and their -PLUS forms, by `name`.

    `binding`: what the TLS session gives; needed for a -PLUS form.  With another one it says that the client could have
    bound and the server did not offer to; so it is left out where the server did.

    `InvalidArgument` for a user name or password that SASLprep (RFC 4013) does not allow.  `MissingExtra` without the
    package scramp.
    """

    shows_secret = False
    proves_server = True

    def __init__(
        self,
        user: str,
        password: str,
        name: str = "SCRAM-SHA-256",
        *,
        binding: ChannelBinding | None = None,
        nonce: str | None = None,
    ) -> None:
        self.name = name
        if name.endswith(PLUS) and binding is None:
            raise InvalidArgument("binding", f"{name} needs one")
        package = scramp()
        for argument, text in (("user name", user), ("password", password)):
            credential(argument, text)
            try:
                package.utils.saslprep(text)
            except package.ScramException as error:
                raise InvalidArgument(argument, f"SASLprep (RFC 4013): {error.args[0]}") from None
        try:
            self._client = package.ScramClient([name], user, password, binding, nonce)
        except package.ScramException as error:
            raise InvalidArgument("user name", error.args[0]) from None
        self._failure: type[Exception] = package.ScramException
        self._steps = 0
        self._proven = False

    def step(self, challenge: bytes | None) -> bytes:
        self._steps += 1
        if self._steps == 1:
            first: str = self._client.get_client_first()
            return first.encode()
        try:
            message = (challenge or b"").decode()
        except UnicodeDecodeError:
            raise UnacceptableChallenge("the server's message is not UTF-8") from None
        if self._steps == 2:
            return self._final(message)
        if self._steps == 3:
            self._prove(message)
            return b""
        raise UnacceptableChallenge("the exchange is at its end")

    def _final(self, message: str) -> bytes:
        try:
            self._client.set_server_first(message)
        except self._failure as error:
            raise UnacceptableChallenge(f"the server's first message: {error}") from None
        iterations = int(self._client.iterations)
        if iterations > MAX_ITERATIONS:
            raise UnacceptableChallenge(f"{iterations} iterations are more than {MAX_ITERATIONS}")
        final: str = self._client.get_client_final()
        return final.encode()

    def _prove(self, message: str) -> None:
        if message.startswith("e="):
            return  # a refusal (RFC 5802 7), which the server will say in its own way
        try:
            self._client.set_server_final(message)
        except self._failure as error:
            raise ServerNotProven(f"the server has not proven to know the password: {error}") from None
        self._proven = True

    def succeeded(self) -> None:
        if not self._proven:
            raise ServerNotProven("the server says that the log-in has succeeded without having proven itself")
