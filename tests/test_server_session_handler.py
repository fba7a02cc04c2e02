"""The handler's decisions: to accept, to refuse, to close, and to fail."""

from __future__ import annotations

from typing import Any

import pytest

from smtp_proto.errors import InvalidArgument, LocalProtocolError
from smtp_proto.replies import Reply
from smtp_proto.server_session import Settings

from .serving import DATA, EHLO, MAIL, QUIT, RCPT, TRANSACTION, Deciding, Served, replies_in

# What is sent up to the decision, and then to see what it has left behind.
DECISIONS = {
    "connect": (b"", EHLO, [503], [250]),
    "helo": (EHLO, MAIL, [503], [250]),
    "mail": (EHLO + MAIL, RCPT, [503], [250]),
    "rcpt": (EHLO + MAIL + RCPT, DATA + b".\r\n", [503, 500], [354, 250]),
    "body": (TRANSACTION, MAIL, [250], [250]),
}
every_decision = pytest.mark.parametrize("method", DECISIONS)


def decided(method: str, answer: Any) -> tuple[Reply, list[int], Deciding]:
    """The answer that the client was given, the codes of what it sent behind it, and the handler."""
    handler = Deciding(**{method: answer})
    before, behind, _, _ = DECISIONS[method]
    served = Served(before, behind, handler=handler)
    replies = replies_in(served.peer.written)
    index = len(replies_in(Served(before).peer.written)) - 1
    return replies[index], [reply.code for reply in replies[index + 1 :]], handler


@every_decision
def test_to_accept_with_none(method: str) -> None:
    """None accepts, and what follows is in order."""
    reply, behind, handler = decided(method, None)
    assert reply.accepted
    assert behind == DECISIONS[method][3]
    assert handler.failures == []


@every_decision
def test_to_accept_in_other_words(method: str) -> None:
    """A 2xx of the handler's accepts, and is what the client is told."""
    reply, behind, handler = decided(method, Reply(251, "my own words"))
    assert reply == Reply(251, "my own words")
    assert behind == DECISIONS[method][3]
    assert handler.failures == []


@every_decision
@pytest.mark.parametrize("code", [550, 450, 554])
def test_to_refuse(method: str, code: int) -> None:
    """A refusal is what the client is told, and what depends on it is out of order."""
    reply, behind, handler = decided(method, Reply(code, "5.7.1 no"))
    assert reply == Reply(code, "5.7.1 no")
    assert behind == DECISIONS[method][2]
    assert handler.failures == []


@every_decision
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ZeroDivisionError("mine"), ZeroDivisionError),
        (OSError("the handler's own"), OSError),
        (TimeoutError("the handler's own"), TimeoutError),
        (Reply(354, "go on"), LocalProtocolError),
        (Reply(250, "two\r\nlines"), InvalidArgument),
        (Reply(250, "nul\0"), InvalidArgument),
        (Reply(550, "two\rlines"), InvalidArgument),
    ],
)
def test_a_handler_that_fails(method: str, answer: Reply | Exception, error: type[Exception]) -> None:
    """What it raises, or gives that can be no answer, is told to `failed`; the client is told 451, and no more."""
    reply, behind, handler = decided(method, answer)
    assert reply == Reply(451, "4.3.0 Local error in processing")
    assert behind == DECISIONS[method][2]
    assert [type(failure) for failure in handler.failures] == [error]


@every_decision
@pytest.mark.parametrize("code", [421, 600])
def test_to_close(method: str, code: int) -> None:
    """A 421 of the handler's closes at once: what the client has sent behind it is not read."""
    handler = Deciding(**{method: Reply(code, "4.3.2 not now")})
    before, behind, _, _ = DECISIONS[method]
    served = Served(before + behind, QUIT, handler=handler)
    assert replies_in(served.peer.written)[-1].code == code
    assert served.hung_up_early
    assert served.peer.closed


@pytest.mark.parametrize(
    ("answer", "expected", "failures"),
    [
        (None, Reply(221, "2.0.0 Bye"), 0),
        (Reply(221, "see you"), Reply(221, "see you"), 0),
        (Reply(550, "stay"), Reply(221, "2.0.0 Bye"), 0),
        (ZeroDivisionError(), Reply(221, "2.0.0 Bye"), 1),
        (Reply(221, "see\ryou"), Reply(451, "4.3.0 Local error in processing"), 1),
    ],
)
def test_a_goodbye_cannot_be_refused(answer: Reply | Exception | None, expected: Reply, failures: int) -> None:
    """The handler may choose the words of a goodbye, nothing else (RFC 5321 4.1.1.10)."""
    handler = Deciding(quit=answer)
    assert Served(EHLO + QUIT, handler=handler).replies[-1] == expected
    assert len(handler.failures) == failures


def test_no_service_here() -> None:
    """RFC 5321 3.1: behind a refusing greeting only QUIT is taken."""
    served = Served(EHLO + MAIL + b"NOOP\r\n" + QUIT, handler=Deciding(connect=Reply(554, "no service")))
    assert served.peer.segments[0].startswith(b"554 no service\r\n")
    assert served.codes == [503, 503, 503, 221]


def test_the_handler_knows_the_session() -> None:
    """Each question comes with the session, which says who asks."""
    peers: list[object] = []
    handler = Deciding(connect=lambda session: peers.append(session.peer))
    Served(handler=handler)
    assert peers == ["somebody"]


def test_a_failure_in_failed_is_nobodys() -> None:
    """An error in `failed` itself changes nothing: the client is told 451, and its session goes on."""

    class Failing(Deciding):
        def failed(self, session: object, error: Exception) -> None:
            raise RuntimeError("even this") from error

    assert Served(EHLO + b"NOOP\r\n", handler=Failing(helo=ZeroDivisionError())).codes == [451, 250]


def test_an_interruption_in_the_handler_goes_on() -> None:
    """What is no `Exception` is not the client's to be told, and whoever drives the flow gets it."""

    class Interrupted(Deciding):
        def failed(self, session: object, error: Exception) -> None:
            raise KeyboardInterrupt from error

        def quit(self, session: object) -> None:
            raise SystemExit

    with pytest.raises(KeyboardInterrupt):
        Served(EHLO, handler=Interrupted(helo=ZeroDivisionError()))
    with pytest.raises(SystemExit):
        Served(QUIT, handler=Interrupted())


@every_decision
@pytest.mark.parametrize("wrong", [True, "250 ok", 250, [Reply(250, "ok"), None], (Reply(250, "ok"),)], ids=repr)
def test_a_decision_that_is_none(method: str, wrong: object) -> None:
    """What is neither None nor a Reply is a failure of the handler like any other."""
    reply, behind, handler = decided(method, lambda argument: wrong)
    assert reply == Reply(451, "4.3.0 Local error in processing")
    assert behind == DECISIONS[method][2]
    assert [type(failure) for failure in handler.failures] == [TypeError]


@pytest.mark.parametrize("method", ["connect", "helo", "mail", "rcpt", "auth", "quit"])
def test_a_list_decides_about_a_message_alone(method: str) -> None:
    """Several replies where there is place for one are a failure of the handler, too."""
    handler = Deciding(**{method: [Reply(250, "ok")]})
    settings = Settings(mechanisms=("PLAIN",), cleartext_auth=True)
    served = Served(EHLO + b"AUTH PLAIN AGEAYg==\r\n" + MAIL + RCPT + QUIT, handler=handler, settings=settings)
    assert served.peer.closed
    assert [type(failure) for failure in handler.failures] == [TypeError]
