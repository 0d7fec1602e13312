from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.training.fake import STEPS, FakeSource, config

from kelp.model.denoiser import Denoiser
from kelp.model.folder import load_model, save_model
from kelp.model.leaves import named_leaves
from kelp.model.tensors import ModelError
from kelp.training.config import make_model_config
from kelp.training.export import export_run
from kelp.training.loop import train

SHAPE = make_model_config(config(), vocab_size=FakeSource.vocab_size, site_kinds=FakeSource.site_kinds)


@pytest.fixture
def tokenizer(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"version": "1.0"}')
    return path


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
    wider = replace(SHAPE, transformer=replace(SHAPE.transformer, mlp_dim=2 * SHAPE.transformer.mlp_dim))
    save_model(tmp_path / "wider", Denoiser.init(wider, key=jax.random.key(0)), wider, files=[tokenizer])
    with pytest.raises(ModelError, match="is of other sizes"):
        export_run(tmp_path / "run", tmp_path / "out", average=tmp_path / "wider")
    assert not (tmp_path / "out").exists()
