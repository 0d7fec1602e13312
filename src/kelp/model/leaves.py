"""Leaves of a pytree by readable names, such as `transformer.blocks.0.attention.query`."""

from typing import Any

import jax


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree, each under its path with dots between the keys."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def with_leaves(tree: Any, leaves: dict[str, Any]) -> Any:
    """`tree` with each leaf replaced by the one of that name in `leaves`. Raises KeyError on a missing name."""
    return jax.tree.unflatten(jax.tree.structure(tree), [leaves[name] for name in named_leaves(tree)])
