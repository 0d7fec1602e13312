"""Files that travel: examples in compressed shards on the way there, weights in pieces on the way back. NumPy alone."""

import hashlib
import io
import json
import lzma
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kelp.encoding.batch import Example, SpanText

PIECE_BYTES = 16_000_000
MAX_PIECES = 4  # 64 MB together
INDEX = "pieces.json"
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "pb": 0, "lp": 0}]  # nearly all arrays are of single bytes


class TravelError(Exception):
    """The files cannot travel, or have not arrived whole; the message is one sentence."""


def save_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as columns, compressed by xz: neighbors, often of one function, share most of their tokens."""
    rows = np.concatenate([np.asarray(e.rows, np.int64) for e in examples])
    edits = [edit for e in examples for edit in e.edits]
    columns = {
        "sizes": np.array([(len(e.tokens), len(e.rows), len(e.correct), len(e.edits)) for e in examples]),
        "tokens": np.concatenate([np.asarray(e.tokens) for e in examples]),
        "first": np.diff(rows[:, 0], prepend=0),
        "length": rows[:, 1] - rows[:, 0],
        "kind": rows[:, 2],
        "correct": np.concatenate([np.asarray(e.correct) for e in examples]),
        "edits": np.array([(edit.start, edit.end, len(edit.tokens)) for edit in edits]).reshape(-1, 3),
        "written": np.concatenate([np.zeros(0, np.int64), *(np.asarray(edit.tokens) for edit in edits)]),
    }
    file = io.BytesIO()
    np.savez(file, **{name: _bytes_of(column) for name, column in columns.items()})
    path.write_bytes(lzma.compress(file.getvalue(), filters=FILTERS))


def load_examples(path: Path) -> list[Example]:
    """The examples of a file that `save_examples` wrote."""
    with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as file:
        columns = {name: _numbers_of(file[name]) for name in file.files}
    first = np.cumsum(columns["first"])
    rows = np.stack([first, first + columns["length"], columns["kind"]], axis=1)
    sizes = columns["sizes"].reshape(-1, 4)
    written = np.split(columns["written"], np.cumsum(columns["edits"].reshape(-1, 3)[:, 2])[:-1])
    edits = [SpanText(int(a), int(b), text) for (a, b, _), text in zip(columns["edits"].reshape(-1, 3), written)]
    ends = np.cumsum(sizes, axis=0)
    return [
        Example(columns["tokens"][t - n : t], rows[r - m : r], columns["correct"][c - k : c], tuple(edits[e - j : e]))
        for (t, r, c, e), (n, m, k, j) in zip(ends, sizes)
    ]


def _bytes_of(numbers: np.ndarray) -> np.ndarray:
    """Numbers as 16-bit ones, low bytes and then high bytes, which compress better apart. Raises TravelError."""
    small = numbers.astype("<i4").astype("<u2")
    if not (small.astype("<i2").astype(np.int64).ravel() == numbers.ravel()).all():
        raise TravelError("An example holds a number of more than 15 bits: use a smaller vocabulary.")
    return small.view(np.uint8).reshape(-1, 2).T


def _numbers_of(column: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(column.T).view("<i2")[:, 0].astype(np.int32)


def save_pieces(out: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write arrays and JSON to `out` in pieces of up to `PIECE_BYTES`, in place of earlier ones. Raises TravelError."""
    file = io.BytesIO()
    np.savez(file, **arrays, about=np.frombuffer(json.dumps(about).encode(), np.uint8))
    data = file.getvalue()
    count = math.ceil(len(data) / PIECE_BYTES)
    if count > MAX_PIECES:
        raise TravelError(f"The weights take {count} pieces, and only {MAX_PIECES} travel: train a smaller model.")
    new = out / "new"
    new.mkdir(parents=True, exist_ok=True)
    names = [f"piece-{number}.bin" for number in range(count)]
    for number, name in enumerate(names):
        (new / name).write_bytes(data[number * PIECE_BYTES : (number + 1) * PIECE_BYTES])
    (new / INDEX).write_text(json.dumps({"sha256": hashlib.sha256(data).hexdigest(), "pieces": names}))
    for name in [*names, INDEX]:  # whole, if the machine stops while they are written
        (new / name).replace(out / name)
    shutil.rmtree(new)


def load_pieces(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the JSON that `save_pieces` put into pieces. Raises TravelError."""
    try:
        index = json.loads((folder / INDEX).read_text())
        data = b"".join((folder / name).read_bytes() for name in index["pieces"])
    except (OSError, ValueError, KeyError) as error:
        raise TravelError(f"{folder} lacks pieces of a model ({error}).") from None
    if hashlib.sha256(data).hexdigest() != index["sha256"]:
        raise TravelError(f"The pieces in {folder} are damaged (their SHA-256 differs): copy them again.")
    with np.load(io.BytesIO(data)) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(arrays.pop("about").tobytes())
