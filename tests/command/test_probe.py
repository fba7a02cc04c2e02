"""`smtp-proto probe`: all that a server offers, before and over TLS, and whether its certificate is worth anything."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from smtp_blocking import Server
from smtp_blocking.command.probe import EXPLANATIONS
from smtp_blocking.command.status import Status
from smtp_proto.server_session import Settings
from tests import certificates
from tests.command.conftest import Run
from tests.scripted import Close, Drain, Expect, ScriptedServer, Send, Step
from tests.serving import Deciding

BYE = (Expect(b"quit"), Send(b"221 bye\r\n"), Drain())


def introduced(*lines: bytes) -> tuple[Step, ...]:
    return Expect(b"ehlo "), Send(b"".join(b"250-%s\r\n" % line for line in (b"mx.test", *lines)) + b"250 HELP\r\n")


GREETING = Send(b"220-mx.test ESMTP\r\n220 no spam\r\n")


def test_what_is_offered_is_explained(run: Run) -> None:
    """Every line of the EHLO reply is shown with a word on what it is for."""
    offer = introduced(b"SIZE 1000000", b"X-OWN a b", b"AUTH PLAIN LOGIN", b"LIMITS RCPTMAX=20 MAILMAX=5", b"NEW")
    with ScriptedServer([GREETING, *offer, *BYE]) as server:
        status, out, err = run("probe", "--host", server.host, "--port", server.port)
    assert (status, err) == (Status.DONE, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines == [
        f"127.0.0.1 port {server.port}",
        "220 mx.test ESMTP",
        "220 no spam",
        "",
        "In the clear:",
        "SIZE 1000000 up to 1,000,000 octets (RFC 1870)",
        "X-OWN a b not registered",
        "AUTH PLAIN LOGIN log-ins (RFC 4954)",
        "LIMITS RCPTMAX=20 MAILMAX=5 how much at once (RFC 9422)",
        "NEW unknown",
        "HELP help (RFC 5321)",
    ]


def test_everything_that_our_own_server_offers_is_explained() -> None:
    with Server(tls_context=certificates.server_context(), users={"a": "b"}, cleartext_auth=True) as server:
        from smtp_proto.server import ServerConnection
        from smtp_proto.server_session import ServerSession

        offers = ServerSession(ServerConnection(), server.handler, server.settings).offers()
    assert {line.split()[0] for line in offers} <= set(EXPLANATIONS)


def test_before_and_over_tls(run: Run, cafile: Path) -> None:
    """What only one of the two offers is marked; the certificate is shown, and that it was verified."""
    with Server(tls_context=certificates.server_context(), users={"ada": "x"}) as server:
        status, out, err = run("probe", "--host", "localhost", "--port", server.port, "--cafile", cafile)
        assert server.messages == []
    assert (status, err) == (Status.DONE, "")
    clear, _, rest = out.partition("\nTLS:\n")
    tls, _, secured = rest.partition("\nOver TLS:\n")
    assert [line.split()[0] for line in clear.splitlines() if "[only here]" in line] == ["STARTTLS"]
    assert [line.split()[0] for line in secured.splitlines() if "[only here]" in line] == ["AUTH"]
    shown = dict(line.split(None, 1) for line in tls.splitlines())
    assert shown["version"].startswith("TLSv1.")
    assert "bits" in shown["cipher"]
    assert "sansio-smtp tests" in shown["issuer"]
    assert shown["names"] == "localhost, 127.0.0.1, ::1"
    assert shown["verified"] == "yes"


def test_for_machines(run: Run, cafile: Path) -> None:
    """The same as one JSON object."""
    settings = Settings(max_size=1000)
    with Server(tls_context=certificates.server_context(), users={"ada": "x"}, settings=settings) as server:
        status, out, _ = run("probe", "--json", "--host", "localhost", "--port", server.port, "--cafile", cafile)
    found = json.loads(out)
    assert status == Status.DONE
    assert (found["host"], found["port"], found["protocol"]) == ("localhost", server.port, "SMTP")
    assert found["greeting"] == {"code": 220, "text": "localhost ESMTP"}
    assert "STARTTLS" in found["clear"]["extensions"]
    assert "STARTTLS" not in found["secured"]["extensions"]
    assert found["clear"]["auth"] == []
    assert {"PLAIN", "LOGIN"} <= set(found["secured"]["auth"])
    assert (found["secured"]["size"], found["secured"]["limits"]) == (1000, {})
    assert (found["tls"]["verified"], found["tls"]["unverified_because"]) == (True, None)
    assert found["tls"]["certificate"]["names"] == ["localhost", "127.0.0.1", "::1"]
    assert found["tls_problem"] is None


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("wrong name", "Hostname mismatch, certificate is not valid for 'localhost'."),
        ("expired", "certificate has expired"),
        ("unknown authority", "unable to get local issuer certificate"),
        ("self-signed", "self-signed certificate"),
    ],
)
def test_a_certificate_that_proves_nothing_is_shown_all_the_same(
    kind: str, reason: str, implicit: bool, run: Run, cafile: Path
) -> None:
    """With the reason, and a status for those who watch servers."""
    with Server(tls_context=certificates.REFUSED[kind](), implicit_tls=implicit) as server:
        arguments = ("--host", "localhost", "--port", server.port, "--cafile", cafile)
        status, out, err = run("probe", *arguments, "--tls", "implicit" if implicit else "opportunistic")
    assert (status, err) == (Status.TLS, "")
    shown = " ".join(out.split())
    assert f"verified NO: {reason}" in shown.replace("self signed", "self-signed")
    assert "Over TLS: PIPELINING" in shown
    assert ("In the clear:" in shown) is not implicit


def test_insecure_is_no_failure(run: Run) -> None:
    with Server(tls_context=certificates.self_signed_server_context()) as server:
        status, out, _ = run("probe", "--host", server.host, "--port", server.port, "--insecure")
    assert status == Status.DONE
    assert "NO: nothing was verified (--insecure)" in out


def test_without_tls(run: Run) -> None:
    """With `--tls none` STARTTLS is shown and not tried."""
    with ScriptedServer([GREETING, *introduced(b"STARTTLS"), *BYE]) as server:
        status, out, _ = run("probe", "--tls", "none", "--host", server.host, "--port", server.port)
    assert status == Status.DONE
    assert "STARTTLS" in out


@pytest.mark.parametrize(
    ("script", "policy", "part"),
    [
        ([*introduced(), *BYE], "required", "TLS is required and not offered"),
        ([*introduced(b"STARTTLS"), Expect(b"starttls"), Send(b"454 no\r\n"), *BYE], "opportunistic", "454 no"),
        ([*introduced(b"STARTTLS"), Expect(b"starttls"), Send(b"220 go\r\n"), Close()], "opportunistic", "TLS failed"),
        (
            [*introduced(b"STARTTLS"), Expect(), Send(b"220 go\r\n250 inject\r\n"), Drain()],
            "opportunistic",
            "injection",
        ),
    ],
)
def test_tls_that_is_not_to_be_had(script: Sequence[Step], policy: str, part: str, run: Run) -> None:
    """What was found out is shown, and behind it why there is no more."""
    steps: list[Step] = [GREETING, *script]
    with ScriptedServer(steps, strict=False) as server:
        status, out, err = run("probe", "--tls", policy, "--host", server.host, "--port", server.port)
    assert status == Status.TLS
    assert "In the clear:" in out
    assert err.count("\n") == 1
    assert part in err


def test_a_server_without_extensions(run: Run) -> None:
    script: list[Step] = [
        GREETING,
        Expect(b"ehlo "),
        Send(b"502 what?\r\n"),
        Expect(b"helo "),
        Send(b"250 hello\r\n"),
        *BYE,
    ]
    with ScriptedServer(script) as server:
        status, out, _ = run("probe", "--host", server.host, "--port", server.port)
    assert status == Status.DONE
    assert "it does not know EHLO" in out


def test_a_refused_quit_is_no_failure(run: Run) -> None:
    with ScriptedServer([GREETING, *introduced(), Expect(b"quit"), Send(b"550 stay\r\n"), Drain()]) as server:
        assert run("probe", "--host", server.host, "--port", server.port).status == Status.DONE


def test_no_mail_and_no_log_in(run: Run, cafile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it ever says is EHLO, STARTTLS and QUIT, even with a user in the environment."""
    monkeypatch.setenv("SMTP_PROTO_USER", "ada")
    monkeypatch.setenv("SMTP_PROTO_PASSWORD", "x")
    handler = Deciding()
    settings = Settings(mechanisms=("PLAIN",), cleartext_auth=True)
    with Server(handler, tls_context=certificates.server_context(), settings=settings) as server:
        assert run("probe", "--host", "localhost", "--port", server.port, "--cafile", cafile).status == Status.DONE
    assert handler.asked == ["connect", "helo", "helo", "quit"]


def test_lmtp(run: Run) -> None:
    with Server(lmtp=True) as server:
        status, out, _ = run("probe", "--lmtp", "--host", server.host, "--port", server.port)
    assert status == Status.DONE
    assert out.splitlines()[0].endswith("(LMTP)")


def test_a_host_may_be_named_as_people_do(run: Run) -> None:
    with Server() as server:
        assert run("probe", "--host", f"{server.host}:{server.port}").status == Status.DONE


def test_port_465_is_tls_from_the_start() -> None:
    from smtp_blocking.command.arguments import Parser
    from smtp_blocking.command.server_options import add, target

    parser = Parser()
    add(parser)
    read: Callable[..., object] = lambda *arguments: target(parser.parse_args(arguments)).tls  # noqa: E731
    assert read("--host", "mx.test:465") == "implicit"
    assert read("--port", "465") == "implicit"
    assert read("--port", "465", "--tls", "none") == "none"
    assert read() == "opportunistic"
    assert target(parser.parse_args(["--host", "mx.test:465", "--port", "25"])).port == 465
    assert read("--host", "/run/lmtp", "--lmtp") == "none"
    assert isinstance(target(parser.parse_args([])).context, ssl.SSLContext)
