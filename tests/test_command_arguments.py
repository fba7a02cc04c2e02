"""What a client may put into a command, what is shown of it, and lines that a person wrote by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_proto.commands import (
    Auth,
    AuthResponse,
    Bdat,
    Command,
    Ehlo,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Raw,
    Rcpt,
    Vrfy,
)
from smtp_proto.errors import InvalidArgument
from smtp_proto.events import CommandReceived, CommandRejected, ReplyReceived
from smtp_proto.grammar import CONTROL_BYTES, MAX_COMMAND_LENGTH
from smtp_proto.parsing import CommandSyntaxError, parse_auth_response, parse_command, written_command
from smtp_proto.replies import Reply
from smtp_proto.transcript import command_said

# Every argument that is text, as a function of it.
ARGUMENTS: dict[str, Callable[[str], Command]] = {
    "EHLO domain": Ehlo,
    "HELO domain": Helo,
    "LHLO domain": Lhlo,
    "reverse-path": Mail,
    "quoted reverse-path": lambda text: Mail(f'"{text}"@example.org'),
    "forward-path": Rcpt,
    "MAIL parameter": lambda text: Mail("a@b", [text]),
    "MAIL value": lambda text: Mail("a@b", ["SIZE=1", f"AUTH={text}"]),
    "RCPT parameter": lambda text: Rcpt("a@b", [text]),
    "NOOP text": Noop,
    "HELP text": Help,
    "VRFY text": Vrfy,
    "EXPN text": Expn,
    "AUTH mechanism": Auth,
    "raw line": lambda text: Raw(text.encode("utf-8", "surrogatepass")),
}


@pytest.mark.parametrize("make", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("control", [chr(c) for c in (*range(32), 127)], ids=ascii)
def test_no_control_character_in_any_argument(make: Callable[[str], Command], control: str) -> None:
    """No CR, LF, NUL or other control character reaches the wire inside any argument, wherever in it it stands."""
    for text in (control, f"{control}a", f"a{control}", f"a{control}b", f"a{control}\nRSET"):
        with pytest.raises(InvalidArgument):
            make(text)


@pytest.mark.parametrize("make", [make for name, make in ARGUMENTS.items() if name != "raw line"])
@pytest.mark.parametrize("surrogate", ["\ud800", "a\udcffb"], ids=ascii)
def test_no_lone_surrogate_in_any_argument(make: Callable[[str], Command], surrogate: str) -> None:
    """What has no encoding is refused as an argument, not with an exception of the codec."""
    with pytest.raises(InvalidArgument):
        make(surrogate)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ehlo(""),
        lambda: Ehlo("a b"),
        lambda: Ehlo("a\u2028b"),
        lambda: Mail("a@b> NOTIFY=NEVER"),
        lambda: Mail("a@b>,<c@d"),
        lambda: Rcpt("a b@c"),
        lambda: Rcpt('a"b@c'),
        lambda: Mail("a@b", ["SIZE=1 BODY=7BIT"]),
        lambda: Mail("a@b", [""]),
        lambda: Mail("a@b", ["SIZE=1", "A=\u2003"]),
        lambda: Rcpt("a@b", [" NOTIFY=NEVER"]),
        lambda: Vrfy(""),
        lambda: Expn(""),
        lambda: Bdat(-1),
        lambda: Bdat(10**20),
        lambda: Auth(""),
        lambda: Auth("PLAIN x"),
        lambda: Auth("A" * 21),
        lambda: Noop("x" * (MAX_COMMAND_LENGTH + 1)),
        lambda: Raw(b"x" * (MAX_COMMAND_LENGTH + 1)),
    ],
)
def test_arguments_that_are_refused(make: Callable[[], Command]) -> None:
    """One word stays one word, a path ends at its bracket, a size has up to 20 digits, a line has a bound."""
    with pytest.raises(InvalidArgument):
        make()


def test_longest_lines() -> None:
    """The bound itself passes."""
    assert len(Noop("x" * MAX_COMMAND_LENGTH).line) == MAX_COMMAND_LENGTH + 7
    assert len(Raw(b"x" * MAX_COMMAND_LENGTH).line) == MAX_COMMAND_LENGTH + 2


@given(st.sampled_from(sorted(ARGUMENTS)), st.text() | st.text(st.sampled_from('ab <>"\\@=\r\n\0\u2003ä')))
def test_any_argument_is_one_line_or_refused(name: str, text: str) -> None:
    """Whatever the text, what is built is one line that the server reads as the same command, or nothing is built."""
    try:
        command = ARGUMENTS[name](text)
    except InvalidArgument:
        return
    assert command.line.endswith(b"\r\n")
    assert not CONTROL_BYTES.search(command.line[:-2])
    try:
        received = parse_command(command.line[:-2])
    except CommandSyntaxError:
        # The server may want more of it than the client, but it never reads something else.
        return
    if text == text.strip(" ") and name != "raw line":
        assert received == command


# -- secrets -----------------------------------------------------------------------------------------------------------

SECRET = "aHVudGVyMg=="  # hunter2
COMMANDS_WITH_SECRETS: list[tuple[Command, str]] = [
    (Auth("PLAIN", b"hunter2"), "AUTH PLAIN ***"),
    (Auth("XOAUTH2", b""), "AUTH XOAUTH2 ***"),
    (Auth("LOGIN"), "AUTH LOGIN"),
    (AuthResponse(b"hunter2"), "***"),
    (AuthResponse(b""), "***"),
    (AuthResponse(None), "*"),
    (parse_command(b"auth plain " + SECRET.encode()), "AUTH PLAIN ***"),
    (parse_auth_response(SECRET.encode()), "***"),
    (Raw(b"AUTH PLAIN " + SECRET.encode()), "AUTH PLAIN ***"),
    (Raw(b"auth plain " + SECRET.encode()), "AUTH plain ***"),
    (Raw(b"  Auth   PLAIN   " + SECRET.encode() + b" x"), "AUTH PLAIN ***"),
    (Raw(b"AUTH " + SECRET.encode()), "AUTH ***"),
    (Raw(b"AUTH hunter2"), "AUTH ***"),
    (Raw(b"AUTH " + SECRET.encode() + b" PLAIN"), "AUTH ***"),
    (Raw(b"aUtH \xff " + SECRET.encode()), "AUTH ***"),
    (Raw(b"AUTH\xa0PLAIN " + SECRET.encode()), "AUTH PLAIN ***"),
    (Raw(SECRET.encode(), "AUTH response"), "***"),
    (Raw(b"AUTH is my " + SECRET.encode(), "AUTH response"), "***"),
    (Raw(b"QUIT", "AUTH response"), "***"),
    (written_command(b"AUTH PLAIN " + SECRET.encode()), "AUTH PLAIN ***"),
    (written_command(b" auth  PLAIN " + SECRET.encode()), "AUTH PLAIN ***"),
]


@pytest.mark.parametrize(("command", "shown"), COMMANDS_WITH_SECRETS)
def test_secrets_are_masked(command: Command, shown: str) -> None:
    """Of AUTH only the mechanism is shown, of its responses nothing: in `shown`, `repr`, transcripts and events."""
    assert command.shown == shown
    assert command_said(command).text == shown
    for value in (command, [command], CommandReceived(command), ReplyReceived(Reply(235), command, 1)):
        for text in (repr(value), str(value), f"{value}"):
            assert SECRET not in text
            assert "hunter2" not in text


def test_what_is_no_secret_is_shown() -> None:
    """A line is shown as it is, without its end, and what is not UTF-8 with escapes."""
    assert Mail("käse@b", ["SIZE=1"]).shown == "mail from:<käse@b> SIZE=1"
    assert Raw(b"XYZZY \xff").shown == "XYZZY \\xff"
    assert Raw(b"AUTH").shown == "AUTH"
    assert Raw(b"").shown == ""
    assert Raw(b"AUTHOR x y").shown == "AUTHOR x y"
    assert repr(Raw(b"NOOP x")) == "Raw('NOOP x')"
    assert repr(Auth("PLAIN", b"x")) == "Auth('PLAIN ***')"
    assert repr(AuthResponse(None)) == "AuthResponse('*')"
    assert repr(Mail("a@b", ["SIZE=1"])) == "Mail(path='a@b', parameters=('SIZE=1',))"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Raw(b"AUTH PLAIN " + SECRET.encode() + b"\n"),  # as base64.encodebytes leaves it
        lambda: Raw(SECRET.encode() + b"\n", "AUTH response"),
        lambda: Auth(SECRET),
        lambda: Auth(f"PLAIN {SECRET}"),
        lambda: parse_command(b"AUTH " + SECRET.encode()),
        lambda: parse_command(b"AUTH PLAIN " + SECRET.encode() + b" x"),
        lambda: parse_command(b"AUTH PLAIN " + SECRET.encode() + b"="),
        lambda: parse_auth_response(SECRET.encode() + b"!"),
        lambda: written_command(b"AUTH PLAIN " + SECRET.encode() + b"\n"),
    ],
)
def test_no_secret_in_an_error(make: Callable[[], Command]) -> None:
    """A mistake around a secret is described without it."""
    with pytest.raises((InvalidArgument, CommandSyntaxError)) as caught:
        make()
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_a_rejected_line_is_not_shown() -> None:
    """What the server refused may be a mangled AUTH: its event shows its length only."""
    shown = repr(CommandRejected(b"AUTHPLAIN " + SECRET.encode(), Reply(500, "what?")))
    assert shown == "CommandRejected(<22 octets>, hint=Reply(code=500, lines=(b'what?',)))"


# -- lines written by hand ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"NOOP", "NOOP"),
        (b"noop x", "NOOP"),
        (b"  Noop", "NOOP"),
        (b"DATA please", "DATA"),
        (b"MAIL FROM:<a b>", "MAIL"),
        (b"rcpt\xa0x", "other"),
        (b"STARTTLS now", "STARTTLS"),
        (b"QUIT", "QUIT"),
        (b"AUTH", "AUTH"),
        (b"ehlo", "EHLO"),
        (b"XYZZY", "other"),
        (b"greeting", "other"),
        (b"other", "other"),
        (b"", "other"),
        (b"  ", "other"),
        (b"BDAT 5", "BDAT"),
        (b"bdat 5 last", "BDAT LAST"),
    ],
)
def test_written_lines(line: bytes, row: str) -> None:
    """The line goes out as it is; its verb alone says what the answer will do to the connection."""
    command = written_command(line)
    assert command.line == line + b"\r\n"
    assert command.row == row
    assert isinstance(command, Bdat if "BDAT" in row else Raw)


@pytest.mark.parametrize("line", [b"BDAT", b"BDAT x", b"bdat -1", b"BDAT 5 FIRST", b" BDAT 5", b"BDAT  5 \xff"])
def test_written_bdat_must_be_right(line: bytes) -> None:
    """The number of BDAT says how much of what follows is no command, so one that is wrong does not go out."""
    with pytest.raises(InvalidArgument, match="BDAT"):
        written_command(line)


@pytest.mark.parametrize("line", [b"NOOP\r", b"NOOP\nRSET", b"NOOP\0", b"BDAT\t5", b"BDAT 5\t", b"BDAT 5\r", b"\t"])
def test_written_lines_without_controls(line: bytes) -> None:
    """By hand, too, no control character reaches the wire inside a command."""
    with pytest.raises(InvalidArgument):
        written_command(line)
