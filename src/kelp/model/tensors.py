"""Weights on disk: safetensors files, read by memory map and written one array at a time."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax.sharding import Mesh

from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.transformer import shardings

CODES = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}
DTYPES = {dtype.name: dtype for dtype in CODES.values()}
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


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


def open_tensors(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of a model folder, of one file or of several with an index, by name. Raises ModelError.

    The arrays are memory-mapped and read-only: only those parts of the files are read that are used.
    """
    files = {WEIGHTS}
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX).get("weight_map")
        if not isinstance(index, dict):
            raise ModelError(f"{folder / INDEX} has no weight_map: fetch the model again.")
        files = set(index.values())
    tensors: dict[str, np.ndarray] = {}
    for name in sorted(files):
        tensors |= _open(folder / name)
    return tensors


def _open(path: Path) -> dict[str, np.ndarray]:
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
            dtype, shape = CODES[entry["dtype"]], tuple(entry["shape"])
            if end - begin != dtype.itemsize * math.prod(shape):
                raise ValueError(name)
            tensors[name] = np.ndarray(shape, dtype, data, start + begin)
    except (ValueError, KeyError, TypeError, OSError, AttributeError):
        raise ModelError(f"{path} is damaged: fetch the model again.") from None
    return tensors


def fill(shape: Any, stored: Mapping[str, np.ndarray], dtype: str | None = None, mesh: Mesh | None = None) -> Any:
    """A pytree of shapes with its leaves from `stored`, by name, each copied onto its place before the next is read.

    `dtype` None keeps that of the stored array. With a mesh, each device gets its own part alone (see `shardings`).
    """
    places = None if mesh is None else named_leaves(shardings(shape, mesh))

    def copy(view: np.ndarray, index: Any = ...) -> np.ndarray:  # no array may share the mapped memory
        return np.array(view[index], DTYPES[dtype] if dtype else view.dtype)

    def place(name: str) -> jax.Array:
        view = stored[name]
        if places is None:
            return jnp.asarray(copy(view))
        return jax.make_array_from_callback(view.shape, places[name], lambda index: copy(view, index))

    return with_leaves(shape, {name: place(name) for name in named_leaves(shape)})


def write_tensors(path: Path, tensors: Mapping[str, tuple[np.dtype, tuple[int, ...], Callable[[], np.ndarray]]]) -> str:
    """Write a safetensors file from each tensor's type, shape and maker; returns its SHA-256 in hex digits."""
    codes, header, end = {dtype: code for code, dtype in CODES.items()}, dict[str, Any](), 0
    for name, (dtype, shape, _) in tensors.items():
        begin, end = end, end + dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": codes[dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()  # transformers reads no other format
    text += b" " * (-len(text) % 8)

    def parts() -> Iterable[Any]:
        yield len(text).to_bytes(8, "little") + text
        for dtype, shape, make in tensors.values():
            yield np.ascontiguousarray(make().reshape(shape), dtype).reshape(-1).view(np.uint8)

    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in parts():
            file.write(part)
            digest.update(part)
    return digest.hexdigest()
