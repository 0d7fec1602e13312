import json
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.model.config import DenoiserConfig, RopeScaling, TransformerConfig
from kelp.model.denoiser import Denoiser
from kelp.model.folder import save_model
from kelp.model.leaves import named_leaves
from kelp.model.pretrained import load_model, write_llama
from kelp.model.tensors import ModelError, open_tensors

pytestmark = pytest.mark.slow

SIZES = TransformerConfig(vocab_size=24, dim=16, layers=1, heads=2, kv_heads=2, mlp_dim=32)
CONFIG = DenoiserConfig(SIZES, site_kinds=4, pointer_dim=16)


@cache
def make(config=CONFIG, seed=1):
    return Denoiser.init(config, key=jax.random.key(seed))


@pytest.fixture
def tokenizer(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"version": "1.0"}')
    return path


@pytest.fixture
def folder(tmp_path, tokenizer):
    save_model(tmp_path / "model", named_leaves(make()), CONFIG, files=[tokenizer])
    return tmp_path / "model"


def same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and bool((a == b).all())
    return True


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, transformer=replace(SIZES, compute_dtype="bfloat16", remat=True, tie_embeddings=False)),
        replace(CONFIG, transformer=replace(SIZES, head_dim=12, rope_scaling=RopeScaling("linear", 2.0))),
    ],
)
def test_a_model_folder_gives_the_same_model_back(tmp_path, tokenizer, config):
    more = tmp_path / "encoding.json"
    more.write_text("{}")
    save_model(tmp_path / "model", named_leaves(make(config)), config, files=[tokenizer, more], origin={"step": 7})
    model, section = load_model(tmp_path / "model")
    assert same(model, make(config)) and model.cfg == config
    assert (section["step"], section["format"]) == (7, 2)
    assert section["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(model))
    names = {"model.safetensors", "config.json", "tokenizer.json", "encoding.json"}
    assert {path.name for path in (tmp_path / "model").iterdir()} == names
    assert (tmp_path / "model/tokenizer.json").read_text() == tokenizer.read_text()


def test_its_weights_have_the_names_and_the_layout_of_a_llama_and_the_pointer_its_own(folder):
    tensors, model = open_tensors(folder), make()
    query = np.asarray(model.transformer.blocks[0].attention.query)
    np.testing.assert_array_equal(tensors["model.layers.0.self_attn.q_proj.weight"], query.reshape(16, 16).T)
    np.testing.assert_array_equal(tensors["pointer.first"], model.pointer.first)
    keys = json.loads((folder / "config.json").read_text())
    assert (keys["model_type"], keys["hidden_size"], keys["torch_dtype"]) == ("llama", 16, "float32")


def test_bfloat16_halves_the_file_and_stays_bfloat16_unless_told_otherwise(folder, tmp_path, tokenizer):
    save_model(tmp_path / "small", named_leaves(make()), CONFIG, files=[tokenizer], dtype="bfloat16")
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), make())
    assert same(load_model(tmp_path / "small")[0], rounded)
    exact, _ = load_model(tmp_path / "small", dtype="float32")
    assert same(exact, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), rounded))
    size = {name: (tmp_path / name / "model.safetensors").stat().st_size for name in ("small", "model")}
    assert size["small"] < 0.7 * size["model"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"is no model folder: {name} is missing"):
        load_model(folder)


def test_damaged_weights_are_noticed(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        load_model(folder)


def test_a_changed_tokenizer_is_noticed(folder):
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text[::-1])  # of the same size
    with pytest.raises(ModelError, match=r"tokenizer\.json is damaged"):
        load_model(folder)


def test_an_unknown_format_and_a_configuration_of_another_model_are_refused(folder):
    keys = json.loads((folder / "config.json").read_text())
    kelp = keys["kelp"]
    without = {key: value for key, value in kelp.items() if key != "pointer_dim"}
    for change, words in [
        ({"kelp": kelp | {"format": 99}}, "has format 99 and this Kelp reads 2"),
        ({"hidden_size": 32}, "where config.json says"),
        ({"num_hidden_layers": 2}, r"model\.layers\.1\.\S+ is missing"),
        ({"kelp": kelp | {"site_kinds": 5}}, r"pointer\.kind has shape \(4, 16\) where config\.json says \(5, 16\)"),
        ({"kelp": without}, "is of no model that Kelp computes: 'pointer_dim'"),
        ({"kelp": {"depth": 3}}, "holds a language model without Kelp's pointer"),
    ]:
        (folder / "config.json").write_text(json.dumps(keys | change))
        with pytest.raises(ModelError, match=words):
            load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        load_model(folder)


def test_a_language_model_alone_is_no_denoiser(tmp_path, tokenizer):
    write_llama(tmp_path, make().transformer)
    with pytest.raises(ModelError, match="holds a language model without Kelp's pointer"):
        load_model(tmp_path)


def test_other_files_of_a_model_folder_are_kept(folder, tokenizer):
    (folder / "README.md").write_text("The card.")
    (folder / "more").mkdir()
    (folder / "more/notes.txt").write_text("Notes.")
    (folder / "config.json").write_text("{}")
    save_model(folder, named_leaves(make(seed=3)), CONFIG, files=[tokenizer])
    assert (folder / "README.md").read_text() == "The card." and (folder / "more/notes.txt").exists()
    load_model(folder)


def test_a_folder_that_holds_something_else_is_not_overwritten(tmp_path, tokenizer):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("")
    with pytest.raises(ModelError, match="holds no model"):
        save_model(tmp_path / "thesis", {}, CONFIG, files=[tokenizer])
    with pytest.raises(ModelError, match="is missing: a model folder needs the encoding"):
        save_model(tmp_path / "model", {}, CONFIG, files=[tmp_path / "nowhere"])
