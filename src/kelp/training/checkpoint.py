"""Checkpoints of a run with Orbax: asynchronous and atomic; the newest few and the best one stay."""

import json
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from kelp.errors import KelpError
from kelp.model.leaves import named_leaves, with_leaves
from kelp.training.step import TrainState


class CheckpointError(KelpError):
    """A checkpoint cannot be read or written; the message is one sentence that says what to do."""


def saved_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder that are whole."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())


class Checkpoints:
    """The checkpoints of a run: one sub-folder a step, renamed into place when whole.

    Each holds the items `weights` (to evaluate and export), `rest` (everything else that a step changes) and
    `progress` (JSON for the loop to resume from). Arrays are stored under their readable names.
    """

    def __init__(self, folder: Path, *, keep: int = 1, read_only: bool = False) -> None:
        self.folder = folder
        if read_only and not folder.is_dir():
            raise CheckpointError(f"{folder} holds no checkpoints: give the folder of a training run.")
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(f"{folder} is a file: checkpoints need a folder.")
        best = policies.BestN(get_metric_fn=_score, n=1)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), best]),
            save_decision_policy=policies.FixedIntervalPolicy(1),
            best_fn=_score,
            cleanup_tmp_directories=not read_only,
            create=not read_only,
        )
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
        for later in sorted(self._manager.all_steps(), reverse=True):
            if later > step:
                self._manager.delete(later)

    def save(self, state: TrainState, progress: dict[str, Any], *, score: float | None = None) -> None:
        """Begin to save; `state` may be donated once this returns. A step that is saved already stays as it is."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        # Orbax reads in the background, while the next step overwrites the arrays donated to it: hand it copies, in the
        # memory of the host, since on the device there may be no room for a second state.
        weights, rest = jax.tree.map(_on_host, _items(state))
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
        leaves = {
            f"{prefix}.{name}": leaf
            for name, leaf in self._restore(step, "weights", ocp.args.StandardRestore(weights)).items()
        }
        return with_leaves(like, leaves | self._restore(step, "rest", ocp.args.StandardRestore(rest)))

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
