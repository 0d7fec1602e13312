"""Recipe of a language model: the sections of its TOML file, and the model presets."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from pydantic import Field, model_validator

from kelp.lm.config import DiffusionConfig
from kelp.lm.text import DataSection
from kelp.model.config import TransformerConfig
from kelp.model.llama import llama_config
from kelp.model.store import find
from kelp.model.tensors import read_json
from kelp.training.config import ConfigError, RunConfig, Section, SizesSection, TransferSection

# Llama's proportions. Parameters without the embeddings: 0.1 M, 4.4 M, 24 M and 75 M.
PRESETS: dict[str, dict[str, int]] = {
    "toy": {"dim": 64, "layers": 2, "heads": 4, "kv_heads": 2, "mlp_dim": 192},
    "small": {"dim": 256, "layers": 6, "heads": 4, "kv_heads": 2, "mlp_dim": 704},
    "medium": {"dim": 512, "layers": 8, "heads": 8, "kv_heads": 4, "mlp_dim": 1408},
    "base": {"dim": 768, "layers": 12, "heads": 12, "kv_heads": 4, "mlp_dim": 2048},
}


class ModelSection(SizesSection):
    """`[model]`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    preset: Literal["toy", "small", "medium", "base"] | None = None
    head_dim: int | None = Field(default=None, gt=0)  # dim / heads
    vocab_size: int | None = Field(default=None, gt=0)  # the tokenizer's
    rope_theta: float | None = Field(default=None, gt=0)
    norm_eps: float | None = Field(default=None, gt=0)
    tie_embeddings: bool | None = None


class SamplesSection(Section):
    """`[lm.samples]`: texts that the model writes as it trains, for the log."""

    prompts: tuple[str, ...] = ()
    every: int = Field(default=500, gt=0)  # steps
    length: int = Field(default=64, gt=0)  # tokens after a prompt, at most
    temperature: float = Field(default=0.7, ge=0)


class LMSection(Section):
    """`[lm]`: order of prediction, noise and loss. See `DiffusionConfig` for the first three keys."""

    block: int = Field(default=32, ge=0)
    shift: bool = True
    clean: Literal["causal", "block"] = "causal"
    objective: Literal["diffusion", "autoregressive", "joint"] = "diffusion"  # follows from block and ar_share
    weight: Literal["inverse", "flat"] = "inverse"  # of a masked token: 1 / mask ratio, or 1
    eps: float = Field(default=1e-3, gt=0, lt=1)  # mask ratios are uniform in (eps, 1),
    clip: tuple[float, float] | None = None  # and clipped to this; left out: to [1 / block, 1]
    complementary: bool = True  # read every row twice: with some tokens masked, and with exactly the others
    end_in_loss: bool = True  # predict the end-of-text token after a document too
    ar_share: float = Field(default=0.0, ge=0)  # weight of an autoregressive loss beside the diffusion loss,
    ar_share_end: float | None = Field(default=None, ge=0)  # which goes in a straight line to this at the last step
    random_length_share: float = Field(default=0.0, ge=0, le=1)  # rows cut at a random length
    samples: SamplesSection = SamplesSection()

    @model_validator(mode="before")
    @classmethod
    def fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        match values.get("objective"):
            case None:
                ar = "joint" if values.get("ar_share") or values.get("ar_share_end") else "diffusion"
                return {"objective": "autoregressive" if values.get("block") == 1 else ar} | values
            case "autoregressive":
                return {"block": 1} | values
            case "joint":
                return {"ar_share": 0.5} | values
        return values

    @model_validator(mode="after")
    def check(self) -> Self:
        joint = self.ar_share > 0 or bool(self.ar_share_end)
        if (self.objective == "autoregressive") != (self.block == 1):
            raise ValueError(
                f"objective = {self.objective!r} does not go with block = {self.block}: 1 is autoregressive"
            )
        if (self.objective == "joint") != joint:
            raise ValueError(f"ar_share = {self.ar_share} does not go with objective = {self.objective!r}")
        if self.clip and not 0 <= self.clip[0] < self.clip[1] <= 1:
            raise ValueError(f"clip = {list(self.clip)} must be two rising numbers in [0, 1]")
        self.with_ids(mask=0, end=1, pad=1)  # its own checks
        return self

    def with_ids(self, *, mask: int, end: int, pad: int) -> DiffusionConfig:
        """This order of prediction, with the ids of the special tokens."""
        return DiffusionConfig(mask, end, pad, self.block, self.shift, self.clean)

    def limits(self, block: Int[Array, "B 1"] | int) -> tuple[Float[Array, "B 1"] | float, float]:
        """The least and the greatest mask ratio of blocks of this size."""
        low, high = self.clip or (1 / block if self.block else 0.0, 1.0)
        return jnp.maximum(low, self.eps), high


class LMTransferSection(TransferSection):
    """`[transfer]` of a language model: from an autoregressive one to diffusion."""

    blocks: tuple[int, ...] = ()  # block sizes on the way to that of [lm], each for an equal share of the steps
    align: float = Field(default=0.0, ge=0)  # weight of the distance to the states of the model without its adapters

    @model_validator(mode="after")
    def check(self) -> Self:
        if any(block < 1 for block in self.blocks):
            raise ValueError(f"blocks = {list(self.blocks)} must be sizes of 1 or more")
        if self.align and not self.rank:
            raise ValueError(f"align = {self.align} needs adapters: the model without them is the one aligned with")
        return self


class LMRecipe(RunConfig):
    """A run that trains a language model."""

    free: ClassVar[Mapping[str, Any]] = {**RunConfig.free, "data": {"folder"}, "lm": {"samples"}}

    model: ModelSection = ModelSection()
    lm: LMSection
    data: DataSection
    transfer: LMTransferSection = LMTransferSection()

    @model_validator(mode="after")
    def check(self) -> Self:
        self.check_sizes(self.model)
        if self.transfer.blocks and self.lm.block <= 1:
            raise ConfigError(
                f"blocks in [transfer] lead to the block of [lm], which must be 2 or more, got {self.lm.block}."
            )
        if self.training.tokens_per_batch < self.data.length:
            raise ConfigError(
                f"tokens_per_batch = {self.training.tokens_per_batch} in [training] is less than a row of "
                f"length = {self.data.length} in [data]."
            )
        return self


def make_model_config(recipe: LMRecipe, tokens: int) -> TransformerConfig:
    """Sizes of the model, for a tokenizer of so many tokens. Raises ConfigError, ModelError."""
    given = recipe.model.model_dump(exclude={"preset"}, exclude_none=True)
    begin_with = {"vocab_size": tokens}
    folder = recipe.training.init_from and find(recipe.training.init_from)
    if folder is not None and ((folder / "config.json").is_file() or recipe.model.missing):
        begin_with = llama_config(read_json(folder / "config.json"), folder).to_dict()
        begin_with["vocab_size"] = max(begin_with["vocab_size"], tokens)  # special tokens may be new
    try:
        config = TransformerConfig.from_dict(begin_with | {"compute_dtype": recipe.training.dtype} | given)
    except ValueError as error:
        raise ConfigError(f"[model] {error}.") from None
    if config.vocab_size < tokens:
        raise ConfigError(
            f"{recipe.data.tokenizer} has {tokens} tokens and the model {config.vocab_size}: give another tokenizer."
        )
    return config
