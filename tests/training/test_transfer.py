"""An edit model that begins with a language model."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from tests.training.fake import EDIT, RUN, FakeSource

from kelp.data.examples.objective import EditObjective
from kelp.data.examples.recipe import Recipe
from kelp.model.config import TransformerConfig
from kelp.model.leaves import named_leaves
from kelp.model.pretrained import load_model, write_llama
from kelp.model.transformer import Transformer
from kelp.training.config import ConfigError, parse_config
from kelp.training.export import export_run
from kelp.training.loop import train
from kelp.training.objective import TrainingError

pytestmark = pytest.mark.slow

FEWER = FakeSource.vocab_size - 3  # the language model lacks three special tokens
BASE = TransformerConfig(vocab_size=FEWER, dim=16, layers=3, heads=2, kv_heads=1, mlp_dim=24, rope_theta=5000.0)
MODEL = '[model]\npointer_dim = 16\nprefix = "upper third bidirectional"\n'


@pytest.fixture
def base(tmp_path) -> Path:
    write_llama(tmp_path / "base", Transformer.init(BASE, key=jax.random.key(5)))
    shutil.copy(Path(__file__).parent / "tokenizer.json", tmp_path / "base")
    return tmp_path / "base"


def recipe(base: Path, more: str = "") -> Recipe:
    _, data = EDIT.split("[data]")
    run = RUN.replace("[training]", f"[training]\ninit_from = '{base}'").replace("steps = 40", "steps = 6")
    return parse_config(f"{MODEL}[data]{data}{run}{more}", Recipe)


def test_sizes_and_weights_are_those_of_the_language_model(base):
    goal = EditObjective(recipe(base), FakeSource())
    assert goal.model_config.transformer.to_dict() == BASE.to_dict() | {"vocab_size": FakeSource.vocab_size}
    weights, wanted = goal.load(base), named_leaves(Transformer.init(BASE, key=jax.random.key(5)))
    assert weights.keys() == {f"transformer.{name}" for name in wanted}
    embedding = weights["transformer.embedding"]
    np.testing.assert_array_equal(embedding[:FEWER], wanted["embedding"])
    np.testing.assert_allclose(embedding[FEWER:], np.tile(wanted["embedding"].mean(axis=0), (3, 1)), atol=1e-6)


def test_adapters_and_the_pointer_move_and_the_language_model_stays(base, tmp_path):
    further = "[transfer]\nrank = 2\n[optimizer.rates]\nembedding = 0.0\nvectors = 0.0\n"
    settings = recipe(base, further)
    train(settings, EditObjective(settings, FakeSource(lengths=(8,))), out=tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "model", EditObjective.revive)
    model, _ = load_model(tmp_path / "model")
    assert model.prefix == "upper third bidirectional"
    before, after = EditObjective(settings, FakeSource()).load(base), named_leaves(model)
    moved = {name for name in after if name not in before or not np.array_equal(before[name], after[name])}
    projections = {name for name in before if ".attention." in name or ".mlp." in name}
    pointer = {name for name in after if name.startswith("pointer.") and after[name].ndim > 1}
    assert moved - {"pointer.score"} == projections | pointer


def test_another_tokenizer_or_other_sizes_are_one_sentence(base):
    (base / "tokenizer.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"another tokenizer than .*base: put tokenizer = .*base"):
        EditObjective(recipe(base), FakeSource()).load(base)
    larger = recipe(base)
    larger = larger.model_copy(update={"model": larger.model.model_copy(update={"layers": 4})})
    with pytest.raises(TrainingError, match="has layers = 3 and this run 4: give both the same sizes"):
        EditObjective(larger, FakeSource()).load(base)


def test_sizes_without_a_model_to_begin_with_are_missing():
    with pytest.raises(ConfigError, match=r"\[model\] lacks 'dim': give it, a preset, or init_from in \[training\]"):
        parse_config(f"{MODEL}{EDIT[EDIT.index('[data]') :]}{RUN}", Recipe)
