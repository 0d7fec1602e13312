"""Checkpoints of a run with Orbax: asynchronous and atomic; the newest few and the best one stay."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from kelp.bucket import fetch, following, url
from kelp.errors import KelpError
from kelp.model.leaves import named_leaves, with_leaves
from kelp.training.distributed import at_writer, gather, is_writer, writer_first
from kelp.training.step import TrainState


class CheckpointError(KelpError):
    """A checkpoint cannot be read or written; the message is one sentence that says what to do."""


def saved_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder that are whole."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())


@contextmanager
def kept(run: Path) -> Iterator[None]:
    """Fetch a run's folder that is in a bucket, and upload it whenever a checkpoint is whole and after the block.

    For any other folder nothing happens. Every process calls this; one uploads. Raises KelpError.
    """
    with writer_first():  # processes of one machine have one copy
        fetch(run)
    with following(run, lambda: saved_steps(run / "checkpoints")) if is_writer() else nullcontext():
        yield
    if url(run):
        gather(None)  # the last upload may take long


class Checkpoints:
    """The checkpoints of a run: one sub-folder a step, renamed into place when whole.

    Each holds the items `weights` (to evaluate and export), `rest` (everything else that a step changes) and
    `progress` (JSON for the loop to resume from). Arrays are stored under their readable names.

    Several processes write into a folder that they share, each the arrays that it holds. With `shared=False`, where
    each has a copy of its own, process 0 writes the whole arrays into its copy, and every process restores from its
    own. In both cases every process calls each method alike.
    """

    def __init__(self, folder: Path, *, keep: int = 1, read_only: bool = False, shared: bool = True) -> None:
        self.folder, self._copies = folder, not shared and jax.process_count() > 1
        own = jax.process_index()
        if read_only and not folder.is_dir():
            raise CheckpointError(f"{folder} holds no checkpoints: give the folder of a training run.")
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(f"{folder} is a file: checkpoints need a folder.")
        best = policies.BestN(get_metric_fn=_score, n=1)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), best]),
            save_decision_policy=policies.FixedIntervalPolicy(1),
            best_fn=_score,
            cleanup_tmp_directories=not read_only and (is_writer() or not self._copies),
            create=not read_only,
        )
        if self._copies:  # Orbax waits for no other process
            options.multiprocessing_options = ocp.options.MultiprocessingOptions(own, {own}, f"kelp{own}")
            options.create = False
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self._manager = ocp.CheckpointManager(
                folder.absolute(), options=options, item_names=("weights", "rest", "progress")
            )
        except Exception as error:  # Orbax documents none; on any, the folder is of no use
            raise CheckpointError(f"{folder} cannot be used for checkpoints: {_first_line(error)}.") from error

    def newest(self) -> int | None:
        step: int | None = self._manager.latest_step()
        return step

    def best(self) -> int | None:
        """The step of the highest score; the newest where none was scored."""
        step: int | None = self._manager.best_step()
        return step

    def find(self, which: Literal["newest", "best"] | int) -> int:
        """The step of a checkpoint, given by its number or its role. Raises CheckpointError where it is not there."""
        steps = sorted(self._manager.all_steps())
        step = self.newest() if which == "newest" else self.best() if which == "best" else which
        if step is None or step not in steps:
            there = f"those of steps {', '.join(map(str, steps))}" if steps else "none"
            raise CheckpointError(f"{self.folder} lacks the checkpoint {which}: it holds {there}.")
        return step

    def drop_after(self, step: int) -> None:
        """Delete the checkpoints of later steps."""
        if self._copies and not is_writer():
            return
        for later in sorted(self._manager.all_steps(), reverse=True):
            if later > step:
                self._manager.delete(later)

    def save(self, state: TrainState, progress: dict[str, Any], *, score: float | None = None) -> None:
        """Begin to save; `state` may be donated once this returns. A step that is saved already stays as it is."""
        step, items = int(state.step), _items(state)
        if self._copies:
            found = at_writer(items)
            if found is None or step in self._manager.all_steps():
                return
            weights, rest = found
        elif step in self._manager.all_steps():
            return
        else:
            # Orbax reads in the background, while the next step overwrites the arrays donated to it: hand it copies, in
            # the memory of the host, since on the device there may be no room for a second state.
            weights, rest = jax.tree.map(_on_host, items)
        progress = json.loads(json.dumps(progress))
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    weights=ocp.args.StandardSave(weights),
                    rest=ocp.args.StandardSave(rest),
                    progress=ocp.args.JsonSave(progress),
                ),
                metrics={} if score is None else {"score": score},
            )
        except Exception as error:
            raise CheckpointError(f"{self.folder}/{step} cannot be written: {_first_line(error)}.") from error

    def progress(self, step: int) -> dict[str, Any]:
        """The `progress` saved at a step. Raises CheckpointError."""
        progress: dict[str, Any] = self._restore(step, "progress", ocp.args.JsonRestore())
        return progress

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state at a step; `like` has its shapes and shardings. Raises CheckpointError."""
        weights, rest = _items(like)
        prefix = "model" if like.ema is None else "ema"
        leaves = {f"{prefix}.{name}": leaf for name, leaf in self._arrays(step, "weights", weights).items()}
        return with_leaves(like, leaves | self._arrays(step, "rest", rest))

    def restore_weights(self, step: int) -> dict[str, np.ndarray]:
        """The weights to export by name. Raises CheckpointError."""
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        weights: dict[str, np.ndarray] = jax.device_get(
            self._restore(step, "weights", ocp.args.StandardRestore(fallback_sharding=device))
        )
        return weights

    def close(self) -> None:
        """Wait for the save under way, then let go of the folder. Raises CheckpointError when that save failed."""
        try:
            self._manager.close()
        except Exception as error:
            raise CheckpointError(
                f"{self.folder}: the last checkpoint was not written: {_first_line(error)}."
            ) from error

    def _arrays(self, step: int, item: str, like: dict[str, Any]) -> dict[str, Any]:
        if not self._copies:
            arrays: dict[str, Any] = self._restore(step, item, ocp.args.StandardRestore(like))
            return arrays
        host = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
        whole = self._restore(step, item, ocp.args.StandardRestore(fallback_sharding=host))

        def place(shape: jax.ShapeDtypeStruct, array: Any) -> jax.Array:  # a copy: a step overwrites the state's arrays
            array = np.asarray(array)
            return jax.make_array_from_callback(
                shape.shape, shape.sharding, lambda part: np.array(array[part], shape.dtype)
            )

        return {name: place(shape, whole[name]) for name, shape in like.items()}

    def _restore(self, step: int, item: str, how: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: how}))[item]
        except Exception as error:
            raise CheckpointError(
                f"{self.folder}/{step} is damaged; delete that folder to go back to the checkpoint before it "
                f"({_first_line(error)})."
            ) from error


def _score(metrics: dict[str, float]) -> float:
    return metrics.get("score", float("-inf"))


def _items(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights to export by name, and the other leaves by name."""
    weights = named_leaves(state.eval_model)
    prefix = "model." if state.ema is None else "ema."
    rest = {name: leaf for name, leaf in named_leaves(state).items() if not name.startswith(prefix)}
    return weights, rest


def _on_host(leaf: jax.Array) -> jax.Array:
    return jax.device_put(leaf, leaf.sharding.with_memory_kind("pinned_host"))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
