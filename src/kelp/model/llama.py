"""Hugging Face's layout of a Llama: keys of config.json, names and shapes of the weights on disk and of a model's.

Marin, SmolLM2 and Llama 2 and 3 have this layout. A model of another layout is refused by the key that says so.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kelp.model.config import DenoiserConfig, RopeScaling, TransformerConfig
from kelp.model.tensors import INT8, SCALE, Int8, ModelError, Tensor, stored_as

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
Shapes = Mapping[str, tuple[int, ...]]
INT8_KEYS = {"model_type": "llama_int8"}  # `transformers` would load such weights without their scales as a llama's


def llama_config(keys: Mapping[str, Any], folder: Path, **computing: Any) -> TransformerConfig:
    """The configuration in a Llama's config.json; `computing` sets `compute_dtype` and `remat`. Raises ModelError."""
    keys = {name: value for name, value in keys.items() if value != INT8_KEYS.get(name, ...)}
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


def dtype_keys(dtype: str) -> dict[str, Any]:
    """The keys of a config.json that say how the weights are stored."""
    return {"torch_dtype": "float32"} | INT8_KEYS if dtype == INT8.name else {"torch_dtype": dtype}


def stored_name(leaf: str) -> str:
    """The name on disk of a leaf of a Transformer or, with "transformer." before it, of a model around one."""
    name = leaf.removeprefix("transformer.")
    if not name.startswith("blocks."):
        return NAMES.get(name, leaf)
    _, number, rest = name.split(".", 2)
    return f"model.layers.{number}.{BLOCK_NAMES[rest]}"


def transformer_shapes(cfg: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of a transformer's leaves by name."""
    D, K, G, H, F = cfg.dim, cfg.kv_heads, cfg.heads // cfg.kv_heads, cfg.head_dim, cfg.mlp_dim
    block: dict[str, tuple[int, ...]] = {
        "attention_norm.scale": (D,),
        "attention.query": (D, K, G, H),
        "attention.key": (D, K, H),
        "attention.value": (D, K, H),
        "attention.out": (K, G, H, D),
        "mlp_norm.scale": (D,),
        "mlp.gate": (D, F),
        "mlp.up": (D, F),
        "mlp.down": (F, D),
    }
    table = (cfg.vocab_size, D)
    return {
        "embedding": table,
        **{f"blocks.{i}.{name}": shape for i in range(cfg.layers) for name, shape in block.items()},
        "norm.scale": (D,),
        **({} if cfg.tie_embeddings else {"unembedding": table}),
    }


def denoiser_shapes(cfg: DenoiserConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of a denoiser's leaves by name."""
    D, E = cfg.transformer.dim, cfg.pointer_dim
    pointer = {"first": (D, E), "last": (D, E), "kind": (cfg.site_kinds, E), "score": (E,)}
    inner = transformer_shapes(cfg.transformer)
    return {f"transformer.{name}": shape for name, shape in inner.items()} | {
        f"pointer.{name}": shape for name, shape in pointer.items()
    }


def input_axes(leaf: str) -> int:
    """Number of the leading axes of a projection of a block that it maps from, by its name; 0 for other leaves."""
    if ".attention." in leaf or ".mlp." in leaf:
        return 3 if leaf.endswith(".attention.out") else 1  # out maps from all heads, the others from D
    return 0


def check_tensors(shapes: Shapes, found: Shapes, folder: Path) -> None:
    """Raise ModelError where the shapes of stored tensors are not those of the leaves."""
    rest = dict(found)
    for leaf, wanted in shapes.items():
        name, on_disk = stored_name(leaf), _matrix(wanted, input_axes(leaf))
        if rest.get(name) != on_disk:
            fault = f"has shape {rest[name]} where config.json says {on_disk}" if name in rest else "is missing"
            raise ModelError(f"{name} {fault} in {folder}: fetch the model again.")
        del rest[name]
    if unknown := [name for name in rest if not is_spare(name)]:
        raise ModelError(f"{folder} holds {min(unknown)}, which is no part of a Llama that Kelp computes.")


def is_spare(name: str) -> bool:
    """Return whether a tensor that no leaf has may be left out.

    Older checkpoints hold the rotary frequencies, and some a second copy of tied embeddings.
    """
    return name.endswith("rotary_emb.inv_freq") or name == NAMES["unembedding"]


def by_leaf(shapes: Shapes, stored: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray | Int8]:
    """Views of the stored tensors in the leaves' layout and under their names. Raises ModelError where one differs."""
    scales = {name for name in stored if name.endswith(SCALE) and name.removesuffix(SCALE) in stored}
    check_tensors(shapes, {name: array.shape for name, array in stored.items() if name not in scales}, folder)
    views: dict[str, np.ndarray | Int8] = {}
    for leaf, wanted in shapes.items():
        name = stored_name(leaf)
        layout = partial(_in_layout, shape=wanted, inputs=input_axes(leaf))
        array, scale = stored[name], stored.get(name + SCALE)
        if array.dtype != INT8:
            views[leaf] = layout(array)
        elif scale is not None and scale.shape == (len(array), 1):
            views[leaf] = Int8(layout(array), layout(np.broadcast_to(scale, array.shape)))
        else:
            raise ModelError(f"{name} is in int8 without a scale for each row in {folder}: fetch the model again.")
    return views


def _in_layout(array: np.ndarray, shape: tuple[int, ...], inputs: int) -> np.ndarray:
    return (array.T if inputs else array).reshape(shape)


def to_tensors(leaves: Mapping[str, Any], dtype: str | None) -> dict[str, Tensor]:
    """The leaves as `write_tensors` takes them."""

    def entry(leaf: str, array: Any) -> Tensor:
        inputs = input_axes(leaf)

        def make() -> np.ndarray:
            values = np.asarray(array)
            return values.reshape(_matrix(values.shape, inputs)[::-1]).T if inputs else values

        return Tensor(np.dtype(array.dtype), _matrix(array.shape, inputs), make)

    return stored_as({stored_name(leaf): entry(leaf, array) for leaf, array in leaves.items()}, dtype)


def _matrix(shape: tuple[int, ...], inputs: int) -> tuple[int, ...]:
    """The shape on disk: (outputs, inputs) of a projection."""
    return (math.prod(shape[inputs:]), math.prod(shape[:inputs])) if inputs else shape
