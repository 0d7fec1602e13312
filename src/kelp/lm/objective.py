"""Objective of a language model: its loss over a stream of rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from kelp.lm.batch import LMBatch
from kelp.lm.config import DiffusionConfig
from kelp.lm.folder import load_lm, save_lm
from kelp.lm.loss import METRICS, Schedule, loss, targets
from kelp.lm.recipe import LMRecipe, make_model_config
from kelp.lm.sampler import Allowed, SampleConfig, prompt_row, sample
from kelp.model.config import TransformerConfig
from kelp.model.folder import COMPUTING
from kelp.model.low_rank import merged
from kelp.model.pretrained import with_tokens
from kelp.model.store import find
from kelp.model.transformer import Transformer
from kelp.training.config import ConfigError
from kelp.training.distributed import whole_here
from kelp.training.objective import Dtype, Metrics, Row, TrainingError, check_sizes
from kelp.training.part import WHOLE, Part

Batch = tuple[LMBatch, Schedule]


class Source(Protocol):
    """Rows of text in batches, such as `kelp.lm.stream.Stream`. `batch` is a pure function of the step."""

    @property
    def tokenizer_files(self) -> tuple[Path, ...]: ...  # tokenizer.json first

    @property
    def origin(self) -> Row: ...  # where the text comes from, and how much there is

    def batch(self, step: int, part: Part) -> LMBatch: ...

    def valid_batches(self, part: Part) -> Iterable[LMBatch]: ...

    def report(self) -> dict[str, float]: ...  # figures since the last report, such as the share of padding


@dataclass(frozen=True)
class _NoText:
    """The tokenizer of a source that is not there."""

    tokenizer_files: tuple[Path, ...]
    origin: Row = field(default_factory=dict)

    def batch(self, step: int, part: Part) -> LMBatch:
        raise NotImplementedError

    def valid_batches(self, part: Part) -> Iterable[LMBatch]:
        return ()

    def report(self) -> dict[str, float]:
        return {}


@dataclass(frozen=True)
class LMObjective:
    """The objective of a recipe over a source of rows."""

    recipe: LMRecipe
    source: Source
    cfg: DiffusionConfig
    sizes: TransformerConfig

    metrics = METRICS
    no_decay = ("norm", "embed")
    unit = "tokens"

    @classmethod
    def of(cls, recipe: LMRecipe, source: Source) -> Self:
        """The objective of a run with its data. Raises ConfigError, ModelError."""
        path, ids = source.tokenizer_files[0], dict[str, int]()
        tokenizer = _read_tokenizer(path)
        for key in ("mask", "end", "pad"):
            name = getattr(recipe.data, key)
            token = tokenizer.token_to_id(name)
            if token is None:
                raise ConfigError(f"{key} = {name!r} in [data] is no token of {path}.")
            ids[key] = token
        objective = cls(
            recipe,
            source,
            recipe.lm.with_ids(**ids),
            make_model_config(recipe, max(tokenizer.get_vocab().values()) + 1),
        )
        for prompt, row in zip(recipe.lm.samples.prompts, objective._prompts):
            if len(row) > recipe.data.length:
                raise ConfigError(
                    f"the prompt {prompt!r} and length = {recipe.lm.samples.length} in [lm.samples] take {len(row)} "
                    f"tokens, and a row has length = {recipe.data.length} in [data]."
                )
        return objective

    @classmethod
    def revive(cls, run: Path, progress: dict[str, Any]) -> Self:
        """The objective of a run without its data, to load and save weights with."""
        about = progress["description"]
        return cls(
            LMRecipe.model_validate(progress["config"]),
            _NoText(tuple(run / name for name in about["files"])),
            DiffusionConfig(**about["diffusion"]),
            TransformerConfig.from_dict(about["sizes"]),
        )

    @classmethod
    def without_data(cls, recipe: LMRecipe) -> Self:
        """The objective of a recipe, to plan its run before there is data or a tokenizer. Raises ConfigError."""
        sizes = make_model_config(recipe, recipe.model.vocab_size or recipe.data.vocab_size)
        return cls(recipe, _NoText(()), recipe.lm.with_ids(mask=0, end=1, pad=2), sizes)

    @property
    def description(self) -> dict[str, Any]:
        files = [path.name for path in self.files]
        return {"files": files, "diffusion": self.cfg.to_dict(), "sizes": self.sizes.to_dict()}

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.source.tokenizer_files)

    def init(self, key: jax.Array) -> Transformer:
        model: Transformer = self.recipe.transfer.adapt(Transformer.init(self.sizes, key=key), key)
        return model

    def load(self, folder: Path) -> dict[str, jax.Array]:
        """The weights of a model, where its sizes and its tokenizer are this run's. Raises ModelError, TrainingError.

        Where this run has more tokens, the rows of the new ones are the mean of all rows.
        """
        folder = find(folder)
        model, _ = load_lm(folder, autoregressive=True)
        tokens = max(model.cfg.vocab_size, self.sizes.vocab_size)
        theirs = model.cfg.to_dict() | {"vocab_size": tokens}
        check_sizes(folder, self.sizes.to_dict(), theirs, but_for=COMPUTING)
        if (folder / "tokenizer.json").is_file():
            there, here = (_read_tokenizer(path) for path in (folder / "tokenizer.json", self.files[0]))
            if there.get_vocab(with_added_tokens=False) != here.get_vocab(with_added_tokens=False):
                raise TrainingError(
                    f"{self.files[0]} is another tokenizer than that of {folder}: give that one in [data]."
                )
        return with_tokens(model, tokens)

    def save(self, out: Path, weights: dict[str, np.ndarray], *, dtype: Dtype, origin: dict[str, Any]) -> None:
        length, weights = self.recipe.data.length, merged(weights, self.recipe.transfer.scale)
        save_lm(out, weights, self.sizes, self.cfg, files=self.files, length=length, dtype=dtype, origin=origin)

    def loss(self, model: Transformer, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        rows, schedule = batch
        tokens, align = self.recipe.training.tokens_per_batch, self.recipe.transfer.align
        return loss(model, rows, key, self.cfg, self.recipe.lm, tokens=tokens, schedule=schedule, align=align)

    def batch(self, step: int, part: Part = WHOLE) -> Batch:
        return self._scheduled(self.source.batch(step, part), step)

    def valid_batches(self, part: Part = WHOLE) -> Iterable[Batch]:
        last = self.recipe.training.steps - 1
        return (self._scheduled(batch, last) for batch in self.source.valid_batches(part))

    def reports(self, model: Transformer, step: int) -> Iterator[tuple[str, Row]]:
        """The origin of the text, figures of its stream as training goes, and samples."""
        samples, training = self.recipe.lm.samples, self.recipe.training
        if step == 0:
            yield "source", self.source.origin
        elif step % training.log_every == 0 or step == training.steps:
            yield "data", self.source.report()
        if step > 0 and step % samples.every == 0 and samples.prompts:
            how = SampleConfig(temperature=samples.temperature, seed=training.seed)
            written = sample(whole_here(model), self.cfg, self._prompts, how, self._named)
            for prompt, row, tokens, end in zip(samples.prompts, self._prompts, written.tokens, written.lengths):
                text = self._tokenizer.decode(
                    tokens[len(row) - samples.length : end].tolist(), skip_special_tokens=False
                )
                yield "sample", {"prompt": prompt, "text": text}

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return _read_tokenizer(self.files[0])

    @cached_property
    def _prompts(self) -> list[list[int]]:
        """Rows to sample from."""
        samples, encode = self.recipe.lm.samples, self._tokenizer.encode
        texts = [encode(prompt, add_special_tokens=False).ids for prompt in samples.prompts]
        return [prompt_row(self.cfg, text, samples.length) for text in texts]

    @cached_property
    def _named(self) -> Allowed:
        """The tokens that the tokenizer has: the model may have room for more. One function, compiled once."""
        names = max(self._tokenizer.get_vocab().values()) + 1
        return lambda row, place: jnp.arange(self.sizes.vocab_size) < names

    def weight(self, batch: Batch) -> Any:
        """Number of tokens to predict."""
        return targets(batch[0], self.cfg, self.recipe.lm).sum()

    def _scheduled(self, batch: LMBatch, step: int) -> Batch:
        """The batch with what a schedule sets at a step."""
        lm, rows, steps = self.recipe.lm, len(batch.tokens), self.recipe.training.steps
        share = size = None
        if lm.objective == "joint":
            end = lm.ar_share if lm.ar_share_end is None else lm.ar_share_end
            share = np.full(rows, lm.ar_share + (end - lm.ar_share) * step / max(1, steps - 1), np.float32)
        if sizes := self.recipe.transfer.blocks:
            size = np.full(rows, (*sizes, lm.block)[step * (len(sizes) + 1) // steps], np.int32)
        return batch, Schedule(share, size)


def _read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer. Raises ConfigError."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare ones
        raise ConfigError(f"{path} is no tokenizer.json: {error}.") from None
