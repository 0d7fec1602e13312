"""Llama models in llama.cpp's GGUF files: configuration, weights and tokenizer under Hugging Face's names.

Tensors are read through a memory map and turned into float32 one at a time. The file's rotary pairs are neighbors in a
head; here they are undone into the two halves that Hugging Face's Llama rotates together.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import AddedToken, Regex, decoders, pre_tokenizers
from tokenizers.models import BPE

from kelp.model.config import RopeScaling
from kelp.model.source import Source
from kelp.model.tensors import ModelError, Tensor

NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
BLOCK_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
ROPE_FACTORS = "rope_freqs.weight"  # divisors of the rotary frequencies
# Keys that change what a Llama computes, with the values that Kelp supports; "llama." stands before each.
SUPPORTED_VALUES: dict[str, tuple[Any, ...]] = {
    "rope.scaling.type": (None, "none", "linear"),
    "attention.sliding_window": (None, 0),
    "attention.causal": (None, True),
    "expert_count": (None, 0),
    "attention.scale": (None, 0.0),
    "residual_scale": (None, 1.0),
    "embedding_scale": (None, 1.0),
    "logit_scale": (None, 1.0),
}
# Keys of config.json, with GGUF's names.
SPECIAL_IDS = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
CONTROL, USER_DEFINED = 3, 4  # types of tokens that are no product of merges
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def open_gguf(path: Path) -> Source:
    """The model in a GGUF file. Raises ModelError, and ImportError where the package `gguf` is missing."""
    import gguf
    from gguf.quants import dequantize

    try:
        reader = gguf.GGUFReader(path)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ModelError(f"{path} is no GGUF file, or a damaged one: {' '.join(str(error).split())}.") from None
    stored = {tensor.name: tensor for tensor in reader.tensors}

    def value(key: str, default: Any = None) -> Any:
        field = reader.get_field(key)
        return default if field is None else field.contents()

    keys = _config(value, path, tied="output.weight" not in stored)
    heads, kv_heads, head_dim = (keys[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    if (factors := stored.pop(ROPE_FACTORS, None)) is not None:
        keys["rope_scaling"] = _llama3_scaling(factors.data, keys["rope_theta"], path)

    def tensor(entry: Any) -> Tensor:
        turned = {"attn_q.weight": heads, "attn_k.weight": kv_heads}.get(entry.name.split(".", 2)[-1])

        def make() -> np.ndarray:
            array: np.ndarray = dequantize(entry.data, entry.tensor_type)
            return array if turned is None else halves(array, turned, head_dim)

        return Tensor(np.dtype(np.float32), tuple(int(size) for size in reversed(entry.shape)), make)

    tensors = {_name(name, path): tensor(entry) for name, entry in stored.items()}
    files = _tokenizer_files(value, keys, path)
    origin = {
        "name": value("general.name"),
        "license": value("general.license"),
        "quantization": sorted({entry.tensor_type.name for entry in reader.tensors}),
    }
    return Source(path, keys, tensors, files, {key: found for key, found in origin.items() if found})


def halves(matrix: np.ndarray, heads: int, head_dim: int) -> np.ndarray:
    """Rows of a projection [heads * head_dim, inputs] from neighboring rotary pairs into two halves a head."""
    pairs = matrix.reshape(heads, head_dim // 2, 2, -1)
    return pairs.swapaxes(1, 2).reshape(matrix.shape)


def _config(value: Callable[..., Any], path: Path, *, tied: bool) -> dict[str, Any]:
    """The keys of config.json. Raises ModelError."""
    if (architecture := value("general.architecture")) != "llama":
        raise ModelError(f"{path} has the architecture {architecture!r}, and Kelp computes 'llama' alone.")
    for key, allowed in SUPPORTED_VALUES.items():
        if (found := value(f"llama.{key}")) not in allowed:
            raise ModelError(f"{path} has llama.{key} = {found!r}, which is no part of a Llama that Kelp computes.")
    needed = ("embedding_length", "block_count", "attention.head_count", "feed_forward_length")
    if missing := [key for key in needed if value(f"llama.{key}") is None]:
        raise ModelError(f"{path} lacks llama.{missing[0]}: it is no whole Llama.")
    dim, layers, heads, mlp = (value(f"llama.{key}") for key in needed)
    head_dim = value("llama.attention.key_length", dim // heads)
    for key in ("rope.dimension_count", "attention.value_length"):
        if (found := value(f"llama.{key}", head_dim)) != head_dim:
            raise ModelError(
                f"{path} has llama.{key} = {found} and heads of {head_dim}: Kelp computes equal ones alone."
            )
    scaling = None
    if value("llama.rope.scaling.type") == "linear":
        scaling = {"rope_type": "linear", "factor": value("llama.rope.scaling.factor", 1.0)}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(value("tokenizer.ggml.tokens", [])),
        "hidden_size": dim,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": value("llama.attention.head_count_kv", heads),
        "head_dim": head_dim,
        "hidden_act": "silu",
        # Stored in float32: 1e-5 would otherwise read 9.999999747378752e-06.
        "rms_norm_eps": float(str(np.float32(value("llama.attention.layer_norm_rms_epsilon", 1e-5)))),
        "rope_theta": float(value("llama.rope.freq_base", 10000.0)),
        "rope_scaling": scaling,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "max_position_embeddings": value("llama.context_length", 2048),
    }


def _llama3_scaling(factors: np.ndarray, theta: float, path: Path) -> dict[str, Any]:
    """The scaling that gives these divisors of the frequencies. Raises ModelError where Llama 3.1's does not."""
    half = len(factors)
    scaling = RopeScaling("llama3", float(factors.max()), 1.0, 4.0, 8192)
    frequency = theta ** (-np.arange(half, dtype=np.float32) / half)
    if not np.allclose(frequency / scaling(frequency), factors, rtol=1e-3):
        raise ModelError(f"{path} scales its rotary positions by {ROPE_FACTORS} otherwise than Llama 3.1.")
    return {key: found for key, found in vars(scaling).items() if found is not None}


def _name(name: str, path: Path) -> str:
    """The name of a tensor in a Hugging Face folder. Raises ModelError."""
    block, _, rest = name.removeprefix("blk.").partition(".")
    if name in NAMES:
        return NAMES[name]
    if not (name.startswith("blk.") and rest in BLOCK_NAMES):
        raise ModelError(f"{path} holds {name}, which is no part of a Llama that Kelp computes.")
    return f"model.layers.{block}.{BLOCK_NAMES[rest]}"


def _tokenizer_files(value: Callable[..., Any], keys: dict[str, Any], path: Path) -> dict[str, str]:
    """The tokenizer's files by name; the ids of its special tokens join `keys`. Raises ModelError."""
    model, split = value("tokenizer.ggml.model"), value("tokenizer.ggml.pre", "default")
    if model != "gpt2" or split not in PRE_TOKENIZERS:
        named = f"the pre-tokenizer {split!r}" if model == "gpt2" else f"a tokenizer of the kind {model!r}"
        raise ModelError(
            f"{path} has {named}, and Kelp reads byte-level ones of {', '.join(PRE_TOKENIZERS)} from GGUF: "
            "import the model's Hugging Face folder."
        )
    strings, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type", [])
    merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges", [])]
    vocabulary = {string: token for token, string in enumerate(strings)}
    try:
        bpe = tokenizers.Tokenizer(BPE(vocab=vocabulary, merges=merges, ignore_merges=split == "llama-bpe"))
    except Exception as error:  # `tokenizers` raises plain Exception
        raise ModelError(f"{path} holds no whole tokenizer: {error}.") from None
    bpe.pre_tokenizer, bpe.decoder = PRE_TOKENIZERS[split](), decoders.ByteLevel()
    for string, kind in zip(strings, types):
        if kind in (CONTROL, USER_DEFINED):
            bpe.add_tokens([AddedToken(string, special=kind == CONTROL, normalized=False)])
    ids = {name: value(f"tokenizer.ggml.{key}_token_id") for name, key in SPECIAL_IDS.items()}
    keys |= {name: found for name, found in ids.items() if found is not None}
    about = {name.removesuffix("_id"): strings[found] for name, found in ids.items() if found is not None}
    if template := value("tokenizer.chat_template"):
        about["chat_template"] = template
    about |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": keys["max_position_embeddings"]}
    return {"tokenizer.json": bpe.to_str(), "tokenizer_config.json": json.dumps(about, indent=2) + "\n"}


def _smollm() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


def _gpt2() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _llama3() -> Any:
    split = pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


PRE_TOKENIZERS: dict[str, Callable[[], Any]] = {"smollm": _smollm, "gpt-2": _gpt2, "llama-bpe": _llama3}
