"""Golden values for the tests of Llama folders, from PyTorch and `transformers`: `make golden`.

Writes tests/model/golden: small random Llamas as `transformers` saves them, the logits that it computes, and rotary
frequencies. Then has it load each as Kelp writes it, and the shipped model, and compares logits. The tests read the
values alone, and so need neither library.
"""

import json
import shutil
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import torch
from tests.model.test_pretrained import GOLDEN, causal_logits, digest
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import kelp
from kelp.model.pretrained import load_model, read_llama, write_llama

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,  # large enough that a wrong layout cannot hide
}
# A context of 256 puts some of the six frequencies of a head on each side of Llama 3's interpolation, and one in it.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 256}
VARIANTS = {
    "tied": {"tie_word_embeddings": True, "rms_norm_eps": 1e-5},
    "llama3": {"head_dim": 12, "rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, **LLAMA3}},
    "linear": {"num_hidden_layers": 1, "rope_parameters": {"rope_type": "linear", "rope_theta": 5e3, "factor": 4.0}},
}
LLAMA31 = {
    "head_dim": 128,
    "max_position_embeddings": 131072,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 8.0,
        **LLAMA3 | {"original_max_position_embeddings": 8192},
    },
}


def torch_logits(folder: Path, tokens: np.ndarray) -> np.ndarray:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.from_numpy(tokens)).logits.numpy()


def main() -> None:
    shutil.rmtree(GOLDEN, ignore_errors=True)
    tokens = np.random.default_rng(0).integers(0, SIZES["vocab_size"], (1, 40))
    values, loaded = {"tokens": tokens}, {}
    for name, change in VARIANTS.items():
        torch.manual_seed(0)
        llama = LlamaForCausalLM(LlamaConfig(**SIZES | {"max_position_embeddings": 2048} | change))
        llama = llama if name == "tied" else llama.to(torch.bfloat16)
        llama.save_pretrained(GOLDEN / name, max_shard_size="15KB" if name == "llama3" else "1MB")
        (GOLDEN / name / "generation_config.json").unlink()
        values[name] = torch_logits(GOLDEN / name, tokens)
        with tempfile.TemporaryDirectory() as folder:
            write_llama(Path(folder), read_llama(GOLDEN / name))
            difference = np.abs(torch_logits(Path(folder), tokens) - values[name]).max()
            assert difference < 1e-4, (name, difference)
            loaded[name] = digest(Path(folder))  # these bytes were loaded, and gave the same logits
        print(f"{name}: transformers loads it as Kelp writes it; logits differ by {difference:.1e}")
    values["llama31_frequencies"] = LlamaRotaryEmbedding(LlamaConfig(**LLAMA31)).inv_freq.numpy()
    np.savez_compressed(GOLDEN / "values.npz", **values)
    (GOLDEN / "loaded.json").write_text(json.dumps(loaded, indent=2) + "\n")

    shipped = Path(kelp.__file__).parent / "models" / "default"
    with tempfile.TemporaryDirectory() as scratch:  # the same model, computing in float32
        folder = shutil.copytree(shipped, Path(scratch) / "model")
        keys = json.loads((folder / "config.json").read_text())
        keys["kelp"]["compute_dtype"] = "float32"
        (folder / "config.json").write_text(json.dumps(keys))
        ours = causal_logits(load_model(folder)[0].transformer, jnp.array(tokens))
    theirs = torch_logits(shipped, tokens)
    print(f"the shipped model's logits differ by {np.abs(ours - theirs).max():.1e}")
    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)


if __name__ == "__main__":
    main()
