"""What a message needs of the server, and what is done where the server offers less: two tables, and who fills them.

Theory of operation.  Two questions have to be answered before MAIL, and they do not depend on one another:

* How do addresses and headers go?  SMTPUTF8 (RFC 6531) is asked for only where nothing else helps, because every server
  behind the first one must offer it as well: a domain that is not ASCII has a form that is (`smtp_proto.domains`).
* How does the content go?  As it is, where the server offers what carries it (8BITMIME, RFC 6152; BINARYMIME, RFC
  3030); else re-encoded to seven bits, where that breaks nothing (`smtp_proto.reencoding`); else, if it is only that
  the server does not promise to keep the eighth bit or a long line, as it is all the same: nearly all of them do, and
  mail that arrives is worth more than mail that is refused.  NUL is where that ends.

Each table is read from the top, and the first row that fits holds; None in a row fits everything.
`docs/internationalization.md` shows them, and a test compares.
"""

import codecs
import re
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

from .body import NUL

# RFC 5322 2.1.1: "Each line of characters MUST be no more than 998 characters [...] excluding the CRLF."
MAX_LINE: Final = 998


class Text(StrEnum):
    """Of what a local part consists, or a domain."""

    ASCII = "ASCII"
    A_LABELS = "not ASCII, with A-labels"  # a domain only
    UTF8 = "UTF-8"


class Headers(StrEnum):
    """What headers need."""

    ASCII = "ASCII"
    OCTETS = "UTF-8, given as octets"  # whoever wrote them may know that they pass
    ADDRESSES = "UTF-8 in an address"  # of an email message: there is no encoding for it (RFC 2047 5 (3))


class Way(StrEnum):
    """What is done about addresses and headers."""

    AS_GIVEN = "as they are"
    A_LABELS = "domains as A-labels"
    SMTPUTF8 = "SMTPUTF8"
    REFUSED = "refused"


class Body(StrEnum):
    """What the octets of a message are."""

    SEVEN_BIT = "7bit"
    EIGHT_BIT = "8bit"
    BINARY = "binary"  # with NUL


class BodyWay(StrEnum):
    """What is done about the content."""

    AS_IT_IS = "as it is"
    EIGHT_BIT = "BODY=8BITMIME"
    BINARY = "BODY=BINARYMIME"
    REENCODED = "re-encoded"
    REFUSED = "refused"


#: A row of `WAYS`: local part, domain, headers, whether SMTPUTF8 is offered, and what is done then.
WayRule = tuple[Text | None, Text | None, Headers | None, bool | None, Way]
#: A row of `BODY_WAYS`: the body, whether a line at least is over `MAX_LINE`, whether re-encoding would break nothing,
#: whether 8BITMIME and BINARYMIME are offered, and what is done then.
BodyRule = tuple[Body | None, bool | None, bool | None, bool | None, bool | None, BodyWay]

# The local part and the domain stand for those of all addresses: what needs most counts.
WAYS: Final[tuple[WayRule, ...]] = (
    (Text.ASCII, Text.ASCII, Headers.ASCII, None, Way.AS_GIVEN),
    (Text.ASCII, Text.A_LABELS, Headers.ASCII, None, Way.A_LABELS),
    (None, None, None, True, Way.SMTPUTF8),
    (Text.ASCII, Text.ASCII, Headers.OCTETS, False, Way.AS_GIVEN),
    (Text.ASCII, Text.A_LABELS, Headers.OCTETS, False, Way.A_LABELS),
    (None, None, None, False, Way.REFUSED),
)

BODY_WAYS: Final[tuple[BodyRule, ...]] = (
    # BINARYMIME goes through CHUNKING only (RFC 3030 3): a server that does not offer both offers neither.
    (Body.BINARY, None, None, None, True, BodyWay.BINARY),
    (Body.BINARY, None, True, None, False, BodyWay.REENCODED),
    (Body.BINARY, None, False, None, False, BodyWay.REFUSED),
    # Servers break such lines or refuse them; BINARYMIME is for what must not be touched, a signature for instance.
    (None, True, True, None, None, BodyWay.REENCODED),
    (None, True, False, None, True, BodyWay.BINARY),
    (Body.EIGHT_BIT, None, None, True, None, BodyWay.EIGHT_BIT),
    (Body.EIGHT_BIT, None, True, False, None, BodyWay.REENCODED),
    (None, None, None, None, None, BodyWay.AS_IT_IS),
)


@cache
def way(local_part: Text, domain: Text, headers: Headers, *, smtputf8: bool) -> Way:
    """What to do about addresses and headers, with a server that offers SMTPUTF8 or does not."""
    asked = (local_part, domain, headers, smtputf8)
    return next(rule[-1] for rule in WAYS if _fits(rule[:-1], asked))


@cache
def body_way(body: Body, *, long_lines: bool, reencodable: bool, eight_bit_mime: bool, binary_mime: bool) -> BodyWay:
    """What to do about the content, with a server that offers 8BITMIME, and BINARYMIME with CHUNKING, or does not."""
    asked = (body, long_lines, reencodable, eight_bit_mime, binary_mime)
    return next(rule[-1] for rule in BODY_WAYS if _fits(rule[:-1], asked))


def _fits(row: tuple[object, ...], asked: tuple[object, ...]) -> bool:
    return all(wanted is None or wanted == given for wanted, given in zip(row, asked, strict=True))


# -- what there is -----------------------------------------------------------------------------------------------------

# A message that does not begin with a header field (RFC 5322 2.2) has no headers.
_FIELD = rb"[!-9;-~]+[ \t]*:"  # compiled when there is something to look at, and so is the other
_END_OF_HEADERS = rb"\r\n\r\n|\n\r?\n|\r\r"
_UTF8 = codecs.getincrementaldecoder("utf-8")


class Content(NamedTuple):
    """What the octets of a message are made of."""

    body: Body
    long_lines: bool
    headers: Headers


#: Text that any server takes as it is.
PLAIN: Final = Content(Body.SEVEN_BIT, False, Headers.ASCII)


def content_of(octets: bytes) -> Content:
    """Look at a message as it is to be sent; linear, and fast for what is plain."""
    ascii_only = octets.isascii()
    long_lines = has_long_lines(octets)
    nul = NUL in octets
    if ascii_only and not long_lines and not nul:
        return PLAIN
    headers = _HeaderLook()
    if not ascii_only:
        headers.add(octets)
    return _content(ascii_only, long_lines, nul, headers)


class Look:
    """`content_of` for a message that comes in pieces, of which the first has the first field's name."""

    __slots__ = ("_ascii_only", "_headers", "_line", "_long_lines", "_nul")

    def __init__(self) -> None:
        self._ascii_only = True
        self._long_lines = self._nul = False
        self._headers = _HeaderLook()
        self._line = b""  # what there is of a line that has not ended yet

    def add(self, piece: bytes) -> None:
        """Look at the next piece."""
        self._ascii_only = self._ascii_only and piece.isascii()
        self._nul = self._nul or b"\0" in piece
        if self._headers.wanted:
            self._headers.add(piece)
        if not self._long_lines:
            octets = self._line + piece
            self._long_lines = has_long_lines(octets)
            self._line = octets[max(octets.rfind(b"\n"), octets.rfind(b"\r")) + 1 :]

    @property
    def content(self) -> Content:
        """What was seen."""
        return _content(self._ascii_only, self._long_lines, self._nul, self._headers)


def _content(ascii_only: bool, long_lines: bool, nul: bool, headers: "_HeaderLook") -> Content:
    if ascii_only and not long_lines and not nul:
        return PLAIN
    body = Body.BINARY if nul else Body.SEVEN_BIT if ascii_only else Body.EIGHT_BIT
    return Content(body, long_lines, Headers.OCTETS if headers.utf8 else Headers.ASCII)


class _HeaderLook:
    """Whether headers have UTF-8 in them.  What is neither ASCII nor UTF-8 is nothing that SMTPUTF8 is for."""

    __slots__ = ("_decoder", "_eight_bit", "_last", "wanted")

    def __init__(self) -> None:
        self._last = b""  # the last three octets
        self._eight_bit = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self.wanted = True  # the headers have not ended

    def add(self, piece: bytes) -> None:
        octets = self._last + piece
        if self._decoder is None:
            self._decoder = _UTF8()
            if re.match(_FIELD, octets) is None:
                self.wanted = False
                return
        end = re.search(_END_OF_HEADERS, octets)
        headers = piece if end is None else octets[len(self._last) : end.end()]
        self._last = octets[-3:]
        self.wanted = end is None
        if not self._eight_bit and headers.isascii():
            return
        self._eight_bit = True
        try:
            self._decoder.decode(headers)
        except UnicodeDecodeError:
            self._eight_bit = self.wanted = False

    @property
    def utf8(self) -> bool:
        # What is not whole yet when the message is at its end is none.
        return self._eight_bit and self._decoder is not None and not self._decoder.getstate()[0]


def headers_of(octets: bytes) -> bytes:
    """A message up to the end of its headers; all of it where that is not to be found."""
    end = re.search(_END_OF_HEADERS, octets)
    return octets[: end.end()] if end is not None else octets


def has_crlf_headers(octets: bytes) -> bool:
    """True if all lines of the header end with CRLF, so that a message can go as it is."""
    headers = headers_of(octets)
    return headers.count(b"\r\n") == headers.count(b"\n") == headers.count(b"\r")


def has_long_lines(octets: bytes) -> bool:
    """True if a line, without its end, is over `MAX_LINE`; a CR ends one, too, for it becomes CRLF on the wire."""
    start, size = 0, len(octets)
    # From the last line end that is near enough to the next: a hundred times faster than looking at each line.
    while size - start > MAX_LINE:
        end = octets.rfind(b"\n", start, start + MAX_LINE + 1)
        if end < 0:
            end = octets.rfind(b"\r", start, start + MAX_LINE + 1)
        if end < 0:
            return True
        start = end + 1
    return False
