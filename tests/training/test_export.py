import hashlib
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.training.fake import STEPS, config, edit_objective

from kelp.data.examples.objective import EditObjective
from kelp.encoding.folder import FILES
from kelp.model.denoiser import Denoiser
from kelp.model.folder import save_model
from kelp.model.leaves import named_leaves
from kelp.model.pretrained import load_model
from kelp.training.export import export_run
from kelp.training.loop import train
from kelp.training.objective import Evaluation, TrainingError

pytestmark = pytest.mark.slow

revive = EditObjective.revive


def test_the_best_checkpoint_of_a_run_is_exported(tmp_path):
    seen = {}

    def measure(model, step):
        seen[step] = {name: jnp.copy(leaf) for name, leaf in named_leaves(model).items()}
        return {"repaired": float(step == 16)}

    evaluation = Evaluation({"repaired": True}, measure)
    train(config(best_by="repaired"), edit_objective(), out=tmp_path / "run", evaluation=evaluation)
    assert export_run(tmp_path / "run", tmp_path / "best", revive) == 16
    model, description = load_model(tmp_path / "best")
    assert description["step"] == 16 and description["metrics"]["repaired"] == 1.0
    assert all((tmp_path / "best" / name).is_file() for name in FILES)
    assert all(bool((leaf == seen[16][name]).all()) for name, leaf in named_leaves(model).items())
    assert export_run(tmp_path / "run", tmp_path / "best", revive, step=STEPS) == STEPS
    assert load_model(tmp_path / "best")[1]["step"] == STEPS


def test_the_mean_with_a_model_is_exported(tmp_path):
    train(config(), edit_objective(), out=tmp_path / "run")
    for name, step in {"early": STEPS - 5, "late": STEPS}.items():
        export_run(tmp_path / "run", tmp_path / name, revive, step=step)
    export_run(tmp_path / "run", tmp_path / "mean", revive, step=STEPS, merge=tmp_path / "early", share=0.25)
    early, late, mean = (named_leaves(load_model(tmp_path / name)[0]) for name in ("early", "late", "mean"))
    assert any(bool((early[name] != late[name]).any()) for name in mean)
    for name, leaf in mean.items():
        np.testing.assert_allclose(leaf, 0.75 * late[name] + 0.25 * early[name], rtol=1e-5, atol=1e-7)
    sha256 = load_model(tmp_path / "early")[1]["sha256"]
    told = {"model": str(tmp_path / "early"), "sha256": sha256, "share": 0.25}
    description = load_model(tmp_path / "mean")[1]
    assert (description["merge"], description["metrics"]) == (told, {})


def test_only_models_that_go_together_have_a_mean(tmp_path):
    train(config(), edit_objective(), out=tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "model", revive)
    (tmp_path / "model/tokenizer.json").write_text("another")
    config_json = tmp_path / "model/config.json"
    description = json.loads(config_json.read_text())
    description["kelp"]["tokenizer_sha256"] = hashlib.sha256(b"another").hexdigest()
    config_json.write_text(json.dumps(description))
    with pytest.raises(TrainingError, match="has another tokenizer"):
        export_run(tmp_path / "run", tmp_path / "out", revive, merge=tmp_path / "model")
    shape = edit_objective().model_config
    wider = replace(shape, transformer=replace(shape.transformer, mlp_dim=64))
    files = [tmp_path / "model" / name for name in FILES]
    save_model(tmp_path / "wider", named_leaves(Denoiser.init(wider, key=jax.random.key(0))), wider, files=files)
    with pytest.raises(TrainingError, match="has mlp_dim = 64 and this run 32: give both the same sizes"):
        export_run(tmp_path / "run", tmp_path / "out", revive, merge=tmp_path / "wider")
    assert not (tmp_path / "out").exists()
