import bisect
import heapq
import inspect
import math
import os
import shlex
import statistics
import subprocess
import sys
import textwrap
from collections import Counter
from types import FunctionType

import pytest
from tests.programs import HARD, parse, parses

from kelp.diffusion.mutations import KINDS, candidates, log_priors, near_misses
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid, sites

SEARCH = b"""def search(items, target):
    lo = 0
    hi = len(items) - 1
    while lo <= hi:
        mid = (lo + hi) // 2
        if items[mid] == target:
            return mid
        if items[mid] < target:
            lo = mid + 1
        else:
            hi = mid - 1
    return -1
"""


def library_functions() -> list[Program]:
    """Functions of the standard library of at most 700 bytes."""
    found = []
    for module in (bisect, heapq, shlex, statistics, textwrap):
        members = [m for _, m in sorted(vars(module).items())]
        methods = [m for c in members if inspect.isclass(c) for _, m in sorted(vars(c).items())]
        for function in members + methods:
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                source = textwrap.dedent(inspect.getsource(function)).encode()
                if len(source) <= 700 and parses(source):
                    found.append(parse(source))
    return found


LIBRARY = library_functions()


def checked(kind: str, program: Program) -> list[Edit]:
    return [edit for edit in dict.fromkeys(KINDS[kind].edits(program)) if is_valid(program, edit)]


def results(kind: str, source: bytes) -> set[bytes]:
    return {edit.apply(source) for edit in checked(kind, parse(source))}


def body(*lines: str) -> bytes:
    return "\n".join(["def f(a, b, items):", *("    " + line for line in lines), ""]).encode()


EXAMPLES = [
    ("comparison", "return a < b", "return a <= b"),
    ("comparison", "return a is b", "return a is not b"),
    ("comparison", "return a not in b", "return a in b"),
    ("binary operator", "return a // b", "return a / b"),
    ("boolean operator", "return a and b", "return a or b"),
    ("assignment operator", "a += b", "a -= b"),
    ("negation", "if not a: return b", "if a: return b"),
    ("negation", "if a: return b", "if not a: return b"),
    ("negation", "return a and b", "return not (a and b)"),
    ("constant", "return a[0]", "return a[-1]"),
    ("constant", "return 7", "return 8"),
    ("constant", "return 2 ** a", "return (-2) ** a"),
    ("constant", "return 0x0f", "return 0x10"),
    ("constant", "return True", "return False"),
    ("constant", "return ''", "return ' '"),
    ("variable", "return a - b", "return b - b"),
    ("sign", "return -a", "return a"),
    ("sign", "return a", "return -a"),
    ("offset", "return items[a]", "return items[a - 1]"),
    ("sign", "return sorted(a, key=lambda x: x.b)", "return sorted(a, key=lambda x: -x.b)"),
    ("sign", "return sorted(a, key=lambda x: (-x[1], x[0]))", "return sorted(a, key=lambda x: (-x[1], -x[0]))"),
    ("sign", "return sorted(a, key=lambda x: -len(x))", "return sorted(a, key=lambda x: len(x))"),
    ("offset", "return len(a)", "return len(a) + 1"),
    ("offset", "return a * b", "return (a - 1) * b"),
    ("offset", "return (a - 1) * b", "return a * b"),
    ("offset", "return len(a) + 1", "return len(a)"),
    ("order", "return max(a, b)", "return max(b, a)"),
    ("order", "return a - b", "return b - a"),
    ("order", "return a, b", "return b, a"),
    ("call", "return min(items)", "return max(items)"),
    ("call", "return a.lower()", "return a.upper()"),
    ("call", "return sorted(items)", "return items"),
    ("call", "return a.strip()", "return a"),
    ("attribute", "return a.head + a.tail", "return a.tail + a.tail"),
    ("slice", "return items[a:b]", "return items[a:]"),
    ("slice", "return items[a:]", "return items[a:-1]"),
    ("slice", "return items[::-1]", "return items[:]"),
    ("operand", "return a * (b + 1)", "return a * (1)"),
    ("operand", "return a if b else items", "return items"),
    ("missing argument", "return max(a, b)", "return max(a)"),
    ("extra argument", "return range(a)", "return range(1, a)"),
    ("extra argument", "return len(items)", "return len(items, b)"),
    ("missing element", "return [a, b]", "return [b]"),
    ("missing condition", "if a and b: return 1", "if b: return 1"),
    ("missing condition", "return [x for x in a if x]", "return [x for x in a]"),
    ("extra condition", "if a: return 1", "if a or items: return 1"),
    ("initial value", "a = []", "a = None"),
    ("initial value", "a = 0", 'a = float("inf")'),
    ("update", "a += b", "a = b"),
    ("update", "a = b", "a += b"),
    ("statement", "while a: break", "while a: continue"),
    ("missing return", "return a", "a"),
    ("extra return", "f(a)", "return f(a)"),
    ("return value", "return a + b", "return b"),
    ("missing guard", "if a: return b", "return b"),
]


@pytest.mark.parametrize(("kind", "before", "after"), EXAMPLES)
def test_a_kind_makes_its_mistake(kind: str, before: str, after: str) -> None:
    assert body(after) in results(kind, body(before))


BLOCKS = [
    ("indent", ["for x in a:", "    b += x", "return b"], ["for x in a:", "    b += x", "    return b"]),
    ("indent", ["for x in a:", "    b += x", "    a()"], ["for x in a:", "    b += x", "a()"]),
    ("else", ["if a:", "    b()", "else:", "    a()"], ["if a:", "    b()", "a()"]),
    ("else", ["if a:", "    b()", "a()"], ["if a:", "    b()", "else:", "    a()"]),
    ("else", ["if a:", "    b()", "elif b:", "    a()"], ["if a:", "    b()", "if b:", "    a()"]),
    ("else", ["if a:", "    b()", "if b:", "    a()"], ["if a:", "    b()", "elif b:", "    a()"]),
    ("else", ["if a:", "    b()", "else:", "    a()"], ["if a:", "    b()"]),
    ("moved statement", ["a()", "b()"], ["b()", "a()"]),
    ("missing statement", ["a()", "return b"], ["return b"]),
    ("missing statement", ["for x in a:", "    b()"], ["for x in a:", "    pass"]),
    ("missing guard", ["if a:", "    return b", "return a"], ["return a"]),
    ("missing return", ["a()", "return b"], ["a()"]),
    ("extra return", ["a()"], ["a()", "return items"]),
    ("extra statement", ["a += 1", "return a"], ["a += 1", "a += 1", "return a"]),
    ("extra statement", ["for x in a:", "    b()"], ["for x in a:", "    b()", "    break"]),
]


@pytest.mark.parametrize(("kind", "before", "after"), BLOCKS)
def test_a_kind_makes_its_mistake_with_statements(kind: str, before: list[str], after: list[str]) -> None:
    assert body(*after) in results(kind, body(*before))


# Each: what a person forgot or did wrong, the mended function, and whether some kind takes the second to the first.
TEMPLATES = [
    ("wrapped", ["return a + b"], ["return int(a) + b"], True),
    ("wrapped", ["return f(a, b)"], ["return f(int(a), int(b))"], False),
    ("method", ["self.a = a"], ["self.a = a.copy()"], True),
    ("method", ["for x, y in a:", "    b()"], ["for x, y in a.items():", "    b()"], True),
    ("method", ["return a[b]"], ["return a.get(b)"], True),
    ("method", ["return a.get(b, 0)"], ["return a[b]"], False),
    ("item", ["return a"], ["return a[0]"], True),
    ("item", ["for x in a:", "    b()"], ["for x in a[1:]:", "    b()"], True),
    ("keyword", ["return re.sub(a, b, items, re.I)"], ["return re.sub(a, b, items, flags=re.I)"], True),
    ("keyword", ["return f(a)"], ["return f(a=a)"], True),
    ("copied", ["return a.b + b"], ["return a.b + a.b"], True),
    ("copied", ["c = len(items)", "return a + b"], ["c = len(items)", "return len(items) + b"], True),
    ("absence", ["if a: return b"], ["if a is not None: return b"], True),
    ("absence", ["if not a: return b"], ["if a is None: return b"], True),
    ("membership", ["if a: items[b] = 1"], ["if a and b not in items: items[b] = 1"], True),
    ("membership", ["if a.b: return b"], ["if b and a.b: return b"], True),
    ("extra guard", ["return a[0]"], ["if not a:", "    return None", "return a[0]"], True),
    ("extra guard", ["c = 1", "return b[a]"], ["c = 1", "if a not in b:", "    return None", "return b[a]"], True),
    ("extra guard", ["return b[a]"], ["if a >= len(b):", "    return None", "return b[a]"], True),
    (
        "extra guard",
        ["for x in a:", "    b(x[0])"],
        ["for x in a:", "    if not x:", "        continue", "    b(x[0])"],
        True,
    ),
    ("accumulate", ["a.b = items"], ["a.b = max(a.b, items)"], True),
    ("accumulate", ["a[0] = b"], ["a.append(b)"], True),
    ("accumulate", ["a.append(b)"], ["a += b"], False),
    ("default", ["return f(a)"], ["return f(a or [])"], True),
    ("choice", ["return max(a)"], ["return max(a) if a else 0"], True),
    ("choice", ["return a.b"], ["return a.b if a is not None else None"], True),
    ("produce", ["return a"], ["yield a"], True),
    ("produce", ["yield a"], ["yield from a"], True),
    (
        "exception",
        ["try:", "    a()", "except KeyError:", "    b()"],
        ["try:", "    a()", "except (KeyError, IndexError):", "    b()"],
        True,
    ),
    (
        "exception",
        ["try:", "    a()", "except KeyError:", "    b()"],
        ["try:", "    a()", "except Exception:", "    b()"],
        False,
    ),
    ("embedded", ["return f'{a}: {b.c}'"], ["return f'{b}: {b.c}'"], True),
    ("embedded", ["return f'{a + 1:>4} {b}'"], ["return f'{a - 1:>4} {b}'"], True),
    ("embedded", ["return f'{a[b:]} of {len(a)}'"], ["return f'{a[b + 1:]} of {len(a)}'"], True),
    ("embedded", ["return f'{a}{{b < 1}} {b < 1}'"], ["return f'{a}{{b < 1}} {b <= 1}'"], True),
    ("format", ["return f'{a}.{b % 2}!'"], ["return f'{a}.{b % 2:02d}!'"], True),
    ("format", ["return f'{a!r:.2f}'"], ["return f'{a!r:.3f}'"], True),
    ("format", ["return '{0}: {}'.format(a, b)"], ["return '{0}: {:.2f}'.format(a, b)"], True),
    ("format", ["return '%s %d' % (a, b)"], ["return '%s %02d' % (a, b)"], True),
    ("pattern", ["return re.match(r'a+', b)"], ["return re.match(r'a+$', b)"], True),
    ("pattern", ["return re.match(r'^a+$', b)"], ["return re.match(r'^a*$', b)"], True),
    ("pattern", ["return re.match(r'^.*b$', b)"], ["return re.match(r'^.*?b$', b)"], False),
    (
        "reset",
        ["c = []", "for x in a:", "    c.append(x)"],
        ["for x in a:", "    c = []", "    c.append(x)"],
        True,
    ),
    (
        "reset",
        ["c = 0", "for x in a:", "    c += x", "    b(c)"],
        ["c = 0", "for x in a:", "    c = 0", "    c += x", "    b(c)"],
        True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "before", "after", "undone"), TEMPLATES)
def test_a_template_mends_and_most_are_undone_by_some_kind(
    kind: str, before: list[str], after: list[str], undone: bool
) -> None:
    assert body(*after) in results(kind, body(*before))
    back = (edit.apply(body(*after)) for edit in candidates(parse(body(*after))))
    assert (body(*before) in back) == undone


METHODS = [
    (
        "shared default",
        b"def f(a, b=[]):\n    b.append(a)\n    return b\n",
        b"def f(a, b=None):\n    if b is None:\n        b = []\n    b.append(a)\n    return b\n",
    ),
    (
        "shared default",
        b'def f(self, a: Counter = Counter()):\n    """Documented."""\n    self.a = a\n',
        b'def f(self, a: Counter = None):\n    """Documented."""\n    if a is None:\n        a = Counter()\n'
        b"    self.a = a\n",
    ),
    ("await", b"async def f(a):\n    return g(a)\n", b"async def f(a):\n    return await g(a)\n"),
    ("receiver", b"def f(self, a):\n    return a\n", b"def f(self, a):\n    return self.a\n"),
    ("receiver", b"def f(self, a):\n    return a.b < a.b\n", b"def f(self, a):\n    return self.b < a.b\n"),
]


@pytest.mark.parametrize(("kind", "before", "after"), METHODS)
def test_a_template_of_async_functions_and_methods_goes_both_ways(kind: str, before: bytes, after: bytes) -> None:
    assert after in results(kind, before)
    assert before in results(kind, after)


def test_nothing_is_awaited_outside_of_async_functions() -> None:
    assert results("await", b"def f(a):\n    return g(a)\n") == set()


def test_every_kind_is_shown_by_an_example() -> None:
    assert {kind for kind, *_ in [*EXAMPLES, *BLOCKS, *TEMPLATES, *METHODS]} == set(KINDS)


def test_all_candidates_stand_on_sites_whatever_their_kind() -> None:
    for program in [*LIBRARY, *map(parse, HARD)]:
        legal = {(site.start, site.end, site.op) for site in sites(program)}
        for edit, kind in candidates(program).items():
            assert (edit.start, edit.end, operation(edit)) in legal, (kind, edit)


def test_priors_are_a_distribution_and_an_exception_shifts_it() -> None:
    program = parse(body("return a[b]"))
    kinds = candidates(program)
    plain, after = log_priors(program, kinds), log_priors(program, kinds, "KeyError")
    for priors in (plain, after):
        assert sum(map(math.exp, priors.values())) == pytest.approx(1)
    lookups = [edit for edit in kinds if edit.text == b"a.get(b)"]
    assert lookups and all(after[edit] > plain[edit] for edit in lookups)


def test_irrelevant_edits_of_kinds_that_only_mend_are_left_out() -> None:
    program = parse(body("c = a[b]", "return c"))
    kinds = candidates(program, lambda edit: edit.start > program.source.index(b"return"))
    early = {kind for edit, kind in kinds.items() if edit.end < program.source.index(b"return")}
    assert early and all(KINDS[kind].breaks for kind in early)


def operation(edit: Edit) -> str:
    return "insert" if edit.start == edit.end else "replace" if edit.text else "delete"


def test_near_misses_of_library_functions_and_of_unusual_ones_stand_on_sites_and_are_valid_and_different() -> None:
    assert len(LIBRARY) > 20
    for program in [*LIBRARY, *map(parse, HARD)]:
        legal = {(site.start, site.end, site.op) for site in sites(program)}
        found = near_misses(program)
        after = [mutation.edit.apply(program.source) for mutation in found]
        assert len(set(after)) == len(after)
        assert program.source not in after
        assert all((m.edit.start, m.edit.end, operation(m.edit)) in legal for m in found)
        assert all(parses(source) for source in after)


def test_near_misses_are_the_same_every_time() -> None:
    assert near_misses(parse(SEARCH)) == near_misses(parse(SEARCH))


def test_candidates_come_in_one_order_in_every_process() -> None:
    code = (
        "from tests.diffusion.test_mutations import SEARCH, candidates, parse\n"
        "print(list(candidates(parse(SEARCH.replace(b'return -1', b'yield -1'))).items()))"
    )
    orders = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(orders) == 1


def test_a_function_of_ten_lines_has_a_hundred_or_two() -> None:
    assert 100 <= len(near_misses(parse(SEARCH))) <= 200


EASILY_UNDONE = [
    "comparison", "binary operator", "boolean operator", "assignment operator", "variable", "sign", "order",
    "update", "moved statement", "indent", "initial value", "extra argument", "extra statement",
]  # fmt: skip


def test_near_misses_undo_near_misses() -> None:
    done, undone = Counter[str](), Counter[str]()
    for program in [parse(SEARCH), *LIBRARY]:
        for kind in EASILY_UNDONE:
            for edit in checked(kind, program)[:1]:
                broken = parse(edit.apply(program.source))
                repairs = candidates(broken)
                done[kind] += 1
                undone[kind] += any(repair.apply(broken.source) == program.source for repair in repairs)
    assert len(done) == len(EASILY_UNDONE)
    for kind in ("comparison", "binary operator", "boolean operator", "assignment operator"):
        assert undone[kind] == done[kind]
    assert undone.total() >= 0.95 * done.total()


def test_documentation_types_decorators_and_imports_stay_as_they_are() -> None:
    kept = [b'"""One or 2."""', b": int", b"-> bool", b"@cache(1)", b"import os", b"def f("]
    source = (
        b'@cache(1)\ndef f(a: int, b=2) -> bool:\n    """One or 2."""\n    import os\n    return os.name == a and b\n'
    )
    for mutation in near_misses(parse(source)):
        result = mutation.edit.apply(source)
        assert all(text in result for text in kept), mutation


def test_only_names_in_scope_are_put_for_a_name() -> None:
    source = body("c = [x for x in a]", "for y in b:", "    d = lambda z: z", "return c")
    for edit in checked("variable", parse(source)):
        line = source[: edit.start].count(b"\n")
        assert edit.text != b"z" and (edit.text != b"x" or line == 1) and (edit.text != b"y" or line >= 3)
        assert edit.text not in (b"c", b"d") or line >= 2


def test_an_else_behind_a_jump_makes_no_difference_and_is_left_alone() -> None:
    assert results("else", body("if a:", "    return 1", "return 2")) == set()


def test_a_swap_of_statements_leaves_the_rest_byte_for_byte() -> None:
    source = body("a()  # first", "", "# second", "b()")
    assert body("b()  # first", "", "# second", "a()") in results("moved statement", source)
