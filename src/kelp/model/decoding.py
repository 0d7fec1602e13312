"""Beam search over replacements, written in place, for several sites of one program together.

The suffix of a site is `<edit>` at the position of the span's first token, `<until>` at that of its end,
then the written tokens at start, start + 1, ... Behind the program's tokens, which all beams of all sites see, the
written ones are the nodes of trees: a beam sees those on its path, and beams that begin alike share them.

A finished beam keeps its place, so the search narrows as beams finish and returns as many different
replacements as it has beams. With one beam it is greedy decoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kelp.model.inference import Array, Cache, Transformer, log_sum_exp

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

FINISHED_BONUS = 1e30  # added to the rank of a finished beam, so that it is kept


class Decoded(NamedTuple):
    """Replacements of K sites, M beams each, best first; the log-probabilities of an unfinished one are -inf.

    `log_probs`, by which beams are ranked, is renormalized over the allowed tokens at every step.
    `model_log_probs` is of the same tokens under the unconstrained distribution, as in the training loss.
    Both include the end token.
    """

    tokens: Int[Array, "K M T"]
    lengths: Int[Array, "K M"]
    log_probs: Float[Array, "K M"]
    model_log_probs: Float[Array, "K M"]


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

    `first_allowed[kind]` marks the tokens that may come first at a site, `rest_allowed[kind]` those that may follow.
    """
    K, M, T = len(starts), beams, max_tokens
    V, P = first_allowed.shape[1], prefix[0].keys.shape[1]
    site, is_end = np.arange(K)[:, None], np.arange(V) == end

    roots = np.arange(2 * K)
    sees = (roots[:, None] // 2 == roots // 2) & (roots <= roots[:, None])  # [query, node]
    places = np.stack([starts, ends], axis=1).reshape(-1)
    mask = np.concatenate([np.ones((2 * K, P), bool), sees], axis=1)
    states, cache = transformer.read(np.tile([edit, until], K), places, mask, past=prefix)
    logits = np.repeat(transformer.logits(states[1::2])[:, None], M, axis=1)  # [K, M, V] of the token to write next
    path = np.zeros((K, M, 2 * K + K * M * T), bool)  # the nodes of each beam
    path[:, :, : 2 * K] = sees[1::2, None]
    nodes = 2 * K

    tokens, lengths = np.zeros((K, M, T), np.intp), np.zeros((K, M), np.intp)
    log_probs = np.where(np.arange(M) == 0, 0.0, np.full((K, 1), -np.inf))  # the beams are still the same
    model_log_probs, ended = np.zeros((K, M)), np.zeros((K, M), bool)
    for step in range(T + 1):
        allowed = (rest_allowed if step else first_allowed)[kinds][:, None]
        # After the last token that fits only `end` may follow, with its probability among all allowed ones.
        fits = allowed & is_end if step == T else allowed
        constrained = logits - log_sum_exp(np.where(allowed, logits, -np.inf))[..., None]
        totals = log_probs[..., None] + np.where(fits, constrained, -np.inf)
        # A finished beam goes on as one candidate, at the head of the ranking.
        totals = np.where(ended[..., None], np.where(is_end, log_probs[..., None], -np.inf), totals)
        ranks = np.where(ended[..., None], totals + FINISHED_BONUS, totals).reshape(K, M * V)
        best = np.argpartition(-ranks, M - 1, axis=1)[:, :M]
        best = np.take_along_axis(best, np.argsort(-ranks[site, best], axis=1, kind="stable"), axis=1)
        beam, token = best // V, best % V

        unconstrained = logits[site, beam, token] - log_sum_exp(logits)[site, beam]
        log_probs = totals.reshape(K, M * V)[site, best]
        ended, tokens, lengths, path = ended[site, beam], tokens[site, beam], lengths[site, beam], path[site, beam]
        model_log_probs = model_log_probs[site, beam] + np.where(ended, 0.0, unconstrained)
        writes = ~ended & (token != end) & (log_probs > -np.inf)
        ended |= token == end
        if not writes.any():
            break
        tokens[..., step][writes] = token[writes]
        lengths += writes
        new = nodes + np.arange(writes.sum())
        mask = np.concatenate(
            [np.ones((len(new), P), bool), path[writes][:, :nodes], np.eye(len(new), dtype=bool)], axis=1
        )
        places = np.broadcast_to(starts[:, None] + step, (K, M))[writes]
        states, cache = transformer.read(token[writes], places, mask, past=cache)
        path[(*np.nonzero(writes), new)] = True
        nodes += len(new)
        logits = np.zeros((K, M, V), np.float32)
        logits[writes] = transformer.logits(states)

    # A dead beam (-inf) may carry the end token too: its tokens mean nothing.
    done = ended & (log_probs > -np.inf)
    log_probs = np.where(done, log_probs, -np.inf)
    order = np.argsort(-log_probs, axis=1, kind="stable")
    return Decoded(
        np.where(done[..., None], tokens, 0)[site, order],
        np.where(done, lengths, 0)[site, order],
        log_probs[site, order],
        np.where(done, model_log_probs, -np.inf)[site, order],
    )
