import json
from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.training.fake import STEPS, FakeSource, config

from kelp.model.denoiser import Denoiser
from kelp.model.leaves import named_leaves
from kelp.training.config import make_model_config
from kelp.training.export import ModelError, export_run, load_model, save_model
from kelp.training.loop import train

SHAPE = make_model_config(config(), vocab_size=FakeSource.vocab_size, site_kinds=FakeSource.site_kinds)


@pytest.fixture
def tokenizer(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"version": "1.0"}')
    return path


@pytest.fixture
def folder(tmp_path, tokenizer):
    save_model(tmp_path / "model", Denoiser.init(SHAPE, key=jax.random.key(1)), SHAPE, tokenizer=tokenizer)
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
    save_model(tmp_path / "small", original, SHAPE, tokenizer=tokenizer, dtype="bfloat16")
    small, _ = load_model(tmp_path / "small")
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(jnp.float32), original)
    assert all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(small), jax.tree.leaves(rounded)))
    size = {name: (tmp_path / name / "model.safetensors").stat().st_size for name in ("small", "model")}
    assert size["small"] < 0.7 * size["model"]


def test_the_best_checkpoint_of_a_run_is_exported(tmp_path):
    seen = {}

    def evaluate(model, step):
        seen[step] = {name: jnp.copy(leaf) for name, leaf in named_leaves(model).items()}
        return {"repaired": float(step == 16)}

    train(config(best="repaired"), FakeSource(), out=tmp_path / "run", evaluate=evaluate)
    assert export_run(tmp_path / "run", tmp_path / "best") == 16
    model, description = load_model(tmp_path / "best")
    assert description["step"] == 16 and description["metrics"]["repaired"] == 1.0
    assert description["encoding"] == asdict(config().data.encoding)
    assert all(bool((leaf == seen[16][name]).all()) for name, leaf in named_leaves(model).items())
    assert export_run(tmp_path / "run", tmp_path / "best", step=STEPS) == STEPS
    assert load_model(tmp_path / "best")[1]["step"] == STEPS


def test_the_mean_with_a_model_is_exported(tmp_path):
    train(config(), FakeSource(), out=tmp_path / "run")
    for name, step in {"early": STEPS - 5, "late": STEPS}.items():
        export_run(tmp_path / "run", tmp_path / name, step=step)
    export_run(tmp_path / "run", tmp_path / "mean", step=STEPS, average=tmp_path / "early", share=0.25)
    early, late, mean = (named_leaves(load_model(tmp_path / name)[0]) for name in ("early", "late", "mean"))
    assert any(bool((early[name] != late[name]).any()) for name in mean)
    for name, leaf in mean.items():
        np.testing.assert_allclose(leaf, 0.75 * late[name] + 0.25 * early[name], rtol=1e-5, atol=1e-7)
    sha256 = load_model(tmp_path / "early")[1]["sha256"]
    told = {"model": str(tmp_path / "early"), "sha256": sha256, "share": 0.25}
    description = load_model(tmp_path / "mean")[1]
    assert (description["average"], description["metrics"]) == (told, {})


def test_only_models_that_go_together_have_a_mean(tmp_path, tokenizer):
    train(config(), FakeSource(), out=tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "model")
    (tmp_path / "model/tokenizer.json").write_text("another")
    with pytest.raises(ModelError, match="has another tokenizer"):
        export_run(tmp_path / "run", tmp_path / "out", average=tmp_path / "model")
    wider = replace(SHAPE, mlp_dim=2 * SHAPE.mlp_dim)
    save_model(tmp_path / "wider", Denoiser.init(wider, key=jax.random.key(0)), wider, tokenizer=tokenizer)
    with pytest.raises(ModelError, match="is of other sizes"):
        export_run(tmp_path / "run", tmp_path / "out", average=tmp_path / "wider")
    assert not (tmp_path / "out").exists()


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
    save_model(folder, Denoiser.init(SHAPE, key=jax.random.key(3)), SHAPE, tokenizer=tokenizer)
    assert (folder / "README.md").read_text() == "The card." and (folder / "more/notes.txt").exists()
    load_model(folder)


def test_a_folder_that_holds_something_else_is_not_overwritten(tmp_path, tokenizer):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("")
    with pytest.raises(ModelError, match="holds no model"):
        save_model(tmp_path / "thesis", {}, SHAPE, tokenizer=tokenizer)
    with pytest.raises(ModelError, match="is missing: a model folder needs the tokenizer"):
        save_model(tmp_path / "model", {}, SHAPE, tokenizer=tmp_path / "nowhere")
