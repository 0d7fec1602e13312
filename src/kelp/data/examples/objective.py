"""Objective of the edit model: the denoiser's loss over batches of examples."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import jax
import numpy as np

from kelp.data.examples.recipe import Recipe, make_model_config
from kelp.encoding.batch import Batch
from kelp.encoding.folder import FILES, same_encoding, same_tokenizer
from kelp.model.config import DenoiserConfig
from kelp.model.denoiser import METRICS, Denoiser, loss
from kelp.model.folder import COMPUTING, save_model
from kelp.model.leaves import named_leaves
from kelp.model.low_rank import merged
from kelp.model.pretrained import load_model, read_llama, with_tokens
from kelp.model.store import find
from kelp.model.tensors import read_json
from kelp.training.objective import Dtype, Metrics, Row, TrainingError, check_sizes
from kelp.training.part import WHOLE, Part


class Source(Protocol):
    """Examples in batches, such as `kelp.data.examples.shards.Shards`. `batch` is a pure function of its arguments."""

    @property
    def folder(self) -> Path: ...  # with the encoding's two files

    @property
    def vocab_size(self) -> int: ...

    @property
    def site_kinds(self) -> int: ...

    def batch(self, step: int, part: Part, *, seed: int, tokens_per_batch: int, span_masking: float) -> Batch: ...

    def valid_batches(self, part: Part) -> Iterable[Batch]: ...


@dataclass(frozen=True)
class _NoExamples:
    """The folder and the sizes of a source that is not there."""

    folder: Path
    vocab_size: int
    site_kinds: int

    def batch(self, step: int, part: Part, **_: Any) -> Batch:
        raise NotImplementedError

    def valid_batches(self, part: Part) -> Iterable[Batch]:
        return ()


class EditObjective:
    """The objective of a recipe over a source of examples."""

    metrics: Mapping[str, bool] = METRICS
    unit = "examples"
    no_decay = ("norm", "embed", "bias", "pointer.kind")

    def __init__(self, recipe: Recipe, source: Source) -> None:
        self.recipe, self.source = recipe, source

    @classmethod
    def revive(cls, run: Path, progress: dict[str, Any]) -> "EditObjective":
        """The objective of a run without its data, to load and save weights with."""
        return cls(Recipe.model_validate(progress["config"]), _NoExamples(run, **progress["description"]))

    @classmethod
    def without_data(cls, recipe: Recipe, vocab_size: int, site_kinds: int) -> "EditObjective":
        """The objective of a recipe, to plan its run before there is data."""
        return cls(recipe, _NoExamples(Path(), vocab_size, site_kinds))

    @cached_property
    def model_config(self) -> DenoiserConfig:
        """Sizes of the model. Raises ConfigError."""
        return make_model_config(self.recipe, vocab_size=self.source.vocab_size, site_kinds=self.source.site_kinds)

    @property
    def description(self) -> dict[str, int]:
        return {"vocab_size": self.source.vocab_size, "site_kinds": self.source.site_kinds}

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.source.folder / name for name in FILES)

    def init(self, key: jax.Array) -> Denoiser:
        model: Denoiser = self.recipe.transfer.adapt(Denoiser.init(self.model_config, key=key), key)
        return model

    def load(self, folder: Path) -> dict[str, jax.Array]:
        """The weights of a model, where its sizes and its encoding are this run's. Raises ModelError, TrainingError.

        A language model has none for the pointer, and may lack tokens of this run: the rows of these are the mean of
        all rows.
        """
        folder = find(folder)
        language_model = "kelp" not in read_json(folder / "config.json")
        theirs: dict[str, Any]
        if language_model:
            base = read_llama(folder)
            weights = {f"transformer.{name}": leaf for name, leaf in with_tokens(base, self.source.vocab_size).items()}
            theirs = base.cfg.to_dict() | {"vocab_size": max(base.cfg.vocab_size, self.source.vocab_size)}
        else:
            model, _ = load_model(folder)
            weights, theirs = named_leaves(model), model.cfg.to_dict()
        check_sizes(folder, self.model_config.to_dict(), theirs, but_for=COMPUTING)
        same = same_tokenizer if language_model else same_encoding
        if not same(folder, self.source.folder):
            raise TrainingError(
                f"{self.source.folder} has another tokenizer than {folder}: put tokenizer = {str(folder)!r} in [data], "
                "and make the data in another folder."
            )
        return weights

    def save(self, out: Path, weights: dict[str, np.ndarray], *, dtype: Dtype, origin: dict[str, Any]) -> None:
        weights = merged(weights, self.recipe.transfer.scale)
        save_model(out, weights, self.model_config, files=self.files, dtype=dtype, origin=origin)

    def loss(self, model: Denoiser, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The denoiser's loss. It draws nothing: `batch` has masked the spans."""
        return loss(model, cast(Any, batch))  # arrays of NumPy, traced by JAX

    def batch(self, step: int, part: Part = WHOLE) -> Batch:
        settings, span_masking = self.recipe.training, self.recipe.objective.span_masking
        return self.source.batch(
            step, part, seed=settings.seed, tokens_per_batch=settings.tokens_per_batch, span_masking=span_masking
        )

    def valid_batches(self, part: Part = WHOLE) -> Iterable[Batch]:
        return self.source.valid_batches(part)

    def reports(self, model: Denoiser, step: int) -> Iterable[tuple[str, Row]]:
        return ()

    def weight(self, batch: Batch) -> Any:
        return (batch.segments[:, 0] == 1).sum()
