"""What `sys.audit` is told about `smtplib`, for as long as a test wants to know.

Not by a hook.  One cannot be taken away again: it would be called for all that this process does from then on, and
would let other threads run where Python does not expect it.  With Python 3.11 a thread then fails to begin now and
then while coverage is measured ("Cannot install a trace function while another trace function is being installed").
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def smtplib_events() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """The events of the time of the block: each with its arguments, but for the first, which is the client."""
    heard: list[tuple[str, tuple[Any, ...]]] = []
    audit = sys.audit

    def listen(event: str, *arguments: Any) -> None:
        if event.startswith("smtplib."):
            heard.append((event, arguments[1:]))
        audit(event, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "audit", listen)
        yield heard
