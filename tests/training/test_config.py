from pathlib import Path

import pytest

from kelp.data.corpus.sources import expand
from kelp.training.config import (
    PRESETS,
    ConfigError,
    load_config,
    make_model_config,
    parse_config,
    render_config,
)

MINIMAL = """
[model]
preset = "toy"
[data]
folder = "data/toy"
sources = ["toy"]
examples = 9
[training]
steps = 100
"""
RECIPES = sorted({*Path("configs").glob("*.toml")} - {*Path("configs").glob("corpus-*.toml")})


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, name="run.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_preset_fills_in_the_sizes_and_a_key_in_the_file_wins():
    config = parse_config(MINIMAL.replace('"toy"', '"toy"\nlayers = 3', 1))
    assert (config.model.dim, config.model.layers) == (PRESETS["toy"]["dim"], 3)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_model_configuration(preset):
    config = parse_config(MINIMAL.replace("toy", preset, 1))
    shape = make_model_config(config, vocab_size=4096, site_kinds=20)
    assert (shape.dim, shape.vocab_size) == (PRESETS[preset]["dim"], 4096)


def test_the_rendered_configuration_reads_back_equal():
    text = MINIMAL.replace("data/toy", 'odd \\"name\\" \\u007f\\n é') + "betas = [0.8, 0.9]\n".join(
        ["[optimizer]\n", ""]
    )
    config = parse_config(text + '[training.mesh]\nfsdp = 2\n[log]\nwandb = "kelp"\n[data.kinds]\n"bank swap" = 2.0\n')
    assert parse_config(render_config(config)) == config


def test_a_bad_file_gets_one_sentence_that_names_the_key():
    assert message(MINIMAL + "stepz = 3\n") == "run.toml: unknown key 'stepz' in [training]."
    assert message(MINIMAL + "[optimizer]\nlr = 3\n") == "run.toml: unknown key 'lr' in [optimizer]."
    assert message(MINIMAL + "[extra]\n") == "run.toml: unknown key 'extra' in the file."
    assert message(MINIMAL + "[training.mesh]\nfsdb = 3\n") == "run.toml: unknown key 'fsdb' in [training.mesh]."
    assert message("[model]\npreset = 'toy'") == "run.toml: the file lacks the section [data]."
    assert message(MINIMAL.replace("steps", "seed")) == "run.toml: [training] lacks 'steps'."
    assert "'steps' in [training] is 'many' of type str" in message(MINIMAL.replace("100", '"many"'))
    assert "'preset' in [model] is 'huge' of type str" in message(MINIMAL.replace('"toy"', '"huge"'))
    assert message(MINIMAL + "[optimizer]\naverage = 2.0") == "run.toml: [optimizer] average = 2.0 must lie in [0, 1)."
    assert "run.toml is not valid TOML" in message("steps = ")


def test_a_file_that_cannot_be_read_gets_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml")


def test_sizes_that_do_not_go_together_are_a_config_error():
    with pytest.raises(ConfigError, match=r"\[model\]"):
        make_model_config(parse_config(MINIMAL.replace('"toy"', '"toy"\nheads = 7', 1)), vocab_size=9, site_kinds=3)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_begins_with_its_command(path):
    load_config(path)
    assert path.read_text().startswith(f"# kelp train {path}")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_sources_of_every_recipe_are_of_kinds_that_there_are(path):
    for source in load_config(path).data.sources:
        assert source.startswith("corpus:") or expand(source) == [source]


def test_there_are_recipes():
    assert {path.stem for path in RECIPES} >= PRESETS.keys()
