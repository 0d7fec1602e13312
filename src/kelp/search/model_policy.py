"""The model as a policy: its own edits, and the near misses under its scores."""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from kelp.diffusion.mutations import candidates, log_priors
from kelp.encoding.condition import Condition
from kelp.encoding.encoder import Encoder, State
from kelp.model.decoding import decode
from kelp.model.inference import Cache, Denoiser
from kelp.model.suffix_tree import NODES, SuffixTree
from kelp.search.policy import MODEL, NEAR_MISS, VALUES, Bound, PointedSite, Policy, Proposal, legal
from kelp.search.suspicion import line_weights, may_matter, spread
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid, key, site_index

# A proposal's log-probability is a weighted sum, of the log-probabilities of its site and its text under the model, of
# the log of its lines' suspicion, and of the log-prior of its kind. `benchmarks/order.py` chose the weights, on MBPP
# 511-600 and changes of training packages.
SITE_WEIGHT, TEXT_WEIGHT, LINE_WEIGHT, KIND_WEIGHT = 0.6, 0.6, 0.7, 0.5
OF_NO_KIND_NATS = -8.0  # log-prior of an edit that the model writes and no kind has
TYPICAL_TEXT_NATS = -3.0  # log-probability of a text before it is scored, for the sum over all proposals
BLIND_SHARE = 0.15  # of the probability, spread by prior and suspicion alone, whatever the model says ...
INFORMED_SHARE = 0.5  # ... and the same where the suspicion is that of edits, by their effects
UNDEFINED_PENALTY_NATS = math.log(100)  # for reading a name that is defined nowhere: a step on the way, at best
LINT_PENALTY_NATS = 2.0  # for each lint finding that was not there before; each one that is gone gains as much
POINTED, POINTED_LEAST = 16, 0.003  # sites of the pointer that are shown, at most, and their least probability

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
    cache: Cache
    blind: float  # share of the probability that does not ask the model

    @property
    def weighed(self) -> np.ndarray:
        """Part of a log-probability that all proposals at a site share [R], up to a constant."""
        return SITE_WEIGHT * self.site + LINE_WEIGHT * self.line

    def effects(self, rows: Mapping[Edit, int], condition: Condition) -> np.ndarray:
        """Log of the suspicion of each edit less that of the lines of its site, 0 where its effect is not known."""
        known = condition.effects
        return np.asarray([known[edit] - self.line[row] if edit in known else 0.0 for edit, row in rows.items()])


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


@dataclass(frozen=True)
class Model:
    """Weights with their encoder, immutable: any number of searches, in any threads, may share one."""

    denoiser: Denoiser
    encoder: Encoder
    config: DecodeConfig = DecodeConfig()

    @cached_property
    def allowed(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens that may come first at a site of each kind, and those that may follow: bool [kinds, V]."""
        first, rest = self.encoder.allowed()
        return np.asarray(first), np.asarray(rest)


def _pointed(view: View) -> tuple[PointedSite, ...]:
    """Return the likeliest sites, by the model and the suspicion of their lines."""
    where = (view.site + view.line)[1:]  # row 0 is stop
    shares = np.exp(where - np.logaddexp.reduce(where))
    likeliest = [at for at in np.argsort(-shares, kind="stable")[:POINTED] if shares[at] >= POINTED_LEAST]
    sites = view.state.sites
    return tuple(PointedSite(sites[at].start, sites[at].end, float(shares[at])) for at in likeliest)


Enumerated = tuple[dict[Edit, int], dict[Edit, float], float]
Look = tuple[View, Enumerated]


def _enumerated(view: View, program: Program, condition: Condition) -> Enumerated:
    """Return (rows, log-priors, total) of the edits of all kinds.

    The total is the log of the sum of the exponentials of their weighted sums, before their texts are scored.
    """
    kinds = candidates(program, may_matter(program, condition.suspicion))
    priors = log_priors(program, kinds, condition.exception, spread(condition))
    rows = {edit: view.state.row_of(edit) for edit in priors}
    if not rows:
        return rows, priors, 0.0
    known = view.weighed[[*rows.values()]] + KIND_WEIGHT * np.asarray([*priors.values()])
    known += LINE_WEIGHT * view.effects(rows, condition)
    return rows, priors, float(np.logaddexp.reduce(known)) + TEXT_WEIGHT * TYPICAL_TEXT_NATS


class ModelPolicy(Policy):
    """The model's proposals in one search: replacements at the likeliest sites, and edits of all kinds by its scores.

    The log-probability of a proposal is a weighted sum of those of its site and of its text under the model, of its
    lines' suspicion and of its kind's prior, less the log of the sum over all edits. An edit of a kind has, mixed in,
    its part of the blind share, by suspicion and prior alone: a model that is sure and wrong costs some test runs then,
    but puts none of them off for good. Then the `evidence` of an edit's result is added.
    """

    threshold = -4.0

    def __init__(self, model: Model) -> None:
        self.model, self.encoder, self.config = model, model.encoder, model.config
        self._last: tuple[tuple[bytes, Condition], Look] | None = None

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        return legal(program, self._ordered(program, condition))

    def _ordered(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        """Yield proposals best first. No edit is likelier than its site, so unlikely sites wait for their turn."""
        score, most = evidence(program, condition.names)
        yield Bound(0.0)
        view, (rows, priors, total) = self._look(program, condition)
        yield Bound(0.0, pointer=_pointed(view))
        parts = [*self._to_write(view, total), *self._to_score(view, rows, priors, total, condition)]
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
        view, (*_, total) = self._look(program, condition)
        edits = [edit for edit in edits if key(edit) in site_index(program) and is_valid(program, edit)]
        rows, even = {edit: view.state.row_of(edit) for edit in edits}, -math.log(max(1, len(edits)))
        parts = self._to_score(view, rows, dict.fromkeys(edits, even), total, condition)
        weighed = (replace(p, log_prob=min(0.0, p.log_prob + score(p.edit))) for _, make in parts for p in make())
        return sorted((replace(p, origin=VALUES) for p in weighed), key=lambda proposal: -proposal.log_prob)

    def _look(self, program: Program, condition: Condition) -> Look:
        """Read a program, unless it is the one that was read last: proposals and judgements take turns."""
        asked = program.source, condition
        if self._last is None or self._last[0] != asked:
            view = self._view(program, condition)
            self._last = asked, (view, _enumerated(view, program, condition))
        return self._last[1]

    def _view(self, program: Program, condition: Condition) -> View:
        state = self.encoder.state(program, condition)
        of_lines = line_weights(program, condition.suspicion)
        line = np.asarray([0.0, *(of_lines(site.start, site.end) for site in state.sites)])
        site, cache = self.model.denoiser.encode(state.tokens, np.asarray(state.rows))
        blind = INFORMED_SHARE if condition.effects else BLIND_SHARE
        return View(state, site.astype(np.float64), line, cache, blind)

    def _to_write(self, view: View, total: float) -> Iterator[Part]:
        """Yield the parts that decode the model's own edits at the likeliest sites."""
        config, sites = self.config, view.state.sites
        where = view.weighed + KIND_WEIGHT * OF_NO_KIND_NATS - total + math.log(1 - view.blind)
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
        spans = np.asarray([view.state.span(row) for row in rows])
        kinds = np.asarray([view.state.rows[row][2] for row in rows])
        special, config = self.encoder.special, self.config
        tokens, lengths, _, log_probs = decode(
            self.model.denoiser.transformer, view.cache, spans[:, 0], spans[:, 1], kinds, *self.model.allowed,
            edit=special.edit, until=special.until, end=special.end, beams=config.beams, max_tokens=config.max_tokens,
        )  # fmt: skip
        for i, row in enumerate(rows):
            for beam in range(config.beams):
                if np.isfinite(log_probs[i, beam]) and lengths[i, beam]:
                    edit = self.encoder.edit(view.state, row, tokens[i, beam, : lengths[i, beam]].tolist())
                    if edit is not None:
                        log_prob = float(where[row] + TEXT_WEIGHT * log_probs[i, beam])
                        yield Proposal(edit, min(0.0, log_prob), MODEL)

    def _to_score(
        self, view: View, rows: Mapping[Edit, int], priors: Mapping[Edit, float], total: float, condition: Condition
    ) -> Iterator[Part]:
        """Yield the parts that score given edits, at these rows and with these log-priors: the likeliest first."""
        if not rows:
            return
        edits = [*rows]
        at, prior = np.asarray([*rows.values()]), np.asarray([priors[edit] for edit in edits])
        effects = view.effects(rows, condition)
        rest = view.weighed[at] + LINE_WEIGHT * effects + KIND_WEIGHT * prior - total + math.log(1 - view.blind)
        shares = view.line[at] + effects + prior
        shares += math.log(view.blind) - np.logaddexp.reduce(shares)
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

    def _score(self, tree: SuffixTree, ends: list[Scored], cache: Cache) -> list[Proposal]:
        scores = self.model.denoiser.transformer.path_log_probs(tree, cache, end=self.encoder.special.end)
        return [
            Proposal(e.edit, min(0.0, float(np.logaddexp(e.share, e.rest + TEXT_WEIGHT * scores[e.node]))), NEAR_MISS)
            for e in ends
        ]
