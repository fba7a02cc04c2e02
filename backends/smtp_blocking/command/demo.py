"""``smtp-proto demo``: the library at work, with no network.

It starts the embedded server on a free loopback port, sends a plain message, one with an attachment, and one over
STARTTLS with a log-in through the real client, and prints the conversations (secrets masked) and what arrived.
"""

from __future__ import annotations

import argparse
import ssl
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from importlib.resources import as_file, files

from smtp_blocking import SMTP, Server, SMTPException
from smtp_proto.handler import ReceivedMessage
from smtp_proto.transcript import Transcript

from .status import Failure, Status
from .terminal import Terminal

USER, PASSWORD = "ada@example.org", "a password that you will not see below"


def add(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""


def run(options: argparse.Namespace, terminal: Terminal) -> Status:
    """Three messages, three conversations."""
    try:
        _demonstrate(terminal)
    except (OSError, SMTPException) as error:
        raise Failure(Status.SOFTWARE, str(error)) from error
    return Status.DONE


def _demonstrate(terminal: Terminal) -> None:
    with as_file(files("smtp_blocking") / "demo_certificate.pem") as certificate:
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(certificate)
        client_context = ssl.create_default_context(cafile=certificate)
    with Server(tls_context=server_context, users={USER: PASSWORD}) as server:
        terminal.say(f"A server listens on {server.host}, port {server.port}.")
        _send(terminal, server, "1. A plain message", _plain())
        _send(terminal, server, "2. A message with an attachment", _with_attachment())
        _send(terminal, server, "3. Over STARTTLS, with a log-in", _plain("Sent over TLS"), client_context)
        terminal.say(f"\n{len(server.messages)} messages arrived:")
        for message in server.messages:
            terminal.say(_summary(message))
        if len(server.messages) != 3 or server.errors:
            raise Failure(Status.SOFTWARE, f"3 messages were sent; errors in the server: {server.errors}")


def _send(
    terminal: Terminal, server: Server, title: str, message: EmailMessage, context: ssl.SSLContext | None = None
) -> None:
    transcript = Transcript(time.time)
    with SMTP(server.host, server.port, server_hostname="localhost", timeout=30, transcript=transcript) as smtp:
        if context is not None:
            smtp.starttls(context=context)
            smtp.login(USER, PASSWORD)
        smtp.send_message(message)
    terminal.say(f"\n--- {title}\n")
    start = transcript.entries[0].time
    for seconds, said in transcript:
        for line in str(said).split("\n"):
            terminal.say(f"{(seconds - start) * 1000:7.1f} ms  {line}")


def _plain(subject: str = "Hello") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ada <ada@example.org>"
    message["To"] = "Grace <grace@example.net>"
    message["Subject"] = subject
    message.set_content("This is a message.\n.A line that begins with a dot arrives as it was.\n")
    return message


def _with_attachment() -> EmailMessage:
    message = _plain("Two parts, two recipients")
    message["Cc"] = "Alan <alan@example.net>"
    message.add_attachment(bytes(range(256)), maintype="application", subtype="octet-stream", filename="octets.bin")
    return message


def _summary(message: ReceivedMessage) -> str:
    parsed = message_from_bytes(message.content, policy=policy.default)
    attachments = [part.get_filename() for part in parsed.iter_attachments()]
    attached = f", attached: {', '.join(map(str, attachments))}" if attachments else ""
    return (
        f"  from {message.sender} to {', '.join(message.to)}: {parsed['Subject']!r}, "
        f"{len(message.content)} octets{attached}"
    )
