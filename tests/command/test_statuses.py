"""Every way in which a command can end has its exit status, and one line that says what happened."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from smtp_blocking.command.status import Status
from tests import certificates
from tests.command.conftest import Ended, Run
from tests.scripted import (
    Close,
    Conversation,
    Drain,
    Expect,
    ExpectBody,
    ExpectEOF,
    ExpectHangUp,
    Repeat,
    ScriptedServer,
    Send,
    StartTLS,
    Step,
    WaitFor,
)

GREETING = Send(b"220 mx.test ESMTP\r\n")
HELLO = (GREETING, Expect(b"ehlo "), Send(b"250 mx.test\r\n"))
ENVELOPE = (
    *HELLO,
    Expect(b"mail "),
    Send(b"250 ok\r\n"),
    Expect(b"rcpt "),
    Send(b"250 ok\r\n"),
    Expect(b"data"),
    Send(b"354 go on\r\n"),
)
RESET = (Expect(b"rset"), Send(b"250 ok\r\n"))
BYE = (Expect(b"quit"), Send(b"221 bye\r\n"), Drain())


def offering(*lines: bytes) -> tuple[Step, ...]:
    return (
        GREETING,
        Expect(b"ehlo "),
        Send(b"".join(b"250-%s\r\n" % line for line in (b"mx.test", *lines)) + b"250 x\r\n"),
    )


def test_every_status_has_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert set(re.findall(r"Status\.([A-Z][A-Z_]+)", tests)) == set(Status.__members__)


# What a server does with `send message.eml`, and what comes of it: the status, and a part of the line.
REFUSALS: dict[str, tuple[Sequence[Step], Status, str]] = {
    "greeting refused": ([Send(b"554 go away\r\n"), Drain()], Status.NO_CONNECTION, "554 go away"),
    "greeting later": ([Send(b"421 busy\r\n"), Drain()], Status.TEMPORARY, "421 busy (try again later)"),
    "hello refused": (
        [GREETING, Expect(b"ehlo "), Send(b"550 no\r\n"), Expect(b"helo "), Send(b"550 not you\r\n"), *BYE],
        Status.PROTOCOL,
        "550 not you",
    ),
    "sender refused": (
        [*HELLO, Expect(b"mail "), Send(b"550 5.7.1 not you\r\n"), *RESET, *BYE],
        Status.SENDER_REFUSED,
        "the sender <ada@example.org> was refused: 550 5.7.1 not you",
    ),
    "sender refused for now": (
        [*HELLO, Expect(b"mail "), Send(b"451 4.7.1 greylisted\r\n"), *RESET, *BYE],
        Status.TEMPORARY,
        "the sender <ada@example.org> was refused for now: 451 4.7.1 greylisted (try again later)",
    ),
    "recipients refused": (
        [*HELLO, Expect(), Send(b"250 ok\r\n"), Expect(b"rcpt "), Send(b"550 who?\r\n"), *RESET, *BYE],
        Status.RECIPIENTS_REFUSED,
        "no recipient was accepted",
    ),
    "recipients refused for now": (
        [*HELLO, Expect(), Send(b"250 ok\r\n"), Expect(b"rcpt "), Send(b"450 full\r\n"), *RESET, *BYE],
        Status.TEMPORARY,
        "no recipient was accepted, some only for now (try again later)",
    ),
    "message refused": (
        [*ENVELOPE, ExpectBody(), Send(b"554-5.6.0 spam\r\n554 5.6.0 twice\r\n"), *RESET, *BYE],
        Status.MESSAGE_REFUSED,
        "the message was refused: 554 5.6.0 spam 5.6.0 twice",
    ),
    "message refused for now": (
        [*ENVELOPE, ExpectBody(), Send(b"451 4.3.0 later\r\n"), *RESET, *BYE],
        Status.TEMPORARY,
        "the message was refused for now: 451 4.3.0 later (try again later)",
    ),
    "lost early": ([*HELLO, Expect(b"mail "), Close()], Status.NO_CONNECTION, "; the message was not delivered"),
    "lost before the greeting": ([Close()], Status.NO_CONNECTION, "the connection was lost: "),
    "lost late": ([*ENVELOPE, ExpectBody(), Close()], Status.MAY_BE_DELIVERED, "the message may have been delivered"),
    "nonsense late": (
        [*ENVELOPE, ExpectBody(), Send(b"what?\r\n"), Drain()],
        Status.MAY_BE_DELIVERED,
        "the message may have been delivered",
    ),
    "an endless line late": (
        [*ENVELOPE, ExpectBody(), ExpectHangUp(Send(b"250 " + b"x" * 100_000))],
        Status.MAY_BE_DELIVERED,
        "the message may have been delivered",
    ),
    "shut down": (
        [*HELLO, Expect(b"mail "), Send(b"421 shutting down\r\n"), Drain()],
        Status.TEMPORARY,
        "421 shutting down",
    ),
    "nonsense": ([Send(b"HTTP/1.1 400 Bad Request\r\n"), Drain()], Status.PROTOCOL, "does not keep to the protocol"),
    "an endless line": (
        [ExpectHangUp(Send(b"220 " + b"x" * 100_000))],
        Status.PROTOCOL,
        "does not keep to the protocol",
    ),
    "out of turn": (
        [*HELLO, Expect(b"mail "), Send(b"250 ok\r\n250 ok\r\n"), Drain()],
        Status.PROTOCOL,
        "does not keep to the protocol",
    ),
}


def check_line(ended: Ended, status: Status, part: str) -> None:
    assert ended.status == status
    lines = ended.err.splitlines()
    assert lines[-1].startswith("smtp-proto: ")
    assert part in lines[-1]
    assert [line for line in lines if line.startswith("smtp-proto: ")] == lines[-1:]


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_server_does_has_a_status(name: str, eml: Path, run: Run) -> None:
    script, status, part = REFUSALS[name]
    with ScriptedServer(script, strict=False) as server:
        ended = run("send", "--host", server.host, "--port", server.port, eml)
    check_line(ended, status, part)
    assert f"{server.host} port {server.port}: " in ended.err.splitlines()[-1]
    assert ended.out == ""


def test_a_refused_recipient_is_named_in_the_servers_words(eml: Path, run: Run) -> None:
    script, _, _ = REFUSALS["recipients refused"]
    with ScriptedServer(script) as server:
        ended = run("send", "--host", server.host, "--port", server.port, eml)
    assert ended.err.splitlines()[0] == "refused: <grace@example.net> (550 who?)"


@pytest.mark.parametrize(
    "reply", [b"\x1b]0;owned\x07\x9b31m\r", b"\xe2\x80\xae reversed", b"\xff\xfe\x00", b"a\tb\x7f"]
)
@pytest.mark.parametrize("arguments", [("send", "-v"), ("probe", "-v"), ("probe", "--json")])
def test_a_hostile_server_cannot_disturb_the_terminal(
    reply: bytes, arguments: tuple[str, ...], eml: Path, run: Run
) -> None:
    """Whatever a reply holds, all that is written is printable, line by line."""
    script: list[Step] = [
        Send(b"220 " + reply + b"\r\n"),
        Expect(b"ehlo "),
        Send(b"250-" + reply + b"\r\n250-X" + reply + b"\r\n250 SIZE " + reply + b"\r\n"),
        Repeat(3, Expect(), Send(b"550 " + reply + b"\r\n")),
        Drain(),
    ]
    with ScriptedServer(script, strict=False) as server:
        ended = run(*arguments, "--host", server.host, "--port", server.port, *([eml] if "send" in arguments else []))
    assert ended.out + ended.err
    for line in (ended.out + ended.err).split("\n"):
        assert line.isprintable()


# -- without a server -------------------------------------------------------------------------------------------------


def test_nobody_listens(eml: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = run("send", "--host", "127.0.0.1", "--port", port, eml)
    check_line(ended, Status.NO_CONNECTION, f"127.0.0.1 port {port}: no connection: Connection refused")


@pytest.mark.parametrize(("number", "status"), [("EAI_NONAME", Status.NO_HOST), ("EAI_AGAIN", Status.TEMPORARY)])
def test_no_such_host(number: str, status: Status, eml: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*arguments: object, **options: object) -> object:
        raise socket.gaierror(getattr(socket, number), "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    check_line(
        run("send", "--host", "nowhere.invalid", eml), status, "nowhere.invalid port 25: no address for this name"
    )


@pytest.mark.parametrize("host", ["x" * 64 + ".test", "a..b"])
def test_a_name_that_can_be_none(host: str, eml: Path, run: Run) -> None:
    check_line(run("send", "--host", host, eml), Status.NO_HOST, "this can be no host's name")


def test_a_server_that_is_silent(eml: Path, run: Run) -> None:
    done = threading.Event()
    with ScriptedServer([WaitFor(done)]) as server:
        ended = run("send", "--host", server.host, "--port", server.port, "--timeout", "0.05", eml)
        done.set()
    check_line(ended, Status.NO_CONNECTION, "timed out")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--port", "99999"), "--port: '99999' is not a port"),
        (("--host", "mx.test:smtp"), "--host mx.test:smtp: 'smtp' is not a port"),
        (("--timeout", "0"), "is not a number of seconds above 0"),
        (("--timeout", "nan"), "is not a number of seconds above 0"),
        (("--tls", "maybe"), "'maybe' is not none, opportunistic, required, implicit"),
        (("--host", "/run/lmtp"), "Unix sockets are for --lmtp"),
        (("--host", "/run/lmtp", "--lmtp", "--tls", "required"), "--server-hostname is missing"),
        (("--subject", "x"), "--subject is for a message made of options"),
        (("--recip", "x"), "unrecognized arguments"),
        (("--user", "ada"), "no password: set SMTP_PROTO_PASSWORD"),
    ],
)
def test_what_does_not_go_together(
    arguments: tuple[str, ...], part: str, eml: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", no_terminal)
    check_line(run("send", *arguments, eml), Status.USAGE, part)


def no_terminal(*arguments: object, **options: object) -> int:
    raise OSError(6, "No such device or address")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "--from is missing"),
        (("--from", "a@b.test"), "no recipients"),
        (("--from", "a@b.test", "--to", "c@d.test", "--body-file", "x", "--body", "y"), "exclude each other"),
        (("--from", "a@b.test", "--to", "c@d.test", "--header", "none"), 'is not "NAME: VALUE"'),
        (("--from", "a@b.test", "--to", "c@d.test", "--header", "Content-Type: x/y"), "is made of the parts"),
    ],
)
def test_what_a_message_needs(arguments: tuple[str, ...], part: str, run: Run) -> None:
    check_line(run("send", "--subject", "x", *arguments), Status.USAGE, part)


@pytest.mark.parametrize(
    ("arguments", "stdin", "part"),
    [
        ((), b"To: c@d.test\n\nx\n", "standard input: no sender"),
        ((), b"From: a@b.test\n\nx\n", "standard input: no recipients"),
        ((), b"", "standard input: no sender"),
        ((), b"From: \xff@b.test\nTo: c@d.test\n\nx\n", "is not UTF-8"),
        ((), b"From: a@b.test\nTo: c@d.test\nResent-Date: x\nResent-Date: y\n\n", "more than one 'Resent-'"),
        (
            ("--from", "a@b.test", "--to", "c@d.test", "--subject", "a\nBcc: e@d.test"),
            b"",
            "linefeed or carriage return",
        ),
        (("--from", "a@b.test", "--to", "c@d.test", "--header", "To: e@d.test"), b"", "the message cannot be made"),
        (("--from", "", "--to", "c@d.test"), b"", "no sender"),
        (("--from", "a@b.test", "--to", "c@d.test", "--body", "\udce4"), b"", "surrogates not allowed"),
    ],
)
def test_a_message_that_is_none(arguments: tuple[str, ...], stdin: bytes, part: str, run: Run) -> None:
    check_line(run("send", *arguments, stdin=stdin), Status.DATA, part)


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("--recipient", "c@d.test\r\nDATA"), b"From: a@b.test\n\nx\n"),
        (("--sender", "a b@d.test"), b"To: a@b.test\n\nx\n"),
        (("--sender", "\udce4@d.test"), b"To: a@b.test\n\nx\n"),
    ],
)
def test_what_must_not_reach_the_wire(arguments: tuple[str, ...], stdin: bytes, run: Run) -> None:
    """An address that must not stand in a command is a mistake here, before anybody is connected to."""
    ended = run("send", "--host", "nowhere.invalid", *arguments, stdin=stdin)
    check_line(ended, Status.DATA, "nothing was sent: ")


def test_a_nul_needs_a_server_that_takes_it(run: Run) -> None:
    with ScriptedServer([*HELLO, *BYE]) as server:
        message = b"From: a@b.test\nTo: c@d.test\n\nx\0\n"
        ended = run("send", "--host", server.host, "--port", server.port, stdin=message)
    check_line(ended, Status.DATA, "nothing was sent: message: a NUL")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing.eml",),
        (".",),
        ("--from", "a@b.test", "--to", "c@d.test", "--attach", "nothing.png"),
        ("--from", "a@b.test", "--to", "c@d.test", "--body-file", "nothing.txt"),
    ],
)
def test_files_that_cannot_be_read(
    arguments: tuple[str, ...], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_line(run("send", *arguments), Status.NO_INPUT, arguments[-1])


@pytest.mark.parametrize("option", ["--body-file", "--cafile", "--password-file"])
def test_files_that_are_not_what_they_should_be(
    option: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "latin-1"
    file.write_bytes(b"secret \xe4\n")
    made = ("--from", "a@b.test", "--to", "c@d.test", "--user", "ada")
    monkeypatch.setenv("SMTP_PROTO_PASSWORD", "sesame")
    ended = run("send", "--host", "127.0.0.1", "--port", "1", *made, option, file)
    check_line(ended, Status.NO_INPUT, f"{option} {file}: ")
    assert "secret" not in ended.err


def test_an_extension_that_the_addresses_need(run: Run) -> None:
    with ScriptedServer([*HELLO, *BYE]) as server:
        message = "From: ä@b.test\nTo: c@d.test\n\n".encode()
        ended = run("send", "--host", server.host, "--port", server.port, stdin=message)
    check_line(ended, Status.PROTOCOL, "SMTPUTF8")


# -- interrupts -------------------------------------------------------------------------------------------------------


class Interrupt:
    """Ctrl-C, as the terminal sends it."""

    def play(self, conversation: Conversation) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("late", [False, True])
def test_interrupted(late: bool, eml: Path, run: Run) -> None:
    """Ctrl-C says nothing, unless the message may have been delivered."""
    script: Sequence[Step] = [*ENVELOPE, ExpectBody()] if late else [*HELLO, Expect()]
    with ScriptedServer([*script, Interrupt(), Drain()]) as server:
        ended = run("send", "--host", server.host, "--port", server.port, eml)
    assert ended.status == Status.INTERRUPTED
    if late:
        assert ended.err.startswith("smtp-proto: interrupted; the message may have been delivered")
    else:
        assert ended.err == ""


def test_interrupted_between_the_answers_of_lmtp(eml: Path, run: Run) -> None:
    """That one recipient has got the message does not say what the next one has."""
    script: list[Step] = [
        *(GREETING, Expect(b"lhlo "), Send(b"250 mx.test\r\n"), Expect(b"mail "), Send(b"250 ok\r\n")),
        *(Expect(b"rcpt "), Send(b"250 ok\r\n"), Expect(b"rcpt "), Send(b"250 ok\r\n"), Expect(b"data")),
        *(Send(b"354 go on\r\n"), ExpectBody(), Send(b"250 one\r\n"), Interrupt(), Drain()),
    ]
    recipients = ("--recipient", "a@d.test", "--recipient", "b@d.test")
    with ScriptedServer(script) as server:
        ended = run("send", "--lmtp", "--host", server.host, "--port", server.port, *recipients, eml)
    assert ended.status == Status.INTERRUPTED
    assert "may have been delivered" in ended.err


# -- TLS and log-ins --------------------------------------------------------------------------------------------------


def test_tls_required_and_not_offered(eml: Path, run: Run) -> None:
    with ScriptedServer([*HELLO, ExpectEOF()]) as server:
        ended = run("send", "--host", server.host, "--port", server.port, "--tls", "required", eml)
    check_line(ended, Status.TLS, "TLS is required and not offered")


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"502 no\r\n", Status.TLS),
        (b"454 4.7.0 not now\r\n", Status.TEMPORARY),
    ],
)
def test_tls_required_and_refused(reply: bytes, status: Status, eml: Path, run: Run) -> None:
    with ScriptedServer([*offering(b"STARTTLS"), Expect(b"starttls"), Send(reply), ExpectEOF()]) as server:
        ended = run("send", "--host", server.host, "--port", server.port, "--tls", "required", eml)
    check_line(ended, status, "(to STARTTLS)")


def test_tls_that_is_refused_is_done_without_where_it_is_not_required(eml: Path, run: Run) -> None:
    script = [
        *(*offering(b"STARTTLS"), Expect(b"starttls"), Send(b"454 not now\r\n"), *ENVELOPE[3:]),
        *(ExpectBody(), Send(b"250 ok\r\n"), *BYE),
    ]
    with ScriptedServer(script) as server:
        assert run("send", "--host", server.host, "--port", server.port, eml).status == Status.DONE


@pytest.mark.parametrize("kind", certificates.REFUSED)
@pytest.mark.parametrize("tls", ["opportunistic", "required", "implicit"])
def test_certificates_that_are_not_accepted(kind: str, tls: str, eml: Path, cafile: Path, run: Run) -> None:
    """Once TLS has begun there is no way back into the clear, whatever the policy."""
    handshake = StartTLS(certificates.REFUSED[kind](), refused=True)
    start = [*offering(b"STARTTLS"), Expect(b"starttls"), Send(b"220 go\r\n")] if tls != "implicit" else []
    with ScriptedServer([*start, handshake], strict=False) as server:
        arguments = ("--host", "localhost", "--port", server.port, "--tls", tls, "--cafile", cafile)
        ended = run("send", *arguments, eml)
    check_line(ended, Status.TLS, "the certificate was not accepted: ")
    assert "--server-hostname" in ended.err


def test_tls_at_a_port_that_speaks_in_the_clear(eml: Path, run: Run) -> None:
    with ScriptedServer([GREETING, Drain()], strict=False) as server:
        ended = run("send", "--host", server.host, "--port", server.port, "--tls", "implicit", eml)
    check_line(ended, Status.TLS, "is this a port for STARTTLS")


@pytest.mark.parametrize(
    ("offer", "answers", "status", "part"),
    [
        ([b"AUTH PLAIN"], [b"535 5.7.8 wrong\r\n"], Status.LOGIN, "the log-in was refused: 535 5.7.8 wrong"),
        ([b"AUTH PLAIN"], [b"454 4.7.0 later\r\n"], Status.TEMPORARY, "(try again later)"),
        ([b"AUTH X-OWN"], [], Status.LOGIN, "(offered: X-OWN)"),
        ([], [], Status.LOGIN, "it offers no log-in here"),
    ],
)
def test_log_ins_that_fail(
    offer: list[bytes],
    answers: list[bytes],
    status: Status,
    part: str,
    eml: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SMTP_PROTO_PASSWORD", "sesame")
    steps = [step for answer in answers for step in (Expect(b"auth "), Send(answer))]
    with ScriptedServer([*offering(*offer), *steps, *BYE]) as server:
        ended = run("send", "--host", server.host, "--port", server.port, "--user", "ada", eml)
    check_line(ended, status, part)


def test_a_password_is_not_sent_in_the_clear(eml: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PROTO_PASSWORD", "sesame")
    monkeypatch.setattr("smtp_blocking.may_be_overheard", lambda sock: True)  # loopback, which cannot be, is exempt
    with ScriptedServer([*offering(b"AUTH PLAIN"), *BYE]) as server:
        ended = run("send", "--host", server.host, "--port", server.port, "--user", "ada", eml)
    check_line(ended, Status.LOGIN, "--allow-cleartext-auth")
