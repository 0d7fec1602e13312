"""Judge whether a test holds, by the values that the program's process sent, in a process that never ran the program.

A verdict is True (the test holds), False (it does not, whatever was reported) or None: not known outside the program's
process, since a value could not be sent, or a function that is not the program's own made it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from kelp.execution.worker.bare_asserts import COMPARE, Check, Side, Test, compile_test
from kelp.execution.worker.leaves import Split, imports, meanings, opened
from kelp.execution.worker.protocol import Event, Outcome
from kelp.execution.worker.values import Other, decode, entries

_FEW = 2_000  # entries of a set or dict that may be made here, though all their hashes collide
_SINGLE = (None, True, False, ...)
_CONTRADICTED = "it was reported as passed, but the values that it compared do not satisfy it"


def judged(
    events: list[Event], asserts: Sequence[Test], setup: str, in_process: Callable[[Callable[[], Any]], Any]
) -> list[Event]:
    """Return the events of a run, its tests judged by their evidence and the evidence removed.

    An outcome that the evidence contradicts is an error, and one that it confirms is vouched for. `in_process` calls a
    function in a process with limits: it evaluates expressions, and only if no test has failed.
    """
    bound, wanted = {}, {}
    if events and events[0]["event"] == "source":  # the first, before the program ran; a later one is not believed
        bound, wanted = events[0]["names"], events[0]["examples"]
    tests = {test.text: adapted(test, bound, setup) for test in asserts}
    kept: list[Event] = [event for event in events if event["event"] != "source"]
    apart: list[tuple[Outcome, Test, Any]] = []
    failed = False
    for event in kept:
        if event["event"] != "outcome":
            continue
        evidence, event["evidence"], event["vouched"] = event["evidence"], [], False
        if event["status"] != "pass":
            failed |= event["status"] != "skip"
            continue
        test = tests.get(event["name"])
        try:
            if test is not None:
                _settle(event, verdict(test, evidence, bound, setup, apart=False))
            elif event["name"] in wanted:
                _settle(event, _of_examples(wanted[event["name"]], evidence))
        except Apart:
            assert test is not None
            apart.append((event, test, evidence))
    if apart and not failed:
        verdicts = in_process(
            lambda: [verdict(test, evidence, bound, setup, apart=True) for _, test, evidence in apart]
        )
        for (event, _, _), held in zip(apart, verdicts or ()):
            _settle(event, held)
    return kept


def _settle(event: Outcome, held: bool | None) -> None:
    event["vouched"] = held is True
    if held is False:
        event["status"], event["exception"], event["message"] = "error", "NotJudged", _CONTRADICTED


def _of_examples(wanted: list[Any], outputs: list[Any]) -> bool | None:
    """Return the verdict on the examples of one docstring, by the text that they printed."""
    if len(wanted) != len(outputs):
        return False
    import doctest  # it imports much, and was imported already where there are examples

    check = doctest.OutputChecker().check_output
    try:
        equal = [check(want, str(got), flags) for (want, flags), got in zip(wanted, outputs)]
        vague = any(flags & doctest.IGNORE_EXCEPTION_DETAIL for _, flags in wanted)
    except (TypeError, ValueError):
        return None
    return True if all(equal) else None if vague else False


class Apart(Exception):
    """Judging needs a process with limits, since it evaluates an expression or may take long."""


@lru_cache(64)
def bound_by(setup: str) -> Mapping[str, str]:
    """Return the names that the code before the program binds, as `leaves.imports` does."""
    try:
        return imports(ast.parse(setup))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}


def adapted(test: Test, bound: Mapping[str, str], setup: str) -> Test:
    """Return the test, compiled anew if the program or the setup binds a known name in it to another meaning."""
    before = bound_by(setup)
    names = test.names if "*" in bound or "*" in before else opened(test.names, bound) | opened(test.names, before)
    return compile_test(test.text, names) if names else test


def verdict(test: Test, evidence: Any, bound: Mapping[str, str], setup: str, *, apart: bool) -> bool | None:
    """Return the verdict on a test that held where it ran, by its leaves' values; `bound` are the program's own names.

    Raises Apart unless `apart` allows everything.
    """
    checks = test.checks
    if not checks or not isinstance(evidence, list) or len(evidence) != len(checks):
        return None
    before = bound_by(setup)
    ours = frozenset(name for name, path in bound.items() if path == "" and name not in before)
    verdicts = [_of_check(check, values, ours, apart) for check, values in zip(checks, evidence)]
    return False if False in verdicts else None if None in verdicts else True


def _of_check(check: Check, evidence: Any, ours: frozenset[str], apart: bool) -> bool | None:
    judge = _Judge(ours, apart)
    sides = 1 if check.whole is not None else len(check.sides)
    if not isinstance(evidence, list) or len(evidence) != sides:
        return None
    try:
        if check.whole is not None:
            if check.whole.whole is None:
                return None
            held = bool(judge.value(check.whole, evidence[0]))
        elif check.words[0] in ("true", "false"):
            held = bool(judge.side(check.sides[0], evidence[0])) == (check.words[0] == "true")
        else:
            values = [judge.side(side, part) for side, part in zip(check.sides, evidence)]
            held = all(judge.compare(*each) for each in zip(values, check.words, values[1:]))
    except Apart:
        raise
    except Exception:  # a value was not sent, or has no such operation
        return None
    if held:
        return True if judge.owned and judge.told else None
    return False if judge.exact else None


class _Judge:
    """Evaluates the sides of a check.

    `owned`: all leaves are the program's own; `exact`: a comparison that fails is decisive; `told`: identity follows
    from the values.
    """

    def __init__(self, ours: frozenset[str], apart: bool):
        self.ours, self.apart = ours, apart
        self.owned = self.exact = self.told = True

    def side(self, side: Side, evidence: Any) -> Any:
        return self.value(side.split, evidence) if side.value is None else side.value[0]

    def value(self, split: Split, evidence: Any) -> Any:
        if not isinstance(evidence, list) or len(evidence) != len(split.leaves):
            raise ValueError("not the values of these leaves")
        values = []
        for leaf, owners in zip(evidence, split.owners):
            self.owned &= self.ours.issuperset(owners)
            if leaf is None and split.whole is None:
                self.exact = False
                return Other()
            data, exact, sets = leaf
            self.exact &= exact is True and (sets is False or split.whole is None)  # the order in a set is its history
            most = entries(data, lists=split.whole is not None)
            if not self.apart and (not split.cheap or most > _FEW):
                raise Apart
            values.append(decode(data))
        if split.whole is None:
            return values[0]
        self.exact &= "Decimal" not in f"{split.known} {evidence}"  # the program may have set their precision
        if not self.apart and not split.cheap:
            raise Apart
        return eval(split.whole, meanings(split.known), {f"@{at}": value for at, value in enumerate(values)})

    def compare(self, left: Any, word: str, right: Any) -> bool:
        if word in ("is", "is not"):
            singles = any(value is single for value in (left, right) for single in _SINGLE)
            self.told &= singles or isinstance(left, type) or isinstance(right, type)
            self.exact &= self.told
        elif isinstance(left, Other) or isinstance(right, Other):
            raise ValueError("a value did not travel")
        return bool(COMPARE[word](left, right))
