"""Times of a language model's parts, each measured after compilation: training, decoding and its tokenizer."""

import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from kelp.lm.batch import LMBatch
from kelp.lm.config import DiffusionConfig
from kelp.lm.loss import draw, loss, targets
from kelp.lm.recipe import LMSection
from kelp.lm.sampler import SampleConfig, prompt_row, sample
from kelp.lm.tokenizer import Tokenizer
from kelp.model.transformer import Transformer
from kelp.training.optimizer import OptimizerConfig, make_optimizer

TEXT_BYTES = 1_000_000  # of the standard library, that the tokenizer is timed on


class Timing(NamedTuple):
    """Seconds of a run: median, and quartiles."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(run: Callable[[], Any], repeats: int) -> "Timing":
        """Time a function that was called once before, for what it compiles."""
        run()
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        low, median, high = np.percentile(seconds, [25, 50, 75])
        return Timing(float(median), float(low), float(high))


def random_rows(cfg: DiffusionConfig, vocab_size: int, rows: int, length: int) -> LMBatch:
    """Rows of one document each, of random tokens of three bytes."""
    tokens = np.random.default_rng(0).integers(0, vocab_size, (rows, length)).astype(np.int32)
    tokens[np.isin(tokens, (cfg.mask, cfg.pad, cfg.end))] = (set(range(4)) - {cfg.mask, cfg.pad, cfg.end}).pop()
    tokens[:, 0] = cfg.end
    position = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
    return LMBatch(tokens, np.ones_like(tokens), position, np.full_like(tokens, 3))


def training_times(
    model: Transformer, cfg: DiffusionConfig, lm: LMSection, optimizer: OptimizerConfig, batch: LMBatch, repeats: int
) -> dict[str, Any]:
    """Times of the loss, of its gradients, and of the optimizer's update, on one batch; and its mean mask ratio."""
    rule, key = make_optimizer(optimizer, 1000, ("norm", "embed")), jax.random.key(0)
    rows = jax.tree.map(jax.numpy.asarray, batch)

    def value(model: Transformer, rows: LMBatch) -> jax.Array:
        return loss(model, rows, key, cfg, lm, tokens=rows.tokens.size)[0]

    @jax.jit
    def update(gradients: Any, state: Any, model: Transformer) -> Any:
        updates, state = rule.update(gradients, state, model)
        return optax.apply_updates(model, updates), state

    forward, both = jax.jit(value), jax.jit(jax.grad(value))
    state = jax.jit(rule.init)(model)
    gradients = both(model, rows)
    shown, noise = draw(rows, key, cfg, lm)
    wanted = np.asarray(targets(shown, cfg, lm)).sum() * (len(noise.masked) // len(shown.tokens))
    one = Timing.of(lambda: jax.block_until_ready(forward(model, rows)), repeats)
    two = Timing.of(lambda: jax.block_until_ready(both(model, rows)), repeats)
    step = Timing.of(lambda: jax.block_until_ready(update(gradients, state, model)), repeats)
    return {
        "forward": one._asdict(),
        "forward_and_backward": two._asdict(),
        "backward": two.median - one.median,
        "optimizer": step._asdict(),
        "tokens_per_second": batch.tokens.size / (two.median + step.median),
        "mask_ratio": float(np.asarray(noise.masked).sum() / wanted),
    }


def decoding_times(
    model: Transformer, cfg: DiffusionConfig, how: SampleConfig, *, prompt: int, length: int, rows: int, repeats: int
) -> dict[str, Any]:
    """Times to write `length` tokens after a prompt of random ones: of one row (latency), and of several at once."""
    random = random_rows(cfg, model.cfg.vocab_size, rows, prompt + 1).tokens[:, 1:].tolist()
    given = [prompt_row(cfg, tokens, length) for tokens in random]
    found: dict[str, Any] = {}
    for name, some in (("one_row", given[:1]), ("all_rows", given)):
        drawn = sample(model, cfg, some, how)
        timing = Timing.of(lambda some=some: sample(model, cfg, some, how), repeats)  # type: ignore[misc]
        found[name] = timing._asdict() | {
            "rows": len(some),
            "tokens_per_second": float(drawn.written.sum()) / timing.median,
            "passes": float(drawn.passes.mean()),
            "tokens_per_pass": drawn.per_pass,
        }
    return found


def tokenizer_times(tokenizer: Tokenizer, repeats: int) -> dict[str, Any]:
    """Time to encode a megabyte of the standard library, file by file, on all cores."""
    texts: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        texts.append(path.read_text(encoding="utf-8"))
        if (size := sum(map(len, texts))) > TEXT_BYTES:
            break
    count = sum(map(len, tokenizer.encode_batch(texts)))
    timing = Timing.of(lambda: tokenizer.encode_batch(texts), repeats)
    rates = {"bytes_per_second": size / timing.median, "tokens_per_second": count / timing.median}
    return timing._asdict() | rates | {"bytes_per_token": size / count}
