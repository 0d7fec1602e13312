import gzip
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.programs import parse

from kelp.diffusion.bank import Bank, Fragment, Variant, adapted, slots

PROGRAMS = [
    parse(b"def f(a, b):\n    if a > b:\n        return a - b\n    return [a, b, 0]\n"),
    parse(b"def g(x):\n    for y in x:\n        print(y + 1)\n        x.append(y)\n    return x\n"),
    parse(b"def h(x):\n    while x > 1 and ready(x):\n        x = x // 2\n    return x\n"),
]


def test_fragments_are_kept_by_category() -> None:
    bank = Bank.build(PROGRAMS)
    texts = {category: {f.text for f in shelf.fragments} for category, shelf in bank.shelves.items()}
    assert {b"a > b", b"x > 1", b"ready(x)"} <= texts["condition"]
    assert {b"return a - b", b"x = x // 2"} <= texts["statement"]
    assert {b"y + 1", b"y"} <= texts["argument"]
    assert b"def f" not in b" ".join(texts["statement"])


def test_a_compound_statement_is_kept_without_its_indentation() -> None:
    texts = {f.text for f in Bank.build(PROGRAMS).shelves["statement"].fragments}
    assert b"if a > b:\n    return a - b" in texts


def test_samples_are_about_as_large_as_asked() -> None:
    bank, rng = Bank.build(PROGRAMS), random.Random(0)
    for size in (1, 3, 6):
        found = [bank.sample("expression", rng, size) for _ in range(20)]
        assert all(f is not None and abs(f.size - size) <= 4 for f in found)


def test_frequent_fragments_come_more_often() -> None:
    bank, rng = Bank.build([parse(b"def f(a, b):\n    return [a, a, a, a, a, a, a, a, b]\n")]), random.Random(0)
    found = [bank.sample("element", rng, 1) for _ in range(90)]
    assert 60 <= [f and f.text for f in found].count(b"a") < 90


def test_a_category_that_was_never_seen_has_no_sample() -> None:
    assert Bank.build(PROGRAMS).sample("decorator", random.Random(0), 3) is None
    assert Bank.build([]).sample("expression", random.Random(0), 3) is None


def test_a_bank_is_read_back_as_it_was_and_written_the_same_twice(tmp_path: Path) -> None:
    bank = Bank.build(PROGRAMS)
    bank.save(tmp_path / "one.json.gz")
    Bank.build(PROGRAMS).save(tmp_path / "two.json.gz")
    assert Bank.load(tmp_path / "one.json.gz") == bank
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()


def test_a_bank_holds_no_more_than_it_may() -> None:
    bank = Bank.build(PROGRAMS, max_per_category=4, max_leaves=4)
    assert all(len(shelf.fragments) <= 4 for shelf in bank.shelves.values())
    assert all(f.size <= 4 for shelf in bank.shelves.values() for f in shelf.fragments)
    with pytest.raises(ValueError, match="max_per_category"):
        Bank.build(PROGRAMS, max_per_category=0)


def test_variables_of_a_fragment_take_names_in_scope_and_callees_keep_theirs() -> None:
    fragments = Bank.build(PROGRAMS).shelves["condition"].fragments
    ready = next(f for f in fragments if f.text == b"ready(x)")
    assert adapted(ready, [b"count"], random.Random(0), 1.0) == b"ready(count)"
    assert adapted(ready, [b"count"], random.Random(0), 0.0) == b"ready(x)"
    assert adapted(ready, [], random.Random(0), 1.0) == b"ready(x)"


def test_one_variable_takes_one_name_throughout() -> None:
    pair = Fragment(b"n * n", 3, 12, ((0, 1), (4, 5)))
    assert adapted(pair, [b"a", b"b"], random.Random(1), 1.0) in (b"a * a", b"b * b")


def test_the_function_itself_its_callees_and_receivers_are_no_slots() -> None:
    program = parse(b"def f(a):\n    return a.b(c)\n")
    texts = [program.text(node) for _, node in slots(program, 50)]
    assert sorted(texts) == [b"a.b(c)", b"c", b"return a.b(c)"]


def with_variants() -> Bank:
    bank = Bank.build([parse(b"def f(a, b):\n    return [a < b, a < b, 1]\n")])
    shelf = bank.shelves["element"]
    [origin] = [f for f in shelf.fragments if f.text == b"a < b"]
    other = Fragment(b"b > a", 3, 6, ((0, 1), (4, 5)))
    return Bank({"element": replace(shelf, variants={origin: (Variant(other, "equal", ("flip <",)),)})})


def test_a_variant_comes_in_place_of_its_fragment_as_often_as_asked() -> None:
    bank, rng = with_variants(), random.Random(0)

    def drawn(probability: float) -> Counter[bytes]:
        found = [bank.sample("element", rng, 3, probability) for _ in range(200)]
        return Counter(f.text for f in found if f is not None and f.size == 3)

    assert set(drawn(0.0)) == {b"a < b"} and set(drawn(1.0)) == {b"b > a"}
    half = drawn(0.5)
    assert 0.3 < half[b"b > a"] / half.total() < 0.7


def test_variants_are_saved_and_read(tmp_path: Path) -> None:
    bank = with_variants()
    bank.save(tmp_path / "bank.json.gz")
    assert Bank.load(tmp_path / "bank.json.gz") == bank


def test_a_file_that_is_no_bank_is_refused(tmp_path: Path) -> None:
    for name, data in {"text": b"hello", "cut": gzip.compress(b"[]")[:-4], "list": gzip.compress(b"[1]")}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match="no bank"):
            Bank.load(tmp_path / name)


def test_what_is_too_rare_to_be_kept_is_counted_as_a_template() -> None:
    body = "\n".join(f"    y = {name} - 1\n    y = {name} - 1" if name == "kept" else f"    y = {name} - 1"
                     for name in ("kept", "a", "b", "c"))  # fmt: skip
    bank = Bank.build([parse(f"def f(kept, a, b, c):\n{body}".encode())], 16, 16, max_templates=16)
    shelf = bank.shelves["expression"]
    rows = {(f.shape, f.template): n for f, n in zip(shelf.fragments, shelf.counts) if f.size == 3}
    assert rows == {(b"$1 - 1", False): 2, (b"$1 - 1", True): 3}
    [template] = [f for f in shelf.fragments if f.template and f.size == 3]
    assert adapted(template, [b"n"], random.Random(0), 0.0) == b"n - 1"
    assert adapted(template, [], random.Random(0), 0.0) == b"a - 1"
