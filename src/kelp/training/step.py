"""One optimiser step as a pure function. Needs JAX, Equinox and Optax alone, for bare machines."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from kelp.model.denoiser import Denoiser, loss
from kelp.model.leaves import named_leaves, with_leaves

Metrics = dict[str, jax.Array]
UNDECAYED = (
    "norm",
    "embed",
    "bias",
    "pointer.kind",
)  # weights of one dimension, and what these words name, are not decayed


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW or Muon, and its schedule. `warmup` and the schedule count updates: steps divided by `accumulation`.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) orthogonalises the updates of the blocks'
    matrices, scaled to the size that AdamW's have (Liu et al. 2025, arXiv 2502.16982, eq. 4); the rest is moved by Adam
    with Nesterov momentum.
    """

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3  # at the peak
    warmup: int = 100  # updates from 0 to the peak
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # cosine and linear fall to 0 at the last step
    cooldown: float = 0.0  # with "constant": the last part of the steps, in which the rate falls to 0
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    accumulation: int = 1  # batches averaged into one update
    average: float = 0.0  # decay of the weights' moving average, used to evaluate and export; 0 is none

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for key in ("learning_rate", "clip_norm", "accumulation"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} = {getattr(self, key)} must be greater than 0")
        for key in ("warmup", "weight_decay"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} = {getattr(self, key)} must not be negative")
        for key, value in [("betas", beta) for beta in self.betas] + [("average", self.average)]:
            if not 0 <= value < 1:
                raise ValueError(f"{key} = {getattr(self, key)} must lie in [0, 1)")
        if not 0 <= self.cooldown <= 1 or (self.cooldown and self.schedule != "constant"):
            raise ValueError(f"cooldown = {self.cooldown} must lie in [0, 1] and goes with schedule = 'constant' alone")


class TrainState(NamedTuple):
    """All that a step changes."""

    step: jax.Array  # int32 scalar: batches seen
    model: Denoiser  # float32 weights
    optimizer: optax.OptState
    average: Denoiser | None  # moving average of the weights

    @property
    def best_model(self) -> Denoiser:
        """The weights to evaluate and to export."""
        return self.model if self.average is None else self.average


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Update number -> learning rate."""
    updates = max(1, math.ceil(steps / config.accumulation))
    warmup = min(config.warmup, updates - 1)
    rest, peak = updates - warmup, config.learning_rate
    match config.schedule:
        case "cosine":
            after = optax.cosine_decay_schedule(peak, rest)
        case "linear":
            after = optax.linear_schedule(peak, 0.0, rest)
        case "constant":
            falling = round(config.cooldown * updates)
            after = optax.linear_schedule(peak, 0.0, falling, max(0, rest - falling)) if falling else lambda _: peak
    # Warm-up ends on the peak and begins above 0, so that the first update is not thrown away.
    return optax.join_schedules([optax.linear_schedule(peak / (warmup + 1), peak, warmup), after], [warmup])


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformationExtraArgs:
    def decayed(weights: Any) -> Any:
        mask = {
            name: leaf.ndim > 1 and not any(word in name for word in UNDECAYED)
            for name, leaf in named_leaves(weights).items()
        }
        return with_leaves(weights, mask)

    rate, decay = make_schedule(config, steps), config.weight_decay
    match config.name:
        case "adamw":
            rule = optax.adamw(rate, *config.betas, weight_decay=decay, mask=decayed)
        case "muon":
            rule = optax.contrib.muon(
                rate, weight_decay=decay, consistent_rms=0.2, muon_weight_dimension_numbers=_matrices,
                adam_b1=config.betas[0], adam_b2=config.betas[1],
            )  # fmt: skip
    chain = optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)
    if config.accumulation == 1:
        return optax.with_extra_args_support(chain)
    # One optimiser step a batch, since batches of a group may have different shapes.
    return optax.MultiSteps(chain, config.accumulation).gradient_transformation()


def _matrices(weights: Any) -> Any:
    """Which axes of each weight a matrix maps from and to; None where it is no matrix of a block."""

    def axes(name: str, leaf: Any) -> Any:
        if ".blocks." not in name or leaf.ndim < 2:
            return None
        inputs = leaf.ndim - 1 if name.endswith("attention.out") else 1  # out maps from all heads, the rest from D
        return optax.contrib.MuonDimensionNumbers(tuple(range(inputs)), tuple(range(inputs, leaf.ndim)))

    return with_leaves(weights, {name: axes(name, leaf) for name, leaf in named_leaves(weights).items()})


def init_state(model: Denoiser, optimizer: optax.GradientTransformation, config: OptimizerConfig) -> TrainState:
    average = jax.tree.map(jnp.copy, model) if config.average else None
    return TrainState(jnp.zeros((), jnp.int32), model, optimizer.init(model), average)


def make_train_step(config: OptimizerConfig, steps: int) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """The pure function (state, batch) -> (state, metrics of this batch); jit it with the state donated."""
    optimizer, schedule = make_optimizer(config, steps), make_schedule(config, steps)

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(state.model, batch)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.model)
        model = optax.apply_updates(state.model, updates)
        metrics |= {
            "gradient_norm": optax.tree.norm(gradients),
            "learning_rate": jnp.asarray(schedule(state.step // config.accumulation), jnp.float32),
        }
        average = state.average
        if average is not None:
            # Adam's correction for the start: the first averages are means of what was seen so far.
            decay = jnp.minimum(config.average, (state.step + 1) / (state.step + 10))
            average = jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), average, model)
        return TrainState(state.step + 1, model, optimizer_state, average), metrics

    return train_step
