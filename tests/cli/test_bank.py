"""`kelp bank` as people start it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp

from kelp.data.record import Record, save

pytestmark = pytest.mark.slow

pytest.importorskip("egglog")
RECORDS = [
    Record("def f(a, n):\n    if not n == len(a):\n        return a[0:n]\n    return a\n", "f"),
    Record("def g(a, n):\n    while not n == len(a):\n        n = n + 1\n    return n\n", "g"),
]


def write(path: Path) -> None:
    path.write_text("".join(json.dumps({"source": record.source}) + "\n" for record in RECORDS))


def test_a_bank_is_built_and_looked_into(kelp: Kelp, tmp_path: Path) -> None:
    save(RECORDS, tmp_path / "records.parquet")
    ran = kelp("bank", "build", "records.parquet", "--out", "bank.json.gz", "--allow-weak-sandbox")
    assert (ran.code, ran.err) == (0, "")
    text = ran.out.decode()
    assert text.splitlines()[0].split() == "category fragments templates seen equal near miss renamed perturbed".split()
    assert "not ==" in text

    ran = kelp("bank", "inspect", "bank.json.gz", "--category", "condition", "--limit", "1", "--grep", "!=")
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split("  ") for line in ran.out.decode().splitlines()]
    shown = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert shown[1] == ["condition", "2", "not n == len(a)"]
    assert ["n != len(a)", "equal, not =="] in shown

    [row] = kelp("bank", "inspect", "bank.json.gz", "--grep", "a[:n]", "--json").json["expression"]
    assert (row["text"], row["count"]) == ("a[0:n]", 1)
    assert {"text": "a[:n]", "kind": "equal", "rules": ["slice from 0"]} in row["variants"]


def test_figures_are_printed_as_json(kelp_here: Kelp, tmp_path: Path) -> None:
    write(tmp_path / "records.jsonl")
    options = ("--json", "--augmented", "1", "--allow-weak-sandbox")
    ran = kelp_here("bank", "build", "records.jsonl", "--out", "b.gz", *options)
    assert ran.json["categories"]["condition"]["equal"] > 0
    assert all(row["same"] > 0 for rule, row in ran.json["rules"].items() if rule == "not ==")


def test_where_egglog_is_missing_that_is_said_and_a_bank_without_variants_is_built_all_the_same(tmp_path: Path) -> None:
    write(tmp_path / "records.jsonl")
    hidden = "import sys; sys.modules['egglog'] = None; sys.argv[0] = 'kelp'; from kelp.cli.main import main; main()"

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", hidden, "bank", "build", "records.jsonl", "--out", "b.gz", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    without = run("--allow-weak-sandbox")
    assert (without.returncode, without.stderr) == (
        2, "Variants need egglog, which is not installed: pip install 'kelp-repair[data]', or --augmented 0.\n"
    )  # fmt: skip
    assert not (tmp_path / "b.gz").exists()
    assert run("--augmented", "0").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("build", "nowhere.jsonl", "--out", "b.gz"), "nowhere.jsonl does not exist."),
        (("build", "odd.jsonl", "--out", "b.gz"), "odd.jsonl is no file of functions, each a JSON object "),
        (("build", "text.jsonl", "--out", "b.gz"), "text.jsonl is no file of functions, each a JSON object "),
        (("build", "good.gz", "--out", "b.gz"), "good.gz is no Parquet file of functions: "),
        (("build", ".", "--out", "b.gz"), ". holds no corpus: make one with kelp corpus build "),
        (("build", "records.jsonl", "--out", "no/b.gz"), "no/b.gz cannot be written: there is no folder "),
        (("build", "records.jsonl", "--out", "b.gz", "--max-per-category", "3"), "max_per_category must be at least "),
        (("inspect", "nowhere.gz"), "nowhere.gz does not exist."),
        (("inspect", "odd.jsonl"), "odd.jsonl is no bank: kelp bank build writes one."),
        (("inspect", "good.gz", "--category", "x"), "good.gz has no category 'x': there are argument, condition, "),
    ],
)
def test_each_mistake_has_its_sentence(
    kelp_here: Kelp, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "odd.jsonl").write_text(json.dumps({"name": "x"}) + "\n")
    (tmp_path / "text.jsonl").write_text("hello\n")
    write(tmp_path / "records.jsonl")
    assert kelp_here("bank", "build", "records.jsonl", "--out", "good.gz", "--augmented", "0").code == 0
    ran = kelp_here("bank", *arguments)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence.startswith(sentence)
    assert not (tmp_path / "b.gz").exists()
