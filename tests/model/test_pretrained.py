import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kelp.model import masks
from kelp.model.pretrained import from_llama
from kelp.model.transformer import ModelConfig


def models(tied: bool):
    torch.manual_seed(0)
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=101,
            hidden_size=48,
            intermediate_size=80,
            num_hidden_layers=3,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=128,
            rms_norm_eps=1e-5,
            rope_theta=10000.0,
            initializer_range=0.2,  # large enough that a wrong layout cannot hide
            tie_word_embeddings=tied,
            attention_bias=False,
        )
    ).eval()
    config = ModelConfig(
        vocab_size=101,
        dim=48,
        layers=3,
        heads=6,
        kv_heads=2,
        mlp_dim=80,
        site_kinds=2,
        pointer_dim=4,
        tie_embeddings=tied,
    )
    return llama, {name: value.numpy() for name, value in llama.state_dict().items()}, config


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_checkpoint_gives_the_logits_that_llama_gives(tied):
    llama, state, config = models(tied)
    tokens = np.random.default_rng(0).integers(0, 101, (2, 23))
    with torch.no_grad():
        expected = llama(torch.from_numpy(tokens)).logits.numpy()
    ours = from_llama(state, config)
    positions = jnp.broadcast_to(jnp.arange(23), (2, 23))
    hidden = ours(jnp.array(tokens), positions, masks.causal(jnp.ones((2, 23), bool)))
    np.testing.assert_allclose(ours.logits(hidden), expected, atol=1e-4, rtol=1e-4)


def test_weights_of_another_shape_are_refused():
    _, state, config = models(True)
    state["model.layers.1.mlp.up_proj.weight"] = np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match=r"layers.1.mlp.up_proj.weight has shape \(3, 4\)"):
        from_llama(state, config)


def test_a_missing_weight_is_named():
    _, state, config = models(True)
    del state["model.norm.weight"]
    with pytest.raises(KeyError, match=r"model\.norm\.weight"):
        from_llama(state, config)
