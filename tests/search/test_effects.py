import math
from collections.abc import Iterator

import pytest

from kelp.diffusion.mutations import candidates, log_priors
from kelp.encoding.condition import Condition
from kelp.execution.observation import Observation, TestOutcome
from kelp.execution.sandbox import Sandbox
from kelp.languages.python.grammar import PYTHON
from kelp.search.baselines import NoModel
from kelp.search.effects import USELESS_NATS, effects, instrumented
from kelp.search.policy import proposals
from kelp.search.search import PROBED_AFTER, Search
from kelp.search.strategies import run
from kelp.search.suspicion import spread
from kelp.search.task import Budget, Target, Task
from kelp.syntax.functions import functions


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as started:
        yield started


# The fault: an item that is there already does not count against the limit.
SOURCE = b"""def put(items, key, limit):
    if len(items) >= limit:
        items.pop(next(iter(items)))
    items[key] = True
    return items
"""
ASSERTS = (
    "put({}, 'a', 1) == {'a': True}",
    "put({'a': True}, 'b', 1) == {'b': True}",
    "put({'a': True, 'b': True}, 'b', 2) == {'a': True, 'b': True}",
)


def seen(sandbox: Sandbox) -> tuple[dict[bytes, float], Condition]:
    (window,) = functions(SOURCE, PYTHON)
    asserts = [f"assert {test}" for test in ASSERTS]
    probes = instrumented(SOURCE, [window], [[*candidates(window.program)]])
    assert probes is not None
    first, again = (sandbox.run(text, asserts=asserts, trace=True) for text in (SOURCE, probes.source))
    found = effects(first, again, probes, [window])
    assert found is not None
    return {edit.apply(SOURCE): nats for edit, nats in found[0].items()}, Condition(effects=found[0])


def test_an_edit_that_changes_something_in_failing_tests_alone_is_likeliest(sandbox: Sandbox) -> None:
    known, _ = seen(sandbox)
    selective = SOURCE.replace(b">= limit", b">= limit and key not in items")
    in_two = SOURCE.replace(b">=", b">")  # of three tests, one of which fails
    in_all = SOURCE.replace(b">=", b"<")  # changes something in all three
    assert known[selective] == 0
    assert math.isclose(known[in_two], 2 * math.log(1 / 2))
    assert math.isclose(known[in_all], 2 * math.log(1 / 3))


def test_what_changes_nothing_in_a_failing_test_comes_last(sandbox: Sandbox) -> None:
    known, condition = seen(sandbox)
    nothing = SOURCE.replace(b">= limit", b">= limit and key is not None")
    assert known[nothing] == USELESS_NATS
    (window,) = functions(SOURCE, PYTHON)
    order = [proposal.edit for proposal in proposals(NoModel(0, "frequency"), window.program, condition)]
    useless = [condition.effects.get(edit) == USELESS_NATS for edit in order]
    assert useless == sorted(useless) and 20 < sum(useless) < len(useless)


def test_useless_edits_take_nothing_from_others_of_their_kind(sandbox: Sandbox) -> None:
    _, condition = seen(sandbox)
    (window,) = functions(SOURCE, PYTHON)
    kinds = candidates(window.program)
    before, after = log_priors(window.program, kinds), log_priors(window.program, kinds, None, spread(condition))
    useful = {edit for edit in kinds if condition.effects.get(edit, 0.0) == 0.0}
    assert useful and all(after[edit] >= before[edit] for edit in useful)


def test_a_run_that_went_another_way_tells_nothing(sandbox: Sandbox) -> None:
    (window,) = functions(SOURCE, PYTHON)
    probes = instrumented(SOURCE, [window], [[*candidates(window.program)]])
    assert probes is not None
    first = Observation((TestOutcome("a", "pass"), TestOutcome("b", "fail")))
    other = Observation((TestOutcome("a", "pass"), TestOutcome("b", "error")))
    assert effects(first, other, probes, [window]) is None
    broken = Observation((), error="NameError")  # the file cannot be imported
    assert effects(broken, broken, probes, [window]) is None
    late = Observation((TestOutcome("a", "pass"), TestOutcome("b", "fail", lines=probes.incomplete)))
    assert effects(first, late, probes, [window]) is None


def test_a_search_looks_once_and_then_tries_what_matters(sandbox: Sandbox) -> None:
    asserts = tuple(f"assert {test}" for test in ASSERTS)

    class Runs:
        probed = 0

        def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool) -> Observation:
            self.probed += b"_kelp_probe" in source
            return sandbox.run(source, asserts=asserts, first=first, seconds=seconds, trace=trace)

        def evaluate(self, source: bytes, calls: object, *, seconds: float) -> list[object]:
            return []

    runs = Runs()
    search = Search(Task(SOURCE, (Target("put"),), PYTHON), NoModel(0, "frequency"), runs, Budget(runs=64))  # type: ignore[arg-type]
    result = run(search)
    assert runs.probed == 1
    assert result.runs == len(result.tried) + 1
    assert not any(b"_kelp_probe" in node.source for node in result.tried)
    (known,) = search._effects.values()
    tried = [node.edit for node in result.tried[PROBED_AFTER + 2 :] if node.depth == 1]
    assert tried and not any(known.get(edit) == USELESS_NATS for edit in tried if edit is not None)
