"""Dovecot's submission service, which hands what it takes to a server of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import smtp_blocking

from .dovecot import serving

_PACKAGES = "dovecot-core dovecot-submissiond"
_CONFIGURATION = """\
mail_location = maildir:{base}/mail
mail_home = {base}/home
submission_relay_host = {host}
submission_relay_port = {relay}
service submission-login {{
  inet_listener submission {{
    port = {ports[submission]}
  }}
}}
"""


class Submission(NamedTuple):
    """The service, the ports of all that runs beside it, and where it sends the messages."""

    port: int
    ports: Mapping[str, int]
    relay: smtp_blocking.Server


@contextmanager
def submission(
    configuration: str, *ports: str, packages: str, parts: list[str], **options: Any
) -> Iterator[Submission]:
    """The service, for the time of the block, with a `configuration` that says who may log in, and how.

    The arguments are those of `serving`; the service's own port, packages and parts are added to them.
    """
    with (
        smtp_blocking.Server() as relay,
        serving(
            _CONFIGURATION + configuration,
            ["submission", *ports],
            packages=f"{_PACKAGES} {packages}",
            parts=["submission", *parts],
            relay=relay.port,
            **options,
        ) as running,
    ):
        yield Submission(running.ports["submission"], running.ports, relay)
