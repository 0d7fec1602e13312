import jax
import jax.numpy as jnp
import pytest

from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.transformer import RMSNorm


def tree() -> dict[str, object]:
    return {"norms": (RMSNorm.init(3, 1e-5), RMSNorm.init(2, 1e-5)), "step": jnp.int32(7)}


def test_names_are_paths_with_dots():
    assert named_leaves(tree()).keys() == {"norms.0.scale", "norms.1.scale", "step"}


def test_named_leaves_put_a_tree_back_together():
    leaves = named_leaves(tree())
    again = with_leaves(jax.eval_shape(tree), leaves)
    assert jax.tree.structure(again) == jax.tree.structure(tree())
    assert all(a is b for a, b in zip(jax.tree.leaves(again), leaves.values()))


def test_a_missing_name_is_an_error():
    with pytest.raises(KeyError, match="step"):
        with_leaves(tree(), {"norms.0.scale": 0, "norms.1.scale": 0})
