"""The server's conversation: what is asked of the handler, what is answered without it, and what ends it."""

from __future__ import annotations

import pytest

from smtp_proto.commands import Ehlo, Helo
from smtp_proto.effects import Close, Receive, Send
from smtp_proto.handler import Handler
from smtp_proto.replies import Reply
from smtp_proto.server import MAX_LINE
from smtp_proto.server_session import Settings
from smtp_proto.states import Stage

from .flows import Part, effects_of
from .serving import DATA, EHLO, MAIL, QUIT, RCPT, TRANSACTION, Deciding, Served, replies_in
from .splitting import bytewise

# -- the plain way ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bytes_at_a_time", [False, True])
def test_a_message_is_handed_over(bytes_at_a_time: bool) -> None:
    """What the client sent comes to the handler, the dots taken off, in one segment or octet by octet."""
    handler = Deciding()
    octets = TRANSACTION + QUIT
    served = Served(*(bytewise(octets) if bytes_at_a_time else [octets]), handler=handler)
    assert served.codes == [250, 250, 250, 354, 250, 221]
    (message,) = handler.messages
    assert (message.sender, message.to) == ("a@client.test", ("b@mx.test",))
    assert message.content == b"Subject: x\r\n\r\n.dot\r\n"
    assert handler.asked == ["connect", "helo", "mail", "rcpt", "body", "quit"]
    assert served.peer.closed
    assert isinstance(served.peer.effects[-1], Close)


def test_the_base_class_accepts_everything_but_log_ins() -> None:
    """A `Handler` that decides nothing takes every message and refuses every password."""
    settings = Settings(mechanisms=("PLAIN",), cleartext_auth=True)
    auth = b"AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n"
    assert Served(EHLO + auth + TRANSACTION + QUIT, handler=Handler(), settings=settings).codes == [
        250,
        535,
        250,
        250,
        250,
        354,
        250,
        221,
    ]


@pytest.mark.parametrize("lmtp", [False, True])
def test_the_greeting_names_the_protocol(lmtp: bool) -> None:
    """The greeting has the server's name and the protocol that it speaks."""
    served = Served(lmtp=lmtp)
    assert served.peer.written == b"220 mx.test " + (b"LMTP" if lmtp else b"ESMTP") + b"\r\n"


def test_a_pipelined_group_is_answered_in_one_segment() -> None:
    """RFC 2920 3.2: the answers to what came in one segment go out in one."""
    served = Served(EHLO, MAIL + RCPT + RCPT + DATA, b"Subject: x\r\n\r\n.\r\n" + MAIL + QUIT)
    assert [len(replies_in(segment)) for segment in served.peer.segments] == [1, 1, 4, 3]
    waits = effects_of(Receive, served.peer.effects)
    assert {wait.stage for wait in waits} == {Stage.SERVER}
    assert {write.listen for write in effects_of(Send, served.peer.effects)} == {False}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"NOOP", 250),
        (b"noop with text", 250),
        (b"RSET", 250),
        (b"HELP", 214),
        (b"HELP MAIL", 214),
        (b"VRFY postmaster", 252),
        (b"EXPN list", 252),
    ],
)
def test_commands_that_need_no_decision(line: bytes, code: int) -> None:
    """These are answered anywhere behind the greeting, and nobody is asked."""
    handler = Deciding()
    served = Served(line + b"\r\n" + EHLO + MAIL + line + b"\r\n", handler=handler)
    assert served.codes == [code, 250, 250, code]
    assert handler.asked == ["connect", "helo", "mail"]


def test_what_is_offered() -> None:
    """The EHLO reply lists what the settings say; HELO's has the name alone (RFC 5321 4.1.1.1)."""
    offered = Served(EHLO, settings=Settings(hostname="mx.test", max_size=1000)).replies[0]
    assert offered.lines == (
        b"mx.test",
        b"PIPELINING",
        b"8BITMIME",
        b"SMTPUTF8",
        b"CHUNKING",
        b"ENHANCEDSTATUSCODES",
        b"SIZE 1000",
        b"HELP",
    )
    assert b"SIZE" in Served(EHLO, settings=Settings(max_size=0)).replies[0].lines
    assert Served(b"HELO client.test\r\n").replies == [Reply(250, "mx.test")]


def test_who_has_introduced_himself_is_known() -> None:
    """The last introduction that was accepted is what the session knows the client by."""
    assert Served(EHLO).session.hello == Ehlo("client.test")
    assert Served(EHLO + b"HELO other.test\r\n").session.hello == Helo("other.test")
    handler = Deciding(helo=lambda command: Reply(550, "no") if command.domain == "other.test" else Reply(250, "hi"))
    assert Served(EHLO + b"HELO other.test\r\n", handler=handler).session.hello == Ehlo("client.test")


# -- order and syntax -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "codes"),
    [
        (MAIL, [503]),
        (EHLO + RCPT, [250, 503]),
        (EHLO + DATA, [250, 503]),
        (EHLO + MAIL + DATA, [250, 250, 503]),
        (EHLO + MAIL + MAIL, [250, 250, 503]),
        (EHLO + MAIL + RCPT + b"AUTH PLAIN\r\n", [250, 250, 250, 503]),
        (EHLO + MAIL + b"STARTTLS\r\n", [250, 250, 503]),
        (b"LHLO client.test\r\n", [500]),
        (EHLO + b"BDAT 5\r\nNOOP\n" + b"RSET\r\n", [250, 503, 250]),
        (b"BDAT 6\r\nNOOP\r\n" + EHLO, [503, 250]),
    ],
)
def test_what_is_out_of_order_is_refused(octets: bytes, codes: list[int]) -> None:
    """A command where it has no place is a 503 (a BDAT's octets are read past), and changes nothing."""
    handler = Deciding()
    assert Served(octets, handler=handler).codes == codes
    assert handler.failures == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"MAIL a@client.test", 501),
        (b"MAIL FROM:<a b@client.test>", 501),
        (b"RCPT TO:<>", 501),
        (b"EHLO", 501),
        (b"DATA now", 501),
        (b"VRFY", 501),
        (b"XYZZY", 500),
        (b"", 500),
        (b"NOOP \x07", 500),
        (b"NOOP \xff", 500),
        (b"NOOP " + b"x" * MAX_LINE, 500),
    ],
)
def test_what_is_no_command_is_refused(line: bytes, code: int) -> None:
    """A line that is no command is a 500 or 501, and the next one has its own answer."""
    assert Served(EHLO + line + b"\r\nNOOP\r\n").codes == [250, code, 250]


def test_a_chunk_of_unknown_size_closes() -> None:
    """BDAT without a number that can be read is a 521: what follows would be taken for commands."""
    served = Served(EHLO + MAIL + RCPT + b"BDAT x LAST\r\nMAIL FROM:<evil@client.test>\r\n", QUIT)
    assert served.codes == [250, 250, 250, 521]
    assert served.hung_up_early


def test_a_transaction_is_forgotten() -> None:
    """RSET and an accepted EHLO end the transaction under way, a refused one does not (RFC 5321 4.1.4)."""
    handler = Deciding(
        rcpt=lambda command: None, helo=lambda command: Reply(550, "no") if "x" in command.domain else None
    )
    for reset in (b"RSET\r\n", EHLO, b"HELO client.test\r\n"):
        assert Served(EHLO + MAIL + RCPT + reset + DATA, handler=handler).codes == [250, 250, 250, 250, 503]
        again = b"MAIL FROM:<other@client.test>\r\nRCPT TO:<c@mx.test>\r\n"
        Served(EHLO + MAIL + RCPT + reset + again + DATA + b".\r\n", handler=handler)
        assert (handler.messages[-1].sender, handler.messages[-1].to) == ("other@client.test", ("c@mx.test",))
    Served(EHLO + MAIL + RCPT + b"EHLO x.test\r\n" + DATA + b".\r\n", handler=handler)
    assert (handler.messages[-1].sender, handler.messages[-1].to) == ("a@client.test", ("b@mx.test",))


def test_an_introduction_whose_answer_cannot_be_sent_changes_nothing() -> None:
    """A second EHLO that is accepted in words that cannot be sent is refused, and the transaction goes on."""
    answers = iter([None, Reply(250, "bad\rwords")])
    handler = Deciding(helo=lambda command: next(answers))
    assert Served(EHLO + MAIL + RCPT + EHLO + DATA + b".\r\n", handler=handler).codes == [250, 250, 250, 451, 354, 250]
    assert len(handler.messages) == 1


def test_a_recipient_whose_acceptance_cannot_be_sent_gets_nothing() -> None:
    """The recipients of a message are those that the client was told are accepted."""
    handler = Deciding(rcpt=lambda command: Reply(250, "bad\rwords") if "c@" in command.path else None)
    served = Served(EHLO + MAIL + RCPT + b"RCPT TO:<c@mx.test>\r\n" + DATA + b".\r\n", handler=handler)
    assert served.codes == [250, 250, 250, 451, 354, 250]
    assert handler.messages[0].to == ("b@mx.test",)


# -- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 3])
def test_too_many_errors_close(limit: int) -> None:
    """Behind `max_errors` rejected commands, of whatever kind, the next one is told 421."""
    wrong = [b"XYZZY\r\n", RCPT, b"MAIL FROM\r\n", b"LHLO client.test\r\n"]
    served = Served(*wrong, QUIT, settings=Settings(max_errors=limit))
    assert served.codes == [*[500, 503, 501][:limit], 421]
    assert served.hung_up_early


def test_refusals_of_the_handler_are_no_errors() -> None:
    """A command that is refused on its merits is not counted."""
    served = Served(EHLO + MAIL + RCPT * 5, handler=Deciding(rcpt=Reply(550, "no")), settings=Settings(max_errors=2))
    assert served.codes == [250, 250] + [550] * 5


def test_too_many_recipients() -> None:
    """RFC 5321 4.5.3.1.10: the recipient that is one too many is a 452, and the transaction goes on."""
    handler = Deciding()
    served = Served(EHLO + MAIL + RCPT * 4 + DATA + b".\r\n", handler=handler, settings=Settings(max_recipients=2))
    assert served.codes == [250, 250, 250, 250, 452, 452, 354, 250]
    assert handler.messages[0].to == ("b@mx.test", "b@mx.test")


def test_recipients_that_are_too_long() -> None:
    """A recipient may be as long as a line; all together have RFC 5321's 256 octets each, so that memory is bounded."""
    long = b"RCPT TO:<%b@mx.test>\r\n" % (b"x" * 700)
    served = Served(
        EHLO + MAIL + long * 2 + RCPT + long + b"RSET\r\n" + MAIL + long, settings=Settings(max_recipients=5)
    )
    assert served.codes == [250, 250, 250, 250, 452, 452, 250, 250, 250]


# -- the end ----------------------------------------------------------------------------------------------------------


def test_a_client_that_says_nothing_is_told_421() -> None:
    """RFC 5321 3.8: a deadline that passes is answered with a 421 before the connection is closed."""
    for before in ([], [EHLO], [EHLO, b"MAI"], [EHLO + MAIL + RCPT + DATA, b"half a message"]):
        served = Served(*before, end=TimeoutError("timed out"))
        assert replies_in(served.peer.written)[-1] == Reply(421, "4.4.2 mx.test Timeout, closing")
        assert served.peer.closed
        assert isinstance(served.handler, Deciding)
        assert served.handler.messages == []


def test_a_drip_does_not_stretch_the_deadline() -> None:
    """A command has one deadline for all of its pieces; the next one, and each progress in a message, has another."""
    served = Served(EHLO, b"NO", b"OP", b"\r\n", MAIL + RCPT + DATA, b"one\r\n", b"two\r\n")
    waits = effects_of(Receive, served.peer.effects)
    assert [wait.again for wait in waits] == [False, False, True, True, False, False, False, False]


@pytest.mark.parametrize("failure", [TimeoutError("no progress"), BrokenPipeError("gone")])
def test_a_client_that_does_not_read_is_hung_up_on(failure: OSError) -> None:
    """In the middle of a reply there is no place for another one: whatever stops a write, nothing follows it."""
    served = Served(EHLO, QUIT, sends=[None, Part(5, None), failure])
    assert len(served.peer.segments) == 2
    assert served.peer.written.endswith(b"\r\n250-m")
    assert served.hung_up_early
    assert served.peer.closed


@pytest.mark.parametrize("end", [b"", ConnectionResetError("reset")])
@pytest.mark.parametrize(
    "octets",
    [b"", b"EHL", EHLO, EHLO + MAIL + RCPT + DATA + b"half a message\r\n", EHLO + MAIL + RCPT + b"BDAT 9\r\nhalf"],
)
def test_a_client_that_vanishes(octets: bytes, end: bytes | OSError) -> None:
    """Half a command or half a message is no command and no message; the transport is closed."""
    handler = Deciding()
    served = Served(octets, end=end, handler=handler)
    assert handler.messages == []
    assert served.peer.closed
    assert served.session.connection.closed


def test_a_client_that_hangs_up_behind_its_commands_is_answered() -> None:
    """What was said before the end is carried out, and answered to a peer that may still read."""
    handler = Deciding()
    served = Served(TRANSACTION + MAIL, handler=handler)
    assert served.codes == [250, 250, 250, 354, 250, 250]
    assert len(handler.messages) == 1
