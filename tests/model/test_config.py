import json
from dataclasses import asdict

import pytest

from kelp.model.config import DenoiserConfig, RopeScaling, TransformerConfig

SIZES = dict(vocab_size=97, dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48)
LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "layers must be positive, got 0"),
        ({"layers": 10**9}, "layers must be at most 1000, got 1000000000"),
        ({"heads": 0}, "heads must be positive, got 0"),
        ({"norm_eps": -1.0}, "norm_eps must be positive, got -1.0"),
        ({"heads": 5}, "no head_dim is given, got 32 and 5"),
        ({"kv_heads": 3}, "heads=4 and kv_heads=3"),
        ({"dim": 36}, "head_dim must be even .* got 9"),
        ({"head_dim": 7}, "head_dim must be even .* got 7"),
        ({"compute_dtype": "float16"}, "got 'float16'"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_its_values(change, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**SIZES | change)


@pytest.mark.parametrize("sizes", [{"site_kinds": 0, "pointer_dim": 4}, {"site_kinds": 4, "pointer_dim": -1}])
def test_so_are_sizes_of_a_pointer(sizes):
    with pytest.raises(ValueError, match=r"(site_kinds|pointer_dim) must be positive, got (0|-1)"):
        DenoiserConfig(TransformerConfig(**SIZES), **sizes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rope_type": "yarn", "factor": 4.0}, "must be 'linear' or 'llama3', got 'yarn'"),
        ({"rope_type": "linear", "factor": 0.0}, "factor of rope_type 'linear' must be positive, got 0.0"),
        ({"rope_type": "linear", **LLAMA3}, "takes a factor alone, got"),
        ({"rope_type": "llama3", "factor": 8.0}, "low_freq_factor of rope_type 'llama3' must be positive, got None"),
        ({"rope_type": "llama3", **LLAMA3, "high_freq_factor": 0.5}, "below high_freq_factor, got 1.0 and 0.5"),
    ],
)
def test_so_is_a_scaling_of_the_rotation(values, message):
    with pytest.raises(ValueError, match=message):
        RopeScaling(**values)


def test_heads_may_be_narrower_or_wider_than_their_share_of_the_width():
    assert TransformerConfig(**SIZES).head_dim == 8
    assert TransformerConfig(**SIZES, head_dim=12).head_dim == 12


@pytest.mark.parametrize("scaling", [None, RopeScaling("linear", 2.0), RopeScaling("llama3", **LLAMA3)])
def test_a_config_survives_the_way_through_json(scaling):
    config = TransformerConfig(**SIZES, head_dim=12, rope_scaling=scaling)
    assert TransformerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    whole = DenoiserConfig(config, site_kinds=5, pointer_dim=16)
    assert DenoiserConfig.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
    assert whole.to_dict() == asdict(config) | {"site_kinds": 5, "pointer_dim": 16, "prefix": "bidirectional"}
