"""The differences that `docs/differences.md` allows, for the differential test: this is the one place for them.

A `Normaliser` makes two steps alike where the difference is of form only; the conversation is compared on behind it.  A
`Difference` explains why two steps differ; from there on the two libraries are in different states, so nothing more of
that conversation is compared.  Each is as narrow as can be, names the row of the table that it stands for, and must be
needed: the test fails for one that no conversation made use of.

A name that begins with "KnownBug" is none that is allowed: a fault of `smtp_blocking`, to be mended, and then removed
here.  `proposed` marks a row that the table does not have (yet).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .differential_generate import Conversation, Letter
from .differential_run import Raised, Step
from .differential_server import Exchange, Say

DELIVERIES: Final = ("sendmail", "send_message")


class Case(NamedTuple):
    """Two steps that differ, and the conversation that they are in."""

    conversation: Conversation
    theirs: list[Step]
    ours: list[Step]
    index: int

    @property
    def their(self) -> Step:
        return self.theirs[self.index]

    @property
    def our(self) -> Step:
        return self.ours[self.index]

    @property
    def last(self) -> Exchange | None:
        """The last thing that `smtp_blocking` heard, in this step."""
        return self.our.exchanges[-1] if self.our.exchanges else None

    def raised(self, name: str) -> bool:
        """True if `smtp_blocking` raised this, or something derived of it."""
        return isinstance(self.our.result, Raised) and name in self.our.result.classes

    @property
    def refused(self) -> str:
        """The text of the ValueError that `smtp_blocking` raised, if it has sent nothing but an introduction."""
        result = self.our.result
        sent = {exchange.kind for exchange in self.our.exchanges} - {"EHLO", "LHLO", "HELO"}
        return result.text if isinstance(result, Raised) and "ValueError" in result.classes and not sent else ""


@dataclass(frozen=True)
class Difference:
    """See the module's header."""

    name: str
    row: str
    reason: str
    explains: Callable[[Case], bool]
    proposed: bool = False


@dataclass(frozen=True)
class Normaliser:
    """See the module's header; `apply` gives the two steps back, changed or not."""

    name: str
    row: str
    reason: str
    apply: Callable[[Case], tuple[Step, Step]]
    proposed: bool = False


# -- normalisers ------------------------------------------------------------------------------------------------------


def _letter_case(case: Case) -> tuple[Step, Step]:
    def lowered(exchange: Exchange) -> Exchange:
        request = re.sub(rb"\A(mail FROM|rcpt TO):", lambda match: match[0].lower(), exchange.request)
        return exchange._replace(request=request)

    return case.their._replace(exchanges=tuple(map(lowered, case.their.exchanges))), case.our


def _text_of_disconnected(case: Case) -> tuple[Step, Step]:
    their, our = case.their.result, case.our.result
    name = "SMTPServerDisconnected"
    if isinstance(their, Raised) and isinstance(our, Raised) and their.name == our.name == name:
        return (
            case.their._replace(result=their._replace(text="", arguments=())),
            case.our._replace(result=our._replace(text="", arguments=())),
        )
    return case.their, case.our


def _bytes(case: Case) -> tuple[Step, Step]:
    call, theirs, ours = case.our.call, case.their.exchanges, case.our.exchanges
    given = isinstance(call.arguments[-1], bytes) if call.name == "data" else call.name == "send_message"
    given = given or (call.name == "sendmail" and isinstance(call.arguments[2], bytes))
    if not given or len(theirs) != len(ours):
        return case.their, case.our
    alike = tuple(
        mine if his.kind == mine.kind == "." and mine.request in _normalised(his.request) else his
        for his, mine in zip(theirs, ours, strict=True)
    )
    return case.their._replace(exchanges=alike), case.our


def _normalised(request: bytes) -> list[bytes]:
    """What `smtplib` would have sent for the same message with line ends that are all CRLF."""
    message = re.sub(rb"(?m)^\.", b"", request[:-3])  # exactly what it does to dots, backwards
    found = []
    for octets in (message, message.removesuffix(b"\r\n")):  # the last line end may be its own
        lines = re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
        lines += b"" if lines.endswith(b"\r\n") else b"\r\n"
        found.append(re.sub(rb"(?m)^\.", b"..", lines) + b".\r\n")
    return found


def _reset_after_data(case: Case) -> tuple[Step, Step]:
    theirs, ours = case.their.exchanges, case.our.exchanges
    extra = ours[len(theirs) :]
    if (
        case.raised("SMTPDataError")
        and theirs[-1:] == ours[len(theirs) - 1 : len(theirs)]
        and theirs[-1].kind == "DATA"
        and [exchange.kind for exchange in extra] == ["RSET"]
    ):
        return case.their, case.our._replace(exchanges=ours[: len(theirs)])
    return case.their, case.our


NORMALISERS: Final = (
    Normaliser(
        "letter case of FROM: and TO:",
        "(the text above the table: that of the newest Python)",
        "smtplib 3.11 and some versions of 3.12 write FROM: and TO:, newer ones from: and to:, and so does this library.",
        _letter_case,
    ),
    Normaliser(
        "text of SMTPServerDisconnected",
        "text of `SMTPServerDisconnected`",
        "smtplib's depends on whether writing or reading fails first, and on the operating system's words.",
        _text_of_disconnected,
        proposed=True,
    ),
    Normaliser(
        "bytes messages",
        "bytes given as message",
        "Line ends are normalised; all the rest of the message must be equal.",
        _bytes,
    ),
    Normaliser(
        "RSET after a refused DATA",
        "a refused DATA, all recipients refused twice",
        "smtplib leaves the transaction open.",
        _reset_after_data,
    ),
)


# -- replies that are none --------------------------------------------------------------------------------------------

_LINE = re.compile(rb"(\d{3})(?:([ -])[^\n]*)?\r?\n", re.ASCII)


def replies(said: Say) -> int | None:
    """How many whole replies these octets are; None if they are anything else."""
    count, code, rest = 0, b"", said.octets
    while rest:
        match = _LINE.match(rest)
        if match is None or (code and match[1] != code):
            return None
        code = match[1] if match[2] == b"-" else b""
        count += not code
        rest = rest[match.end() :]
    return None if code else count


def _malformed(case: Case) -> bool:
    said = case.last.said if case.last is not None else Say(b"")
    complete = said.octets.endswith(b"\n")
    return complete and replies(said) is None and not case.our.connected and case.raised("SMTPException")


def _cut(case: Case) -> bool:
    said = case.last.said if case.last is not None else Say(b"\n")
    return not said.octets.endswith(b"\n") and not case.our.connected and case.raised("SMTPServerDisconnected")


def _unasked(case: Case) -> bool:
    before = [exchange for step in case.ours[: case.index + 1] for exchange in step.exchanges]
    several = any((replies(exchange.said) or 0) > 1 for exchange in before)
    return several and not case.our.connected


def _too_long(case: Case) -> bool:
    last = case.last
    return last is not None and last.said.octets.count(b"\n") > 2048 and not case.our.connected


# -- codes ------------------------------------------------------------------------------------------------------------

# What smtplib takes for success in a transaction and in AUTH, by kind; other codes of the same severity are so too here.
_LISTED: Final = {"MAIL": (250,), "RCPT": (250, 251), "DATA": (354,), ".": (250,), "AUTH": (334,), "response": (334,)}


def _other_success(case: Case) -> bool:
    if case.our.call.name not in (*DELIVERIES, "login", "auth", "transaction", "data", "docmd", "written"):
        return False
    return any(
        exchange.said.code not in listed and exchange.said.code // 100 == listed[0] // 100
        for exchange in case.our.exchanges
        if (listed := _LISTED.get(exchange.kind, ()))
    )


def impossible(exchange: Exchange) -> bool:
    """True for a code that cannot be the answer: RFC 5321 4.3.2 and 4.2.1, by severity."""
    severity = exchange.said.code // 100
    if exchange.kind == "DATA":
        return severity not in (3, 4, 5)
    return severity not in (2, 4, 5) and not (severity == 3 and exchange.kind in ("AUTH", "response", "other"))


def _impossible(case: Case) -> bool:
    return case.last is not None and impossible(case.last) and not case.our.connected


def _goodbye(case: Case) -> bool:
    return case.last is not None and case.last.said.code == 421 and not case.our.connected


# -- calls ------------------------------------------------------------------------------------------------------------


def _stops(case: Case) -> bool:
    codes = [exchange.said.code for exchange in case.our.exchanges]
    stopped = case.our.call.name == "login" and codes[-1:] in ([535], [454], [421])
    return stopped and case.raised("SMTPAuthenticationError") and len(case.their.exchanges) > len(codes)


def _getreply_unconnected(case: Case) -> bool:
    their = case.their.result
    return isinstance(their, Raised) and "makefile" in their.text and case.raised("SMTPServerDisconnected")


def _unread(case: Case) -> bool:
    result = case.our.result
    return isinstance(result, Raised) and result.name == "SMTPException" and "getreply() first" in result.text


def _forgets(case: Case) -> bool:
    names = {"ehlo_resp", "helo_resp", "esmtp_features", "does_esmtp"}
    different = {name for name, value in case.their.attributes.items() if case.our.attributes[name] != value}
    return case.our.call.name == "connect" and different <= names and case.our.result == case.their.result


def _addresses(case: Case) -> bool:
    return "has white space" in case.refused


def _control(case: Case) -> bool:
    return "prohibited control characters" in case.refused or "prohibited control character " in case.refused


def _nul(case: Case) -> bool:
    return "a NUL in the text" in case.refused


def _utf8_address(case: Case) -> bool:
    return (
        case.raised("UnicodeEncodeError")
        and isinstance(case.their.result, Raised)
        and case.their.result.name == "UnicodeEncodeError"
        and case.our.exchanges == case.their.exchanges[: len(case.our.exchanges)]
    )


def _quit_refused(case: Case) -> bool:
    return (
        case.our.call.name == "with"
        and isinstance(case.their.result, Raised)
        and case.their.result.name == "SMTPResponseException"
        and case.our.exchanges[-1:] == case.their.exchanges[-1:]
    )


def _letter(case: Case) -> Letter | None:
    first: Any = case.our.call.arguments[:1]
    return first[0] if case.our.call.name == "send_message" else None


def _all_headers(case: Case) -> bool:
    letter = _letter(case)
    names = [name for name, _ in letter.headers] if letter is not None else []
    return any(names.count(name) > 1 for name in ("To", "Cc", "Bcc", "Resent-To", "Sender", "From"))


def _from_lines(case: Case) -> bool:
    letter = _letter(case)
    return letter is not None and re.search("^From ", letter.body, re.MULTILINE) is not None


def _refused_twice(case: Case) -> bool:
    to = case.our.call.arguments[1] if case.our.call.name == "sendmail" else ""
    return isinstance(to, list) and len(set(to)) < len(to) and case.raised("SMTPRecipientsRefused")


def _lmtp_helo(case: Case) -> bool:
    theirs, ours = case.their.exchanges, case.our.exchanges
    more = [exchange.kind for exchange in theirs[len(ours) :]]
    return case.raised("SMTPHeloError") and ours[-1].kind == "LHLO" and more[:1] == ["HELO"]


DIFFERENCES: Final = (
    Difference("malformed replies", "codes within one reply that differ, codes that are no three digits", "", _malformed),
    Difference("a reply without its end", "a last line without its line end, then the end of the connection", "", _cut, True),
    Difference("unasked replies", "a reply nobody asked for", "", _unasked),
    Difference("replies too long", "a reply of more than 2048 lines", "", _too_long, True),
    Difference("other codes of success", "success of RCPT, DATA, AUTH and STARTTLS", "", _other_success),
    Difference("impossible answers", "an answer that can be none", "", _impossible, True),
    Difference("421", "a 421", "", _goodbye, True),
    Difference("login stops", "`login` after a 535, 454 or 421", "", _stops),
    Difference("getreply unconnected", "`getreply` without a connection", "", _getreply_unconnected, True),
    Difference("unread replies", "a command sent while a reply is due", "", _unread, True),
    Difference("connect again", "`connect` again", "", _forgets),
    Difference("addresses", "addresses with white space", "", _addresses),
    Difference("control characters", "control characters in commands", "", _control),
    Difference("NUL", "a NUL in a message", "", _nul),
    Difference("UTF-8 addresses", "an address that needs SMTPUTF8, without it", "", _utf8_address),
    Difference("QUIT refused", "`__exit__` when QUIT is refused", "", _quit_refused),
    Difference("all headers", "`send_message`: To, Cc, Bcc", "", _all_headers),
    Difference("From lines", '`send_message`: lines that begin with "From "', "", _from_lines),
    Difference("refused twice", "a refused DATA, all recipients refused twice", "", _refused_twice),
    Difference("LMTP has no HELO", "LMTP: LHLO refused", "", _lmtp_helo, True),
)
