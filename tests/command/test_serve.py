"""`smtp-proto serve`: what it receives is printed or stored before it is accepted, and it ends when it is told to."""

from __future__ import annotations

import mailbox
import smtplib
import ssl
from pathlib import Path

import pytest

import smtp_blocking
from smtp_blocking.command.status import Status
from tests import certificates
from tests.command.conftest import Run, Serving

MESSAGE = b"Subject: x\r\n\r\n.dot \x1b[31m \xe4\xc3\xa4\r\n"
ENVELOPE = b"Return-Path: <a@b.test>\r\nDelivered-To: c@d.test\r\nDelivered-To: e@d.test\r\n"


def send(port: int, message: bytes = MESSAGE) -> None:
    with smtp_blocking.SMTP("127.0.0.1", port) as smtp:
        smtp.sendmail("a@b.test", ["c@d.test", "e@d.test"], message)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_messages_are_printed() -> None:
    """Envelope and text are shown, and nothing in them reaches the terminal but as text."""
    with Serving("--count", 1) as serving:
        assert serving.line == f"SMTP on 127.0.0.1 port {serving.port}\n"
        send(serving.port)
    assert serving.status == Status.DONE
    assert serving.out.next() == (
        f"--- from <a@b.test> to <c@d.test>, <e@d.test>: {len(MESSAGE)} octets\n"
        "Subject: x\n\n.dot \\x1b[31m \\xe4ä\n--- end of message\n"
    )


def test_messages_are_delivered_into_a_maildir(tmp_path: Path) -> None:
    """Each is a file in `new`, with the envelope in front and lines as the system ends them; nothing stays in `tmp`."""
    folder = tmp_path / "deep" / "Maildir"
    with Serving("--count", 2, "--maildir", folder) as serving:
        send(serving.port)
        send(serving.port, b"Subject: second\r\n\r\n")
    assert serving.status == Status.DONE
    assert len(files(folder)) == len(files(folder / "new")) == 2
    stored = {path.read_bytes() for path in files(folder / "new")}
    assert (ENVELOPE + MESSAGE).replace(b"\r\n", b"\n") in stored
    assert sorted(str(message["Subject"]) for message in mailbox.Maildir(folder, create=False)) == ["second", "x"]


def test_an_empty_folder_becomes_a_maildir(tmp_path: Path) -> None:
    with Serving("--count", 1, "--maildir", tmp_path) as serving:
        send(serving.port)
    assert len(files(tmp_path / "new")) == 1


def test_messages_are_stored_as_files(tmp_path: Path) -> None:
    """Each is one .eml, octet for octet behind the envelope, and said where."""
    folder = tmp_path / "mail"
    with Serving("--count", 2, "--eml", folder) as serving:
        send(serving.port)
        send(serving.port)
    stored = files(folder)
    assert [path.suffix for path in stored] == [".eml", ".eml"]
    assert {path.read_bytes() for path in stored} == {ENVELOPE + MESSAGE}
    assert serving.out.next().endswith(f"octets in {stored[0]}\n")


def test_what_cannot_be_stored_is_not_accepted(tmp_path: Path) -> None:
    """The client is told to try again, the reason is said, and the next message is kept."""
    folder = tmp_path / "mail"
    with Serving("--count", 1, "--eml", folder) as serving:
        folder.rmdir()
        with pytest.raises(smtplib.SMTPDataError) as refused:
            send(serving.port)
        assert refused.value.smtp_code == 451
        folder.mkdir()
        send(serving.port)
    assert serving.status == Status.NO_OUTPUT
    errors = "".join(list(serving.err.written.queue))
    assert "a message was refused for now, for it cannot be kept: " in errors
    assert "not every message could be kept: " in errors


def test_when_nobody_reads_what_is_printed_it_ends() -> None:
    """A message that goes into a closed pipe is not accepted: nobody has it."""
    with Serving() as serving:
        serving.out.broken = True
        with pytest.raises(smtplib.SMTPDataError) as refused:
            send(serving.port)
        assert refused.value.smtp_code == 451
    assert serving.status == Status.NO_OUTPUT


def test_nobody_is_served_whom_nobody_can_find(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With standard output closed the port cannot be known, and it ends at once."""
    monkeypatch.setattr("smtp_blocking.command.terminal.Terminal.say", lambda terminal, text: False)
    assert run("serve").status == Status.DONE


def test_count_is_exact() -> None:
    """Behind the last message the client hears its acceptance, and another one is not taken."""
    with Serving("--count", 1) as serving:
        smtp = smtp_blocking.SMTP("127.0.0.1", serving.port)
        assert smtp.sendmail("a@b.test", "c@d.test", MESSAGE) == {}
        with pytest.raises(smtplib.SMTPException):
            smtp.sendmail("a@b.test", "c@d.test", MESSAGE)
    assert serving.status == Status.DONE


def test_lmtp() -> None:
    with Serving("--count", 1, "--lmtp") as serving:
        assert serving.line.startswith("LMTP on ")
        with smtp_blocking.LMTP("127.0.0.1", serving.port) as lmtp:
            assert lmtp.sendmail("a@b.test", ["c@d.test", "e@d.test"], MESSAGE) == {}
    assert serving.status == Status.DONE


@pytest.mark.parametrize(("size", "octets"), [("50", 50), ("1K", 1024), ("2m", 2 << 20)])
def test_the_size_is_bounded(
    size: str,
    octets: int,
) -> None:
    with Serving("--count", 1, "--max-size", size) as serving:
        with smtp_blocking.SMTP("127.0.0.1", serving.port) as smtp:
            smtp.ehlo()
            assert smtp.esmtp_features["size"] == str(octets)
        send(serving.port)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    leaf = certificates.authority().issue_cert("localhost")
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    paths[0].write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    paths[1].write_bytes(leaf.private_key_pem.bytes())
    return paths


@pytest.mark.parametrize("implicit", [False, True])
def test_tls_and_log_ins(implicit: bool, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """With a certificate there is TLS, and over it log-ins, without which no mail is taken."""
    users = tmp_path / "users"
    users.write_text("ada:pass:word\n\nbob:x\n")
    arguments = ("--tls-cert", certificate[0], "--tls-key", certificate[1], "--user-file", users, "--require-auth")
    context = certificates.client_context()
    with Serving("--count", 1, *arguments, *(["--implicit-tls"] if implicit else [])) as serving:
        smtp: smtp_blocking.SMTP
        if implicit:
            smtp = smtp_blocking.SMTP_SSL("localhost", serving.port, context=context)
        else:
            smtp = smtp_blocking.SMTP("localhost", serving.port)
            smtp.ehlo()
            assert not smtp.has_extn("auth")
            smtp.starttls(context=context)
        with smtp:
            assert isinstance(smtp.sock, ssl.SSLSocket)
            with pytest.raises(smtplib.SMTPSenderRefused):
                smtp.sendmail("a@b.test", "c@d.test", MESSAGE)
            with pytest.raises(smtplib.SMTPAuthenticationError):
                smtp.login("ada", "wrong")
            offered = smtp.esmtp_features["auth"].split()
            assert set(offered) >= {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"}
            smtp.login("ada", "pass:word", mechanisms=["SCRAM-SHA-256-PLUS"])
            smtp.sendmail("a@b.test", "c@d.test", MESSAGE)
    assert serving.status == Status.DONE
    assert serving.err.written.empty()


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (("--implicit-tls",), Status.USAGE, "--implicit-tls needs --tls-cert"),
        (("--tls-key", "x"), Status.USAGE, "--tls-key needs --tls-cert"),
        (("--require-auth",), Status.USAGE, "--require-auth needs --user-file"),
        (("--user-file", "users"), Status.USAGE, "without TLS nobody could log in"),
        (("--user-file", "broken"), Status.NO_INPUT, "--user-file broken: line 2 is not name:password"),
        (("--user-file", "latin-1"), Status.NO_INPUT, "--user-file latin-1: it is not UTF-8"),
        (("--user-file", "nothing"), Status.NO_INPUT, "--user-file nothing: No such file or directory"),
        (("--tls-cert", "nothing"), Status.NO_INPUT, "nothing: No such file or directory"),
        (("--tls-cert", "users"), Status.NO_INPUT, "(PEM; the key belongs to the certificate)"),
        (("--maildir", "users"), Status.NO_OUTPUT, "users"),
        (("--eml", "users"), Status.NO_OUTPUT, "users"),
        (("--maildir", "a", "--eml", "b"), Status.USAGE, "not allowed with"),
        (("--host", "192.0.2.1"), Status.NO_OUTPUT, "cannot listen on 192.0.2.1 port 0: "),
        (("--host", "x" * 64 + ".test"), Status.NO_OUTPUT, "cannot listen on "),
        (("--hostname", "a\nb"), Status.USAGE, "is not a name"),
        (("--count", "0"), Status.USAGE, "'0' is not a number above 0"),
        (("--max-size", "-1"), Status.USAGE, "--max-size"),
        (("--max-size", "1T"), Status.USAGE, "'1T' is not a number of octets"),
    ],
)
def test_what_cannot_be_served(
    arguments: tuple[str, ...], status: Status, part: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake is one line and a status, before anybody could connect; no password of a file is shown."""
    (tmp_path / "users").write_text("ada:secret\n")
    (tmp_path / "broken").write_text("ada:secret\nsecret\n")
    (tmp_path / "latin-1").write_bytes(b"ada:secret\xe4\n")
    monkeypatch.chdir(tmp_path)
    ended = run("serve", *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert ended.err.count("\n") == 1
    assert part in ended.err
    assert "secret" not in ended.err
