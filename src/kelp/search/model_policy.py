"""The model as a policy: its own edits, and the near misses under its scores.

`Model` holds what is loaded and compiled once, and is shared; `ModelPolicy` holds what one search changes.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from kelp.diffusion.mutations import candidates, log_priors
from kelp.encoding.condition import Condition
from kelp.encoding.encoder import Encoder, State, pad
from kelp.model.suffix_tree import NODES, SuffixTree
from kelp.search.policy import MODEL, NEAR_MISS, VALUES, Bound, PointedSite, Policy, Proposal, legal
from kelp.search.suspicion import line_weights, may_matter
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid, key, site_index

# A proposal's log-probability is a weighted sum, of the log-probabilities of its site and its text under the model, of
# the log of its lines' suspicion, and of the log-prior of its kind. `benchmarks/order.py` chose the weights, on MBPP
# 511-600 and changes of training packages.
SITE_WEIGHT, TEXT_WEIGHT, LINE_WEIGHT, KIND_WEIGHT = 0.6, 0.6, 0.7, 0.5
OF_NO_KIND_NATS = -8.0  # log-prior of an edit that the model writes and no kind has
TYPICAL_TEXT_NATS = -3.0  # log-probability of a text before it is scored, for the sum over all proposals
BLIND_SHARE = 0.15  # of the probability, spread by prior and suspicion alone, whatever the model says
UNDEFINED_PENALTY_NATS = math.log(100)  # for reading a name that is defined nowhere: a step on the way, at best
LINT_PENALTY_NATS = 2.0  # for each lint finding that was not there before; each one that is gone gains as much
POINTED, POINTED_LEAST = 16, 0.003  # sites of the pointer that are shown, at most, and their least probability
LENGTHS = [n << k for k in range(24) for n in (128, 192)]  # tokens that prefixes are padded to: each is compiled for

Part = tuple[float, Callable[[], Iterable[Proposal]]]  # work to do, and a bound on the log-probability of its yield


class Scored(NamedTuple):
    """An edit to be scored: its log-probability but for the text, that of its blind share, and its node in the tree."""

    edit: Edit
    rest: float
    share: float
    node: int


class View(NamedTuple):
    """A state of a program as the model sees it."""

    state: State
    site: np.ndarray  # [R]: log-probability of each site; row 0 is stop
    line: np.ndarray  # [R]: log of the suspicion of its lines
    cache: Any

    @property
    def weighed(self) -> np.ndarray:
        """Part of a log-probability that all proposals at a site share [R], up to a constant."""
        return SITE_WEIGHT * self.site + LINE_WEIGHT * self.line


def evidence(program: Program, names: frozenset[str] | None) -> tuple[Callable[[Edit], float], float]:
    """Return (score, bound): log-odds adjustment in nats for undefined names and lint in an edit's result, its maximum.

    `names` are known around the program. The adjustment is 0 for an illegal edit.
    """
    free_names, lint = program.language.free_names, program.language.lint
    try:
        known = None if names is None else names | free_names(program.source)
        before = lint(program.source)
    except (SyntaxError, ValueError, RecursionError):
        return lambda edit: 0.0, 0.0

    def score(edit: Edit) -> float:
        result = edit.apply(program.source)
        try:
            undefined = known is not None and not free_names(result) <= known
            return -UNDEFINED_PENALTY_NATS * undefined - LINT_PENALTY_NATS * (lint(result) - before)
        except (SyntaxError, ValueError, RecursionError):
            return 0.0

    return score, LINT_PENALTY_NATS * before


@dataclass(frozen=True)
class DecodeConfig:
    """Sizes of the decoding of one program state."""

    sites: int = 12  # likeliest sites that are decoded
    batch: int = 4  # sites decoded at a time
    beams: int = 4  # replacements for each
    max_tokens: int = 24

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


class Compiled:
    """Jitted calls of a model of some sizes, whatever its weights. JAX is imported on first use."""

    def __init__(self, encoder: Encoder, config: DecodeConfig) -> None:
        self.encoder, self.config = encoder, config
        self.lengths: set[int] = set()  # padded lengths that are compiled

    @cached_property
    def calls(self) -> "Calls":
        import equinox as eqx
        import jax
        import jax.numpy as jnp

        first, rest = map(jnp.asarray, self.encoder.allowed())
        config, special = self.config, self.encoder.special

        @eqx.filter_jit
        def encode(model: Any, prefix: Any, size: Any, rows: Any) -> Any:
            hidden, cache = model.encode(prefix, size)
            return model.site_log_probs(hidden, rows)[0], cache

        @eqx.filter_jit
        def score(model: Any, cache: Any, tokens: Any, positions: Any, parents: Any, scored: Any, mask: Any) -> Any:
            """Log-probability [Q] of what every node's path writes, and of the end after it."""
            hidden, _ = model.transformer.with_cache(tokens[None], positions[None], mask[None], past=cache)
            logits = model.transformer.logits(hidden)[0]
            total = jax.nn.logsumexp(logits, axis=-1)
            own = jnp.where(scored, logits[parents, tokens] - total[parents], 0.0)
            return jnp.where(mask, own, 0.0).sum(axis=1) + logits[:, special.end] - total

        @eqx.filter_jit
        def decode(model: Any, cache: Any, starts: Any, ends: Any, kinds: Any) -> Any:
            return model.decode(
                cache, starts, ends, kinds, first, rest, edit=special.edit, until=special.until, end=special.end,
                beams=config.beams, max_tokens=config.max_tokens,
            )  # fmt: skip

        return Calls(encode, score, decode)


class Calls(NamedTuple):
    encode: Callable[..., Any]
    score: Callable[..., Any]
    decode: Callable[..., Any]


@dataclass(frozen=True)
class Model:
    """Weights with their encoder, immutable: any number of searches, in any threads, may share one.

    `replace(model, denoiser=...)` gives other weights of the same sizes, for which nothing is compiled again.
    """

    denoiser: Any
    encoder: Encoder
    config: DecodeConfig = DecodeConfig()
    compiled: Any = field(default=None, repr=False)  # a `Compiled`, made of encoder and config

    def __post_init__(self) -> None:
        if self.compiled is None:
            object.__setattr__(self, "compiled", Compiled(self.encoder, self.config))


def _pointed(view: View) -> tuple[PointedSite, ...]:
    """Return the likeliest sites, by the model and the suspicion of their lines."""
    where = (view.site + view.line)[1:]  # row 0 is stop
    shares = np.exp(where - np.logaddexp.reduce(where))
    likeliest = [at for at in np.argsort(-shares, kind="stable")[:POINTED] if shares[at] >= POINTED_LEAST]
    sites = view.state.sites
    return tuple(PointedSite(sites[at].start, sites[at].end, float(shares[at])) for at in likeliest)


def _enumerated(view: View, program: Program, condition: Condition) -> tuple[dict[Edit, int], dict[Edit, float], float]:
    """Return (rows, log-priors, total) of the edits of all kinds.

    The total is the log of the sum of the exponentials of their weighted sums, before their texts are scored.
    """
    kinds = candidates(program, may_matter(program, condition.suspicion))
    priors = log_priors(program, kinds, condition.exception)
    rows = {edit: view.state.row_of(edit) for edit in priors}
    if not rows:
        return rows, priors, 0.0
    known = view.weighed[[*rows.values()]] + KIND_WEIGHT * np.asarray([*priors.values()])
    return rows, priors, float(np.logaddexp.reduce(known)) + TEXT_WEIGHT * TYPICAL_TEXT_NATS


class ModelPolicy(Policy):
    """The model's proposals in one search: replacements at the likeliest sites, and edits of all kinds by its scores.

    The log-probability of a proposal is a weighted sum of those of its site and of its text under the model, of its
    lines' suspicion and of its kind's prior, less the log of the sum over all edits. An edit of a kind has, mixed in,
    its part of `BLIND_SHARE`, by suspicion and prior alone: a model that is sure and wrong costs some test runs then,
    but puts none of them off for good. Then the `evidence` of an edit's result is added.
    """

    threshold = -4.0

    def __init__(self, model: Model) -> None:
        self.model, self.encoder, self.config = model, model.encoder, model.config
        self.shortest = LENGTHS[0]

    def warm_up(self, shown: Iterable[tuple[Program, Condition]]) -> None:
        """Compile for all of these programs at once: from now on shorter ones are padded like the longest."""
        states = [self.encoder.state(*pair) for pair in shown]
        self.shortest, at = max((self._length(state), i) for i, state in enumerate(states))
        if self.shortest not in self.model.compiled.lengths:
            site, cache = self._encode(states[at])
            list(self._write(View(states[at], site, np.zeros_like(site), cache), [1], site))
            self._score(SuffixTree(), [], cache)
            self.model.compiled.lengths.add(self.shortest)

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        return legal(program, self._ordered(program, condition))

    def _ordered(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        """Yield proposals best first. No edit is likelier than its site, so unlikely sites wait for their turn."""
        score, most = evidence(program, condition.names)
        yield Bound(0.0)
        view = self._look(program, condition)
        yield Bound(0.0, pointer=_pointed(view))
        rows, priors, total = _enumerated(view, program, condition)
        parts = [*self._to_write(view, total), *self._to_score(view, rows, priors, total)]
        ready: list[tuple[float, int, Proposal, bool]] = []
        number = itertools.count()

        def pop() -> Iterator[Proposal]:
            """Yield the likeliest if its result is scored; until then its place is a bound: score it, put it back."""
            at, _, proposal, scored = heapq.heappop(ready)
            if scored:
                yield replace(proposal, log_prob=min(0.0, -at))
            else:
                log_prob = proposal.log_prob + score(proposal.edit)
                heapq.heappush(ready, (-log_prob, next(number), proposal, True))

        for bound, make in sorted(parts, key=lambda part: -part[0]):
            while ready and -ready[0][0] >= bound + most:
                yield from pop()
            yield Bound(min(0.0, bound + most))
            for proposal in make():
                heapq.heappush(ready, (-proposal.log_prob - most, next(number), proposal, False))
        while ready:
            yield from pop()

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        score, _ = evidence(program, condition.names)
        view = self._look(program, condition)
        *_, total = _enumerated(view, program, condition)
        edits = [edit for edit in edits if key(edit) in site_index(program) and is_valid(program, edit)]
        rows, even = {edit: view.state.row_of(edit) for edit in edits}, -math.log(max(1, len(edits)))
        parts = self._to_score(view, rows, dict.fromkeys(edits, even), total)
        weighed = (replace(p, log_prob=min(0.0, p.log_prob + score(p.edit))) for _, make in parts for p in make())
        return sorted((replace(p, origin=VALUES) for p in weighed), key=lambda proposal: -proposal.log_prob)

    def _look(self, program: Program, condition: Condition) -> View:
        state = self.encoder.state(program, condition)
        of_lines = line_weights(program, condition.suspicion)
        line = np.asarray([0.0, *(of_lines(site.start, site.end) for site in state.sites)])
        site, cache = self._encode(state)
        return View(state, site, line, cache)

    def _length(self, state: State) -> int:
        """Length that the arrays of a state are padded to."""
        needed = max(self.shortest, len(state.tokens), len(state.rows))
        return next(length for length in LENGTHS if length >= needed)

    def _encode(self, state: State) -> tuple[np.ndarray, Any]:
        """Return the log-probabilities of the sites [R] and the cache that decoding and scoring work with."""
        length = self._length(state)
        rows = np.zeros((1, length, 3), np.int32)
        rows[0, : len(state.rows)] = state.rows
        prefix = pad([state.tokens], length, self.encoder.special.pad)
        size = np.asarray([len(state.tokens)], np.int32)
        where, cache = self.model.compiled.calls.encode(self.model.denoiser, prefix, size, rows)
        return np.asarray(where, np.float64)[: len(state.rows)], cache

    def _to_write(self, view: View, total: float) -> Iterator[Part]:
        """Yield the parts that decode the model's own edits at the likeliest sites."""
        config, sites = self.config, view.state.sites
        where = view.weighed + KIND_WEIGHT * OF_NO_KIND_NATS - total + math.log(1 - BLIND_SHARE)
        rows = np.argsort(-where[1:], kind="stable") + 1  # row 0 is stop
        rows = rows[np.isfinite(where[rows])]  # the model does not know every kind of site
        deletes = [row for row in rows if sites[row - 1].op == "delete"][: config.sites]
        writes = [row for row in rows if sites[row - 1].op != "delete"][: config.sites]
        for row in deletes:
            site = sites[row - 1]
            proposal = Proposal(Edit(site.start, site.end, b""), min(0.0, float(where[row])), MODEL)
            yield where[row], partial(list, [proposal])
        for i in range(0, len(writes), config.batch):
            yield where[writes[i]], partial(self._write, view, writes[i : i + config.batch], where)

    def _write(self, view: View, rows: list[int], where: np.ndarray) -> Iterator[Proposal]:
        padded = [*rows, *[rows[-1]] * (self.config.batch - len(rows))]
        spans = np.asarray([view.state.span(row) for row in padded], np.int32)
        kinds = np.asarray([view.state.rows[row][2] for row in padded], np.int32)
        decoded = self.model.compiled.calls.decode(self.model.denoiser, view.cache, spans[:, 0], spans[:, 1], kinds)
        tokens, lengths = np.asarray(decoded.tokens), np.asarray(decoded.lengths)
        log_probs = np.asarray(decoded.model_log_probs, np.float64)
        for i, row in enumerate(rows):
            for beam in range(self.config.beams):
                if np.isfinite(log_probs[i, beam]) and lengths[i, beam]:
                    edit = self.encoder.edit(view.state, row, tokens[i, beam, : lengths[i, beam]].tolist())
                    if edit is not None:
                        log_prob = float(where[row] + TEXT_WEIGHT * log_probs[i, beam])
                        yield Proposal(edit, min(0.0, log_prob), MODEL)

    def _to_score(
        self, view: View, rows: Mapping[Edit, int], priors: Mapping[Edit, float], total: float
    ) -> Iterator[Part]:
        """Yield the parts that score given edits, at these rows and with these log-priors: the likeliest first."""
        if not rows:
            return
        edits = [*rows]
        at, prior = np.asarray([*rows.values()]), np.asarray([priors[edit] for edit in edits])
        rest = view.weighed[at] + KIND_WEIGHT * prior - total + math.log(1 - BLIND_SHARE)
        shares = view.line[at] + prior
        shares += math.log(BLIND_SHARE) - np.logaddexp.reduce(shares)
        most = shares.max()
        tree, ends = SuffixTree(), list[Scored]()
        for i in np.argsort(-rest, kind="stable"):
            edit, share, known = edits[i], float(shares[i]), float(rest[i])
            suffix = self.encoder.suffix(view.state, at[i], self.encoder.text_tokens(view.state, at[i], edit.text))
            length = len(suffix[0])
            if not edit.text or length > NODES:  # a deletion writes nothing; nothing this long was in training
                log_prob = float(np.logaddexp(share, known)) if not edit.text else share
                yield log_prob, partial(list, [Proposal(edit, min(0.0, log_prob), NEAR_MISS)])
                continue
            if not tree.fits(length):
                yield np.logaddexp(most, ends[0].rest), partial(self._score, tree, ends, view.cache)
                tree, ends = SuffixTree(), list[Scored]()
            ends.append(Scored(edit, known, share, tree.add(*suffix)))
        if ends:
            yield np.logaddexp(most, ends[0].rest), partial(self._score, tree, ends, view.cache)

    def _score(self, tree: SuffixTree, ends: list[Scored], cache: Any) -> list[Proposal]:
        scores = np.asarray(self.model.compiled.calls.score(self.model.denoiser, cache, *tree.arrays()), np.float64)
        return [
            Proposal(e.edit, min(0.0, float(np.logaddexp(e.share, e.rest + TEXT_WEIGHT * scores[e.node]))), NEAR_MISS)
            for e in ends
        ]
