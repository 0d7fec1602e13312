import jax.numpy as jnp
import numpy as np

from kelp.model import masks

VALID = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
SEGMENTS = np.array([[1, 1, 1, 2, 2, 0], [1, 2, 3, 3, -1, -1], [0, 0, 0, 0, 0, 0]])


def by_definition(valid, sees):
    B, S = valid.shape
    mask = np.zeros((B, S, S), bool)
    for b in range(B):
        for query in range(S):
            for token in range(S):
                mask[b, query, token] = valid[b, token] and sees(query, token)
    return mask


def test_a_causal_mask_shows_each_token_itself_and_what_came_before():
    expected = by_definition(VALID, lambda query, token: token <= query)
    np.testing.assert_array_equal(masks.causal(jnp.array(VALID)), expected)


def test_a_prefix_mask_is_bidirectional_over_the_prefix_and_causal_over_each_segment_of_the_suffix():
    mask = np.asarray(masks.prefix(jnp.array(SEGMENTS)))
    for b, segments in enumerate(SEGMENTS):

        def sees(query, token, segments=segments):
            return segments[token] == 1 or (segments[query] == segments[token] and token <= query)

        np.testing.assert_array_equal(mask[b], by_definition(segments[None] != 0, sees)[0])


def test_padding_is_never_seen():
    seen = np.asarray(masks.causal(jnp.array(VALID))).any(axis=1)
    assert not seen[~VALID].any()
