"""Small GGUF files of a Llama, written as llama.cpp's converter writes them."""

import string
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize

from kelp.model.gguf import BLOCK_NAMES, NAMES

MERGES = ["r e", "re t", "Ġ Ġ", "a b", "ab ret"]
SPECIAL = ["<|endoftext|>", "<|im_end|>"]


def interleaved(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a projection in llama.cpp's order: the two halves of a head become neighbors."""
    rows = matrix.reshape(heads, 2, len(matrix) // heads // 2, -1)
    return rows.swapaxes(1, 2).reshape(matrix.shape)


def write_gguf(
    path: Path,
    keys: dict,
    tensors: dict[str, np.ndarray],
    *,
    strings: list[str] | None = None,
    quantized: bool = False,
    more: Mapping[str, Any] = MappingProxyType({}),
    rope_factors: np.ndarray | None = None,
) -> Path:
    """Write tensors under Hugging Face's names; `more` are further keys of text or whole numbers."""
    writer = GGUFWriter(path, more.get("general.architecture", "llama"))
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_feed_forward_length(keys["intermediate_size"])
    writer.add_head_count(keys["num_attention_heads"])
    writer.add_head_count_kv(keys["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(keys["rms_norm_eps"])
    writer.add_rope_freq_base(keys["rope_theta"])
    writer.add_context_length(keys["max_position_embeddings"])
    if "head_dim" in keys:
        writer.add_key_length(keys["head_dim"])
        writer.add_value_length(keys["head_dim"])
    writer.add_license("apache-2.0")
    writer.add_tokenizer_model(more.get("tokenizer.ggml.model", "gpt2"))
    writer.add_tokenizer_pre(more.get("tokenizer.ggml.pre", "smollm"))
    strings = strings or small_vocabulary(keys["vocab_size"])
    writer.add_token_list(strings)
    writer.add_token_types([3 if string in SPECIAL else 1 for string in strings])
    writer.add_token_merges([merge for merge in MERGES if merge.replace(" ", "") in strings])
    writer.add_eos_token_id(strings.index(SPECIAL[1]))
    for key, value in more.items():
        if key.startswith("llama."):
            writer.add_string(key, value) if isinstance(value, str) else writer.add_uint32(key, value)
    if rope_factors is not None:
        writer.add_tensor("rope_freqs.weight", rope_factors.astype(np.float32))
    back = {name: short for short, name in (NAMES | BLOCK_NAMES).items()}
    for name, array in tensors.items():
        block, _, rest = name.removeprefix("model.layers.").partition(".")
        short = back[name] if name in back else f"blk.{block}.{back.get(rest, rest)}"
        heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(short.split(".")[-2])
        array = np.asarray(array, np.float32)
        array = array if heads is None else interleaved(array, keys[heads])
        if quantized and array.ndim == 2 and array.shape[1] % 32 == 0:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(short, quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(short, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def small_vocabulary(size: int) -> list[str]:
    """The special tokens, letters, and products of the merges."""
    letters = string.ascii_lowercase + string.digits + string.ascii_uppercase
    products = [merge.replace(" ", "") for merge in MERGES]
    return [*SPECIAL, "Ġ", "Ċ", *products, *letters][:size]
