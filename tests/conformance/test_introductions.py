"""EHLO, HELO, and what they say about the server."""

from __future__ import annotations

import pytest

import smtp_blocking
from tests.scripted import Expect, ExpectEOF, ScriptedServer, Send
from tests.scripts import DELIVERY, GREETING, MESSAGE, QUIT, hello, opening, turn

from .backends import Backend

EVERYTHING = ["SIZE 1000000", "8BITMIME", "AUTH PLAIN LOGIN", "X-Odd some thing", "DSN"]


def test_before_ehlo_nothing_is_known(backend: Backend) -> None:
    """A new connection has no features and no answers."""
    with ScriptedServer([*GREETING, *QUIT]) as server, backend.connect(server) as client:
        assert client.esmtp_features == {}
        assert not client.does_esmtp
        assert (client.ehlo_resp, client.helo_resp) == (None, None)
        assert not client.has_extn("size")


def test_ehlo(backend: Backend) -> None:
    """EHLO's lines become features: keywords in lower case, with their parameters; `has_extn` ignores letter case."""
    with ScriptedServer([*opening(*EVERYTHING), *QUIT]) as server, backend.connect(server) as client:
        code, text = client.ehlo()
        assert code == 250
        assert text == "\n".join(["mx.test", *EVERYTHING]).encode()
        assert client.ehlo_resp == text
        assert client.does_esmtp
        assert client.esmtp_features == {
            "size": "1000000",
            "8bitmime": "",
            "auth": " PLAIN LOGIN",  # with the space, as in `smtplib`
            "x-odd": "some thing",
            "dsn": "",
        }
        assert client.has_extn("SIZE")
        assert client.has_extn("size")
        assert not client.has_extn("starttls")


def test_ehlo_without_extensions(backend: Backend) -> None:
    """A 250 with one line is ESMTP without features."""
    with ScriptedServer([*opening(), *QUIT]) as server, backend.connect(server) as client:
        assert client.ehlo() == (250, b"mx.test")
        assert client.does_esmtp
        assert client.esmtp_features == {}


@pytest.mark.parametrize(
    ("lines", "features"),
    [
        (["AUTH=LOGIN PLAIN", "AUTH CRAM-MD5"], " LOGIN PLAIN CRAM-MD5"),
        (["AUTH CRAM-MD5", "AUTH=LOGIN"], " CRAM-MD5 LOGIN"),
        (["AUTH=LOGIN"], " LOGIN"),
    ],
)
def test_auth_lines(backend: Backend, lines: list[str], features: str) -> None:
    """The mechanisms of all AUTH lines count, in the old form and in the new one."""
    with ScriptedServer([*opening(*lines), *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        assert client.esmtp_features["auth"].split() == features.split()


def test_ehlo_refused(backend: Backend) -> None:
    """A refused EHLO is returned, kept in `ehlo_resp`, and makes no features."""
    script = [*GREETING, *turn(b"ehlo ", b"502 what?"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        assert client.ehlo() == (502, b"what?")
        assert client.ehlo_resp == b"what?"
        assert not client.does_esmtp


def test_helo(backend: Backend) -> None:
    """HELO's answer is kept in `helo_resp`, and makes no features."""
    script = [*GREETING, *turn(b"helo client.test\r\n", b"250 mx.test SIZE 1000"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        assert client.helo() == (250, b"mx.test SIZE 1000")
        assert client.helo_resp == b"mx.test SIZE 1000"
        assert not client.has_extn("size")


@pytest.mark.parametrize("code", [500, 502, 504, 550, 450])
def test_helo_where_ehlo_is_refused(backend: Backend, code: int) -> None:
    """Whatever the code that refuses EHLO, HELO is tried; SMTP without extensions has no parameters."""
    script = [*GREETING, *turn(b"ehlo ", b"%d no" % code), *turn(b"helo ", b"250 mx.test"), *DELIVERY, *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.sendmail("a@client.test", "b@mx.test", MESSAGE, mail_options=["BODY=8BITMIME"])
    assert server.received[2] == b"mail from:<a@client.test>\r\n"


def test_both_refused(backend: Backend) -> None:
    """SMTPHeloError with HELO's answer if both are refused; the session goes on."""
    script = [*GREETING, *turn(b"ehlo ", b"550 5.7.1 no"), *turn(b"helo ", b"550 5.7.1 not you"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        with pytest.raises(backend.module.SMTPHeloError) as raised:
            client.ehlo_or_helo_if_needed()
        assert raised.value.args == (550, b"5.7.1 not you")


def test_421_to_ehlo(backend: Backend) -> None:
    """After a 421 HELO is not tried: the server has closed."""
    with ScriptedServer([*GREETING, *turn(b"ehlo ", b"421 4.3.2 closing"), ExpectEOF()]) as server:
        client = backend.connect(server)
        with pytest.raises(backend.module.SMTPHeloError) as raised:
            client.ehlo_or_helo_if_needed()
        assert raised.value.smtp_code == 421
        with pytest.raises(backend.module.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize("verb", ["ehlo", "helo"])
def test_only_if_needed(backend: Backend, verb: str) -> None:
    """`ehlo_or_helo_if_needed` sends nothing where one of them was sent before."""
    script = [*GREETING, *turn(verb.encode(), b"250 mx.test"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        getattr(client, verb)()
        client.ehlo_or_helo_if_needed()
        client.ehlo_or_helo_if_needed()


def test_second_ehlo_replaces_the_features(backend: Backend) -> None:
    """What the last EHLO lists counts, and nothing of the one before."""
    script = [*opening("SIZE 5", "HELP"), *hello("DSN"), *QUIT]
    with ScriptedServer(script) as server, backend.connect(server) as client:
        client.ehlo()
        client.ehlo()
        assert client.esmtp_features == {"dsn": ""}


def test_long_ehlo(backend: Backend) -> None:
    """An EHLO reply of 12 kB in a hundred lines is legal."""
    extensions = [f"X-{number:03d} {'x' * 110}" for number in range(100)]
    with ScriptedServer([*opening(*extensions), *QUIT]) as server, backend.connect(server) as client:
        client.ehlo()
        assert len(client.esmtp_features) == 100
        assert client.esmtp_features["x-099"] == "x" * 110


def test_reply_in_many_pieces_and_odd_octets(backend: Backend) -> None:
    """Text of replies is octets: 8-bit, NUL and bare LF line ends do no harm."""
    replies = b"250-mx.test\n250-\xff\xfe \x00\r\n250 8BITMIME\n"
    with ScriptedServer([*GREETING, Expect(), Send(replies), *QUIT]) as server, backend.connect(server) as client:
        assert client.ehlo() == (250, b"mx.test\n\xff\xfe \x00\n8BITMIME")
        assert client.has_extn("8bitmime")


def test_our_own_server(backend: Backend, server: smtp_blocking.Server) -> None:
    """Between our own two ends: the features are those that the server offers."""
    with backend.connect(server) as client:
        client.ehlo()
        offered = {"pipelining", "8bitmime", "smtputf8", "chunking", "enhancedstatuscodes", "size", "help"}
        assert set(client.esmtp_features) == offered
        assert client.helo()[0] == 250
        assert client.has_extn("size")  # as in `smtplib`, HELO leaves the features of an EHLO as they are


def test_reply_cut_off(backend: Backend) -> None:
    """A reply that never ends is no reply: SMTPServerDisconnected, and closed."""
    with ScriptedServer([*GREETING, Expect(b"ehlo"), Send(b"250-mx.test\r\n")]) as server:
        client = backend.connect(server)
        with pytest.raises(backend.module.SMTPServerDisconnected, match="Connection unexpectedly closed"):
            client.ehlo()
        assert client.sock is None


def test_typed_reply(backend: Backend) -> None:
    """What a method returns is `smtplib`'s tuple, and carries the typed reply."""
    with ScriptedServer([*opening("SIZE"), *turn(b"noop", b"250 2.0.0 fine"), ExpectEOF()]) as server:
        client = backend.connect(server)
        answer = client.ehlo()
        assert isinstance(answer, backend.module.SMTPReply)
        assert answer.reply.lines == (b"mx.test", b"SIZE")
        assert answer.enhanced is None
        answer = client.noop()
        assert isinstance(answer, backend.module.SMTPReply)
        assert answer == (250, b"2.0.0 fine")
        assert str(answer.enhanced) == "2.0.0"
        client.close()


def test_attributes(backend: Backend) -> None:
    """`smtplib`'s attributes, before, during and after a session."""
    client = backend.open("SMTP", local_hostname="client.test", timeout=5)
    for _ in range(2):
        assert (client.debuglevel, client.sock, client.file) == (0, None, None)
        assert (client.ehlo_msg, client.command_encoding) == ("ehlo", "ascii")
        assert (client.timeout, client.source_address) == (5, None)
        assert (client.helo_resp, client.ehlo_resp, client.does_esmtp) == (None, None, False)
        assert client.esmtp_features == {}
        with ScriptedServer([*GREETING, *hello("SIZE", "SMTPUTF8", verb=b"helo "), *DELIVERY, *QUIT]) as server:
            client.connect(server.host, server.port)
            client.ehlo_msg = "HELO"  # what says EHLO is an attribute too
            client.ehlo()
            assert client.has_extn("size")
            client.sendmail("\xe4@client.test", "b@mx.test", MESSAGE, ["SMTPUTF8"])
            assert client.command_encoding == "utf-8"
            assert client.file is None
            client.quit()
        client.ehlo_msg = "ehlo"
        client.command_encoding = "ascii"
