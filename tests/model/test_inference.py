"""Inference in NumPy against the same network in JAX, and against the golden logits of `transformers`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.model import inference
from kelp.model.config import DenoiserConfig, PrefixAttention, TransformerConfig
from kelp.model.denoiser import Denoiser
from kelp.model.folder import open_model, save_model
from kelp.model.leaves import named_leaves
from kelp.model.llama import by_leaf, denoiser_shapes, llama_config, transformer_shapes
from kelp.model.suffix_tree import SuffixTree
from kelp.model.tensors import open_tensors, read_json

GOLDEN = Path(__file__).parent / "golden"
SIZES = TransformerConfig(vocab_size=40, dim=32, layers=3, heads=4, kv_heads=2, mlp_dim=48, tie_embeddings=False)
TOKENS = np.random.default_rng(0).integers(4, 40, 11)
SITES = np.array([[0, 0, 1], [3, 4, 2], [3, 3, 3], [0, 0, 0], [10, 10, 5]])


def make(prefix: PrefixAttention = "bidirectional") -> Denoiser:
    return Denoiser.init(DenoiserConfig(SIZES, 6, 16, prefix), key=jax.random.key(0))


def numpy_of(model: Denoiser) -> inference.Denoiser:
    return inference.Denoiser.of(model.cfg, named_leaves(model))


@pytest.mark.parametrize("name", ["tied", "llama3", "linear"])
def test_a_llama_gives_the_logits_that_transformers_computes(name: str) -> None:
    folder, golden = GOLDEN / name, np.load(GOLDEN / "values.npz")
    sizes = llama_config(read_json(folder / "config.json"), folder)
    leaves = by_leaf(transformer_shapes(sizes), open_tensors(folder), folder)
    model = inference.Transformer.of(sizes, leaves)
    for tokens, wanted in zip(golden["tokens"], golden[name], strict=True):
        places = np.arange(len(tokens))
        states, _ = model.read(tokens, places, places <= places[:, None])
        np.testing.assert_allclose(model.logits(states), wanted, atol=1e-4, rtol=1e-4)
        log_probs = wanted - np.log(np.exp(wanted).sum(axis=-1, keepdims=True))
        given = model.log_probs(states[:-1], tokens[1:])
        np.testing.assert_allclose(given, log_probs[places[:-1], tokens[1:]], atol=1e-4)


def test_the_shapes_of_leaves_are_those_that_jax_makes() -> None:
    for tied in (True, False):
        sizes = TransformerConfig.from_dict(SIZES.to_dict() | {"tie_embeddings": tied})
        config = DenoiserConfig(sizes, 6, 16)
        made = jax.eval_shape(lambda config=config: Denoiser.init(config, key=jax.random.key(0)))
        assert denoiser_shapes(config) == {name: leaf.shape for name, leaf in named_leaves(made).items()}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["bidirectional", "causal", "upper third bidirectional"])
def test_sites_and_edits_are_as_likely_as_in_one_pass_of_jax(prefix: PrefixAttention) -> None:
    """Three edits of one program, two of which begin alike: (span, text)."""
    edit, until, end = 1, 2, 3
    edits = [((3, 5), [8, 9]), ((3, 5), [8, 7, 6]), ((10, 10), [])]
    model, tree = make(prefix), SuffixTree()
    site, cache = numpy_of(model).encode(TOKENS.tolist(), SITES)
    length, room, ends = len(TOKENS), 5, []
    tokens, positions, segments = (np.zeros((3, length + room), int) for _ in range(3))
    for row, ((start, stop), text) in enumerate(edits):
        own, places = [edit, until, *text], [start, stop, *range(start, start + len(text))]
        ends.append(tree.add(own, places, [-1, *text, end]))
        size = length + len(own)
        tokens[row, :size], positions[row, :size] = [*TOKENS, *own], [*range(length), *places]
        segments[row, :length], segments[row, length:size] = 1, 2
    suffix, sites = np.tile(length + np.arange(room), (3, 1)), np.tile(SITES, (3, 1, 1))
    where, logits = model(*map(jnp.asarray, (tokens, positions, segments, sites, suffix)))
    np.testing.assert_allclose(site, where[0], atol=1e-4)
    assert site[3] == -np.inf  # kind 0 is padding
    log_probs = np.asarray(jax.nn.log_softmax(logits))
    found = numpy_of(model).transformer.path_log_probs(tree, cache, end=end)
    for row, (_, text) in enumerate(edits):
        plain = sum(log_probs[row, 1 + i, token] for i, token in enumerate([*text, end]))
        assert found[ends[row]] == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("queries", [1, 4])
def test_states_do_not_depend_on_how_many_queries_are_computed_at_a_time(
    queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, places = numpy_of(make()).transformer, np.arange(len(TOKENS))
    whole, _ = model.read(TOKENS, places, places <= places[:, None])
    monkeypatch.setattr(inference, "ROWS", queries)
    first, cache = model.read(TOKENS[:6], places[:6], places[:6] <= places[:6, None])
    rest, _ = model.read(TOKENS[6:], places[6:], places <= places[6:, None], past=cache)
    np.testing.assert_allclose(np.concatenate([first, rest]), whole, atol=1e-5)


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 0), ("bfloat16", 0.05), ("int8", 0.1)])
def test_weights_are_read_in_each_type_that_they_are_stored_in(dtype: str, atol: float, tmp_path: Path) -> None:
    model, tokenizer = make(), tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    save_model(tmp_path / "model", named_leaves(model), model.cfg, files=[tokenizer], dtype=dtype)  # type: ignore[arg-type]
    sizes, leaves, section = open_model(tmp_path / "model", bits=True)
    stored = inference.Denoiser.of(sizes, leaves)
    assert section["parameters"] == sum(leaf.size for leaf in named_leaves(model).values())
    (plain, _), (found, _) = (each.encode(TOKENS.tolist(), SITES[:3]) for each in (numpy_of(model), stored))
    np.testing.assert_allclose(found, plain, atol=atol)
    assert (np.abs(found - plain).max() > 0) == (dtype != "float32")
