"""What the child processes do: one function for each kind of work, over each library.

Run by `benchmarks.measuring.run` as ``python -m benchmarks.jobs FUNCTION ARGUMENTS``; prints the `Figures` as JSON.  A
job imports the library that it is about and no other, so that memory is that library's.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.measuring import Figures, Stopwatch

SENDER = "alice@example.org"
WARM_UP = 20


def recipients(count: int) -> list[str]:
    return [f"user{number}@example.net" for number in range(count)]


def content(size: int) -> bytes:
    """A message of about so many octets."""
    head = b"From: alice@example.org\r\nTo: bob@example.net\r\nSubject: A benchmark\r\n\r\n"
    line = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eius.\r\n"
    return head + line * max(1, (size - len(head)) // len(line))


def repeat(send: Callable[[], object], count: int) -> Figures:
    """`count` times, after a few that do not count."""
    for _ in range(min(WARM_UP, count)):
        send()
    watch = Stopwatch()
    watch.start()
    for _ in range(count):
        send()
    return watch.stop(count)


# -- blocking ----------------------------------------------------------------------------------------------------------


def blocking(library: str, port: int, count: int, to: int, size: int = 2048, **options: Any) -> Figures:
    """`sendmail` over one connection, with `smtplib` or `smtp_blocking`."""
    if library == "smtplib":
        import smtplib as module
    else:
        import smtp_blocking as module  # type: ignore[no-redef]
    message, paths = content(size), recipients(to)
    with module.SMTP("127.0.0.1", port, local_hostname="bench.example.org", **options) as smtp:
        return repeat(lambda: smtp.sendmail(SENDER, paths, message), count)


# -- the command -------------------------------------------------------------------------------------------------------

JOBS: dict[str, Callable[..., Figures]] = {"blocking": blocking}


def main(name: str, arguments: str) -> None:
    print(json.dumps(dataclasses.asdict(JOBS[name](**json.loads(arguments)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
