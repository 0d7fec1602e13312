"""Decoding against plain references: no cache, one row, NumPy."""

import itertools
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lm.toy import END, MASK, PAD, VOCAB, toy_config, toy_model

from kelp.lm.layout import Layout, attends
from kelp.lm.sampler import SampleConfig, prompt_row, sample, update_canvas

MODEL, SMALL = toy_model(), toy_model(layers=1)  # the small one compiles sooner
PROMPTS = [[3, 4, 5], [], [2, 7, 7, 3, 9, 11, 2], [8], [4, 4, 4, 4, 4]]
INFILL = [END, 3, MASK, MASK, 5, 6, 7, 8, 9, MASK, 4, 4, MASK, MASK, MASK, 2]
ROWS = [*([END, *prompt, *[MASK] * 10] for prompt in PROMPTS), INFILL]
CONFIGS = {
    "blocks": toy_config(),
    "same position": toy_config(shift=False),
    "clean blocks": toy_config(clean="block"),
    "one block": toy_config(block=0),
    "one block, same position": toy_config(block=0, shift=False),
    "autoregressive": toy_config(block=1),
}
slow = pytest.mark.slow


@eqx.filter_jit
def forward(tokens, position, document, noisy, cfg):
    layout = Layout.of(document, position, noisy, cfg.block)
    return MODEL.logits(MODEL(tokens, position, attends(layout, layout, cfg)))[0]


def predictions(cfg, row, start, stop, width=24):
    """Logits of the tokens from start on: one pass over the clean tokens before it and the noisy ones, uncached."""
    tokens = np.full((1, width), PAD)
    tokens[0, :stop] = row[:stop]
    position = np.arange(width)[None]
    y = np.array(forward(tokens, position, (position < stop).astype(int), position >= start, cfg), float)
    return y[start - 1 : stop - 1] if cfg.shift else y[start:stop]


def reference(cfg, row, steps=None):
    """Greedy decoding of a row by low confidence, k tokens a pass, without a cache."""
    row, hole = list(row), [token == MASK for token in row]
    size = cfg.block or len(row)
    tail = max(i for i in range(len(row)) if not hole[i])
    for start in range(1, len(row), size):
        stop = min(start + size, len(row))
        for step in itertools.count():
            open_ = [i for i in range(start, stop) if row[i] == MASK and not any(
                hole[j] and row[j] == END for j in range(start, i))]  # fmt: skip
            if not open_:
                break
            logits = predictions(cfg, row, start, stop)
            logits[:, [MASK, PAD]] = -np.inf
            logits[[i - start for i in range(start, stop) if i < tail], END] = -np.inf
            probs = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
            k = 1 if steps is None else -(-len(open_) // max(steps - step, 1))
            for i in sorted(open_, key=lambda i: -probs[i - start].max())[:k]:
                row[i] = int(probs[i - start].argmax())
        for i in range(start, stop):
            if hole[i] and row[i] == END:
                return row[:i]
    return row


def decoded(result, i):
    return result.tokens[i, : result.lengths[i]].tolist()


@slow
@pytest.mark.parametrize("name", CONFIGS)
def test_cached_decoding_agrees_with_decoding_without_a_cache(name):
    """A prompt to continue, of which none ends where a block does, and a text with three holes."""
    cfg = CONFIGS[name]
    result = sample(MODEL, cfg, ROWS)
    assert [decoded(result, i) for i in range(len(ROWS))] == [reference(cfg, row) for row in ROWS]


@slow
def test_steps_fill_each_block_in_so_many_passes():
    cfg = toy_config(block=5)
    rows = [prompt_row(cfg, prompt, 12) for prompt in PROMPTS]
    result = sample(MODEL, cfg, rows, SampleConfig(steps=2))
    assert [decoded(result, i) for i in range(len(rows))] == [reference(cfg, row, steps=2) for row in rows]


@slow
def test_blocks_of_one_token_are_greedy_autoregressive_decoding():
    result = sample(MODEL, toy_config(block=1), ROWS)
    causal = jnp.tril(jnp.ones((1, 24, 24), bool))
    next_logits = eqx.filter_jit(lambda tokens: MODEL.logits(MODEL(tokens, jnp.arange(24)[None], causal)))
    for i, prompt in enumerate(PROMPTS):
        text = [END, *prompt]
        while len(text) < len(ROWS[i]):
            logits = next_logits(np.pad(text, (0, 24 - len(text)))[None])[0, len(text) - 1]
            logits = logits.at[jnp.array([MASK, PAD])].set(-jnp.inf)
            if int(logits.argmax()) == END:
                break
            text.append(int(logits.argmax()))
        assert decoded(result, i) == text
        assert result.passes[i] == result.written[i]


RANDOM = SampleConfig(temperature=1.0, top_p=0.9, steps=3, seed=5)


@slow
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("blocks", RANDOM),
        ("autoregressive", RANDOM),
        ("one block", replace(RANDOM, accept="threshold", threshold=0.4, choose="random", revise="remask", remask=0.3)),
        ("blocks", replace(RANDOM, accept="entropy", entropy=1.0, choose="margin", revise="edit", edit=0.3)),
        ("blocks", replace(RANDOM, guidance=1.5, revise="remask", steps=None)),
    ],
)
def test_a_row_decodes_the_same_alone_and_in_a_batch(name, how):
    cfg = CONFIGS[name]
    rows = [prompt_row(cfg, prompt, length) for prompt, length in zip(PROMPTS, [9, 40, 7, 12, 3])]
    together, alone = sample(SMALL, cfg, rows, how), sample(SMALL, cfg, [rows[2]], how)
    assert decoded(together, 2) == decoded(alone, 0)
    assert together.passes[2] == alone.passes[0]


@slow
def test_repeated_rows_and_other_seeds_give_other_samples():
    cfg = toy_config()
    row, how = prompt_row(cfg, [3, 4], 16), SampleConfig(temperature=1.0)
    once, again, other = (sample(SMALL, cfg, [row, row], replace(how, seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once.tokens, again.tokens)
    assert decoded(once, 0) != decoded(once, 1)
    assert decoded(once, 0) != decoded(other, 0)


@slow
def test_infilling_fills_every_hole_and_keeps_known_tokens():
    how = SampleConfig(temperature=1.0, revise="edit", edit=0.5)
    result = sample(SMALL, toy_config(block=0), [INFILL], how)
    out = decoded(result, 0)
    assert len(out) == len(INFILL) and result.written[0] == 6
    assert all(b == a if a != MASK else b not in (MASK, PAD, END) for a, b in zip(INFILL, out))


@slow
def test_a_hole_sees_the_text_after_it_within_its_block():
    row = [END, 3, MASK, MASK, 5, 6]
    for block, differs in ((0, True), (3, False)):
        cfg = toy_config(block=block)
        result = sample(SMALL, cfg, [row[:-1] + [last] for last in range(2, MASK)])
        assert (len(set(map(tuple, result.tokens[:, 2:4].tolist()))) > 1) == differs


@slow
def test_an_end_of_text_token_ends_a_row_and_the_tokens_after_it_are_padding():
    cfg = toy_config()
    only_end = jnp.arange(VOCAB) == END
    rows = [prompt_row(cfg, prompt, 20) for prompt in PROMPTS]
    result = sample(SMALL, cfg, rows, allowed=lambda row, i: jnp.where(i == 10, only_end, ~only_end))
    assert result.lengths.tolist() == [10] * len(rows)
    assert (result.tokens[:, 10:] == PAD).all() and (result.tokens[:, :10] != MASK).all()
    assert result.written.tolist() == [10 - len(prompt) for prompt in PROMPTS]


@slow
def test_a_constraint_holds():
    cfg = toy_config()

    def even_at_even(row, i):
        return jnp.arange(VOCAB) % 2 == i % 2

    rows = [prompt_row(cfg, prompt, 10) for prompt in PROMPTS]
    result = sample(SMALL, cfg, rows, SampleConfig(temperature=2.0, steps=2), allowed=even_at_even)
    for i, prompt in enumerate(PROMPTS):
        written = decoded(result, i)[1 + len(prompt) :]
        assert all(token % 2 == (1 + len(prompt) + j) % 2 for j, token in enumerate(written))


@slow
def test_a_constraint_sees_the_row_so_far():
    cfg = toy_config(block=1)

    def rises(row, i):
        return jnp.arange(VOCAB) == jnp.minimum(row[i - 1] + 1, 11)

    result = sample(SMALL, cfg, [prompt_row(cfg, [3], 6)], allowed=rises)
    assert decoded(result, 0) == [END, 3, 4, 5, 6, 7, 8, 9]


@slow
@pytest.mark.parametrize("name", ["one block", "blocks"])
def test_guidance_moves_the_logits_away_from_those_without_the_prompt(name):
    """The first pass of one row against the two forward passes; in blocks, the prompt is not in the cache."""
    cfg, prompt, scale = CONFIGS[name], [3, 4, 5, 6], 2.0
    row = prompt_row(cfg, prompt, 4)
    start = 5 if cfg.block else 1
    own = predictions(cfg, row, start, 9)
    if cfg.block:  # position 0, then the canvas at 5 to 8
        tokens, position = np.array([[END, *[MASK] * 4]]), np.array([[0, 5, 6, 7, 8]])
        without = np.array(forward(tokens, position, np.ones_like(position), position > 0, cfg))[:4]
    else:
        own, without = own[4:], predictions(cfg, prompt_row(cfg, [], 8), 1, 9)[4:]
    logits = own + scale * (own - without)
    logits[:, [MASK, PAD]] = -np.inf
    expected = logits.argmax(axis=1)
    got = sample(MODEL, cfg, [row], SampleConfig(guidance=scale, steps=1))
    stop = [*expected, END].index(END)
    assert decoded(got, 0)[5:] == expected[:stop].tolist()


@slow
def test_guidance_of_a_tiny_scale_changes_nothing():
    plain, guided = (sample(SMALL, toy_config(), ROWS, SampleConfig(guidance=scale)) for scale in (0.0, 1e-9))
    np.testing.assert_array_equal(plain.tokens, guided.tokens)


def canvas(seed, written=(2, 5), length=8):
    """Logits of a canvas whose first token is known and of which the tokens at `written` are written."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(length, VOCAB)) * 2
    logits[:, [END, PAD, MASK]] = -np.inf
    tokens, hole = np.full(length, MASK), np.arange(length) > 0
    tokens[0] = 4
    tokens[list(written)] = 7
    return logits, tokens, hole


def run(how, logits, tokens, hole, step, keys):
    @jax.jit
    @jax.vmap
    def one(key):
        slots = jnp.arange(len(tokens))
        return update_canvas(toy_config(), how, key, step, slots, jnp.array(hole), jnp.array(tokens), logits)

    return jax.tree.map(np.array, one(keys))


def update(how, logits, tokens, hole, step=0):
    new, more = run(how, jnp.array(logits), tokens, hole, jnp.array(step), jax.random.key(0)[None])
    return new[0], bool(more[0])


def many_updates(how, logits, tokens, hole, count, step=0):
    keys = jax.random.split(jax.random.key(0), count)
    return run(how, jnp.array(logits), tokens, hole, jnp.array(step), keys)[0]


def softmax(logits):
    return np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("choose", ["low-confidence", "margin"])
@pytest.mark.parametrize("accept", ["top-k", "threshold", "entropy"])
def test_accept_and_choose_rules_take_the_tokens_of_the_reference(accept, choose, seed):
    logits, tokens, hole = canvas(seed)
    probs = softmax(logits)
    down = -np.sort(-probs, axis=1)
    score = down[:, 0] - down[:, 1] if choose == "margin" else down[:, 0]
    order = sorted(np.flatnonzero(tokens == MASK), key=lambda i: -score[i])
    entropy = -np.where(probs > 0, probs * np.log(np.maximum(probs, 1e-300)), 0).sum(axis=1)
    if accept == "top-k":
        taken = order[:2]  # 5 masks in 3 passes
    elif accept == "threshold":
        taken = [i for i in order if down[i, 0] > 0.5 or i == order[0]]
    else:
        sums = [sum(entropy[order[: n + 1]]) - max(entropy[order[: n + 1]]) for n in range(len(order))]
        taken = [i for i, total in zip(order, sums) if total <= 1.5]
    expected = tokens.copy()
    expected[taken] = logits.argmax(axis=1)[taken]
    how = SampleConfig(accept=accept, choose=choose, steps=3, threshold=0.5, entropy=1.5)
    new, more = update(how, logits, tokens, hole)
    np.testing.assert_array_equal(new, expected)
    assert more == (MASK in expected)


def test_random_choice_takes_every_slot_as_often():
    logits, tokens, hole = canvas(0)
    counts = (many_updates(SampleConfig(choose="random", steps=5), logits, tokens, hole, 2000) != tokens).sum(axis=0)
    assert counts.sum() == 2000
    np.testing.assert_allclose(counts[tokens == MASK], 400, atol=5 * np.sqrt(400 * 0.8))


def test_an_edit_replaces_written_tokens_that_the_network_is_sure_are_others():
    logits, tokens, hole = canvas(1)
    logits[0, 3] = logits[2, 9] = 30.0  # slot 0 is known
    how = SampleConfig(revise="edit", edit=0.99, steps=9)
    new, more = update(how, logits, tokens, hole)
    assert (new[0], new[2], new[5]) == (4, 9, 7) and more
    full = np.where(tokens == MASK, 3, tokens)
    assert update(how, logits, full, hole)[1]  # an edit may lead to others
    assert not update(how, logits, new * (np.arange(8) == 2) + full * (np.arange(8) != 2), hole)[1]
    assert not update(how, logits, full, hole, step=8)[1]


def test_remasking_keeps_the_schedule_and_leaves_known_tokens():
    """ReMDM: a written token is masked again with chance min(eta, (1 - alpha_s) / alpha_t)."""
    logits, tokens, hole = canvas(2, written=(1, 2, 5, 6))
    how = SampleConfig(revise="remask", remask=0.25, steps=14)
    new = many_updates(how, logits, tokens, hole, 2000, step=7)
    again = (new == MASK) & (tokens != MASK)
    left = np.maximum(3, again.sum(axis=1))  # 7 holes, 8 of 14 passes done; or more where the draw is
    np.testing.assert_array_equal((new == MASK).sum(axis=1), left)
    np.testing.assert_allclose(again.mean(axis=0), np.isin(np.arange(8), [1, 2, 5, 6]) * 0.25, atol=0.05)
    last, more = update(how, logits, tokens, hole, step=13)
    assert MASK not in last and not more


@slow
@pytest.mark.parametrize(("accept", "revise"), [("top-k", "remask"), ("threshold", "remask"), ("entropy", "edit")])
def test_revising_ends(accept, revise):
    cfg = toy_config(block=0)
    how = SampleConfig(accept=accept, revise=revise, remask=0.5, edit=0.2, threshold=0.9, entropy=0.5, steps=24)
    result = sample(SMALL, cfg, [[END, 3, 4, *[MASK] * 12, 5]], how)
    assert MASK not in decoded(result, 0)
    assert 1 + 12 < result.passes[0] <= 1 + 24 if accept == "top-k" else 1 < result.passes[0] <= 1 + 24 + 12


def test_the_nucleus_holds_the_fewest_tokens_of_the_share():
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]])) + 3
    from kelp.lm.sampler import _nucleus

    for share, kept in ((0.5, 1), (0.6, 2), (0.8, 2), (0.81, 3), (1.0, 4)):
        assert (np.array(_nucleus(jnp.array(logits), share)) > -np.inf).sum() == kept


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.6)])
def test_sampling_follows_the_probabilities(temperature, top_p):
    logits, tokens, hole = canvas(3)
    how = SampleConfig(temperature=temperature, top_p=top_p, steps=1)
    drawn = many_updates(how, logits, tokens, hole, 3000)[:, 4]
    expected = softmax(logits / temperature)[4]
    order = np.argsort(-expected)
    kept = order[: 1 + int(np.searchsorted(np.cumsum(expected[order]), top_p))]
    expected = np.where(np.isin(np.arange(VOCAB), kept), expected, 0)
    np.testing.assert_allclose(np.bincount(drawn, minlength=VOCAB) / 3000, expected / expected.sum(), atol=0.04)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"accept": "all"}, "accept must be one of top-k, threshold, entropy, got 'all'"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"remask": 1.5}, "remask must be from 0 to 1, got 1.5"),
        ({"temperature": -1.0}, "temperature must be at least 0 and finite, got -1.0"),
        ({"temperature": float("nan")}, "temperature must be at least 0 and finite, got nan"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_a_bad_setting_is_refused(setting, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        SampleConfig(**setting)


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "no rows"), ([[3, MASK]], "begin with the end-of-text token"), ([[END, VOCAB]], "outside the vocabulary")],
)
def test_a_bad_row_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        sample(MODEL, toy_config(), rows)
