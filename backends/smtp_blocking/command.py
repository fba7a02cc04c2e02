"""The command ``smtp-proto``.

``smtp-proto demo`` shows the library at work with no network: it starts the embedded server on a free loopback port,
sends three messages through the real client, prints the conversations (secrets masked) and what arrived.
"""

from __future__ import annotations

import argparse
import ssl
import sys
import time
from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from importlib.resources import as_file, files

from smtp_proto.handler import ReceivedMessage
from smtp_proto.transcript import Transcript

from . import SMTP, Server, SMTPException

USER, PASSWORD = "ada@example.org", "a password that you will not see below"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 it failed, 2 it was called wrongly."""
    parser = argparse.ArgumentParser(prog="smtp-proto", description="SMTP from the command line.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "demo",
        help="send three messages to an embedded server and show the conversations",
        description="Starts a server on a free loopback port, sends a plain message, one with an attachment, and one "
        "over STARTTLS with a log-in, and shows what was said and what arrived.  Needs no network.",
    )
    parser.parse_args(arguments)
    try:
        return demo()
    except (OSError, SMTPException) as error:
        print(f"smtp-proto: {error}", file=sys.stderr)
        return 1


def demo() -> int:
    """Three messages, three conversations; returns the exit status."""
    with as_file(files(__package__) / "demo_certificate.pem") as certificate:
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(certificate)
        client_context = ssl.create_default_context(cafile=certificate)
    with Server(tls_context=server_context, users={USER: PASSWORD}) as server:
        print(f"A server listens on {server.host}, port {server.port}.")
        _send(server, "1. A plain message", _plain())
        _send(server, "2. A message with an attachment", _with_attachment())
        _send(server, "3. Over STARTTLS, with a log-in", _plain("Sent over TLS"), client_context)
        print(f"\n{len(server.messages)} messages arrived:")
        for message in server.messages:
            print(_summary(message))
        complete = len(server.messages) == 3 and not server.errors
    return 0 if complete else 1


def _send(server: Server, title: str, message: EmailMessage, context: ssl.SSLContext | None = None) -> None:
    transcript = Transcript(time.time)
    with SMTP(server.host, server.port, server_hostname="localhost", timeout=30, transcript=transcript) as smtp:
        if context is not None:
            smtp.starttls(context=context)
            smtp.login(USER, PASSWORD)
        smtp.send_message(message)
    print(f"\n--- {title}\n")
    start = transcript.entries[0].time
    for seconds, said in transcript:
        for line in str(said).split("\n"):
            print(f"{(seconds - start) * 1000:7.1f} ms  {line}")


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
