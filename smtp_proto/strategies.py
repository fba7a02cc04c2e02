"""Hypothesis strategies for SMTP: replies, commands, addresses, messages and conversations, well formed and hostile.

For tests of mail code, with this library or without it: values, and the octets of them.  Everything is small, so that
counterexamples are; nothing is slow or needs a network.  Needs the extra ``hypothesis``, and nothing in the package
imports it.

What is hostile here is what has broken clients and servers before: codes that differ within a reply, line ends that
only some take for one, addresses that end their path early, replies that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

from .commands import (
    Auth,
    AuthResponse,
    Bdat,
    Command,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTLS,
    Vrfy,
)
from .errors import MissingExtra
from .replies import Reply

try:
    from hypothesis import strategies as st
except ImportError:
    raise MissingExtra("smtp_proto.strategies", "hypothesis") from None

T = TypeVar("T")

__all__ = [
    "Conversation",
    "addresses",
    "bodies",
    "codes",
    "commands",
    "conversations",
    "domains",
    "ehlo_replies",
    "hostile_conversations",
    "malformed_addresses",
    "malformed_commands",
    "malformed_replies",
    "replies",
    "splits",
]

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
# RFC 5321 4.1.2 and RFC 5322 3.2.3: what stands in a local part without quotes, dots aside.
_ATEXT = _LETTERS + "!#$%&'*+-/=?^_`{|}~"


def splits(octets: bytes, most: int = 10) -> st.SearchStrategy[list[bytes]]:
    """`octets` cut into up to `most` pieces, empty ones included: the ways in which a network may deliver them."""
    offsets = st.lists(st.integers(0, len(octets)), max_size=most - 1)
    return offsets.map(
        lambda unordered: [octets[start:end] for start, end in pairwise([0, *sorted(unordered), len(octets)])]
    )


# -- replies ----------------------------------------------------------------------------------------------------------


def codes(severities: str = "2345") -> st.SearchStrategy[int]:
    """Reply codes that begin with one of these digits; none is a 421, which ends a conversation (RFC 5321 3.8)."""
    named = [220, 221, 235, 250, 251, 252, 334, 354, 450, 451, 452, 454, 500, 501, 503, 535, 550, 552, 553, 554]
    likely = [code for code in named if str(code)[0] in severities]
    any_code = st.builds(lambda digit, rest: int(digit) * 100 + rest, st.sampled_from(severities), st.integers(0, 99))
    return (st.sampled_from(likely) | any_code if likely else any_code).filter(lambda code: code != 421)


def _texts() -> st.SearchStrategy[bytes]:
    """The text of one line: what people write, enhanced status codes, and any octets that do not end the line."""
    status = st.sampled_from([b"2.0.0 ", b"2.1.5 ", b"4.7.1 ", b"5.1.1 ", b"5.7.8 ", b"9.9.9 ", b""])
    plain = st.sampled_from([b"ok", b"queued as 4cX1y2", b"no such user", b"try again later", b"", b"-", b"250 ok"])
    octets = st.binary(max_size=20).map(lambda text: text.translate(None, b"\r\n\0"))
    return st.builds(lambda before, text: before + text, status, plain | octets)


def replies(
    code: st.SearchStrategy[int] | None = None, *, min_lines: int = 1, max_lines: int = 4
) -> st.SearchStrategy[Reply]:
    """Replies (RFC 5321 4.2) of one line or several; ``reply.encode()`` gives the octets.  Texts may be 8-bit."""
    lines = st.lists(_texts(), min_size=min_lines, max_size=max_lines)
    return st.builds(Reply, code if code is not None else codes(), lines)


def malformed_replies() -> st.SearchStrategy[bytes]:
    """Octets with a line end that are no reply: a client that takes one for an answer has been deceived."""
    text = st.sampled_from([b"", b"ok", b"2.0.0 ok"])
    starts = st.sampled_from([b"", b" 250", b"+250", b"25", b"2500", b"25x", b"\xb2\xb3\xb4", b"-250", b"hello", b"\t"])
    no_code = st.builds(lambda start, text: start + b" " + text + b"\r\n", starts, text)
    separators = st.sampled_from([b"\t", b"_", b"=", b"\0", b"250", b"\r", b"."])
    no_separator = st.builds(lambda sign, text: b"250" + sign + text + b"x\r\n", separators, text)
    two_codes = st.builds(
        lambda first, second, text: b"%03d-%b\r\n%03d %b\r\n" % (first, text, second, text), codes(), codes(), text
    ).filter(lambda octets: octets[:3] != octets.split(b"\n")[1][:3])
    return no_code | no_separator | two_codes


def ehlo_replies(*keywords: str, hostname: str = "mx.example.net") -> st.SearchStrategy[Reply]:
    """A 250 to EHLO or LHLO that lists `keywords`, and others of all kinds around them, nonsense included."""
    known = st.sampled_from(
        [
            *("PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "DSN", "HELP", "BINARYMIME"),
            *("SIZE", "SIZE 0", "SIZE 10240000", "AUTH PLAIN LOGIN", "AUTH=LOGIN", "LIMITS RCPTMAX=10", "STARTTLS"),
        ]
    )
    nonsense = st.sampled_from(
        [
            *("SIZE -1", "SIZE x", "SIZE 99999999999999999999999", "SIZE 1 2", "AUTH", "AUTH=", "LIMITS =", "XFOO"),
            *("LIMITS RCPTMAX=0", "", " ", "pipelining", "-", "DELIVERBY x", "\u00fc", "X" * 500),
        ]
    )
    lines = st.lists(known | nonsense, max_size=6).flatmap(lambda others: st.permutations([*keywords, *others]))
    return lines.map(lambda lines: Reply(250, "\n".join([hostname, *lines])))


# -- addresses and commands -------------------------------------------------------------------------------------------


def domains() -> st.SearchStrategy[str]:
    """Domains and address literals (RFC 5321 4.1.2), as EHLO and addresses have them; ASCII."""
    label = st.text(_LETTERS, min_size=1, max_size=8)
    names = st.lists(label, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "example"]))
    return names | st.sampled_from(["example.org", "xn--bcher-kva.example", "[192.0.2.1]", "[IPv6:2001:db8::1]"])


def addresses(*, utf8: bool = False) -> st.SearchStrategy[str]:
    """Mailboxes as they stand between < and > (RFC 5321 4.1.2), quoted local parts included; with `utf8` beyond ASCII
    as well, which needs SMTPUTF8 (RFC 6531)."""
    atom = st.text(_ATEXT + ("\u00fc\u00df\u6f22" if utf8 else ""), min_size=1, max_size=8)
    dotted = st.lists(atom, min_size=1, max_size=3).map(".".join)
    quoted = st.text(_ATEXT + ' .,:;<>()[]@"\\', max_size=8).map(
        lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )
    host = domains() | st.sampled_from(["b\u00fccher.example"]) if utf8 else domains()
    return st.builds(lambda local, domain: f"{local}@{domain}", dotted | quoted, host)


def malformed_addresses() -> st.SearchStrategy[str]:
    """Texts that must not reach the wire as an address: they would end the path, or the line, and begin something else.

    Line ends, NULs and other controls, lone surrogates, white space, angle brackets and quotation marks.
    """
    bad = st.sampled_from(
        [
            *("\r\n", "\n", "\r", "\0", "\t", "\x7f", "\x1b", "\ud800", " ", "<", ">", '"', "> NOTIFY=NEVER", "\u2003"),
            *(">,<c@example.org", "\r\nDATA\r\n", "> SIZE=1\r\nRCPT TO:<evil@example.org"),
        ]
    )
    domain = st.sampled_from(["example.org", "[192.0.2.1]"])
    behind = st.builds(lambda domain, bad: f"a@{domain}{bad}", domain, bad)
    inside = st.builds(lambda bad, domain: f"a{bad}b@{domain}", bad, domain)
    controls = st.builds(lambda bad: f'"a{bad}b"@example.org', st.sampled_from(["\r\n", "\n", "\0", "\x7f", "\ud800"]))
    return behind | inside | controls


def commands(*, lmtp: bool = False) -> st.SearchStrategy[Command]:
    """Commands that a client may send (RFC 5321, LMTP's RFC 2033 with `lmtp`), whatever their order; ``command.line``
    gives the octets.  The octets of a BDAT are not part of it."""
    paths = addresses()
    sizes = st.integers(0, 10**9).map("SIZE={}".format)
    mail_options = st.lists(sizes | st.sampled_from(["BODY=8BITMIME", "RET=HDRS", "ENVID=a+2Bb"]), max_size=3)
    mails = st.builds(Mail, paths | st.just(""), mail_options.map(_each_once))
    rcpt_options = st.sampled_from([(), ("NOTIFY=NEVER",), ("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;a+2Bb@example.org")])
    texts = st.text(_LETTERS + " -", max_size=12).map(str.strip)
    words = st.text(_LETTERS, min_size=1, max_size=12)
    hellos = st.builds(Lhlo, domains()) if lmtp else st.builds(Ehlo, domains()) | st.builds(Helo, domains())
    responses = st.binary(max_size=30)
    return st.one_of(
        hellos,
        mails,
        st.builds(Rcpt, paths, rcpt_options),
        st.sampled_from([Data(), Rset(), Quit(), StartTLS()]),
        st.builds(Bdat, st.integers(0, 10**6), st.booleans()),
        st.builds(Noop, texts) | st.builds(Help, texts) | st.builds(Vrfy, words) | st.builds(Expn, words),
        st.builds(Auth, st.sampled_from(["PLAIN", "LOGIN", "SCRAM-SHA-256"]), st.none() | responses),
        st.builds(AuthResponse, st.none() | responses),
    )


def _each_once(options: list[str]) -> list[str]:
    """Of the options with the same keyword only the first."""
    first: dict[str, str] = {}
    for option in options:
        first.setdefault(option.partition("=")[0], option)
    return list(first.values())


def malformed_commands() -> st.SearchStrategy[bytes]:
    """Lines, with their ends, that begin like commands and are none: a server that acts on one can be deceived."""
    bad_paths = st.sampled_from([b"a@example.org", b"<a@example.org", b"<a b@example.org>", b"<a@b>,<c@d>", b"<<a@b>>"])
    paths = st.builds(lambda verb, path: verb + path, st.sampled_from([b"MAIL FROM:", b"RCPT TO:"]), bad_paths)
    others = st.sampled_from(
        [
            *(b"MAIL", b"MAIL FROM", b"RCPT TO:<>", b"MAIL FROM:<a@b> =", b"EHLO", b"DATA now", b"QUIT now", b"VRFY"),
            *(b"BDAT", b"BDAT -1", b"BDAT x LAST", b"BDAT 5 FIRST", b"BDAT 999999999999999999999", b"AUTH PLAIN !"),
            *(b"STARTTLS now", b"NOOP \x00", b"NOOP \x7f", b"NOOP \xff", b"RSET\t\rQUIT", "BDAT \u0665".encode()),
        ]
    )
    return (paths | others).map(lambda line: line + b"\r\n")


# -- messages ---------------------------------------------------------------------------------------------------------

#: What the messages of SMTP smuggling are made of: line ends that only some receivers take for one, and dots behind.
_PIECES = (
    *(b"\r", b"\n", b"\r\n", b".", b"..", b"\r\n.", b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\r\n"),
    *(b"text", b"\xff", b"MAIL FROM:<evil@example.org>", b"quit", b"Subject: x", b"\r\n\r\n", b"From: a@example.org"),
)


def bodies(*, nul: bool = False) -> st.SearchStrategy[bytes]:
    """Messages as callers give them: any octets, any line ends, and what SMTP smuggling was done with.

    With `nul` there may be NULs as well, which a message cannot have unless it is BINARYMIME (RFC 3030).
    """
    pieces = st.sampled_from(_PIECES) | st.binary(max_size=6)
    if nul:
        pieces |= st.just(b"\0")
    messages = st.lists(pieces, max_size=12).map(b"".join)
    return messages if nul else messages.map(lambda message: message.replace(b"\0", b""))


# -- conversations ----------------------------------------------------------------------------------------------------


class Conversation(NamedTuple):
    """What a server says in one connection.

    `replies`: the greeting first, then one for each command; of a hostile one, those before it goes wrong.  `pieces`:
    the octets as the network delivers them, which may join replies and cut them anywhere.
    """

    replies: tuple[Reply, ...]
    pieces: tuple[bytes, ...]

    @property
    def octets(self) -> bytes:
        """All of it in one piece."""
        return b"".join(self.pieces)


def conversations(
    verbs: Sequence[str] = ("EHLO", "MAIL", "RCPT", "DATA", "end of data", "QUIT"),
    *,
    keywords: Sequence[str] = ("PIPELINING",),
) -> st.SearchStrategy[Conversation]:
    """What an honest server says: its greeting, and an answer to each of these commands, accepting or refusing.

    Each answer is one that the command can have; whether the next command makes sense behind it is for the client.
    """
    answers = {
        "greeting": replies(codes("2")),
        "EHLO": ehlo_replies(*keywords),
        "LHLO": ehlo_replies(*keywords),
        "DATA": replies(codes("3") | codes("45")),
        "AUTH": replies(codes("2") | st.just(334) | codes("45")),
    }
    said = st.tuples(*(answers.get(verb, replies(codes("245"))) for verb in ("greeting", *verbs)))
    return said.flatmap(_cut)


def hostile_conversations() -> st.SearchStrategy[Conversation]:
    """A conversation that goes wrong: cut off inside a reply, a malformed reply, replies out of turn, or a 421.

    What a client may do then: raise, and use the connection for nothing more.  What it must not do: hang, or take what
    is wrong for the answer to another command.
    """
    unasked = replies(codes("2345")).map(Reply.encode)
    closing = st.just(b"421 4.3.2 closing\r\n")
    cut_off = st.sampled_from([b"", b"2", b"250", b"250-", b"250-ok\r\n", b"250 ok", b"250 ok\r"])
    wrong = malformed_replies() | unasked | closing | cut_off

    def spoil(honest: Conversation, kept: int, wrong: bytes) -> st.SearchStrategy[Conversation]:
        before = honest.replies[: kept % (len(honest.replies) + 1)]
        octets = b"".join(map(Reply.encode, before)) + wrong
        return splits(octets).map(lambda pieces: Conversation(before, tuple(filter(None, pieces))))

    return st.tuples(conversations(), st.integers(0, 6), wrong).flatmap(lambda drawn: spoil(*drawn))


def _cut(said: tuple[Reply, ...]) -> st.SearchStrategy[Conversation]:
    octets = b"".join(map(Reply.encode, said))
    return splits(octets).map(lambda pieces: Conversation(said, tuple(filter(None, pieces))))
