"""Llama checkpoints: weights under Hugging Face's names, as a Transformer."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kelp.model.transformer import MLP, Attention, Block, ModelConfig, RMSNorm, Transformer


def from_llama(state: Mapping[str, np.ndarray], cfg: ModelConfig) -> Transformer:
    """A Transformer with the weights of a Llama checkpoint, e.g. of ``safetensors.numpy.load_file``.

    Raises KeyError for a missing weight and ValueError for one of another shape than `cfg` says.
    """
    D, F, V = cfg.dim, cfg.mlp_dim, cfg.vocab_size
    K, G, H = cfg.kv_heads, cfg.heads // cfg.kv_heads, cfg.head_dim

    def take(name: str, *shape: int) -> Float[Array, "..."]:
        values = np.asarray(state[name], np.float32)
        if values.shape != shape:
            raise ValueError(f"{name} has shape {values.shape}, the config says {shape}")
        return jnp.asarray(values)

    def norm(name: str) -> RMSNorm:
        return RMSNorm(take(f"{name}.weight", D), cfg.norm_eps)

    def block(layer: int) -> Block:
        here = f"model.layers.{layer}"
        attention, mlp = f"{here}.self_attn", f"{here}.mlp"
        return Block(
            attention_norm=norm(f"{here}.input_layernorm"),
            attention=Attention(
                query=take(f"{attention}.q_proj.weight", K * G * H, D).T.reshape(D, K, G, H),
                key=take(f"{attention}.k_proj.weight", K * H, D).T.reshape(D, K, H),
                value=take(f"{attention}.v_proj.weight", K * H, D).T.reshape(D, K, H),
                out=take(f"{attention}.o_proj.weight", D, K * G * H).T.reshape(K, G, H, D),
                dtype=cfg.compute_dtype,
            ),
            mlp_norm=norm(f"{here}.post_attention_layernorm"),
            mlp=MLP(
                gate=take(f"{mlp}.gate_proj.weight", F, D).T,
                up=take(f"{mlp}.up_proj.weight", F, D).T,
                down=take(f"{mlp}.down_proj.weight", D, F).T,
                dtype=cfg.compute_dtype,
            ),
        )

    return Transformer(
        embedding=take("model.embed_tokens.weight", V, D),
        blocks=tuple(block(layer) for layer in range(cfg.layers)),
        norm=norm("model.norm"),
        unembedding=None if cfg.tie_embeddings else take("lm_head.weight", V, D),
        cfg=cfg,
    )
