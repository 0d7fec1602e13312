"""Examples from a recipe: built, and looked at."""

import re
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp
from tests.cli.test_train import RECIPE

pytestmark = pytest.mark.slow

OBSERVED = RECIPE.replace("observation = 0.0", "observation = 1.0\nwith_spec = 1.0")


def test_a_build_goes_on_where_it_was_and_what_it_made_can_be_looked_at(kelp: Kelp, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(OBSERVED.replace('["toy"]', '["toy", "corpus:nowhere"]'))
    ran = kelp("data", "build", "tiny.toml")
    said = "nowhere: there is no such corpus; make one with kelp corpus build --out nowhere."
    assert (ran.code, ran.sentence) == (2, said)
    (tmp_path / "tiny.toml").write_text(OBSERVED)
    built = kelp("data", "build", "tiny.toml", "--jobs", "2")
    assert built.code == 0, built.err
    made, lengths, then = built.out.decode().splitlines()
    assert re.fullmatch(r"data: \d+ training examples from 15 functions, [1-8] held-out ones", made)
    assert re.fullmatch(r"Rows of 1 length: \d+ tokens \(\d+\.\d% is padding\)", lengths)
    assert then == "Next: kelp data inspect tiny.toml"
    shard = tmp_path / "data/train-00000.array_record"
    written = shard.read_bytes(), shard.stat().st_mtime_ns
    (tmp_path / "data/valid-00000.array_record").unlink()
    again = kelp("data", "build", "tiny.toml", "--jobs", "2")
    assert (again.code, again.out) == (0, built.out)
    assert (shard.read_bytes(), shard.stat().st_mtime_ns) == written

    shown = kelp("data", "inspect", "data", "--count", "2", "--sample", "40", "--html", "out.html")
    assert (shown.code, shown.err) == (0, "")
    text = shown.out.decode()
    assert len(re.findall(r"^example \d+  \w+  toy/", text, re.M)) == 2
    titles = ("states", "mutation kinds", "edits", "shown", "tokens", "dropped", "padding")
    assert [line for line in text.splitlines() if line in titles] == list(titles)
    assert re.search(r"^all +\d+ +100.0% +\d+\.\d%$", text, re.M)
    assert "</html>" in (tmp_path / "out.html").read_text()

    assert kelp("data", "inspect", "data", "--count", "0", "--sample", "1").code == 0  # some tables are empty
    held = kelp("data", "inspect", "tiny.toml", "--index", "5", "--json")
    assert kelp("data", "inspect", "data", "--index", "5", "--json").out == held.out
    [example] = held.json["examples"]
    assert example["index"] == 5 and held.json["tables"] == {}
    source = example["state"].encode()
    for edit in example["path"]:
        source = source[: edit["start"]] + edit["new"].encode() + source[edit["end"] :]
    assert source.decode() == example["clean"]
    if example["breaks"]:
        assert {test["status"] for test in example["tests"]} & {"fail", "error", "timeout"}


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("build", "nowhere.toml"), "nowhere.toml cannot be read: No such file or directory."),
        (("inspect", "nowhere"), "nowhere holds no training data"),
        (("inspect", "tiny.toml"), "data holds no functions yet: kelp data build tiny.toml makes them."),
        (("inspect", "tiny.toml", "--index", "64"), "--index 64: the recipe has 64 examples, counted from 0."),
        (("inspect", "tiny.toml", "--html", "no/out.html"), "no/out.html cannot be written: there is no folder"),
        (("build", "typo.toml"), "typo.toml: [data.kinds] unknown mutation kinds ['typo']"),
    ],
)
def test_each_mistake_has_its_sentence(
    kelp_here: Kelp, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    (tmp_path / "typo.toml").write_text(RECIPE.replace("[training]", "kinds = { typo = 1.0 }\n[training]"))
    ran = kelp_here("data", *arguments)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence.startswith(sentence)


def test_data_of_another_version_is_refused_in_a_sentence(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/meta.json").write_text('{"config": {"flavour": 1}}')
    looked = kelp_here("data", "inspect", "data")
    assert (looked.code, looked.sentence[:56]) == (2, "data/meta.json is not what this version of Kelp writes: ")
    ran = kelp_here("data", "build", "tiny.toml")
    assert (ran.code, ran.sentence) == (
        2, "data/meta.json is not what this version of Kelp writes; name another folder in [data].",
    )  # fmt: skip
