"""Root mean squares of activations for the log, within `recording`; elsewhere nothing is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax.numpy as jnp
from jaxtyping import Array, Float

_FOUND: ContextVar[dict[str, Float[Array, ""]] | None] = ContextVar("found", default=None)


def record(name: str, values: Array) -> None:
    """Add the root mean square of these values to the dict of `recording`, if that is under way."""
    found = _FOUND.get()
    if found is not None:
        found[name] = jnp.sqrt(jnp.mean(jnp.square(values)))


@contextmanager
def recording() -> Iterator[dict[str, Float[Array, ""]]]:
    """Root mean squares by name of the values that are recorded within; they belong to the trace around this."""
    found: dict[str, Float[Array, ""]] = {}
    before = _FOUND.set(found)
    try:
        yield found
    finally:
        _FOUND.reset(before)
