"""Verdicts on asserts and examples are found outside of the program's process, and the texts of failures stay."""

import json
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest
from tests.execution import observed

from kelp.execution import Limits, Sandbox, Suite
from kelp.execution.worker.bare_asserts import compile_test
from kelp.execution.worker.values import DEPTH, NODES, Encoder, Opaque, decode, entries
from kelp.execution.worker.verdict import Apart, judged, verdict

PATIENT = Limits(seconds=60)
OURS = {"f": "", "g": ""}  # names that a program binds itself


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(limits=PATIENT) as sandbox:
        yield sandbox


def sent(*values: object) -> list[object]:
    """Values of the leaves of one side."""
    found = []
    for value in values:
        encoder = Encoder()
        found.append([json.loads(json.dumps(encoder.encode(value))), encoder.exact, encoder.sets])
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="messages of exceptions are those of Python 3.11")
def test_the_texts_of_outcomes_are_those_that_models_were_trained_on() -> None:
    kept = json.loads(observed.FILE.read_text(encoding="utf-8"))
    seen = dict(observed.observe())
    assert len(seen) == len(kept) > 100
    for program, rows in seen.items():
        assert rows == kept[program], program


@pytest.mark.parametrize(
    ("test", "values", "held"),
    [
        ("f(1) == 2", [sent(2), []], True),
        ("f(1) == 2", [sent(3), []], False),
        ("f(1) == 2", [sent(2.0), []], True),
        ("f(1) == 2", [[], []], None),
        ("f(1) == 2", [[None], []], None),
        ("f(1) == 2", [[["no", 1]], []], None),
        ("f(1) == 2", [sent(2, 2), []], None),
        ("f(1) == 2", None, None),
        ("f(1) == g(1)", [sent([1]), sent([1])], True),
        ("f(1) == f(2) == [1]", [sent([1]), sent([1]), []], True),
        ("f(1) == f(2) == [1]", [sent([1]), sent([2]), []], False),
        ("f(1) is None", [sent(None), []], True),
        ("f(1) is not None", [[None], []], True),
        ("f(1) is 300", [sent(300), []], None),
        ("not f(1)", [sent("")], True),
        ("f(1)", [sent([0])], True),
        ("f(1)", [[None]], None),
        ("f(1) in [1, 2]", [sent(2), []], True),
        ("3 not in f(1)", [[], sent({1, 2})], True),
        ("len(f(1)) == 2", [sent("ab"), []], True),
        ("len(f(1)) == 2", [sent("abc"), []], False),
        ("sorted({*f(1)}) == [1, 2]", [sent((2, 1)), []], True),
        ("list(f(1)) == [2, 1]", [sent({1, 2}), []], None),  # the order in a set is not sent
        ("math.isclose(f(1), 1 / 3)", [sent(1 / 3)], True),
        ("isclose(f(1), 0.1, rel_tol=1e-9)", [sent(0.2)], False),
        ("f(1) == Decimal('1.5')", [sent(1.5), []], True),
        ("f(1) == Decimal(1) / 3", [sent(Decimal("0.3")), []], None),  # its precision is set where the program runs
        ("f(1) == [i * 2 for i in range(3)]", [sent([0, 2, 4]), []], True),
        ("f(1).strip() == 'a'", [sent("a"), []], True),
        ("[f(i) for i in [1, 2]] == [1, 2]", [sent([1, 2]), []], True),
        ("x = f(1)\nassert x == 1", [sent(1), []], True),
        ("xs = []\nxs.append(f(1))\nassert xs == [1]", [sent([1]), []], True),
        ("x = same(f(1))\nassert x == 1", [sent(1), []], None),
        ("same(f(1), 2)", [sent(True)], None),  # a helper's word
        ("same(f(1), 2) == 1", [sent(2), []], False),
        ("f(1) == 1 and f(2) == 2", [sent(1), []], True),
    ],
)
def test_a_test_is_judged_by_values(test: str, values: object, held: bool | None) -> None:
    checks = [values, [sent(2), []]] if "and" in test else [values]
    assert verdict(compile_test(test), checks, OURS, "import math\ndef same(*xs): return xs[0]", apart=True) is held


@pytest.mark.parametrize("test", ["f(1) == [i for i in range(3)]", "f(1) == [0] * 3", "f(1) == 10 ** 10 ** 10"])
def test_an_expression_that_may_take_long_needs_a_process_with_limits(test: str) -> None:
    with pytest.raises(Apart):
        verdict(compile_test(test), [[sent([0]), []]], OURS, "", apart=False)


def test_values_that_may_take_long_need_a_process_with_limits() -> None:
    for value in (set(range(5000)), range(3)):
        with pytest.raises(Apart):
            verdict(compile_test("f(1) == 2"), [[sent(value), []]], OURS, "", apart=False)
    assert entries(json.loads(json.dumps(Encoder().encode([{1: {2}}]))), lists=False) == 1
    assert entries(json.loads(json.dumps(Encoder().encode({n: (n,) for n in range(6000)}))), lists=False) == 6000
    with pytest.raises(Opaque):
        entries(["list", [["list", [0]]] * NODES * 2], lists=False)


def test_only_data_of_known_types_travels_and_not_too_much() -> None:
    deep: list[object] = []
    for _ in range(DEPTH + 2):
        deep = [deep]
    ring: list[object] = []
    ring.append(ring)
    for value in (object(), int, len, deep, ring, [0] * (NODES + 1), 1 << 2**20, "x" * 2**21, (x for x in [1])):
        with pytest.raises(Opaque):
            Encoder().encode(value)
    for data in (["os", "system"], ["list"], 1.5, {}, ["range", ["0x1", "0x1", "0x0"]], ["int", "f" * 2**20]):
        with pytest.raises((ValueError, TypeError, KeyError)):
            decode(data)


def test_a_subclass_travels_as_its_base() -> None:
    class Always(str):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

        def __str__(self) -> str:
            return "right"

    encoder = Encoder()
    assert (encoder.encode(Always("wrong")), encoder.exact) == ("wrong", False)


def test_names_that_are_reported_after_the_program_has_begun_are_not_believed() -> None:
    outcome = dict.fromkeys(("call", "got", "expected", "exception", "message", "line", "needs"))
    outcome |= {"event": "outcome", "name": "f() == 1", "status": "pass", "evidence": [[sent(1), []]], "vouched": True}
    source = {"event": "source", "names": {"f": ""}, "examples": {}}
    test = {"event": "test", "name": "f() == 1", "label": None}
    tests = [compile_test("f() == 1")]
    for events, vouched in (([source, test, outcome], True), ([test, source, outcome], False)):
        *_, last = judged(json.loads(json.dumps(events)), tests, "", lambda function: function())
        assert last["event"] == "outcome" and last["vouched"] is vouched


MIXED = """
import enum
from collections import Counter, namedtuple
from dataclasses import dataclass
from decimal import Decimal
P = namedtuple("P", "x y")
class Color(enum.IntEnum):
    RED = 1
@dataclass
class D:
    x: int
def f(kind):
    values = {"point": P(1, 2), "color": Color.RED, "count": Counter("aa"), "decimal": Decimal("1.50"), "data": D(1)}
    return values[kind]
def sum(xs):
    return 7
"""
VOUCHED = ["f('point') == (1, 2)", "f('color') == 1", "f('count') == {'a': 2}", "f('decimal') == Decimal('1.5')",
           "f('data').x == 1", "len(f('point')) == 2", "f('count')['a'] == 2", "sum([1]) == 7"]  # fmt: skip
NOT_VOUCHED = ["f('data') == D(1)", "f('color') is Color.RED", "isinstance(f('data'), D)", "close(f('color'), 1)"]


def test_what_cannot_be_judged_outside_passes_without_being_vouched_for(sandbox: Sandbox) -> None:
    setup = "def close(a, b): return abs(a - b) < 1"
    observation = sandbox.run(MIXED.encode(), asserts=[*VOUCHED, *NOT_VOUCHED], setup=setup)
    assert observation.ok and not observation.vouched
    assert [outcome.name for outcome in observation.outcomes if outcome.vouched] == VOUCHED
    assert sandbox.run(MIXED.encode(), asserts=VOUCHED, setup=setup).vouched


def test_examples_are_judged_by_what_they_print() -> None:
    with Sandbox(Suite(doctest=True), limits=PATIENT) as docs:
        observation = docs.run(observed.DOCTESTS.encode())
        assert observation.vouched and len(observation.outcomes) == 2
        forged = b"import doctest\ndoctest.OutputChecker.check_output = lambda *a: True\n"
        wrong = observed.DOCTESTS.replace("return 2 * x", "return 3 * x").encode()
        assert [outcome.status for outcome in docs.run(forged + wrong).outcomes] == ["error", "pass"]


def test_a_patched_function_does_not_change_a_verdict(sandbox: Sandbox) -> None:
    program = b"import builtins\nbuiltins.len = builtins.sum = lambda *a: 2\ndef f():\n    return 'a'\n"
    [outcome] = sandbox.run(program, asserts=["len(f()) == 2"]).outcomes
    assert (outcome.status, outcome.exception, outcome.vouched) == ("error", "NotJudged", False)


def test_an_expression_without_end_is_not_vouched_for() -> None:
    endless = b"import builtins\nbuiltins.sum = lambda *a: 3\ndef f():\n    return 10 ** 12\n"
    with Sandbox(limits=Limits(seconds=1)) as brief:
        [outcome] = brief.run(endless, asserts=["sum(range(f())) == 3"]).outcomes
        assert (outcome.status, outcome.vouched) == ("pass", False)
    with Sandbox(limits=PATIENT) as patient:
        assert patient.run(b"def f():\n    return 3\n", asserts=["sum(range(f())) == 3"]).vouched
