import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.programs import parse, parses

from kelp.data.examples.bank_variants import BankConfig, Tried, build
from kelp.data.examples.equivalence import LIMITS, How, Question, verdicts
from kelp.data.toy import TRAIN
from kelp.diffusion.bank import Bank, Variant
from kelp.diffusion.rewriting.apply import rewrite, rewrites
from kelp.execution import Sandbox

pytest.importorskip("egglog")
SOURCES = [
    "def f(a, n):\n    if not n == len(a):\n        return a[0:n]\n    n = n - 1\n"
    "    return [a[n] * 2 + n, n // 2 < 3]\n",
    "def g(x):\n    total = 0\n    for i in range(0, len(x) - 1):\n        if x[i] + 1 > total and i > 0:\n"
    "            total = total + len(x)\n    return sum([v * v for v in x]) + total\n",
]
SMALL = BankConfig(augmented=30)


@pytest.fixture(scope="module")
def built() -> tuple[Bank, list[Tried]]:
    return build(SOURCES, SMALL, jobs=1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(limits=LIMITS, allow_weak=True) as sandbox:
        yield sandbox


def variants(bank: Bank, kind: str) -> dict[tuple[str, str], Variant]:
    return {
        (origin.text.decode(), v.fragment.text.decode()): v
        for shelf in bank.shelves.values()
        for origin, some in shelf.variants.items()
        for v in some
        if v.kind == kind
    }


def test_equal_variants_say_of_what_and_by_which_rules_they_are(built: tuple[Bank, list[Tried]]) -> None:
    found = variants(built[0], "equal")
    assert found["not n == len(a)", "n != len(a)"].rules == ("not ==",)
    assert found["a[0:n]", "a[:n]"].rules == ("slice from 0",)
    assert ("n = n - 1", "n -= 1") in found and ("range(0, len(x) - 1)", "range(len(x) - 1)") in found


def test_near_misses_do_something_else(built: tuple[Bank, list[Tried]]) -> None:
    found = variants(built[0], "near miss")
    assert ("n // 2 < 3", "n // 2 <= 3") in found and ("len(x) - 1", "len(x)") in found


def test_every_variant_that_is_kept_stands_the_test_again(built: tuple[Bank, list[Tried]], sandbox: Sandbox) -> None:
    hows: dict[str, How] = {"statement": "statement", "condition": "truth"}
    for category, shelf in built[0].shelves.items():
        how = hows.get(category, "value")
        for origin, some in shelf.variants.items():
            said = [v for v in some if v.kind in ("equal", "near miss")]
            texts = tuple(v.fragment.text.decode() for v in said)
            [signs] = verdicts(sandbox, [Question(how, origin.text.decode(), texts)])
            assert signs == "".join("=" if v.kind == "equal" else "!" for v in said), (origin, texts)


def test_what_running_does_not_confirm_is_told_and_not_kept(built: tuple[Bank, list[Tried]]) -> None:
    bank, tried = built
    assert any(t.verdict == "!" and t.variant.kind == "equal" for t in tried)
    confirmed = {t.variant for t in tried if t.verdict == ("=" if t.variant.kind == "equal" else "!")}
    kept = {v for shelf in bank.shelves.values() for some in shelf.variants.values() for v in some if v.rules}
    assert kept <= confirmed


def test_renamed_and_perturbed_variants_are_there(built: tuple[Bank, list[Tried]]) -> None:
    assert any("len(" in origin for origin, _ in variants(built[0], "renamed"))
    assert ("i > 0", "i > 1") in variants(built[0], "perturbed")


def test_every_variant_can_stand_where_its_fragment_did(built: tuple[Bank, list[Tried]]) -> None:
    for category, shelf in built[0].shelves.items():
        place = "def f():\n    while x:\n        " if category == "statement" else "def f():\n    x = "
        for some in shelf.variants.values():
            assert all(parses(place.encode() + v.fragment.text) for v in some)


def test_the_same_sources_give_the_same_bank_again(built: tuple[Bank, list[Tried]]) -> None:
    assert build(SOURCES, SMALL, jobs=2)[0].dumps() == built[0].dumps()


def test_without_variants_nothing_is_run() -> None:
    bank, tried = build(SOURCES, replace(SMALL, augmented=0))
    assert tried == [] and not any(shelf.variants for shelf in bank.shelves.values())


def test_a_config_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="augmented"):
        BankConfig(augmented=-1)
    with pytest.raises(ValueError, match="max_leaves"):
        BankConfig(max_per_category=3)


# Programs of all sorts with calls that reach every branch.
PROGRAMS = {
    "def clip(x, low, high):\n    if not low <= x:\n        return low\n    elif x > high:\n        return high\n"
    "    else:\n        return x\n": ["clip(1, 2, 4)", "clip(9, 2, 4)", "clip(3, 2, 4)", "clip('b', 'a', 'c')"],
    "def both(a, b):\n    if a and b or (not a and not b):\n        return a or b\n"
    "    else:\n        return a and b\n": [
        "both(0, 0)", "both([], 1)", "both('x', None)", "both(2, 3)", "both('', [])",
    ],
    "def evens(n: int, extra=()):\n    found = []\n    for i in range(0, n):\n        if i % 2 == 0:\n"
    "            found.append(i * 2)\n    found = found + [len(found)]\n    if len(found) == 0 or found[-1] > n - 1:\n"
    "        return None\n    return found[::-1], [x for x in extra], "
    "sum([x * x for x in found if x > 2 if x < 9])\n": [
        "evens(0)", "evens(1)", "evens(7)", "evens(8, 'abc')", "evens(-1, [1])",
    ],
    "def words(text):\n    counts = dict()\n    total = 0\n    parts = text.strip().split(' ')\n"
    "    for i, word in enumerate(parts):\n        total += i + len(word) - 1\n"
    "        counts[word] = counts.get(word, None) or 0\n        counts[word] = counts[word] + 1\n"
    "    longest = max(len(parts), total)\n    name = text.lower() + ',' + parts[len(parts) - 1]\n"
    "    return (sorted(counts.keys()), not any(c > 1 for c in counts.values()), name[0:3], -(longest - total),\n"
    "            True if total // 2 >= 3 else False, divmod(total, 2), name.find('b') == -1, list(counts))\n": [
        "words('a b a')", "words('')", "words(' One two ')", "words('b b')",
    ],
    "def matrix(rows, k):\n    out = [[0] * len(rows) for _ in rows[:]]\n    n = len(rows)\n"
    "    for i in range(n):\n        for j in range(0, n, 1):\n            out[j][i] = rows[i][j] * k - i * 2\n"
    "            if i == j != 0 and i < n - 1:\n                out[i][j] += 1\n    x = n if n < 3 else 3\n"
    "    total = abs(n - x) + x ** 2 + (n + x + 1) * 2\n    while True:\n        total -= 1\n"
    "        if total <= 0 or total == 7 or total == 9:\n            break\n    return out, total\n": [
        "matrix([[1, 2], [3, 4]], 2)", "matrix([], 1)", "matrix([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 0.5)",
        "matrix([['a', 'b'], ['c', 'd']], 1)",
    ],
}  # fmt: skip


def test_a_function_written_another_way_gives_the_same_on_its_calls(sandbox: Sandbox) -> None:
    used = set()
    for source, calls in PROGRAMS.items():
        program = parse(source.encode())
        expected = sandbox.evaluate(program.source, calls)
        assert sum(r.repr is not None for r in expected) >= 2
        for rule, edit in rewrites(program):
            used.add(rule.name)
            assert sandbox.evaluate(edit.apply(program.source), calls) == expected, (rule.name, edit)
    assert len(used) > 60


@pytest.mark.parametrize("record", TRAIN, ids=lambda record: record.name)
def test_functions_written_another_way_several_times_pass_their_tests(record, sandbox: Sandbox) -> None:  # type: ignore[no-untyped-def]
    for seed in range(3):
        rng, program = random.Random(seed), parse(record.source.rstrip("\n").encode())
        for _ in range(4):
            program = rewrite(program, rng) or program
        seen = sandbox.run(program.source, asserts=record.asserts, setup=record.context or "")
        assert not record.asserts or seen.ok, program.source.decode()
