import random

import pytest

from kelp.data import toy
from kelp.data.decontaminate import fingerprint, toy_tasks
from kelp.data.record import Record
from kelp.data.variants import VARIANT, every_part_matters, variants
from kelp.diffusion.mutations import near_misses
from kelp.execution.sandbox import Sandbox
from kelp.syntax.program import parse


@pytest.fixture(scope="module")
def made():
    return variants(toy.TRAIN, 60, toy_tasks(), seed=3, jobs=2)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as sandbox:
        yield sandbox


def test_variants_are_new_programs_that_do_what_their_tests_say(made, sandbox):
    assert len(made) >= 15
    known = {fingerprint(r.source).form for r in (*toy.TRAIN, *toy.TASKS)}
    forms = [fingerprint(r.source).form for r in made]
    assert len(set(forms)) == len(forms) and known.isdisjoint(forms)
    for record in made:
        assert record.origin.endswith(VARIANT) and record.intent == ""
        assert record.source.startswith(f"def {record.name}(") and len(set(record.asserts)) == len(record.asserts) >= 3
        assert sandbox.run(record.source.encode(), asserts=record.asserts).ok, record.source


def test_no_statement_of_a_variant_can_be_missing(made, sandbox):
    for record in made[:10]:
        program = parse(record.source.rstrip("\n").encode())
        for miss in near_misses(program):
            if miss.kind == "missing statement":
                assert not sandbox.run(miss.edit.apply(program.source), asserts=record.asserts).ok, record.source


def test_variants_are_a_function_of_the_seed_whatever_the_jobs(made):
    assert variants(toy.TRAIN, 60, toy_tasks(), seed=3, jobs=1) == made
    assert variants(toy.TRAIN, 60, toy_tasks(), seed=4, jobs=2) != made


def test_dead_code_and_weak_tests_are_noticed(sandbox):
    source = "def f(x):\n    y = 3\n    return x + 1\n"
    asserts = ("assert f(1) == 2", "assert f(5) == 6", "assert f(-3) == -2")
    assert not every_part_matters(Record(source, "f"), asserts, sandbox, random.Random(0))
    alive = Record("def f(x):\n    return x + 1\n", "f")
    assert every_part_matters(alive, asserts, sandbox, random.Random(0))
    assert not every_part_matters(alive, ("assert f(1) > 0",), sandbox, random.Random(0))
