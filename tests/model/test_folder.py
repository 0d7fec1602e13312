import json

import jax
import jax.numpy as jnp
import pytest

from kelp.model.denoiser import Denoiser
from kelp.model.folder import ModelError, load_model, save_model
from kelp.model.transformer import ModelConfig

SHAPE = ModelConfig(vocab_size=24, dim=16, layers=1, heads=2, kv_heads=2, mlp_dim=32, site_kinds=4, pointer_dim=16)


@pytest.fixture
def tokenizer(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"version": "1.0"}')
    return path


@pytest.fixture
def folder(tmp_path, tokenizer):
    save_model(tmp_path / "model", Denoiser.init(SHAPE, key=jax.random.key(1)), SHAPE, files=[tokenizer])
    return tmp_path / "model"


def test_a_model_folder_gives_the_same_model_back(folder, tokenizer):
    model, description = load_model(folder)
    original = Denoiser.init(SHAPE, key=jax.random.key(1))
    assert jax.tree.structure(model) == jax.tree.structure(original)
    assert all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(original)))
    assert description["model"]["dim"] == SHAPE.dim
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "tokenizer.json"}
    assert (folder / "tokenizer.json").read_text() == tokenizer.read_text()


def test_bfloat16_halves_the_file_and_loads_as_rounded_float32(folder, tmp_path, tokenizer):
    original = Denoiser.init(SHAPE, key=jax.random.key(1))
    save_model(tmp_path / "small", original, SHAPE, files=[tokenizer], dtype="bfloat16")
    small, _ = load_model(tmp_path / "small")
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(jnp.float32), original)
    assert all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(small), jax.tree.leaves(rounded)))
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


def test_an_unknown_format_and_a_configuration_of_another_model_are_refused(folder):
    description = json.loads((folder / "config.json").read_text())
    for change, words in [
        ({"format": 99}, "has format 99 and this Kelp reads 1"),
        ({"model": description["model"] | {"dim": 32}}, "do not go together"),
        ({"model": description["model"] | {"layers": 2}}, "do not go together"),
        ({"model": {"depth": 3}}, "do not go together"),
    ]:
        (folder / "config.json").write_text(json.dumps(description | change))
        with pytest.raises(ModelError, match=words):
            load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        load_model(folder)


def test_what_else_a_model_folder_holds_is_kept(folder, tokenizer):
    (folder / "README.md").write_text("The card.")
    (folder / "more").mkdir()
    (folder / "more/notes.txt").write_text("Notes.")
    (folder / "config.json").write_text("{}")
    save_model(folder, Denoiser.init(SHAPE, key=jax.random.key(3)), SHAPE, files=[tokenizer])
    assert (folder / "README.md").read_text() == "The card." and (folder / "more/notes.txt").exists()
    load_model(folder)


def test_a_folder_that_holds_something_else_is_not_overwritten(tmp_path, tokenizer):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("")
    with pytest.raises(ModelError, match="holds no model"):
        save_model(tmp_path / "thesis", {}, SHAPE, files=[tokenizer])
    with pytest.raises(ModelError, match="is missing: a model folder needs the tokenizer"):
        save_model(tmp_path / "model", {}, SHAPE, files=[tmp_path / "nowhere"])
