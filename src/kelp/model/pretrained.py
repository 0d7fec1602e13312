"""Llama models in Hugging Face's layout: config.json and weights under its names, read and written.

Marin, SmolLM2 and Llama 2 and 3 have this layout. A model of another layout is refused by the key that says so.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from kelp.model.config import RopeScaling, TransformerConfig
from kelp.model.leaves import named_leaves
from kelp.model.tensors import DTYPES, WEIGHTS, ModelError, fill, open_tensors, read_json, write_tensors
from kelp.model.transformer import Transformer

# Leaf of a Transformer -> name in a Llama checkpoint. Projections are stored as matrices [outputs, inputs].
NAMES = {
    "embedding": "model.embed_tokens.weight",
    "norm.scale": "model.norm.weight",
    "unembedding": "lm_head.weight",
}
BLOCK_NAMES = {
    "attention_norm.scale": "input_layernorm.weight",
    "attention.query": "self_attn.q_proj.weight",
    "attention.key": "self_attn.k_proj.weight",
    "attention.value": "self_attn.v_proj.weight",
    "attention.out": "self_attn.o_proj.weight",
    "mlp_norm.scale": "post_attention_layernorm.weight",
    "mlp.gate": "mlp.gate_proj.weight",
    "mlp.up": "mlp.up_proj.weight",
    "mlp.down": "mlp.down_proj.weight",
}
# Keys of config.json that change what a Llama computes, with the one value that Kelp supports.
SUPPORTED_VALUES = {
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "qkv_bias": False,
    "use_qk_norm": False,
    "qk_norm": False,
    "sliding_window": None,
    "quantization_config": None,
    "partial_rotary_factor": 1.0,
}


def read_llama(
    folder: Path, *, dtype: str | None = None, mesh: Mesh | None = None, compute_dtype: str = "float32"
) -> Transformer:
    """The Transformer of a Hugging Face folder, one file of weights or several. Raises ModelError.

    Weights keep their stored type where `dtype` is None, and are placed on `mesh` where one is given.
    """
    cfg = llama_config(read_json(folder / "config.json"), folder, compute_dtype=compute_dtype)
    shape = jax.eval_shape(lambda key: Transformer.init(cfg, key=key), jax.random.key(0))
    return fill(shape, by_leaf(shape, open_tensors(folder), folder), dtype, mesh)


def write_llama(
    folder: Path, model: Transformer, *, dtype: str | None = None, keys: Mapping[str, Any] | None = None
) -> None:
    """Write config.json and model.safetensors, which `transformers` loads, into a folder.

    `keys` join those of the configuration: max_position_embeddings, bos_token_id, ... `dtype` None keeps the weights'.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = to_tensors(named_leaves(model), dtype)
    write_tensors(folder / WEIGHTS, tensors)
    stored = next(iter(tensors.values()))[0].name
    config = llama_keys(model.cfg) | {"torch_dtype": stored} | dict(keys or {})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def llama_config(keys: Mapping[str, Any], folder: Path, **computing: Any) -> TransformerConfig:
    """The configuration in a Llama's config.json; `computing` sets `compute_dtype` and `remat`. Raises ModelError."""
    rope: dict[str, Any] = {"rope_theta": keys.get("rope_theta")}
    rope |= keys.get("rope_scaling") or keys.get("rope_parameters") or {}
    for key, only in SUPPORTED_VALUES.items():
        value = rope.pop(key, keys.get(key, only))
        if value != only:
            raise ModelError(f"{folder} has {key} = {value!r} in config.json, and Kelp computes {only!r} alone.")
    theta, kind = rope.pop("rope_theta"), rope.pop("rope_type", rope.pop("type", "default"))
    if kind not in ("default", "linear", "llama3"):
        raise ModelError(
            f"{folder} has rope_type = {kind!r} in config.json, and Kelp computes linear and llama3 alone."
        )
    try:
        heads = keys["num_attention_heads"]
        return TransformerConfig(
            vocab_size=keys["vocab_size"],
            dim=keys["hidden_size"],
            layers=keys["num_hidden_layers"],
            heads=heads,
            kv_heads=keys.get("num_key_value_heads") or heads,
            mlp_dim=keys["intermediate_size"],
            head_dim=keys.get("head_dim") or 0,
            rope_theta=theta or 10000.0,
            rope_scaling=None if kind == "default" else RopeScaling(kind, **rope),
            norm_eps=keys.get("rms_norm_eps", 1e-6),
            tie_embeddings=keys.get("tie_word_embeddings", False),
            **computing,
        )
    except KeyError as error:
        raise ModelError(f"{folder}/config.json lacks {error}: it is no Llama's.") from None
    except (TypeError, ValueError) as error:
        raise ModelError(f"{folder}/config.json is of no Llama that Kelp computes: {error}.") from None


def llama_keys(cfg: TransformerConfig) -> dict[str, Any]:
    """The keys of a Llama's config.json, as every release of `transformers` reads them."""
    scaling = cfg.rope_scaling and {k: v for k, v in asdict(cfg.rope_scaling).items() if v is not None}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": cfg.vocab_size,
        "hidden_size": cfg.dim,
        "intermediate_size": cfg.mlp_dim,
        "num_hidden_layers": cfg.layers,
        "num_attention_heads": cfg.heads,
        "num_key_value_heads": cfg.kv_heads,
        "head_dim": cfg.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": cfg.norm_eps,
        "rope_theta": cfg.rope_theta,
        "rope_scaling": scaling,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": cfg.tie_embeddings,
    }


def stored_name(leaf: str) -> str:
    """The name on disk of a leaf of a Transformer or, with "transformer." before it, of a model around one."""
    name = leaf.removeprefix("transformer.")
    if not name.startswith("blocks."):
        return NAMES.get(name, leaf)
    _, number, rest = name.split(".", 2)
    return f"model.layers.{number}.{BLOCK_NAMES[rest]}"


def input_axes(leaf: str) -> int:
    """The leading axes of a projection that are its inputs; 0 for a leaf that is stored as it is."""
    if ".attention." in leaf or ".mlp." in leaf:
        return 3 if leaf.endswith(".attention.out") else 1
    return 0


def by_leaf(shape: Any, stored: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Views of the stored tensors in the leaves' layout and under their names. Raises ModelError where one differs."""
    views, rest = {}, dict(stored)
    for leaf, wanted in named_leaves(shape).items():
        name, inputs = stored_name(leaf), input_axes(leaf)
        on_disk = _matrix(wanted.shape, inputs)
        found = rest.pop(name, None)
        if found is None or found.shape != on_disk:
            fault = "is missing" if found is None else f"has shape {found.shape} where config.json says {on_disk}"
            raise ModelError(f"{name} {fault} in {folder}: fetch the model again.")
        views[leaf] = (found.T if inputs else found).reshape(wanted.shape)
    # Older checkpoints hold the rotary frequencies, and some a second copy of tied embeddings.
    unknown = [name for name in rest if not name.endswith("rotary_emb.inv_freq") and name != NAMES["unembedding"]]
    if unknown:
        raise ModelError(f"{folder} holds {min(unknown)}, which is no part of a Llama that Kelp computes.")
    return views


def to_tensors(leaves: Mapping[str, Any], dtype: str | None) -> dict[str, Any]:
    """The leaves as `write_tensors` takes them."""

    def entry(leaf: str, array: Any) -> Any:
        inputs = input_axes(leaf)

        def make() -> np.ndarray:
            values = np.asarray(array)
            return values.reshape(_matrix(values.shape, inputs)[::-1]).T if inputs else values

        return DTYPES[dtype or array.dtype.name], _matrix(array.shape, inputs), make

    return {stored_name(leaf): entry(leaf, array) for leaf, array in leaves.items()}


def _matrix(shape: tuple[int, ...], inputs: int) -> tuple[int, ...]:
    """The shape on disk: (outputs, inputs) of a projection."""
    return (math.prod(shape[inputs:]), math.prod(shape[:inputs])) if inputs else shape
