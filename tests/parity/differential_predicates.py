"""What explains that two steps differ: a predicate for each of the differences in `differential_allowed`.

A predicate looks at what went before the difference (the call, what the server said) and at what `smtp_blocking` has
made of it, so that another fault behind the same cause is still found.
"""

from __future__ import annotations

import re
from typing import Any, Final

from .differential_case import DELIVERIES, Case
from .differential_generate import Letter
from .differential_run import Raised
from .differential_server import Exchange, Say

# -- replies that are none --------------------------------------------------------------------------------------------

_LINE = re.compile(rb"(\d{3})(?:([ -])[^\n]*)?\r?\n", re.ASCII)


def replies(said: Say) -> int | None:
    """How many whole replies these octets are; None if they are anything else."""
    count, code, rest = 0, b"", said.octets
    if any(len(line) > 8192 for line in rest.splitlines(keepends=True)):
        return None
    while rest:
        match = _LINE.match(rest)
        if match is None or (code and match[1] != code):
            return None
        code = match[1] if match[2] == b"-" else b""
        count += not code
        rest = rest[match.end() :]
    return None if code else count


def malformed(case: Case) -> bool:
    said = case.last.said if case.last is not None else Say(b"")
    complete = said.octets.endswith(b"\n")
    return complete and replies(said) is None and not case.our.connected and case.raised("SMTPException")


def cut(case: Case) -> bool:
    said = case.last.said if case.last is not None else Say(b"\n")
    return not said.octets.endswith(b"\n") and not case.our.connected and case.raised("SMTPServerDisconnected")


def unasked(case: Case) -> bool:
    before = [exchange for step in case.ours[: case.number + 1] for exchange in step.exchanges]
    several = any((replies(exchange.said) or 0) > 1 for exchange in before)
    return several and not case.our.connected


def too_long(case: Case) -> bool:
    last = case.last
    return last is not None and last.said.octets.count(b"\n") > 2048 and not case.our.connected


# -- codes ------------------------------------------------------------------------------------------------------------

# What smtplib takes for success, by kind of line; here other codes of the same severity are that too.
_LISTED: Final = {
    "MAIL": (250,),
    "RCPT": (250, 251),
    "DATA": (354,),
    ".": (250,),
    "AUTH": (334,),
    "response": (334,),
    "STARTTLS": (220,),
}


def other_success(case: Case) -> bool:
    others = ("login", "auth", "transaction", "data", "docmd", "written", "starttls")
    if case.our.call.name not in (*DELIVERIES, *others):
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


def impossible_answer(case: Case) -> bool:
    last = case.last
    if last is None or case.our.connected:
        return False
    # RFC 2033 4.2: in LMTP there can be no message without a recipient.
    accepted = False
    for exchange in (exchange for step in case.ours[: case.number + 1] for exchange in step.exchanges):
        if exchange.kind in ("greeting", "LHLO", "EHLO", "HELO", "MAIL", "RSET", ".") or (
            exchange.kind == "DATA" and exchange.said.code != 354
        ):
            accepted = False
        accepted = accepted or (exchange.kind == "RCPT" and exchange.said.code // 100 == 2)
    return impossible(last) or (case.conversation.lmtp and last.kind == "DATA" and not accepted)


def goodbye(case: Case) -> bool:
    return case.last is not None and case.last.said.code == 421 and not case.our.connected


# -- calls ------------------------------------------------------------------------------------------------------------


def stops(case: Case) -> bool:
    codes = [exchange.said.code for exchange in case.our.exchanges]
    stopped = case.our.call.name == "login" and codes[-1:] in ([535], [454], [421])
    tried = len(case.their.exchanges) > len(codes) or (stopped and case.our.exchanges[-1].said.hang_up)
    return stopped and case.raised("SMTPAuthenticationError") and tried


def getreply_unconnected(case: Case) -> bool:
    their = case.their.result
    return isinstance(their, Raised) and "makefile" in their.text and case.raised("SMTPServerDisconnected")


def unread(case: Case) -> bool:
    result = case.our.result
    if any(step.call.name == "putcmd" and step.exchanges for step in case.ours[: case.number]):
        return True  # each of the two is at a reply of its own
    return isinstance(result, Raised) and result.name == "SMTPException" and "getreply() first" in result.text


def forgets(case: Case) -> bool:
    names = {"ehlo_resp", "helo_resp", "esmtp_features", "does_esmtp"}
    different = {name for name, value in case.their.attributes.items() if case.our.attributes[name] != value}
    return case.our.call.name == "connect" and different <= names and case.our.result == case.their.result


def addresses(case: Case) -> bool:
    return "has white space" in case.refused


def control(case: Case) -> bool:
    return "prohibited control character" in case.refused or (
        "is not one word" in case.refused and re.search(r"\\[rnt]", case.refused) is not None
    )


def nul(case: Case) -> bool:
    return "a NUL in the text" in case.refused


def utf8_address(case: Case) -> bool:
    # smtplib finds out when it comes to that address, unless something else has ended the transaction before.
    sent = len(case.our.exchanges)
    earlier = case.our.exchanges == case.their.exchanges[:sent]
    return case.raised("UnicodeEncodeError") and isinstance(case.their.result, Raised) and earlier


def internationalised(case: Case) -> bool:
    # smtplib gives up, or asks for SMTPUTF8; here the domain goes as A-labels, all of it with SMTPUTF8 where nothing
    # else helps, and a display name, which is not sent, needs nothing.
    ours, theirs = (b"".join(exchange.request for exchange in step.exchanges) for step in (case.our, case.their))
    result = case.their.result
    gave_up = isinstance(result, Raised) and (result.name == "UnicodeEncodeError" or "SMTPUTF8" in result.text)
    went_on = b"mail from:" in ours or case.raised("SMTPNotSupportedError")
    # With SMTPUTF8 it always announces eight bits, also where there are none, and where the server takes none.
    announced = (b" SMTPUTF8", b" SMTPUTF8 BODY=8BITMIME")
    return (gave_up and went_on) or any((said in ours) != (said in theirs) for said in announced)


def reencoded(case: Case) -> bool:
    sent = [
        [exchange.request for exchange in step.exchanges if exchange.kind == "."] for step in (case.their, case.our)
    ]
    return sent[0] != sent[1] and b"Content-Transfer-Encoding: quoted-printable" in b"".join(sent[1])


def header_address(case: Case) -> bool:
    letter = _letter(case)
    if letter is None or (case.their.wire == case.our.wire and case.their.result == case.our.result):
        return False
    names = {prefix + name for prefix in ("", "resent-") for name in ("from", "sender", "reply-to", "to", "cc")}
    return any(name.lower() in names and not value.isascii() for name, value in letter.headers)


def quit_refused(case: Case) -> bool:
    return (
        case.our.call.name == "with"
        and isinstance(case.their.result, Raised)
        and case.their.result.name == "SMTPResponseException"
        and case.our.exchanges[-1:] == case.their.exchanges[-1:]
    )


def _letter(case: Case) -> Letter | None:
    first: Any = case.our.call.arguments[:1]
    return first[0] if case.our.call.name == "send_message" else None


def all_headers(case: Case) -> bool:
    letter = _letter(case)
    names = [name for name, _ in letter.headers] if letter is not None else []
    different = case.their.wire != case.our.wire or case.raised("SMTPNotSupportedError")
    return different and any(names.count(name) > 1 for name in ("To", "Cc", "Bcc", "Resent-To", "Sender", "From"))


def from_lines(case: Case) -> bool:
    letter = _letter(case)
    different = case.their.wire != case.our.wire
    return letter is not None and different and re.search("^From ", letter.body, re.MULTILINE) is not None


def refused_twice(case: Case) -> bool:
    result = case.our.result
    if not isinstance(result, Raised) or result.name != "SMTPRecipientsRefused":
        return False
    return len(result.attributes["recipients"]) < [exchange.kind for exchange in case.our.exchanges].count("RCPT")


def two_mistakes(case: Case) -> bool:
    if case.number and (case.theirs[case.number - 1].connected or case.ours[case.number - 1].connected):
        return False
    their, our = case.their.result, case.our.result
    if not isinstance(their, Raised) or not isinstance(our, Raised) or case.our.exchanges or case.their.exchanges:
        return False
    none, others = "SMTPServerDisconnected", {"ValueError", "SMTPNotSupportedError"}
    return (their.name == none and bool(others & set(our.classes))) or (
        our.name == none and bool(others & set(their.classes))
    )


def reset_failed(case: Case) -> bool:
    last = case.last
    if last is None or case.our.call.name not in DELIVERIES:
        return False
    if last.said.hang_up:  # which is noticed now or later
        return last.kind in ("RSET", "DATA")
    return last.kind == "RSET" and not case.our.connected and (last.said.code // 100 != 2 or replies(last.said) != 1)


def cancelled(case: Case) -> bool:
    last = case.last
    hung_up = last is not None and last.kind in ("AUTH", "response") and last.said.code == 334 and last.said.hang_up
    return hung_up or any(exchange.request == b"*\r\n" for exchange in case.our.exchanges)


def mechanism(case: Case) -> bool:
    return "not the name of a SASL mechanism" in case.refused


def offered(case: Case) -> bool:
    if case.our.call.name != "login":
        return False
    known = ("PLAIN", "LOGIN", "CRAM-MD5")
    offered = case.their.attributes["esmtp_features"].get("auth", "").split()
    return any(word.upper() in known and word not in known for word in offered)


def compat32(case: Case) -> bool:
    their, letter = case.their.result, _letter(case)
    wrong = isinstance(their, Raised) and their.text == "'utf8' is an invalid keyword argument for Compat32"
    return wrong and letter is not None and letter.policy == "compat32"


def no_sender(case: Case) -> bool:
    return case.our.call.name == "send_message" and case.refused.startswith("no sender: ")


def after_quit(case: Case) -> bool:
    before = [exchange for step in case.ours[: case.number] for exchange in step.exchanges]
    said_quit = bool(before) and before[-1].kind == "QUIT" and before[-1].said.code // 100 == 2
    return said_quit and (case.raised("SMTPServerDisconnected") or case.our.call.name == "with")


def challenges(case: Case) -> bool:
    their = case.their.result
    return isinstance(their, Raised) and "AUTH mechanism infinite loop" in their.text


def asked_again(case: Case) -> bool:
    return isinstance(case.our.result, Raised) and "has nothing more to say" in case.our.result.text


def nul_in_credentials(case: Case) -> bool:
    return "a NUL cannot be sent" in case.refused


def utf8_credentials(case: Case) -> bool:
    their, call = case.their.result, case.our.call
    text = "".join(call.arguments[:2]) if call.name == "login" else ""
    return not text.isascii() and isinstance(their, Raised) and their.name == "UnicodeEncodeError"


def encoding_sticks(case: Case) -> bool:
    encodings = case.their.attributes["command_encoding"], case.our.attributes["command_encoding"]
    return case.our.call.name in DELIVERIES and encodings == ("utf-8", "ascii")


def lmtp_helo(case: Case) -> bool:
    theirs, ours = case.their.exchanges, case.our.exchanges
    more = [exchange.kind for exchange in theirs[len(ours) :]]
    tried = more[:1] == ["HELO"] or (bool(ours) and ours[-1].said.hang_up)
    return case.raised("SMTPHeloError") and ours[-1].kind == "LHLO" and tried


# -- faults -----------------------------------------------------------------------------------------------------------


def features(case: Case) -> bool:
    names = [name for name, value in case.their.attributes.items() if case.our.attributes[name] != value]
    # A log-in may not come to the same mechanism then.
    follows = {"esmtp_features", "user", "password"} if case.our.call.name == "login" else {"esmtp_features"}
    listed = any(exchange.kind in ("EHLO", "LHLO") for exchange in case.our.exchanges)
    return "esmtp_features" in names and set(names) <= follows and listed


def size_of_nothing(case: Case) -> bool:
    their, our = case.their.wire, case.our.wire
    return (
        case.our.call.name == "sendmail"
        and not case.our.call.arguments[2]
        and b" size=2" in our
        and b" size=0" in their
    )


def larger_than_size(case: Case) -> bool:
    result = case.our.result
    in_ours = isinstance(result, Raised) and result.attributes.get("smtp_code") == 552 and "RFC 1870" in result.text
    return in_ours and case.our.call.name in DELIVERIES and case.our.connected


def encoding_after_refusal(case: Case) -> bool:
    encodings = case.their.attributes["command_encoding"], case.our.attributes["command_encoding"]
    return case.our.call.name in DELIVERIES and encodings == ("ascii", "utf-8") and case.raised("SMTPException")


def two_resent_blocks(case: Case) -> bool:
    their = case.their.result
    return isinstance(their, Raised) and "more than one 'Resent-' header block" in their.text


def utf8_option(case: Case) -> bool:
    if case.our.call.name not in DELIVERIES or case.our.attributes["does_esmtp"]:
        return False
    return case.raised("UnicodeEncodeError") and not "".join(case.our.call.arguments[4]).isascii()


def too_long_in_delivery(case: Case) -> bool:
    their = case.their.result
    long = isinstance(their, Raised) and their.text == "(500, 'Line too long.')"
    return case.our.call.name in DELIVERIES and long and case.raised("SMTPServerDisconnected")


def assertion(case: Case) -> bool:
    return isinstance(case.our.result, Raised) and case.our.result.name == "AssertionError"


def surrogate(case: Case) -> bool:
    their = case.their.result
    return isinstance(their, Raised) and "a lone surrogate in" in case.refused


def masked(case: Case) -> bool:
    return case.raised("ValueError") and isinstance(case.our.result, Raised) and case.our.result.text.endswith(": ***")
