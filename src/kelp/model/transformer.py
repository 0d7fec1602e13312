"""A decoder-style transformer in the Llama layout; the attention mask is an argument.

RMSNorm, SwiGLU, rotary positions (the two halves of a head rotate together, as in Hugging Face's Llama) and
grouped-query attention. Activations are float32; weights may be stored in less. `compute_dtype` is the type that matrix
products take their operands in, and every product accumulates and returns float32, so that softmax, norms, logits and
the residual stream are never in bfloat16.

Letters: B batch, S sequence (queries), T keys, D model width, K key/value heads, G query heads per key/value head,
H width of a head, F width of the MLP, V vocabulary.
"""

import dataclasses
import math
from typing import Annotated, Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from kelp.model.attention import KV, Cache, Rotation, attend
from kelp.model.config import TransformerConfig
from kelp.model.einsum import einsum
from kelp.model.low_rank import LowRank
from kelp.model.placement import BATCH, split
from kelp.model.recorded import record


def partition_specs(model: Any) -> Any:
    """The partition spec of every weight of a module, in a pytree of the module's structure.

    Each is declared where the weight is: ``Annotated[Float[Array, "D F"], P("fsdp", "tensor")]`` splits
    dimension D over the mesh axis "fsdp" and F over "tensor". The batch goes over "data" and "fsdp".
    """

    def spec(path: tuple[Any, ...], _: Any) -> P:
        *owners, name = path
        owner = model
        for key in owners:
            owner = getattr(owner, key.name) if isinstance(key, jax.tree_util.GetAttrKey) else owner[key.idx]
        if isinstance(owner, LowRank):
            return owner.partition(name.name, spec(tuple(owners), None))
        declared = get_args(next(field.type for field in dataclasses.fields(owner) if field.name == name.name))
        if not (declared and isinstance(declared[-1], P)):
            raise ValueError(f"no partition is declared for {jax.tree_util.keystr(path)}")
        return declared[-1]

    return jax.tree_util.tree_map_with_path(spec, model)


def shardings(model: Any, mesh: Mesh) -> Any:
    """The place of every weight of a (shape-only) module on a mesh of the axes "fsdp" and "tensor", maybe among others.

    A mesh axis that does not divide a dimension is left out: every device along it holds that dimension whole.
    """

    def place(leaf: Any, spec: P) -> NamedSharding:
        axes = [axis if axis and size % mesh.shape[axis] == 0 else None for axis, size in zip(spec, leaf.shape)]
        return NamedSharding(mesh, P(*axes))

    return jax.tree.map(place, model, partition_specs(model))


class RMSNorm(eqx.Module):
    """Root-mean-square normalization (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    scale: Annotated[Float[Array, " D"], P(None)]
    eps: float = eqx.field(static=True)

    @staticmethod
    def init(dim: int, eps: float) -> "RMSNorm":
        return RMSNorm(jnp.ones(dim), eps)

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + self.eps) * self.scale


class Attention(eqx.Module):
    """Grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245) with its four projections."""

    query: Annotated[Float[Array, "D K G H"], P("fsdp", "tensor", None, None)]
    key: Annotated[Float[Array, "D K H"], P("fsdp", "tensor", None)]
    value: Annotated[Float[Array, "D K H"], P("fsdp", "tensor", None)]
    out: Annotated[Float[Array, "K G H D"], P("tensor", None, None, "fsdp")]
    dtype: str = eqx.field(static=True)

    @staticmethod
    def init(cfg: TransformerConfig, *, key: PRNGKeyArray) -> "Attention":
        D, K, G, H = cfg.dim, cfg.kv_heads, cfg.heads // cfg.kv_heads, cfg.head_dim
        q, k, v, o = jax.random.split(key, 4)
        return Attention(
            query=_normal(q, (D, K, G, H), D),
            key=_normal(k, (D, K, H), D),
            value=_normal(v, (D, K, H), D),
            out=_normal(o, (K, G, H, D), 2 * cfg.layers * K * G * H),
            dtype=cfg.compute_dtype,
        )

    @jax.named_scope("attention")
    def __call__(
        self,
        x: Float[Array, "B S D"],
        rotation: Rotation,
        mask: Bool[Array, "#B S T"],
        past: KV | None = None,
        into: KV | None = None,
        starts: Int[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B S D"], KV]:
        """Attend to `past` and to these tokens; return the output, and the keys and values of these tokens.

        With `into`, these are first written there, from each row's `starts` on; then attend to the whole and return it.
        """
        q = split(rotation(einsum("bsd,dkgh->bskgh", x, self.query, self.dtype)), BATCH, None, "tensor", None, None)
        k = split(rotation(einsum("bsd,dkh->bskh", x, self.key, self.dtype)), BATCH, None, "tensor", None)
        v = split(einsum("bsd,dkh->bskh", x, self.value, self.dtype), BATCH, None, "tensor", None)
        own = KV(k, v) if into is None or starts is None else into.write(KV(k, v), starts)
        y = split(attend(q, own, past, mask, self.dtype), BATCH, None, "tensor", None, None)
        return einsum("bskgh,kghd->bsd", y, self.out, self.dtype), own


class MLP(eqx.Module):
    """SwiGLU feed-forward layer (Shazeer 2020, arXiv 2002.05202)."""

    gate: Annotated[Float[Array, "D F"], P("fsdp", "tensor")]
    up: Annotated[Float[Array, "D F"], P("fsdp", "tensor")]
    down: Annotated[Float[Array, "F D"], P("tensor", "fsdp")]
    dtype: str = eqx.field(static=True)

    @staticmethod
    def init(cfg: TransformerConfig, *, key: PRNGKeyArray) -> "MLP":
        g, u, d = jax.random.split(key, 3)
        return MLP(
            gate=_normal(g, (cfg.dim, cfg.mlp_dim), cfg.dim),
            up=_normal(u, (cfg.dim, cfg.mlp_dim), cfg.dim),
            down=_normal(d, (cfg.mlp_dim, cfg.dim), 2 * cfg.layers * cfg.mlp_dim),
            dtype=cfg.compute_dtype,
        )

    @jax.named_scope("mlp")
    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        gate = split(einsum("bsd,df->bsf", x, self.gate, self.dtype), BATCH, None, "tensor")
        up = split(einsum("bsd,df->bsf", x, self.up, self.dtype), BATCH, None, "tensor")
        return einsum("bsf,fd->bsd", jax.nn.silu(gate) * up, self.down, self.dtype)


class Block(eqx.Module):
    """Pre-norm residual block: attention, then MLP."""

    attention_norm: RMSNorm
    attention: Attention
    mlp_norm: RMSNorm
    mlp: MLP

    @staticmethod
    def init(cfg: TransformerConfig, *, key: PRNGKeyArray) -> "Block":
        a, m = jax.random.split(key)
        return Block(
            RMSNorm.init(cfg.dim, cfg.norm_eps),
            Attention.init(cfg, key=a),
            RMSNorm.init(cfg.dim, cfg.norm_eps),
            MLP.init(cfg, key=m),
        )

    def __call__(
        self, x: Float[Array, "B S D"], rotation: Rotation, mask: Bool[Array, "#B S T"], **caches: Any
    ) -> tuple[Float[Array, "B S D"], KV]:
        y, kv = self.attention(self.attention_norm(x), rotation, mask, **caches)
        x = split(x + y, BATCH, None, None)
        return split(x + self.mlp(self.mlp_norm(x)), BATCH, None, None), kv


_run_block = eqx.filter_jit(Block.__call__)


class Transformer(eqx.Module):
    """Token embedding, blocks and final norm; `logits` is the output layer, tied to the embedding or not."""

    embedding: Annotated[Float[Array, "V D"], P("tensor", "fsdp")]
    blocks: tuple[Block, ...]
    norm: RMSNorm
    unembedding: Annotated[Float[Array, "V D"] | None, P("tensor", "fsdp")]  # None: tied to the embedding
    cfg: TransformerConfig = eqx.field(static=True)

    @staticmethod
    def init(cfg: TransformerConfig, *, key: PRNGKeyArray) -> "Transformer":
        e, u, *blocks = jax.random.split(key, 2 + cfg.layers)
        shape = (cfg.vocab_size, cfg.dim)
        return Transformer(
            embedding=0.02 * jax.random.normal(e, shape),
            blocks=tuple(Block.init(cfg, key=k) for k in blocks),
            norm=RMSNorm.init(cfg.dim, cfg.norm_eps),
            unembedding=None if cfg.tie_embeddings else 0.02 * jax.random.normal(u, shape),
            cfg=cfg,
        )

    def __call__(
        self, tokens: Int[Array, "B S"], positions: Int[Array, "B S"], mask: Bool[Array, "#B S S"]
    ) -> Float[Array, "B S D"]:
        """States of every token after the last norm. A mask of ``[B, 1, S, S]`` is accepted too."""
        return self.with_cache(tokens, positions, mask)[0]

    def with_cache(
        self,
        tokens: Int[Array, "B S"],
        positions: Int[Array, "B S"],
        mask: Bool[Array, "#B S S"],
        *,
        upper_mask: Bool[Array, "#B S S"] | None = None,
        lengths: Int[Array, " B"] | None = None,
        past: Cache | None = None,
        into: Cache | None = None,
    ) -> tuple[Float[Array, "B S D"], Cache]:
        """The states of `__call__`, and a cache of these tokens.

        `mask` decides which of these tokens attend to each other; all attend to all of `past` and `into`. Without
        `past` and `into`, the upper third of the blocks may have `upper_mask` in place of `mask`.
        The cache holds these tokens alone; with `into`, of B rows, it is `into` with these after each row's last token.
        `lengths` counts the real tokens of each row where some are padding, at the right; later reads skip the padding.
        """
        B, S = tokens.shape
        mask = mask[:, 0] if mask.ndim == 4 else mask
        if into is not None:
            mask = into.after_write(mask)
        if past is not None:
            before = past.filled
            mask = jnp.concatenate(
                [jnp.broadcast_to(before, (B, S, before.shape[-1])), jnp.broadcast_to(mask, (B, S, S))], axis=-1
            )
        x = split(self.embedding[tokens].astype(jnp.float32), BATCH, None, None)
        rotation = Rotation.at(positions, self.cfg)
        starts = None if into is None else into.lengths
        run = jax.checkpoint(Block.__call__) if self.cfg.remat else _run_block
        layers = []
        upper = 2 * len(self.blocks) // 3
        for i, block in enumerate(self.blocks):
            with jax.named_scope(f"block{i}"):
                x, kv = run(
                    block,
                    x,
                    rotation,
                    mask if upper_mask is None or i < upper else upper_mask,
                    past=None if past is None else past.layers[i],
                    into=None if into is None else into.layers[i],
                    starts=starts,
                )
            record(f"blocks.{i}", x)
            layers.append(kv)
        lengths = jnp.full(B, S, jnp.int32) if lengths is None else lengths
        return self.norm(x), Cache(tuple(layers), lengths if starts is None else starts + lengths)

    @property
    def output_table(self) -> Float[Array, "V D"]:
        return self.embedding if self.unembedding is None else self.unembedding

    @jax.named_scope("head")
    def logits(self, hidden: Float[Array, "B S D"], table: Array | None = None) -> Float[Array, "B S V"]:
        """The logits; `table` is the output table, where the caller has placed it otherwise."""
        table = self.output_table if table is None else table
        return split(einsum("bsd,vd->bsv", hidden, table, self.cfg.compute_dtype), BATCH, None, "tensor")


def _normal(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Array:
    return jax.random.normal(key, shape) / math.sqrt(fan_in)
