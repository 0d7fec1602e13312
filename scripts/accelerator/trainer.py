"""Training against the clock, on one device. Imports JAX, Equinox, Optax and NumPy alone."""

import json
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from feed import Batching, feed
from travel import save_pieces

from kelp.encoding.batch import MASKING_ROOM, MAX_SUFFIX, Batch
from kelp.encoding.folder import FILES
from kelp.model.config import DenoiserConfig
from kelp.model.denoiser import Denoiser, loss
from kelp.model.leaves import named_leaves
from kelp.training.optimizer import OptimizerConfig, Rates, make_optimizer

NO_DECAY = ("norm", "embed", "bias", "pointer.kind")  # as in `kelp.data.examples.objective`
RESERVE_SECONDS = 15.0  # for the last evaluation and the last pieces
CHECKPOINT_SECONDS = 60.0
HELD_OUT_BATCHES = 12
MEMORY_SHARE = 0.9  # of the device's: the rest is lost between buffers
MEASURED = ("site_accuracy", "replacement_accuracy", "replacement_exact")


class Steps(NamedTuple):
    """Compiled functions: one for each shape of batch, and one update for all, which takes as long to compile."""

    init: Any  # () -> (model, optimizer state)
    gradients: dict[int, Any]  # by the length of a batch's rows: (model, batch) -> ((loss, metrics), gradients)
    update: Any  # (model, state, gradients, share of the peak learning rate) -> (model, state)
    bytes_needed: int  # weights, optimizer state, gradients and working memory

    def gradients_of(self, model: Denoiser, batch: Batch) -> tuple[dict[str, jax.Array], Denoiser]:
        """(metrics, gradients); the held-out loss takes these steps too, so that nothing else has to be compiled."""
        (_, metrics), gradients = self.gradients[batch.tokens.shape[1]](model, batch)
        return metrics, gradients


def rate_share(step: int, elapsed: float, *, warmup: int, final: float) -> float:
    """Share of the peak learning rate: a warm-up by steps, and a cosine to `final` over the `elapsed` share of time."""
    cosine = (1 + math.cos(math.pi * min(elapsed, 1.0))) / 2
    return min(1.0, (step + 1) / (warmup + 1)) * (final + (1 - final) * cosine)


def compile_steps(recipe: dict[str, Any], batching: Batching) -> Steps:
    """Compile everything, at the same time on as many cores."""
    config = DenoiserConfig.from_dict(recipe["model"])
    settings = {**recipe["optimizer"], "rates": Rates(**recipe["optimizer"]["rates"])}
    # The rate of the optimizer is constant, since the update takes a share of it.
    optimizer = make_optimizer(OptimizerConfig(**{**settings, "schedule": "constant", "warmup": 0}), 2, NO_DECAY)

    def init() -> tuple[Denoiser, optax.OptState]:
        model = Denoiser.init(config, key=jax.random.key(recipe["seed"]))
        return model, optimizer.init(model)

    def update(
        model: Denoiser, state: optax.OptState, gradients: Denoiser, share: jax.Array
    ) -> tuple[Denoiser, optax.OptState]:
        updates, state = optimizer.update(gradients, state, model)
        return optax.apply_updates(model, jax.tree.map(lambda change: share * change, updates)), state

    model, state = jax.eval_shape(init)
    with_gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))
    jobs = [jax.jit(update, donate_argnums=(0, 1)).lower(model, state, model, jax.ShapeDtypeStruct((), jnp.float32))]
    jobs += [with_gradients.lower(model, _empty_batch(batching, *shape)) for shape in batching.shapes]
    with ThreadPoolExecutor(len(jobs)) as pool:
        compiled, *by_shape = pool.map(lambda job: job.compile(), jobs)
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((model, model, state)))
    working = max(getattr(step.memory_analysis(), "temp_size_in_bytes", 0) for step in by_shape)  # None: unknown
    lengths = (length + MASKING_ROOM for length, _ in batching.shapes)
    return Steps(jax.jit(init), dict(zip(lengths, by_shape)), compiled, held + working)


def _empty_batch(batching: Batching, length: int, sites: int) -> Batch:
    B, S, T = batching.rows(length), length + MASKING_ROOM, MAX_SUFFIX
    whole = [np.zeros(shape, np.int32) for shape in ((B, S), (B, S), (B, S), (B, sites, 3), (B, T), (B, T))]
    return Batch(*whole[:4], np.zeros((B, sites), bool), *whole[4:])


def train(carried: Path, out: Path, *, began: float, seconds: float) -> None:
    """Train until `seconds` after `began`, on the monotonic clock, and leave the weights in pieces in `out`."""
    recipe = json.loads((carried / "recipe.json").read_text())
    batching = Batching(
        carried, tuple(map(tuple, recipe["shapes"])), recipe["tokens_per_batch"], recipe["span_masking"], recipe["seed"]
    )
    there = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", math.inf)
    while (steps := compile_steps(recipe, batching)).bytes_needed > MEMORY_SHARE * there:
        print(f"batches of {batching.tokens_per_batch:,} tokens need {steps.bytes_needed:,} bytes: halved", flush=True)
        batching = replace(batching, tokens_per_batch=batching.tokens_per_batch // 2)
    batches = feed(batching, processes=max(1, (os.cpu_count() or 1) - 2))
    held_out = list(islice(batching.batches("valid", slice(None), forever=False), HELD_OUT_BATCHES))
    out.mkdir(parents=True, exist_ok=True)
    model, state = steps.init()
    batch = next(batches)

    start = saved = time.monotonic()
    end = max(began + seconds - RESERVE_SECONDS, start + 1)
    print(f"ready after {start - began:.0f} s, with {steps.bytes_needed / 1e9:.1f} GB of memory in use", flush=True)
    examples, waited, done = 0, 0.0, False
    for step in count():
        share = rate_share(step, (time.monotonic() - start) / (end - start), **recipe["schedule"])
        metrics, gradients = steps.gradients_of(model, batch)
        model, state = steps.update(model, state, gradients, jnp.float32(share))
        examples += len(batch.tokens)
        asked = time.monotonic()
        batch = next(batches)  # while the device works
        waited += time.monotonic() - asked
        figures = to_floats(metrics)  # waits for the gradients; the update goes on beside the next step's start
        if not math.isfinite(figures["loss"]):
            sys.exit(
                f"The loss is no longer finite at step {step + 1}: {out} has the weights of an earlier step, if any."
            )
        now = time.monotonic()
        done = now >= end
        if done or now - saved >= CHECKPOINT_SECONDS:
            saved = now
            rows = [to_floats(steps.gradients_of(model, batch)[0]) for batch in held_out]
            valid = {f"valid_{name}": float(np.nanmean([row[name] for row in rows])) for name in ("loss", *MEASURED)}
            about = {"step": step + 1, "examples": examples, "seconds": round(now - began, 1), "metrics": valid}
            save(carried, out, model, recipe, about)
            report(about, figures["loss"], waited)
        if done:
            return


def report(about: dict[str, Any], loss: float, waited: float) -> None:
    """Print how training goes."""
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in about["metrics"].items())
    so_far = f"step {about['step']:,}, {about['examples']:,} examples, {waited:.0f} s spent waiting for them"
    print(f"{about['seconds']:.0f} s: {so_far}; loss {loss:.3f}, {metrics}", flush=True)


def to_floats(metrics: dict[str, jax.Array]) -> dict[str, float]:
    return {name: float(value) for name, value in jax.device_get(metrics).items()}


def save(carried: Path, out: Path, model: Denoiser, recipe: dict[str, Any], about: dict[str, Any]) -> None:
    """Put the weights in bfloat16, the encoding's files and the recipe into `out`, in pieces."""
    halves = jax.device_get(jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model))
    arrays = {name: leaf.view(np.uint16) for name, leaf in named_leaves(halves).items()}
    files = {f"file {name}": np.frombuffer((carried / name).read_bytes(), np.uint8) for name in FILES}
    save_pieces(out, arrays | files, {"model": recipe["model"], "origin": {**about, "run": recipe["recipe"]}})
