"""Compare the losses of tokens and their gradients on a mesh of four devices with those on one; a script for tests."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from kelp.lm.loss import predict
from kelp.model.config import TransformerConfig
from kelp.model.placement import BATCH
from kelp.model.transformer import Transformer
from kelp.training.plan import count_collectives, product_flops
from kelp.training.sharding import make_mesh

LENGTH = 512  # four chunks


def main() -> None:
    cfg = TransformerConfig(vocab_size=32, dim=8, layers=1, heads=2, kv_heads=1, mlp_dim=8, remat=True)
    model = Transformer.init(cfg, key=jax.random.key(0))
    hidden, tokens = jax.random.normal(jax.random.key(1), (4, LENGTH, 8)), jnp.arange(4 * LENGTH).reshape(4, -1) % 32

    def loss(table: jax.Array, hidden: jax.Array, tokens: jax.Array) -> jax.Array:
        return predict(replace(model, embedding=table), hidden, tokens)[0].sum()

    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    alone = run(model.embedding, hidden, tokens)
    for axes in ({"fsdp": 4}, {"fsdp": 2, "tensor": 2}):
        mesh = make_mesh(**axes)
        rows = NamedSharding(mesh, P(BATCH))
        placed = jax.device_put((hidden, tokens), rows)
        table = jax.device_put(model.embedding, NamedSharding(mesh, P("fsdp", None)))
        with jax.set_mesh(mesh):
            together = run(table, *placed)
            products = product_flops(jax.make_jaxpr(run)(table, *placed).jaxpr)
            found = count_collectives(run.lower(table, *placed).compile().as_text())
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(together)):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert products == product_flops(jax.make_jaxpr(run)(model.embedding, hidden, tokens).jaxpr)
        table_bytes = model.embedding.size * 4
        gathered = found["all-gather"].bytes if "all-gather" in found else 0
        assert gathered <= 2 * table_bytes, (axes, found)  # and not once a chunk


if __name__ == "__main__":
    main()
