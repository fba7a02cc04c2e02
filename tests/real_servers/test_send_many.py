"""`send_many` at real servers, on every backend: a hundred messages over one connection, some of them refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from smtp_proto.outcome import Fate, Outcome
from tests.conformance.backends import Backend
from tests.in_turn import in_turn
from tests.leaks import nothing_left_behind

from .doors import SENDER, TIMEOUT
from .mailboxes import SMALL, MailServer, address
from .messages import BODIES, new_ident, with_header
from .processes import HOST

COUNT = 100
USERS = ("user40", "user41", "user42")
# Those that are not as the others: to nobody, to somebody and nobody, and one that is too large, which its server finds
# out when it has read it, for the size of a stream is not known before.
NOBODY, SOME, LARGE = 30, 50, 70

backend = in_turn()


def to(number: int) -> list[str]:
    """One recipient, or two, or three."""
    if number == NOBODY:
        return [address("stranger")]
    users = [address(user) for user in USERS[: number % 3 + 1]]
    return [address("stranger"), *users] if number == SOME else users


def letters(idents: list[str]) -> Iterator[Any]:
    for number, ident in enumerate(idents):
        message = with_header(ident, BODIES["dots"]).sent
        yield SENDER, to(number), iter([message, b"x" * 60 + b"\r\n"] * (SMALL // 60)) if number == LARGE else message


@pytest.mark.parametrize("chunking", [False, "eager"])
@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_a_hundred_messages(request: pytest.FixtureRequest, backend: Backend, name: str, chunking: Any) -> None:
    """Each arrives once for each of its recipients, in order, but for those that are told to have been refused."""
    server: MailServer = request.getfixturevalue(name)
    idents = [new_ident() for _ in range(COUNT)]
    options = {"timeout": TIMEOUT, "chunking": chunking}
    with nothing_left_behind():
        with backend.open("SMTP", HOST, server.ports["small"], **options) as client:
            with backend.sending(client, letters(idents)) as sending:
                outcomes: list[Outcome] = list(sending)
            assert client.noop()[0] == 250
        backend.settle()
    refused = {NOBODY: 550, LARGE: 552}
    taken = [number for number in range(COUNT) if number not in refused]
    assert [outcome.fate for outcome in outcomes] == [
        Fate.NOT_SENT if number in refused else Fate.DELIVERED for number in range(COUNT)
    ]
    assert {number: outcomes[number].recipients[0].answer.code for number in refused} == refused  # type: ignore[union-attr]
    assert [each.delivered for each in outcomes[SOME].recipients] == [False, True, True, True]
    arrived = [idents[number] for number in taken]
    assert server.order(arrived) == arrived
    for user in USERS:
        wanted = [idents[number] for number in taken if address(user) in to(number)]
        assert sorted(server.take_all(user, wanted)) == sorted(wanted)
