"""`smtplib` and `smtp_blocking` against one scripted server: ``python -m tests.parity.differential``.

Plays generated conversations with both and compares, after every call, what was returned or raised, the attributes, and
what the server received.  What differs must be in `differential_allowed`; the first conversation with anything else is
made smaller and printed, and the exit status is 1.

    python -m tests.parity.differential --conversations 100000 --seed 7
    python -m tests.parity.differential --seed 7 --only 4711
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pprint import pformat
from typing import Final, NamedTuple

from .differential_allowed import DIFFERENCES, NORMALISERS
from .differential_case import Case
from .differential_generate import Conversation, conversation
from .differential_run import Raised, Step, play_both
from .differential_written import WRITTEN

#: How many conversations the test plays.
CONVERSATIONS: Final = 6000
SEED: Final = 1


class Verdict(NamedTuple):
    """What came of comparing two runs."""

    steps: int  # that were compared and alike
    allowed: tuple[str, ...]  # names of the differences and normalisers that were needed
    problem: str  # "" if all was explained
    case: Case | None  # where it was


def pick(seed: int, number: int) -> Conversation:
    """The conversation with this number; the negative ones are those that were written by hand."""
    return WRITTEN[number] if number < 0 else conversation(seed, number)


def compare(conversation: Conversation) -> Verdict:
    """Play with both, and compare."""
    theirs, ours = play_both(conversation)
    needed: list[str] = []
    for index in range(max(len(theirs), len(ours))):
        if index >= min(len(theirs), len(ours)):
            return Verdict(index, tuple(needed), "one has made more calls than the other", None)
        case = Case(conversation, theirs, ours, index)
        different = _different(case.their, case.our)
        for normaliser in NORMALISERS if different else ():
            their, our = normaliser.apply(case)
            if (their, our) != (case.their, case.our):
                needed.append(normaliser.name)
                theirs[index], ours[index] = their, our
        different = _different(case.their, case.our)
        if different:
            for difference in DIFFERENCES:
                if difference.explains(case):
                    return Verdict(index, (*needed, difference.name), "", case)
            return Verdict(index, tuple(needed), ", ".join(different), case)
    return Verdict(len(ours), tuple(needed), "", None)


def _different(their: Step, our: Step) -> list[str]:
    """What is different, for people; empty if nothing is."""
    different = [name for name, value in their.attributes.items() if _shape(value) != _shape(our.attributes[name])]
    if not _same_result(their.result, our.result):
        different.append("result")
    if their.wire != our.wire:
        different.append("wire")
    if their.connected != our.connected:
        different.append("connected")
    return different


def _shape(value: object) -> str:
    # Not the values: 1 == True, and 250 == 250.0.
    return repr(value)


def _same_result(their: object, our: object) -> bool:
    if isinstance(their, Raised) and isinstance(our, Raised):
        # A class of our own may stand for a built-in one that it is derived of.
        same_class = their.name == our.name or (not their.name.startswith("SMTP") and their.name in our.classes)
        return same_class and _shape(their[1:]) == _shape(our[1:])
    return _shape(their) == _shape(our)


def smaller(conversation: Conversation) -> Conversation:
    """The conversation with all left out that the problem does not need."""
    wanted = _signature(compare(conversation))
    found = True
    while found:
        found = False
        for candidate in _candidates(conversation):
            if _signature(compare(candidate)) == wanted:
                conversation, found = candidate, True
                break
    return conversation


def _signature(verdict: Verdict) -> tuple[object, ...]:
    """What makes a problem the same one in a smaller conversation."""
    if verdict.case is None:
        return (verdict.problem,)
    results = (verdict.case.their.result, verdict.case.our.result)
    return (verdict.problem, *(result.name if isinstance(result, Raised) else "" for result in results))


def _candidates(conversation: Conversation) -> Iterator[Conversation]:
    calls, script = conversation.calls, conversation.script
    for number, call in enumerate(calls):
        yield conversation._replace(calls=calls[:number] + calls[number + 1 :])
        if call.inner:
            yield conversation._replace(calls=calls[:number] + call.inner + calls[number + 1 :])
            for inner in range(len(call.inner)):
                less = call._replace(inner=call.inner[:inner] + call.inner[inner + 1 :])
                yield conversation._replace(calls=(*calls[:number], less, *calls[number + 1 :]))
    for kind, said in script.items():
        if said:
            yield conversation._replace(script={**script, kind: ()})
            yield conversation._replace(script={**script, kind: said[:-1]})


def describe(verdict: Verdict) -> str:
    """The problem for people: where it is, and what both did."""
    case = verdict.case
    if case is None:
        return verdict.problem
    script = {kind: said for kind, said in case.conversation.script.items() if said}
    parts = [f"different: {verdict.problem}", f"step {case.number}: {case.our.call}"]
    parts += [f"conversation: {pformat(case.conversation._replace(script=script), width=118)}"]
    for name, step in (("smtplib", case.their), ("smtp_blocking", case.our)):
        parts.append(f"{name}: connected={step.connected}, result {pformat(step.result, width=118)}")
        parts += [f"    {exchange.kind}: {exchange.request!r} -> {exchange.said}" for exchange in step.exchanges]
    for name, value in case.their.attributes.items():
        if value != case.our.attributes[name]:
            parts.append(f"{name}: {value!r}, here {case.our.attributes[name]!r}")
    return "\n".join(parts)


def main() -> int:
    """Play; the exit status is 1 if anything differed that may not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", type=int, help="play only the conversation with this number")
    arguments = parser.parse_args()
    numbers = range(-len(WRITTEN), arguments.conversations) if arguments.only is None else [arguments.only]
    needed: Counter[str] = Counter()
    steps = whole = 0
    for number in numbers:
        verdict = compare(pick(arguments.seed, number))
        steps += verdict.steps
        whole += verdict.case is None
        needed.update(set(verdict.allowed))
        if verdict.problem:
            small = compare(smaller(pick(arguments.seed, number)))
            sys.stdout.write(f"conversation {number} of seed {arguments.seed}\n{describe(small)}\n")
            return 1
    sys.stdout.write(f"{len(numbers)} conversations, {whole} of them alike to their end; {steps} calls compared\n")
    for name, count in needed.most_common():
        sys.stdout.write(f"{count:8}  {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
