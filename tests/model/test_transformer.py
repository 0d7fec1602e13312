import os
import subprocess
import sys
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kelp.model import masks
from kelp.model.config import TransformerConfig
from kelp.model.einsum import einsum
from kelp.model.transformer import Transformer, partition_specs

pytestmark = pytest.mark.slow

CONFIG = TransformerConfig(vocab_size=97, dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48)


@pytest.fixture(scope="module")
def inputs():
    tokens = jax.random.randint(jax.random.key(1), (2, 11), 1, CONFIG.vocab_size)
    positions = jnp.broadcast_to(jnp.arange(11), (2, 11))
    return tokens, positions, masks.causal(tokens != 0)


def test_a_causal_state_does_not_depend_on_later_tokens(inputs):
    tokens, positions, mask = inputs
    model = Transformer.init(CONFIG, key=jax.random.key(0))
    before = model(tokens, positions, mask)
    after = model(tokens.at[:, 6:].set(3), positions, mask)
    np.testing.assert_allclose(before[:, :6], after[:, :6], atol=1e-5)
    assert not np.allclose(before[:, 6:], after[:, 6:], atol=1e-3)


def test_a_mask_may_have_a_head_dimension(inputs):
    tokens, positions, mask = inputs
    model = Transformer.init(CONFIG, key=jax.random.key(0))
    np.testing.assert_array_equal(model(tokens, positions, mask), model(tokens, positions, mask[:, None]))


def test_only_distances_between_positions_matter(inputs):
    tokens, positions, mask = inputs
    model = Transformer.init(CONFIG, key=jax.random.key(0))
    np.testing.assert_allclose(model(tokens, positions, mask), model(tokens, positions + 100, mask), atol=1e-4)


def test_a_fully_masked_row_stays_finite_and_so_do_the_gradients(inputs):
    tokens, positions, mask = inputs
    model = Transformer.init(CONFIG, key=jax.random.key(0))
    grads = eqx.filter_grad(lambda m: m(tokens, positions, jnp.zeros_like(mask)).sum())(model)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_bfloat16_stays_close_to_float32(inputs):
    exact = Transformer.init(CONFIG, key=jax.random.key(0))
    rough = Transformer.init(replace(CONFIG, compute_dtype="bfloat16"), key=jax.random.key(0))
    a, b = exact(*inputs), rough(*inputs)
    assert b.dtype == jnp.float32
    assert float(jnp.abs(a - b).max()) < 0.1  # the states have unit variance
    assert not jnp.array_equal(a, b)


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_recomputing_blocks_changes_no_gradient(inputs, compute_dtype):
    def grads(remat):
        config = replace(CONFIG, remat=remat, compute_dtype=compute_dtype)
        model = Transformer.init(config, key=jax.random.key(0))
        return jax.tree.leaves(eqx.filter_grad(lambda m: (m.logits(m(*inputs)) ** 2).sum())(model))

    for a, b in zip(grads(False), grads(True)):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("spec", "x", "y"),
    [
        ("bsd,df->bsf", (2, 3, 4), (4, 5)),
        ("bskgh,btkh->bkgst", (2, 3, 2, 2, 4), (2, 5, 2, 4)),
        ("bkgst,tkh->bskgh", (2, 2, 2, 3, 5), (5, 2, 4)),
    ],
)
def test_the_derivatives_of_a_product_are_those_of_einsum(spec, x, y):
    x, y = jax.random.normal(jax.random.key(0), x), jax.random.normal(jax.random.key(1), y)
    ours = jax.grad(lambda x, y: jnp.sin(einsum(spec, x, y, "float32")).sum(), argnums=(0, 1))(x, y)
    plain = jax.grad(lambda x, y: jnp.sin(jnp.einsum(spec, x, y)).sum(), argnums=(0, 1))(x, y)
    for a, b in zip(ours, plain):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_every_weight_says_how_it_is_split():
    model = Transformer.init(replace(CONFIG, tie_embeddings=False), key=jax.random.key(0))
    specs = partition_specs(model)
    assert jax.tree.structure(specs) == jax.tree.structure(model)
    assert specs.blocks[1].mlp.down == P("tensor", "fsdp")
    for weight, spec in zip(jax.tree.leaves(model), jax.tree.leaves(specs)):
        assert len(spec) == weight.ndim


SHARDED = """
import equinox as eqx, jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P
from kelp.model import masks
from kelp.model.config import TransformerConfig
from kelp.model.transformer import Transformer, partition_specs, shardings

sizes = dict(vocab_size=64, dim=32, layers=1, heads=4, kv_heads=2, mlp_dim=64)
mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 3)
model = Transformer.init(TransformerConfig(**sizes), key=jax.random.key(0))
tokens = jnp.arange(4 * 6).reshape(4, 6) + 1
positions = jnp.broadcast_to(jnp.arange(6), (4, 6))

@jax.jit
@jax.value_and_grad
def loss(model, tokens):
    return (model.logits(model(tokens, positions, masks.causal(tokens != 0))) ** 2).mean()

place = lambda spec: NamedSharding(mesh, spec)
split = jax.device_put(model, shardings(model, mesh))
spread = jax.device_put(tokens, place(P(("data", "fsdp"))))
assert split.blocks[0].mlp.up.addressable_shards[0].data.shape == (16, 32)
compiled = loss.lower(split, spread).compile().as_text()
assert "all-reduce" in compiled or "all-gather" in compiled
here, there = loss(model, tokens), loss(split, spread)
for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(there)):
    assert jnp.allclose(a, jax.device_get(b), atol=1e-4), (a, b)
"""


def test_a_step_split_over_eight_devices_gives_what_one_device_gives():
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    subprocess.run([sys.executable, "-c", SHARDED], check=True, env=environment)
