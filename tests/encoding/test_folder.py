"""encoding.json: what ids stand for is stored by name, and read back by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.encoding.hugging_face import lexical
from tests.programs import HARD, PYTHON, parse

from kelp.encoding.condition import Condition, EncodingConfig
from kelp.encoding.encoder import Encoder
from kelp.encoding.folder import load_encoding, read_encoding, same_encoding, save_encoding
from kelp.encoding.tokenizer import ImpliedSpaceTokenizer
from kelp.encoding.vocabulary import EncodingError
from kelp.repair.models import SHIPPED

ENCODERS = {
    "ours": Encoder(ImpliedSpaceTokenizer.train(HARD * 2, 500, PYTHON), EncodingConfig(max_spec=33)),
    "lexical": Encoder(lexical(HARD)),
}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_an_encoder_that_is_saved_and_loaded_encodes_the_same(encoder: Encoder, tmp_path: Path) -> None:
    save_encoding(tmp_path, encoder)
    loaded = load_encoding(tmp_path, PYTHON)
    assert (loaded.kinds, loaded.config, loaded.special) == (encoder.kinds, encoder.config, encoder.special)
    for source in HARD:
        states = [each.state(parse(source), Condition("Sum.", ("assert f(1)",))) for each in (encoder, loaded)]
        assert states[0].tokens == states[1].tokens and states[0].rows == states[1].rows
    assert load_encoding(tmp_path, PYTHON, EncodingConfig(max_intent=1)).config.max_intent == 1


def test_site_kinds_keep_their_numbers_when_the_code_orders_its_categories_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_encoding(tmp_path, ENCODERS["ours"])
    program = parse(HARD[2])
    before = load_encoding(tmp_path, PYTHON)
    reordered = replace(PYTHON, categories=PYTHON.categories[::-1])
    monkeypatch.setattr("kelp.encoding.vocabulary.OPERATIONS", ("delete", "insert", "replace"))
    after = load_encoding(tmp_path, reordered)
    assert after.language is reordered and Encoder(after.tokenizer).kinds != before.kinds
    assert after.state(program).rows == before.state(program).rows
    assert all((one == other).all() for one, other in zip(before.allowed(), after.allowed()))


def test_the_model_that_ships_has_an_encoding() -> None:
    folder = SHIPPED / "default"
    encoder = load_encoding(folder, PYTHON)
    config = json.loads((folder / "config.json").read_text())
    assert (encoder.tokenizer.size, len(encoder.kinds)) == (config["vocab_size"], config["kelp"]["site_kinds"])
    # Format 1 numbered operations with categories in this order, from 2 on; its weights know no other.
    numbers = {"replace program": 2, "replace name": 24, "insert program": 36, "delete program": 70}
    assert {kind: encoder.kinds.index(kind) for kind in numbers} == numbers
    assert list(encoder.special.ids.values()) == list(range(11))


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The folder after a change of its encoding.json."""
    path = folder / "encoding.json"
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored))
    return folder


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda e: e.update(schema=2), "has schema 2 and this Kelp reads 1: install the Kelp that made it"),
        (lambda e: e["special_tokens"].pop("<end>"), "is damaged"),
        (lambda e: e["special_tokens"].update({"<end>": 3}), "share an id"),
        (lambda e: e["site_kinds"].reverse(), "do not begin with padding and stop"),
        (lambda e: e["site_kinds"].append("replace regex"), "has the site kind 'replace regex', which this Kelp"),
        (lambda e: e.update(language="cobol"), "is for the language 'cobol', not 'python'"),
        (lambda e: e.update(tokenizer="words"), "has the tokenizer 'words', which this Kelp does not know"),
        (lambda e: e.update(vocabulary=501), "tokenizer.json and encoding.json do not go together"),
        (lambda e: e["limits"].update(max_tests=1), "is damaged"),
    ],
)
def test_an_encoding_that_would_be_misread_is_refused_in_a_sentence(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    save_encoding(tmp_path, ENCODERS["ours"])
    with pytest.raises(EncodingError, match=sentence):
        load_encoding(changed(tmp_path, change), PYTHON)


def test_a_kind_that_only_the_code_knows_is_no_error(tmp_path: Path) -> None:
    save_encoding(tmp_path, ENCODERS["ours"])
    encoder = load_encoding(changed(tmp_path, lambda e: e["site_kinds"].remove("replace name")), PYTHON)
    assert len(encoder.kinds) == len(ENCODERS["ours"].kinds) - 1


def test_a_folder_of_an_older_kelp_is_refused_in_a_sentence(tmp_path: Path) -> None:
    ENCODERS["ours"].tokenizer.save(tmp_path / "tokenizer.json")
    with pytest.raises(EncodingError, match=r"holds no encoding\.json, so an older Kelp made it: make it again"):
        read_encoding(tmp_path)
    (tmp_path / "encoding.json").write_text("{")
    with pytest.raises(EncodingError, match="cannot be read"):
        read_encoding(tmp_path)


def test_encodings_are_the_same_whatever_their_limits(tmp_path: Path) -> None:
    ours = ENCODERS["ours"]
    others = {
        "one": ours,
        "limits": Encoder(ours.tokenizer, EncodingConfig(max_spec=9)),
        "kinds": Encoder(ours.tokenizer, kinds=[*ours.kinds[:2], *ours.kinds[:1:-1]]),
        "tokens": ENCODERS["lexical"],
    }
    for name, encoder in others.items():
        (tmp_path / name).mkdir()
        save_encoding(tmp_path / name, encoder)
    same = [name for name in others if same_encoding(tmp_path / "one", tmp_path / name)]
    assert same == ["one", "limits"]
