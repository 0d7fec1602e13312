"""`kelp lm tokenizer train` and `kelp lm data`, as a person uses them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.conftest import Kelp

from kelp.lm.tokenizer import Tokenizer

RECIPE = """
[training]
steps = 1

[model]
dim = 64

[data]
sources = ["files:texts/*.txt", "files:rows.jsonl"]
tokenizer = "tokenizer"
folder = "tokens"
vocab_size = 300
valid_share = 0.1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "texts").mkdir()
    for number in range(3):
        (tmp_path / f"texts/{number}.txt").write_text(f"def f{number}(x):\n    return x + {number}\n")
    rows = [{"text": f"import module{number}\n", "id": number} for number in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_from_text_to_tokens(kelp_here: Kelp, folder: Path) -> None:
    ran = kelp_here("lm", "tokenizer", "train", "recipe.toml")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.decode().startswith("tokenizer: ")
    tokenizer = Tokenizer.load(folder / "tokenizer")
    assert tokenizer.size <= 300

    ran = kelp_here("lm", "data", "recipe.toml")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.decode().splitlines()
    assert lines[:3] == ["source files:texts/*.txt, files 3", "source files:rows.jsonl, files 1",
                         "split  documents  tokens  bytes"]  # fmt: skip
    assert lines[-1] == "tokens: tokens as bin"
    starts = np.load(folder / "tokens/train.npy")
    flat = np.fromfile(folder / "tokens/train.bin", "<u2")
    assert tokenizer.decode(flat[starts[0] : starts[1]]).startswith(b"def f")

    ran = kelp_here("lm", "data", "recipe.toml", "--format", "parquet", "--out", "other", "--json")
    rows = pq.read_table(folder / "other/tokens.parquet").to_pylist()
    assert len(rows) == 43 == sum(ran.json[split]["documents"] for split in ("train", "valid"))
    assert {row["split"] for row in rows} == {"train", "valid"}
    assert sum(row["bytes"] for row in rows) == sum(ran.json[split]["bytes"] for split in ("train", "valid"))


def test_a_tokenizer_is_trained_on_files_alone(kelp_here: Kelp, folder: Path) -> None:
    command = ("lm", "tokenizer", "train", "--files", "texts/*.txt", "--files", "rows.jsonl", "--vocab-size", 270)
    ran = kelp_here(*command, "--out", "small", "--json")
    assert (ran.code, ran.json["documents"], ran.json["tokens"]) == (0, 43, 270)
    assert (folder / "small/merges.txt").exists()
    ran = kelp_here(*command, "--out", "small", "--max-documents", 5, "--json")
    assert ran.json["documents"] == 5


@pytest.mark.slow
def test_a_data_set_in_the_cache_is_read_without_a_network(
    kelp: Kelp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache is filled once, in a process that reaches the data set; then it is gone and the network is off."""
    hub = folder / "owner-name"
    hub.mkdir()
    pq.write_table(pa.table({"text": [f"x = {number}\n" for number in range(50)]}), hub / "train-0.parquet")
    (folder / "recipe.toml").write_text(RECIPE.replace("files:rows.jsonl", "hf:owner-name"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    assert kelp("lm", "tokenizer", "train", "recipe.toml").code == 0
    hub.rename(folder / "elsewhere")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    ran = kelp("lm", "data", "recipe.toml", "--json")
    assert ran.code == 0, ran.err
    assert sum(ran.json[split]["documents"] for split in ("train", "valid")) == 53
    assert ran.json["origin"][1]["cache"] == str(folder / "cache")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tokenizer", "train"), "give either a recipe or --files."),
        (("tokenizer", "train", "--files", "texts/*.txt"), "--files needs --out, the folder to fill."),
        (("tokenizer", "train", "--files", "no/*", "--out", "out"), "files:no/* matches no file."),
        (("tokenizer", "train", "recipe.toml", "--vocab-size", "9"), "a vocabulary of 9 is too small: bytes and "),
        (("data", "nowhere.toml"), "nowhere.toml cannot be read: No such file or directory."),
        (("data", "recipe.toml"), "there is no tokenizer tokenizer: kelp lm tokenizer train makes one."),
        (("data", "typo.toml"), "typo.toml: unknown key 'lenght' in [data]."),
        (("data", "mask.toml"), "mask.toml: [data] the mask token must not be the end-of-text or the padding token"),
        (("data", "source.toml"), "source.toml: 'sources' in [data]: 'toy' is no source: sources are files:GLOB, "),
    ],
)
def test_each_mistake_has_its_sentence(
    kelp_here: Kelp, folder: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (folder / "typo.toml").write_text(RECIPE + "lenght = 3\n")
    (folder / "mask.toml").write_text(RECIPE + 'mask = "<|endoftext|>"\n')
    (folder / "source.toml").write_text(RECIPE.replace("files:rows.jsonl", "toy"))
    ran = kelp_here("lm", *arguments)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence.startswith(sentence)
