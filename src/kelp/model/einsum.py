"""Products of two arrays in a chosen type, accumulated in float32."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kelp.model.low_rank import LowRank


def einsum(spec: str, x: Array, y: Array | LowRank, dtype: str) -> Array:
    """Product of two arrays from operands rounded to `dtype`, accumulated and returned in float32.

    `y` may be a projection with an adapter, whose thin matrices are multiplied one after the other.

    Each letter of `spec` stands in at least two of its three terms, so both derivatives are einsums with the terms
    swapped. They are written out because autodiff would multiply in float32 operands that are here rounded to `dtype`.
    """
    if isinstance(y, LowRank):
        x_axes, (weight_axes, out_axes) = spec.split(",")[0], spec.split(",")[1].split("->")
        ins, outs = weight_axes[: y.inputs], weight_axes[y.inputs :]
        low_axes = "".join(axis for axis in x_axes if axis not in ins) + "z"
        low = einsum(f"{x_axes},{ins}z->{low_axes}", x, y.a, dtype)
        return einsum(spec, x, y.base, dtype) + y.scale * einsum(f"{low_axes},z{outs}->{out_axes}", low, y.b, dtype)
    # A derivative has the type of its operand: the cast, outside, returns to weights that are stored in bfloat16.
    return _einsum(spec, x.astype(jnp.float32), y.astype(jnp.float32), dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def _einsum(spec: str, x: Array, y: Array, dtype: str) -> Array:
    return jnp.einsum(spec, x.astype(dtype), y.astype(dtype), preferred_element_type=jnp.float32)


def _forward(spec: str, x: Array, y: Array, dtype: str) -> tuple[Array, tuple[Array, Array]]:
    x, y = x.astype(dtype), y.astype(dtype)
    return jnp.einsum(spec, x, y, preferred_element_type=jnp.float32), (x, y)


def _backward(spec: str, dtype: str, operands: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
    left, out = spec.split("->")
    a, b = left.split(",")
    x, y = operands
    grad = grad.astype(dtype)
    product = partial(jnp.einsum, preferred_element_type=jnp.float32)
    return product(f"{out},{b}->{a}", grad, y), product(f"{a},{out}->{b}", x, grad)


_einsum.defvjp(_forward, _backward)
