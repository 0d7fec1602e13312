"""Executable specs for functions that have no tests: asserts that record what the clean function does.

Calls come from the docstring's examples and from `inputs`; the function itself, run in the sandbox, says what they
give. Kept are calls whose value is short, survives repr, and is the same when run again.
"""

import ast
import dataclasses
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

from kelp.data import inputs
from kelp.data.record import Record
from kelp.diffusion.mutations import near_misses
from kelp.execution import CallResult, Limits, Sandbox
from kelp.syntax.program import parse

LIMITS = Limits(seconds=0.7, memory_mb=512)
MIN_ASSERTS, MAX_ASSERTS = 3, 5
MAX_VALUE = 80  # characters of an expected value
MAX_ASSERT = 160  # characters of an assert
ASSIGNMENTS, PROBES, CALLS = 10, 3, 24  # ways to type the parameters; calls to try each; calls under the best one
MUTANTS = 8  # near misses that the asserts are chosen to tell from the function
LATE = 2  # calls, and near misses, that may run into the deadline before the rest of them is given up

# What a function may read of the machine it runs on: such values are facts about that machine.
_AMBIENT = re.compile(
    r"\bos\.(stat|path\.(exists|is|get|abs|real)|environ|get|list|scandir|access|name|cpu)|\bopen\(|\.(now|today)\(|"
    r"\btime\.|\bsys\.(argv|path|modules|std|platform|version|exec|get)|\bplatform\.|\blocale\.|\bimport_module\("
)


def add_specs(records: Iterable[Record], seed: int = 0, jobs: int = 2, limits: Limits = LIMITS) -> list[Record]:
    """The same records in the same order, with asserts where a spec was found; those that have asserts keep them.

    A function of the records and the seed, whatever `jobs` is, as far as the functions meet the time limit.
    """
    with ExitStack() as stack:
        sandboxes: SimpleQueue[Sandbox] = SimpleQueue()
        for _ in range(jobs):
            sandboxes.put(stack.enter_context(Sandbox(limits=limits, allow_weak=True)))

        def specified(record: Record) -> Record:
            if record.asserts or record.context is None:
                return record
            sandbox = sandboxes.get()
            try:
                return dataclasses.replace(
                    record, asserts=spec(record, sandbox, random.Random(f"{seed} {record.source}"))
                )
            finally:
                sandboxes.put(sandbox)

        return list(stack.enter_context(ThreadPoolExecutor(jobs)).map(specified, records))


def spec(record: Record, sandbox: Sandbox, rng: random.Random) -> tuple[str, ...]:
    """Asserts that pin the function down, or () where none were found that tell anything."""
    function = ast.parse(record.source).body[0]
    if not isinstance(function, ast.FunctionDef):  # a coroutine
        return ()
    params = inputs.parameters(function)
    if not params or params[0].name in ("self", "cls", "mcs", "klass") or _AMBIENT.search(record.source):
        return ()
    wrap = "list({})" if inputs.returns_iterator(function) else "{}"

    def good(calls: Sequence[str]) -> list[CallResult]:
        return [r for r in _evaluate(sandbox, record, calls) if _tells(r)]

    families = [
        [wrap.format(call) for call in inputs.calls(function, params, kinds, rng, CALLS)]
        for kinds in inputs.assignments(params, ASSIGNMENTS)
    ]
    probes = [family[i] for i in range(PROBES) for family in families if i < len(family)]
    answers = {r.call: r for r in good(list(dict.fromkeys(probes)))}
    examples = inputs.doctest_calls(function)
    best = max(families, key=lambda family: _yield([answers[c] for c in family[:PROBES] if c in answers]))
    if not answers and not examples:
        return ()
    return tests_of(record, good(list(dict.fromkeys([*examples, *best]))), sandbox, rng)


def tests_of(record: Record, answers: Sequence[CallResult], sandbox: Sandbox, rng: random.Random) -> tuple[str, ...]:
    """Those of the answers, as asserts, that tell most near misses from the function; () where they tell nothing."""
    results = telling(answers)
    if not results:
        return ()
    chosen = choose(results, _killers(record, results, sandbox, rng))
    return repeatable(record, [results[i] for i in chosen], sandbox)


def telling(answers: Sequence[CallResult]) -> list[CallResult]:
    """Those that can stand in asserts, such that values not seen before come early; [] where they tell nothing."""
    results = _in_turns([r for r in answers if _tells(r)])
    return results if len(results) >= MIN_ASSERTS else []


def repeatable(record: Record, results: Sequence[CallResult], sandbox: Sandbox) -> tuple[str, ...]:
    """The results as asserts, run once more; () where one does not hold then."""
    asserts = tuple(map(_assert, results))
    # the other way round: every run starts from one state of `random`, and a function may count its calls
    again = sandbox.run(record.source.encode(), asserts=asserts[::-1], setup=record.context or "")
    return asserts if again.ok else ()


def _evaluate(sandbox: Sandbox, record: Record, calls: Sequence[str]) -> list[CallResult]:
    """The results of the calls; those after a call that hangs are run again without it."""
    results: list[CallResult] = []
    for _ in range(LATE + 1):
        batch = sandbox.evaluate(record.source.encode(), calls, record.context or "")
        done = [r for r in batch if r.exception != "NotRun"]
        results += done
        calls = calls[len(done) :]
        if not calls:
            break
    return results


def _tells(result: CallResult) -> bool:
    """Whether the result can stand in an assert."""
    if result.repr is None or not result.round_trips or "\n" in result.repr:
        return False
    return len(result.repr) <= MAX_VALUE and len(_assert(result)) <= MAX_ASSERT


def _assert(result: CallResult) -> str:
    if result.repr in ("None", "True", "False"):
        return f"assert {result.call} is {result.repr}"
    return f"assert {result.call} == {result.repr}"


def _yield(results: Sequence[CallResult]) -> tuple[int, int]:
    """How much calls tell: values that differ, then values at all."""
    values = Counter(r.repr for r in results if r.repr != "None")
    return len(values), values.total()


def _in_turns(results: Sequence[CallResult]) -> list[CallResult]:
    """The results ordered so that those with a value not seen before come early; [] where all values are equal."""
    groups: dict[str, list[CallResult]] = {}
    for result in sorted(results, key=lambda r: r.repr == "None"):
        groups.setdefault(str(result.repr), []).append(result)
    if len(groups) < 2:
        return []
    return [group[i] for i in range(len(results)) for group in groups.values() if i < len(group)]


def _killers(
    record: Record, results: Sequence[CallResult], sandbox: Sandbox, rng: random.Random
) -> list[frozenset[int]]:
    """For each of some near misses of the function, which results it does not reproduce."""
    try:
        mutants = near_misses(parse(record.source.encode()))
    except SyntaxError:  # compiles, but is beyond the grammar
        return []
    killers: list[frozenset[int]] = []
    late = 0
    for mutant in rng.sample(mutants, min(MUTANTS, len(mutants))):
        source = mutant.edit.apply(record.source.encode())
        answers = sandbox.evaluate(source, [r.call for r in results], record.context or "")
        late += any(a.exception == "Timeout" for a in answers)
        killers.append(frozenset(i for i, (a, r) in enumerate(zip(answers, results)) if a.repr != r.repr))
        if late == LATE:
            break
    return killers


def choose(results: Sequence[CallResult], killers: Sequence[frozenset[int]]) -> list[int]:
    """Greedily the results that tell most near misses from the function, the earlier ones where they tell none.

    For each near miss `killers` holds the results that it does not reproduce.
    """
    distinct = len({r.repr for r in results})
    wanted = max(MIN_ASSERTS, min(MAX_ASSERTS, distinct + 1))
    chosen = [0, 1]  # of different values
    alive = [k for k in killers if k.isdisjoint(chosen)]
    while len(chosen) < min(wanted, len(results)):
        rest = [i for i in range(len(results)) if i not in chosen]
        best = max(rest, key=lambda i: (sum(i in k for k in alive), -i))
        alive = [k for k in alive if best not in k]
        chosen.append(best)
    return sorted(chosen)
