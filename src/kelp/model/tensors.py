"""Weights on disk: safetensors files, read by memory map and written one array at a time.

A matrix in int8 has a float32 scale a row beside it, under its name and SCALE.
"""

import hashlib
import json
import math
import mmap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CODES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "I8": "int8"}
INT8 = np.dtype(np.int8)
BITS = np.dtype([("bfloat16", "<u2")])  # bfloat16 as its bits
WEIGHTS, INDEX, SCALE = "model.safetensors", "model.safetensors.index.json", "_scale"


class Tensor(NamedTuple):
    """Type, shape and maker of an array that is not in memory yet."""

    dtype: np.dtype
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Int8:
    """A view of weights in int8, which gives float32 where it is indexed."""

    values: np.ndarray
    scales: np.ndarray  # of the same shape, by broadcasting

    shape = property(lambda self: self.values.shape)
    dtype = np.dtype(np.float32)

    def __getitem__(self, index: Any) -> np.ndarray:
        product: np.ndarray = self.values[index] * self.scales[index]
        return product


def dtype_of(name: str) -> np.dtype:
    """The type of this name."""
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes  # takes a second: a search reads the bits in place of it

    return np.dtype(ml_dtypes.bfloat16)


class ModelError(RuntimeError):
    """A model cannot be read or written; the message is one sentence that says what to do."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ModelError."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent} is no model folder: {path.name} is missing.") from None
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict):
        raise ModelError(f"{path} is damaged: fetch the model again.")
    return values


def open_tensors(folder: Path, *, bits: bool = False) -> dict[str, np.ndarray]:
    """Every tensor of a model folder, of one file or of several with an index, by name. Raises ModelError.

    The arrays are memory-mapped and read-only: only those parts of the files are read that are used. With `bits`, those
    in bfloat16 are of the type `BITS`, which `array` takes.
    """
    files = {WEIGHTS}
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX).get("weight_map")
        if not isinstance(index, dict):
            raise ModelError(f"{folder / INDEX} has no weight_map: fetch the model again.")
        files = set(index.values())
    tensors: dict[str, np.ndarray] = {}
    for name in sorted(files):
        tensors |= _open(folder / name, bits)
    return tensors


def _open(path: Path, bits: bool) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ModelError(f"{path.parent} is no model folder: {path.name} is missing.")
    try:
        data = np.memmap(path, mode="r")
        start = 8 + int.from_bytes(data[:8].tobytes(), "little")
        header = json.loads(data[8:start].tobytes())
        header.pop("__metadata__", None)
        tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            if entry["dtype"] not in CODES:
                raise ModelError(f"{path} holds {name} as {entry['dtype']}, and only {', '.join(CODES)} can be read.")
            name_of_type, shape = CODES[entry["dtype"]], tuple(entry["shape"])
            dtype = BITS if bits and name_of_type == "bfloat16" else dtype_of(name_of_type)
            if end - begin != dtype.itemsize * math.prod(shape):
                raise ValueError(name)
            tensors[name] = np.ndarray(shape, dtype, data, start + begin)
    except (ValueError, KeyError, TypeError, OSError, AttributeError):
        raise ModelError(f"{path} is damaged: fetch the model again.") from None
    return tensors


def array(view: np.ndarray | Int8, dtype: str | None = None, index: Any = ...) -> np.ndarray:
    """A copy of a stored array, or of a part of it, in the type of this name; None keeps its own."""
    part = view[index]
    if view.dtype == BITS:
        part = (part["bfloat16"].astype(np.uint32) << 16).view(np.float32)
    return np.array(part, dtype_of(dtype) if dtype else view.dtype)


def release(view: np.ndarray | Int8) -> None:
    """Give back the memory of a mapped file; what is read again comes from the file."""
    base: Any = view.values if isinstance(view, Int8) else view
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def stored_as(tensors: Mapping[str, Tensor], dtype: str | None) -> dict[str, Tensor]:
    """The tensors in float32, float16, bfloat16 or int8; None keeps theirs. In int8 vectors stay in float32."""
    if dtype is None:
        return dict(tensors)
    if dtype != INT8.name:
        return {name: tensor._replace(dtype=dtype_of(dtype)) for name, tensor in tensors.items()}
    found = {}
    for name, (_, shape, make) in tensors.items():
        if len(shape) == 1:
            found[name] = Tensor(dtype_of("float32"), shape, make)
            continue
        found[name + SCALE] = Tensor(dtype_of("float32"), (shape[0], 1), partial(_scales, make))
        found[name] = Tensor(INT8, shape, partial(_whole_numbers, make))
    return found


def _scales(make: Callable[[], np.ndarray]) -> np.ndarray:
    """Scales [rows, 1] that take the largest weight of each row to 127."""
    matrix = make()
    largest = np.abs(matrix.reshape(len(matrix), -1)).max(axis=1, keepdims=True).astype(np.float32)
    return np.where(largest > 0, largest / 127, np.float32(1))


def _whole_numbers(make: Callable[[], np.ndarray]) -> np.ndarray:
    matrix = make().astype(np.float32)
    scales = _scales(lambda: matrix)
    rounded: np.ndarray = np.rint(matrix / scales.reshape(-1, *[1] * (matrix.ndim - 1))).astype(np.int8)
    return rounded


def write_tensors(path: Path, tensors: Mapping[str, Tensor], written: Callable[[], None] = lambda: None) -> str:
    """Write a safetensors file; returns its SHA-256 in hex digits. `written` is called after each tensor."""
    codes, header, end = {name: code for code, name in CODES.items()}, dict[str, Any](), 0
    for name, (dtype, shape, _) in tensors.items():
        begin, end = end, end + dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": codes[dtype.name], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()  # transformers reads no other format
    text += b" " * (-len(text) % 8)

    def parts() -> Iterable[Any]:
        yield len(text).to_bytes(8, "little") + text
        for dtype, shape, make in tensors.values():
            yield np.ascontiguousarray(make().reshape(shape), dtype).reshape(-1).view(np.uint8)
            written()

    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in parts():
            file.write(part)
            digest.update(part)
    return digest.hexdigest()
