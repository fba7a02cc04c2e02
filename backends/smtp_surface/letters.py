"""A message with its envelope, made fit for what the server offers; see `smtp_proto.internationalization`.

Who gives an option about the content (BODY=, SMTPUTF8) has decided already, and is taken at that word.
"""

from collections.abc import Callable, Iterable, Sequence

from smtp_proto.body import normalise_line_ends
from smtp_proto.composed import Composed
from smtp_proto.errors import InvalidArgument
from smtp_proto.internationalization import (
    Body,
    BodyWay,
    Content,
    Headers,
    Text,
    Way,
    body_way,
    content_of,
    has_crlf_headers,
    way,
)

from .addresses import bCRLF, path_of
from .arguments import clean, split_options

HasExtension = Callable[[str], bool]


class Letter:
    """What `sendmail` sends: addresses in the form in which they go out, octets, and the options that go with them.

    `binary`: the octets go as they are, through BDAT.
    """

    # No tuple with names, whose fields take three times as long to read: there is one for each message.
    __slots__ = ("binary", "octets", "options", "recipients", "sender")

    def __init__(
        self,
        sender: str,
        recipients: list[str],
        octets: bytes | Composed,
        options: list[str],
        binary: bool,
    ) -> None:
        self.sender = sender
        self.recipients = recipients
        self.octets = octets
        self.options = options
        self.binary = binary


def letter(
    sender: str,
    recipients: Sequence[str],
    octets: bytes | Composed,
    options: Iterable[str],
    has_extension: HasExtension,
    *,
    reencode: bool,
    binary_possible: bool,
) -> Letter:
    """Decide how a message goes, and make it so; `reencode` and `binary_possible` say what may be done.

    `UnicodeEncodeError` for an address that the server cannot take, `InvalidArgument` for one that must not be sent,
    and for a message with NUL that it cannot take.
    """
    options = list(options)
    content = octets.content if isinstance(octets, Composed) else content_of(octets)
    given = [option.upper() for option in split_options(options)]
    utf8_given = "SMTPUTF8" in given
    body_given = utf8_given or any(option.startswith("BODY=") for option in given)
    clean("reverse-path", sender)
    for address in recipients:
        clean("forward-path", address)
    binary = declared_binary(given)
    if binary:
        octets = _joined(octets)
    if not utf8_given:
        headers = Headers.ASCII if body_given else content.headers
        chosen, problem = addresses_way([sender, *recipients], headers, has_extension)
        if chosen is Way.REFUSED:
            raise _not_ascii([sender, *recipients], problem)
        if chosen is Way.SMTPUTF8:
            options.append("SMTPUTF8")
        elif chosen is Way.A_LABELS:
            sender, *recipients = [in_ascii(address) for address in (sender, *recipients)]
    if not body_given:
        binary_mime = binary_possible and bool(has_extension("binarymime") and has_extension("chunking"))
        if content.body is Body.BINARY:
            binary_mime = binary_mime and has_crlf_headers(_joined(octets))
        octets, chosen_body = _body(octets, content, bool(has_extension("8bitmime")), binary_mime, reencode)
        if chosen_body is BodyWay.REFUSED:
            raise InvalidArgument("message", "a NUL in the text needs BINARYMIME, which the server does not offer")
        if chosen_body in (BodyWay.EIGHT_BIT, BodyWay.BINARY):
            options.append(chosen_body.value)
        binary = chosen_body is BodyWay.BINARY
    return Letter(sender, list(recipients), octets, options, binary)


def declared_binary(options: Iterable[str]) -> bool:
    """True if these options, one in each, say that a message is BINARYMIME (RFC 3030 3)."""
    return "BODY=BINARYMIME" in [option.upper() for option in options]


def _body(
    octets: bytes | Composed, content: Content, eight_bit_mime: bool, binary_mime: bool, reencode: bool
) -> tuple[bytes | Composed, BodyWay]:
    """The octets as they go, and what is done about them."""

    def decide(reencodable: bool) -> BodyWay:
        return body_way(
            content.body,
            long_lines=content.long_lines,
            reencodable=reencodable,
            eight_bit_mime=eight_bit_mime,
            binary_mime=binary_mime,
        )

    chosen = decide(reencodable=reencode)
    if chosen is BodyWay.REENCODED:
        from smtp_proto.reencoding import to_seven_bits

        reencoded = to_seven_bits(_joined(octets))
        if reencoded is not None:
            return reencoded, chosen
        chosen = decide(reencodable=False)
    if chosen is BodyWay.BINARY and content.body is not Body.BINARY:
        # It is text, only with long lines; what goes as it is must have its line ends already.
        octets = normalise_line_ends(_joined(octets))
        octets = octets if octets.endswith(bCRLF) else octets + bCRLF
    return octets, chosen


def _joined(octets: bytes | Composed) -> bytes:
    """All of a message that is about to be changed, or whose line ends are not."""
    return octets.joined() if isinstance(octets, Composed) else octets


# -- addresses ---------------------------------------------------------------------------------------------------------


def addresses_way(addresses: Iterable[str], headers: Headers, has_extension: HasExtension) -> tuple[Way, str]:
    """How addresses and headers go; and of a domain that has no A-labels, why."""
    from smtp_proto.domains import a_labels  # plain mail needs none of it

    local_part = domain = Text.ASCII
    problem = ""
    for address in addresses:
        path = path_of(address)
        if path.isascii():
            continue
        before, at, after = path.rpartition("@")
        if not (before if at else path).isascii():
            local_part = Text.UTF8
        if not at or after.isascii():
            continue
        try:
            a_labels(after)
        except InvalidArgument as error:
            domain = Text.UTF8
            problem = f"; {error}"
        else:
            domain = Text.A_LABELS if domain is Text.ASCII else domain
    return way(local_part, domain, headers, smtputf8=bool(has_extension("smtputf8"))), problem


def in_ascii(address: str) -> str:
    """An address with its domain as A-labels; as it is where it needs none."""
    if address.isascii():
        return address
    from smtp_proto.domains import with_a_labels  # see above

    return with_a_labels(path_of(address))


def _not_ascii(addresses: Iterable[str], problem: str) -> UnicodeEncodeError:
    address = next(address for address in addresses if not path_of(address).isascii())
    start = next(offset for offset, character in enumerate(address) if not character.isascii())
    reason = f"it needs SMTPUTF8, which the server does not offer{problem}"
    return UnicodeEncodeError("ascii", address, start, start + 1, reason)
