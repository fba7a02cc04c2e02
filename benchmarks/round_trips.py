"""How many round trips a message waits for: ``python -m benchmarks.round_trips``.

The raw sink answers a round-trip time after it has been asked, without throttling; the time for a message, divided by
that, is what is shown.  Over a real network this is nearly all that a user waits for.
"""

from __future__ import annotations

from typing import Any

from benchmarks.jobs import can_send_many
from benchmarks.measuring import Job, Table, installed, measure, verdict
from benchmarks.sink import CHUNKING, NOTHING, PIPELINING, Offer, running_sink

EAGER = {"chunking": "eager"}
ROUND_TRIPS = (0.02, 0.1)  # seconds
# The library, the job and its arguments, what the server offers, the target.
ROWS: list[tuple[str, str, dict[str, Any], Offer, float | None]] = [
    ("smtplib", "blocking", {"library": "smtplib"}, CHUNKING, None),
    ("aiosmtplib", "asynchronous", {"library": "aiosmtplib", "loop": "asyncio"}, CHUNKING, None),
    ("smtpproto", "asynchronous", {"library": "smtpproto", "loop": "asyncio"}, CHUNKING, None),
    ("smtp_blocking", "blocking", {"library": "smtp_blocking"}, NOTHING, None),
    ("smtp_blocking", "blocking", {"library": "smtp_blocking"}, PIPELINING, 2.1),
    ("smtp_blocking", "blocking", {"library": "smtp_blocking"}, CHUNKING, 2.1),
    ("smtp_blocking", "blocking", {"library": "smtp_blocking", **EAGER}, CHUNKING, 1.1),
]
MANY: list[tuple[dict[str, Any], Offer, float]] = [({}, PIPELINING, 1.1), (EAGER, CHUNKING, 0.05)]
ONCE: list[tuple[str, dict[str, Any], Offer, float | None]] = [
    ("smtplib", {}, CHUNKING, None),
    ("smtp_blocking", {}, PIPELINING, 4.1),
    ("smtp_blocking", EAGER, CHUNKING, 3.1),
]


def name(offer: Offer, options: dict[str, Any]) -> str:
    return offer.name + (" (eager)" if options.get("chunking") == "eager" else "")


def each(job: Job, offer: Offer, round_trip: float) -> float:
    """Round trips for one of the things that a job counts."""
    with running_sink(offer, round_trip) as port:
        found = measure([Job(job.name, job.function, {**job.arguments, "port": port})], rounds=1)[job.name]
    return found.seconds / found.count / round_trip


def main() -> None:
    # What is absent is said in front: a note would end the table that it is in.
    rows = [row for row in ROWS if row[1] == "blocking" or installed(row[0])]
    many = MANY if can_send_many() else []
    for round_trip in ROUND_TRIPS:
        table = Table(
            f"Round trips for a message, at {round_trip * 1000:.0f} ms",
            *("library", "server offers", "1 recipient", "10", "50", "target"),
        )
        for library, function, arguments, offer, target in rows:
            if target is None and round_trip > ROUND_TRIPS[0]:
                continue  # the same again, and slow
            found = [
                each(Job(library, function, {**arguments, "to": to, "count": 3}), offer, round_trip)
                for to in (1, 10, 50)
            ]
            cells = [f"{value:.2f}" for value in found]
            table.row(
                library, name(offer, arguments), *cells, verdict(max(found), target, at_most=True) if target else ""
            )
        for options, offer, target in many:
            work = {"to": 1, "count": 100, **options}
            found = [
                each(Job("send_many", "blocking_many", {**work, "to": to}), offer, round_trip) for to in (1, 10, 50)
            ]
            cells = [f"{value:.3f}" for value in found]
            table.row(
                "smtp_blocking, send_many", name(offer, options), *cells, verdict(max(found), target, at_most=True)
            )
    table = Table(
        "Round trips from connecting to goodbye, at 20 ms", "library", "server offers", "round trips", "target"
    )
    for library, options, offer, target in ONCE:
        value = each(Job(library, "once", {"library": library, "count": 5, **options}), offer, 0.02)
        table.row(library, name(offer, options), f"{value:.2f}", verdict(value, target, at_most=True) if target else "")


if __name__ == "__main__":
    main()
