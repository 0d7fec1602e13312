"""Objective: a model, its loss and its data, as training uses them.

The loop, the step, sharding, checkpoints and the export work with any objective and name no model. Another model
needs one such class; `tests/training/byte_model.py` is one of 70 lines.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from kelp.errors import KelpError
from kelp.training.part import WHOLE, Part

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

    def batch(self, step: int, part: Part = WHOLE) -> Batch:
        """A part of the batch of a step, counted from 0. Its empty rows add nothing to the loss."""

    def valid_batches(self, part: Part = WHOLE) -> Iterable[Batch]:
        """A part of each held-out batch, the same ones each time."""

    def reports(self, model: Model, step: int) -> Iterable[tuple[str, Row]]:
        """Further rows for the log after a step, each with its kind, such as samples; step 0 is before the first.

        Where several processes train, each calls this, with weights that are spread over all (`whole_here`).
        """

    def weight(self, batch: Batch) -> Any:
        """Number of examples that are not empty, or of other units: a batch's weight in means over batches.

        The batch may be one of NumPy's arrays or, traced, of JAX's.
        """


@dataclass(frozen=True)
class Evaluation:
    """A measure of a model beside the held-out loss."""

    metrics: Mapping[str, bool]  # names: whether more is better
    measure: Callable[[Model, int], dict[str, float]]  # of the weights at a step; a metric without a value is left out


def row_keys(key: jax.Array, rows: int) -> jax.Array:
    """A key for each row of a batch: its draws depend on (seed, step, row) alone, not on padding or the mesh."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(rows))


def check_sizes(folder: Path, ours: Mapping[str, Any], theirs: Mapping[str, Any], *, but_for: Collection[str]) -> None:
    """Raise TrainingError where a size of a folder's model, by name, is not this run's."""
    key = next((key for key in theirs if key not in but_for and ours[key] != theirs[key]), None)
    if key is not None:
        raise TrainingError(f"{folder} has {key} = {theirs[key]} and this run {ours[key]}: give both the same sizes.")
