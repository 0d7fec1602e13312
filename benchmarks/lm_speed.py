"""Speed of the language model, as ratios within one run, at 6.5 million parameters.

    python benchmarks/lm_speed.py step                  # training against plain PyTorch (the extra `golden` brings it)
    python benchmarks/lm_speed.py packing --data 'files:texts/*.py' --tokenizer tokenizer
    python benchmarks/lm_speed.py decoding [--model my-lm]
    python benchmarks/lm_speed.py memory
    python benchmarks/lm_speed.py tokenizer --files 'texts/*.py'

`step` trains autoregressively, where both compute the same: one causal pass over each row. Runs of the two alternate,
and medians count, so that other work on the machine disturbs the ratios as little as may be. `memory` reads XLA's own
account of a compiled step. On Linux, run it with GLIBC_TUNABLES=glibc.malloc.hugetlb=1, as `kelp train` runs itself.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from kelp.lm.bench import Timing, random_rows
from kelp.lm.config import DiffusionConfig
from kelp.lm.loss import loss
from kelp.lm.recipe import PRESETS, LMSection
from kelp.lm.sampler import SampleConfig, prompt_row, sample
from kelp.model.config import TransformerConfig
from kelp.model.transformer import Transformer
from kelp.training.loop import KEEP_REMAT
from kelp.training.optimizer import OptimizerConfig, make_optimizer

VOCAB = 8192
MASK, END, PAD = 1, 0, 2


def make_model(**changes: Any) -> Transformer:
    return Transformer.init(TransformerConfig(vocab_size=VOCAB, **PRESETS["small"], **changes), key=jax.random.key(0))


def config(block: int) -> DiffusionConfig:
    return DiffusionConfig(mask=MASK, end=END, pad=PAD, block=block)


def make_step(model: Transformer, block: int, tokens: int) -> Any:
    """The jitted step (model, state, batch) -> (model, state, loss), and the state that it begins with."""
    cfg, lm, key = config(block), LMSection(block=block), jax.random.key(0)
    rule = make_optimizer(OptimizerConfig(), 1000, ("norm", "embed"))

    def step(model: Transformer, state: Any, batch: Any) -> Any:
        value, gradients = jax.value_and_grad(lambda m: loss(m, batch, key, cfg, lm, tokens=tokens)[0])(model)
        updates, state = rule.update(gradients, state, model)
        return optax.apply_updates(model, updates), state, value

    return jax.jit(step, donate_argnums=(0, 1), compiler_options=KEEP_REMAT), rule.init(model)


def jax_run(dtype: str, rows: int, length: int) -> Callable[[], float]:
    model = make_model(compute_dtype=dtype)
    step, state = make_step(model, 1, rows * length)
    batch = random_rows(config(1), VOCAB, rows, length)

    def run() -> float:
        nonlocal model, state
        model, state, value = step(model, state, batch)
        return float(value)

    return run


def torch_run(dtype: str, rows: int, length: int, compiled: bool) -> Callable[[], float]:
    """The same network and step in plain PyTorch: attention by its fused kernel, bfloat16 by autocast."""
    import torch
    import torch.nn.functional as F

    sys.path.insert(0, str(Path(__file__).parent))
    from train_step import TorchBlock

    cfg = TransformerConfig(vocab_size=VOCAB, **PRESETS["small"])

    class Llama(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(VOCAB, cfg.dim)
            torch.nn.init.normal_(self.embedding.weight, std=0.02)
            self.blocks = torch.nn.ModuleList(TorchBlock(cfg) for _ in range(cfg.layers))
            self.norm = torch.nn.RMSNorm(cfg.dim, cfg.norm_eps)
            half = cfg.head_dim // 2
            angle = torch.arange(length)[:, None] * cfg.rope_theta ** (-torch.arange(half) / half)
            self.cos, self.sin = angle.cos(), angle.sin()
            self.mask = torch.ones(length, length, dtype=torch.bool).tril()

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = self.embedding(tokens)
            for block in self.blocks:
                x = block(x, self.cos, self.sin, self.mask)
            logits = F.linear(self.norm(x)[:, :-1], self.embedding.weight).float()
            return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    torch.manual_seed(0)
    model: Any = Llama()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1, fused=True)
    tokens = torch.from_numpy(random_rows(config(1), VOCAB, rows, length).tokens.astype(np.int64))
    forward = torch.compile(model) if compiled else model

    def run() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            value = forward(tokens)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return value.item()

    return run


def steps(args: argparse.Namespace) -> None:
    for dtype in args.dtypes:
        runs = {"kelp": jax_run(dtype, args.rows, args.length)}
        runs |= {"torch": torch_run(dtype, args.rows, args.length, compiled=False)}
        if args.compile:
            runs["torch.compile"] = torch_run(dtype, args.rows, args.length, compiled=True)
        for run in runs.values():
            run()
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(args.repeats):
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
        medians = {name: float(np.median(times)) for name, times in seconds.items()}
        for name, median in medians.items():
            rate = args.rows * args.length / median
            ratio = median / medians["kelp"]
            print(
                f"{dtype} {name}: {1e3 * median:.0f} ms, {rate:,.0f} tokens/s; kelp is {ratio:.2f} x as fast",
                flush=True,
            )


def packing(args: argparse.Namespace) -> None:
    """Useful tokens a second of packed rows against one document a row, on the documents of a source."""
    from itertools import islice

    from kelp.lm.ahead import Tokens
    from kelp.lm.stream import Rows
    from kelp.lm.text import DataSection, documents
    from kelp.lm.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(args.tokenizer)
    section = DataSection(sources=(args.data,), tokenizer=args.tokenizer, folder=Path("nowhere"))
    texts = [document.text for document in islice(documents(section), 2000) if isinstance(document.text, str)]
    tokens = Tokens.of(tokenizer.encode_batch(texts), tokenizer.end)
    model = make_model()
    rates = {}
    for packed in (False, True):
        rows = Rows(tokens, args.length, packed, tokenizer)
        batch = rows.batch(range(min(args.rows, len(rows))), args.rows)
        step, state = make_step(model, 32, args.rows * args.length)
        compiled = step.lower(model, state, batch).compile()
        fresh = jax.tree.map(lambda x: x + 0, (model, state))

        def run(compiled: Any = compiled, batch: Any = batch) -> None:
            nonlocal fresh
            *kept, value = compiled(*fresh, batch)
            fresh = tuple(kept)
            float(value)

        timing = Timing.of(run, args.repeats)
        pieces = [rows.batch(range(first, min(first + 64, len(rows))), 64) for first in range(0, len(rows), 64)]
        useful = sum(int((piece.document > 0).sum()) for piece in pieces) / (len(rows) * args.length)
        rates[packed] = useful * args.rows * args.length / timing.median
        name = "packed" if packed else "one document a row"
        print(f"{name}: {useful:.1%} of the slots are text, {rates[packed]:,.0f} useful tokens/s", flush=True)
    print(f"packing gives {rates[True] / rates[False]:.2f} x the useful tokens/s")


def decoding(args: argparse.Namespace) -> None:
    """256 tokens in blocks of 32: with the cache against without, and passes by a threshold against one token each."""
    from kelp.lm.layout import Layout, attends
    from kelp.lm.sampler import update_canvas

    if args.model is None:
        model, cfg = make_model(), config(32)
    else:
        from kelp.lm.folder import load_lm

        model, cfg = load_lm(args.model)
        cfg = replace(cfg, block=32)
    length, prompt = args.tokens, random_rows(cfg, model.cfg.vocab_size, 1, 33).tokens[0, 1:].tolist()
    row = np.array([prompt_row(cfg, prompt, length)])
    slots = jax.numpy.arange(row.shape[1])[None]
    key = jax.random.key(0)

    @jax.jit
    def whole_row(tokens: Any, start: Any, step: Any) -> Any:
        """One pass without a cache: the clean tokens of earlier blocks, and the block with its masks."""
        noisy = (slots >= start) & (slots < start + 32)
        layout = Layout.of((slots < start + 32).astype(int), slots, noisy, 32)
        states = model(tokens, slots, attends(layout, layout, cfg))
        at = start + jax.numpy.arange(32)
        logits = model.logits(states[:, at - cfg.shift])[0]
        logits = logits.at[:, jax.numpy.array([cfg.mask, cfg.end, cfg.pad])].set(-jax.numpy.inf)
        canvas = tokens[0, at]
        new, _ = update_canvas(cfg, SampleConfig(), key, step, at, canvas == cfg.mask, canvas, logits)
        return tokens.at[0, at].set(new)

    def uncached() -> None:
        tokens = jax.numpy.asarray(row)
        for start in range(33, row.shape[1], 32):
            for _ in range(32):
                tokens = whole_row(tokens, start, 0)
        jax.block_until_ready(tokens)

    def allowed(tokens: Any, position: Any) -> Any:  # no end of text, so that all tokens are written
        return jax.numpy.arange(model.cfg.vocab_size) != cfg.end

    def cached() -> None:
        sample(model, cfg, row.tolist(), SampleConfig(), allowed)

    slow, fast = Timing.of(uncached, args.repeats), Timing.of(cached, args.repeats)
    print(
        f"{length} tokens uncached {slow.median:.2f} s, cached {fast.median:.2f} s: {slow.median / fast.median:.1f} x"
    )
    passes = {
        accept: sample(model, cfg, row.tolist(), SampleConfig(accept=accept), allowed).passes[0]
        for accept in ("top-k", "threshold")
    }
    ratio = passes["top-k"] / passes["threshold"]
    print(f"passes: one token each {passes['top-k']}, threshold 0.9 {passes['threshold']}: {ratio:.2f} x fewer")


def memory(args: argparse.Namespace) -> None:
    """Peak of a compiled step at length 2,048 against weights, optimizer and the activations of one block."""
    length = args.long
    batch = random_rows(config(32), VOCAB, 1, length)
    for remat in (False, True):
        model = make_model(remat=remat)
        step, state = make_step(model, 32, length)
        account = step.lower(model, state, batch).compile().memory_analysis()
        held = sum(leaf.nbytes for leaf in jax.tree.leaves((model, state)) if hasattr(leaf, "nbytes"))
        cfg = model.cfg
        slots = 2 * length  # clean and noisy, of two complementary rows
        block = 4 * 2 * slots * (6 * cfg.dim + 3 * cfg.mlp_dim)
        peak = held + account.temp_size_in_bytes
        more, mib = account.temp_size_in_bytes, 2**20
        print(f"remat {remat}: {held / mib:.0f} MiB of weights and optimizer, {more / mib:.0f} MiB more at the peak;")
        print(
            f"  {peak / (held + block):.2f} x of them and one block's activations ({block / mib:.0f} MiB)", flush=True
        )


def tokenizer(args: argparse.Namespace) -> None:
    """Training of a tokenizer on files against `tokenizers` alone."""
    from glob import glob

    from tokenizers import Tokenizer as Bare
    from tokenizers import models, pre_tokenizers, trainers

    from kelp.lm.tokenizer import Tokenizer

    texts = [Path(path).read_text(encoding="utf-8", errors="replace") for path in glob(args.files, recursive=True)]

    def bare() -> None:
        bpe = Bare(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=VOCAB, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
        bpe.train_from_iterator(iter(texts), trainer)

    seconds = {}
    for name, run in {"kelp": lambda: Tokenizer.train(iter(texts), VOCAB), "bare": bare}.items():
        began = time.perf_counter()
        run()
        seconds[name] = time.perf_counter() - began
    size, ratio = sum(map(len, texts)) / 1e6, seconds["kelp"] / seconds["bare"]
    print(f"{size:.1f} MB: kelp {seconds['kelp']:.1f} s, bare {seconds['bare']:.1f} s: {ratio:.2f} x")


PARTS = {"step": steps, "packing": packing, "decoding": decoding, "memory": memory, "tokenizer": tokenizer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--long", type=int, default=2048, help="length of the row whose memory is measured")
    parser.add_argument("--tokens", type=int, default=256, help="tokens to decode")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", help="source of documents")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--files", help="glob of text files")
    args = parser.parse_args()
    PARTS[args.part](args)


if __name__ == "__main__":
    main()
