"""Commands of extensions at the server: offered by its settings, decided by its handler, and to nobody else known."""

from __future__ import annotations

from typing import Any

import pytest

from smtp_proto.commands import Command
from smtp_proto.handler import ReceivedMessage
from smtp_proto.replies import Reply
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings

from .flows import Scripted
from .serving import EHLO, LHLO, Deciding, Served, replies_in

OFFER = ("ETRN", "BURL imap", "XCLIENT NAME ADDR LOGIN", "XFORWARD NAME ADDR")
MAIL = b"MAIL FROM:<a@client.test>\r\n"
RCPT = b"RCPT TO:<b@mx.test>\r\n"


class Asked(Deciding):
    """Decides about the commands of extensions as well."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.commands: list[Command] = []
        self.known: list[tuple[dict[str, str], dict[str, str]]] = []

    def _command(self, method: str, command: Command) -> Any:
        self.commands.append(command)
        return self._decide(method, command)

    def burl(self, session: ServerSession, command: Any) -> Any:
        return self._command("burl", command)

    def vrfy(self, session: ServerSession, command: Any) -> Any:
        return self._command("vrfy", command)

    def expn(self, session: ServerSession, command: Any) -> Any:
        return self._command("expn", command)

    def etrn(self, session: ServerSession, command: Any) -> Any:
        return self._command("etrn", command)

    def xclient(self, session: ServerSession, command: Any) -> Any:
        return self._command("xclient", command)

    def xforward(self, session: ServerSession, command: Any) -> Any:
        return self._command("xforward", command)

    def body(self, session: ServerSession, message: ReceivedMessage) -> Any:
        self.known.append((session.client, session.forwarded))
        return super().body(session, message)


class Run:
    """What a server with all of them says to a script, from a peer that it trusts."""

    def __init__(
        self,
        *lines: bytes,
        handler: Deciding | None = None,
        offer: tuple[str, ...] = OFFER,
        peer: object = ("192.0.2.1", 40000),
        hello: bytes = EHLO,
        lmtp: bool = False,
        plain: bool = False,
    ) -> None:
        self.handler = handler or Asked()
        settings = Settings(hostname="mx.test", offer=offer, trusted=("192.0.2.1", "/run/filter"), max_size=100)
        self.session = ServerSession(ServerConnection(lmtp=lmtp), self.handler, settings, peer)
        self.peer = Scripted([hello + b"".join(lines), b""])
        self.peer.run(self.session.run())
        self.replies = replies_in(self.peer.written)[1:]
        self.codes = [reply.code for reply in self.replies][1:]


COMMANDS = [b"ETRN example.org\r\n", b"XCLIENT NAME=x\r\n", b"XFORWARD NAME=x\r\n"]


@pytest.mark.parametrize("line", COMMANDS)
def test_what_is_not_offered(line: bytes) -> None:
    """502, and the handler is not asked."""
    run = Run(line, offer=())
    assert run.codes == [502]
    assert not run.handler.answers


def test_too_many_that_are_not_offered() -> None:
    """They count as mistakes, like verbs that are not known at all."""
    run = Run(b"ETRN x\r\n" * 30, offer=())
    assert run.codes == [502] * 20 + [421]


def test_burl_in_lmtp_that_is_not_offered() -> None:
    """Each recipient has an answer."""
    run = Run(MAIL, RCPT, RCPT, b"BURL imap://one LAST\r\nNOOP\r\n", offer=(), hello=LHLO, lmtp=True)
    assert run.codes == [250, 250, 250, 502, 502, 250]


@pytest.mark.parametrize(
    ("line", "method", "code"),
    [
        (b"ETRN example.org\r\n", "etrn", 250),
        (b"XCLIENT NAME=x ADDR=192.0.2.7\r\n", "xclient", 220),
        (b"XFORWARD ADDR=192.0.2.7\r\n", "xforward", 250),
        (b"VRFY b\r\n", "vrfy", 252),
        (b"EXPN staff\r\n", "expn", 252),
    ],
)
def test_the_handler_decides(line: bytes, method: str, code: int) -> None:
    """None lets them happen; a refusal, and an exception as a 451, are what the client is told."""
    assert Run(line).codes == [code]
    assert Run(line, handler=Asked(**{method: Reply(550, "5.7.1 no")})).codes == [550]
    assert Run(line, handler=Asked(**{method: RuntimeError("oops")})).codes == [451]
    assert Run(line, handler=Deciding()).codes == [code]


def test_lists_of_a_question() -> None:
    """A handler's answer to EXPN may have several lines."""
    run = Run(b"EXPN staff\r\n", handler=Asked(expn=Reply(250, "<a@mx.test>\n<b@mx.test>")))
    assert run.replies[1].text == "<a@mx.test>\n<b@mx.test>"


# -- XCLIENT and XFORWARD ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", [("192.0.2.2", 1), ("192.0.2.10", 1), None, (), "192.0.2.2", "somebody"])
def test_strangers_are_not_offered_them(peer: object) -> None:
    """Whoever is not in `Settings.trusted` sees no such keyword, and gets a 502."""
    run = Run(b"XCLIENT NAME=x\r\nXFORWARD NAME=x\r\n", peer=peer)
    assert "XCLIENT" not in run.replies[0].text
    assert "XFORWARD" not in run.replies[0].text
    assert run.codes == [502, 502]
    assert run.session.client == {}


def test_nobody_is_trusted_by_default() -> None:
    """`Settings` names nobody."""
    assert Settings().trusted == ()


@pytest.mark.parametrize("peer", [("192.0.2.1", 1), ("192.0.2.1", 1, 0, 0), "/run/filter", "192.0.2.1"])
def test_who_is_trusted(peer: object) -> None:
    """An address whatever the port, or the path of a Unix socket."""
    assert Run(b"XFORWARD NAME=x\r\n", peer=peer).codes == [250]


def test_xclient_begins_anew() -> None:
    """After its 220 EHLO is due again, nothing before it is left, and the handler knows who the client is."""
    script = [b"XCLIENT NAME=a.test ADDR=192.0.2.7\r\n", MAIL, EHLO, b"XCLIENT LOGIN=+C3+BC\r\n", EHLO, MAIL, RCPT]
    handler = Asked()
    run = Run(*script, b"BDAT 0 LAST\r\n", handler=handler)
    assert run.codes == [220, 503, 250, 220, 250, 250, 250, 250]
    assert handler.known == [({"NAME": "a.test", "ADDR": "192.0.2.7", "LOGIN": "ü"}, {})]


@pytest.mark.parametrize("line", [b"XCLIENT NAME=x PORT=1\r\n", b"XFORWARD LOGIN=x\r\n"])
def test_attributes_that_were_not_offered(line: bytes) -> None:
    """501, and nothing of the command is taken."""
    run = Run(line)
    assert run.codes == [501]
    assert (run.session.client, run.session.forwarded) == ({}, {})


def test_xforward_is_for_one_message() -> None:
    """What it says holds until the transaction behind it is over."""
    message = MAIL + RCPT + b"BDAT 0 LAST\r\n"
    handler = Asked()
    run = Run(b"XFORWARD NAME=a.test\r\nXFORWARD ADDR=192.0.2.7\r\n", message, message, handler=handler)
    assert run.codes == [250] * 8
    assert handler.known == [({}, {"NAME": "a.test", "ADDR": "192.0.2.7"}), ({}, {})]


# -- BURL -------------------------------------------------------------------------------------------------------------


def test_a_message_from_urls_and_chunks() -> None:
    """RFC 4468 3.4: what is fetched stands where the octets of a chunk would."""
    handler = Asked(burl=lambda command: b"from " + command.url.encode() + b"\r\n")
    run = Run(MAIL, RCPT, b"BDAT 3\r\nA\r\nBURL imap://one\r\nBURL imap://two LAST\r\n", handler=handler)
    assert run.codes == [250] * 5
    assert handler.messages[0].content == b"A\r\nfrom imap://one\r\nfrom imap://two\r\n"


def test_all_of_it_in_one_segment() -> None:
    """RFC 4468 3.2 and 3.4: log-in, envelope, chunks and URLs may come at once, and are answered in their order."""
    handler = Asked(burl=lambda command: b"from " + command.url.encode() + b"\r\n")
    served = Served(
        EHLO,
        b"AUTH PLAIN aGFycnkAaGFycnkAYWNjaW8=\r\n"
        + MAIL
        + RCPT
        + b"BURL imap://one\r\nBDAT 3\r\nA\r\nBURL imap://two LAST\r\n",
        handler=handler,
        settings=Settings("mx.test", offer=OFFER, mechanisms=("PLAIN",)),
        tls=True,
    )
    assert served.codes == [250, 235, *[250] * 5]
    assert [(found.user, found.authorization_identity) for found in handler.credentials] == [("harry", "harry")]
    assert handler.messages[0].content == b"from imap://one\r\nA\r\nfrom imap://two\r\n"


def test_a_url_for_nobody() -> None:
    """RFC 4468 3.2: behind recipients that were all refused it simply fails, and nothing is fetched."""
    handler = Asked(rcpt=Reply(550, "5.7.1 Relaying not allowed"), burl=RuntimeError("asked"))
    run = Run(MAIL + RCPT + b"BURL imap://one LAST\r\n", handler=handler)
    assert run.codes == [250, 550, 503]
    assert handler.failures == []


@pytest.mark.parametrize("fetched", [Reply(554, "5.6.6 no"), RuntimeError("oops"), Reply(250, "fine"), "text", None])
def test_what_cannot_be_fetched(fetched: Any) -> None:
    """A refusal fails the message until RSET, as that of a chunk does; what is neither octets nor refusal is a 451."""
    handler = Asked(burl=fetched)
    run = Run(MAIL, RCPT, b"BURL imap://one LAST\r\nBDAT 0 LAST\r\nRSET\r\n", MAIL, handler=handler)
    refused = 554 if isinstance(fetched, Reply) and fetched.code == 554 else 451
    assert run.codes == [250, 250, refused, 503, 250, 250]
    assert handler.messages == []
    assert len(handler.failures) == (refused == 451)


def test_burl_by_default() -> None:
    """A handler that knows no URLs refuses them; a server that does not offer BURL does not ask it."""
    assert Run(MAIL, RCPT, b"BURL imap://one LAST\r\n", handler=Deciding()).codes == [250, 250, 554]
    assert Run(MAIL, RCPT, b"BURL imap://one LAST\r\n", offer=()).codes == [250, 250, 502]


def test_a_url_with_too_much() -> None:
    """What is fetched counts against the largest size."""
    assert Run(MAIL, RCPT, b"BURL imap://one LAST\r\n", handler=Asked(burl=b"x" * 101)).codes == [250, 250, 552]


@pytest.mark.parametrize(("fetched", "codes"), [(b"text\r\n", [250, 250]), (Reply(554, "no"), [554, 554])])
def test_burl_in_lmtp(fetched: Any, codes: list[int]) -> None:
    """RFC 2033 4.2: the end of the message is answered once for each recipient, however it came."""
    run = Run(MAIL, RCPT, RCPT, b"BURL imap://one LAST\r\n", handler=Asked(burl=fetched), hello=LHLO, lmtp=True)
    assert run.codes == [250, 250, 250, *codes]
