from pathlib import Path

import pytest
from tests.lm.fake import RUN, recipe

from kelp.lm.recipe import PRESETS, LMRecipe, make_model_config
from kelp.training.config import ConfigError, load_config, parse_config, render_config, sections

RECIPES = [path for path in sorted(Path("configs").glob("**/*.toml")) if "lm" in sections(path)]


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, LMRecipe, name="run.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_recipe_reads_back_equal():
    for lm in ({}, {"block": 1}, {"clip": [0.1, 0.9], "ar_share": 0.5, "ar_share_end": 0.0}):
        assert parse_config(render_config(recipe(**lm)), LMRecipe) == recipe(**lm)


def test_the_objective_follows_from_block_and_share_or_sets_them():
    assert recipe().lm.objective == "diffusion" and recipe(block=1).lm.objective == "autoregressive"
    assert recipe(ar_share=0.1).lm.objective == recipe(ar_share_end=0.1).lm.objective == "joint"
    alone = RUN.replace("block = 4\n", "")
    assert parse_config(alone.replace("[lm]", '[lm]\nobjective = "autoregressive"'), LMRecipe).lm.block == 1
    joint = parse_config(alone.replace("[lm]", '[lm]\nobjective = "joint"'), LMRecipe).lm
    assert (joint.block, joint.ar_share) == (32, 0.5)


@pytest.mark.parametrize(
    "line, says",
    [
        ("blok = 3", "unknown key 'blok' in [lm]"),
        ("block = -1", "'block' in [lm] is -1 of type int, but"),
        ("block = 1\nshift = false", "[lm] block = 1 without shift"),
        ('objective = "joint"\nar_share = 0', "[lm] ar_share = 0.0 does not go with objective = 'joint'"),
        ('objective = "autoregressive"\nblock = 4', "[lm] objective = 'autoregressive' does not go with block = 4"),
        ('objective = "diffusion"\nblock = 1', "[lm] objective = 'diffusion' does not go with block = 1"),
        ("block = 1\nar_share = 0.5", "[lm] ar_share = 0.5 does not go with objective = 'autoregressive'"),
        ("clip = [0.9, 0.1]", "[lm] clip = [0.9, 0.1] must be two rising numbers"),
        ("eps = 0.0", "'eps' in [lm] is 0.0 of type float, but"),
        ("random_length_share = 1.5", "'random_length_share' in [lm] is 1.5"),
        ('weight = "steep"', "'weight' in [lm] is 'steep'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(line, says):
    text = RUN.replace("block = 4\nrandom_length_share = 0.2", line)
    assert message(text).removeprefix("run.toml: ").startswith(says)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_begins_with_its_command(path):
    load_config(path, LMRecipe)
    assert path.read_text().startswith(f"# kelp train {path}")


def test_other_sections_are_checked_too():
    assert "the mask token must not be the end-of-text" in message(
        RUN.replace("[data]", '[data]\nmask = "<|endoftext|>"')
    )
    assert message(RUN.replace("length = 16", "length = 99")) == (
        "tokens_per_batch = 80 in [training] is less than a row of length = 99 in [data]."
    )


def test_sizes_come_from_the_file_then_a_preset_then_the_model_to_begin_with():
    assert message(RUN.replace("dim = 16\nlayers", "layers")).startswith("[model] lacks 'dim': give it, a preset, or")
    for name, sizes in PRESETS.items():
        preset = parse_config(RUN.replace("[model]\ndim = 16", f'[model]\npreset = "{name}"'), LMRecipe)
        assert (preset.model.dim, preset.model.layers) == (sizes["dim"], 1)
    own = make_model_config(recipe(), 12)
    assert (own.dim, own.vocab_size, own.rope_theta, own.tie_embeddings) == (16, 12, 10000.0, True)
    with pytest.raises(
        ConfigError, match=r"^\[model\] heads must be a multiple of kv_heads, got heads=2 and kv_heads=3"
    ):
        make_model_config(parse_config(RUN.replace("kv_heads = 1", "kv_heads = 3"), LMRecipe), 12)
