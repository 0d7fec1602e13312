"""Generate executable specs for functions without tests: asserts that record what the clean function does.

Calls come from the docstring's examples and from `inputs`; running the function in the sandbox gives their values. A
call is kept if its value is short, survives repr and is the same when run again; of those, a small set is chosen that
fails for most near misses of the function.
"""

import ast
import dataclasses
import multiprocessing
import random
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from kelp.data.corpus.context import POSTPONED
from kelp.data.record import LANGUAGE, Record
from kelp.data.specs import inputs
from kelp.data.specs.infer_parameters import STAND_IN, Scope, is_method, parameters
from kelp.diffusion.mutations import breaking
from kelp.execution import CallResult, Limits, Sandbox
from kelp.languages.python.call_variants import redrawn
from kelp.syntax.program import parse
from kelp.syntax.sites import is_valid

LIMITS = Limits(seconds=10, memory_mb=512)  # a cap: the limit that binds is processor time per call
CALL_SECONDS, RUN_SECONDS = 0.03, 1.0  # processor time of one call, and of all calls of one run
MIN_ASSERTS, MAX_ASSERTS = 3, 5
MAX_VALUE = 80  # characters of an expected value
MAX_ASSERT = 160  # characters of an assert
ASSIGNMENTS, PROBES, CALLS = 16, 2, 24  # kind assignments; calls to try each; calls under the best ones
MAX_PLACES = 14  # values inferred per call
RESULTS = 20  # values to choose asserts from
MUTANTS = 12  # near misses that the asserts are chosen to detect
MIN_SCORE = 0.3  # share of them that some assert must fail for
SURVIVING = 0.2  # share of them that may survive before more calls are tried
MAX_TIMEOUTS = 4  # calls of one run that may time out before the rest is skipped
MAX_EXITS = 1  # calls of one run that may end the process before the rest is skipped
PIECE = 100  # records per task of a worker process

# Names that read the state of the machine: such values are facts about that machine.
_AMBIENT = re.compile(
    r"\bos\.(stat|path\.(exists|is|get|abs|real)|environ|get|list|scandir|access|name|cpu)|\bopen\(|\.(now|today)\(|"
    r"\btime\.|\b(hash|id)\(|\bsys\.(argv|path|modules|std|platform|version|exec|get)|\bplatform\.|\blocale\.|"
    r"\bimport_module\("
)
# Run after a context: a value of the clock is a fact about the moment, which another clock reveals.
_LATER = """
import time
for _clock in ("time", "monotonic", "perf_counter"):
    setattr(time, _clock, lambda _now=getattr(time, _clock): _now() + 1e6)
    setattr(time, _clock + "_ns", lambda _now=getattr(time, _clock + "_ns"): _now() + 10**15)
"""
# Results without a comparable repr, and the wrapper that makes them comparable.
_LAZY = re.compile(r"<(generator|map|filter|zip|enumerate|reversed|itertools\.|\w+_iterator|\w*_?iterator)|dict_\w+\(")
_ADDRESS = re.compile(r" at 0x")

# Each call has its own limit of processor time: a loaded machine changes no result.
# `_kelp_failing` returns the asserts that do not hold for another version of the program.
_GUARD = f"""
import signal as _kelp_signal

class _KelpTimeout(BaseException):
    pass

def _kelp_stop(*_):
    raise _KelpTimeout

_kelp_signal.signal(_kelp_signal.SIGVTALRM, _kelp_stop)
_kelp_signal.setitimer(_kelp_signal.ITIMER_PROF, {RUN_SECONDS})

def _kelp_limited(code, namespace):
    _kelp_signal.setitimer(_kelp_signal.ITIMER_VIRTUAL, {CALL_SECONDS}, {CALL_SECONDS})
    try:
        return eval(code, namespace)
    finally:
        _kelp_signal.setitimer(_kelp_signal.ITIMER_VIRTUAL, 0)

_kelp_timeouts = 0

def _kelp_call(text):
    global _kelp_timeouts
    if _kelp_timeouts == {MAX_TIMEOUTS}:
        raise _KelpTimeout
    try:
        return _kelp_limited(compile(text, "<call>", "eval", dont_inherit=True), globals())
    except _KelpTimeout:
        _kelp_timeouts += 1
        raise

def _kelp_failing(text, asserts, context, namespace):
    if not namespace:
        namespace["__name__"] = __name__
        exec(context, namespace)
    failing = []
    try:
        _kelp_limited(compile(text, "<program>", "exec", dont_inherit=True), namespace)
    except _KelpTimeout:
        return None
    except BaseException:
        return list(range(len(asserts)))
    for i, code in enumerate(asserts):
        try:
            holds = _kelp_limited(code, namespace)
        except _KelpTimeout:
            return [*failing, i]
        except BaseException:
            holds = False
        if not holds:
            failing.append(i)
    return failing
"""


def add_specs(records: Iterable[Record], seed: int = 0, jobs: int = 2, limits: Limits = LIMITS) -> list[Record]:
    """Records in the same order, with asserts where a spec was found; existing asserts are kept.

    The result is a pure function of the records and the seed, whatever `jobs` is: calls are limited by processor time.
    """
    records = list(records)
    pieces = [(records[at : at + PIECE], seed, limits) for at in range(0, len(records), PIECE)]
    with ExitStack() as stack:
        made: Iterator[list[Record]] = map(_specified, pieces)
        if jobs > 1 and len(pieces) > 1:  # processes, not threads: some of the work holds the GIL
            made = stack.enter_context(multiprocessing.get_context("spawn").Pool(jobs)).imap(_specified, pieces)
        return [record for piece in made for record in piece]


def _specified(piece: tuple[Sequence[Record], int, Limits]) -> list[Record]:
    records, seed, limits = piece
    with Sandbox(limits=limits, allow_weak=True) as sandbox:
        return [
            record
            if record.asserts or record.context is None
            else spec(record, sandbox, random.Random(f"{seed} {record.source}"))
            for record in records
        ]


def spec(record: Record, sandbox: Sandbox, rng: random.Random) -> Record:
    """Record with asserts that specify the function; unchanged if no useful assert was found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's code
        function = ast.parse(record.source).body[0]
    if not isinstance(function, ast.FunctionDef) or _AMBIENT.search(
        record.source
    ):  # a coroutine, or it reads the machine's state
        return record
    examples, imports = inputs.doctest_calls(function)
    imports += f"from types import {STAND_IN}\n"
    able = _importing(record, imports)
    results = discriminating(_answers(able, function, examples, sandbox, rng))[:RESULTS]
    mutants = _mutants(record, rng) if results else []
    if not mutants:
        return record
    results, killers = _tried(able, mutants, results, sandbox, rng)
    chosen = choose(results, killers)
    score = sum(not killer.isdisjoint(chosen) for killer in killers) / max(1, len(killers))
    if not chosen or score < MIN_SCORE:
        return record
    words = set(re.findall(r"\w+", " ".join(results[i].call for i in chosen)))
    used = [line for line in imports.splitlines(keepends=True) if words.intersection(re.findall(r"\w+", line))]
    able = _importing(record, "".join(used))
    asserts = repeatable(able, [results[i] for i in chosen], sandbox)
    return dataclasses.replace(able, asserts=asserts, mutation_score=round(score, 3)) if asserts else record


def _answers(
    record: Record, function: ast.FunctionDef, examples: Sequence[str], sandbox: Sandbox, rng: random.Random
) -> list[CallResult]:
    """Results of the examples and of the most discriminating calls."""
    scope = Scope.of(record.context or "")
    forms = [parameters(function, scope), parameters(function, scope, stand_ins=True)]
    forms = [form for i, form in enumerate(forms) if form not in forms[:i] and inputs.size(form) <= MAX_PLACES]
    wrap, kept = _inspection(function, record.context or "", made=bool(scope.owner(function)))
    families = [  # one family of calls per assignment of kinds
        inputs.calls(function, form, kinds, rng, CALLS, kept)
        for form in forms
        for kinds in inputs.assignments(form, ASSIGNMENTS // len(forms))
    ]
    probes = list(dict.fromkeys(family[i] for i in range(PROBES) for family in families if i < len(family)))
    answers = evaluate(sandbox, record, [wrap.format(call) for call in probes])
    if sum(map(_fits_assert, answers)) < MIN_ASSERTS and (other := _made_comparable(answers, wrap)):
        wrap = other
        probes = [call for call, answer in zip(probes, answers) if answer.repr is not None]
        answers = evaluate(sandbox, record, [wrap.format(call) for call in probes])
    values = {call: answer for call, answer in zip(probes, answers) if _fits_assert(answer)}
    best = sorted(
        families, key=lambda family: _yield([values[c] for c in family[:PROBES] if c in values]), reverse=True
    )
    calls = [call for family, n in zip(best, (CALLS, CALLS // 2) if values else ()) for call in family[:n]]
    return evaluate(sandbox, record, list(dict.fromkeys([*examples, *map(wrap.format, calls)])))


def _tried(
    record: Record, mutants: Sequence[str], results: Sequence[CallResult], sandbox: Sandbox, rng: random.Random
) -> tuple[list[CallResult], list[frozenset[int]]]:
    """Results with further calls for surviving near misses, and per near miss the results that it does not reproduce.

    Near misses whose results cannot be determined are left out.
    """
    killers = distinguished(record, mutants, results, sandbox)
    survivors = [i for i, killer in enumerate(killers) if killer == frozenset()]
    more: list[CallResult] = []
    if len(survivors) > SURVIVING * len(mutants):
        fresh = dict.fromkeys(redrawn(r.call, rng) for r in [*results, *results][: 2 * RESULTS])
        known = {r.call for r in results}
        answers = evaluate(sandbox, record, [call for call in fresh if call not in known])
        more = _in_turns([r for r in answers if _fits_assert(r)])[:RESULTS]
        found = distinguished(record, [mutants[i] for i in survivors], more, sandbox)
        for i, killer in zip(survivors, found):
            killers[i] = None if killer is None else frozenset(len(results) + k for k in killer)
    return [*results, *more], [killer for killer in killers if killer is not None]


def _importing(record: Record, imports: str) -> Record:
    """Record with more imports in its context; `__future__` imports stay first."""
    context = record.context or ""
    first = POSTPONED if context.startswith(POSTPONED) else ""
    return dataclasses.replace(record, context=first + imports + context.removeprefix(first))


def _inspection(function: ast.FunctionDef, context: str, *, made: bool) -> tuple[str, tuple[str, str]]:
    """(template, parameter): expression around the call that an assert compares, and the argument kept under a name.

    The expression is the call's value and, if the function changes an argument, that argument afterwards. `made`: the
    first argument is an object of the method's class.
    """
    if inputs.returns_iterator(function):
        return "list({})", ("", "")
    name, attributes = inputs.observed(function)
    if not name and made and not inputs.returns_value(function):  # it calls other methods that do
        name, attributes = "self", ("vars",)
    if not name or (inputs.returns_value(function) and not is_method(function)):
        return "{}", ("", "")
    words = set(re.findall(r"\w+", context)) | {function.name}
    own = "obj" if name == "self" else name
    while own in words:
        own += "_"
    after = ", ".join(f"vars({own})" if a == "vars" else f"{own}.{a}" if a else own for a in attributes)
    return f"({{}}, {after})", (name, own)


def _made_comparable(answers: Sequence[CallResult], wrap: str) -> str | None:
    """Template that makes a value comparable by repr; None if there is none."""
    texts = [a.repr for a in answers if a.repr is not None and not _fits_assert(a)]
    if not texts:
        return None
    if wrap.startswith("("):
        return f"{wrap}[1:]"
    if sum(bool(_LAZY.match(text)) for text in texts) * 2 > len(texts):
        return "list({})"
    if sum(bool(_ADDRESS.search(text) or text.startswith("namespace(")) for text in texts) * 2 > len(texts):
        return "vars({})"
    return "repr({})"


def discriminating(answers: Sequence[CallResult]) -> list[CallResult]:
    """Results that can stand in asserts, new values early; [] if they discriminate nothing."""
    results = _in_turns([r for r in answers if _fits_assert(r)])
    return results if len(results) >= MIN_ASSERTS else []


def repeatable(record: Record, results: Sequence[CallResult], sandbox: Sandbox) -> tuple[str, ...]:
    """Results as asserts, run once more; () if one does not hold then."""
    asserts = tuple(map(_assert, results))
    # the other way round: every run starts from one state of `random`, and a function may count its calls
    again = sandbox.run(record.source.encode(), asserts=asserts[::-1], setup=(record.context or "") + _LATER)
    return asserts if again.ok else ()


def evaluate(sandbox: Sandbox, record: Record, calls: Sequence[str]) -> list[CallResult]:
    """Results of the calls, in order; calls after one that ends the process run again without it."""
    results: list[CallResult] = []
    rest = list(calls)
    for _ in range(MAX_EXITS + 1):
        if not rest:
            break
        limited = [f"_kelp_call({call!r})" for call in rest]
        batch = sandbox.evaluate(record.source.encode(), limited, (record.context or "") + _GUARD)
        done = [r for r in batch if r.exception != "NotRun"]
        results += [dataclasses.replace(r, call=call) for call, r in zip(rest, done)]
        rest = rest[len(done) :]
    return results + [CallResult(call, exception="NotRun") for call in rest]


def _fits_assert(result: CallResult) -> bool:
    """Return whether the result can stand in an assert."""
    if result.repr is None or not result.round_trips or "\n" in result.repr or _ADDRESS.search(result.repr):
        return False
    return len(result.repr) <= MAX_VALUE and len(_assert(result)) <= MAX_ASSERT


def _assert(result: CallResult) -> str:
    return f"assert {_holds(result)}"


def _holds(result: CallResult) -> str:
    word = "is" if result.repr in ("None", "True", "False") else "=="
    return f"{result.call} {word} {result.repr}"


def _yield(results: Sequence[CallResult]) -> tuple[int, int]:
    """Sort key of a group of calls: number of distinct values, then number of values."""
    values = Counter(r.repr for r in results if r.repr != "None")
    return len(values), values.total()


def _in_turns(results: Sequence[CallResult]) -> list[CallResult]:
    """Results ordered so that new values come early; [] if all values are equal."""
    groups: dict[str, list[CallResult]] = {}
    for result in sorted(results, key=lambda r: r.repr == "None"):
        groups.setdefault(str(result.repr), []).append(result)
    if len(groups) < 2:
        return []
    return [group[i] for i in range(len(results)) for group in groups.values() if i < len(group)]


def _mutants(record: Record, rng: random.Random) -> list[str]:
    """Some near misses of the function."""
    try:
        program = parse(record.source.encode(), LANGUAGE)
    except SyntaxError:  # compiles, but is beyond the grammar
        return []
    edits = [*breaking(program)]
    rng.shuffle(edits)
    found: dict[str, None] = {}
    for edit in edits:  # checked one by one, until there are enough: a long function has hundreds
        if len(found) < MUTANTS and is_valid(program, edit):
            found.setdefault(edit.apply(program.source).decode())
    return list(found)


def distinguished(
    record: Record, mutants: Sequence[str], results: Sequence[CallResult], sandbox: Sandbox
) -> list[frozenset[int] | None]:
    """For each near miss, the indices of results that it does not reproduce; None if unknown."""
    setup = _GUARD + (
        "_kelp_shared = {}\n"
        f"_kelp_context = compile({record.context or ''!r}, '<setup>', 'exec', dont_inherit=True)\n"
        f"_kelp_asserts = [compile(t, '<test>', 'eval', dont_inherit=True) for t in {list(map(_holds, results))}]\n"
    )
    programs, namespace = [*mutants, record.source], "_kelp_shared"
    killers: list[frozenset[int] | None] = []
    for _ in range(MAX_EXITS + 1 if results else 0):
        calls = [
            f"_kelp_failing({text!r}, _kelp_asserts, _kelp_context, {namespace})" for text in programs[len(killers) :]
        ]
        done = [r for r in sandbox.evaluate(b"", calls, setup) if r.exception != "NotRun"] if calls else []
        killers += [frozenset(ast.literal_eval(r.repr)) if r.repr not in (None, "None") else None for r in done]
        if len(killers) == len(programs) and killers[-1] and namespace == "_kelp_shared":
            killers, namespace = [], "{}"  # something of one program stays for the next: each has its own context
    return (killers + [None] * len(programs))[: len(mutants)] if results else [frozenset()] * len(mutants)


def choose(results: Sequence[CallResult], killers: Sequence[frozenset[int]]) -> list[int]:
    """Choose results greedily by the near misses that they detect; [] if too few detect any.

    `killers` holds, per near miss, the results that it does not reproduce.
    """
    rest = sorted(frozenset().union(*killers))
    chosen: list[int] = []
    alive = list(killers)
    while rest and len(chosen) < MAX_ASSERTS:
        seen = {results[i].repr for i in chosen}

        kills = {i: sum(i in k for k in alive) for i in rest}
        # of those that detect equally many: a value not seen before, then the shorter one, then the earlier one
        rank = {i: (kills[i], results[i].repr not in seen, -(len(_assert(results[i])) // 16), -i) for i in rest}
        best = max(rest, key=rank.__getitem__)
        if kills[best] == 0 and len(chosen) >= MIN_ASSERTS:
            break
        rest.remove(best)
        alive = [k for k in alive if best not in k]
        chosen.append(best)
    return sorted(chosen) if len(chosen) >= MIN_ASSERTS and len({results[i].repr for i in chosen}) > 1 else []
