"""Large messages beside `smtplib`: ``python -m benchmarks.large_messages``.

100 MB from a file, `smtplib` having the same octets in memory; and an email message with an attachment of 20 MB.  It is
in memory before, in base64; what is added is what the peak shows.
"""

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
ATTACHMENT = 20 * MEGABYTE
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
    attachment()


def attachment() -> None:
    """What `send_message` makes of a large email message."""
    with running_sink(CHUNKING) as port:
        work = {"port": port, "size": ATTACHMENT}
        libraries = ("smtplib", "smtp_blocking")
        found = measure([Job(library, "attachment", {"library": library, **work}) for library in libraries])
    table = Table(
        f"An email message with an attachment of {ATTACHMENT / MEGABYTE:.0f} MB, by send_message",
        *("library", "MB/s", "ratio", "CPU of smtplib's", "memory added, MB", "of the attachment", "target"),
    )
    theirs = found["smtplib"]
    for library, figures in found.items():
        table.row(
            library,
            f"{figures.rate / MEGABYTE:.0f}",
            ratio(figures.rate / theirs.rate),
            ratio(figures.cpu / theirs.cpu),
            f"{figures.extra / MEGABYTE:.1f}",
            ratio(figures.extra / ATTACHMENT),
            verdict(round(figures.extra / MEGABYTE, 1), 1, at_most=True) if library != "smtplib" else "",
        )


if __name__ == "__main__":
    main()
