"""A language model as a folder in Hugging Face's layout, which `transformers` loads as the Llama that it is.

config.json has, beside the Llama's keys, a section `diffusion`: special tokens and order of prediction
(`DiffusionConfig`), the SHA-256 of the weights, and where they come from.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from kelp.lm.card import model_card
from kelp.lm.config import DiffusionConfig
from kelp.lm.tokenizer import Special, Tokenizer
from kelp.model.config import TransformerConfig
from kelp.model.folder import replacing
from kelp.model.llama import dtype_keys, llama_keys, to_tensors
from kelp.model.pretrained import read_llama
from kelp.model.store import find
from kelp.model.tensors import WEIGHTS, ModelError, read_json, write_tensors
from kelp.model.transformer import Transformer


def save_lm(
    out: Path,
    weights: Mapping[str, np.ndarray],
    sizes: TransformerConfig,
    cfg: DiffusionConfig,
    *,
    files: Sequence[Path],
    length: int,
    dtype: str = "float32",
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder beside its place, then move it there whole. Raises ModelError.

    `weights` are the leaves of a Transformer by name, stored as `dtype`; `length` is the number of positions that the
    model knows. `files`, tokenizer.json among them, are copied into the folder; README.md is the model card.
    """
    with replacing(out, files) as new:
        sha256 = write_tensors(new / WEIGHTS, to_tensors(weights, dtype))
        keys = llama_keys(sizes) | {
            **dtype_keys(dtype),
            "max_position_embeddings": length,
            "bos_token_id": cfg.end,
            "eos_token_id": cfg.end,
            "pad_token_id": cfg.pad,
            "diffusion": cfg.to_dict() | {"sha256": sha256, "origin": dict(origin or {})},
        }
        (new / "config.json").write_text(json.dumps(keys, indent=2) + "\n", encoding="utf-8")
        parameters = sum(leaf.size for leaf in weights.values())
        card = model_card(out.name, parameters, sizes, cfg, length, origin or {})
        (new / "README.md").write_text(card, encoding="utf-8")


def load_lm(
    folder: Path | str, *, autoregressive: bool = False, dtype: str | None = None, mesh: Mesh | None = None
) -> tuple[Transformer, DiffusionConfig]:
    """The model of a folder or of an imported model's name, and how it predicts. Raises ModelError.

    With `autoregressive`, a Llama of another origin is read too, as a model that predicts one token after the other.
    Weights keep their stored type where `dtype` is None, and are placed on `mesh` where one is given.
    """
    folder = find(folder)
    keys = read_json(folder / "config.json")
    section = keys.get("diffusion")
    if section is None and "kelp" in keys:
        raise ModelError(f"{folder} holds an edit model: give the folder of a language model.")
    if section is None and not autoregressive:
        raise ModelError(f"{folder} holds an autoregressive model: adapt it by `kelp train`, or read it as one.")
    try:
        cfg = _autoregressive(keys) if section is None else _diffusion(section, keys["vocab_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}/config.json is of no language model that Kelp computes: {error}.") from None
    if section is not None and (folder / WEIGHTS).is_file():
        with (folder / WEIGHTS).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != section.get("sha256"):
                raise ModelError(f"{folder / WEIGHTS} is damaged (its SHA-256 differs): fetch the model again.")
    return read_llama(folder, dtype=dtype, mesh=mesh), cfg


def load_tokenizer(folder: Path, cfg: DiffusionConfig) -> Tokenizer:
    """The tokenizer of a folder with the special tokens of its model. Raises KelpError."""
    bpe = Tokenizer.load(folder).bpe
    names = {name: bpe.id_to_token(getattr(cfg, name)) for name in ("end", "mask", "pad")}
    return Tokenizer.load(folder, Special(**{name: text for name, text in names.items() if text is not None}))


def _diffusion(section: Mapping[str, Any], vocab_size: int) -> DiffusionConfig:
    cfg = DiffusionConfig(**{field.name: section[field.name] for field in fields(DiffusionConfig)})
    if max(cfg.mask, cfg.end, cfg.pad) >= vocab_size:
        raise ValueError(f"a special token is past the {vocab_size} tokens of the vocabulary")
    return cfg


def _autoregressive(keys: Mapping[str, Any]) -> DiffusionConfig:
    """The order of prediction of an autoregressive Llama. It has no mask token: that id is past its vocabulary."""
    end = keys["eos_token_id"]
    end = end[0] if isinstance(end, list) else end
    pad = keys.get("pad_token_id")
    return DiffusionConfig(mask=keys["vocab_size"], end=end, pad=end if pad is None else pad, block=1)
