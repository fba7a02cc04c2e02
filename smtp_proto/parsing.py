"""Lines to commands: the server's strict reading, and the reading of a line that a person wrote to the client.

`parse_command` is for the server: it makes the classes of `smtp_proto.commands` and knows the right refusal for a line
that is none.  `written_command` is for clients whose callers write lines by hand (`putcmd`, `docmd`): the line goes out
as it is, and only as much is understood as the connection needs to stay in step with the answer.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable

from .commands import (
    Auth,
    AuthResponse,
    Bdat,
    Burl,
    Command,
    Data,
    Ehlo,
    Etrn,
    Expn,
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
from .errors import InvalidArgument, ProtocolError
from .grammar import BRACKETED_PATH, CONTROL_BYTES, ESMTP_PARAMETER, excerpt, parse_xtext
from .parameter import typed_parameter
from .records import set_field
from .replies import Reply
from .states import TABLE


class CommandSyntaxError(ProtocolError):
    """A line that is no command; `hint` is the reply to give, `size` the octets that a refused BDAT brings along."""

    def __init__(self, hint: Reply) -> None:
        super().__init__(str(hint))
        self.hint = hint


def _syntax(text: str) -> CommandSyntaxError:
    # RFC 5321 4.2.4: 501 for a known verb with arguments that are wrong.
    return CommandSyntaxError(Reply(501, f"5.5.4 {text}"))


def _nothing(make: Callable[[], Command]) -> Callable[[str], Command]:
    def parse(arguments: str) -> Command:
        if arguments:
            raise _syntax(f"{make().verb} takes no arguments")
        return make()

    return parse


def _text(make: Callable[[str], Command]) -> Callable[[str], Command]:
    return make


def _path(make: Callable[[str, list[str]], Command], verb: str, keyword: str) -> Callable[[str], Command]:
    def parse(arguments: str) -> Command:
        # A space behind the colon is outside the grammar, and common.
        head, colon, rest = arguments.partition(":")
        match = BRACKETED_PATH.fullmatch(rest.strip(" ")) if colon and head.upper() == keyword else None
        if match is None:
            raise _syntax(f"Syntax: {keyword}:<address> [parameters]")
        # Not split(), which takes U+2003 for a separator, too.
        parameters = [parameter for parameter in (match[2] or "").split(" ") if parameter]
        if parameters:
            from . import parameters as _classes  # noqa: F401  # which `typed_parameter` finds; clients rarely parse any
        for parameter in parameters:
            if not ESMTP_PARAMETER.fullmatch(parameter):
                raise _syntax(f"{excerpt(parameter)} is not of the form keyword or keyword=value")
        return make(match[1], [typed_parameter(verb, parameter) for parameter in parameters])

    return parse


def _rcpt(path: str, parameters: list[str]) -> Command:
    if not path:
        # RFC 5321 4.1.2: only a reverse-path can be null.  A client may send it, to see what a server says to it.
        raise InvalidArgument("forward-path", "a recipient's path is never empty")
    return Rcpt(path, parameters)


# Nobody knows now how many octets follow, and read as commands they would be an attack: so the connection is closed.
UNREADABLE_CHUNK = Reply(521, "5.5.4 Syntax: BDAT size [LAST]; closing, for the message cannot be told")


def _unreadable(octets: bytes, problem: str) -> CommandSyntaxError:
    return CommandSyntaxError(UNREADABLE_CHUNK if octets[:4].upper() == b"BDAT" else Reply(500, f"5.5.2 {problem}"))


def _bdat(arguments: str) -> Command:
    # ASCII only, as a whole: str.split() also takes U+2003 for a space, and str.upper() "la\u017ft" for LAST.
    words = arguments.split() if arguments.isascii() else []
    size_is_number = bool(words) and words[0].isdigit() and len(words[0]) <= 20
    if not size_is_number or len(words) > 2 or (len(words) == 2 and words[1].upper() != "LAST"):
        raise CommandSyntaxError(UNREADABLE_CHUNK)
    return Bdat(int(words[0]), last=len(words) == 2)


def _burl(arguments: str) -> Command:
    words = arguments.split(" ")
    if len(words) > 2 or (len(words) == 2 and words[1].upper() != "LAST"):
        raise _syntax("Syntax: BURL url [LAST]")
    return Burl(words[0], last=len(words) == 2)


def _attributes(make: type[XClient | XForward]) -> Callable[[str], Command]:
    def parse(arguments: str) -> Command:
        attributes: dict[str, str | None] = {}
        for word in filter(None, arguments.split(" ")):
            name, equals, value = word.partition("=")
            try:
                text = parse_xtext(value).decode("utf-8")
            except (InvalidArgument, UnicodeDecodeError):
                text = equals = ""
            if not equals:
                raise _syntax(f"{excerpt(word)} is not of the form name=xtext")
            attributes[name.upper()] = text
        return make(attributes)

    return parse


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CommandSyntaxError(Reply(501, "5.5.2 Cannot decode the base64 of the response")) from None


def _auth(arguments: str) -> Command:
    words = arguments.split(" ")
    if len(words) == 1:
        return Auth(words[0])
    if len(words) == 2:
        return Auth(words[0], b"" if words[1] == "=" else _base64(words[1]))
    raise _syntax("Syntax: AUTH mechanism [initial-response]")


_PARSERS: dict[str, Callable[[str], Command]] = {
    "EHLO": _text(Ehlo),
    "HELO": _text(Helo),
    "LHLO": _text(Lhlo),
    "MAIL": _path(Mail, "MAIL", "FROM"),
    "RCPT": _path(_rcpt, "RCPT", "TO"),
    "DATA": _nothing(Data),
    "BDAT": _bdat,
    "RSET": _nothing(Rset),
    "NOOP": _text(Noop),
    "HELP": _text(Help),
    "VRFY": _text(Vrfy),
    "EXPN": _text(Expn),
    "BURL": _burl,
    "ETRN": _text(Etrn),
    "XCLIENT": _attributes(XClient),
    "XFORWARD": _attributes(XForward),
    "STARTTLS": _nothing(StartTLS),
    "AUTH": _auth,
    "QUIT": _nothing(Quit),
}


def parse_command(line: bytes) -> Command:
    """The command in `line` (without its line end); `CommandSyntaxError` with the reply to give if it is none."""
    octets = line.rstrip(b" \t")
    if CONTROL_BYTES.search(octets):
        raise _unreadable(octets, "Control characters in the command")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise _unreadable(octets, "The command is not UTF-8") from None
    verb, _, arguments = text.partition(" ")
    # Verbs are ASCII (RFC 5321 2.4); upper() alone would take "\u017ftarttls" for STARTTLS.
    parse = _PARSERS.get(verb.upper()) if verb.isascii() else None
    try:
        command = Raw(octets) if parse is None else parse(arguments.strip(" "))
    except InvalidArgument as error:
        raise _syntax(str(error)) from None
    set_field(command, "line", line + b"\r\n")
    return command


def parse_auth_response(line: bytes) -> AuthResponse:
    """A client's answer to a 334 (RFC 4954 4), "*" included; `CommandSyntaxError` if it is not base64."""
    return AuthResponse(None if line == b"*" else _base64(line.decode("latin-1")))


def written_command(line: bytes) -> Command:
    """The command that a person wrote as `line`, for a client to send as it is; `InvalidArgument` if it must not be.

    The verb decides what the answer does to the connection, however wrong the rest of the line may be: the server may
    answer 354 to a "DATA please".  Only BDAT must be right, for its number says how much of what follows is no command.
    """
    verb = line.split(None, 1)[0].decode("latin-1").upper() if line.strip() else ""
    row = verb if verb in TABLE else "other"
    if row == "BURL" and line.split()[-1].upper() == b"LAST":
        row = "BURL LAST"
    written = Raw(line, row)  # a control character is refused here, whatever the verb
    if verb == "BDAT":
        try:
            command = parse_command(line)
        except CommandSyntaxError as error:
            raise InvalidArgument("BDAT", error.hint.text) from None
        if not isinstance(command, Bdat):
            # A space in front: a server may take it for a BDAT, and `parse_command` does not.
            raise InvalidArgument("BDAT", "the line must begin with it")
        return command
    return written
