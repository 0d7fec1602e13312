"""A denoiser as a folder in Hugging Face's layout: config.json, model.safetensors and the encoding's files.

Its transformer part is a Llama that `transformers` loads. config.json has, beside the Llama's keys, a section `kelp`:
the format, the pointer's sizes, the SHA-256 of the weights, and where they come from.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kelp.model.config import DenoiserConfig
from kelp.model.llama import by_leaf, denoiser_shapes, dtype_keys, llama_config, llama_keys, to_tensors
from kelp.model.tensors import WEIGHTS, Int8, ModelError, open_tensors, read_json, write_tensors

FORMAT = 2
KELP_KEYS = ("site_kinds", "pointer_dim", "prefix")
COMPUTING = ("compute_dtype", "remat")  # how to compute, no part of the model


def save_model(
    out: Path,
    leaves: Mapping[str, np.ndarray],
    config: DenoiserConfig,
    *,
    files: Sequence[Path],
    dtype: Literal["float32", "bfloat16", "int8"] = "float32",
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder beside its place, then move it there whole. Raises ModelError.

    `leaves` are a denoiser's, by name, stored as `dtype`. `files`, such as tokenizer.json, are copied into
    the folder; `origin` joins the section `kelp`. All other files of an older model in that place are kept.
    """
    sizes = config.to_dict()
    tokenizers = [_digest(file) for file in files if file.name == "tokenizer.json" and file.is_file()]
    with replacing(out, files) as new:
        sha256 = write_tensors(new / WEIGHTS, to_tensors(leaves, dtype))
        section = {
            "format": FORMAT,
            "sha256": sha256,
            **({"tokenizer_sha256": tokenizers[0]} if tokenizers else {}),
            "parameters": sum(leaf.size for leaf in leaves.values()),
            **{key: sizes[key] for key in (*KELP_KEYS, *COMPUTING)},
            **(origin or {}),
        }
        keys = llama_keys(config.transformer) | dtype_keys(dtype) | {"kelp": section}
        (new / "config.json").write_text(json.dumps(keys, indent=2) + "\n", encoding="utf-8")


@contextmanager
def replacing(out: Path, files: Sequence[Path] = (), *, keep: bool = True) -> Iterator[Path]:
    """Give a folder with copies of `files` to write a model into, then move it to `out` whole. Raises ModelError.

    All other files of an older model in that place are kept, unless told otherwise.
    """
    for file in files:
        if not file.is_file():
            raise ModelError(f"{file} is missing: a model folder needs the encoding that its data was made with.")
    if out.exists() and not (out / "config.json").is_file() and any(out.iterdir()):
        raise ModelError(f"{out} is not empty and holds no model: choose another folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        for file in files:
            shutil.copyfile(file, new / file.name)
        yield new
        if out.exists():
            for kept in out.iterdir() if keep else ():
                if not (new / kept.name).exists():
                    (shutil.copytree if kept.is_dir() else shutil.copy2)(kept, new / kept.name)
            os.replace(out, old)
        os.replace(new, out)


def open_model(
    folder: Path, *, bits: bool = False
) -> tuple[DenoiserConfig, dict[str, np.ndarray | Int8], dict[str, Any]]:
    """Sizes of a denoiser, views of its stored leaves, and the section `kelp` of its config.json. Raises ModelError.

    `bits` is that of `open_tensors`.
    """
    keys = read_json(folder / "config.json")
    for name in (WEIGHTS, "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} is no model folder: {name} is missing.")
    section: dict[str, Any] = keys["kelp"] if isinstance(keys.get("kelp"), dict) else keys
    version = section.get("format")
    if version is None and "model_type" in keys:
        raise ModelError(f"{folder} holds a language model without Kelp's pointer: give the folder of a Kelp model.")
    if version != FORMAT:
        raise ModelError(f"{folder} has format {version!r} and this Kelp reads {FORMAT}: update Kelp.")
    own_hashes = {WEIGHTS: section.get("sha256"), "tokenizer.json": section.get("tokenizer_sha256")}
    for name, digest in own_hashes.items():
        if _digest(folder / name) != digest and not (name == "tokenizer.json" and digest is None):  # older folders
            raise ModelError(f"{folder / name} is damaged (its SHA-256 differs): fetch the model again.")
    try:
        computing = {key: section[key] for key in COMPUTING}
        own = {"prefix": "bidirectional"} | section  # older folders lack the key
        config = DenoiserConfig(llama_config(keys, folder, **computing), *(own[key] for key in KELP_KEYS))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}/config.json is of no model that Kelp computes: {error}.") from None
    return config, by_leaf(denoiser_shapes(config), open_tensors(folder, bits=bits), folder), section


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
