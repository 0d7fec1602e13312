"""A model of Llama 3's shape, as Marin 8B is, from its folder through both transfers to two model folders."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.cli.conftest import Ran
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from kelp.model.config import RopeScaling, TransformerConfig
from kelp.model.pretrained import write_llama
from kelp.model.transformer import Transformer

pytestmark = pytest.mark.slow

LLAMA3 = RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)
TEXTS = Path(__file__).parent.glob("*.py")


def write_base(folder: Path) -> None:
    """Eight blocks with random weights in two files of weights, and a byte-level BPE with Llama 3's special tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{i}|>" for i in range(14))]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator((path.read_text() for path in TEXTS), trainer)
    cfg = TransformerConfig(
        vocab_size=bpe.get_vocab_size(), dim=32, layers=8, heads=4, kv_heads=2, mlp_dim=64, rope_theta=500000.0,
        rope_scaling=LLAMA3, tie_embeddings=False,
    )  # fmt: skip
    keys = {"bos_token_id": 0, "eos_token_id": 1, "max_position_embeddings": 256}
    write_llama(folder, Transformer.init(cfg, key=jax.random.key(0)), dtype="bfloat16", keys=keys)
    bpe.save(str(folder / "tokenizer.json"))
    tensors, index = load_file(folder / "model.safetensors"), {}
    for number, names in enumerate(np.array_split(sorted(tensors), 2), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names.tolist()}, folder / file)
        index |= dict.fromkeys(names.tolist(), file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


LM = """
[transfer]
rank = 2
blocks = [1, 4]
align = 1.0
[lm]
block = 8
ar_share = 0.5
[data]
sources = ["files:*.txt"]
tokenizer = "imported"
folder = "tokens"
end = "<|end_of_text|>"
mask = "<|reserved_special_token_0|>"
pad = "<|reserved_special_token_1|>"
length = 64
[optimizer]
rates = { head = 0.0, embedding = 0.0, vectors = 0.0 }
warmup = 1
[training]
init_from = "imported"
steps = 3
eval_every = 0
tokens_per_batch = 128
out = "lm"
"""
EDIT = """
[model]
pointer_dim = 16
prefix = "upper third bidirectional"
[transfer]
rank = 2
projections = ["query", "value"]
[data]
folder = "examples"
sources = ["toy"]
tokenizer = "lm-model"
examples = 40
valid_examples = 8
specs = "none"
[optimizer]
rates = { embedding = 0.0, vectors = 0.0 }
warmup = 1
[training]
init_from = "lm-model"
steps = 2
eval_every = 0
tokens_per_batch = 1024
out = "edit"
"""


def test_a_llama_3_goes_through_import_both_transfers_and_export(kelp_here, tmp_path):
    def kelp(*arguments: object) -> Ran:
        ran = kelp_here(*arguments)
        assert ran.code == 0, ran.err[-2000:]
        return ran

    write_base(tmp_path / "base")
    for number, path in enumerate(sorted(Path(__file__).parent.glob("test_*.py"))[:12]):
        (tmp_path / f"{number}.txt").write_text(path.read_text()[:1500])
    kelp("model", "import", "base", "--out", "imported")

    (tmp_path / "lm.toml").write_text(LM)
    kelp("train", "lm.toml")
    kelp("export", "lm", "--out", "lm-model")
    keys = json.loads((tmp_path / "lm-model/config.json").read_text())
    assert (keys["num_hidden_layers"], keys["rope_scaling"]["rope_type"], keys["diffusion"]["block"]) == (
        8,
        "llama3",
        8,
    )

    (tmp_path / "edit.toml").write_text(EDIT)
    kelp("train", "edit.toml")
    kelp("export", "edit", "--out", "edit-model")
    (tmp_path / "mine.py").write_text("def double(x):\n    return x + 2\n")
    tests = ["--assert", "double(3) == 6", "--assert", "double(5) == 10"]
    answer = kelp_here("repair", "mine.py", *tests, "--model", "edit-model", "--json", "--max-runs", 8).json
    assert answer["model"] == "edit-model" and answer["runs"] >= 1 and answer["status"] in ("repaired", "not repaired")
