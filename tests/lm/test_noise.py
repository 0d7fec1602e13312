import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lm.fake import END, FakeSource, config, pack, recipe

from kelp.lm.loss import draw, targets
from kelp.lm.noise import complementary, mask, number_blocks, ratios, shorten
from kelp.training.objective import row_keys

pytestmark = pytest.mark.slow  # JAX compiles

KEY = jax.random.key(7)
BATCH = FakeSource(rows=64).batch(0)


def drawn(batch=BATCH, key=KEY, block=4, **lm):
    """The batch and the noise under a recipe's switches, and the targets."""
    lm = recipe(block=block, **{"random_length_share": 0.0, "complementary": False} | lm).lm
    cfg = config(block=block)
    batch, noise = draw(batch, key, cfg, lm)
    return batch, noise, targets(batch, cfg, lm)


def test_ratios_are_those_of_a_few_lines_in_another_language():
    number = np.tile(np.arange(3), (2, 1))
    offset = int(jax.random.bits(KEY, (), jnp.uint32))
    golden, silver = int((5**0.5 - 1) / 2 * 2**32), round((2**0.5 - 1) * 2**32)
    for r, row in enumerate(ratios(KEY, jnp.asarray(number), eps=0.1, low=0.3, high=0.9)):
        for b, ratio in enumerate(row):
            t = 0.1 + 0.9 * ((offset + r * golden + b * silver) % 2**32) / 2**32
            assert float(ratio) == pytest.approx(min(max(t, 0.3), 0.9), abs=1e-6)


@pytest.mark.parametrize("rows, columns", [(1, 8), (8, 1), (7, 3), (64, 1), (64, 8)])
def test_ratios_of_any_number_of_rows_are_spread_evenly(rows, columns):
    number = jnp.tile(jnp.arange(columns), (rows, 1))
    t = np.sort(np.asarray(ratios(KEY, number, eps=1e-3, low=0.0, high=1.0)).ravel())
    gaps = np.diff(np.concatenate([t, [t[0] + 1]]))  # random ones would be up to log(n) / n wide
    assert gaps.max() < 3.5 / t.size and t[0] >= 0.001 and t[-1] < 1
    assert abs(t.mean() - 0.5) < 1 / t.size + 1e-2


def test_the_noise_of_a_row_depends_on_seed_step_and_row_alone():
    few = jax.tree.map(lambda array: array[:5], BATCH)
    for lm in ({}, {"complementary": True}, {"random_length_share": 0.5}):
        (_, many, _), (_, some, _) = drawn(**lm), drawn(few, **lm)
        assert np.array_equal(many.masked[: len(some.masked)], some.masked)
        assert np.array_equal(many.ratio[: len(some.ratio)], some.ratio)
    _, other, _ = drawn(key=jax.random.key(8))
    assert not np.array_equal(other.masked, drawn()[1].masked)


@pytest.mark.parametrize("block", [0, 2, 4])
def test_every_block_with_a_target_has_a_mask_and_nothing_else_has_one(block):
    batch, noise, wanted = drawn(block=block, clip=[0.0, 0.01], end_in_loss=False)
    assert not (noise.masked & ~wanted).any()
    masked, seen = np.asarray(noise.masked), 0
    for r, row in enumerate(np.asarray(wanted)):
        blocks = {}
        for slot in np.flatnonzero(row):
            place = batch.position[r, slot] - 1
            blocks.setdefault((batch.document[r, slot], place // block if block else 0), []).append(slot)
        for slots in blocks.values():
            assert masked[r, slots].any() and len(set(np.asarray(noise.ratio)[r, slots])) == 1
            seen += len(slots)
    assert seen == wanted.sum() and noise.masked.sum() < 0.6 * seen
    assert not masked[batch.tokens == END].any()


def test_each_token_is_masked_with_the_probability_of_its_block():
    number, many = jnp.zeros((4000, 8), int), jnp.ones((4000, 8), bool)
    for t in (0.2, 0.5, 0.9):
        noise = mask(row_keys(KEY, 4000), jnp.full((4000, 8), t), number, many)
        none = (1 - t) ** 8  # of the blocks would be without a mask: one is added there
        assert float(noise.masked.mean()) == pytest.approx(t + none / 8, abs=0.01)
        np.testing.assert_allclose(noise.ratio, t + none / 8, rtol=1e-6)


def test_a_pair_masks_every_token_exactly_once_and_its_ratios_add_up_to_one_unless_clipped():
    _, single, wanted = drawn(clip=[0.1, 0.9])
    _, pairs, _ = drawn(clip=[0.1, 0.9], complementary=True)
    first, second = pairs.masked[::2], pairs.masked[1::2]
    assert np.array_equal(first, single.masked) and np.array_equal(first ^ second, wanted)
    np.testing.assert_allclose(pairs.ratio[1::2], np.clip(1 - pairs.ratio[::2], 0.1, 0.9), rtol=1e-6)
    rare = complementary(single._replace(ratio=jnp.full_like(single.ratio, 0.99)), wanted, low=0.1, high=1.0)
    assert float(rare.ratio[1::2].min()) == float(rare.ratio[1::2].max()) == pytest.approx(0.1)


def test_blocks_of_one_token_are_all_to_be_predicted():
    _, noise, wanted = drawn(block=1)
    assert np.array_equal(noise.masked, wanted) and (noise.ratio == 1).all()


def test_ratios_are_clipped_to_at_least_one_mask_a_block_unless_configured():
    assert recipe(block=4).lm.limits(4) == (0.25, 1.0)
    assert recipe(block=0).lm.limits(0) == (0.001, 1.0)
    assert recipe(block=4, clip=[0.0, 0.8]).lm.limits(4) == (0.001, 0.8)


def test_blocks_are_numbered_along_a_row_of_documents():
    batch = pack([[3, 4, 5, 6, 7], [8, 9]], [[3]], length=11)
    block = np.where(batch.position == 0, 0, (batch.position - 1) // 2 + 1)
    numbers = number_blocks(jnp.asarray(batch.document), jnp.asarray(block))
    assert numbers.tolist() == [[0, 1, 1, 2, 2, 3, 4, 5, 5, 6, 6], [0, 1] + [2] * 9]


def test_a_share_of_the_rows_is_cut_at_lengths_from_one_to_all():
    document, keys = jnp.ones((4000, 8), int), row_keys(KEY, 4000)
    lengths = np.asarray(shorten(keys, document, 0.5).sum(axis=1))
    counts = np.bincount(lengths, minlength=9) / 4000
    np.testing.assert_allclose(counts, [0, *[1 / 16] * 7, 1 / 2 + 1 / 16], atol=0.02)
    assert (shorten(keys, document, 0.0) == 1).all()
