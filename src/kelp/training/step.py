"""One optimizer step as a pure function. Imports JAX, Equinox and Optax alone."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from kelp.training.objective import Batch, Metrics, Model, Objective
from kelp.training.optimizer import OptimizerConfig, learning_rate, make_optimizer

LOSS_STREAM, VALID_STREAM = 2**31, 2**31 + 1  # folded into the seed's key; no split of it for the weights reaches these


class TrainState(NamedTuple):
    """The state of a run that a step changes."""

    step: jax.Array  # int32 scalar: batches trained on
    model: Model  # float32 weights
    optimizer: optax.OptState
    ema: Model | None  # exponential moving average of the weights that are not frozen

    @property
    def eval_model(self) -> Model:
        """The weights to evaluate and to export."""
        return self.model if self.ema is None else eqx.combine(self.ema, self.model)


def init_state(model: Model, optimizer: optax.GradientTransformation, config: OptimizerConfig) -> TrainState:
    moving, _ = config.rates.split(model)
    ema = jax.tree.map(jnp.copy, moving) if config.ema_decay else None
    return TrainState(jnp.zeros((), jnp.int32), model, optimizer.init(moving), ema)


def make_train_step(
    objective: Objective, config: OptimizerConfig, steps: int, seed: int
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Return the pure function (state, batch) -> (state, metrics of this batch); jit it with the state donated."""
    optimizer, rate = make_optimizer(config, steps, objective.no_decay), learning_rate(config, steps)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = loss_key(seed, state.step)
        moving, frozen = config.rates.split(state.model)

        def loss(moving: Model) -> tuple[jax.Array, Metrics]:
            return objective.loss(eqx.combine(moving, frozen), batch, key)

        with jax.named_scope("loss"):
            (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(moving)
        with jax.named_scope("optimizer"):
            updates, optimizer_state = optimizer.update(gradients, state.optimizer, moving)
            moving = optax.apply_updates(moving, updates)
        metrics |= {
            "gradient_norm": optax.tree.norm(gradients),
            "learning_rate": jnp.asarray(rate(state.step // config.accumulation), jnp.float32),
        }
        ema = state.ema
        if ema is not None:
            # Adam's correction for the start: the first averages are means of the weights so far.
            decay = jnp.minimum(config.ema_decay, (state.step + 1) / (state.step + 10))
            ema = jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), ema, moving)
        return TrainState(state.step + 1, eqx.combine(moving, frozen), optimizer_state, ema), metrics

    return train_step


def loss_key(seed: int, step: jax.Array | int) -> jax.Array:
    """The key of the loss in the step after the first `step` ones."""
    return jax.random.fold_in(stream(seed, LOSS_STREAM), step)


def stream(seed: int, number: int) -> jax.Array:
    """The key of one stream of random numbers of a run."""
    return jax.random.fold_in(jax.random.key(seed), number)
