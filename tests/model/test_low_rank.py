import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kelp.model.config import TransformerConfig
from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.low_rank import PROJECTIONS, adapt, merged, without_adapters
from kelp.model.masks import causal
from kelp.model.transformer import Transformer, partition_specs

SIZES = TransformerConfig(vocab_size=11, dim=16, layers=2, heads=4, kv_heads=2, mlp_dim=20)
TOKENS = jnp.array([[1, 5, 2, 8, 3]])


def states(model: Transformer) -> np.ndarray:
    return np.asarray(model(TOKENS, jnp.arange(5)[None], causal(jnp.ones((1, 5), bool))))


@pytest.fixture(scope="module")
def model() -> Transformer:
    return Transformer.init(SIZES, key=jax.random.key(0))


def trained(model: Transformer, *projections: str) -> Transformer:
    """Adapters of rank 3 with random factors, as if training had moved them."""
    adapted = adapt(model, projections or PROJECTIONS, rank=3, alpha=6.0, key=jax.random.key(1))
    leaves = named_leaves(adapted)
    rng = np.random.default_rng(0)
    moved = {
        n: jnp.asarray(rng.normal(0, 0.2, leaf.shape), jnp.float32) for n, leaf in leaves.items() if n.endswith(".b")
    }
    return with_leaves(adapted, leaves | moved)


def test_a_fresh_adapter_changes_nothing(model):
    adapted = adapt(model, PROJECTIONS, rank=3, alpha=6.0, key=jax.random.key(1))
    np.testing.assert_array_equal(states(adapted), states(model))
    assert sum(name.endswith(".a") for name in named_leaves(adapted)) == 7 * SIZES.layers


def test_an_adapted_projection_computes_the_sum_of_its_matrices(model):
    adapted = trained(model)
    whole = merged({name: np.asarray(leaf) for name, leaf in named_leaves(adapted).items()}, scale=2.0)
    assert whole.keys() == named_leaves(model).keys()
    np.testing.assert_allclose(states(with_leaves(model, whole)), states(adapted), atol=2e-5)
    assert np.abs(states(adapted) - states(model)).max() > 0.1
    # By hand, for one matrix: base + 6 / 3 * a b.
    up = adapted.blocks[1].mlp.up
    np.testing.assert_allclose(whole["blocks.1.mlp.up"], up.base + 2 * up.a @ up.b, atol=1e-6)


def test_the_model_without_its_adapters_is_the_one_before(model):
    assert jax.tree.all(jax.tree.map(np.array_equal, without_adapters(trained(model)), model))


def test_only_the_projections_named_get_adapters(model):
    names = {name.split(".")[-2] for name in named_leaves(trained(model, "query", "down")) if name.endswith(".a")}
    assert names == {"query", "down"}


def test_factors_are_split_over_devices_as_their_projection_is(model):
    specs = named_leaves(partition_specs(trained(model)))
    assert specs["blocks.0.attention.query.base"] == P("fsdp", "tensor", None, None)
    assert specs["blocks.0.attention.query.a"] == P("fsdp", None)
    assert specs["blocks.0.attention.query.b"] == P(None, "tensor", None, None)
    assert specs["blocks.0.attention.out.a"] == P("tensor", None, None, None)
    assert specs["blocks.0.attention.out.b"] == P(None, "fsdp")
