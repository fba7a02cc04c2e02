"""The two ends of a connection: what to introduce oneself as, who may listen, and names for people.

What these are given is a socket, or what an event loop shows in its place: anything with `getpeername` and
`getsockname`.  What has neither was handed in by somebody who knows where it leads.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any

from smtp_proto.grammar import WORD

_LOOPBACK_NETWORKS = ("127.", "::ffff:127.")


def may_be_overheard(sock: Any) -> bool:
    """True for a connection over a network, whose octets others can read unless they are encrypted."""
    try:
        peer = sock.getpeername()
    except AttributeError:
        return False
    except OSError as error:
        # Nothing can be sent any more over a connection that was reset, so nothing can be overheard either.
        return error.errno not in (errno.ENOTCONN, errno.EINVAL)
    # A Unix socket's name is no tuple.
    return isinstance(peer, tuple) and peer[0] != "::1" and not str(peer[0]).startswith(_LOOPBACK_NETWORKS)


def peer_name(sock: Any) -> str:
    """The other end of a connection, for people."""
    with suppress(OSError, AttributeError):
        peer = sock.getpeername()
        return f"{peer[0]} port {peer[1]}" if isinstance(peer, tuple) else os.fsdecode(peer) or "a Unix socket"
    return "what was handed in"


def own_name(sock: Any) -> str:
    """What to introduce oneself as (RFC 5321 4.1.1.1, 4.1.3): a name with a dot, else an address literal.

    Nothing is looked up: a resolver that does not answer would hold every program up for its time-out.
    """
    name = os.uname().nodename if hasattr(os, "uname") else ""
    if "." in name and name.isascii() and WORD.fullmatch(name):
        return name
    address = "127.0.0.1"
    with suppress(OSError, AttributeError):
        own = sock.getsockname()
        if isinstance(own, tuple):
            address = str(own[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
