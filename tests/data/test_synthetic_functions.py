import ast
import random

import pytest
from tests.programs import parse

from kelp.data import toy
from kelp.data.corpus.decontaminate import fingerprint
from kelp.data.record import Record
from kelp.data.specs.synthetic_functions import ORIGIN, compose, composition, compositions, does_a_task
from kelp.diffusion.mutations import near_misses
from kelp.execution.sandbox import Sandbox

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made():
    return compositions(60, seed=3, jobs=2)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as sandbox:
        yield sandbox


def test_compositions_are_new_programs_that_do_what_their_tests_say(made, sandbox):
    assert len(made) >= 25
    known = {fingerprint(r.source).form for r in (*toy.TRAIN, *toy.TASKS)}
    forms = [fingerprint(r.source).form for r in made]
    assert len(set(forms)) == len(forms) and known.isdisjoint(forms)
    assert {r.split for r in made} == {"train", "valid"}
    for record in made:
        assert record.origin == ORIGIN and record.intent.endswith(".")
        assert record.source.startswith(f"def {record.name}(") and len(set(record.asserts)) == len(record.asserts) >= 3
        assert sandbox.run(record.source.encode(), asserts=record.asserts).ok, record.source


def test_no_statement_of_a_composition_can_be_missing(made, sandbox):
    for record in made[:10]:
        program = parse(record.source.rstrip("\n").encode())
        for miss in near_misses(program):
            if miss.kind == "missing statement":
                assert not sandbox.run(miss.edit.apply(program.source), asserts=record.asserts).ok, record.source


def test_compositions_are_a_function_of_the_seed_whatever_the_jobs(made):
    assert compositions(60, seed=3, jobs=1) == made
    assert compositions(60, seed=4, jobs=2) != made


def test_any_composition_compiles_reads_its_parameters_and_says_something():
    for n in range(400):
        record = compose(random.Random(n))
        (function,) = ast.parse(record.source).body
        read = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert [p for p in function.args.args if p.arg not in read] == [], record.source
        assert len(record.intent) > 8 and not set("{}") & set(record.intent)


def test_what_does_a_toy_task_is_no_composition(sandbox, monkeypatch):
    assert all(does_a_task(task, sandbox) for task in toy.TASKS)
    other = "def up(xs):\n    n = 1\n    for i in range(len(xs)):\n        n = xs[i] * n\n    return n\n"
    assert does_a_task(Record(other, "up"), sandbox)  # the product, in its own way
    assert not any(does_a_task(r, sandbox) for r in toy.TRAIN)
    monkeypatch.setattr("kelp.data.specs.synthetic_functions.compose", lambda rng: Record(other, "up"))
    assert composition(random.Random(0), sandbox) is None


@pytest.mark.parametrize(
    "body",
    [
        "y = 3\n    return x + 1",
        "if x > 99:\n        return 0\n    return x + 1",
        "return x > 99",
        "f.n = getattr(f, 'n', 0) + 1\n    return x + f.n",
    ],
    ids=["dead code", "a branch that is not reached", "one value alone", "another value at each call"],
)
def test_what_its_tests_cannot_pin_down_is_no_composition(sandbox, monkeypatch, body):
    made = Record(f"def f(x):\n    {body}\n", "f")
    monkeypatch.setattr("kelp.data.specs.synthetic_functions.compose", lambda rng: made)
    assert composition(random.Random(0), sandbox) is None
