"""Export of a run: a checkpoint's weights as a model folder, or their mean with another model's."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kelp.training.checkpoint import CheckpointError, Checkpoints
from kelp.training.objective import Dtype, Objective


def export_run(
    run: Path,
    out: Path,
    revive: Callable[[Path, dict[str, Any]], Objective],
    *,
    step: int | None = None,
    dtype: Dtype = "float32",
    merge: Path | None = None,
    share: float = 0.5,
) -> int:
    """Write the best checkpoint of a training run (or that of `step`) as a model folder; return its step.

    `revive(run, progress)` makes the run's objective again, without its data, from the `progress` of a checkpoint.
    With `merge`, the folder of a model that the run began with, or of another that began with the same one, the
    weights are the mean of both, in which `share` is the weight of that model: where training went from one to the
    other without leaving a valley, the mean is often better than either (Wortsman et al. 2022, "Model soups", arXiv
    2203.05482).
    Raises CheckpointError, ModelError, TrainingError.
    """
    checkpoints = Checkpoints(run / "checkpoints", read_only=True)
    chosen = checkpoints.best() if step is None else step
    if chosen is None:
        raise CheckpointError(f"{run} holds no whole checkpoint yet.")
    progress = checkpoints.progress(chosen)
    if "description" not in progress:
        raise CheckpointError(f"{run} was trained by an older Kelp: export it with that one.")
    objective, weights = revive(run, progress), checkpoints.restore_weights(chosen)
    origin = {
        "step": chosen,
        objective.unit: progress["examples"],
        "metrics": progress["metrics"],
        "run": progress["config"],
    }
    if merge is not None:
        other = objective.load(merge)
        weights = {name: (1 - share) * array + share * np.asarray(other[name]) for name, array in weights.items()}
        origin["merge"] = {"model": str(merge), "sha256": _sha256(merge), "share": share}
        origin["metrics"] = {}  # those are of the run's own weights
    objective.save(out, weights, dtype=dtype, origin=origin)
    return chosen


def _sha256(folder: Path) -> str:
    """SHA-256 of a model's weights, in all their files."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
