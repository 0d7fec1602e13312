from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from tests.training.byte_model import LENGTH, SIZES, ByteModel, ByteRecipe

from kelp.model.transformer import Transformer
from kelp.training.plan import CHIPS, Chip, Collectives, Plan, count_collectives, plan_step, product_flops
from kelp.training.sharding import make_mesh

HLO = """
HloModule jit_step

%body (p: f32[4]) -> f32[4] {
  %gather = bf16[8,16]{1,0} all-gather(%p), replica_groups=[1,8]<=[8]
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %loop = f32[4] while(%x), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %sums = (f32[10]{0}, s32[]) all-reduce(%x, %n), to_apply=%add
}
"""


def test_products_count_as_often_as_their_loop_runs():
    def function(x, y):
        return jax.lax.scan(lambda z, _: (jnp.einsum("ij,jk->ik", z, y), None), x, None, length=3)[0]

    shapes = jax.ShapeDtypeStruct((2, 4), "float32"), jax.ShapeDtypeStruct((4, 4), "float32")
    assert product_flops(jax.make_jaxpr(function)(*shapes).jaxpr) == 3 * 2 * 2 * 4 * 4
    again = jax.make_jaxpr(jax.grad(lambda x, y: jax.checkpoint(function)(x, y).sum()))(*shapes)
    assert product_flops(again.jaxpr) >= 2 * 3 * 2 * 2 * 4 * 4  # forward, and the derivative in x


def test_collectives_count_as_often_as_their_loop_runs():
    assert count_collectives(HLO) == {"all-gather": Collectives(5, 5 * 256), "all-reduce": Collectives(1, 44)}


def test_the_estimate_of_the_speed_follows_from_products_and_collectives():
    mesh = {"data": 2, "fsdp": 1, "tensor": 1}
    plan = Plan(mesh, 10, 100, 20, 30, 6e12, 8e12, {"all-reduce": Collectives(1, 10**9)})
    chip = Chip(flops=1e12, memory=1e9, network=1e9)
    assert plan.bytes == 150 and plan.seconds(chip) == (4.0, 2.0)
    assert plan.mfu(chip) == pytest.approx((0.5, 0.75))
    assert plan.to_dict(CHIPS["v4"])["bytes"] == 150


def test_what_is_computed_again_is_not_kept_in_memory():
    class Deep(ByteModel):
        remat = False

        def init(self, key):
            return Transformer.init(replace(SIZES, layers=4, mlp_dim=512, remat=self.remat), key=key)

    def held(objective):
        rows = jax.ShapeDtypeStruct((64, LENGTH + 1), "int32")
        return plan_step(recipe, objective, rows, make_mesh(data=1)).temporary_bytes

    recipe = ByteRecipe.model_validate({"training": {"steps": 1}, "optimizer": {"name": "adamw"}})
    kept, again = Deep(recipe), Deep(recipe)
    again.remat = True
    assert held(again) < 0.6 * held(kept)
