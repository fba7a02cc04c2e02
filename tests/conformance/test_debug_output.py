"""What a client shows of the conversation: `set_debuglevel`, and `transcript`."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Callable
from typing import Any

import pytest

from smtp_proto.transcript import Transcript
from tests.certificates import client_context, server_context
from tests.scripted import Expect, ScriptedServer, Send, StartTLS, Step
from tests.scripts import DELIVERY, GREETING, MAIL, NOOP, QUIT, hello, opening, turn

from .backends import Backend

# Whose wire is talked about does not matter here: of the password, in clear and in base64, nothing may be seen.
USER, PASSWORD = "user", "tr0ub4dor&3"
SECRETS = [PASSWORD, "dXNlcg", "dHIwdWI0ZG9yJjM", "AHVzZXIAdHIwdWI0ZG9yJjM"]
CHALLENGE = b"334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UudGVzdD4="


class Captured:
    """Standard error since the last look."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def lines(self) -> list[str]:
        captured = self._capsys.readouterr()
        assert captured.out == ""
        return captured.err.splitlines()


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Captured:
    return Captured(capsys)


def test_silent_by_default(backend: Backend, shown: Captured) -> None:
    """Nothing is printed at level 0, and nothing any more after going back to it."""
    with ScriptedServer([*opening(), *NOOP * 2, *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        assert shown.lines() == []
        client.set_debuglevel(1)
        client.noop()
        assert shown.lines()
        client.set_debuglevel(0)
        client.noop()
        assert shown.lines() == []


def test_level_1_reads_like_smtplib(backend: Backend, shown: Captured) -> None:
    """The lines are those of the newest `smtplib`; only a message is replaced by its size."""

    def converse(client: Any, server: ScriptedServer) -> list[str]:
        client.set_debuglevel(1)
        client.connect(server.host, server.port)
        client.ehlo("client.test")
        client.mail("a@client.test")
        client.rcpt("b@mx.test")
        client.data(b"Subject: secret plans\r\n\r\nhello\r\n")
        client.docmd("XODD", "y")
        client.quit()
        lines = [re.sub(r"127\.0\.0\.1', \d+", "HOST', PORT", line) for line in shown.lines()]
        # Before Python 3.12 it wrote FROM and TO in capitals.
        return [line.replace("mail FROM:", "mail from:").replace("rcpt TO:", "rcpt to:") for line in lines]

    script = [*opening("SIZE 5", "8BITMIME"), *DELIVERY, *turn(b"xodd", b"500-what\r\n500 is that"), *QUIT]
    with ScriptedServer(script, script) as server:
        theirs = converse(smtplib.SMTP(), server)
        ours = converse(backend.open("SMTP"), server)
    (message,) = [line for line in theirs if "secret plans" in line]
    theirs[theirs.index(message)] = "send: <32 octets of message>"
    assert ours == theirs


def test_level_2_has_the_time(backend: Backend, shown: Captured) -> None:
    """At level 2 every line begins with the time of day."""
    with ScriptedServer([*opening(), *QUIT]) as server:
        client = backend.open("SMTP")
        client.set_debuglevel(2)
        client.connect(server.host, server.port)
        client.ehlo()
        client.quit()
    lines = shown.lines()
    assert len(lines) >= 10
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{6} (connect|send|reply):", line) for line in lines)


def login(client: Any) -> None:
    client.login(USER, PASSWORD)


def login_later(client: Any) -> None:
    client.login(USER, PASSWORD, initial_response_ok=False)


def by_hand(client: Any) -> None:
    client.docmd("AUTH", "LOGIN")
    client.docmd("dXNlcg==")
    client.docmd("dHIwdWI0ZG9yJjM=")


def raw(client: Any) -> None:
    client.send(b"AUTH LOGIN\r\n")
    client.getreply()
    client.send("dXNlcg==\r\n")
    client.getreply()
    client.send(b"dHIwdWI0ZG9yJjM=\r\n")
    client.getreply()


def started_by_hand(client: Any) -> None:
    client.docmd("AUTH LOGIN")
    client.send(b"dXNlcg==\r\n")
    client.getreply()
    client.send("dHIwdWI0ZG9yJjM=")
    client.send("\r\n")
    client.getreply()


def in_one_line(client: Any) -> None:
    client.docmd("AUTH PLAIN AHVzZXIAdHIwdWI0ZG9yJjM=")


def in_one_line_raw(client: Any) -> None:
    client.send("AUTH PLAIN AHVzZXIAdHIwdWI0ZG9yJjM=\r\n")
    client.getreply()


OK: list[Step] = [Send(b"235 2.7.0 welcome\r\n")]
PROMPTS: list[Step] = [
    Expect(b"auth login"),
    Send(b"334 VXNlcm5hbWU6\r\n"),
    *turn(b"", b"334 UGFzc3dvcmQ6"),
    Expect(),
    *OK,
]
LOGINS: list[tuple[str, Callable[[Any], None], list[Step]]] = [
    ("PLAIN", login, [Expect(b"auth plain "), *OK]),
    ("PLAIN", login_later, [*turn(b"auth plain\r\n", b"334 "), Expect(), *OK]),
    ("LOGIN", login, [*turn(b"auth login ", b"334 UGFzc3dvcmQ6"), Expect(), *OK]),
    ("LOGIN", login_later, PROMPTS),
    ("CRAM-MD5", login, [*turn(b"auth cram-md5", CHALLENGE), Expect(), *OK]),
    ("LOGIN", by_hand, PROMPTS),
    ("LOGIN", raw, PROMPTS),
    ("LOGIN", started_by_hand, PROMPTS),
    ("PLAIN", in_one_line, [Expect(b"auth plain "), *OK]),
    ("PLAIN", in_one_line_raw, [Expect(b"auth plain "), *OK]),
]


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize(
    ("mechanism", "log_in", "script"), LOGINS, ids=[f"{mechanism} {use.__name__}" for mechanism, use, _ in LOGINS]
)
def test_secrets_are_masked(
    backend: Backend, shown: Captured, mechanism: str, log_in: Callable[[Any], None], script: list[Step], level: int
) -> None:
    """Of a log-in the mechanism is shown and nothing else, in debug output and transcript, however it is sent."""
    transcript = Transcript(lambda: 0.0)
    with (
        ScriptedServer([*opening(f"AUTH {mechanism}"), *script, *NOOP, *QUIT]) as server,
        backend.connect(server, transcript=transcript) as client,
    ):
        client.set_debuglevel(level)
        client.ehlo()
        log_in(client)
        client.noop()
    output = "\n".join(shown.lines())
    for text in (output, str(transcript), repr(transcript.entries)):
        assert not [secret for secret in SECRETS if secret in text]
    if log_in is not raw:
        assert f"AUTH {mechanism}" in output
    assert "noop" in output


def test_debug_output_with_an_override(backend: Backend, shown: Captured) -> None:
    """The same goes for clients whose `send` is somebody's own."""
    with ScriptedServer([*opening("AUTH LOGIN"), *PROMPTS, *QUIT]) as server, backend.connect(server) as client:
        client.set_debuglevel(1)
        backend.watch(client, "send")
        client.ehlo()
        client.login(USER, PASSWORD, initial_response_ok=False)
    output = "\n".join(shown.lines())
    assert not [secret for secret in SECRETS if secret in output]


def test_transcript(backend: Backend) -> None:
    """The transcript is the conversation, line by line, with times of the given clock; a message is only its size."""
    times = iter(range(100))
    transcript = Transcript(lambda: float(next(times)))
    with (
        ScriptedServer([*opening("SIZE"), *DELIVERY, *QUIT]) as server,
        backend.connect(server, transcript=transcript) as client,
    ):
        client.sendmail("a@client.test", "b@mx.test", b"Subject: secret plans\r\n\r\nhello\r\n")
    first, *lines, last = str(transcript).splitlines()
    assert first == f"*: connected to 127.0.0.1 port {server.port}"
    assert last == "*: connection closed"
    assert lines == [
        "S: 220 mx.test ESMTP",
        "C: ehlo client.test",
        "S: 250-mx.test",
        "S: 250 SIZE",
        "C: mail from:<a@client.test> size=32",
        "S: 250 2.1.0 sender ok",
        "C: rcpt to:<b@mx.test>",
        "S: 250 2.1.5 recipient ok",
        "C: data",
        "S: 354 go ahead",
        "C: <32 octets of message>",
        "S: 250 2.0.0 queued",
        "C: QUIT",
        "S: 221 2.0.0 bye",
    ]
    assert [entry.time for entry in transcript] == [float(number) for number in range(len(transcript))]


def test_transcript_of_tls(backend: Backend) -> None:
    """Where TLS begins is a line of its own."""
    transcript = Transcript(lambda: 0.0)
    script = [*opening("STARTTLS"), *turn(b"starttls", b"220 go"), StartTLS(server_context()), *hello(), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, transcript=transcript) as client:
        client.starttls(context=client_context())
        client.ehlo()
    lines = str(transcript).splitlines()
    assert lines[lines.index("S: 220 go") + 1].startswith("*: TLS established with 127.0.0.1")


def test_both_at_once(backend: Backend, shown: Captured) -> None:
    """Debug output and transcript do not depend on each other, and a message written by hand is elided in both."""
    transcript = Transcript(lambda: 0.0)
    script = [*GREETING, *hello(), *MAIL, *turn(b"data", b"354 go"), Expect(), *turn(b".", b"250 ok"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server, transcript=transcript) as client:
        client.set_debuglevel(1)
        client.ehlo()
        client.mail("a@client.test")
        client.docmd("DATA")
        client.send(b"secret plans\r\n")
        client.send(b".\r\n")
        assert client.getreply() == (250, b"ok")
    output = "\n".join(shown.lines())
    assert "secret plans" not in output
    assert "secret plans" not in str(transcript)
    assert "C: <14 octets of message>" in str(transcript)
    assert "mail from:<a@client.test>" in output
