"""Models read from folders in Hugging Face's layout onto devices, and written there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from kelp.model.denoiser import Denoiser
from kelp.model.folder import open_model
from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.llama import by_leaf, dtype_keys, llama_config, llama_keys, to_tensors, transformer_shapes
from kelp.model.tensors import WEIGHTS, Int8, array, open_tensors, read_json, release, write_tensors
from kelp.model.transformer import Transformer, shardings


def read_llama(
    folder: Path, *, dtype: str | None = None, mesh: Mesh | None = None, compute_dtype: str = "float32"
) -> Transformer:
    """The Transformer of a Hugging Face folder, one file of weights or several. Raises ModelError.

    Weights keep their stored type where `dtype` is None, and are placed on `mesh` where one is given.
    """
    cfg = llama_config(read_json(folder / "config.json"), folder, compute_dtype=compute_dtype)
    views = by_leaf(transformer_shapes(cfg), open_tensors(folder), folder)
    return fill(jax.eval_shape(lambda key: Transformer.init(cfg, key=key), jax.random.key(0)), views, dtype, mesh)


def load_model(folder: Path, *, dtype: str | None = None, mesh: Mesh | None = None) -> tuple[Denoiser, dict[str, Any]]:
    """A denoiser, and the section `kelp` of its config.json. Raises ModelError.

    Weights keep their stored type where `dtype` is None, and are placed on `mesh` where one is given.
    """
    cfg, views, section = open_model(folder)
    return fill(jax.eval_shape(lambda key: Denoiser.init(cfg, key=key), jax.random.key(0)), views, dtype, mesh), section


def with_tokens(model: Transformer, tokens: int) -> dict[str, jax.Array]:
    """The weights by name, with rows for so many tokens, at least those that there are: the mean of all rows."""
    weights: dict[str, jax.Array] = named_leaves(model)
    for name in {"embedding", "unembedding"} & weights.keys():
        more = max(0, tokens - len(weights[name]))
        mean = jnp.broadcast_to(weights[name].mean(axis=0), (more, model.cfg.dim))
        weights[name] = jnp.concatenate([weights[name], mean])
    return weights


def write_llama(
    folder: Path, model: Transformer, *, dtype: str | None = None, keys: Mapping[str, Any] | None = None
) -> None:
    """Write config.json and model.safetensors, which `transformers` loads, into a folder.

    `keys` join those of the configuration: max_position_embeddings, bos_token_id, ... `dtype` None keeps the weights'.
    """
    folder.mkdir(parents=True, exist_ok=True)
    leaves = named_leaves(model)
    write_tensors(folder / WEIGHTS, to_tensors(leaves, dtype))
    config = llama_keys(model.cfg) | dtype_keys(dtype or leaves["embedding"].dtype.name) | dict(keys or {})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def fill(
    shape: Any, stored: Mapping[str, np.ndarray | Int8], dtype: str | None = None, mesh: Mesh | None = None
) -> Any:
    """A pytree of shapes with its leaves from `stored`, by name, each copied onto its place before the next is read.

    `dtype` None keeps that of the stored array. With a mesh, each device gets its own part alone (see `shardings`).
    """
    places = None if mesh is None else named_leaves(shardings(shape, mesh))

    def place(name: str) -> jax.Array:
        view = stored[name]
        if places is None:
            placed = jnp.asarray(array(view, dtype))  # a copy: no array may share the mapped memory
        else:
            placed = jax.make_array_from_callback(view.shape, places[name], lambda index: array(view, dtype, index))
        release(view)
        return placed

    return with_leaves(shape, {name: place(name) for name in named_leaves(shape)})
