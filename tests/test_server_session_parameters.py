"""The server's side of parameters and limits: what is offered is taken and handed on typed, and nothing else is."""

from __future__ import annotations

import pytest

from smtp_proto.commands import Mail, Rcpt
from smtp_proto.parameters import By, HoldFor, MtPriority, Notify, ORcpt, Ret, Size
from smtp_proto.server_session import Settings

from .serving import EHLO, Deciding, Served

OFFER = (
    "DSN",
    "DELIVERBY 60",
    "FUTURERELEASE 3600 2027-01-01T00:00:00Z",
    "MT-PRIORITY MIXER",
    "NO-SOLICITING net.example:ADV",
    "REQUIRETLS",
    "RRVS",
    "BINARYMIME",
)


def served(*lines: str, offer: tuple[str, ...] = OFFER, tls: bool = False, mechanisms: tuple[str, ...] = ()) -> Served:
    settings = Settings(hostname="mx.test", offer=offer, mechanisms=mechanisms, cleartext_auth=True)
    return Served(EHLO, "".join(f"{line}\r\n" for line in lines).encode(), settings=settings, tls=tls)


MAIL = "MAIL FROM:<a@client.test>"
RCPT = "RCPT TO:<b@mx.test>"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("RET=HDRS ENVID=QQ314159", 250),
        ("RET=NONE", 501),
        ("BY=60;R", 250),
        ("BY=59;R", 501),
        ("BY=0;R", 501),
        ("HOLDFOR=3600", 250),
        ("HOLDFOR=3601", 501),
        ("HOLDUNTIL=2026-12-31T00:00:00Z", 250),
        ("HOLDUNTIL=2027-01-02T00:00:00Z", 501),
        ("HOLDFOR=1 HOLDUNTIL=2026-12-31T00:00:00Z", 501),
        ("HOLDFOR=1 HOLDFOR=1", 501),
        ("MT-PRIORITY=9", 250),
        ("MT-PRIORITY=10", 501),
        ("SOLICIT=org.example:ADV", 250),
        ("SOLICIT=net.example:ADV", 501),
        ("REQUIRETLS", 555),  # not offered without TLS
        ("BODY=BINARYMIME", 250),
        ("XVERP=-=", 555),
        ("PIPELINING", 555),
        ("NOTIFY=NEVER", 555),  # of RCPT
        ("AUTH=<>", 250),
    ],
)
def test_parameters_of_mail(parameters: str, code: int) -> None:
    """What EHLO offered is taken within its bounds; 501 for a wrong value, 555 for what was not offered."""
    assert served(f"{MAIL} {parameters}", mechanisms=("PLAIN",)).codes == [250, code]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@mx.test", 250),
        ("NOTIFY=NEVER,DELAY", 501),
        ("NOTIFY=NEVER NOTIFY=NEVER", 501),
        ("ORCPT=b@mx.test", 501),
        ("RRVS=2014-04-03T23:01:00Z", 250),
        ("RRVS=yesterday", 501),
        ("RET=HDRS", 555),
        ("SIZE=5", 555),
    ],
)
def test_parameters_of_rcpt(parameters: str, code: int) -> None:
    """As for MAIL."""
    assert served(MAIL, f"{RCPT} {parameters}").codes == [250, 250, code]
    assert served(MAIL, f"{RCPT} {parameters}", offer=()).codes[2] in {501, 555}


def test_requiretls_is_offered_over_tls_only() -> None:
    """RFC 8689 2: without TLS the keyword is not in the list, and the parameter not known."""
    assert "REQUIRETLS" in served(tls=True).replies[0].text.split("\n")
    assert "REQUIRETLS" not in served().replies[0].text
    assert served(f"{MAIL} REQUIRETLS", tls=True).codes == [250, 250]


def test_without_ehlo_there_are_no_parameters() -> None:
    """RFC 5321 4.1.1.1: HELO offers nothing, and takes back what an EHLO before it offered."""
    session = Served(EHLO, f"HELO x\r\n{MAIL} SIZE=1\r\n{MAIL}\r\n{RCPT} NOTIFY=NEVER\r\n".encode())
    assert session.codes == [250, 250, 555, 250, 555]


def test_what_a_handler_says_to_ehlo_is_the_offer() -> None:
    """An application that answers EHLO itself is taken at its word."""
    from smtp_proto.replies import Reply

    handler = Deciding(helo=Reply(250, "mx.test\nDSN"))
    heard = Served(EHLO, f"{MAIL} SIZE=1\r\n{MAIL} RET=FULL\r\n".encode(), handler=handler)
    assert heard.codes == [250, 555, 250]


def test_the_handler_gets_them_typed() -> None:
    """A handler reads values, not text."""
    commands: list[Mail | Rcpt] = []
    handler = Deciding(mail=commands.append, rcpt=commands.append)
    lines = (
        f"{MAIL} SIZE=5 ret=hdrs BY=120;R HOLDFOR=5 MT-PRIORITY=-3\r\n{RCPT} notify=delay ORCPT=rfc822;B@mx.test\r\n"
    )
    heard = Served(EHLO, lines.encode(), handler=handler, settings=Settings(offer=OFFER))
    assert heard.codes == [250, 250, 250]
    mail, rcpt = commands
    assert mail.get(Size) == "SIZE=5"
    ret, by, hold, priority = mail.get(Ret), mail.get(By), mail.get(HoldFor), mail.get(MtPriority)
    assert ret is not None and ret.what == "HDRS"  # noqa: PT018  # one statement for the type checker
    assert by is not None and (by.seconds, by.mode) == (120, "R")  # noqa: PT018
    assert hold is not None and hold.seconds == 5  # noqa: PT018
    assert priority is not None and priority.priority == -3  # noqa: PT018
    notify, original = rcpt.get(Notify), rcpt.get(ORcpt)
    assert notify is not None and notify.conditions == ("DELAY",)  # noqa: PT018
    assert original is not None and original.address == "B@mx.test"  # noqa: PT018
    assert rcpt.get(Size) is None


def test_binary_messages() -> None:
    """RFC 3030 3: with BINARYMIME every octet stays as it is, and DATA is no way to send it."""
    octets = b"\0\r\n.\n\r\xff"
    script = f"{MAIL} BODY=BINARYMIME\r\n{RCPT}\r\nDATA\r\nBDAT {len(octets)} LAST\r\n".encode() + octets
    handler = Deciding()
    heard = Served(EHLO, script, handler=handler, settings=Settings(offer=OFFER))
    assert heard.codes == [250, 250, 250, 503, 250]
    assert handler.messages[0].content == octets


# -- LIMITS -----------------------------------------------------------------------------------------------------------


def test_limits_on_recipients_and_their_domains() -> None:
    """RFC 9422: what EHLO lists is kept: 452 for one recipient or one domain too many, and the others stand."""
    offer = ("LIMITS RCPTMAX=3 RCPTDOMAINMAX=2",)
    recipients = [f"RCPT TO:<{address}>" for address in ("a@x.test", "b@y.test", "c@Z.test", "d@X.TEST", "e@y.test")]
    assert served(MAIL, *recipients, offer=offer).codes == [250, 250, 250, 250, 452, 250, 452]
    twice = [MAIL, *recipients[:2], "RSET", MAIL, *recipients[2:4]]
    assert served(*twice, offer=offer).codes == [250] * 8


def test_limits_on_transactions() -> None:
    """MAILMAX counts the transactions of the whole session, also those that were reset."""
    lines = [MAIL, "RSET", MAIL, "RSET", MAIL]
    assert served(*lines, offer=("LIMITS MAILMAX=2",)).codes == [250, 250, 250, 250, 250, 452]
