"""A model as a folder in Hugging Face style: model.safetensors, config.json, tokenizer.json."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

import kelp
from kelp.model.denoiser import Denoiser
from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.transformer import ModelConfig

FORMAT = 1
DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
CODES = {"F32": DTYPES["float32"], "BF16": DTYPES["bfloat16"]}  # safetensors' own names


class ModelError(RuntimeError):
    """A model folder cannot be read or written; the message is one sentence that says what to do."""


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
        out, weights, ModelConfig(**progress["model"]), tokenizer=run / "tokenizer.json", dtype=dtype, origin=origin
    )
    return chosen


def _mean(
    weights: dict[str, np.ndarray], config: dict[str, Any], tokenizer: Path, average: Path, share: float
) -> tuple[dict[str, np.ndarray], str]:
    """The weights with `share` of another model's in them, and that one's hash. Raises ModelError."""
    other, description = load_model(average)
    if ModelConfig(**description["model"]) != ModelConfig(**config):
        raise ModelError(f"{average} is of other sizes than this run: only equal models have a mean.")
    if (average / "tokenizer.json").read_bytes() != tokenizer.read_bytes():
        raise ModelError(f"{average} has another tokenizer than this run: only models of one have a mean.")
    leaves = named_leaves(other)
    mean = {name: (1 - share) * own + share * np.asarray(leaves[name]) for name, own in weights.items()}
    return mean, description["sha256"]


def save_model(
    out: Path,
    weights: Denoiser | dict[str, np.ndarray],
    config: ModelConfig,
    *,
    tokenizer: Path,
    dtype: Literal["float32", "bfloat16"] = "float32",
    origin: dict[str, Any] | None = None,
) -> None:
    """Write a model folder beside its place and put it there whole. `origin` goes into config.json.

    Of an older model there what else the folder holds is kept, such as its card.

    Weights are stored as `dtype` under their readable names. Raises ModelError.
    """
    if not tokenizer.is_file():
        raise ModelError(f"{tokenizer} is missing: a model folder needs the tokenizer that its data was made with.")
    if out.exists() and not (out / "config.json").is_file() and any(out.iterdir()):
        raise ModelError(f"{out} is not empty and holds no model: choose another folder.")
    leaves = weights if isinstance(weights, dict) else named_leaves(weights)
    arrays = {name: np.ascontiguousarray(np.asarray(leaf).astype(DTYPES[dtype])) for name, leaf in leaves.items()}
    data = save(arrays, metadata={"format": "kelp"})
    description = {
        "format": FORMAT,
        "kelp": kelp.__version__,
        "sha256": hashlib.sha256(data).hexdigest(),
        "parameters": sum(array.size for array in arrays.values()),
        "dtype": dtype,
        "model": asdict(config),
    } | (origin or {})

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        (new / "model.safetensors").write_bytes(data)
        (new / "config.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(tokenizer, new / "tokenizer.json")
        if out.exists():
            for kept in out.iterdir():
                if not (new / kept.name).exists():
                    (shutil.copytree if kept.is_dir() else shutil.copy2)(kept, new / kept.name)
            os.replace(out, old)
        os.replace(new, out)


def load_model(folder: Path) -> tuple[Denoiser, dict[str, Any]]:
    """The model (float32 weights) and what config.json says of it. Raises ModelError."""
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} is no model folder: {name} is missing.")
    try:
        description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        version = description["format"]
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{folder}/config.json is damaged: fetch the model again.") from None
    if version != FORMAT:
        raise ModelError(
            f"{folder} has format {version!r} and this Kelp reads {FORMAT}: install the Kelp that made it."
        )
    data = (folder / "model.safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != description.get("sha256"):
        raise ModelError(f"{folder}/model.safetensors is damaged (its SHA-256 differs): fetch the model again.")
    try:
        config = ModelConfig(**description["model"])
        shape = jax.eval_shape(lambda key: Denoiser.init(config, key=key), jax.random.key(0))
        # safetensors.numpy.load knows no bfloat16.
        arrays = {
            name: jnp.asarray(np.frombuffer(view["data"], CODES[view["dtype"]]).reshape(view["shape"]), jnp.float32)
            for name, view in deserialize(data)
        }
        expected = {name: leaf.shape for name, leaf in named_leaves(shape).items()}
        for name in sorted(expected.keys() | arrays.keys()):
            found = arrays[name].shape if name in arrays else None
            if expected.get(name) != found:
                raise ValueError(f"{name} has shape {found}, not {expected.get(name)}")
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}/config.json and its weights do not go together: {error}.") from None
    return with_leaves(shape, arrays), description
