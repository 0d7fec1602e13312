"""A decoder-style transformer in the Llama layout; the attention mask is an argument.

RMSNorm, SwiGLU, rotary positions (the two halves of a head rotate together, as in Hugging Face's Llama)
and grouped-query attention. Weights and activations are float32; `compute_dtype` is the type that matrix
products take their operands in, and every product accumulates and returns float32, so that softmax,
norms, logits and the residual stream never see bfloat16.

Letters: B batch, S sequence (queries), T keys, P cached prefix, D model width, K key/value heads,
G query heads per key/value head, H width of a head, F width of the MLP, V vocabulary, L layers.
"""

import dataclasses
import math
from functools import partial
from typing import Annotated, Any, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

NEVER = -1e30  # score of what a query may not see: finite, so that a query that sees nothing gets no NaN


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of a denoiser; `site_kinds` and `pointer_dim` are its pointer's, the rest its transformer's."""

    vocab_size: int
    dim: int
    layers: int
    heads: int
    kv_heads: int
    mlp_dim: int
    site_kinds: int
    pointer_dim: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = True
    compute_dtype: str = "float32"
    remat: bool = False  # recompute each block in the backward pass: less memory, a third more work

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if type(value) in (int, float) and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got dim={self.dim} and heads={self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads must be a multiple of kv_heads, got heads={self.heads} and kv_heads={self.kv_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"dim / heads must be even (rotary positions turn pairs), got {self.dim} / {self.heads}")
        if self.compute_dtype not in ("float32", "bfloat16"):
            raise ValueError(f"compute_dtype must be 'float32' or 'bfloat16', got {self.compute_dtype!r}")

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        return cls(**values)


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
        declared = get_args(next(field.type for field in dataclasses.fields(owner) if field.name == name.name))
        if not (declared and isinstance(declared[-1], P)):
            raise ValueError(f"no partition is declared for {jax.tree_util.keystr(path)}")
        return declared[-1]

    return jax.tree_util.tree_map_with_path(spec, model)


@partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def einsum(spec: str, x: Array, y: Array, dtype: str) -> Array:
    """Product of two float32 arrays from operands rounded to `dtype`, accumulated in float32.

    Each letter stands in at least two of the three terms, so both derivatives are einsums with the terms
    swapped. They are written out because autodiff would multiply in float32 what is here rounded to `dtype`.
    """
    return jnp.einsum(spec, x.astype(dtype), y.astype(dtype), preferred_element_type=jnp.float32)


def _einsum_forward(spec: str, x: Array, y: Array, dtype: str) -> tuple[Array, tuple[Array, Array]]:
    x, y = x.astype(dtype), y.astype(dtype)
    return jnp.einsum(spec, x, y, preferred_element_type=jnp.float32), (x, y)


def _einsum_backward(spec: str, dtype: str, operands: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
    left, out = spec.split("->")
    a, b = left.split(",")
    x, y = operands
    grad = grad.astype(dtype)
    product = partial(jnp.einsum, preferred_element_type=jnp.float32)
    return product(f"{out},{b}->{a}", grad, y), product(f"{a},{out}->{b}", x, grad)


einsum.defvjp(_einsum_forward, _einsum_backward)


class RMSNorm(eqx.Module):
    scale: Annotated[Float[Array, " D"], P(None)]
    eps: float = eqx.field(static=True)

    @staticmethod
    def init(dim: int, eps: float) -> "RMSNorm":
        return RMSNorm(jnp.ones(dim), eps)

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + self.eps) * self.scale


class Rotation(NamedTuple):
    """Cosine and sine of every position's angles."""

    cos: Float[Array, "B S R"]  # R = H / 2
    sin: Float[Array, "B S R"]

    @staticmethod
    def at(positions: Int[Array, "B S"], cfg: ModelConfig) -> "Rotation":
        half = cfg.head_dim // 2
        frequency = cfg.rope_theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
        angle = positions[..., None] * frequency
        return Rotation(jnp.cos(angle), jnp.sin(angle))

    def __call__(self, x: Float[Array, "B S *heads H"]) -> Float[Array, "B S *heads H"]:
        between = tuple(range(2, x.ndim - 1))
        cos, sin = jnp.expand_dims(self.cos, between), jnp.expand_dims(self.sin, between)
        a, b = jnp.split(x, 2, axis=-1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


class KV(NamedTuple):
    """Rotated keys and values of one layer."""

    keys: Float[Array, "B T K H"]
    values: Float[Array, "B T K H"]


def attend(
    q: Float[Array, "B S K G H"], own: KV, shared: KV | None, mask: Bool[Array, "B S T"], dtype: str
) -> Float[Array, "B S K G H"]:
    """Grouped-query attention to `shared`, the keys of ONE sequence all rows see, and to the rows' `own`.

    The mask covers both, shared first. The shared keys are never copied per row.
    """
    scores = einsum("bskgh,btkh->bkgst", q, own.keys, dtype)
    if shared is not None:
        over_shared = einsum("bskgh,tkh->bkgst", q, shared.keys[0], dtype)
        scores = jnp.concatenate([over_shared, scores], axis=-1)
    scores = jnp.where(mask[:, None, None], scores / math.sqrt(q.shape[-1]), NEVER)
    weights = jax.nn.softmax(scores, axis=-1)
    if shared is None:
        return einsum("bkgst,btkh->bskgh", weights, own.values, dtype)
    before, after = jnp.split(weights, [shared.keys.shape[1]], axis=-1)
    y = einsum("bkgst,tkh->bskgh", before, shared.values[0], dtype)
    return y + einsum("bkgst,btkh->bskgh", after, own.values, dtype)


class Attention(eqx.Module):
    query: Annotated[Float[Array, "D K G H"], P("fsdp", "tensor", None, None)]
    key: Annotated[Float[Array, "D K H"], P("fsdp", "tensor", None)]
    value: Annotated[Float[Array, "D K H"], P("fsdp", "tensor", None)]
    out: Annotated[Float[Array, "K G H D"], P("tensor", None, None, "fsdp")]
    dtype: str = eqx.field(static=True)

    @staticmethod
    def init(cfg: ModelConfig, *, key: PRNGKeyArray) -> "Attention":
        D, K, G, H = cfg.dim, cfg.kv_heads, cfg.heads // cfg.kv_heads, cfg.head_dim
        q, k, v, o = jax.random.split(key, 4)
        return Attention(
            query=_normal(q, (D, K, G, H), D),
            key=_normal(k, (D, K, H), D),
            value=_normal(v, (D, K, H), D),
            out=_normal(o, (K, G, H, D), 2 * cfg.layers * D),
            dtype=cfg.compute_dtype,
        )

    @jax.named_scope("attention")
    def __call__(
        self,
        x: Float[Array, "B S D"],
        rotation: Rotation,
        mask: Bool[Array, "B S T"],
        *,
        shared: KV | None = None,
        written: KV | None = None,
        slot: Int[Array, ""] | int = 0,
    ) -> tuple[Float[Array, "B S D"], KV]:
        """Attend to `shared` and these tokens; or, with `written`, to that once these are in its `slot`s."""
        q = rotation(einsum("bsd,dkgh->bskgh", x, self.query, self.dtype))
        k = rotation(einsum("bsd,dkh->bskh", x, self.key, self.dtype))
        v = einsum("bsd,dkh->bskh", x, self.value, self.dtype)
        own = KV(k, v)
        if written is not None:
            own = KV(*(jax.lax.dynamic_update_slice_in_dim(a, b, slot, 1) for a, b in zip(written, own)))
        y = attend(q, own, shared, mask, self.dtype)
        return einsum("bskgh,kghd->bsd", y, self.out, self.dtype), own


class MLP(eqx.Module):
    gate: Annotated[Float[Array, "D F"], P("fsdp", "tensor")]
    up: Annotated[Float[Array, "D F"], P("fsdp", "tensor")]
    down: Annotated[Float[Array, "F D"], P("tensor", "fsdp")]
    dtype: str = eqx.field(static=True)

    @staticmethod
    def init(cfg: ModelConfig, *, key: PRNGKeyArray) -> "MLP":
        g, u, d = jax.random.split(key, 3)
        return MLP(
            gate=_normal(g, (cfg.dim, cfg.mlp_dim), cfg.dim),
            up=_normal(u, (cfg.dim, cfg.mlp_dim), cfg.dim),
            down=_normal(d, (cfg.mlp_dim, cfg.dim), 2 * cfg.layers * cfg.mlp_dim),
            dtype=cfg.compute_dtype,
        )

    @jax.named_scope("mlp")
    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        gate = einsum("bsd,df->bsf", x, self.gate, self.dtype)
        up = einsum("bsd,df->bsf", x, self.up, self.dtype)
        return einsum("bsf,fd->bsd", jax.nn.silu(gate) * up, self.down, self.dtype)


class Block(eqx.Module):
    attention_norm: RMSNorm
    attention: Attention
    mlp_norm: RMSNorm
    mlp: MLP

    @staticmethod
    def init(cfg: ModelConfig, *, key: PRNGKeyArray) -> "Block":
        a, m = jax.random.split(key)
        return Block(
            RMSNorm.init(cfg.dim, cfg.norm_eps),
            Attention.init(cfg, key=a),
            RMSNorm.init(cfg.dim, cfg.norm_eps),
            MLP.init(cfg, key=m),
        )

    def __call__(
        self, x: Float[Array, "B S D"], rotation: Rotation, mask: Bool[Array, "B S T"], **caches: Any
    ) -> tuple[Float[Array, "B S D"], KV]:
        y, kv = self.attention(self.attention_norm(x), rotation, mask, **caches)
        x = x + y
        return x + self.mlp(self.mlp_norm(x)), kv


_run_block = eqx.filter_jit(Block.__call__)

KVCache = tuple[KV, ...]  # one KV per layer


class Transformer(eqx.Module):
    embedding: Annotated[Float[Array, "V D"], P("tensor", "fsdp")]
    blocks: tuple[Block, ...]
    norm: RMSNorm
    unembedding: Annotated[Float[Array, "V D"] | None, P("tensor", "fsdp")]  # None: tied to the embedding
    cfg: ModelConfig = eqx.field(static=True)

    @staticmethod
    def init(cfg: ModelConfig, *, key: PRNGKeyArray) -> "Transformer":
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
        """States of every token after the last norm. A mask of ``[B, 1, S, S]`` is taken too."""
        return self.with_cache(tokens, positions, mask)[0]

    def with_cache(
        self,
        tokens: Int[Array, "B S"],
        positions: Int[Array, "B S"],
        mask: Bool[Array, "#B S T"],
        *,
        shared: KVCache | None = None,
        written: KVCache | None = None,
        slot: Int[Array, ""] | int = 0,
    ) -> tuple[Float[Array, "B S D"], KVCache]:
        """As `__call__`, and the keys and values of every layer.

        `shared` is the cache of ONE sequence, P tokens before these that every row sees (T = P + S).
        With `written` these tokens take the slots from `slot` on of that cache, which is returned
        updated; T is then P plus its length, and the mask must hide the slots not yet written.
        """
        mask = mask[:, 0] if mask.ndim == 4 else mask
        x = self.embedding[tokens]
        rotation = Rotation.at(positions, self.cfg)
        layers = range(self.cfg.layers)
        cache = []
        for layer, block in zip(layers, self.blocks, strict=True):
            run = jax.checkpoint(Block.__call__) if self.cfg.remat else _run_block
            with jax.named_scope(f"block{layer}"):
                x, kv = run(
                    block,
                    x,
                    rotation,
                    mask,
                    shared=shared and shared[layer],
                    written=written and written[layer],
                    slot=slot,
                )
            cache.append(kv)
        return self.norm(x), tuple(cache)

    @jax.named_scope("logits")
    def logits(self, hidden: Float[Array, "B S D"]) -> Float[Array, "B S V"]:
        table = self.embedding if self.unembedding is None else self.unembedding
        return einsum("bsd,vd->bsv", hidden, table, self.cfg.compute_dtype)


def _normal(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Array:
    return jax.random.normal(key, shape) / math.sqrt(fan_in)
