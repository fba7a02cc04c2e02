"""The server's side of a message: sizes, parameters, UTF-8, chunks (RFC 3030), and LMTP's answers (RFC 2033)."""

from __future__ import annotations

import pytest

from smtp_proto.errors import LocalProtocolError
from smtp_proto.replies import Reply
from smtp_proto.server_session import Settings

from .serving import DATA, EHLO, LHLO, MAIL, QUIT, RCPT, Deciding, Served

SMALL = Settings(hostname="mx.test", max_size=100)
TOO_BIG = Reply(552, "5.3.4 The message is larger than 100 octets")

# -- parameters of MAIL and RCPT --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        (b"", 250),
        (b" SIZE=100", 250),
        (b" SIZE=101", 552),
        (b" SIZE=99999999999999999999", 552),
        (b" SIZE=999999999999999999999", 501),
        (b" SIZE=", 501),
        (b" SIZE", 501),
        (b" SIZE=-1", 501),
        (b" SIZE=1x", 501),
        (" SIZE=\u0661".encode(), 501),
        (b" BODY=7BIT", 250),
        (b" body=8bitmime", 250),
        (b" BODY=BINARYMIME", 555),
        (b" BODY=9BIT", 501),
        (b" BODY", 501),
        (b" SMTPUTF8", 250),
        (b" AUTH=<>", 555),
        (b" SIZE=5 BODY=8BITMIME SMTPUTF8", 250),
        (b" RET=HDRS", 555),
        (b" SIZE=5 XYZZY", 555),
    ],
)
def test_parameters_of_mail(parameters: bytes, code: int) -> None:
    """RFC 5321 4.1.1.11: a parameter that is not offered is a 555, a value that is none a 501; nobody is asked then."""
    handler = Deciding()
    served = Served(EHLO + b"MAIL FROM:<a@client.test>" + parameters + b"\r\n", settings=SMALL, handler=handler)
    assert served.codes == [250, code]
    assert ("mail" in handler.asked) is (code == 250)


def test_no_bound_on_the_size() -> None:
    """With `max_size=0` any size may be declared, and comes."""
    handler = Deciding()
    served = Served(
        EHLO + b"MAIL FROM:<a@client.test> SIZE=99999999999999999999\r\n" + RCPT + DATA + b"x" * 5000 + b"\r\n.\r\n",
        settings=Settings(max_size=0),
        handler=handler,
    )
    assert served.codes == [250, 250, 250, 354, 250]
    assert len(handler.messages[0].content) == 5002


def test_parameters_need_ehlo() -> None:
    """Behind HELO nothing was offered, so no parameter is known."""
    served = Served(b"HELO client.test\r\nMAIL FROM:<a@client.test> SIZE=5\r\n" + MAIL)
    assert served.codes == [250, 555, 250]
    polite = Deciding(helo=Reply(250, "pleased to meet you"))
    served = Served(b"HELO client.test\r\nMAIL FROM:<a@client.test> SIZE=5\r\n" + MAIL, handler=polite)
    assert served.codes == [250, 555, 250]


def test_parameters_of_rcpt() -> None:
    """RCPT has no parameter here."""
    served = Served(EHLO + MAIL + b"RCPT TO:<b@mx.test> NOTIFY=NEVER\r\n")
    assert served.replies[-1] == Reply(555, "5.5.4 NOTIFY is not recognised")


@pytest.mark.parametrize(
    ("mail", "rcpt", "codes"),
    [
        ("a@client.test> SMTPUTF8", "s\u00f8ren@mx.test>", [250, 250]),
        ("s\u00f8ren@client.test> SMTPUTF8", "b@mx.test>", [250, 250]),
        ("s\u00f8ren@client.test>", "b@mx.test>", [553, 503]),
        ("a@client.test>", "s\u00f8ren@mx.test>", [250, 553]),
    ],
)
def test_addresses_that_are_not_ascii(mail: str, rcpt: str, codes: list[int]) -> None:
    """RFC 6531 3.4: such an address needs SMTPUTF8 with the MAIL of its transaction."""
    octets = f"MAIL FROM:<{mail}\r\nRCPT TO:<{rcpt}\r\n".encode()
    assert Served(EHLO + octets).codes == [250, *codes]


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("segments", [1, 20])
def test_a_message_that_grows_too_big(segments: int) -> None:
    """More than `max_size` octets are read past, refused at their end, and never held."""
    handler = Deciding()
    lines = [b"x" * 48 + b"\r\n"] * 20
    parts = [b"".join(lines)] if segments == 1 else lines
    served = Served(
        EHLO + MAIL + RCPT + DATA,
        *parts,
        b".\r\n" + MAIL + RCPT + DATA + b"y\r\n.\r\n",
        settings=SMALL,
        handler=handler,
    )
    assert served.replies[4] == TOO_BIG
    assert served.codes == [250, 250, 250, 354, 552, 250, 250, 354, 250]
    assert [message.content for message in handler.messages] == [b"y\r\n"]


def test_a_message_of_just_the_size() -> None:
    """The bound is the largest size that is taken."""
    for octets, code in ((98, 250), (99, 552)):
        served = Served(EHLO + MAIL + RCPT + DATA + b"x" * octets + b"\r\n.\r\n", settings=SMALL)
        assert served.codes[-1] == code


def test_an_oversize_message_is_not_held() -> None:
    """While an oversize message comes, nothing of it is in memory."""
    served = Served(EHLO + MAIL + RCPT + DATA, b"x" * 1000, b"y" * 1000, settings=SMALL)
    assert len(served.session._content) == 0


# -- chunks -----------------------------------------------------------------------------------------------------------


def test_a_message_in_chunks() -> None:
    """Chunks are put together, dots and all, line ends as CRLF; each has its answer, the last one the message's."""
    handler = Deciding()
    served = Served(
        EHLO + MAIL + RCPT,
        b"BDAT 5\r\n.one\n",
        b"BDAT 0\r\n",
        b"BDAT 4 LA",
        b"ST\r\n..\r",
        b"\n" + QUIT,
        handler=handler,
    )
    assert served.codes == [250, 250, 250, 250, 250, 250, 221]
    assert [reply.text for reply in served.replies[3:6]] == [
        "2.0.0 Chunk OK",
        "2.0.0 Chunk OK",
        "2.0.0 Message accepted",
    ]
    assert handler.messages[0].content == b".one\r\n..\r\n"


@pytest.mark.parametrize("data", [False, True])
def test_what_is_handed_over_has_no_bare_line_ends(data: bool) -> None:
    """A CR or LF alone is a CRLF for whoever reads the message next: nothing in it can end it there (smuggling)."""
    handler = Deciding()
    body = b"a\n.\nb\rc\r\n"
    octets = DATA + body + b".\r\n" if data else b"BDAT %d LAST\r\n%b" % (len(body), body)
    Served(EHLO + MAIL + RCPT + octets, handler=handler)
    assert handler.messages[0].content == b"a\r\n.\r\nb\r\nc\r\n"


def test_each_message_is_its_own() -> None:
    """Nothing of a message is in the next one, whether it was taken, refused, or given up."""
    handler = Deciding(body=lambda message: Reply(550, "no") if b"refused" in message.content else None)
    given_up = b"BDAT 9\r\ngiven up\nRSET\r\n"
    refused = DATA + b"refused\r\n.\r\n"
    taken = DATA + b"taken\r\n.\r\n"
    envelope = MAIL + RCPT
    Served(EHLO + envelope + given_up + envelope + refused + envelope + taken + envelope + taken, handler=handler)
    assert [message.content for message in handler.messages] == [b"refused\r\n", b"taken\r\n", b"taken\r\n"]
    assert {len(message.recipients) for message in handler.messages} == {1}


def test_an_empty_message_in_a_chunk() -> None:
    """BDAT 0 LAST is a message of nothing."""
    handler = Deciding()
    assert Served(EHLO + MAIL + RCPT + b"BDAT 0 LAST\r\n", handler=handler).codes[-1] == 250
    assert handler.messages[0].content == b""


def test_chunks_that_grow_too_big() -> None:
    """RFC 3030 2: behind a refused chunk every other is a 503, its octets read past, until RSET."""
    handler = Deciding()
    chunk = b"BDAT 101\r\n" + b"x" * 101
    last = b"BDAT 6 LAST\r\nQUIT\r\n"
    served = Served(
        EHLO + MAIL + RCPT + chunk + chunk + last + MAIL + b"RSET\r\n" + MAIL + RCPT + b"BDAT 1 LAST\r\ny",
        settings=SMALL,
        handler=handler,
    )
    assert served.replies[3] == TOO_BIG
    assert served.codes == [250, 250, 250, 552, 503, 503, 503, 250, 250, 250, 250]
    assert [message.content for message in handler.messages] == [b"y"]


def test_a_last_chunk_that_is_too_big() -> None:
    """The last chunk is refused as the message is, and the transaction is failed until RSET."""
    handler = Deciding()
    octets = b"BDAT 60\r\n" + b"x" * 60 + b"BDAT 60 LAST\r\n" + b"x" * 60
    served = Served(EHLO + MAIL + RCPT + octets + MAIL + b"RSET\r\n" + MAIL, settings=SMALL, handler=handler)
    assert served.codes == [250, 250, 250, 250, 552, 503, 250, 250]
    assert handler.messages == []


def test_a_message_in_chunks_that_the_handler_refuses() -> None:
    """Refused at its last chunk, the transaction is failed until RSET (RFC 3030 2)."""
    handler = Deciding(body=Reply(550, "5.7.1 spam"))
    served = Served(EHLO + MAIL + RCPT + b"BDAT 1 LAST\r\nx" + MAIL + b"RSET\r\n" + MAIL, handler=handler)
    assert served.codes == [250, 250, 250, 550, 503, 250, 250]


# -- LMTP: one answer for each recipient ------------------------------------------------------------------------------


def lmtp(handler: Deciding, recipients: int = 3, *, chunks: bool = False) -> Served:
    message = b"BDAT 3 LAST\r\nx\r\n" if chunks else DATA + b"x\r\n.\r\n"
    return Served(LHLO + MAIL + RCPT * recipients + message + b"NOOP\r\n", handler=handler, lmtp=True)


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        (None, [250, 250, 250]),
        (Reply(550, "no"), [550, 550, 550]),
        ([Reply(250, "a"), Reply(550, "b"), Reply(451, "c")], [250, 550, 451]),
        ([Reply(250, "a"), Reply(550, "b\r")], [451, 451, 451]),
        ([Reply(250, "a")] * 4, [451, 451, 451]),
        ([], [451, 451, 451]),
        ([Reply(250, "a"), Reply(354, "b"), Reply(250, "c")], [250, 451, 250]),
        (ZeroDivisionError(), [451, 451, 451]),
    ],
)
def test_lmtp_answers_for_each_recipient(
    chunks: bool, answer: Reply | list[Reply] | Exception | None, codes: list[int]
) -> None:
    """RFC 2033 4.2: a list has an answer for each accepted recipient, one stands for all, a wrong number for none."""
    handler = Deciding(body=answer)
    served = lmtp(handler, chunks=chunks)
    behind = [250] * 4 if chunks else [250] * 4 + [354]
    assert served.codes == [250, *behind, *codes, 250]
    clean = answer is None or isinstance(answer, Reply) or codes == [250, 550, 451]
    assert (handler.failures == []) is clean


@pytest.mark.parametrize("answer", [Reply(421, "bye"), [Reply(250, "a"), Reply(421, "bye"), Reply(250, "c")]])
def test_lmtp_says_goodbye_among_its_answers(answer: Reply | list[Reply]) -> None:
    """A 421 is the last answer, whatever was to follow it; what was answered before it arrives."""
    handler = Deciding(body=answer)
    served = lmtp(handler)
    answered = [421] if isinstance(answer, Reply) else [250, 421]
    assert served.codes == [250, 250, 250, 250, 250, 354, *answered]
    assert handler.failures == []


def test_lmtp_counts_only_accepted_recipients() -> None:
    """Recipients that were refused, or accepted in words that could not be sent, have no answer at the end."""
    answers = iter([None, Reply(550, "no"), Reply(250, "bad\rwords"), None])
    handler = Deciding(rcpt=lambda command: next(answers), body=[Reply(250, "first"), Reply(251, "last")])
    served = lmtp(handler, 4)
    assert served.codes == [250, 250, 250, 550, 451, 250, 354, 250, 251, 250]
    assert len(handler.messages[0].recipients) == 2


def test_smtp_takes_a_list_of_one() -> None:
    """SMTP has one answer, and a list of one is that."""
    octets = EHLO + MAIL + RCPT * 2 + DATA + b".\r\n"
    assert Served(octets, handler=Deciding(body=[Reply(251, "a")])).codes[-1] == 251
    handler = Deciding(body=[Reply(250, "a"), Reply(250, "b")])
    assert Served(octets, handler=handler).codes[-1] == 451
    assert [type(failure) for failure in handler.failures] == [LocalProtocolError]


def test_lmtp_has_lhlo_alone() -> None:
    """RFC 2033 4.1: EHLO and HELO are refused."""
    assert Served(EHLO + b"HELO client.test\r\n" + LHLO + MAIL, lmtp=True).codes == [500, 500, 250, 250]
    assert Served(LHLO + MAIL + DATA, lmtp=True).codes == [250, 250, 503]
