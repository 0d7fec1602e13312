"""A model to import: its configuration, the makers of its tensors, and its tokenizer; written as a model folder.

Nothing is read but headers until a tensor is written, and one tensor is in memory at a time.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kelp.model.folder import replacing
from kelp.model.llama import NAMES, check_tensors, dtype_keys, is_spare, llama_config, transformer_shapes
from kelp.model.tensors import INT8, WEIGHTS, ModelError, Tensor, open_tensors, read_json, stored_as, write_tensors

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")  # tokens between documents; a chat model's own end is another
COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


@dataclass(frozen=True)
class Source:
    """A Llama under Hugging Face's names."""

    path: Path
    keys: dict[str, Any]  # of config.json
    tensors: dict[str, Tensor]
    files: dict[str, str]  # content of tokenizer.json and its companions
    origin: dict[str, Any] = field(default_factory=dict)  # name, license, ...

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(tensor.shape)) for tensor in self.tensors.values())


def open_folder(folder: Path) -> Source:
    """The model of a Hugging Face folder, one file of weights or several. Raises ModelError."""
    keys = read_json(folder / "config.json")
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{folder} holds no tokenizer.json: save the model with its fast tokenizer.")
    if "kelp" in keys or "diffusion" in keys:
        raise ModelError(f"{folder} holds a model that Kelp trained: use it as it is.")
    llama_config(keys, folder)
    tied = keys.get("tie_word_embeddings", False)
    stored = {
        name: array
        for name, array in open_tensors(folder).items()
        if not is_spare(name) or (name == NAMES["unembedding"] and not tied)
    }
    if any(array.dtype == INT8 for array in stored.values()):
        raise ModelError(f"{folder} holds int8 weights: import the model that they were made from.")
    tensors = {name: Tensor(array.dtype, array.shape, partial(np.asarray, array)) for name, array in stored.items()}
    files = {
        name: (folder / name).read_text(encoding="utf-8")
        for name in ("tokenizer.json", *COMPANIONS)
        if (folder / name).is_file()
    }
    return Source(folder, keys, tensors, files, {"license": _license(folder)} if _license(folder) else {})


def _license(folder: Path) -> str | None:
    """The license that the head of a model card names."""
    if not (folder / "README.md").is_file():
        return None
    head = (folder / "README.md").read_text(encoding="utf-8", errors="replace").split("\n---", 1)[0]
    lines = (line.partition(":") for line in head.splitlines())
    return next((value.strip() for key, _, value in lines if key == "license" and value.strip()), None)


def cut_vocabulary(source: Source, kept: Sequence[int], tokenizer: str) -> Source:
    """The model with other tokens: `kept` gives the old id of each new token, -1 for a new one.

    A new token gets the mean of all rows. Ids in the configuration follow their tokens.
    """
    rows = np.array(kept)

    def make(old: Tensor) -> np.ndarray:
        table = old.make()
        new = table[np.maximum(rows, 0)]
        new[rows < 0] = table.astype(np.float32).mean(axis=0)
        return new

    tensors = dict(source.tensors)
    for name in (NAMES["embedding"], NAMES["unembedding"]):
        if name in tensors:
            old = tensors[name]
            tensors[name] = Tensor(old.dtype, (len(rows), *old.shape[1:]), partial(make, old))
    new_id = {int(old): new for new, old in enumerate(kept) if old >= 0}

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [new_id[token] for token in value if token in new_id]
        return new_id.get(value)

    ids = {key: moved(value) for key, value in source.keys.items() if key.endswith("_token_id")}
    keys = source.keys | ids | {"vocab_size": len(rows)}
    # A generation_config.json has ids too.
    files = {name: text for name, text in source.files.items() if name != "generation_config.json"}
    return replace(source, keys=keys, tensors=tensors, files=files | {"tokenizer.json": tokenizer})


def write_model(
    out: Path,
    source: Source,
    *,
    dtype: str | None = None,
    origin: Mapping[str, Any] | None = None,
    written: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write a model folder beside its place, then move it there whole; returns its section `import`.

    Weights are stored as `dtype` (float32, bfloat16 or int8; None keeps the source's). `origin` joins the section;
    `written` is called after each tensor. Raises ModelError.
    """
    config = llama_config(source.keys, source.path)
    check_tensors(
        transformer_shapes(config), {name: tensor.shape for name, tensor in source.tensors.items()}, source.path
    )
    stored = dtype or source.tensors[NAMES["embedding"]].dtype.name
    if (out / "config.json").is_file() and "import" not in read_json(out / "config.json"):
        raise ModelError(f"{out} holds a model that was not imported: choose another folder.")
    keys = {key: value for key, value in source.keys.items() if key not in ("dtype", "torch_dtype")}
    keys |= {"eos_token_id": _ends(source), **dtype_keys(stored)}
    with replacing(out, keep=False) as new:
        sha256 = write_tensors(new / WEIGHTS, stored_as(source.tensors, dtype), written)
        section = {
            "sha256": sha256,
            "parameters": source.parameters,
            "dtype": stored,
            **source.origin,
            **(origin or {}),
        }
        for name, text in source.files.items():
            (new / name).write_text(text, encoding="utf-8")
        text = json.dumps(keys | {"import": section}, indent=2) + "\n"
        (new / "config.json").write_text(text, encoding="utf-8")
    return section


def _ends(source: Source) -> list[int]:
    """The ids of the tokens that end a text, the one between documents first. Raises ModelError."""
    added = {token["content"]: token["id"] for token in json.loads(source.files["tokenizer.json"])["added_tokens"]}
    given = source.keys.get("eos_token_id")
    ends = [added[name] for name in END_OF_TEXT if name in added]
    ends += given if isinstance(given, list) else [] if given is None else [given]
    if not ends:
        raise ModelError(f"{source.path} names no token that ends a text (eos_token_id in config.json).")
    return list(dict.fromkeys(ends))
