"""`smtp-proto send`: what arrives, to whom, and what is said about it."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from smtp_blocking import Server
from smtp_blocking.command.composing import Input
from smtp_blocking.command.status import Status
from smtp_blocking.command.terminal import Terminal
from smtp_proto.handler import Handler, ReceivedMessage
from smtp_proto.replies import Reply
from smtp_proto.server_session import ServerSession
from tests import certificates
from tests.command.conftest import Run
from tests.needs import needs_unix_sockets
from tests.scripted import Expect, ExpectBody, ScriptedServer, Send, Step
from tests.serving import Deciding

FROM_TO = ("--from", "Ada <ada@example.org>", "--to", "grace@example.net")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def to(server: Server) -> tuple[object, ...]:
    return "--host", server.host, "--port", server.port


def parsed(message: ReceivedMessage) -> EmailMessage:
    result = message_from_bytes(message.content, policy=policy.default)
    assert isinstance(result, EmailMessage)
    return result


# -- a message that there is ------------------------------------------------------------------------------------------


def test_a_file_arrives_as_it_is(server: Server, eml: Path, run: Run) -> None:
    """Every octet of a file arrives, with CRLF at the ends of lines; sender and recipients are those of its header."""
    status, out, err = run("send", *to(server), eml)
    [message] = server.messages
    assert (status, err) == (Status.DONE, "")
    assert (message.sender, message.to) == ("ada@example.org", ("grace@example.net",))
    assert message.content == eml.read_bytes().replace(b"\n", b"\r\n")
    assert out == "accepted: <grace@example.net> (250 2.1.5 Recipient OK)\nsent: 250 2.0.0 Message accepted\n"


@pytest.mark.parametrize("source", [(), ("-",)])
def test_standard_input(source: tuple[str, ...], server: Server, run: Run) -> None:
    assert run("send", *to(server), *source, stdin=b"From: a@b.test\r\nTo: c@d.test\r\n\r\nx\r\n").status == Status.DONE
    assert server.messages[0].content == b"From: a@b.test\r\nTo: c@d.test\r\n\r\nx\r\n"


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_blind_copies_are_sent_and_not_shown(end: bytes, server: Server, run: Run) -> None:
    """Bcc makes recipients, and no octet of it is sent: folded, in any letter case, with any line end."""
    lines = [b"bcc : Eve", b" <e@d.test>", b"\t, f@d.test", b"From: a@b.test", b"Bcc: g@d.test", b"To: c@d.test"]
    message = end.join([*lines, b"", b"Bcc: this is text", b""])
    assert run("send", *to(server), stdin=message).status == Status.DONE
    [received] = server.messages
    assert set(received.to) == {"c@d.test", "e@d.test", "f@d.test", "g@d.test"}
    assert received.content == b"From: a@b.test\r\nTo: c@d.test\r\n\r\nBcc: this is text\r\n"


HEADER = b"From: a@b.test\nTo: c@d.test\n"
TEXT = b"\n" + (b"x" * 70 + b"\n") * 10_000
# Large messages: whether they go from the file itself, and what they become.
LARGE = {
    "as it is": (HEADER + TEXT, True, HEADER + TEXT),
    "Bcc": (b"Bcc: e@d.test\n" + HEADER + TEXT, False, HEADER + TEXT),
    "eight bits at the end": (HEADER + TEXT + b"\xc3\xbc\n", False, HEADER + TEXT + b"\xc3\xbc\n"),
    "a long header": (b"X: %s\nBcc: e@d.test\n" % (b"y" * 300_000) + HEADER + b"\nx\n", False, None),
    "a header without an end": (HEADER + b"X: y\n" * 100_000, False, HEADER + b"X: y\n" * 100_000),
}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("standard", [False, True], ids=["file", "standard input"])
def test_a_large_file_goes_as_it_is(
    standard: bool, kind: str, server: Server, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read into memory only where something in it may have to be changed, and arrives the same in any case."""
    message, streamed, expected = LARGE[kind]
    path = tmp_path / "large.eml"
    path.write_bytes(message)
    amounts: list[int] = []

    class Watched(Input):
        def read(self, octets: int = -1) -> bytes:
            amounts.append(octets)
            return super().read(octets)

    monkeypatch.setattr("smtp_blocking.command.composing.Input", Watched)
    status, _, err = run("send", *to(server), *([] if standard else [path]), stdin=message if standard else b"")
    assert (status, err) == (Status.DONE, "")
    assert (-1 not in amounts) is streamed
    [received] = server.messages
    content = received.content.replace(b"\r\n", b"\n")
    assert content == expected if expected is not None else b"Bcc" not in content


def test_a_file_that_fails_while_it_is_sent(
    server: Server, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read is said to be the file's fault, and nothing is delivered."""
    path = tmp_path / "large.eml"
    path.write_bytes(HEADER + TEXT)
    ends: list[bytes] = []

    class Failing(Input):
        def read(self, octets: int = -1) -> bytes:
            with self._failing():
                if len(ends) == 2:  # it was searched for eight bits, and counted
                    raise OSError(5, "Input/output error")
            found = super().read(octets)
            ends.extend([found] if not found else [])
            return found

    monkeypatch.setattr("smtp_blocking.command.composing.Input", Failing)
    ended = run("send", *to(server), path)
    assert ended == (Status.NO_INPUT, "", f"smtp-proto: {path}: Input/output error\n")
    assert server.messages == []


def test_the_envelope_of_the_options_comes_first(server: Server, eml: Path, run: Run) -> None:
    arguments = ("--sender", "", "--recipient", "x@example.net", "--recipient", "y@example.net")
    assert run("send", *to(server), *arguments, eml).status == Status.DONE
    assert (server.messages[0].sender, server.messages[0].to) == ("", ("x@example.net", "y@example.net"))


def test_nobody_gets_a_message_twice(server: Server, run: Run) -> None:
    assert run("send", *to(server), stdin=b"From: a@b.test\nTo: c@d.test, C <c@d.test>\nCc: c@d.test\n\n").status == 0
    assert server.messages[0].to == ("c@d.test",)


def test_eight_bits_are_announced(server: Server, run: Run) -> None:
    """UTF-8 in the text is BODY=8BITMIME, in the header SMTPUTF8, and arrives as it was."""
    message = "From: a@b.test\r\nTo: c@d.test\r\nSubject: grüß\r\n\r\ngrüß\r\n".encode()
    assert run("send", *to(server), stdin=message).status == Status.DONE
    assert server.messages[0].content == message
    assert set(server.messages[0].mail.parameters) >= {"BODY=8BITMIME", "SMTPUTF8"}


def test_addresses_that_are_not_ascii(server: Server, run: Run) -> None:
    assert run("send", *to(server), stdin="From: ä@b.test\nTo: ü@d.test\n\nx\n".encode()).status == Status.DONE
    assert (server.messages[0].sender, server.messages[0].to) == ("ä@b.test", ("ü@d.test",))


# -- a message made of options ----------------------------------------------------------------------------------------


def test_a_message_of_options(server: Server, run: Run) -> None:
    cc = ("--cc", "Alan <alan@example.net>", "--cc", "c2@example.net", "--bcc", "bcc@example.net")
    arguments = ("--subject", "Grüße", "--body", "Schöne Grüße", "--header", "X-Test: a: b")
    assert run("send", *to(server), *FROM_TO, *cc, *arguments).status == Status.DONE
    [received] = server.messages
    assert set(received.to) == {"grace@example.net", "alan@example.net", "c2@example.net", "bcc@example.net"}
    assert received.content.isascii()
    message = parsed(received)
    assert message["From"] == "Ada <ada@example.org>"
    assert message["Cc"] == "Alan <alan@example.net>, c2@example.net"
    assert (message["Subject"], message["X-Test"], message["Bcc"]) == ("Grüße", "a: b", None)
    assert message.get_content().splitlines() == ["Schöne Grüße"]
    assert message["Date"] is not None
    assert message["Message-ID"].endswith("@example.org>")


def test_attachments_and_a_text_from_a_file(server: Server, tmp_path: Path, run: Run) -> None:
    (tmp_path / "picture.png").write_bytes(bytes(range(256)))
    (tmp_path / "notes").write_bytes(b"no type")
    files = ("--attach", tmp_path / "picture.png", "--attach", tmp_path / "notes")
    assert run("send", *to(server), *FROM_TO, *files, "--body-file", "-", stdin="grüß\n".encode()).status == Status.DONE
    message = parsed(server.messages[0])
    body = message.get_body()
    assert body is not None
    assert body.get_content().split() == ["grüß"]
    attached = [
        (part.get_filename(), part.get_content_type(), part.get_content()) for part in message.iter_attachments()
    ]
    assert attached == [
        ("picture.png", "image/png", bytes(range(256))),
        ("notes", "application/octet-stream", b"no type"),
    ]


def test_dry_run_shows_all_and_connects_to_nobody(run: Run, eml: Path) -> None:
    status, out, err = run("send", "--host", "nowhere.invalid", "--dry-run", eml)
    assert (status, err) == (Status.DONE, "")
    assert out.splitlines() == [
        "to nowhere.invalid port 25:",
        "MAIL FROM:<ada@example.org>",
        "RCPT TO:<grace@example.net>",
        "81 octets of message:",
        *eml.read_text().splitlines(),
    ]


# -- what is said about it --------------------------------------------------------------------------------------------


class _Choosy(Handler):
    def rcpt(self, session: object, command: object) -> Reply | None:
        path = getattr(command, "path", "")
        return Reply(550, "5.1.1 Unknown\x1b[31m") if path.startswith("no") else None


def test_each_recipient_has_a_line(eml: Path, run: Run) -> None:
    recipients = ("--recipient", "yes@example.net", "--recipient", "no@example.net")
    with Server(_Choosy()) as server:
        status, out, err = run("send", *to(server), *recipients, eml)
    assert status == Status.SOME_REFUSED
    assert out == "accepted: <yes@example.net> (250 2.1.5 Recipient OK)\nsent: 250 2.0.0 Message accepted\n"
    assert err == "refused: <no@example.net> (550 5.1.1 Unknown\\x1b[31m)\n"


def test_quiet_says_only_what_went_wrong(eml: Path, run: Run) -> None:
    with Server(_Choosy()) as server:
        assert run("send", "-q", *to(server), eml) == (Status.DONE, "", "")
        status, out, err = run("send", "-q", *to(server), "--recipient", "no@a.test", "--recipient", "y@a.test", eml)
    assert (status, out) == (Status.SOME_REFUSED, "")
    assert err.startswith("refused: <no@a.test>")


def test_lmtp_answers_for_each_recipient(eml: Path, run: Run) -> None:
    """In LMTP the line of a recipient is the answer to the message for it."""
    handler = Deciding(body=lambda _: [Reply(250, "2.0.0 one"), Reply(452, "4.2.2 full")])
    recipients = ("--recipient", "one@example.net", "--recipient", "two@example.net")
    with Server(handler, lmtp=True) as server:
        status, out, err = run("send", "--lmtp", *to(server), *recipients, eml)
    assert status == Status.SOME_REFUSED
    assert out == "accepted: <one@example.net> (250 2.0.0 one)\n"
    assert err == "refused for now: <two@example.net> (452 4.2.2 full)\n"


def test_verbose_shows_the_conversation_and_no_secret(run: Run, eml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PROTO_PASSWORD", "sesame")
    with Server(users={"ada": "sesame"}, cleartext_auth=True) as server:
        status, _, err = run("send", "-v", "--no-pipelining", *to(server), "--user", "ada", eml)
        assert server.messages
    assert status == Status.DONE
    lines = err.splitlines()
    assert lines[0] == f"*: connected to 127.0.0.1 port {server.port}"
    assert any(line.startswith("C: ") and line.endswith(" ***") for line in lines)
    assert "C: <87 octets of message>" in lines
    # One command at a time: the answer to each is behind it.
    assert lines[lines.index("C: mail from:<ada@example.org> size=87") + 1] == "S: 250 2.1.0 Sender OK"
    assert "sesame" not in err
    assert "AGFkYQBzZXNhbWU=" not in err


def test_eight_bits_that_the_server_cannot_take_are_encoded(run: Run) -> None:
    """A server without 8BITMIME gets seven bits, which say the same."""
    handler = Deciding(helo=lambda _: Reply(250, "mx.test"))
    header = "From: a@b.test\nTo: c@d.test\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
    message = f"{header}Content-Transfer-Encoding: 8bit\n\ngrüß\n".encode()
    with Server(handler) as server:
        assert run("send", *to(server), stdin=message).status == Status.DONE
    [received] = handler.messages
    assert received.content.isascii()
    assert parsed(received).get_content().split() == ["grüß"]


def test_a_large_message_has_a_bar_on_a_terminal(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar follows the octets and never goes back; a small message has none."""
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(Terminal, "progress", lambda terminal, done, total: seen.append((done, total)))
    message = b"From: a@b.test\nTo: c@d.test\n\n" + (b"x" * 70 + b"\n") * 10_000
    assert run("send", *to(server), stdin=message) == (
        Status.DONE,
        "accepted: <c@d.test> (250 2.1.5 Recipient OK)\nsent: 250 2.0.0 Message accepted\n",
        "",
    )
    assert {total for _, total in seen} == {len(message)}
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) > 5
    assert seen[-1][0] == len(message)
    seen.clear()
    assert run("send", *to(server), stdin=message[:100_000]).status == Status.DONE
    assert seen == []


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@pytest.mark.parametrize("tls", ["implicit", "required", "opportunistic"])
def test_over_tls(tls: str, lmtp: bool, eml: Path, cafile: Path, run: Run) -> None:
    """Each policy works for LMTP as for SMTP, and the message goes over TLS."""
    sessions: list[ServerSession] = []
    handler = Deciding(connect=sessions.append)
    context = certificates.server_context()
    with Server(handler, lmtp=lmtp, tls_context=context, implicit_tls=tls == "implicit") as server:
        arguments = ("--host", "localhost", "--port", server.port, "--tls", tls, "--cafile", cafile)
        status, _, err = run("send", *(["--lmtp"] if lmtp else []), *arguments, eml)
    assert (status, err) == (Status.DONE, "")
    assert [session.tls for session in sessions] == [True]
    assert len(handler.messages) == 1


def test_over_a_unix_socket(eml: Path, run: Run) -> None:
    """A path is a host for LMTP, and no TLS is tried there."""
    script: list[Step] = [
        *(Send(b"220 mx.test\r\n"), Expect(b"lhlo "), Send(b"250-mx.test\r\n250 STARTTLS\r\n")),
        *(Expect(b"mail "), Send(b"250 ok\r\n"), Expect(b"rcpt "), Send(b"250 ok\r\n"), Expect(b"data")),
        *(Send(b"354 go on\r\n"), ExpectBody(), Send(b"250 one\r\n"), Expect(b"quit"), Send(b"221 bye\r\n")),
    ]
    needs_unix_sockets()
    with ScriptedServer(script, unix=True) as server:
        status, out, err = run("send", "--lmtp", "--host", server.host, eml)
    assert (status, out, err) == (Status.DONE, "accepted: <grace@example.net> (250 one)\nsent: 250 one\n", "")
