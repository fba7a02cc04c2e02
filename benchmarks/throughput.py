"""Messages per second over one blocking connection, beside `smtplib`: ``python -m benchmarks.throughput``.

2 KB messages to the raw sink, with no latency but that of loopback and of two processes taking turns, so that what
costs most is system calls and waking up: most where each has a processor of its own, which must be woken, and least
where they share one.  CPU is the client's alone.  "limit" is a loop over octets made beforehand, which does not sleep
where it has a processor of its own.
"""

from __future__ import annotations

from typing import Any

from benchmarks.jobs import can_send_many
from benchmarks.measuring import CLIENTS, SERVERS, Figures, Job, Table, measure, program, ratio, verdict
from benchmarks.sink import CHUNKING, NOTHING, PIPELINING, Offer, running_sink, running_smtp_sink

# What the server offers, how the client is made, recipients, what is called, the target, and how many messages.
ROWS: list[tuple[Offer, dict[str, Any], int, str, float, int]] = [
    (NOTHING, {}, 1, "sendmail", 1.0, 3000),
    (PIPELINING, {}, 1, "sendmail", 1.8, 3000),
    (PIPELINING, {}, 10, "sendmail", 5.5, 1200),
    (PIPELINING, {}, 50, "sendmail", 12, 450),
    (CHUNKING, {"chunking": "eager"}, 1, "sendmail", 3.5, 3000),
    (CHUNKING, {"chunking": "eager"}, 10, "sendmail", 8, 1200),
    (CHUNKING, {"chunking": "eager"}, 50, "sendmail", 15, 450),
    (CHUNKING, {"chunking": "eager"}, 1, "send_many", 10, 9000),
    (PIPELINING, {}, 1, "send_message", 1.5, 1500),
]


def way(offer: Offer, options: dict[str, Any]) -> str:
    """How a message goes with this offer and these options, as `benchmarks.jobs.limit` has it."""
    return "step by step" if offer is NOTHING else "eager" if options else "pipelined"


def compare(
    offer: Offer, options: dict[str, Any], to: int, method: str, count: int, processor: int
) -> dict[str, Figures]:
    """`smtplib`, ours, and what no client can be faster than, in turns at the same sink."""
    with running_sink(offer) as port:
        work = {"port": port, "to": to, "count": count}
        typed = method == "send_message"
        theirs = Job("smtplib", "blocking", {"library": "smtplib", "typed": typed, **work})
        ours = Job("ours", "blocking", {"library": "smtp_blocking", "typed": typed, **work, **options})
        if method == "send_many":
            ours = Job("ours", "blocking_many", {**work, **options})
        jobs = [theirs, ours]
        if method == "sendmail":
            jobs.append(Job("limit", "limit", {"way": way(offer, options), "busy": processor == CLIENTS, **work}))
        return measure(jobs, processor=processor)


def main() -> None:
    rows = [row for row in ROWS if row[3] != "send_many" or can_send_many()]
    compare_all("Messages per second, one blocking connection, 2 KB", rows, CLIENTS)
    compare_all("The same with client and server on one processor", [row for row in rows if row[2] == 1], SERVERS)
    beside_postfix()


def compare_all(title: str, rows: list[tuple[Offer, dict[str, Any], int, str, float, int]], processor: int) -> None:
    """A table with a row for each of `rows`; the targets are for two processes that have a processor each."""
    table = Table(
        title,
        *("server offers", "call", "recipients", "smtplib/s", "ours/s", "ratio", "target", "limit", "CPU of smtplib's"),
    )
    for offer, options, to, method, target, count in rows:
        found = compare(offer, options, to, method, count, processor)
        theirs, ours, limit = found["smtplib"], found["ours"], found.get("limit")
        eager = " (eager)" if options else ""
        speed = ours.rate / theirs.rate
        table.row(
            offer.name + eager,
            method,
            to,
            f"{theirs.rate:.0f}",
            f"{ours.rate:.0f}",
            ratio(speed),
            verdict(speed, target) if processor == CLIENTS else "",
            ratio(limit.rate / theirs.rate) if limit is not None else "",
            ratio(ours.cpu_each / theirs.cpu_each),
        )


# Recipients, and how many messages.
POSTFIX_ROWS = [(1, 1000), (10, 400), (50, 150)]


def beside_postfix() -> None:
    """The same at Postfix's `smtp-sink`, and beside its `smtp-source`, which is written in C and does not pipeline."""
    sink, source = program("smtp-sink"), program("smtp-source")
    if sink is None or source is None:
        return
    table = Table(
        "Messages per second at Postfix's smtp-sink, one blocking connection, 2 KB",
        *("recipients", "smtp-source/s", "smtplib/s", "ours/s", "of smtp-source's", "of smtplib's"),
        *("CPU of smtp-source's", "of smtplib's"),
    )
    for to, count in POSTFIX_ROWS:
        with running_smtp_sink(sink) as port:
            work = {"port": port, "to": to, "count": count}
            found = measure(
                [
                    Job("smtp-source", "smtp_source", {"program": source, **work}),
                    Job("smtplib", "blocking", {"library": "smtplib", **work}),
                    Job("ours", "blocking", {"library": "smtp_blocking", **work}),
                ]
            )
        rates = {name: figures.rate for name, figures in found.items()}
        table.row(
            to,
            *(f"{rate:.0f}" for rate in rates.values()),
            ratio(rates["ours"] / rates["smtp-source"]),
            ratio(rates["ours"] / rates["smtplib"]),
            ratio(found["ours"].cpu_each / found["smtp-source"].cpu_each),
            ratio(found["ours"].cpu_each / found["smtplib"].cpu_each),
        )


if __name__ == "__main__":
    main()
