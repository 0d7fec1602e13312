"""Speed of one training step (loss, gradients, AdamW) of the 4.6-million-parameter denoiser, on random batches.

    python benchmarks/train_step.py --batch 32 --prefix 256 --suffix 16 --dtype bfloat16

Beside it, in the same run and on the same batch, the same network in plain PyTorch (the extra `golden` brings it),
and the rate at which either multiplies large matrices. Rounds alternate between the two, and the best of them counts,
so that other work on the machine disturbs the ratios as little as may be.

On Linux, run this and training with GLIBC_TUNABLES=glibc.malloc.hugetlb=1: XLA allocates its buffers anew at
every step, and faulting them in by small pages takes up to a third of the step.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F

from kelp.model.config import DenoiserConfig, TransformerConfig
from kelp.model.denoiser import Denoiser, loss


class Batch(NamedTuple):
    tokens: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    sites: np.ndarray
    site_target: np.ndarray
    suffix: np.ndarray
    targets: np.ndarray


def random_batch(cfg: DenoiserConfig, B: int, P: int, T: int, N: int, rng: np.random.Generator) -> Batch:
    """A batch without padding: one correct site in N, every suffix token after `<edit>` a target."""
    first = rng.integers(0, P, (B, N))
    sites = np.stack([first, rng.integers(first, P), rng.integers(1, cfg.site_kinds, (B, N))], axis=-1)
    start = rng.integers(0, P, (B, 1))
    targets = rng.integers(1, cfg.transformer.vocab_size, (B, T))
    targets[:, 0] = -1
    written = np.concatenate([start, start + 2, start + np.arange(T - 2)], axis=1)
    fields = (
        rng.integers(1, cfg.transformer.vocab_size, (B, P + T)),
        np.concatenate([np.tile(np.arange(P), (B, 1)), written], axis=1),
        np.tile(np.repeat([1, 2], [P, T]), (B, 1)),
        sites,
        np.arange(N)[None] == rng.integers(0, N, (B, 1)),
        np.tile(np.arange(P, P + T), (B, 1)),
        targets,
    )
    return Batch(*(x if x.dtype == bool else x.astype(np.int32) for x in fields))


def arithmetic(config: DenoiserConfig, B: int, P: int, T: int) -> float:
    """Floating-point operations of the products of one step: 2 a weight and token forward, 4 backward."""
    cfg, pointer_dim = config.transformer, config.pointer_dim
    S, heads = P + T, 2 * cfg.dim * cfg.dim + 2 * cfg.dim * cfg.kv_heads * cfg.head_dim
    layer = heads + 3 * cfg.dim * cfg.mlp_dim + 2 * S * cfg.dim
    return 6.0 * B * (S * cfg.layers * layer + S * 2 * cfg.dim * pointer_dim + T * cfg.dim * cfg.vocab_size)


# JAX


def jax_step(cfg: DenoiserConfig, batch: Batch) -> Callable[[], float]:
    denoiser = Denoiser.init(cfg, key=jax.random.key(0))
    optimizer = optax.adamw(1e-3)

    def step(denoiser: Denoiser, state: Any, batch: Batch) -> tuple[Denoiser, Any, jax.Array]:
        (value, _), grads = eqx.filter_value_and_grad(loss, has_aux=True)(denoiser, batch)
        updates, state = optimizer.update(grads, state, denoiser)
        return eqx.apply_updates(denoiser, updates), state, value

    state = optimizer.init(denoiser)
    start = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(denoiser, state, batch).compile()
    print(
        f"compiled in {time.perf_counter() - start:.1f} s; {sum(x.size for x in jax.tree.leaves(denoiser)):,} weights"
    )

    def run() -> float:
        nonlocal denoiser, state
        denoiser, state, value = compiled(denoiser, state, batch)
        return float(value)

    return run


def jax_matmul(dtype: str) -> Callable[[], float]:
    a = jnp.ones((2048, 2048), dtype)
    product = jax.jit(lambda a: jnp.dot(a, a, preferred_element_type=jnp.float32))
    return lambda: float(product(a)[0, 0])


# The same in PyTorch: bfloat16 by autocast, attention by its fused kernel.


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class TorchBlock(torch.nn.Module):
    def __init__(self, cfg: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = cfg.heads, cfg.kv_heads, cfg.head_dim
        kv = cfg.kv_heads * cfg.head_dim
        self.attention_norm = torch.nn.RMSNorm(cfg.dim, cfg.norm_eps)
        self.query = torch.nn.Linear(cfg.dim, cfg.dim, bias=False)
        self.key = torch.nn.Linear(cfg.dim, kv, bias=False)
        self.value = torch.nn.Linear(cfg.dim, kv, bias=False)
        self.out = torch.nn.Linear(cfg.dim, cfg.dim, bias=False)
        self.mlp_norm = torch.nn.RMSNorm(cfg.dim, cfg.norm_eps)
        self.gate = torch.nn.Linear(cfg.dim, cfg.mlp_dim, bias=False)
        self.up = torch.nn.Linear(cfg.dim, cfg.mlp_dim, bias=False)
        self.down = torch.nn.Linear(cfg.mlp_dim, cfg.dim, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        B, S, D = x.shape
        h = self.attention_norm(x)
        q = rotate(self.query(h).view(B, S, self.heads, self.width).transpose(1, 2), cos, sin)
        k = rotate(self.key(h).view(B, S, self.kv_heads, self.width).transpose(1, 2), cos, sin)
        v = self.value(h).view(B, S, self.kv_heads, self.width).transpose(1, 2)
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, S, D))
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class TorchDenoiser(torch.nn.Module):
    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.cfg = cfg = config.transformer
        self.embedding = torch.nn.Embedding(cfg.vocab_size, cfg.dim)
        torch.nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = torch.nn.ModuleList(TorchBlock(cfg) for _ in range(cfg.layers))
        self.norm = torch.nn.RMSNorm(cfg.dim, cfg.norm_eps)
        self.first = torch.nn.Linear(cfg.dim, config.pointer_dim, bias=False)
        self.last = torch.nn.Linear(cfg.dim, config.pointer_dim, bias=False)
        self.kind = torch.nn.Embedding(config.site_kinds, config.pointer_dim)
        self.score = torch.nn.Linear(config.pointer_dim, 1, bias=False)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        tokens, segments, sites = batch["tokens"], batch["segments"], batch["sites"]
        B, S = tokens.shape
        half = self.cfg.head_dim // 2
        angle = batch["positions"][:, None, :, None] * self.cfg.rope_theta ** (-torch.arange(half) / half)
        index = torch.arange(S)
        own = (segments[:, :, None] == segments[:, None, :]) & (index <= index[:, None])
        mask = (((segments == 1)[:, None, :] | own) & (segments != 0)[:, None, :])[:, None]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, angle.cos(), angle.sin(), mask)
        x = self.norm(x)

        rows = torch.arange(B)[:, None]
        ends = self.first(x)[rows, sites[..., 0]] + self.last(x)[rows, sites[..., 1]]
        scores = self.score(F.silu(ends + self.kind(sites[..., 2])))[..., 0].float()
        scores = scores.masked_fill(sites[..., 2] == 0, -torch.inf).log_softmax(dim=-1)
        where = -scores.masked_fill(~batch["site_target"], -torch.inf).logsumexp(dim=-1).mean()
        logits = F.linear(x[rows, batch["suffix"]], self.embedding.weight).float()
        targets = batch["targets"].long()
        return where + F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def torch_step(cfg: DenoiserConfig, batch: Batch) -> Callable[[], float]:
    torch.manual_seed(0)
    model = TorchDenoiser(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tensors = {
        name: torch.from_numpy(x if x.dtype == bool else x.astype(np.int64)) for name, x in batch._asdict().items()
    }

    def run() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=cfg.transformer.compute_dtype == "bfloat16"):
            value = model(tensors)
        value.backward()
        optimizer.step()
        return value.item()

    return run


def torch_matmul(dtype: str) -> Callable[[], float]:
    a = torch.ones((2048, 2048), dtype=getattr(torch, dtype))
    return lambda: (a @ a)[0, 0].item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32, help="examples a step")
    parser.add_argument("--prefix", type=int, default=256, help="tokens of conditioning and program")
    parser.add_argument("--suffix", type=int, default=16, help="tokens of the edit")
    parser.add_argument("--sites", type=int, default=192, help="edit sites a program")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--kv-heads", type=int, default=2)
    args = parser.parse_args()
    sizes = dict(vocab_size=4096, dim=256, layers=4, heads=4, kv_heads=args.kv_heads, mlp_dim=768)
    cfg = DenoiserConfig(TransformerConfig(**sizes, compute_dtype=args.dtype), site_kinds=32, pointer_dim=128)
    batch = random_batch(cfg, args.batch, args.prefix, args.suffix, args.sites, np.random.default_rng(0))
    work = {
        "kelp": jax_step(cfg, batch),
        "torch": torch_step(cfg, batch),
        "kelp matmul": jax_matmul(args.dtype),
        "torch matmul": torch_matmul(args.dtype),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for name, run in work.items():
        print(f"{name}: {run():.4f}")  # also warms up
    for _ in range(args.rounds):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)

    flops = arithmetic(cfg, args.batch, args.prefix, args.suffix)
    tokens = args.batch * (args.prefix + args.suffix)
    for name in ("kelp", "torch"):
        best, median = min(seconds[name]), float(np.median(seconds[name]))
        rate, peak = flops / best, 2 * 2048**3 / min(seconds[f"{name} matmul"])
        print(
            f"{name:6}{1e3 * best:8.1f} ms a step (median {1e3 * median:.1f})   {args.batch / best:6.1f} examples/s"
            f"   {tokens / best:8.0f} tokens/s   {rate / 1e9:6.1f} GFLOP/s = {rate / peak:.0%} of {peak / 1e9:.0f}"
        )
    print(f"kelp is {min(seconds['torch']) / min(seconds['kelp']):.2f} x as fast as PyTorch")


if __name__ == "__main__":
    main()
