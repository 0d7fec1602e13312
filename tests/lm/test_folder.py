import hashlib
import json

import jax
import numpy as np
import pytest
from tests.lm.fake import SIZE, TOKENIZER, config

from kelp.lm.folder import load_lm, save_lm
from kelp.model.config import TransformerConfig
from kelp.model.leaves import named_leaves
from kelp.model.pretrained import read_llama, write_llama
from kelp.model.tensors import ModelError
from kelp.model.transformer import Transformer

pytestmark = pytest.mark.slow

SIZES = TransformerConfig(vocab_size=SIZE, dim=16, layers=1, heads=2, kv_heads=1, mlp_dim=32)
MODEL = Transformer.init(SIZES, key=jax.random.key(0))
CFG = config(block=8, clean="block")


@pytest.fixture
def folder(tmp_path):
    save_lm(tmp_path / "model", named_leaves(MODEL), SIZES, CFG, files=[TOKENIZER], length=64, origin={"step": 7})
    return tmp_path / "model"


def edited(folder, **keys):
    """The folder with other values in config.json, and those of `diffusion` joined."""
    path = folder / "config.json"
    old = json.loads(path.read_text())
    section = old.get("diffusion", {}) | keys.pop("diffusion", {})
    path.write_text(json.dumps(old | keys | {"diffusion": section}))
    return folder


def test_a_folder_gives_the_same_model_back_and_is_a_llama(folder):
    model, cfg = load_lm(folder)
    assert cfg == CFG and model.cfg == SIZES
    for ours in (model, read_llama(folder)):
        for a, b in zip(*map(jax.tree.leaves, (ours, MODEL)), strict=True):
            assert np.array_equal(a, b)
    keys = json.loads((folder / "config.json").read_text())
    assert keys["diffusion"] == CFG.to_dict() | {
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "origin": {"step": 7},
    }
    assert (keys["model_type"], keys["max_position_embeddings"], keys["eos_token_id"]) == ("llama", 64, 0)
    assert (folder / "tokenizer.json").read_bytes() == TOKENIZER.read_bytes()


def test_weights_may_be_stored_in_half_the_size(folder, tmp_path):
    half = tmp_path / "half"
    save_lm(half, named_leaves(MODEL), SIZES, CFG, files=[TOKENIZER], length=64, dtype="bfloat16")
    assert load_lm(half)[0].embedding.dtype == "bfloat16"
    assert load_lm(half, dtype="float32")[0].embedding.dtype == "float32"
    sizes = [(path / "model.safetensors").stat().st_size for path in (half, folder)]
    assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.parametrize("eos", [0, [0, 3]])
def test_a_plain_llama_is_read_as_autoregressive_when_asked_for(tmp_path, eos):
    write_llama(tmp_path / "llama", MODEL, keys={"eos_token_id": eos})
    with pytest.raises(
        ModelError, match="llama holds an autoregressive model: adapt it by `kelp train`, or read it as"
    ):
        load_lm(tmp_path / "llama")
    model, cfg = load_lm(tmp_path / "llama", autoregressive=True)
    assert (cfg.block, cfg.shift, cfg.end, cfg.pad) == (1, True, 0, 0)
    assert cfg.mask == SIZE and np.array_equal(model.embedding, MODEL.embedding)


def test_what_is_wrong_with_a_folder_is_said_in_one_sentence(folder, tmp_path):
    def sentence(**options):
        with pytest.raises(ModelError) as caught:
            load_lm(folder, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1] + b"\1")
    assert "is damaged (its SHA-256 differs): fetch the model again." in sentence()
    (folder / "model.safetensors").unlink()
    assert "model.safetensors is missing." in sentence()
    edited(folder, diffusion={"mask": 0})
    assert "the mask token must not be the end-of-text" in sentence()
    edited(folder, diffusion={"mask": SIZE})
    assert f"a special token is past the {SIZE} tokens" in sentence()
    edited(folder, diffusion={"mask": "1"})
    assert "is of no language model that Kelp computes" in sentence()
    (folder / "config.json").write_text('{"vocab_size": 9, "diffusion": {"mask": 1}}')
    assert "is of no language model that Kelp computes: 'end'." in sentence()
    (folder / "config.json").write_text('{"diffusion": 3}')
    assert "is of no language model that Kelp computes" in sentence()
    (folder / "config.json").write_text('{"kelp": {}}')
    assert "holds an edit model: give the folder of a language model." in sentence()
    (folder / "config.json").write_text("{}")
    assert "is of no language model that Kelp computes: 'eos_token_id'." in sentence(autoregressive=True)
    with pytest.raises(ModelError, match=r"nowhere is no model folder: config.json is missing"):
        load_lm(tmp_path / "nowhere")
