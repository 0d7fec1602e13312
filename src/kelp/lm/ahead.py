"""Tokens made ahead of training, as files.

`bin`, which training reads: in train.bin and valid.bin each document is the end-of-text token and its own tokens, as
little-endian uint16, or uint32 where the vocabulary has more than 65,536 tokens; train.npy and valid.npy hold the place
where each document starts, and the end (int64). `parquet` and `jsonl`, for other programs: one row a document with
`split` ("train" or "valid"), `bytes` (of its text in UTF-8) and `tokens` (none of them special). Such a file is itself
a source of documents, files:tokens.parquet. meta.json, written last, says what the tokens were made of.
"""

import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from kelp.errors import KelpError
from kelp.files import atomic
from kelp.lm.text import TOGETHER, DataSection, documents, encode, origin
from kelp.lm.tokenizer import Tokenizer

Form = Literal["bin", "parquet", "jsonl"]
Progress = Callable[[str, int, int | None], None]
Encoded = Iterable[tuple[list[int], bool]]  # tokens of a document, and whether it is held out
SPLITS = ("train", "valid")


class Tokens(NamedTuple):
    """Documents one after the other, each the end-of-text token and its own tokens."""

    flat: np.ndarray
    starts: np.ndarray  # of each document in `flat`, and the end

    @classmethod
    def of(cls, texts: Iterable[list[int]], end: int) -> "Tokens":
        found = [np.array([end, *text]) for text in texts]
        starts = np.cumsum([0, *map(len, found)])
        return cls(np.concatenate([np.zeros(0, np.int64), *found]), starts)

    @classmethod
    def read(cls, folder: Path, split: str) -> "Tokens":
        """Documents of a folder in the form `bin`, left on disk until they are used."""
        starts = np.load(folder / f"{split}.npy")
        kind = np.dtype(json.loads((folder / "meta.json").read_text())["numbers"])
        flat = np.memmap(folder / f"{split}.bin", kind, "r") if starts[-1] else np.zeros(0, kind)
        return cls(flat, starts)

    def first(self, count: int) -> "Tokens":
        """The first documents."""
        return Tokens(self.flat, self.starts[: count + 1])


def made_of(section: DataSection, tokenizer: Tokenizer, form: Form = "bin") -> dict[str, Any]:
    """Settings that decide what a folder of tokens holds."""
    names = {"sources", "text", "split", "revision", "streaming", "valid_share"}
    names |= {"valid_documents"} if section.streaming else set()
    return section.model_dump(mode="json", include=names) | {"tokenizer": tokenizer.fingerprint, "form": form}


def check_made_of(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Raise KelpError where a folder was made with other settings."""
    for key, new in wanted.items():
        if (old := found.get(key)) != new:
            message = f"{folder} holds tokens made with {key} = {old!r}, not {new!r}"
            raise KelpError(message, "give [data] another folder, or delete this one")


def prepare(section: DataSection, tokenizer: Tokenizer, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Make the tokens of a recipe in its folder, unless they are there, and return meta.json. Raises KelpError."""
    path = section.folder / "meta.json"
    if not path.exists():
        return write(section, tokenizer, section.folder, "bin", progress)
    meta: dict[str, Any] = json.loads(path.read_text())
    check_made_of(meta["made_of"], made_of(section, tokenizer), section.folder)
    return meta


def write(
    section: DataSection, tokenizer: Tokenizer, out: Path, form: Form, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Tokenize the documents of a recipe into files, of a stream the held-out ones alone, and return meta.json."""
    numbers = np.dtype("<u2" if tokenizer.size <= 1 << 16 else "<u4")
    counts = {split: dict.fromkeys(("documents", "tokens", "bytes"), 0) for split in SPLITS}

    def counted(encoded: Encoded) -> Iterator[tuple[list[int], bool]]:
        for number, (tokens, valid) in enumerate(encoded):
            count = counts[SPLITS[valid]]
            count["documents"] += 1
            count["tokens"] += len(tokens)
            count["bytes"] += int(tokenizer.widths[tokens].sum())
            if number % TOGETHER == 0:
                progress("documents", number, None)
            yield tokens, valid

    found = documents(section)
    if section.streaming:
        enough = round(2 * section.valid_documents / section.valid_share) if section.valid_share else 0
        found = islice((d for d in islice(found, enough) if d.valid), section.valid_documents)
    meta = {"made_of": made_of(section, tokenizer, form), "origin": origin(section), "numbers": numbers.str}
    out.mkdir(parents=True, exist_ok=True)
    (out / "meta.json").unlink(missing_ok=True)  # a folder without it is not finished
    encoded = counted(encode(found, tokenizer))
    match form:
        case "bin":
            _write_bin(encoded, out, numbers, tokenizer.end)
        case "parquet":
            _write_parquet(encoded, out / "tokens.parquet", tokenizer)
        case "jsonl":
            with atomic(out / "tokens.jsonl") as new, new.open("w", encoding="utf-8") as file:
                for row in _rows(encoded, tokenizer):
                    file.write(json.dumps(row) + "\n")
    if not counts["train"]["documents"] and not section.streaming:
        raise KelpError(f"{', '.join(section.sources)} hold no text to train on")
    tokenizer.save(out)
    with atomic(out / "meta.json") as new:
        new.write_text(json.dumps(meta | counts, indent=1) + "\n")
    return meta | counts


def _write_bin(encoded: Encoded, out: Path, numbers: np.dtype[Any], end: int) -> None:
    with ExitStack() as stack:
        files = [stack.enter_context(stack.enter_context(atomic(out / f"{s}.bin")).open("wb")) for s in SPLITS]
        starts = [array("q", [0]), array("q", [0])]
        for tokens, valid in encoded:
            files[valid].write(np.array([end, *tokens], numbers).tobytes())
            starts[valid].append(starts[valid][-1] + 1 + len(tokens))
        for split, places in zip(SPLITS, starts):
            np.save(out / f"{split}.npy", np.array(places, np.int64))


def _write_parquet(encoded: Encoded, path: Path, tokenizer: Tokenizer) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("split", pa.string()), ("bytes", pa.int32()), ("tokens", pa.list_(pa.int32()))])
    rows = _rows(encoded, tokenizer)
    with atomic(path) as new, pq.ParquetWriter(new, schema, compression="zstd") as writer:
        while batch := list(islice(rows, TOGETHER)):
            writer.write_table(pa.Table.from_pylist(batch, schema))


def _rows(encoded: Encoded, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    for tokens, valid in encoded:
        yield {"split": SPLITS[valid], "bytes": int(tokenizer.widths[tokens].sum()), "tokens": tokens}
