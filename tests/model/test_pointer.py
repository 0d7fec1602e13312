import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.model.pointer import SitePointer, site_loss

pytestmark = pytest.mark.slow

DIM = 16
SITES = jnp.array(
    [
        [[0, 0, 1], [0, 3, 2], [1, 1, 3], [4, 6, 5], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [2, 2, 4], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ]
)
TARGET = jnp.array([[0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0]], bool)


@pytest.fixture(scope="module")
def pointer():
    return SitePointer.init(DIM, site_kinds=6, pointer_dim=8, dtype="float32", key=jax.random.key(0))


@pytest.fixture(scope="module")
def hidden():
    return jax.random.normal(jax.random.key(1), (2, 7, DIM))


def test_probabilities_sum_to_one_over_exactly_the_valid_rows(pointer, hidden):
    probabilities = np.exp(pointer(hidden, SITES))
    valid = np.asarray(SITES[..., 2] > 0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (probabilities[valid] > 0).all()
    assert (probabilities[~valid] == 0).all()


def test_a_site_is_scored_by_its_two_ends_and_its_kind(pointer, hidden):
    log_probs = pointer(hidden, SITES)
    scores = []
    for first, last, kind in SITES[0, :4]:
        state = hidden[0, first] @ pointer.first + hidden[0, last] @ pointer.last + pointer.kind[kind]
        scores.append(jax.nn.silu(state) @ pointer.score)
    np.testing.assert_allclose(log_probs[0, :4], jax.nn.log_softmax(jnp.array(scores)), atol=1e-5)


def test_more_padding_rows_change_nothing(pointer, hidden):
    padded = jnp.pad(SITES, ((0, 0), (0, 5), (0, 0)))
    np.testing.assert_allclose(pointer(hidden, padded)[:, :6], pointer(hidden, SITES), atol=1e-6)


def test_the_loss_is_minus_log_of_the_total_probability_of_the_correct_sites(pointer, hidden):
    log_probs = pointer(hidden, SITES)
    p = np.exp(log_probs)
    expected = [-np.log(p[0, 1] + p[0, 3]), -np.log(p[1, 0])]
    np.testing.assert_allclose(site_loss(log_probs, TARGET), expected, atol=1e-5)


def test_gradients_are_finite_beside_padding(pointer, hidden):
    grads = eqx.filter_grad(lambda f: site_loss(f(hidden, SITES), TARGET).mean())(pointer)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert float(jnp.abs(grads.kind[5]).max()) > 0
