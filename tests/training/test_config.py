from pathlib import Path

import pytest

from kelp.data.corpus.sources import expand
from kelp.data.examples.recipe import PRESETS, Recipe, find_recipe, load_recipe, make_model_config, shipped_recipes
from kelp.training.config import ConfigError, parse_config, render_config, sections

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
ALL = sorted({*Path("configs").glob("**/*.toml")} - {*Path("configs").glob("corpus-*.toml")})
RECIPES = [path for path in ALL if "lm" not in sections(path)]


def parse(text: str, name: str = "config") -> Recipe:
    return parse_config(text, Recipe, name=name)


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, name="run.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_preset_fills_in_the_sizes_and_a_key_in_the_file_wins():
    config = parse(MINIMAL.replace('"toy"', '"toy"\nlayers = 3', 1))
    assert (config.model.dim, config.model.layers) == (PRESETS["toy"]["dim"], 3)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_model_configuration(preset):
    config = parse(MINIMAL.replace("toy", preset, 1))
    shape = make_model_config(config, vocab_size=4096, site_kinds=20)
    assert (shape.transformer.dim, shape.transformer.vocab_size) == (PRESETS[preset]["dim"], 4096)


def test_the_rendered_configuration_reads_back_equal():
    text = MINIMAL.replace("data/toy", 'odd \\"name\\" \\u007f\\n é') + "betas = [0.8, 0.9]\n".join(
        ["[optimizer]\n", ""]
    )
    config = parse(text + '[training.mesh]\nfsdp = 2\n[log]\nwandb = "kelp"\n[data.kinds]\n"bank swap" = 2.0\n')
    assert parse(render_config(config)) == config


def test_a_bad_file_gets_one_sentence_that_names_the_key():
    assert message(MINIMAL + "stepz = 3\n") == "run.toml: unknown key 'stepz' in [training]."
    assert message(MINIMAL + "[optimizer]\nlr = 3\n") == "run.toml: unknown key 'lr' in [optimizer]."
    assert message(MINIMAL + "[extra]\n") == "run.toml: unknown key 'extra' in the file."
    assert message(MINIMAL + "[training.mesh]\nfsdb = 3\n") == "run.toml: unknown key 'fsdb' in [training.mesh]."
    assert message("[model]\npreset = 'toy'\n[training]\nsteps = 1") == "run.toml: the file lacks the section [data]."
    assert message(MINIMAL.replace("steps", "seed")) == "run.toml: [training] lacks 'steps'."
    assert "'steps' in [training] is 'many' of type str" in message(MINIMAL.replace("100", '"many"'))
    assert "'preset' in [model] is 'huge' of type str" in message(MINIMAL.replace('"toy"', '"huge"'))
    assert (
        message(MINIMAL + "[optimizer]\nema_decay = 2.0") == "run.toml: [optimizer] ema_decay = 2.0 must lie in [0, 1)."
    )
    unknown = message(MINIMAL + '[data.kinds]\n"missing semicolon" = 1.0\n')
    assert unknown.startswith("run.toml: [data.kinds] ") and "missing semicolon" in unknown
    assert message(MINIMAL.replace("examples", "steps = [0.0]\nexamples")).startswith("run.toml: 'steps' in [data]: ")
    assert message(MINIMAL.replace("examples", "stop = 1.0\nexamples")).startswith(
        "run.toml: [data] random_program and"
    )
    assert "run.toml is not valid TOML" in message("steps = ")


@pytest.mark.parametrize(
    ("section", "old", "sentence"),
    [
        ("training", "infill = 0.5", "'infill' in [training] is now called span_masking, in [objective]."),
        ("training", 'initial = "m"', "'initial' in [training] is now called init_from."),
        ("training", 'best = "toy_area"', "'best' in [training] is now called best_by."),
        ("optimizer", "average = 0.9", "'average' in [optimizer] is now called ema_decay."),
    ],
)
def test_a_key_of_an_older_recipe_gets_the_new_name(section, old, sentence):
    assert message(MINIMAL + f"[{section}]\n" * (section != "training") + old) == f"run.toml: {sentence}"


def test_a_recipe_is_found_by_path_and_by_the_name_of_one_that_ships(tmp_path, monkeypatch):
    assert find_recipe("toy").samefile("configs/toy.toml") and find_recipe("default").samefile("configs/default")
    assert {"tiny", "default", *PRESETS} <= {*shipped_recipes()}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy").write_text(MINIMAL)
    assert find_recipe("toy") == Path("toy") and find_recipe("nowhere.toml") == Path("nowhere.toml")
    with pytest.raises(ConfigError, match=r"There is no recipe 'fame': give a file, or one of .*tiny"):
        find_recipe("fame")


def test_a_file_that_cannot_be_read_gets_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read: No such file"):
        load_recipe(tmp_path / "nowhere.toml")


def test_sizes_that_do_not_go_together_are_a_config_error():
    with pytest.raises(ConfigError, match=r"\[model\]"):
        make_model_config(parse(MINIMAL.replace('"toy"', '"toy"\nheads = 7', 1)), vocab_size=9, site_kinds=3)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_begins_with_its_command(path):
    load_recipe(path)
    assert path.read_text().startswith(f"# kelp train {path}")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_sources_of_every_recipe_are_of_kinds_that_there_are(path):
    for source in load_recipe(path).data.sources:
        assert source.startswith("corpus:") or expand(source) == [source]


def test_there_are_recipes():
    assert {path.stem for path in RECIPES} >= PRESETS.keys()


def test_each_recipe_of_the_default_model_begins_with_the_model_of_the_one_before_it():
    first, *others = map(load_recipe, sorted(Path("configs/default").glob("*.toml")))
    assert first.training.init_from is None and len(others) == 4
    for before, recipe in zip((first, *others), others):
        assert recipe.training.init_from == recipe.data.tokenizer == before.training.out / "model"
    assert others[-1].export.merge == others[-1].training.init_from
