"""A causal language model on bytes: the second objective, which training knows as little of as of the first."""

import json
import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

from kelp.model import masks
from kelp.model.config import TransformerConfig
from kelp.model.transformer import Transformer
from kelp.training.config import RunConfig
from kelp.training.objective import row_keys
from kelp.training.part import WHOLE, Part

TEXT = np.frombuffer(Path(__file__).read_bytes(), np.uint8).astype(np.int32)
SIZES = TransformerConfig(vocab_size=256, dim=16, layers=1, heads=2, kv_heads=2, mlp_dim=32)
LENGTH, ROWS, DROPPED = 16, 7, 0.2  # bytes of a row; rows of a batch, a multiple of no mesh; share of bytes hidden


class ByteRecipe(RunConfig):
    """A run without sections of its own."""


class ByteModel:
    no_decay = ("norm", "embed")
    files, unit = (), "examples"

    def __init__(self, recipe: ByteRecipe, *, die_at: int | None = None) -> None:
        self.metrics, self.description = {"loss": False, "accuracy": True}, {}
        self.recipe, self.die_at = recipe, die_at

    def init(self, key: jax.Array) -> Transformer:
        return Transformer.init(SIZES, key=key)

    def loss(self, model: Transformer, batch: np.ndarray, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        draws = jax.vmap(lambda row: jax.random.uniform(row, (LENGTH,)))(row_keys(key, len(batch)))
        seen = jnp.where(draws < DROPPED, 0, batch[:, :-1])  # byte 0 stands for a hidden one
        positions = jnp.broadcast_to(jnp.arange(LENGTH), seen.shape)
        logits = model.logits(model(seen, positions, masks.causal(jnp.ones(seen.shape, bool))))
        targets, real = batch[:, 1:], batch[:, 1:] >= 0
        log_probs = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(targets, 0)[..., None], axis=-1)[..., 0]
        loss = -jnp.where(real, log_probs, 0).sum() / real.sum()
        return loss, {"loss": loss, "accuracy": ((logits.argmax(-1) == targets) & real).sum() / real.sum()}

    def batch(self, step: int, part: Part = WHOLE) -> np.ndarray:
        if step == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        starts = np.random.default_rng((self.recipe.training.seed, step)).integers(0, len(TEXT) - LENGTH, ROWS)
        rows = TEXT[starts[:, None] + np.arange(LENGTH + 1)]
        own = part.rows(ROWS)
        return np.stack([rows[row] if row < ROWS else np.full(LENGTH + 1, -1, np.int32) for row in own])

    def valid_batches(self, part: Part = WHOLE) -> list[np.ndarray]:
        return [self.batch(1_000_000, part)]

    def reports(self, model: Transformer, step: int) -> tuple[()]:
        return ()

    def weight(self, batch: np.ndarray) -> np.ndarray:
        return (batch[:, 1] >= 0).sum()

    def save(self, out: Path, weights: dict[str, np.ndarray], *, dtype: str, origin: dict[str, object]) -> None:
        out.mkdir()
        save_file(weights, out / "model.safetensors")
        (out / "config.json").write_text(json.dumps(origin))

    def load(self, folder: Path) -> dict[str, jax.Array]:
        return {name: jnp.asarray(array) for name, array in load_file(folder / "model.safetensors").items()}
