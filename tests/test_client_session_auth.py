"""The client's log-in (RFC 4954): exchanges that succeed, are refused, and have to be cancelled."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest

from smtp_proto.client import ClientConnection
from smtp_proto.commands import Auth, AuthResponse, Command
from smtp_proto.effects import Call, Flow, Poll
from smtp_proto.errors import ConnectionLost, InvalidArgument, LocalProtocolError, RemoteProtocolError
from smtp_proto.replies import Reply
from smtp_proto.sasl import MAX_CHALLENGES, AuthenticationAborted, CramMD5, Login, Mechanism, Plain
from smtp_proto.sasl_exchange import Credentials
from smtp_proto.server import ServerConnection
from smtp_proto.server_session import ServerSession, Settings
from smtp_proto.session import ClientSession
from smtp_proto.transcript import Said

from .flows import Joined, Scripted, at_random, effects_of, in_step, introduced, single, whole
from .serving import Deciding


class Stepping(Mechanism):
    """A mechanism that gives what it is told to: `responses` for one step after the other."""

    name = "X-STEPS"

    def __init__(self, *responses: bytes | BaseException | None) -> None:
        self._responses = list(responses)
        self.challenges: list[bytes | None] = []

    def step(self, challenge: bytes | None) -> bytes | None:
        self.challenges.append(challenge)
        response = self._responses.pop(0)
        if isinstance(response, BaseException):
            raise response
        return response


# -- exchanges that succeed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [whole, single, at_random(1)])
@pytest.mark.parametrize("initial_response", [True, False])
@pytest.mark.parametrize("make", [Plain, Login])
def test_a_log_in_against_the_real_server(
    make: Callable[[str, str], Mechanism], initial_response: bool, pieces: Callable[[int], int]
) -> None:
    """The server is presented what the client was given, with and without an initial response."""
    handler = Deciding()
    settings = Settings(mechanisms=("PLAIN", "LOGIN"), cleartext_auth=True)
    session = ClientSession(ClientConnection())

    def conversation() -> Flow[Reply]:
        yield from session.greet()
        yield from session.hello("client.test")
        reply = yield from session.authenticate(make("tim", "t\u00f6nstaaf"), initial_response=initial_response)
        assert (yield from session.quit()).code == 221
        return reply

    server = ServerSession(ServerConnection(), handler, settings)
    assert Joined(conversation(), server.run(), pieces=pieces).run().code == 235
    assert handler.credentials == [Credentials(make("a", "b").name, "tim", "t\u00f6nstaaf")]
    assert server.credentials == handler.credentials[0]


def test_the_example_of_rfc_2195() -> None:
    """CRAM-MD5 never sends an initial response, and answers RFC 2195's challenge with RFC 2195's digest."""
    session = introduced()
    peer = Scripted([b"334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n", b"235 welcome\r\n"])
    assert peer.run(session.authenticate(CramMD5("tim", "tanstaaftanstaaf"))) == Reply(235, "welcome")
    assert peer.segments == [
        b"AUTH CRAM-MD5\r\n",
        b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n",
    ]


@pytest.mark.parametrize(("initial", "line"), [(b"", b"AUTH X-STEPS =\r\n"), (b"hi", b"AUTH X-STEPS aGk=\r\n")])
def test_an_initial_response_may_be_empty(initial: bytes, line: bytes) -> None:
    """RFC 4954 4: an empty initial response is "=", which is not the same as none."""
    peer = Scripted([b"235 ok\r\n"])
    assert peer.run(introduced().authenticate(Stepping(initial))).code == 235
    assert peer.written == line


@pytest.mark.parametrize("challenge", [b"334 \r\n", b"334\r\n", b"334 \t \r\n"])
@pytest.mark.parametrize("response", [b"", None])
def test_an_empty_challenge_and_an_empty_response(challenge: bytes, response: bytes | None) -> None:
    """An empty challenge is a challenge of no octets, and an empty response to it an empty line."""
    mechanism = Stepping(response)
    peer = Scripted([challenge, b"235 ok\r\n"])
    assert peer.run(introduced().authenticate(mechanism, initial_response=False)).code == 235
    assert peer.segments == [b"AUTH X-STEPS\r\n", b"\r\n"]
    assert mechanism.challenges == [b""]


def test_steps_are_calls() -> None:
    """A mechanism is called through the driver, so that it may be awaited there."""
    mechanism = Stepping(None, b"x")
    peer = Scripted([b"334 eA==\r\n", b"235 ok\r\n"])
    peer.run(introduced().authenticate(mechanism))
    assert [call.arguments for call in effects_of(Call, peer.effects)] == [(None,), (b"x",)]


def test_another_way_to_exchange() -> None:
    """With `exchange` each step goes through it, and the session sends nothing by itself."""
    session = introduced()
    steps: list[Command] = []

    def exchange(command: Command) -> Flow[Reply]:
        steps.append(command)
        return (yield from session.command(command))

    peer = Scripted([b"334 \r\n", b"235 ok\r\n"])
    assert peer.run(session.authenticate(Stepping(b"a", b"b"), exchange=exchange)).code == 235
    assert steps == [Auth("X-STEPS", b"a"), AuthResponse(b"b")]


def test_another_way_to_exchange_that_raises_behind_a_refusal() -> None:
    """What `exchange` raises goes on; with the exchange over there is nothing to cancel, and the session goes on."""
    session = introduced()

    def exchange(command: Command) -> Flow[Reply]:
        reply = yield from session.command(command)
        if reply.code == 535:
            raise ZeroDivisionError
        return reply

    peer = Scripted([b"334 \r\n", b"535 no\r\n"])
    with pytest.raises(ZeroDivisionError):
        peer.run(session.authenticate(Stepping(b"a", b"b"), exchange=exchange))
    assert in_step(session)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [535, 454, 504, 530, 421])
def test_a_refused_log_in_is_an_answer(code: int) -> None:
    """A refusal at any step is returned; the session goes on unless it is a 421."""
    for replies in ([b"%d no\r\n"], [b"334 \r\n", b"%d no\r\n"]):
        session = introduced()
        peer = Scripted([reply % code if b"%" in reply else reply for reply in replies])
        assert peer.run(session.authenticate(Stepping(b"a", b"b"))).code == code
        assert session.connection.closed is (code == 421)
        assert code == 421 or in_step(session)


def test_a_mistake_in_the_credentials_sends_nothing() -> None:
    """A mechanism that cannot begin raises before AUTH is sent, and the session is as it was."""
    session = introduced()
    peer = Scripted()
    with pytest.raises(ZeroDivisionError):
        peer.run(session.authenticate(Stepping(ZeroDivisionError())))
    with pytest.raises(InvalidArgument):
        Plain("a\0b", "secret")
    assert peer.written == b""
    assert in_step(session)


def test_a_mechanism_is_good_for_one_exchange() -> None:
    """A second exchange with the same mechanism, which stands somewhere in the first one, sends nothing."""
    session = introduced()
    mechanism = Stepping(b"a", b"b")
    peer = Scripted([b"535 no\r\n"])
    assert peer.run(session.authenticate(mechanism)).code == 535
    with pytest.raises(LocalProtocolError, match="make a new Stepping"):
        peer.run(session.authenticate(mechanism))
    assert len(peer.segments) == 1
    assert in_step(session)


# -- exchanges that have to be cancelled ------------------------------------------------------------------------------


@pytest.mark.parametrize("challenge", [b"334 !\r\n", b"334 YQ\r\n", b"334 YQ== YQ==\r\n", b"334 \xff\xfe\r\n"])
def test_broken_base64_cancels(challenge: bytes) -> None:
    """RFC 4954 4: a challenge that is not base64 gets "*"; the session goes on, and the error has the challenge."""
    session = introduced()
    peer = Scripted([challenge, b"501 cancelled\r\n"])
    with pytest.raises(AuthenticationAborted, match="base64") as caught:
        peer.run(session.authenticate(Stepping(b"a")))
    assert caught.value.reply.code == 334
    assert peer.segments[1:] == [b"*\r\n"]
    assert in_step(session)


@pytest.mark.parametrize("initial_response", [True, False])
def test_endless_challenges(initial_response: bool) -> None:
    """A server that keeps asking is answered MAX_CHALLENGES times (once more where it asked first), and cancelled."""
    session = introduced()
    answered = MAX_CHALLENGES + (0 if initial_response else 1)
    peer = Scripted([b"334 eA==\r\n"] * (answered + 1) + [b"501 cancelled\r\n"])
    mechanism = Stepping(*[b"a"] * (MAX_CHALLENGES + 1))
    with pytest.raises(AuthenticationAborted, match="keeps sending"):
        peer.run(session.authenticate(mechanism, initial_response=initial_response))
    assert peer.segments[1:] == [b"YQ==\r\n"] * answered + [b"*\r\n"]
    assert in_step(session)


@pytest.mark.parametrize(
    "answer", [b"334 eA==\r\n", b"421 bye\r\n", b"", TimeoutError("timed out"), b"nonsense\r\n", b"300 go on\r\n"]
)
def test_a_cancellation_that_fails_closes_and_hides_nothing(answer: bytes | OSError) -> None:
    """A 334 after "*", or no answer to it, ends the connection; what is raised is why it was cancelled."""
    session = introduced()
    peer = Scripted([b"334 !\r\n", answer])
    with pytest.raises(AuthenticationAborted, match="base64"):
        peer.run(session.authenticate(Stepping(b"a")))
    assert peer.segments[-1] == b"*\r\n"
    assert session.connection.closed


def test_a_mechanism_that_raises_cancels() -> None:
    """What a mechanism raises in the middle goes on, behind a "*"."""
    session = introduced()
    peer = Scripted([b"334 eA==\r\n", b"501 cancelled\r\n"])
    with pytest.raises(ZeroDivisionError):
        peer.run(session.authenticate(Stepping(b"a", ZeroDivisionError())))
    assert peer.segments[-1] == b"*\r\n"
    assert in_step(session)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_an_interruption_in_a_mechanism_waits_for_nothing(interruption: BaseException) -> None:
    """Whoever is interrupted in the middle of an exchange cannot wait for an answer to "*": aborted, with no I/O."""
    session = introduced()
    peer = Scripted([b"334 eA==\r\n"])
    with pytest.raises(type(interruption)):
        peer.run(session.authenticate(Stepping(b"a", interruption)))
    assert len(peer.segments) == 1
    assert session.connection.closed


def test_an_interruption_at_every_effect_of_an_exchange() -> None:
    """Interrupted anywhere, the cancellation included, the session is as before or serves for nothing more."""
    clean = Scripted([b"334 eA==\r\n", b"334 !\r\n", b"501 cancelled\r\n"])
    with pytest.raises(AuthenticationAborted):
        clean.run(introduced().authenticate(Stepping(b"a", b"b")))
    for n, effect in enumerate(clean.effects):
        session = introduced()
        peer = Scripted([b"334 eA==\r\n", b"334 !\r\n", b"501 cancelled\r\n"], fails={n: KeyboardInterrupt()})
        with pytest.raises(KeyboardInterrupt):
            peer.run(session.authenticate(Stepping(b"a", b"b")))
        before_auth = n < 2
        assert session.connection.at_boundary is before_auth, effect
        assert len(peer.effects) == n + 1


@pytest.mark.parametrize("end", [b"", ConnectionResetError("reset"), TimeoutError("timed out")])
@pytest.mark.parametrize("replies", [[], [b"334 eA==\r\n"], [b"334 e"]])
def test_an_exchange_that_is_lost(replies: list[bytes], end: bytes | OSError) -> None:
    """A connection that is lost in the middle of an exchange is ConnectionLost, and nothing is sent behind it."""
    session = introduced()
    peer = Scripted([*replies, end])
    with pytest.raises(ConnectionLost, match="AUTH"):
        peer.run(session.authenticate(Stepping(b"a", b"b")))
    assert b"*" not in peer.written
    assert session.connection.closed


@pytest.mark.parametrize("answer", [b"nonsense\r\n", b"334 eA==\r\n334 eA==\r\n"])
def test_an_exchange_that_breaks_the_protocol(answer: bytes) -> None:
    """Broken framing, or an answer too many, in the middle of an exchange is for good: not even "*" is sent."""
    session = introduced()
    peer = Scripted([b"334 eA==\r\n", answer])
    with pytest.raises(RemoteProtocolError):
        peer.run(session.authenticate(Stepping(b"a", b"b", b"c")))
    assert b"*" not in peer.written
    # One look before each of the two or three commands, and none for a cancellation.
    assert len(effects_of(Poll, peer.effects)) == (2 if answer == b"nonsense\r\n" else 3)
    assert session.connection.closed


def test_secrets_are_not_told_to_the_observer() -> None:
    """Of a log-in the observer hears the mechanism and the answers, in no step a response."""
    said: list[Said] = []
    session = introduced(observe=said.append)
    with pytest.raises(AuthenticationAborted):
        Scripted([b"334 \r\n", b"334 !\r\n", b"501 x\r\n"]).run(session.authenticate(Stepping(b"s3cret", b"s3cret")))
    assert [str(entry) for entry in said] == [
        "C: AUTH X-STEPS ***",
        "S: 334 ",
        "C: ***",
        "S: 334 !",
        "C: *",
        "S: 501 x",
    ]
    assert b64encode(b"s3cret").decode() not in repr(said)
