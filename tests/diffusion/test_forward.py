import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.programs import parse, parses

from kelp.diffusion.bank import Bank, Fragment, Variant
from kelp.diffusion.forward import FROM_BANK, IN_CONTEXT, WEIGHTS, ForwardConfig, corrupt, mutate
from kelp.diffusion.mutations import KINDS
from kelp.syntax.sites import sites

SOURCES = [
    b'def f(a, b=None):\n    """Half."""\n    if b is None or not a:\n        return a\n    return a[: len(a) // 2]\n',
    b"def g(n):\n    total = 0\n    for i in range(1, n):\n        if n % i == 0:\n            total += i\n"
    b"        else:\n            continue\n    return total == n\n",
    b"@wraps(f)\ndef h(self, key, *rest, **more):\n    try:\n        x = self.table[key].strip()\n"
    b"    except (KeyError, ValueError) as e:\n        raise Missing(key, e) from None  # not there\n"
    b"    return [y for y in x.split(',') if y], {key: -x}\n",
]
PROGRAMS = [parse(source) for source in SOURCES]
BANK = Bank.build(PROGRAMS)
seeds = st.integers(0, 2**32)


@given(seed=seeds, which=st.integers(0, 2), steps=st.integers(1, 6))
def test_every_state_of_a_walk_is_valid_new_and_one_site_away(seed: int, which: int, steps: int) -> None:
    state = PROGRAMS[which]
    mutations, end = corrupt(state, random.Random(seed), steps, ForwardConfig(), BANK)
    assert len(mutations) == steps
    seen = {state.source}
    for mutation in mutations:
        edit = mutation.edit
        assert (edit.start, edit.end) in {(site.start, site.end) for site in sites(state)}
        state = parse(edit.apply(state.source))
        assert parses(state.source) and state.source not in seen
        seen.add(state.source)
    assert state.source == end.source


@given(seed=seeds)
def test_a_seed_gives_the_same_walk_again(seed: int) -> None:
    one = corrupt(PROGRAMS[1], random.Random(seed), 3, ForwardConfig(), BANK)
    two = corrupt(parse(SOURCES[1]), random.Random(seed), 3, ForwardConfig(), BANK)
    assert one[0] == two[0] and one[1].source == two[1].source


def only(kind: str) -> ForwardConfig:
    return ForwardConfig(weights=dict.fromkeys(WEIGHTS, 0.0) | {kind: 1.0})


@given(seed=seeds, kind=st.sampled_from(["variable", "comparison", "indent", IN_CONTEXT, FROM_BANK]))
def test_a_kind_without_weight_is_never_drawn(seed: int, kind: str) -> None:
    mutation = mutate(PROGRAMS[1], random.Random(seed), only(kind), BANK)
    assert mutation is None or mutation.kind == kind


def test_a_kind_that_finds_no_place_gives_nothing_when_it_is_alone() -> None:
    assert mutate(parse(b"def f():\n    pass\n"), random.Random(0), only("slice"), BANK) is None


def test_a_kind_that_finds_no_place_makes_way_for_another() -> None:
    config = ForwardConfig(weights={"slice": 1e6})
    mutation = mutate(PROGRAMS[1], random.Random(0), config, BANK)
    assert mutation is not None and mutation.kind in KINDS and mutation.kind != "slice"


def test_no_kind_takes_over() -> None:
    rng = random.Random(0)
    drawn = Counter(m.kind for _ in range(300) for p in PROGRAMS if (m := mutate(p, rng, ForwardConfig(), BANK)))
    assert drawn.total() == 900
    assert max(drawn.values()) < 0.25 * 900
    assert drawn["offset"] + drawn["sign"] < 0.1 * 900
    assert drawn[IN_CONTEXT] + drawn[FROM_BANK] < 0.3 * 900


def test_a_fragment_is_put_in_parentheses_where_its_place_needs_them() -> None:
    bank = Bank.build([parse(b"def f(a, b):\n    c = a + b\n")])
    program = parse(b"def g(x, y):\n    z = (x | y) * 2\n    return z\n")
    config = ForwardConfig(weights=dict.fromkeys(WEIGHTS, 0.0) | {FROM_BANK: 1.0}, rename=0.0)
    found = {
        m.edit.apply(program.source) for seed in range(300) if (m := mutate(program, random.Random(seed), config, bank))
    }
    assert b"def g(x, y):\n    z = (a + b) * 2\n    return z\n" in found
    assert b"def g(x, y):\n    z = a + b\n    return z\n" in found


def test_a_swap_from_the_bank_draws_variants_as_the_seed_says() -> None:
    plain = Bank.build([parse(b"def f(a, b):\n    return [a < b]\n")])
    shelf = plain.shelves["element"]
    [origin] = [f for f in shelf.fragments if f.size == 3]
    variant = Variant(Fragment(b"b > a", 3, 6, ((0, 1), (4, 5))), "equal", ("flip <",))
    bank = Bank({"element": replace(shelf, variants={origin: (variant,)})})
    program = parse(b"def g(x, y):\n    return (x + y, 1)\n")

    def found(variants: float) -> list[bytes]:
        config = ForwardConfig(weights=dict.fromkeys(WEIGHTS, 0.0) | {FROM_BANK: 1.0}, rename=0.0, variants=variants)
        drawn = (mutate(program, random.Random(seed), config, bank) for seed in range(60))
        return [m.edit.text for m in drawn if m is not None]

    assert found(0.5) == found(0.5)
    assert {b"a < b", b"b > a"} <= set(found(0.5))
    assert b"b > a" not in found(0.0)


def test_a_compound_fragment_is_indented_as_its_place() -> None:
    bank = Bank.build([parse(b"def f(a):\n    if a:\n        a()\n")], max_leaves=12)
    program = parse(b"def g(x):\n    while x:\n        x.y(1, 2)\n")
    config = ForwardConfig(weights=dict.fromkeys(WEIGHTS, 0.0) | {FROM_BANK: 1.0}, rename=0.0)
    found = {
        m.edit.apply(program.source) for seed in range(300) if (m := mutate(program, random.Random(seed), config, bank))
    }
    assert b"def g(x):\n    while x:\n        if a:\n            a()\n" in found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"wrong kind": 1.0}}, "wrong kind"),
        ({"weights": {"variable": -1.0}}, "negative"),
        ({"weights": {"variable": float("nan")}}, "finite"),
        ({"weights": dict.fromkeys(WEIGHTS, 0.0)}, "positive"),
        ({"max_leaves": 0}, "max_leaves"),
        ({"rename": 1.5}, "rename"),
        ({"variants": -0.1}, "variants"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ForwardConfig(**settings)  # type: ignore[arg-type]
