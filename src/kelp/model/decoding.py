"""Beam search over replacements, written in place, for many sites of one program, or of several, as one batch.

The suffix of a site is `<edit>` at the position of the span's first token, `<until>` at that of its end,
then the written tokens at start, start + 1, ... One compiled loop writes all of them. Every row attends to
the cache of its program's prefix, which is never copied; only the short suffix is kept per beam.

A finished beam keeps its place, so the search narrows as beams finish and returns as many different
replacements as it has beams. With one beam it is greedy decoding.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kelp.model.attention import Cache
from kelp.model.transformer import Transformer

FINISHED_BONUS = 1e30  # added to the rank of a finished beam, so that it is kept


class Decoded(NamedTuple):
    """Replacements of K sites, M beams each, best first; the log-probabilities of an unfinished one are -inf.

    `log_probs`, by which beams are ranked, is renormalized over the allowed tokens at every step.
    `model_log_probs` is of the same tokens under the unconstrained distribution, as in the training loss.
    Both include the end token.
    """

    tokens: Int[Array, "K M T"]  # without the end token, 0 after the last one
    lengths: Int[Array, "K M"]
    log_probs: Float[Array, "K M"]
    model_log_probs: Float[Array, "K M"]


class _Beams(NamedTuple):
    step: Int[Array, ""]
    logits: Float[Array, "K M V"]  # of the token to write next
    tokens: Int[Array, "K M T"]
    lengths: Int[Array, "K M"]
    log_probs: Float[Array, "K M"]
    model_log_probs: Float[Array, "K M"]
    ended: Bool[Array, "K M"]
    written: Cache  # K * M rows of 2 + T slots


def decode(
    transformer: Transformer,
    prefix: Cache,
    starts: Int[Array, " K"],
    ends: Int[Array, " K"],
    kinds: Int[Array, " K"],
    first_allowed: Bool[Array, "kinds V"],
    rest_allowed: Bool[Array, "kinds V"],
    *,
    edit: int,
    until: int,
    end: int,
    beams: int,
    max_tokens: int,
) -> Decoded:
    """Beam search for at most `max_tokens` (T) tokens and the end token `end`, to which the tables apply too.

    `prefix` holds R programs: the first K / R sites are of the first program, the next of the second, and so on.
    `first_allowed[kind]` marks the tokens that may come first at a site, `rest_allowed[kind]` those that may follow.
    """
    K, M, T = starts.shape[0], beams, max_tokens
    V = first_allowed.shape[1]
    first, rest = first_allowed[kinds][:, None], rest_allowed[kinds][:, None]  # [K, 1, V]

    def start() -> _Beams:
        hidden, written = transformer.with_cache(
            jnp.broadcast_to(jnp.array([edit, until]), (K, 2)),
            jnp.stack([starts, ends], axis=1),
            jnp.tril(jnp.ones((1, 2, 2), bool)),
            past=prefix,
            into=Cache.empty(transformer.cfg, K, 2 + T),
        )
        logits = transformer.logits(hidden[:, -1:])
        only_first = jnp.where(jnp.arange(M) == 0, 0.0, -jnp.inf)  # the beams are still the same
        return _Beams(
            step=jnp.array(0),
            logits=jnp.broadcast_to(logits, (K, M, V)),
            tokens=jnp.zeros((K, M, T), jnp.int32),
            lengths=jnp.zeros((K, M), jnp.int32),
            log_probs=jnp.broadcast_to(only_first, (K, M)),
            model_log_probs=jnp.zeros((K, M)),
            ended=jnp.zeros((K, M), bool),
            written=jax.tree.map(lambda cache: jnp.repeat(cache, M, axis=0), written),
        )

    def unfinished(state: _Beams) -> Bool[Array, ""]:
        alive = ~state.ended & (state.log_probs > -jnp.inf)
        return (state.step <= T) & alive.any()

    def write(state: _Beams) -> _Beams:
        allowed = jnp.where(state.step == 0, first, rest)
        constrained = _log_softmax(state.logits, allowed)
        is_end = jnp.arange(V) == end
        # After the last token that fits only `end` may follow, with its probability among all allowed ones.
        fits = (state.step < T) | is_end
        totals = state.log_probs[..., None] + jnp.where(fits, constrained, -jnp.inf)
        # A finished beam goes on as one candidate, at the head of the ranking.
        finished = jnp.where(is_end, state.log_probs[..., None], -jnp.inf)
        totals = jnp.where(state.ended[..., None], finished, totals)
        ranks = jnp.where(state.ended[..., None], totals + FINISHED_BONUS, totals)
        chosen = jax.lax.top_k(ranks.reshape(K, M * V), M)[1]
        beam, token = chosen // V, chosen % V

        def follow(values: Array) -> Array:
            return jnp.take_along_axis(values, beam.reshape(K, M, *(1,) * (values.ndim - 2)), axis=1)

        ended, lengths = follow(state.ended), follow(state.lengths)
        log_probs = jnp.take_along_axis(totals.reshape(K, M * V), chosen, axis=1)
        model = jnp.take_along_axis(jax.nn.log_softmax(state.logits).reshape(K, M * V), chosen, axis=1)
        model_log_probs = follow(state.model_log_probs) + jnp.where(ended, 0.0, model)
        writes = ~ended & (token != end)
        here = (jnp.arange(T) == state.step) & writes[..., None]
        tokens = jnp.where(here, token[..., None], follow(state.tokens))

        def reorder(cache: Array) -> Array:
            rows = (jnp.arange(K)[:, None] * M + beam).reshape(-1)
            return cache[rows]

        hidden, written = transformer.with_cache(
            token.reshape(K * M, 1),
            jnp.repeat(starts + state.step, M)[:, None],
            jnp.ones((1, 1, 1), bool),
            past=prefix,
            into=jax.tree.map(reorder, state.written),
        )
        return _Beams(
            step=state.step + 1,
            logits=transformer.logits(hidden).reshape(K, M, V),
            tokens=tokens,
            lengths=lengths + writes,
            log_probs=log_probs,
            model_log_probs=model_log_probs,
            ended=ended | (token == end),
            written=written,
        )

    final = jax.lax.while_loop(unfinished, write, start())
    # A dead beam (-inf) may carry the end token too: its tokens mean nothing.
    done = final.ended & (final.log_probs > -jnp.inf)
    log_probs = jnp.where(done, final.log_probs, -jnp.inf)
    order = jnp.argsort(-log_probs, axis=1)
    return Decoded(
        tokens=jnp.take_along_axis(jnp.where(done[..., None], final.tokens, 0), order[..., None], axis=1),
        lengths=jnp.take_along_axis(jnp.where(done, final.lengths, 0), order, axis=1),
        log_probs=jnp.take_along_axis(log_probs, order, axis=1),
        model_log_probs=jnp.take_along_axis(jnp.where(done, final.model_log_probs, -jnp.inf), order, axis=1),
    )


def _log_softmax(logits: Float[Array, "K M V"], allowed: Bool[Array, "K 1 V"]) -> Float[Array, "K M V"]:
    """Log-softmax over the allowed tokens; -inf elsewhere, and everywhere where none is allowed."""
    logits = jnp.where(allowed, logits, -jnp.inf)
    total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    return jnp.where(allowed, logits - total, -jnp.inf)
