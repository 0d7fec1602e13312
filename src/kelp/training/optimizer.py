"""Optimizer: AdamW or Muon with clipped gradients, over groups of batches."""

import math
import operator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import optax

from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.llama import input_axes
from kelp.model.low_rank import BASE, A
from kelp.training.schedule import Shape, make_schedule


@dataclass(frozen=True)
class Rates:
    """`[optimizer.rates]`: factors of the learning rate, one for each group of weights. They scale the decay too.

    Weights with the factor 0 are frozen: they have no gradient and no moments.
    """

    hidden: float = 1.0  # matrices of the transformer's blocks; of their adapters, where they have some
    head: float = 1.0  # other matrices: the output layer where it is not tied to the embedding, a pointer
    embedding: float = 1.0
    vectors: float = 1.0  # weights of one dimension: scales of norms, biases

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            if value < 0:
                raise ValueError(f"{key} = {value} must not be negative")

    def scale(self, weights: Any) -> Any:
        """The factor of each weight."""

        def factor(name: str, leaf: Any) -> float:
            if leaf.ndim < 2:
                return self.vectors
            if name.endswith(BASE):
                return 0.0
            if _in_block(name):
                return self.hidden
            return self.embedding if name.split(".")[-1] == "embedding" else self.head

        return with_leaves(weights, {name: factor(name, leaf) for name, leaf in named_leaves(weights).items()})

    def split(self, model: Any) -> tuple[Any, Any]:
        """(moving, frozen): `model` without its frozen weights, and without all others."""
        moving, frozen = eqx.partition(model, jax.tree.map(bool, self.scale(model)))
        return moving, frozen


@dataclass(frozen=True)
class OptimizerConfig:
    """`[optimizer]` of a recipe. `warmup` and the schedule count updates: steps divided by `accumulation`.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) orthogonalizes the updates of the blocks'
    matrices, scaled to the size that AdamW's have (Liu et al. 2025, arXiv 2502.16982, eq. 4); Adam with Nesterov
    momentum moves the other weights.
    """

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3  # at the peak
    warmup: int = 100  # updates from 0 to the peak
    schedule: Shape = "cosine"
    cooldown: float = 0.0  # with "constant": the last share of the steps, in which the rate falls
    final: float = 0.0  # share of the peak to which the rate falls: 0.1 for a cosine to a tenth
    rates: Rates = Rates()
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    accumulation: int = 1  # batches averaged into one update
    ema_decay: float = 0.0  # of the weights' exponential moving average, which is evaluated and exported; 0: none

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for key in ("learning_rate", "clip_norm", "accumulation"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} = {getattr(self, key)} must be greater than 0")
        for key in ("warmup", "weight_decay"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} = {getattr(self, key)} must not be negative")
        for key, value in [("betas", beta) for beta in self.betas] + [("ema_decay", self.ema_decay)]:
            if not 0 <= value < 1:
                raise ValueError(f"{key} = {getattr(self, key)} must lie in [0, 1)")
        if not 0 <= self.final <= 1:
            raise ValueError(f"final = {self.final} must lie in [0, 1]")
        if not 0 <= self.cooldown <= 1 or (self.cooldown and self.schedule != "constant"):
            raise ValueError(f"cooldown = {self.cooldown} must lie in [0, 1] and goes with schedule = 'constant' alone")


def learning_rate(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Return the function from the number of an update to its learning rate, for a run of `steps` batches."""
    updates = max(1, math.ceil(steps / config.accumulation))
    return make_schedule(
        config.schedule,
        config.learning_rate,
        updates=updates,
        warmup=config.warmup,
        cooldown=config.cooldown,
        final=config.final,
    )


def make_optimizer(
    config: OptimizerConfig, steps: int, no_decay: tuple[str, ...]
) -> optax.GradientTransformationExtraArgs:
    """The optimizer of a run of `steps` batches.

    Weights of one dimension do not decay, nor do those whose names contain a part in `no_decay`.
    """

    def decayed(weights: Any) -> Any:
        mask = {
            name: leaf.ndim > 1 and not any(part in name for part in no_decay)
            for name, leaf in named_leaves(weights).items()
        }
        return with_leaves(weights, mask)

    rate, decay = learning_rate(config, steps), config.weight_decay
    match config.name:
        case "adamw":
            rule = optax.adamw(rate, *config.betas, weight_decay=decay, mask=decayed)
        case "muon":
            rule = optax.contrib.muon(
                rate, weight_decay=decay, consistent_rms=0.2, muon_weight_dimension_numbers=_matrices,
                adam_b1=config.betas[0], adam_b2=config.betas[1],
            )  # fmt: skip
    by_group = optax.stateless(lambda updates, _: jax.tree.map(operator.mul, config.rates.scale(updates), updates))
    chain = optax.chain(optax.clip_by_global_norm(config.clip_norm), rule, by_group)
    if config.accumulation == 1:
        return optax.with_extra_args_support(chain)
    # One optimizer step a batch, since batches of a group may have different shapes.
    return optax.MultiSteps(chain, config.accumulation).gradient_transformation()


def _in_block(name: str) -> bool:
    return ".blocks." in f".{name}"


def _matrices(weights: Any) -> Any:
    """Axes that each matrix of a transformer block maps from and to; None for every other weight."""

    def axes(name: str, leaf: Any) -> Any:
        if leaf.ndim < 2 or not _in_block(name):
            return None
        inputs = leaf.ndim - 1 if name.endswith(A) else input_axes(name) or 1
        return optax.contrib.MuonDimensionNumbers(tuple(range(inputs)), tuple(range(inputs, leaf.ndim)))

    return with_leaves(weights, {name: axes(name, leaf) for name, leaf in named_leaves(weights).items()})
