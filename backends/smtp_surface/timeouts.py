"""The argument `timeout` as seconds for each stage of a conversation."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from smtp_proto.states import DEFAULT_TIMEOUTS, Stage

#: Seconds for each stage; None waits for ever.
Timeouts = Mapping[Stage, float | None]

#: Seconds, from which on a timeout is none: what waits for sockets counts milliseconds, in 31 bits.
LONGEST = 2_000_000

#: What `timeout` is where it is not given; as in `smtplib`'s signatures.
NOT_GIVEN: Any = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]  # the name that `smtplib` uses


def timeouts_of(timeout: Any) -> Timeouts:
    """Seconds for each stage from one number, None, or a table of those that are to differ from RFC 5321's.

    Not given: `socket.getdefaulttimeout()` if that is set, else all as RFC 5321 recommends.  `ValueError` for zero,
    which would be a socket that does not block, and for what is no number of seconds.
    """
    if timeout is NOT_GIVEN:
        timeout = socket.getdefaulttimeout()
        if timeout is None:
            return DEFAULT_TIMEOUTS
    if not isinstance(timeout, Mapping):
        return dict.fromkeys(Stage, _seconds(timeout))
    return {**DEFAULT_TIMEOUTS, **{Stage(stage): _seconds(seconds) for stage, seconds in timeout.items()}}


def shown_timeout(timeout: Any) -> float | None:
    """What a socket shows of it: one number for all, or None."""
    if timeout is NOT_GIVEN:
        return socket.getdefaulttimeout()
    return None if timeout is None or isinstance(timeout, Mapping) else bounded(float(timeout))


def _seconds(timeout: float | None) -> float | None:
    if timeout is not None and not timeout:
        raise ValueError("Non-blocking socket (timeout=0) is not supported")
    if timeout is not None and timeout < 0:
        raise ValueError(f"a timeout is a number of seconds, not {timeout!r}")
    return bounded(timeout)


def bounded(timeout: float | None) -> float | None:
    """None for a timeout that is longer than can be waited for."""
    return timeout if timeout is None or timeout < LONGEST else None
