"""How fast messages are encoded and replies are read, beside `smtplib`: ``python -m benchmarks.codecs``.

Encoding is what happens to a message on its way into DATA or BDAT.  `smtplib` doubles dots in `octets` and leaves line
ends as they are, so it is given less to do than we are.  Reading is by `smtplib.SMTP.getreply` through the file that
`socket.makefile` makes, and by `ReplyReader` with what `recv` gives; below both, octets are there whenever they are
asked for, and both give out a code and the text.
"""

from __future__ import annotations

import io
import random
import socket
from base64 import encodebytes
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from benchmarks.measuring import Job, Table, measure, ratio, verdict

SIZE = 8 << 20
PIECE = 65536
READ = 65536
SINGLE = b"250 2.1.5 Ok\r\n"
FLIGHT = b"".join(b"250 2.1.5 <recipient%d@example.org> Ok\r\n" % number for number in range(64))
DRIP = 1000, 8000  # octets of one line that comes octet by octet
EHLO = b"250-mx.example.org\r\n" + b"250-PIPELINING\r\n" * 13 + b"250 SIZE 10240000\r\n"


def dotted(end: bytes) -> bytes:
    """Lines of text, one in twenty of which begins with a dot."""
    chance = random.Random(1)
    line = b"abcdefghij klmnopqrstuvwxyz " * 2
    lines = [(b"." if chance.random() < 0.05 else b"x") + line for _ in range(SIZE // (len(line) + 1 + len(end)))]
    return end.join(lines) + end


def base64_lines(end: bytes) -> bytes:
    """What most large messages are made of."""
    return encodebytes(random.Random(1).randbytes(SIZE * 3 // 4)).replace(b"\n", end)


MESSAGES: dict[str, Callable[[], bytes]] = {
    "5 % dots, CRLF": lambda: dotted(b"\r\n"),
    "5 % dots, LF": lambda: dotted(b"\n"),
    "base64, CRLF": lambda: base64_lines(b"\r\n"),
    "base64, LF": lambda: base64_lines(b"\n"),
}


def stuffing_of_smtplib(message: bytes) -> Callable[[], object]:
    import smtplib

    return lambda: smtplib._quote_periods(message) + b".\r\n"  # type: ignore[attr-defined]  # what its `data` does


def encoding(message: bytes, encoder_name: str, piece: int) -> Callable[[], object]:
    from smtp_proto import body

    encoder_class = getattr(body, encoder_name)
    pieces = [message[at : at + piece] for at in range(0, len(message), piece)]  # as they come from a file

    def encode() -> object:
        encoder = encoder_class()
        return [*map(encoder.encode, pieces), encoder.finish()]

    return encode


def replies_of_smtplib(octets: bytes, reads: int, at_once: int = 1) -> Callable[[], object]:
    import smtplib

    smtp = smtplib.SMTP(local_hostname="localhost")

    def read() -> None:
        line: Any = SimpleNamespace(recv_into=io.BytesIO(octets * reads).readinto)
        # As `socket.makefile` gives it, but that it has room for what comes at a time and no more.
        smtp.file = io.BufferedReader(socket.SocketIO(line, "r"), buffer_size=len(octets))
        for _ in range(reads * at_once):
            smtp.getreply()

    return read


def replies(octets: bytes, reads: int) -> Callable[[], object]:
    from smtp_proto.replies import ReplyReader

    def read() -> None:
        receive = io.BytesIO(octets * reads).read
        reader = ReplyReader()
        for _ in range(reads):
            reader.feed(receive(len(octets)))
            while (reply := reader.next_reply()) is not None:
                assert reply.code
                assert reply.lines

    return read


def dripped(size: int, reads: int) -> Callable[[], object]:
    """A reply of one line, octet by octet."""
    from smtp_proto.replies import ReplyReader

    octets = [b"%c" % octet for octet in b"250 " + b"x" * (size - 6) + b"\r\n"]

    def read() -> None:
        reader, reply = ReplyReader(), None
        for _ in range(reads):
            for octet in octets:
                reader.feed(octet)
                reply = reader.next_reply()
            assert reply is not None

    return read


WORKS: dict[tuple[str, str], Callable[[], Callable[[], object]]] = {
    ("smtplib", "one line"): lambda: replies_of_smtplib(SINGLE, 6400),
    ("ours", "one line"): lambda: replies(SINGLE, 6400),
    ("smtplib", "one line each, 64 in a flight"): lambda: replies_of_smtplib(FLIGHT, 100, 64),
    ("ours", "one line each, 64 in a flight"): lambda: replies(FLIGHT, 100),
    ("smtplib", "15-line EHLO"): lambda: replies_of_smtplib(EHLO, 400),
    ("ours", "15-line EHLO"): lambda: replies(EHLO, 400),
}
for _size in DRIP:
    WORKS["ours", f"{_size} octets"] = partial(lambda size: dripped(size, max(DRIP) // size), _size)
for _name, _make in MESSAGES.items():
    WORKS["smtplib", _name] = partial(lambda make: stuffing_of_smtplib(make()), _make)
    for _encoder in ("DataEncoder", "LineEndEncoder"):
        for _piece in (SIZE * 2, PIECE):
            WORKS["ours", f"{_name}, {_encoder}, {_piece}"] = partial(
                lambda make, encoder, piece: encoding(make(), encoder, piece), _make, _encoder, _piece
            )


def main() -> None:
    table = Table("Encoding a message of 8 MB", "message", "for", "in pieces of", "of smtplib's speed", "target")
    for name in MESSAGES:
        ours = {
            (encoder, piece): f"{name}, {encoder}, {piece}"
            for encoder in ("DataEncoder", "LineEndEncoder")
            for piece in (SIZE * 2, PIECE)
        }
        jobs = [Job("smtplib", "codec", {"library": "smtplib", "work": name, "count": 5})]
        jobs += [Job(work, "codec", {"library": "ours", "work": work, "count": 5}) for work in ours.values()]
        found = measure(jobs)
        for (encoder, piece), work in ours.items():
            speed = found["smtplib"].cpu / found[work].cpu
            target = 2.5 if encoder == "DataEncoder" and "dots" in name else 8
            pieces = "64 KiB" if piece == PIECE else "all"
            verb = "DATA" if encoder == "DataEncoder" else "BDAT"
            table.row(name, verb, pieces, ratio(speed), verdict(speed, target))
    table = Table("Reading replies", "reply", "of smtplib's speed", "target")
    for name, target in (("one line", 1.2), ("one line each, 64 in a flight", 1.2), ("15-line EHLO", 1.5)):
        found = measure(
            [Job(library, "codec", {"library": library, "work": name, "count": 20}) for library in ("smtplib", "ours")]
        )
        speed = found["smtplib"].cpu / found["ours"].cpu
        table.row(name, ratio(speed), verdict(speed, target))
    short, long = (f"{size} octets" for size in DRIP)
    found = measure([Job(work, "codec", {"library": "ours", "work": work, "count": 20}) for work in (short, long)])
    # As many octets in both: a search that began anew with each octet would take eight times as long.
    growth = found[long].cpu / found[short].cpu
    table = Table("A reply of one line that comes octet by octet", "line", "beside", "time for each octet", "target")
    table.row(long, short, ratio(growth), verdict(growth, 1.2, at_most=True))


if __name__ == "__main__":
    main()
