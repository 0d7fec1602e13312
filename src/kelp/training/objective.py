"""Objective: a model, its loss and its data, as training uses them.

The loop, the step, sharding, checkpoints and the export work with any objective and name no model. Another model
needs one such class; `tests/training/byte_model.py` is one of 70 lines.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from kelp.errors import KelpError

Model = Any  # a pytree of float32 weights, each with a declared partition (`partition_specs`)
Batch = Any  # a pytree of NumPy arrays with the examples along the first axis of each
Dtype = Literal["float32", "bfloat16"]
Metrics = dict[str, jax.Array]  # scalars, "loss" among them; NaN where a batch holds nothing to measure
Row = dict[str, Any]  # JSON for the log, under plain names


class TrainingError(KelpError):
    """Training cannot start or go on; the message is one sentence that says what to do."""


class Objective(Protocol):
    """A model, its loss and its data. Every method is a pure function, so that a run resumes bit for bit."""

    @property
    def metrics(self) -> Mapping[str, bool]:
        """Names of the loss's metrics: whether more is better."""

    @property
    def unit(self) -> str:
        """Plural of the word for what `weight` counts, in the log."""

    @property
    def no_decay(self) -> tuple[str, ...]:
        """Parts of the names of weights that weight decay leaves alone."""

    @property
    def description(self) -> dict[str, Any]:
        """JSON for every checkpoint, from which, with the run's configuration, an export makes the objective again."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files to copy into a run's folder, so that it can be exported without its data, such as a tokenizer."""

    def init(self, key: jax.Array) -> Model:
        """Random weights."""

    def load(self, folder: Path) -> dict[str, jax.Array]:
        """Weights of an exported model by name, for those of `init`; others keep their random values.

        Raises ModelError, or TrainingError where they do not fit.
        """

    def save(self, out: Path, weights: dict[str, np.ndarray], *, dtype: Dtype, origin: dict[str, Any]) -> None:
        """Write weights, given by name, as a model folder; `origin` is JSON about the run. Raises ModelError."""

    def loss(self, model: Model, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The loss and its metrics. `key` belongs to (seed, step); see `row_keys`."""

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""

    def valid_batches(self) -> Iterable[Batch]:
        """The held-out batches, the same ones each time."""

    def reports(self, model: Model, step: int) -> Iterable[tuple[str, Row]]:
        """Further rows for the log after a step, each with its kind, such as samples; step 0 is before the first."""

    def empty(self, batch: Batch, rows: int) -> Batch:
        """`rows` examples of a batch's shape that add nothing to the loss."""

    def weight(self, batch: Batch) -> int:
        """Number of examples that are not empty, or of other units: a batch's weight in means over batches."""


@dataclass(frozen=True)
class Evaluation:
    """A measure of a model beside the held-out loss."""

    metrics: Mapping[str, bool]  # names: whether more is better
    measure: Callable[[Model, int], dict[str, float]]  # of the weights at a step; a metric without a value is left out


def row_keys(key: jax.Array, rows: int) -> jax.Array:
    """A key for each row of a batch: its draws depend on (seed, step, row) alone, not on padding or the mesh."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(rows))
