"""A training run as a TOML file: the sections, the model presets, and errors a person can act on."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kelp.data.examples.make import DataConfig
from kelp.model.config import TransformerConfig
from kelp.model.denoiser import DenoiserConfig
from kelp.training.step import OptimizerConfig

# Llama's proportions: heads of 16 to 128 dimensions, two or three of them a key-value head, an MLP of
# about 8/3 of the width. Parameters without the embeddings: 0.1 M, 3 M, 17 M, 80 M and 1.1 G.
PRESETS: dict[str, dict[str, int]] = {
    "toy": {"dim": 64, "layers": 2, "heads": 4, "kv_heads": 2, "mlp_dim": 192, "pointer_dim": 64},
    "overnight_cpu": {"dim": 256, "layers": 4, "heads": 4, "kv_heads": 2, "mlp_dim": 704, "pointer_dim": 128},
    "laptop": {"dim": 512, "layers": 6, "heads": 8, "kv_heads": 4, "mlp_dim": 1408, "pointer_dim": 256},
    "single_gpu": {"dim": 768, "layers": 12, "heads": 12, "kv_heads": 4, "mlp_dim": 2048, "pointer_dim": 384},
    "tpu_v4_8": {"dim": 2048, "layers": 24, "heads": 16, "kv_heads": 8, "mlp_dim": 5632, "pointer_dim": 512},
}


class ConfigError(ValueError):
    """The configuration cannot be used; the message is one sentence that says which key and why."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelSection(Section):
    """Sizes of the model. A preset fills in what the file leaves out; the vocabulary comes with the data."""

    preset: Literal["toy", "overnight_cpu", "laptop", "single_gpu", "tpu_v4_8"]
    dim: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    mlp_dim: int = Field(gt=0)
    pointer_dim: int = Field(gt=0)
    remat: bool = False  # less memory for a third more work

    @model_validator(mode="before")
    @classmethod
    def fill_in(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return PRESETS.get(str(values.get("preset")), {}) | values
        return values


class MeshSection(Section):
    """How the devices are laid out. `data` left out is all the devices that fsdp and tensor leave over."""

    data: int | None = Field(default=None, gt=0)
    fsdp: int = Field(default=1, gt=0)
    tensor: int = Field(default=1, gt=0)


class TrainingSection(Section):
    steps: int = Field(gt=0)  # batches, which also set the length of the schedule
    max_minutes: float | None = Field(default=None, gt=0)  # stop earlier, with a checkpoint to resume from
    tokens_per_batch: int = Field(default=8192, gt=0)
    infill: float = Field(default=0.0, ge=0, le=1)  # share of examples that have parts masked, to be filled in
    seed: int = Field(default=0, ge=0)
    initial: Path | None = None  # a model folder whose weights to begin with, in place of random ones
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computation; weights are always float32
    mesh: MeshSection = MeshSection()
    out: Path = Path("runs/latest")
    log_every: int = Field(default=10, gt=0)
    eval_every: int = Field(default=500, gt=0)
    checkpoint_every: int = Field(default=500, gt=0)
    keep: int = Field(default=2, gt=0)  # newest checkpoints kept, next to the best one
    best: str = "valid_loss"  # picks the best checkpoint: least if a loss, runs or seconds, else greatest


class LogSection(Section):
    wandb: str | None = None  # name of a Weights & Biases project


class Config(Section):
    model: ModelSection
    data: DataConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingSection
    log: LogSection = LogSection()


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read a TOML file. Raises ConfigError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    return parse_config(text, name=str(path))


def parse_config(text: str, *, name: str = "config") -> Config:
    """Read the text of a TOML file; `name` begins the sentence of a ConfigError."""
    try:
        return Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}.") from None
    except ValidationError as error:
        raise ConfigError(f"{name}: {_sentence(error)}") from None


def render_config(config: Config) -> str:
    """The whole resolved configuration as TOML, which `parse_config` reads back equal."""
    return "\n".join(_tables(config.model_dump(mode="json", exclude_none=True), ())).strip() + "\n"


def make_model_config(config: Config, *, vocab_size: int, site_kinds: int) -> DenoiserConfig:
    """The model's own configuration, once the data says how many tokens and kinds of site there are."""
    sizes = config.model.model_dump(exclude={"preset", "pointer_dim"})
    try:
        transformer = TransformerConfig(**sizes, vocab_size=vocab_size, compute_dtype=config.training.dtype)
        return DenoiserConfig(transformer, site_kinds, config.model.pointer_dim)
    except ValueError as error:
        raise ConfigError(f"[model] {error}.") from None


def _tables(table: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"{_key(key)} = {_toml(value)}" for key, value in table.items() if not isinstance(value, dict)]
    if path and lines:
        lines = ["", f"[{'.'.join(map(_key, path))}]", *lines]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _tables(value, (*path, key))
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else _toml(key)


def _toml(value: bool | int | float | str | list[Any]) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    *sections, key = (str(part) for part in first["loc"]) if first["loc"] else ("",)
    place = f"[{'.'.join(sections)}]" if sections else "the file"
    match first["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"unknown key '{key}' in {place}."
        case "missing":
            return f"{place} lacks '{key}'." if sections else f"{place} lacks the section [{key}]."
        case "value_error":  # raised by our own checks, whose messages name the key
            return f"[{key}] {first['ctx']['error']}."
    message = first["msg"].removeprefix("Input ")
    return f"'{key}' in {place} is {first['input']!r} of type {type(first['input']).__name__}, but {message}."
