"""Commands: written by the client and read by the server from one list of pairs, and what is refused on either side."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.commands import (
    Auth,
    AuthResponse,
    Bdat,
    Burl,
    Command,
    Data,
    Ehlo,
    EndOfData,
    Etrn,
    Expn,
    Greeting,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Raw,
    Rcpt,
    Rset,
    StartTLS,
    Vrfy,
    XClient,
    XForward,
)
from smtp_proto.errors import InvalidArgument
from smtp_proto.parsing import CommandSyntaxError, parse_auth_response, parse_command, written_command
from smtp_proto.replies import MAX_REPLY_LINE, Reply
from smtp_proto.server import MAX_LINE
from smtp_proto.states import TABLE

URL = (
    "imap://harry@gryffindor.example.com/outbox;uidvalidity=1078863300/;uid=25"
    ";urlauth=submit+harry:internal:91354a473744909de610943775f92038"
)

# Value, octets, and the row of the table: what the client writes so, the server reads so.
PAIRS: list[tuple[Command, bytes, str]] = [
    (Ehlo("client.example"), b"ehlo client.example\r\n", "EHLO"),
    (Ehlo("[192.0.2.1]"), b"ehlo [192.0.2.1]\r\n", "EHLO"),
    (Ehlo("bücher.example"), b"ehlo b\xc3\xbccher.example\r\n", "EHLO"),
    (Helo("client.example"), b"helo client.example\r\n", "HELO"),
    (Lhlo("client.example"), b"lhlo client.example\r\n", "LHLO"),
    (Mail(""), b"mail from:<>\r\n", "MAIL"),
    (Mail("a@b"), b"mail from:<a@b>\r\n", "MAIL"),
    (Mail("a@b", ["SIZE=14", "BODY=8BITMIME"]), b"mail from:<a@b> SIZE=14 BODY=8BITMIME\r\n", "MAIL"),
    (Mail("a@b", ("size=14",)), b"mail from:<a@b> size=14\r\n", "MAIL"),
    (Mail("", ["SMTPUTF8", "AUTH=<>"]), b"mail from:<> SMTPUTF8 AUTH=<>\r\n", "MAIL"),
    (Mail("käse@b", ["SMTPUTF8"]), b"mail from:<k\xc3\xa4se@b> SMTPUTF8\r\n", "MAIL"),
    (Rcpt("a@b"), b"rcpt to:<a@b>\r\n", "RCPT"),
    (Rcpt("Postmaster"), b"rcpt to:<Postmaster>\r\n", "RCPT"),
    (Rcpt('"a > b"@c', ["NOTIFY=NEVER"]), b'rcpt to:<"a > b"@c> NOTIFY=NEVER\r\n', "RCPT"),
    (Rcpt("@relay:a@b"), b"rcpt to:<@relay:a@b>\r\n", "RCPT"),
    (Data(), b"data\r\n", "DATA"),
    (Bdat(0), b"BDAT 0\r\n", "BDAT"),
    (Bdat(1000), b"BDAT 1000\r\n", "BDAT"),
    (Bdat(0, last=True), b"BDAT 0 LAST\r\n", "BDAT LAST"),
    (Bdat(10**20 - 1, last=True), b"BDAT 99999999999999999999 LAST\r\n", "BDAT LAST"),
    (Rset(), b"rset\r\n", "RSET"),
    (Noop(), b"noop\r\n", "NOOP"),
    (Noop("two  words"), b"noop two  words\r\n", "NOOP"),
    (Help(), b"help\r\n", "HELP"),
    (Help("mail"), b"help mail\r\n", "HELP"),
    (Vrfy("Jürgen <x>"), b"vrfy J\xc3\xbcrgen <x>\r\n", "VRFY"),
    (Expn("staff"), b"expn staff\r\n", "EXPN"),
    (StartTLS(), b"STARTTLS\r\n", "STARTTLS"),
    (Auth("LOGIN"), b"AUTH LOGIN\r\n", "AUTH"),
    (Auth("plain", b"\0u\0p"), b"AUTH PLAIN AHUAcA==\r\n", "AUTH"),
    (Auth("EXTERNAL", b""), b"AUTH EXTERNAL =\r\n", "AUTH"),
    (Quit(), b"quit\r\n", "QUIT"),
    (Raw(b"XYZZY"), b"XYZZY\r\n", "other"),
    (Raw(b"xclint NAME=a \xc3\xa4"), b"xclint NAME=a \xc3\xa4\r\n", "other"),
    # RFC 1985, by its grammar
    (Etrn("foo.com"), b"etrn foo.com\r\n", "ETRN"),
    (Etrn("#queue"), b"etrn #queue\r\n", "ETRN"),
    # RFC 4468 3.4
    (Burl(URL, last=True), f"BURL {URL} LAST\r\n".encode(), "BURL LAST"),
    (Burl("http://mx.test/part"), b"BURL http://mx.test/part\r\n", "BURL"),
    # Postfix's XCLIENT_README and XFORWARD_README
    (
        XClient({"NAME": "spike.porcupine.org", "ADDR": "168.100.189.2"}),
        b"XCLIENT NAME=spike.porcupine.org ADDR=168.100.189.2\r\n",
        "XCLIENT",
    ),
    (
        XClient({"helo": None, "login": "ü a=b+c"}),
        b"XCLIENT HELO=[UNAVAILABLE] LOGIN=+C3+BC+20a+3Db+2Bc\r\n",
        "XCLIENT",
    ),
    (
        XForward({"NAME": "spike.porcupine.org", "ADDR": "168.100.189.2", "PROTO": "ESMTP"}),
        b"XFORWARD NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP\r\n",
        "XFORWARD",
    ),
    (XForward({"PORT": ""}), b"XFORWARD PORT=\r\n", "XFORWARD"),
    (Raw(b""), b"\r\n", "other"),
]

# Read but never written so.
TOLERATED: list[tuple[bytes, Command]] = [
    (b"EHLO client.example", Ehlo("client.example")),
    (b"eHlO   client.example  \t ", Ehlo("client.example")),
    (b"MAIL FROM:<a@b>", Mail("a@b")),
    (b"MAIL FROM: <a@b>", Mail("a@b")),
    (b"mail   from:  <a@b>   SIZE=1    BODY=7BIT ", Mail("a@b", ["SIZE=1", "BODY=7BIT"])),
    (b"MAIL FROM:<> ", Mail("")),
    (b"RCPT TO: <a@b>", Rcpt("a@b")),
    (b"RCPT To:<a@b>", Rcpt("a@b")),
    (b"DATA ", Data()),
    (b"DATA\t", Data()),
    (b"NOOP  x  y ", Noop("x  y")),
    (b"bdat  5   last", Bdat(5, last=True)),
    (b"BDAT 0005", Bdat(5)),
    (b"AUTH plain", Auth("PLAIN")),
    (b"auth PLAIN =", Auth("PLAIN", b"")),
    (b" DATA", Raw(b" DATA")),
    (b" ", Raw(b"")),
    ("\u017ftarttls".encode(), Raw("\u017ftarttls".encode())),  # upper() makes STARTTLS of it; the RFC does not
    ("da\u1e6aa".encode(), Raw("da\u1e6aa".encode())),
    ("\ufb06arttls".encode(), Raw("\ufb06arttls".encode())),
]

# (line, code of the right refusal).
REFUSED: list[tuple[bytes, int]] = [
    *[(b"NOOP a" + bytes([octet]) + b"b", 500) for octet in (*range(32), 127)],
    (b"\0", 500),
    (b"MAIL\tFROM:<a@b>", 500),
    (b"NOOP \xff", 500),
    (b"\xc3", 500),
    (b"NOOP \xed\xa0\x80", 500),  # a surrogate
    (b"NOOP \xc0\x8a", 500),  # LF, overlong
    (b"EHLO", 501),
    (b"EHLO ", 501),
    (b"EHLO a b", 501),
    ("EHLO a\u2003b".encode(), 501),
    (b"HELO", 501),
    (b"LHLO", 501),
    (b"MAIL", 501),
    (b"MAIL FROM", 501),
    (b"MAIL FROM:", 501),
    (b"MAIL FROM:a@b", 501),
    (b"MAIL FROM:<a@b", 501),
    (b"MAIL FROM:a@b>", 501),
    (b"MAIL FROM:<a@b>SIZE=1", 501),
    (b"MAIL FROM :<a@b>", 501),
    (b"MAIL <a@b>", 501),
    (b"MAIL TO:<a@b>", 501),
    (b"MAIL FROM:<a b@c>", 501),
    (b"MAIL FROM:<<a@b>>", 501),
    (b"MAIL FROM:<a@b> =1", 501),
    (b"MAIL FROM:<a@b> -", 501),
    (b"MAIL FROM:<a@b>,<c@d>", 501),
    (b"MAIL FROM:<a@b> <c@d>", 501),
    ("MAIL FROM:<a@b> SIZE=1\u2003BODY=7BIT".encode(), 501),  # white space to split(), none to the RFC
    ("MAIL FROM:<a\u00a0b@c>".encode(), 501),
    (b'MAIL FROM:<"a>', 501),
    (b"RCPT TO:<>", 501),
    (b"RCPT FROM:<a@b>", 501),
    (b"RCPT TO:<a@b", 501),
    (b"DATA please", 501),
    (b"RSET x", 501),
    (b"STARTTLS now", 501),
    (b"QUIT QUIT", 501),
    (b"VRFY", 501),
    (b"EXPN  ", 501),
    (b"AUTH", 501),
    (b"AUTH PLAIN  AHUAcA==", 501),
    (b"AUTH PLAIN AHUAcA== x", 501),
    (b"AUTH PLAIN AHUAcA=", 501),
    (b"AUTH PLAIN AHU*cA==", 501),
    (b"AUTH PLAIN ==", 501),
    (b"AUTH PLAIN *", 501),
    (b"AUTH AHUAcA==", 501),
    (b"AUTH " + b"A" * 21, 501),
    ("AUTH PLÄIN".encode(), 501),
    # The octets of a chunk whose size is unknown would be read as commands: 521, and the connection is closed.
    (b"BDAT", 521),
    (b"BDAT ", 521),
    (b"BDAT LAST", 521),
    (b"BDAT -1", 521),
    (b"BDAT +1", 521),
    (b"BDAT 1_0", 521),
    (b"BDAT 0x10", 521),
    (b"BDAT 5 LAST x", 521),
    (b"BDAT 5 FIRST", 521),
    (b"BDAT 5,LAST", 521),
    (b"BDAT 5LAST", 521),
    (b"BDAT 100000000000000000000", 521),
    (b"BDAT " + b"9" * 5000, 521),  # more than int() reads
    ("BDAT ٣".encode(), 521),
    ("BDAT ²".encode(), 521),
    ("BDAT 5\u2003LAST".encode(), 521),  # white space to split(), none to the RFC
    ("BDAT 5 la\u017ft".encode(), 521),  # LAST to upper(), nothing to the RFC
    (b"BDAT\t5", 521),
    (b"bdat 5\0", 521),
    (b"BDAT 5\r5", 521),
    (b"BDAT 5 \xff", 521),
]


# -- pairs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "octets", "row"), PAIRS)
def test_pairs(command: Command, octets: bytes, row: str) -> None:
    """What the client writes is what the server reads, and both know the same row for it."""
    assert command.line == octets
    received = parse_command(octets[:-2])
    assert received == command
    assert type(received) is type(command)
    assert received.line == octets
    assert received.row == command.row == row
    assert row in TABLE


@pytest.mark.parametrize(("line", "command"), TOLERATED)
def test_tolerated_lines(line: bytes, command: Command) -> None:
    """Any letter case and more spaces are read as what they say; the line is kept as it came."""
    received = parse_command(line)
    assert received == command
    assert type(received) is type(command)
    assert received.line == line + b"\r\n"


@pytest.mark.parametrize(("line", "code"), REFUSED)
def test_refused_lines(line: bytes, code: int) -> None:
    """500 for what cannot be read, 501 for arguments that are wrong, 521 where a chunk could be taken for commands."""
    with pytest.raises(CommandSyntaxError) as caught:
        parse_command(line)
    assert caught.value.hint.code == code
    assert caught.value.hint.enhanced is not None
    assert str(caught.value) == str(caught.value.hint)


@pytest.mark.parametrize(
    ("response", "line"),
    [
        (AuthResponse(b""), b""),
        (AuthResponse(b"user"), b"dXNlcg=="),
        (AuthResponse(b"\0\xff\r\n"), b"AP8NCg=="),
        (AuthResponse(b"x" * 1000), b"eHh4" * 333 + b"eA=="),
        (AuthResponse(None), b"*"),
    ],
)
def test_auth_responses(response: AuthResponse, line: bytes) -> None:
    """A response is base64 on one line, however long; "*" cancels, and an empty one is an empty line."""
    assert response.line == line + b"\r\n"
    assert parse_auth_response(line) == response
    assert response.row == "AUTH response"


@pytest.mark.parametrize(
    "line",
    [
        b"=",
        b"a",
        b"dXNlcg",
        b"dXNlcg=",
        b"dXNlcg==\r",
        b" dXNlcg==",
        b"dXNlcg== ",
        b"**",
        b"* ",
        b"\xff",
        b"d\0Nl",
        b"QUIT ",
    ],
)
def test_what_is_no_auth_response(line: bytes) -> None:
    """Anything but base64 and "*" is answered 501, which does not show it."""
    with pytest.raises(CommandSyntaxError) as caught:
        parse_auth_response(line)
    assert caught.value.hint.code == 501
    assert "dXNlcg" not in str(caught.value)


def test_what_is_no_line() -> None:
    """A greeting and the end of the data are things that a reply can answer, but nothing that `line` would send."""
    assert (Greeting().row, Greeting().line, Greeting().shown) == ("greeting", b"", "")
    assert (EndOfData().row, EndOfData().line, EndOfData().shown) == ("end of data", b"", ".")


def test_parameters_by_keyword() -> None:
    """A parameter is found by its keyword in any case; one without a value has an empty one."""
    mail = Mail("a@b", ["size=14", "SMTPUTF8", "AUTH=a=b", "SIZE=15"])
    assert mail.parameter("SIZE") == "14"
    assert mail.parameter("SMTPUTF8") == ""
    assert mail.parameter("AUTH") == "a=b"
    assert mail.parameter("BODY") is None


@pytest.mark.parametrize(
    "command", [pair[0] for pair in PAIRS] + [AuthResponse(b"x"), Greeting(), EndOfData()], ids=repr
)
def test_commands_are_values(command: Command) -> None:
    """A copy of a command, pickled or not, is equal, hashes equal and is written equal."""
    for other in (pickle.loads(pickle.dumps(command)), copy.copy(command), copy.deepcopy(command)):  # noqa: S301
        assert other == command
        assert hash(other) == hash(command)
        assert (other.line, other.row, other.shown, repr(other)) == (
            command.line,
            command.row,
            command.shown,
            repr(command),
        )


# -- the server's hints ------------------------------------------------------------------------------------------------


HOSTILE_LINES = [
    (start + octets * MAX_LINE)[: MAX_LINE - 2]
    for start in (b"EHLO ", b"MAIL FROM:<", b"MAIL FROM:<a@b> ", b"RCPT TO:<a@b> ", b"AUTH ", b"NOOP ", b"BDAT ", b"")
    for octets in (b"x ", b"\\ ", b"<", "\u2028".encode(), "\U000e0001 ".encode(), b"'\"", b"\x1b", b"\xff")
]


def refusal(parse: Callable[[bytes], Command], line: bytes) -> Reply | None:
    """The hint, if the line is refused."""
    try:
        command = parse(line)
    except CommandSyntaxError as error:
        return error.hint
    assert command.row in TABLE
    return None


@pytest.mark.parametrize("line", HOSTILE_LINES, ids=lambda line: repr(line[:20]))
def test_hints_fit_into_a_line(line: bytes) -> None:
    """However long and odd a line, its refusal is far from the longest reply line that a client takes."""
    hint = refusal(parse_command, line)
    assert hint is None or len(hint.encode()) < MAX_REPLY_LINE // 4


@st.composite
def nearly_lines(draw: st.DrawFn) -> bytes:
    """A line as it should be, with something put into it."""
    line = draw(st.sampled_from([pair[1][:-2] for pair in PAIRS]))
    place = draw(st.integers(0, len(line)))
    return line[:place] + draw(st.binary(max_size=3)) + line[place:]


@given(st.binary(max_size=40) | nearly_lines())
def test_any_line_is_a_command_or_refused(line: bytes) -> None:
    """Any octets are a command, or get a refusal that can be sent; there is no other exception."""
    for parse in (parse_command, parse_auth_response):
        hint = refusal(parse, line)
        assert hint is None or (hint.severity == 5 and hint.encode())


# -- commands of extensions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [Burl(URL, last=True), Raw(f"BURL {URL} LAST".encode())])
def test_the_authorisation_in_a_url_is_not_shown(command: Command) -> None:
    """Who knows what stands behind URLAUTH's mechanism can fetch the message: no trace and no `repr` has it."""
    for shown in (command.shown, repr(command)):
        assert "internal" not in shown
        assert ";urlauth=*** LAST" in shown


@pytest.mark.parametrize(
    "make",
    [
        lambda: Burl("two words"),
        lambda: Burl(""),
        lambda: Burl("imap://mx.test/ü;urlauth=secret"),
        lambda: Burl("imap://mx.test/;urlauth=secret\r\nQUIT"),
        lambda: Etrn(""),
        lambda: Etrn("a\r\nQUIT"),
        lambda: XClient({}),
        lambda: XClient({"NA ME": "x"}),
        lambda: XClient({"NAME": "\ud800"}),
        lambda: XForward({"NAME": "x" * 70_000}),
    ],
)
def test_what_is_no_command_of_an_extension(make: Callable[[], Command]) -> None:
    """An argument that would be another command, or none, is refused; a secret is not in what is said of it."""
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert "secret" not in str(caught.value)


def test_a_url_in_a_repr() -> None:
    """What is no secret is shown."""
    assert repr(Burl("imap://x")) == "Burl('imap://x')"


def test_attributes() -> None:
    """Whatever a value has in it, CR and LF too, it is one word on the wire; it is read back as it was."""
    command = XClient({"login": "a\r\nQUIT\0 ü", "NAME": None})
    assert command.line == b"XCLIENT LOGIN=a+0D+0AQUIT+00+20+C3+BC NAME=[UNAVAILABLE]\r\n"
    assert command["LOGIN"] == "a\r\nQUIT\0 ü"
    assert parse_command(command.line[:-2]) == command


@pytest.mark.parametrize(
    "line",
    [b"XCLIENT", b"XCLIENT NAME", b"XCLIENT NAME=+zz", b"XFORWARD A=+C3", b"BURL", b"BURL a b", b"BURL a LAST x"],
)
def test_lines_that_are_no_commands_of_extensions(line: bytes) -> None:
    """The server's answer to them is 501."""
    with pytest.raises(CommandSyntaxError) as caught:
        parse_command(line)
    assert caught.value.hint.code == 501


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"burl imap://x last", "BURL LAST"),
        (b"BURL imap://x", "BURL"),
        (b"xclient a=b", "XCLIENT"),
        (b"Etrn x", "ETRN"),
    ],
)
def test_commands_of_extensions_written_by_hand(line: bytes, row: str) -> None:
    """A line that a person wrote moves the connection as the command does."""
    command = written_command(line)
    assert (command.row, command.line) == (row, line + b"\r\n")
