"""From an autoregressive model to diffusion: blocks that grow, adapters, alignment with the model before."""

import jax
import numpy as np
import pytest
from tests.lm.fake import PAD, SIZE, config, objective, pack, recipe, write_tokenizer

from kelp.errors import KelpError
from kelp.lm.folder import load_lm
from kelp.lm.loss import Schedule, draw, loss, masked_loss
from kelp.lm.objective import LMObjective
from kelp.lm.recipe import LMRecipe
from kelp.model.leaves import named_leaves
from kelp.training.checkpoint import Checkpoints
from kelp.training.config import ConfigError
from kelp.training.export import export_run
from kelp.training.loop import train

ROW = pack([[3, 4, 5, 6, 7, 8, 9, 1], [5, 3, 1]], [[6, 7, 8, 9, 10, 11, 1]], length=14)


def transfer(training=None, optimizer=None, *, block: int = 4, **section) -> LMRecipe:
    plain = recipe(training, block=block).model_dump()
    return LMRecipe.model_validate(plain | {"transfer": section, "optimizer": plain["optimizer"] | (optimizer or {})})


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model folder, autoregressive and hardly trained."""
    out = tmp_path_factory.mktemp("base")
    settings = recipe({"steps": 6}, block=1)
    train(settings, objective(settings), out=out / "run")
    export_run(out / "run", out / "model", LMObjective.revive)
    return out / "model"


def test_a_scheduled_block_size_gives_the_loss_of_a_configured_one(base):
    weights = load_lm(base)[0]
    key = jax.random.key(3)

    def of(block: int, schedule: Schedule = Schedule()) -> float:
        lm = recipe(block=block, random_length_share=0.0).lm
        cfg = config(block=block)
        return float(jax.jit(lambda m: loss(m, ROW, key, cfg, lm, tokens=28, schedule=schedule)[0])(weights))

    for size in (2, 3):
        assert of(8, Schedule(block=np.full(2, size, np.int32))) == pytest.approx(of(size), rel=1e-5)


def test_blocks_of_one_token_begin_where_the_autoregressive_model_ends(base):
    # With the shift, the clean state before it predicts a block of one token, at every mask ratio.
    weights, ones = load_lm(base)[0], np.ones(2, np.int32)
    lm = recipe(block=4, complementary=False, random_length_share=0.0).lm
    rows, noise = draw(ROW, jax.random.key(0), config(block=4), lm, ones)
    assert np.array_equal(noise.masked, (ROW.document > 0) & (ROW.position > 0))  # at least one of every block
    masked, _ = masked_loss(weights, rows, noise, config(block=4), lm, tokens=28, schedule=Schedule(block=ones))
    ar, _ = loss(
        weights, ROW, jax.random.key(0), config(block=1), recipe(block=1, random_length_share=0.0).lm, tokens=28
    )
    assert float(masked) == pytest.approx(float(ar), rel=1e-5)


def test_blocks_grow_in_equal_shares_of_the_run(base):
    goal = objective(transfer({"init_from": base, "steps": 9}, blocks=[1, 2]))
    assert [int(goal.batch(step)[1].block[0]) for step in range(9)] == [1, 1, 1, 2, 2, 2, 4, 4, 4]
    assert [int(batch[1].block[0]) for batch in goal.valid_batches()] == [4, 4]


def test_adapters_alone_move_and_are_merged_on_export(base, tmp_path):
    frozen = {"rates": {"embedding": 0.0, "vectors": 0.0}}
    settings = transfer({"init_from": base, "steps": 6}, frozen, blocks=[1], rank=2, align=0.5)
    outcome = train(settings, objective(settings), out=tmp_path / "run")
    assert np.isfinite(outcome.metrics["valid_align_loss"]) and outcome.metrics["valid_align_loss"] > 0
    step = export_run(tmp_path / "run", tmp_path / "model", LMObjective.revive)
    before, after = named_leaves(load_lm(base)[0]), named_leaves(load_lm(tmp_path / "model")[0])
    saved = Checkpoints(tmp_path / "run/checkpoints", read_only=True).restore_weights(step)
    for name in before:
        same = np.array_equal(before[name], after[name])
        assert same == (name + ".base" not in saved), name
        assert np.array_equal(saved[name if same else name + ".base"], before[name])
    assert load_lm(tmp_path / "model")[1].block == 4


def test_a_run_with_adapters_resumes_bit_for_bit(base, tmp_path):
    def settings(steps_by=None):
        return transfer({"init_from": base, "steps": 6} | (steps_by or {}), blocks=[1, 2], rank=2, align=0.5)

    whole = train(settings(), objective(settings()), out=tmp_path / "whole")
    train(settings({"max_minutes": 1e-6}), objective(settings()), out=tmp_path / "parts")
    resumed = train(settings(), objective(settings()), out=tmp_path / "parts", resume=True)
    assert resumed.metrics == whole.metrics


def test_the_mean_row_stands_for_a_special_token_that_the_base_lacks(base, tmp_path):
    from tokenizers import Tokenizer

    path = write_tokenizer(tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_special_tokens(["<new>"])
    tokenizer.save(str(path))
    settings = recipe({"init_from": base}, {"mask": "<new>"}).model_dump() | {"model": {}}
    goal = objective(LMRecipe.model_validate(settings), tokenizer=path)
    embedding, old = goal.load(base)["embedding"], load_lm(base)[0].embedding
    assert goal.cfg.mask == SIZE and embedding.shape[0] == SIZE + 1 and PAD != SIZE
    np.testing.assert_allclose(embedding[-1], np.asarray(old, np.float32).mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    "section, training, message",
    [
        ({"rank": 4}, {}, r"\[transfer\] needs init_from in \[training\]"),
        ({"align": 1.0}, {"init_from": "x"}, "align = 1.0 needs adapters"),
        ({"blocks": [0, 4]}, {"init_from": "x"}, r"blocks = \[0, 4\] must be sizes of 1 or more"),
    ],
)
def test_a_section_that_cannot_be_is_one_sentence(section, training, message):
    with pytest.raises((KelpError, ValueError), match=message):
        transfer(training, **section)


def test_growing_blocks_lead_to_blocks():
    with pytest.raises(ConfigError, match=r"must be 2 or more, got 1"):
        transfer({"init_from": "x"}, block=1, blocks=[1])
