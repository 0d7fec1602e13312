import random

import pytest

from kelp.data import toy
from kelp.data.corpus.decontaminate import fingerprint, toy_tasks
from kelp.data.record import Record
from kelp.data.specs.variants import VARIANT, asserts_of_every_part, graft, variants
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


def test_dead_code_and_calls_that_tell_little_are_noticed(sandbox):
    def tests(source: str, *calls: str) -> tuple[str, ...]:
        return asserts_of_every_part(
            Record(source, "f"), sandbox.evaluate(source.encode(), calls), sandbox, random.Random(0)
        )

    telling = ("f(1)", "f(5)", "f(-3)")
    assert len(tests("def f(x):\n    return x + 1\n", *telling)) == 3
    assert tests("def f(x):\n    y = 3\n    return x + 1\n", *telling) == ()  # y might as well be missing
    assert tests("def f(x):\n    if x > 9:\n        return 0\n    return x + 1\n", *telling) == ()
    assert tests("def f(x):\n    return x > 0\n", "f(1)", "f(1)", "f(-1)") == ()  # the boundary is anybody's guess


def test_a_graft_takes_the_names_of_its_place(sandbox):
    program = parse(b"def f(a, b):\n    return a")
    donor = parse(b"def g(x):\n    y = x\n    while x:\n        y = y + x\n    return y")
    rng = random.Random(0)
    sources = {graft(program, donor, rng).apply(program.source) for _ in range(300)}
    assert b"def f(a, b):\n    b = a\n    return a" in sources
    assert any(b"    while a:\n        b = b + a\n    return a" in source for source in sources)  # its body goes along
