"""`kelp lm eval` on a random model of bytes."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp
from tests.cli.test_lm_generate import folder  # noqa: F401  a fixture

from kelp.cli.lm_texts import draw
from kelp.data.record import Record, save

pytestmark = pytest.mark.slow

SOURCE = 'def {name}(x):\n    """Double."""\n    return x + x\n'


def record(name: str, split: str) -> Record:
    asserts = (f"assert {name}(2) == 4", f"assert {name}(0) == 0")
    return Record(source=SOURCE.format(name=name), name=name, asserts=asserts, split=split)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    records = [record("kept", "train"), record("first", "valid"), record("second", "valid")]
    save(records, tmp_path / "corpus" / "functions-00000.parquet")
    return tmp_path / "corpus"


def test_only_the_held_out_part_of_a_corpus_is_measured(kelp_here: Kelp, folder: Path, corpus: Path) -> None:  # noqa: F811
    ran = kelp_here("lm", "eval", folder, "--data", f"corpus:{corpus}", "--samples", 2, "--block", 1, "--json")
    assert ran.code == 0, ran.err
    held_out = [SOURCE.format(name=name) for name in ("first", "second")]
    assert (ran.json["documents"], ran.json["bytes"]) == (2, sum(map(len, held_out)))
    each, together = ran.json["compressed"]["xz"].values()
    assert each > together > 0 and ran.json["compressed"]["gzip"]["each"] < each  # xz has a longer header


def test_documents_are_drawn_by_the_seed() -> None:
    assert draw(range(5), None, 0) == draw(range(5), 9, 0) == [0, 1, 2, 3, 4]
    assert draw(range(100), 10, 1) == sorted(draw(range(100), 10, 1)) != draw(range(100), 10, 2)
    counts = [sum(n in draw(range(6), 2, seed) for seed in range(300)) for n in range(6)]
    assert all(70 < count < 130 for count in counts)


def test_held_out_functions_are_filled(kelp_here: Kelp, folder: Path, corpus: Path, tmp_path: Path) -> None:  # noqa: F811
    ran = kelp_here(
        "lm", "eval", folder, "--data", f"corpus:{corpus}", "--infill", "expression,body", "--accept", "threshold",
        "--out", "fills.jsonl", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    for by in ran.json["infill"].values():
        assert by["n"] == 2 and by["paired"]["p"] == 1
        for name in ("model", "baseline"):
            low, high = by[name]["exact"]["low"], by[name]["exact"]["high"]
            assert 0 <= low <= by[name]["exact"]["mean"] <= high <= 1 and by[name]["passes"] >= 1
    assert (ran.json["block"], ran.json["functions"]) == (8, 2)
    lines = [json.loads(line) for line in (tmp_path / "fills.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["expression", "expression", "body", "body"]
    assert {line["hole"] for line in lines} == {"x + x", "return x + x"}
    assert set(lines[0]["model"]) == {"fill", "exact", "parses"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--infill", "word"], "--infill word is none of line, expression, body."),
        (
            ["--infill", "body", "--hole-tokens", 1],
            "--data has no function with a hole of at most 1 tokens for --infill body.",
        ),
        (["--pass-at", "1,x"], "--pass-at 1,x is no list of numbers such as 1,8."),
        (["--pass-at", "8", "--programs", 4], "--programs 4 is less than 8, the largest K of --pass-at."),
        (["--length", "64"], "--length 64 does not fit a context of 64 tokens: at most 63 does."),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_sentence(
    kelp_here: Kelp, folder: Path, corpus: Path, arguments: list[object], sentence: str  # noqa: F811
) -> None:  # fmt: skip
    ran = kelp_here("lm", "eval", folder, "--data", f"corpus:{corpus}", *arguments)
    assert (ran.code, ran.sentence) == (2, sentence)


@pytest.mark.parametrize("right", [True, False])
def test_programs_run_by_their_asserts(
    kelp_here: Kelp, folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, right: bool  # noqa: F811
) -> None:  # fmt: skip
    def write(model, cfg, tokenizer, headers, how, *, count, tokens):
        body = "\n    return x * 2\n" if right else "\n    return x * 3\n"
        return [[header + body, *[header + "\n    oops("] * (count - 1)] for header in headers]

    monkeypatch.setattr("kelp.lm.programs.write_programs", write)
    ran = kelp_here(
        "lm", "eval", folder, "--data", f"corpus:{corpus}", "--pass-at", "1,4", "--program-tokens", 9, "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.json["n"] == 2 and ran.json["programs"] == 4
    assert [by["mean"] for by in ran.json["pass_at"].values()] == ([0.25, 1.0] if right else [0, 0])
