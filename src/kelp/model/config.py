"""Sizes of a transformer in the Llama layout, of its rotary frequencies, and of the denoiser around it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class RopeScaling:
    """Lower rotary frequencies, for contexts longer than those of pretraining. Fields are named as Hugging Face's.

    `linear` divides every frequency by `factor`. `llama3` (Llama 3.1) divides those that turn less than
    `low_freq_factor` times in the original context, keeps those that turn more than `high_freq_factor` times, and
    interpolates between the two.
    """

    rope_type: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float | None = None  # this and the next two: llama3 alone
    high_freq_factor: float | None = None
    original_max_position_embeddings: int | None = None

    def __post_init__(self) -> None:
        if self.rope_type not in ("linear", "llama3"):
            raise ValueError(f"rope_type must be 'linear' or 'llama3', got {self.rope_type!r}")
        own = {name: value for name, value in asdict(self).items() if name not in ("rope_type", "factor")}
        if self.rope_type == "linear" and any(value is not None for value in own.values()):
            raise ValueError(f"rope_type 'linear' takes a factor alone, got {own}")
        for name, value in {"factor": self.factor, **(own if self.rope_type == "llama3" else {})}.items():
            if not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"{name} of rope_type {self.rope_type!r} must be positive, got {value}")
        if self.low_freq_factor and self.high_freq_factor and not self.low_freq_factor < self.high_freq_factor:
            low, high = self.low_freq_factor, self.high_freq_factor
            raise ValueError(f"low_freq_factor must be below high_freq_factor, got {low} and {high}")

    def __call__(self, frequency: Float[np.ndarray, " R"]) -> Float[np.ndarray, " R"]:
        """The scaled frequencies, radians a position."""
        if self.rope_type == "linear":
            return frequency / self.factor
        low, high, context = self.low_freq_factor, self.high_freq_factor, self.original_max_position_embeddings
        assert low and high and context
        turns = context * frequency / (2 * math.pi)
        kept = np.clip((turns - low) / (high - low), 0, 1)
        return kept * frequency + (1 - kept) * frequency / self.factor


MAX_LAYERS = 1000


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a transformer, and how it computes."""

    vocab_size: int
    dim: int
    layers: int
    heads: int
    kv_heads: int
    mlp_dim: int
    head_dim: int = 0  # 0 becomes dim / heads
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-5
    tie_embeddings: bool = True
    compute_dtype: str = "float32"
    remat: bool = False  # recompute each block in the backward pass: less memory, a third more work

    def __post_init__(self) -> None:
        if not self.head_dim and self.heads > 0:
            if self.dim % self.heads:
                raise ValueError(
                    f"dim must be a multiple of heads where no head_dim is given, got {self.dim} and {self.heads}"
                )
            object.__setattr__(self, "head_dim", self.dim // self.heads)
        for name, value in vars(self).items():
            if type(value) in (int, float) and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.layers > MAX_LAYERS:  # a file that asks for more is broken, and making them would take for ever
            raise ValueError(f"layers must be at most {MAX_LAYERS}, got {self.layers}")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads must be a multiple of kv_heads, got heads={self.heads} and kv_heads={self.kv_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even (rotary positions turn pairs), got {self.head_dim}")
        if self.compute_dtype not in ("float32", "bfloat16"):
            raise ValueError(f"compute_dtype must be 'float32' or 'bfloat16', got {self.compute_dtype!r}")

    @property
    def frequencies(self) -> Float[np.ndarray, " half"]:
        """Rotary frequency of each pair of dimensions of a head, radians a position, float32; half = head_dim / 2."""
        half = self.head_dim // 2
        frequency = self.rope_theta ** (-np.arange(half, dtype=np.float32) / half)
        return self.rope_scaling(frequency) if self.rope_scaling else frequency

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TransformerConfig:
        """The configuration that `to_dict` gave. Raises TypeError on an unknown key, ValueError on a bad value."""
        scaling = values.get("rope_scaling")
        return cls(**values | {"rope_scaling": scaling and RopeScaling(**scaling)})


PrefixAttention = Literal["bidirectional", "causal", "upper third bidirectional"]


@dataclass(frozen=True)
class DenoiserConfig:
    """Sizes of a denoiser, its transformer's and its pointer's, and how the tokens of a prefix attend to each other.

    `upper third bidirectional` is causal in the lower blocks, as an autoregressive model is that the weights may come
    from, and sees what follows in the upper ones alone.
    """

    transformer: TransformerConfig
    site_kinds: int
    pointer_dim: int
    prefix: PrefixAttention = "bidirectional"

    def __post_init__(self) -> None:
        if self.prefix not in get_args(PrefixAttention):
            raise ValueError(f"prefix must be one of {', '.join(get_args(PrefixAttention))}, got {self.prefix!r}")
        for name in ("site_kinds", "pointer_dim"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values in one flat dict, as JSON holds them."""
        own = {"site_kinds": self.site_kinds, "pointer_dim": self.pointer_dim, "prefix": self.prefix}
        return self.transformer.to_dict() | own

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DenoiserConfig:
        """The configuration that `to_dict` gave. Raises KeyError, TypeError or ValueError where it is none."""
        sizes = dict(values)
        own = [sizes.pop("site_kinds"), sizes.pop("pointer_dim"), sizes.pop("prefix", "bidirectional")]
        return cls(TransformerConfig.from_dict(sizes), *own)
