"""A transformer small enough to check its every probability."""

import jax

from kelp.lm.config import DiffusionConfig
from kelp.model.config import TransformerConfig
from kelp.model.transformer import Transformer

VOCAB, END, PAD, MASK = 13, 0, 1, 12


def toy_model(vocab: int = VOCAB, layers: int = 2, scale: float = 40.0) -> Transformer:
    """Random weights; logits as far apart as a trained model's."""
    cfg = TransformerConfig(
        vocab_size=vocab, dim=16, layers=layers, heads=2, kv_heads=1, mlp_dim=24, tie_embeddings=False
    )
    model = Transformer.init(cfg, key=jax.random.key(0))
    object.__setattr__(model, "unembedding", model.unembedding * scale)
    return model


def toy_config(**changes) -> DiffusionConfig:
    return DiffusionConfig(**{"mask": MASK, "end": END, "pad": PAD, "block": 4, **changes})
