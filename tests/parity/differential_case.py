"""Two steps that differ, as the lists of `differential_allowed` see them, and the normalisers: what makes such steps
alike where only their form differs.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .differential_generate import Conversation
from .differential_run import Raised, Step
from .differential_server import Exchange

DELIVERIES: Final = ("sendmail", "send_message")


class Case(NamedTuple):
    """Two steps that differ, and the conversation that they are in."""

    conversation: Conversation
    theirs: list[Step]
    ours: list[Step]
    number: int  # of the step

    @property
    def their(self) -> Step:
        return self.theirs[self.number]

    @property
    def our(self) -> Step:
        return self.ours[self.number]

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


def letter_case(case: Case) -> tuple[Step, Step]:
    def lowered(exchange: Exchange) -> Exchange:
        request = re.sub(rb"\A(mail FROM|rcpt TO):", lambda match: match[0].lower(), exchange.request)
        return exchange._replace(request=request)

    result = case.their.result
    if isinstance(result, Raised):  # the line may be in the text of a ValueError
        text = re.sub(r"\b(mail FROM|rcpt TO):", lambda match: match[0].lower(), result.text)
        result = result._replace(
            text=text, arguments=(text,) if result.arguments == (result.text,) else result.arguments
        )
    return case.their._replace(exchanges=tuple(map(lowered, case.their.exchanges)), result=result), case.our


def text_of_disconnected(case: Case) -> tuple[Step, Step]:
    their, our = case.their.result, case.our.result
    name = "SMTPServerDisconnected"
    if isinstance(their, Raised) and isinstance(our, Raised) and their.name == our.name == name:
        return (
            case.their._replace(result=their._replace(text="", arguments=())),
            case.our._replace(result=our._replace(text="", arguments=())),
        )
    return case.their, case.our


def bytes_message(case: Case) -> tuple[Step, Step]:
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


def size_of_bytes(case: Case) -> tuple[Step, Step]:
    call = case.our.call
    message = call.arguments[2] if call.name == "sendmail" else None
    if not isinstance(message, bytes):
        return case.their, case.our
    sizes = len(message), len(re.sub(rb"\r\n|\r|\n", b"\r\n", message))
    counted, sent = (b" size=%d" % size for size in sizes)

    def rewritten(exchange: Exchange) -> Exchange:
        again = exchange.kind == "MAIL"
        return exchange._replace(request=exchange.request.replace(counted, sent, 1)) if again else exchange

    return case.their._replace(exchanges=tuple(map(rewritten, case.their.exchanges))), case.our


def reset_after_data(case: Case) -> tuple[Step, Step]:
    theirs, ours = case.their.exchanges, case.our.exchanges
    extra = ours[len(theirs) :]
    if (
        case.raised("SMTPDataError")
        and theirs
        and theirs[-1:] == ours[len(theirs) - 1 : len(theirs)]
        and theirs[-1].kind == "DATA"
        and [exchange.kind for exchange in extra] == ["RSET"]
        and case.our.connected
        and not extra[0].said.hang_up
    ):
        return case.their, case.our._replace(exchanges=ours[: len(theirs)])
    return case.their, case.our


def empty_initial_response(case: Case) -> tuple[Step, Step]:
    def written(exchange: Exchange) -> Exchange:
        nothing = exchange.kind == "AUTH" and exchange.request.endswith(b" \r\n")
        return exchange._replace(request=exchange.request[:-2] + b"=\r\n") if nothing else exchange

    return case.their._replace(exchanges=tuple(map(written, case.their.exchanges))), case.our


def eight_bits(case: Case) -> tuple[Step, Step]:
    """`smtp_blocking` announces a message of eight bits, where the server takes one and the caller did not."""
    asked = case.our.call.arguments[3] if case.our.call.name in DELIVERIES else ()
    if case.our.call.name not in DELIVERIES or any("BODY=" in option for option in asked):
        return case.their, case.our

    def silent(exchange: Exchange) -> Exchange:
        said = exchange.kind == "MAIL"
        return exchange._replace(request=exchange.request.replace(b" BODY=8BITMIME", b"")) if said else exchange

    return case.their, case.our._replace(exchanges=tuple(map(silent, case.our.exchanges)))


def empty_options(case: Case) -> tuple[Step, Step]:
    if case.our.call.name not in DELIVERIES or "" not in [*case.our.call.arguments[3], *case.our.call.arguments[4]]:
        return case.their, case.our

    def single(exchange: Exchange) -> Exchange:
        if exchange.kind not in ("MAIL", "RCPT"):
            return exchange
        return exchange._replace(request=re.sub(rb" +(?=[ \r])", b"", exchange.request))

    return case.their._replace(exchanges=tuple(map(single, case.their.exchanges))), case.our
