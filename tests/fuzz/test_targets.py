"""No input of a target's corpus, and none of some variations of it, makes the target fail."""

from __future__ import annotations

import importlib

import pytest

from tests.fuzz import TARGETS
from tests.fuzz.inputs import CORPUS, Input, generated, seeds, target, ways

# Variations for each target: what all of them together take is seconds.
VARIATIONS = 150


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    check = target(name)
    for octets in seeds(name):
        check(octets)


@pytest.mark.parametrize("name", TARGETS)
def test_variations(name: str) -> None:
    check = target(name)
    for octets in generated(name, VARIATIONS):
        check(octets)


def test_every_target_says_what_must_be_true() -> None:
    for name in TARGETS:
        first = (importlib.import_module(f"tests.fuzz.{name}").__doc__ or "").partition("\n")[0]
        assert first.endswith("."), name
        assert len(first) > 40, name


def test_every_corpus_has_its_target() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(TARGETS)


def test_variations_are_the_same_each_time() -> None:
    assert list(generated("replies", 20)) == list(generated("replies", 20))
    assert len(set(generated("replies", 20))) > 15


def test_an_input_is_taken_apart() -> None:
    given = Input(b"\x05\x02abcd")
    assert (given.number(), given.some(), given.rest(), given.number(), given.some()) == (5, b"ab", b"cd", 0, b"")


@pytest.mark.parametrize("octets", [b"", b"a", b"abcdefghij", b"x" * 5000])
@pytest.mark.parametrize("at", [0, 100, 255])
def test_all_ways_give_all_octets(octets: bytes, at: int) -> None:
    assert all(b"".join(pieces) == octets for pieces in ways(octets, at))
