"""The toy world: training functions and tasks that are sound and have nothing in common."""

import itertools

import pytest
from tests.programs import parse

from kelp.data import toy
from kelp.data.corpus.decontaminate import fingerprint
from kelp.diffusion.mutations import near_misses
from kelp.execution import Limits, Sandbox

pytestmark = pytest.mark.slow


def parameters(record):
    return record.source.split("\n")[0].count(",")


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(limits=Limits(seconds=20)) as sandbox:
        yield sandbox


@pytest.mark.parametrize("record", [*toy.TRAIN, *toy.TASKS], ids=lambda r: r.name)
def test_every_function_passes_its_own_asserts(record, sandbox):
    observation = sandbox.run(record.source.encode(), asserts=record.asserts)
    assert observation.ok, observation.render()


def test_every_function_has_an_intent_and_four_to_six_asserts():
    for record in (*toy.TRAIN, *toy.TASKS):
        assert record.intent.endswith("."), record.name
        assert 4 <= len(record.asserts) <= 6, record.name


def test_no_task_is_a_training_function_with_other_names_and_no_two_functions_are_the_same():
    forms = {fingerprint(record.source).form for record in (*toy.TRAIN, *toy.TASKS)}
    assert len(forms) == len(toy.TRAIN) + len(toy.TASKS)


def test_every_near_miss_that_passes_a_tasks_asserts_is_right(sandbox):
    values = {
        "items": ["[]", "[3, 1, 2, 5]", "[-2, 0]", "[0, 4, -7]"],
        "text": ["''", "'kelp'"],
        "target": ["'e'", "'x'"],
    }
    for task in toy.TASKS:
        program = parse(task.source.encode())
        parameters = task.source[task.source.index("(") + 1 : task.source.index(")")].split(", ")
        choices = itertools.product(*(values.get(p, ["-3", "-2", "0", "1", "2"]) for p in parameters))
        calls = [f"{task.name}({', '.join(arguments)})" for arguments in choices]
        expected = [result.repr for result in sandbox.evaluate(program.source, calls)]
        assert None not in expected
        for mutation in near_misses(program):
            mutant = mutation.edit.apply(program.source)
            if sandbox.run(mutant, asserts=task.asserts, stop_on_failure=True).ok:
                assert [result.repr for result in sandbox.evaluate(mutant, calls)] == expected, mutant.decode()


def test_asserts_tell_a_function_from_every_other_of_its_arity(sandbox):
    for record in toy.TASKS:
        for other in (*toy.TRAIN, *toy.TASKS):
            if other.name != record.name and parameters(other) == parameters(record):
                renamed = other.source.replace(f"def {other.name}(", f"def {record.name}(")
                assert not sandbox.run(renamed.encode(), asserts=record.asserts, stop_on_failure=True).ok
