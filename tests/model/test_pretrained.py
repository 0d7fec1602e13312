"""Llama folders. The golden values are those of `transformers`: see make_golden.py."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.model import masks
from kelp.model.config import RopeScaling
from kelp.model.leaves import named_leaves
from kelp.model.llama import llama_config
from kelp.model.pretrained import read_llama, write_llama
from kelp.model.tensors import ModelError, open_tensors

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden"
VARIANTS = ("tied", "llama3", "linear")


def causal_logits(model, tokens):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return model.logits(model(tokens, positions, masks.causal(jnp.ones(tokens.shape, bool))))


def digest(folder):
    """SHA-256 of the bytes of a folder that `write_llama` wrote."""
    return hashlib.sha256(b"".join((folder / n).read_bytes() for n in ("config.json", "model.safetensors"))).hexdigest()


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "values.npz"))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_llama_gives_the_logits_that_transformers_computes(name, golden):
    model = read_llama(GOLDEN / name)
    np.testing.assert_allclose(causal_logits(model, golden["tokens"]), golden[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama3", "linear"])
def test_without_its_scaling_of_the_rotation_it_does_not(name, golden):
    model = read_llama(GOLDEN / name)
    plain = replace(model, cfg=replace(model.cfg, rope_scaling=None))
    assert np.abs(causal_logits(plain, golden["tokens"]) - golden[name]).max() > 0.1


def test_the_frequencies_of_llama_3_1_are_those_of_transformers(golden):
    scaling = RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)
    frequencies = scaling(5e5 ** (-jnp.arange(64) / 64))
    np.testing.assert_allclose(frequencies, golden["llama31_frequencies"], rtol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_written_folders_are_byte_for_byte_those_that_transformers_was_seen_to_load(name, tmp_path):
    """`make golden` loads these bytes and compares the logits."""
    write_llama(tmp_path, read_llama(GOLDEN / name))
    ours, theirs = open_tensors(tmp_path), open_tensors(GOLDEN / name)
    assert ours.keys() == theirs.keys()
    for tensor, values in theirs.items():
        assert ours[tensor].dtype == values.dtype and np.array_equal(ours[tensor], values), tensor
    assert digest(tmp_path) == json.loads((GOLDEN / "loaded.json").read_text())[name]
    assert read_llama(tmp_path).cfg == read_llama(GOLDEN / name).cfg


def test_weights_keep_the_type_that_they_are_stored_in_unless_told_otherwise(tmp_path):
    def dtypes(model):
        return {leaf.dtype.name for leaf in jax.tree.leaves(model)}

    kept = read_llama(GOLDEN / "llama3")
    assert dtypes(kept) == {"bfloat16"}
    exact = read_llama(GOLDEN / "llama3", dtype="float32")
    assert dtypes(exact) == {"float32"}
    for ours, theirs in zip(jax.tree.leaves(kept), jax.tree.leaves(exact), strict=True):
        np.testing.assert_array_equal(ours.astype(jnp.float32), theirs)
    write_llama(tmp_path, exact, dtype="bfloat16", keys={"max_position_embeddings": 512})
    assert {array.dtype.name for array in open_tensors(tmp_path).values()} == {"bfloat16"}
    assert json.loads((tmp_path / "config.json").read_text())["max_position_embeddings"] == 512


def test_a_model_with_weights_in_bfloat16_has_gradients_in_bfloat16(golden):
    model = read_llama(GOLDEN / "llama3", compute_dtype="bfloat16")
    grads = jax.grad(lambda model: (causal_logits(model, golden["tokens"]) ** 2).mean())(model)
    assert all(leaf.dtype == jnp.bfloat16 and jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_with_a_mesh_every_weight_is_read_onto_its_place():
    mesh = jax.make_mesh((1, 1), ("fsdp", "tensor"))
    placed, plain = (named_leaves(read_llama(GOLDEN / "llama3", mesh=m)) for m in (mesh, None))
    for name, leaf in placed.items():
        assert leaf.sharding.mesh == mesh
        np.testing.assert_array_equal(leaf, plain[name])
    assert placed["blocks.1.mlp.up"].sharding.spec == jax.sharding.PartitionSpec("fsdp", "tensor")


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(GOLDEN / "llama3", tmp_path / "llama"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "qwen2"}, "has model_type = 'qwen2' in config.json, and Kelp computes 'llama' alone"),
        ({"attention_bias": True}, "has attention_bias = True"),
        ({"mlp_bias": True}, "has mlp_bias = True"),
        ({"use_qk_norm": True}, "has use_qk_norm = True"),
        ({"sliding_window": 4096}, "has sliding_window = 4096"),
        ({"hidden_act": "gelu"}, "has hidden_act = 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "has rope_type = 'yarn' in config.json"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "has rope_type = 'dynamic' in config.json"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor of rope_type 'llama3' must be"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "mscale": 1.0}}, "mscale"),
        (
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "has partial_rotary_factor = 0.5",
        ),
        ({"num_attention_heads": 3}, "heads must be a multiple of kv_heads, got heads=3"),
    ],
)
def test_a_model_that_computes_otherwise_is_refused_by_its_key(folder, change, message):
    keys = json.loads((folder / "config.json").read_text()) | change
    with pytest.raises(ModelError, match=message):
        llama_config(keys, folder)


def test_both_spellings_of_the_rotation_are_read(folder):
    keys = json.loads((folder / "config.json").read_text())
    rope = keys.pop("rope_parameters")
    older = keys | {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {k: v for k, v in rope.items() if k != "rope_theta"},
    }
    assert llama_config(older, folder) == llama_config(keys | {"rope_parameters": rope}, folder)
    plain = llama_config(keys | {"rope_theta": 5e5, "rope_scaling": None}, folder)
    assert (plain.rope_theta, plain.rope_scaling) == (5e5, None)


def test_a_folder_that_lacks_something_is_refused_by_name(folder):
    shard = sorted(folder.glob("model-*.safetensors"))[0]
    data = shard.read_bytes()
    shard.unlink()
    with pytest.raises(ModelError, match=rf"{shard.name} is missing"):
        read_llama(folder)
    for bad in (data[:-1], b"", b"\xff" * 100):
        shard.write_bytes(bad)
        with pytest.raises(ModelError, match=rf"{shard.name} is damaged"):
            read_llama(folder)
    shard.write_bytes(data)
    keys = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(keys | {"num_hidden_layers": 3}))
    with pytest.raises(ModelError, match=r"model\.layers\.2\.\S+ is missing in"):
        read_llama(folder)
    (folder / "config.json").write_text(json.dumps(keys | {"num_hidden_layers": 1}))
    with pytest.raises(ModelError, match=r"holds model\.layers\.1\.\S+, which is no part of"):
        read_llama(folder)
    (folder / "config.json").write_text(json.dumps(keys | {"intermediate_size": 40}))
    with pytest.raises(ModelError, match=r"has shape \(48, 32\) where config.json says \(40, 32\)"):
        read_llama(folder)
    del keys["hidden_size"]
    (folder / "config.json").write_text(json.dumps(keys))
    with pytest.raises(ModelError, match="lacks 'hidden_size'"):
        read_llama(folder)
    (folder / "config.json").write_text("[")
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        read_llama(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        read_llama(folder)
