"""`kelp corpus`: from sources to a corpus with tests, as a person uses it."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp

pytestmark = pytest.mark.slow

MODULE = '''
def spread(values, width):
    """Chop values into rows of a width."""
    rows = []
    for start in range(0, len(values), width):
        rows.append(values[start : start + width])
    return rows


def stub(x):
    raise NotImplementedError
'''


def test_a_corpus_is_built_shown_and_given_tests(kelp: Kelp, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/a.py").write_text(MODULE)
    ran = kelp("corpus", "build", "--source", "dir:code", "--source", "toy", "--out", "out", "--plot", "out.png")
    assert ran.code == 0, ran.err
    text = ran.out.decode()
    assert "out: 16 functions of 2 projects in 1 files, from 17 found" in text
    assert ["stub", "1"] in [line.split() for line in text.splitlines()]
    assert text.endswith("Next: kelp corpus specs out\n")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out/dropped.jsonl").read_text())["where"] == "code/a.py:stub"
    ran = kelp("corpus", "specs", "out", "--json")
    assert (ran.code, ran.json["with_spec"]) == (0, 16)
    shown = kelp("corpus", "show", "out", "--json")
    assert shown.json == ran.json


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("build", "--source", "nothing", "--out", "out"), "'nothing' is no source: sources are toy, quine[:PATH], "),
        (("build", "--source", "dir:nowhere", "--out", "out"), "dir:nowhere: there is no such folder."),
        (("build", "--source", "dir:empty", "--out", "out"), "no function is left of all sources: out/dropped.jsonl "),
        (("build", "--source", "toy", "--exclude", "no.py", "--out", "out"), "no.py cannot be read: No such file"),
        (("specs", "empty"), "empty holds no finished corpus: make one with kelp corpus build --out empty."),
        (("show", "empty"), "empty holds no finished corpus: make one with kelp corpus build --out empty."),
    ],
)
def test_each_mistake_has_its_sentence(
    kelp_here: Kelp, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    ran = kelp_here("corpus", *arguments)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence.startswith(sentence)
