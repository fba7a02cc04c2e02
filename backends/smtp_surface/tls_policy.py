"""When a client encrypts: the four policies.  `Client._encrypt` carries out those that begin in the clear.

* ``"none"``: when `starttls` is called, as with `smtplib`.
* ``"opportunistic"``: behind the greeting, if the server offers STARTTLS and does not refuse it.  That keeps out who
  only listens; who can change what is said takes the offer away.  A handshake that was begun and fails is an error.
* ``"required"``: behind the greeting, or not at all.  Whatever the server, or somebody on the way, leaves out, refuses
  or slips in, the connection is closed with an exception; and the core sends nothing but EHLO, HELO, STARTTLS, NOOP and
  QUIT before TLS is established (`smtp_proto.client.ClientConnection.require_tls`), so that not even a program that
  goes on by hand can get a password or a message out in the clear.
* ``"implicit"``: from the first octet (RFC 8314 3).
"""

from __future__ import annotations

from typing import Literal, get_args

TLSPolicy = Literal["none", "opportunistic", "required", "implicit"]


def checked(policy: str) -> TLSPolicy:
    """The policy, if it is one; else `ValueError`."""
    for known in get_args(TLSPolicy):
        if policy == known:
            return known  # type: ignore[no-any-return]  # one of the four
    raise ValueError(f"tls is one of {', '.join(map(repr, get_args(TLSPolicy)))}, not {policy!r}")
