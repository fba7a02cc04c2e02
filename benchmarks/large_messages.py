"""100 MB from a file, beside `smtplib` with the same octets in memory: ``python -m benchmarks.large_messages``."""

from __future__ import annotations

import random
import tempfile
from base64 import encodebytes
from pathlib import Path
from typing import Any

from benchmarks.measuring import Job, Table, measure, ratio, verdict
from benchmarks.sink import CHUNKING, PIPELINING, Offer, running_sink

MEGABYTE = 1 << 20
SIZE = 100 * MEGABYTE
ROWS: list[tuple[str, Offer, dict[str, Any], float]] = [
    ("DATA", PIPELINING, {}, 2.5),
    ("BDAT", CHUNKING, {}, 4),
]


def main() -> None:
    table = Table(
        "100 MB from a file",
        *("by", "smtplib MB/s", "ours MB/s", "ratio", "target", "memory added: smtplib, MB", "ours, MB", "target"),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.eml"
        lines = encodebytes(random.Random(1).randbytes(MEGABYTE * 3 // 4)).replace(b"\n", b"\r\n")
        path.write_bytes((lines * (SIZE // len(lines) + 1))[:SIZE])
        for verb, offer, options, target in ROWS:
            with running_sink(offer) as port:
                work = {"port": port, "path": str(path)}
                found = measure(
                    [
                        Job("smtplib", "large", {"library": "smtplib", **work}),
                        Job("ours", "large", {"library": "smtp_blocking", **work, **options}),
                    ]
                )
            theirs, ours = found["smtplib"], found["ours"]
            speed = ours.rate / theirs.rate
            table.row(
                verb,
                f"{theirs.rate / MEGABYTE:.0f}",
                f"{ours.rate / MEGABYTE:.0f}",
                ratio(speed),
                verdict(speed, target),
                f"{theirs.extra / MEGABYTE:.1f}",
                f"{ours.extra / MEGABYTE:.1f}",
                verdict(round(ours.extra / MEGABYTE, 1), 1, at_most=True),
            )


if __name__ == "__main__":
    main()
