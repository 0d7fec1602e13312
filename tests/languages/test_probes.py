"""Probes: the instrumented file does what the file did, and says which edits would change a value."""

from typing import Any

import pytest

from kelp.data.record import Record
from kelp.data.toy import TRAIN
from kelp.diffusion.mutations import KINDS, candidates
from kelp.languages.python.grammar import PYTHON
from kelp.languages.python.probes import Probed, probed
from kelp.syntax.edits import Edit
from kelp.syntax.functions import functions

FILE = b'''"""A file."""

from __future__ import annotations

import functools

LIMIT = 3


@functools.cache
def grade(points, extra=None):
    """Decorated, with a default."""
    if points >= LIMIT and not extra:
        return "good"
    return ["bad", "worse"][points == 0]


class Stock:
    def __init__(self, items):
        self.items = items  # kept
        self.__hidden = len(items)

    def take(self, name):
        for item in self.items:
            if item == name:
                return self.items.pop(self.items.index(item)), self.__hidden
        return None

    def sizes(self):
        return {item: len(item) for item in self.items if item}
'''


def run(source: bytes, seen: set[int] | None = None) -> list[Any]:
    """Results of some calls; `seen` gets the numbers of the marks that were reached."""
    space: dict[str, Any] = {"__name__": "file"}
    exec(compile(source, "<file>", "exec"), space)
    if seen is not None:
        space["_kelp_marks"] = [lambda n=n: seen.add(n) for n in range(len(space["_kelp_marks"]))]
    stock = space["Stock"](["a", "bb", ""])
    return [
        space["grade"](3),
        space["grade"](1),
        space["grade"](0, 5),
        stock.sizes(),
        stock.take("bb"),
        stock.take("c"),
    ]


def with_probes(file: bytes, name: str = "") -> tuple[Probed, dict[int, Edit]]:
    windows = [function for function in functions(file, PYTHON) if name in function.qualname]
    found = probed(file, windows, [[*candidates(window.program)] for window in windows])
    assert found is not None
    return found, {n: edit for n, (_, edits) in enumerate(found.edits) for edit in edits}


def effects(body: str, call: str, kinds: tuple[str, ...] = tuple(KINDS)) -> dict[str, str]:
    """The effect of each edited line of a function `f`, as its text."""
    file = b"def f(a, b=0):\n" + b"".join(b"    " + line.encode() + b"\n" for line in body.split("\n"))
    (window,) = functions(file, PYTHON)
    edits = [edit for edit, kind in candidates(window.program).items() if kind in kinds]
    found = probed(file, [window], [edits])
    assert found is not None
    space: dict[str, Any] = {}
    exec(compile(found.source, "<file>", "exec"), space)
    seen = set[int]()
    space["_kelp_marks"] = [lambda n=n: seen.add(n) for n in range(len(space["_kelp_marks"]))]
    eval(call, space)
    says = {(False, False): "nothing", (True, False): "differs", (False, True): "raises", (True, True): "both"}
    return {
        edit.apply(window.source).decode().split("\n", 1)[1].strip(): says[2 * n in seen, 2 * n + 1 in seen]
        for n, (_, edits) in enumerate(found.edits)
        for edit in edits
    }


@pytest.mark.parametrize("file", [FILE, FILE.replace(b"    ", b"\t"), FILE.replace(b"\n", b"\r\n")])
def test_a_file_with_probes_does_what_it_did(file: bytes) -> None:
    found, edits = with_probes(file)
    seen = set[int]()
    assert len(edits) > 100
    assert run(found.source, seen) == run(file)
    assert any(n % 2 == 0 for n in seen) and any(n % 2 for n in seen)


def test_marks_stand_at_the_lines_that_are_named() -> None:
    found, _ = with_probes(FILE)
    lines = found.source.split(b"\n")
    for probe, pair in enumerate(found.marks):
        assert [lines[line - 1] for line in pair] == [b"lambda: %d," % n for n in (2 * probe, 2 * probe + 1)]
    assert [lines[line - 1] for line in found.incomplete] == [b"lambda: %d," % (2 * len(found.marks))]


def test_an_edit_that_changes_a_value_differs_and_others_do_nothing() -> None:
    assert effects("return a < 3", "f(2)", ("comparison",)) == {
        "return a <= 3": "nothing", "return a > 3": "differs", "return a >= 3": "differs",
    }  # fmt: skip
    assert effects("return a < 3", "f(3)", ("comparison",))["return a <= 3"] == "differs"


def test_where_an_expression_is_tested_its_truth_alone_counts() -> None:
    found = effects("if a and b: return 1", "f(2, 3)", ("missing condition",))
    assert found == {"if b: return 1": "nothing", "if a: return 1": "nothing"}
    found = effects("return a and b", "f(2, 3)", ("missing condition",))
    assert found == {"return b": "nothing", "return a": "differs"}


def test_a_type_that_forbids_an_operator_raises() -> None:
    assert effects("return a", "f('x')", ("sign",)) == {"return -a": "raises"}
    assert effects("return a", "f(1)", ("sign",)) == {"return -a": "differs"}


def test_what_raised_before_and_no_longer_raises_differs() -> None:
    found = effects("return max(a)", "__import__('contextlib').suppress(ValueError).__enter__() or f([1])", ("choice",))
    assert set(found.values()) <= {"nothing", "raises"}
    with pytest.raises(ValueError, match="empty"):
        effects("return max(a)", "f([])", ("choice",))


def test_guards_fire_or_do_not() -> None:
    found = effects("return a[0]", "f([1])", ("extra guard",))
    assert found["if not a:\n        return 0\n    return a[0]"] == "nothing"
    assert set(found.values()) == {"nothing"}
    found = effects("b = a\nreturn b", "f([])", ("extra guard",))
    assert found["if not a:\n        return []\n    b = a\n    return b"] == "differs"
    assert found["if a is None:\n        return []\n    b = a\n    return b"] == "nothing"


def test_copies_differ_since_they_are_other_objects() -> None:
    found = effects("b = a\nreturn b", "f([2, 1])", ("wrapped",))
    assert found["b = list(a)\n    return b"] == "differs"
    found = effects("return sorted(a)", "f([1, 2])", ("call",))
    assert found["return list(a)"] == "nothing"  # a list of its own both times


def test_what_may_change_something_is_not_evaluated() -> None:
    found = effects("return a.pop(a.pop(b))", "f([0, 1, 2])", ("variable", "call", "method"))
    assert "return a.pop(a.pop(a))" in found and found["return a.pop(a.pop(a))"] == "differs"  # the argument alone
    assert not any("str(" in text or (".copy()" in text and "pop(b).copy" in text) for text in found)


def test_another_assignment_of_the_same_name_is_compared_by_the_value_that_the_name_gets() -> None:
    kinds = ("accumulate", "assignment operator", "statement", "update", "missing statement", "extra statement")
    found = effects("b = 0\nfor c in a:\n    b = c\nreturn b", "f([1, 2])", kinds)
    assert found["b = 0\n    for c in a:\n        b += c\n    return b"] == "differs"
    found = effects("b = 0\nfor c in a:\n    b += c\nreturn b", "f([0, 0])", kinds)
    assert found["b = 0\n    for c in a:\n        b -= c\n    return b"] == "nothing"
    assert found["b = 0\n    for c in a:\n        b = c\n    return b"] == "nothing"
    assert found["for c in a:\n        b += c\n    return b"] == "nothing"  # it was 0 before
    found = effects("a.real = b\nreturn a", "f(type('T', (), {})())", kinds)
    assert found["return a"] == "raises"


def test_a_callee_that_there_is_not_raises() -> None:
    found = effects("a.append(b)\nreturn a", "f([])", ("call", "receiver", "variable"))
    assert found["a.appendleft(b)\n    return a"] == found["a.add(b)\n    return a"] == "raises"
    assert found["a.extend(b)\n    return a"] == "differs"


def test_a_conditional_expression_around_an_effect_differs_where_it_does_not_choose_it() -> None:
    found = effects("return a.pop()", "f([1])", ("choice",))
    assert found["return a.pop() if a else None"] == "nothing"
    assert found["return a.pop() if a is not None else None"] == "nothing"
    found = effects("b = b or a\nreturn a.setdefault(1, b)", "f({})", ("choice",))
    assert found["b = b or a\n    return a.setdefault(1, b) if a else None"] == "differs"


def test_probes_of_several_kinds_in_one_place_do_what_the_program_did() -> None:
    file = b"def g(a):\n    return a\n\ndef f(a):\n    return [g(a.pop()), a.pop(), -a.pop()]\n"
    window = functions(file, PYTHON)[1]
    edits = [*candidates(window.program)]
    asked = [Edit(e.start, e.end, b"(" + window.program.source[e.start : e.end] + b" if a else 0)") for e in edits]
    found = probed(file, [window], [[*edits, *(edit for edit in asked if edit.end > edit.start)]])
    space: dict[str, Any] = {}
    assert found is not None and found.source.count(b"lambda: True") > 1
    exec(compile(found.source, "<file>", "exec"), space)
    assert space["f"]([1, 2, 3, 4]) == [4, 3, -2]


def test_iterators_are_not_used_up() -> None:
    found = effects("c = iter(a)\nb += sum(c)\nreturn b + sum(c)", "f([1, 2])", ("assignment operator", "variable"))
    assert found and not any("b -= sum" in text or "b = sum" in text for text in found)


def test_a_coroutine_that_is_not_awaited_is_a_symptom() -> None:
    file = b"async def g():\n    return 1\n\nasync def f(a):\n    return a or g() or abs(a)\n"
    window = functions(file, PYTHON)[1]
    edits = list(KINDS["await"].edits(window.program))
    found = probed(file, [window], [edits])
    assert found is not None and len(found.symptoms) == len(edits) == 2
    seen = set[int]()
    space: dict[str, Any] = {}
    exec(compile(found.source, "<file>", "exec"), space)
    space["_kelp_marks"] = [lambda n=n: seen.add(n) for n in range(len(space["_kelp_marks"]))]
    with pytest.raises(StopIteration) as stopped:
        space["f"](0).send(None)
    stopped.value.value.close()
    by_text = {edit.text: n for n, (_, (edit,)) in enumerate(found.edits)}
    assert seen == {2 * by_text[b"await g()"]}


def test_long_runs_say_so() -> None:
    file = b"def f(a):\n    b = 0\n    for c in range(a):\n        b += c\n    return b\n"
    found, _ = with_probes(file)
    seen = set[int]()
    space: dict[str, Any] = {}
    exec(compile(found.source, "<file>", "exec"), space)
    space["_kelp_marks"] = [lambda n=n: seen.add(n) for n in range(len(space["_kelp_marks"]))]
    assert space["f"](100_000) == 4999950000
    assert 2 * len(found.edits) in seen


def test_however_the_lines_are_written_they_take_probes() -> None:
    body = "c = [a]  \n\n  # a comment\nif(a):   \n    b = c[0] ; b = not(b)\n\n    b = c[0]\nreturn(b)"
    found = effects(body, "f(3)")
    assert found[body.replace("c = [a]", "c = [b]").replace("\n", "\n    ")] == "differs"
    assert len(found) > 30 and {"nothing", "differs"} <= set(found.values())


def test_nothing_is_probed_where_no_edit_can_be() -> None:
    (window,) = functions(b"def f(a):\n    yield a\n", PYTHON)
    assert probed(window.source, [window], [[]]) is None


@pytest.mark.parametrize("record", TRAIN, ids=lambda record: record.name)
def test_toy_programs_pass_their_asserts_with_all_their_probes(record: Record) -> None:
    file = record.source.encode()
    windows = functions(file, PYTHON)
    found = probed(file, windows, [[*candidates(window.program)] for window in windows])
    assert found is not None
    space: dict[str, Any] = {}
    exec(compile(found.source, "<file>", "exec"), space)
    for test in record.asserts:
        exec(test, space)


@pytest.mark.parametrize(
    "body, call, result",
    [
        ("b = map(str, a)\nreturn list(b)", "f([1, 2])", ["1", "2"]),
        ("c = iter(a)\nb = 0\nfor d in a:\n    b = max(c)\n    break\nreturn b, list(c)", "f([1, 2])", (2, [])),
        ("c = b[a]\nd = 5\nb[d].append(c)\nreturn len(b)", "f(1, __import__('collections').defaultdict(list))", 2),
        ("string = a\nstring.append('0')\nreturn string", "f([])", ["0"]),
    ],
)
def test_what_variables_hold_is_not_used_up_and_does_not_grow(body: str, call: str, result: Any) -> None:
    file = b"def f(a, b=0):\n" + b"".join(b"    " + line.encode() + b"\n" for line in body.split("\n"))
    (window,) = functions(file, PYTHON)
    found = probed(file, [window], [[*candidates(window.program)]])
    space: dict[str, Any] = {}
    assert found is not None
    exec(compile(found.source, "<file>", "exec"), space)
    assert eval(call, space) == result
