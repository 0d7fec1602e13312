"""Configuration of a run as a TOML file: the sections that training reads, and errors a person can act on.

A recipe is a `RunConfig` with the sections of its objective beside these, such as `kelp.data.examples.recipe.Recipe`.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import jax
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kelp.bucket import Folder
from kelp.errors import KelpError
from kelp.model.low_rank import PROJECTIONS, Projection, adapt
from kelp.training.optimizer import OptimizerConfig

ADAPTERS = 2**31  # folded into the key of the weights for that of their adapters
C = TypeVar("C", bound="RunConfig")


class ConfigError(KelpError):
    """The configuration cannot be used; the message is one sentence that says which key and why."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class PresetSection(Section):
    """A section that may name a preset, whose values fill in what the file leaves out."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @model_validator(mode="before")
    @classmethod
    def fill_in(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {**cls.presets.get(str(values.get("preset")), {}), **values}
        return values


class SizesSection(PresetSection):
    """Sizes of a transformer. A preset fills in what the file leaves out, and else the model of init_from does."""

    dim: int | None = Field(default=None, gt=0)
    layers: int | None = Field(default=None, gt=0)
    heads: int | None = Field(default=None, gt=0)
    kv_heads: int | None = Field(default=None, gt=0)
    mlp_dim: int | None = Field(default=None, gt=0)
    remat: bool = False  # less memory for a third more work

    @property
    def missing(self) -> str | None:
        """Name of a size that the file gives neither itself nor by a preset."""
        return next((name for name in SizesSection.model_fields if getattr(self, name) is None), None)


class MeshSection(Section):
    """`[training.mesh]`: the layout of the devices. `data`, if left out, takes all that fsdp and tensor leave."""

    data: int | None = Field(default=None, gt=0)
    fsdp: int = Field(default=1, gt=0)
    tensor: int = Field(default=1, gt=0)


class TrainingSection(Section):
    """`[training]`: length, batches, devices, checkpoints and folder of a run."""

    steps: int = Field(gt=0)  # batches, which also set the length of the schedule
    max_minutes: float | None = Field(default=None, gt=0)  # stop earlier, with a checkpoint to resume from
    tokens_per_batch: int = Field(default=8192, gt=0)
    seed: int = Field(default=0, ge=0)
    init_from: Folder | None = None  # a model, by folder, URL or name, whose weights to begin with, not random ones
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computation; weights are always float32
    mesh: MeshSection = MeshSection()
    out: Folder = Path("runs/latest")  # or s3://BUCKET/FOLDER, gs://BUCKET/FOLDER
    log_every: int = Field(default=10, gt=0)
    eval_every: int = Field(default=500, ge=0)  # and at the end; 0: never
    eval_batches: int | None = Field(default=None, gt=0)  # of the held-out ones, the first; left out: all
    norms_every: int = Field(default=0, ge=0)  # norms of weights, gradients and activations in the log; 0: never
    checkpoint_every: int = Field(default=500, gt=0)
    keep: int = Field(default=2, gt=0)  # newest checkpoints kept, next to the best one
    best_by: str = "valid_loss"  # metric that picks the best checkpoint, which is exported


class TransferSection(Section):
    """`[transfer]`: how a run moves away from the weights that it begins with (`init_from`).

    Whatever else is not to move has the factor 0 in `[optimizer.rates]`.
    """

    rank: int = Field(default=0, ge=0)  # of low-rank adapters (LoRA), which move in place of projections; 0: none
    alpha: float = Field(default=16.0, gt=0)  # adapters are scaled by alpha / rank
    projections: tuple[Projection, ...] = PROJECTIONS

    @property
    def scale(self) -> float:
        """Factor of an adapter's product."""
        return self.alpha / self.rank if self.rank else 0.0

    def adapt(self, model: Any, key: jax.Array) -> Any:
        """`model`, made from `key`, with its adapters, if any."""
        if not self.rank:
            return model
        own = jax.random.fold_in(key, ADAPTERS)
        return adapt(model, self.projections, rank=self.rank, alpha=self.alpha, key=own)


class LogSection(Section):
    """`[log]`: where metrics go beside the run's folder."""

    wandb: str | None = None  # name of a Weights & Biases project
    artifact: bool = False  # upload the run's folder there when it ends: checkpoints, tokenizer, metrics and samples


class ExportSection(Section):
    """`[export]`: mean of the exported weights with another model's."""

    merge: Folder | None = None  # a model folder to take the mean with: the one that the run began with, or a sibling
    share: float = Field(default=0.5, ge=0, le=1)  # that model's share of the mean


class RunConfig(Section):
    """The sections that training reads."""

    renamed: ClassVar[Mapping[str, str]] = {
        "optimizer.average": "ema_decay",
        "training.initial": "init_from",
        "training.best": "best_by",
    }  # section.key of earlier recipes -> the key of today
    free: ClassVar[Mapping[str, Any]] = {
        "training": {
            *"out steps max_minutes mesh keep best_by eval_batches".split(),
            *"log_every eval_every norms_every checkpoint_every".split(),
        },
        "export": True,
        "log": True,
    }  # keys that may change when a run is resumed: no loss depends on them

    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingSection
    transfer: TransferSection = TransferSection()
    export: ExportSection = ExportSection()
    log: LogSection = LogSection()

    @model_validator(mode="after")
    def check_transfer(self) -> Self:
        if self.transfer != type(self.transfer)() and self.training.init_from is None:
            raise ConfigError("[transfer] needs init_from in [training]: the model that the run begins with.")
        return self

    def check_sizes(self, model: SizesSection) -> None:
        """Raise ConfigError where a size is not known and there is no model to begin with."""
        if model.missing and self.training.init_from is None:
            raise ConfigError(f"[model] lacks {model.missing!r}: give it, a preset, or init_from in [training].")

    def deciding(self) -> dict[str, dict[str, Any]]:
        """Values by section and key, as JSON, that must not change within a run."""
        decided: dict[str, dict[str, Any]] = self.model_dump(mode="json", exclude=dict(self.free))
        return decided


def load_config(path: str | os.PathLike[str], kind: type[C]) -> C:
    """Read a TOML file. Raises ConfigError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    return parse_config(text, kind, name=str(path))


def sections(path: Path) -> set[str]:
    """Names of a TOML file's sections; none where it cannot be read, which `load_config` says better."""
    try:
        return set(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()


def parse_config(text: str, kind: type[C], *, name: str = "config") -> C:
    """Read the text of a TOML file; `name` begins the sentence of a ConfigError."""
    try:
        return kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}.") from None
    except ValidationError as error:
        raise ConfigError(f"{name}: {_sentence(error, kind.renamed)}") from None


def render_config(config: RunConfig) -> str:
    """The whole resolved configuration as TOML, which `parse_config` reads back equal."""
    return "\n".join(_tables(config.model_dump(mode="json", exclude_none=True), ())).strip() + "\n"


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


def _sentence(error: ValidationError, renamed: Mapping[str, str]) -> str:
    first = error.errors(include_url=False)[0]
    *sections, key = (str(part) for part in first["loc"]) if first["loc"] else ("",)
    place = f"[{'.'.join(sections)}]" if sections else "the file"
    match first["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            new = renamed.get(".".join([*sections, key]))
            return f"'{key}' in {place} is now called {new}." if new else f"unknown key '{key}' in {place}."
        case "missing":
            return f"{place} lacks '{key}'." if sections else f"{place} lacks the section [{key}]."
        case "value_error":  # raised by our own checks, whose messages name the key within a section
            about = f"[{'.'.join([*sections, key])}]" if isinstance(first["input"], dict) else f"'{key}' in {place}:"
            return f"{about} {first['ctx']['error']}."
    message = first["msg"].removeprefix("Input ")
    return f"'{key}' in {place} is {first['input']!r} of type {type(first['input']).__name__}, but {message}."
