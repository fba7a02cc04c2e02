"""Reading the command line: a parser whose errors are one line, and the types of arguments.

An option with a variable of the environment has that as its default, so that both are read by the same rules.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from .status import Failure, Status

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """No abbreviations, which a new option would break; a mistake is a `Failure`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        raise Failure(Status.USAGE, f"{message} ({self.prog} --help says what there is)")


def from_environment(name: str) -> str | None:
    """The variable, None where it is not set or empty."""
    return os.environ.get(f"SMTP_PROTO_{name}") or None


def reading(read: Callable[[str], T], what: str) -> Callable[[str], T]:
    """`read` as the type of an argument: its ValueError says that `what` was expected."""

    def read_argument(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from error

    return read_argument


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


def _octets(text: str) -> int:
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in ("K", "M", "G") else (text, "")
    octets = int(number) << {"": 0, "K": 10, "M": 20, "G": 30}[unit]
    if octets < 0:
        raise ValueError(text)
    return octets


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


port = reading(_port, "a port (0 to 65535)")
seconds = reading(_seconds, "a number of seconds above 0")
octets = reading(_octets, "a number of octets (K, M or G may follow)")
positive = reading(_positive, "a number above 0")
