"""Whatever line a client sends is a command or has a refusal as its answer; a command written anew reads the same.

An input: one line, without its line end.
"""

from __future__ import annotations

from smtp_proto.commands import Auth, Bdat, Command, Mail, Raw, Rcpt
from smtp_proto.errors import InvalidArgument
from smtp_proto.grammar import CONTROL_BYTES
from smtp_proto.parsing import CommandSyntaxError, parse_auth_response, parse_command, written_command
from smtp_proto.replies import Reply


def check(data: bytes) -> None:
    check_read(data)
    check_response(data)
    check_written(data)


def check_hint(hint: Reply) -> None:
    """It refuses, and can be sent as it is."""
    assert hint.code in (500, 501, 521)
    assert len(hint.encode()) <= 512


def check_read(line: bytes) -> None:
    try:
        command = parse_command(line)
    except CommandSyntaxError as error:
        check_hint(error.hint)
        return
    assert command.line == line + b"\r\n"
    assert "\n" not in command.shown
    assert repr(command)
    verb = line.split(b" ")[0].strip(b" \t")
    assert isinstance(command, Raw) or command.verb.encode() == verb.upper()
    again = anew(command)
    assert again == command
    assert again.line.endswith(b"\r\n")
    assert not CONTROL_BYTES.search(again.line[:-2])
    assert parse_command(again.line[:-2]) == command
    if isinstance(command, (Mail, Rcpt)):
        for parameter in command.parameters:
            assert parameter.isprintable() or not parameter.isascii()


def anew(command: Command) -> Command:
    """The same command, built from its values as a client would."""
    if isinstance(command, Raw):
        return Raw(command.text)
    if isinstance(command, (Mail, Rcpt)):
        return type(command)(command.path, [str(parameter) for parameter in command.parameters])
    return type(command)(*(getattr(command, field) for field in command.fields))


def check_response(line: bytes) -> None:
    try:
        command = parse_auth_response(line)
    except CommandSyntaxError as error:
        check_hint(error.hint)
        return
    assert command.shown in ("*", "***")
    assert parse_auth_response(command.line[:-2]) == command


def check_written(line: bytes) -> None:
    """What a person wrote goes out as it is, or not at all; as a BDAT only what every server takes for the same one."""
    try:
        command = written_command(line)
    except InvalidArgument:
        return
    assert command.line == line + b"\r\n"
    assert not CONTROL_BYTES.search(line)
    if isinstance(command, Bdat):
        assert line.split()[1] == b"%d" % command.size or int(line.split()[1]) == command.size
    elif line.upper().split()[:1] == [b"AUTH"] and len(line.split()) > 2:
        assert isinstance(command, (Auth, Raw))
        assert command.shown.endswith("***")
