"""A training run's weights as a model folder."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

import kelp
from kelp.model.denoiser import DenoiserConfig
from kelp.model.folder import load_model, save_model
from kelp.model.leaves import named_leaves
from kelp.model.tensors import ModelError


def export_run(
    run: Path,
    out: Path,
    *,
    step: int | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    average: Path | None = None,
    share: float = 0.5,
) -> int:
    """Write the best checkpoint of a training run (or that of `step`) as a model folder; returns its step.

    With `average`, the folder of a model that the run began with, or of another that began with the same one, the
    weights are the mean of both, `share` of it that model's: where training went from one to the other without
    leaving a valley, the mean is often better than either (Wortsman et al. 2022, "Model soups", arXiv 2203.05482).
    Raises CheckpointError, ModelError.
    """
    from kelp.training.checkpoint import CheckpointError, Checkpoints

    checkpoints = Checkpoints(run / "checkpoints", read_only=True)
    chosen = checkpoints.best() if step is None else step
    if chosen is None:
        raise CheckpointError(f"{run} holds no whole checkpoint yet.")
    weights, progress = checkpoints.restore_weights(chosen), checkpoints.progress(chosen)
    origin = {
        "version": kelp.__version__,
        "encoding": progress["config"]["data"]["encoding"],
        "step": chosen,
        "examples": progress["examples"],
        "metrics": progress["metrics"],
        "run": progress["config"],
    }
    if average is not None and (run / "tokenizer.json").is_file():  # else `save_model` says so
        weights, sha256 = _mean(weights, progress["model"], run / "tokenizer.json", average, share)
        origin["average"] = {"model": str(average), "sha256": sha256, "share": share}
        origin["metrics"] = {}  # those are of the run's own weights
    save_model(
        out,
        weights,
        DenoiserConfig.from_dict(progress["model"]),
        files=[run / "tokenizer.json"],
        dtype=dtype,
        origin=origin,
    )
    return chosen


def _mean(
    weights: dict[str, np.ndarray], config: dict[str, Any], tokenizer: Path, average: Path, share: float
) -> tuple[dict[str, np.ndarray], str]:
    """The weights with `share` of another model's in them, and that one's hash. Raises ModelError."""
    other, description = load_model(average, dtype="float32")
    if other.cfg != DenoiserConfig.from_dict(config):
        raise ModelError(f"{average} is of other sizes than this run: only equal models have a mean.")
    if (average / "tokenizer.json").read_bytes() != tokenizer.read_bytes():
        raise ModelError(f"{average} has another tokenizer than this run: only models of one have a mean.")
    leaves = named_leaves(other)
    mean = {name: (1 - share) * own + share * np.asarray(leaves[name]) for name, own in weights.items()}
    return mean, description["sha256"]
