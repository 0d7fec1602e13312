"""Norms of weights, gradients and activations for the log, each block of the model for itself."""

import re
from collections.abc import Callable

import jax
import optax

from kelp.model.leaves import named_leaves
from kelp.model.recorded import recording
from kelp.training.objective import Batch, Model, Objective


def make_norms(objective: Objective) -> Callable[[Model, Batch, jax.Array], dict[str, jax.Array]]:
    """Return the function (model, batch, key) -> norms by name; jitted.

    Norms of weights and of gradients, before clipping, are Euclidean. Norms of activations are the root mean square of
    the residual stream after each block, padding included.
    """

    @jax.jit
    def norms(model: Model, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        with recording() as activations:
            objective.loss(model, batch, key)
        gradients = jax.grad(objective.loss, has_aux=True)(model, batch, key)[0]
        return (
            {f"weights.{name}": value for name, value in _by_block(model).items()}
            | {f"gradients.{name}": value for name, value in _by_block(gradients).items()}
            | {f"activations.{name}": value for name, value in activations.items()}
        )

    return norms


def _by_block(tree: Model) -> dict[str, jax.Array]:
    """The norm of each block's leaves together, and of every other leaf."""
    groups = dict[str, list[jax.Array]]()
    for name, leaf in named_leaves(tree).items():
        block = re.match(r"(?:.*\.)?blocks\.\d+", name)
        groups.setdefault(block[0] if block else name, []).append(leaf)
    return {name: optax.tree.norm(leaves) for name, leaves in groups.items()}
