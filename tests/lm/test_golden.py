"""The exported language model that `transformers` loaded (`make golden`): Kelp computes the same logits."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from kelp.lm.config import DiffusionConfig
from kelp.lm.folder import load_lm
from kelp.lm.layout import Layout, attends

GOLDEN = Path(__file__).parent / "golden"
CAUSAL = DiffusionConfig(mask=1, end=0, pad=0, block=1)


def logits(folder: Path, tokens: np.ndarray) -> np.ndarray:
    """The logits of a folder's model that reads rows from left to right."""
    model, _ = load_lm(folder)
    position = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    layout = Layout.of(jnp.ones_like(position), position, jnp.zeros(position.shape, bool), 1)
    return np.asarray(model.logits(model(jnp.asarray(tokens), position, attends(layout, layout, CAUSAL))))


def test_an_exported_model_gives_the_logits_that_transformers_computes() -> None:
    values = np.load(GOLDEN / "values.npz")
    np.testing.assert_allclose(logits(GOLDEN / "model", values["tokens"]), values["logits"], atol=1e-4)


def test_an_exported_model_has_a_card() -> None:
    card = (GOLDEN / "model" / "README.md").read_text()
    assert card.startswith('---\nlicense: "other"\n') and 'library_name: "kelp"' in card.split("---")[1]
    assert "block diffusion, 4 tokens a block" in card and "| valid_loss |" in card and "files:nowhere" in card
