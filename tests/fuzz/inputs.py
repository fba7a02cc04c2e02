"""Inputs: how a target takes one apart, the ways to cut octets, and seeds with their variations."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.splitting import bytewise, cut

CORPUS = Path(__file__).parent / "corpus"

# Beyond so many octets, octet by octet takes longer than it tells.
MOST_BYTEWISE = 1024

# What variations are made of: that which the protocol divides by, and what is just outside of it.
TOKENS = (
    *(bytes([octet]) for octet in b'\r\n \t-.=<>@:"\\*\0\x01\x7f\x80\xff0259'),
    *(b"\r\n", b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"\r\n..", b"250-", b"250 ", b"334 ", b"354 ", b"421 ", b"550 5.1.1 "),
    *(b"MAIL FROM:<", b"RCPT TO:<", b"DATA\r\n", b"BDAT 3 LAST\r\n", b"AUTH PLAIN ", b"STARTTLS\r\n", b"QUIT\r\n"),
    *(b"SIZE=", b"BODY=8BITMIME", b"\xc5\xbftarttls", b"\xe2\x80\x83", b"=3D", b"AAAA", b"9" * 21),
)


class Input:
    """An input, taken apart from the front; behind its end come zeros."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def number(self) -> int:
        """One octet as a number."""
        self._at += 1
        return self._octets[self._at - 1] if self._at <= len(self._octets) else 0

    def some(self) -> bytes:
        """As many octets as the next one says."""
        count = self.number()
        taken = self._octets[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        taken = self._octets[self._at :]
        self._at = len(self._octets)
        return taken


def ways(octets: bytes, at: int) -> list[list[bytes]]:
    """Ways to cut: not at all, in two pieces, in many of one size, octet by octet; `at` chooses where."""
    size = at % 64 + 2
    found = [
        [octets],
        cut(octets, at * (len(octets) + 1) // 256),
        [octets[start : start + size] for start in range(0, len(octets), size)],
    ]
    return [*found, bytewise(octets)] if len(octets) <= MOST_BYTEWISE else found


def target(name: str) -> Callable[[bytes], None]:
    """The function of a target."""
    check: Callable[[bytes], None] = importlib.import_module(f"tests.fuzz.{name}").check
    return check


def seeds(name: str) -> list[bytes]:
    """The corpus of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def generated(name: str, count: int) -> Iterator[bytes]:
    """Variations of the seeds, the same ones each time."""
    random = Random(name)
    corpus = seeds(name)
    for _ in range(count):
        octets = bytearray(random.choice(corpus))
        for _ in range(random.randint(1, 6)):
            start, end = sorted(random.choices(range(len(octets) + 1), k=2))
            match random.randrange(5):
                case 0:  # a token, put in
                    octets[start:start] = random.choice(TOKENS)
                case 1:  # a token in the place of something
                    octets[start : start + random.randint(1, 8)] = random.choice(TOKENS)
                case 2:  # something left out
                    del octets[start:end]
                case 3:  # something twice
                    octets[start:start] = octets[start:end]
                case 4:  # the beginning of this one, and the end of another
                    octets[start:] = random.choice(corpus)[start:]
        yield bytes(octets)
