"""Recipe of an edit model: the sections of its TOML file, the model presets, and the recipes that ship."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

import kelp
from kelp.data.examples.make import DataConfig
from kelp.model.config import DenoiserConfig, PrefixAttention, TransformerConfig
from kelp.model.llama import llama_config
from kelp.model.store import find
from kelp.model.tensors import read_json
from kelp.training.config import ConfigError, RunConfig, Section, SizesSection, load_config

# Llama's proportions: heads of 16 to 128 dimensions, two or three of them a key-value head, an MLP of
# about 8/3 of the width. Parameters without the embeddings: 0.1 M, 3 M, 17 M, 80 M and 1.1 G.
PRESETS: dict[str, dict[str, int]] = {
    "toy": {"dim": 64, "layers": 2, "heads": 4, "kv_heads": 2, "mlp_dim": 192, "pointer_dim": 64},
    "overnight_cpu": {"dim": 256, "layers": 4, "heads": 4, "kv_heads": 2, "mlp_dim": 704, "pointer_dim": 128},
    "laptop": {"dim": 512, "layers": 6, "heads": 8, "kv_heads": 4, "mlp_dim": 1408, "pointer_dim": 256},
    "single_gpu": {"dim": 768, "layers": 12, "heads": 12, "kv_heads": 4, "mlp_dim": 2048, "pointer_dim": 384},
    "tpu_v4_8": {"dim": 2048, "layers": 24, "heads": 16, "kv_heads": 8, "mlp_dim": 5632, "pointer_dim": 512},
}

PACKAGE = Path(kelp.__file__).parent
FOLDERS = (PACKAGE / "configs", PACKAGE.parents[1] / "configs")  # of the recipes: in a wheel, in a checkout


class ModelSection(SizesSection):
    """`[model]`. The vocabulary comes with the data."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    preset: Literal["toy", "overnight_cpu", "laptop", "single_gpu", "tpu_v4_8"] | None = None
    pointer_dim: int = Field(gt=0)
    prefix: PrefixAttention = "bidirectional"  # how the tokens of condition and program attend to each other


class ObjectiveSection(Section):
    """`[objective]`."""

    span_masking: float = Field(default=0.0, ge=0, le=1)  # share of examples with masked spans, to be filled in too


class Recipe(RunConfig):
    """A run that trains an edit model."""

    renamed: ClassVar[Mapping[str, str]] = {**RunConfig.renamed, "training.infill": "span_masking, in [objective]"}
    free: ClassVar[Mapping[str, Any]] = {**RunConfig.free, "data": {"folder"}}

    model: ModelSection
    data: DataConfig
    objective: ObjectiveSection = ObjectiveSection()

    @model_validator(mode="after")
    def check(self) -> Self:
        self.check_sizes(self.model)
        return self


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe. Raises ConfigError."""
    return load_config(path, Recipe)


def find_recipe(name: str) -> Path:
    """A recipe's file, or a folder of them, by path or by the name of one that ships. Raises ConfigError."""
    given = Path(name)
    if given.exists() or os.sep in name or given.suffix == ".toml":
        return given
    for folder in FOLDERS:
        for path in (folder / f"{name}.toml", folder / name):
            if path.exists():
                return path
    raise ConfigError(f"There is no recipe {name!r}: give a file, or one of {', '.join(shipped_recipes())}.")


def shipped_recipes() -> list[str]:
    """Names of the recipes that ship."""
    paths = [path for folder in FOLDERS for path in (*folder.glob("*.toml"), *folder.glob("*/"))]
    return sorted({path.stem for path in paths if not path.name.startswith("corpus-")})


def make_model_config(recipe: Recipe, *, vocab_size: int, site_kinds: int) -> DenoiserConfig:
    """The model's own configuration, once the data says how many tokens and kinds of site there are.

    Raises ConfigError, ModelError.
    """
    own = {"preset", "pointer_dim", "prefix"}
    sizes: dict[str, Any] = recipe.model.model_dump(exclude=own, exclude_none=True)
    folder = recipe.training.init_from
    if folder is not None and recipe.model.missing:
        folder = find(folder)
        sizes = llama_config(read_json(folder / "config.json"), folder).to_dict() | sizes
    sizes |= {"vocab_size": vocab_size, "compute_dtype": recipe.training.dtype}
    try:
        transformer = TransformerConfig.from_dict(sizes)
        return DenoiserConfig(transformer, site_kinds, recipe.model.pointer_dim, recipe.model.prefix)
    except ValueError as error:
        raise ConfigError(f"[model] {error}.") from None
