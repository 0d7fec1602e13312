"""Rows and batches: nothing lost, nothing doubled, and the same again after a restart, from files and from streams."""

import gzip
import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kelp.errors import KelpError
from kelp.lm.ahead import Tokens, prepare, write
from kelp.lm.stream import LMBatch, Rows, Stream, pack
from kelp.lm.text import DataSection, documents
from kelp.lm.tokenizer import Tokenizer
from kelp.rows import TEXT
from kelp.training.part import Part

TOKENIZER = Tokenizer.train(["return x\n", "def f(x):"] * 3, 280)
WORDS = "alpha beta gamma delta return yield é".split()


def text(number: int) -> str:
    """A text of its own length for each number, up to about 180 bytes."""
    return f"{number}: " + " ".join(WORDS[(number + i) % len(WORDS)] for i in range(number * 7 % 30)) + "\n"


TEXTS = [text(number) for number in range(90)]


def rows_of(numbers: range) -> list[dict[str, Any]]:
    return [{"text": text(number), "repo_name": f"project {number % 30}"} for number in numbers]


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A data set with the hub's layout: Parquet shards of one split."""
    folder = tmp_path / "owner-name"
    folder.mkdir()
    for shard in range(4):
        rows = pa.Table.from_pylist(rows_of(range(shard * 90 // 4, (shard + 1) * 90 // 4)))
        pq.write_table(rows, folder / f"train-{shard}.parquet", row_group_size=8)
    return folder


def section(tmp_path: Path, *sources: str, **settings: Any) -> DataSection:
    settings = {"length": 64, "valid_share": 0.1, "buffer": 20, "folder": tmp_path / "tokens"} | settings
    return DataSection(sources=sources, tokenizer=tmp_path / "tokenizer", **settings)


@pytest.fixture(params=["ahead", "stream"])
def either(request: pytest.FixtureRequest, tmp_path: Path, hub: Path) -> DataSection:
    if request.param == "ahead":
        return section(tmp_path, f"files:{hub}/*.parquet")
    return section(tmp_path, f"hf:{hub}", streaming=True)


def open_stream(data: DataSection, **options: Any) -> Stream:
    return Stream.open(data, TOKENIZER, **{"rows": 4, "seed": 1} | options)


def pieces(batch: LMBatch) -> list[tuple[int, ...]]:
    """Tokens of each document of a batch."""
    return [
        tuple(row[0][row[1] == number].tolist())
        for row in zip(batch.tokens, batch.document)
        for number in range(1, row[1].max() + 1)
    ]


def texts_in(*batches: LMBatch) -> list[str]:
    """Texts of documents that fit a row, in order."""
    return [TOKENIZER.decode(piece).decode() for batch in batches for piece in pieces(batch)]


def equal(one: LMBatch, other: LMBatch) -> bool:
    return all(map(np.array_equal, one, other))


# ---------------------------------------------------------------------------------------------------------- rows


def test_a_packed_row_by_hand() -> None:
    end, pad = TOKENIZER.end, TOKENIZER.pad
    rows = Rows(Tokens.of([[10, 11], [12]], end), 8, True, TOKENIZER)
    assert len(rows) == 1
    batch = rows.batch([0], 2)
    assert batch.tokens.tolist() == [[end, 10, 11, end, end, 12, end, pad], [pad] * 8]
    assert batch.document.tolist() == [[1, 1, 1, 1, 2, 2, 2, 0], [0] * 8]
    assert batch.position.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0], [0] * 8]
    assert batch.bytes.tolist() == [[0, 1, 1, 0, 0, 1, 0, 0], [0] * 8]
    assert {array.dtype for array in batch} == {np.dtype(np.int32)}


def test_one_document_a_row_is_cut_at_its_end() -> None:
    end, pad = TOKENIZER.end, TOKENIZER.pad
    rows = Rows(Tokens.of([[10, 11, 12, 13], [14]], end), 4, False, TOKENIZER)
    batch = rows.batch([0, 1], 2)
    assert batch.tokens.tolist() == [[end, 10, 11, 12], [end, 14, end, pad]]
    assert batch.document.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]


@given(st.lists(st.lists(st.integers(10, 99), min_size=1, max_size=30), max_size=12), st.integers(2, 16))
def test_packing_keeps_every_token_once(texts: list[list[int]], length: int) -> None:
    end = TOKENIZER.end
    rows = Rows(Tokens.of(texts, end), length, True, TOKENIZER)
    batch = rows.batch(range(len(rows)), len(rows))
    want: Counter[tuple[int, ...]] = Counter()
    for found in texts:
        whole = [*found, end]
        want.update((end, *whole[i : i + length - 1]) for i in range(0, len(whole), length - 1))
    assert Counter(pieces(batch)) == want if texts else not len(rows)
    for row, document in zip(batch.position, batch.document):  # positions restart in each document
        assert all(row[document == n].tolist() == list(range((document == n).sum())) for n in range(1, document.max()))


def test_packing_fills_rows_nearly_to_the_end(rng: Any) -> None:
    lengths = [min(511, int(rng.lognormvariate(4.6, 0.9))) + 1 for _ in range(5000)]
    rows = pack(lengths, 512)
    assert sorted(piece for row in rows for piece in row) == list(range(5000))
    assert max(sum(lengths[piece] for piece in row) for row in rows) <= 512
    assert sum(lengths) / (512 * len(rows)) > 0.99


# ------------------------------------------------------------------------------------------------------- batches


def test_an_epoch_holds_every_training_document_once_and_no_held_out_one(either: DataSection) -> None:
    stream = open_stream(either.model_copy(update={"length": 256}), rows=1)
    train = {text(n) for n in range(90) if zlib.crc32(f"project {n % 30}".encode()) % 10}
    valid = [*texts_in(*stream.valid_batches())]
    assert sorted(valid) == sorted(set(TEXTS) - train) and 0 < len(valid) < 40
    seen = list[str]()
    step = 0
    while len(seen) < len(train):
        seen += texts_in(stream.batch(step))
        step += 1
    assert sorted(seen) == sorted(train)
    assert seen != sorted(seen)
    again = texts_in(*(stream.batch(step + i) for i in range(step)))
    assert sorted(again) == sorted(train) and again != seen  # the next epoch has an order of its own


def test_a_run_resumes_at_any_step(either: DataSection) -> None:
    first = open_stream(either)
    batches = [first.batch(step) for step in range(30)]  # about three epochs
    for start in (17, 3, 0, 29):
        resumed = open_stream(either)
        assert all(equal(resumed.batch(step), batches[step]) for step in range(start, min(start + 4, 30)))
    assert equal(first.batch(5), batches[5])  # and back
    assert not equal(open_stream(either, seed=2).batch(0), batches[0])


def test_a_stream_resumes_without_its_file_by_reading_again_and_with_a_state_without(tmp_path: Path, hub: Path) -> None:
    data = section(tmp_path, f"hf:{hub}", streaming=True)
    first = open_stream(data)
    batch, state = [first.batch(step) for step in range(9)][-1], json.loads(json.dumps(first.state()))
    place = data.folder / "stream.jsonl"
    lines = place.read_text()
    for left in ("", lines[: lines.index("\n") + 20]):  # lost, and cut short when the run was killed
        place.write_text(left)
        assert equal(open_stream(data).batch(8), batch)
        assert place.read_text() == lines
    place.unlink()
    resumed = open_stream(data)
    resumed.restore(state)
    later, next_ = resumed.batch(12), first.batch(12)
    assert equal(later, next_)
    windows = [json.loads(line)["window"] for line in place.read_text().splitlines()[1:]]
    assert min(windows) > state["window"] > 1  # nothing before it was read again
    assert equal(resumed.batch(8), batch)


def test_processes_make_parts_that_together_are_the_batch(either: DataSection) -> None:
    stream = open_stream(either)  # batches of four rows
    for whole, *parts in zip(
        [stream.batch(3), *stream.valid_batches()],
        *(
            [open_stream(either).batch(3, part), *stream.valid_batches(part)]
            for part in (Part((0,), 3), Part((1, 2), 3))
        ),
    ):
        rows = LMBatch(*map(np.concatenate, zip(*parts)))
        assert equal(LMBatch(*(array[:4] for array in rows)), whole)
        assert len(rows.tokens) == 6 and not rows.document[4:].any()  # three parts of two rows


def _pieces_of(stream: Stream, steps: int) -> set[tuple[int, ...]]:
    return {piece for step in range(steps) for piece in pieces(stream.batch(step))}


def test_the_report_counts_padding_and_says_where_the_text_comes_from(either: DataSection, tmp_path: Path) -> None:
    stream = open_stream(either)
    batches = [stream.batch(step) for step in range(3)]
    report = stream.report()
    assert report["padding"] == pytest.approx(np.mean([(batch.document == 0).mean() for batch in batches]))
    assert report["tokens_per_second"] > 0
    assert {"buffer", "window"} <= set(report) if either.streaming else report["epoch"] > 0
    padded = open_stream(either.model_copy(update={"packed": False, "folder": tmp_path / "padded"}))
    padded.batch(0)
    assert padded.report()["padding"] > report["padding"]
    assert stream.origin["valid"]["documents"] > 0
    assert stream.origin["origin"][0]["source"] == either.sources[0]


# ------------------------------------------------------------------------------------------------------- sources


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"content": each, "id": i}) + "\n" for i, each in enumerate(TEXTS[:3]))
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "a.txt").write_text("".join(TEXTS[:3]))
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"\xff" + TEXTS[0].encode()))
    pq.write_table(pa.table({"code": TEXTS[:3]}), tmp_path / "a.parquet")
    for name, want in {
        "a.jsonl": TEXTS[:3],
        "a.jsonl.gz": TEXTS[:3],
        "a.parquet": TEXTS[:3],
        "a.txt": ["".join(TEXTS[:3])],
        "a.txt.gz": ["\ufffd" + TEXTS[0]],
    }.items():
        assert [d.text for d in documents(section(tmp_path, f"files:{tmp_path}/{name}"))] == want
    pair = section(tmp_path, f"files:{tmp_path}/*.txt", f"files:{tmp_path}/*.parquet")
    assert len([*documents(pair)]) == 4


def test_files_of_any_url_that_fsspec_knows_are_read(tmp_path: Path) -> None:
    import fsspec

    with fsspec.open("memory://bucket/a.txt", "wb") as file:
        file.write(b"x = 1\n")
    assert [d.text for d in documents(section(tmp_path, "files:memory://bucket/*.txt"))] == ["x = 1\n"]


def test_a_corpus_gives_its_functions_and_its_own_split(tmp_path: Path) -> None:
    rows = [{"source": f"def f{i}():\n    pass\n", "project": "p", "split": split, "context": "import os\n"}
            for i, split in enumerate(("train", "valid"))]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "functions-00000.parquet")
    found = [*documents(section(tmp_path, f"corpus:{tmp_path}"))]
    assert found == [("def f0():\n    pass\n", False), ("def f1():\n    pass\n", True)]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_tokens_made_ahead_are_a_source_themselves(tmp_path: Path, form: Any) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": each}) + "\n" for each in TEXTS))
    data = section(tmp_path, f"files:{tmp_path}/a.jsonl")
    meta = write(data, TOKENIZER, tmp_path / "out", form)
    [row, *_] = [*documents(section(tmp_path, f"files:{tmp_path}/out/tokens.{form}"))]
    assert row.text == TOKENIZER.encode(TEXTS[0])
    from_text = prepare(data, TOKENIZER)
    from_tokens = section(tmp_path, f"files:{tmp_path}/out/tokens.{form}", folder=tmp_path / "other")
    assert prepare(from_tokens, TOKENIZER)["train"] == from_text["train"] == meta["train"]
    assert meta["train"]["bytes"] + meta["valid"]["bytes"] == sum(len(each.encode()) for each in TEXTS)
    flat = [np.fromfile(folder / "train.bin", "<u2") for folder in (data.folder, from_tokens.folder)]
    assert np.array_equal(*flat) and (flat[0] == TOKENIZER.end).sum() == meta["train"]["documents"]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_set_in_the_cache_stands_for_one_that_cannot_be_reached(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.load_dataset(str(hub), split="train")
    hub.rename(tmp_path / "elsewhere")
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setattr(datasets.config, name, True)
    monkeypatch.chdir(tmp_path)
    stream = open_stream(section(tmp_path, "hf:owner-name", streaming=streaming, length=256))
    assert stream.origin["origin"][0]["cache"] == str(tmp_path / "cache")
    valid = {piece for batch in stream.valid_batches() for piece in pieces(batch)}
    assert len(_pieces_of(stream, 20) | valid) == 90


def test_mistakes_have_their_sentence(tmp_path: Path, hub: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("[1]\n")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "bad.parquet").write_text("no")
    for source, sentence in {
        f"files:{tmp_path}/none-*": "matches no file",
        f"files:{tmp_path}/bad.jsonl": "bad.jsonl, line 1 is no JSON object",
        f"files:{tmp_path}/bad.parquet": "bad.parquet cannot be read: ",
        f"files:{tmp_path}/empty.txt": "hold no text to train on",
        f"corpus:{tmp_path}": "holds no corpus: make one with kelp corpus build --out",
    }.items():
        with pytest.raises(KelpError, match=sentence):
            open_stream(section(tmp_path, source))
    with pytest.raises(KelpError, match=r"has no column program among text, repo_name: name it with text in \[data\]"):
        open_stream(section(tmp_path, f"files:{hub}/*.parquet", text="program"))
    pq.write_table(pa.table({"text": [3]}), tmp_path / "numbers.parquet")
    pq.write_table(pa.table({"tokens": [["a", "b"]]}), tmp_path / "words.parquet")
    pq.write_table(pa.table({"tokens": [[1, 999]]}), tmp_path / "other.parquet")
    for name, sentence in {
        "numbers": r"has no text in its column text: name another with text in \[data\]",
        "words": "has no text in its column tokens",
        "other": "a document holds the token 999, and the tokenizer has ",
    }.items():
        with pytest.raises(KelpError, match=sentence):
            open_stream(section(tmp_path, f"files:{tmp_path}/{name}.parquet"))
    for settings, sentence in (
        ({"streaming": True}, "streaming = true takes exactly one source, an hf: one"),
        ({"mask": "<|endoftext|>"}, "the mask token must not be the end-of-text or the padding token"),
    ):
        with pytest.raises(ValidationError, match=sentence):
            section(tmp_path, f"files:{hub}/*.parquet", **settings)
    with pytest.raises(ValidationError, match="'toy' is no source: sources are files:GLOB"):
        section(tmp_path, "toy")


def test_tokens_of_another_recipe_are_not_taken(tmp_path: Path, hub: Path) -> None:
    prepare(section(tmp_path, f"files:{hub}/*.parquet"), TOKENIZER)
    with pytest.raises(KelpError, match=r"made with valid_share = 0.1, not 0.2: give \[data\] another folder"):
        prepare(section(tmp_path, f"files:{hub}/*.parquet", valid_share=0.2), TOKENIZER)
    with pytest.raises(KelpError, match="holds tokens made with tokenizer = "):
        prepare(section(tmp_path, f"files:{hub}/*.parquet"), Tokenizer.train(TEXT, 270))
