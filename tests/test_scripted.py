"""The scripted server, proved with a client that is not ours: the standard library's smtplib.

First `smtplib` through whole scripts, as every later client goes through them; then each step with
a plain socket, where every byte is under control; then what the server says when a script fails.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path

import pytest

from tests.certificates import REFUSED, client_context, server_context
from tests.needs import needs_ipv6
from tests.scripted import (
    Client,
    Close,
    Conversation,
    Delay,
    Drain,
    Drip,
    Expect,
    ExpectBody,
    ExpectEOF,
    ExpectExactly,
    ExpectHangUp,
    ExpectLines,
    ExpectOctets,
    Flood,
    HalfClose,
    Repeat,
    Reset,
    Script,
    ScriptedServer,
    Segments,
    Send,
    Signal,
    StartTLS,
    Step,
    WaitFor,
    split_everywhere,
)

PATIENCE = 10.0  # of the clients, in seconds; no test that passes gets near it


@pytest.fixture(autouse=True)
def _all_threads_end() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


# --- smtplib through scripts ----------------------------------------------------------------------

OK = Send(b"250 ok\r\n")
GREETING: list[Step] = [Send(b"220 mx.test ESMTP\r\n")]
HELLO: list[Step] = [Expect(b"ehlo "), Send(b"250-mx.test\r\n250 STARTTLS\r\n")]
TLS: list[Step] = [
    ExpectExactly(b"STARTTLS\r\n"),
    Send(b"220 go ahead\r\n"),
    StartTLS(server_context()),
]
DELIVERY: list[Step] = [
    *(Expect(b"mail from:<a@client.test>"), OK),
    *(Expect(b"rcpt to:<b@mx.test>"), OK),
    *(ExpectExactly(b"data\r\n"), Send(b"354 go ahead\r\n")),
    *(ExpectBody(), OK),
    *(Expect(b"quit"), Send(b"221 bye\r\n")),
    ExpectEOF(),
]
MESSAGE = b"Subject: x\r\n\r\n.hello"
SENT = b"Subject: x\r\n\r\n..hello\r\n.\r\n"


def _deliver(smtp: smtplib.SMTP) -> object:
    return smtp.sendmail("a@client.test", ["b@mx.test"], MESSAGE)


def deliver(host: str, port: int) -> object:
    with smtplib.SMTP(host, port, "client.test", PATIENCE) as smtp:
        return _deliver(smtp)


def deliver_after_starttls(host: str, port: int) -> object:
    with smtplib.SMTP(host, port, "client.test", PATIENCE) as smtp:
        smtp.starttls(context=client_context())
        return _deliver(smtp)


def deliver_in_tls(host: str, port: int) -> object:
    context = client_context()
    with smtplib.SMTP_SSL(host, port, "client.test", timeout=PATIENCE, context=context) as smtp:
        return _deliver(smtp)


@pytest.mark.parametrize(
    ("client", "opening"),
    [
        pytest.param(deliver, GREETING + HELLO, id="plain"),
        pytest.param(deliver_after_starttls, GREETING + HELLO + TLS + HELLO, id="STARTTLS"),
        pytest.param(deliver_in_tls, [TLS[-1], *GREETING, *HELLO], id="implicit TLS"),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 5], ids=["whole", "byte by byte", "by fives"])
def test_delivery(client: Client, opening: Script, size: int) -> None:
    script = [*opening, *DELIVERY]
    if size:
        script = [Drip(step.data, interval=0.0002, size=size) if isinstance(step, Send) else step for step in script]
    with ScriptedServer(script) as server:
        assert client(server.host, server.port) == {}
    assert server.failure is None
    assert server.received[-2:] == [SENT, b"QUIT\r\n"]
    assert server.received_bytes == b"".join(server.received)


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        pytest.param(
            [*GREETING, Expect(), Send(b"250-mx.test\r\n250-SI"), Close()],
            smtplib.SMTPServerDisconnected,
            "Connection unexpectedly closed",
            id="cut inside a reply",
        ),
        pytest.param(
            [*GREETING, Expect(), Send(b"250-mx.test\r\n250-SI"), HalfClose(), ExpectEOF()],
            smtplib.SMTPServerDisconnected,
            "Connection unexpectedly closed",
            id="half-closed inside a reply",
        ),
        pytest.param(
            [*GREETING, Expect(), Reset()],
            smtplib.SMTPServerDisconnected,
            "reset by peer",
            id="reset",
        ),
        pytest.param(
            [Send(b"421 not today\r\n"), ExpectEOF()],
            smtplib.SMTPConnectError,
            "421.*not today",
            id="421 for a greeting",
        ),
        pytest.param(
            [*GREETING, *HELLO, DELIVERY[0], Send(b"421 closing\r\n"), ExpectEOF()],
            smtplib.SMTPSenderRefused,
            "421.*closing",
            id="421 to MAIL",
        ),
        pytest.param(
            [*GREETING, Expect(), Flood(b"x")],
            smtplib.SMTPResponseException,
            "Line too long",
            id="endless line",
        ),
    ],
)
def test_bad_servers(script: Script, error: type[Exception], message: str) -> None:
    with ScriptedServer(script) as server, pytest.raises(error, match=message):
        deliver(server.host, server.port)
    assert server.failure is None


@pytest.mark.parametrize("client", [deliver_after_starttls, deliver_in_tls])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("wrong name", "mismatch"),
        ("expired", "certificate has expired"),
        ("unknown authority", "unable to get local issuer"),
        ("self-signed", "self.signed"),
    ],
)
def test_bad_certificates(client: Client, bad: str, reason: str) -> None:
    opening = [] if client is deliver_in_tls else [*GREETING, *HELLO, *TLS[:2]]
    script = [*opening, StartTLS(REFUSED[bad](), refused=True)]
    error = pytest.raises(ssl.SSLCertVerificationError, match=reason)
    with ScriptedServer(script) as server, error:
        client(server.host, server.port)


def test_all_bad_certificates_are_tested() -> None:
    assert set(REFUSED) == {"wrong name", "expired", "unknown authority", "self-signed"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_each_name_of_the_certificate_is_good(host: str) -> None:
    address = "127.0.0.1" if host == "localhost" else host
    if ":" in address:
        needs_ipv6()
    with ScriptedServer([*TLS[-1:], *GREETING, *HELLO, *DELIVERY], host=address) as server:
        assert deliver_in_tls(host, server.port) == {}


def test_unix_socket() -> None:
    script: Script = [*GREETING, Expect(b"lhlo "), *HELLO[1:], *DELIVERY]
    with ScriptedServer(script, unix=True) as server:
        assert Path(server.host).is_socket()
        with smtplib.LMTP(server.host, server.port, "client.test") as lmtp:
            assert _deliver(lmtp) == {}
    assert not Path(server.host).parent.exists()


def test_successive_connections() -> None:
    scripts = [*GREETING, Expect(), Reset()], [*GREETING, *HELLO, *DELIVERY]
    with ScriptedServer(*scripts) as server:
        with pytest.raises(smtplib.SMTPServerDisconnected):
            deliver(server.host, server.port)
        assert deliver(server.host, server.port) == {}
        with pytest.raises(ConnectionRefusedError):
            deliver(server.host, server.port)
    first, second = server.conversations
    assert first.received == [b"ehlo client.test\r\n"]
    assert server.received == first.received + second.received


# --- Step by step, with a plain socket ------------------------------------------------------------


def connect(server: ScriptedServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), PATIENCE)


def secure(server: ScriptedServer) -> ssl.SSLSocket:
    return client_context().wrap_socket(connect(server), server_hostname=server.host, suppress_ragged_eofs=False)


def read(client: socket.socket) -> bytes:
    """All that comes, until the server closes."""
    return b"".join(iter(lambda: client.recv(1000), b""))


def test_expect() -> None:
    script: Script = [Expect(b"Rcpt To:"), Expect(), ExpectExactly(b"x\n"), ExpectLines(2)]
    with ScriptedServer(script) as server, connect(server) as client:
        client.sendall(b"RCPT TO:<a>\r\n\r\nx\ny\r\nz\r\nand more")
        assert read(client) == b""
    assert server.received == [b"RCPT TO:<a>\r\n", b"\r\n", b"x\n", b"y\r\n", b"z\r\n"]
    assert server.received_bytes == b"".join(server.received) + b"and more"
    assert server.conversations[0].unread == b"and more"


@pytest.mark.parametrize("body", [b".\r\n", b"\r\n.\r\n", b"..\r\n.x\r\n\n.\r\n\n.\n.\r\r\n.\r\n"])
def test_body_ends_at_its_first_terminator_however_it_is_split(body: bytes) -> None:
    for pieces in split_everywhere(body + b"rset\r\n"):
        seen = threading.Event()
        script: Script = [Expect(b"data"), Signal(seen), ExpectBody(), ExpectExactly(b"rset\r\n")]
        with ScriptedServer(script) as server, connect(server) as client:
            client.sendall(b"data\r\n")
            assert seen.wait(PATIENCE)  # or the first piece might be read together with the command
            for piece in pieces:
                client.sendall(piece)
            assert read(client) == b""
        assert server.received == [b"data\r\n", body, b"rset\r\n"]


def test_octets() -> None:
    script: Script = [Expect(b"bdat 5"), ExpectOctets(5), Expect(b"bdat 0"), ExpectOctets(0)]
    with ScriptedServer(script) as server, connect(server) as client:
        client.sendall(b"BDAT 5\r\n\r\n.\r\nBDAT 0 LAST\r\n")
        assert read(client) == b""
    assert server.received == [b"BDAT 5\r\n", b"\r\n.\r\n", b"BDAT 0 LAST\r\n", b""]


def test_split_everywhere() -> None:
    assert list(split_everywhere(b"abc")) == [(b"a", b"bc"), (b"ab", b"c")]
    assert list(split_everywhere(b"a")) == []


@pytest.mark.parametrize(
    ("step", "pieces"),
    [
        (Segments(b"25", b"0 o", b"k\r\n"), [b"25", b"0 o", b"k\r\n"]),
        (Drip(b"250\r\n"), [b"2", b"5", b"0", b"\r", b"\n"]),
        (Drip(b"250\r\n", size=2), [b"25", b"0\r", b"\n"]),
        (Send(b"250 a\r\n250 b\r\n"), [b"250 a\r\n250 b\r\n"]),
    ],
)
def test_pieces(step: Step, pieces: list[bytes]) -> None:
    # In TLS, because there a piece is a record, and a read returns one: in TCP this test would be
    # a matter of luck.
    with ScriptedServer([StartTLS(server_context()), step]) as server, secure(server) as client:
        assert list(iter(lambda: client.recv(1000), b"")) == pieces


def test_order_without_sleeping() -> None:
    asked, answer = threading.Event(), threading.Event()
    script: Script = [Expect(), Signal(asked), WaitFor(answer), OK]
    with ScriptedServer(script) as server, connect(server) as client:
        assert not asked.is_set()
        client.sendall(b"noop\r\n")
        assert asked.wait(PATIENCE)
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(PATIENCE)
        answer.set()
        assert read(client) == OK.data


def test_delay() -> None:
    with ScriptedServer([Delay(0.05), OK]) as server:
        start = time.monotonic()
        with connect(server) as client:
            assert read(client) == OK.data
        assert time.monotonic() - start >= 0.05


def test_delay_is_not_part_of_the_limit() -> None:
    script: Script = [Segments(b"a", b"b", b"c", interval=0.15), Delay(0.3), Expect()]
    with ScriptedServer(script, limit=0.25) as server, connect(server) as client:
        client.sendall(b"x\n")
        assert read(client) == b"abc"


def test_delay_ends_when_the_test_leaves() -> None:
    reached = threading.Event()
    with ScriptedServer([Signal(reached), Delay(1000)]) as server, connect(server):
        assert reached.wait(PATIENCE)


def test_repeat() -> None:
    script = [Repeat(2, Expect(b"rcpt"), Repeat(3, Send(b"2")), OK), Repeat(0, Reset())]
    with ScriptedServer(script) as server, connect(server) as client:
        client.sendall(b"rcpt 1\r\nrcpt 2\r\n")
        assert read(client) == 2 * (b"222" + OK.data)


@pytest.mark.parametrize("tls", [False, True])
def test_half_closed_connection_still_reads(tls: bool) -> None:
    script: Script = [*(TLS[-1:] if tls else []), OK, HalfClose(), Expect(b"quit"), Drain()]
    with ScriptedServer(script) as server, (secure if tls else connect)(server) as client:
        assert client.recv(1000) == OK.data
        client.sendall(b"quit\r\nand\r\nmore")
        with pytest.raises(ssl.SSLEOFError) if tls else nullcontext():
            assert client.recv(1000) == b""
    assert server.received == [b"quit\r\n", b"and\r\nmore"]


@pytest.mark.parametrize("ending", [[], [Close()]])
def test_close_says_goodbye_in_tls(ending: Script) -> None:
    with ScriptedServer([*TLS[-1:], OK, *ending]) as server, secure(server) as client:
        assert read(client) == OK.data


def test_close_truncates_tls() -> None:
    script: Script = [*TLS[-1:], OK, Close(close_notify=False)]
    with ScriptedServer(script) as server, secure(server) as client:
        assert client.recv(1000) == OK.data
        with pytest.raises(ssl.SSLEOFError):
            client.recv(1000)


def test_close_leaves_nothing_unread() -> None:
    # Else the kernel would reset the connection, and the client might miss the reply.
    sent = threading.Event()
    with ScriptedServer([WaitFor(sent), OK, Close()]) as server, connect(server) as client:
        client.sendall(b"noop\r\n")
        sent.set()
        assert read(client) == OK.data
    assert server.received == []
    assert server.received_bytes == b"noop\r\n"


@pytest.mark.parametrize("tls", [False, True])
def test_reset(tls: bool) -> None:
    connected, done = threading.Event(), threading.Event()
    script = [*(TLS[-1:] if tls else []), WaitFor(connected), Reset(), Signal(done)]
    with ScriptedServer(script) as server, (secure if tls else connect)(server) as client:
        connected.set()
        assert done.wait(PATIENCE)
        # In TLS, Python 3.11 and 3.12 take the reset for an end of file.
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
            client.recv(1000)


@pytest.mark.parametrize("tls", [False, True])
def test_flood(tls: bool) -> None:
    script = [*(TLS[-1:] if tls else []), Flood(b"250-x\r\n")]
    with ScriptedServer(script) as server, (secure if tls else connect)(server) as client:
        assert client.recv(7, socket.MSG_WAITALL if not tls else 0) == b"250-x\r\n"
    assert server.failure is None


@pytest.mark.parametrize("steps", [[], [Drip(b"2" * 1000)], [Expect(b"quit")], [OK, ExpectEOF()]])
def test_expected_hang_up(steps: Script) -> None:
    with ScriptedServer([ExpectHangUp(*steps), Drain()]) as server, connect(server):
        pass
    assert server.failure is None


def test_a_test_may_define_a_step() -> None:
    class Echo:
        def play(self, conversation: Conversation) -> None:
            conversation.send(conversation.record(conversation.read_line("a line")))

    with ScriptedServer([Echo()]) as server, connect(server) as client:
        client.sendall(b"hello\n")
        assert read(client) == b"hello\n"
    assert server.received == [b"hello\n"]


# --- When a script fails --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "sent", "failure"),
    [
        (
            [OK, Expect(b"quit")],
            b"noop\r\n",
            r"step 2, Expect(prefix=b'quit'): expected a line that starts with b'quit', got b'noop",
        ),
        ([Expect()], b"no", r"expected a line, but the client hung up; what came is b'no'"),
        ([ExpectExactly(b"a\r\n")], b"a\n", r"expected b'a\r\n', got b'a\n'"),
        ([ExpectLines(3)], b"a\n", "expected line 2 of 3, but the client hung up"),
        ([ExpectBody()], b"\n.\r\n", r"expected a body and its CRLF.CRLF, but the client hung up"),
        ([ExpectOctets(3)], b"ab", "expected 3 octets, but the client hung up; what came is b'ab'"),
        (
            [Repeat(3, OK, Repeat(2, Expect()))],
            b"a\nb\nc\n",
            "step 1[2].2[2].1, Expect(prefix=b'')",
        ),
        ([ExpectEOF()], b"a\nb", r"expected the client to hang up, got b'a\nb'"),
        ([Expect(), ExpectEOF()], b"a\nb", r"expected the client to hang up, got b'b'"),
        ([Flood(b"x", 70_000)], b"", "expected the client to hang up, but it took all 70000"),
        ([Expect(), TLS[-1]], b"a\nb", "expected a TLS handshake; what came is b'b'"),
        ([TLS[-1]], b"ehlo client.test\r\n", "expected a TLS handshake, got SSLError"),
        ([TLS[-1]], b"", "expected a TLS handshake, got "),
        ([Close(), OK], b"", "step 2, Send(data=b'250 ok\\r\\n'): the script has closed"),
        ([Expect(b"q" * 999)], b"n" * 999 + b"\n", "nnn ... nnn"),
    ],
)
def test_failures(script: Script, sent: bytes, failure: str) -> None:
    def play() -> None:
        with server, connect(server) as client:
            client.sendall(sent)
            with suppress(OSError):  # the server may have hung up already
                client.shutdown(socket.SHUT_WR)
                read(client)

    server = ScriptedServer(script)
    with pytest.raises(AssertionError, match=f"connection 1, .*{re.escape(failure)}"):
        play()
    assert server.failure is not None


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        (
            Expect(),
            "step 1, Expect(prefix=b''): expected a line within 0.2 s; what came is nothing",
        ),
        (ExpectEOF(), "expected the client to hang up within 0.2 s"),
        (Drain(), "expected the client to hang up within 0.2 s"),
        (ExpectHangUp(OK), "step 1.2, Drain(): expected the client to hang up within 0.2 s"),
        (TLS[-1], "expected a TLS handshake: not finished in time"),
        (WaitFor(threading.Event()), "the event was not set within 0.2 s"),
        (Send(bytes(20_000_000)), r"the client did not take b'\x00\x00"),
        (Flood(bytes(100_000)), r"the client did not take b'\x00\x00"),
    ],
)
def test_limit(step: Step, failure: str) -> None:
    ended = threading.Event()
    error = pytest.raises(AssertionError, match=re.escape(failure))
    with (
        error,
        ScriptedServer([step], [Signal(ended)], limit=0.2) as server,
        connect(server),
        connect(server),
    ):
        assert ended.wait(PATIENCE)


def test_reset_by_the_client_is_seen() -> None:
    gone = threading.Event()
    with ScriptedServer([WaitFor(gone), OK], strict=False) as server:
        client = connect(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        gone.set()
    assert server.failure is not None
    assert "the client hung up before b'250 ok\\r\\n' was sent" in server.failure


def test_tls_failures() -> None:
    script: Script = [StartTLS(server_context(), refused=True)]
    with ScriptedServer(script, strict=False) as server, secure(server) as client:
        assert read(client) == b""
    assert "expected the client to refuse TLS" in str(server.failure)

    with ScriptedServer([*TLS[-1:], *TLS[-1:]], strict=False) as server, secure(server) as client:
        assert read(client) == b""
    assert "TLS inside TLS" in str(server.failure)

    with ScriptedServer([*TLS[-1:], Expect()], strict=False) as server, secure(server) as client:
        socket.socket.sendall(client, b"not TLS, after a handshake\r\n")
        with suppress(OSError):
            client.recv(1000)
    assert "expected a line, got SSLError" in str(server.failure)


def test_first_failure_counts_and_later_scripts_are_played() -> None:
    with ScriptedServer([Expect(b"a")], [OK, Expect(b"b")], strict=False) as server:
        for expected in (b"", OK.data):
            with connect(server) as client:
                client.sendall(b"c\n")
                assert read(client) == expected
    assert "connection 1, step 1" in str(server.failure)
    assert server.received == [b"c\n", b"c\n"]


def test_connection_that_never_comes() -> None:
    error = pytest.raises(AssertionError, match="connection 2 of 3 never came")
    with error, ScriptedServer([], [], []) as server:
        connect(server).close()


def test_connections_not_yet_accepted_are_played() -> None:
    with ScriptedServer(*[[Expect()]] * 5) as server:
        for _ in range(5):
            with connect(server) as client:
                client.sendall(b"a\n")
    assert server.received == [b"a\n"] * 5


@pytest.mark.parametrize("unix", [False, True])
def test_nobody_connects(unix: bool) -> None:
    with ScriptedServer(GREETING, HELLO, unix=unix) as server:
        assert server.host
    assert server.failure is None
    assert server.received == []


@pytest.mark.parametrize(
    "step",
    [
        Expect(),
        Delay(1000),
        WaitFor(threading.Event()),
        TLS[-1],
        Send(bytes(20_000_000)),
        Repeat(1_000_000_000, Signal(threading.Event())),
        ExpectHangUp(WaitFor(threading.Event())),
    ],
)
def test_exception_of_the_test_goes_out_at_once(step: Step) -> None:
    def play() -> None:
        with server:
            clients.enter_context(connect(server))  # to stay open: it is no hang-up that ends this
            assert reached.wait(PATIENCE)
            raise ZeroDivisionError

    reached = threading.Event()
    server = ScriptedServer([Signal(reached), step], limit=1000)
    start = time.monotonic()
    with ExitStack() as clients, pytest.raises(ZeroDivisionError) as raised:
        play()
    assert time.monotonic() - start < PATIENCE
    assert raised.value.__notes__[0].startswith("Scripted server: connection 1, step ")
    assert server.failure is None


def test_exception_of_the_test_has_the_failure_in_a_note() -> None:
    def play() -> None:
        with ScriptedServer([Expect(b"a")]) as server, connect(server) as client:
            client.sendall(b"b\n")
            assert read(client) == b""
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        play()
    assert "expected a line that starts with b'a', got b'b" in raised.value.__notes__[0]


def test_exception_before_anybody_connects() -> None:
    with pytest.raises(ZeroDivisionError) as raised, ScriptedServer(GREETING):
        raise ZeroDivisionError
    assert raised.value.__notes__ == ["Scripted server: not called."]
