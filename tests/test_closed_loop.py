"""The closed loop: true edits through the code that serves inference restore every program, with either tokenizer.

`benchmarks/closed_loop.py` makes the same checks at full size, and over MBPP.
"""

import random
from pathlib import Path

import pytest
from benchmarks.closed_loop import (
    FORMS,
    SHARES,
    Loop,
    Score,
    broken,
    library_files,
    library_functions,
    report,
    unrelated,
    within_file,
)  # fmt: skip
from tests.encoding.hugging_face import lexical
from tests.programs import HARD, PYTHON, parse

from kelp.diffusion.bank import Bank
from kelp.diffusion.mutations import KINDS, candidates
from kelp.encoding.encoder import Encoder
from kelp.encoding.tokenizer import ImpliedSpaceTokenizer, Tokenizer
from kelp.syntax.edits import Edit
from kelp.syntax.sites import is_valid

FILES = [p for p in library_files() if "test" not in p.parts and p.stat().st_size < 20_000][::12]
SOURCES = list(library_functions(FILES))
ASYNC = b"""async def fetch(self, client, keys, seen=[]):
    found = []
    for key in keys:
        if key:
            value = client.load(key)
            found[0] = f"{key}: {value}"
            break
    try:
        self.count += 1
    except KeyError:
        return self.count + found[1:-1] << 2
    return found
"""


@pytest.fixture(scope="module", params=["ours", "lexical"])
def loop(request: pytest.FixtureRequest) -> Loop:
    texts = [*SOURCES[::4], *HARD]
    tokenizer: Tokenizer = (
        ImpliedSpaceTokenizer.train(texts, 1000, PYTHON) if request.param == "ours" else lexical(texts)
    )
    return Loop(Encoder(tokenizer))


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank.build(map(parse, SOURCES[::4]))


def always(score: Score) -> dict[str, list[str]]:
    """The failures of claims that must always hold."""
    return {name: some for name, some in score.failures.items() if name not in SHARES}


@pytest.mark.slow
def test_broken_library_functions_are_restored_byte_for_byte(loop: Loop, bank: Bank) -> None:
    total = Score()
    for seed, source in enumerate(random.Random(0).choices(SOURCES, k=150)):
        total.add(broken(source, loop, bank, random.Random(seed)))
    assert not always(total), always(total)
    assert total.held["the program is restored, byte for byte"] >= 140
    for name in SHARES:
        assert total.held[name] >= 0.9 * total.tried[name], (name, total.failures[name])


@pytest.mark.parametrize("which", range(len(HARD)))
def test_broken_functions_of_unusual_code_are_restored_byte_for_byte(which: int, loop: Loop, bank: Bank) -> None:
    total = Score()
    for seed in range(4):
        total.add(broken(HARD[which], loop, bank, random.Random(seed)))
    assert not always(total), always(total)


@pytest.mark.slow
def test_an_edit_of_every_kind_is_made_and_undone(loop: Loop) -> None:
    rng, total, kinds = random.Random(0), Score(), set[str]()
    programs = [parse(source) for source in [*rng.sample(SOURCES, 30), *HARD, ASYNC]]
    for program in programs:
        by_kind: dict[str, list[Edit]] = {}
        for edit, kind in candidates(program).items():
            by_kind.setdefault(kind, []).append(edit)
        for kind in set(by_kind) - (kinds if program in programs[4:-1] else set()):
            edits = rng.sample(by_kind[kind], min(4, len(by_kind[kind])))
            for edit in [edit for edit in edits if is_valid(program, edit)][:1]:
                pair = program.source, edit.apply(program.source)
                total.add(unrelated(pair, loop, rng))
                total.add(unrelated(pair[::-1], loop, rng))
                kinds.add(kind)
    assert not always(total), always(total)
    assert kinds == set(KINDS)


def test_a_function_is_turned_into_one_that_has_nothing_to_do_with_it(loop: Loop) -> None:
    rng, total = random.Random(0), Score()
    for _ in range(12):
        total.add(unrelated((rng.choice(SOURCES), rng.choice(SOURCES)), loop, rng))
    assert not always(total) and total.held["the program is restored, byte for byte"] == 12, always(total)


@pytest.mark.parametrize("form", FORMS)
def test_functions_are_broken_and_restored_inside_a_file_of_every_form(form: str, loop: Loop, bank: Bank) -> None:
    total = Score()
    methods = b"class A:\n" + b"\n\n".join(b"    " + f.replace(b"\n", b"\n    ") for f in (HARD[4], HARD[13]))
    for seed, file in enumerate([HARD[2] + b"\n\n" + HARD[5] + b"\n", b"import os\n\n" + methods + b"\n\nx = 1\n"]):
        total.add(within_file(FORMS[form](file), loop, bank, random.Random(seed)))
    assert not always(total) and total.seen["functions in files"] == 4, always(total)


def test_the_report_fails_where_a_claim_does_not_hold_often_enough(capsys: pytest.CaptureFixture[str]) -> None:
    score = Score()
    for i in range(200):
        score.claim("the program is restored, byte for byte", True)
        score.claim("one mutation: one edit, no larger", i != 0)
    assert report(score) == 0
    assert "everything held" in capsys.readouterr().out
    score.claim("the program is restored, byte for byte", False, "def f(): pass")
    assert report(score) == 1
    assert "FAILS" in (out := capsys.readouterr().out) and "def f(): pass" in out


def test_library_files_are_in_a_fixed_order_and_none_is_a_package_from_elsewhere() -> None:
    files = library_files()
    assert files == sorted(files) and not any("site-packages" in p.parts for p in map(Path, files))
