"""The differences that `docs/differences.md` allows, for the differential test: this is the one place for them.

A `Normaliser` makes two steps alike where the difference is of form only; the conversation is compared on behind it.  A
`Difference` explains why two steps differ; from there on the two libraries are in different states, so nothing more of
that conversation is compared.  Each is as narrow as can be, names the row of the table that it stands for by how that
row begins, and must be needed: the test fails for one that no conversation made use of.

`proposed` marks a row that the table does not have yet.  A `KnownBug` is nothing that is allowed: a fault of
`smtp_blocking`, to be mended, and then removed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from . import differential_case as case
from . import differential_predicates as when
from .differential_case import Case
from .differential_run import Step


@dataclass(frozen=True)
class Difference:
    """See the module's header."""

    name: str
    row: str
    reason: str
    explains: Callable[[Case], bool]
    proposed: bool = False


class KnownBug(Difference):
    """See the module's header."""


@dataclass(frozen=True)
class Normaliser:
    """See the module's header; `apply` gives the two steps back, changed or not."""

    name: str
    row: str
    reason: str
    apply: Callable[[Case], tuple[Step, Step]]
    proposed: bool = False


NORMALISERS: Final = (
    Normaliser(
        "letter case of FROM: and TO:",
        "# How `smtp_blocking` differs from `smtplib`",  # above the table: "that of the newest Python"
        "smtplib writes FROM: and TO: in 3.11, and from: and to: in 3.13.",
        case.letter_case,
    ),
    Normaliser(
        "text of SMTPServerDisconnected",
        "the text of `SMTPServerDisconnected`",
        "smtplib's depends on whether writing or reading fails first, and says nothing of the server's last words.",
        case.text_of_disconnected,
    ),
    Normaliser(
        "bytes messages",
        "bytes given as message",
        "Line ends are normalised; all the rest of the message must be equal.",
        case.bytes_message,
    ),
    Normaliser(
        "size of bytes messages",
        "`size=` for bytes with bare CR or LF, and for an empty message",
        "It is that of what is sent.",
        case.size_of_bytes,
    ),
    Normaliser(
        "RSET after a refused DATA",
        "a refused DATA, all recipients refused twice",
        "smtplib leaves the transaction open.",
        case.reset_after_data,
    ),
    Normaliser(
        "empty initial response",
        "AUTH: an initial response of nothing",
        'RFC 4954 4: it is written "=", for nothing behind the mechanism means that there is none.',
        case.empty_initial_response,
    ),
    Normaliser(
        "eight bits are announced",
        "messages of eight bits",
        "RFC 6152 3 wants them announced.",
        case.eight_bits,
    ),
    Normaliser(
        "empty options",
        '`sendmail`: an option of ""',
        "smtplib leaves a space too many, for which RFC 5321 4.1.1 has no place.",
        case.empty_options,
    ),
)

DIFFERENCES: Final[tuple[Difference, ...]] = (
    # Faults come first, so that none is taken for something that is allowed.
    Difference(
        "size of nothing",
        "`size=` for bytes with bare CR or LF, and for an empty message",
        'An empty message goes out as an empty line, and "size=2" says so.',
        when.size_of_nothing,
    ),
    # What the server does wrong.
    Difference(
        "malformed replies",
        "codes within one reply that differ, codes that are no three digits",
        "Nobody can tell where such a reply ends, or what it says.",
        when.malformed,
    ),
    Difference(
        "a reply without its end",
        "a reply that the end of the connection cuts off",
        "smtplib takes a last line without its line end, and a code that lacks digits, for the whole.",
        when.cut,
    ),
    Difference(
        "unasked replies",
        "a reply nobody asked for",
        "smtplib takes it for the answer to the next command.",
        when.unasked,
    ),
    Difference(
        "replies too long",
        "a reply of more than 2048 lines or 128 KiB",
        "A server that never ends a reply must not fill the memory.",
        when.too_long,
    ),
    Difference(
        "impossible answers",
        "an answer that makes no sense",
        "After a 2xx to DATA or a 3xx to MAIL nobody can tell how the server reads on; the same for 1xx and 6xx.",
        when.impossible_answer,
    ),
    Difference("421", "a 421 in answer to any command", "RFC 5321 3.8: the server is closing.", when.goodbye),
    Difference(
        "other codes of success",
        "success of ",
        "RFC 5321 4.2.1: the first digit says it.",
        when.other_success,
    ),
    # What callers do.
    Difference(
        "larger than SIZE",
        "a message larger than the server's SIZE",
        "RFC 1870 4: what the server has said that it will refuse is not sent.",
        when.larger_than_size,
    ),
    Difference(
        "login stops",
        "`login` after a 535, 454 or 421",
        "Another mechanism does not make a password right, and too many tries lock people out.",
        when.stops,
    ),
    Difference(
        "mechanisms in lower case",
        "`login`: mechanisms that EHLO lists in lower case",
        "RFC 5321 2.4: any letter case, unless a definition says otherwise, and RFC 4954 does not.",
        when.offered,
    ),
    Difference("UTF-8 credentials", "user names and passwords", "RFC 4616 2: they are UTF-8.", when.utf8_credentials),
    Difference(
        "NUL in credentials",
        "a NUL in a user name or password",
        "It is PLAIN's separator: what follows it would be taken for something else.",
        when.nul_in_credentials,
    ),
    Difference(
        "asked again",
        "AUTH: a challenge more than PLAIN, LOGIN or CRAM-MD5 have responses",
        "What was said once is not said again to a server that does not keep to the mechanism.",
        when.asked_again,
    ),
    Difference(
        "AUTH cancelled",
        "AUTH: a challenge that is not base64, an authobject that raises",
        'RFC 4954 4: the client cancels with "*"; smtplib leaves the exchange open, and the next command answers it.',
        when.cancelled,
    ),
    Difference(
        "challenges",
        "AUTH: five challenges, then success",
        "smtplib reports a loop although the last answer is a 235.",
        when.challenges,
    ),
    Difference(
        "names of mechanisms",
        "AUTH: a mechanism whose name is none (RFC 4422 3.1)",
        "smtplib sends it.",
        when.mechanism,
    ),
    Difference(
        "getreply unconnected",
        "`getreply` without a connection",
        "smtplib raises AttributeError, for its socket is None.",
        when.getreply_unconnected,
    ),
    Difference(
        "unread replies",
        "a command while the reply to a `putcmd` is due",
        "smtplib takes that reply for this command's.",
        when.unread,
    ),
    Difference(
        "after QUIT",
        "a command after a QUIT by `docmd` or `putcmd` was accepted",
        "RFC 5321 4.1.1.10: nothing may follow.",
        when.after_quit,
    ),
    Difference("connect again", "`connect` again", "Another server may offer something else.", when.forgets),
    Difference(
        "two mistakes",
        "no connection, and a mistake in the arguments too",
        "There are two reasons to raise; which comes first is nobody's contract.",
        when.two_mistakes,
    ),
    Difference("addresses", "addresses with white space", "They would end the path early.", when.addresses),
    Difference("control characters", "control characters in commands", "RFC 5321 4.1.2 has none.", when.control),
    Difference("NUL", "a NUL in a message", "RFC 5321 4.5.2 allows none.", when.nul),
    Difference(
        "UTF-8 addresses",
        "an address that needs SMTPUTF8, without it",
        "smtplib finds out in the middle of the transaction, or behind DATA's 354.",
        when.utf8_address,
    ),
    Difference(
        "re-encoded",
        "messages of eight bits",
        "A server that does not offer 8BITMIME gets seven bits, where that breaks nothing.",
        when.reencoded,
    ),
    Difference(
        "command_encoding sticks",
        "`command_encoding` after a message with SMTPUTF8",
        "smtplib would send UTF-8 in the next transaction without announcing it.",
        when.encoding_sticks,
    ),
    Difference(
        "refused twice",
        "a refused DATA, all recipients refused twice",
        "smtplib counts addresses, and goes on to DATA if one was given twice.",
        when.refused_twice,
    ),
    Difference(
        "RSET fails",
        "RSET after a refusal is refused or unanswered",
        "The transaction may be open still, and the next message would end up in it.",
        when.reset_failed,
    ),
    Difference("QUIT refused", "`__exit__` when QUIT is refused", "It must not hide what counts.", when.quit_refused),
    Difference("all headers", "`send_message`: To, Cc, Bcc", "smtplib leaves people out.", when.all_headers),
    Difference("From lines", '`send_message`: lines that begin with "From "', "SMTP is no mbox.", when.from_lines),
    Difference(
        "compat32 with UTF-8 addresses",
        "`send_message`: an address that needs SMTPUTF8 in a message of the policy compat32",
        "smtplib raises TypeError, for that policy has no utf8.",
        when.compat32,
    ),
    Difference(
        "internationalised mail",
        "an address that is not ASCII",
        "smtplib knows no A-labels, and asks for SMTPUTF8 only in send_message, and not for what is in the headers.",
        when.internationalised,
    ),
    Difference(
        "header addresses",
        "`send_message`: a header with an address that is not ASCII",
        "smtplib encodes it by RFC 2047, which is for words and not for addresses.",
        when.header_address,
    ),
    Difference(
        "no sender",
        "`send_message` without a sender",
        'smtplib makes the address "None" of it.',
        when.no_sender,
    ),
    Difference(
        "LMTP has no HELO",
        "LMTP: LHLO refused",
        "RFC 2033 4.1: there is no HELO; a server that takes it speaks SMTP, with one answer to a message.",
        when.lmtp_helo,
    ),
)
