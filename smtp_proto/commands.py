"""Commands: one immutable class each, validated when built, encoded once, parsed again by the server.

The client builds a command from arguments, and `line` is what goes on the wire.  The server makes the same objects from
lines with `parse_command`, in `smtp_proto.parsing`; `line` is then what came.  Equality looks at the arguments, so a
command that was sent equals the one that is received.

Verbs are written in the letter case of the newest standard library (``mail from:<a@b> size=14``): servers take any
case (RFC 5321 2.4), and a client that switches over from `smtplib` finds the same octets in its packet dumps.

Some classes are not verbs but what a reply can answer to all the same: `Greeting`, `AuthResponse`, `EndOfData`.
`row` names the line of the table in `smtp_proto.states` that says when a command may be sent and what follows.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import ClassVar, Self, TypeVar

from .errors import InvalidArgument
from .grammar import (
    CONTROL_BYTES,
    CRLF,
    MAX_COMMAND_LENGTH,
    PATH,
    SASL_MECHANISM,
    WORD,
    clean_text,
    excerpt,
    plain_paths,
    xtext,
)
from .parameter import Parameter, check_placement
from .records import Record, set_field

P = TypeVar("P", bound=Parameter)


class Command(Record):
    """Base class.  `line`: the octets on the wire, CRLF included; empty for what is no line.

    `row`: the name of the command's row in `smtp_proto.states.TABLE`; where it depends on nothing, the verb.
    """

    __slots__ = ("line",)
    line: bytes
    row: str
    verb: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if "row" not in cls.__dict__:
            cls.row = cls.verb

    @property
    def shown(self) -> str:
        """The line for people: no line end, and no secret."""
        return self.line[:-2].decode("utf-8", "backslashreplace")


class _Domain(Command):
    """A command whose argument is the client's name (RFC 5321 4.1.1.1)."""

    __slots__ = ("domain",)
    fields = ("domain",)
    domain: str

    def __init__(self, domain: str) -> None:
        octets = clean_text("domain", domain)
        if not WORD.fullmatch(domain):
            raise InvalidArgument("domain", f"{excerpt(domain)} is not one word")
        set_field(self, "domain", domain)
        set_field(self, "line", b"%b %b\r\n" % (self.verb.lower().encode(), octets))


class Ehlo(_Domain):
    """EHLO (RFC 5321 4.1.1.1): introduces the client and asks for the extensions."""

    __slots__ = ()
    verb = "EHLO"


class Helo(_Domain):
    """HELO (RFC 5321 4.1.1.1): introduces the client to a server without extensions."""

    __slots__ = ()
    verb = "HELO"


class Lhlo(_Domain):
    """LHLO (RFC 2033 4.1): LMTP's EHLO."""

    __slots__ = ()
    verb = "LHLO"


class _Envelope(Command):
    """MAIL or RCPT: a path and the parameters that extensions define.

    A parameter is a string as it stands in the line, or one of the classes of `smtp_proto.parameters`, which is also
    checked for its place: `InvalidArgument` for one of the other command, or beside one that it excludes.
    """

    __slots__ = ("_parameters", "path")
    fields = ("path", "parameters")
    path: str
    _parameters: tuple[str, ...]  # empty where there are none: to fill it takes a fifth of the making of a command
    _keyword: ClassVar[bytes]
    _argument: ClassVar[str]

    def __init__(self, path: str, parameters: Iterable[str] = ()) -> None:
        if PATH.fullmatch(path) and path.isascii() and len(path) <= MAX_COMMAND_LENGTH:
            octets = path.encode()
        else:
            octets = self._checked(path)
        line = self._keyword + octets + b">"
        parameters = tuple(parameters)
        typed = False
        for parameter in parameters:
            if not WORD.fullmatch(parameter):
                raise InvalidArgument("parameter", f"{excerpt(parameter)} is not one word")
            line += b" " + (parameter.encode() if parameter.isascii() else clean_text("parameter", parameter))
            typed = typed or isinstance(parameter, Parameter)
        if typed:
            check_placement(self.verb, parameters)
        if parameters and len(line) > MAX_COMMAND_LENGTH:
            raise InvalidArgument("parameters", f"{len(line)} octets are more than any command line holds")
        _set_path(self, path)
        if parameters:
            _set_parameters(self, parameters)
        _set_line(self, line + CRLF)

    @classmethod
    def each(cls, paths: Sequence[str], parameters: Iterable[str] = (), plain: bytes | None = None) -> list[Self]:
        """A command for each path, with the same parameters: what the constructor makes, in a fraction of the time.

        `plain`: what `smtp_proto.grammar.plain_paths` has given for the paths, for who has asked it.
        """
        octets = plain_paths(paths) if plain is None else plain
        if octets is None:
            parameters = tuple(parameters)
            return [cls(path, parameters) for path in paths]
        begin, end = cls._keyword, b">" + CRLF
        if parameters:
            first = cls(paths[0], parameters)
            parameters, end = first.parameters, first.line[len(begin) + len(paths[0]) :]
        if len(paths) == 1:
            [path], command = paths, _new(cls)
            _set_path(command, path)
            if parameters:
                _set_parameters(command, parameters)
            _set_line(command, begin + octets + end)
            return [command]
        # There is no NUL in any of them.
        lines = (begin + octets.replace(b"\n", end + b"\0" + begin) + end).split(b"\0")
        commands = list(map(_new, repeat(cls, len(paths))))
        # `any`, to which nothing is true here, goes through all without a line of Python for each.
        any(map(_set_path, commands, paths))
        if parameters:
            any(map(_set_parameters, commands, repeat(parameters)))
        any(map(_set_line, commands, lines))
        return commands

    @classmethod
    def lines(cls, plain: bytes, parameters: bytes = b"") -> bytes:
        """The lines of `each`, all together, for paths of which `plain_paths` has given `plain`; `parameters` as octets
        that may stand behind a path, with a space before each."""
        end = b">%b\r\n" % parameters
        return cls._keyword + plain.replace(b"\n", end + cls._keyword) + end

    @property
    def parameters(self) -> tuple[str, ...]:
        """As they were given, in order."""
        parameters: tuple[str, ...] = getattr(self, "_parameters", ())
        return parameters

    def _checked(self, path: str) -> bytes:
        """A path that is not plain, as octets."""
        octets = clean_text(self._argument, path)
        if not PATH.fullmatch(path):
            raise InvalidArgument(
                self._argument,
                f'{excerpt(path)} has white space, "<", ">" or a quotation mark outside a quoted local part',
            )
        return octets

    def parameter(self, keyword: str) -> str | None:
        """The value of a parameter: "" where it has none, None where it was not given."""
        for parameter in self.parameters:
            name, _, value = parameter.partition("=")
            if name.upper() == keyword:
                return value
        return None

    def get(self, kind: type[P]) -> P | None:
        """The typed parameter of this class, or None: ``command.get(Notify)``.

        What a server has read is typed; of what a client was given, only what it was given typed.
        """
        return next((parameter for parameter in self.parameters if isinstance(parameter, kind)), None)


# There is one for each recipient: by the slots' descriptors it takes half the time.
_new = object.__new__
_set_path = _Envelope.__dict__["path"].__set__
_set_parameters = _Envelope.__dict__["_parameters"].__set__
_set_line = Command.__dict__["line"].__set__


class Mail(_Envelope):
    """MAIL (RFC 5321 4.1.1.2): begins a mail transaction; `path` is the reverse-path, "" for the null one."""

    __slots__ = ()
    verb = "MAIL"
    _keyword = b"mail from:<"
    _argument = "reverse-path"

    @classmethod
    def sized(cls, path: str, octets: bytes, size: int) -> Self:
        """MAIL with SIZE (RFC 1870 6): what the constructor makes, for a path that `plain_paths` has made `octets`."""
        command = _new(cls)
        _set_path(command, path)
        _set_parameters(command, (f"size={size}",))
        _set_line(command, cls.lines(octets, b" size=%d" % size))
        return command


class Rcpt(_Envelope):
    """RCPT (RFC 5321 4.1.1.3): one recipient; `path` is the forward-path."""

    __slots__ = ()
    verb = "RCPT"
    _keyword = b"rcpt to:<"
    _argument = "forward-path"


class _Bare(Command):
    """A command without arguments."""

    __slots__ = ()
    _line: ClassVar[bytes] = b""

    def __init__(self) -> None:
        set_field(self, "line", self._line)


class Data(_Bare):
    """DATA (RFC 5321 4.1.1.4): asks to send the message; a 354 means go on."""

    __slots__ = ()
    verb = "DATA"
    _line = b"data\r\n"


class Rset(_Bare):
    """RSET (RFC 5321 4.1.1.5): ends the mail transaction under way."""

    __slots__ = ()
    verb = "RSET"
    _line = b"rset\r\n"


class Quit(_Bare):
    """QUIT (RFC 5321 4.1.1.10): the last command; the server answers and closes."""

    __slots__ = ()
    verb = "QUIT"
    _line = b"quit\r\n"


class StartTLS(_Bare):
    """STARTTLS (RFC 3207 4): after its 220 a TLS handshake follows."""

    __slots__ = ()
    verb = "STARTTLS"
    _line = b"STARTTLS\r\n"


class _Text(Command):
    """A command with free text behind the verb."""

    __slots__ = ("text",)
    fields = ("text",)
    text: str
    _required: ClassVar[bool] = False

    def __init__(self, text: str = "") -> None:
        octets = clean_text(f"{self.verb} argument", text)
        if self._required and not text:
            raise InvalidArgument(f"{self.verb} argument", "must not be empty")
        set_field(self, "text", text)
        set_field(self, "line", self.verb.lower().encode() + (b" " + octets if text else b"") + CRLF)


class Noop(_Text):
    """NOOP (RFC 5321 4.1.1.9): asks for a 250 and nothing else."""

    __slots__ = ()
    verb = "NOOP"


class Help(_Text):
    """HELP (RFC 5321 4.1.1.8)."""

    __slots__ = ()
    verb = "HELP"


class Vrfy(_Text):
    """VRFY (RFC 5321 4.1.1.6): is this a user or mailbox?"""

    __slots__ = ()
    verb = "VRFY"
    _required = True


class Expn(_Text):
    """EXPN (RFC 5321 4.1.1.7): who is on this mailing list?"""

    __slots__ = ()
    verb = "EXPN"
    _required = True


class Bdat(Command):
    """BDAT (RFC 3030 2): announces `size` octets of message that follow at once, and with `last`, its end."""

    __slots__ = ("last", "row", "size")
    fields = ("size", "last")
    verb = "BDAT"
    size: int
    last: bool

    def __init__(self, size: int, last: bool = False) -> None:
        if not 0 <= size < 10**20:
            raise InvalidArgument("chunk-size", f"{size} is no number of octets")
        set_field(self, "size", size)
        set_field(self, "last", last)
        set_field(self, "row", "BDAT LAST" if last else "BDAT")
        set_field(self, "line", b"BDAT %d LAST\r\n" % size if last else b"BDAT %d\r\n" % size)


# RFC 4467 3: what stands behind the mechanism of URLAUTH lets anybody fetch the message who knows it.
_URLAUTH = r"(?i)(;urlauth=)[^ ]*"  # compiled when there is one


class Burl(Command):
    """BURL (RFC 4468 3.2): in the place of a chunk, the URL that the server fetches it from, and with `last`, its end.

    The authorisation in the URL (URLAUTH) is a secret, and not in `shown` nor in `repr`.
    """

    __slots__ = ("last", "row", "url")
    fields = ("url", "last")
    verb = "BURL"
    url: str
    last: bool

    def __init__(self, url: str, last: bool = False) -> None:
        # Not `clean_text`, which would show the secret.
        if not WORD.fullmatch(url) or not url.isascii() or len(url) > MAX_COMMAND_LENGTH:
            raise InvalidArgument("URL", f"{excerpt(re.sub(_URLAUTH, '', url))} is not one word of ASCII")
        set_field(self, "url", url)
        set_field(self, "last", last)
        set_field(self, "row", "BURL LAST" if last else "BURL")
        set_field(self, "line", f"BURL {url}{' LAST' if last else ''}\r\n".encode("ascii"))

    @property
    def shown(self) -> str:
        return re.sub(_URLAUTH, r"\1***", super().shown)

    def __repr__(self) -> str:
        return f"Burl({self.shown[5:]!r})"


class Etrn(_Text):
    """ETRN (RFC 1985): asks the server to send what it has queued for a host ("@domain": and those below it; "#name":
    a queue of that name)."""

    __slots__ = ()
    verb = "ETRN"
    _required = True


#: What stands for the value of an attribute that is not known (XCLIENT, XFORWARD).
UNAVAILABLE = "[UNAVAILABLE]"


class _Attributes(Command):
    """A command of Postfix's that carries attributes, their values in xtext; None is sent as `UNAVAILABLE`."""

    __slots__ = ("attributes",)
    fields = ("attributes",)
    attributes: tuple[tuple[str, str], ...]

    def __init__(self, attributes: Mapping[str, str | None]) -> None:
        if not attributes:
            raise InvalidArgument("attributes", f"{self.verb} needs one at least")
        line = self.verb.encode()
        for name, value in attributes.items():
            if not (name.isascii() and name.isalpha()):
                raise InvalidArgument("attributes", f"{excerpt(name)} is no name of one")
            # `clean_text` would refuse what xtext has a way to write; the lone surrogate is what is left to refuse.
            try:
                octets = (UNAVAILABLE if value is None else value).encode("utf-8")
            except UnicodeEncodeError:
                raise InvalidArgument(name, "a lone surrogate has no encoding") from None
            line += f" {name.upper()}={xtext(octets)}".encode()
        if len(line) > MAX_COMMAND_LENGTH:
            raise InvalidArgument("attributes", f"{len(line)} octets are more than any command line holds")
        values = ((name.upper(), UNAVAILABLE if value is None else value) for name, value in attributes.items())
        set_field(self, "attributes", tuple(values))
        set_field(self, "line", line + CRLF)

    def __getitem__(self, name: str) -> str:
        return dict(self.attributes)[name]


class XClient(_Attributes):
    """XCLIENT (Postfix): who the client really is, said by a proxy that the server trusts; the session begins anew."""

    __slots__ = ()
    verb = "XCLIENT"


class XForward(_Attributes):
    """XFORWARD (Postfix): whom the next message came from, for the log of a server behind a content filter."""

    __slots__ = ()
    verb = "XFORWARD"


def _base64_line(octets: bytes) -> bytes:
    # RFC 4954 4: an empty response is sent as "=", for an empty argument would be none at all.
    return b64encode(octets) or b"="


class Auth(Command):
    """AUTH (RFC 4954 4): begins an exchange of `mechanism`, with its initial response if it has one.

    `initial_response` is in the clear here and base64 on the wire; it never appears in `repr` or in `shown`.
    """

    __slots__ = ("initial_response", "mechanism")
    fields = ("mechanism", "initial_response")
    verb = "AUTH"
    mechanism: str
    initial_response: bytes | None

    def __init__(self, mechanism: str, initial_response: bytes | None = None) -> None:
        if not SASL_MECHANISM.fullmatch(mechanism):
            # It is not shown: who leaves the name out has put the response, and so a password, in its place.
            raise InvalidArgument("mechanism", "not the name of a SASL mechanism (RFC 4422 3.1)")
        set_field(self, "mechanism", mechanism.upper())
        set_field(self, "initial_response", initial_response)
        line = b"AUTH " + mechanism.upper().encode()
        if initial_response is not None:
            line += b" " + _base64_line(initial_response)
        set_field(self, "line", line + CRLF)

    @property
    def shown(self) -> str:
        return f"AUTH {self.mechanism}" + (" ***" if self.initial_response is not None else "")

    def __repr__(self) -> str:
        return f"Auth({self.shown[5:]!r})"


class AuthResponse(Command):
    """The answer to a 334 (RFC 4954 4): a SASL response, or with None the "*" that cancels the exchange.

    Like the initial response of `Auth`, `octets` never appear in `repr` or `shown`.
    """

    __slots__ = ("octets",)
    fields = ("octets",)
    verb = "AUTH response"
    octets: bytes | None

    def __init__(self, octets: bytes | None) -> None:
        set_field(self, "octets", octets)
        # Unlike an initial response, an empty one is an empty line (RFC 4954 4).
        set_field(self, "line", b"*\r\n" if octets is None else b64encode(octets) + CRLF)

    @property
    def shown(self) -> str:
        return "*" if self.octets is None else "***"

    def __repr__(self) -> str:
        return f"AuthResponse({self.shown!r})"


class Greeting(_Bare):
    """Not sent: what the server's first reply, its greeting (RFC 5321 3.1), is matched to."""

    __slots__ = ()
    verb = "greeting"

    @property
    def shown(self) -> str:
        return ""


class EndOfData(_Bare):
    """The end of the message after DATA (RFC 5321 4.1.1.4): CRLF "." CRLF, which the body encoder writes."""

    __slots__ = ()
    verb = "end of data"

    @property
    def shown(self) -> str:
        return "."


class Raw(Command):
    """Any other line: a verb that has no class here, or a line that a person wrote, kept as it is.

    `row` names the row of the table whose transitions a reply to the line brings about; a line that begins with a verb
    that is known has that verb's, so that the connection follows what a person does by hand.
    """

    __slots__ = ("row", "text")
    fields = ("text", "row")
    text: bytes

    def __init__(self, text: bytes, row: str = "other") -> None:
        control = CONTROL_BYTES.search(text)
        if control:
            # The line is not shown: the line end behind AUTH's base64 is what `base64.encodebytes` leaves there.
            raise InvalidArgument("command", f"prohibited control character {control[0]!r} at offset {control.start()}")
        if len(text) > MAX_COMMAND_LENGTH:
            raise InvalidArgument("command", f"{len(text)} octets are more than any command line holds")
        set_field(self, "text", text)
        set_field(self, "row", row)
        set_field(self, "line", text + CRLF)

    @property
    def shown(self) -> str:
        if self.row == "AUTH response":
            return "***"
        words = self.text.decode("latin-1").split(None, 2)
        if words and words[0].upper() == "BURL":
            return re.sub(_URLAUTH, r"\1***", super().shown)
        if words and words[0].upper() == "AUTH" and len(words) > 1:
            # Whatever follows the mechanism may be a password, however badly the line is put together.
            return f"AUTH {words[1]} ***" if len(words) > 2 and SASL_MECHANISM.fullmatch(words[1]) else "AUTH ***"
        return super().shown

    def __repr__(self) -> str:
        return f"Raw({self.shown!r})"
