"""Messages per second over one blocking connection, beside `smtplib`: ``python -m benchmarks.throughput``.

2 KB messages to the raw sink, with no latency but that of loopback and of two processes taking turns, so that what
costs most is system calls and waking up.  CPU is the client's alone.
"""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import Figures, Job, Table, measure, ratio, verdict
from benchmarks.sink import CHUNKING, NOTHING, PIPELINING, Offer, running_sink

# What the server offers, how the client is made, recipients, what is called, the target, and how many messages.
ROWS: list[tuple[Offer, dict[str, Any], int, str, float, int]] = [
    (NOTHING, {}, 1, "sendmail", 1.0, 1000),
    (PIPELINING, {}, 1, "sendmail", 1.8, 1000),
    (PIPELINING, {}, 10, "sendmail", 5.5, 400),
    (PIPELINING, {}, 50, "sendmail", 12, 150),
    (CHUNKING, {"chunking": "eager"}, 1, "sendmail", 3.5, 1000),
    (CHUNKING, {"chunking": "eager"}, 10, "sendmail", 8, 400),
    (CHUNKING, {"chunking": "eager"}, 50, "sendmail", 15, 150),
    (CHUNKING, {"chunking": "eager"}, 1, "send_many", 10, 3000),
    (PIPELINING, {}, 1, "send_message", 1.5, 500),
]


def compare(offer: Offer, options: dict[str, Any], to: int, method: str, count: int) -> tuple[Figures, Figures]:
    """`smtplib` and ours, in turns, at the same sink."""
    with running_sink(offer) as port:
        work = {"port": port, "to": to, "count": count}
        typed = method == "send_message"
        theirs = Job("smtplib", "blocking", {"library": "smtplib", "typed": typed, **work})
        ours = Job("ours", "blocking", {"library": "smtp_blocking", "typed": typed, **work, **options})
        if method == "send_many":
            ours = Job("ours", "blocking_many", {**work, **options})
        found = measure([theirs, ours])
    return found["smtplib"], found["ours"]


def main() -> None:
    table = Table(
        "Messages per second, one blocking connection, 2 KB",
        *("server offers", "call", "recipients", "smtplib/s", "ours/s", "ratio", "target", "CPU of smtplib's"),
    )
    for offer, options, to, method, target, count in ROWS:
        theirs, ours = compare(offer, options, to, method, count)
        eager = " (eager)" if options else ""
        speed = ours.rate / theirs.rate
        table.row(
            offer.name + eager,
            method,
            to,
            f"{theirs.rate:.0f}",
            f"{ours.rate:.0f}",
            ratio(speed),
            verdict(speed, target),
            ratio(ours.cpu_each / theirs.cpu_each),
        )


if __name__ == "__main__":
    main()
