"""What callers give to the methods, checked and put into the form that the core takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smtp_proto.commands import Mail, Rcpt
from smtp_proto.composed import Composed, composed
from smtp_proto.grammar import clean_text
from smtp_proto.parameter import Parameter, keyword_of
from smtp_proto.sources import PIECE

from .addresses import _fix_eols, bCRLF, one_address, path_of, quoteaddr


def split_options(options: Iterable[str]) -> tuple[str, ...]:
    """Options as parameters; one string may hold several, for `smtplib` only joins them.  Typed ones stay typed."""
    words: list[str] = []
    for option in options:
        if " " in option and not isinstance(option, Parameter):
            words += filter(None, option.split(" "))
        elif option:
            words.append(option)
    return tuple(words)


def options_for(address: str, options: Sequence[str]) -> tuple[str, ...]:
    """The options of one recipient: those for all, and its own (see `Recipient`), which go before one of the same
    keyword."""
    own = getattr(address, "options", ())
    if not own:
        return tuple(options)
    keywords = {keyword_of(option) for option in own}
    return (*(option for option in options if keyword_of(option) not in keywords), *own)


def path_argument(command: type[Mail | Rcpt], address: str, options: Sequence[str], keyword: str) -> str:
    """What follows the verb.  `ValueError` for an address or options that must not be sent, in `smtplib`'s wording
    where it has one."""
    address = clean("reverse-path" if command is Mail else "forward-path", address)
    argument = " ".join([f"{keyword}:{quoteaddr(address)}", *options])
    if "\r" not in argument and "\n" not in argument:  # those are for `putcmd` to name
        command(path_of(address), split_options(options))
    return argument


def clean(argument: str, address: str) -> str:
    """`address` as it is (see `one_address`); `InvalidArgument` for what taking it out of its display form would only
    cut off.

    A lone surrogate is a `UnicodeEncodeError`, as in `smtplib`.
    """
    address = one_address(address)
    address.encode("utf-8")
    clean_text(argument, address)
    return address


def message_octets(msg: bytes | str) -> bytes | Composed:
    """A message as octets: text is ASCII, as in `smtplib`; a message of nothing is an empty line, as there.  The octets
    of a long text are made as they go out.

    `TypeError` for anything else: `bytes` would make octets of numbers, and of an `EmailMessage` with its Bcc header.
    """
    if isinstance(msg, str):
        if len(msg) > PIECE and msg.isascii():
            return composed([msg])
        return _fix_eols(msg).encode("ascii") or bCRLF
    if not isinstance(msg, (bytes, bytearray, memoryview)):
        raise TypeError(f"a message is str or bytes, not {type(msg).__name__} (send_message takes email messages)")
    return bytes(msg) or bCRLF


def size_on_the_wire(octets: bytes) -> int:
    """What SIZE declares (RFC 1870 5): the octets with all line ends as CRLF; dots that are stuffed do not count."""
    pairs = octets.count(bCRLF)
    return len(octets) + (octets.count(b"\n") - pairs) + (octets.count(b"\r") - pairs)
