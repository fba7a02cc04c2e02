"""How many round trips a message waits for: ``python -m benchmarks.round_trips``.

The raw sink answers a round-trip time after it has been asked, without throttling; the time for a message, divided by
that, is what is shown.  Over a real network this is nearly all that a user waits for.
"""

from __future__ import annotations

from contextlib import ExitStack
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
TO = (1, 10, 50)
# How the client is made, what the server offers, how many messages, the target.
MANY: list[tuple[dict[str, Any], Offer, int, float]] = [({}, PIPELINING, 40, 1.1), (EAGER, CHUNKING, 320, 0.05)]
ONCE: list[tuple[str, dict[str, Any], Offer, float | None]] = [
    ("smtplib", {}, CHUNKING, None),
    ("smtp_blocking", {}, PIPELINING, 4.1),
    ("smtp_blocking", EAGER, CHUNKING, 3.1),
]


def name(offer: Offer, options: dict[str, Any]) -> str:
    return offer.name + (" (eager)" if options.get("chunking") == "eager" else "")


def trips(work: list[tuple[Job, Offer]], round_trip: float) -> list[float]:
    """Round trips for one of the things that each job counts; all take turns."""
    with ExitStack() as stack:
        ports = {offer.name: stack.enter_context(running_sink(offer, round_trip)) for _, offer in work}
        jobs = [
            Job(f"{job.name} {number}", job.function, {**job.arguments, "port": ports[offer.name]})
            for number, (job, offer) in enumerate(work)
        ]
        found = measure(jobs).values()
    return [each.seconds / each.count / round_trip for each in found]


def main() -> None:
    # What is absent is said in front: a note would end the table that it is in.
    rows = [row for row in ROWS if row[1] == "blocking" or installed(row[0])]
    many = MANY if can_send_many() else []
    for round_trip in ROUND_TRIPS:
        # Those that have no target are measured once: with a longer round trip they come to the same, slowly.
        shown = [row for row in rows if row[-1] is not None or round_trip == ROUND_TRIPS[0]]
        work = [
            (Job(library, function, {**arguments, "to": to, "count": 1 if target is None else 3}), offer)
            for library, function, arguments, offer, target in shown
            for to in TO
        ]
        less = 1 if round_trip == ROUND_TRIPS[0] else 2  # of what takes longest
        work += [
            (Job("send_many", "blocking_many", {"to": to, "count": count // less, **options}), offer)
            for options, offer, count, _ in many
            for to in TO
        ]
        found = trips(work, round_trip)
        table = Table(
            f"Round trips for a message, at {round_trip * 1000:.0f} ms",
            *("library", "server offers", "1 recipient", "10", "50", "target"),
        )
        for library, _, arguments, offer, target in shown:
            values, found = found[: len(TO)], found[len(TO) :]
            cells = [f"{value:.2f}" for value in values]
            table.row(
                library, name(offer, arguments), *cells, verdict(max(values), target, at_most=True) if target else ""
            )
        for options, offer, _, target in many:
            values, found = found[: len(TO)], found[len(TO) :]
            cells = [f"{value:.3f}" for value in values]
            table.row(
                "smtp_blocking, send_many", name(offer, options), *cells, verdict(max(values), target, at_most=True)
            )
    for round_trip in ROUND_TRIPS:
        used_once = [row for row in ONCE if row[-1] is not None or round_trip == ROUND_TRIPS[0]]
        found = trips(
            [
                (Job(library, "once", {"library": library, "count": 5, **options}), offer)
                for library, options, offer, _ in used_once
            ],
            round_trip,
        )
        table = Table(
            f"Round trips from connecting to goodbye, at {round_trip * 1000:.0f} ms",
            *("library", "server offers", "round trips", "target"),
        )
        for (library, options, offer, target), value in zip(used_once, found, strict=True):
            shown_target = verdict(value, target, at_most=True) if target else ""
            table.row(library, name(offer, options), f"{value:.2f}", shown_target)


if __name__ == "__main__":
    main()
