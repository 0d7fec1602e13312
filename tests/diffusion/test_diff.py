"""Tree diff: the cheapest path of edits at sites, and every edit that may begin it."""

import random

import pytest
from benchmarks.closed_loop import cost_of
from tests.programs import HARD, parse

from kelp.diffusion.bank import Bank
from kelp.diffusion.diff import EDIT_COST, INDENT_COST, distance, edit_cost, next_edits, shortest_path
from kelp.diffusion.forward import ForwardConfig, corrupt
from kelp.languages.python.grammar import compiles
from kelp.syntax.edits import Edit
from kelp.syntax.sites import key, site_index


def texts(old: str, new: str) -> list[tuple[str, str]]:
    """(deleted text, inserted text) of each edit of the path, after checking the path."""
    program, path = parse(old.encode()), []
    for edit in shortest_path(program, parse(new.encode())):
        assert key(edit) in site_index(program)
        path.append((program.source[edit.start : edit.end], edit.text))
        program = parse(edit.apply(program.source))
        assert compiles(program.source)
    assert program.source == new.encode()
    return [(out.decode(), into.decode()) for out, into in path]


@pytest.mark.parametrize(
    "old, new, edit",
    [
        ("if a < b: pass", "if a <= b: pass", ("<", "<=")),
        ("if a in b: pass", "if a not in b: pass", ("in", "not in")),
        ("a = a + b * 2", "a = a + b - 2", ("*", "-")),  # another tree, but one token
        ("a.append(b)", "a.extend(b)", ("append", "extend")),
        ("a(b, c)", "a(b)", (", c", "")),
        ("a(b, c)", "a(c)", ("b, ", "")),
        ("a()", "a(b)", ("", "b")),
        ("a(\n        )", "a(\n        b)", ("", "b")),
        ("a(b, c, 1)", "a(c, b, 1)", ("b, c", "c, b")),
        ("return a", "return a and b", ("", " and b")),
        ("return b", "return a and b", ("", "a and ")),
        ("if a or b: pass", "if b: pass", ("a or ", "")),
        ("return (a)", "return (a, b)", ("", ", b")),
        ("if not a: pass", "if a: pass", ("not a", "a")),
        ("x = 1\n    return x", "return x", ("x = 1\n    ", "")),
        ("return a", "x = 1\n    return a", ("", "x = 1\n    ")),
        ("a()\n    b()\n    c()", "b()\n    a()\n    c()", ("a()\n    b()", "b()\n    a()")),
        ("if a:\n        b()\n    c()", "if a:\n        b()\n        c()", ("\n    ", "\n        ")),
        ("if a:\n        b()\n        c()", "if a:\n        b()\n    c()", ("\n        ", "\n    ")),
        ("if a: b()", "if a: b()\n    else: c()", ("", "\n    else: c()")),
        ("return [x for x in a]", "return [x for x in a if x]", ("", " if x")),
        ("def g(): return 1", "def g(): return 2", ("1", "2")),
        ("x = y = 1", "x = y = 2", ("1", "2")),
    ],
)
def test_one_mistake_is_undone_by_one_edit_of_its_own_size(old: str, new: str, edit: tuple[str, str]) -> None:
    assert texts(f"def f(a, b, c):\n    {old}", f"def f(a, b, c):\n    {new}") == [edit]


def test_equal_programs_need_no_edit() -> None:
    program = parse(b"def f(): pass")
    assert next_edits(program, parse(b"def f(): pass")) == [] and shortest_path(program, program) == []
    assert distance(program, program)[0] == 0


def test_the_cost_counts_edits_and_leaves_and_long_texts_more() -> None:
    assert edit_cost(1, 1) == EDIT_COST + 2
    assert edit_cost(0, 40) > edit_cost(40, 0)
    a, b = parse(b"def f(a):\n    return a < 1"), parse(b"def f(a):\n    return a > 2")
    assert distance(a, b)[0] == edit_cost(3, 3) < 2 * edit_cost(1, 1)  # `a > 2` at once is cheaper


def test_every_edit_of_a_cheapest_script_may_come_first() -> None:
    a = parse(b"def f(a):\n    b = a < 1\n    c = 3\n    return b + 2")
    b = parse(b"def f(a):\n    b = a > 1\n    return b - 2")
    first = next_edits(a, b)
    assert len(first) == 3
    for edit in first:
        assert len(shortest_path(parse(edit.apply(a.source)), b)) == 2


def test_an_edit_that_breaks_the_program_never_comes_first() -> None:
    a, b = parse(b"def f(a, b):\n    return a"), parse(b"def f(b, a):\n    return a")
    assert next_edits(a, b) == [Edit(6, 10, b"b, a")]  # one name after the other would give f(b, b)
    a, b = parse(b"def f(a, x, b):\n    return a"), parse(b"def f(b, x, a):\n    return a")
    assert texts(a.source.decode(), b.source.decode())


def test_a_statement_that_moved_and_changed_elsewhere_is_still_only_indented() -> None:
    old = "def f(a):\n    if a:\n        b = 1\n    c = 2\n    return b"
    new = "def f(a):\n    if not a:\n        b = 1\n        c = 2\n    return b"
    assert ("\n    ", "\n        ") in texts(old, new)
    cost, _ = distance(parse(old.encode()), parse(new.encode()))
    assert cost == INDENT_COST + edit_cost(1, 2)


def test_a_statement_that_moved_and_changed_inside_is_indented_and_then_edited() -> None:
    old = "def f(a):\n    if a:\n        b = 1\n        return g(a, b)"
    new = "def f(a):\n    if a:\n        b = 1\n    return g(a, c)"
    assert sorted(texts(old, new)) == [("\n        ", "\n    "), ("b", "c")]
    assert distance(parse(old.encode()), parse(new.encode()))[0] == INDENT_COST + edit_cost(1, 1)


@pytest.mark.parametrize("which", range(len(HARD)))
def test_unusual_programs_reach_each_other_over_valid_states(which: int) -> None:
    for other in HARD[which + 1 :: 3] + HARD[:which:4]:
        texts(HARD[which].decode(), other.decode())


def test_the_way_back_costs_no_more_than_undoing_the_mutation_nearly_always() -> None:
    bank, dearer = Bank.build(map(parse, HARD)), []
    for seed, source in enumerate(HARD * 5):
        clean = parse(source)
        mutations, state = corrupt(clean, random.Random(seed), 1, ForwardConfig(), bank)
        for mutation in mutations:
            undoing = cost_of(state, mutation.edit.inverse(clean.source), clean)
            cost = INDENT_COST if mutation.kind == "indent" else undoing  # blanks have no leaves
            if distance(state, clean)[0] > max(cost, undoing):
                dearer.append(mutation)
    assert len(dearer) <= 3, dearer  # where a tuple lost all but one element, say


def test_programs_with_other_text_around_their_definition_are_rewritten_whole() -> None:
    a, b = parse(b"def f(): pass"), parse(b"# new\ndef f(): pass")
    assert next_edits(a, b) == [Edit(0, len(a.source), b.source)]
