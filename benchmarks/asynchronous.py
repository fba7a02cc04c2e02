"""Messages per second over connections of coroutines, beside aiosmtplib and smtpproto:
``python -m benchmarks.asynchronous``.

"limit" is the loop over octets made beforehand that `benchmarks.throughput` has: no loop of coroutines, a blocking
socket, so that nothing can be faster; for CPU it is that loop when it sleeps until an answer is there.
"""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import Job, Table, installed, measure, ratio, verdict
from benchmarks.sink import CHUNKING, NOTHING, PIPELINING, Offer, running_sink
from benchmarks.throughput import way

# Ours and the loop, theirs and the loop, what the server offers, how ours is made, recipients, messages, the target,
# and the target for CPU.
ROWS: list[tuple[str, str, str, str, Offer, dict[str, Any], int, int, float, float | None]] = [
    ("smtp_asyncio", "asyncio", "aiosmtplib", "asyncio", NOTHING, {}, 1, 1500, 1.3, None),
    ("smtp_asyncio", "asyncio", "aiosmtplib", "asyncio", PIPELINING, {}, 1, 1500, 3.5, 1 / 5),
    ("smtp_asyncio", "asyncio", "aiosmtplib", "asyncio", PIPELINING, {}, 10, 600, 9, 1 / 12),
    ("smtp_asyncio", "asyncio", "aiosmtplib", "asyncio", CHUNKING, {"chunking": "eager"}, 1, 1500, 5, None),
    ("smtp_asyncio", "uvloop", "aiosmtplib", "uvloop", PIPELINING, {}, 1, 1500, 3.5, None),
    ("smtp_trio", "trio", "smtpproto", "trio", PIPELINING, {}, 1, 900, 3, None),
    ("smtp_anyio", "asyncio", "smtpproto", "asyncio", PIPELINING, {}, 1, 900, 2.5, None),
]
CONNECTIONS, MESSAGES = 100, 20


def main() -> None:
    rows = [row for row in ROWS if installed(row[2])]
    table = Table(
        "Messages per second, one connection of coroutines, 2 KB",
        *(
            "ours",
            "peer",
            "server offers",
            "recipients",
            "peer/s",
            "ours/s",
            "ratio",
            "target",
            "limit",
            "CPU of peer's",
            "target",
            "limit",
        ),
    )
    for ours, loop, peer, their_loop, offer, options, to, count, target, cpu_target in rows:
        with running_sink(offer) as port:
            # smtpproto takes email messages only; beside it, so do we.
            work = {"port": port, "to": to, "count": count, "typed": peer == "smtpproto"}
            limits = {"way": way(offer, options), "port": port, "to": to, "count": count}
            found = measure(
                [
                    Job("theirs", "asynchronous", {"library": peer, "loop": their_loop, **work}),
                    Job("ours", "asynchronous", {"library": ours, "loop": loop, **work, **options}),
                    Job("limit", "limit", {"busy": True, **limits}),
                    Job("asleep", "limit", {"busy": False, **limits}),
                ]
            )
        speed, limit = (found[name].rate / found["theirs"].rate for name in ("ours", "limit"))
        cpu, least = (found[name].cpu_each / found["theirs"].cpu_each for name in ("ours", "asleep"))
        table.row(
            f"{ours} on {loop}",
            f"{peer} on {their_loop}",
            offer.name + (" (eager)" if options else ""),
            to,
            f"{found['theirs'].rate:.0f}",
            f"{found['ours'].rate:.0f}",
            ratio(speed),
            verdict(speed, target),
            ratio(limit),
            ratio(cpu),
            verdict(cpu, round(cpu_target, 3), at_most=True) if cpu_target else "",
            ratio(least),
        )
    crowd()
    idle()


def crowd() -> None:
    """Many connections at once."""
    if not installed("aiosmtplib"):
        return
    with running_sink(PIPELINING) as port:
        work = {"loop": "asyncio", "port": port, "connections": CONNECTIONS, "count": MESSAGES}
        libraries = ("aiosmtplib", "smtp_asyncio")
        found = measure([Job(library, "crowd", {"library": library, **work}) for library in libraries])
    theirs, ours = found["aiosmtplib"], found["smtp_asyncio"]
    table = Table(
        f"{CONNECTIONS} connections at once, {MESSAGES} messages each, PIPELINING",
        *("library", "messages/s", "ratio", "target", "memory added, KB a connection"),
    )
    table.row("aiosmtplib", f"{theirs.rate:.0f}", "", "", f"{theirs.extra / CONNECTIONS / 1024:.1f}")
    speed = ours.rate / theirs.rate
    table.row(
        "smtp_asyncio", f"{ours.rate:.0f}", ratio(speed), verdict(speed, 3), f"{ours.extra / CONNECTIONS / 1024:.1f}"
    )


def idle() -> None:
    """Connections that nothing is done with."""
    if not installed("aiosmtplib"):
        return
    libraries = ("aiosmtplib", "smtp_asyncio")
    with running_sink(PIPELINING) as port:
        work = {"loop": "asyncio", "port": port, "connections": CONNECTIONS}
        found = measure([Job(library, "idle", {"library": library, **work}) for library in libraries])
    table = Table(f"{CONNECTIONS} idle connections, each after a message", "library", "memory added, KB a connection")
    for library in libraries:
        table.row(library, f"{found[library].extra / CONNECTIONS / 1024:.1f}")


if __name__ == "__main__":
    main()
